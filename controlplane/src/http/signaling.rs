//! What WHIP and WHEP share: addresses, tokens, bodies, and the shape of an answer.

use axum::body::Body;
use axum::extract::{FromRequestParts, RawPathParams};
use axum::http::request::Parts;
use axum::http::{HeaderMap, HeaderName, HeaderValue, StatusCode, Uri, header};
use axum::middleware;
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use axum::{Extension, Router};
use bytes::Bytes;
use dataplane_api::Reply;
use dataplane_api::event::Hello;
use dataplane_api::ids::SessionId;
use dataplane_api::reply::{Admitted, Refusal as MediaRefusal};

use super::layers::{BODY_BYTES_MAX, read_body};
use super::problem::Problem;
use super::{events, gate, session, whep, whip};
use crate::auth::RoomClaims;
use crate::auth::bearer::claims_for_join;
use crate::auth::token::is_room_name;
use crate::node::LinkError;
use crate::rooms::{Connection, Kind, MAIN, Refusal, ResourceId, StreamPath, new_etag};
use crate::sdp::{IceSection, Local, SDP_BYTES_MAX, SdpError};
use crate::state::AppState;

pub(super) const SDP: &str = "application/sdp";
pub(super) const SDP_FRAGMENT: &str = "application/trickle-ice-sdpfrag";

const ACCEPT_POST: HeaderName = HeaderName::from_static("accept-post");
const ACCEPT_PATCH: HeaderName = HeaderName::from_static("accept-patch");

/// The WHIP and WHEP endpoints and sessions.
///
/// ```text
/// /whip/{room}[/{name}]          /{room}[/{name}]/whip          publish
/// /whep/{room}[/{name}]          /{room}[/{name}]/whep          watch
/// /whip/{room}/{name}/{id}       /whep/{room}/{name}/{id}       one session
/// /whep/{room}/{name}/{id}/sse[/{stream}]                       its events
/// ```
pub fn routes(state: AppState) -> Router {
    let mut router = Router::new();
    for pattern in [
        "/whip/{room}",
        "/whip/{room}/{name}",
        "/{room}/whip",
        "/{room}/{name}/whip",
    ] {
        let endpoint = post(whip::post).get(whip::get).options(options_of_endpoint);
        router = router.route(pattern, endpoint);
    }
    for pattern in [
        "/whep/{room}",
        "/whep/{room}/{name}",
        "/{room}/whep",
        "/{room}/{name}/whep",
    ] {
        let endpoint = post(whep::post)
            .get(whep::get)
            .head(whep::head)
            .options(options_of_endpoint);
        router = router.route(pattern, endpoint);
    }
    router
        .route("/whip/{room}/{name}/{id}", session_routes(Kind::Whip))
        .route("/whep/{room}/{name}/{id}", session_routes(Kind::Whep))
        .route(
            "/whip/{room}/{name}/{id}/sse",
            get(|state, streams, address, headers, uri| {
                events::read_all(Kind::Whip, state, streams, address, headers, uri)
            }),
        )
        .route(
            "/whep/{room}/{name}/{id}/sse",
            post(events::create)
                .get(|state, streams, address, headers, uri| {
                    events::read_all(Kind::Whep, state, streams, address, headers, uri)
                })
                .options(options_of_events),
        )
        .route(
            "/whep/{room}/{name}/{id}/sse/{stream}",
            get(events::read)
                .delete(events::delete)
                .options(options_of_event_stream),
        )
        .layer(Extension(events::EventStreams::default()))
        .route_layer(middleware::from_fn_with_state(state.clone(), gate::settled))
        .with_state(state)
}

fn session_routes(kind: Kind) -> axum::routing::MethodRouter<AppState> {
    get(move |state, address, headers, uri| session::get(kind, state, address, headers, uri))
        .patch(move |state, address, headers, uri, body| {
            session::patch(kind, state, address, headers, uri, body)
        })
        .delete(move |state, address, headers, uri| {
            session::delete(kind, state, address, headers, uri)
        })
        .options(move |_: SessionAddress| async move { options_of_session(kind) })
}

/// RFC 9725 section 4.2: a client learns here what to POST.
async fn options_of_endpoint(_: EndpointAddress) -> impl IntoResponse {
    let allow = "OPTIONS, GET, HEAD, POST";
    (
        StatusCode::NO_CONTENT,
        [(header::ALLOW, allow), (ACCEPT_POST, SDP)],
    )
}

fn options_of_session(kind: Kind) -> impl IntoResponse {
    let allow = "OPTIONS, GET, HEAD, PATCH, DELETE";
    (
        StatusCode::NO_CONTENT,
        [(header::ALLOW, allow), (ACCEPT_PATCH, accept_patch(kind))],
    )
}

async fn options_of_events(_: SessionAddress) -> impl IntoResponse {
    let allow = "OPTIONS, GET, HEAD, POST";
    (
        StatusCode::NO_CONTENT,
        [(header::ALLOW, allow), (ACCEPT_POST, "application/json")],
    )
}

async fn options_of_event_stream(_: EventsAddress) -> impl IntoResponse {
    let allow = "OPTIONS, GET, HEAD, DELETE";
    (StatusCode::NO_CONTENT, [(header::ALLOW, allow)])
}

/// What a PATCH of a session may carry: a WHEP session may be waiting for the answer to our offer.
fn accept_patch(kind: Kind) -> &'static str {
    match kind {
        Kind::Whip => SDP_FRAGMENT,
        Kind::Whep => "application/trickle-ice-sdpfrag, application/sdp",
    }
}

/// The stream an endpoint's URL names; `main` when it names only the room.
#[derive(Debug)]
pub(super) struct EndpointAddress(pub(super) StreamPath);

/// The stream and the id of a session's URL.
#[derive(Debug)]
pub(super) struct SessionAddress(pub(super) StreamPath, pub(super) ResourceId);

/// A session, and the last segment of the URL of one of its event streams.
#[derive(Debug)]
pub(super) struct EventsAddress(pub(super) SessionAddress, pub(super) String);

impl<S: Send + Sync> FromRequestParts<S> for EndpointAddress {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<EndpointAddress, Problem> {
        let Address { path, .. } = address(parts, state).await?;
        Ok(EndpointAddress(path))
    }
}

impl<S: Send + Sync> FromRequestParts<S> for SessionAddress {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<SessionAddress, Problem> {
        let Address { path, id, .. } = address(parts, state).await?;
        Ok(SessionAddress(path, id.ok_or_else(Problem::no_route)?))
    }
}

impl<S: Send + Sync> FromRequestParts<S> for EventsAddress {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<EventsAddress, Problem> {
        let Address { path, id, events } = address(parts, state).await?;
        let session = SessionAddress(path, id.ok_or_else(Problem::no_route)?);
        Ok(EventsAddress(
            session,
            events.ok_or_else(Problem::no_route)?,
        ))
    }
}

/// What a URL of ours may name.
struct Address {
    path: StreamPath,
    id: Option<ResourceId>,
    events: Option<String>,
}

/// Names are compared as they stand in the path, without decoding: a name has no character that needs it.
async fn address<S: Send + Sync>(parts: &mut Parts, state: &S) -> Result<Address, Problem> {
    let params = RawPathParams::from_request_parts(parts, state)
        .await
        .map_err(|_| Problem::no_route())?;
    let mut path = StreamPath {
        room: String::new(),
        name: MAIN.to_owned(),
    };
    let (mut id, mut events) = (None, None);
    for (key, value) in &params {
        match key {
            "room" => path.room = value.to_owned(),
            "name" => path.name = value.to_owned(),
            "stream" => events = Some(value.to_owned()),
            _ => id = Some(ResourceId::presented(value)),
        }
    }
    if !is_room_name(&path.room) || !is_room_name(&path.name) {
        return Err(Problem::no_route());
    }
    Ok(Address { path, id, events })
}

/// Who asks for a new session, and that their token opens the room.
pub(super) fn newcomer(
    state: &AppState,
    headers: &HeaderMap,
    uri: &Uri,
    path: &StreamPath,
) -> Result<RoomClaims, Problem> {
    let token = token(headers, uri).ok_or_else(Problem::unauthenticated)?;
    let claims = claims_for_join(&state.keys, token, path)?;
    if !claims.opens(&path.room) {
        return Err(Problem::wrong_room(claims.video.room.as_deref()));
    }
    if !claims.rights().join {
        return Err(Problem::not_allowed(
            "The token's `video.roomJoin` is false.",
        ));
    }
    if state.health.draining() {
        return Err(Problem::draining());
    }
    // Orders to a data plane that hangs would wait for it without bound, for people who have gone.
    if !state.health.media_answers() {
        return Err(Problem::media_down());
    }
    Ok(claims)
}

/// The connection that is asked for; a viewer's slots are still missing. `remote_ufrag` is empty when the
/// node offers.
pub(super) fn connection(
    state: &AppState,
    kind: Kind,
    path: &StreamPath,
    claims: &RoomClaims,
    remote_ufrag: &str,
    ice: IceSection,
) -> Connection {
    let rights = claims.rights();
    Connection {
        session: SessionId(state.registry.next_id()),
        resource: ResourceId::random(),
        kind,
        stream: path.name.clone(),
        sub: claims.sub.clone(),
        role: claims.role,
        counted: !rights.hidden && !rights.recorder,
        etag: new_etag(),
        restart: 0,
        remote_ufrag: remote_ufrag.to_owned(),
        ice,
        tracks_planned: 0,
        formats: Vec::new(),
        slots: Vec::new(),
        negotiated: Vec::new(),
        admitted: false,
        connected: false,
    }
}

/// The token: a Bearer header, else `?jwt=` or `?token=` for players that cannot set headers. A JWT has
/// no character that a query would encode.
pub(super) fn token<'a>(headers: &'a HeaderMap, uri: &'a Uri) -> Option<&'a str> {
    if let Some(value) = headers.get(header::AUTHORIZATION) {
        let (scheme, token) = value.to_str().ok()?.split_once(' ')?;
        return scheme.eq_ignore_ascii_case("bearer").then(|| token.trim());
    }
    let mut pairs = uri
        .query()?
        .split('&')
        .filter_map(|pair| pair.split_once('='));
    pairs
        .find(|(name, _)| matches!(*name, "jwt" | "token"))
        .map(|(_, token)| token)
}

/// The bytes of an SDP body. Nothing at all is of every type.
pub(super) async fn sdp_body(headers: &HeaderMap, body: Body) -> Result<Bytes, Problem> {
    let bytes = read_body(body, BODY_BYTES_MAX).await?;
    if !bytes.is_empty() {
        require_type(headers, SDP)?;
    }
    Ok(bytes)
}

/// The media type, without its parameters.
pub(super) fn has_type(headers: &HeaderMap, expected: &str) -> bool {
    require_type(headers, expected).is_ok()
}

/// The media type, without its parameters.
pub(super) fn require_type(headers: &HeaderMap, expected: &str) -> Result<(), Problem> {
    let given = headers
        .get(header::CONTENT_TYPE)
        .and_then(|value| value.to_str().ok());
    let essence = given
        .unwrap_or_default()
        .split(';')
        .next()
        .unwrap_or_default()
        .trim();
    if essence.eq_ignore_ascii_case(expected) {
        Ok(())
    } else {
        Err(Problem::wrong_type(expected))
    }
}

/// The answer to an admission order.
pub(super) fn admitted(reply: Result<Reply, LinkError>) -> Result<Admitted, Problem> {
    match reply {
        Ok(Reply::Admitted(admitted)) => Ok(admitted),
        other => Err(refused(other)),
    }
}

/// The answer to an order that is simply to be done.
pub(super) fn done(reply: Result<Reply, LinkError>) -> Result<(), Problem> {
    match reply {
        Ok(Reply::Done(_)) => Ok(()),
        other => Err(refused(other)),
    }
}

/// What a client is told when the data plane did not do what was asked.
fn refused(reply: Result<Reply, LinkError>) -> Problem {
    match reply {
        Ok(Reply::Refused(refused)) => match refused.reason {
            MediaRefusal::Overloaded => Problem::overloaded(refused.detail),
            MediaRefusal::Draining => Problem::draining(),
            MediaRefusal::Invalid => Problem::unsupported_offer(refused.detail),
            // Closed or restarted since it was admitted: the client's next try finds the new state.
            MediaRefusal::Unknown | MediaRefusal::Other => Problem::media_down(),
        },
        Ok(other) => {
            tracing::error!(reply = ?other, "the data plane answered another question");
            Problem::internal()
        }
        Err(LinkError::Down | LinkError::Timeout) => Problem::media_down(),
        Err(LinkError::TooLarge) => Problem::too_large(SDP_BYTES_MAX),
    }
}

/// What the answer's transport needs. `before` is the data plane as it was when the orders began: another
/// boot has another certificate, and does not know the session.
pub(super) fn local<'a>(
    state: &AppState,
    before: &'a Hello,
    admitted: &'a Admitted,
) -> Result<Local<'a>, Problem> {
    match state.node.hello() {
        Some(now) if now.boot_id == before.boot_id => Ok(Local {
            session: admitted.session,
            fingerprint: &before.fingerprint,
            ufrag: &admitted.ufrag,
            pwd: &admitted.pwd,
            candidates: &admitted.candidates,
        }),
        _ => Err(Problem::media_down()),
    }
}

/// 201 with the answer (RFC 9725 section 4.2).
pub(super) fn created(
    state: &AppState,
    path: &StreamPath,
    connection: &Connection,
    answer: String,
) -> Response {
    let kind = connection.kind;
    let location = format!("/{}/{path}/{}", kind.as_str(), connection.resource.as_str());
    let mut response = (StatusCode::CREATED, answer).into_response();
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(SDP));
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    let accept_patch = accept_patch(kind);
    headers.insert(ACCEPT_PATCH, HeaderValue::from_static(accept_patch));
    let text = |value: &str| HeaderValue::from_str(value).ok();
    headers.extend(text(&location).map(|value| (header::LOCATION, value)));
    headers.extend(text(&format!("\"{}\"", connection.etag)).map(|value| (header::ETAG, value)));
    let ice = state.ice_servers.iter().flat_map(|server| server.links());
    let events = (kind == Kind::Whep).then(|| events::link(&location));
    for value in ice.chain(events).filter_map(|link| text(&link)) {
        headers.append(header::LINK, value);
    }
    response
}

impl From<SdpError> for Problem {
    fn from(error: SdpError) -> Problem {
        match error {
            SdpError::TooLarge { what, limit } => Problem::too_many(limit, what),
            SdpError::Bad { line, what } => Problem::bad_sdp(line, what),
            SdpError::Unsupported { section, what } => {
                Problem::unsupported_offer(format!("In {section}: {what}."))
            }
            SdpError::NoCommonCodec { section, what } => {
                Problem::no_common_codec(format!("In {section}: {what}."))
            }
        }
    }
}

/// What a client is told when its room refuses it.
pub(super) fn refusal(refusal: &Refusal, path: &StreamPath) -> Problem {
    match refusal {
        Refusal::OtherPublisher => Problem::already_publishing(format!(
            "Somebody else publishes `{path}`. Publish under another name: /whip/{}/NAME.",
            path.room
        )),
        Refusal::StillPublishing => Problem::already_publishing(format!(
            "You publish `{path}` already. End that session, or wait until it has been silent for 2 s."
        )),
        Refusal::NotLive => not_live(path),
        Refusal::Full(limit) => Problem::room_full(*limit),
        Refusal::Gone => Problem::media_down(),
    }
}

pub(super) fn not_live(path: &StreamPath) -> Problem {
    Problem::not_live(format!(
        "Nobody publishes `{path}` now. A token with `video.canPublish` publishes it at /whip/{path}."
    ))
}
