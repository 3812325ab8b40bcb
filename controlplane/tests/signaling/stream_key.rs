//! An encoder with a stream key: publishes `main` of its room, acts on that session, and does nothing else.

use axum::http::{Method, StatusCode};
use controlplane::auth::stream_key::{self, Existing};
use controlplane::auth::{Keys, Role};

use super::{WHEP, WHIP, node_with_keys};

#[tokio::test]
async fn an_encoder_publishes_with_a_stream_key_and_ends_it_with_the_same() {
    let dir = tempfile::tempdir().unwrap();
    let keys = Keys::load_or_create(dir.path()).unwrap();
    let make = |room, sub| {
        stream_key::make(dir.path(), room, Some(sub), Existing::Rotate)
            .unwrap()
            .key
    };
    let (key, other) = (make("math-7", "u-17"), make("math-8", "u-18"));
    let node = node_with_keys(keys).await;

    for (path, key, status, slug) in [
        ("/whip/math-7/second", key.as_str(), 403, "not-allowed"),
        ("/whip/math-7", other.as_str(), 403, "wrong-room"),
        (
            "/whip/math-7",
            "lsk_AAAAAAAAAAAAAAAAAAAAAA",
            401,
            "unauthenticated",
        ),
        ("/whip/math-7", "lsk_", 401, "unauthenticated"),
    ] {
        node.post(path, key, WHIP).await.is_problem(status, slug);
    }
    let answer = node.post("/whip/math-7", &key, WHIP).await;
    assert_eq!(answer.status, StatusCode::CREATED, "{}", answer.body);
    let url = answer.header("location").to_owned();
    assert!(url.starts_with("/whip/math-7/main/"), "{url}");

    // Its owner watches too, by a room token: the key has nothing to do with that session.
    let watching = node.token("u-17", Role::Student);
    node.post("/whep/math-7", &key, WHEP)
        .await
        .is_problem(403, "not-allowed");
    let viewer = node.post("/whep/math-7", &watching, WHEP).await;
    assert_eq!(viewer.status, StatusCode::CREATED, "{}", viewer.body);
    let viewer = viewer.header("location").to_owned();
    let delete = async |url: &str, key: &str| node.request(Method::DELETE, url, key, "").await;
    delete(&viewer, &key).await.is_problem(403, "not-allowed");

    delete(&url, &other).await.is_problem(403, "wrong-room");
    let query = format!("{url}?token={key}");
    assert_eq!(node.request(Method::GET, &url, &key, "").await.status, 204);
    let rotated = make("math-7", "u-17");
    delete(&url, &key).await.is_problem(401, "unauthenticated");
    delete(&query, &rotated).await;
    let gone = node.request(Method::GET, &url, &rotated, "").await;
    gone.is_problem(404, "unknown-session");
}
