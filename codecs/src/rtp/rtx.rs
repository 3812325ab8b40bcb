//! Retransmission packets (RFC 4588 section 4): the original sequence number, then the original payload.
//!
//! Timestamp, marker and header extensions of such a packet are those of the original; SSRC, sequence number
//! and payload type are its own stream's.

use super::seq::Seq;
use crate::bytes::{WriteError, put};

/// Octets of the original sequence number (RFC 4588 section 4).
pub const OSN_LEN: usize = 2;

/// The original sequence number and the original payload, which is empty for a packet that was only padding.
/// `payload` is decrypted and without padding. `None` when it has fewer than two octets: senders probe with
/// packets of padding on this stream, and those repeat nothing.
#[must_use]
pub fn read_osn(payload: &[u8]) -> Option<(Seq, &[u8])> {
    let (osn, original) = payload.split_first_chunk::<OSN_LEN>()?;
    Some((Seq(u16::from_be_bytes(*osn)), original))
}

/// Writes the original sequence number at the beginning of `out`; the original payload goes behind it, at
/// [`OSN_LEN`].
///
/// # Errors
/// [`WriteError::Space`] when `out` has fewer than two octets.
pub fn write_osn(out: &mut [u8], seq: Seq) -> Result<(), WriteError> {
    put(out, 0, &seq.0.to_be_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_original_number_stands_before_the_original_payload() {
        let mut payload = [0, 0, 0x90, 0x80];
        write_osn(&mut payload, Seq(0xFFFE)).unwrap();
        assert_eq!(payload, [0xFF, 0xFE, 0x90, 0x80]);
        assert_eq!(
            read_osn(&payload),
            Some((Seq(0xFFFE), &[0x90_u8, 0x80][..]))
        );
    }

    #[test]
    fn a_probe_of_padding_repeats_nothing() {
        assert_eq!(read_osn(&[]), None);
        assert_eq!(read_osn(&[7]), None);
        assert_eq!(read_osn(&[0, 7]), Some((Seq(7), &[][..])));
        assert_eq!(write_osn(&mut [0], Seq(7)), Err(WriteError::Space));
    }
}
