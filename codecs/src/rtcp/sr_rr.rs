//! Sender and receiver reports (RFC 3550 sections 6.4.1 and 6.4.2).

use super::{PT_RR, PT_SR, RtcpError, begin, finish};
use crate::bytes::{Reader, WriteError, Writer};

/// Octets of one report block (RFC 3550 section 6.4.1).
pub const REPORT_BLOCK_LEN: usize = 24;
/// Octets of sender information after the SSRC (RFC 3550 section 6.4.1).
const SENDER_INFO_LEN: usize = 20;
/// The extremes of the signed 24-bit cumulative loss (RFC 3550 section 6.4.1).
const CUMULATIVE_LOST_MIN: i32 = -0x80_0000;
const CUMULATIVE_LOST_MAX: i32 = 0x7F_FFFF;

/// Reception of one source.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ReportBlock {
    /// The source reported on.
    pub ssrc: u32,
    /// Share lost since the previous report, in 1/256.
    pub fraction_lost: u8,
    /// Packets lost since the beginning, signed 24 bits; written saturating.
    pub cumulative_lost: i32,
    /// Rollovers in the high half, highest sequence number in the low half.
    pub highest_seq: u32,
    /// Interarrival jitter in units of the stream's clock.
    pub jitter: u32,
    /// The middle 32 bits of the NTP time of the last sender report, 0 if none.
    pub last_sr: u32,
    /// Delay since that report in 1/65536 s, 0 if none.
    pub delay_since_last_sr: u32,
}

impl ReportBlock {
    fn read(block: &[u8; REPORT_BLOCK_LEN]) -> Option<ReportBlock> {
        let mut reader = Reader::new(block);
        Some(ReportBlock {
            ssrc: reader.u32()?,
            fraction_lost: reader.u8()?,
            // The 24 bits are shifted to the top and back to extend their sign.
            cumulative_lost: (reader.u24()? << 8).cast_signed() >> 8,
            highest_seq: reader.u32()?,
            jitter: reader.u32()?,
            last_sr: reader.u32()?,
            delay_since_last_sr: reader.u32()?,
        })
    }

    fn write(&self, writer: &mut Writer<'_>) -> Result<(), WriteError> {
        let lost = self
            .cumulative_lost
            .clamp(CUMULATIVE_LOST_MIN, CUMULATIVE_LOST_MAX);
        writer.u32(self.ssrc)?;
        writer.u8(self.fraction_lost)?;
        writer.u24(lost.cast_unsigned())?;
        writer.u32(self.highest_seq)?;
        writer.u32(self.jitter)?;
        writer.u32(self.last_sr)?;
        writer.u32(self.delay_since_last_sr)
    }
}

/// What a sender says of itself.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct SenderInfo {
    /// The sender.
    pub ssrc: u32,
    /// 64-bit NTP time of the report (RFC 5905 section 6): seconds since 1900 and their fraction.
    pub ntp: u64,
    /// The same instant in units of the stream's clock.
    pub rtp_timestamp: u32,
    /// Packets sent.
    pub packet_count: u32,
    /// Payload octets sent.
    pub octet_count: u32,
}

impl SenderInfo {
    /// The middle 32 bits of the NTP time, which report blocks return as `last_sr`.
    #[must_use]
    pub fn compact_ntp(&self) -> u32 {
        let [_, _, a, b, c, d, _, _] = self.ntp.to_be_bytes();
        u32::from_be_bytes([a, b, c, d])
    }
}

/// A sender report.
#[derive(Clone, Copy, Debug)]
pub struct SenderReport<'a> {
    /// What the sender says of itself.
    pub info: SenderInfo,
    blocks: &'a [u8],
}

impl<'a> SenderReport<'a> {
    pub(super) fn read(count: u8, body: &'a [u8]) -> Result<SenderReport<'a>, RtcpError> {
        let mut reader = Reader::new(body);
        let info = read_info(&mut reader).ok_or(RtcpError::Length)?;
        let blocks = take_blocks(&mut reader, count)?;
        Ok(SenderReport { info, blocks })
    }

    /// The report blocks, in order.
    pub fn blocks(&self) -> impl Iterator<Item = ReportBlock> + use<'a> {
        blocks(self.blocks)
    }
}

/// A receiver report.
#[derive(Clone, Copy, Debug)]
pub struct ReceiverReport<'a> {
    /// The reporter.
    pub ssrc: u32,
    blocks: &'a [u8],
}

impl<'a> ReceiverReport<'a> {
    pub(super) fn read(count: u8, body: &'a [u8]) -> Result<ReceiverReport<'a>, RtcpError> {
        let mut reader = Reader::new(body);
        let ssrc = reader.u32().ok_or(RtcpError::Length)?;
        let blocks = take_blocks(&mut reader, count)?;
        Ok(ReceiverReport { ssrc, blocks })
    }

    /// The report blocks, in order.
    pub fn blocks(&self) -> impl Iterator<Item = ReportBlock> + use<'a> {
        blocks(self.blocks)
    }
}

fn read_info(reader: &mut Reader<'_>) -> Option<SenderInfo> {
    Some(SenderInfo {
        ssrc: reader.u32()?,
        ntp: reader.u64()?,
        rtp_timestamp: reader.u32()?,
        packet_count: reader.u32()?,
        octet_count: reader.u32()?,
    })
}

/// Octets after the blocks are a profile's extension (section 6.4.3) and ignored.
fn take_blocks<'a>(reader: &mut Reader<'a>, count: u8) -> Result<&'a [u8], RtcpError> {
    reader
        .take(usize::from(count).saturating_mul(REPORT_BLOCK_LEN))
        .ok_or(RtcpError::Count)
}

fn blocks(bytes: &[u8]) -> impl Iterator<Item = ReportBlock> + use<'_> {
    let (blocks, _) = bytes.as_chunks::<REPORT_BLOCK_LEN>();
    blocks.iter().filter_map(ReportBlock::read)
}

/// Writes a sender report, returns its length: 28 octets and 24 a block.
///
/// # Errors
/// [`WriteError::Value`] for more than 31 blocks, [`WriteError::Space`] when `out` is too short.
pub fn write_sr(
    out: &mut [u8],
    info: &SenderInfo,
    blocks: &[ReportBlock],
) -> Result<usize, WriteError> {
    let mut writer = Writer::new(out);
    begin(&mut writer, blocks.len(), PT_SR)?;
    writer.u32(info.ssrc)?;
    writer.u64(info.ntp)?;
    writer.u32(info.rtp_timestamp)?;
    writer.u32(info.packet_count)?;
    writer.u32(info.octet_count)?;
    for block in blocks {
        block.write(&mut writer)?;
    }
    finish(writer)
}

/// Writes a receiver report, returns its length: 8 octets and 24 a block.
///
/// # Errors
/// [`WriteError::Value`] for more than 31 blocks, [`WriteError::Space`] when `out` is too short.
pub fn write_rr(out: &mut [u8], ssrc: u32, blocks: &[ReportBlock]) -> Result<usize, WriteError> {
    let mut writer = Writer::new(out);
    begin(&mut writer, blocks.len(), PT_RR)?;
    writer.u32(ssrc)?;
    for block in blocks {
        block.write(&mut writer)?;
    }
    finish(writer)
}

/// Octets of a sender report with `blocks` report blocks.
#[must_use]
pub const fn sr_len(blocks: usize) -> usize {
    (8 + SENDER_INFO_LEN).saturating_add(blocks.saturating_mul(REPORT_BLOCK_LEN))
}

/// Octets of a receiver report with `blocks` report blocks.
#[must_use]
pub const fn rr_len(blocks: usize) -> usize {
    8_usize.saturating_add(blocks.saturating_mul(REPORT_BLOCK_LEN))
}
