//! WHIP (RFC 9725): a publisher's offer becomes a session with its tracks.

use axum::body::Body;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode, Uri};
use axum::response::Response;
use dataplane_api::Command;
use dataplane_api::command::{Admit, Publish, SessionPolicy};
use dataplane_api::ids::{SessionId, TrackId};
use dataplane_api::media::MediaKind;
use uuid::Uuid;

use super::layers::{BODY_BYTES_MAX, read_body};
use super::problem::Problem;
use super::signaling::{
    EndpointAddress, SDP, admitted, connection, created, done, local, newcomer, refusal,
    require_type,
};
use crate::auth::{Rights, Source};
use crate::node::Pending;
use crate::rooms::tag::{SessionTag, TrackTag};
use crate::rooms::{Connection, Input, Kind, Track};
use crate::sdp::{self, Offer, PublishPlan};
use crate::state::AppState;

/// RFC 9725 section 4.2: 2xx without a body.
pub(super) async fn get(_: EndpointAddress) -> StatusCode {
    StatusCode::NO_CONTENT
}

/// Publishes. In order: the token, the offer, the stream (kept for this session from here on), the
/// data plane, the room's viewers, the answer. Whatever fails, and a client that goes away, undoes it all.
pub(super) async fn post(
    State(state): State<AppState>,
    EndpointAddress(path): EndpointAddress,
    headers: HeaderMap,
    uri: Uri,
    body: Body,
) -> Result<Response, Problem> {
    let claims = newcomer(&state, &headers, &uri, &path)?;
    let rights = claims.rights();
    if !rights.may_publish() {
        return Err(Problem::not_allowed(
            "Publishing needs a token with `video.canPublish`.",
        ));
    }
    require_type(&headers, SDP)?;
    let offer = Offer::parse(&read_body(body, BODY_BYTES_MAX).await?)?;
    let plan = sdp::publish(&offer)?;
    check_sources(&rights, &plan)?;
    let hello = state.node.hello().ok_or_else(Problem::media_down)?;

    let (ice, ufrag) = (plan.ice_section(), &offer.transport.ufrag);
    let connection = Connection {
        tracks_planned: plan.tracks.len(),
        ..connection(&state, Kind::Whip, &path, &claims, ufrag, ice)
    };
    let session = connection.session;
    let tag = SessionTag::new(&path.room, &connection).encode();
    let admission = state
        .registry
        .reserve(&path.room, connection.clone())
        .map_err(|why| refusal(&why, &path))?;
    let admit = Command::Admit(Admit {
        session,
        room: admission.room_id(),
        tag,
        shard_hint: None,
        remote: Some(offer.transport.clone()),
        extensions: plan.extensions,
        slots: Vec::new(),
        policy: SessionPolicy::default(),
    });
    let admitted = admitted(state.node.order(admit).await)?;
    let (tracks, orders) = declare(&state, session, &plan);
    for order in orders {
        done(order.await)?;
    }
    let published = Input::Published(session, tracks);
    admission
        .proceed(published)
        .map_err(|why| refusal(&why, &path))?;
    let answer = plan.answer(&local(&state, &hello, &admitted)?);
    let response = created(&state, &path, &connection, answer);
    admission.keep();
    tracing::info!(
        kind = "whip",
        session = session.0,
        tracks = plan.tracks.len(),
        "admitted"
    );
    Ok(response)
}

/// Orders the tracks of a plan.
fn declare(state: &AppState, session: SessionId, plan: &PublishPlan) -> (Vec<Track>, Vec<Pending>) {
    let mut tracks = Vec::with_capacity(plan.tracks.len());
    let mut orders = Vec::with_capacity(plan.tracks.len());
    for planned in &plan.tracks {
        let track = TrackId(state.registry.next_id());
        orders.push(state.node.submit(Command::Publish(Publish {
            track,
            session,
            uid: Uuid::now_v7().into_bytes(),
            origin_node: state.node_id,
            hops: 0,
            kind: planned.kind,
            mid: planned.mid.clone(),
            codecs: vec![planned.codec.clone()],
            encodings: planned.encodings.clone(),
            opaque: false,
            tag: TrackTag::new(planned.kind, planned.format).encode(),
        })));
        tracks.push(Track {
            track,
            kind: planned.kind,
            format: planned.format,
            live: false,
            layers: Vec::new(),
        });
    }
    (tracks, orders)
}

/// An encoder's picture may be a camera or a screen: either grant will do.
fn check_sources(rights: &Rights, plan: &PublishPlan) -> Result<(), Problem> {
    for track in &plan.tracks {
        let (wanted, names) = match track.kind {
            MediaKind::Audio => (
                [Source::Microphone, Source::ScreenAudio],
                "`microphone` or `screen_audio`",
            ),
            MediaKind::Video => ([Source::Camera, Source::Screen], "`camera` or `screen`"),
        };
        if !wanted
            .into_iter()
            .any(|source| rights.may_publish_source(source))
        {
            return Err(Problem::not_allowed(format!(
                "The token's `video.canPublishSources` lacks {names}."
            )));
        }
    }
    Ok(())
}
