//! WHEP (draft-ietf-wish-whep): a viewer's offer becomes a session with slots filled from a stream.

use axum::body::Body;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode, Uri, header};
use axum::response::{IntoResponse, Response};
use dataplane_api::Command;
use dataplane_api::command::{Admit, SessionPolicy};

use super::problem::Problem;
use super::signaling::{
    EndpointAddress, SDP, admitted, connection, created, done, local, newcomer, not_live, offer,
    refusal,
};
use crate::rooms::tag::SessionTag;
use crate::rooms::{Connection, Input, Kind};
use crate::sdp;
use crate::state::AppState;

/// 204, as WHIP has it.
pub(super) async fn get(_: EndpointAddress) -> StatusCode {
    StatusCode::NO_CONTENT
}

/// Players ask whether the resource speaks WHEP by its media type.
pub(super) async fn head(_: EndpointAddress) -> impl IntoResponse {
    (StatusCode::OK, [(header::CONTENT_TYPE, SDP)])
}

/// Watches. The slots are planned for what the stream carries now; the room checks that it still does
/// when the viewer enters, and fills them once the data plane has admitted it.
pub(super) async fn post(
    State(state): State<AppState>,
    EndpointAddress(path): EndpointAddress,
    headers: HeaderMap,
    uri: Uri,
    body: Body,
) -> Result<Response, Problem> {
    let claims = newcomer(&state, &headers, &uri, &path)?;
    let rights = claims.rights();
    if !rights.subscribe {
        return Err(Problem::not_allowed(
            "Watching needs a token with `video.canSubscribe`.",
        ));
    }
    let offer = offer(&headers, body).await?;
    let hello = state.node.hello().ok_or_else(Problem::media_down)?;
    let formats = state
        .registry
        .formats(&path)
        .ok_or_else(|| not_live(&path))?;
    let plan = sdp::watch(&offer, &formats, &path.name, ssrc)?;

    let slots = plan.slots.iter().map(|slot| (slot.slot, slot.kind));
    let connection = Connection {
        slots: slots.collect(),
        formats: formats.clone(),
        ..connection(
            &state,
            Kind::Whep,
            &path,
            &claims,
            &offer,
            plan.ice_section(),
        )
    };
    let session = connection.session;
    let (resource, etag) = (connection.resource.clone(), connection.etag.clone());
    let tag = SessionTag::new(&path.room, &connection).encode();
    let admission = state
        .registry
        .join(&path.room, connection, formats)
        .map_err(|why| refusal(&why, &path))?;
    let admit = Command::Admit(Admit {
        session,
        room: admission.room_id(),
        tag,
        shard_hint: None,
        remote: Some(offer.transport.clone()),
        extensions: plan.extensions,
        slots: plan.slots.clone(),
        policy: SessionPolicy::default(),
    });
    let admitted = admitted(state.node.order(admit).await)?;
    let orders = admission
        .proceed(Input::Admitted(session))
        .map_err(|why| refusal(&why, &path))?;
    for order in orders {
        done(order.await)?;
    }
    let answer = plan.answer(&local(&state, &hello, &admitted)?);
    let response = created(&state, Kind::Whep, &path, &resource, &etag, answer);
    admission.keep();
    tracing::info!(
        kind = "whep",
        session = session.0,
        slots = plan.slots.len(),
        "admitted"
    );
    Ok(response)
}

/// RFC 3550 section 8: random. 0 is left out, because tools print it for "none".
fn ssrc() -> u32 {
    rand::random_range(1..=u32::MAX)
}
