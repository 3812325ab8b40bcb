//! NAL units as they stand one after another outside of RTP: behind start codes (ITU-T H.264 annex B, H.265
//! annex B), or each behind its length (ISO/IEC 14496-15).

mod gather;
mod packetize;

pub(super) use gather::Gather;
pub use packetize::{Family, Packetizer};

use crate::bytes::Reader;

/// Octets before each unit that is written: a start code with its leading zero, or a 32-bit length.
pub(super) const PREFIX_LEN: usize = 4;
pub(super) const START_CODE: [u8; PREFIX_LEN] = [0, 0, 0, 1];

/// How the units of an access unit are told apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NalForm {
    /// Start codes: three octets, or four with a leading zero. Written with four.
    AnnexB,
    /// A 32-bit length before each unit, as fMP4 stores them and RTMP carries them with a length size of 4.
    LengthPrefixed,
}

/// The NAL units of an access unit, in order, each with its header and without start code or length.
#[derive(Clone, Debug)]
pub struct Nals<'a> {
    form: NalForm,
    rest: &'a [u8],
}

impl<'a> Nals<'a> {
    /// Begins at the first unit of `access_unit`. A length that runs past the end ends the iteration, and so
    /// does the absence of a start code; what stands before the first start code is skipped.
    #[must_use]
    pub fn new(access_unit: &'a [u8], form: NalForm) -> Nals<'a> {
        let rest = match form {
            NalForm::AnnexB => find_start_code(access_unit)
                .and_then(|(_, after)| access_unit.get(after..))
                .unwrap_or_default(),
            NalForm::LengthPrefixed => access_unit,
        };
        Nals { form, rest }
    }

    fn next_behind_start_code(&mut self) -> Option<&'a [u8]> {
        if self.rest.is_empty() {
            return None;
        }
        let (end, after) = find_start_code(self.rest).unwrap_or((self.rest.len(), self.rest.len()));
        let mut unit = self.rest.get(..end)?;
        self.rest = self.rest.get(after..)?;
        // No unit ends in a zero: zeros before a start code, or at the end, belong to the byte stream (annex B).
        while let [head @ .., 0] = unit {
            unit = head;
        }
        Some(unit)
    }

    fn next_behind_length(&mut self) -> Option<&'a [u8]> {
        let mut reader = Reader::new(self.rest);
        let len = usize::try_from(reader.u32()?).ok()?;
        let unit = reader.take(len)?;
        self.rest = reader.rest();
        Some(unit)
    }

    /// Octets that are no unit are left over.
    fn is_exhausted(&self) -> bool {
        self.rest.is_empty()
    }
}

impl<'a> Iterator for Nals<'a> {
    type Item = &'a [u8];

    fn next(&mut self) -> Option<&'a [u8]> {
        match self.form {
            NalForm::AnnexB => self.next_behind_start_code(),
            NalForm::LengthPrefixed => self.next_behind_length(),
        }
    }
}

/// Where the first start code of three octets begins and ends.
fn find_start_code(bytes: &[u8]) -> Option<(usize, usize)> {
    let at = bytes.windows(3).position(|three| three == [0, 0, 1])?;
    Some((at, at.saturating_add(3)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn start_codes_of_both_lengths_and_zeros_around_them() {
        let stream = [
            0, 0, 0, 0, 1, 0x67, 0x42, 0, 0, 1, 0x68, 0xCE, 0, 0, 0, 1, 0x65, 0, 0, 3, 0, 0,
        ];
        let nals: Vec<_> = Nals::new(&stream, NalForm::AnnexB).collect();
        assert_eq!(nals, [&[0x67, 0x42][..], &[0x68, 0xCE], &[0x65, 0, 0, 3]]);
        assert_eq!(Nals::new(&[0x65, 0x88], NalForm::AnnexB).next(), None);
    }

    #[test]
    fn a_length_past_the_end_ends_the_units() {
        let stream = [0, 0, 0, 2, 0x67, 0x42, 0, 0, 0, 9, 0x65];
        let mut nals = Nals::new(&stream, NalForm::LengthPrefixed);
        assert_eq!(nals.next(), Some(&[0x67, 0x42][..]));
        assert_eq!(nals.next(), None);
        assert!(!nals.is_exhausted());
    }
}
