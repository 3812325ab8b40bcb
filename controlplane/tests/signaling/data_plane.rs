//! What the data plane refuses, says, and takes with it.

use super::*;

#[tokio::test]
async fn what_the_data_plane_refuses_leaves_nothing_behind() {
    let node = node().await;
    let token = node.token("teacher", Role::Teacher);
    let cases = [
        ("Admit", Refusal::Overloaded, 503, "overloaded"),
        ("Admit", Refusal::Draining, 503, "draining"),
        ("Publish", Refusal::Unknown, 503, "media-down"),
        ("Publish", Refusal::Invalid, 422, "unsupported-offer"),
    ];
    for (order, reason, status, slug) in cases {
        node.fake.take_orders();
        node.fake.refuse(order, reason);
        node.post("/whip/math-7", &token, WHIP)
            .await
            .is_problem(status, slug);
        until("closed again", || {
            node.fake.order_names().last() == Some(&"Close")
        })
        .await;
        let orders = node.fake.take_orders();
        assert_eq!(sessions(&orders, "Close"), sessions(&orders, "Admit"));
        assert!(!node.is_live());
    }
    // Another person may publish: no reservation is left.
    let other = node.token("other", Role::Teacher);
    assert_eq!(
        node.post("/whip/math-7", &other, WHIP).await.status,
        StatusCode::CREATED
    );
    node.fake.take_orders();
    node.fake.refuse("Subscribe", Refusal::Invalid);
    let viewer = node.token("viewer", Role::Viewer);
    node.post("/whep/math-7", &viewer, WHEP)
        .await
        .is_problem(422, "unsupported-offer");
    until("closed again", || {
        node.fake.order_names().last() == Some(&"Close")
    })
    .await;
}

#[tokio::test]
async fn a_client_that_goes_away_in_the_middle_leaves_nothing_behind() {
    let node = node().await;
    node.fake.fall_silent();
    let token = node.token("teacher", Role::Teacher);
    let request = Request::post("/whip/math-7")
        .header("authorization", format!("Bearer {token}"))
        .header("content-type", SDP)
        .body(Body::from(WHIP))
        .unwrap();
    let asking = tokio::spawn(node.router.clone().oneshot(request));
    until("asked", || node.fake.order_names() == ["Admit"]).await;
    asking.abort();
    until("closed", || node.fake.order_names() == ["Admit", "Close"]).await;
    until("counted", || {
        node.metrics.text().contains("lectern_rooms 0")
    })
    .await;
}

#[tokio::test]
async fn without_a_data_plane_or_in_a_drain_nobody_is_taken() {
    let mut node = node().await;
    let (url, token) = node.publish().await;
    node.health.set_draining(true);
    node.post("/whip/math-7/board", &token, WHIP)
        .await
        .is_problem(503, "draining");
    let path = node.fake.kill();
    until("down", || !node.client.is_up()).await;
    assert_eq!(
        node.request(Method::GET, &url, &token, "").await.status,
        StatusCode::NO_CONTENT,
        "it may come back"
    );

    // It comes back as another process: nothing of the old one lives.
    node.fake = FakeNode::start(path, 2);
    node.client.up().await.unwrap();
    until("forgotten", || !node.is_live()).await;
    node.request(Method::DELETE, &url, &token, "")
        .await
        .is_problem(404, "unknown-session");
}

#[tokio::test]
async fn media_down_is_said_while_the_link_is_down() {
    let node = node().await;
    let token = node.token("teacher", Role::Teacher);
    node.fake.kill();
    until("down", || !node.client.is_up()).await;
    let request = Request::post("/whip/math-7")
        .header("authorization", format!("Bearer {token}"))
        .header("content-type", SDP)
        .body(Body::from(WHIP))
        .unwrap();
    let response = node.router.clone().oneshot(request).await.unwrap();
    assert_eq!(response.status(), StatusCode::SERVICE_UNAVAILABLE);
    until("not ready", || !node.health.link_up()).await;
    assert!(node.dir.path().exists());
}

#[tokio::test]
async fn a_data_plane_that_hangs_is_asked_for_nobody_new() {
    let node = node().await;
    let (url, token) = node.publish().await;
    node.fake.take_orders();
    node.health.set_media_answers(false);
    for (path, offer) in [("/whip/math-7/board", WHIP), ("/whep/math-7", WHEP)] {
        node.post(path, &token, offer)
            .await
            .is_problem(503, "media-down");
    }
    assert_eq!(
        node.fake.order_names(),
        [] as [&str; 0],
        "orders would wait, without bound and for people who have gone"
    );
    assert_eq!(
        node.request(Method::GET, &url, &token, "").await.status,
        StatusCode::NO_CONTENT
    );
    node.health.set_media_answers(true);
    let answer = node.post("/whip/math-7/board", &token, WHIP).await;
    assert_eq!(answer.status, StatusCode::CREATED);
}

#[tokio::test(start_paused = true)]
async fn a_data_plane_that_hangs_is_known_within_a_second() {
    let node = node().await;
    let (told, mut hears) = tokio::sync::watch::channel(true);
    let keeping = heartbeat::keep(node.client.clone(), move |answers| {
        told.send_replace(answers);
    });
    let keeping = tokio::spawn(keeping);
    until("it answers", || node.fake.order_names().contains(&"Ping")).await;
    assert!(*hears.borrow());
    node.fake.fall_silent();
    let since = tokio::time::Instant::now();
    hears.wait_for(|answers| !answers).await.unwrap();
    assert!(since.elapsed() <= Duration::from_secs(1), "{since:?}");
    keeping.abort();
}

/// What the data plane says of a connected session.
fn part(session: SessionId) -> Part {
    Part::Session(SessionPart {
        session,
        room: RoomId(1),
        shard: ShardIndex(0),
        tag: vec![],
        connected: true,
        ufrag: "x".into(),
        slots: vec![],
        subscriptions: vec![],
    })
}

#[tokio::test]
async fn a_lost_link_is_made_up_for_by_a_snapshot() {
    let node = node().await;
    let (url, token) = node.publish().await;
    let viewer = node.token("viewer", Role::Viewer);
    let watching = node.post("/whep/math-7", &viewer, WHEP).await;
    let orders = node.fake.take_orders();
    let [publisher, _] = sessions(&orders, "Admit")[..] else {
        panic!()
    };
    // While the link is away the viewer leaves, and a session stays whose `Close` was lost.
    let zombie = SessionId(node.registry.next_id());
    let foreign = SessionId(7);
    node.fake
        .holds(vec![part(publisher), part(zombie), part(foreign)]);
    node.fake.hang_up();
    until("connected again", || node.fake.connections() == 2).await;
    until("reconciled", || node.fake.order_names().contains(&"Close")).await;
    let orders = node.fake.take_orders();
    assert_eq!(
        orders.iter().map(fake::name).collect::<Vec<_>>(),
        ["Snapshot", "Close"]
    );
    assert_eq!(
        sessions(&orders, "Close"),
        [zombie],
        "one whose tag cannot be read is not ours to close"
    );
    node.request(Method::GET, watching.header("location"), &viewer, "")
        .await
        .is_problem(404, "unknown-session");
    assert_eq!(
        node.request(Method::GET, &url, &token, "").await.status,
        StatusCode::NO_CONTENT
    );
    assert!(node.metrics.text().contains("lectern_link_resyncs_total 2"));
}

#[tokio::test]
async fn losses_during_a_snapshot_are_made_up_for_by_the_next_one() {
    let node = node().await;
    let (_, token) = node.publish().await;
    node.fake.hold_snapshots();
    node.fake.event(Event::ResyncNeeded(ResyncNeeded {}));
    until("asked", || node.fake.order_names().contains(&"Snapshot")).await;

    // Somebody joins after the first question, and something is lost again before its answer.
    let viewer = node.token("viewer", Role::Viewer);
    let watching = node.post("/whep/math-7", &viewer, WHEP).await;
    node.post("/whip/math-7/screen", &token, WHIP).await;
    let [publisher, watcher, screen] = sessions(&node.fake.take_orders(), "Admit")[..] else {
        panic!()
    };
    node.fake.event(Event::ResyncNeeded(ResyncNeeded {}));
    let reason = CloseReason::ConsentExpired;
    node.fake.event(Event::SessionClosed(SessionClosed {
        session: screen,
        reason,
    }));
    let screen_is_over = || {
        let rooms = serde_json::to_string(&node.registry.inspect()).unwrap();
        !rooms.contains("screen")
    };
    until("both events are taken", screen_is_over).await;

    // The first answer is older than the viewer. It also has a session that nobody here knows, whose
    // `Close` tells when it has been compared.
    let zombie = SessionId(node.registry.next_id());
    node.fake.holds(vec![part(publisher), part(zombie)]);
    node.fake.snapshot();
    until("asked again", || {
        let names = node.fake.order_names();
        names.contains(&"Close") && names.contains(&"Snapshot")
    })
    .await;
    let url = watching.header("location");
    let answer = node.request(Method::GET, url, &viewer, "").await;
    assert_eq!(answer.status, StatusCode::NO_CONTENT);

    // The second knows that the viewer has gone.
    node.fake.holds(vec![part(publisher)]);
    node.fake.snapshot();
    let viewer_is_gone = || {
        let rooms = serde_json::to_string(&node.registry.inspect()).unwrap();
        !rooms.contains(&watcher.0.to_string())
    };
    until("reconciled", viewer_is_gone).await;
}

#[tokio::test]
async fn a_refused_snapshot_is_asked_for_again() {
    let node = node().await;
    let (url, token) = node.publish().await;
    node.fake.take_orders();
    node.fake.refuse("Snapshot", Refusal::Overloaded);
    node.fake.event(Event::ResyncNeeded(ResyncNeeded {}));
    until("asked again", || {
        node.fake.order_names() == ["Snapshot", "Snapshot"]
    })
    .await;
    until("reconciled: the publisher has gone", || !node.is_live()).await;
    node.request(Method::GET, &url, &token, "")
        .await
        .is_problem(404, "unknown-session");
}

#[tokio::test]
async fn a_session_the_data_plane_closes_is_over() {
    let node = node().await;
    let (url, token) = node.publish().await;
    let session = sessions(&node.fake.take_orders(), "Admit")[0];
    node.fake.event(Event::SessionClosed(SessionClosed {
        session,
        reason: CloseReason::ConsentExpired,
    }));
    until("over", || !node.is_live()).await;
    node.request(Method::GET, &url, &token, "")
        .await
        .is_problem(404, "unknown-session");
    assert_eq!(
        node.fake.order_names(),
        [] as [&str; 0],
        "it is closed already"
    );
}

#[tokio::test]
async fn a_newer_control_plane_ends_this_one() {
    let node = node().await;
    node.fake.event(Event::Superseded(Superseded {}));
    node.client.superseded().await;
    assert!(!node.client.is_up());
    assert!(
        node.client.up().await.is_none(),
        "and it does not take the link back"
    );
    assert_eq!(node.fake.connections(), 1);
}
