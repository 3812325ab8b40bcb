//! What simulated publishers send: a stamped camera and a stamped microphone, and how our SDP would describe
//! them.

use std::time::{Duration, Instant};

use dataplane_api::media::{CodecId, Extensions, MediaKind, PayloadType};
use str0m::Rtc;
use str0m::format::Codec;
use str0m::media::Pt;
use str0m::rtp::{RtpWrite, Ssrc};

use crate::stamp::Stamp;

const VP8_CLOCK_HZ: u32 = 90_000;
const OPUS_CLOCK_HZ: u32 = 48_000;
const FRAME_INTERVAL: Duration = Duration::from_micros(33_333);
const PACKETS_A_FRAME: u8 = 4;
const VOICE_INTERVAL: Duration = Duration::from_millis(20);

/// Header extension ids of these peers (RFC 8285).
pub(crate) const TRANSPORT_CC: u8 = 3;
pub(crate) const MID: u8 = 4;
pub(crate) const RID: u8 = 10;
pub(crate) const REPAIRED_RID: u8 = 11;

/// The mid of a medium of these peers.
#[must_use]
pub fn mid(kind: MediaKind) -> &'static str {
    match kind {
        MediaKind::Audio => "a",
        MediaKind::Video => "v",
    }
}

/// Header extension ids these peers offer.
#[must_use]
pub fn extensions() -> Extensions {
    Extensions {
        mid: Some(MID),
        rid: Some(RID),
        repaired_rid: Some(REPAIRED_RID),
        transport_cc: Some(TRANSPORT_CC),
        ..Extensions::default()
    }
}

/// The one codec of a medium these peers offer, as our SDP would have it.
#[must_use]
pub fn codec(kind: MediaKind) -> PayloadType {
    let (codec, pt, clock_hz) = match kind {
        MediaKind::Audio => (CodecId::OPUS, 111, OPUS_CLOCK_HZ),
        MediaKind::Video => (CodecId::VP8, 96, VP8_CLOCK_HZ),
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

/// A stamped VP8 source.
#[derive(Debug)]
pub(crate) struct Camera {
    pub(crate) next_at: Instant,
    /// RTP sequence number, extended.
    pub(crate) seq: u64,
    /// Packets sent, whatever their sequence numbers.
    pub(crate) number: u64,
    pub(crate) timestamp: u32,
    pub(crate) keyframe_wanted: bool,
    frame: u32,
}

impl Camera {
    /// A camera whose first frame is a keyframe, now.
    pub(crate) fn new(now: Instant) -> Camera {
        Camera {
            next_at: now,
            seq: 1,
            number: 0,
            timestamp: 0,
            keyframe_wanted: true,
            frame: 0,
        }
    }

    /// Sends the next frame if it is due.
    pub(crate) fn send(&mut self, rtc: &mut Rtc, publisher: u32, ssrc: Ssrc, now: Instant) -> bool {
        if self.next_at > now {
            return false;
        }
        let pt = payload_type(rtc, Codec::Vp8);
        let mut direct = rtc.direct_api();
        let Some(stream) = direct.stream_tx(&ssrc) else {
            return false;
        };
        let key = std::mem::take(&mut self.keyframe_wanted);
        for part in 0..PACKETS_A_FRAME {
            let stamp = Stamp {
                publisher,
                ssrc: *ssrc,
                key,
                number: self.number,
                frame: self.frame,
                part,
                parts: PACKETS_A_FRAME,
                ..Stamp::default()
            };
            let is_last = part + 1 == PACKETS_A_FRAME;
            // Sizes that differ by a byte, and a shorter last one, as packetisers make them.
            let len = if is_last {
                400
            } else {
                1_100 - usize::from(part % 2)
            };
            let payload = stamp.vp8(len, None);
            let packet = RtpWrite::new(pt, self.seq.into(), self.timestamp, now, payload);
            stream.write_rtp(packet.marker(is_last));
            self.seq += 1;
            self.number += 1;
        }
        self.frame += 1;
        self.timestamp = self.timestamp.wrapping_add(VP8_CLOCK_HZ / 30);
        self.next_at += FRAME_INTERVAL;
        true
    }
}

/// A stamped Opus source.
#[derive(Debug)]
pub(crate) struct Microphone {
    pub(crate) ssrc: Ssrc,
    /// None before the peer is connected.
    pub(crate) next_at: Option<Instant>,
    number: u64,
}

impl Microphone {
    /// A microphone that is silent until it is given a time.
    pub(crate) fn new(ssrc: Ssrc) -> Microphone {
        Microphone {
            ssrc,
            next_at: None,
            number: 0,
        }
    }

    /// Sends the next 20 ms if they are due.
    pub(crate) fn send(&mut self, rtc: &mut Rtc, publisher: u32, now: Instant) -> bool {
        let Some(next_at) = self.next_at.filter(|&at| at <= now) else {
            return false;
        };
        let pt = payload_type(rtc, Codec::Opus);
        let mut direct = rtc.direct_api();
        let Some(stream) = direct.stream_tx(&self.ssrc) else {
            return false;
        };
        let stamp = Stamp {
            publisher,
            ssrc: *self.ssrc,
            number: self.number,
            ..Stamp::default()
        };
        let timestamp = u32::try_from(self.number * 960).unwrap_or(0);
        let payload = stamp.opus(80);
        let packet = RtpWrite::new(pt, (self.number + 1).into(), timestamp, now, payload);
        stream.write_rtp(packet.marker(self.number == 0));
        self.number += 1;
        self.next_at = Some(next_at + VOICE_INTERVAL);
        true
    }
}

fn payload_type(rtc: &Rtc, codec: Codec) -> Pt {
    rtc.codec_config()
        .params()
        .iter()
        .find(|params| params.spec().codec == codec)
        .expect("invariant: both codecs are enabled")
        .pt()
}
