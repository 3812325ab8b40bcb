//! A node, peers and the network between them, on one clock.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::time::Instant;

use dataplane_api::command::{
    Admit, Close, Command, Publish, SessionPolicy, Slot, Source, Subscribe,
};
use dataplane_api::ids::{RoomId, SessionId, SlotId, TrackId};
use dataplane_api::media::{Encoding, MediaKind};
use dataplane_api::reply::{Admitted, Reply};
use dataplane_engine::time::Micros;

use crate::network::{Conditions, Delivery, Network};
use crate::node::Node;
use crate::peer::Peer;
use crate::source;

const VIDEO: MediaKind = MediaKind::Video;
const AUDIO: MediaKind = MediaKind::Audio;

/// Where nobody is.
const NOWHERE: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::UNSPECIFIED), 0);

/// More turns than that have no cause in traffic.
const TURNS_A_MS_MAX: u64 = 50;

/// Names a peer of one world.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PeerId(usize);

#[derive(Debug)]
struct Member {
    peer: Peer,
    session: SessionId,
    track: Option<TrackId>,
    /// Where the node sees it: its own address, or what a NAT made of it.
    seen_at: SocketAddr,
    /// It neither sends nor hears while unplugged.
    plugged: bool,
}

/// One simulated class.
#[derive(Debug)]
pub struct World {
    base: Instant,
    now: Micros,
    /// The network, to change its conditions.
    pub network: Network,
    /// The node, to look at.
    pub node: Node,
    members: Vec<Member>,
    next_id: u64,
    /// Bytes the node sent to addresses that belong to no peer.
    pub bytes_to_strangers: u64,
}

impl World {
    /// An empty class.
    #[must_use]
    pub fn new(seed: u64, conditions: Conditions) -> World {
        let base = Instant::now();
        World {
            base,
            now: Micros::ZERO,
            network: Network::new(seed, conditions),
            node: Node::new(seed, base),
            members: Vec::new(),
            next_id: 1,
            bytes_to_strangers: 0,
        }
    }

    /// Simulated time.
    #[must_use]
    pub fn now(&self) -> Micros {
        self.now
    }

    /// A peer that publishes one VP8 track.
    ///
    /// # Panics
    /// When the node refuses it.
    pub fn publish(&mut self) -> PeerId {
        self.publish_media(&[VIDEO])
    }

    /// A peer that publishes VP8 and Opus.
    ///
    /// # Panics
    /// When the node refuses it.
    pub fn publish_with_voice(&mut self) -> PeerId {
        self.publish_media(&[VIDEO, AUDIO])
    }

    fn publish_media(&mut self, kinds: &[MediaKind]) -> PeerId {
        let (id, address) = self.next_peer();
        let ssrcs = |kind| ssrc(0x1000, id, kind);
        let voice = kinds.contains(&AUDIO).then(|| ssrcs(AUDIO));
        let number = u32::try_from(id).unwrap_or(0);
        let mut peer = Peer::publisher(self.instant(), number, address, ssrcs(VIDEO), voice);
        let session = SessionId(id);
        let admitted = self.admit(session, &mut peer, Vec::new());
        for &kind in kinds {
            let reply = self.node.order(
                self.now,
                Command::Publish(Publish {
                    track: track(id, kind),
                    session,
                    uid: [0; 16],
                    origin_node: [0; 16],
                    hops: 0,
                    kind,
                    mid: source::mid(kind).into(),
                    codecs: vec![source::codec(kind)],
                    encodings: vec![Encoding {
                        rid: None,
                        ssrc: Some(ssrcs(kind)),
                        rtx_ssrc: None,
                    }],
                    opaque: false,
                    tag: Vec::new(),
                }),
            );
            assert!(matches!(reply, Reply::Done(_)), "{reply:?}");
        }
        peer.answer(&admitted, &self.node.fingerprint());
        self.add(peer, session, Some(track(id, VIDEO)))
    }

    /// A peer that watches what `publisher` publishes.
    ///
    /// # Panics
    /// When the node refuses it, or `publisher` publishes nothing.
    pub fn watch(&mut self, publisher: PeerId) -> PeerId {
        let (id, address) = self.next_peer();
        self.watch_from(publisher, id, address)
    }

    /// Whoever sat at `viewer` starts again, at the same address, without having said goodbye.
    ///
    /// # Panics
    /// When the node refuses it, or `publisher` publishes nothing.
    pub fn reload(&mut self, viewer: PeerId, publisher: PeerId) -> PeerId {
        let (id, _) = self.next_peer();
        let address = self.members[viewer.0].seen_at;
        self.members[viewer.0].plugged = false;
        self.members[viewer.0].seen_at = NOWHERE;
        self.watch_from(publisher, id, address)
    }

    fn watch_from(&mut self, publisher: PeerId, id: u64, address: SocketAddr) -> PeerId {
        let ssrcs = |kind| ssrc(0x2000, id, kind);
        let voice = self.peer(publisher).has_voice().then(|| ssrcs(AUDIO));
        let number = u32::try_from(id).unwrap_or(0);
        let mut peer = Peer::viewer(self.instant(), number, address, ssrcs(VIDEO), voice);
        let session = SessionId(id);
        let slot = |kind| Slot {
            slot: slot(kind),
            kind,
            mid: source::mid(kind).into(),
            ssrc: ssrcs(kind),
            rtx_ssrc: None,
            codecs: vec![source::codec(kind)],
        };
        let mut slots = vec![slot(VIDEO)];
        slots.extend(voice.map(|_| slot(AUDIO)));
        let admitted = self.admit(session, &mut peer, slots);
        peer.answer(&admitted, &self.node.fingerprint());
        let viewer = self.add(peer, session, None);
        self.switch(viewer, publisher);
        viewer
    }

    /// Fills a viewer's slots from another publisher.
    ///
    /// # Panics
    /// When the node refuses it.
    pub fn switch(&mut self, viewer: PeerId, publisher: PeerId) {
        let TrackId(id) = self.members[publisher.0].track.expect("a publisher");
        let both = self.peer(publisher).has_voice() && self.peer(viewer).has_voice();
        for kind in [VIDEO].into_iter().chain(both.then_some(AUDIO)) {
            let reply = self.node.order(
                self.now,
                Command::Subscribe(Subscribe {
                    session: self.members[viewer.0].session,
                    slot: slot(kind),
                    source: Source::Track(track(id, kind)),
                }),
            );
            assert!(matches!(reply, Reply::Done(_)), "{reply:?}");
        }
    }

    fn add(&mut self, peer: Peer, session: SessionId, track: Option<TrackId>) -> PeerId {
        let seen_at = peer.address();
        self.members.push(Member {
            peer,
            session,
            track,
            seen_at,
            plugged: true,
        });
        PeerId(self.members.len() - 1)
    }

    /// A NAT gives a peer another port: what goes to the old one is lost.
    pub fn rebind(&mut self, peer: PeerId) {
        let seen_at = &mut self.members[peer.0].seen_at;
        seen_at.set_port(seen_at.port() + 1_000);
    }

    /// From now on `forger` sends with the source address of `victim`, whom the answers reach.
    pub fn forge(&mut self, forger: PeerId, victim: PeerId) {
        assert!(victim.0 < forger.0, "the victim hears first");
        self.members[forger.0].seen_at = self.members[victim.0].seen_at;
    }

    /// Ends a peer's session by order.
    pub fn close(&mut self, peer: PeerId) {
        let session = self.members[peer.0].session;
        self.node.order(self.now, Command::Close(Close { session }));
    }

    /// Cuts a peer's cable, or plugs it in again.
    pub fn plug(&mut self, peer: PeerId, plugged: bool) {
        self.members[peer.0].plugged = plugged;
    }

    /// One of the peers.
    #[must_use]
    pub fn peer(&self, peer: PeerId) -> &Peer {
        &self.members[peer.0].peer
    }

    /// One of the peers, to make it do something.
    pub fn peer_mut(&mut self, peer: PeerId) -> &mut Peer {
        &mut self.members[peer.0].peer
    }

    /// A peer's session.
    #[must_use]
    pub fn session(&self, peer: PeerId) -> SessionId {
        self.members[peer.0].session
    }

    /// A datagram from somebody the node does not know, arriving at once.
    pub fn inject(&mut self, from: SocketAddr, bytes: &[u8]) {
        let mut delivery = Delivery {
            from,
            to: crate::node::NODE_ADDRESS,
            bytes: bytes.to_vec(),
        };
        self.node.receive(self.now, &mut delivery);
    }

    /// Lets `duration_ms` of simulated time pass.
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
                self.members
                    .iter()
                    .map(|m| m.peer.next_deadline())
                    .collect::<Vec<_>>(),
            );
            let next = self.next_event();
            if next > until {
                break;
            }
            self.now = self.now.max(next);
        }
        self.now = until;
    }

    /// Everything that happens at this instant.
    fn exchange(&mut self) {
        let now = self.instant();
        for member in &mut self.members {
            if member.peer.next_deadline() <= now {
                member.peer.on_timeout(now);
            }
        }
        while let Some(mut delivery) = self.network.arrive(self.now) {
            if delivery.to == crate::node::NODE_ADDRESS {
                self.node.receive(self.now, &mut delivery);
            } else if let Some(member) = self
                .members
                .iter_mut()
                .find(|member| member.seen_at == delivery.to)
            {
                if member.plugged {
                    delivery.to = member.peer.address();
                    member.peer.receive(now, &delivery);
                }
            } else {
                self.bytes_to_strangers += delivery.bytes.len() as u64;
            }
        }
        for delivery in self.node.turn(self.now) {
            self.network.send(self.now, delivery);
        }
        for member in &mut self.members {
            while let Some(mut delivery) = member.peer.poll_outgoing() {
                if member.plugged {
                    delivery.from = member.seen_at;
                    self.network.send(self.now, delivery);
                }
            }
        }
    }

    fn next_event(&self) -> Micros {
        let peers = self.members.iter().map(|member| {
            let at = member
                .peer
                .next_deadline()
                .saturating_duration_since(self.base);
            Micros(u64::try_from(at.as_micros()).unwrap_or(u64::MAX))
        });
        peers
            .chain(self.network.next_arrival())
            .chain(self.node.next_deadline())
            .min()
            .unwrap_or(Micros(u64::MAX))
            // Instants are finer than the clock: what is due within this microsecond is due in the next.
            .max(self.now.plus_us(1))
    }

    fn admit(&mut self, session: SessionId, peer: &mut Peer, slots: Vec<Slot>) -> Admitted {
        let reply = self.node.order(
            self.now,
            Command::Admit(Admit {
                session,
                room: RoomId(1),
                tag: Vec::new(),
                shard_hint: None,
                remote: peer.remote_transport(),
                extensions: source::extensions(),
                slots,
                policy: SessionPolicy::default(),
            }),
        );
        match reply {
            Reply::Admitted(admitted) => admitted,
            other => panic!("{other:?}"),
        }
    }

    fn next_peer(&mut self) -> (u64, SocketAddr) {
        let id = self.next_id;
        self.next_id += 1;
        let host = u8::try_from(id % 250 + 1).unwrap_or(1);
        (
            id,
            SocketAddr::new(IpAddr::V4(Ipv4Addr::new(198, 51, 100, host)), 5_000),
        )
    }

    fn instant(&self) -> Instant {
        self.base + (self.now - Micros::ZERO)
    }
}

fn ssrc(base: u32, id: u64, kind: MediaKind) -> u32 {
    let of_kind = if kind == AUDIO { 0x8000 } else { 0 };
    base + of_kind + u32::try_from(id).unwrap_or(0)
}

fn slot(kind: MediaKind) -> SlotId {
    SlotId(u16::from(kind == AUDIO))
}

/// The track of a publisher; that of its video has its own number.
fn track(id: u64, kind: MediaKind) -> TrackId {
    TrackId(id + if kind == AUDIO { 1 << 32 } else { 0 })
}
