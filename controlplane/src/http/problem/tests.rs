//! The catalogue of the specification against what is sent.

use super::*;

/// The catalogue of the specification: slug, status, seconds of `Retry-After`.
fn catalogue() -> Vec<(&'static str, u16, Option<&'static str>, Problem)> {
    vec![
        ("unauthenticated", 401, None, Problem::unauthenticated()),
        ("token-expired", 401, None, Problem::token_expired()),
        (
            "token-audience",
            401,
            None,
            Problem::token_audience("lectern"),
        ),
        (
            "not-allowed",
            403,
            None,
            Problem::not_allowed("needs `video.canPublish`"),
        ),
        ("wrong-room", 403, None, Problem::wrong_room(Some("math-7"))),
        ("kicked", 403, None, Problem::kicked("this class ends")),
        ("room-full", 403, None, Problem::room_full(30)),
        ("unknown-session", 404, None, Problem::unknown_session()),
        ("unknown-class", 404, None, Problem::unknown_class()),
        (
            "not-live",
            409,
            Some("2"),
            Problem::not_live("a teacher publishes at /whip/x"),
        ),
        (
            "already-publishing",
            409,
            Some("2"),
            Problem::already_publishing("u-17 publishes"),
        ),
        ("etag-stale", 412, None, Problem::etag_stale()),
        ("etag-missing", 428, None, Problem::etag_missing()),
        ("too-large", 413, None, Problem::too_large(65_536)),
        (
            "wrong-type",
            415,
            None,
            Problem::wrong_type("application/sdp"),
        ),
        ("bad-sdp", 400, None, Problem::bad_sdp(3, "no origin")),
        (
            "no-common-codec",
            422,
            None,
            Problem::no_common_codec("the publisher sends VP8"),
        ),
        (
            "unsupported-offer",
            422,
            None,
            Problem::unsupported_offer("section 2: no rtcp-mux"),
        ),
        (
            "rate-limited",
            429,
            Some("7"),
            Problem::rate_limited("joins_per_s", 7),
        ),
        (
            "overloaded",
            503,
            Some("2"),
            Problem::overloaded("all shards are full"),
        ),
        ("draining", 503, Some("2"), Problem::draining()),
        ("media-down", 503, Some("2"), Problem::media_down()),
        ("store-full", 507, None, Problem::store_full(0)),
    ]
}

async fn body(response: Response) -> serde_json::Value {
    let bytes = axum::body::to_bytes(response.into_body(), 64 * 1024)
        .await
        .unwrap();
    serde_json::from_slice(&bytes).unwrap()
}

#[tokio::test]
async fn every_row_of_the_catalogue_has_its_status_its_headers_and_a_detail() {
    let rows = catalogue();
    assert_eq!(rows.len(), Kind::CATALOGUE.len());
    for ((slug, status, retry, problem), kind) in rows.into_iter().zip(Kind::CATALOGUE) {
        assert_eq!(problem.kind(), kind);
        let response = problem.at("/whip/x").into_response();
        assert_eq!(response.status().as_u16(), status, "{slug}");
        let header = |name: HeaderName| {
            response
                .headers()
                .get(name)
                .map(|v| v.to_str().unwrap().to_owned())
        };
        assert_eq!(
            header(header::CONTENT_TYPE).as_deref(),
            Some(CONTENT_TYPE),
            "{slug}"
        );
        assert_eq!(header(header::RETRY_AFTER).as_deref(), retry, "{slug}");
        assert_eq!(
            header(header::WWW_AUTHENTICATE).is_some(),
            status == 401,
            "{slug}"
        );
        let body = body(response).await;
        assert_eq!(body["type"], format!("urn:lectern:problem:{slug}"));
        assert_eq!(body["status"], status);
        assert_eq!(body["instance"], "/whip/x");
        assert!(!body["detail"].as_str().unwrap().is_empty(), "{slug}");
        assert!(!body["title"].as_str().unwrap().is_empty(), "{slug}");
    }
}

#[tokio::test]
async fn what_http_itself_refuses_is_about_blank() {
    let response = Problem::method_not_allowed(Some("POST, OPTIONS")).into_response();
    assert_eq!(response.status(), StatusCode::METHOD_NOT_ALLOWED);
    assert_eq!(response.headers()[header::ALLOW], "POST, OPTIONS");
    let body = body(response).await;
    assert_eq!(body["type"], "about:blank");
    assert_eq!(body["title"], "Method Not Allowed");
    assert!(body.get("instance").is_none());
}

#[test]
fn every_way_a_token_proves_nothing_reads_the_same() {
    assert_eq!(
        Problem::from(VerifyError::Invalid("signature")),
        Problem::from(VerifyError::Invalid("unknown key")),
    );
}
