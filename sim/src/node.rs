//! A node with one shard: the engine and its handshake machines as they ship, driven inline.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::time::Instant;

use dataplane_api::command::{Command, Fingerprint};
use dataplane_api::ids::ShardIndex;
use dataplane_api::{Event, Reply};
use dataplane_engine::packet::{Datagram, Path, SocketIndex};
use dataplane_engine::time::Micros;
use dataplane_engine::transport::handshake::{Handshakes, Identity};
use dataplane_engine::{Shard, ShardConfig, ShardLimits};

use crate::check;
use crate::network::Delivery;
use crate::wire::Wire;

/// Where the node listens.
pub const NODE_ADDRESS: SocketAddr =
    SocketAddr::new(IpAddr::V4(Ipv4Addr::new(192, 0, 2, 1)), 40_000);

/// One simulated node.
#[derive(Debug)]
pub struct Node {
    shard: Shard,
    handshakes: Handshakes,
    wire: Wire,
    events: Vec<Event>,
}

impl Node {
    /// A node whose own choices follow from `seed`. `base` is the instant of time zero.
    ///
    /// # Panics
    /// When no certificate can be made.
    #[must_use]
    pub fn new(seed: u64, base: Instant) -> Node {
        let mut bytes = [0; 32];
        bytes[..8].copy_from_slice(&seed.to_be_bytes());
        let identity = Identity::generate().expect("a certificate");
        Node {
            shard: Shard::new(ShardConfig {
                index: ShardIndex(0),
                seed: bytes,
                candidates: vec![NODE_ADDRESS],
                limits: ShardLimits::default(),
            }),
            handshakes: Handshakes::new(identity, base),
            wire: Wire::default(),
            events: Vec::new(),
        }
    }

    /// The node's certificate fingerprint.
    #[must_use]
    pub fn fingerprint(&self) -> Fingerprint {
        self.handshakes.fingerprint()
    }

    /// One order.
    pub fn order(&mut self, now: Micros, command: Command) -> Reply {
        self.shard.on_command(now, command)
    }

    /// One datagram.
    pub fn receive(&mut self, now: Micros, delivery: &mut Delivery) {
        let path = Path {
            local: NODE_ADDRESS.ip(),
            remote: delivery.from,
            socket: SocketIndex::UDP_V4,
        };
        self.shard.on_datagram(
            now,
            Datagram {
                path,
                bytes: &mut delivery.bytes,
                arrival: now,
            },
        );
    }

    /// The rest of a turn; returns what leaves the node.
    pub fn turn(&mut self, now: Micros) -> Vec<Delivery> {
        self.shard.on_tick(now);
        while let Some(input) = self.shard.poll_handshake() {
            self.handshakes.on_input(now, input);
        }
        self.handshakes.on_timeout(now);
        while let Some(output) = self.handshakes.poll_output() {
            self.shard.on_handshake(now, output);
        }
        self.shard.flush(now, self.wire.at(now));
        while let Some(event) = self.shard.poll_event() {
            self.events.push(event);
        }
        check::conservation(&self.shard);
        self.wire
            .drain()
            .map(|(path, bytes)| Delivery {
                from: NODE_ADDRESS,
                to: path.remote,
                bytes,
            })
            .collect()
    }

    /// When the node wants a turn even if nothing arrives.
    #[must_use]
    pub fn next_deadline(&self) -> Option<Micros> {
        [self.shard.next_deadline(), self.handshakes.next_deadline()]
            .into_iter()
            .flatten()
            .min()
    }

    /// Every event so far.
    #[must_use]
    pub fn events(&self) -> &[Event] {
        &self.events
    }

    /// The shard, to look at.
    #[must_use]
    pub fn shard(&self) -> &Shard {
        &self.shard
    }
}
