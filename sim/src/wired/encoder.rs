//! One SSRC of a light publisher: frames on its clock, numbered and stamped, and what it remembers of them to
//! send again.

use std::collections::VecDeque;

use codecs::rtp::rtx::write_osn;
use codecs::rtp::{ExtSeq, Seq};
use dataplane_api::media::MediaKind;
use dataplane_engine::time::Micros;

use crate::stamp::{PAYLOAD_BYTES_MIN, Picture, Stamp};

/// Media packets remembered: more than a second of every source here.
const HISTORY_PACKETS: usize = 400;
/// A padding-only packet, as bandwidth probes are (RFC 3550 section 5.1).
pub(super) const PADDING_BYTES: usize = 200;

/// The retransmission stream of an encoder (RFC 4588).
#[derive(Clone, Copy, Debug)]
pub(super) struct Rtx {
    pub(super) ssrc: u32,
    pub(super) payload_type: u8,
    next_seq: u64,
}

/// A packet before it is sealed.
#[derive(Clone, Debug)]
pub(super) struct Packet {
    pub(super) ssrc: u32,
    /// The 48-bit SRTP index; its low 16 bits are the sequence number.
    pub(super) index: u64,
    pub(super) timestamp: u32,
    pub(super) marker: bool,
    pub(super) payload_type: u8,
    pub(super) payload: Vec<u8>,
    pub(super) padding: usize,
    pub(super) rid: Option<&'static str>,
    /// The rid names the repaired stream (RFC 8852 section 3.2), not this one.
    pub(super) repairs: bool,
    /// The transport-wide number it had when it was first sent; none before that.
    pub(super) transport_seq: Option<u16>,
}

/// A media packet that was sent. Its payload follows from its stamp.
#[derive(Clone, Copy, Debug)]
struct Remembered {
    index: u64,
    timestamp: u32,
    marker: bool,
    stamp: Stamp,
    picture: Option<Picture>,
    payload_len: usize,
    transport_seq: u16,
}

/// What an encoder is made of.
#[derive(Clone, Copy, Debug)]
pub(super) struct Plan {
    pub(super) kind: MediaKind,
    pub(super) publisher: u32,
    pub(super) room: u32,
    pub(super) layer: u8,
    pub(super) rid: Option<&'static str>,
    pub(super) ssrc: u32,
    pub(super) payload_type: u8,
    pub(super) rtx: Option<(u32, u8)>,
    pub(super) clock_hz: u32,
    /// Packets of a delta frame; a keyframe has twice as many.
    pub(super) parts: u8,
    /// Payload bytes of every packet of a frame but the last.
    pub(super) payload_bytes: usize,
    /// Bytes of the RTP header, extensions included.
    pub(super) header_bytes: usize,
    /// First sequence number, below 2^15 (RFC 3711 section 3.3.1: the rollover counter is guessed from it).
    pub(super) first_seq: u16,
    pub(super) first_timestamp: u32,
    /// None: a plain VP8 descriptor.
    pub(super) picture: Option<Picture>,
}

/// One SSRC.
#[derive(Debug)]
pub(super) struct Encoder {
    pub(super) plan: Plan,
    pub(super) rtx: Option<Rtx>,
    next_seq: u64,
    next_number: u64,
    paddings: u32,
    frame: u32,
    pub(super) keyframe_wanted: bool,
    /// Keyframes it was asked for.
    pub(super) keyframe_requests: u64,
    /// Packets it sent again on request.
    pub(super) resent: u64,
    pub(super) octets: u32,
    last_timestamp: u32,
    history: VecDeque<Remembered>,
}

impl Encoder {
    /// An encoder whose first frame is a keyframe.
    pub(super) fn new(plan: Plan) -> Encoder {
        Encoder {
            rtx: plan.rtx.map(|(ssrc, payload_type)| Rtx {
                ssrc,
                payload_type,
                next_seq: u64::from(plan.first_seq / 2 + 1),
            }),
            next_seq: u64::from(plan.first_seq),
            next_number: 0,
            paddings: 0,
            frame: 0,
            keyframe_wanted: true,
            keyframe_requests: 0,
            resent: 0,
            octets: 0,
            last_timestamp: plan.first_timestamp,
            history: VecDeque::new(),
            plan,
        }
    }

    /// Packets sent, without padding and without repetitions.
    pub(super) fn packets(&self) -> u64 {
        self.next_number
    }

    /// The RTP time of `now`.
    pub(super) fn timestamp(&self, now: Micros) -> u32 {
        let ticks = now.0.wrapping_mul(u64::from(self.plan.clock_hz)) / 1_000_000;
        self.plan
            .first_timestamp
            .wrapping_add(ExtSeq(ticks).low32())
    }

    /// The packets of one frame.
    pub(super) fn frame(&mut self, now: Micros) -> Vec<Packet> {
        let video = self.plan.kind == MediaKind::Video;
        let key = !video || std::mem::take(&mut self.keyframe_wanted);
        let parts = if video && key {
            self.plan.parts * 2
        } else {
            self.plan.parts
        };
        let timestamp = self.timestamp(now);
        let picture = self.plan.picture;
        let packets: Vec<Packet> = (0..parts)
            .map(|part| self.packet(now, part, parts, key, timestamp, picture))
            .collect();
        self.frame += 1;
        self.last_timestamp = timestamp;
        if let Some(picture) = &mut self.plan.picture {
            picture.id = (picture.id + 1) & 0x7fff;
            picture.tl0 = picture.tl0.wrapping_add(1);
        }
        packets
    }

    fn packet(
        &mut self,
        now: Micros,
        part: u8,
        parts: u8,
        key: bool,
        timestamp: u32,
        picture: Option<Picture>,
    ) -> Packet {
        let plan = self.plan;
        let is_last = part + 1 == parts;
        // Sizes that differ by a byte, and a shorter last one, as packetisers make them.
        let payload_len = match plan.kind {
            MediaKind::Audio => plan.payload_bytes,
            MediaKind::Video if is_last => (plan.payload_bytes / 3).max(PAYLOAD_BYTES_MIN),
            MediaKind::Video => plan.payload_bytes - usize::from(part % 2),
        };
        let stamp = Stamp {
            publisher: plan.publisher,
            room: plan.room,
            ssrc: plan.ssrc,
            layer: plan.layer,
            key,
            number: self.next_number,
            paddings: self.paddings,
            frame: self.frame,
            part,
            parts,
            packet_bytes: u16::try_from(plan.header_bytes + payload_len).unwrap_or(u16::MAX),
            seq: ExtSeq(self.next_seq).seq().0,
            captured_us: now.0,
        };
        let sent = Remembered {
            index: self.next_seq,
            timestamp,
            // In audio the marker begins a talkspurt (RFC 3551 section 4.1), in video it ends a frame.
            marker: match plan.kind {
                MediaKind::Audio => self.next_number == 0,
                MediaKind::Video => is_last,
            },
            stamp,
            picture,
            payload_len,
            transport_seq: 0,
        };
        self.next_seq += 1;
        self.next_number += 1;
        self.octets = self
            .octets
            .wrapping_add(u32::try_from(payload_len).unwrap_or(0));
        self.history.push_back(sent);
        if self.history.len() > HISTORY_PACKETS {
            self.history.pop_front();
        }
        self.rebuild(&sent)
    }

    /// The transport-wide number that a packet just made got: it is part of what is authenticated, so the
    /// same packet sent again has it again.
    pub(super) fn on_sent(&mut self, index: u64, transport_seq: u16) {
        let newest = self.history.iter_mut().rev();
        if let Some(sent) = newest.take(64).find(|sent| sent.index == index) {
            sent.transport_seq = transport_seq;
        }
    }

    /// A packet that carries nothing and takes a sequence number.
    pub(super) fn padding(&mut self) -> Packet {
        let index = self.next_seq;
        self.next_seq += 1;
        self.paddings += 1;
        Packet {
            ssrc: self.plan.ssrc,
            index,
            timestamp: self.last_timestamp,
            marker: false,
            payload_type: self.plan.payload_type,
            payload: Vec::new(),
            padding: PADDING_BYTES,
            rid: self.plan.rid,
            repairs: false,
            transport_seq: None,
        }
    }

    /// The packet with this sequence number again: on the retransmission stream where there is one, else
    /// byte for byte as it was.
    pub(super) fn again(&mut self, seq: Seq) -> Option<Packet> {
        let sent = *self
            .history
            .iter()
            .rev()
            .find(|sent| ExtSeq(sent.index).seq() == seq)?;
        self.resent += 1;
        let mut packet = self.rebuild(&sent);
        let Some(rtx) = &mut self.rtx else {
            packet.transport_seq = Some(sent.transport_seq);
            return Some(packet);
        };
        let mut payload = vec![0; 2];
        write_osn(&mut payload, seq).expect("invariant: two bytes of room");
        payload.append(&mut packet.payload);
        packet.payload = payload;
        packet.ssrc = rtx.ssrc;
        packet.payload_type = rtx.payload_type;
        packet.index = rtx.next_seq;
        packet.repairs = true;
        rtx.next_seq += 1;
        Some(packet)
    }

    /// The newest packet's sequence number.
    pub(super) fn newest(&self) -> Option<Seq> {
        self.history.back().map(|sent| ExtSeq(sent.index).seq())
    }

    /// Leaves out numbers, as if that many packets were lost before the node.
    pub(super) fn leave_out(&mut self, numbers: u64) {
        self.next_seq += numbers;
        self.next_number += numbers;
    }

    fn rebuild(&self, sent: &Remembered) -> Packet {
        let payload = match self.plan.kind {
            MediaKind::Audio => sent.stamp.opus(sent.payload_len),
            MediaKind::Video => sent.stamp.vp8(sent.payload_len, sent.picture),
        };
        Packet {
            ssrc: self.plan.ssrc,
            index: sent.index,
            timestamp: sent.timestamp,
            marker: sent.marker,
            payload_type: self.plan.payload_type,
            payload,
            padding: 0,
            rid: self.plan.rid,
            repairs: false,
            transport_seq: None,
        }
    }
}
