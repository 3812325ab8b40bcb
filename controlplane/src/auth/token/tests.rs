//! The matrix of forged, stale and strange tokens, and the tokens that must pass beside them.

use super::*;
use crate::auth::permission::Source;
use aws_lc_rs::signature::{Ed25519KeyPair, KeyPair};
use base64::Engine;
use base64::prelude::BASE64_URL_SAFE_NO_PAD as B64;
use jsonwebtoken::{Algorithm, EncodingKey};
use proptest::prelude::*;
use serde_json::{Value, json};

const KID: &str = "k-test";
const SECRET: &str = "0123456789abcdef0123456789abcdef";
const NOW_S: u64 = 1_795_000_000;

fn keys() -> Keys {
    Keys::from_secret(KID, SECRET, "lectern").unwrap()
}

fn now() -> SystemTime {
    UNIX_EPOCH + Duration::from_secs(NOW_S)
}

fn header() -> Value {
    json!({"alg": "HS256", "typ": "JWT", "kid": KID})
}

fn claims() -> Value {
    json!({
        "iss": KID, "aud": "lectern", "sub": "u-17", "name": "Ada", "role": "teacher",
        "iat": NOW_S, "exp": NOW_S + 3600, "typ": "room", "video": {"room": "math-7"},
    })
}

/// `base` with members replaced (`null` removes).
fn with(mut base: Value, changes: Value) -> Value {
    for (name, value) in changes.as_object().unwrap() {
        if value.is_null() {
            base.as_object_mut().unwrap().remove(name);
        } else {
            base[name] = value.clone();
        }
    }
    base
}

fn signed(header: &str, claims: &str, secret: &[u8]) -> String {
    let message = format!("{}.{}", B64.encode(header), B64.encode(claims));
    let key = EncodingKey::from_secret(secret);
    let signature = jsonwebtoken::crypto::sign(message.as_bytes(), &key, Algorithm::HS256).unwrap();
    format!("{message}.{signature}")
}

fn token(header: &Value, claims: &Value) -> String {
    signed(&header.to_string(), &claims.to_string(), SECRET.as_bytes())
}

/// A token with these changes to otherwise good claims, signed rightly.
fn changed(changes: Value) -> String {
    token(&header(), &with(claims(), changes))
}

#[test]
fn a_good_token_says_who_where_and_what() {
    let claims = keys().verify_room_at(&changed(json!({})), now()).unwrap();
    assert_eq!(
        (claims.sub.as_str(), claims.name.as_deref()),
        ("u-17", Some("Ada"))
    );
    assert_eq!(claims.role, Role::Teacher);
    assert!(claims.opens("math-7") && !claims.opens("math-8"));
    assert!(claims.rights().may_publish_source(Source::Screen));
}

#[test]
fn what_the_node_mints_it_accepts() {
    let keys = keys();
    let grant = VideoGrant {
        room: Some("math-7".into()),
        ..VideoGrant::default()
    };
    let minted = RoomClaims::new("Zoë", Role::Viewer, grant, now(), Duration::from_secs(3600));
    let token = keys.mint_room(minted.clone()).unwrap();
    let read = keys.verify_room_at(&token, now()).unwrap();
    assert_eq!(
        read,
        RoomClaims {
            iss: KID.into(),
            aud: "lectern".into(),
            ..minted
        }
    );
    assert_eq!(
        jsonwebtoken::decode_header(&token).unwrap().kid.as_deref(),
        Some(KID)
    );
}

#[test]
fn what_no_verifier_takes_is_not_minted() {
    let room = |room: &str| VideoGrant {
        room: Some(room.into()),
        ..VideoGrant::default()
    };
    let hour = Duration::from_secs(3600);
    for claims in [
        RoomClaims::new("", Role::Viewer, room("a"), now(), hour),
        RoomClaims::new("x".repeat(129), Role::Viewer, room("a"), now(), hour),
        RoomClaims::new("u", Role::Viewer, room("../a"), now(), hour),
        RoomClaims::new(
            "u",
            Role::Viewer,
            room("a"),
            now(),
            Duration::from_secs(6 * 3600 + 1),
        ),
        RoomClaims::new("u", Role::Viewer, room("a"), now(), Duration::ZERO),
    ] {
        assert!(matches!(
            keys().mint_room(claims),
            Err(MintError::Claims(_))
        ));
    }
}

/// The variants other verifiers must take too, each with a reason why it is harmless.
#[test]
fn tokens_of_other_libraries_pass() {
    let table = [
        (
            "no kid: LiveKit's libraries send none",
            token(&json!({"alg": "HS256"}), &claims()),
        ),
        (
            "dates with a fraction",
            changed(json!({"exp": 1_795_000_060.5})),
        ),
        (
            "an audience of one in an array",
            changed(json!({"aud": ["lectern"]})),
        ),
        ("no role is a viewer", changed(json!({"role": null}))),
        ("unknown claims", changed(json!({"metadata": {"class": 7}}))),
        (
            "clock 29 s behind ours",
            changed(json!({"iat": NOW_S - 100, "exp": NOW_S - 29})),
        ),
        (
            "clock 30 s ahead of ours",
            changed(json!({"iat": NOW_S + 30, "nbf": NOW_S + 30})),
        ),
        (
            "the longest identity",
            changed(json!({"sub": "é".repeat(64)})),
        ),
        (
            "the longest life",
            changed(json!({"exp": NOW_S + 6 * 3600})),
        ),
    ];
    for (why, token) in table {
        keys()
            .verify_room_at(&token, now())
            .unwrap_or_else(|error| panic!("{why}: {error}"));
    }
}

/// security.md C1: 24 tokens, none of which opens anything.
#[test]
fn no_token_of_the_matrix_is_accepted() {
    let unsigned = |alg: &str| {
        format!(
            "{}.{}.",
            B64.encode(with(header(), json!({"alg": alg})).to_string()),
            B64.encode(claims().to_string())
        )
    };
    let twice = |claim: &str| {
        let text = claims().to_string();
        signed(
            &header().to_string(),
            &format!("{{{claim},{}", &text[1..]),
            SECRET.as_bytes(),
        )
    };
    let with_header = |changes| token(&with(header(), changes), &claims());
    let good = changed(json!({}));
    let (message, _) = good.rsplit_once('.').unwrap();
    let matrix: Vec<(&str, String)> = vec![
        ("alg none", unsigned("none")),
        ("alg None", unsigned("None")),
        ("alg nOnE", unsigned("nOnE")),
        ("signature removed", format!("{message}.")),
        (
            "signature of another key",
            signed(
                &header().to_string(),
                &claims().to_string(),
                b"another secret of 32 characters!",
            ),
        ),
        (
            "signed with the kid as the secret",
            signed(&header().to_string(), &claims().to_string(), KID.as_bytes()),
        ),
        (
            "signed with an empty secret",
            signed(&header().to_string(), &claims().to_string(), b""),
        ),
        (
            "claims changed after signing",
            format!(
                "{}.{}.{}",
                B64.encode(header().to_string()),
                B64.encode(with(claims(), json!({"role": "admin"})).to_string()),
                good.rsplit_once('.').unwrap().1
            ),
        ),
        (
            "another algorithm than the key's: HS512",
            with_header(json!({"alg": "HS512"})),
        ),
        (
            "another algorithm than the key's: RS256",
            with_header(json!({"alg": "RS256"})),
        ),
        (
            "another algorithm than the key's: EdDSA",
            with_header(json!({"alg": "EdDSA"})),
        ),
        (
            "a kid of 10 KB",
            with_header(json!({"kid": "k".repeat(10_240)})),
        ),
        (
            "a kid that is a path",
            with_header(json!({"kid": "../../dev/null"})),
        ),
        (
            "a kid that is not the issuer",
            changed(json!({"iss": "k-other"})),
        ),
        (
            "an unknown issuer",
            token(
                &with(header(), json!({"kid": "k-other"})),
                &with(claims(), json!({"iss": "k-other"})),
            ),
        ),
        (
            "a critical extension",
            with_header(json!({"crit": ["b64"], "b64": false})),
        ),
        (
            "exp as a string",
            changed(json!({"exp": (NOW_S + 3600).to_string()})),
        ),
        ("exp missing", changed(json!({"exp": null}))),
        (
            "exp beyond 6 h",
            changed(json!({"exp": NOW_S + 6 * 3600 + 1})),
        ),
        (
            "exp before iat",
            changed(json!({"iat": NOW_S, "exp": NOW_S - 1})),
        ),
        ("nbf in the future", changed(json!({"nbf": NOW_S + 31}))),
        ("iat in the future", changed(json!({"iat": NOW_S + 31}))),
        ("sub twice", twice(r#""sub":"u-1""#)),
        ("exp twice", twice(r#""exp":9999999999"#)),
        ("an access token", changed(json!({"typ": "access"}))),
        (
            "an identity of 129 bytes",
            changed(json!({"sub": "x".repeat(129)})),
        ),
        ("no identity", changed(json!({"sub": ""}))),
        ("an unknown role", changed(json!({"role": "root"}))),
        (
            "a room that is a path",
            changed(json!({"video": {"room": "../math-7"}})),
        ),
        ("not a token", "Bearer".to_owned()),
        ("empty", String::new()),
    ];
    assert!(matrix.len() >= 24);
    for (why, token) in matrix {
        match keys().verify_room_at(&token, now()) {
            Err(VerifyError::Invalid(_)) => {}
            other => panic!("{why}: {other:?}"),
        }
    }
}

#[test]
fn an_expired_token_of_ours_is_told_so_and_still_ends_its_own_session() {
    let token = changed(json!({"iat": NOW_S - 3600, "exp": NOW_S - 30}));
    assert_eq!(
        keys().verify_room_at(&token, now()),
        Err(VerifyError::Expired)
    );
    let claims = keys().verify(&token, now(), Expiry::Ignored).unwrap();
    assert_eq!(claims.sub, "u-17");
}

/// Fault matrix, clock jumps: a session outlives them, and so does the right to end it.
#[test]
fn after_the_clock_went_back_a_session_is_still_its_owner_s() {
    let (iat, exp) = (NOW_S + 86_400, NOW_S + 90_000);
    // Many libraries write `nbf` beside `iat`, with the same time.
    for claims in [
        json!({"iat": iat, "exp": exp}),
        json!({"iat": iat, "nbf": iat, "exp": exp}),
    ] {
        let token = changed(claims);
        keys().verify_room_at(&token, now()).unwrap_err();
        assert!(keys().verify(&token, now(), Expiry::Ignored).is_ok());
    }
}

#[test]
fn a_token_for_another_deployment_learns_our_name_only_when_it_is_signed() {
    let audience = json!({"aud": "elsewhere"});
    assert_eq!(
        keys().verify_room_at(&changed(audience.clone()), now()),
        Err(VerifyError::Audience {
            expected: "lectern".into()
        })
    );
    let forged = signed(
        &header().to_string(),
        &with(claims(), audience).to_string(),
        b"another secret of 32 characters!",
    );
    assert!(matches!(
        keys().verify_room_at(&forged, now()),
        Err(VerifyError::Invalid(_))
    ));
    for aud in [json!(null), json!(["lectern", "elsewhere"]), json!([])] {
        keys()
            .verify_room_at(&changed(json!({"aud": aud})), now())
            .unwrap_err();
    }
}

#[test]
fn only_an_admin_may_leave_the_room_out() {
    let open = |role: &str| {
        let token = changed(json!({"role": role, "video": null}));
        keys()
            .verify_room_at(&token, now())
            .unwrap()
            .opens("math-7")
    };
    assert!(open("admin"));
    for role in ["teacher", "student", "monitor", "viewer"] {
        assert!(!open(role), "{role}");
    }
    let bound = changed(json!({"role": "admin"}));
    assert!(
        !keys()
            .verify_room_at(&bound, now())
            .unwrap()
            .opens("math-8")
    );
}

/// A platform that signs with Ed25519 gives the node its public key only.
#[test]
fn an_ed25519_key_verifies_its_own_tokens_and_no_hmac_made_from_it() {
    let pair = Ed25519KeyPair::generate().unwrap();
    let public = pair.public_key().as_ref();
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("keys.json");
    let text = json!({"keys": [{
        "kid": KID, "alg": "EdDSA", "state": "active", "public": B64.encode(public),
    }]});
    std::fs::write(&path, text.to_string()).unwrap();
    let keys = Keys::load(path).unwrap();

    let header = with(header(), json!({"alg": "EdDSA"})).to_string();
    let message = format!(
        "{}.{}",
        B64.encode(header),
        B64.encode(claims().to_string())
    );
    let good = format!("{message}.{}", B64.encode(pair.sign(message.as_bytes())));
    keys.verify_room_at(&good, now()).unwrap();

    // The classic confusion: the public key, which everybody has, used as an HMAC secret.
    let confused = signed(&self::header().to_string(), &claims().to_string(), public);
    assert!(matches!(
        keys.verify_room_at(&confused, now()),
        Err(VerifyError::Invalid(_))
    ));
    // And this node, which has no secret, signs nothing.
    let claims = RoomClaims::new(
        "u",
        Role::Viewer,
        VideoGrant::default(),
        now(),
        Duration::from_secs(60),
    );
    assert!(matches!(
        keys.mint_room(claims),
        Err(MintError::NoActiveKey)
    ));
}

proptest! {
    #[test]
    fn no_text_panics(text in "\\PC{0,300}") {
        prop_assert!(keys().verify_room_at(&text, now()).is_err());
    }

    #[test]
    fn no_header_or_claims_panic(header in "\\PC{0,80}", claims in "\\PC{0,200}") {
        let token = signed(&header, &claims, SECRET.as_bytes());
        prop_assert!(keys().verify_room_at(&token, now()).is_err());
    }

    #[test]
    fn a_token_with_one_byte_changed_is_refused(at in 0usize..400, to in 0u8..64) {
        const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
        let mut bytes = changed(json!({})).into_bytes();
        let at = at % bytes.len();
        let to = ALPHABET[usize::from(to)];
        prop_assume!(bytes[at] != to);
        bytes[at] = to;
        let token = String::from_utf8(bytes).unwrap();
        prop_assert!(keys().verify_room_at(&token, now()).is_err());
    }
}
