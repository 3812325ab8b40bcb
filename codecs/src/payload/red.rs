//! Redundant audio data (RFC 2198): the newest block, and older ones repeated before it.

use crate::bytes::{Reader, WriteError, Writer};

/// F: another block header follows (RFC 2198 section 3).
const FOLLOWS: u8 = 0x80;
/// The largest timestamp offset: 14 bits (RFC 2198 section 3).
pub const OFFSET_MAX: u16 = 0x3FFF;
/// The longest redundant block: 10 bits (RFC 2198 section 3).
pub const BLOCK_LEN_MAX: usize = 0x3FF;
/// Octets of the header of a redundant block (RFC 2198 section 3).
const HEADER_LEN: usize = 4;

/// One block.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Block<'a> {
    /// Its payload type, 0..=127.
    pub payload_type: u8,
    /// How much older than the packet's timestamp it is, in units of the stream's clock; 0 for the primary.
    pub timestamp_offset: u16,
    /// Its payload.
    pub bytes: &'a [u8],
}

/// A payload whose block headers and lengths are known to fit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Red<'a> {
    headers: &'a [u8],
    blocks: &'a [u8],
    /// The newest block.
    pub primary: Block<'a>,
}

impl<'a> Red<'a> {
    /// Reads the block headers. `None` when one is truncated or a length runs past the end. An empty primary
    /// block is well-formed: it says that nothing is new.
    #[must_use]
    pub fn parse(payload: &'a [u8]) -> Option<Red<'a>> {
        let mut reader = Reader::new(payload);
        let mut headers_len = 0_usize;
        let mut blocks_len = 0_usize;
        loop {
            let head = reader.u8()?;
            if head & FOLLOWS == 0 {
                let blocks = reader.take(blocks_len)?;
                return Some(Red {
                    headers: payload.get(..headers_len)?,
                    blocks,
                    primary: Block {
                        payload_type: head,
                        timestamp_offset: 0,
                        bytes: reader.rest(),
                    },
                });
            }
            let (_, len) = offset_and_len(reader.u24()?);
            headers_len = headers_len.saturating_add(HEADER_LEN);
            blocks_len = blocks_len.saturating_add(len);
        }
    }

    /// The redundant blocks, in the order of the packet, which is from old to new. A payload of 1,200 octets
    /// holds at most 299.
    pub fn redundant(&self) -> impl Iterator<Item = Block<'a>> + use<'a> {
        let (headers, _) = self.headers.as_chunks::<HEADER_LEN>();
        let mut blocks = Reader::new(self.blocks);
        headers.iter().map_while(move |&[head, a, b, c]| {
            let (timestamp_offset, len) = offset_and_len(u32::from_be_bytes([0, a, b, c]));
            Some(Block {
                payload_type: head & !FOLLOWS,
                timestamp_offset,
                bytes: blocks.take(len)?,
            })
        })
    }
}

/// Fourteen bits of offset, ten of length.
fn offset_and_len(packed: u32) -> (u16, usize) {
    let offset = u16::try_from((packed >> 10) & u32::from(OFFSET_MAX)).unwrap_or(0);
    let len = usize::try_from(packed & 0x3FF).unwrap_or(0);
    (offset, len)
}

/// Writes a payload: `redundant` from old to new, then `primary`, whose offset is not written. Returns its
/// length: 1 octet, 4 for each redundant block, and the blocks.
///
/// # Errors
/// [`WriteError::Value`] for a payload type above 127, an offset above [`OFFSET_MAX`] or a redundant block
/// longer than [`BLOCK_LEN_MAX`]; [`WriteError::Space`] when `out` is too short.
pub fn write(
    out: &mut [u8],
    redundant: &[Block<'_>],
    primary: &Block<'_>,
) -> Result<usize, WriteError> {
    let mut writer = Writer::new(out);
    for block in redundant {
        if block.bytes.len() > BLOCK_LEN_MAX
            || block.timestamp_offset > OFFSET_MAX
            || block.payload_type >= FOLLOWS
        {
            return Err(WriteError::Value);
        }
        let len = u32::try_from(block.bytes.len()).map_err(|_| WriteError::Value)?;
        writer.u8(FOLLOWS | block.payload_type)?;
        writer.u24((u32::from(block.timestamp_offset) << 10) | len)?;
    }
    if primary.payload_type >= FOLLOWS {
        return Err(WriteError::Value);
    }
    writer.u8(primary.payload_type)?;
    for block in redundant {
        writer.bytes(block.bytes)?;
    }
    writer.bytes(primary.bytes)?;
    Ok(writer.len())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What a browser sends with one redundant packet: the packet 20 ms before, then this one.
    #[test]
    fn a_packet_with_one_repetition() {
        let payload = [0xEF, 0x0F, 0x00, 0x02, 0x6F, 0xFC, 0x01, 0xFC, 0x02, 0x03];
        let red = Red::parse(&payload).unwrap();
        let primary = Block {
            payload_type: 111,
            timestamp_offset: 0,
            bytes: &[0xFC, 0x02, 0x03],
        };
        let before = Block {
            payload_type: 111,
            timestamp_offset: 960,
            bytes: &[0xFC, 0x01],
        };
        assert_eq!(red.primary, primary);
        assert_eq!(red.redundant().collect::<Vec<_>>(), [before]);
        let mut out = [0; 10];
        assert_eq!(write(&mut out, &[before], &primary), Ok(10));
        assert_eq!(out, payload);
        assert_eq!(
            write(&mut out[..9], &[before], &primary),
            Err(WriteError::Space)
        );
    }

    #[test]
    fn lengths_past_the_end_and_endless_headers_are_refused() {
        assert_eq!(Red::parse(&[]), None);
        assert_eq!(Red::parse(&[0x80 | 111, 0x0F, 0x00]), None);
        assert_eq!(Red::parse(&[0xEF, 0x0F, 0x00, 0x03, 0x6F, 1, 2]), None);
        assert_eq!(Red::parse(&[0xFF; 1_200]), None);
        let nothing_new = Red::parse(&[0x6F]).unwrap();
        assert_eq!(nothing_new.primary.bytes, []);
        assert_eq!(nothing_new.redundant().count(), 0);
    }

    #[test]
    fn what_does_not_fit_its_field_is_not_written() {
        let block = |payload_type, timestamp_offset, bytes| Block {
            payload_type,
            timestamp_offset,
            bytes,
        };
        let primary = block(111, 0, &[1][..]);
        let long = [0; 1_024];
        for bad in [
            block(128, 0, &[]),
            block(111, 0x4000, &[]),
            block(111, 0, &long),
        ] {
            let mut out = [0; 1_200];
            assert_eq!(write(&mut out, &[bad], &primary), Err(WriteError::Value));
        }
    }
}
