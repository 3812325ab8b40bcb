//! Who comes, publishes, watches and goes.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};

use dataplane_api::command::{
    Admit, Close, Command, Fingerprint, FingerprintHash, Publish, RemoteTransport, RestartIce,
    SessionPolicy, Setup, Slot, Source, Subscribe, Unsubscribe,
};
use dataplane_api::ids::{RoomId, SessionId, SlotId, TrackId};
use dataplane_api::media::{Encoding, MediaKind};
use dataplane_api::reply::{Admitted, Reply};
use dataplane_engine::transport::keys::{Profile, Role, SrtpKeys};
use rand::{Rng, RngExt};

use super::{Client, Member, NOWHERE, Part, PeerId, World, stamp_name};
use crate::peer::Peer;
use crate::source;
use crate::wired::{PublisherPlan, ViewerPlan, Wired};

const VIDEO: MediaKind = MediaKind::Video;
const AUDIO: MediaKind = MediaKind::Audio;
/// Where those are who name no room.
const ROOM: u64 = 0;

impl World {
    /// A peer that publishes one VP8 track.
    ///
    /// # Panics
    /// When the node refuses it.
    pub fn publish(&mut self) -> PeerId {
        let plan = PublisherPlan {
            voice: false,
            ..PublisherPlan::default()
        };
        self.publish_as(ROOM, plan)
    }

    /// A peer that publishes VP8 and Opus.
    ///
    /// # Panics
    /// When the node refuses it.
    pub fn publish_with_voice(&mut self) -> PeerId {
        self.publish_as(ROOM, PublisherPlan::default())
    }

    /// A peer that publishes by `plan`. Of one with a real handshake only the voice is by plan.
    ///
    /// # Panics
    /// When the node refuses it.
    pub fn publish_as(&mut self, room: u64, plan: PublisherPlan) -> PeerId {
        let (id, address) = self.next_peer();
        let session = SessionId(id);
        let name = stamp_name(session);
        let mut kinds = vec![VIDEO];
        kinds.extend(plan.voice.then_some(AUDIO));
        let (mut client, declared) = if self.wired {
            let mut peer = self.wired_peer(id, address, Profile::AeadAes128Gcm);
            peer.publish(&plan, name, u32::try_from(room).unwrap_or(0));
            (Client::Wired(Box::new(peer)), None)
        } else {
            let ssrcs = |kind| ssrc(0x1000, id, kind);
            let voice = plan.voice.then(|| ssrcs(AUDIO));
            let peer = Peer::publisher(self.instant(), name, address, ssrcs(VIDEO), voice);
            (Client::Handshaking(Box::new(peer)), Some(ssrcs))
        };
        let admitted = self.admit(session, RoomId(room), &mut client, Vec::new());
        for &kind in &kinds {
            let encodings = match declared {
                None => plan.encodings(kind),
                Some(ssrcs) => vec![Encoding {
                    rid: None,
                    ssrc: Some(ssrcs(kind)),
                    rtx_ssrc: None,
                }],
            };
            let codec = if self.wired {
                plan.codec(kind)
            } else {
                source::codec(kind)
            };
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
                    codecs: vec![codec],
                    encodings,
                    opaque: false,
                    tag: Vec::new(),
                }),
            );
            assert!(matches!(reply, Reply::Done(_)), "{reply:?}");
            self.tap.publish(session, track(id, kind), name);
        }
        let part = Part::Publishes(plan);
        let id = self.add(client, address, session, RoomId(room), part, &admitted);
        self.members[id.0].track = Some(track(session.0, VIDEO));
        id
    }

    /// A peer that watches what `publisher` publishes.
    ///
    /// # Panics
    /// When the node refuses it, or `publisher` publishes nothing.
    pub fn watch(&mut self, publisher: PeerId) -> PeerId {
        let plan = ViewerPlan {
            voice: self.has_voice(publisher),
            ..ViewerPlan::default()
        };
        self.watch_as(publisher, plan)
    }

    /// A peer that watches what `publisher` publishes, by `plan`. Of one with a real handshake only the voice
    /// is by plan.
    ///
    /// # Panics
    /// When the node refuses it, or `publisher` publishes nothing.
    pub fn watch_as(&mut self, publisher: PeerId, plan: ViewerPlan) -> PeerId {
        let (id, address) = self.next_peer();
        self.watch_from(publisher, plan, id, address)
    }

    /// Whoever sat at `viewer` starts again, at the same address, without having said goodbye.
    ///
    /// # Panics
    /// When the node refuses it, or `publisher` publishes nothing.
    pub fn reload(&mut self, viewer: PeerId, publisher: PeerId) -> PeerId {
        let (id, _) = self.next_peer();
        let member = &mut self.members[viewer.0];
        let address = std::mem::replace(&mut member.seen_at, NOWHERE);
        member.plugged = false;
        let Part::Watches(plan) = member.part else {
            panic!("a viewer");
        };
        self.watch_from(publisher, plan, id, address)
    }

    fn watch_from(
        &mut self,
        publisher: PeerId,
        plan: ViewerPlan,
        id: u64,
        address: SocketAddr,
    ) -> PeerId {
        let session = SessionId(id);
        let room = self.members[publisher.0].room;
        let (mut client, slots) = if self.wired {
            let mut peer = self.wired_peer(id, address, plan.profile);
            peer.watch(&plan);
            (Client::Wired(Box::new(peer)), plan.slots())
        } else {
            self.handshaking_viewer(plan, id, address)
        };
        let admitted = self.admit(session, room, &mut client, slots);
        let part = Part::Watches(plan);
        let viewer = self.add(client, address, session, room, part, &admitted);
        self.switch(viewer, publisher);
        viewer
    }

    /// A viewer with a real handshake, and its slots.
    pub(super) fn handshaking_viewer(
        &mut self,
        plan: ViewerPlan,
        id: u64,
        address: SocketAddr,
    ) -> (Client, Vec<Slot>) {
        let ssrcs = |kind| ssrc(0x2000, id, kind);
        let voice = plan.voice.then(|| ssrcs(AUDIO));
        let name = stamp_name(SessionId(id));
        let peer = Peer::viewer(self.instant(), name, address, ssrcs(VIDEO), voice);
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
        (Client::Handshaking(Box::new(peer)), slots)
    }

    /// Fills a viewer's slots from another publisher.
    ///
    /// # Panics
    /// When the node refuses it.
    pub fn switch(&mut self, viewer: PeerId, publisher: PeerId) {
        let session = self.members[viewer.0].session;
        let of = self.members[publisher.0].session.0;
        let both = self.has_voice(publisher) && self.has_voice(viewer);
        for kind in [VIDEO].into_iter().chain(both.then_some(AUDIO)) {
            let source = track(of, kind);
            let order = Subscribe {
                session,
                slot: slot(kind),
                source: Source::Track(source),
            };
            let reply = self.node.order(self.now, Command::Subscribe(order));
            assert!(matches!(reply, Reply::Done(_)), "{reply:?}");
            self.tap.fill(self.now, session, slot(kind), Some(source));
        }
        if !both && self.has_voice(viewer) {
            self.empty(viewer, AUDIO);
        }
        self.members[viewer.0].watches = Some(publisher);
    }

    /// Empties a viewer's slots.
    pub fn unwatch(&mut self, viewer: PeerId) {
        self.empty(viewer, VIDEO);
        if self.has_voice(viewer) {
            self.empty(viewer, AUDIO);
        }
        self.members[viewer.0].watches = None;
    }

    fn empty(&mut self, viewer: PeerId, kind: MediaKind) {
        let session = self.members[viewer.0].session;
        let order = Unsubscribe {
            session,
            slot: slot(kind),
        };
        let reply = self.node.order(self.now, Command::Unsubscribe(order));
        assert!(matches!(reply, Reply::Done(_)), "{reply:?}");
        self.tap.fill(self.now, session, slot(kind), None);
    }

    /// Ends a peer's session by order.
    pub fn close(&mut self, peer: PeerId) {
        let member = &mut self.members[peer.0];
        member.gone = true;
        let order = Close {
            session: member.session,
        };
        self.node.order(self.now, Command::Close(order));
    }

    /// Ends a peer's session by order, and the peer falls silent.
    pub fn leave(&mut self, peer: PeerId) {
        self.close(peer);
        self.members[peer.0].plugged = false;
    }

    /// A peer restarts ICE: new credentials on both sides.
    ///
    /// # Panics
    /// When the node refuses it, or for a peer with a real handshake.
    pub fn restart_ice(&mut self, peer: PeerId) {
        let (now, session) = (self.now, self.members[peer.0].session);
        let wired = self.light_mut(peer);
        wired.renew_credentials();
        let (ufrag, pwd) = wired.credentials();
        let order = RestartIce {
            session,
            ufrag: ufrag.to_owned(),
            pwd: pwd.to_owned(),
            tag: None,
        };
        match self.node.order(now, Command::RestartIce(order)) {
            Reply::Admitted(admitted) => self.light_mut(peer).restart_ice(now, &admitted),
            other => panic!("{other:?}"),
        }
    }

    /// One of the peers with a real handshake.
    ///
    /// # Panics
    /// When it has none.
    #[must_use]
    pub fn peer(&self, peer: PeerId) -> &Peer {
        match &self.members[peer.0].client {
            Client::Handshaking(peer) => peer,
            Client::Wired(_) => panic!("a peer with a real handshake"),
        }
    }

    /// One of the peers with a real handshake, to make it do something.
    ///
    /// # Panics
    /// When it has none.
    pub fn peer_mut(&mut self, peer: PeerId) -> &mut Peer {
        match &mut self.members[peer.0].client {
            Client::Handshaking(peer) => peer,
            Client::Wired(_) => panic!("a peer with a real handshake"),
        }
    }

    /// One of the peers with injected keys.
    ///
    /// # Panics
    /// When it has a real handshake.
    #[must_use]
    pub fn light(&self, peer: PeerId) -> &Wired {
        match &self.members[peer.0].client {
            Client::Wired(peer) => peer,
            Client::Handshaking(_) => panic!("a peer with injected keys"),
        }
    }

    /// One of the peers with injected keys, to make it do something.
    ///
    /// # Panics
    /// When it has a real handshake.
    pub fn light_mut(&mut self, peer: PeerId) -> &mut Wired {
        match &mut self.members[peer.0].client {
            Client::Wired(peer) => peer,
            Client::Handshaking(_) => panic!("a peer with injected keys"),
        }
    }

    /// Whether ICE and keys are through at the peer.
    #[must_use]
    pub fn is_connected(&self, peer: PeerId) -> bool {
        match &self.members[peer.0].client {
            Client::Wired(peer) => peer.is_connected(),
            Client::Handshaking(peer) => peer.is_connected(),
        }
    }

    /// Lets time pass until all of `peers` are connected.
    ///
    /// # Panics
    /// When that takes more than 15 s.
    pub fn await_joins(&mut self, peers: &[PeerId]) {
        let latest = self.now.plus_ms(15_000);
        while !peers.iter().all(|&peer| self.is_connected(peer)) {
            assert!(self.now < latest, "somebody never joins");
            self.run_ms(100);
        }
    }

    /// A peer's session.
    #[must_use]
    pub fn session(&self, peer: PeerId) -> SessionId {
        self.members[peer.0].session
    }

    pub(super) fn has_voice(&self, peer: PeerId) -> bool {
        match self.members[peer.0].part {
            Part::Publishes(plan) => plan.voice,
            Part::Watches(plan) => plan.voice,
        }
    }

    fn wired_peer(&mut self, id: u64, address: SocketAddr, profile: Profile) -> Wired {
        let mut material = vec![0; profile.keying_material_bytes()];
        self.rng.fill_bytes(&mut material);
        let keys = |role| {
            SrtpKeys::from_keying_material(profile, role, &material)
                .expect("invariant: as long as the profile says")
        };
        self.node.inject_keys(SessionId(id), keys(Role::Server));
        Wired::new(self.rng.random(), address, keys(Role::Client))
    }

    fn admit(
        &mut self,
        session: SessionId,
        room: RoomId,
        client: &mut Client,
        slots: Vec<Slot>,
    ) -> Admitted {
        let (remote, keys) = match client {
            Client::Handshaking(peer) => (peer.remote_transport(Setup::Active), None),
            Client::Wired(peer) => {
                let (ufrag, pwd) = peer.credentials();
                let remote = RemoteTransport {
                    ufrag: ufrag.to_owned(),
                    pwd: pwd.to_owned(),
                    fingerprint: Fingerprint {
                        hash: FingerprintHash::Sha256,
                        digest: vec![0; 32],
                    },
                    setup: Setup::Active,
                };
                (remote, Some(peer.keys().clone()))
            }
        };
        let shard = self.node.place_of_room(room.0);
        let name = u32::try_from(room.0).unwrap_or(0);
        self.tap.admit(session, name, shard, keys.as_ref(), &slots);
        self.order_admit(session, room, Some(remote), slots)
    }

    pub(super) fn order_admit(
        &mut self,
        session: SessionId,
        room: RoomId,
        remote: Option<RemoteTransport>,
        slots: Vec<Slot>,
    ) -> Admitted {
        let order = Admit {
            session,
            room,
            tag: Vec::new(),
            shard_hint: None,
            remote,
            extensions: source::extensions(),
            slots,
            policy: SessionPolicy::default(),
        };
        match self.node.order(self.now, Command::Admit(order)) {
            Reply::Admitted(admitted) => admitted,
            other => panic!("{other:?}"),
        }
    }

    fn add(
        &mut self,
        mut client: Client,
        address: SocketAddr,
        session: SessionId,
        room: RoomId,
        part: Part,
        admitted: &Admitted,
    ) -> PeerId {
        match &mut client {
            Client::Handshaking(peer) => {
                peer.answer(admitted, &self.node.fingerprint(), Setup::Active);
            }
            Client::Wired(peer) => {
                // One client in eight asks a neighbouring shard first.
                let other = usize::from(admitted.shard.0) + 1;
                let stray = self.rng.random_range(0..8) == 0;
                let stray = stray.then(|| self.node.address(other % self.node.shards().count()));
                peer.answer(self.now, admitted, stray);
                if let Some(saboteur) = &mut self.saboteur {
                    let rtx = matches!(part, Part::Watches(plan) if plan.rtx);
                    saboteur.introduce(session, peer.keys(), address, rtx);
                }
            }
        }
        self.add_answered(client, address, session, room, part)
    }

    /// Adds a peer that knows what our SDP said.
    pub(super) fn add_answered(
        &mut self,
        client: Client,
        address: SocketAddr,
        session: SessionId,
        room: RoomId,
        part: Part,
    ) -> PeerId {
        let link = self.network.add_link();
        let place = self.members.len();
        self.at.insert(address, place);
        self.was_at.insert(address, place);
        self.tap.introduce(session, address);
        self.members.push(Member {
            client,
            link,
            session,
            room,
            part,
            track: None,
            watches: None,
            seen_at: address,
            plugged: true,
            gone: false,
        });
        PeerId(place)
    }

    pub(super) fn next_peer(&mut self) -> (u64, SocketAddr) {
        let id = self.next_id;
        self.next_id += 1;
        let octet = |n: u64| u8::try_from(n).unwrap_or(0);
        let ip = Ipv4Addr::new(198, 18, octet(id / 250 % 250), octet(id % 250 + 1));
        (id, SocketAddr::new(IpAddr::V4(ip), 5_000))
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
