//! Counter-offers: the node offers, the viewer answers.

use std::time::UNIX_EPOCH;

use dataplane_api::command::{Accept, Admit, RestartIce};

use super::*;

/// A browser's answer to the node's offer of Opus and VP8.
pub(super) const ANSWER: &str = include_str!("../vectors/answers/chromium_whep.sdp");

/// The same from a viewer that refuses the picture.
pub(super) fn without_video() -> String {
    let video = ANSWER.find("m=video").unwrap();
    ANSWER[..video].to_owned() + &ANSWER[video..].replace("a=recvonly", "a=inactive")
}

/// A viewer that asks without an offer; its session's URL, ETag, and the answer itself.
async fn offered(node: &Node, token: &str) -> (String, String, Answer) {
    let answer = node
        .send(
            Request::post("/whep/math-7")
                .header("authorization", format!("Bearer {token}"))
                .body(Body::empty())
                .unwrap(),
        )
        .await;
    assert_eq!(answer.status, StatusCode::NOT_ACCEPTABLE, "{}", answer.body);
    let url = answer.header("location").to_owned();
    let etag = answer.header("etag").to_owned();
    (url, etag, answer)
}

async fn answer(node: &Node, url: &str, token: &str, if_match: Option<&str>, sdp: &str) -> Answer {
    let mut request = Request::patch(url)
        .header("authorization", format!("Bearer {token}"))
        .header("content-type", SDP);
    if let Some(etag) = if_match {
        request = request.header("if-match", etag);
    }
    node.send(request.body(Body::from(sdp.to_owned())).unwrap())
        .await
}

fn admit(orders: &[Command]) -> &Admit {
    for order in orders {
        if let Command::Admit(admit) = order {
            return admit;
        }
    }
    panic!("{orders:?}")
}

fn accept(orders: &[Command]) -> &Accept {
    for order in orders {
        if let Command::Accept(accept) = order {
            return accept;
        }
    }
    panic!("{orders:?}")
}

fn tag(bytes: &[u8]) -> serde_json::Value {
    serde_json::from_slice(bytes).unwrap()
}

#[tokio::test]
async fn a_viewer_that_offers_nothing_is_made_an_offer_and_watches() {
    let node = node().await;
    node.publish().await;
    node.fake.take_orders();
    let viewer = node.token("viewer", Role::Viewer);
    let before = SystemTime::now();
    let (url, etag, offer) = offered(&node, &viewer).await;
    let until = offer.header("content-type").split('"').nth(1).unwrap();
    let until = httpdate::parse_http_date(until).unwrap();
    let seconds = |time: SystemTime| time.duration_since(UNIX_EPOCH).unwrap().as_secs();
    assert!((29..=31).contains(&(seconds(until) - seconds(before))));

    // The data plane keeps a place, and what will fill it.
    let orders = node.fake.take_orders();
    let names: Vec<_> = orders.iter().map(fake::name).collect();
    assert_eq!(names, ["Admit", "Subscribe", "Subscribe"]);
    let admit = admit(&orders);
    assert_eq!(admit.remote, None);
    assert_eq!(tag(&admit.tag)["ufrag"], "");
    let slots = &admit.slots;
    assert_eq!(slots.len(), 2);
    for slot in slots {
        assert!(offer.body.contains(&format!("a=ssrc:{} ", slot.ssrc)));
        assert!(offer.body.contains(&format!("a=mid:{}\r\n", slot.mid)));
    }

    let accepted = answer(&node, &url, &viewer, Some(&etag), ANSWER).await;
    assert_eq!(accepted.status, StatusCode::NO_CONTENT, "{}", accepted.body);
    assert!(!accepted.headers.contains_key("etag"));
    let orders = node.fake.take_orders();
    let accept = accept(&orders);
    assert_eq!(accept.session, admit.session);
    assert_eq!(accept.remote.setup, Setup::Active);
    let successor = tag(accept.tag.as_ref().unwrap());
    assert_eq!(successor["ufrag"], accept.remote.ufrag);
    assert_eq!(successor["etag"], etag.trim_matches('"'));
    assert_eq!(orders.len(), 1, "nothing is emptied");

    // The same answer again is nothing new; another one is refused.
    let again = answer(&node, &url, &viewer, None, ANSWER).await;
    assert_eq!(again.status, StatusCode::NO_CONTENT);
    let other = ANSWER.replace("a=ice-ufrag:", "a=ice-ufrag:x");
    answer(&node, &url, &viewer, None, &other)
        .await
        .is_problem(422, "unsupported-offer");
    assert_eq!(node.fake.order_names(), [] as [&str; 0]);

    // From here on it is a session as any other.
    let restart = "a=ice-ufrag:fresh\r\na=ice-pwd:0123456789012345678901\r\n";
    let restarted = node.patch(&url, &viewer, Some("*"), restart).await;
    assert_eq!(restarted.status, StatusCode::OK);
    assert!(restarted.body.contains("a=group:BUNDLE 0 1\r\n"));
    assert!(
        restarted
            .body
            .contains("m=audio 9 UDP/TLS/RTP/SAVPF 111\r\n")
    );
    let ended = node.request(Method::DELETE, &url, &viewer, "").await;
    assert_eq!(ended.status, StatusCode::OK);
}

#[tokio::test]
async fn a_section_that_the_viewer_refuses_stays_empty() {
    let node = node().await;
    let (publishing, token) = node.publish().await;
    let viewer = node.token("viewer", Role::Viewer);
    let (url, _, _) = offered(&node, &viewer).await;
    node.fake.take_orders();
    let video = ANSWER.find("m=video").unwrap();
    let deaf = ANSWER[..video].replace("a=recvonly", "a=inactive") + &ANSWER[video..];
    let accepted = answer(&node, &url, &viewer, None, &deaf).await;
    assert_eq!(accepted.status, StatusCode::NO_CONTENT, "{}", accepted.body);
    until("emptied", || {
        node.fake.order_names() == ["Accept", "Unsubscribe"]
    })
    .await;
    // Nor is it filled when the publisher comes back.
    node.request(Method::DELETE, &publishing, &token, "").await;
    node.fake.take_orders();
    node.publish().await;
    until("resubscribed", || {
        node.fake.order_names().last() == Some(&"Subscribe")
    })
    .await;
    let orders = node.fake.take_orders();
    let filled = orders.iter().filter_map(|order| match order {
        Command::Subscribe(subscribe) => Some(subscribe.slot),
        _ => None,
    });
    assert_eq!(filled.collect::<Vec<_>>(), [SlotId(1)]);
}

#[tokio::test]
async fn a_bad_answer_may_be_followed_by_a_good_one() {
    let node = node().await;
    node.publish().await;
    let viewer = node.token("viewer", Role::Viewer);
    let (url, etag, _) = offered(&node, &viewer).await;
    node.fake.take_orders();
    let cases = [
        (WHIP.to_owned(), 422, "unsupported-offer"),
        (ANSWER.replace("VP8", "VP9"), 422, "no-common-codec"),
        (ANSWER.replace("m=audio 9", "m=video 9"), 400, "bad-sdp"),
        ("hello".to_owned(), 400, "bad-sdp"),
        ("a".repeat(256 * 1024 + 1), 413, "too-large"),
    ];
    for (sdp, status, slug) in cases {
        answer(&node, &url, &viewer, None, &sdp)
            .await
            .is_problem(status, slug);
    }
    answer(&node, &url, &viewer, Some("\"earlier\""), ANSWER)
        .await
        .is_problem(412, "etag-stale");
    assert_eq!(node.fake.order_names(), [] as [&str; 0]);
    node.fake.refuse("Accept", Refusal::Overloaded);
    answer(&node, &url, &viewer, Some(&etag), ANSWER)
        .await
        .is_problem(503, "overloaded");
    let accepted = answer(&node, &url, &viewer, Some(&etag), ANSWER).await;
    assert_eq!(accepted.status, StatusCode::NO_CONTENT, "{}", accepted.body);
}

#[tokio::test]
async fn an_offer_that_nobody_answers_is_over_when_the_data_plane_says_so() {
    let node = node().await;
    node.publish().await;
    let viewer = node.token("viewer", Role::Viewer);
    let (url, _, _) = offered(&node, &viewer).await;
    let session = *sessions(&node.fake.take_orders(), "Admit").last().unwrap();
    node.fake.event(Event::SessionClosed(SessionClosed {
        session,
        reason: CloseReason::IceTimeout,
    }));
    let gone = || {
        let rooms = serde_json::to_string(&node.registry.inspect()).unwrap();
        !rooms.contains(&session.0.to_string())
    };
    until("over", gone).await;
    answer(&node, &url, &viewer, None, ANSWER)
        .await
        .is_problem(404, "unknown-session");
}

#[tokio::test]
async fn a_data_plane_that_cannot_offer_leaves_it_to_the_viewer() {
    let node = with(Setting {
        answers_only: true,
        ..Setting::default()
    })
    .await;
    node.publish().await;
    let viewer = node.token("viewer", Role::Viewer);
    for body in ["", &WHEP.replace("a=recvonly", "a=sendonly")] {
        let refused = node.post("/whep/math-7", &viewer, body).await;
        refused.is_problem(422, "unsupported-offer");
        assert!(refused.detail().contains("recvonly"));
    }
    let watching = node.post("/whep/math-7", &viewer, WHEP).await;
    assert_eq!(watching.status, StatusCode::CREATED);
}

#[tokio::test]
async fn a_restart_leaves_its_etag_with_the_data_plane() {
    let node = node().await;
    let (url, token) = node.publish().await;
    node.fake.take_orders();
    let restart = "a=ice-ufrag:fresh\r\na=ice-pwd:0123456789012345678901\r\n";
    let etag = node.request(Method::GET, &url, &token, "").await;
    let etag = etag.header("etag").to_owned();

    // Refused, and not answered at all: the session and its ETag stay.
    for refusal in [Refusal::Overloaded, Refusal::Invalid, Refusal::Unknown] {
        node.fake.refuse("RestartIce", refusal);
        let refused = node.patch(&url, &token, Some("*"), restart).await;
        assert!(refused.status.is_client_error() || refused.status.is_server_error());
        let still = node.request(Method::GET, &url, &token, "").await;
        assert_eq!(still.header("etag"), etag);
    }
    let failed = node.fake.take_orders();
    assert!(failed.iter().all(|order| fake::name(order) == "RestartIce"));

    let restarted = node.patch(&url, &token, Some("*"), restart).await;
    let fresh = restarted.header("etag").trim_matches('"').to_owned();
    let orders = node.fake.take_orders();
    let [
        Command::RestartIce(RestartIce {
            tag: Some(bytes), ..
        }),
    ] = &orders[..]
    else {
        panic!("{orders:?}")
    };
    let successor = tag(bytes);
    assert_eq!(successor["etag"], fresh);
    assert_eq!(successor["ufrag"], "fresh");
    assert!(url.ends_with(successor["id"].as_str().unwrap()));
    let path = node.fake.kill();
    until("down", || !node.client.is_up()).await;
    node.patch(&url, &token, Some("*"), &restart.replace("fresh", "newer"))
        .await
        .is_problem(503, "media-down");
    let still = node.request(Method::GET, &url, &token, "").await;
    assert_eq!(still.header("etag").trim_matches('"'), fresh);
    assert!(path.exists());
}
