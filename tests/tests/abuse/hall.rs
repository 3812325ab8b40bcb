//! A lecture hall: one shard as it ships, honest peers and hostile ones, and no network between them.
//!
//! The keys of SRTP are injected, so everything is deterministic to the byte, and a peer seals what it is
//! told to. With [`Hall::with_dtls`] the keys come from real handshakes instead.

use std::collections::HashMap;
use std::time::Instant;

use dataplane_api::Event;
use dataplane_api::command::SessionPolicy;
use dataplane_api::ids::{SessionId, ShardIndex};
use dataplane_api::media::CodecId;
use dataplane_engine::packet::{Datagram, Path};
use dataplane_engine::reason::DropReason;
use dataplane_engine::time::Micros;
use dataplane_engine::transport::handshake::{
    HandshakeInput, HandshakeOutput, Handshakes, Identity, Role,
};
use dataplane_engine::transport::keys::{Profile, RTCP_OVERHEAD_MAX, RTP_OVERHEAD_MAX, SrtpKeys};
use dataplane_engine::transport::srtp::Sealer;
use dataplane_engine::{Shard, ShardConfig, ShardLimits};

use crate::attacker::{self, Rtp, header_len};
use crate::edge::Edge;
use crate::payloads::{self, Stamp};
use crate::receiver::Receiver;

const PROFILE: Profile = Profile::AeadAes128Gcm;

/// Names a peer of one hall.
pub(crate) type PeerId = usize;

/// One layer of what a peer publishes.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Layer {
    pub(crate) ssrc: u32,
    /// The SRTP index of its next packet.
    pub(crate) index: u64,
    pub(crate) timestamp: u32,
    /// How many packets were sent, whatever their indices.
    pub(crate) number: u64,
}

/// One peer.
pub(crate) struct Peer {
    pub(crate) session: SessionId,
    pub(crate) path: Path,
    pub(crate) ufrag: String,
    pub(crate) password: String,
    pub(crate) remote_ufrag: String,
    pub(crate) sealer: Option<Sealer>,
    pub(crate) codec: CodecId,
    /// The SSRC of its only slot.
    pub(crate) slot_ssrc: u32,
    pub(crate) layers: Vec<Layer>,
    pub(crate) received: Receiver,
}

impl Peer {
    /// The name its packets are stamped with.
    pub(crate) fn stamp(&self) -> u32 {
        u32::try_from(self.session.0).unwrap()
    }

    pub(crate) fn is_connected(&self) -> bool {
        self.sealer.is_some()
    }
}

/// The handshake machines of both sides.
pub(crate) struct Dtls {
    pub(crate) node: Handshakes,
    /// One machine for all clients: an association a session.
    pub(crate) clients: Handshakes,
    /// Every datagram of DTLS the node sent, and those of the clients.
    pub(crate) sent: Vec<(SessionId, Vec<u8>)>,
    pub(crate) received: Vec<(SessionId, Vec<u8>)>,
}

/// One shard with its peers.
pub(crate) struct Hall {
    pub(crate) shard: Shard,
    pub(crate) now: Micros,
    pub(crate) peers: Vec<Peer>,
    pub(crate) dtls: Option<Dtls>,
    pub(crate) events: Vec<Event>,
    /// Bytes that went to where no peer is.
    pub(crate) bytes_to_strangers: u64,
    /// Every publisher sends with the same SSRCs, every slot with one.
    pub(crate) same_ssrcs: bool,
    /// Whether slots are admitted with RTX (RFC 4588) from now on.
    pub(crate) rtx: bool,
    edge: Edge,
    pub(crate) by_path: HashMap<Path, PeerId>,
    checks: u64,
}

impl Hall {
    /// A hall whose peers get their keys at their first check.
    pub(crate) fn new() -> Hall {
        Hall {
            shard: Shard::new(ShardConfig {
                index: ShardIndex(0),
                seed: [9; 32],
                candidates: Vec::new(),
                limits: ShardLimits::default(),
            }),
            now: Micros(1_000_000),
            peers: Vec::new(),
            dtls: None,
            events: Vec::new(),
            bytes_to_strangers: 0,
            same_ssrcs: false,
            rtx: false,
            edge: Edge::default(),
            by_path: HashMap::new(),
            checks: 0,
        }
    }

    /// A hall whose peers shake hands.
    pub(crate) fn with_dtls() -> Hall {
        let base = Instant::now();
        let machine = || Handshakes::new(Identity::generate().unwrap(), base);
        Hall {
            dtls: Some(Dtls {
                node: machine(),
                clients: machine(),
                sent: Vec::new(),
                received: Vec::new(),
            }),
            ..Hall::new()
        }
    }

    /// A connected peer.
    pub(crate) fn join(&mut self, room: u64, slot: Option<CodecId>) -> PeerId {
        self.join_with(room, slot, SessionPolicy::default())
    }

    /// A connected peer with a policy.
    pub(crate) fn join_with(
        &mut self,
        room: u64,
        slot: Option<CodecId>,
        policy: SessionPolicy,
    ) -> PeerId {
        let peer = self.admit(room, slot, policy);
        self.check(peer);
        if self.dtls.is_some() {
            self.start_client(peer);
            while self.turn() {}
        } else {
            self.install(peer);
        }
        assert!(self.peers[peer].is_connected());
        peer
    }

    /// A connected peer that publishes `layers` layers.
    pub(crate) fn join_publisher(&mut self, room: u64, codec: CodecId, layers: u32) -> PeerId {
        let peer = self.join(room, None);
        self.publish(peer, codec, layers);
        peer
    }

    /// A connected peer that watches `publisher`.
    pub(crate) fn join_viewer(&mut self, room: u64, publisher: PeerId) -> PeerId {
        let peer = self.join(room, Some(self.peers[publisher].codec));
        self.watch(peer, publisher);
        peer
    }

    /// What the shard would hear of the handshake worker.
    fn install(&mut self, peer: PeerId) {
        let seed = u8::try_from(peer % 251).unwrap();
        let len = u8::try_from(PROFILE.keying_material_bytes()).unwrap();
        let material: Vec<u8> = (0..len).map(|n| n.wrapping_mul(7) ^ seed).collect();
        let keys = |role| SrtpKeys::from_keying_material(PROFILE, role, &material).unwrap();
        let output = HandshakeOutput::Keyed {
            session: self.peers[peer].session,
            keys: keys(Role::Server),
            flight: Vec::new(),
        };
        self.shard.on_handshake(self.now, output);
        self.install_at(peer, &keys(Role::Client));
    }

    fn install_at(&mut self, peer: PeerId, keys: &SrtpKeys) {
        let peer = &mut self.peers[peer];
        peer.sealer = Some(Sealer::new(keys));
        peer.received.install(keys);
    }

    /// A client says hello.
    pub(crate) fn start_client(&mut self, peer: PeerId) {
        let session = self.peers[peer].session;
        let dtls = self.dtls.as_mut().unwrap();
        let fingerprint = dtls.node.fingerprint();
        let start = HandshakeInput::Start {
            session,
            role: Role::Client,
            fingerprint,
        };
        dtls.clients.on_input(self.now, start);
        self.drive_clients();
    }

    /// Carries what the clients' machines say; true when they said something.
    pub(crate) fn drive_clients(&mut self) -> bool {
        let mut moved = false;
        while let Some(output) = self.dtls.as_mut().unwrap().clients.poll_output() {
            moved = true;
            let session = output.session();
            let peer = self
                .peers
                .iter()
                .position(|peer| peer.session == session)
                .unwrap();
            let datagrams = match output {
                HandshakeOutput::Flight { datagrams, .. } => datagrams,
                HandshakeOutput::Keyed { keys, flight, .. } => {
                    self.install_at(peer, &keys);
                    flight
                }
                HandshakeOutput::Failed { .. } | HandshakeOutput::PeerClosed { .. } => Vec::new(),
            };
            for datagram in datagrams {
                let received = &mut self.dtls.as_mut().unwrap().received;
                received.push((session, datagram.to_vec()));
                self.deliver_from(peer, &datagram);
            }
        }
        moved
    }

    /// A nominating check of a peer.
    pub(crate) fn check(&mut self, peer: PeerId) {
        self.check_from(peer, self.peers[peer].path, true);
    }

    /// A check of a peer from a path of the story's choice.
    pub(crate) fn check_from(&mut self, peer: PeerId, path: Path, nominated: bool) {
        let Peer {
            ufrag,
            password,
            remote_ufrag,
            ..
        } = &self.peers[peer];
        let username = format!("{ufrag}:{remote_ufrag}");
        self.checks += 1;
        let mut check = attacker::check(&username, password, nominated, self.checks);
        self.deliver(path, &mut check);
    }

    /// One datagram.
    pub(crate) fn deliver(&mut self, path: Path, bytes: &mut [u8]) {
        let datagram = Datagram {
            path,
            bytes,
            arrival: self.now,
        };
        self.shard.on_datagram(self.now, datagram);
    }

    /// One datagram from where a peer is.
    pub(crate) fn deliver_from(&mut self, peer: PeerId, bytes: &[u8]) {
        self.deliver(self.peers[peer].path, &mut bytes.to_vec());
    }

    /// Seals a whole RTP packet, header and payload as they are but for the sequence number, which is that of
    /// `index`. A header that does not fit its packet is sealed as the shortest one.
    pub(crate) fn seal(&mut self, peer: PeerId, index: u64, packet: &[u8]) -> Vec<u8> {
        let mut out = packet.to_vec();
        out.resize(packet.len() + RTP_OVERHEAD_MAX, 0);
        out[2..4].copy_from_slice(&u16::try_from(index & 0xffff).unwrap().to_be_bytes());
        let header_len = header_len(packet).unwrap_or(12);
        let sealer = self.peers[peer].sealer.as_mut().unwrap();
        let len = sealer.seal_rtp_in_place(index, header_len, packet.len() - header_len, &mut out);
        out.truncate(len);
        out
    }

    /// Seals a compound.
    pub(crate) fn seal_rtcp(&mut self, peer: PeerId, compound: &[u8]) -> Vec<u8> {
        let mut out = vec![0; compound.len() + RTCP_OVERHEAD_MAX];
        let sealer = self.peers[peer].sealer.as_mut().unwrap();
        let len = sealer.seal_rtcp(compound, &mut out).unwrap();
        out.truncate(len);
        out
    }

    /// A peer sends a compound.
    pub(crate) fn send_rtcp(&mut self, peer: PeerId, compound: &[u8]) {
        let mut sealed = self.seal_rtcp(peer, compound);
        self.deliver(self.peers[peer].path, &mut sealed);
    }

    /// The next stamped packet of a layer, sealed, not sent: a whole frame of `len` bytes of payload.
    pub(crate) fn next_frame(
        &mut self,
        peer: PeerId,
        layer: usize,
        key: bool,
        len: usize,
    ) -> Vec<u8> {
        let publisher = self.peers[peer].stamp();
        let codec = self.peers[peer].codec;
        let layer = &mut self.peers[peer].layers[layer];
        let header = Rtp {
            marker: true,
            padding: false,
            payload_type: payloads::payload_type(codec).pt,
            seq: 0,
            timestamp: layer.timestamp,
            ssrc: layer.ssrc,
        };
        let number = layer.number;
        let payload = payloads::frame(codec, key, len, Stamp { publisher, number });
        let index = layer.index;
        layer.number += 1;
        layer.index += 1;
        layer.timestamp = layer.timestamp.wrapping_add(3_000);
        self.seal(peer, index, &header.packet(&payload))
    }

    /// A peer sends the next frame of its lowest layer.
    pub(crate) fn send_frame(&mut self, peer: PeerId, key: bool) {
        let mut frame = self.next_frame(peer, 0, key, 500);
        self.deliver(self.peers[peer].path, &mut frame);
    }

    /// Lets time pass, with a turn at its end.
    pub(crate) fn advance_ms(&mut self, ms: u64) {
        self.now = self.now.plus_ms(ms);
        while self.turn() {}
    }

    /// One turn, and the clients' answers to it; true when there were any.
    pub(crate) fn turn(&mut self) -> bool {
        self.shard.on_tick(self.now);
        while let Some(input) = self.shard.poll_handshake() {
            if let Some(dtls) = &mut self.dtls {
                dtls.node.on_input(self.now, input);
            }
        }
        if let Some(dtls) = &mut self.dtls {
            dtls.node.on_timeout(self.now);
            while let Some(output) = dtls.node.poll_output() {
                self.shard.on_handshake(self.now, output);
            }
        }
        self.edge.now = self.now;
        self.shard.flush(self.now, &mut self.edge);
        while let Some(event) = self.shard.poll_event() {
            self.events.push(event);
        }
        self.assert_conserved();
        self.edge.drain(|path, packet| {
            let Some(&peer) = self.by_path.get(&path) else {
                self.bytes_to_strangers += packet.len() as u64;
                return;
            };
            let peer = &mut self.peers[peer];
            if let (Some(dtls), [20..=63, ..]) = (&mut self.dtls, &*packet) {
                dtls.sent.push((peer.session, packet.to_vec()));
                let record = HandshakeInput::Record {
                    session: peer.session,
                    bytes: (&*packet).into(),
                };
                dtls.clients.on_input(self.now, record);
            }
            peer.received.receive(self.now, packet);
        });
        self.dtls.is_some() && self.drive_clients()
    }

    /// What came in was accepted or dropped for a reason, what was selected was sealed, dropped for a reason or
    /// waits (contracts.md 20).
    fn assert_conserved(&self) {
        let counters = self.shard.counters();
        assert_eq!(
            counters.received_packets,
            counters.accepted_packets + counters.dropped_in.total()
        );
        assert_eq!(
            counters.selected_packets,
            counters.sealed_packets + counters.dropped_out.total() + self.shard.queued_packets()
        );
    }

    /// How many datagrams were dropped for a reason.
    pub(crate) fn dropped(&self, reason: DropReason) -> u64 {
        self.shard.counters().dropped_in.of(reason)
    }

    /// Where a peer is from now on, as far as the hall is concerned.
    pub(crate) fn move_peer(&mut self, peer: PeerId, path: Path) {
        self.by_path.remove(&self.peers[peer].path);
        self.by_path.insert(path, peer);
        self.peers[peer].path = path;
    }
}
