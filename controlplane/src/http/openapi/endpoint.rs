//! WHIP and WHEP endpoints: the same operations under four addresses each.

use utoipa::openapi::path::{OperationBuilder, PathItemBuilder};
use utoipa::openapi::{HttpMethod, PathItem, Required, ResponseBuilder};

use super::operation::{
    Access, TOKEN_PROBLEMS, answer, body, content, header, in_header, name, operation, room,
    token_rule, with_problems,
};
use crate::http::problem::Kind;

const SDP: &str = "application/sdp";

const OFFER: &str = "v=0\r\no=- 4611731400430051336 2 IN IP4 127.0.0.1\r\ns=-\r\nt=0 0\r\n\
a=group:BUNDLE 0\r\nm=audio 9 UDP/TLS/RTP/SAVPF 111\r\nc=IN IP4 0.0.0.0\r\na=mid:0\r\na=sendonly\r\n\
a=rtcp-mux\r\na=ice-ufrag:EsAw\r\na=ice-pwd:bP+XJMM09aR8AiX1jdukzR6Y\r\n\
a=fingerprint:sha-256 DA:7B:57:DC:28:CE:04:4F:31:79:85:C4:31:67:EB:27:58:29:ED:77:2A:0D:24:AE:ED:AD:30:BC:BD:F1:9C:02\r\n\
a=setup:actpass\r\na=rtpmap:111 opus/48000/2\r\n";

const ANSWER: &str = "v=0\r\no=- 1874230016 1 IN IP4 0.0.0.0\r\ns=-\r\nt=0 0\r\na=group:BUNDLE 0\r\n\
a=ice-lite\r\nm=audio 9 UDP/TLS/RTP/SAVPF 111\r\n...";

/// Which of the two protocols.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Protocol {
    Whip,
    Whep,
}

impl Protocol {
    fn name(self) -> &'static str {
        match self {
            Protocol::Whip => "whip",
            Protocol::Whep => "whep",
        }
    }
}

/// Every endpoint.
pub(super) fn paths() -> Vec<(String, PathItem)> {
    [Protocol::Whip, Protocol::Whep]
        .into_iter()
        .flat_map(|protocol| {
            let word = protocol.name();
            [
                (format!("/{word}/{{room}}"), "", false),
                (format!("/{word}/{{room}}/{{name}}"), "Named", true),
                (format!("/{{room}}/{word}"), "Suffix", false),
                (format!("/{{room}}/{{name}}/{word}"), "NamedSuffix", true),
            ]
            .map(|(path, variant, named)| (path, item(protocol, variant, named)))
        })
        .collect()
}

fn item(protocol: Protocol, variant: &str, named: bool) -> PathItem {
    let parameters = if named {
        vec![room(), name()]
    } else {
        vec![room()]
    };
    let id = |verb: &str| format!("{}{verb}{variant}", protocol.name());
    PathItemBuilder::new()
        .parameters(Some(parameters))
        .operation(HttpMethod::Post, post(protocol, &id("Post"), named))
        .operation(HttpMethod::Get, get(protocol, &id("Get")))
        .operation(HttpMethod::Head, head(protocol, &id("Head")))
        .operation(HttpMethod::Options, options(protocol, &id("Options")))
        .build()
}

fn post(protocol: Protocol, id: &str, named: bool) -> OperationBuilder {
    let mut kinds = TOKEN_PROBLEMS.to_vec();
    kinds.extend([
        Kind::NotAllowed,
        Kind::RoomFull,
        Kind::TooLarge,
        Kind::WrongType,
        Kind::BadSdp,
        Kind::UnsupportedOffer,
        Kind::Overloaded,
        Kind::Draining,
        Kind::MediaDown,
    ]);
    let (access, summary, description) = match protocol {
        Protocol::Whip => {
            kinds.push(Kind::AlreadyPublishing);
            let access = if named {
                Access::Token
            } else {
                Access::TokenOrStreamKey
            };
            let text = format!(
                "One audio and one video are received, with up to four simulcast layers. The answer is \
                 whole: there is nothing to wait for, and no partial answers. {}",
                token_rule()
            );
            (access, "Publish a stream", text)
        }
        Protocol::Whep => {
            kinds.extend([Kind::NotLive, Kind::NoCommonCodec]);
            let text =
                "The first audio and the first video section of the offer are filled with the \
                        stream. A stream that nobody publishes is 409 `not-live`: ask again after \
                        `Retry-After`."
                    .to_owned();
            (Access::Token, "Watch a stream", text)
        }
    };
    let mut operation = operation(protocol.name(), id, summary, &description, access)
        .request_body(Some(body(SDP, "The offer, at most 64 KiB.", OFFER)))
        .response(
            "201",
            created(protocol, "The session runs; the body is the answer."),
        );
    if protocol == Protocol::Whep {
        let offered = "The player's offer does not fit the stream; the body is the node's own offer. Answer it \
                       with `PATCH application/sdp` at `Location`.";
        operation = operation.response("406", created(protocol, offered));
    }
    with_problems(operation, &kinds)
}

fn created(protocol: Protocol, description: &str) -> ResponseBuilder {
    let location = format!("/{}/math-7/main/3q2-7wEjRWeJq83vEjRWeA", protocol.name());
    answer(description)
        .content(SDP, content(ANSWER))
        .header(
            "Location",
            header("The session's URL: PATCH and DELETE go there.", &location),
        )
        .header(
            "ETag",
            header("Names the ICE session, for `If-Match`.", "\"2Pz8qB1mX0Kt\""),
        )
        .header(
            "Link",
            header(
                "One for each external ICE server of the node; of a WHEP session also one for its events.",
                "<stun:stun.example.net>; rel=\"ice-server\"",
            ),
        )
        .header(
            "Accept-Patch",
            header("What PATCH takes.", "application/trickle-ice-sdpfrag"),
        )
}

fn get(protocol: Protocol, id: &str) -> OperationBuilder {
    let summary = "Nothing to read here";
    operation(protocol.name(), id, summary, "", Access::Open).response(
        "204",
        answer("Always, without a body (RFC 9725 section 4.2)."),
    )
}

fn head(protocol: Protocol, id: &str) -> OperationBuilder {
    let (status, text) = match protocol {
        Protocol::Whip => ("204", answer("Always.")),
        Protocol::Whep => (
            "200",
            answer("This resource speaks WHEP.")
                .header("Content-Type", header("The media type of an offer.", SDP)),
        ),
    };
    let summary = "Does this resource speak the protocol?";
    operation(protocol.name(), id, summary, "", Access::Open).response(status, text)
}

fn options(protocol: Protocol, id: &str) -> OperationBuilder {
    let response = answer("What may be sent, and the answer to a CORS preflight.")
        .header("Accept-Post", header("The media type of an offer.", SDP))
        .header("Allow", header("The methods.", "OPTIONS, GET, HEAD, POST"));
    let origin = in_header(
        "Origin",
        "The page that asks, in a preflight.",
        Required::False,
    );
    operation(
        protocol.name(),
        id,
        "What may be sent here?",
        "",
        Access::Open,
    )
    .parameter(origin)
    .response("204", response)
}
