//! Room tokens: JWTs of type `room` (`Keys::verify_room`, `Keys::mint_room`).
//!
//! ```text
//! header  {"alg":"HS256","typ":"JWT","kid":"k-1f0c..."}
//! claims  {"iss":"k-1f0c...","aud":"lectern","sub":"u-17","name":"Ada","role":"student",
//!          "iat":1795000000,"exp":1795003600,"typ":"room","video":{"room":"math-7",...}}
//! ```
//! What RFC 8725 asks for: the algorithm is the key's, never the token's (section 3.1); the issuer is the
//! key (3.8), the audience is ours (3.9), the type is explicit (3.11); `exp` is required and near.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use jsonwebtoken::{Header, Validation};
use serde::{Deserialize, Deserializer, Serialize};

use super::permission::{Rights, Role, VideoGrant};

pub use super::keys::Keys;

/// Longest token that is looked at, bytes. A token with every grant is about 600.
pub const TOKEN_BYTES_MAX: usize = 4096;

/// Longest identity (`sub`), bytes.
pub const SUB_BYTES_MAX: usize = 128;

/// Longest name of a person, bytes.
pub const NAME_BYTES_MAX: usize = 256;

/// Longest life of a token, `exp - iat`, seconds: a school day.
pub const LIFETIME_S_MAX: u64 = 6 * 3600;

/// How far the issuer's clock may be from ours, seconds.
pub const LEEWAY_S: u64 = 30;

/// Longest name of a room, bytes.
pub const ROOM_BYTES_MAX: usize = 64;

const TYPE_ROOM: &str = "room";

/// The claims of a room token.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RoomClaims {
    /// The key's `kid`.
    pub iss: String,
    /// The deployment.
    #[serde(deserialize_with = "audience")]
    pub aud: String,
    /// The identity: who this is to the platform. Any UTF-8 of 1 to [`SUB_BYTES_MAX`] bytes.
    pub sub: String,
    /// The name to show.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// The role; `viewer` when absent.
    #[serde(default)]
    pub role: Role,
    /// When the token was made, Unix seconds.
    #[serde(deserialize_with = "numeric_date")]
    pub iat: u64,
    /// When it ends, Unix seconds. Ends no connection that runs.
    #[serde(deserialize_with = "numeric_date")]
    pub exp: u64,
    /// Not before, Unix seconds.
    #[serde(
        default,
        deserialize_with = "numeric_date_option",
        skip_serializing_if = "Option::is_none"
    )]
    pub nbf: Option<u64>,
    /// `room`.
    pub typ: String,
    /// The grants.
    #[serde(default)]
    pub video: VideoGrant,
}

impl RoomClaims {
    /// Claims for `sub` in `room` that live `ttl` from `now`; [`Keys::mint_room`] fills in `iss` and `aud`.
    #[must_use]
    pub fn new(
        sub: impl Into<String>,
        role: Role,
        video: VideoGrant,
        now: SystemTime,
        ttl: Duration,
    ) -> RoomClaims {
        let iat = unix_s(now);
        RoomClaims {
            iss: String::new(),
            aud: String::new(),
            sub: sub.into(),
            name: None,
            role,
            iat,
            exp: iat.saturating_add(ttl.as_secs()),
            nbf: None,
            typ: TYPE_ROOM.to_owned(),
            video,
        }
    }

    /// What the token allows, after the role's defaults.
    #[must_use]
    pub fn rights(&self) -> Rights {
        Rights::new(self.role, &self.video)
    }

    /// Whether the token opens `room`: its own, or every room for an admin whose token names none.
    #[must_use]
    pub fn opens(&self, room: &str) -> bool {
        match &self.video.room {
            Some(own) => own == room,
            None => self.role == Role::Admin,
        }
    }
}

/// Why a token is not accepted.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum VerifyError {
    /// It proves nothing: forged, malformed, of an unknown key. The reason is for the log and for tests;
    /// the answer to a client is the same for all.
    #[error("not a valid room token: {0}")]
    Invalid(&'static str),
    /// It is ours and its time is over.
    #[error("the token has expired")]
    Expired,
    /// It is signed by one of our keys for another deployment.
    #[error("the token is not for `{expected}`")]
    Audience {
        /// The `aud` of this deployment.
        expected: String,
    },
}

/// Why no token was made.
#[derive(Debug, thiserror::Error)]
pub enum MintError {
    /// `keys.json` holds no active HS256 key.
    #[error("no active HS256 key in keys.json: add one with `\"state\": \"active\"`")]
    NoActiveKey,
    /// The claims break a rule that a verifier would refuse.
    #[error("such a token would be refused: {0}")]
    Claims(&'static str),
    /// The signature failed.
    #[error("cannot sign: {0}")]
    Sign(#[from] jsonwebtoken::errors::Error),
}

/// Whether an expired token counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Expiry {
    Enforced,
    Ignored,
}

impl Keys {
    /// Verifies a room token that opens something new (a POST, a join).
    ///
    /// # Errors
    /// [`VerifyError`]; [`VerifyError::Expired`] and [`VerifyError::Audience`] only after the signature
    /// proved that the token is ours.
    pub fn verify_room(&self, token: &str) -> Result<RoomClaims, VerifyError> {
        self.verify(token, SystemTime::now(), Expiry::Enforced)
    }

    /// Verifies a room token that acts on a session which runs already: expiry never cuts a connection,
    /// so its owner may still end it.
    ///
    /// # Errors
    /// As [`Keys::verify_room`], but never [`VerifyError::Expired`].
    pub fn verify_room_of_session(&self, token: &str) -> Result<RoomClaims, VerifyError> {
        self.verify(token, SystemTime::now(), Expiry::Ignored)
    }

    /// [`Keys::verify_room`] at another time than now.
    ///
    /// # Errors
    /// As [`Keys::verify_room`].
    pub fn verify_room_at(&self, token: &str, now: SystemTime) -> Result<RoomClaims, VerifyError> {
        self.verify(token, now, Expiry::Enforced)
    }

    /// Signs `claims` with the newest active HS256 key, whose `kid` becomes `iss`; `aud` is ours.
    ///
    /// # Errors
    /// [`MintError`]: no active key, or claims that this node would refuse.
    pub fn mint_room(&self, mut claims: RoomClaims) -> Result<String, MintError> {
        let set = self.current();
        let (kid, key) = set.signing().ok_or(MintError::NoActiveKey)?;
        claims.iss = kid.to_owned();
        claims.aud = self.audience().to_owned();
        check_shape(&claims).map_err(MintError::Claims)?;
        let header = Header {
            kid: Some(claims.iss.clone()),
            ..Header::default()
        };
        Ok(jsonwebtoken::encode(&header, &claims, key)?)
    }

    fn verify(
        &self,
        token: &str,
        now: SystemTime,
        expiry: Expiry,
    ) -> Result<RoomClaims, VerifyError> {
        let result = self.verify_signed(token).and_then(|claims| {
            check_time(&claims, unix_s(now), expiry)?;
            Ok(claims)
        });
        if let Err(VerifyError::Invalid(reason)) = &result {
            tracing::debug!(reason, "token refused");
        }
        result
    }

    /// Everything but the clock.
    fn verify_signed(&self, token: &str) -> Result<RoomClaims, VerifyError> {
        if token.len() > TOKEN_BYTES_MAX {
            return Err(VerifyError::Invalid("too long"));
        }
        let header =
            jsonwebtoken::decode_header(token).map_err(|_| VerifyError::Invalid("header"))?;
        // RFC 7515 section 4.1.11: an extension that must be understood and is not.
        if header.crit.is_some() {
            return Err(VerifyError::Invalid("crit"));
        }
        let claimed: Issuer = jsonwebtoken::dangerous::insecure_decode_claims(token)
            .map_err(|_| VerifyError::Invalid("claims"))?;
        if header.kid.as_ref().is_some_and(|kid| *kid != claimed.iss) {
            return Err(VerifyError::Invalid("kid is not iss"));
        }
        let set = self.current();
        let key = set.verifying(&claimed.iss);
        // An unknown key costs the same HMAC as a wrong signature, so that time does not tell which
        // keys exist.
        let (algorithm, decoding) = key.unwrap_or_else(|| set.decoy());
        let mut validation = Validation::new(algorithm);
        validation.required_spec_claims.clear();
        validation.validate_exp = false;
        validation.validate_aud = false;
        let claims = jsonwebtoken::decode::<RoomClaims>(token, decoding, &validation)
            .map_err(|_| VerifyError::Invalid("signature or claims"))?
            .claims;
        if key.is_none() {
            return Err(VerifyError::Invalid("unknown key"));
        }
        if claims.aud != self.audience() {
            return Err(VerifyError::Audience {
                expected: self.audience().to_owned(),
            });
        }
        check_shape(&claims).map_err(VerifyError::Invalid)?;
        Ok(claims)
    }
}

/// What is wrong with the claims whatever the time is.
fn check_shape(claims: &RoomClaims) -> Result<(), &'static str> {
    if claims.typ != TYPE_ROOM {
        return Err("typ is not `room`");
    }
    if claims.sub.is_empty() || claims.sub.len() > SUB_BYTES_MAX {
        return Err("sub has 1 to 128 bytes");
    }
    if claims
        .name
        .as_ref()
        .is_some_and(|name| name.len() > NAME_BYTES_MAX)
    {
        return Err("name has at most 256 bytes");
    }
    if claims
        .video
        .room
        .as_ref()
        .is_some_and(|room| !is_room_name(room))
    {
        return Err("a room's name is [A-Za-z0-9_-]{1,64}");
    }
    match claims.exp.checked_sub(claims.iat) {
        Some(1..=LIFETIME_S_MAX) => Ok(()),
        _ => Err("exp is 1 s to 6 h after iat"),
    }
}

fn check_time(claims: &RoomClaims, now_s: u64, expiry: Expiry) -> Result<(), VerifyError> {
    let soon = now_s.saturating_add(LEEWAY_S);
    // Whose session runs was let in with this token once: if it is from the future now, the clock has
    // gone back.
    let early = claims.iat > soon || claims.nbf.is_some_and(|nbf| nbf > soon);
    if expiry == Expiry::Enforced && early {
        return Err(VerifyError::Invalid("from the future"));
    }
    if expiry == Expiry::Enforced && claims.exp.saturating_add(LEEWAY_S) <= now_s {
        return Err(VerifyError::Expired);
    }
    Ok(())
}

/// Whether `name` may name a room or a stream: `[A-Za-z0-9_-]{1,64}`.
#[must_use]
pub fn is_room_name(name: &str) -> bool {
    (1..=ROOM_BYTES_MAX).contains(&name.len())
        && name
            .bytes()
            .all(|b| b.is_ascii_alphanumeric() || b == b'_' || b == b'-')
}

fn unix_s(time: SystemTime) -> u64 {
    time.duration_since(UNIX_EPOCH)
        .map_or(0, |since| since.as_secs())
}

/// The one claim that is read before the signature: it only chooses the key.
#[derive(Deserialize)]
struct Issuer {
    iss: String,
}

/// `aud` is one string or an array of one (RFC 7519 section 4.1.3).
fn audience<'de, D: Deserializer<'de>>(deserializer: D) -> Result<String, D::Error> {
    #[derive(Deserialize)]
    #[serde(untagged)]
    enum Audience {
        One(String),
        Many([String; 1]),
    }
    Ok(match Audience::deserialize(deserializer)? {
        Audience::One(one) | Audience::Many([one]) => one,
    })
}

/// A NumericDate (RFC 7519 section 2): a number of seconds, which some libraries write with a fraction.
fn numeric_date<'de, D: Deserializer<'de>>(deserializer: D) -> Result<u64, D::Error> {
    /// 9999-12-31T23:59:59Z: past it a date is a mistake, and arithmetic on it stays far from overflow.
    const LAST_S: f64 = 253_402_300_799.0;
    let seconds = f64::deserialize(deserializer)?;
    if !(0.0..=LAST_S).contains(&seconds) {
        return Err(serde::de::Error::custom("a date between 1970 and 9999"));
    }
    // Duration does the conversion that a cast would do silently.
    Ok(Duration::from_secs_f64(seconds).as_secs())
}

fn numeric_date_option<'de, D: Deserializer<'de>>(
    deserializer: D,
) -> Result<Option<u64>, D::Error> {
    numeric_date(deserializer).map(Some)
}

#[cfg(test)]
mod tests;
