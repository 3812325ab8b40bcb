//! The node, its peers and the network between them, a millisecond at a time.

use std::collections::VecDeque;

use dataplane_api::command::Setup;
use dataplane_api::event::{CloseReason, Event};
use dataplane_engine::packet::Path;
use dataplane_engine::time::Micros;
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};

use crate::node::{Node, admitted};
use crate::peer::{Habits, Peer, is_rtp};

/// One way.
const LATENCY_MS: u64 = 10;

#[derive(Debug)]
struct Flying {
    lands_at: Micros,
    to_node: bool,
    path: Path,
    bytes: Vec<u8>,
}

/// Whether a datagram is lost: whether it goes to the node, and its bytes.
pub(crate) type Loses = Box<dyn FnMut(bool, &[u8]) -> bool>;

pub(crate) struct World {
    pub(crate) now: Micros,
    pub(crate) node: Node,
    pub(crate) peers: Vec<Peer>,
    /// Of all datagrams, in both directions.
    pub(crate) loss_percent: u32,
    /// What is lost besides.
    pub(crate) loses: Loses,
    /// RTP that left the node.
    pub(crate) media_out: Vec<(Micros, Path)>,
    wire: VecDeque<Flying>,
    rng: StdRng,
}

impl World {
    pub(crate) fn new(seed: u64) -> World {
        World {
            now: Micros(5_000_000),
            node: Node::new(),
            peers: Vec::new(),
            loss_percent: 0,
            loses: Box::new(|_, _| false),
            media_out: Vec::new(),
            wire: VecDeque::new(),
            rng: StdRng::seed_from_u64(seed),
        }
    }

    /// A peer that begins to join; its number. Its NAT gives it a port of its own.
    pub(crate) fn admit(&mut self, setup: Setup, habits: Habits) -> usize {
        let port = 5_000 + 100 * u16::try_from(self.peers.len()).unwrap();
        let mut peer = Peer::new(self.now, port, setup, habits);
        let fingerprint = peer.dtls.fingerprint();
        let reply = self.node.admit(self.now, peer.session, fingerprint, setup);
        peer.admitted = admitted(reply);
        self.peers.push(peer);
        self.peers.len() - 1
    }

    /// A peer that is offered a session, and begins its checks before it has answered; its number.
    pub(crate) fn offer(&mut self, setup: Setup, habits: Habits) -> usize {
        let port = 5_000 + 100 * u16::try_from(self.peers.len()).unwrap();
        let mut peer = Peer::new(self.now, port, setup, habits);
        peer.admitted = admitted(self.node.offer(self.now, peer.session));
        self.peers.push(peer);
        self.peers.len() - 1
    }

    /// A peer that has joined.
    pub(crate) fn join(&mut self, habits: Habits) -> usize {
        let peer = self.admit(Setup::ActPass, habits);
        self.run_ms(500);
        assert!(self.peers[peer].is_keyed());
        peer
    }

    /// A publisher and a viewer of its camera, with media flowing.
    pub(crate) fn class(publisher: Habits, viewer: Habits) -> (World, usize, usize) {
        let mut world = World::new(1);
        let publisher = world.join(publisher.publishing());
        let session = world.peers[publisher].session;
        world.node.publish(world.now, session);
        let viewer = world.join(viewer);
        let watching = world.peers[viewer].session;
        world.node.subscribe(world.now, watching, session);
        world.run_ms(1_000);
        assert!(world.peers[viewer].opened.len() > 30, "media flows");
        (world, publisher, viewer)
    }

    pub(crate) fn run_ms(&mut self, ms: u64) {
        for _ in 0..ms {
            self.step();
        }
    }

    fn step(&mut self) {
        self.now = self.now.plus_ms(1);
        let now = self.now;
        for peer in &mut self.peers {
            for (path, bytes) in peer.act(now) {
                let lost = self.rng.random_range(0..100) < self.loss_percent;
                if !lost && !peer.dark && !(self.loses)(true, &bytes) {
                    self.wire.push_back(Flying {
                        lands_at: now.plus_ms(LATENCY_MS),
                        to_node: true,
                        path,
                        bytes,
                    });
                }
            }
        }
        let mut busy = self.node.is_due(now);
        while self.wire.front().is_some_and(|f| f.lands_at <= now) {
            let mut flying = self.wire.pop_front().unwrap();
            if flying.to_node {
                self.node.receive(now, flying.path, &mut flying.bytes);
                busy = true;
            } else {
                self.land(now, &flying);
            }
        }
        let mut turns = 0;
        while busy {
            self.turn();
            turns += 1;
            assert!(turns < 10, "a deadline that does not move is a busy loop");
            busy = self.node.is_due(now);
        }
    }

    /// One turn of the node.
    pub(crate) fn turn(&mut self) {
        let now = self.now;
        for (path, bytes) in self.node.turn(now) {
            if is_rtp(&bytes) {
                self.media_out.push((now, path));
            }
            let lost = self.rng.random_range(0..100) < self.loss_percent;
            if !lost && !(self.loses)(false, &bytes) {
                self.wire.push_back(Flying {
                    lands_at: now.plus_ms(LATENCY_MS),
                    to_node: false,
                    path,
                    bytes,
                });
            }
        }
    }

    fn land(&mut self, now: Micros, flying: &Flying) {
        let fingerprint = self.node.handshakes.fingerprint();
        let reached = |peer: &&mut Peer| {
            peer.at == flying.path || peer.backup.is_some_and(|(path, _)| path == flying.path)
        };
        if let Some(peer) = self.peers.iter_mut().find(reached)
            && !peer.dark
            && peer.receive(now, flying.path, &flying.bytes)
        {
            peer.start_dtls(now, fingerprint);
        }
    }

    /// Why the node closed the session of `peer`, if it did.
    pub(crate) fn closed(&self, peer: usize) -> Option<CloseReason> {
        let session = self.peers[peer].session;
        self.node.events.iter().find_map(|event| {
            let Event::SessionClosed(closed) = event else {
                return None;
            };
            (closed.session == session).then_some(closed.reason)
        })
    }

    /// RTP that left for `path` since `since`.
    pub(crate) fn media_to(&self, path: Path, since: Micros) -> usize {
        let media = self.media_out.iter();
        media.filter(|&&(at, to)| to == path && at >= since).count()
    }

    /// The longest time without RTP at `peer` since `since`, in ms.
    pub(crate) fn gap_ms(&self, peer: usize, since: Micros) -> u64 {
        let times = self.peers[peer].media_times();
        let times = times.into_iter().filter(|&at| at >= since);
        let mut last = since;
        let mut longest = 0;
        for at in times.chain([self.now]) {
            longest = longest.max(at.since(last));
            last = at;
        }
        longest / 1_000
    }
}
