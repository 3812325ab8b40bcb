//! Receiver Estimated Maximum Bitrate (draft-alvestrand-rmcat-remb-03 section 2).

use super::{FeedbackHead, PT_PSFB, RtcpError, begin, finish};
use crate::bytes::{Reader, WriteError, Writer};

/// Feedback message type of application layer feedback (RFC 4585 section 6.4).
pub const FMT: u8 = 15;
/// The unique identifier (draft-alvestrand-rmcat-remb-03 section 2.2).
const IDENTIFIER: [u8; 4] = *b"REMB";
/// Bits of the mantissa (draft-alvestrand-rmcat-remb-03 section 2.2).
const MANTISSA_BITS: u32 = 18;
const MANTISSA_MAX: u64 = (1 << MANTISSA_BITS) - 1;

/// An estimate for the sum of some sources.
#[derive(Clone, Copy, Debug)]
pub struct Remb<'a> {
    /// Who estimates.
    pub sender_ssrc: u32,
    /// Bits per second; `u64::MAX` when the wire's exponent exceeds 64 bits.
    pub bitrate_bps: u64,
    ssrcs: &'a [[u8; 4]],
}

/// Application layer feedback that is REMB: anything else under its number stays unknown.
pub(super) fn is_remb(body: &[u8]) -> bool {
    body.get(8..)
        .is_some_and(|rest| rest.starts_with(&IDENTIFIER))
}

impl<'a> Remb<'a> {
    pub(super) fn read(body: &'a [u8]) -> Result<Remb<'a>, RtcpError> {
        let (head, mut reader) = FeedbackHead::read(body)?;
        let (count, bitrate_bps) = read_estimate(&mut reader).ok_or(RtcpError::Length)?;
        let (ssrcs, odd) = reader.rest().as_chunks();
        if !odd.is_empty() || ssrcs.len() != usize::from(count) {
            return Err(RtcpError::Count);
        }
        Ok(Remb {
            sender_ssrc: head.sender_ssrc,
            bitrate_bps,
            ssrcs,
        })
    }

    /// The sources the estimate covers.
    pub fn ssrcs(&self) -> impl Iterator<Item = u32> + use<'a> {
        self.ssrcs.iter().copied().map(u32::from_be_bytes)
    }
}

fn read_estimate(reader: &mut Reader<'_>) -> Option<(u8, u64)> {
    reader.u32()?;
    let count = reader.u8()?;
    let packed = reader.u24()?;
    let exponent = packed >> MANTISSA_BITS;
    let mantissa = u64::from(packed) & MANTISSA_MAX;
    let bitrate = if mantissa.leading_zeros() < exponent {
        u64::MAX
    } else {
        mantissa.checked_shl(exponent).unwrap_or(u64::MAX)
    };
    Some((count, bitrate))
}

/// Writes a REMB, returns its length: 20 octets and 4 a source. The estimate is rounded down to 18
/// significant bits.
///
/// # Errors
/// [`WriteError::Value`] for more than 255 sources, [`WriteError::Space`] when `out` is too short.
pub fn write(
    out: &mut [u8],
    sender_ssrc: u32,
    bitrate_bps: u64,
    ssrcs: &[u32],
) -> Result<usize, WriteError> {
    let mut writer = Writer::new(out);
    begin(&mut writer, usize::from(FMT), PT_PSFB)?;
    FeedbackHead {
        sender_ssrc,
        media_ssrc: 0,
    }
    .write(&mut writer)?;
    writer.bytes(&IDENTIFIER)?;
    writer.u8(u8::try_from(ssrcs.len()).map_err(|_| WriteError::Value)?)?;
    let bits = u64::BITS.saturating_sub(bitrate_bps.leading_zeros());
    let exponent = bits.saturating_sub(MANTISSA_BITS);
    let mantissa = bitrate_bps.checked_shr(exponent).unwrap_or(0);
    let mantissa = u32::try_from(mantissa).map_err(|_| WriteError::Value)?;
    writer.u24((exponent << 18) | mantissa)?;
    for ssrc in ssrcs {
        writer.u32(*ssrc)?;
    }
    finish(writer)
}
