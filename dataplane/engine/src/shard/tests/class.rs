//! A shard with peers that seal and open with injected keys. Every sealed packet is checked against
//! contracts.md 11: one (key, SSRC, index) never stands for two different datagrams.

use std::collections::BTreeMap;

use codecs::rtcp::nack;
use codecs::rtcp::sr_rr::write_rr;
use codecs::rtp::view::{header_len, strip_padding};
use codecs::rtp::{Header, HeaderWriter, RtpView, Seq};
use dataplane_api::command::{
    Admit, Command, Fingerprint, FingerprintHash, Publish, RemoteTransport, SessionPolicy, Setup,
    Slot, Source, Subscribe,
};
use dataplane_api::ids::{RoomId, SessionId, ShardIndex, SlotId, TrackId};
use dataplane_api::media::{CodecId, Encoding, Extensions, MediaKind, PayloadType};
use dataplane_api::reply::{Admitted, Reply};
use turn::stun::{
    BindingRequest, IntegrityKey, Role as IceRole, TransactionId, write_binding_request,
};

use super::edge::Edge;
use crate::demux::{Protocol, classify};
use crate::packet::{Datagram, Path, SocketIndex};
use crate::shard::{Shard, ShardConfig, ShardLimits};
use crate::time::Micros;
use crate::transport::handshake::HandshakeOutput;
use crate::transport::keys::{Profile, Role, SrtpKeys};
use crate::transport::srtp::{Opener, Sealer};

pub(super) const VIDEO: MediaKind = MediaKind::Video;
pub(super) const AUDIO: MediaKind = MediaKind::Audio;
const UFRAG: &str = "peer";
const PWD: &str = "a password of two dozen";
const MID_EXTENSION: u8 = 4;

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

/// One packet of a publisher. Its payload says its sequence number.
#[derive(Clone, Copy, Debug)]
pub(super) struct Frame {
    pub(super) seq: u16,
    pub(super) key: bool,
    pub(super) ssrc: u32,
    /// Bytes of the payload.
    pub(super) len: usize,
    pub(super) empty: bool,
    pub(super) kind: MediaKind,
}

impl Frame {
    pub(super) fn key(seq: u16) -> Frame {
        Frame {
            key: true,
            ..Frame::delta(seq)
        }
    }

    pub(super) fn delta(seq: u16) -> Frame {
        Frame {
            seq,
            key: false,
            ssrc: 0,
            len: 500,
            empty: false,
            kind: VIDEO,
        }
    }

    pub(super) fn padding(seq: u16) -> Frame {
        Frame {
            empty: true,
            ..Frame::delta(seq)
        }
    }

    pub(super) fn audio(seq: u16) -> Frame {
        Frame {
            kind: AUDIO,
            ..Frame::delta(seq)
        }
    }
}

struct Peer {
    admitted: Admitted,
    path: Path,
    sealer: Option<Sealer>,
    opener: Option<Opener>,
    slots: Vec<MediaKind>,
    /// RTP sequence number and number in the payload of what was received, in order of arrival.
    received: Vec<(MediaKind, u16, u32)>,
    /// Every datagram by SSRC and sequence number.
    sealed: BTreeMap<(u32, u16), Vec<u8>>,
}

pub(super) struct Class {
    pub(super) shard: Shard,
    pub(super) now: Micros,
    pub(super) edge: Edge,
    peers: Vec<Peer>,
}

fn codec(kind: MediaKind) -> PayloadType {
    let (codec, pt, clock_hz) = match kind {
        MediaKind::Audio => (CodecId::OPUS, 111, 48_000),
        MediaKind::Video => (CodecId::VP8, 96, 90_000),
    };
    PayloadType {
        codec,
        pt,
        rtx_pt: None,
        clock_hz,
        nack: true,
        pli: true,
        transport_cc: true,
        form: 0,
    }
}

fn mid(kind: MediaKind) -> &'static str {
    match kind {
        MediaKind::Audio => "a",
        MediaKind::Video => "v",
    }
}

fn ssrc(kind: MediaKind) -> u32 {
    match kind {
        MediaKind::Audio => 0xa0,
        MediaKind::Video => 0xb0,
    }
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
                remote: RemoteTransport {
                    ufrag: UFRAG.into(),
                    pwd: PWD.into(),
                    fingerprint: Fingerprint {
                        hash: FingerprintHash::Sha256,
                        digest: vec![0; 32],
                    },
                    setup: Setup::Active,
                },
                extensions: Extensions {
                    mid: Some(MID_EXTENSION),
                    transport_cc: Some(3),
                    ..Extensions::default()
                },
                slots: (0..)
                    .zip(slots)
                    .map(|(n, &kind)| Slot {
                        slot: SlotId(n),
                        kind,
                        mid: mid(kind).into(),
                        ssrc: ssrc(kind),
                        rtx_ssrc: None,
                        codecs: vec![codec(kind)],
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
        let request = BindingRequest {
            transaction_id: TransactionId([7; 12]),
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

    fn publish(&mut self, peer: usize, kind: MediaKind, ssrcs: &[Option<u32>]) {
        let session = self.session(peer);
        let encodings = ssrcs.iter().map(|&ssrc| Encoding {
            rid: None,
            ssrc,
            rtx_ssrc: None,
        });
        let reply = self.shard.on_command(
            self.now,
            Command::Publish(Publish {
                track: track(session, kind),
                session,
                uid: [0; 16],
                origin_node: [0; 16],
                hops: 0,
                kind,
                mid: mid(kind).into(),
                codecs: vec![codec(kind)],
                encodings: encodings.collect(),
                opaque: false,
                tag: Vec::new(),
            }),
        );
        assert!(matches!(reply, Reply::Done(_)), "{reply:?}");
    }

    /// Fills the viewer's slot of a kind with the publisher's track of it.
    pub(super) fn watch(&mut self, viewer: usize, kind: MediaKind, publisher: usize) {
        let slot = self.peers[viewer]
            .slots
            .iter()
            .position(|&slot| slot == kind)
            .unwrap();
        let order = Subscribe {
            session: self.session(viewer),
            slot: SlotId(u16::try_from(slot).unwrap()),
            source: Source::Track(track(self.session(publisher), kind)),
        };
        let reply = self.shard.on_command(self.now, Command::Subscribe(order));
        assert!(matches!(reply, Reply::Done(_)), "{reply:?}");
    }

    /// Sends one packet of a publisher.
    pub(super) fn send(&mut self, peer: usize, frame: Frame) {
        let mut bytes = [0; 1_500];
        let header = Header {
            marker: true,
            padding: frame.empty,
            payload_type: codec(frame.kind).pt,
            seq: Seq(frame.seq),
            timestamp: u32::from(frame.seq) * 3_000,
            ssrc: if frame.ssrc == 0 {
                ssrc(frame.kind) + 1
            } else {
                frame.ssrc
            },
        };
        let mut writer = HeaderWriter::new(&mut bytes, &header).unwrap();
        writer
            .push(MID_EXTENSION, mid(frame.kind).as_bytes())
            .unwrap();
        let header_len = writer.finish().unwrap();
        // VP8: S set, the inverse keyframe bit, the start code of a keyframe (RFC 7741, RFC 6386).
        let mut payload = vec![0x10, u8::from(!frame.key), 0, 0, 0x9d, 0x01, 0x2a];
        payload.extend(frame.seq.to_be_bytes());
        payload.resize(frame.len, 0xa5);
        let (payload, padding) = if frame.empty {
            (&[][..], 100)
        } else {
            (&payload[..], 0)
        };
        let entry = &mut self.peers[peer];
        let path = entry.path;
        let sealer = entry.sealer.as_mut().expect("a connected peer");
        let len = sealer.seal_rtp(
            u64::from(frame.seq),
            header_len,
            payload,
            padding,
            &mut bytes,
        );
        self.receive(path, &mut bytes[..len]);
    }

    /// A viewer asks for packets of its slot again.
    pub(super) fn nack(&mut self, peer: usize, kind: MediaKind, seqs: &[u16]) {
        let mut seqs: Vec<_> = seqs.iter().copied().map(Seq).collect();
        seqs.sort_unstable_by_key(|seq| seq.0);
        let mut plain = [0; 1_200];
        let len = nack::write(&mut plain, 1, ssrc(kind), &seqs).unwrap();
        self.send_rtcp(peer, &plain[..len]);
    }

    /// An empty receiver report.
    pub(super) fn send_report(&mut self, peer: usize) {
        let mut plain = [0; 100];
        let len = write_rr(&mut plain, 1, &[]).unwrap();
        self.send_rtcp(peer, &plain[..len]);
    }

    fn send_rtcp(&mut self, peer: usize, plain: &[u8]) {
        let entry = &mut self.peers[peer];
        let path = entry.path;
        let mut bytes = vec![0; plain.len() + 64];
        let len = entry
            .sealer
            .as_mut()
            .unwrap()
            .seal_rtcp(plain, &mut bytes)
            .unwrap();
        self.receive(path, &mut bytes[..len]);
    }

    fn receive(&mut self, path: Path, bytes: &mut [u8]) {
        self.shard.on_datagram(
            self.now,
            Datagram {
                path,
                bytes,
                arrival: self.now,
            },
        );
        self.assert_conserved();
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
                if let Some(peer) = peer
                    && classify(packet) == Some(Protocol::Rtp)
                {
                    peer.open(packet);
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

impl Peer {
    fn open(&mut self, sealed: &[u8]) {
        let view = RtpView::parse(sealed).unwrap();
        let (ssrc_of, seq) = (view.ssrc(), view.seq().0);
        if let Some(before) = self.sealed.insert((ssrc_of, seq), sealed.to_vec()) {
            assert_eq!(before, sealed, "one index, two packets");
            return;
        }
        let mut packet = sealed.to_vec();
        let header_len = header_len(sealed).unwrap();
        let opened = self
            .opener
            .as_mut()
            .unwrap()
            .open_rtp(&mut packet, header_len)
            .expect("it opens");
        let view = RtpView::parse(&packet[..opened.payload.end]).unwrap();
        let payload = strip_padding(view.payload(), view.has_padding()).unwrap();
        let kind = if ssrc_of == ssrc(AUDIO) { AUDIO } else { VIDEO };
        let number = u16::from_be_bytes([payload[7], payload[8]]);
        self.received.push((kind, seq, number.into()));
    }
}
