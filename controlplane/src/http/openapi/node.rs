//! Tokens, the page, and this document.

use axum::http::StatusCode;
use utoipa::openapi::path::{OperationBuilder, ParameterBuilder, ParameterIn, PathItemBuilder};
use utoipa::openapi::request_body::RequestBodyBuilder;
use utoipa::openapi::schema::Ref;
use utoipa::openapi::{ContentBuilder, HttpMethod, PathItem, Required, ResponseBuilder};

use super::operation::{
    Access, TOKEN_PROBLEMS, answer, content, in_path, operation, room, text, with_problems,
};
use crate::http::problem::Kind;

/// Everything that is neither WHIP nor WHEP.
pub(super) fn paths() -> Vec<(String, PathItem)> {
    let page = |id: &str, summary: &str| {
        operation("node", id, summary, "", Access::Open).response("200", html())
    };
    let item =
        |operation: OperationBuilder| PathItemBuilder::new().operation(HttpMethod::Get, operation);
    let of_room = |operation| item(operation).parameters(Some([room()])).build();
    let file = in_path("path", "A file of the page.", "index-4f1c.js", None);
    let asset = operation("node", "asset", "A file of the page", "", Access::Open)
        .response("200", answer("The file; it never changes under its name."));
    let asset = with_problems(asset, &[Kind::Http(StatusCode::NOT_FOUND)]);
    let document = operation("node", "openapi", "This document", "", Access::Open).response(
        "200",
        answer("OpenAPI 3.1.").content("application/json", ContentBuilder::new().build()),
    );
    let token = PathItemBuilder::new().operation(HttpMethod::Post, token());
    vec![
        ("/api/token".to_owned(), token.build()),
        ("/openapi.json".to_owned(), item(document).build()),
        (
            "/docs".to_owned(),
            item(page("docs", "This document, for people")).build(),
        ),
        ("/".to_owned(), item(page("home", "The start page")).build()),
        (
            "/publish/{room}".to_owned(),
            of_room(page("publishPage", "The page that publishes")),
        ),
        (
            "/watch/{room}".to_owned(),
            of_room(page("watchPage", "The page that watches")),
        ),
        (
            "/assets/{path}".to_owned(),
            item(asset).parameters(Some([file])).build(),
        ),
    ]
}

fn html() -> ResponseBuilder {
    answer("A page.").content("text/html", content("<!doctype html>..."))
}

fn token() -> OperationBuilder {
    let description = "For whoever moderates the room: the Bearer is an admin's token, or one with \
                       `video.roomAdmin` for this room. A role is never above the giver's own, and nobody \
                       gives a right she lacks. A node with `open_tokens` (on a loopback address only) \
                       asks for no token. Query, form and JSON mean the same; the body wins.";
    let content = || {
        ContentBuilder::new()
            .schema(Some(Ref::from_schema_name("TokenRequest")))
            .build()
    };
    let body = RequestBodyBuilder::new()
        .description(Some("Who gets the token; at most 4 KiB."))
        .required(Some(Required::False))
        .content("application/json", content())
        .content("application/x-www-form-urlencoded", content())
        .build();
    let in_query = |name: &str, description: &str| {
        ParameterBuilder::new()
            .name(name)
            .parameter_in(ParameterIn::Query)
            .required(Required::False)
            .description(Some(description))
            .schema(Some(text()))
            .build()
    };
    let granted = ContentBuilder::new()
        .schema(Some(Ref::from_schema_name("TokenAnswer")))
        .build();
    let operation = operation(
        "tokens",
        "tokenPost",
        "Make a room token",
        description,
        Access::Token,
    )
    .parameter(in_query("user_type", "The role; `viewer` when absent."))
    .parameter(in_query(
        "user_id",
        "Who this is to you; somebody new when absent.",
    ))
    .parameter(in_query(
        "room",
        "The room; the node's `default_room` when absent.",
    ))
    .parameter(in_query("name", "The name to show to others."))
    .request_body(Some(body))
    .response(
        "200",
        answer("A token for an hour.").content("application/json", granted),
    );
    let mut kinds = TOKEN_PROBLEMS.to_vec();
    kinds.extend([
        Kind::NotAllowed,
        Kind::TooLarge,
        Kind::WrongType,
        Kind::Http(StatusCode::BAD_REQUEST),
    ]);
    with_problems(operation, &kinds)
}
