//! Writing a message, attribute by attribute, into the caller's bytes.

use std::fmt;
use std::net::SocketAddr;

use super::address::XorAddress;
use super::attribute::attribute_type as kind;
use super::{
    Class, HEADER_LEN, IntegrityKey, MAGIC_COOKIE, Method, TransactionId, USERNAME_LEN_MAX,
    fingerprint, pack_type,
};
use crate::bytes::padded;

/// Why a message could not be written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BuildError {
    /// The output slice is too short.
    Space,
    /// A value does not fit its attribute.
    Value,
}

impl fmt::Display for BuildError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            BuildError::Space => "the output slice is too short",
            BuildError::Value => "a value does not fit its attribute",
        })
    }
}

impl std::error::Error for BuildError {}

/// A message being written. The length field is right after every attribute, so that integrity and
/// fingerprint cover what the receiver sees.
#[derive(Debug)]
pub struct Builder<'a> {
    out: &'a mut [u8],
    at: usize,
    transaction_id: TransactionId,
}

impl<'a> Builder<'a> {
    /// Writes the header at the beginning of `out`.
    ///
    /// # Errors
    /// [`BuildError::Space`] when `out` has fewer than 20 octets.
    pub fn new(
        out: &'a mut [u8],
        class: Class,
        method: Method,
        transaction_id: TransactionId,
    ) -> Result<Builder<'a>, BuildError> {
        let mut builder = Builder {
            out,
            at: 0,
            transaction_id,
        };
        builder.append(&pack_type(class, method).to_be_bytes())?;
        builder.append(&[0, 0])?;
        builder.append(&MAGIC_COOKIE.to_be_bytes())?;
        builder.append(&transaction_id.0)?;
        Ok(builder)
    }

    /// Octets written.
    #[must_use]
    pub fn len(&self) -> usize {
        self.at
    }

    /// Nothing but the header is written.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.at == HEADER_LEN
    }

    /// Octets left in the output.
    #[must_use]
    pub fn room(&self) -> usize {
        self.out.len().saturating_sub(self.at)
    }

    /// Appends an attribute with its padding.
    ///
    /// # Errors
    /// [`BuildError::Space`] when it does not fit.
    pub fn attribute(mut self, kind: u16, value: &[u8]) -> Result<Builder<'a>, BuildError> {
        let len = u16::try_from(value.len()).map_err(|_| BuildError::Value)?;
        let [k0, k1] = kind.to_be_bytes();
        let [l0, l1] = len.to_be_bytes();
        self.append(&[k0, k1, l0, l1])?;
        self.append(value)?;
        let fill = padded(value.len()).saturating_sub(value.len());
        self.append([0_u8; 3].get(..fill).unwrap_or_default())?;
        self.set_length(self.at)?;
        Ok(self)
    }

    /// USERNAME.
    ///
    /// # Errors
    /// [`BuildError::Value`] above 508 octets, [`BuildError::Space`] when it does not fit.
    pub fn username(self, username: &str) -> Result<Builder<'a>, BuildError> {
        if username.len() > USERNAME_LEN_MAX {
            return Err(BuildError::Value);
        }
        self.attribute(kind::USERNAME, username.as_bytes())
    }

    /// PRIORITY.
    ///
    /// # Errors
    /// [`BuildError::Space`] when it does not fit.
    pub fn priority(self, priority: u32) -> Result<Builder<'a>, BuildError> {
        self.attribute(kind::PRIORITY, &priority.to_be_bytes())
    }

    /// USE-CANDIDATE.
    ///
    /// # Errors
    /// [`BuildError::Space`] when it does not fit.
    pub fn use_candidate(self) -> Result<Builder<'a>, BuildError> {
        self.attribute(kind::USE_CANDIDATE, &[])
    }

    /// ICE-CONTROLLING with its tie-breaker.
    ///
    /// # Errors
    /// [`BuildError::Space`] when it does not fit.
    pub fn ice_controlling(self, tie_breaker: u64) -> Result<Builder<'a>, BuildError> {
        self.attribute(kind::ICE_CONTROLLING, &tie_breaker.to_be_bytes())
    }

    /// ICE-CONTROLLED with its tie-breaker.
    ///
    /// # Errors
    /// [`BuildError::Space`] when it does not fit.
    pub fn ice_controlled(self, tie_breaker: u64) -> Result<Builder<'a>, BuildError> {
        self.attribute(kind::ICE_CONTROLLED, &tie_breaker.to_be_bytes())
    }

    /// An XOR-encoded address of type `kind`.
    ///
    /// # Errors
    /// [`BuildError::Space`] when it does not fit.
    pub fn xor_address(self, kind: u16, address: SocketAddr) -> Result<Builder<'a>, BuildError> {
        let value = XorAddress::new(address, self.transaction_id);
        self.attribute(kind, value.as_slice())
    }

    /// XOR-MAPPED-ADDRESS.
    ///
    /// # Errors
    /// [`BuildError::Space`] when it does not fit.
    pub fn xor_mapped_address(self, address: SocketAddr) -> Result<Builder<'a>, BuildError> {
        self.xor_address(kind::XOR_MAPPED_ADDRESS, address)
    }

    /// ERROR-CODE with an empty reason phrase, so that a refusal is not larger than what it refuses.
    ///
    /// # Errors
    /// [`BuildError::Value`] for a code outside 300..=699, [`BuildError::Space`] when it does not fit.
    pub fn error_code(self, code: u16) -> Result<Builder<'a>, BuildError> {
        if !(300..=699).contains(&code) {
            return Err(BuildError::Value);
        }
        let class = u8::try_from(code / 100).map_err(|_| BuildError::Value)?;
        let number = u8::try_from(code % 100).map_err(|_| BuildError::Value)?;
        self.attribute(kind::ERROR_CODE, &[0, 0, class, number])
    }

    /// UNKNOWN-ATTRIBUTES (RFC 8489 section 14.13) with as many of `types` as leave `reserve` octets of the
    /// output free for what follows.
    ///
    /// # Errors
    /// [`BuildError::Space`] when not even an empty list fits.
    pub fn unknown_attributes(
        mut self,
        types: impl Iterator<Item = u16>,
        reserve: usize,
    ) -> Result<Builder<'a>, BuildError> {
        let begin = self.at;
        self = self.attribute(kind::UNKNOWN_ATTRIBUTES, &[])?;
        let values_at = self.at;
        // Whole words only: the padding of an odd list has to fit too.
        let room = self.room().saturating_sub(reserve) & !3;
        for listed in types.take(room / 2) {
            self.append(&listed.to_be_bytes())?;
        }
        let len =
            u16::try_from(self.at.saturating_sub(values_at)).map_err(|_| BuildError::Value)?;
        self.put(begin.saturating_add(2), &len.to_be_bytes())?;
        if !len.is_multiple_of(4) {
            self.append(&[0, 0])?;
        }
        self.set_length(self.at)?;
        Ok(self)
    }

    /// MESSAGE-INTEGRITY over everything so far.
    ///
    /// # Errors
    /// [`BuildError::Space`] when it does not fit.
    pub fn integrity(self, key: &IntegrityKey) -> Result<Builder<'a>, BuildError> {
        let written = self.out.get(..self.at).ok_or(BuildError::Space)?;
        let tag = key.sha1(written, self.at).ok_or(BuildError::Value)?;
        self.attribute(kind::MESSAGE_INTEGRITY, tag.as_ref())
    }

    /// FINGERPRINT over everything so far; nothing may follow it.
    ///
    /// # Errors
    /// [`BuildError::Space`] when it does not fit.
    pub fn fingerprint(mut self) -> Result<Builder<'a>, BuildError> {
        // The covered length field already counts the attribute: header of four octets and value.
        let end = self.at.saturating_add(4).saturating_add(fingerprint::LEN);
        self.set_length(end)?;
        let covered = self.out.get(..self.at).ok_or(BuildError::Space)?;
        let value = fingerprint::fingerprint(covered);
        self.attribute(kind::FINGERPRINT, &value.to_be_bytes())
    }

    /// The message's length in octets.
    #[must_use]
    pub fn finish(self) -> usize {
        self.at
    }

    fn set_length(&mut self, end: usize) -> Result<(), BuildError> {
        let length =
            u16::try_from(end.saturating_sub(HEADER_LEN)).map_err(|_| BuildError::Value)?;
        self.put(2, &length.to_be_bytes())
    }

    fn put(&mut self, at: usize, bytes: &[u8]) -> Result<(), BuildError> {
        let end = at.checked_add(bytes.len()).ok_or(BuildError::Space)?;
        self.out
            .get_mut(at..end)
            .ok_or(BuildError::Space)?
            .copy_from_slice(bytes);
        Ok(())
    }

    fn append(&mut self, bytes: &[u8]) -> Result<(), BuildError> {
        self.put(self.at, bytes)?;
        self.at = self.at.saturating_add(bytes.len());
        Ok(())
    }
}
