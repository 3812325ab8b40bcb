//! The problem catalogue as reusable answers, with examples that the node itself would send.

use std::collections::BTreeMap;

use axum::http::StatusCode;
use serde_json::json;
use utoipa::openapi::example::ExampleBuilder;
use utoipa::openapi::schema::{ObjectBuilder, Ref, Type};
use utoipa::openapi::{ContentBuilder, HeaderBuilder, RefOr, Response, ResponseBuilder};

use crate::http::layers::BODY_BYTES_MAX;
use crate::http::problem::{CONTENT_TYPE, Kind, Problem};

/// Every row of the catalogue, by slug.
pub(super) fn catalogue() -> Vec<(&'static str, Response)> {
    Kind::CATALOGUE
        .into_iter()
        .filter_map(|kind| Some((kind.slug()?, response(&[kind]))))
        .collect()
}

/// The answers of an operation that may meet these problems: one a status, by reference where the status
/// has one problem.
pub(super) fn problems(kinds: &[Kind]) -> Vec<(String, RefOr<Response>)> {
    let mut by_status: BTreeMap<u16, Vec<Kind>> = BTreeMap::new();
    for kind in kinds {
        let of_status = by_status.entry(kind.status().as_u16()).or_default();
        if !of_status.contains(kind) {
            of_status.push(*kind);
        }
    }
    by_status
        .into_iter()
        .map(|(status, kinds)| {
            let response = match kinds.as_slice() {
                [kind] if let Some(slug) = kind.slug() => Ref::from_response_name(slug).into(),
                kinds => response(kinds).into(),
            };
            (status.to_string(), response)
        })
        .collect()
}

/// One answer for problems of the same status.
fn response(kinds: &[Kind]) -> Response {
    let samples: Vec<(String, Problem)> = kinds
        .iter()
        .map(|kind| (name(*kind), sample(*kind)))
        .collect();
    let names: Vec<String> = samples
        .iter()
        .map(|(name, _)| format!("`{name}`"))
        .collect();
    let titles: Vec<&str> = kinds.iter().map(|kind| kind.title()).collect();
    let examples = samples.iter().map(|(name, problem)| {
        let body = json!(problem.body());
        (
            name.clone(),
            ExampleBuilder::new().value(Some(body)).build(),
        )
    });
    let content = ContentBuilder::new()
        .schema(Some(Ref::from_schema_name("Problem")))
        .examples_from_iter(examples)
        .build();
    let mut response = ResponseBuilder::new()
        .description(format!("{}: {}", names.join(", "), titles.join("; ")))
        .content(CONTENT_TYPE, content);
    let retry = samples
        .iter()
        .find_map(|(_, problem)| problem.retry_after_s());
    if let Some(seconds) = retry {
        let number = ObjectBuilder::new()
            .schema_type(Type::Integer)
            .examples([json!(seconds)]);
        response = response.header(
            "Retry-After",
            HeaderBuilder::new()
                .schema(Some(number))
                .description(Some("When to ask again, seconds"))
                .build(),
        );
    }
    response.build()
}

fn name(kind: Kind) -> String {
    kind.slug()
        .map_or_else(|| kind.status().as_u16().to_string(), str::to_owned)
}

/// A problem of this kind as the node words it.
fn sample(kind: Kind) -> Problem {
    match kind {
        Kind::Unauthenticated => Problem::unauthenticated(),
        Kind::TokenExpired => Problem::token_expired(),
        Kind::TokenAudience => Problem::token_audience("lectern"),
        Kind::NotAllowed => {
            Problem::not_allowed("Publishing needs a token with `video.canPublish`.")
        }
        Kind::WrongRoom => Problem::wrong_room(Some("math-7")),
        Kind::Kicked => Problem::kicked("this class ends"),
        Kind::RoomFull => Problem::room_full(200),
        Kind::UnknownSession => Problem::unknown_session(),
        Kind::UnknownClass => Problem::unknown_class(),
        Kind::NotLive => Problem::not_live(
            "Nobody publishes `math-7/main` now. A token with `video.canPublish` publishes it at \
             /whip/math-7/main.",
        ),
        Kind::AlreadyPublishing => Problem::already_publishing(
            "Somebody else publishes `math-7/main`. Publish under another name: /whip/math-7/NAME.",
        ),
        Kind::EtagStale => Problem::etag_stale(),
        Kind::EtagMissing => Problem::etag_missing(),
        Kind::TooLarge => Problem::too_large(BODY_BYTES_MAX),
        Kind::WrongType => Problem::wrong_type("application/sdp"),
        Kind::BadSdp => Problem::bad_sdp(7, "this is no line of SDP"),
        Kind::NoCommonCodec => {
            Problem::no_common_codec("In video section 1: the publisher sends H265.")
        }
        Kind::UnsupportedOffer => {
            Problem::unsupported_offer("In video section 1: there is no `a=rtcp-mux`.")
        }
        Kind::RateLimited => Problem::rate_limited("tokens", 2),
        Kind::Overloaded => Problem::overloaded("Every shard is at its limit."),
        Kind::Draining => Problem::draining(),
        Kind::MediaDown => Problem::media_down(),
        Kind::StoreFull => Problem::store_full(1_048_576),
        Kind::Http(StatusCode::REQUEST_TIMEOUT) => Problem::timeout(10),
        Kind::Http(StatusCode::NOT_FOUND) => Problem::no_route(),
        Kind::Http(StatusCode::BAD_REQUEST) => {
            Problem::bad_request("`user_type` is one of admin, teacher, student, monitor, viewer.")
        }
        Kind::Http(_) => Problem::internal(),
    }
}
