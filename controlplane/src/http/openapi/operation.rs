//! One operation of the document: what is common to all of them, said once.

use serde_json::json;
use utoipa::openapi::header::HeaderBuilder;
use utoipa::openapi::path::{OperationBuilder, Parameter, ParameterBuilder, ParameterIn};
use utoipa::openapi::request_body::{RequestBody, RequestBodyBuilder};
use utoipa::openapi::schema::{ObjectBuilder, Type};
use utoipa::openapi::security::SecurityRequirement;
use utoipa::openapi::{ContentBuilder, Header, Required, ResponseBuilder};

use super::answer::problems;
use crate::auth::stream_key::PREFIX;
use crate::http::problem::Kind;

pub(super) const ROOM_TOKEN: &str = "roomToken";
pub(super) const STREAM_KEY: &str = "streamKey";
pub(super) const JWT_QUERY: &str = "jwtQuery";
pub(super) const TOKEN_QUERY: &str = "tokenQuery";

/// Who may ask.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Access {
    /// Everyone.
    Open,
    /// Whoever has a room token.
    Token,
    /// Whoever has a room token or a stream key.
    TokenOrStreamKey,
}

/// An operation with its tag, name and texts.
pub(super) fn operation(
    tag: &str,
    id: &str,
    summary: &str,
    description: &str,
    access: Access,
) -> OperationBuilder {
    let none: [&str; 0] = [];
    let schemes: &[&str] = match access {
        Access::Open => &[],
        Access::Token => &[ROOM_TOKEN, JWT_QUERY, TOKEN_QUERY],
        Access::TokenOrStreamKey => &[ROOM_TOKEN, STREAM_KEY, JWT_QUERY, TOKEN_QUERY],
    };
    OperationBuilder::new()
        .tag(tag)
        .operation_id(Some(id))
        .summary(Some(summary))
        .description((!description.is_empty()).then_some(description))
        .securities(Some(
            schemes
                .iter()
                .map(|scheme| SecurityRequirement::new(*scheme, none)),
        ))
}

/// Every problem that a request without a usable token meets.
pub(super) const TOKEN_PROBLEMS: [Kind; 4] = [
    Kind::Unauthenticated,
    Kind::TokenExpired,
    Kind::TokenAudience,
    Kind::WrongRoom,
];

/// Adds these problems, by status.
pub(super) fn with_problems(mut operation: OperationBuilder, kinds: &[Kind]) -> OperationBuilder {
    for (status, response) in problems(kinds) {
        operation = operation.response(status, response);
    }
    operation
}

pub(super) fn room() -> Parameter {
    in_path(
        "room",
        "The room's name.",
        "math-7",
        Some("^[A-Za-z0-9_-]{1,64}$"),
    )
}

pub(super) fn name() -> Parameter {
    in_path(
        "name",
        "The stream's name within the room.",
        "main",
        Some("^[A-Za-z0-9_-]{1,64}$"),
    )
}

pub(super) fn in_path(
    name: &str,
    description: &str,
    example: &str,
    pattern: Option<&str>,
) -> Parameter {
    let text = ObjectBuilder::new()
        .schema_type(Type::String)
        .pattern(pattern)
        .build();
    ParameterBuilder::new()
        .name(name)
        .parameter_in(ParameterIn::Path)
        .required(Required::True)
        .description(Some(description))
        .schema(Some(text))
        .example(Some(json!(example)))
        .build()
}

pub(super) fn in_header(name: &str, description: &str, required: Required) -> Parameter {
    ParameterBuilder::new()
        .name(name)
        .parameter_in(ParameterIn::Header)
        .required(required)
        .description(Some(description))
        .schema(Some(text()))
        .build()
}

pub(super) fn text() -> ObjectBuilder {
    ObjectBuilder::new().schema_type(Type::String)
}

/// A body or an answer of plain text in this media type.
pub(super) fn content(example: &str) -> utoipa::openapi::Content {
    ContentBuilder::new()
        .schema(Some(text()))
        .example(Some(json!(example)))
        .build()
}

pub(super) fn body(media_type: &str, description: &str, example: &str) -> RequestBody {
    RequestBodyBuilder::new()
        .description(Some(description))
        .required(Some(Required::True))
        .content(media_type, content(example))
        .build()
}

pub(super) fn header(description: &str, example: &str) -> Header {
    HeaderBuilder::new()
        .schema(Some(text().examples([json!(example)])))
        .description(Some(description))
        .build()
}

pub(super) fn answer(description: &str) -> ResponseBuilder {
    ResponseBuilder::new().description(description)
}

/// What the texts say of tokens, once.
pub(super) fn token_rule() -> String {
    format!(
        "The token is a Bearer, or `?jwt=` or `?token=`. A stream key (`{PREFIX}...`) is a Bearer too."
    )
}
