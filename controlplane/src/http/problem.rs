//! RFC 9457 problems: the one shape of every error a client sees, and the whole catalogue of them.
//!
//! A problem of the catalogue has `type` = `urn:lectern:problem:<slug>`, which is stable and is what
//! programs compare; `detail` is for people and says what to do. What only HTTP itself refuses (no such
//! route, no such method) has `type` = `about:blank` (RFC 9457 section 4.2.1).

use std::fmt;

use axum::http::{HeaderName, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde::Serialize;
use utoipa::ToSchema;

use crate::auth::bearer::BearerError;
use crate::auth::token::VerifyError;

mod kind;

pub use kind::Kind;

/// How long a client waits before it asks again when the catalogue does not say otherwise, seconds.
const RETRY_AFTER_S: u32 = 2;

/// Media type of a problem.
pub const CONTENT_TYPE: &str = "application/problem+json";

/// One error answer.
///
/// ```text
/// HTTP/1.1 409 Conflict
/// content-type: application/problem+json
/// retry-after: 2
///
/// {"type":"urn:lectern:problem:not-live","title":"The stream is not live","status":409,"detail":"..."}
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    kind: Kind,
    detail: String,
    instance: Option<String>,
    retry_after_s: Option<u32>,
    allow: Option<&'static str>,
}

impl Problem {
    fn new(kind: Kind, detail: impl Into<String>) -> Problem {
        Problem {
            kind,
            detail: detail.into(),
            instance: None,
            retry_after_s: None,
            allow: None,
        }
    }

    fn retry(mut self, seconds: u32) -> Problem {
        self.retry_after_s = Some(seconds);
        self
    }

    /// 401: no token, or one that proves nothing. The text is one and the same for every cause, so that
    /// an answer never tells how far a forged token came.
    #[must_use]
    pub fn unauthenticated() -> Problem {
        Problem::new(
            Kind::Unauthenticated,
            "Send a valid room token as `Authorization: Bearer <token>` or `?jwt=<token>`. \
             Your platform, `lectern token --room ROOM --role ROLE` or `POST /api/token` issue one.",
        )
    }

    /// 401: a token of ours whose time is over.
    #[must_use]
    pub fn token_expired() -> Problem {
        Problem::new(
            Kind::TokenExpired,
            "The token's `exp` has passed. Get a new one where this one came from; if it is new, \
             compare the clocks of the issuer and of this node.",
        )
    }

    /// 401: a token of ours for another deployment; `expected` is our `aud`.
    #[must_use]
    pub fn token_audience(expected: &str) -> Problem {
        Problem::new(
            Kind::TokenAudience,
            format!("The token's `aud` must be `{expected}`."),
        )
    }

    /// 403: `detail` names the grant that is missing, such as ``the token needs `video.canPublish` ``.
    #[must_use]
    pub fn not_allowed(detail: impl Into<String>) -> Problem {
        Problem::new(Kind::NotAllowed, detail)
    }

    /// 403: the token is for `token_room`, `None` when it names none.
    #[must_use]
    pub fn wrong_room(token_room: Option<&str>) -> Problem {
        Problem::new(
            Kind::WrongRoom,
            match token_room {
                Some(room) => format!(
                    "The token opens the room `{room}`. Use it there, or get a token for this room."
                ),
                None => "The token names no room: it needs `video.room`.".to_owned(),
            },
        )
    }

    /// 403: removed by a moderator; `until` in words, such as `this class ends`.
    #[must_use]
    pub fn kicked(until: &str) -> Problem {
        Problem::new(
            Kind::Kicked,
            format!("A moderator removed this person until {until}."),
        )
    }

    /// 403: the room has reached `limit` participants.
    #[must_use]
    pub fn room_full(limit: u32) -> Problem {
        Problem::new(
            Kind::RoomFull,
            format!("The room takes {limit} participants (`max_participants`)."),
        )
    }

    /// 404: no such session URL, or no longer.
    #[must_use]
    pub fn unknown_session() -> Problem {
        Problem::new(
            Kind::UnknownSession,
            "This session has ended or never was. Start a new one with a POST to the endpoint.",
        )
    }

    /// 404: no such class.
    #[must_use]
    pub fn unknown_class() -> Problem {
        Problem::new(Kind::UnknownClass, "No class has this id.")
    }

    /// 409: nobody publishes; `detail` says who may publish where.
    #[must_use]
    pub fn not_live(detail: impl Into<String>) -> Problem {
        Problem::new(Kind::NotLive, detail).retry(RETRY_AFTER_S)
    }

    /// 409: somebody publishes already; `detail` says who may publish where.
    #[must_use]
    pub fn already_publishing(detail: impl Into<String>) -> Problem {
        Problem::new(Kind::AlreadyPublishing, detail).retry(RETRY_AFTER_S)
    }

    /// 412: `If-Match` names another ICE session than the present one.
    #[must_use]
    pub fn etag_stale() -> Problem {
        Problem::new(
            Kind::EtagStale,
            "Send the ETag of the last 201 or 200 answer as `If-Match`, or `If-Match: *` to restart ICE.",
        )
    }

    /// 428: `If-Match` is missing.
    #[must_use]
    pub fn etag_missing() -> Problem {
        Problem::new(
            Kind::EtagMissing,
            "Send `If-Match` with the session's ETag to trickle, or `If-Match: *` to restart ICE.",
        )
    }

    /// 413: longer than `limit_bytes`.
    #[must_use]
    pub fn too_large(limit_bytes: usize) -> Problem {
        Problem::new(
            Kind::TooLarge,
            format!("At most {limit_bytes} bytes are read here."),
        )
    }

    /// 413: more than `limit` of something else than bytes, such as `lines of SDP`.
    #[must_use]
    pub fn too_many(limit: usize, what: &str) -> Problem {
        Problem::new(
            Kind::TooLarge,
            format!("At most {limit} {what} are read here."),
        )
    }

    /// 415: another media type than `expected`, such as `application/sdp`.
    #[must_use]
    pub fn wrong_type(expected: &str) -> Problem {
        Problem::new(
            Kind::WrongType,
            format!("Send the body as `Content-Type: {expected}`."),
        )
    }

    /// 400: the SDP's line (counted from 1) and what is wrong with it.
    #[must_use]
    pub fn bad_sdp(line: usize, what: impl fmt::Display) -> Problem {
        Problem::new(Kind::BadSdp, format!("Line {line}: {what}."))
    }

    /// 422: `detail` names the publisher's codecs.
    #[must_use]
    pub fn no_common_codec(detail: impl Into<String>) -> Problem {
        Problem::new(Kind::NoCommonCodec, detail)
    }

    /// 422: `detail` names the media section and what it asks for.
    #[must_use]
    pub fn unsupported_offer(detail: impl Into<String>) -> Problem {
        Problem::new(Kind::UnsupportedOffer, detail)
    }

    /// 429: `limit` is the limit's name.
    #[must_use]
    pub fn rate_limited(limit: &str, retry_after_s: u32) -> Problem {
        Problem::new(
            Kind::RateLimited,
            format!("The limit `{limit}` is reached."),
        )
        .retry(retry_after_s)
    }

    /// 503: `detail` says which limit of the node is reached.
    #[must_use]
    pub fn overloaded(detail: impl Into<String>) -> Problem {
        Problem::new(Kind::Overloaded, detail).retry(RETRY_AFTER_S)
    }

    /// 503: the node drains.
    #[must_use]
    pub fn draining() -> Problem {
        Problem::new(
            Kind::Draining,
            "This node takes nobody new because it is about to stop. Ask again, or ask another node.",
        )
        .retry(RETRY_AFTER_S)
    }

    /// 503: the link to the data plane is down.
    #[must_use]
    pub fn media_down() -> Problem {
        Problem::new(
            Kind::MediaDown,
            "The data plane does not answer. It is usually back within seconds; \
             otherwise `lectern doctor` on the node says what is wrong.",
        )
        .retry(RETRY_AFTER_S)
    }

    /// 507: the disk has `free_bytes` left.
    #[must_use]
    pub fn store_full(free_bytes: u64) -> Problem {
        Problem::new(
            Kind::StoreFull,
            format!("The store's disk has {free_bytes} bytes free."),
        )
    }

    /// 404: no route of this name.
    #[must_use]
    pub fn no_route() -> Problem {
        Problem::new(
            Kind::Http(StatusCode::NOT_FOUND),
            "Nothing is here. Publish at /whip/{room}, watch at /whep/{room}, or open /.",
        )
    }

    /// 404: the route is right and what it names is not there.
    #[must_use]
    pub fn absent(detail: impl Into<String>) -> Problem {
        Problem::new(Kind::Http(StatusCode::NOT_FOUND), detail)
    }

    /// 405: the route does not take this method; `allow` is the `Allow` header.
    #[must_use]
    pub fn method_not_allowed(allow: Option<&'static str>) -> Problem {
        let mut problem = Problem::new(
            Kind::Http(StatusCode::METHOD_NOT_ALLOWED),
            match allow {
                Some(methods) => format!("This resource takes {methods}."),
                None => "This resource takes other methods; see the `Allow` header.".to_owned(),
            },
        );
        problem.allow = allow;
        problem
    }

    /// 400: a request that is not SDP (form, JSON, query) cannot be read; `detail` says why.
    #[must_use]
    pub fn bad_request(detail: impl Into<String>) -> Problem {
        Problem::new(Kind::Http(StatusCode::BAD_REQUEST), detail)
    }

    /// 408: the body did not arrive in time.
    #[must_use]
    pub fn timeout(limit_s: u64) -> Problem {
        Problem::new(
            Kind::Http(StatusCode::REQUEST_TIMEOUT),
            format!("The request took longer than {limit_s} s to arrive or to answer."),
        )
    }

    /// 500: a defect of the node. What happened is in the log, under the answer's `X-Request-Id`.
    #[must_use]
    pub fn internal() -> Problem {
        Problem::new(
            Kind::Http(StatusCode::INTERNAL_SERVER_ERROR),
            "The node failed. Its log has the cause under this answer's X-Request-Id.",
        )
    }

    /// The same problem about one resource.
    #[must_use]
    pub fn at(mut self, instance: impl Into<String>) -> Problem {
        self.instance = Some(instance.into());
        self
    }

    /// The kind.
    #[must_use]
    pub fn kind(&self) -> Kind {
        self.kind
    }

    /// The HTTP status.
    #[must_use]
    pub fn status(&self) -> StatusCode {
        self.kind.status()
    }

    /// The text for people.
    #[must_use]
    pub fn detail(&self) -> &str {
        &self.detail
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.kind.title(), self.detail)
    }
}

impl std::error::Error for Problem {}

impl From<VerifyError> for Problem {
    fn from(error: VerifyError) -> Problem {
        match error {
            VerifyError::Invalid(_) => Problem::unauthenticated(),
            VerifyError::Expired => Problem::token_expired(),
            VerifyError::Audience { expected } => Problem::token_audience(&expected),
        }
    }
}

impl From<BearerError> for Problem {
    fn from(error: BearerError) -> Problem {
        match error {
            BearerError::Verify(error) => error.into(),
            BearerError::OnlyMain => Problem::not_allowed(
                "A stream key publishes `main` of its room at /whip/{room} and opens nothing else. \
                 Use a room token.",
            ),
        }
    }
}

/// An error (RFC 9457). Programs compare `type`, people read `detail`.
// In the order of RFC 9457 section 3.1.
#[derive(Serialize, ToSchema)]
#[schema(as = Problem)]
pub(super) struct Body<'a> {
    /// `urn:lectern:problem:<slug>`, which is stable; `about:blank` for what only HTTP itself refuses.
    #[schema(example = "urn:lectern:problem:not-live")]
    r#type: String,
    /// What kind of problem, in words.
    #[schema(example = "The stream is not live")]
    title: &'static str,
    /// The HTTP status.
    #[schema(example = 409)]
    status: u16,
    /// What happened here, and what to do.
    detail: &'a str,
    /// The resource it is about, where that is not the one that was asked.
    #[serde(skip_serializing_if = "Option::is_none")]
    instance: Option<&'a str>,
}

impl Problem {
    /// What is sent.
    pub(super) fn body(&self) -> Body<'_> {
        Body {
            r#type: self.kind.slug().map_or_else(
                || "about:blank".to_owned(),
                |slug| format!("urn:lectern:problem:{slug}"),
            ),
            title: self.kind.title(),
            status: self.kind.status().as_u16(),
            detail: &self.detail,
            instance: self.instance.as_deref(),
        }
    }

    /// Seconds of its `Retry-After`, when it has one.
    pub(super) fn retry_after_s(&self) -> Option<u32> {
        self.retry_after_s
    }
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let status = self.kind.status();
        let body = serde_json::to_vec(&self.body())
            .expect("invariant: a struct of strings and numbers always serialises");
        let mut response = (status, body).into_response();
        let mut set =
            |name: HeaderName, value: HeaderValue| response.headers_mut().insert(name, value);
        set(header::CONTENT_TYPE, HeaderValue::from_static(CONTENT_TYPE));
        set(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
        if status == StatusCode::UNAUTHORIZED {
            // RFC 9110 section 11.6.1: a 401 names its scheme.
            set(
                header::WWW_AUTHENTICATE,
                HeaderValue::from_static("Bearer realm=\"lectern\""),
            );
        }
        if let Some(seconds) = self.retry_after_s {
            set(header::RETRY_AFTER, HeaderValue::from(seconds));
        }
        if let Some(allow) = self.allow {
            set(header::ALLOW, HeaderValue::from_static(allow));
        }
        response
    }
}

#[cfg(test)]
mod tests;
