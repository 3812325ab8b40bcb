//! Session URLs, and the events of a viewer's session.

use axum::http::StatusCode;
use serde_json::json;
use utoipa::openapi::path::{OperationBuilder, Parameter, PathItemBuilder};
use utoipa::openapi::request_body::{RequestBody, RequestBodyBuilder};
use utoipa::openapi::schema::ArrayBuilder;
use utoipa::openapi::{ContentBuilder, HttpMethod, PathItem, Required};

use super::operation::{
    Access, TOKEN_PROBLEMS, answer, body, content, header, in_header, in_path, name, operation,
    room, text, with_problems,
};
use crate::http::problem::Kind;

const FRAGMENT: &str = "application/trickle-ice-sdpfrag";

/// Every session URL.
pub(super) fn paths() -> Vec<(String, PathItem)> {
    let mut paths: Vec<(String, PathItem)> = ["whip", "whep"]
        .into_iter()
        .map(|protocol| {
            let item = PathItemBuilder::new()
                .parameters(Some([room(), name(), id()]))
                .operation(HttpMethod::Get, get(protocol))
                .operation(HttpMethod::Head, head(protocol))
                .operation(HttpMethod::Patch, patch(protocol))
                .operation(HttpMethod::Delete, delete(protocol))
                .operation(HttpMethod::Options, options(protocol))
                .build();
            (format!("/{protocol}/{{room}}/{{name}}/{{id}}"), item)
        })
        .collect();
    let events = PathItemBuilder::new()
        .parameters(Some([room(), name(), id()]))
        .operation(HttpMethod::Post, subscribe())
        .operation(HttpMethod::Get, listen_to_all("whep"))
        .operation(HttpMethod::Options, options_of_events("whepEventsOptions"))
        .build();
    let stream = in_path(
        "stream",
        "The stream of events, from `Location`.",
        "x9",
        None,
    );
    let of_stream = PathItemBuilder::new()
        .parameters(Some([room(), name(), id(), stream]))
        .operation(HttpMethod::Get, listen())
        .operation(HttpMethod::Delete, unsubscribe())
        .operation(
            HttpMethod::Options,
            options_of_events("whepEventStreamOptions"),
        )
        .build();
    let of_publisher = PathItemBuilder::new()
        .parameters(Some([room(), name(), id()]))
        .operation(HttpMethod::Get, listen_to_all("whip"))
        .build();
    paths.extend([
        ("/whip/{room}/{name}/{id}/sse".to_owned(), of_publisher),
        ("/whep/{room}/{name}/{id}/sse".to_owned(), events),
        (
            "/whep/{room}/{name}/{id}/sse/{stream}".to_owned(),
            of_stream,
        ),
    ]);
    paths
}

fn id() -> Parameter {
    in_path(
        "id",
        "The session, from `Location`: 128 random bits.",
        "3q2-7wEjRWeJq83vEjRWeA",
        None,
    )
}

/// What a session of one's own, or of one's room, may be met with.
fn with_owner_problems(operation: OperationBuilder, more: &[Kind]) -> OperationBuilder {
    let mut kinds = TOKEN_PROBLEMS.to_vec();
    kinds.extend([Kind::NotAllowed, Kind::UnknownSession]);
    kinds.extend(more);
    with_problems(operation, &kinds)
}

fn access(protocol: &str) -> Access {
    if protocol == "whip" {
        Access::TokenOrStreamKey
    } else {
        Access::Token
    }
}

fn etag() -> utoipa::openapi::Header {
    header("Names the present ICE session.", "\"2Pz8qB1mX0Kt\"")
}

fn get(protocol: &str) -> OperationBuilder {
    let id = format!("{protocol}SessionGet");
    let summary = "Does the session live?";
    let response = answer("It does.").header("ETag", etag());
    let operation = operation(protocol, &id, summary, "", access(protocol));
    with_owner_problems(operation.response("204", response), &[])
}

fn head(protocol: &str) -> OperationBuilder {
    let id = format!("{protocol}SessionHead");
    let summary = "Does the session live?";
    let response = answer("It does.").header("ETag", etag());
    let operation = operation(protocol, &id, summary, "", access(protocol));
    with_owner_problems(operation.response("204", response), &[])
}

fn patch(protocol: &str) -> OperationBuilder {
    let id = format!("{protocol}SessionPatch");
    let description = "The ufrag decides: the session's own trickles (candidates are not needed, the node \
                       learns addresses from checks), a new one restarts ICE. A failed restart leaves the \
                       session as it is.";
    let if_match = in_header("If-Match", "The session's ETag, or `*`.", Required::True);
    let (summary, description) = if protocol == "whep" {
        let text = format!(
            "{description} While the session waits for the answer to the node's own offer (406), that answer \
             comes here as `application/sdp`."
        );
        ("Trickle, restart ICE, or answer the node's offer", text)
    } else {
        ("Trickle or restart ICE", description.to_owned())
    };
    let fragment = "a=ice-ufrag:9uB6\r\na=ice-pwd:YH75Fviy6338Vbrhrlp8Yh\r\n";
    let operation = operation(protocol, &id, summary, &description, access(protocol))
        .parameter(if_match)
        .request_body(Some(patch_body(protocol, fragment)))
        .response("204", answer("Trickled, or answered."))
        .response(
            "200",
            answer("ICE restarts; the body has the node's new ufrag, password and candidates.")
                .content(FRAGMENT, content(fragment))
                .header("ETag", etag()),
        );
    let more = [
        Kind::EtagStale,
        Kind::EtagMissing,
        Kind::TooLarge,
        Kind::WrongType,
        Kind::BadSdp,
        Kind::UnsupportedOffer,
        Kind::MediaDown,
    ];
    with_owner_problems(operation, &more)
}

fn patch_body(protocol: &str, fragment: &str) -> RequestBody {
    let mut request = body(FRAGMENT, "A fragment (RFC 8840).", fragment);
    if protocol == "whep" {
        let answer = content("v=0\r\n...a=setup:active\r\n...").into();
        request.content.insert("application/sdp".to_owned(), answer);
    }
    request
}

fn delete(protocol: &str) -> OperationBuilder {
    let id = format!("{protocol}SessionDelete");
    let description = "Also with a token that has expired since: whoever began it may end it.";
    let operation = operation(
        protocol,
        &id,
        "End the session",
        description,
        access(protocol),
    );
    with_owner_problems(operation.response("200", answer("It has ended.")), &[])
}

fn options(protocol: &str) -> OperationBuilder {
    let id = format!("{protocol}SessionOptions");
    let response = answer("What may be sent, and the answer to a CORS preflight.")
        .header("Accept-Patch", header("What PATCH takes.", FRAGMENT))
        .header(
            "Allow",
            header("The methods.", "OPTIONS, GET, HEAD, PATCH, DELETE"),
        );
    operation(protocol, &id, "What may be sent here?", "", Access::Open).response("204", response)
}

fn subscribe() -> OperationBuilder {
    let description = "Events: `active` and `inactive` (somebody publishes, or no longer), `layers`, \
                       `viewercount`, and `reconnect` (make a new session: the node drains, or the stream \
                       has other codecs now).";
    let names = ArrayBuilder::new().items(text().enum_values(Some([
        "active",
        "inactive",
        "layers",
        "viewercount",
        "reconnect",
    ])));
    let wanted = ContentBuilder::new()
        .schema(Some(names))
        .example(Some(json!(["active", "inactive", "layers", "viewercount"])))
        .build();
    let body = RequestBodyBuilder::new()
        .description(Some(
            "The events that are wanted; all of them without a body.",
        ))
        .content("application/json", wanted)
        .build();
    let location = "/whep/math-7/main/3q2-7wEjRWeJq83vEjRWeA/sse/x9";
    let operation = operation(
        "whep",
        "whepEventsPost",
        "Ask for events of the session",
        description,
        Access::Token,
    )
    .request_body(Some(body))
    .response(
        "201",
        answer("They are at `Location`.")
            .header("Location", header("The stream of events.", location)),
    );
    let more = [
        Kind::WrongType,
        Kind::TooLarge,
        Kind::RateLimited,
        Kind::Http(StatusCode::BAD_REQUEST),
    ];
    with_owner_problems(operation, &more)
}

fn listen() -> OperationBuilder {
    let description = "Server-sent events: first how things are, then what changes. An EventSource cannot set \
                       headers: append `?jwt=`. Whoever read the stream before is cut off; an ended stream is 404.";
    events("whep", "whepEventsGet", "Listen to the events", description)
}

fn listen_to_all(protocol: &str) -> OperationBuilder {
    let description =
        "Without a POST before, for a bare EventSource: first how things are, then what changes.";
    let id = format!("{protocol}EventsGetAll");
    events(protocol, &id, "Listen to every event", description)
}

fn events(protocol: &str, id: &str, summary: &str, description: &str) -> OperationBuilder {
    let told = "event: active\ndata: {}\n\nevent: viewercount\ndata: {\"viewercount\":23}\n\n";
    let operation = operation(protocol, id, summary, description, Access::Token).response(
        "200",
        answer("Events, until the session ends.").content("text/event-stream", content(told)),
    );
    with_owner_problems(operation, &[Kind::RateLimited])
}

fn options_of_events(id: &str) -> OperationBuilder {
    let response = answer("What may be sent, and the answer to a CORS preflight.")
        .header("Allow", header("The methods.", "OPTIONS, GET, HEAD, POST"));
    operation("whep", id, "What may be sent here?", "", Access::Open).response("204", response)
}

fn unsubscribe() -> OperationBuilder {
    let operation = operation(
        "whep",
        "whepEventsDelete",
        "Stop the events",
        "",
        Access::Token,
    );
    with_owner_problems(operation.response("200", answer("They have stopped.")), &[])
}
