//! One message read in place.

use std::fmt;
use std::net::SocketAddr;

use super::address::read_xor;
use super::attribute::{Attribute, Walk, attribute_type as kind};
use super::integrity::{SHA1_LEN, SHA256_LEN, SHA256_LEN_MIN};
use super::{
    Class, HEADER_LEN, IntegrityKey, MAGIC_COOKIE, Method, TransactionId, USERNAME_LEN_MAX,
    fingerprint, unpack_type,
};
use crate::bytes::exact;

/// Why bytes are not a STUN message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StunError {
    /// Fewer than 20 octets.
    TooShort,
    /// The first two bits are not zero, or the magic cookie is missing.
    NotStun,
    /// The length field is not a multiple of four, or not the length of the datagram.
    Length,
    /// An attribute runs past the end.
    Attribute,
    /// An integrity attribute of a forbidden length.
    Integrity,
    /// A fingerprint of a wrong length, or something after it.
    Fingerprint,
}

impl fmt::Display for StunError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            StunError::TooShort => "fewer than 20 octets",
            StunError::NotStun => "no STUN header",
            StunError::Length => "the length field does not match the datagram",
            StunError::Attribute => "an attribute runs past the end",
            StunError::Integrity => "an integrity attribute of a forbidden length",
            StunError::Fingerprint => "the fingerprint is malformed or not last",
        })
    }
}

impl std::error::Error for StunError {}

/// A value of a security attribute and the octet where the attribute begins.
#[derive(Clone, Copy, Debug)]
struct Sealed<'a> {
    at: usize,
    value: &'a [u8],
}

/// A well-framed message. Of several attributes of one type the first counts (RFC 8489 section 14); those
/// after an integrity attribute do not exist, except a stronger integrity attribute and the fingerprint
/// (sections 14.5 and 14.6).
#[derive(Clone, Copy, Debug)]
pub struct Message<'a> {
    bytes: &'a [u8],
    class: Class,
    method: Method,
    transaction_id: TransactionId,
    /// Attributes end here: at the first integrity attribute, the fingerprint, or the end.
    attributes_end: usize,
    sha1: Option<Sealed<'a>>,
    sha256: Option<Sealed<'a>>,
    fingerprint: Option<Sealed<'a>>,
}

impl<'a> Message<'a> {
    /// Reads a datagram that holds one message and nothing else.
    ///
    /// # Errors
    /// [`StunError`] when header, length or an attribute's bounds are wrong. Values of attributes are judged
    /// by their accessors.
    pub fn parse(bytes: &'a [u8]) -> Result<Message<'a>, StunError> {
        let (header, _) = bytes
            .split_first_chunk::<HEADER_LEN>()
            .ok_or(StunError::TooShort)?;
        let [t0, t1, l0, l1, c0, c1, c2, c3, id @ ..] = *header;
        let message_type = u16::from_be_bytes([t0, t1]);
        if message_type & 0xC000 != 0 || u32::from_be_bytes([c0, c1, c2, c3]) != MAGIC_COOKIE {
            return Err(StunError::NotStun);
        }
        let length = usize::from(u16::from_be_bytes([l0, l1]));
        if !length.is_multiple_of(4) || bytes.len().checked_sub(HEADER_LEN) != Some(length) {
            return Err(StunError::Length);
        }
        let (class, method) = unpack_type(message_type);
        let mut message = Message {
            bytes,
            class,
            method,
            transaction_id: TransactionId(id),
            attributes_end: bytes.len(),
            sha1: None,
            sha256: None,
            fingerprint: None,
        };
        message.find_seals()?;
        Ok(message)
    }

    /// Walks all attributes once and notes the security attributes that count.
    fn find_seals(&mut self) -> Result<(), StunError> {
        for step in Walk::new(self.bytes, HEADER_LEN) {
            let (at, Attribute { kind: found, value }) = step.map_err(|_| StunError::Attribute)?;
            if self.fingerprint.is_some() {
                return Err(StunError::Fingerprint);
            }
            let sealed = Some(Sealed { at, value });
            match found {
                kind::MESSAGE_INTEGRITY => {
                    if value.len() != SHA1_LEN {
                        return Err(StunError::Integrity);
                    }
                    if self.sha1.is_none() && self.sha256.is_none() {
                        self.sha1 = sealed;
                    }
                }
                kind::MESSAGE_INTEGRITY_SHA256 => {
                    let allowed = (SHA256_LEN_MIN..=SHA256_LEN).contains(&value.len())
                        && value.len().is_multiple_of(4);
                    if !allowed {
                        return Err(StunError::Integrity);
                    }
                    if self.sha256.is_none() {
                        self.sha256 = sealed;
                    }
                }
                kind::FINGERPRINT => {
                    if value.len() != fingerprint::LEN {
                        return Err(StunError::Fingerprint);
                    }
                    self.fingerprint = sealed;
                }
                _ => continue,
            }
            self.attributes_end = self.attributes_end.min(at);
        }
        Ok(())
    }

    /// Request, indication, success or error.
    #[must_use]
    pub fn class(&self) -> Class {
        self.class
    }

    /// What it is about.
    #[must_use]
    pub fn method(&self) -> Method {
        self.method
    }

    /// What pairs response and request.
    #[must_use]
    pub fn transaction_id(&self) -> TransactionId {
        self.transaction_id
    }

    /// The whole message.
    #[must_use]
    pub fn bytes(&self) -> &'a [u8] {
        self.bytes
    }

    /// The attributes that count, in order, without the integrity attributes and the fingerprint.
    pub fn attributes(&self) -> impl Iterator<Item = Attribute<'a>> + use<'a> {
        let end = self.attributes_end;
        Walk::new(self.bytes, HEADER_LEN)
            .map_while(Result::ok)
            .take_while(move |(at, _)| *at < end)
            .map(|(_, attribute)| attribute)
    }

    /// The value of the first attribute of type `kind`, see [`super::attribute_type`].
    #[must_use]
    pub fn attribute(&self, kind: u16) -> Option<&'a [u8]> {
        self.attributes()
            .find(|attribute| attribute.kind == kind)
            .map(|attribute| attribute.value)
    }

    /// USERNAME. `None` when there is none, or it is longer than 508 octets or not UTF-8.
    #[must_use]
    pub fn username(&self) -> Option<&'a str> {
        let value = self.attribute(kind::USERNAME)?;
        if value.len() > USERNAME_LEN_MAX {
            return None;
        }
        std::str::from_utf8(value).ok()
    }

    /// The username of a connectivity check, cut at its first colon: the receiver's fragment, then the
    /// sender's (RFC 8445 section 7.2.2). `None` without a colon.
    #[must_use]
    pub fn username_fragments(&self) -> Option<(&'a str, &'a str)> {
        self.username()?.split_once(':')
    }

    /// PRIORITY (RFC 8445 section 7.1.1).
    #[must_use]
    pub fn priority(&self) -> Option<u32> {
        exact(self.attribute(kind::PRIORITY)?).map(u32::from_be_bytes)
    }

    /// USE-CANDIDATE is there (RFC 8445 section 7.1.2).
    #[must_use]
    pub fn use_candidate(&self) -> bool {
        self.attribute(kind::USE_CANDIDATE).is_some()
    }

    /// The tie-breaker of ICE-CONTROLLING (RFC 8445 section 7.1.3).
    #[must_use]
    pub fn ice_controlling(&self) -> Option<u64> {
        exact(self.attribute(kind::ICE_CONTROLLING)?).map(u64::from_be_bytes)
    }

    /// The tie-breaker of ICE-CONTROLLED (RFC 8445 section 7.1.3).
    #[must_use]
    pub fn ice_controlled(&self) -> Option<u64> {
        exact(self.attribute(kind::ICE_CONTROLLED)?).map(u64::from_be_bytes)
    }

    /// XOR-MAPPED-ADDRESS. `None` when there is none or it is malformed.
    #[must_use]
    pub fn xor_mapped_address(&self) -> Option<SocketAddr> {
        self.xor_address(kind::XOR_MAPPED_ADDRESS)
    }

    /// The XOR-encoded address of type `kind`. `None` when there is none, its family is unknown, or its
    /// length does not match its family.
    #[must_use]
    pub fn xor_address(&self, kind: u16) -> Option<SocketAddr> {
        read_xor(self.attribute(kind)?, self.transaction_id)
    }

    /// The code of ERROR-CODE, 300..=699. `None` when there is none or its class or number is out of range
    /// (RFC 8489 section 14.8).
    #[must_use]
    pub fn error_code(&self) -> Option<u16> {
        let ([_, _, class, number], _reason) =
            self.attribute(kind::ERROR_CODE)?.split_first_chunk()?;
        let class = class & 0x07;
        if !(3..=6).contains(&class) || *number > 99 {
            return None;
        }
        let hundreds = u16::from(class).checked_mul(100)?;
        hundreds.checked_add(u16::from(*number))
    }

    /// Types that must be understood and are not in `known` (RFC 8489 section 6.3.1), in order. A type may
    /// repeat when the message repeats it.
    pub fn unknown_required<'k>(
        &self,
        known: &'k [u16],
    ) -> impl Iterator<Item = u16> + use<'a, 'k> {
        self.attributes()
            .filter(|attribute| attribute.is_comprehension_required())
            .map(|attribute| attribute.kind)
            .filter(move |kind| !known.contains(kind))
    }

    /// An integrity attribute is there; whether it is right says [`verify_integrity`](Message::verify_integrity).
    #[must_use]
    pub fn has_integrity(&self) -> bool {
        self.sha1.is_some() || self.sha256.is_some()
    }

    /// An integrity attribute is there and right for `key`. Of two the stronger is judged (RFC 8489 section
    /// 9.1.3). Constant time in the value.
    #[must_use]
    pub fn verify_integrity(&self, key: &IntegrityKey) -> bool {
        match (self.sha256, self.sha1) {
            (Some(Sealed { at, value }), _) => key.verify_sha256(self.bytes, at, value),
            (None, Some(Sealed { at, value })) => key.verify_sha1(self.bytes, at, value),
            (None, None) => false,
        }
    }

    /// A fingerprint is there.
    #[must_use]
    pub fn has_fingerprint(&self) -> bool {
        self.fingerprint.is_some()
    }

    /// A fingerprint is there and right.
    #[must_use]
    pub fn verify_fingerprint(&self) -> bool {
        let Some(Sealed { at, value }) = self.fingerprint else {
            return false;
        };
        // The fingerprint is the last attribute, so the length field counts it as it stands.
        let covered = self.bytes.get(..at).unwrap_or_default();
        fingerprint::fingerprint(covered).to_be_bytes() == value
    }
}
