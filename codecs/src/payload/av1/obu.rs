//! Open bitstream units as they stand one after another outside of RTP (AV1 specification sections 5.2, 5.3).

use crate::bytes::{Reader, WriteError, Writer};

/// Sequence header (AV1 specification section 6.2.2).
pub const OBU_SEQUENCE_HEADER: u8 = 1;
/// Temporal delimiter: RTP leaves it out (AV1 specification section 6.2.2).
pub const OBU_TEMPORAL_DELIMITER: u8 = 2;
/// Frame header (AV1 specification section 6.2.2).
pub const OBU_FRAME_HEADER: u8 = 3;
/// Frame: a frame header with its tiles (AV1 specification section 6.2.2).
pub const OBU_FRAME: u8 = 6;
/// Tile list: RTP does not carry it (AV1 specification section 6.2.2).
pub const OBU_TILE_LIST: u8 = 8;
/// The longest leb128 (AV1 specification section 4.10.5).
const LEB128_OCTETS_MAX: u32 = 8;
/// Bits of an OBU header: forbidden, extension flag, size flag (AV1 specification section 5.3.2).
const FORBIDDEN: u8 = 0x80;
const HAS_EXTENSION: u8 = 0x04;
pub(super) const HAS_SIZE: u8 = 0x02;
/// Temporal and spatial id of an extension octet (AV1 specification section 5.3.3).
const LAYER_BITS: u8 = 0xF8;

/// One OBU, without its size.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Obu<'a> {
    /// The header octet; its size flag says how it was stored.
    pub head: u8,
    /// The extension octet: temporal id (3 bits), spatial id (2 bits), reserved.
    pub extension: Option<u8>,
    /// What follows header and size.
    pub payload: &'a [u8],
}

impl<'a> Obu<'a> {
    /// Reads one OBU at the beginning of `bytes`, and what follows it. Without a size it takes everything.
    /// `None` when it is truncated or has the forbidden bit.
    #[must_use]
    pub fn read(bytes: &'a [u8]) -> Option<(Obu<'a>, &'a [u8])> {
        let mut reader = Reader::new(bytes);
        let head = reader.u8().filter(|head| head & FORBIDDEN == 0)?;
        let extension = match head & HAS_EXTENSION {
            0 => None,
            _ => Some(reader.u8()?),
        };
        let size = match head & HAS_SIZE {
            0 => reader.rest().len(),
            _ => usize::try_from(leb128(&mut reader)?).ok()?,
        };
        let payload = reader.take(size)?;
        let obu = Obu {
            head,
            extension,
            payload,
        };
        Some((obu, reader.rest()))
    }

    /// The OBU type, 0..=15.
    #[must_use]
    pub fn obu_type(&self) -> u8 {
        (self.head >> 3) & 0x0F
    }

    /// Octets of header and extension.
    pub(super) fn header_len(&self) -> usize {
        1_usize.saturating_add(usize::from(self.extension.is_some()))
    }

    /// Octets of an element that carries it: header, extension, payload, no size.
    pub(super) fn len(&self) -> usize {
        self.header_len().saturating_add(self.payload.len())
    }

    /// Temporal and spatial id, when it has them.
    pub(super) fn layer(&self) -> Option<u8> {
        self.extension.map(|octet| octet & LAYER_BITS)
    }

    /// RTP does not carry it, and a receiver ignores it (RTP Payload Format For AV1 section 5).
    pub(super) fn is_left_out(&self) -> bool {
        matches!(self.obu_type(), OBU_TEMPORAL_DELIMITER | OBU_TILE_LIST)
    }
}

/// The OBUs of a temporal unit in the low-overhead bitstream format, in order. Ends at the first that is
/// malformed.
#[derive(Clone, Debug)]
pub struct Obus<'a> {
    rest: &'a [u8],
}

impl<'a> Obus<'a> {
    /// Begins at the first OBU.
    #[must_use]
    pub fn new(temporal_unit: &'a [u8]) -> Obus<'a> {
        Obus {
            rest: temporal_unit,
        }
    }

    /// Octets that are no OBU are left over.
    pub(super) fn is_exhausted(&self) -> bool {
        self.rest.is_empty()
    }
}

impl<'a> Iterator for Obus<'a> {
    type Item = Obu<'a>;

    fn next(&mut self) -> Option<Obu<'a>> {
        let (obu, rest) = Obu::read(self.rest)?;
        self.rest = rest;
        Some(obu)
    }
}

/// AV1 specification section 4.10.5: at most eight octets, the value at most 32 bits.
pub(super) fn leb128(reader: &mut Reader<'_>) -> Option<u64> {
    let mut value = 0_u64;
    for octet in 0..LEB128_OCTETS_MAX {
        let byte = reader.u8()?;
        let bits = u64::from(byte & 0x7F);
        value |= bits.checked_shl(octet.saturating_mul(7))?;
        if byte & 0x80 == 0 {
            return (value <= u64::from(u32::MAX)).then_some(value);
        }
    }
    None
}

/// Octets of the shortest leb128 of `value`.
pub(super) fn leb128_len(value: usize) -> usize {
    let bits = usize::BITS.saturating_sub(value.leading_zeros()).max(1);
    usize::try_from(bits.div_ceil(7)).unwrap_or(usize::MAX)
}

/// Writes the shortest leb128 of `value`.
pub(super) fn write_leb128(writer: &mut Writer<'_>, value: usize) -> Result<(), WriteError> {
    let mut rest = value;
    loop {
        let [low, ..] = rest.to_le_bytes();
        rest >>= 7;
        if rest == 0 {
            return writer.u8(low & 0x7F);
        }
        writer.u8(low | 0x80)?;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_of_one_to_five_octets() {
        let cases: [(usize, &[u8]); 5] = [
            (0, &[0]),
            (127, &[0x7F]),
            (128, &[0x80, 0x01]),
            (16_384, &[0x80, 0x80, 0x01]),
            (0xFFFF_FFFF, &[0xFF, 0xFF, 0xFF, 0xFF, 0x0F]),
        ];
        for (value, octets) in cases {
            let mut out = [0; 8];
            let mut writer = Writer::new(&mut out);
            write_leb128(&mut writer, value).unwrap();
            let len = writer.len();
            assert_eq!(&out[..len], octets);
            assert_eq!(leb128_len(value), len);
            assert_eq!(leb128(&mut Reader::new(octets)), Some(value as u64));
        }
        // Padded to two octets, and one bit more than 32.
        assert_eq!(leb128(&mut Reader::new(&[0x85, 0x00])), Some(5));
        assert_eq!(
            leb128(&mut Reader::new(&[0xFF, 0xFF, 0xFF, 0xFF, 0x1F])),
            None
        );
    }

    #[test]
    fn a_unit_with_and_without_size() {
        let bytes = [0x12, 0x00, 0x0E, 0x20, 0x02, 0xAA, 0xBB, 0x30, 0xCC];
        let obus: Vec<_> = Obus::new(&bytes).collect();
        assert_eq!(obus.len(), 3);
        assert!(obus[0].is_left_out());
        assert_eq!(obus[1].extension, Some(0x20));
        assert_eq!(obus[1].payload, [0xAA, 0xBB]);
        assert_eq!(
            (obus[2].obu_type(), obus[2].payload),
            (OBU_FRAME, &[0xCC][..])
        );
        let mut cut = Obus::new(&bytes[..6]);
        assert_eq!(cut.by_ref().count(), 1);
        assert!(!cut.is_exhausted());
    }
}
