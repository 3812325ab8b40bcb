//! The AV1 dependency descriptor header extension (RTP Payload Format For AV1 version 1.0.0, appendix A),
//! which any codec may carry.
//!
//! Three readers, from cheap to complete: [`Mandatory`] needs nothing but the three octets every descriptor
//! has; [`Structure`] is the template structure a keyframe brings; [`Frame`] resolves a descriptor against
//! the structure in force. [`Frame::write`] is the way back, [`patch_frame_number`] renumbers in place.

mod structure;
mod write;

pub use structure::Structure;
pub use write::patch_frame_number;

use crate::bits::BitReader;

/// Octets of the mandatory fields (appendix A.8.2).
pub const MANDATORY_LEN: usize = 3;
/// Templates of a structure: their id has six bits (appendix A.8.2).
pub const TEMPLATES_MAX: usize = 64;
/// Decode targets of a structure: their count has five bits (appendix A.8.3).
pub const DECODE_TARGETS_MAX: usize = 32;
/// References a frame may list; AV1 has seven reference slots a frame (AV1 specification section 3) and this
/// leaves one to spare, a frame with more is refused.
pub const REFERENCES_MAX: usize = 8;

/// The fields every descriptor begins with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Mandatory {
    /// The packet is the first of its frame.
    pub start_of_frame: bool,
    /// The packet is the last of its frame.
    pub end_of_frame: bool,
    /// Which template describes the frame, 0..=63, counted from the structure's offset.
    pub template_id: u8,
    /// Counts frames in decode order, wrapping.
    pub frame_number: u16,
    /// The extension carries a template structure: the frame begins a new sequence.
    pub has_structure: bool,
}

impl Mandatory {
    /// Reads the mandatory fields of an extension element. `None` when it has fewer than three octets.
    #[must_use]
    pub fn parse(element: &[u8]) -> Option<Mandatory> {
        let (head, rest) = element.split_first_chunk::<MANDATORY_LEN>()?;
        let [first, high, low] = *head;
        Some(Mandatory {
            start_of_frame: first & 0x80 != 0,
            end_of_frame: first & 0x40 != 0,
            template_id: first & 0x3F,
            frame_number: u16::from_be_bytes([high, low]),
            has_structure: rest.first().is_some_and(|flags| flags & 0x80 != 0),
        })
    }
}

/// How a frame relates to a decode target (appendix A.4.3).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Indication {
    /// The decode target does not have the frame.
    NotPresent,
    /// No frame of the target depends on it.
    Discardable,
    /// A decoder can switch to the target here.
    Switch,
    /// The target needs it.
    Required,
}

impl Indication {
    fn from_bits(bits: u64) -> Indication {
        match bits & 3 {
            0 => Indication::NotPresent,
            1 => Indication::Discardable,
            2 => Indication::Switch,
            _ => Indication::Required,
        }
    }

    fn bits(self) -> u32 {
        match self {
            Indication::NotPresent => 0,
            Indication::Discardable => 1,
            Indication::Switch => 2,
            Indication::Required => 3,
        }
    }
}

/// The indications of one frame, two bits a decode target.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Indications(u64);

impl Indications {
    /// The indication for decode target `target`; beyond the structure's targets it is not present.
    #[must_use]
    pub fn get(self, target: usize) -> Indication {
        let shift = u32::try_from(target.saturating_mul(2)).unwrap_or(u32::MAX);
        Indication::from_bits(self.0.checked_shr(shift).unwrap_or(0))
    }

    fn read(bits: &mut BitReader<'_>, targets: usize) -> Option<Indications> {
        let mut packed = 0_u64;
        for target in 0..targets {
            let shift = u32::try_from(target.saturating_mul(2)).ok()?;
            packed |= u64::from(bits.bits(2)?).checked_shl(shift)?;
        }
        Some(Indications(packed))
    }
}

/// Distances to the frames a frame depends on, in frame numbers.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct References {
    distances: [u16; REFERENCES_MAX],
    len: usize,
}

impl References {
    /// The distances, each at least 1.
    #[must_use]
    pub fn as_slice(&self) -> &[u16] {
        self.distances.get(..self.len).unwrap_or_default()
    }

    fn push(&mut self, distance_minus_one: u32) -> Option<()> {
        let distance = u16::try_from(distance_minus_one.checked_add(1)?).ok()?;
        *self.distances.get_mut(self.len)? = distance;
        self.len = self.len.saturating_add(1);
        Some(())
    }
}

/// The five flags of the extended fields (appendix A.8.2).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Flags {
    structure: bool,
    active_targets: bool,
    custom_indications: bool,
    custom_references: bool,
    custom_chains: bool,
}

impl Flags {
    fn read(bits: &mut BitReader<'_>) -> Option<Flags> {
        Some(Flags {
            structure: bits.bit()?,
            active_targets: bits.bit()?,
            custom_indications: bits.bit()?,
            custom_references: bits.bit()?,
            custom_chains: bits.bit()?,
        })
    }
}

/// A descriptor resolved against its structure.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Frame {
    /// The fields every descriptor has.
    pub mandatory: Mandatory,
    /// Spatial layer of the frame, 0..=3.
    pub spatial: u8,
    /// Temporal layer of the frame, 0..=7.
    pub temporal: u8,
    /// How the frame relates to each decode target.
    pub indications: Indications,
    /// What it depends on.
    pub references: References,
    /// A change of the active decode targets, one bit a target; `None` leaves them as they are.
    pub active_targets: Option<u32>,
    chains: Chains,
}

/// Distances to the previous frame of each chain.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Chains {
    /// Four bits a chain, from the template.
    Template(u128),
    /// Eight bits a chain, from the frame.
    Custom([u8; DECODE_TARGETS_MAX]),
}

impl Frame {
    /// Resolves an extension element. A structure it carries itself replaces `known`, which is the structure
    /// in force. `None` when there is none, the template is not in it, or the element is malformed.
    #[must_use]
    pub fn parse(element: &[u8], known: Option<&Structure>) -> Option<Frame> {
        let mandatory = Mandatory::parse(element)?;
        let mut bits = BitReader::new(element.get(MANDATORY_LEN..)?);
        let flags = if element.len() > MANDATORY_LEN {
            Flags::read(&mut bits)?
        } else {
            Flags::default()
        };
        if flags.structure {
            let own = Structure::read(&mut bits)?;
            Frame::read(mandatory, flags, &mut bits, &own)
        } else {
            Frame::read(mandatory, flags, &mut bits, known?)
        }
    }

    fn read(
        mandatory: Mandatory,
        flags: Flags,
        bits: &mut BitReader<'_>,
        structure: &Structure,
    ) -> Option<Frame> {
        let mut active_targets = flags.structure.then(|| structure.all_targets());
        if flags.active_targets {
            active_targets = Some(bits.bits(u32::from(structure.decode_targets()))?);
        }
        let template = structure.template(mandatory.template_id)?;
        let indications = if flags.custom_indications {
            Indications::read(bits, usize::from(structure.decode_targets()))?
        } else {
            template.indications
        };
        let references = if flags.custom_references {
            read_custom_references(bits)?
        } else {
            template.references
        };
        let chains = if flags.custom_chains {
            let mut distances = [0; DECODE_TARGETS_MAX];
            for distance in distances.iter_mut().take(usize::from(structure.chains())) {
                *distance = bits.bits8(8)?;
            }
            Chains::Custom(distances)
        } else {
            Chains::Template(template.chains)
        };
        Some(Frame {
            mandatory,
            spatial: template.spatial,
            temporal: template.temporal,
            indications,
            references,
            active_targets,
            chains,
        })
    }

    /// Frame numbers back to the previous frame of chain `chain`; 0 when the chain begins here or does not
    /// exist.
    #[must_use]
    pub fn chain_distance(&self, chain: u8) -> u8 {
        match self.chains {
            Chains::Custom(distances) => distances.get(usize::from(chain)).copied().unwrap_or(0),
            Chains::Template(packed) => {
                let shift = u32::from(chain).saturating_mul(4);
                let distance = packed.checked_shr(shift).unwrap_or(0) & 0x0F;
                u8::try_from(distance).unwrap_or(0)
            }
        }
    }
}

/// Two bits say how many nibbles the next distance has; 0 ends the list (appendix A.8.4, frame_fdiffs).
fn read_custom_references(bits: &mut BitReader<'_>) -> Option<References> {
    let mut references = References::default();
    loop {
        match bits.bits(2)? {
            0 => return Some(references),
            nibbles => references.push(bits.bits(nibbles.saturating_mul(4))?)?,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Packs fields of `(value, bits)` into octets.
    fn pack(fields: &[(u32, u32)]) -> Vec<u8> {
        let mut out = Vec::new();
        let mut used = 0;
        for &(value, width) in fields {
            for bit in (0..width).rev() {
                if used % 8 == 0 {
                    out.push(0);
                }
                *out.last_mut().unwrap() |= u8::from(value >> bit & 1 == 1) << (7 - used % 8);
                used += 1;
            }
        }
        out
    }

    /// L1T2: two templates, two decode targets, one chain, 640x360. Template id offset 63, so the second id wraps.
    #[rustfmt::skip]
    fn l1t2() -> Vec<u8> {
        pack(&[
            (1, 1), (1, 1), (63, 6), (7, 16), // start, end, first template, frame 7
            (1, 1), (0, 4), // structure, no custom fields
            (63, 6), (1, 5), // offset, two targets
            (1, 2), (3, 2), // next temporal, no more
            (2, 2), (2, 2), (0, 2), (1, 2), // switch switch; not present, discardable
            (0, 1), (1, 1), (0, 4), (0, 1), // none; one frame back
            (1, 1), (0, 1), // one chain of at most two, in the non-symmetric code of three values
            (0, 4), (1, 4), // chain distances; which chain protects a target takes no bits
            (1, 1), (639, 16), (359, 16),
        ])
    }

    #[test]
    fn a_structure_names_layers_targets_and_sizes() {
        let element = l1t2();
        let structure = Structure::parse(&element).unwrap();
        assert_eq!(structure.template_count(), 2);
        assert_eq!(structure.decode_targets(), 2);
        assert_eq!(structure.chains(), 1);
        assert_eq!(structure.protected_by(1), Some(0));
        assert_eq!(structure.target_layers(0), Some((0, 0)));
        assert_eq!(structure.target_layers(1), Some((0, 1)));
        assert_eq!(structure.resolution(0), Some((640, 360)));

        let frame = Frame::parse(&element, None).unwrap();
        assert_eq!(frame.active_targets, Some(0b11));
        assert_eq!(frame.indications.get(0), Indication::Switch);
        assert_eq!(frame.references.as_slice(), [0_u16; 0]);
    }

    #[test]
    fn a_later_frame_takes_its_template_or_its_own_fields() {
        let structure = Structure::parse(&l1t2()).unwrap();
        // The id after 63 is 0, the second template; three octets only.
        let plain = Frame::parse(&[0xC0, 0, 8], Some(&structure)).unwrap();
        assert_eq!((plain.spatial, plain.temporal), (0, 1));
        assert_eq!(plain.indications.get(0), Indication::NotPresent);
        assert_eq!(plain.references.as_slice(), [1]);
        assert_eq!(plain.chain_distance(0), 1);
        assert_eq!(plain.active_targets, None);

        #[rustfmt::skip]
        let custom = pack(&[
            (3, 2), (0, 6), (9, 16), (0b01111, 5),
            (0b01, 2), // only the first target is active
            (3, 2), (3, 2), // required, required
            (1, 2), (1, 4), (2, 2), (16, 8), (0, 2), // two back, seventeen back
            (200, 8),
        ]);
        let custom = Frame::parse(&custom, Some(&structure)).unwrap();
        assert_eq!(custom.active_targets, Some(1));
        assert_eq!(custom.indications.get(1), Indication::Required);
        assert_eq!(custom.references.as_slice(), [2, 17]);
        assert_eq!(custom.chain_distance(0), 200);
    }

    #[test]
    fn a_template_outside_the_structure_is_ignored() {
        let structure = Structure::parse(&l1t2()).unwrap();
        assert_eq!(Frame::parse(&[0x3F, 0, 1], None), None);
        assert_eq!(Frame::parse(&[0xC0 | 1, 0, 1], Some(&structure)), None);
        assert_eq!(Mandatory::parse(&[0xC0, 0]), None);
    }

    #[test]
    fn every_truncation_of_a_structure_is_refused() {
        let element = l1t2();
        for len in 0..element.len() {
            assert_eq!(Structure::parse(&element[..len]), None, "{len}");
        }
    }
}
