//! Who gets a token, for whom, and what is said to everyone else.

use super::*;
use crate::auth::Source;
use crate::config::{Config, Flags};
use axum::body::{Body, to_bytes};
use serde_json::{Value, json};
use tower::ServiceExt;

fn router(open: bool) -> (Router, Keys) {
    let keys = Keys::from_secret("k", "0123456789abcdef0123456789abcdef", "lectern").unwrap();
    let (config, _) = Config::from_environment(&Flags::default(), []).unwrap();
    let issuer = TokenIssuer {
        keys: keys.clone(),
        open,
        default_room: "live".to_owned(),
        public_url: PublicUrl::new(&config, "127.0.0.1:8080".parse().unwrap()),
    };
    (routes(issuer), keys)
}

async fn ask(router: &Router, request: axum::http::request::Builder, body: &str) -> (u16, Value) {
    let request = request.body(Body::from(body.to_owned())).unwrap();
    let response = router.clone().oneshot(request).await.unwrap();
    let status = response.status().as_u16();
    let bytes = to_bytes(response.into_body(), 1 << 16).await.unwrap();
    (status, serde_json::from_slice(&bytes).unwrap())
}

#[tokio::test]
async fn query_form_and_json_ask_the_same() {
    let (router, keys) = router(true);
    let table = [
        (
            Request::post("/api/token?user_type=teacher&user_id=u-17&room=math-7"),
            String::new(),
        ),
        (
            Request::post("/api/token").header("content-type", "application/x-www-form-urlencoded"),
            "user_type=teacher&user_id=u-17&room=math-7".to_owned(),
        ),
        (
            Request::post("/api/token?room=other")
                .header("content-type", "application/json; charset=utf-8"),
            json!({"user_type": "teacher", "user_id": "u-17", "room": "math-7", "extra": 1})
                .to_string(),
        ),
    ];
    for (request, body) in table {
        let (status, answer) = ask(&router, request.header("host", "localhost:8080"), &body).await;
        assert_eq!(status, 200, "{answer}");
        let token = answer["token"].as_str().unwrap();
        let claims = keys.verify_room(token).unwrap();
        assert_eq!((claims.sub.as_str(), claims.role), ("u-17", Role::Teacher));
        assert!(claims.opens("math-7") && !claims.opens("other"));
        assert_eq!(claims.exp - claims.iat, 3600);
        assert_eq!(
            answer["webrtc_url"],
            format!("http://localhost:8080/whep/math-7?jwt={token}")
        );
        assert_eq!(
            answer["whip_url"],
            format!("http://localhost:8080/whip/math-7?jwt={token}")
        );
        assert_eq!(
            answer["ws_url"],
            format!("ws://localhost:8080/v1/ws?jwt={token}")
        );
        assert_eq!(
            (&answer["mode"], &answer["room"], &answer["expires_in"]),
            (&json!("main"), &json!("math-7"), &json!(3600))
        );
    }
}

#[tokio::test]
async fn nobody_in_particular_is_a_new_viewer_of_the_default_room_each_time() {
    let (router, keys) = router(true);
    let mut subs = Vec::new();
    for _ in 0..2 {
        let (_, answer) = ask(&router, Request::post("/api/token"), "").await;
        let claims = keys.verify_room(answer["token"].as_str().unwrap()).unwrap();
        assert_eq!(claims.role, Role::Viewer);
        assert!(claims.opens("live"));
        subs.push(claims.sub);
    }
    assert_ne!(subs[0], subs[1]);
}

#[tokio::test]
async fn without_open_tokens_everyone_is_told_to_authenticate() {
    let (router, _) = router(false);
    let (status, problem) = ask(&router, Request::post("/api/token?user_type=admin"), "").await;
    assert_eq!(status, 401);
    assert_eq!(problem["type"], "urn:lectern:problem:unauthenticated");
}

#[tokio::test]
async fn a_foreign_page_gets_no_open_token_through_a_local_browser() {
    let (router, _) = router(true);
    let table = [
        (Some("http://localhost:5173"), "127.0.0.1:8080", 200),
        (Some("http://[::1]:8080"), "[::1]:8080", 200),
        (None, "LOCALHOST:8080", 200),
        (Some("https://evil.example"), "127.0.0.1:8080", 403),
        (Some("null"), "127.0.0.1:8080", 403),
        (Some("http://localhost.evil.example"), "127.0.0.1:8080", 403),
        (None, "rebound.evil.example:8080", 403),
    ];
    for (origin, host, expected) in table {
        let mut request = Request::post("/api/token").header("host", host);
        if let Some(origin) = origin {
            request = request.header("origin", origin);
        }
        let (status, _) = ask(&router, request, "").await;
        assert_eq!(status, expected, "{origin:?} {host}");
    }
}

#[tokio::test]
async fn what_cannot_be_granted_is_said() {
    let (router, _) = router(true);
    let long = "x".repeat(129);
    for (query, status) in [
        ("user_type=root".to_owned(), 400),
        ("room=..%2Fetc".to_owned(), 400),
        (format!("user_id={long}"), 400),
    ] {
        let (found, problem) = ask(&router, Request::post(format!("/api/token?{query}")), "").await;
        assert_eq!(found, status, "{query}");
        assert!(!problem["detail"].as_str().unwrap().is_empty());
    }
    let request = Request::post("/api/token").header("content-type", "text/plain");
    assert_eq!(ask(&router, request, "x").await.0, 415);
    let request = Request::post("/api/token").header("content-type", "application/json");
    assert_eq!(ask(&router, request, "{").await.0, 400);
}

/// A token for `role` in `room`, and a request of its owner.
fn bearer(keys: &Keys, role: Role, grant: VideoGrant, query: &str) -> axum::http::request::Builder {
    let claims = RoomClaims::new(
        "giver",
        role,
        grant,
        SystemTime::now(),
        Duration::from_secs(60),
    );
    let token = keys.mint_room(claims).unwrap();
    Request::post(format!("/api/token?{query}")).header("authorization", format!("Bearer {token}"))
}

fn of_room(room: &str) -> VideoGrant {
    VideoGrant {
        room: Some(room.to_owned()),
        ..VideoGrant::default()
    }
}

#[tokio::test]
async fn who_moderates_a_room_gives_tokens_for_it_up_to_the_own_role() {
    let (router, keys) = router(false);
    let moderating = VideoGrant {
        room_admin: Some(true),
        ..of_room("math-7")
    };
    let tame = VideoGrant {
        room_admin: Some(false),
        ..of_room("math-7")
    };
    let everywhere = VideoGrant::default();
    // giver, her grant, asked, status, problem
    let table = [
        (Role::Admin, everywhere, "user_type=admin&room=any", 200, ""),
        (
            Role::Admin,
            of_room("math-7"),
            "user_type=teacher&room=math-7",
            200,
            "",
        ),
        (
            Role::Admin,
            of_room("math-7"),
            "room=math-8",
            403,
            "wrong-room",
        ),
        (
            Role::Teacher,
            of_room("math-7"),
            "user_type=teacher&room=math-7",
            200,
            "",
        ),
        (
            Role::Teacher,
            of_room("math-7"),
            "user_type=student&room=math-7",
            200,
            "",
        ),
        (
            Role::Teacher,
            of_room("math-7"),
            "user_type=admin&room=math-7",
            403,
            "not-allowed",
        ),
        (
            Role::Teacher,
            of_room("math-7"),
            "user_type=student&room=math-8",
            403,
            "wrong-room",
        ),
        (
            Role::Teacher,
            of_room("math-7"),
            "user_type=student",
            403,
            "wrong-room",
        ),
        (
            Role::Teacher,
            tame,
            "user_type=student&room=math-7",
            403,
            "not-allowed",
        ),
        (
            Role::Student,
            of_room("math-7"),
            "room=math-7",
            403,
            "not-allowed",
        ),
        (Role::Student, moderating.clone(), "room=math-7", 200, ""),
        (
            Role::Student,
            moderating,
            "user_type=teacher&room=math-7",
            403,
            "not-allowed",
        ),
        (
            Role::Viewer,
            of_room("math-7"),
            "room=math-7",
            403,
            "not-allowed",
        ),
    ];
    for (role, grant, query, expected, problem) in table {
        let case = format!("{role} {grant:?} asks {query}");
        let (status, answer) = ask(&router, bearer(&keys, role, grant, query), "").await;
        assert_eq!(status, expected, "{case}: {answer}");
        if expected == 403 {
            assert_eq!(
                answer["type"],
                format!("urn:lectern:problem:{problem}"),
                "{case}"
            );
        }
    }
}

#[tokio::test]
async fn nobody_gives_a_right_she_lacks_herself() {
    let (router, keys) = router(false);
    let poor = VideoGrant {
        can_publish: Some(false),
        can_publish_data: Some(false),
        ..of_room("math-7")
    };
    let microphone = VideoGrant {
        can_publish_sources: Some(vec![Source::Microphone]),
        ..of_room("math-7")
    };
    for (grant, publish) in [(poor, vec![]), (microphone, vec![Source::Microphone])] {
        let query = "user_type=teacher&user_id=u-18&room=math-7";
        let request = bearer(&keys, Role::Teacher, grant.clone(), query);
        let (status, answer) = ask(&router, request, "").await;
        assert_eq!(status, 200, "{answer}");
        let claims = keys.verify_room(answer["token"].as_str().unwrap()).unwrap();
        assert_eq!(claims.sub, "u-18");
        assert_eq!(claims.rights().publish, publish);
        let giver = Rights::new(Role::Teacher, &grant);
        assert_eq!(claims.rights().publish_data, giver.publish_data);
        assert!(claims.rights().room_admin && claims.rights().subscribe);
    }
}

#[tokio::test]
async fn a_bearer_that_proves_nothing_is_401_whether_tokens_are_open_or_not() {
    let stream_key = "lsk_AAAAAAAAAAAAAAAAAAAAAA";
    for open in [false, true] {
        let (router, keys) = router(open);
        let long_ago = SystemTime::now() - Duration::from_secs(7200);
        let old = RoomClaims::new(
            "u",
            Role::Admin,
            of_room("live"),
            long_ago,
            Duration::from_secs(60),
        );
        let old = keys.mint_room(old).unwrap();
        for (token, slug) in [
            ("x.y.z", "unauthenticated"),
            (stream_key, "unauthenticated"),
            (old.as_str(), "token-expired"),
        ] {
            let request =
                Request::post("/api/token").header("authorization", format!("Bearer {token}"));
            let (status, problem) = ask(&router, request, "").await;
            assert_eq!(status, 401, "{token}");
            assert_eq!(problem["type"], format!("urn:lectern:problem:{slug}"));
        }
    }
}

#[tokio::test]
async fn json_that_is_nested_too_deep_is_refused() {
    let (router, _) = router(true);
    for (levels, expected) in [(31, 200), (32, 400), (1000, 400)] {
        let (open, close) = ("[".repeat(levels), "]".repeat(levels));
        let body = format!("{{\"room\":\"math-7\",\"more\":{open}{close}}}");
        let request = Request::post("/api/token").header("content-type", "application/json");
        assert_eq!(ask(&router, request, &body).await.0, expected, "{levels}");
    }
}
