//! Generic NACK (RFC 4585 section 6.2.1).

use super::{FeedbackHead, PT_RTPFB, RtcpError, begin, finish};
use crate::bytes::{WriteError, Writer};
use crate::rtp::Seq;

/// Feedback message type of a generic NACK (RFC 4585 section 6.2.1).
pub const FMT: u8 = 1;
/// Octets of one packet id with its bitmask (RFC 4585 section 6.2.1).
const ENTRY_LEN: usize = 4;
/// Packets after the packet id that the bitmask covers (RFC 4585 section 6.2.1).
const BITMASK_BITS: u16 = 16;

/// Lost packets of one source.
#[derive(Clone, Copy, Debug)]
pub struct Nack<'a> {
    /// Who asks.
    pub sender_ssrc: u32,
    /// Whose packets are lost.
    pub media_ssrc: u32,
    entries: &'a [[u8; ENTRY_LEN]],
}

impl<'a> Nack<'a> {
    pub(super) fn read(body: &'a [u8]) -> Result<Nack<'a>, RtcpError> {
        let (head, reader) = FeedbackHead::read(body)?;
        let (entries, odd) = reader.rest().as_chunks();
        if !odd.is_empty() {
            return Err(RtcpError::Length);
        }
        Ok(Nack {
            sender_ssrc: head.sender_ssrc,
            media_ssrc: head.media_ssrc,
            entries,
        })
    }

    /// The lost sequence numbers in the order of the packet, at most 17 an entry. A hostile packet of 1,200
    /// octets lists about 5,000: the caller budgets.
    pub fn seqs(&self) -> impl Iterator<Item = Seq> + use<'a> {
        self.entries.iter().flat_map(|&[p0, p1, m0, m1]| {
            let first = Seq(u16::from_be_bytes([p0, p1]));
            let mask = u16::from_be_bytes([m0, m1]);
            let later = (0..BITMASK_BITS)
                .filter(move |&bit| mask.checked_shr(u32::from(bit)).is_some_and(|m| m & 1 == 1))
                .map(move |bit| first.plus(bit.saturating_add(1)));
            std::iter::once(first).chain(later)
        })
    }
}

/// What [`write()`] wrote.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Written {
    /// Octets.
    pub len: usize,
    /// How many of the numbers, from the first on. Fewer than given when the packet is full: the caller
    /// continues there in another packet.
    pub seqs: usize,
}

/// Writes a NACK for `seqs`, sorted from old to new: 12 octets and 4 for every 17 consecutive numbers begun.
/// A number may stand there twice.
///
/// # Errors
/// [`WriteError::Value`] when `seqs` is empty, [`WriteError::Space`] when not one entry fits into `out`.
pub fn write(
    out: &mut [u8],
    sender_ssrc: u32,
    media_ssrc: u32,
    seqs: &[Seq],
) -> Result<Written, WriteError> {
    let mut rest = seqs;
    if rest.is_empty() {
        return Err(WriteError::Value);
    }
    let mut writer = Writer::new(out);
    begin(&mut writer, usize::from(FMT), PT_RTPFB)?;
    FeedbackHead {
        sender_ssrc,
        media_ssrc,
    }
    .write(&mut writer)?;
    while let Some((first, mask, after)) = gather(rest) {
        let [p0, p1] = first.0.to_be_bytes();
        let [m0, m1] = mask.to_be_bytes();
        match writer.bytes(&[p0, p1, m0, m1]) {
            Ok(()) => rest = after,
            Err(error) if rest.len() == seqs.len() => return Err(error),
            Err(_) => break,
        }
    }
    Ok(Written {
        len: finish(writer)?,
        seqs: seqs.len().saturating_sub(rest.len()),
    })
}

/// The first number of `seqs`, the bitmask of those that its entry covers, and the numbers after them.
fn gather(seqs: &[Seq]) -> Option<(Seq, u16, &[Seq])> {
    let (first, mut rest) = seqs.split_first()?;
    let mut mask = 0_u16;
    while let Some((seq, after)) = rest.split_first() {
        match seq.since(*first) {
            0 => {}
            ahead @ 1..=BITMASK_BITS => {
                let bit = u32::from(ahead).saturating_sub(1);
                mask |= 1_u16.checked_shl(bit).unwrap_or(0);
            }
            _ => break,
        }
        rest = after;
    }
    Some((*first, mask, rest))
}
