//! Keyframe requests: Picture Loss Indication (RFC 4585 section 6.3.1) and Full Intra Request (RFC 5104
//! section 4.3.1).

use super::{FeedbackHead, PT_PSFB, RtcpError, begin, finish};
use crate::bytes::{WriteError, Writer};

/// Feedback message type of PLI (RFC 4585 section 6.3.1).
pub const FMT_PLI: u8 = 1;
/// Feedback message type of FIR (RFC 5104 section 4.3.1).
pub const FMT_FIR: u8 = 4;
/// Octets of one FIR entry: SSRC, command number, 24 reserved bits (RFC 5104 section 4.3.1.1).
const FIR_ENTRY_LEN: usize = 8;
/// Octets of a PLI.
pub const PLI_LEN: usize = 12;
/// Octets of a FIR with one entry.
pub const FIR_LEN: usize = 20;

/// A decoder lost its picture.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Pli {
    /// Who asks.
    pub sender_ssrc: u32,
    /// Whose keyframe is wanted.
    pub media_ssrc: u32,
}

impl Pli {
    pub(super) fn read(body: &[u8]) -> Result<Pli, RtcpError> {
        let (head, _) = FeedbackHead::read(body)?;
        Ok(Pli {
            sender_ssrc: head.sender_ssrc,
            media_ssrc: head.media_ssrc,
        })
    }
}

/// Keyframes commanded of sources.
#[derive(Clone, Copy, Debug)]
pub struct Fir<'a> {
    /// Who asks. The sources are in the entries: the media SSRC of the packet is unused (RFC 5104 section
    /// 4.3.1.2).
    pub sender_ssrc: u32,
    entries: &'a [[u8; FIR_ENTRY_LEN]],
}

/// One source of a FIR.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FirEntry {
    /// Whose keyframe is wanted.
    pub ssrc: u32,
    /// Command number: a repeated number is the same command (RFC 5104 section 4.3.1.1).
    pub seq_nr: u8,
}

impl<'a> Fir<'a> {
    pub(super) fn read(body: &'a [u8]) -> Result<Fir<'a>, RtcpError> {
        let (head, reader) = FeedbackHead::read(body)?;
        let (entries, odd) = reader.rest().as_chunks();
        if !odd.is_empty() {
            return Err(RtcpError::Length);
        }
        Ok(Fir {
            sender_ssrc: head.sender_ssrc,
            entries,
        })
    }

    /// The entries, in order.
    pub fn entries(&self) -> impl Iterator<Item = FirEntry> + use<'a> {
        self.entries
            .iter()
            .map(|&[s0, s1, s2, s3, seq_nr, ..]| FirEntry {
                ssrc: u32::from_be_bytes([s0, s1, s2, s3]),
                seq_nr,
            })
    }
}

/// Writes a PLI, returns its length ([`PLI_LEN`]).
///
/// # Errors
/// [`WriteError::Space`] when `out` is too short.
pub fn write_pli(out: &mut [u8], sender_ssrc: u32, media_ssrc: u32) -> Result<usize, WriteError> {
    let mut writer = Writer::new(out);
    begin(&mut writer, usize::from(FMT_PLI), PT_PSFB)?;
    FeedbackHead {
        sender_ssrc,
        media_ssrc,
    }
    .write(&mut writer)?;
    finish(writer)
}

/// Writes a FIR for one source, returns its length ([`FIR_LEN`]).
///
/// # Errors
/// [`WriteError::Space`] when `out` is too short.
pub fn write_fir(out: &mut [u8], sender_ssrc: u32, entry: FirEntry) -> Result<usize, WriteError> {
    let mut writer = Writer::new(out);
    begin(&mut writer, usize::from(FMT_FIR), PT_PSFB)?;
    FeedbackHead {
        sender_ssrc,
        media_ssrc: 0,
    }
    .write(&mut writer)?;
    writer.u32(entry.ssrc)?;
    writer.bytes(&[entry.seq_nr, 0, 0, 0])?;
    finish(writer)
}
