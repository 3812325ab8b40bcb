//! What a peer publishes: its camera and its voice, frame by frame, and again when it is asked to.

use codecs::rtp::{ExtSeq, Header, HeaderWriter, Seq};
use dataplane_api::media::MediaKind;
use dataplane_engine::time::Micros;
use dataplane_engine::transport::keys::RTP_OVERHEAD_MAX;
use rand::RngExt;

use super::Wired;
use super::encoder::{Encoder, Packet};
use crate::source::{MID, REPAIRED_RID, RID, TRANSPORT_CC, mid};

pub(super) const FRAME_INTERVAL_US: u64 = 40_000;
pub(super) const VOICE_INTERVAL_US: u64 = 20_000;
/// One frame of this many is followed by a packet that carries nothing.
const PROBE_EVERY: u64 = 23;
const PACKET_BYTES_MAX: usize = 1_500;

/// When its client will publish what.
#[derive(Debug)]
pub(super) struct Sources {
    pub(super) cameras: Vec<Encoder>,
    pub(super) voice: Option<Encoder>,
    pub(super) next_frame_at: Micros,
    pub(super) next_voice_at: Micros,
    pub(super) frames: u64,
    /// The camera is off: it sends nothing and nobody takes it for lost.
    pub(super) frozen: bool,
    pub(super) probes: bool,
}

/// What a publisher heard of its packets.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Heard {
    /// Keyframes it was asked for.
    pub keyframe_requests: u64,
    /// Packets it sent again because it was asked to.
    pub resent: u64,
    /// Packets that transport-wide feedback says arrived.
    pub acknowledged: u64,
    /// Packets that transport-wide feedback says did not.
    pub missed: u64,
}

impl Wired {
    /// What it heard of what it published.
    #[must_use]
    pub fn heard(&self) -> Heard {
        let of_encoders = self.sources.iter().flat_map(Sources::encoders);
        let (keyframe_requests, resent) = of_encoders.fold((0, 0), |(k, r), encoder| {
            (k + encoder.keyframe_requests, r + encoder.resent)
        });
        Heard {
            keyframe_requests: self.heard.keyframe_requests + keyframe_requests,
            resent: self.heard.resent + resent,
            ..self.heard
        }
    }

    /// Media packets it sent, of all layers, without repetitions.
    #[must_use]
    pub fn packets_sent(&self) -> u64 {
        let of_encoders = self.sources.iter().flat_map(Sources::encoders);
        of_encoders.map(Encoder::packets).sum()
    }

    /// Its camera stops sending, or goes on with a keyframe.
    pub fn freeze(&mut self, now: Micros, frozen: bool) {
        if let Some(sources) = &mut self.sources {
            if sources.frozen && !frozen {
                sources.next_frame_at = now;
            }
            sources.frozen = frozen;
        }
    }

    /// Whether its camera is off.
    #[must_use]
    pub fn is_frozen(&self) -> bool {
        self.sources.as_ref().is_some_and(|sources| sources.frozen)
    }

    /// Its camera begins anew: other SSRCs, other sequence numbers, other times, and a keyframe at once when
    /// `with_keyframe`, else only when it is asked for one.
    pub fn restart_encoder(&mut self, with_keyframe: bool) {
        let Some(sources) = &mut self.sources else {
            return;
        };
        for encoder in &mut sources.cameras {
            self.heard.keyframe_requests += encoder.keyframe_requests;
            self.heard.resent += encoder.resent;
            let mut plan = encoder.plan;
            plan.ssrc += 0x10;
            plan.rtx = plan.rtx.map(|(ssrc, pt)| (ssrc + 0x10, pt));
            plan.first_seq = self.rng.random_range(1..0x8000);
            plan.first_timestamp = self.rng.random();
            if let Some(picture) = &mut plan.picture {
                picture.id = self.rng.random_range(0..0x8000);
                picture.tl0 = self.rng.random();
            }
            *encoder = Encoder::new(plan);
            encoder.keyframe_wanted = with_keyframe;
        }
    }

    /// Its camera leaves out sequence numbers, as if that many packets were lost before the node.
    pub fn leave_out(&mut self, numbers: u64) {
        if let Some(sources) = &mut self.sources {
            for encoder in &mut sources.cameras {
                encoder.leave_out(numbers);
            }
        }
    }

    pub(super) fn send_media(&mut self, now: Micros) {
        let Some(mut sources) = self.sources.take() else {
            return;
        };
        if let Some(voice) = &mut sources.voice
            && sources.next_voice_at <= now
        {
            sources.next_voice_at = sources.next_voice_at.plus_us(VOICE_INTERVAL_US).max(now);
            self.send_frame(now, voice);
        }
        if !sources.frozen && sources.next_frame_at <= now {
            sources.next_frame_at = sources.next_frame_at.plus_us(FRAME_INTERVAL_US).max(now);
            sources.frames += 1;
            let probe = sources.probes && sources.frames.is_multiple_of(PROBE_EVERY);
            for encoder in &mut sources.cameras {
                self.send_frame(now, encoder);
                if probe {
                    self.send_probe(encoder);
                }
            }
        }
        self.sources = Some(sources);
    }

    fn send_frame(&mut self, now: Micros, encoder: &mut Encoder) {
        for packet in encoder.frame(now) {
            let index = packet.index;
            let transport_seq = self.send_rtp(packet, encoder.plan.kind);
            encoder.on_sent(index, transport_seq);
        }
    }

    /// A probe for bandwidth: on the retransmission stream an old packet again, else a packet of padding.
    fn send_probe(&mut self, encoder: &mut Encoder) {
        let packet = match (encoder.rtx.is_some(), encoder.newest()) {
            (true, Some(newest)) => encoder.again(newest),
            _ => Some(encoder.padding()),
        };
        if let Some(packet) = packet {
            self.send_rtp(packet, MediaKind::Video);
        }
    }

    pub(super) fn resend(&mut self, ssrc: u32, seqs: impl Iterator<Item = Seq>) {
        let Some(mut sources) = self.sources.take() else {
            return;
        };
        let encoder = sources.encoders_mut().find(|e| e.plan.ssrc == ssrc);
        if let Some(encoder) = encoder {
            for seq in seqs {
                if let Some(packet) = encoder.again(seq) {
                    self.send_rtp(packet, encoder.plan.kind);
                }
            }
        }
        self.sources = Some(sources);
    }

    pub(super) fn want_keyframe(&mut self, ssrc: u32) {
        let encoders = self.sources.iter_mut().flat_map(Sources::encoders_mut);
        for encoder in encoders.filter(|encoder| encoder.plan.ssrc == ssrc) {
            encoder.keyframe_wanted = true;
            encoder.keyframe_requests += 1;
        }
    }

    /// Seals and sends one packet; returns its transport-wide number.
    fn send_rtp(&mut self, packet: Packet, kind: MediaKind) -> u16 {
        let transport_seq = packet.transport_seq.unwrap_or(self.transport_seq);
        if packet.transport_seq.is_none() {
            self.transport_seq = self.transport_seq.wrapping_add(1);
        }
        let mut bytes = vec![0; PACKET_BYTES_MAX];
        let header = Header {
            marker: packet.marker,
            padding: packet.padding > 0,
            payload_type: packet.payload_type,
            seq: ExtSeq(packet.index).seq(),
            timestamp: packet.timestamp,
            ssrc: packet.ssrc,
        };
        let rid_id = if packet.repairs { REPAIRED_RID } else { RID };
        let fits = "invariant: the header of a simulated packet fits";
        let mut writer = HeaderWriter::new(&mut bytes, &header).expect(fits);
        writer.push(MID, mid(kind).as_bytes()).expect(fits);
        if let Some(rid) = packet.rid {
            writer.push(rid_id, rid.as_bytes()).expect(fits);
        }
        let transport = transport_seq.to_be_bytes();
        writer.push(TRANSPORT_CC, &transport).expect(fits);
        let header_len = writer.finish().expect(fits);
        debug_assert!(header_len + packet.payload.len() + RTP_OVERHEAD_MAX <= PACKET_BYTES_MAX);
        let len = self.sealer.seal_rtp(
            packet.index,
            header_len,
            &packet.payload,
            packet.padding,
            &mut bytes,
        );
        bytes.truncate(len);
        self.push(self.node, bytes);
        transport_seq
    }
}

impl Sources {
    pub(super) fn encoders(&self) -> impl Iterator<Item = &Encoder> {
        self.cameras.iter().chain(&self.voice)
    }

    pub(super) fn encoders_mut(&mut self) -> impl Iterator<Item = &mut Encoder> {
        self.cameras.iter_mut().chain(&mut self.voice)
    }
}
