//! `/openapi.json`: the public port, described for programs (OpenAPI 3.1).
//!
//! The description stands beside the handlers and not on them: WHIP and WHEP are one set of operations under
//! several addresses, and most of what a client needs to know of an answer is in its headers. A test walks
//! the router and fails for a route that is not described here; another asks every route without a token.

mod answer;
mod endpoint;
mod node;
mod operation;
mod session;

use std::sync::LazyLock;

use axum::Router;
use axum::http::header;
use axum::response::IntoResponse;
use axum::routing::get;
use utoipa::openapi::security::{ApiKey, ApiKeyValue, HttpAuthScheme, HttpBuilder, SecurityScheme};
use utoipa::openapi::tag::TagBuilder;
use utoipa::openapi::{
    ComponentsBuilder, InfoBuilder, LicenseBuilder, OpenApi, OpenApiBuilder, PathsBuilder,
};

use operation::{JWT_QUERY, ROOM_TOKEN, STREAM_KEY, TOKEN_QUERY};

const DESCRIPTION: &str = "\
A media node for live classes: publish with WHIP (RFC 9725), watch with WHEP, both with a room token.\n\n\
A *room* is a name; a *stream* is `{room}/{name}`, `main` where no name is given. Errors are \
`application/problem+json`: compare `type`, show `detail`. Every answer carries `X-Request-Id`; send your \
own and it is echoed. Unknown fields are ignored, and fields may be added.";

/// Made once: it depends on nothing but this build.
static DOCUMENT: LazyLock<String> = LazyLock::new(|| {
    let mut text = document()
        .to_pretty_json()
        .expect("invariant: a document of strings and numbers always serialises");
    text.push('\n');
    text
});

/// `/openapi.json`. The page that shows it is `page`'s.
pub fn routes() -> Router {
    Router::new().route(
        "/openapi.json",
        get(|| async {
            let headers = [
                (header::CONTENT_TYPE, "application/json"),
                (header::CACHE_CONTROL, "no-cache"),
            ];
            (headers, text()).into_response()
        }),
    )
}

/// The document as it is served.
#[must_use]
pub fn text() -> &'static str {
    &DOCUMENT
}

/// The document.
#[must_use]
pub fn document() -> OpenApi {
    let mut paths = PathsBuilder::new();
    for (path, item) in endpoint::paths()
        .into_iter()
        .chain(session::paths())
        .chain(node::paths())
    {
        paths = paths.path(path, item);
    }
    let tag = |name: &str, text: &str| TagBuilder::new().name(name).description(Some(text)).build();
    OpenApiBuilder::new()
        .info(
            InfoBuilder::new()
                .title("Lectern")
                .version(env!("CARGO_PKG_VERSION"))
                .description(Some(DESCRIPTION))
                .license(Some(
                    LicenseBuilder::new()
                        .name("MIT OR Apache-2.0")
                        .identifier(Some("MIT OR Apache-2.0"))
                        .build(),
                ))
                .build(),
        )
        .tags(Some([
            tag("whip", "Publish a stream (RFC 9725)"),
            tag("whep", "Watch a stream (draft-ietf-wish-whep)"),
            tag("tokens", "Room tokens"),
            tag("node", "The page and this description"),
        ]))
        .paths(paths)
        .components(Some(components().build()))
        .build()
}

fn components() -> ComponentsBuilder {
    let bearer = |format: &str, text: &str| {
        SecurityScheme::Http(
            HttpBuilder::new()
                .scheme(HttpAuthScheme::Bearer)
                .bearer_format(format)
                .description(Some(text))
                .build(),
        )
    };
    let query = |name: &str, text: &str| {
        SecurityScheme::ApiKey(ApiKey::Query(ApiKeyValue::with_description(name, text)))
    };
    let components = ComponentsBuilder::new()
        .security_scheme(
            ROOM_TOKEN,
            bearer(
                "JWT",
                "A room token: from your platform, `lectern token` or `POST /api/token`.",
            ),
        )
        .security_scheme(
            STREAM_KEY,
            bearer(
                "lsk_...",
                "A stream key, from `lectern token --stream-key`: publishes `main` of its room and opens \
                 nothing else. It lasts until it is rotated.",
            ),
        )
        .security_scheme(
            JWT_QUERY,
            query("jwt", "A room token, for players that cannot set headers."),
        )
        .security_scheme(
            TOKEN_QUERY,
            query("token", "The same as `jwt`, for players that call it so."),
        )
        .schema_from::<super::problem::Body<'_>>()
        .schema_from::<super::token::TokenRequest>()
        .schema_from::<super::token::TokenAnswer>();
    answer::catalogue()
        .into_iter()
        .fold(components, |components, (slug, response)| {
            components.response(slug, response)
        })
}

#[cfg(test)]
mod tests;
