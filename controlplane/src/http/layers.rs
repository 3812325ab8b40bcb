//! What happens to every request and every answer, whatever the route: request id, span, count, size
//! limit, CORS, security headers, and a panic that becomes a 500.

use std::panic::AssertUnwindSafe;
use std::time::{Duration, Instant};

use axum::Router;
use axum::body::{Body, Bytes};
use axum::extract::{DefaultBodyLimit, MatchedPath, Request, State};
use axum::http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, header};
use axum::middleware::{self, Next};
use axum::response::{IntoResponse, Response};
use futures_util::FutureExt;
use tracing::Instrument;

use super::metrics::Metrics;
use super::problem::Problem;
use crate::config::CorsOrigins;

/// Longest body of any request, bytes.
pub const BODY_BYTES_MAX: usize = 256 * 1024;

/// Longest time a body may take to arrive.
pub const BODY_TIME_MAX: Duration = Duration::from_secs(10);

/// Longest request id that is taken over from a client, bytes.
const REQUEST_ID_BYTES_MAX: usize = 64;

/// How long a browser may remember a preflight's answer, seconds: two hours, Chromium's ceiling.
const PREFLIGHT_AGE_S: &str = "7200";

const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");
const PERMISSIONS_POLICY: HeaderName = HeaderName::from_static("permissions-policy");

const ALLOW_METHODS: &str = "OPTIONS, GET, HEAD, POST, PATCH, DELETE";
const ALLOW_HEADERS: &str = "Authorization, Content-Type, If-Match";
const EXPOSE_HEADERS: &str = "Location, ETag, Link, Accept-Post, Accept-Patch";

/// The layers' settings.
#[derive(Clone, Debug)]
pub struct Layers {
    /// Which web origins may read answers.
    pub cors_origins: CorsOrigins,
    /// Where requests are counted.
    pub metrics: Metrics,
}

/// Wraps every route of `router`, its 405 answers and its fallback.
pub fn wrap(router: Router, layers: Layers) -> Router {
    router
        .method_not_allowed_fallback(|| async { Problem::method_not_allowed(None) })
        .layer(DefaultBodyLimit::max(BODY_BYTES_MAX))
        .layer(middleware::from_fn_with_state(layers, around))
}

/// Reads a whole body of at most `limit` bytes, within [`BODY_TIME_MAX`].
///
/// # Errors
/// [`Problem::too_large`], or [`Problem::timeout`] when it trickles in, or [`Problem::bad_request`] when
/// the client stops in the middle.
pub async fn read_body(body: Body, limit: usize) -> Result<Bytes, Problem> {
    match tokio::time::timeout(BODY_TIME_MAX, axum::body::to_bytes(body, limit)).await {
        Err(_) => Err(Problem::timeout(BODY_TIME_MAX.as_secs())),
        Ok(Ok(bytes)) => Ok(bytes),
        Ok(Err(error)) if is_length_limit(&error) => Err(Problem::too_large(limit)),
        Ok(Err(_)) => Err(Problem::bad_request(
            "The body ended before its announced length.",
        )),
    }
}

fn is_length_limit(error: &axum::Error) -> bool {
    std::error::Error::source(error)
        .is_some_and(|source| source.is::<http_body_util::LengthLimitError>())
}

async fn around(State(layers): State<Layers>, request: Request, next: Next) -> Response {
    let started = Instant::now();
    let id = request_id(request.headers());
    let method = request.method().clone();
    let origin = request.headers().get(header::ORIGIN).cloned();
    let preflight = method == Method::OPTIONS
        && request
            .headers()
            .contains_key(header::ACCESS_CONTROL_REQUEST_METHOD);
    let matched = request.extensions().get::<MatchedPath>().cloned();
    let route = matched.as_ref().map_or("none", MatchedPath::as_str);

    // The route's pattern and nothing of the URL: paths hold rooms, query strings hold tokens.
    let span = tracing::info_span!("request", id = id.to_str().unwrap_or_default(), %method, route);
    let mut response = if announced_length(request.headers()) > BODY_BYTES_MAX {
        Problem::too_large(BODY_BYTES_MAX).into_response()
    } else {
        let answer = AssertUnwindSafe(next.run(request))
            .catch_unwind()
            .instrument(span.clone());
        answer.await.unwrap_or_else(|panic| {
            let cause = panic
                .downcast_ref::<String>()
                .map(String::as_str)
                .or_else(|| panic.downcast_ref::<&str>().copied());
            span.in_scope(|| {
                tracing::error!(cause, "a request handler panicked; please report this")
            });
            Problem::internal().into_response()
        })
    };
    if preflight && response.status().is_client_error() {
        // The resource has no OPTIONS of its own; the browser asks us, not it.
        response = StatusCode::NO_CONTENT.into_response();
    }
    let headers = response.headers_mut();
    cors(
        headers,
        &layers.cors_origins,
        origin.as_ref(),
        method == Method::OPTIONS,
    );
    secure(headers);
    headers.insert(REQUEST_ID, id);

    layers.metrics.answered(route, response.status());
    span.in_scope(|| {
        let took_ms = u64::try_from(started.elapsed().as_millis()).unwrap_or(u64::MAX);
        tracing::debug!(status = response.status().as_u16(), took_ms, "answered");
    });
    response
}

/// The client's id when it is short and plain, else a new one.
fn request_id(headers: &HeaderMap) -> HeaderValue {
    headers
        .get(REQUEST_ID)
        .filter(|id| (1..=REQUEST_ID_BYTES_MAX).contains(&id.len()))
        .filter(|id| {
            id.as_bytes()
                .iter()
                .all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_' | b'.'))
        })
        .cloned()
        .unwrap_or_else(|| {
            HeaderValue::from_str(&uuid::Uuid::new_v4().simple().to_string())
                .expect("invariant: hex is a header value")
        })
}

/// `Content-Length`, 0 when there is none: what is not announced is counted while it arrives.
fn announced_length(headers: &HeaderMap) -> usize {
    headers
        .get(header::CONTENT_LENGTH)
        .and_then(|length| length.to_str().ok())
        .map_or(0, |length| length.parse().unwrap_or(usize::MAX))
}

/// CORS (Fetch section 3.2). Credentials are never allowed: tokens are sent explicitly.
fn cors(
    headers: &mut HeaderMap,
    allowed: &CorsOrigins,
    origin: Option<&HeaderValue>,
    is_options: bool,
) {
    let allow = match allowed {
        CorsOrigins::Any => Some(HeaderValue::from_static("*")),
        CorsOrigins::List(list) => {
            // The answer depends on who asks; a cache between must know.
            headers.append(header::VARY, HeaderValue::from_static("Origin"));
            origin
                .filter(|origin| {
                    list.iter()
                        .any(|allowed| allowed.as_bytes() == origin.as_bytes())
                })
                .cloned()
        }
    };
    let Some(allow) = allow else {
        return;
    };
    headers.insert(header::ACCESS_CONTROL_ALLOW_ORIGIN, allow);
    headers.insert(
        header::ACCESS_CONTROL_EXPOSE_HEADERS,
        HeaderValue::from_static(EXPOSE_HEADERS),
    );
    if is_options {
        for (name, value) in [
            (header::ACCESS_CONTROL_ALLOW_METHODS, ALLOW_METHODS),
            (header::ACCESS_CONTROL_ALLOW_HEADERS, ALLOW_HEADERS),
            (header::ACCESS_CONTROL_MAX_AGE, PREFLIGHT_AGE_S),
        ] {
            headers.insert(name, HeaderValue::from_static(value));
        }
    }
}

fn secure(headers: &mut HeaderMap) {
    for (name, value) in [
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (header::REFERRER_POLICY, "no-referrer"),
        (
            PERMISSIONS_POLICY,
            "camera=(self), microphone=(self), display-capture=(self)",
        ),
    ] {
        headers.insert(name, HeaderValue::from_static(value));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use axum::routing::{get, post};
    use tower::ServiceExt;

    fn router(cors_origins: CorsOrigins) -> (Router, Metrics) {
        let metrics = Metrics::new();
        let router = Router::new()
            .route("/plain/{room}", get(|| async { "hello" }))
            .route(
                "/own/{room}",
                post(|body: Body| async {
                    read_body(body, 1024)
                        .await
                        .map(|bytes| bytes.len().to_string())
                })
                .options(|| async { [("accept-post", "application/sdp")] }),
            )
            .route(
                "/panic",
                get(|| async {
                    if true {
                        panic!("planted")
                    }
                }),
            )
            .fallback(|| async { Problem::no_route() });
        (
            wrap(
                router,
                Layers {
                    cors_origins,
                    metrics: metrics.clone(),
                },
            ),
            metrics,
        )
    }

    async fn ask(router: &Router, request: axum::http::request::Builder, body: Body) -> Response {
        router
            .clone()
            .oneshot(request.body(body).unwrap())
            .await
            .unwrap()
    }

    fn text<'a>(response: &'a Response, name: &str) -> Option<&'a str> {
        response
            .headers()
            .get(name)
            .map(|value| value.to_str().unwrap())
    }

    #[tokio::test]
    async fn the_preflight_matrix() {
        let list = CorsOrigins::List(vec!["https://a.example".to_owned()]);
        // allowed origins, path, origin, Access-Control-Allow-Origin
        let table = [
            (CorsOrigins::Any, "/own/x", "https://b.example", Some("*")),
            (CorsOrigins::Any, "/plain/x", "null", Some("*")),
            (CorsOrigins::Any, "/nowhere", "https://b.example", Some("*")),
            (
                list.clone(),
                "/own/x",
                "https://a.example",
                Some("https://a.example"),
            ),
            (list.clone(), "/own/x", "https://b.example", None),
            (
                list.clone(),
                "/own/x",
                "https://a.example.evil.example",
                None,
            ),
            (list.clone(), "/plain/x", "null", None),
        ];
        for (allowed, path, origin, expected) in table {
            let (router, _) = router(allowed);
            let request = Request::options(path)
                .header("origin", origin)
                .header("access-control-request-method", "POST")
                .header(
                    "access-control-request-headers",
                    "authorization,content-type",
                );
            let response = ask(&router, request, Body::empty()).await;
            let case = format!("{path} from {origin}");
            assert!(
                response.status().is_success(),
                "{case}: {}",
                response.status()
            );
            assert_eq!(
                text(&response, "access-control-allow-origin"),
                expected,
                "{case}"
            );
            let sent = expected.is_some();
            assert_eq!(
                text(&response, "access-control-allow-methods"),
                sent.then_some(ALLOW_METHODS)
            );
            assert_eq!(
                text(&response, "access-control-allow-headers"),
                sent.then_some(ALLOW_HEADERS)
            );
            assert_eq!(
                text(&response, "access-control-allow-credentials"),
                None,
                "{case}"
            );
        }
    }

    #[tokio::test]
    async fn a_resource_with_its_own_options_keeps_its_headers() {
        let (router, _) = router(CorsOrigins::Any);
        let response = ask(&router, Request::options("/own/x"), Body::empty()).await;
        assert_eq!(text(&response, "accept-post"), Some("application/sdp"));
        assert_eq!(text(&response, "access-control-allow-origin"), Some("*"));
    }

    #[tokio::test]
    async fn every_answer_exposes_the_headers_of_whip_and_is_hardened() {
        let (router, _) = router(CorsOrigins::Any);
        for path in ["/plain/x", "/nowhere", "/panic"] {
            let response = ask(
                &router,
                Request::get(path).header("origin", "https://b.example"),
                Body::empty(),
            )
            .await;
            assert_eq!(
                text(&response, "access-control-expose-headers"),
                Some(EXPOSE_HEADERS)
            );
            assert_eq!(text(&response, "x-content-type-options"), Some("nosniff"));
            assert_eq!(text(&response, "referrer-policy"), Some("no-referrer"));
            assert!(
                text(&response, "permissions-policy")
                    .unwrap()
                    .contains("camera=(self)")
            );
        }
    }

    #[tokio::test]
    async fn errors_of_http_itself_are_problems_too() {
        let (router, _) = router(CorsOrigins::Any);
        let table = [
            (Request::get("/nowhere"), 404, None),
            (Request::delete("/plain/x"), 405, Some("GET,HEAD")),
            (Request::get("/panic"), 500, None),
        ];
        for (request, status, allow) in table {
            let response = ask(&router, request, Body::empty()).await;
            assert_eq!(response.status().as_u16(), status);
            assert_eq!(
                text(&response, "content-type"),
                Some("application/problem+json"),
                "{status}"
            );
            assert_eq!(text(&response, "allow"), allow, "{status}");
        }
    }

    #[tokio::test]
    async fn a_body_is_bounded_whether_announced_or_not() {
        let (router, _) = router(CorsOrigins::Any);
        let announced = Request::post("/own/x").header("content-length", "1000000000000000000000");
        assert_eq!(
            ask(&router, announced, Body::empty())
                .await
                .status()
                .as_u16(),
            413
        );
        for (len, status) in [(1024, 200), (1025, 413)] {
            let chunks = futures_util::stream::iter((0..len).map(|_| Ok::<_, std::io::Error>("x")));
            let response = ask(&router, Request::post("/own/x"), Body::from_stream(chunks)).await;
            assert_eq!(response.status().as_u16(), status, "{len}");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_body_that_trickles_in_is_cut_off() {
        let (router, _) = router(CorsOrigins::Any);
        let silent = futures_util::stream::pending::<Result<Bytes, std::io::Error>>();
        let response = ask(&router, Request::post("/own/x"), Body::from_stream(silent)).await;
        assert_eq!(response.status(), StatusCode::REQUEST_TIMEOUT);
    }

    #[tokio::test]
    async fn a_plain_request_id_is_echoed_and_a_strange_one_replaced() {
        let (router, _) = router(CorsOrigins::Any);
        let long = "x".repeat(65);
        for (sent, kept) in [
            ("abc-1.2_Z", true),
            ("a b", false),
            ("", false),
            (long.as_str(), false),
        ] {
            let request = Request::get("/plain/x").header("x-request-id", sent);
            let response = ask(&router, request, Body::empty()).await;
            let id = text(&response, "x-request-id").unwrap();
            assert_eq!(id == sent, kept, "{sent}");
            assert!(!id.is_empty());
        }
    }

    #[tokio::test]
    async fn requests_are_counted_by_pattern_and_never_by_path() {
        let (router, metrics) = router(CorsOrigins::Any);
        for path in ["/plain/secret-room?jwt=secret-token", "/secret-path"] {
            ask(&router, Request::get(path), Body::empty()).await;
        }
        let text = metrics.text();
        assert!(
            text.contains("route=\"/plain/{room}\",code=\"200\"} 1"),
            "{text}"
        );
        assert!(text.contains("route=\"none\",code=\"404\"} 1"), "{text}");
        assert!(!text.contains("secret"), "{text}");
    }
}
