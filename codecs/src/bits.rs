//! Bits of a descriptor, most significant first, bounded.

use crate::bytes::WriteError;

/// Reads bits from the front of a slice. After the end every read is `None`.
#[derive(Clone, Debug)]
pub(crate) struct BitReader<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl<'a> BitReader<'a> {
    pub(crate) fn new(bytes: &'a [u8]) -> BitReader<'a> {
        BitReader { bytes, at: 0 }
    }

    pub(crate) fn bit(&mut self) -> Option<bool> {
        let byte = *self.bytes.get(self.at >> 3)?;
        let shift = 7_u32.saturating_sub(u32::try_from(self.at & 7).ok()?);
        self.at = self.at.saturating_add(1);
        Some(byte.checked_shr(shift)? & 1 == 1)
    }

    /// `n` bits, at most 32.
    pub(crate) fn bits(&mut self, n: u32) -> Option<u32> {
        let mut value = 0_u32;
        for _ in 0..n {
            value = (value << 1) | u32::from(self.bit()?);
        }
        Some(value)
    }

    /// `n` bits, at most 8.
    pub(crate) fn bits8(&mut self, n: u32) -> Option<u8> {
        self.bits(n).and_then(|value| u8::try_from(value).ok())
    }

    /// A value below `n` in the non-symmetric code (AV1 specification section 4.10.7).
    pub(crate) fn non_symmetric(&mut self, n: u32) -> Option<u32> {
        let width = u32::BITS.saturating_sub(n.leading_zeros());
        let short = 1_u32.checked_shl(width)?.checked_sub(n)?;
        let value = self.bits(width.checked_sub(1)?)?;
        if value < short {
            return Some(value);
        }
        let extra = u32::from(self.bit()?);
        (value << 1).checked_sub(short)?.checked_add(extra)
    }
}

/// Fills a slice bit by bit from its beginning.
#[derive(Debug)]
pub(crate) struct BitWriter<'a> {
    out: &'a mut [u8],
    at: usize,
}

impl<'a> BitWriter<'a> {
    pub(crate) fn new(out: &'a mut [u8]) -> BitWriter<'a> {
        BitWriter { out, at: 0 }
    }

    pub(crate) fn bit(&mut self, bit: bool) -> Result<(), WriteError> {
        let byte = self.out.get_mut(self.at >> 3).ok_or(WriteError::Space)?;
        let used = u32::try_from(self.at & 7).map_err(|_| WriteError::Space)?;
        if used == 0 {
            *byte = 0;
        }
        if bit {
            *byte |= 0x80_u8.checked_shr(used).unwrap_or(0);
        }
        self.at = self.at.saturating_add(1);
        Ok(())
    }

    /// The low `n` bits of `value`, at most 32.
    pub(crate) fn bits(&mut self, value: u32, n: u32) -> Result<(), WriteError> {
        (0..n)
            .rev()
            .try_for_each(|shift| self.bit(value.checked_shr(shift).unwrap_or(0) & 1 == 1))
    }

    /// A value below `n` in the non-symmetric code (AV1 specification section 4.10.7).
    pub(crate) fn non_symmetric(&mut self, value: u32, n: u32) -> Result<(), WriteError> {
        let width = u32::BITS.saturating_sub(n.leading_zeros());
        let short = 1_u32.checked_shl(width).and_then(|all| all.checked_sub(n));
        let short = short.ok_or(WriteError::Value)?;
        if value < short {
            self.bits(value, width.saturating_sub(1))
        } else {
            self.bits(value.saturating_add(short), width)
        }
    }

    /// Octets begun; the last is filled up with zeros.
    pub(crate) fn octets(&self) -> usize {
        self.at.div_ceil(8)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bits_come_most_significant_first_and_end() {
        let mut bits = BitReader::new(&[0b1010_0000, 0xFF]);
        assert_eq!(bits.bits(3), Some(0b101));
        assert_eq!(bits.bits(6), Some(1));
        assert_eq!(bits.bits(8), None);
    }

    #[test]
    fn the_non_symmetric_code_of_five_values() {
        // Width 3, three short codes 00 01 10, then 110 and 111.
        let mut bits = BitReader::new(&[0b0001_1011, 0b0111_0000]);
        let values: Vec<_> = (0..5).map_while(|_| bits.non_symmetric(5)).collect();
        assert_eq!(values, [0, 1, 2, 3, 4]);
        assert_eq!(BitReader::new(&[0xFF]).non_symmetric(1), Some(0));
    }
    #[test]
    fn what_is_written_reads_back() {
        let mut out = [0xFF; 16];
        let mut writer = BitWriter::new(&mut out);
        writer.bits(0b101, 3).unwrap();
        for n in 1..=9_u32 {
            for value in 0..n {
                writer.non_symmetric(value, n).unwrap();
            }
        }
        let octets = writer.octets();
        let mut bits = BitReader::new(&out[..octets]);
        assert_eq!(bits.bits(3), Some(0b101));
        for n in 1..=9_u32 {
            for value in 0..n {
                assert_eq!(bits.non_symmetric(n), Some(value), "{value} of {n}");
            }
        }
        let mut short = BitWriter::new(&mut out[..1]);
        assert_eq!(short.bits(0, 9), Err(WriteError::Space));
    }
}
