//! What a request presents to prove who it is from: a room token or a stream key, one set of claims for both.

use super::keys::Keys;
use super::stream_key::StreamKeys;
use super::token::{RoomClaims, VerifyError};
use crate::rooms::{Kind, MAIN, StreamPath};

/// Why a bearer is not accepted.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BearerError {
    /// It proves nothing, or no longer, or not here.
    #[error(transparent)]
    Verify(#[from] VerifyError),
    /// It is a stream key, and this is not the publishing of its room's `main`.
    #[error("a stream key publishes `main` of its room by WHIP and opens nothing else")]
    OnlyMain,
}

/// Who asks for a new session at `path`. A stream key may not watch by its grants, and publishes no other
/// stream than `main`.
///
/// # Errors
/// [`BearerError`].
pub fn claims_for_join(
    keys: &Keys,
    token: &str,
    path: &StreamPath,
) -> Result<RoomClaims, BearerError> {
    if !StreamKeys::is_one(token) {
        return Ok(keys.verify_room(token)?);
    }
    let claims = keys.stream_keys().claims(token)?;
    // Another room is the caller's to refuse, as it is with any token.
    if path.name == MAIN || !claims.opens(&path.room) {
        Ok(claims)
    } else {
        Err(BearerError::OnlyMain)
    }
}

/// Who acts on a session that runs: an expired token still counts, and a stream key acts on publishers of
/// `main` alone, though its owner may have other sessions.
///
/// # Errors
/// [`BearerError`], but never [`VerifyError::Expired`].
pub fn claims_of_session(
    keys: &Keys,
    token: &str,
    kind: Kind,
    path: &StreamPath,
) -> Result<RoomClaims, BearerError> {
    if !StreamKeys::is_one(token) {
        return Ok(keys.verify_room_of_session(token)?);
    }
    let claims = keys.stream_keys().claims(token)?;
    let own = kind == Kind::Whip && path.name == MAIN;
    if own || !claims.opens(&path.room) {
        Ok(claims)
    } else {
        Err(BearerError::OnlyMain)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::auth::stream_key::{Existing, make};

    fn path(room: &str, name: &str) -> StreamPath {
        StreamPath {
            room: room.to_owned(),
            name: name.to_owned(),
        }
    }

    #[test]
    fn a_stream_key_is_good_for_main_of_its_room_by_whip() {
        let dir = tempfile::tempdir().unwrap();
        let keys = Keys::load_or_create(dir.path()).unwrap();
        let key = make(dir.path(), "math-7", Some("u-17"), Existing::Keep)
            .unwrap()
            .key;
        let join = |path: StreamPath| claims_for_join(&keys, &key, &path).map(|claims| claims.sub);
        assert_eq!(join(path("math-7", "main")), Ok("u-17".to_owned()));
        assert_eq!(join(path("math-7", "second")), Err(BearerError::OnlyMain));
        // kind, stream, accepted
        let table = [
            (Kind::Whip, "main", true),
            (Kind::Whip, "second", false),
            (Kind::Whep, "main", false),
        ];
        for (kind, name, accepted) in table {
            let found = claims_of_session(&keys, &key, kind, &path("math-7", name));
            assert_eq!(found.is_ok(), accepted, "{kind:?} {name}");
        }
        let strange = claims_for_join(&keys, "lsk_AAAAAAAAAAAAAAAAAAAAAA", &path("math-7", "main"));
        assert!(matches!(strange, Err(BearerError::Verify(_))));
    }
}
