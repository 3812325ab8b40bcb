//! A control plane that was not there when the class began.

use std::collections::BTreeMap;
use std::pin::pin;

use controlplane::rooms::{News, Reconnect};
use dataplane_api::command::Ping;
use dataplane_api::event::Draining;
use dataplane_api::snapshot::TrackPart;

use super::*;

/// What a data plane holds that has carried out these orders, with media flowing.
fn held(orders: &[Command]) -> Vec<Part> {
    let mut sessions: BTreeMap<SessionId, SessionPart> = BTreeMap::new();
    let mut tracks: BTreeMap<TrackId, TrackPart> = BTreeMap::new();
    for order in orders {
        match order {
            Command::Admit(admit) => {
                let part = SessionPart {
                    session: admit.session,
                    room: admit.room,
                    shard: ShardIndex(0),
                    tag: admit.tag.clone(),
                    connected: true,
                    ufrag: "ours".into(),
                    slots: admit.slots.clone(),
                    subscriptions: vec![],
                };
                sessions.insert(admit.session, part);
            }
            Command::Publish(publish) => {
                let part = TrackPart {
                    track: publish.track,
                    session: publish.session,
                    tag: publish.tag.clone(),
                    live: true,
                    layers: vec![],
                };
                tracks.insert(publish.track, part);
            }
            Command::Subscribe(order) => {
                let SlotSource::Track(track) = order.source;
                let session = sessions.get_mut(&order.session).unwrap();
                session.subscriptions.push((order.slot, track));
            }
            Command::RestartIce(restart) => {
                let session = sessions.get_mut(&restart.session).unwrap();
                session.tag = restart.tag.clone().unwrap();
            }
            Command::Accept(accept) => {
                let session = sessions.get_mut(&accept.session).unwrap();
                session.tag = accept.tag.clone().unwrap();
            }
            Command::Unsubscribe(order) => {
                let session = sessions.get_mut(&order.session).unwrap();
                session
                    .subscriptions
                    .retain(|(slot, _)| *slot != order.slot);
            }
            Command::Close(close) => {
                sessions.remove(&close.session);
                tracks.retain(|_, track| track.session != close.session);
            }
            _ => {}
        }
    }
    let sessions = sessions.into_values().map(Part::Session);
    sessions
        .chain(tracks.into_values().map(Part::Track))
        .collect()
}

/// Another control plane over what the first one left.
async fn successor(first: Node, parts: Vec<Part>) -> Node {
    first.fake.take_orders();
    first.fake.holds(parts);
    let connections = first.fake.connections();
    let (dir, fake) = first.die().await;
    let second = over(dir, fake, Setting::default()).await;
    assert_eq!(second.fake.connections(), connections + 1);
    second
}

#[tokio::test]
async fn old_sessions_are_managed_and_new_viewers_join() {
    let first = node().await;
    let (teacher_url, teacher) = first.publish().await;
    let viewer = first.token("viewer", Role::Viewer);
    let watching = first.post("/whep/math-7", &viewer, WHEP).await;
    let viewer_url = watching.header("location").to_owned();
    let etag = watching.header("etag").to_owned();
    let orders = first.fake.take_orders();
    let second = successor(first, held(&orders)).await;

    // Owners, ETags and media sections are those of before.
    let answer = second.request(Method::GET, &viewer_url, &viewer, "").await;
    assert_eq!(
        (answer.status, answer.header("etag")),
        (StatusCode::NO_CONTENT, &*etag)
    );
    let stranger = second.token("stranger", Role::Viewer);
    second
        .request(Method::DELETE, &viewer_url, &stranger, "")
        .await
        .is_problem(403, "not-allowed");
    let restart = "a=ice-ufrag:newufrag\r\na=ice-pwd:newpwdnewpwdnewpwdnewpwd\r\n";
    second
        .patch(&viewer_url, &viewer, Some("\"stale\""), restart)
        .await
        .is_problem(412, "etag-stale");
    let answer = second
        .patch(&viewer_url, &viewer, Some(&etag), restart)
        .await;
    assert_eq!(answer.status, StatusCode::OK, "{}", answer.body);
    assert!(answer.body.contains("a=ice-lite") && answer.body.contains("m=audio"));

    // The stream goes on, and takes a newcomer with the codecs that the publisher sends.
    let other = second.token("other", Role::Viewer);
    let answer = second.post("/whep/math-7", &other, WHEP).await;
    assert_eq!(answer.status, StatusCode::CREATED, "{}", answer.body);
    assert_eq!(
        second.registry.viewers("math-7"),
        1,
        "the first is connected"
    );
    second
        .post("/whip/math-7", &teacher, WHIP)
        .await
        .is_problem(409, "already-publishing");

    // Its end is carried out.
    second.fake.take_orders();
    let answer = second
        .request(Method::DELETE, &teacher_url, &teacher, "")
        .await;
    assert_eq!(answer.status, StatusCode::OK);
    assert_eq!(
        sessions(&second.fake.take_orders(), "Close"),
        [sessions(&orders, "Admit")[0]]
    );
    assert!(!second.is_live());
}

#[tokio::test]
async fn a_restart_before_the_takeover_is_known_after_it() {
    let first = node().await;
    let (url, teacher) = first.publish().await;
    let restart = "a=ice-ufrag:newufrag\r\na=ice-pwd:newpwdnewpwdnewpwdnewpwd\r\n";
    let answer = first.patch(&url, &teacher, Some("*"), restart).await;
    let etag = answer.header("etag").to_owned();
    let orders = first.fake.take_orders();
    let second = successor(first, held(&orders)).await;
    let answer = second.request(Method::GET, &url, &teacher, "").await;
    assert_eq!(answer.header("etag"), etag);
    let trickle = second.patch(&url, &teacher, Some(&etag), restart).await;
    assert_eq!(trickle.status, StatusCode::NO_CONTENT, "its ufrag is known");
}

#[tokio::test]
async fn a_viewer_that_was_admitted_and_not_subscribed_gets_its_picture() {
    let first = node().await;
    first.publish().await;
    let viewer = first.token("viewer", Role::Viewer);
    first.post("/whep/math-7", &viewer, WHEP).await;
    let mut orders = first.fake.take_orders();
    // The first control plane died between the admission and the subscriptions.
    orders.retain(|order| fake::name(order) != "Subscribe");
    let second = asking(first, held(&orders)).await;
    second.fake.snapshot();
    until("subscribed", || {
        let names = second.fake.order_names();
        names.iter().filter(|name| **name == "Subscribe").count() == 2
    })
    .await;
}

/// A successor that has asked for its snapshot and not got it.
async fn asking(first: Node, parts: Vec<Part>) -> Node {
    first.fake.take_orders();
    first.fake.holds(parts);
    first.fake.hold_snapshots();
    let (dir, fake) = first.die().await;
    let second = unsettled(dir, fake, Setting::default());
    until("asked", || second.fake.order_names() == ["Snapshot"]).await;
    second
}

#[tokio::test]
async fn requests_wait_for_the_takeover_instead_of_hearing_that_nothing_is_there() {
    let first = node().await;
    let (url, teacher) = first.publish().await;
    let orders = first.fake.take_orders();
    let second = asking(first, held(&orders)).await;
    let request = Request::get(&url)
        .header("authorization", format!("Bearer {teacher}"))
        .body(Body::empty())
        .unwrap();
    let mut waiting = pin!(second.send(request));
    assert!(futures_util::FutureExt::now_or_never(&mut waiting).is_none());
    assert!(!second.health.link_up(), "not ready before");
    second.fake.snapshot();
    assert_eq!(waiting.await.status, StatusCode::NO_CONTENT);
    second.health.wait_for_link().await;
}

#[tokio::test]
async fn a_session_that_ends_during_the_takeover_is_not_revived() {
    let first = node().await;
    let (url, teacher) = first.publish().await;
    let orders = first.fake.take_orders();
    let [session] = sessions(&orders, "Admit")[..] else {
        panic!()
    };
    let second = asking(first, held(&orders)).await;
    second.fake.event(Event::SessionClosed(SessionClosed {
        session,
        reason: CloseReason::PeerClosed,
    }));
    // The shard's part was taken before its end.
    second.fake.snapshot();
    second.health.wait_for_link().await;
    second
        .request(Method::GET, &url, &teacher, "")
        .await
        .is_problem(404, "unknown-session");
    assert!(!second.is_live());
}

#[tokio::test]
async fn a_session_that_was_taken_over_and_ended_is_not_taken_over_again() {
    let first = node().await;
    let (url, teacher) = first.publish().await;
    let orders = first.fake.take_orders();
    let second = successor(first, held(&orders)).await;
    let answer = second.request(Method::DELETE, &url, &teacher, "").await;
    assert_eq!(answer.status, StatusCode::OK);
    second.fake.take_orders();
    // The order to close it is lost with the link, so the data plane has it still.
    let connections = second.fake.connections();
    second.fake.hang_up();
    until("connected again", || {
        second.fake.connections() > connections
    })
    .await;
    until("closed again", || {
        second.fake.order_names() == ["Snapshot", "Close"]
    })
    .await;
    assert_eq!(
        sessions(&second.fake.take_orders(), "Close"),
        sessions(&orders, "Admit")
    );
    assert!(!second.is_live());
}

#[tokio::test]
async fn a_class_whose_tracks_cannot_be_read_is_left_alone() {
    let first = node().await;
    let (url, teacher) = first.publish().await;
    let mut parts = held(&first.fake.take_orders());
    for part in &mut parts {
        if let Part::Track(track) = part {
            track.tag = br#"{"v":2,"kind":"audio","codec":1,"form":0}"#.to_vec();
        }
    }
    // The successor is settled, so what it makes of them is done.
    let second = successor(first, parts).await;
    second
        .request(Method::GET, &url, &teacher, "")
        .await
        .is_problem(404, "unknown-session");
    second.client.order(Command::Ping(Ping {})).await.unwrap();
    assert_eq!(second.fake.order_names(), ["Ping"], "its media goes on");
}

#[tokio::test(start_paused = true)]
async fn a_takeover_that_never_ends_is_media_down() {
    let first = node().await;
    let (url, teacher) = first.publish().await;
    let second = asking(first, vec![]).await;
    second
        .request(Method::GET, &url, &teacher, "")
        .await
        .is_problem(503, "media-down");
}

#[tokio::test]
async fn viewers_hear_what_becomes_of_their_stream() {
    let node = node().await;
    node.publish().await;
    let viewer = node.token("viewer", Role::Viewer);
    node.post("/whep/math-7", &viewer, WHEP).await;
    let orders = node.fake.take_orders();
    let [_, watcher] = sessions(&orders, "Admit")[..] else {
        panic!()
    };
    let mut news = node.registry.news(watcher).unwrap();
    assert!(!news.borrow_and_update().active);
    let track = tracks(&orders)[0];
    node.fake.event(Event::TrackLive(TrackLive {
        track,
        codec: CodecId::OPUS,
    }));
    let told = news.wait_for(|news| news.active).await.unwrap().clone();
    assert_eq!(told.tracks.len(), 2);
    node.fake.event(Event::SessionConnected(SessionConnected {
        session: watcher,
        join_ms: 1,
    }));
    news.wait_for(|news| news.viewers == 1).await.unwrap();
    node.fake.event(Event::Draining(Draining {}));
    let draining = |news: &News| news.reconnect == Some(Reconnect::Draining);
    news.wait_for(draining).await.unwrap();
    let teacher = node.token("teacher", Role::Teacher);
    node.post("/whip/math-7/board", &teacher, WHIP)
        .await
        .is_problem(503, "draining");
    // The process ends: that is told while the session may still come back.
    let path = node.fake.kill();
    let lost = |news: &News| news.reconnect == Some(Reconnect::MediaDown) && !news.active;
    news.wait_for(lost).await.unwrap();
    // Another one comes, which knows nothing of it and does not drain.
    let _second = FakeNode::start(path, 2);
    while news.changed().await.is_ok() {}
    assert!(
        lost(&news.borrow()),
        "the last word, and nothing more will come"
    );
    until("taken again", || !node.health.draining()).await;
}

#[tokio::test]
async fn an_offer_of_before_is_answered_after() {
    let first = node().await;
    first.publish().await;
    let viewer = first.token("viewer", Role::Viewer);
    let offered = first.post("/whep/math-7", &viewer, "").await;
    assert_eq!(offered.status, StatusCode::NOT_ACCEPTABLE);
    let url = offered.header("location").to_owned();
    let mut orders = first.fake.take_orders();
    let second = successor(first, held(&orders)).await;

    let answer = |node: &Node, body: String| {
        let request = Request::patch(&url)
            .header("authorization", format!("Bearer {viewer}"))
            .header("content-type", SDP);
        let request = request.body(Body::from(body)).unwrap();
        node.router.clone().oneshot(request)
    };
    let audio_only = counter::without_video();
    let answered = answer(&second, audio_only.clone()).await.unwrap();
    assert_eq!(answered.status(), StatusCode::NO_CONTENT);
    until("emptied", || {
        second.fake.order_names() == ["Accept", "Unsubscribe"]
    })
    .await;

    // A third one knows that it is answered, and which slot stays empty.
    orders.extend(second.fake.take_orders());
    let third = successor(second, held(&orders)).await;
    let again = answer(&third, audio_only).await.unwrap();
    assert_eq!(again.status(), StatusCode::NO_CONTENT);
    let other = counter::ANSWER.replace("a=ice-ufrag:", "a=ice-ufrag:x");
    let other = answer(&third, other).await.unwrap();
    assert_eq!(other.status(), StatusCode::UNPROCESSABLE_ENTITY);
    assert_eq!(
        third.fake.order_names(),
        [] as [&str; 0],
        "what was refused is not filled again"
    );
}
