//! Source description (RFC 3550 section 6.5) and goodbye (section 6.6).

use super::{PT_BYE, PT_SDES, RtcpError, begin, finish};
use crate::bytes::{Reader, WriteError, Writer, padded};

/// The item that ends a chunk (RFC 3550 section 6.5).
const ITEM_END: u8 = 0;
/// Canonical end-point identifier (RFC 3550 section 6.5.1).
pub const ITEM_CNAME: u8 = 1;

/// Names of sources.
#[derive(Clone, Copy, Debug)]
pub struct Sdes<'a> {
    count: u8,
    chunks: &'a [u8],
}

impl<'a> Sdes<'a> {
    pub(super) fn read(count: u8, body: &'a [u8]) -> Result<Sdes<'a>, RtcpError> {
        let mut reader = Reader::new(body);
        for _ in 0..count {
            read_chunk(&mut reader, |_, _| {}).ok_or(RtcpError::Content)?;
        }
        Ok(Sdes {
            count,
            chunks: body,
        })
    }

    /// `(ssrc, cname)` of each chunk that has a CNAME; the text is UTF-8 only by convention.
    pub fn cnames(&self) -> impl Iterator<Item = (u32, &'a [u8])> + use<'a> {
        let mut reader = Reader::new(self.chunks);
        (0..self.count).filter_map(move |_| {
            let mut cname = None;
            let ssrc = read_chunk(&mut reader, |item, text| {
                if item == ITEM_CNAME && cname.is_none() {
                    cname = Some(text);
                }
            })?;
            cname.map(|cname| (ssrc, cname))
        })
    }
}

/// Reads one chunk to the word after its end item, telling every item.
fn read_chunk<'a>(reader: &mut Reader<'a>, mut on_item: impl FnMut(u8, &'a [u8])) -> Option<u32> {
    let before = reader.rest().len();
    let ssrc = reader.u32()?;
    loop {
        let item = reader.u8()?;
        if item == ITEM_END {
            break;
        }
        let len = reader.u8()?;
        on_item(item, reader.take(usize::from(len))?);
    }
    // Chunks begin on 32-bit words: the octets up to there are null too.
    let used = before.saturating_sub(reader.rest().len());
    let fill = padded(used).saturating_sub(used);
    reader.take(fill.min(reader.rest().len()))?;
    Some(ssrc)
}

/// Writes a source description of one source with its CNAME, returns its length.
///
/// # Errors
/// [`WriteError::Value`] for a name longer than 255 octets, [`WriteError::Space`] when `out` is too short.
pub fn write_sdes_cname(out: &mut [u8], ssrc: u32, cname: &[u8]) -> Result<usize, WriteError> {
    let mut writer = Writer::new(out);
    begin(&mut writer, 1, PT_SDES)?;
    writer.u32(ssrc)?;
    writer.u8(ITEM_CNAME)?;
    writer.u8(u8::try_from(cname.len()).map_err(|_| WriteError::Value)?)?;
    writer.bytes(cname)?;
    writer.u8(ITEM_END)?;
    finish(writer)
}

/// Sources that leave.
#[derive(Clone, Copy, Debug)]
pub struct Bye<'a> {
    ssrcs: &'a [[u8; 4]],
    reason: &'a [u8],
}

impl<'a> Bye<'a> {
    pub(super) fn read(count: u8, body: &'a [u8]) -> Result<Bye<'a>, RtcpError> {
        let mut reader = Reader::new(body);
        let sources = usize::from(count).saturating_mul(4);
        let (ssrcs, _) = reader.take(sources).ok_or(RtcpError::Count)?.as_chunks();
        let reason = match reader.u8() {
            None => &[],
            Some(len) => reader.take(usize::from(len)).ok_or(RtcpError::Content)?,
        };
        Ok(Bye { ssrcs, reason })
    }

    /// The leaving sources. Whether they belong to the transport is the caller's question.
    pub fn ssrcs(&self) -> impl Iterator<Item = u32> + use<'a> {
        self.ssrcs.iter().copied().map(u32::from_be_bytes)
    }

    /// The reason, empty when none is given; UTF-8 only by convention.
    #[must_use]
    pub fn reason(&self) -> &'a [u8] {
        self.reason
    }
}

/// Writes a goodbye without reason, returns its length: 4 octets and 4 a source.
///
/// # Errors
/// [`WriteError::Value`] for more than 31 sources, [`WriteError::Space`] when `out` is too short.
pub fn write_bye(out: &mut [u8], ssrcs: &[u32]) -> Result<usize, WriteError> {
    let mut writer = Writer::new(out);
    begin(&mut writer, ssrcs.len(), PT_BYE)?;
    for ssrc in ssrcs {
        writer.u32(*ssrc)?;
    }
    finish(writer)
}
