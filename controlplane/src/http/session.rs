//! Session URLs: trickle and ICE restart by PATCH, the end by DELETE (RFC 9725 sections 4.3 and 4.4).

use axum::body::Body;
use axum::extract::State;
use axum::http::{HeaderMap, HeaderValue, StatusCode, Uri, header};
use axum::response::{IntoResponse, Response};
use dataplane_api::Command;
use dataplane_api::command::RestartIce;

use super::layers::{BODY_BYTES_MAX, read_body};
use super::problem::Problem;
use super::signaling::{SDP_FRAGMENT, SessionAddress, admitted, require_type, token};
use crate::auth::bearer::claims_of_session;
use crate::rooms::tag::SessionTag;
use crate::rooms::{Connection, Kind, StreamPath, new_etag};
use crate::sdp::Fragment;
use crate::state::AppState;

/// That the session lives, and its ETag.
pub(super) async fn get(
    kind: Kind,
    State(state): State<AppState>,
    address: SessionAddress,
    headers: HeaderMap,
    uri: Uri,
) -> Result<Response, Problem> {
    let connection = owned(&state, kind, &address, &headers, &uri)?;
    Ok((
        StatusCode::NO_CONTENT,
        [(header::ETAG, quoted(&connection.etag))],
    )
        .into_response())
}

/// Ends the session. 200 also when the data plane is away: the session is over here, and is closed there
/// as soon as the link is back.
pub(super) async fn delete(
    kind: Kind,
    State(state): State<AppState>,
    address: SessionAddress,
    headers: HeaderMap,
    uri: Uri,
) -> Result<Response, Problem> {
    let connection = owned(&state, kind, &address, &headers, &uri)?;
    if let Err(error) = state.registry.close(connection.session).await {
        tracing::warn!(%error, session = connection.session.0, "closed without the data plane");
    }
    Ok(StatusCode::OK.into_response())
}

/// Trickle or restart: a known ufrag trickles, a new one restarts, whatever `If-Match` says beyond naming
/// the present ICE session.
pub(super) async fn patch(
    kind: Kind,
    State(state): State<AppState>,
    address: SessionAddress,
    headers: HeaderMap,
    uri: Uri,
    body: Body,
) -> Result<Response, Problem> {
    let connection = owned(&state, kind, &address, &headers, &uri)?;
    require_type(&headers, SDP_FRAGMENT)?;
    let if_match = headers
        .get(header::IF_MATCH)
        .ok_or_else(Problem::etag_missing)?;
    if !matches(if_match, &connection.etag) {
        return Err(Problem::etag_stale());
    }
    let fragment = Fragment::parse(&read_body(body, BODY_BYTES_MAX).await?)?;
    if fragment.ufrag == connection.remote_ufrag {
        return Ok(StatusCode::NO_CONTENT.into_response());
    }
    let etag = new_etag();
    let restarted = Connection {
        remote_ufrag: fragment.ufrag.clone(),
        etag: etag.clone(),
        ..connection.clone()
    };
    let SessionAddress(StreamPath { room, .. }, _) = &address;
    let restart = Command::RestartIce(RestartIce {
        session: connection.session,
        ufrag: fragment.ufrag.clone(),
        pwd: fragment.pwd,
        tag: Some(SessionTag::new(room, &restarted).encode()),
    });
    let admitted = admitted(state.node.order(restart).await)?;
    state
        .registry
        .restarted(connection.session, fragment.ufrag, etag.clone());
    let answer = connection
        .ice
        .fragment(&admitted.ufrag, &admitted.pwd, &admitted.candidates);
    let content_type = HeaderValue::from_static(SDP_FRAGMENT);
    let headers = [
        (header::ETAG, quoted(&etag)),
        (header::CONTENT_TYPE, content_type),
    ];
    Ok((StatusCode::OK, headers, answer).into_response())
}

/// The session behind a URL, if the token may act on it: its own person's, even when expired meanwhile,
/// or a moderator's of its room.
fn owned(
    state: &AppState,
    kind: Kind,
    SessionAddress(path, resource): &SessionAddress,
    headers: &HeaderMap,
    uri: &Uri,
) -> Result<Connection, Problem> {
    let token = token(headers, uri).ok_or_else(Problem::unauthenticated)?;
    let claims = claims_of_session(&state.keys, token, kind, path)?;
    let StreamPath { room, .. } = path;
    if !claims.opens(room) {
        return Err(Problem::wrong_room(claims.video.room.as_deref()));
    }
    let connection = state
        .registry
        .connection(kind, path, resource)
        .ok_or_else(Problem::unknown_session)?;
    if connection.sub != claims.sub && !claims.rights().room_admin {
        return Err(Problem::not_allowed(
            "This session is somebody else's; acting on it needs `video.roomAdmin`.",
        ));
    }
    Ok(connection)
}

/// RFC 9110 section 13.1.1: `*`, or a list with a strong match in it.
fn matches(if_match: &HeaderValue, etag: &str) -> bool {
    let Ok(text) = if_match.to_str() else {
        return false;
    };
    text.trim() == "*"
        || text
            .split(',')
            .any(|tag| tag.trim().trim_matches('"') == etag)
}

fn quoted(etag: &str) -> HeaderValue {
    HeaderValue::from_str(&format!("\"{etag}\""))
        .expect("invariant: an ETag is base64, which a header value may hold")
}
