//! A node: its shards and their handshake machines as they ship, driven inline.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::time::Instant;

use dataplane_api::command::{Command, Fingerprint, Inspect};
use dataplane_api::event::SessionClosed;
use dataplane_api::ids::{SessionId, ShardIndex, TrackId};
use dataplane_api::reply::Done;
use dataplane_api::{Event, Reply};
use dataplane_engine::packet::{Datagram, Path, SocketIndex};
use dataplane_engine::stats::Counters;
use dataplane_engine::time::Micros;
use dataplane_engine::transport::handshake::{
    HandshakeInput, HandshakeOutput, Handshakes, Identity,
};
use dataplane_engine::transport::keys::SrtpKeys;
use dataplane_engine::{Shard, ShardConfig, ShardLimits};

use crate::check::{Bounds, Conservation, Tap};
use crate::network::Delivery;
use crate::saboteur::Saboteur;
use crate::wire::{Committed, Wire};

const NODE_IP: IpAddr = IpAddr::V4(Ipv4Addr::new(192, 0, 2, 1));
const FIRST_PORT: u16 = 40_000;
/// How often what a shard holds is compared with what it should hold, if nothing changed.
const CENSUS_INTERVAL_US: u64 = 1_000_000;

/// One shard with its port.
#[derive(Debug)]
struct Host {
    shard: Shard,
    wire: Wire,
    address: SocketAddr,
    conservation: Conservation,
    /// It was given something since its last turn.
    touched: bool,
    /// Sessions, tracks or slots may have changed since they were last counted.
    changed: bool,
    census_at: Micros,
}

/// One simulated node.
#[derive(Debug)]
pub struct Node {
    hosts: Vec<Host>,
    base: Instant,
    /// Made when the first peer with a real handshake comes: its key cannot be seeded.
    handshakes: Option<Handshakes>,
    /// Keys of the sessions that need no handshake.
    keys: BTreeMap<SessionId, SrtpKeys>,
    places: BTreeMap<SessionId, usize>,
    track_places: BTreeMap<TrackId, usize>,
    events: Vec<Event>,
    handed_over: u64,
}

impl Node {
    /// A node of `shards` shards whose own choices follow from `seed`. `base` is the instant of time zero.
    #[must_use]
    pub fn new(seed: u64, base: Instant, shards: u16) -> Node {
        let host = |n: u16| {
            let address = SocketAddr::new(NODE_IP, FIRST_PORT + n);
            let mut bytes = [0; 32];
            bytes[..8].copy_from_slice(&seed.to_be_bytes());
            bytes[8..10].copy_from_slice(&n.to_be_bytes());
            Host {
                shard: Shard::new(ShardConfig {
                    index: ShardIndex(n),
                    seed: bytes,
                    candidates: vec![address],
                    limits: ShardLimits::default(),
                }),
                wire: Wire::new(seed ^ u64::from(n)),
                address,
                conservation: Conservation::default(),
                touched: true,
                changed: true,
                census_at: Micros::ZERO,
            }
        };
        Node {
            hosts: (0..shards).map(host).collect(),
            base,
            handshakes: None,
            keys: BTreeMap::new(),
            places: BTreeMap::new(),
            track_places: BTreeMap::new(),
            events: Vec::new(),
            handed_over: 0,
        }
    }

    /// The node's certificate fingerprint.
    ///
    /// # Panics
    /// When no certificate can be made.
    #[must_use]
    pub fn fingerprint(&mut self) -> Fingerprint {
        self.handshakes().fingerprint()
    }

    fn handshakes(&mut self) -> &mut Handshakes {
        let base = self.base;
        self.handshakes.get_or_insert_with(|| {
            Handshakes::new(Identity::generate().expect("a certificate"), base)
        })
    }

    /// A session will get these keys, the node's side local, as soon as its first check is valid.
    pub fn inject_keys(&mut self, session: SessionId, keys: SrtpKeys) {
        self.keys.insert(session, keys);
    }

    /// Share of runs that a socket refuses, per mille.
    pub fn refuse_sends(&mut self, per_mille: u32) {
        for host in &mut self.hosts {
            host.wire.refuse_per_mille = per_mille;
        }
    }

    /// One order, to the shard of its room, session or track.
    pub fn order(&mut self, now: Micros, command: Command) -> Reply {
        let session = |places: &BTreeMap<SessionId, usize>, id| places.get(id).copied();
        let place = match &command {
            Command::Admit(order) => {
                let place = self.place_of_room(order.room.0);
                self.places.insert(order.session, place);
                Some(place)
            }
            Command::Close(order) => session(&self.places, &order.session),
            Command::Publish(order) => {
                let place = session(&self.places, &order.session);
                if let Some(place) = place {
                    self.track_places.insert(order.track, place);
                }
                place
            }
            Command::Unpublish(order) => self.track_places.get(&order.track).copied(),
            Command::Subscribe(order) => session(&self.places, &order.session),
            Command::Unsubscribe(order) => session(&self.places, &order.session),
            Command::SetPolicy(order) => session(&self.places, &order.session),
            Command::RestartIce(order) => session(&self.places, &order.session),
            Command::Accept(order) => session(&self.places, &order.session),
            Command::Inspect(Inspect::Session(id)) => session(&self.places, id),
            Command::Inspect(Inspect::Room(_) | Inspect::Shard(_))
            | Command::Snapshot(_)
            | Command::Drain(_)
            | Command::Ping(_) => Some(0),
        };
        let Some(host) = place.and_then(|place| self.hosts.get_mut(place)) else {
            // What is gone is closed, unpublished and unsubscribed already.
            return Reply::Done(Done {});
        };
        host.touched = true;
        host.changed = true;
        host.shard.on_command(now, command)
    }

    /// Where a room's sessions live.
    #[must_use]
    pub fn place_of_room(&self, room: u64) -> usize {
        usize::try_from(room % self.hosts.len() as u64).expect("invariant: below a usize")
    }

    /// The address of a shard.
    #[must_use]
    pub fn address(&self, shard: usize) -> SocketAddr {
        self.hosts[shard].address
    }

    /// Whether a datagram to `address` reaches this node.
    #[must_use]
    pub fn listens_at(&self, address: SocketAddr) -> bool {
        self.hosts.iter().any(|host| host.address == address)
    }

    /// One datagram.
    pub fn receive(&mut self, now: Micros, delivery: &mut Delivery) {
        let Some(place) = self.hosts.iter().position(|h| h.address == delivery.to) else {
            return;
        };
        let path = Path {
            local: delivery.to.ip(),
            remote: delivery.from,
            socket: SocketIndex::UDP_V4,
        };
        self.hosts[place].receive(now, path, now, &mut delivery.bytes);
        while let Some(mut handover) = self.hosts[place].shard.poll_handover() {
            if let Some(other) = self.hosts.get_mut(usize::from(handover.shard.0)) {
                self.handed_over += 1;
                other.receive(now, handover.path, handover.arrival, &mut handover.bytes);
            }
        }
    }

    /// The rest of a turn of every shard that has something to do; returns what leaves the node.
    pub fn turn(
        &mut self,
        now: Micros,
        tap: &mut Tap,
        mut saboteur: Option<&mut Saboteur>,
    ) -> Vec<Delivery> {
        let mut leaving = Vec::new();
        if let Some(handshakes) = &mut self.handshakes {
            handshakes.on_timeout(now);
        }
        for place in 0..self.hosts.len() {
            self.exchange_handshakes(now, place);
            let host = &mut self.hosts[place];
            let due = host.shard.next_deadline().is_some_and(|at| at <= now);
            if !std::mem::take(&mut host.touched) && !due {
                continue;
            }
            host.shard.on_tick(now);
            self.exchange_handshakes(now, place);
            let host = &mut self.hosts[place];
            host.shard.flush(now, host.wire.at(now));
            while let Some(event) = host.shard.poll_event() {
                host.changed = true;
                if let Event::SessionClosed(SessionClosed { session, .. }) = &event {
                    self.places.remove(session);
                    tap.close(now, *session);
                }
                self.events.push(event);
            }
            host.report_failures(now);
            host.judge(now, place, tap, saboteur.as_deref_mut(), &mut leaving);
        }
        leaving
    }

    /// What the shard wants of the handshake machine and what that has to say; sessions with injected keys
    /// get them instead.
    fn exchange_handshakes(&mut self, now: Micros, place: usize) {
        while let Some(input) = self.hosts[place].shard.poll_handshake() {
            let session = input.session();
            match self.keys.get(&session) {
                None => self.handshakes().on_input(now, input),
                Some(keys) => {
                    if let HandshakeInput::Start { .. } = input {
                        let output = HandshakeOutput::Keyed {
                            session,
                            keys: keys.clone(),
                            flight: Vec::new(),
                        };
                        self.hosts[place].on_handshake(now, output);
                    }
                }
            }
        }
        let Some(handshakes) = &mut self.handshakes else {
            return;
        };
        while let Some(output) = handshakes.poll_output() {
            // A session that ended here may have a last word.
            let place = self.places.get(&output.session()).copied().unwrap_or(place);
            self.hosts[place].on_handshake(now, output);
        }
    }

    /// When the node wants a turn even if nothing arrives.
    #[must_use]
    pub fn next_deadline(&self) -> Option<Micros> {
        let shards = self.hosts.iter().filter_map(|host| {
            if host.touched {
                Some(Micros::ZERO)
            } else {
                host.shard.next_deadline()
            }
        });
        let handshakes = self.handshakes.as_ref().and_then(Handshakes::next_deadline);
        shards.chain(handshakes).min()
    }

    /// Checks that reached a shard other than their own.
    #[must_use]
    pub fn handed_over(&self) -> u64 {
        self.handed_over
    }

    /// Every event so far.
    #[must_use]
    pub fn events(&self) -> &[Event] {
        &self.events
    }

    /// The first shard, to look at.
    #[must_use]
    pub fn shard(&self) -> &Shard {
        &self.hosts[0].shard
    }

    /// Every shard, to look at.
    pub fn shards(&self) -> impl Iterator<Item = &Shard> {
        self.hosts.iter().map(|host| &host.shard)
    }

    /// Counters of every shard.
    pub fn counters(&self) -> impl Iterator<Item = &Counters> {
        self.shards().map(Shard::counters)
    }
}

impl Host {
    fn receive(&mut self, now: Micros, path: Path, arrival: Micros, bytes: &mut [u8]) {
        self.touched = true;
        self.conservation.hand_in();
        let datagram = Datagram {
            path,
            bytes,
            arrival,
        };
        self.shard.on_datagram(now, datagram);
    }

    fn on_handshake(&mut self, now: Micros, output: HandshakeOutput) {
        self.touched = true;
        self.shard.on_handshake(now, output);
    }

    fn report_failures(&mut self, now: Micros) {
        for failed in self.wire.take_failures() {
            self.shard.on_send_failed(now, failed);
        }
    }

    fn judge(
        &mut self,
        now: Micros,
        place: usize,
        tap: &mut Tap,
        saboteur: Option<&mut Saboteur>,
        leaving: &mut Vec<Delivery>,
    ) {
        let mut committed: Vec<Committed> = self.wire.drain().collect();
        let mut counters = None;
        let mut population = self.shard.population();
        if let Some(saboteur) = saboteur {
            let mut copy = self.shard.counters().clone();
            saboteur.tamper(now, place, &mut committed, &mut copy, &mut population);
            counters = Some(copy);
        }
        tap.begin_flush(self.shard.counters().paused_packets);
        for Committed { path, bytes, left } in committed {
            self.conservation.come_out();
            tap.judge(now, path.remote, &bytes);
            if left {
                leaving.push(Delivery {
                    from: self.address,
                    to: path.remote,
                    bytes,
                });
            }
        }
        let queued = self.shard.queued_packets();
        let counters = counters.as_ref().unwrap_or(self.shard.counters());
        self.conservation
            .judge(now, counters, queued, tap.report_mut());
        let due = self.census_at <= now;
        if std::mem::take(&mut self.changed) || due {
            let expected = tap.expected(place);
            Bounds::judge(now, population, expected, queued, tap.report_mut());
        }
        if due {
            self.census_at = now.plus_us(CENSUS_INTERVAL_US);
            let here: Vec<SessionId> = tap
                .open_sessions()
                .filter(|&(_, shard)| shard == place)
                .map(|(session, _)| session)
                .collect();
            for session in here {
                if let Some(json) = self.shard.inspect(Inspect::Session(session)) {
                    Bounds::judge_session(now, &json, tap.report_mut());
                }
            }
        }
    }
}
