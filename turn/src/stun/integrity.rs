//! MESSAGE-INTEGRITY and MESSAGE-INTEGRITY-SHA256 (RFC 8489 sections 14.5 and 14.6).

use std::fmt;

use aws_lc_rs::hmac;
use subtle::ConstantTimeEq;

use super::HEADER_LEN;
use crate::bytes::{array_at, padded};

/// Octets of an HMAC-SHA1 (RFC 8489 section 14.5).
pub(super) const SHA1_LEN: usize = 20;
/// Octets of an untruncated HMAC-SHA256 (RFC 8489 section 14.6).
pub(super) const SHA256_LEN: usize = 32;
/// The shortest truncation of it (RFC 8489 section 14.6).
pub(super) const SHA256_LEN_MIN: usize = 16;

/// A key with its HMAC states computed once, so that a check costs no key schedule.
#[derive(Clone)]
pub struct IntegrityKey {
    sha1: hmac::Key,
    sha256: hmac::Key,
}

impl fmt::Debug for IntegrityKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("IntegrityKey(..)")
    }
}

impl IntegrityKey {
    /// `key` is the password itself for short-term credentials, as ICE uses them (RFC 8489 section 9.1.1), or
    /// the hash of username, realm and password for long-term ones (section 9.2.2).
    #[must_use]
    pub fn new(key: &[u8]) -> IntegrityKey {
        IntegrityKey {
            sha1: hmac::Key::new(hmac::HMAC_SHA1_FOR_LEGACY_USE_ONLY, key),
            sha256: hmac::Key::new(hmac::HMAC_SHA256, key),
        }
    }

    /// HMAC-SHA1 of `message` up to octet `at`, where the attribute begins.
    pub(super) fn sha1(&self, message: &[u8], at: usize) -> Option<hmac::Tag> {
        tag(&self.sha1, message, at, SHA1_LEN)
    }

    /// `value` is the HMAC-SHA1 of `message` up to octet `at`; constant time in the value.
    pub(super) fn verify_sha1(&self, message: &[u8], at: usize, value: &[u8]) -> bool {
        let Some(tag) = self.sha1(message, at) else {
            return false;
        };
        tag.as_ref().ct_eq(value).into()
    }

    /// `value` is the HMAC-SHA256 of `message` up to octet `at`, or a truncation of at least 16 octets.
    pub(super) fn verify_sha256(&self, message: &[u8], at: usize, value: &[u8]) -> bool {
        if value.len() < SHA256_LEN_MIN {
            return false;
        }
        let Some(tag) = tag(&self.sha256, message, at, value.len()) else {
            return false;
        };
        let Some(expected) = tag.as_ref().get(..value.len()) else {
            return false;
        };
        expected.ct_eq(value).into()
    }
}

/// The HMAC covers the message up to the attribute, its length field ending with the attribute, whatever
/// follows it (RFC 8489 section 14.5).
fn tag(key: &hmac::Key, message: &[u8], at: usize, value_len: usize) -> Option<hmac::Tag> {
    let message_type: [u8; 2] = array_at(message, 0)?;
    let covered = message.get(4..at)?;
    let end = at.checked_add(4)?.checked_add(padded(value_len))?;
    let length = u16::try_from(end.checked_sub(HEADER_LEN)?).ok()?;
    let mut context = hmac::Context::with_key(key);
    context.update(&message_type);
    context.update(&length.to_be_bytes());
    context.update(covered);
    Some(context.sign())
}
