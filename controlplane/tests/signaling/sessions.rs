//! Sessions: whose they are, and what they do to each other.

use super::*;

#[tokio::test]
async fn one_publisher_a_stream() {
    let node = node().await;
    node.publish().await;
    let orders = node.fake.take_orders();
    let published = tracks(&orders);
    let rival = node.token("rival", Role::Teacher);
    node.post("/whip/math-7", &rival, WHIP)
        .await
        .is_problem(409, "already-publishing");
    for &track in &published {
        node.fake.event(Event::TrackLive(TrackLive {
            track,
            codec: CodecId::VP8,
        }));
    }
    // The events have arrived once the later one has.
    node.fake.event(Event::SessionConnected(SessionConnected {
        session: sessions(&orders, "Admit")[0],
        join_ms: 80,
    }));
    until("connected", || {
        node.metrics
            .text()
            .contains("lectern_join_seconds_count{kind=\"whip\"} 1")
    })
    .await;
    let token = node.token("teacher", Role::Teacher);
    node.post("/whip/math-7", &token, WHIP)
        .await
        .is_problem(409, "already-publishing");
    assert_eq!(node.fake.order_names(), [] as [&str; 0]);

    for &track in &published {
        node.fake.event(Event::TrackSilent(TrackSilent { track }));
    }
    node.fake.event(Event::SessionConnected(SessionConnected {
        session: sessions(&orders, "Admit")[0],
        join_ms: 80,
    }));
    until("silent", || {
        node.metrics
            .text()
            .contains("lectern_join_seconds_count{kind=\"whip\"} 2")
    })
    .await;
    assert_eq!(
        node.post("/whip/math-7", &token, WHIP).await.status,
        StatusCode::CREATED
    );
    assert_eq!(
        node.fake.order_names(),
        ["Close", "Admit", "Publish", "Publish"]
    );
}

#[tokio::test]
async fn viewers_resume_when_the_publisher_comes_back() {
    let node = node().await;
    let (url, token) = node.publish().await;
    let viewer = node.token("viewer", Role::Viewer);
    assert_eq!(
        node.post("/whep/math-7", &viewer, WHEP).await.status,
        StatusCode::CREATED
    );
    assert_eq!(
        node.request(Method::DELETE, &url, &token, "").await.status,
        StatusCode::OK
    );
    node.post("/whep/math-7", &viewer, WHEP)
        .await
        .is_problem(409, "not-live");
    node.fake.take_orders();
    assert_eq!(
        node.post("/whip/math-7", &token, WHIP).await.status,
        StatusCode::CREATED
    );
    until("resubscribed", || node.fake.order_names().len() == 5).await;
    let orders = node.fake.take_orders();
    let names: Vec<_> = orders.iter().map(fake::name).collect();
    assert_eq!(
        names,
        ["Admit", "Publish", "Publish", "Subscribe", "Subscribe"]
    );
    let Some(Command::Subscribe(last)) = orders.last() else {
        panic!()
    };
    assert_eq!(last.source, SlotSource::Track(tracks(&orders)[1]));
}

#[tokio::test]
async fn viewers_of_another_codec_are_sent_away() {
    let node = node().await;
    let (url, token) = node.publish().await;
    let viewer = node.token("viewer", Role::Viewer);
    let watching = node.post("/whep/math-7", &viewer, WHEP).await;
    let session = sessions(&node.fake.take_orders(), "Admit")[1];
    node.request(Method::DELETE, &url, &token, "").await;
    let line = WHIP
        .lines()
        .find(|line| line.starts_with("m=video"))
        .unwrap();
    let av1 = WHIP.replace(line, "m=video 9 UDP/TLS/RTP/SAVPF 45 46");
    assert_eq!(
        node.post("/whip/math-7", &token, &av1).await.status,
        StatusCode::CREATED
    );
    until("closed", || {
        node.fake.order_names().last() == Some(&"Close")
    })
    .await;
    assert_eq!(
        sessions(&node.fake.take_orders(), "Close").last(),
        Some(&session)
    );
    let gone = node
        .request(Method::DELETE, watching.header("location"), &viewer, "")
        .await;
    gone.is_problem(404, "unknown-session");
}

#[tokio::test]
async fn a_session_is_its_owners() {
    let node = node().await;
    let (url, token) = node.publish().await;
    let alive = node.request(Method::GET, &url, &token, "").await;
    assert_eq!(alive.status, StatusCode::NO_CONTENT);
    assert!(alive.header("etag").starts_with('"'));

    let viewer = node.token("viewer", Role::Viewer);
    for method in [Method::GET, Method::DELETE] {
        node.request(method.clone(), &url, &viewer, "")
            .await
            .is_problem(403, "not-allowed");
        let elsewhere = VideoGrant {
            room: Some("physics".into()),
            ..VideoGrant::default()
        };
        let stranger = node.token_with("teacher", Role::Teacher, elsewhere);
        node.request(method.clone(), &url, &stranger, "")
            .await
            .is_problem(403, "wrong-room");
        node.request(method.clone(), &url, "junk", "")
            .await
            .is_problem(401, "unauthenticated");
        let mut other = url.clone();
        other.pop();
        node.request(method.clone(), &other, &token, "")
            .await
            .is_problem(404, "unknown-session");
        let as_viewer = url.replace("/whip/", "/whep/");
        node.request(method, &as_viewer, &token, "")
            .await
            .is_problem(404, "unknown-session");
    }
    assert!(node.is_live());

    // Its token has run out meanwhile: ending is still allowed, starting is not.
    let hour_ago = SystemTime::now() - Duration::from_secs(3600);
    let grant = VideoGrant {
        room: Some("math-7".into()),
        ..VideoGrant::default()
    };
    let claims = RoomClaims::new(
        "teacher",
        Role::Teacher,
        grant,
        hour_ago,
        Duration::from_secs(60),
    );
    let expired = node.keys.mint_room(claims).unwrap();
    node.fake.take_orders();
    assert_eq!(
        node.request(Method::DELETE, &url, &expired, "")
            .await
            .status,
        StatusCode::OK
    );
    assert_eq!(node.fake.order_names(), ["Close"]);
    node.request(Method::DELETE, &url, &token, "")
        .await
        .is_problem(404, "unknown-session");
    assert!(!node.is_live());

    // A moderator of the room may end anybody's.
    let (url, _) = node.publish().await;
    let moderator = node.token("head", Role::Admin);
    assert_eq!(
        node.request(Method::DELETE, &url, &moderator, "")
            .await
            .status,
        StatusCode::OK
    );
}

#[tokio::test]
async fn trickle_is_taken_and_restart_is_done() {
    let node = node().await;
    let token = node.token("teacher", Role::Teacher);
    let created = node.post("/whip/math-7", &token, WHIP).await;
    let (url, etag) = (created.header("location"), created.header("etag"));
    let line = |name: &str| WHIP.lines().find(|line| line.starts_with(name)).unwrap();
    let trickle = format!(
        "{}\r\n{}\r\nm=audio 9 UDP/TLS/RTP/SAVPF 0\r\na=mid:0\r\na=candidate:1 1 udp 1 x.local 9 typ host\r\n",
        line("a=ice-ufrag"),
        line("a=ice-pwd")
    );
    let restart = "a=ice-ufrag:fresh\r\na=ice-pwd:0123456789012345678901\r\n";

    let answer = node.patch(url, &token, Some(etag), &trickle).await;
    assert_eq!(
        (answer.status, answer.headers.contains_key("etag")),
        (StatusCode::NO_CONTENT, false)
    );
    assert_eq!(
        node.patch(url, &token, Some("*"), &trickle).await.status,
        StatusCode::NO_CONTENT
    );
    node.patch(url, &token, None, &trickle)
        .await
        .is_problem(428, "etag-missing");
    node.patch(url, &token, Some("\"other\""), &trickle)
        .await
        .is_problem(412, "etag-stale");
    node.patch(url, &token, Some("*"), "a=ice-ufrag:xyzw\r\n")
        .await
        .is_problem(400, "bad-sdp");
    node.request(Method::PATCH, url, &token, WHIP)
        .await
        .is_problem(415, "wrong-type");
    node.patch(url, &node.token("x", Role::Viewer), Some("*"), &trickle)
        .await
        .is_problem(403, "not-allowed");

    // A restart that the data plane refuses changes nothing.
    node.fake.refuse("RestartIce", Refusal::Overloaded);
    node.patch(url, &token, Some("*"), restart)
        .await
        .is_problem(503, "overloaded");
    assert_eq!(
        node.patch(url, &token, Some(etag), &trickle).await.status,
        StatusCode::NO_CONTENT
    );

    let restarted = node.patch(url, &token, Some("*"), restart).await;
    assert_eq!(
        (restarted.status, restarted.header("content-type")),
        (StatusCode::OK, FRAGMENT)
    );
    assert!(
        restarted.body.contains("a=ice-ufrag:ours2\r\n"),
        "{}",
        restarted.body
    );
    let fresh = restarted.header("etag");
    assert_ne!(fresh, etag);
    node.patch(url, &token, Some(etag), restart)
        .await
        .is_problem(412, "etag-stale");
    assert_eq!(
        node.patch(url, &token, Some(fresh), restart).await.status,
        StatusCode::NO_CONTENT,
        "trickle by now"
    );
}

#[tokio::test]
async fn a_full_room_says_its_limit() {
    let node = with_limit(Some(2)).await;
    node.publish().await;
    let enter = |sub: &str| {
        let token = node.token(sub, Role::Viewer);
        let node = &node;
        async move { node.post("/whep/math-7", &token, WHEP).await }
    };
    assert_eq!(enter("a").await.status, StatusCode::CREATED);
    let full = enter("b").await;
    full.is_problem(403, "room-full");
    assert!(full.detail().contains('2'));
    assert_eq!(enter("a").await.status, StatusCode::CREATED);
}
