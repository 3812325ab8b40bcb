//! One RTP packet read in place (RFC 3550 section 5.1).

use std::fmt;

use super::FIXED_HEADER_LEN;
use super::ext::Extensions;
use super::seq::Seq;
use crate::bytes::{u16_at, u32_at};

/// The version of RTP and RTCP (RFC 3550 section 5.1).
pub const VERSION: u8 = 2;

/// Why bytes are not an RTP packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RtpError {
    /// Fewer than 12 octets.
    TooShort,
    /// A version other than 2.
    Version,
    /// The CSRC list runs past the end.
    Csrc,
    /// The extension header or block runs past the end.
    Extension,
    /// The padding count is zero or larger than what it pads.
    Padding,
}

impl fmt::Display for RtpError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            RtpError::TooShort => "fewer than 12 octets",
            RtpError::Version => "not version 2",
            RtpError::Csrc => "the CSRC list runs past the end",
            RtpError::Extension => "the header extension runs past the end",
            RtpError::Padding => "the padding count is zero or larger than the payload",
        })
    }
}

impl std::error::Error for RtpError {}

/// A packet whose header is known to lie inside its bytes. The payload may still be encrypted, so padding is
/// judged separately by [`strip_padding`].
#[derive(Clone, Copy, Debug)]
pub struct RtpView<'a> {
    bytes: &'a [u8],
    header: &'a [u8; FIXED_HEADER_LEN],
    block: Option<Block<'a>>,
    header_len: usize,
}

/// The header extension: its profile and its words.
#[derive(Clone, Copy, Debug)]
struct Block<'a> {
    profile: u16,
    words: &'a [u8],
}

impl<'a> RtpView<'a> {
    /// Reads the header of `bytes`: version, CSRC list, extension bounds.
    ///
    /// # Errors
    /// [`RtpError`] when the header is not version 2 or does not fit. Padding is not judged.
    pub fn parse(bytes: &'a [u8]) -> Result<RtpView<'a>, RtpError> {
        let header: &[u8; FIXED_HEADER_LEN] = bytes.first_chunk().ok_or(RtpError::TooShort)?;
        let [first, ..] = *header;
        if first >> 6 != VERSION {
            return Err(RtpError::Version);
        }
        let csrc_end = FIXED_HEADER_LEN.saturating_add(usize::from(first & 0x0F).saturating_mul(4));
        if bytes.len() < csrc_end {
            return Err(RtpError::Csrc);
        }
        if first & 0x10 == 0 {
            return Ok(RtpView {
                bytes,
                header,
                block: None,
                header_len: csrc_end,
            });
        }
        let profile = u16_at(bytes, csrc_end).ok_or(RtpError::Extension)?;
        let words = u16_at(bytes, csrc_end.saturating_add(2)).ok_or(RtpError::Extension)?;
        let begin = csrc_end.saturating_add(4);
        let header_len = begin.saturating_add(usize::from(words).saturating_mul(4));
        let words = bytes.get(begin..header_len).ok_or(RtpError::Extension)?;
        Ok(RtpView {
            bytes,
            header,
            block: Some(Block { profile, words }),
            header_len,
        })
    }

    /// The payload type, 0..=127.
    #[must_use]
    pub fn payload_type(&self) -> u8 {
        let [_, second, ..] = *self.header;
        second & 0x7F
    }

    /// The marker bit.
    #[must_use]
    pub fn marker(&self) -> bool {
        let [_, second, ..] = *self.header;
        second & 0x80 != 0
    }

    /// The sequence number.
    #[must_use]
    pub fn seq(&self) -> Seq {
        let [_, _, hi, lo, ..] = *self.header;
        Seq(u16::from_be_bytes([hi, lo]))
    }

    /// The timestamp, in units of the payload type's clock.
    #[must_use]
    pub fn timestamp(&self) -> u32 {
        let [_, _, _, _, a, b, c, d, ..] = *self.header;
        u32::from_be_bytes([a, b, c, d])
    }

    /// The synchronisation source.
    #[must_use]
    pub fn ssrc(&self) -> u32 {
        let [.., a, b, c, d] = *self.header;
        u32::from_be_bytes([a, b, c, d])
    }

    /// Contributing sources in the list, 0..=15.
    #[must_use]
    pub fn csrc_count(&self) -> u8 {
        let [first, ..] = *self.header;
        first & 0x0F
    }

    /// The contributing sources.
    pub fn csrcs(&self) -> impl Iterator<Item = u32> + use<'a> {
        let bytes = self.bytes;
        (0..usize::from(self.csrc_count())).filter_map(move |i| {
            u32_at(bytes, FIXED_HEADER_LEN.saturating_add(i.saturating_mul(4)))
        })
    }

    /// Octets before the payload: fixed header, CSRC list and extension.
    #[must_use]
    pub fn header_len(&self) -> usize {
        self.header_len
    }

    /// The octets before the payload: what SRTP authenticates without encrypting.
    #[must_use]
    pub fn header(&self) -> &'a [u8] {
        self.bytes.get(..self.header_len).unwrap_or_default()
    }

    /// The P bit: the last payload octet counts padding octets, once the payload is decrypted.
    #[must_use]
    pub fn has_padding(&self) -> bool {
        let [first, ..] = *self.header;
        first & 0x20 != 0
    }

    /// The header extensions in order, empty when there are none or their profile is unknown.
    #[must_use]
    pub fn extensions(&self) -> Extensions<'a> {
        match self.block {
            Some(block) => Extensions::new(block.profile, block.words),
            None => Extensions::new(0, &[]),
        }
    }

    /// The first extension element with `id`.
    #[must_use]
    pub fn extension(&self, id: u8) -> Option<&'a [u8]> {
        self.extensions()
            .find_map(|(found, element)| (found == id).then_some(element))
    }

    /// Everything after the header. With [`has_padding`](RtpView::has_padding), padding is still inside.
    #[must_use]
    pub fn payload(&self) -> &'a [u8] {
        self.bytes.get(self.header_len..).unwrap_or_default()
    }

    /// The whole packet.
    #[must_use]
    pub fn bytes(&self) -> &'a [u8] {
        self.bytes
    }
}

/// Octets before the payload, for finding the ciphertext before anything is authenticated.
///
/// # Errors
/// The same as [`RtpView::parse`].
pub fn header_len(bytes: &[u8]) -> Result<usize, RtpError> {
    RtpView::parse(bytes).map(|view| view.header_len())
}

/// The payload without its padding (RFC 3550 section 5.1). `payload` is decrypted; an empty result is a
/// padding-only packet, which must not reach a depacketiser.
///
/// # Errors
/// [`RtpError::Padding`] when the count is zero or larger than `payload`, or there is no octet to count.
pub fn strip_padding(payload: &[u8], has_padding: bool) -> Result<&[u8], RtpError> {
    if !has_padding {
        return Ok(payload);
    }
    let count = usize::from(*payload.last().ok_or(RtpError::Padding)?);
    if count == 0 {
        return Err(RtpError::Padding);
    }
    let len = payload.len().checked_sub(count).ok_or(RtpError::Padding)?;
    payload.get(..len).ok_or(RtpError::Padding)
}
