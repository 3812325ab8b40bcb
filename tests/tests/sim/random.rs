//! A class made up by a seed: who comes with what, and what goes wrong.

use sim::network::Faults;
use sim::world::Traffic;
use sim::{Burst, Conditions, PeerId, PublisherPlan, Rate, ViewerPlan, Way, World};

use super::joins::{PACKETS_A_SECOND, assert_sees};
use dataplane_engine::Population;
use dataplane_engine::time::Micros;
use dataplane_engine::transport::keys::Profile;

/// What became of one class.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Outcome {
    pub(crate) decisions: u64,
    pub(crate) traffic: Traffic,
    pub(crate) faults: Faults,
    pub(crate) simulated_us: u64,
}

/// Some rooms on some shards with peers whose keys are injected, everything that can go wrong on a network, and
/// people who come, go and change their minds.
pub(crate) fn wired_class(seed: u64) -> Outcome {
    let mut class = Class::new(seed);
    for _ in 0..5 + class.world.dice(5) {
        class.step();
        let ms = 300 + class.world.dice(900);
        class.world.run_ms(ms);
    }
    class.end()
}

struct Class {
    world: World,
    rooms: Vec<Room>,
}

#[derive(Default)]
struct Room {
    number: u64,
    publishers: Vec<PeerId>,
    viewers: Vec<PeerId>,
}

impl Class {
    fn new(seed: u64) -> Class {
        // The seed alone decides: the world has dice of its own.
        let shards = if seed.is_multiple_of(3) { 2 } else { 1 };
        let mut world = World::wired(seed, Conditions::CLEAN, shards);
        let conditions = weather(&mut world);
        world.network.set(conditions);
        let rooms = 1 + world.dice(2);
        let mut class = Class {
            world,
            rooms: Vec::new(),
        };
        for number in 0..rooms {
            class.rooms.push(Room {
                number,
                ..Room::default()
            });
            let room = class.rooms.len() - 1;
            for _ in 0..1 + class.world.dice(2) {
                class.publish(room);
            }
            for _ in 0..1 + class.world.dice(3) {
                class.watch(room);
            }
        }
        class.world.run_ms(1_500);
        class
    }

    fn publish(&mut self, room: usize) {
        let world = &mut self.world;
        let plan = PublisherPlan {
            layers: if world.dice(3) == 0 { 3 } else { 1 },
            voice: world.dice(4) > 0,
            rtx: world.dice(2) == 0,
            pictures: world.dice(4) > 0,
            probes: world.dice(2) == 0,
            payload_bytes: usize::try_from(400 + world.dice(760)).expect("small"),
        };
        let peer = world.publish_as(self.rooms[room].number, plan);
        self.rooms[room].publishers.push(peer);
    }

    fn watch(&mut self, room: usize) {
        let Some(publisher) = self.any_publisher(room) else {
            return;
        };
        let world = &mut self.world;
        let plan = ViewerPlan {
            voice: world.dice(5) > 0,
            rtx: world.dice(2) == 0,
            audio_nack: world.dice(3) == 0,
            profile: Profile::ALL[usize::try_from(world.dice(3)).expect("small")],
        };
        let peer = world.watch_as(publisher, plan);
        self.rooms[room].viewers.push(peer);
    }

    fn any_room(&mut self) -> usize {
        usize::try_from(self.world.dice(self.rooms.len() as u64)).expect("small")
    }

    fn any_publisher(&mut self, room: usize) -> Option<PeerId> {
        pick(&mut self.world, &self.rooms[room].publishers)
    }

    fn any_viewer(&mut self, room: usize) -> Option<PeerId> {
        pick(&mut self.world, &self.rooms[room].viewers)
    }

    fn anybody(&mut self, room: usize) -> Option<PeerId> {
        if self.world.dice(3) == 0 {
            self.any_publisher(room)
        } else {
            self.any_viewer(room)
        }
    }

    /// Two or three things happen.
    fn step(&mut self) {
        for _ in 0..2 + self.world.dice(2) {
            let room = self.any_room();
            self.happen(room);
            let ms = self.world.dice(120);
            self.world.run_ms(ms);
        }
    }

    fn happen(&mut self, room: usize) {
        let (publisher, viewer, somebody) = (
            self.any_publisher(room),
            self.any_viewer(room),
            self.anybody(room),
        );
        let now = self.world.now();
        let world = &mut self.world;
        match (world.dice(18), publisher, viewer, somebody) {
            (0 | 1, _, _, Some(peer)) => {
                let conditions = weather(world);
                let way = Way::BOTH[usize::try_from(world.dice(2)).expect("small")];
                world.change(peer, way, |c| *c = conditions);
            }
            (2, _, _, _) => {
                let conditions = weather(world);
                world.network.set(conditions);
            }
            (3, _, _, Some(peer)) => {
                let ways = match world.dice(3) {
                    0 => &Way::BOTH[..1],
                    1 => &Way::BOTH[1..],
                    _ => &Way::BOTH[..],
                };
                world.black_out(peer, ways, true);
                let ms = 200 + world.dice(1_800);
                world.run_ms(ms);
                world.black_out(peer, ways, false);
            }
            (4, _, _, Some(peer)) => world.rebind(peer),
            (5..=7, Some(publisher), Some(viewer), _) => world.switch(viewer, publisher),
            (8, Some(publisher), Some(viewer), _) => {
                world.unwatch(viewer);
                let ms = world.dice(500);
                world.run_ms(ms);
                world.switch(viewer, publisher);
            }
            (9, _, Some(viewer), _) => {
                self.rooms[room].viewers.retain(|&peer| peer != viewer);
                self.world.leave(viewer);
            }
            (10, _, _, _) => self.watch(room),
            (11, Some(publisher), _, _) if self.rooms[room].publishers.len() > 1 => {
                self.rooms[room]
                    .publishers
                    .retain(|&peer| peer != publisher);
                self.world.leave(publisher);
                self.follow(room);
            }
            (12, _, _, _) if self.rooms[room].publishers.len() < 3 => self.publish(room),
            (13, Some(publisher), _, _) => {
                world.light_mut(publisher).freeze(now, true);
                let ms = world.dice(2_500);
                world.run_ms(ms);
                let now = world.now();
                world.light_mut(publisher).freeze(now, false);
            }
            (14, Some(publisher), _, _) => {
                let with_keyframe = world.dice(2) == 0;
                world.light_mut(publisher).restart_encoder(with_keyframe);
            }
            (15, _, _, Some(peer)) => world.restart_ice(peer),
            (16, Some(publisher), _, _) => {
                let numbers = 1 + world.dice(3_000);
                world.light_mut(publisher).leave_out(numbers);
            }
            (17, _, _, _) => {
                let per_mille = u32::try_from(world.dice(30)).expect("small");
                world.node.refuse_sends(per_mille);
            }
            _ => {}
        }
    }

    /// Whoever watched somebody who left watches somebody else.
    fn follow(&mut self, room: usize) {
        for viewer in self.rooms[room].viewers.clone() {
            if let Some(publisher) = self.any_publisher(room) {
                self.world.switch(viewer, publisher);
            }
        }
    }

    /// The faults stop and everybody recovers; then everybody leaves, and nothing stays.
    fn end(mut self) -> Outcome {
        self.world.recover();
        let everybody: Vec<PeerId> = self
            .rooms
            .iter()
            .flat_map(|room| room.publishers.iter().chain(&room.viewers))
            .copied()
            .collect();
        for &peer in &everybody {
            assert!(self.world.is_connected(peer), "somebody never joined");
        }
        for peer in everybody {
            self.world.leave(peer);
        }
        self.world.run_ms(100);
        for shard in self.world.node.shards() {
            assert_eq!(shard.population(), Population::default());
        }
        Outcome {
            decisions: self.world.decisions(),
            traffic: self.world.traffic(),
            faults: self.world.network.faults(),
            simulated_us: self.world.now().0,
        }
    }
}

fn pick(world: &mut World, peers: &[PeerId]) -> Option<PeerId> {
    let at = usize::try_from(world.dice(peers.len() as u64)).expect("small");
    peers.get(at).copied()
}

/// Conditions as they are found, most of them bearable.
fn weather(world: &mut World) -> Conditions {
    let mut small = |end: u64| u32::try_from(world.dice(end)).expect("small");
    let mut conditions = Conditions {
        delay_us: 1_000 + u64::from(small(60_000)),
        jitter_us: u64::from(small(20_000)),
        ..Conditions::CLEAN
    };
    if small(2) == 0 {
        conditions.loss_per_mille = small(80);
    }
    if small(4) == 0 {
        conditions.burst = Some(Burst {
            loss_per_mille: small(100),
            mean_datagrams: 1 + small(12),
        });
    }
    if small(3) == 0 {
        conditions.reorder_per_mille = small(60);
        conditions.reorder_depth = 1 + small(30);
    }
    if small(3) == 0 {
        conditions.duplicate_per_mille = small(40);
    }
    if small(3) == 0 {
        conditions.corrupt_per_mille = small(20);
    }
    if small(6) == 0 {
        conditions.rate = Some(Rate {
            bps: 1_000_000 + u64::from(small(8_000_000)),
            queue_bytes: 20_000 + u64::from(small(100_000)),
        });
    }
    conditions
}

/// Peers with real handshakes on a bad network.
pub(crate) fn handshaking_class(seed: u64) -> Outcome {
    let pick = |n: u64, of: u64| (seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> (n * 8)) % of;
    let per_mille = |n: u64, of: u64| u32::try_from(pick(n, of)).unwrap_or(0);
    let conditions = Conditions {
        delay_us: 1_000 + pick(1, 60_000),
        jitter_us: pick(2, 20_000),
        loss_per_mille: per_mille(3, 60),
        duplicate_per_mille: per_mille(4, 30),
        reorder_per_mille: per_mille(6, 30),
        reorder_depth: 1 + per_mille(6, 20),
        // Plaintext handshake messages have no tag: damage there ends a handshake, rightly. It begins
        // when the last handshake is through, however many repetitions that took.
        ..Conditions::CLEAN
    };
    let mut world = World::new(seed, conditions);
    let teachers = [world.publish(), world.publish()];
    let students: Vec<_> = (0..3).map(|n| world.watch(teachers[n % 2])).collect();
    let everyone: Vec<_> = teachers.iter().chain(&students).copied().collect();
    world.await_joins(&everyone);
    world.run_ms(1_000);
    world
        .network
        .change_all(|conditions| conditions.corrupt_per_mille = per_mille(5, 15));
    for step in 0..4 {
        world.run_ms(1_500);
        world.switch(students[step % 3], teachers[(step + 1) % 2]);
    }
    // The faults stop: within three seconds everybody sees somebody.
    world.network.set(Conditions::CLEAN);
    let before: Vec<_> = students
        .iter()
        .map(|&s| world.peer(s).received().packets())
        .collect();
    world.run_ms(5_000);
    for (&student, before) in students.iter().zip(before) {
        assert_sees(&world, student, before + PACKETS_A_SECOND);
    }
    Outcome {
        decisions: 0,
        traffic: world.traffic(),
        faults: world.network.faults(),
        simulated_us: (world.now() - Micros::ZERO)
            .as_micros()
            .try_into()
            .unwrap_or(0),
    }
}
