//! Attributes: type, length, value, padding (RFC 8489 section 14).

use crate::bytes::{padded, u16_at};

/// Attribute types.
pub mod attribute_type {
    /// RFC 8489 section 14.1.
    pub const MAPPED_ADDRESS: u16 = 0x0001;
    /// RFC 8489 section 14.3.
    pub const USERNAME: u16 = 0x0006;
    /// RFC 8489 section 14.5.
    pub const MESSAGE_INTEGRITY: u16 = 0x0008;
    /// RFC 8489 section 14.8.
    pub const ERROR_CODE: u16 = 0x0009;
    /// RFC 8489 section 14.13.
    pub const UNKNOWN_ATTRIBUTES: u16 = 0x000A;
    /// RFC 8656 section 18.1.
    pub const CHANNEL_NUMBER: u16 = 0x000C;
    /// RFC 8656 section 18.2.
    pub const LIFETIME: u16 = 0x000D;
    /// RFC 8656 section 18.3.
    pub const XOR_PEER_ADDRESS: u16 = 0x0012;
    /// RFC 8656 section 18.4.
    pub const DATA: u16 = 0x0013;
    /// RFC 8489 section 14.9.
    pub const REALM: u16 = 0x0014;
    /// RFC 8489 section 14.10.
    pub const NONCE: u16 = 0x0015;
    /// RFC 8656 section 18.5.
    pub const XOR_RELAYED_ADDRESS: u16 = 0x0016;
    /// RFC 8656 section 18.6.
    pub const REQUESTED_ADDRESS_FAMILY: u16 = 0x0017;
    /// RFC 8656 section 18.7.
    pub const EVEN_PORT: u16 = 0x0018;
    /// RFC 8656 section 18.8.
    pub const REQUESTED_TRANSPORT: u16 = 0x0019;
    /// RFC 8656 section 18.9.
    pub const DONT_FRAGMENT: u16 = 0x001A;
    /// RFC 8489 section 14.6.
    pub const MESSAGE_INTEGRITY_SHA256: u16 = 0x001C;
    /// RFC 8489 section 14.12.
    pub const PASSWORD_ALGORITHM: u16 = 0x001D;
    /// RFC 8489 section 14.4.
    pub const USERHASH: u16 = 0x001E;
    /// RFC 8489 section 14.2.
    pub const XOR_MAPPED_ADDRESS: u16 = 0x0020;
    /// RFC 8656 section 18.10.
    pub const RESERVATION_TOKEN: u16 = 0x0022;
    /// RFC 8445 section 16.1.
    pub const PRIORITY: u16 = 0x0024;
    /// RFC 8445 section 16.1.
    pub const USE_CANDIDATE: u16 = 0x0025;
    /// RFC 8489 section 14.11.
    pub const PASSWORD_ALGORITHMS: u16 = 0x8002;
    /// RFC 8489 section 14.14.
    pub const SOFTWARE: u16 = 0x8022;
    /// RFC 8489 section 14.7.
    pub const FINGERPRINT: u16 = 0x8028;
    /// RFC 8445 section 16.1.
    pub const ICE_CONTROLLED: u16 = 0x8029;
    /// RFC 8445 section 16.1.
    pub const ICE_CONTROLLING: u16 = 0x802A;
}

/// Types below this must be understood by who receives them (RFC 8489 section 14).
const COMPREHENSION_OPTIONAL: u16 = 0x8000;

/// One attribute.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Attribute<'a> {
    /// Its type.
    pub kind: u16,
    /// Its value, without padding.
    pub value: &'a [u8],
}

impl Attribute<'_> {
    /// A receiver that does not know the type must refuse the request with 420.
    #[must_use]
    pub fn is_comprehension_required(&self) -> bool {
        self.kind < COMPREHENSION_OPTIONAL
    }
}

/// Walks attributes, telling where each begins.
#[derive(Clone, Debug)]
pub(super) struct Walk<'a> {
    bytes: &'a [u8],
    at: usize,
}

/// An attribute that runs past the end of the message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Overrun;

impl<'a> Walk<'a> {
    /// Walks `bytes`, a whole message, from octet `at` on.
    pub(super) fn new(bytes: &'a [u8], at: usize) -> Walk<'a> {
        Walk { bytes, at }
    }
}

impl<'a> Iterator for Walk<'a> {
    /// The octet of the message where the attribute begins, and the attribute.
    type Item = Result<(usize, Attribute<'a>), Overrun>;

    fn next(&mut self) -> Option<Result<(usize, Attribute<'a>), Overrun>> {
        if self.at >= self.bytes.len() {
            return None;
        }
        let begin = self.at;
        let found = (|| {
            let kind = u16_at(self.bytes, begin)?;
            let len = usize::from(u16_at(self.bytes, begin.checked_add(2)?)?);
            let value_at = begin.checked_add(4)?;
            // The padding counts as part of the message (section 14), so it has to be there too.
            let end = value_at.checked_add(padded(len))?;
            let value = self.bytes.get(value_at..end)?.get(..len)?;
            self.at = end;
            Some((begin, Attribute { kind, value }))
        })();
        if found.is_none() {
            self.at = self.bytes.len();
        }
        Some(found.ok_or(Overrun))
    }
}
