//! The binding messages of ICE, whole.

use std::net::SocketAddr;

use super::{BuildError, Builder, Class, HEADER_LEN, IntegrityKey, Method, TransactionId};

/// Octets of MESSAGE-INTEGRITY and FINGERPRINT, which end every authenticated message.
const SEALS_LEN: usize = 24 + 8;
/// Octets of the longest success response: header, IPv6 XOR-MAPPED-ADDRESS, integrity, fingerprint.
pub const BINDING_SUCCESS_LEN_MAX: usize = HEADER_LEN + 24 + SEALS_LEN;

/// Who nominates (RFC 8445 section 2.3), with the tie-breaker of role conflicts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// Nominates.
    Controlling(u64),
    /// Follows.
    Controlled(u64),
}

/// A connectivity check (RFC 8445 section 7.2.2).
#[derive(Clone, Copy, Debug)]
pub struct BindingRequest<'a> {
    /// Pairs the response.
    pub transaction_id: TransactionId,
    /// The receiver's fragment, a colon, the sender's fragment.
    pub username: &'a str,
    /// Priority a peer-reflexive candidate found by this check would have.
    pub priority: u32,
    /// The sender's role.
    pub role: Role,
    /// Nominate the pair.
    pub use_candidate: bool,
}

/// Writes a connectivity check sealed with the receiver's password; returns its length.
///
/// # Errors
/// [`BuildError::Space`] when `out` is too short, [`BuildError::Value`] for a username above 508 octets.
pub fn write_binding_request(
    out: &mut [u8],
    request: &BindingRequest<'_>,
    key: &IntegrityKey,
) -> Result<usize, BuildError> {
    let id = request.transaction_id;
    let mut builder = Builder::new(out, Class::Request, Method::BINDING, id)?
        .username(request.username)?
        .priority(request.priority)?;
    builder = match request.role {
        Role::Controlling(tie_breaker) => builder.ice_controlling(tie_breaker)?,
        Role::Controlled(tie_breaker) => builder.ice_controlled(tie_breaker)?,
    };
    if request.use_candidate {
        builder = builder.use_candidate()?;
    }
    Ok(builder.integrity(key)?.fingerprint()?.finish())
}

/// Writes the answer to a check that came from `mapped`, sealed with the answerer's password; returns its
/// length, at most [`BINDING_SUCCESS_LEN_MAX`].
///
/// # Errors
/// [`BuildError::Space`] when `out` is too short.
pub fn write_binding_success(
    out: &mut [u8],
    transaction_id: TransactionId,
    mapped: SocketAddr,
    key: &IntegrityKey,
) -> Result<usize, BuildError> {
    let builder = Builder::new(out, Class::Success, Method::BINDING, transaction_id)?
        .xor_mapped_address(mapped)?
        .integrity(key)?
        .fingerprint()?;
    Ok(builder.finish())
}

/// Writes an error response with `code`; returns its length. Without a key it is not sealed: that is for
/// errors found before the sender is known (400, 401).
///
/// # Errors
/// [`BuildError::Space`] when `out` is too short, [`BuildError::Value`] for a code outside 300..=699.
pub fn write_error(
    out: &mut [u8],
    method: Method,
    transaction_id: TransactionId,
    code: u16,
    key: Option<&IntegrityKey>,
) -> Result<usize, BuildError> {
    let builder = Builder::new(out, Class::Error, method, transaction_id)?.error_code(code)?;
    seal(builder, key)
}

/// Writes 487 Role Conflict (RFC 8445 section 7.3.1.1); returns its length.
///
/// # Errors
/// [`BuildError::Space`] when `out` is too short.
pub fn write_role_conflict(
    out: &mut [u8],
    transaction_id: TransactionId,
    key: &IntegrityKey,
) -> Result<usize, BuildError> {
    write_error(out, Method::BINDING, transaction_id, 487, Some(key))
}

/// Writes 420 Unknown Attribute (RFC 8489 section 6.3.1) naming as many of `types` as `out` has room for;
/// returns its length. `out` no longer than the request keeps the answer from amplifying.
///
/// # Errors
/// [`BuildError::Space`] when `out` is too short for an answer that names none.
pub fn write_unknown_attributes(
    out: &mut [u8],
    method: Method,
    transaction_id: TransactionId,
    types: impl Iterator<Item = u16>,
    key: Option<&IntegrityKey>,
) -> Result<usize, BuildError> {
    let reserve = if key.is_some() { SEALS_LEN } else { 8 };
    let builder = Builder::new(out, Class::Error, method, transaction_id)?
        .error_code(420)?
        .unknown_attributes(types, reserve)?;
    seal(builder, key)
}

/// Writes a binding indication, which keeps a path's bindings alive; returns its length.
///
/// # Errors
/// [`BuildError::Space`] when `out` is too short.
pub fn write_binding_indication(
    out: &mut [u8],
    transaction_id: TransactionId,
) -> Result<usize, BuildError> {
    let builder = Builder::new(out, Class::Indication, Method::BINDING, transaction_id)?;
    Ok(builder.fingerprint()?.finish())
}

fn seal(mut builder: Builder<'_>, key: Option<&IntegrityKey>) -> Result<usize, BuildError> {
    if let Some(key) = key {
        builder = builder.integrity(key)?;
    }
    Ok(builder.fingerprint()?.finish())
}
