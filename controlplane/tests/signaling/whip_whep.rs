//! Endpoints: what a POST is answered.

use super::*;

#[tokio::test]
async fn a_publisher_gets_what_rfc_9725_promises() {
    let node = node().await;
    let token = node.token("teacher", Role::Teacher);
    let answer = node.post("/whip/math-7?x=1", &token, WHIP).await;
    assert_eq!(answer.status, StatusCode::CREATED, "{}", answer.body);
    assert_eq!(answer.header("content-type"), SDP);
    assert_eq!(answer.header("accept-patch"), FRAGMENT);
    let location = answer.header("location");
    let id = location
        .strip_prefix("/whip/math-7/main/")
        .expect("a path without query");
    assert_eq!(id.len(), 22, "128 bits");
    let etag = answer.header("etag");
    assert!(etag.starts_with('"') && etag.ends_with('"') && etag.len() > 10);
    let links: Vec<_> = answer
        .headers
        .get_all("link")
        .iter()
        .map(|link| link.to_str().unwrap())
        .collect();
    assert_eq!(links.len(), 2, "one header a server");
    assert!(links.iter().all(|link| !link.contains(',')));
    for line in [
        "a=ice-ufrag:ours1\r\n",
        "a=setup:passive\r\n",
        "a=ice-lite\r\n",
        "a=recvonly\r\n",
        "192.0.2.7 40000 typ host",
    ] {
        assert!(answer.body.contains(line), "{}", answer.body);
    }

    let orders = node.fake.take_orders();
    let [
        Command::Admit(admit),
        Command::Publish(audio),
        Command::Publish(video),
    ] = orders.as_slice()
    else {
        panic!("{orders:?}");
    };
    assert_eq!(admit.remote.as_ref().unwrap().setup, Setup::ActPass);
    assert!(admit.slots.is_empty());
    let tag: serde_json::Value = serde_json::from_slice(&admit.tag).unwrap();
    assert_eq!(
        (&tag["room"], &tag["stream"], &tag["sub"]),
        (&"math-7".into(), &"main".into(), &"teacher".into())
    );
    assert_eq!(tag["id"], id);
    assert_eq!(
        (audio.kind, audio.codecs[0].codec),
        (MediaKind::Audio, CodecId::OPUS)
    );
    assert_eq!(
        (video.kind, video.codecs[0].codec),
        (MediaKind::Video, CodecId::VP8)
    );
    assert_eq!(
        (video.session, video.origin_node, video.hops),
        (admit.session, [9; 16], 0)
    );
    assert_ne!(audio.track, video.track);
}

#[tokio::test]
async fn a_viewer_gets_slots_filled_from_the_stream() {
    let node = node().await;
    node.publish().await;
    let published = tracks(&node.fake.take_orders());
    let token = node.token("viewer", Role::Viewer);
    let answer = node.post("/whep/math-7", &token, WHEP).await;
    assert_eq!(answer.status, StatusCode::CREATED, "{}", answer.body);
    assert!(answer.header("location").starts_with("/whep/math-7/main/"));
    assert!(answer.body.contains("a=sendonly") && answer.body.contains("a=msid:main video"));
    let orders = node.fake.take_orders();
    let [
        Command::Admit(admit),
        Command::Subscribe(audio),
        Command::Subscribe(video),
    ] = orders.as_slice()
    else {
        panic!("{orders:?}");
    };
    assert_eq!(admit.slots.len(), 2);
    for slot in &admit.slots {
        assert!(
            answer
                .body
                .contains(&format!("a=ssrc:{} cname:", slot.ssrc)),
            "{}",
            answer.body
        );
        assert_ne!(slot.ssrc, 0);
    }
    assert_eq!(
        (audio.slot, audio.source),
        (SlotId(0), SlotSource::Track(published[0]))
    );
    assert_eq!(
        (video.slot, video.source),
        (SlotId(1), SlotSource::Track(published[1]))
    );
    // The same room, hence the same shard.
    assert_eq!(
        orders
            .iter()
            .filter(|order| matches!(order, Command::Admit(_)))
            .count(),
        1
    );
}

#[tokio::test]
async fn endpoints_answer_what_a_client_asks_first() {
    let node = node().await;
    for path in [
        "/whip/math-7",
        "/whip/math-7/board",
        "/whep/math-7",
        "/math-7/whip",
        "/math-7/whep",
        "/math-7/board/whep",
    ] {
        let options = node
            .send(Request::options(path).body(Body::empty()).unwrap())
            .await;
        assert_eq!(
            (options.status, options.header("accept-post")),
            (StatusCode::NO_CONTENT, SDP),
            "{path}"
        );
        assert!(options.header("allow").contains("POST"));
        let get = node
            .send(Request::get(path).body(Body::empty()).unwrap())
            .await;
        assert_eq!(
            (get.status, get.body.as_str()),
            (StatusCode::NO_CONTENT, ""),
            "{path}"
        );
        let head = node
            .send(Request::head(path).body(Body::empty()).unwrap())
            .await;
        if path.contains("whep") {
            assert_eq!(
                (head.status, head.header("content-type")),
                (StatusCode::OK, SDP),
                "{path}"
            );
        } else {
            assert_eq!(head.status, StatusCode::NO_CONTENT, "{path}");
        }
    }
    let session = node
        .send(
            Request::options("/whip/math-7/main/x")
                .body(Body::empty())
                .unwrap(),
        )
        .await;
    assert_eq!(
        (session.status, session.header("accept-patch")),
        (StatusCode::NO_CONTENT, FRAGMENT)
    );
    for path in [
        "/whip/a%2fb",
        "/whip/a.b",
        "/whip/room/na%00me",
        &format!("/whip/{}", "x".repeat(65)),
    ] {
        let answer = node.post(path, &node.token("t", Role::Admin), WHIP).await;
        assert_eq!(answer.status, StatusCode::NOT_FOUND, "{path}");
    }
}

#[tokio::test]
async fn aliases_and_names_lead_to_the_same_streams() {
    let node = node().await;
    let token = node.token("teacher", Role::Teacher);
    let board = node.post("/math-7/board/whip", &token, WHIP).await;
    assert!(
        board.header("location").starts_with("/whip/math-7/board/"),
        "{}",
        board.body
    );
    let main = node.post("/math-7/whip", &token, WHIP).await;
    assert!(main.header("location").starts_with("/whip/math-7/main/"));
    let player = node.token("viewer", Role::Viewer);
    for path in [
        "/math-7/board/whep",
        "/whep/math-7/board",
        "/math-7/whep",
        "/whep/math-7/main",
    ] {
        // Players that cannot set headers.
        for key in ["jwt", "token"] {
            let request =
                Request::post(format!("{path}?{key}={player}")).header("content-type", SDP);
            let answer = node.send(request.body(Body::from(WHEP)).unwrap()).await;
            assert_eq!(
                answer.status,
                StatusCode::CREATED,
                "{path}: {}",
                answer.body
            );
            assert!(
                !answer.header("location").contains('?'),
                "no token in a URL we make"
            );
        }
    }
}

#[tokio::test]
async fn tokens_open_what_they_say() {
    let node = node().await;
    let post = |path: &'static str, token: String| {
        let node = &node;
        async move { node.post(path, &token, WHIP).await }
    };
    let without = Request::post("/whip/math-7")
        .header("content-type", SDP)
        .body(Body::from(WHIP))
        .unwrap();
    node.send(without).await.is_problem(401, "unauthenticated");
    post("/whip/math-7", "no.token.atall".into())
        .await
        .is_problem(401, "unauthenticated");
    let basic = Request::post("/whip/math-7")
        .header("authorization", "Basic dTpw")
        .header("content-type", SDP);
    node.send(basic.body(Body::from(WHIP)).unwrap())
        .await
        .is_problem(401, "unauthenticated");

    let grant = |room: &str| VideoGrant {
        room: Some(room.into()),
        ..VideoGrant::default()
    };
    let hour_ago = SystemTime::now() - Duration::from_secs(3600);
    let old = RoomClaims::new(
        "t",
        Role::Teacher,
        grant("math-7"),
        hour_ago,
        Duration::from_secs(60),
    );
    post("/whip/math-7", node.keys.mint_room(old).unwrap())
        .await
        .is_problem(401, "token-expired");
    let elsewhere =
        Keys::from_secret("k-test", "a secret of more than thirty-two bytes", "other").unwrap();
    let claims = RoomClaims::new(
        "t",
        Role::Teacher,
        grant("math-7"),
        SystemTime::now(),
        Duration::from_secs(60),
    );
    post("/whip/math-7", elsewhere.mint_room(claims).unwrap())
        .await
        .is_problem(401, "token-audience");

    let other_room = node.token_with("t", Role::Teacher, grant("physics"));
    post("/whip/math-7", other_room)
        .await
        .is_problem(403, "wrong-room");
    post("/whip/math-7", node.token("s", Role::Student))
        .await
        .is_problem(403, "not-allowed");
    post("/whip/math-7", node.token("v", Role::Viewer))
        .await
        .is_problem(403, "not-allowed");
    let outside = VideoGrant {
        room_join: Some(false),
        ..VideoGrant::default()
    };
    post("/whip/math-7", node.token_with("t", Role::Teacher, outside))
        .await
        .is_problem(403, "not-allowed");
    let voice = VideoGrant {
        can_publish_sources: Some(vec![Source::Microphone]),
        ..VideoGrant::default()
    };
    post("/whip/math-7", node.token_with("t", Role::Teacher, voice))
        .await
        .is_problem(403, "not-allowed");
    let blind = VideoGrant {
        can_subscribe: Some(false),
        ..VideoGrant::default()
    };
    node.post(
        "/whep/math-7",
        &node.token_with("v", Role::Viewer, blind),
        WHEP,
    )
    .await
    .is_problem(403, "not-allowed");

    assert_eq!(
        node.fake.order_names(),
        [] as [&str; 0],
        "none of them reached the data plane"
    );
    let granted = VideoGrant {
        can_publish: Some(true),
        ..VideoGrant::default()
    };
    let student = node.token_with("s", Role::Student, granted);
    assert_eq!(
        post("/whip/math-7", student).await.status,
        StatusCode::CREATED
    );
}

#[tokio::test]
async fn bodies_are_refused_for_what_is_wrong_with_them() {
    let node = node().await;
    let token = node.token("teacher", Role::Teacher);
    let post = |content_type: &str, body: String| {
        let request = Request::post("/whip/math-7")
            .header("authorization", format!("Bearer {token}"))
            .header("content-type", content_type)
            .body(Body::from(body))
            .unwrap();
        node.send(request)
    };
    post("application/json", WHIP.into())
        .await
        .is_problem(415, "wrong-type");
    assert_eq!(
        post("application/SDP; charset=utf-8", WHIP.into())
            .await
            .status,
        StatusCode::CREATED
    );
    post(SDP, "a".repeat(256 * 1024 + 1))
        .await
        .is_problem(413, "too-large");
    post(SDP, format!("{WHIP}{}", "a=x\r\n".repeat(20_000)))
        .await
        .is_problem(413, "too-large");
    post(SDP, format!("{WHIP}{}", "a=x\r\n".repeat(2_000)))
        .await
        .is_problem(413, "too-large");
    post(
        SDP,
        format!("{WHIP}{}", "m=audio 0 UDP/TLS/RTP/SAVPF 0\r\n".repeat(64)),
    )
    .await
    .is_problem(413, "too-large");

    let bad = post(SDP, WHIP.replace("a=setup:actpass", "a=setup:upside-down")).await;
    bad.is_problem(400, "bad-sdp");
    assert!(bad.detail().starts_with("Line 15:"), "{}", bad.detail());
    let unsupported = post(SDP, WHIP.replace("a=rtcp-mux\r\n", "")).await;
    unsupported.is_problem(422, "unsupported-offer");
    assert!(
        unsupported.detail().contains("audio"),
        "the section is named: {}",
        unsupported.detail()
    );
    post(SDP, WHIP.replace("opus/48000/2", "speex/16000"))
        .await
        .is_problem(422, "no-common-codec");

    // A body that never says how long it is.
    let endless =
        futures_util::stream::repeat_with(|| Ok::<_, std::io::Error>(vec![b'a'; 16 * 1024]));
    let request = Request::post("/whip/math-7")
        .header("authorization", format!("Bearer {token}"))
        .header("content-type", SDP)
        .body(Body::from_stream(endless))
        .unwrap();
    node.send(request).await.is_problem(413, "too-large");
}

#[tokio::test]
async fn not_live_and_wrong_codec_are_told_apart() {
    let node = node().await;
    let viewer = node.token("viewer", Role::Viewer);
    let answer = node.post("/whep/math-7", &viewer, WHEP).await;
    answer.is_problem(409, "not-live");
    assert!(
        answer.detail().contains("/whip/math-7/main"),
        "{}",
        answer.detail()
    );
    let token = node.token("teacher", Role::Teacher);
    let line = WHIP
        .lines()
        .find(|line| line.starts_with("m=video"))
        .unwrap();
    let vp9 = WHIP.replace(line, "m=video 9 UDP/TLS/RTP/SAVPF 98 99");
    assert_eq!(
        node.post("/whip/math-7", &token, &vp9).await.status,
        StatusCode::CREATED
    );
    let answer = node.post("/whep/math-7", &viewer, SAFARI_WHEP).await;
    answer.is_problem(422, "no-common-codec");
    assert!(answer.detail().contains("VP9"), "{}", answer.detail());
    node.post("/whep/math-7/board", &viewer, WHEP)
        .await
        .is_problem(409, "not-live");
}
