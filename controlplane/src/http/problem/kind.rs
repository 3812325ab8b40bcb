//! The kinds of problems: slug, status, title.

use axum::http::StatusCode;

/// What kind of problem: the catalogue, row by row.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Kind {
    /// No token, or one that proves nothing.
    Unauthenticated,
    /// A token of ours whose time is over.
    TokenExpired,
    /// A token of ours for another deployment.
    TokenAudience,
    /// A grant is missing.
    NotAllowed,
    /// The token names another room.
    WrongRoom,
    /// Removed by a moderator until the run ends.
    Kicked,
    /// The participant limit is reached.
    RoomFull,
    /// No such session URL.
    UnknownSession,
    /// No such class.
    UnknownClass,
    /// Nobody publishes this stream.
    NotLive,
    /// Somebody else publishes this stream.
    AlreadyPublishing,
    /// `If-Match` names an older ICE session.
    EtagStale,
    /// `If-Match` is missing.
    EtagMissing,
    /// The body is longer than its limit.
    TooLarge,
    /// The body has another media type than the resource takes.
    WrongType,
    /// The body is not the SDP it claims to be.
    BadSdp,
    /// The viewer offers none of the publisher's codecs.
    NoCommonCodec,
    /// Valid SDP that asks for something this node does not do.
    UnsupportedOffer,
    /// A rate limit.
    RateLimited,
    /// The node has no room for more work.
    Overloaded,
    /// The node is about to stop and takes nobody new.
    Draining,
    /// The media process is not there.
    MediaDown,
    /// The disk is full.
    StoreFull,
    /// HTTP itself refuses: the status says it all.
    Http(StatusCode),
}

impl Kind {
    /// Every kind of the catalogue.
    pub const CATALOGUE: [Kind; 23] = [
        Kind::Unauthenticated,
        Kind::TokenExpired,
        Kind::TokenAudience,
        Kind::NotAllowed,
        Kind::WrongRoom,
        Kind::Kicked,
        Kind::RoomFull,
        Kind::UnknownSession,
        Kind::UnknownClass,
        Kind::NotLive,
        Kind::AlreadyPublishing,
        Kind::EtagStale,
        Kind::EtagMissing,
        Kind::TooLarge,
        Kind::WrongType,
        Kind::BadSdp,
        Kind::NoCommonCodec,
        Kind::UnsupportedOffer,
        Kind::RateLimited,
        Kind::Overloaded,
        Kind::Draining,
        Kind::MediaDown,
        Kind::StoreFull,
    ];

    /// The stable name, `None` for plain HTTP.
    #[must_use]
    pub fn slug(self) -> Option<&'static str> {
        Some(match self {
            Kind::Unauthenticated => "unauthenticated",
            Kind::TokenExpired => "token-expired",
            Kind::TokenAudience => "token-audience",
            Kind::NotAllowed => "not-allowed",
            Kind::WrongRoom => "wrong-room",
            Kind::Kicked => "kicked",
            Kind::RoomFull => "room-full",
            Kind::UnknownSession => "unknown-session",
            Kind::UnknownClass => "unknown-class",
            Kind::NotLive => "not-live",
            Kind::AlreadyPublishing => "already-publishing",
            Kind::EtagStale => "etag-stale",
            Kind::EtagMissing => "etag-missing",
            Kind::TooLarge => "too-large",
            Kind::WrongType => "wrong-type",
            Kind::BadSdp => "bad-sdp",
            Kind::NoCommonCodec => "no-common-codec",
            Kind::UnsupportedOffer => "unsupported-offer",
            Kind::RateLimited => "rate-limited",
            Kind::Overloaded => "overloaded",
            Kind::Draining => "draining",
            Kind::MediaDown => "media-down",
            Kind::StoreFull => "store-full",
            Kind::Http(_) => return None,
        })
    }

    /// The HTTP status.
    #[must_use]
    pub fn status(self) -> StatusCode {
        match self {
            Kind::Unauthenticated | Kind::TokenExpired | Kind::TokenAudience => {
                StatusCode::UNAUTHORIZED
            }
            Kind::NotAllowed | Kind::WrongRoom | Kind::Kicked | Kind::RoomFull => {
                StatusCode::FORBIDDEN
            }
            Kind::UnknownSession | Kind::UnknownClass => StatusCode::NOT_FOUND,
            Kind::NotLive | Kind::AlreadyPublishing => StatusCode::CONFLICT,
            Kind::EtagStale => StatusCode::PRECONDITION_FAILED,
            Kind::EtagMissing => StatusCode::PRECONDITION_REQUIRED,
            Kind::TooLarge => StatusCode::PAYLOAD_TOO_LARGE,
            Kind::WrongType => StatusCode::UNSUPPORTED_MEDIA_TYPE,
            Kind::BadSdp => StatusCode::BAD_REQUEST,
            Kind::NoCommonCodec | Kind::UnsupportedOffer => StatusCode::UNPROCESSABLE_ENTITY,
            Kind::RateLimited => StatusCode::TOO_MANY_REQUESTS,
            Kind::Overloaded | Kind::Draining | Kind::MediaDown => StatusCode::SERVICE_UNAVAILABLE,
            Kind::StoreFull => StatusCode::INSUFFICIENT_STORAGE,
            Kind::Http(status) => status,
        }
    }

    /// What kind of problem, in words.
    #[must_use]
    pub fn title(self) -> &'static str {
        match self {
            Kind::Unauthenticated => "A room token is needed",
            Kind::TokenExpired => "The token has expired",
            Kind::TokenAudience => "The token is for another deployment",
            Kind::NotAllowed => "The token does not allow this",
            Kind::WrongRoom => "The token is for another room",
            Kind::Kicked => "Removed from the room",
            Kind::RoomFull => "The room is full",
            Kind::UnknownSession => "No such session",
            Kind::UnknownClass => "No such class",
            Kind::NotLive => "The stream is not live",
            Kind::AlreadyPublishing => "Somebody already publishes this stream",
            Kind::EtagStale => "The ICE session has changed",
            Kind::EtagMissing => "If-Match is needed",
            Kind::TooLarge => "The body is too large",
            Kind::WrongType => "The body has the wrong media type",
            Kind::BadSdp => "The SDP cannot be read",
            Kind::NoCommonCodec => "No codec in common",
            Kind::UnsupportedOffer => "The offer asks for something unsupported",
            Kind::RateLimited => "Too many requests",
            Kind::Overloaded => "The node is at its limit",
            Kind::Draining => "The node is about to stop",
            Kind::MediaDown => "The media process is not reachable",
            Kind::StoreFull => "The disk is full",
            Kind::Http(status) => status.canonical_reason().unwrap_or("Error"),
        }
    }
}
