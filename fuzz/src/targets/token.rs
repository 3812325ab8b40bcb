//! Room tokens: only what was signed verifies, as what it was signed for (security.md C1).

use std::sync::OnceLock;
use std::time::{Duration, SystemTime};

use controlplane::auth::token::{Keys, RoomClaims};
use controlplane::auth::{Role, VideoGrant};

use super::OCTETS;
use crate::behaviour;
use crate::runner::{Shape, Target};

const KID: &str = "k-1";

pub(super) fn targets() -> Vec<Target> {
    let jwt = Target {
        name: "jwt",
        run: jwt,
        seeds: || {
            let mut seeds = vec![token().as_bytes().to_vec()];
            // `none`, another algorithm, a key id that is a path; each with the signature of the good one.
            for header in [
                "eyJhbGciOiJub25lIiwidHlwIjoiSldUIn0",
                "eyJhbGciOiJSUzI1NiIsInR5cCI6IkpXVCJ9",
                "eyJhbGciOiJIUzI1NiIsImtpZCI6Ii4uLy4uL2V0YyJ9",
            ] {
                let rest = token().split_once('.').map_or("", |(_, rest)| rest);
                seeds.push(format!("{header}.{rest}").into_bytes());
            }
            seeds
        },
        length_max: 5_000,
        allocation_max: Some(128 * 1_024),
        executions: 15_000,
        words: &[
            b".",
            b"=",
            b"eyJhbGciOiJub25lIn0",
            b"e30",
            b"bnVsbA",
            b"-_",
            b"\xff",
        ],
        ..OCTETS
    };
    let claims = Target {
        name: "jwt_claims",
        run: jwt_claims,
        seeds: || {
            let room = r#"{"iss":"","aud":"","sub":"u-17","name":"Ada","role":"teacher","iat":1795000000,"exp":1795003600,"nbf":1795000000,"typ":"room","video":{"room":"math-7","roomJoin":true,"canPublish":true,"canPublishSources":["camera","screen"]}}"#;
            let admin = r#"{"iss":"x","aud":"y","sub":"root","role":"admin","iat":1795000000,"exp":1795000001,"typ":"room"}"#;
            vec![room.into(), admin.into()]
        },
        shape: Shape::Lines,
        length_max: 2_000,
        allocation_max: Some(128 * 1_024),
        executions: 8_000,
        words: &[
            b"\"role\":\"admin\",",
            b"\"room\":null",
            b"\"hidden\":true",
            b"\"recorder\":true",
            b"\\u0000",
            b"1e9",
        ],
    };
    vec![jwt, claims]
}

fn keys() -> &'static Keys {
    static KEYS: OnceLock<Keys> = OnceLock::new();
    KEYS.get_or_init(|| {
        Keys::from_secret(KID, "a secret of more than thirty-two octets", "lectern")
            .expect("a long secret")
    })
}

fn now() -> SystemTime {
    SystemTime::UNIX_EPOCH + Duration::from_secs(1_795_000_000)
}

fn token() -> &'static str {
    static TOKEN: OnceLock<String> = OnceLock::new();
    TOKEN.get_or_init(|| {
        let grant = VideoGrant {
            room: Some("math-7".to_owned()),
            ..VideoGrant::default()
        };
        let claims = RoomClaims::new(
            "u-17",
            Role::Student,
            grant,
            now(),
            Duration::from_secs(3_600),
        );
        keys().mint_room(claims).expect("a token")
    })
}

/// One token of a client: it is the one that was signed, or it is refused.
pub fn jwt(bytes: &[u8]) {
    let Ok(presented) = std::str::from_utf8(bytes) else {
        return behaviour::note("not text", 0);
    };
    match keys().verify_room_at(presented, now()) {
        Ok(claims) => {
            assert_eq!(presented, token(), "a token that nobody signed");
            assert_eq!(
                (
                    claims.sub.as_str(),
                    claims.opens("math-7"),
                    claims.opens("math-8")
                ),
                ("u-17", true, false)
            );
            behaviour::note("verified", 0);
        }
        Err(error) => {
            assert_ne!(presented, token(), "{error}");
            behaviour::note(&error.to_string(), 0);
        }
    }
}

/// Claims of a platform that signs what it likes: what is signed here verifies as what was said, or is not
/// signed at all.
pub fn jwt_claims(bytes: &[u8]) {
    let claims: RoomClaims = match serde_json::from_slice(bytes) {
        Ok(claims) => claims,
        Err(error) => return behaviour::outcome("json", &error.classify()),
    };
    let signed = match keys().mint_room(claims.clone()) {
        Ok(signed) => signed,
        Err(error) => return behaviour::note(&error.to_string(), 0),
    };
    let at = SystemTime::UNIX_EPOCH.checked_add(Duration::from_secs(claims.iat));
    match keys().verify_room_at(&signed, at.unwrap_or_else(now)) {
        Ok(read) => {
            let wanted = RoomClaims {
                iss: KID.to_owned(),
                aud: "lectern".to_owned(),
                ..claims
            };
            assert_eq!(read, wanted);
            let every_room = read.opens("a room") && read.opens("another");
            assert!(
                !every_room || read.role == Role::Admin,
                "a key to every room"
            );
            behaviour::outcome("role", &read.role);
            behaviour::note("room", u64::from(read.video.room.is_some()));
        }
        Err(error) => behaviour::note(&error.to_string(), 1),
    }
}
