//! The VP8 payload descriptor (RFC 7741 section 4.2).

mod depacketize;
mod packetize;

pub(super) use depacketize::{append, beginning, finish};
pub use packetize::{Fields, Packetizer};

use super::PictureId;
use crate::bytes::{Reader, WriteError, put};

/// The start code of a key frame header (RFC 6386 section 9.1).
const START_CODE: [u8; 3] = [0x9D, 0x01, 0x2A];

/// A descriptor, with the places of what rewriting patches.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Descriptor {
    /// N: no other frame needs this one.
    pub non_reference: bool,
    /// S: the packet begins a partition.
    pub start: bool,
    /// PID: which partition.
    pub partition: u8,
    /// The picture id.
    pub picture_id: Option<PictureId>,
    /// Counts frames of the temporal base layer, wrapping.
    pub tl0_pic_idx: Option<u8>,
    /// The temporal layer and its bit Y.
    pub temporal: Option<Temporal>,
    /// KEYIDX: counts key frames, five bits.
    pub key_idx: Option<u8>,
    /// Octets of the descriptor: the VP8 payload begins here.
    pub len: usize,
    /// Where the picture id stands, if there is one.
    pub picture_id_at: usize,
    /// Where TL0PICIDX stands, if there is one.
    pub tl0_pic_idx_at: usize,
    /// Where the octet that ends with KEYIDX stands, if there is one.
    pub key_idx_at: usize,
}

/// The temporal layer of a frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Temporal {
    /// TID: the layer, 0..=3.
    pub id: u8,
    /// Y: the frame depends only on the base layer, so a switch up to this layer is possible here.
    pub layer_sync: bool,
}

impl Descriptor {
    /// Reads the descriptor at the beginning of `payload`. `None` when it is truncated or nothing follows it.
    #[must_use]
    pub fn parse(payload: &[u8]) -> Option<Descriptor> {
        let mut reader = Reader::new(payload);
        let at = |reader: &Reader<'_>| payload.len().saturating_sub(reader.rest().len());
        let first = reader.u8()?;
        let extended = if first & 0x80 == 0 { 0 } else { reader.u8()? };
        let picture_id_at = at(&reader);
        let picture_id = match extended & 0x80 {
            0 => None,
            _ => Some(PictureId::read(&mut reader)?),
        };
        let tl0_pic_idx_at = at(&reader);
        let tl0_pic_idx = match extended & 0x40 {
            0 => None,
            _ => Some(reader.u8()?),
        };
        let key_idx_at = at(&reader);
        // One octet holds TID, Y and KEYIDX; T and K say which of them mean something.
        let layer = match extended & 0x30 {
            0 => 0,
            _ => reader.u8()?,
        };
        if reader.is_empty() {
            return None;
        }
        Some(Descriptor {
            non_reference: first & 0x20 != 0,
            start: first & 0x10 != 0,
            partition: first & 0x07,
            picture_id,
            tl0_pic_idx,
            temporal: (extended & 0x20 != 0).then_some(Temporal {
                id: layer >> 6,
                layer_sync: layer & 0x20 != 0,
            }),
            key_idx: (extended & 0x10 != 0).then_some(layer & 0x1F),
            len: at(&reader),
            picture_id_at,
            tl0_pic_idx_at,
            key_idx_at,
        })
    }

    /// The packet begins a frame.
    #[must_use]
    pub fn begins_frame(&self) -> bool {
        self.start && self.partition == 0
    }

    /// Overwrites picture id and TL0PICIDX in `payload`, the bytes this descriptor was read from, each in its
    /// own width. What the descriptor does not have is not written.
    ///
    /// # Errors
    /// [`WriteError::Space`] when `payload` is shorter than the descriptor.
    pub fn patch(
        &self,
        payload: &mut [u8],
        picture_id: u16,
        tl0_pic_idx: u8,
    ) -> Result<(), WriteError> {
        if let Some(width) = self.picture_id {
            width.patch(payload, self.picture_id_at, picture_id)?;
        }
        if self.tl0_pic_idx.is_some() {
            put(payload, self.tl0_pic_idx_at, &[tl0_pic_idx])?;
        }
        Ok(())
    }

    /// Overwrites KEYIDX in `payload`, the bytes this descriptor was read from, with the low five bits of
    /// `key_idx`. A descriptor without one stays as it is.
    ///
    /// # Errors
    /// [`WriteError::Space`] when `payload` is shorter than the descriptor.
    pub fn patch_key_idx(&self, payload: &mut [u8], key_idx: u8) -> Result<(), WriteError> {
        if self.key_idx.is_none() {
            return Ok(());
        }
        let octet = payload.get_mut(self.key_idx_at).ok_or(WriteError::Space)?;
        *octet = (*octet & 0xE0) | (key_idx & 0x1F);
        Ok(())
    }
}

/// The frame is a key frame: P bit clear (RFC 7741 section 4.3), start code present.
fn is_key(frame: &[u8]) -> bool {
    matches!(frame, [tag, _, _, s0, s1, s2, ..] if tag & 1 == 0 && [*s0, *s1, *s2] == START_CODE)
}

/// The packet begins a key frame: first partition, P bit clear (RFC 7741 section 4.3), start code present.
#[must_use]
pub fn is_keyframe(payload: &[u8]) -> bool {
    let Some(descriptor) = Descriptor::parse(payload) else {
        return false;
    };
    descriptor.begins_frame() && payload.get(descriptor.len..).is_some_and(is_key)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// X, S; I, L, T, K; 15-bit picture id 0x1234; TL0PICIDX 7; TID 2, Y, KEYIDX 9; key frame 640x480.
    const FULL: [u8; 16] = [
        0x90, 0xF0, 0x92, 0x34, 7, 0xA9, 0x10, 0x02, 0x00, 0x9D, 0x01, 0x2A, 0x80, 0x02, 0xE0, 0x01,
    ];

    #[test]
    fn every_field_of_a_full_descriptor() {
        let descriptor = Descriptor::parse(&FULL).unwrap();
        assert_eq!(descriptor.picture_id, Some(PictureId::Long(0x1234)));
        assert_eq!(descriptor.tl0_pic_idx, Some(7));
        let temporal = Temporal {
            id: 2,
            layer_sync: true,
        };
        assert_eq!(descriptor.temporal, Some(temporal));
        assert_eq!(descriptor.key_idx, Some(9));
        assert_eq!(descriptor.len, 6);
        assert!(is_keyframe(&FULL));
    }

    #[test]
    fn a_patch_keeps_the_width_and_everything_else() {
        let mut long = FULL;
        let descriptor = Descriptor::parse(&long).unwrap();
        descriptor.patch(&mut long, 0xFFFE, 200).unwrap();
        let patched = Descriptor::parse(&long).unwrap();
        assert_eq!(patched.picture_id, Some(PictureId::Long(0x7FFE)));
        assert_eq!(patched.tl0_pic_idx, Some(200));
        assert_eq!(long[5..], FULL[5..]);

        let mut short = [0x90, 0x80, 0x05, 0xAA];
        let descriptor = Descriptor::parse(&short).unwrap();
        descriptor.patch(&mut short, 0x1FF, 200).unwrap();
        assert_eq!(short, [0x90, 0x80, 0x7F, 0xAA]);
    }

    #[test]
    fn a_patched_key_index_keeps_the_temporal_layer() {
        let mut full = FULL;
        let descriptor = Descriptor::parse(&full).unwrap();
        descriptor.patch_key_idx(&mut full, 0xFF).unwrap();
        let patched = Descriptor::parse(&full).unwrap();
        assert_eq!(patched.key_idx, Some(31));
        assert_eq!(patched.temporal, descriptor.temporal);
        full[5] = FULL[5];
        assert_eq!(full, FULL);
        // Without K nothing is written, although the octet is there for TID.
        let mut without = [0x90, 0x20, 0x40, 0xAA];
        let descriptor = Descriptor::parse(&without).unwrap();
        descriptor.patch_key_idx(&mut without, 0xFF).unwrap();
        assert_eq!(without, [0x90, 0x20, 0x40, 0xAA]);
    }

    #[test]
    fn only_the_first_packet_with_the_start_code_is_a_key_frame() {
        let mut delta = FULL;
        delta[6] |= 1;
        assert!(!is_keyframe(&delta));
        let mut continuation = FULL;
        continuation[0] &= !0x10;
        assert!(!is_keyframe(&continuation));
        let mut second_partition = FULL;
        second_partition[0] |= 1;
        assert!(!is_keyframe(&second_partition));
        assert!(!is_keyframe(&FULL[..11]));
    }
}
