//! A shard with peers that seal and open with injected keys. Every sealed packet is checked against
//! contracts.md 11: one (key, SSRC, index) never stands for two different datagrams.

use std::collections::BTreeMap;

use codecs::rtp::{Header, HeaderWriter, Seq};
use dataplane_api::command::{
    Admit, Close, Command, Fingerprint, FingerprintHash, Publish, RemoteTransport, SessionPolicy,
    Setup, Slot, Source, Subscribe, Unpublish,
};
use dataplane_api::ids::{RoomId, SessionId, ShardIndex, SlotId, TrackId};
use dataplane_api::media::{Encoding, Extensions, MediaKind};
use dataplane_api::reply::Reply;
use turn::stun::{
    BindingRequest, IntegrityKey, Role as IceRole, TransactionId, write_binding_request,
};

use super::edge::Edge;
use super::frame::{
    AUDIO, DESCRIPTOR_EXTENSION, Frame, MID_EXTENSION, Picture, RTX_PT, RTX_SSRC, VIDEO, codec,
    mid, ssrc,
};
use super::peer::{Peer, Shown};
use crate::demux::{Protocol, classify};
use crate::packet::{Datagram, Path, SocketIndex};
use crate::shard::{Shard, ShardConfig, ShardLimits};
use crate::time::Micros;
use crate::transport::handshake::HandshakeOutput;
use crate::transport::keys::{Profile, Role, SrtpKeys};
use crate::transport::replay::seq_of;
use crate::transport::srtp::{Opener, Sealer};

const UFRAG: &str = "peer";
const PWD: &str = "a password of two dozen";

pub(super) const PEER: Path = path(0);

pub(super) const fn path(n: u16) -> Path {
    Path {
        local: std::net::IpAddr::V4(std::net::Ipv4Addr::new(192, 0, 2, 1)),
        remote: std::net::SocketAddr::new(
            std::net::IpAddr::V4(std::net::Ipv4Addr::new(198, 51, 100, 1)),
            5_000 + n,
        ),
        socket: SocketIndex::UDP_V4,
    }
}

pub(super) struct Class {
    /// How much later than the kernel the shard sees what arrives.
    pub(super) lag_us: u64,
    /// Who joins or publishes from now on negotiates RTX.
    pub(super) rtx: bool,
    /// What is published from now on is encrypted end to end.
    pub(super) opaque: bool,
    pub(super) shard: Shard,
    pub(super) now: Micros,
    pub(super) edge: Edge,
    pub(super) peers: Vec<Peer>,
}

impl Class {
    pub(super) fn new() -> Class {
        let config = ShardConfig {
            index: ShardIndex(0),
            seed: [9; 32],
            candidates: Vec::new(),
            limits: ShardLimits::default(),
        };
        Class {
            lag_us: 0,
            rtx: false,
            opaque: false,
            shard: Shard::new(config),
            now: Micros(1_000_000),
            edge: Edge::default(),
            peers: Vec::new(),
        }
    }

    pub(super) fn session(&self, peer: usize) -> SessionId {
        self.peers[peer].admitted.session
    }

    /// A peer that sent no check yet, with a slot a kind.
    pub(super) fn admit(&mut self, slots: &[MediaKind]) -> usize {
        let session = SessionId(self.peers.len() as u64 + 1);
        let reply = self.shard.on_command(
            self.now,
            Command::Admit(Admit {
                session,
                room: RoomId(1),
                tag: Vec::new(),
                shard_hint: None,
                remote: Some(RemoteTransport {
                    ufrag: UFRAG.into(),
                    pwd: PWD.into(),
                    fingerprint: Fingerprint {
                        hash: FingerprintHash::Sha256,
                        digest: vec![0; 32],
                    },
                    setup: Setup::Active,
                }),
                extensions: Extensions {
                    mid: Some(MID_EXTENSION),
                    transport_cc: Some(3),
                    dependency_descriptor: Some(DESCRIPTOR_EXTENSION),
                    mixed: true,
                    ..Extensions::default()
                },
                slots: (0..)
                    .zip(slots)
                    .map(|(n, &kind)| Slot {
                        slot: SlotId(n),
                        kind,
                        mid: mid(kind).into(),
                        ssrc: ssrc(kind),
                        rtx_ssrc: self.rtx.then(|| ssrc(kind) + RTX_SSRC),
                        codecs: vec![codec(kind, self.rtx)],
                    })
                    .collect(),
                policy: SessionPolicy::default(),
            }),
        );
        let Reply::Admitted(admitted) = reply else {
            panic!("{reply:?}")
        };
        self.peers.push(Peer {
            admitted,
            path: PEER,
            sealer: None,
            opener: None,
            slots: slots.to_vec(),
            received: Vec::new(),
            shown: Vec::new(),
            reports: Vec::new(),
            repaired: 0,
            asked: Vec::new(),
            keyframes_asked: Vec::new(),
            rtx_index: 1,
            is_deaf: false,
            sealed: BTreeMap::new(),
        });
        self.peers.len() - 1
    }

    /// A connected peer on `path`.
    pub(super) fn join(&mut self, path: Path, profile: Profile, slots: &[MediaKind]) -> usize {
        let peer = self.admit(slots);
        self.check(peer, path, true);
        let material: Vec<u8> = (0..profile.keying_material_bytes())
            .map(|n| u8::try_from((n * 7 + peer * 31) % 251).unwrap())
            .collect();
        let keys = |role| SrtpKeys::from_keying_material(profile, role, &material).unwrap();
        let session = self.session(peer);
        let output = HandshakeOutput::Keyed {
            session,
            keys: keys(Role::Server),
            flight: Vec::new(),
        };
        self.shard.on_handshake(self.now, output);
        let entry = &mut self.peers[peer];
        entry.path = path;
        entry.sealer = Some(Sealer::new(&keys(Role::Client)));
        entry.opener = Some(Opener::new(&keys(Role::Client)));
        peer
    }

    /// A connectivity check of `peer` from `path`.
    pub(super) fn check(&mut self, peer: usize, path: Path, nominated: bool) {
        let admitted = &self.peers[peer].admitted;
        let mut bytes = [0; 512];
        let mut id = [7; 12];
        id[..8].copy_from_slice(&self.now.0.to_be_bytes());
        id[8..10].copy_from_slice(&path.remote.port().to_be_bytes());
        let request = BindingRequest {
            transaction_id: TransactionId(id),
            username: &format!("{}:{UFRAG}", admitted.ufrag),
            priority: 1,
            role: IceRole::Controlling(1),
            use_candidate: nominated,
        };
        let key = IntegrityKey::new(admitted.pwd.as_bytes());
        let len = write_binding_request(&mut bytes, &request, &key).unwrap();
        self.receive(path, &mut bytes[..len]);
    }

    pub(super) fn publish_video(&mut self, peer: usize) {
        self.publish(peer, VIDEO, &[None]);
    }

    pub(super) fn publish_audio(&mut self, peer: usize) {
        self.publish(peer, AUDIO, &[None]);
    }

    pub(super) fn publish_layers(&mut self, peer: usize, ssrcs: &[u32]) {
        let ssrcs: Vec<_> = ssrcs.iter().copied().map(Some).collect();
        self.publish(peer, VIDEO, &ssrcs);
    }

    /// Publishes a screen besides the camera, from a declared SSRC.
    pub(super) fn publish_screen(&mut self, peer: usize, ssrc: u32) {
        self.publish_as(screen(self.session(peer)), "s", peer, VIDEO, &[Some(ssrc)]);
    }

    pub(super) fn unpublish_screen(&mut self, peer: usize) {
        let track = screen(self.session(peer));
        let order = Command::Unpublish(Unpublish { track });
        self.shard.on_command(self.now, order);
    }

    /// Publishes one of many screens, from a declared SSRC.
    pub(super) fn publish_numbered_screen(&mut self, peer: usize, n: u16, ssrc: u32) {
        let track = numbered_screen(self.session(peer), n);
        self.publish_as(track, &format!("s{n}"), peer, VIDEO, &[Some(ssrc)]);
    }

    /// Fills the viewer's video slot with one of the publisher's screens.
    pub(super) fn watch_numbered_screen(&mut self, viewer: usize, publisher: usize, n: u16) {
        let track = numbered_screen(self.session(publisher), n);
        self.watch_track(viewer, VIDEO, track);
    }

    /// Closes the session of a peer.
    pub(super) fn close(&mut self, peer: usize) {
        let session = self.session(peer);
        let order = Command::Close(Close { session });
        self.shard.on_command(self.now, order);
    }

    fn publish(&mut self, peer: usize, kind: MediaKind, ssrcs: &[Option<u32>]) {
        self.publish_as(
            track(self.session(peer), kind),
            mid(kind),
            peer,
            kind,
            ssrcs,
        );
    }

    fn publish_as(
        &mut self,
        track: TrackId,
        mid: &str,
        peer: usize,
        kind: MediaKind,
        ssrcs: &[Option<u32>],
    ) {
        let session = self.session(peer);
        let rtx = self.rtx;
        let encodings = ssrcs.iter().map(|&declared| Encoding {
            rid: None,
            ssrc: declared,
            rtx_ssrc: rtx.then(|| declared.unwrap_or(ssrc(kind) + 1) + RTX_SSRC),
        });
        let reply = self.shard.on_command(
            self.now,
            Command::Publish(Publish {
                track,
                session,
                uid: [0; 16],
                origin_node: [0; 16],
                hops: 0,
                kind,
                mid: mid.into(),
                codecs: vec![codec(kind, rtx)],
                encodings: encodings.collect(),
                opaque: self.opaque,
                tag: Vec::new(),
            }),
        );
        assert!(matches!(reply, Reply::Done(_)), "{reply:?}");
    }

    /// Fills the viewer's slot of a kind with the publisher's track of it.
    pub(super) fn watch(&mut self, viewer: usize, kind: MediaKind, publisher: usize) {
        self.watch_track(viewer, kind, track(self.session(publisher), kind));
    }

    /// Fills the viewer's video slot with the publisher's screen.
    pub(super) fn watch_screen(&mut self, viewer: usize, publisher: usize) {
        self.watch_track(viewer, VIDEO, screen(self.session(publisher)));
    }

    fn watch_track(&mut self, viewer: usize, kind: MediaKind, track: TrackId) {
        let slot = self.peers[viewer]
            .slots
            .iter()
            .position(|&slot| slot == kind)
            .unwrap();
        let order = Subscribe {
            session: self.session(viewer),
            slot: SlotId(u16::try_from(slot).unwrap()),
            source: Source::Track(track),
        };
        let reply = self.shard.on_command(self.now, Command::Subscribe(order));
        assert!(matches!(reply, Reply::Done(_)), "{reply:?}");
    }

    /// Sends one packet of a publisher.
    pub(super) fn send(&mut self, peer: usize, frame: Frame) {
        let ssrc = frame.ssrc();
        let index = frame.index();
        let pt = frame.payload_type.unwrap_or(codec(frame.kind, false).pt);
        self.send_rtp(peer, frame, ssrc, pt, index, &[]);
    }

    /// Sends one packet of a publisher again, on its retransmission SSRC (RFC 4588).
    pub(super) fn send_again(&mut self, peer: usize, frame: Frame) {
        let index = self.peers[peer].rtx_index;
        self.peers[peer].rtx_index += 1;
        let osn = frame.seq.to_be_bytes();
        self.send_rtp(peer, frame, frame.ssrc() + RTX_SSRC, RTX_PT, index, &osn);
    }

    fn send_rtp(
        &mut self,
        peer: usize,
        frame: Frame,
        ssrc: u32,
        payload_type: u8,
        index: u64,
        osn: &[u8],
    ) {
        let mut bytes = [0; 1_500];
        let header = Header {
            marker: true,
            padding: frame.empty || frame.padding > 0,
            payload_type,
            seq: Seq(seq_of(index)),
            timestamp: frame.timestamp(),
            ssrc,
        };
        let mut writer = HeaderWriter::new(&mut bytes, &header).unwrap();
        if !frame.bare {
            let mid = mid(frame.kind).as_bytes();
            writer.push(MID_EXTENSION, mid).unwrap();
        }
        if let Some(number) = frame.frame_number {
            let [high, low] = number.to_be_bytes();
            // Start and end of a frame; a structure with the keyframes, of which nobody here reads more than its bit.
            let mut descriptor = vec![0xc0, high, low];
            if frame.key {
                descriptor.extend([0x80, 0x55, 0xaa]);
            }
            descriptor.resize(descriptor.len().max(frame.descriptor_len), 0);
            writer.push(DESCRIPTOR_EXTENSION, &descriptor).unwrap();
        }
        let header_len = writer.finish().unwrap();
        // VP8: S set, the inverse keyframe bit, the start code of a keyframe (RFC 7741, RFC 6386).
        let mut payload = osn.to_vec();
        match frame.picture {
            None => payload.push(0x10),
            Some(Picture { id, tl0, key_idx }) => {
                let [high, low] = id.to_be_bytes();
                payload.extend([0x90, 0xf0, high | 0x80, low, tl0, 0x20 | key_idx]);
            }
        }
        payload.extend([u8::from(!frame.key), 0, 0, 0x9d, 0x01, 0x2a]);
        payload.extend(frame.seq.to_be_bytes());
        payload.resize(osn.len() + frame.len, 0xa5);
        let (payload, padding) = if frame.empty {
            (&[][..], 100)
        } else {
            (&payload[..], frame.padding)
        };
        let entry = &mut self.peers[peer];
        let path = entry.path;
        let sealer = entry.sealer.as_mut().expect("a connected peer");
        let len = sealer.seal_rtp(index, header_len, payload, padding, &mut bytes);
        self.receive(path, &mut bytes[..len]);
    }

    pub(super) fn receive(&mut self, path: Path, bytes: &mut [u8]) {
        self.shard.on_datagram(
            self.now,
            Datagram {
                path,
                bytes,
                arrival: Micros(self.now.0 - self.lag_us),
            },
        );
        self.assert_conserved();
    }

    /// A peer neither hears nor answers, or does again.
    pub(super) fn deafen(&mut self, peer: usize, deaf: bool) {
        self.peers[peer].is_deaf = deaf;
    }

    pub(super) fn advance_us(&mut self, us: u64) {
        self.now = self.now.plus_us(us);
        self.shard.on_tick(self.now);
        self.flush();
    }

    /// Lets time pass with a turn at its end.
    pub(super) fn advance_ms(&mut self, ms: u64) {
        self.now = self.now.plus_ms(ms);
        self.shard.on_tick(self.now);
        self.flush();
    }

    /// Flushes, and lets every peer open what is for it.
    pub(super) fn flush(&mut self) {
        self.edge.now = self.now;
        let from = self.edge.runs.len();
        self.shard.flush(self.now, &mut self.edge);
        self.assert_conserved();
        for (_, path, packets) in &self.edge.runs[from..] {
            for packet in packets {
                let peer = self
                    .peers
                    .iter_mut()
                    .rev()
                    .find(|p| p.path == *path && p.opener.is_some());
                let Some(peer) = peer.filter(|peer| !peer.is_deaf) else {
                    continue;
                };
                match classify(packet) {
                    Some(Protocol::Rtp) => peer.open(packet),
                    Some(Protocol::Rtcp) => peer.open_rtcp(packet),
                    Some(Protocol::Stun | Protocol::Dtls) | None => {}
                }
            }
        }
    }

    pub(super) fn payloads(&self, peer: usize, kind: MediaKind) -> Vec<u32> {
        let of_kind = self.peers[peer].received.iter().filter(|r| r.0 == kind);
        of_kind.map(|r| r.2).collect()
    }

    pub(super) fn seqs(&self, peer: usize, kind: MediaKind) -> Vec<u16> {
        let of_kind = self.peers[peer].received.iter().filter(|r| r.0 == kind);
        of_kind.map(|r| r.1).collect()
    }

    /// The video of a viewer, in order of arrival.
    pub(super) fn shown(&self, peer: usize) -> &[Shown] {
        &self.peers[peer].shown
    }

    /// How many packets of a viewer came on the retransmission SSRC.
    pub(super) fn repaired(&self, peer: usize) -> usize {
        self.peers[peer].repaired
    }

    /// Contracts.md 20.
    pub(super) fn assert_conserved(&self) {
        let c = self.shard.counters();
        assert_eq!(
            c.received_packets,
            c.accepted_packets + c.dropped_in.total()
        );
        let queued = self.shard.queued_packets();
        assert_eq!(
            c.selected_packets,
            c.sealed_packets + c.dropped_out.total() + queued
        );
    }
}

fn track(session: SessionId, kind: MediaKind) -> TrackId {
    TrackId(session.0 * 2 + u64::from(kind == AUDIO))
}

fn screen(session: SessionId) -> TrackId {
    TrackId(1_000 + session.0)
}

fn numbered_screen(session: SessionId, n: u16) -> TrackId {
    TrackId(10_000 + session.0 * 100 + u64::from(n))
}
