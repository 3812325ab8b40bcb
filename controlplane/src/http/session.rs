//! Session URLs: trickle, ICE restart and the answer to a counter-offer by PATCH, the end by DELETE (RFC
//! 9725 sections 4.2 and 4.3).

use axum::body::Body;
use axum::extract::State;
use axum::http::{HeaderMap, HeaderValue, StatusCode, Uri, header};
use axum::response::{IntoResponse, Response};
use dataplane_api::Command;
use dataplane_api::command::{Accept, RestartIce};
use dataplane_api::ids::SlotId;

use super::layers::{BODY_BYTES_MAX, read_body};
use super::problem::Problem;
use super::signaling::{
    SDP, SDP_FRAGMENT, SessionAddress, admitted, has_type, require_type, token,
};
use crate::auth::bearer::claims_of_session;
use crate::rooms::tag::SessionTag;
use crate::rooms::{Connection, Kind, Restart, StreamPath, new_etag};
use crate::sdp::{Acceptance, Fragment};
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

/// Trickle or restart by the fragment's ufrag; on WHEP also the answer to our own offer.
pub(super) async fn patch(
    kind: Kind,
    State(state): State<AppState>,
    address: SessionAddress,
    headers: HeaderMap,
    uri: Uri,
    body: Body,
) -> Result<Response, Problem> {
    let connection = owned(&state, kind, &address, &headers, &uri)?;
    let SessionAddress(path, _) = &address;
    let named = named(&headers, &connection.etag);
    if kind == Kind::Whep && has_type(&headers, SDP) {
        // The draft's players send no `If-Match` here, and there is one ICE session it could mean.
        if named == Named::Another {
            return Err(Problem::etag_stale());
        }
        let body = read_body(body, BODY_BYTES_MAX).await?;
        return accept(&state, &path.room, connection, &body).await;
    }
    require_type(&headers, SDP_FRAGMENT)?;
    match named {
        Named::Present => {}
        Named::Nothing if state.lenient_patch => {}
        Named::Nothing => return Err(Problem::etag_missing()),
        Named::Another => return Err(Problem::etag_stale()),
    }
    let fragment = Fragment::parse(&read_body(body, BODY_BYTES_MAX).await?)?;
    if connection.remote_ufrag.is_empty() {
        return Err(Problem::unsupported_offer(
            "This session waits for the answer to its offer: PATCH it as `application/sdp` first.",
        ));
    }
    if fragment.ufrag == connection.remote_ufrag {
        return Ok(StatusCode::NO_CONTENT.into_response());
    }
    restart(&state, &path.room, connection, fragment).await
}

/// RFC 9725 section 4.3.3. Whatever fails here leaves the ICE session and its ETag as they are.
async fn restart(
    state: &AppState,
    room: &str,
    connection: Connection,
    fragment: Fragment,
) -> Result<Response, Problem> {
    let next = Connection {
        etag: new_etag(),
        remote_ufrag: fragment.ufrag,
        ..connection
    };
    let order = Command::RestartIce(RestartIce {
        session: next.session,
        ufrag: next.remote_ufrag.clone(),
        pwd: fragment.pwd,
        tag: Some(SessionTag::new(room, &next).encode()),
    });
    let (number, pending) = state.registry.restart(order);
    let admitted = admitted(pending.await)?;
    let answer = next
        .ice
        .fragment(&admitted.ufrag, &admitted.pwd, &admitted.candidates);
    let headers = [
        (header::ETAG, quoted(&next.etag)),
        (header::CONTENT_TYPE, HeaderValue::from_static(SDP_FRAGMENT)),
    ];
    state.registry.restarted(Restart {
        session: next.session,
        number,
        ufrag: next.remote_ufrag,
        etag: next.etag,
    });
    Ok((StatusCode::OK, headers, answer).into_response())
}

/// The answer to our own offer (draft-ietf-wish-whep-04 section 4.2.2). The same one twice is one; a
/// session is never negotiated anew.
async fn accept(
    state: &AppState,
    room: &str,
    connection: Connection,
    body: &[u8],
) -> Result<Response, Problem> {
    let acceptance = Acceptance::read(body, &connection.negotiated)?;
    let ufrag = acceptance.transport.ufrag.clone();
    let answered = || {
        Problem::unsupported_offer(
            "This session is negotiated already, and for good. A POST to the endpoint makes a new one.",
        )
    };
    if connection.remote_ufrag == ufrag {
        return Ok(StatusCode::NO_CONTENT.into_response());
    }
    if !connection.remote_ufrag.is_empty() {
        return Err(answered());
    }
    let session = connection.session;
    let mut next = Connection {
        remote_ufrag: ufrag.clone(),
        ..connection
    };
    let taken: Vec<SlotId> = acceptance.slots.iter().map(|(slot, _)| *slot).collect();
    next.slots.retain(|(slot, _)| taken.contains(slot));
    let order = Command::Accept(Accept {
        session,
        remote: acceptance.transport,
        tag: Some(SessionTag::new(room, &next).encode()),
        codecs: acceptance.slots,
        extensions: Some(acceptance.extensions),
    });
    admitted(state.node.order(order).await)?;
    match state.registry.accepted(session, &ufrag, taken) {
        Ok(true) => Ok(StatusCode::NO_CONTENT.into_response()),
        Ok(false) => Err(answered()),
        Err(_) => Err(Problem::unknown_session()),
    }
}

/// The session behind a URL, if the token may act on it: its own person's, even when expired meanwhile,
/// or a moderator's of its room.
pub(super) fn owned(
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

/// What `If-Match` names.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Named {
    /// The header is missing.
    Nothing,
    /// The present ICE session.
    Present,
    /// An earlier one, or a weak tag, which never matches.
    Another,
}

/// RFC 9110 section 13.1.1: `*`, or a list with a strong match in it. `"*"`, as the examples of RFC 9725
/// have it, is taken for `*`: no ETag of ours looks so.
fn named(headers: &HeaderMap, etag: &str) -> Named {
    let mut named = Named::Nothing;
    for value in headers.get_all(header::IF_MATCH) {
        let tags = value.to_str().unwrap_or_default();
        let matches = |tag: &str| {
            let tag = tag.trim().trim_matches('"');
            tag == "*" || tag == etag
        };
        if tags.split(',').any(matches) {
            return Named::Present;
        }
        named = Named::Another;
    }
    named
}

fn quoted(etag: &str) -> HeaderValue {
    HeaderValue::from_str(&format!("\"{etag}\""))
        .expect("invariant: an ETag is base64, which a header value may hold")
}
