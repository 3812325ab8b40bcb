//! The VP9 payload descriptor (RFC 9628 section 4.2).

mod depacketize;
mod packetize;

pub(super) use depacketize::{Gather, beginning};
pub use packetize::{Fields, Mode, Packetizer};

use super::PictureId;
use crate::bytes::{Reader, WriteError, put};

/// Reference indices of a flexible-mode packet (RFC 9628 section 4.2).
const REFERENCES_MAX: usize = 3;

/// A descriptor, with the places of what rewriting patches.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Descriptor {
    /// P: the frame is predicted from earlier pictures.
    pub inter_picture: bool,
    /// F: reference indices are in the packet instead of TL0PICIDX.
    pub flexible: bool,
    /// B: the packet begins a layer frame.
    pub start: bool,
    /// E: the packet ends a layer frame.
    pub end: bool,
    /// Z: no frame of a higher spatial layer is predicted from this one.
    pub not_reference_for_upper: bool,
    /// The picture id.
    pub picture_id: Option<PictureId>,
    /// The layer indices.
    pub layer: Option<Layer>,
    /// Counts frames of the temporal base layer, wrapping; non-flexible mode only.
    pub tl0_pic_idx: Option<u8>,
    /// The scalability structure.
    pub structure: Option<Structure>,
    /// Octets of the descriptor: the VP9 payload begins here.
    pub len: usize,
    /// Where the picture id stands, if there is one.
    pub picture_id_at: usize,
    /// Where TL0PICIDX stands, if there is one.
    pub tl0_pic_idx_at: usize,
}

/// Where a frame stands among the layers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Layer {
    /// TID: the temporal layer, 0..=7.
    pub temporal: u8,
    /// U: a switch up to this temporal layer is possible here.
    pub switching_up: bool,
    /// SID: the spatial layer, 0..=7.
    pub spatial: u8,
    /// D: the frame is predicted from the spatial layer below.
    pub inter_layer: bool,
}

/// The scalability structure, as far as it names layers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Structure {
    /// Spatial layers, 1..=8.
    pub spatial_layers: u8,
    /// Width and height in pixels of each spatial layer, zeros where not given.
    pub resolutions: [(u16, u16); 8],
    /// Pictures of the group that describes temporal layers, 0 when not given.
    pub pictures: u8,
}

impl Descriptor {
    /// Reads the descriptor at the beginning of `payload`. `None` when it is truncated, lists more than three
    /// references, or nothing follows it.
    #[must_use]
    pub fn parse(payload: &[u8]) -> Option<Descriptor> {
        let mut reader = Reader::new(payload);
        let at = |reader: &Reader<'_>| payload.len().saturating_sub(reader.rest().len());
        let flags = reader.u8()?;
        let inter_picture = flags & 0x40 != 0;
        let flexible = flags & 0x10 != 0;
        let picture_id_at = at(&reader);
        let picture_id = match flags & 0x80 {
            0 => None,
            _ => Some(PictureId::read(&mut reader)?),
        };
        let layer = match flags & 0x20 {
            0 => None,
            _ => Some(Layer::read(&mut reader)?),
        };
        let tl0_pic_idx_at = at(&reader);
        let tl0_pic_idx = if layer.is_some() && !flexible {
            Some(reader.u8()?)
        } else {
            None
        };
        if flexible && inter_picture {
            skip_references(&mut reader)?;
        }
        let structure = match flags & 0x02 {
            0 => None,
            _ => Some(Structure::read(&mut reader)?),
        };
        if reader.is_empty() {
            return None;
        }
        Some(Descriptor {
            inter_picture,
            flexible,
            start: flags & 0x08 != 0,
            end: flags & 0x04 != 0,
            not_reference_for_upper: flags & 0x01 != 0,
            picture_id,
            layer,
            tl0_pic_idx,
            structure,
            len: at(&reader),
            picture_id_at,
            tl0_pic_idx_at,
        })
    }

    /// The spatial layer, 0 when the descriptor names none.
    #[must_use]
    pub fn spatial(&self) -> u8 {
        self.layer.map_or(0, |layer| layer.spatial)
    }

    /// The temporal layer, 0 when the descriptor names none.
    #[must_use]
    pub fn temporal(&self) -> u8 {
        self.layer.map_or(0, |layer| layer.temporal)
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
}

impl Layer {
    fn read(reader: &mut Reader<'_>) -> Option<Layer> {
        let octet = reader.u8()?;
        Some(Layer {
            temporal: octet >> 5,
            switching_up: octet & 0x10 != 0,
            spatial: (octet >> 1) & 0x07,
            inter_layer: octet & 0x01 != 0,
        })
    }
}

/// Seven bits of distance, then N: another follows. A fourth is malformed.
fn skip_references(reader: &mut Reader<'_>) -> Option<()> {
    for _ in 0..REFERENCES_MAX {
        if reader.u8()? & 0x01 == 0 {
            return Some(());
        }
    }
    None
}

impl Structure {
    /// RFC 9628 section 4.2.1. Bounded by the packet: at most 8 resolutions and 255 pictures of 3 references.
    fn read(reader: &mut Reader<'_>) -> Option<Structure> {
        let head = reader.u8()?;
        let spatial_layers = (head >> 5).saturating_add(1);
        let mut structure = Structure {
            spatial_layers,
            resolutions: [(0, 0); 8],
            pictures: 0,
        };
        if head & 0x10 != 0 {
            for resolution in structure
                .resolutions
                .iter_mut()
                .take(usize::from(spatial_layers))
            {
                *resolution = (reader.u16()?, reader.u16()?);
            }
        }
        if head & 0x08 != 0 {
            structure.pictures = reader.u8()?;
            for _ in 0..structure.pictures {
                let references = (reader.u8()? >> 2) & 0x03;
                reader.take(usize::from(references))?;
            }
        }
        Some(structure)
    }
}

/// The packet begins a key picture: not predicted from earlier pictures, begins a frame, lowest spatial layer.
#[must_use]
pub fn is_keyframe(payload: &[u8]) -> bool {
    Descriptor::parse(payload).is_some_and(|descriptor| {
        !descriptor.inter_picture && descriptor.start && descriptor.spatial() == 0
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_picture_with_layers_and_structure() {
        // I, L, B, V; 15-bit picture id; TID 0, SID 0; TL0PICIDX; two spatial layers with sizes; one picture.
        let payload = [
            0xAA, 0x81, 0x02, 0x00, 0x05, 0x38, 1, 64, 0, 180, 2, 128, 1, 104, 1, 0x04, 1, 0xFF,
        ];
        let descriptor = Descriptor::parse(&payload).unwrap();
        assert_eq!(descriptor.picture_id, Some(PictureId::Long(0x0102)));
        assert_eq!(descriptor.tl0_pic_idx, Some(5));
        let structure = descriptor.structure.unwrap();
        assert_eq!(structure.spatial_layers, 2);
        assert_eq!(structure.resolutions[..2], [(320, 180), (640, 360)]);
        assert_eq!(descriptor.len, payload.len() - 1);
        assert!(is_keyframe(&payload));
    }

    #[test]
    fn the_upper_spatial_layer_of_a_key_picture_does_not_begin_it() {
        let base = [0xA8, 0x01, 0x00, 0x05, 0xFF];
        assert!(is_keyframe(&base));
        let upper = [0xA8, 0x01, 0x03, 0x05, 0xFF];
        assert_eq!(Descriptor::parse(&upper).unwrap().spatial(), 1);
        assert!(!is_keyframe(&upper));
        let continuation = [0xA0, 0x01, 0x00, 0x05, 0xFF];
        assert!(!is_keyframe(&continuation));
        let predicted = [0xE8, 0x01, 0x00, 0x05, 0xFF];
        assert!(!is_keyframe(&predicted));
    }

    #[test]
    fn flexible_mode_has_references_and_no_tl0() {
        let payload = [0xF8, 0x01, 0x00, 0x03, 0x04, 0xFF];
        let descriptor = Descriptor::parse(&payload).unwrap();
        assert!(descriptor.flexible);
        assert_eq!(descriptor.tl0_pic_idx, None);
        assert_eq!(descriptor.len, 5);
    }

    /// In flexible mode the octet where TL0PICIDX would stand is a reference: it keeps its value.
    #[test]
    fn a_patch_in_flexible_mode_touches_the_picture_id_only() {
        let mut payload = [0xF8, 0x01, 0x00, 0x03, 0x04, 0xFF];
        let descriptor = Descriptor::parse(&payload).unwrap();
        descriptor.patch(&mut payload, 0x1FF, 200).unwrap();
        assert_eq!(payload, [0xF8, 0x7F, 0x00, 0x03, 0x04, 0xFF]);
    }

    #[test]
    fn a_patch_touches_picture_id_and_tl0_only() {
        let mut payload = [0xA8, 0x81, 0x02, 0x00, 0x05, 0xFF];
        let descriptor = Descriptor::parse(&payload).unwrap();
        descriptor.patch(&mut payload, 0x7FFF, 6).unwrap();
        assert_eq!(payload, [0xA8, 0xFF, 0xFF, 0x00, 0x06, 0xFF]);
    }
}
