//! A node, peers and the network between them, on one clock.

mod faults;
mod offers;
mod people;

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::time::Instant;

use codecs::rtcp::is_rtcp;
use codecs::rtp::RtpView;
use dataplane_api::ids::{RoomId, SessionId, TrackId};
use dataplane_api::media::MediaKind;
use dataplane_engine::time::Micros;
use rand::SeedableRng;
use rand::rngs::StdRng;

use crate::check::{Tap, Violation, digest};
use crate::network::{Conditions, Delivery, LinkId, Network, Way};
use crate::node::Node;
use crate::peer::Peer;
use crate::saboteur::{Plant, Saboteur};
use crate::source::codec;
use crate::wired::{PublisherPlan, ViewerPlan, Wired};

/// Where nobody is.
const NOWHERE: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::UNSPECIFIED), 0);

/// More turns than that have no cause in traffic.
const TURNS_A_MS_MAX: u64 = 400;

/// Names a peer of one world.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PeerId(usize);

/// What a peer runs on.
#[derive(Debug)]
enum Client {
    /// A real handshake, by code that is not ours.
    Handshaking(Box<Peer>),
    /// Injected keys.
    Wired(Box<Wired>),
}

/// What a peer does here.
#[derive(Clone, Copy, Debug)]
enum Part {
    Publishes(PublisherPlan),
    Watches(ViewerPlan),
}

#[derive(Debug)]
struct Member {
    client: Client,
    link: LinkId,
    session: SessionId,
    room: RoomId,
    part: Part,
    track: Option<TrackId>,
    /// Whom a viewer watches.
    watches: Option<PeerId>,
    /// Where the node sees it: its own address, or what a NAT made of it.
    seen_at: SocketAddr,
    /// It neither sends nor hears while unplugged.
    plugged: bool,
    /// Its session ended by order.
    gone: bool,
}

/// Totals of a world, for summaries.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Traffic {
    /// Datagrams to the node.
    pub up: u64,
    /// Datagrams from the node.
    pub down: u64,
}

/// Some simulated classes on one node.
#[derive(Debug)]
pub struct World {
    base: Instant,
    now: Micros,
    seed: u64,
    rng: StdRng,
    /// Peers get keys instead of handshakes.
    wired: bool,
    /// The network, to change its conditions.
    pub network: Network,
    /// The node, to look at.
    pub node: Node,
    tap: Tap,
    saboteur: Option<Saboteur>,
    members: Vec<Member>,
    /// Who is at an address, for what arrives.
    at: BTreeMap<SocketAddr, usize>,
    /// Who was last at an address, for what is on its way.
    was_at: BTreeMap<SocketAddr, usize>,
    next_id: u64,
    traffic: Traffic,
    /// Of everything that the node decided.
    decisions: u64,
    events_seen: usize,
    /// Bytes the node sent to addresses where no peer is.
    pub bytes_to_strangers: u64,
}

impl World {
    /// An empty class of peers with real handshakes on one shard.
    #[must_use]
    pub fn new(seed: u64, conditions: Conditions) -> World {
        World::of(seed, conditions, 1, false)
    }

    /// An empty node of `shards` shards for peers with injected keys: all that happens there follows from the
    /// seed, byte for byte.
    #[must_use]
    pub fn wired(seed: u64, conditions: Conditions, shards: u16) -> World {
        World::of(seed, conditions, shards, true)
    }

    fn of(seed: u64, conditions: Conditions, shards: u16, wired: bool) -> World {
        // The peers with handshakes count in instants, of which none can be made from nothing. Nothing but
        // distances from this one is ever used.
        let base = Instant::now();
        World {
            base,
            now: Micros::ZERO,
            seed,
            rng: StdRng::seed_from_u64(seed),
            wired,
            network: Network::new(seed, conditions),
            node: Node::new(seed, base, shards),
            tap: Tap::default(),
            saboteur: None,
            members: Vec::new(),
            at: BTreeMap::new(),
            was_at: BTreeMap::new(),
            next_id: 1,
            traffic: Traffic::default(),
            decisions: 0,
            events_seen: 0,
            bytes_to_strangers: 0,
        }
    }

    /// Plants a bug from time `from` on. The checkers then report and do not panic.
    pub fn sabotage(&mut self, plant: Plant, from: Micros) {
        self.saboteur = Some(Saboteur::new(plant, from));
    }

    /// How often the planted bug happened.
    #[must_use]
    pub fn planted(&self) -> u64 {
        self.saboteur.as_ref().map_or(0, Saboteur::planted)
    }

    /// Simulated time.
    #[must_use]
    pub fn now(&self) -> Micros {
        self.now
    }

    /// What the checkers found.
    #[must_use]
    pub fn violations(&self) -> &[Violation] {
        self.tap.report().violations()
    }

    /// What the checkers looked into.
    #[must_use]
    pub fn tap(&self) -> &Tap {
        &self.tap
    }

    /// Datagrams so far.
    #[must_use]
    pub fn traffic(&self) -> Traffic {
        self.traffic
    }

    /// A number that is the same exactly when the node decided the same: when it sent what to whom, how long and
    /// with which header, and what it said.
    #[must_use]
    pub fn decisions(&self) -> u64 {
        self.decisions
    }

    /// Lets `duration_ms` of simulated time pass.
    ///
    /// # Panics
    /// When a checker finds something and no bug is planted.
    pub fn run_ms(&mut self, duration_ms: u64) {
        let until = self.now.plus_ms(duration_ms);
        let mut turns = 0;
        loop {
            self.exchange();
            turns += 1;
            // Whoever asks to be called at a time that has passed would keep a core busy for ever.
            assert!(
                turns < duration_ms.max(100) * TURNS_A_MS_MAX,
                "the class spins at {:?}: node wants {:?}, network {:?}, peers {:?}",
                self.now,
                self.node.next_deadline(),
                self.network.next_arrival(),
                self.deadlines().collect::<Vec<_>>(),
            );
            let next = self.next_event();
            if next > until {
                break;
            }
            self.now = self.now.max(next);
        }
        self.now = until;
        self.assert_sound();
    }

    /// Panics with what the checkers found, unless a bug is planted.
    fn assert_sound(&self) {
        let [first, rest @ ..] = self.violations() else {
            return;
        };
        assert!(
            self.saboteur.is_some(),
            "{first}\n(and {} more; seed {}, at {} ms)",
            rest.len(),
            self.seed,
            self.now.0 / 1_000,
        );
    }

    /// Everything that happens at this instant.
    fn exchange(&mut self) {
        for place in 0..self.members.len() {
            if self.deadline(place) <= self.now {
                self.members[place].on_timeout(self.base, self.now);
                self.collect(place);
            }
        }
        let mut heard = Vec::new();
        while let Some(mut delivery) = self.network.arrive(self.now) {
            if self.node.listens_at(delivery.to) {
                self.note_speech(&delivery);
                self.traffic.up += 1;
                self.node.receive(self.now, &mut delivery);
            } else if let Some(&place) = self.at.get(&delivery.to) {
                let member = &mut self.members[place];
                if member.plugged {
                    member.receive(self.base, self.now, delivery);
                    heard.push(place);
                }
            } else {
                self.bytes_to_strangers += delivery.bytes.len() as u64;
            }
        }
        for delivery in self
            .node
            .turn(self.now, &mut self.tap, self.saboteur.as_mut())
        {
            self.traffic.down += 1;
            self.note_decision(&delivery);
            match self.was_at.get(&delivery.to) {
                Some(&place) => {
                    let link = self.members[place].link;
                    self.network.send(self.now, link, Way::Down, delivery);
                }
                None => self.bytes_to_strangers += delivery.bytes.len() as u64,
            }
        }
        self.note_events();
        for place in heard {
            self.collect(place);
        }
    }

    /// Sends on its way what a peer has to say.
    fn collect(&mut self, place: usize) {
        let member = &mut self.members[place];
        while let Some(mut delivery) = member.poll_outgoing() {
            if member.plugged {
                delivery.from = member.seen_at;
                self.network.send(self.now, member.link, Way::Up, delivery);
            }
        }
    }

    fn next_event(&self) -> Micros {
        self.deadlines()
            .chain(self.network.next_arrival())
            .chain(self.node.next_deadline())
            .min()
            .unwrap_or(Micros(u64::MAX))
            // Instants are finer than the clock: what is due within this microsecond is due in the next.
            .max(self.now.plus_us(1))
    }

    fn deadlines(&self) -> impl Iterator<Item = Micros> + '_ {
        (0..self.members.len()).map(|place| self.deadline(place))
    }

    fn deadline(&self, place: usize) -> Micros {
        match &self.members[place].client {
            Client::Wired(peer) if self.members[place].plugged => peer.next_deadline(),
            // Nobody hears it: let it be.
            Client::Wired(_) => Micros(u64::MAX),
            Client::Handshaking(peer) => {
                let at = peer.next_deadline().saturating_duration_since(self.base);
                Micros(u64::try_from(at.as_micros()).unwrap_or(u64::MAX))
            }
        }
    }

    /// Tells the checker of speech what the node is about to hear.
    fn note_speech(&mut self, delivery: &Delivery) {
        if !matches!(delivery.bytes.first(), Some(128..=191)) || is_rtcp(&delivery.bytes) {
            return;
        }
        let Some(&place) = self.at.get(&delivery.from) else {
            return;
        };
        if let Ok(view) = RtpView::parse(&delivery.bytes)
            && view.payload_type() == codec(MediaKind::Audio).pt
        {
            let publisher = stamp_name(self.members[place].session);
            self.tap.audio_arrived(self.now, publisher, view.seq().0);
        }
    }

    fn note_decision(&mut self, delivery: &Delivery) {
        let head = delivery.bytes.len().min(12);
        let what = [
            self.now.0,
            u64::from(delivery.to.port()),
            delivery.bytes.len() as u64,
            digest(&delivery.bytes[..head]),
        ];
        self.mix(&what);
    }

    fn note_events(&mut self) {
        for n in self.events_seen..self.node.events().len() {
            let event = format!("{:?}", self.node.events()[n]);
            self.mix(&[self.now.0, digest(event.as_bytes())]);
        }
        self.events_seen = self.node.events().len();
    }

    fn mix(&mut self, what: &[u64]) {
        for number in what {
            self.decisions = (self.decisions ^ number)
                .wrapping_mul(0x0000_0100_0000_01b3)
                .rotate_left(29);
        }
    }

    fn instant(&self) -> Instant {
        self.base + (self.now - Micros::ZERO)
    }
}

impl Member {
    fn on_timeout(&mut self, base: Instant, now: Micros) {
        match &mut self.client {
            Client::Handshaking(peer) => peer.on_timeout(base + (now - Micros::ZERO)),
            Client::Wired(peer) => peer.on_timeout(now),
        }
    }

    fn receive(&mut self, base: Instant, now: Micros, mut delivery: Delivery) {
        match &mut self.client {
            Client::Handshaking(peer) => {
                delivery.to = peer.address();
                peer.receive(base + (now - Micros::ZERO), &delivery);
            }
            Client::Wired(peer) => peer.receive(now, &mut delivery),
        }
    }

    fn poll_outgoing(&mut self) -> Option<Delivery> {
        match &mut self.client {
            Client::Handshaking(peer) => peer.poll_outgoing(),
            Client::Wired(peer) => peer.poll_outgoing(),
        }
    }
}

/// How stamps name the publisher with this session.
fn stamp_name(session: SessionId) -> u32 {
    u32::try_from(session.0).expect("invariant: a world is small")
}
