//! Somebody who knows a session's URL, or guesses at one, and is not its owner (security.md C3).

use super::*;

struct Attempt {
    what: &'static str,
    /// `None`: without a token.
    token: Option<String>,
    url: String,
    if_match: &'static str,
    status: u16,
    slug: &'static str,
}

/// The URL of a session whose id is one higher.
fn next(url: &str) -> String {
    let (rest, last) = url.split_at(url.len() - 1);
    format!("{rest}{}", if last == "A" { "B" } else { "A" })
}

fn attempts(node: &Node, url: &str, owner: &str) -> Vec<Attempt> {
    let elsewhere = VideoGrant {
        room: Some("physics".into()),
        ..VideoGrant::default()
    };
    let attempt = |what, token: Option<String>, status, slug| Attempt {
        what,
        token,
        url: url.to_owned(),
        if_match: "*",
        status,
        slug,
    };
    let own = node.token(owner, Role::Teacher);
    let stranger = node.publishing_student("stranger");
    let far = node.token_with(owner, Role::Teacher, elsewhere);
    vec![
        attempt("another valid token", Some(stranger), 403, "not-allowed"),
        attempt("another room's token", Some(far), 403, "wrong-room"),
        attempt("no token", None, 401, "unauthenticated"),
        attempt(
            "no real token",
            Some("a.b.c".into()),
            401,
            "unauthenticated",
        ),
        Attempt {
            url: next(url),
            ..attempt("the id beside", Some(own.clone()), 404, "unknown-session")
        },
        Attempt {
            if_match: "\"guessed\"",
            ..attempt("a guessed ETag", Some(own), 412, "etag-stale")
        },
    ]
}

#[tokio::test]
async fn nobody_takes_a_session_over() {
    let node = node().await;
    let (publishing, teacher) = node.publish().await;
    let viewer = node.token("viewer", Role::Viewer);
    let watching = node.post("/whep/math-7", &viewer, WHEP).await;
    let watching = watching.header("location").to_owned();
    let waiting = node.post("/whep/math-7", &viewer, "").await;
    let waiting = waiting.header("location").to_owned();
    node.fake.take_orders();

    let restart = "a=ice-ufrag:thief\r\na=ice-pwd:0123456789012345678901\r\n";
    let bodies = [
        (Method::PATCH, FRAGMENT, restart),
        (Method::PATCH, SDP, super::counter::ANSWER),
        (Method::DELETE, SDP, ""),
        (Method::GET, SDP, ""),
    ];
    for (url, owner) in [
        (&publishing, "teacher"),
        (&watching, "viewer"),
        (&waiting, "viewer"),
    ] {
        for attempt in attempts(&node, url, owner) {
            for (method, content_type, body) in &bodies {
                let is_whip = url.starts_with("/whip/");
                // An ETag is asked for by PATCH only, and WHIP takes no answers.
                if attempt.slug == "etag-stale" && *method != Method::PATCH
                    || is_whip && *content_type == SDP && *method == Method::PATCH
                {
                    continue;
                }
                let mut request = Request::builder()
                    .method(method)
                    .uri(&attempt.url)
                    .header("content-type", *content_type)
                    .header("if-match", attempt.if_match);
                if let Some(token) = &attempt.token {
                    request = request.header("authorization", format!("Bearer {token}"));
                }
                let what = format!("{method} {} with {}", attempt.url, attempt.what);
                let answer = node.send(request.body(Body::from(*body)).unwrap()).await;
                assert_eq!(answer.status.as_u16(), attempt.status, "{what}");
                assert_eq!(answer.problem().1, attempt.slug, "{what}");
                let events = format!("{}/sse", attempt.url);
                if !is_whip && attempt.slug != "etag-stale" {
                    let token = attempt.token.clone().unwrap_or_default();
                    let events = node.request(Method::POST, &events, &token, "").await;
                    assert_eq!(
                        events.status.as_u16(),
                        attempt.status,
                        "events: {}",
                        attempt.what
                    );
                }
            }
        }
    }
    assert_eq!(
        node.fake.order_names(),
        [] as [&str; 0],
        "the data plane has heard of none of it"
    );
    for (url, token) in [
        (&publishing, &teacher),
        (&watching, &viewer),
        (&waiting, &viewer),
    ] {
        let alive = node.request(Method::GET, url, token, "").await;
        assert_eq!(alive.status, StatusCode::NO_CONTENT, "{url}");
    }
    assert!(node.is_live());
}

#[tokio::test]
async fn ids_and_etags_are_not_guessed() {
    let node = node().await;
    node.publish().await;
    let viewer = node.token("viewer", Role::Viewer);
    let mut seen = std::collections::BTreeSet::new();
    for _ in 0..50 {
        let watching = node.post("/whep/math-7", &viewer, WHEP).await;
        let id = watching.header("location").rsplit('/').next().unwrap();
        assert_eq!(id.len(), 22, "128 bits in base64");
        assert!(seen.insert(id.to_owned()));
        assert!(seen.insert(watching.header("etag").to_owned()));
    }
}
