//! Extended reports (RFC 3611): framing only, so that a malformed one is dropped rather than passed on.

use super::RtcpError;
use crate::bytes::Reader;

/// The sender's SSRC, then blocks of type, reserved octet, length in words (RFC 3611 section 3).
pub(super) fn check(body: &[u8]) -> Result<(), RtcpError> {
    let mut reader = Reader::new(body);
    reader.u32().ok_or(RtcpError::Length)?;
    while !reader.is_empty() {
        let [_block_type, _reserved, l0, l1] = reader.array().ok_or(RtcpError::Length)?;
        let words = usize::from(u16::from_be_bytes([l0, l1]));
        reader
            .take(words.saturating_mul(4))
            .ok_or(RtcpError::Length)?;
    }
    Ok(())
}
