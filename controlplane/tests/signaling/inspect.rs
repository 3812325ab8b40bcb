//! What an operator sees: a room with both processes' views, a session by whatever names it.

use axum::body::{Body, to_bytes};
use axum::http::Request;
use controlplane::http::debug;
use serde_json::Value;
use tower::ServiceExt as _;

use super::node;

#[tokio::test]
async fn a_session_is_found_by_its_handle_and_by_its_url_and_its_room_shows_it() {
    let node = node().await;
    let (url, token) = node.publish().await;
    let router = debug::routes(node.client.clone(), node.registry.clone());
    let get = async |path: &str| {
        let request = Request::get(path).body(Body::empty()).unwrap();
        let answer = router.clone().oneshot(request).await.unwrap();
        let status = answer.status().as_u16();
        let body = to_bytes(answer.into_body(), 1 << 20).await.unwrap();
        let text = String::from_utf8(body.to_vec()).unwrap();
        let json: Value = serde_json::from_str(&text).unwrap();
        (status, json, text)
    };

    let (status, room, text) = get("/debug/rooms/math-7").await;
    assert_eq!(status, 200);
    let shown = &room["connections"][0];
    let handle = shown["session"].as_str().unwrap();
    assert_eq!(
        (&shown["kind"], &shown["sub"]),
        (&"whip".into(), &"teacher".into())
    );
    assert!(shown.get("media").is_some(), "{text}");

    let id = url.rsplit('/').next().unwrap();
    assert!(!text.contains(id), "the session's URL stays its owner's");
    for name in [handle, id] {
        let (status, session, _) = get(&format!("/debug/sessions/{name}")).await;
        assert_eq!(status, 200, "{name}");
        assert_eq!(session["session"], handle);
        assert_eq!(session["room"], "math-7");
        assert!(session.get("media").is_some());
    }
    for name in ["1", "AAAAAAAAAAAAAAAAAAAAAA"] {
        let (status, problem, _) = get(&format!("/debug/sessions/{name}")).await;
        assert_eq!(status, 404, "{name}: {problem}");
    }
    assert_eq!(get("/debug/rooms/none").await.0, 404);

    node.request(axum::http::Method::DELETE, &url, &token, "")
        .await;
    assert_eq!(get(&format!("/debug/sessions/{id}")).await.0, 404);
}
