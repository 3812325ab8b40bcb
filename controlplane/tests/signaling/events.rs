//! Server-sent events of a viewer's session.

use axum::body::BodyDataStream;
use dataplane_api::event::{Draining, LayerState, TrackLayers};
use futures_util::StreamExt as _;

use super::*;

/// An event stream as its reader sees it.
struct Reader {
    body: BodyDataStream,
    text: String,
}

impl Reader {
    async fn open(node: &Node, url: &str) -> Reader {
        let request = Request::get(url).body(Body::empty()).unwrap();
        let response = node.router.clone().oneshot(request).await.unwrap();
        assert_eq!(response.status(), StatusCode::OK);
        let content_type = &response.headers()["content-type"];
        assert_eq!(content_type, "text/event-stream");
        assert_eq!(response.headers()["cache-control"], "no-cache");
        Reader {
            body: response.into_body().into_data_stream(),
            text: String::new(),
        }
    }

    /// The next event: its name and data. `None` at the end.
    async fn next(&mut self) -> Option<(String, String)> {
        let next = async {
            loop {
                if let Some((event, rest)) = self.text.split_once("\n\n") {
                    let (event, rest) = (event.to_owned(), rest.to_owned());
                    self.text = rest;
                    let line = |name: &str| {
                        let line = event.lines().find_map(|line| line.strip_prefix(name));
                        line.map(|line| line.trim().to_owned())
                    };
                    if let (Some(name), Some(data)) = (line("event:"), line("data:")) {
                        return Some((name, data));
                    }
                    continue;
                }
                let chunk = self.body.next().await?.unwrap();
                self.text.push_str(std::str::from_utf8(&chunk).unwrap());
            }
        };
        tokio::time::timeout(Duration::from_secs(10), next)
            .await
            .unwrap()
    }
}

/// A viewer, its session's URL and token.
async fn watching(node: &Node) -> (String, String) {
    node.publish().await;
    let viewer = node.token("viewer", Role::Viewer);
    let watching = node.post("/whep/math-7", &viewer, WHEP).await;
    (watching.header("location").to_owned(), viewer)
}

async fn create(node: &Node, url: &str, token: &str, events: &str) -> Answer {
    let request = Request::post(format!("{url}/sse"))
        .header("authorization", format!("Bearer {token}"))
        .header("content-type", "application/json");
    node.send(request.body(Body::from(events.to_owned())).unwrap())
        .await
}

#[tokio::test]
async fn the_link_leads_to_a_stream_that_lives_as_long_as_the_session() {
    let node = node().await;
    node.publish().await;
    let viewer = node.token("viewer", Role::Viewer);
    for offer in [WHEP, ""] {
        let watching = node.post("/whep/math-7", &viewer, offer).await;
        let url = watching.header("location").to_owned();
        let links = watching.headers.get_all("link").iter();
        let links: Vec<&str> = links.map(|link| link.to_str().unwrap()).collect();
        let expected = format!(
            "<{url}/sse>; rel=\"urn:ietf:params:whep:ext:core:server-sent-events\"; events=\"active,inactive,layers,viewercount,reconnect\""
        );
        assert_eq!(links.last(), Some(&expected.as_str()));
        assert_eq!(links.len(), 3, "and one an ICE server");

        let mut reader = Reader::open(&node, &format!("{url}/sse?jwt={viewer}")).await;
        loop {
            let (name, data) = reader.next().await.unwrap();
            if name == "viewercount" {
                assert_eq!(data, r#"{"viewercount":0}"#);
                break;
            }
        }
        node.request(Method::DELETE, &url, &viewer, "").await;
        while let Some((name, _)) = reader.next().await {
            assert_ne!(name, "active", "what is told after the end");
        }
        let gone = node
            .send(
                Request::get(format!("{url}/sse?jwt={viewer}"))
                    .body(Body::empty())
                    .unwrap(),
            )
            .await;
        gone.is_problem(404, "unknown-session");
    }
    let publishing = node.token("other", Role::Teacher);
    let board = node.post("/whip/math-7/board", &publishing, WHIP).await;
    let links = board.headers.get_all("link").iter();
    assert!(
        links
            .into_iter()
            .all(|link| !link.to_str().unwrap().contains("/sse")),
        "encoders split Link at commas"
    );
    // It hears of its stream all the same.
    let url = board.header("location");
    let request = Request::get(format!("{url}/sse?jwt={publishing}"));
    let request = request.body(Body::empty()).unwrap();
    let answer = node.router.clone().oneshot(request).await.unwrap();
    assert_eq!(answer.status(), StatusCode::OK);
    assert_eq!(answer.headers()["content-type"], "text/event-stream");
}

#[tokio::test]
async fn a_stream_tells_what_was_asked_for_until_it_is_deleted() {
    let node = node().await;
    let (url, token) = watching(&node).await;
    let created = create(&node, &url, &token, r#"["viewercount","reconnect"]"#).await;
    assert_eq!(created.status, StatusCode::CREATED, "{}", created.body);
    let stream = created.header("location").to_owned();
    assert!(stream.starts_with(&format!("{url}/sse/")));
    assert!(!stream.contains('?'), "no token in a URL we make");

    let address = format!("{stream}?token={token}");
    let mut older = Reader::open(&node, &address).await;
    let (name, _) = older.next().await.unwrap();
    assert_eq!(name, "viewercount", "active was not asked for");
    // A reader that comes back takes the stream from the connection it has lost.
    let mut reader = Reader::open(&node, &address).await;
    assert!(older.next().await.is_none());
    assert!(reader.next().await.is_some());

    let stranger = node.token("stranger", Role::Viewer);
    node.request(Method::DELETE, &stream, &stranger, "")
        .await
        .is_problem(403, "not-allowed");
    let ended = node.request(Method::DELETE, &stream, &token, "").await;
    assert_eq!(ended.status, StatusCode::OK);
    assert!(reader.next().await.is_none());
    for method in [Method::GET, Method::DELETE] {
        let gone = node.request(method, &stream, &token, "").await;
        assert_eq!(gone.status, StatusCode::NOT_FOUND);
    }
    let alive = node.request(Method::GET, &url, &token, "").await;
    assert_eq!(alive.status, StatusCode::NO_CONTENT);
}

#[tokio::test]
async fn a_session_has_four_readers_at_once() {
    let node = node().await;
    let (url, token) = watching(&node).await;
    let address = format!("{url}/sse?jwt={token}");
    let mut readers = Vec::new();
    for _ in 0..4 {
        let mut reader = Reader::open(&node, &address).await;
        reader.next().await.unwrap();
        readers.push(reader);
    }
    for refused in [
        create(&node, &url, &token, "").await,
        node.send(Request::get(&address).body(Body::empty()).unwrap())
            .await,
    ] {
        assert_eq!(refused.problem(), (429, "rate-limited".to_owned()));
        assert_eq!(refused.header("retry-after"), "2");
    }
    readers.pop();
    let created = create(&node, &url, &token, "").await;
    assert_eq!(created.status, StatusCode::CREATED);
}

#[tokio::test]
async fn a_list_that_is_too_long_or_none_is_refused() {
    let node = node().await;
    let (url, token) = watching(&node).await;
    let long = format!("[{}\"active\"]", "\"active\",".repeat(1_000));
    create(&node, &url, &token, &long)
        .await
        .is_problem(413, "too-large");
    for body in ["{}", "[1]", "active"] {
        let refused = create(&node, &url, &token, body).await;
        assert_eq!(refused.problem(), (400, "blank".to_owned()), "{body}");
    }
}

/// The next event of this name, whatever stands before it.
async fn next(reader: &mut Reader, wanted: &str) -> String {
    loop {
        let (name, data) = reader.next().await.unwrap();
        if name == wanted {
            return data;
        }
    }
}

#[tokio::test]
async fn a_viewer_hears_of_its_stream() {
    let node = node().await;
    let (publishing, token) = node.publish().await;
    let orders = node.fake.take_orders();
    let tracks = tracks(&orders);
    let viewer = node.token("viewer", Role::Viewer);
    let watching = node.post("/whep/math-7", &viewer, WHEP).await;
    let url = watching.header("location");
    let mut reader = Reader::open(&node, &format!("{url}/sse?jwt={viewer}")).await;

    for &track in &tracks {
        let codec = CodecId::VP8;
        node.fake
            .event(Event::TrackLive(TrackLive { track, codec }));
    }
    assert_eq!(next(&mut reader, "active").await, "{}");
    let session = sessions(&node.fake.take_orders(), "Admit")[0];
    let join_ms = 80;
    node.fake.event(Event::SessionConnected(SessionConnected {
        session,
        join_ms,
    }));
    let count = next(&mut reader, "viewercount").await;
    assert_eq!(count, r#"{"viewercount":1}"#);
    let layer = |rid: &str, live| LayerState {
        rid: Some(rid.into()),
        live,
    };
    node.fake.event(Event::TrackLayers(TrackLayers {
        track: tracks[1],
        layers: vec![layer("q", true), layer("f", false)],
    }));
    let layers = next(&mut reader, "layers").await;
    let layers: serde_json::Value = serde_json::from_str(&layers).unwrap();
    assert_eq!(layers["1"]["layers"][0]["encodingId"], "q");
    assert_eq!(layers["1"]["inactive"][0]["rid"], "f");

    // In the gap viewers stay; a publisher with another codec sends them to a new session.
    node.request(Method::DELETE, &publishing, &token, "").await;
    assert_eq!(next(&mut reader, "inactive").await, "{}");
    let line = WHIP
        .lines()
        .find(|line| line.starts_with("m=video"))
        .unwrap();
    let av1 = WHIP.replace(line, "m=video 9 UDP/TLS/RTP/SAVPF 45 46");
    node.post("/whip/math-7", &token, &av1).await;
    assert_eq!(
        next(&mut reader, "reconnect").await,
        r#"{"reason":"other-formats","retry_after_s":0}"#
    );
    assert!(reader.next().await.is_none(), "the session is gone");
}

#[tokio::test]
async fn a_drain_asks_the_viewers_to_go_and_cuts_nobody_off() {
    let node = node().await;
    let (url, token) = watching(&node).await;
    let mut reader = Reader::open(&node, &format!("{url}/sse?jwt={token}")).await;
    node.fake.event(Event::Draining(Draining {}));
    assert_eq!(
        next(&mut reader, "reconnect").await,
        r#"{"reason":"draining","retry_after_s":1}"#
    );
    let alive = node.request(Method::GET, &url, &token, "").await;
    assert_eq!(alive.status, StatusCode::NO_CONTENT);
    node.request(Method::DELETE, &url, &token, "").await;
    while reader.next().await.is_some() {}
}
