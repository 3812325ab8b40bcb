//! H.264 packets (RFC 6184 section 5): single NAL units, STAP-A and FU-A, as non-interleaved mode has them.

mod depacketize;

pub(super) use depacketize::{append, beginning};

use crate::bytes::Reader;

/// Coded slice of an IDR picture (ITU-T H.264 table 7-1).
pub const NAL_IDR: u8 = 5;
/// Supplemental enhancement information (ITU-T H.264 table 7-1).
pub const NAL_SEI: u8 = 6;
/// Sequence parameter set (ITU-T H.264 table 7-1).
pub const NAL_SPS: u8 = 7;
/// Picture parameter set (ITU-T H.264 table 7-1).
pub const NAL_PPS: u8 = 8;
/// Access unit delimiter, the first unit of its access unit (ITU-T H.264 section 7.4.1.2.3).
pub const NAL_DELIMITER: u8 = 9;
/// Single-time aggregation packet type A (RFC 6184 section 5.7.1).
pub(super) const STAP_A: u8 = 24;
/// Fragmentation unit type A (RFC 6184 section 5.8).
pub(super) const FU_A: u8 = 28;

/// What a packet carries.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Payload<'a> {
    /// One NAL unit.
    Single {
        /// Its type, 1..=23.
        nal_type: u8,
    },
    /// Several NAL units.
    Aggregate(Aggregate<'a>),
    /// A part of a NAL unit.
    Fragment {
        /// The type of the NAL unit, 1..=23.
        nal_type: u8,
        /// S: its first part.
        start: bool,
        /// E: its last part.
        end: bool,
    },
}

/// The NAL units of a STAP-A, sizes known to fit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Aggregate<'a> {
    units: &'a [u8],
}

impl<'a> Aggregate<'a> {
    /// `units` must hold at least one unit, none empty, none of a type that packs others: units never nest.
    fn read(units: &'a [u8]) -> Option<Aggregate<'a>> {
        let mut reader = Reader::new(units);
        loop {
            let size = usize::from(reader.u16()?);
            let (head, _) = reader.take(size)?.split_first()?;
            plain_type(*head)?;
            if reader.is_empty() {
                return Some(Aggregate { units });
            }
        }
    }

    /// The NAL units, each with its header octet.
    pub fn nals(&self) -> impl Iterator<Item = &'a [u8]> + use<'a> {
        let mut reader = Reader::new(self.units);
        std::iter::from_fn(move || {
            let size = usize::from(reader.u16()?);
            reader.take(size)
        })
    }
}

impl<'a> Payload<'a> {
    /// Reads the packetisation of `payload`. `None` when it is empty, truncated, reserved, or of a type that
    /// only interleaved mode has.
    #[must_use]
    pub fn parse(payload: &'a [u8]) -> Option<Payload<'a>> {
        let (head, rest) = payload.split_first()?;
        match head & 0x1F {
            nal_type @ 1..=23 => Some(Payload::Single { nal_type }),
            STAP_A => Aggregate::read(rest).map(Payload::Aggregate),
            FU_A => {
                // RFC 6184 section 5.8: start and end are never both set; a fragment may be empty.
                let fu = rest.first()?;
                let (start, end) = (fu & 0x80 != 0, fu & 0x40 != 0);
                if start && end {
                    return None;
                }
                Some(Payload::Fragment {
                    nal_type: plain_type(*fu)?,
                    start,
                    end,
                })
            }
            _ => None,
        }
    }
}

/// The type of a NAL unit, 1..=23: parameter sets and slices are told apart by it. `None` when it is empty or
/// of a type that only packets have.
#[must_use]
pub fn nal_type(nal: &[u8]) -> Option<u8> {
    plain_type(*nal.first()?)
}

/// The type in a NAL unit header when it is a coded unit, 1..=23, rather than a packet type.
fn plain_type(head: u8) -> Option<u8> {
    let nal_type = head & 0x1F;
    (1..=23).contains(&nal_type).then_some(nal_type)
}

/// The packet carries a sequence parameter set, or an IDR slice or its first part.
#[must_use]
pub fn is_keyframe(payload: &[u8]) -> bool {
    let key = |nal_type: u8| nal_type == NAL_IDR || nal_type == NAL_SPS;
    match Payload::parse(payload) {
        Some(Payload::Single { nal_type }) => key(nal_type),
        Some(Payload::Aggregate(aggregate)) => aggregate
            .nals()
            .any(|nal| nal.first().is_some_and(|head| key(head & 0x1F))),
        Some(Payload::Fragment {
            nal_type, start, ..
        }) => start && key(nal_type),
        None => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn key_units_in_every_packetisation() {
        assert!(is_keyframe(&[0x67, 0x42]));
        assert!(is_keyframe(&[0x65, 0x88]));
        assert!(is_keyframe(&[0x78, 0, 2, 0x67, 0x42, 0, 2, 0x68, 0xCE]));
        assert!(is_keyframe(&[0x7C, 0x85, 0x88]));
        // A later fragment, a delta slice, a lone picture parameter set.
        assert!(!is_keyframe(&[0x7C, 0x05, 0x88]));
        assert!(!is_keyframe(&[0x41, 0x9A]));
        assert!(!is_keyframe(&[0x78, 0, 2, 0x68, 0xCE, 0, 2, 0x41, 0x9A]));
    }

    #[test]
    fn a_truncated_aggregate_is_no_keyframe_even_if_it_begins_as_one() {
        assert!(!is_keyframe(&[0x78, 0, 2, 0x67, 0x42, 0, 9, 0x65]));
        assert!(!is_keyframe(&[0x78, 0, 0]));
        assert!(!is_keyframe(&[0x78]));
    }
}
