//! The shard, its four sessions and what must hold of them.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};

use codecs::rtp::{Header, HeaderWriter, Seq};
use dataplane_api::Command;
use dataplane_api::ids::ShardIndex;
use dataplane_api::media::CodecId;
use dataplane_api::reply::Reply;
use dataplane_engine::outbox::{SendFailed, SendFailure};
use dataplane_engine::packet::{Datagram, Path, SocketIndex};
use dataplane_engine::reason::DropReason;
use dataplane_engine::time::Micros;
use dataplane_engine::transport::handshake::HandshakeOutput;
use dataplane_engine::transport::keys::Profile;
use dataplane_engine::{Shard, ShardConfig, ShardLimits};
use turn::stun::{BindingRequest, IntegrityKey, Role, TransactionId, write_binding_request};

use super::orders::{self, AUDIO_OUT, AUDIO_PT, CODECS, MID, PEER_UFRAG, VIDEO_OUT, VIDEO_PT, Who};
use super::peer::Peer;
use crate::behaviour;
use crate::edge::{Committed, Edge};
use crate::input::Input;

/// Octets a packet may be longer than the longest that came in: tag, original sequence number, padding
/// (contracts.md 17), and header extensions.
const GROWTH_MAX: usize = 64;

/// Longest datagram that is no media: reports of as many streams as a session may have, feedback.
const CONTROL_OCTETS_MAX: usize = 1_300;

/// How often the honest pair shows that it lives.
const CHECK_INTERVAL_US: u64 = 2_000_000;

/// A class.
#[derive(Debug)]
pub(super) struct Class {
    pub(super) shard: Shard,
    pub(super) now: Micros,
    pub(super) peers: Vec<Peer>,
    edge: Edge,
    checked_at: Micros,
    /// Checks so far, of everybody.
    checks: u64,
    /// Honest frames so far, and what the viewer is to have of them.
    frames: u16,
    expected: [Vec<Vec<u8>>; 2],
    longest: usize,
    /// Datagrams of the hostile pair, to be sent again.
    pub(super) sent: Vec<(usize, Vec<u8>)>,
    last_hostile_run: Option<Committed>,
}

pub(super) fn path(n: u16) -> Path {
    Path {
        local: IpAddr::V4(Ipv4Addr::new(192, 0, 2, 1)),
        remote: SocketAddr::new(IpAddr::V4(Ipv4Addr::new(198, 51, 100, 1)), 5_000 + n),
        socket: SocketIndex::UDP_V4,
    }
}

impl Class {
    /// Everybody is connected, everything is ordered, and the honest picture runs.
    pub(super) fn new(input: &mut Input<'_>) -> Class {
        let (profile, codec) = (input.u8(), input.u8());
        let opaque = codec & 0x80 != 0;
        let codec = CODECS[usize::from(codec) % CODECS.len()];
        let shard = Shard::new(ShardConfig {
            index: ShardIndex(0),
            seed: [9; 32],
            candidates: Vec::new(),
            limits: ShardLimits::default(),
        });
        let mut class = Class {
            shard,
            now: Micros(1_000_000),
            peers: Vec::new(),
            edge: Edge::default(),
            checked_at: Micros(1_000_000),
            checks: 0,
            frames: 0,
            expected: [Vec::new(), Vec::new()],
            longest: 0,
            sent: Vec::new(),
            last_hostile_run: None,
        };
        for (n, who) in (0..).zip(Who::ALL) {
            let profile = if who.is_hostile() { profile } else { 0 };
            let profile = Profile::ALL[usize::from(profile) % Profile::ALL.len()];
            class.join(
                who,
                path(n),
                profile,
                if who.is_hostile() {
                    codec
                } else {
                    CodecId::VP8
                },
            );
        }
        for order in orders::publications(codec, opaque)
            .into_iter()
            .chain(orders::subscriptions())
        {
            let reply = class.shard.on_command(class.now, order);
            assert!(matches!(reply, Reply::Done(_)), "{reply:?}");
        }
        for _ in 0..3 {
            class.honest_frame();
        }
        // The keyframe that a new viewer needs was asked for; from here on nothing is to be asked.
        class.peer(Who::Publisher).asked = 0;
        class
    }

    fn join(&mut self, who: Who, path: Path, profile: Profile, codec: CodecId) {
        let reply = self.shard.on_command(self.now, orders::admit(who, codec));
        let Reply::Admitted(admitted) = reply else {
            panic!("{reply:?}")
        };
        let (peer, keys) = Peer::new(who, path, profile, admitted.ufrag, admitted.pwd);
        self.peers.push(peer);
        self.check(who, path, true);
        let session = who.session();
        let keyed = HandshakeOutput::Keyed {
            session,
            keys,
            flight: Vec::new(),
        };
        self.shard.on_handshake(self.now, keyed);
    }

    pub(super) fn peer(&mut self, who: Who) -> &mut Peer {
        let at = Who::ALL
            .iter()
            .position(|&other| other == who)
            .expect("one of all");
        &mut self.peers[at]
    }

    /// A connectivity check with the right password.
    pub(super) fn check(&mut self, who: Who, path: Path, nominated: bool) {
        // An id is good once: the same one again would be a replay.
        self.checks += 1;
        let mut transaction_id = TransactionId([7; 12]);
        transaction_id.0[..8].copy_from_slice(&self.checks.to_be_bytes());
        let peer = self.peer(who);
        if !peer.paths.contains(&path) {
            peer.paths.push(path);
        }
        let mut bytes = [0; 256];
        let request = BindingRequest {
            transaction_id,
            username: &format!("{}:{PEER_UFRAG}", peer.ufrag),
            priority: 1,
            role: Role::Controlling(1),
            use_candidate: nominated,
        };
        let key = IntegrityKey::new(peer.pwd.as_bytes());
        let len = write_binding_request(&mut bytes, &request, &key).expect("room");
        self.receive(path, &bytes[..len]);
    }

    pub(super) fn receive(&mut self, path: Path, bytes: &[u8]) {
        self.longest = self.longest.max(bytes.len());
        let mut bytes = bytes.to_vec();
        let datagram = Datagram {
            path,
            bytes: &mut bytes,
            arrival: self.now,
        };
        self.shard.on_datagram(self.now, datagram);
    }

    /// An order; only of the hostile room, because orders come from the control plane and are meant.
    pub(super) fn order(&mut self, command: Command) {
        let reply = self.shard.on_command(self.now, command);
        behaviour::outcome("reply", &reply);
        // An ICE restart, or an admission anew after the session was closed, gives new credentials.
        if let Reply::Admitted(admitted) = reply
            && let Some(peer) = self
                .peers
                .iter_mut()
                .find(|peer| peer.who.session() == admitted.session)
        {
            peer.ufrag = admitted.ufrag;
            peer.pwd = admitted.pwd;
        }
    }

    /// One picture and one sound of the honest publisher, 33 ms after those before.
    pub(super) fn honest_frame(&mut self) {
        self.advance(33_000);
        self.frames += 1;
        let number = self.frames;
        let key = number % 50 == 1;
        // VP8 without a picture id, so that a rewriter has nothing to change (RFC 7741 section 4.2).
        let mut video = vec![0x10, u8::from(!key), 0, 0, 0x9d, 0x01, 0x2a];
        video.extend(number.to_be_bytes());
        video.resize(60 + usize::from(number % 7) * 90, 0xa5);
        let mut audio = vec![0x78];
        audio.extend(number.to_be_bytes());
        audio.resize(80, 0x5a);
        let kinds = [
            (VIDEO_PT, 0x1b0, "v", 3_000, video),
            (AUDIO_PT, 0x1a0, "a", 1_584, audio),
        ];
        for (kind, (pt, ssrc, mid, ticks, payload)) in kinds.into_iter().enumerate() {
            let mut plain = vec![0; 1_200];
            let header = Header {
                marker: true,
                padding: false,
                payload_type: pt,
                seq: Seq(number),
                timestamp: u32::from(number) * ticks,
                ssrc,
            };
            let mut writer = HeaderWriter::new(&mut plain, &header).expect("room");
            writer.push(MID, mid.as_bytes()).expect("room");
            let len = writer.finish().expect("room");
            plain.truncate(len);
            plain.extend(&payload);
            let peer = self.peer(Who::Publisher);
            let path = peer.path;
            let sealed = peer.seal_rtp(&plain).expect("a header");
            self.receive(path, &sealed);
            self.expected[kind].push(payload);
        }
        self.flush();
    }

    /// Lets time pass, in steps in which the honest pair lives.
    pub(super) fn advance(&mut self, us: u64) {
        let end = self.now.plus_us(us);
        while self.now < end {
            self.now = end
                .min(self.checked_at.plus_us(CHECK_INTERVAL_US))
                .max(self.now.plus_us(1));
            if self.now.since(self.checked_at) >= CHECK_INTERVAL_US {
                self.checked_at = self.now;
                for who in [Who::Publisher, Who::Viewer] {
                    let path = self.peer(who).path;
                    self.check(who, path, true);
                }
            }
            self.shard.on_tick(self.now);
            self.flush();
        }
    }

    /// A turn's end: everything that is due leaves and is opened by whom it is for.
    pub(super) fn flush(&mut self) {
        self.edge.now = self.now;
        self.shard.flush(self.now, &mut self.edge);
        self.assert_conserved();
        for run in self.edge.take() {
            for packet in &run.packets {
                let media = packet.first().is_some_and(|first| first >> 6 == 2)
                    && !codecs::rtcp::is_rtcp(packet);
                let max = if media {
                    self.longest + GROWTH_MAX
                } else {
                    CONTROL_OCTETS_MAX
                };
                assert!(
                    packet.len() <= max,
                    "{} octets out, at most {} in",
                    packet.len(),
                    self.longest
                );
            }
            // A path may change hands among the hostile pair; the honest pair's never does.
            let honest = self
                .peers
                .iter()
                .position(|peer| peer.path == run.path && !peer.who.is_hostile());
            for packet in &run.packets {
                let mut readers = self.peers.iter_mut().enumerate();
                let read = readers.any(|(at, peer)| {
                    let may = honest.map_or(peer.paths.contains(&run.path), |honest| at == honest);
                    may && peer.receive(packet)
                });
                assert!(read, "nobody there can read it");
            }
            if honest.is_none() {
                self.last_hostile_run = Some(run);
            }
        }
        while let Some(event) = self.shard.poll_event() {
            behaviour::outcome("event", &event);
        }
        while let Some(input) = self.shard.poll_handshake() {
            assert!(input.session().0 <= 4);
            behaviour::outcome("handshake", &input);
        }
        while self.shard.poll_handover().is_some() {}
        if let Some(due) = self.shard.next_deadline() {
            let late = self.now.0.saturating_sub(due.0);
            behaviour::note("late", u64::from(late > 0));
        }
    }

    /// The last run to a hostile peer did not leave, or not all of it.
    pub(super) fn fail_last_run(&mut self, packets: u8) {
        let Some(run) = self.last_hostile_run.take() else {
            return;
        };
        let all = u16::try_from(run.packets.len()).expect("a run is short");
        let failed = SendFailed {
            path: run.path,
            run: run.run,
            packets: u16::from(packets).min(all).max(1),
            kind: SendFailure::WouldBlock,
        };
        // A failure is told before the next flush, which is now: the run was the last one.
        self.shard.on_send_failed(self.now, failed);
    }

    /// Contracts.md 20.
    pub(super) fn assert_conserved(&self) {
        let c = self.shard.counters();
        assert_eq!(
            c.received_packets,
            c.accepted_packets + c.dropped_in.total(),
            "of what came in"
        );
        let queued = self.shard.queued_packets();
        assert_eq!(
            c.selected_packets,
            c.sealed_packets + c.dropped_out.total() + queued,
            "of what was selected"
        );
    }

    /// The honest viewer has everything, in order, and its publisher was left in peace.
    pub(super) fn end(mut self) {
        self.advance(5_000);
        for reason in DropReason::ALL {
            let counters = self.shard.counters();
            behaviour::size(
                reason.label(),
                usize::try_from(counters.dropped_in.of(*reason)).unwrap_or(0),
            );
            behaviour::size(
                reason.label(),
                usize::try_from(counters.dropped_out.of(*reason)).unwrap_or(0),
            );
        }
        let counters = self.shard.counters();
        behaviour::note("retransmitted", counters.retransmitted_packets.min(4));
        behaviour::note("missed", counters.resends_missed.min(4));
        let expected = std::mem::take(&mut self.expected);
        let viewer = self.peer(Who::Viewer);
        for (ssrc, expected) in [VIDEO_OUT, AUDIO_OUT].into_iter().zip(expected) {
            let got = viewer.payloads.remove(&ssrc).unwrap_or_default();
            assert!(
                got == expected,
                "the honest viewer has {} of {} on {ssrc:#x}",
                got.len(),
                expected.len()
            );
        }
        assert_eq!(
            self.peer(Who::Publisher).asked,
            0,
            "somebody made the node ask the honest publisher"
        );
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn class() -> Class {
        let mut class = Class::new(&mut Input::new(&[]));
        for _ in 0..20 {
            class.honest_frame();
        }
        class
    }

    #[test]
    fn an_undisturbed_class_ends_well() {
        let mut class = class();
        class.advance(40_000_000);
        class.honest_frame();
        class.end();
    }

    #[test]
    #[should_panic(expected = "the honest viewer has 22 of 23")]
    fn a_packet_that_the_viewer_lacks_is_missed() {
        let mut class = class();
        let viewer = class.peer(Who::Viewer);
        viewer
            .payloads
            .get_mut(&VIDEO_OUT)
            .map(|payloads| payloads.remove(7));
        class.end();
    }

    #[test]
    #[should_panic(expected = "the honest viewer has 23 of 23")]
    fn packets_in_another_order_are_noticed() {
        let mut class = class();
        let viewer = class.peer(Who::Viewer);
        if let Some(payloads) = viewer.payloads.get_mut(&VIDEO_OUT) {
            payloads.swap(3, 4);
        }
        class.end();
    }

    #[test]
    #[should_panic(expected = "somebody made the node ask")]
    fn a_wish_that_reaches_the_honest_publisher_is_noticed() {
        let mut class = class();
        class.peer(Who::Publisher).asked = 1;
        class.end();
    }

    /// The same index with another payload, sealed by somebody who forgot what was sealed before.
    #[test]
    #[should_panic(expected = "one index, two packets")]
    fn an_index_that_is_sealed_twice_is_noticed() {
        let mut class = class();
        let (who, path) = (Who::HostileViewer, super::path(1));
        let (mut peer, keys) = Peer::new(
            who,
            path,
            Profile::AeadAes128Gcm,
            String::new(),
            String::new(),
        );
        let mut plain = [
            &[0x80, VIDEO_PT, 0, 9, 0, 0, 0, 1, 0, 0, 0, 7][..],
            &[1; 20],
        ]
        .concat();
        for octet in [1, 2] {
            plain[20] = octet;
            let mut sealed = [plain.clone(), vec![0; 16]].concat();
            let mut sealer = dataplane_engine::transport::srtp::Sealer::new(&keys);
            let len = sealer.seal_rtp_in_place(9, 12, 20, &mut sealed);
            assert!(peer.receive(&sealed[..len]));
        }
        class.flush();
    }
}
