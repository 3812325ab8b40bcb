//! Payload formats: as much of each codec's as keyframes, layers and rewriting need, and for those who store
//! or bring in media, frames out of payloads ([`Depacketizer`]) and payloads out of frames (a `Packetizer` a
//! codec).
//!
//! Only descriptors are read, never coded pictures. Whatever is odd reads as `None`: the caller forwards the
//! packet opaque or drops it, and no frame is taken for a keyframe by mistake.

pub mod av1;
mod depacketize;
pub mod dependency;
pub mod h264;
pub mod h265;
pub mod nal;
pub mod opus;
mod packetize;
pub mod red;
pub mod vp8;
pub mod vp9;

pub use depacketize::{Depacketizer, Dropped, Format, Frame};
pub use packetize::Packed;

use crate::bytes::{Reader, WriteError, Writer, put};

/// The codecs whose payload this crate reads.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Codec {
    /// Opus (RFC 7587).
    Opus,
    /// VP8 (RFC 7741).
    Vp8,
    /// VP9 (RFC 9628).
    Vp9,
    /// H.264 (RFC 6184).
    H264,
    /// H.265 (RFC 7798).
    H265,
    /// AV1 (RTP Payload Format For AV1, version 1.0.0).
    Av1,
}

/// The packet begins a keyframe: a decoder that knows nothing can start with it. Several packets of one
/// keyframe may say so (parameter sets, then slices); the first of a new timestamp is the beginning.
///
/// `payload` is decrypted and without padding.
#[must_use]
pub fn is_keyframe(codec: Codec, payload: &[u8]) -> bool {
    match codec {
        Codec::Opus => opus::is_keyframe(payload),
        Codec::Vp8 => vp8::is_keyframe(payload),
        Codec::Vp9 => vp9::is_keyframe(payload),
        Codec::H264 => h264::is_keyframe(payload),
        Codec::H265 => h265::is_keyframe(payload),
        Codec::Av1 => av1::is_keyframe(payload),
    }
}

/// A picture id of VP8 or VP9 with the width it has on the wire.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PictureId {
    /// Seven bits.
    Short(u8),
    /// Fifteen bits.
    Long(u16),
}

impl PictureId {
    /// The number, whatever its width.
    #[must_use]
    pub fn value(self) -> u16 {
        match self {
            PictureId::Short(value) => u16::from(value),
            PictureId::Long(value) => value,
        }
    }

    /// How many bits it has: 7 or 15.
    #[must_use]
    pub fn bits(self) -> u32 {
        match self {
            PictureId::Short(_) => 7,
            PictureId::Long(_) => 15,
        }
    }

    /// Reads the M bit and the seven or fifteen bits after it (RFC 7741 section 4.2, RFC 9628 section 4.2).
    fn read(reader: &mut Reader<'_>) -> Option<PictureId> {
        let first = reader.u8()?;
        if first & 0x80 == 0 {
            return Some(PictureId::Short(first));
        }
        let low = reader.u8()?;
        Some(PictureId::Long(u16::from_be_bytes([first & 0x7F, low])))
    }

    /// Overwrites the picture id at `at` with the low bits of `value`, in the same width.
    ///
    /// # Errors
    /// [`WriteError::Space`] when `payload` ends before it.
    pub fn patch(self, payload: &mut [u8], at: usize, value: u16) -> Result<(), WriteError> {
        let [high, low] = value.to_be_bytes();
        match self {
            PictureId::Short(_) => put(payload, at, &[low & 0x7F]),
            PictureId::Long(_) => put(payload, at, &[high | 0x80, low]),
        }
    }

    /// Writes the M bit and the low seven or fifteen bits.
    fn write(self, writer: &mut Writer<'_>) -> Result<(), WriteError> {
        match self {
            PictureId::Short(value) => writer.u8(value & 0x7F),
            PictureId::Long(value) => writer.u16(value | 0x8000),
        }
    }
}
