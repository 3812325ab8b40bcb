//! RTCP compound packets (RFC 3550 section 6.1; reduced size: RFC 5506), iterated without allocation.

use std::fmt;

use crate::bytes::{Reader, WriteError, Writer};
use crate::rtp::view::VERSION;

pub mod nack;
pub mod pli_fir;
pub mod remb;
pub mod sdes_bye;
pub mod sr_rr;
pub mod twcc;
mod xr;

pub use nack::Nack;
pub use pli_fir::{Fir, FirEntry, Pli};
pub use remb::Remb;
pub use sdes_bye::{Bye, Sdes};
pub use sr_rr::{ReceiverReport, ReportBlock, SenderInfo, SenderReport};
pub use twcc::TransportCc;

/// Sender report (RFC 3550 section 6.4.1).
pub const PT_SR: u8 = 200;
/// Receiver report (RFC 3550 section 6.4.2).
pub const PT_RR: u8 = 201;
/// Source description (RFC 3550 section 6.5).
pub const PT_SDES: u8 = 202;
/// Goodbye (RFC 3550 section 6.6).
pub const PT_BYE: u8 = 203;
/// Transport-layer feedback (RFC 4585 section 6.1).
pub const PT_RTPFB: u8 = 205;
/// Payload-specific feedback (RFC 4585 section 6.1).
pub const PT_PSFB: u8 = 206;
/// Extended report (RFC 3611 section 2).
pub const PT_XR: u8 = 207;

/// Octets of the header every RTCP packet begins with (RFC 3550 section 6.4.1).
pub const HEADER_LEN: usize = 4;
/// The largest value of the five-bit count field (RFC 3550 section 6.4.1).
pub const COUNT_MAX: usize = 31;

/// A datagram that carries RTP or RTCP (RFC 7983 section 7) carries RTCP: the second octet, marker bit
/// included, is 192..=223 (RFC 5761 section 4).
#[must_use]
pub fn is_rtcp(datagram: &[u8]) -> bool {
    matches!(datagram, [_, 192..=223, ..])
}

/// Why bytes are not RTCP.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RtcpError {
    /// No packet at all, or fewer octets than a header.
    TooShort,
    /// A version other than 2.
    Version,
    /// The length field runs past the end, or is too small for the packet's fixed fields.
    Length,
    /// Padding on a packet that is not the last, or a count of zero or more than the packet.
    Padding,
    /// The count of blocks, chunks or sources does not fit.
    Count,
    /// Fields inside the packet contradict each other.
    Content,
}

impl fmt::Display for RtcpError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            RtcpError::TooShort => "fewer octets than an RTCP header",
            RtcpError::Version => "not version 2",
            RtcpError::Length => "the length field does not fit",
            RtcpError::Padding => "padding is misplaced or miscounted",
            RtcpError::Count => "the count of blocks does not fit",
            RtcpError::Content => "fields contradict each other",
        })
    }
}

impl std::error::Error for RtcpError {}

/// One packet of a compound.
#[derive(Clone, Copy, Debug)]
pub enum Packet<'a> {
    /// What a sender sent and what it received.
    SenderReport(SenderReport<'a>),
    /// What a receiver received.
    ReceiverReport(ReceiverReport<'a>),
    /// Names of sources.
    Sdes(Sdes<'a>),
    /// Sources that leave.
    Bye(Bye<'a>),
    /// Lost packets to send again.
    Nack(Nack<'a>),
    /// A keyframe is needed.
    Pli(Pli),
    /// A keyframe is needed, numbered.
    Fir(Fir<'a>),
    /// Arrival times of numbered packets.
    TransportCc(TransportCc<'a>),
    /// A receiver's estimate.
    Remb(Remb<'a>),
    /// A well-framed packet of a kind this crate does not read (APP, XR, legacy types, other feedback).
    Unknown(Unknown<'a>),
}

/// A packet that is framed but not read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Unknown<'a> {
    /// The packet type.
    pub packet_type: u8,
    /// The five-bit count or format field.
    pub count: u8,
    /// Everything after the four-octet header, without padding.
    pub body: &'a [u8],
}

/// The packets of one datagram, in order.
///
/// The framing of the whole datagram (versions, lengths, padding only on the last packet) is judged before
/// the first packet is yielded: a badly framed compound yields one error and nothing else, so nobody acts on
/// half of it. A packet whose content is malformed yields its error, and ends the iteration.
#[derive(Clone, Debug)]
pub struct Compound<'a> {
    rest: &'a [u8],
    framing: Option<RtcpError>,
}

impl<'a> Compound<'a> {
    /// Judges the framing of `bytes` (RFC 3550 appendix A.2) and begins at its first packet.
    #[must_use]
    pub fn parse(bytes: &'a [u8]) -> Compound<'a> {
        Compound {
            rest: bytes,
            framing: check_framing(bytes).err(),
        }
    }
}

impl<'a> Iterator for Compound<'a> {
    type Item = Result<Packet<'a>, RtcpError>;

    fn next(&mut self) -> Option<Result<Packet<'a>, RtcpError>> {
        if let Some(error) = self.framing.take() {
            self.rest = &[];
            return Some(Err(error));
        }
        if self.rest.is_empty() {
            return None;
        }
        let packet = Frame::split(self.rest).and_then(|(frame, rest)| {
            self.rest = rest;
            frame.read()
        });
        if packet.is_err() {
            self.rest = &[];
        }
        Some(packet)
    }
}

impl std::iter::FusedIterator for Compound<'_> {}

fn check_framing(bytes: &[u8]) -> Result<(), RtcpError> {
    let mut rest = bytes;
    loop {
        let (frame, after) = Frame::split(rest)?;
        if after.is_empty() {
            return Ok(());
        }
        if frame.padded {
            return Err(RtcpError::Padding);
        }
        rest = after;
    }
}

/// One packet cut out of a compound.
#[derive(Clone, Copy, Debug)]
struct Frame<'a> {
    packet_type: u8,
    count: u8,
    padded: bool,
    /// Without header and padding.
    body: &'a [u8],
}

impl<'a> Frame<'a> {
    fn split(bytes: &'a [u8]) -> Result<(Frame<'a>, &'a [u8]), RtcpError> {
        let mut reader = Reader::new(bytes);
        let [first, packet_type, l0, l1] = reader.array().ok_or(RtcpError::TooShort)?;
        if first >> 6 != VERSION {
            return Err(RtcpError::Version);
        }
        // The length field counts 32-bit words minus one: exactly the words after the header word.
        let words = usize::from(u16::from_be_bytes([l0, l1]));
        let mut body = reader
            .take(words.saturating_mul(4))
            .ok_or(RtcpError::Length)?;
        let padded = first & 0x20 != 0;
        if padded {
            // Section 6.4.1 wants a multiple of four, but libwebrtc's transport-cc feedback counts 1..=3
            // octets, so any count that fits is taken.
            let count = usize::from(*body.last().ok_or(RtcpError::Padding)?);
            if count == 0 {
                return Err(RtcpError::Padding);
            }
            let len = body.len().checked_sub(count).ok_or(RtcpError::Padding)?;
            body = body.get(..len).ok_or(RtcpError::Padding)?;
        }
        Ok((
            Frame {
                packet_type,
                count: first & 0x1F,
                padded,
                body,
            },
            reader.rest(),
        ))
    }

    fn read(self) -> Result<Packet<'a>, RtcpError> {
        let Frame { count, body, .. } = self;
        match (self.packet_type, count) {
            (PT_SR, _) => SenderReport::read(count, body).map(Packet::SenderReport),
            (PT_RR, _) => ReceiverReport::read(count, body).map(Packet::ReceiverReport),
            (PT_SDES, _) => Sdes::read(count, body).map(Packet::Sdes),
            (PT_BYE, _) => Bye::read(count, body).map(Packet::Bye),
            (PT_RTPFB, nack::FMT) => Nack::read(body).map(Packet::Nack),
            (PT_RTPFB, twcc::FMT) => TransportCc::read(body).map(Packet::TransportCc),
            (PT_PSFB, pli_fir::FMT_PLI) => Pli::read(body).map(Packet::Pli),
            (PT_PSFB, pli_fir::FMT_FIR) => Fir::read(body).map(Packet::Fir),
            (PT_PSFB, remb::FMT) if remb::is_remb(body) => Remb::read(body).map(Packet::Remb),
            (PT_XR, _) => xr::check(body).map(|()| self.unknown()),
            _ => Ok(self.unknown()),
        }
    }

    fn unknown(self) -> Packet<'a> {
        Packet::Unknown(Unknown {
            packet_type: self.packet_type,
            count: self.count,
            body: self.body,
        })
    }
}

/// Sender SSRC and media SSRC, with which all feedback begins (RFC 4585 section 6.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct FeedbackHead {
    sender_ssrc: u32,
    media_ssrc: u32,
}

impl FeedbackHead {
    fn read<'a>(body: &'a [u8]) -> Result<(FeedbackHead, Reader<'a>), RtcpError> {
        let mut reader = Reader::new(body);
        let sender_ssrc = reader.u32().ok_or(RtcpError::Length)?;
        let media_ssrc = reader.u32().ok_or(RtcpError::Length)?;
        let head = FeedbackHead {
            sender_ssrc,
            media_ssrc,
        };
        Ok((head, reader))
    }

    fn write(self, writer: &mut Writer<'_>) -> Result<(), WriteError> {
        writer.u32(self.sender_ssrc)?;
        writer.u32(self.media_ssrc)
    }
}

/// Writes a header whose length [`finish`] fills in.
fn begin(writer: &mut Writer<'_>, count: usize, packet_type: u8) -> Result<(), WriteError> {
    if count > COUNT_MAX {
        return Err(WriteError::Value);
    }
    let count = u8::try_from(count).map_err(|_| WriteError::Value)?;
    writer.bytes(&[(VERSION << 6) | count, packet_type, 0, 0])
}

/// Pads to 32 bits, fills in the length field, returns the octets written.
fn finish(mut writer: Writer<'_>) -> Result<usize, WriteError> {
    writer.pad()?;
    let words = (writer.len() / 4).saturating_sub(1);
    let words = u16::try_from(words).map_err(|_| WriteError::Value)?;
    writer.patch(2, &words.to_be_bytes())?;
    Ok(writer.len())
}
