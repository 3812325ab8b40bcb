//! The web page, embedded at build time from `web/dist`; a built-in page stands in when it was not built.

use std::borrow::Cow;
use std::fmt::Write as _;

use axum::Router;
use axum::extract::Path;
use axum::http::{HeaderMap, HeaderValue, StatusCode, Uri, header};
use axum::response::{Html, IntoResponse, Response};
use axum::routing::get;
use rust_embed::RustEmbed;

use super::problem::Problem;

/// What the page may do: everything from its own origin, nothing else, no inline script.
const CONTENT_SECURITY_POLICY: &str = "default-src 'self'; img-src 'self' data: blob:; \
     media-src 'self' blob: mediastream:; worker-src 'self' blob:; object-src 'none'; base-uri 'none'; \
     form-action 'self'; frame-ancestors 'self'";

/// Names below `assets/` carry a hash of their content.
const CACHE_FOR_EVER: &str = "public, max-age=31536000, immutable";
/// All else is asked for each time and answered 304 when it is the same.
const CACHE_ASK: &str = "no-cache";

const INDEX: &str = "index.html";
/// The API's reference.
const DOCS: &str = "docs.html";

/// What `/docs` says in a binary without the page.
const DOCS_BUILT_IN: &str = "The API of this node is described at /openapi.json (OpenAPI 3.1).\n\
    This binary was built without the page that shows it: `make web`, then build again.\n";

const BUILT_IN: &str = "<!doctype html>
<html lang=\"en\">
<head><meta charset=\"utf-8\"><meta name=\"viewport\" content=\"width=device-width\">
<meta name=\"color-scheme\" content=\"light dark\"><title>Lectern</title></head>
<body>
<h1>Lectern is running</h1>
<p>This binary was built without the web page. Build it with <code>make web</code> and build again.</p>
<p>Programs need no page: publish with WHIP at <code>/whip/{room}</code>, watch with WHEP at
<code>/whep/{room}</code>, with a token from <code>lectern token</code>.</p>
</body>
</html>
";

#[derive(RustEmbed)]
#[folder = "web/dist/"]
#[allow_missing = true]
struct Files;

/// One embedded file.
struct File {
    content: Cow<'static, [u8]>,
    sha256: [u8; 32],
}

fn find(name: &str) -> Option<File> {
    let found = Files::get(name)?;
    Some(File {
        sha256: found.metadata.sha256_hash(),
        content: found.data,
    })
}

/// `/`, `/publish/{room}`, `/watch/{room}`, `/docs`, the page's assets and the files beside its `index.html`.
pub fn routes() -> Router {
    Router::new()
        .route("/", get(index))
        .route("/publish/{room}", get(index))
        .route("/watch/{room}", get(index))
        .route("/docs", get(docs))
        .route("/assets/{*path}", get(asset))
}

/// What no route takes: a file beside `index.html` (icons, robots.txt), else 404.
pub async fn fallback(uri: Uri, headers: HeaderMap) -> Response {
    let name = uri.path().trim_start_matches('/');
    match find(name).filter(|_| !matches!(name, INDEX | DOCS)) {
        Some(file) => send(name, file, CACHE_ASK, &headers),
        None => Problem::no_route().into_response(),
    }
}

async fn index(headers: HeaderMap) -> Response {
    html(INDEX, &headers, || Html(BUILT_IN).into_response())
}

async fn docs(headers: HeaderMap) -> Response {
    html(DOCS, &headers, || DOCS_BUILT_IN.into_response())
}

/// A page of the build, or what stands in for it, under the policy.
fn html(name: &str, headers: &HeaderMap, built_in: impl FnOnce() -> Response) -> Response {
    let mut response = match find(name) {
        Some(file) => send(name, file, CACHE_ASK, headers),
        None => built_in(),
    };
    let policy = HeaderValue::from_static(CONTENT_SECURITY_POLICY);
    response
        .headers_mut()
        .insert(header::CONTENT_SECURITY_POLICY, policy);
    response
}

async fn asset(Path(path): Path<String>, headers: HeaderMap) -> Response {
    let name = format!("assets/{path}");
    match find(&name) {
        Some(file) => send(&name, file, CACHE_FOR_EVER, &headers),
        None => Problem::no_route().into_response(),
    }
}

fn send(name: &str, file: File, cache: &'static str, headers: &HeaderMap) -> Response {
    let etag = etag(&file.sha256);
    let known = headers
        .get(header::IF_NONE_MATCH)
        .and_then(|value| value.to_str().ok());
    let cache = (header::CACHE_CONTROL, HeaderValue::from_static(cache));
    let tag = HeaderValue::from_str(&etag).expect("invariant: hex in quotes is a header value");
    if known.is_some_and(|known| known.split(',').any(|known| known.trim() == etag)) {
        return (StatusCode::NOT_MODIFIED, [cache, (header::ETAG, tag)]).into_response();
    }
    let media_type = (
        header::CONTENT_TYPE,
        HeaderValue::from_static(media_type(name)),
    );
    ([media_type, cache, (header::ETAG, tag)], file.content).into_response()
}

fn etag(hash: &[u8; 32]) -> String {
    let mut text = String::from("\"");
    // 96 bits: no two files of a page share them by accident.
    for byte in hash.iter().take(12) {
        write!(text, "{byte:02x}").expect("invariant: writing to a String cannot fail");
    }
    text.push('"');
    text
}

fn media_type(name: &str) -> &'static str {
    match name.rsplit_once('.').map_or("", |(_, extension)| extension) {
        "html" => "text/html; charset=utf-8",
        "js" | "mjs" => "text/javascript; charset=utf-8",
        "css" => "text/css; charset=utf-8",
        "json" | "map" => "application/json",
        "webmanifest" => "application/manifest+json",
        "svg" => "image/svg+xml",
        "png" => "image/png",
        "jpg" | "jpeg" => "image/jpeg",
        "ico" => "image/x-icon",
        "woff2" => "font/woff2",
        "wasm" => "application/wasm",
        "txt" => "text/plain; charset=utf-8",
        _ => "application/octet-stream",
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use axum::body::{Body, to_bytes};
    use axum::http::Request;
    use tower::ServiceExt;

    async fn answer(request: Request<Body>) -> Response {
        routes().fallback(fallback).oneshot(request).await.unwrap()
    }

    async fn get(path: &str) -> Response {
        answer(Request::get(path).body(Body::empty()).unwrap()).await
    }

    #[tokio::test]
    async fn every_page_route_serves_one_html_page_with_a_policy() {
        for path in ["/", "/publish/math-7", "/watch/math-7"] {
            let response = get(path).await;
            assert_eq!(response.status(), StatusCode::OK, "{path}");
            assert_eq!(
                response.headers()[header::CONTENT_TYPE],
                "text/html; charset=utf-8"
            );
            assert!(
                response
                    .headers()
                    .contains_key(header::CONTENT_SECURITY_POLICY)
            );
            let body = to_bytes(response.into_body(), 1 << 20).await.unwrap();
            let text = String::from_utf8_lossy(&body);
            assert!(
                text.contains("<!doctype html>") || text.contains("<!DOCTYPE html>"),
                "{text}"
            );
            // Without web/dist the page says how to get the real one.
            assert!(find(INDEX).is_some() || text.contains("make web"));
        }
    }

    #[tokio::test]
    async fn the_reference_is_a_page_or_says_where_the_description_is() {
        let response = get("/docs").await;
        assert_eq!(response.status(), StatusCode::OK);
        assert!(
            response
                .headers()
                .contains_key(header::CONTENT_SECURITY_POLICY)
        );
        let body = to_bytes(response.into_body(), 1 << 20).await.unwrap();
        let text = String::from_utf8_lossy(&body);
        assert!(text.contains("/openapi.json"), "{text}");
    }

    #[tokio::test]
    async fn what_is_not_embedded_is_a_problem_and_not_the_page() {
        for path in [
            "/assets/none.js",
            "/favicon.none",
            "/assets/../../Cargo.toml",
            "/index.html",
            "/docs.html",
        ] {
            let response = get(path).await;
            assert_eq!(response.status(), StatusCode::NOT_FOUND, "{path}");
            assert_eq!(
                response.headers()[header::CONTENT_TYPE],
                "application/problem+json"
            );
        }
    }

    #[tokio::test]
    async fn an_asset_is_cached_for_ever_and_revalidated_by_its_hash() {
        let file = || File {
            content: Cow::Borrowed(b"x"),
            sha256: [7; 32],
        };
        let first = send("assets/a.js", file(), CACHE_FOR_EVER, &HeaderMap::new());
        assert_eq!(first.headers()[header::CACHE_CONTROL], CACHE_FOR_EVER);
        assert_eq!(
            first.headers()[header::CONTENT_TYPE],
            "text/javascript; charset=utf-8"
        );
        let mut headers = HeaderMap::new();
        headers.insert(header::IF_NONE_MATCH, first.headers()[header::ETAG].clone());
        let again = send("assets/a.js", file(), CACHE_FOR_EVER, &headers);
        assert_eq!(again.status(), StatusCode::NOT_MODIFIED);
    }
}
