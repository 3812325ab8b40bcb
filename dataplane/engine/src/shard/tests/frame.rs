//! What a publisher of these stories sends.

use dataplane_api::media::{CodecId, MediaKind, PayloadType};

use crate::transport::replay::{roc_of, seq_of};

pub(super) const VIDEO: MediaKind = MediaKind::Video;
pub(super) const AUDIO: MediaKind = MediaKind::Audio;
pub(super) const MID_EXTENSION: u8 = 4;
pub(super) const DESCRIPTOR_EXTENSION: u8 = 5;
/// Payload type of RTX.
pub(super) const RTX_PT: u8 = 97;
/// How far the SSRC of a retransmission stream is from that of its media.
pub(super) const RTX_SSRC: u32 = 0x1000;

pub(super) fn codec(kind: MediaKind, rtx: bool) -> PayloadType {
    let (codec, pt, clock_hz) = match kind {
        MediaKind::Audio => (CodecId::OPUS, 111, 48_000),
        MediaKind::Video => (CodecId::VP8, 96, 90_000),
    };
    PayloadType {
        codec,
        pt,
        rtx_pt: (rtx && kind == VIDEO).then_some(RTX_PT),
        clock_hz,
        nack: true,
        pli: true,
        transport_cc: true,
        form: 0,
    }
}

pub(super) fn mid(kind: MediaKind) -> &'static str {
    match kind {
        MediaKind::Audio => "a",
        MediaKind::Video => "v",
    }
}

pub(super) fn ssrc(kind: MediaKind) -> u32 {
    match kind {
        MediaKind::Audio => 0xa0,
        MediaKind::Video => 0xb0,
    }
}

/// One packet of a publisher. Its payload says its sequence number.
#[derive(Clone, Copy, Debug)]
pub(super) struct Frame {
    pub(super) seq: u16,
    /// How often its sequence numbers began anew.
    pub(super) roc: u32,
    pub(super) key: bool,
    pub(super) ssrc: u32,
    /// Bytes of the payload.
    pub(super) len: usize,
    pub(super) empty: bool,
    pub(super) kind: MediaKind,
    /// The numbers of its VP8 payload descriptor, if it has any.
    pub(super) picture: Option<Picture>,
    /// The frame number of its dependency descriptor, if it has one.
    pub(super) frame_number: Option<u16>,
    /// The least bytes of that descriptor.
    pub(super) descriptor_len: usize,
    /// Bytes of padding behind the payload.
    pub(super) padding: usize,
    /// Without a mid.
    pub(super) bare: bool,
    /// Instead of the payload type of its codec.
    pub(super) payload_type: Option<u8>,
}

/// Picture id (15 bits), TL0PICIDX and KEYIDX.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Picture {
    pub(super) id: u16,
    pub(super) tl0: u8,
    pub(super) key_idx: u8,
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
            roc: 0,
            key: false,
            ssrc: 0,
            len: 500,
            empty: false,
            kind: VIDEO,
            picture: None,
            frame_number: None,
            descriptor_len: 0,
            padding: 0,
            bare: false,
            payload_type: None,
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

    /// With everything that counts pictures at `n`.
    pub(super) fn counting(self, n: u16) -> Frame {
        let [_, low] = n.to_be_bytes();
        let picture = Picture {
            id: n,
            tl0: low,
            key_idx: low & 0x1f,
        };
        Frame {
            picture: Some(picture),
            frame_number: Some(n),
            ..self
        }
    }

    /// The packet with this 48-bit index.
    pub(super) fn at(index: u64) -> Frame {
        Frame {
            roc: roc_of(index),
            ..Frame::delta(seq_of(index))
        }
    }

    pub(super) fn index(self) -> u64 {
        u64::from(self.roc) << 16 | u64::from(self.seq)
    }

    pub(super) fn timestamp(self) -> u32 {
        let ticks = self.index() * 3_000;
        u32::try_from(ticks & u64::from(u32::MAX)).unwrap()
    }

    pub(super) fn ssrc(self) -> u32 {
        if self.ssrc == 0 {
            ssrc(self.kind) + 1
        } else {
            self.ssrc
        }
    }
}
