//! H.265 packets (RFC 7798 section 4.4): single NAL units, aggregation packets and fragmentation units,
//! without decoding order numbers (`sprop-max-don-diff` 0).

mod depacketize;

pub(super) use depacketize::{append, beginning};

use crate::bytes::Reader;

/// Video parameter set (ITU-T H.265 table 7-1).
pub const NAL_VPS: u8 = 32;
/// Sequence parameter set (ITU-T H.265 table 7-1).
pub const NAL_SPS: u8 = 33;
/// Picture parameter set (ITU-T H.265 table 7-1).
pub const NAL_PPS: u8 = 34;
/// Access unit delimiter, the first unit of its access unit (ITU-T H.265 section 7.4.2.4.4).
pub const NAL_DELIMITER: u8 = 35;
/// First and last type of intra random access pictures: BLA, IDR, CRA (ITU-T H.265 table 7-1).
const NAL_IRAP_FIRST: u8 = 16;
const NAL_IRAP_LAST: u8 = 21;
/// Aggregation packet (RFC 7798 section 4.4.2).
pub(super) const AP: u8 = 48;
/// Fragmentation unit (RFC 7798 section 4.4.3).
pub(super) const FU: u8 = 49;
/// Octets of a NAL unit header (ITU-T H.265 section 7.3.1.2).
pub(super) const NAL_HEADER_LEN: usize = 2;

/// What a packet carries.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Payload<'a> {
    /// One NAL unit.
    Single {
        /// Its type, 0..=47.
        nal_type: u8,
        /// Its temporal layer.
        temporal: u8,
    },
    /// Several NAL units.
    Aggregate(Aggregate<'a>),
    /// A part of a NAL unit.
    Fragment {
        /// The type of the NAL unit, 0..=47.
        nal_type: u8,
        /// Its temporal layer.
        temporal: u8,
        /// S: its first part.
        start: bool,
        /// E: its last part.
        end: bool,
    },
}

/// The NAL units of an aggregation packet, sizes known to fit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Aggregate<'a> {
    units: &'a [u8],
}

impl<'a> Aggregate<'a> {
    fn read(units: &'a [u8]) -> Option<Aggregate<'a>> {
        let mut reader = Reader::new(units);
        loop {
            let size = usize::from(reader.u16()?);
            let unit = reader.take(size)?;
            if unit.len() < NAL_HEADER_LEN {
                return None;
            }
            plain_type(*unit.first()?)?;
            if reader.is_empty() {
                return Some(Aggregate { units });
            }
        }
    }

    /// The NAL units, each with its two header octets.
    pub fn nals(&self) -> impl Iterator<Item = &'a [u8]> + use<'a> {
        let mut reader = Reader::new(self.units);
        std::iter::from_fn(move || {
            let size = usize::from(reader.u16()?);
            reader.take(size)
        })
    }
}

impl<'a> Payload<'a> {
    /// Reads the packetisation of `payload`. `None` when it is truncated or of a reserved type.
    #[must_use]
    pub fn parse(payload: &'a [u8]) -> Option<Payload<'a>> {
        let (head, rest) = payload.split_first_chunk::<NAL_HEADER_LEN>()?;
        let [first, second] = *head;
        // nuh_temporal_id_plus1; 0 is forbidden.
        let temporal = (second & 0x07).checked_sub(1)?;
        match (first >> 1) & 0x3F {
            AP => Aggregate::read(rest).map(Payload::Aggregate),
            FU => {
                let (fu, fragment) = rest.split_first()?;
                let (start, end) = (fu & 0x80 != 0, fu & 0x40 != 0);
                // RFC 7798 section 4.4.3: never both set, and never empty.
                if (start && end) || fragment.is_empty() {
                    return None;
                }
                Some(Payload::Fragment {
                    nal_type: Some(fu & 0x3F).filter(|kind| *kind < AP)?,
                    temporal,
                    start,
                    end,
                })
            }
            _ => Some(Payload::Single {
                nal_type: plain_type(first)?,
                temporal,
            }),
        }
    }
}

/// The type of a NAL unit, 0..=47: parameter sets and pictures are told apart by it. `None` when it has no
/// whole header or is of a type that only packets have.
#[must_use]
pub fn nal_type(nal: &[u8]) -> Option<u8> {
    let ([first, _], _) = nal.split_first_chunk::<NAL_HEADER_LEN>()?;
    plain_type(*first)
}

/// The type in the first octet of a NAL unit header when it is a coded unit rather than a packet type.
fn plain_type(first: u8) -> Option<u8> {
    Some((first >> 1) & 0x3F).filter(|kind| *kind < AP)
}

/// Intra random access pictures: a decoder can begin with one.
#[must_use]
pub fn is_random_access(nal_type: u8) -> bool {
    (NAL_IRAP_FIRST..=NAL_IRAP_LAST).contains(&nal_type)
}

/// The packet carries a video or sequence parameter set, or a random access picture or its first part.
#[must_use]
pub fn is_keyframe(payload: &[u8]) -> bool {
    let key = |kind: u8| is_random_access(kind) || kind == NAL_VPS || kind == NAL_SPS;
    match Payload::parse(payload) {
        Some(Payload::Single { nal_type, .. }) => key(nal_type),
        Some(Payload::Aggregate(aggregate)) => {
            aggregate.nals().any(|nal| nal_type(nal).is_some_and(key))
        }
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
        // IDR_W_RADL 19, VPS 32, SPS 33.
        assert!(is_keyframe(&[19 << 1, 1, 0xAF]));
        assert!(is_keyframe(&[32 << 1, 1, 0x0C]));
        assert!(is_keyframe(&[
            48 << 1,
            1,
            0,
            3,
            33 << 1,
            1,
            9,
            0,
            3,
            34 << 1,
            1,
            9
        ]));
        assert!(is_keyframe(&[49 << 1, 1, 0x80 | 19, 0xAF]));
        // A later fragment, a trailing picture, picture parameters alone.
        assert!(!is_keyframe(&[49 << 1, 1, 19, 0xAF]));
        assert!(!is_keyframe(&[1 << 1, 1, 0xAF]));
        assert!(!is_keyframe(&[34 << 1, 1, 0xAF]));
    }

    #[test]
    fn malformed_units_are_no_keyframe() {
        assert!(!is_keyframe(&[19 << 1, 0, 0xAF]));
        assert!(!is_keyframe(&[48 << 1, 1, 0, 1, 33 << 1]));
        assert!(!is_keyframe(&[48 << 1, 1, 0, 3, 33 << 1, 1, 9, 0]));
        assert!(!is_keyframe(&[49 << 1, 1, 0xC0 | 19, 0xAF]));
        assert!(!is_keyframe(&[19 << 1]));
    }
}
