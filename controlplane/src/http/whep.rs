//! WHEP (draft-ietf-wish-whep): a viewer's offer becomes a session with slots filled from a stream. A
//! viewer that offers nothing is made an offer, which it answers by PATCH.

use std::time::{Duration, SystemTime};

use axum::body::Body;
use axum::extract::State;
use axum::http::{HeaderMap, HeaderValue, StatusCode, Uri, header};
use axum::response::{IntoResponse, Response};
use dataplane_api::Command;
use dataplane_api::command::{Admit, RemoteTransport, SessionPolicy, Slot};
use dataplane_api::event::{FEATURE_ACCEPT, Hello};
use dataplane_api::media::Extensions;

use super::problem::Problem;
use super::signaling::{
    EndpointAddress, SDP, admitted, connection, created, done, local, newcomer, not_live, refusal,
    sdp_body,
};
use crate::rooms::stream::Formats;
use crate::rooms::tag::SessionTag;
use crate::rooms::{Connection, Input, Kind, StreamPath};
use crate::sdp::{self, IceSection, Local, OfferPlan, WatchPlan, Wish};
use crate::state::AppState;

/// How long our own offer may be answered: after this the data plane gives the session up. It is also
/// what the draft says where `valid-until` is missing.
const OFFER_VALID: Duration = Duration::from_secs(30);

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
    let body = sdp_body(&headers, body).await?;
    let hello = state.node.hello().ok_or_else(Problem::media_down)?;
    let formats = state
        .registry
        .formats(&path)
        .ok_or_else(|| not_live(&path))?;
    let plan = Plan::make(&body, &hello, &formats, &path)?;

    let ufrag = plan.remote().map_or("", |remote| &remote.ufrag);
    let slots = plan.slots().iter().map(|slot| (slot.slot, slot.kind));
    let ice = plan.ice_section();
    let connection = Connection {
        slots: slots.collect(),
        formats: formats.clone(),
        negotiated: plan.slots().to_vec(),
        ..connection(&state, Kind::Whep, &path, &claims, ufrag, ice)
    };
    let session = connection.session;
    let tag = SessionTag::new(&path.room, &connection).encode();
    let admission = state
        .registry
        .join(&path.room, connection.clone(), formats)
        .map_err(|why| refusal(&why, &path))?;
    let valid_until = SystemTime::now() + OFFER_VALID;
    let admit = Command::Admit(Admit {
        session,
        room: admission.room_id(),
        tag,
        shard_hint: None,
        remote: plan.remote().cloned(),
        extensions: plan.extensions(),
        slots: plan.slots().to_vec(),
        policy: SessionPolicy::default(),
    });
    let admitted = admitted(state.node.order(admit).await)?;
    let orders = admission
        .proceed(Input::Admitted(session))
        .map_err(|why| refusal(&why, &path))?;
    for order in orders {
        done(order.await)?;
    }
    let text = plan.text(&local(&state, &hello, &admitted)?);
    let mut response = created(&state, &path, &connection, text);
    if let Plan::Offer(_) = &plan {
        counter(&mut response, valid_until);
    }
    admission.keep();
    tracing::info!(
        kind = "whep",
        session = session.0,
        slots = plan.slots().len(),
        "admitted"
    );
    Ok(response)
}

/// Who offers.
enum Plan {
    /// The viewer.
    Answer(WatchPlan, RemoteTransport),
    /// The node, because nothing that the viewer offered could receive the stream.
    Offer(OfferPlan),
}

impl Plan {
    fn make(
        body: &[u8],
        hello: &Hello,
        formats: &Formats,
        path: &StreamPath,
    ) -> Result<Plan, Problem> {
        match Wish::read(body, formats)? {
            Wish::Answer(offer) => {
                let plan = sdp::watch(&offer, formats, &path.name, ssrc)?;
                Ok(Plan::Answer(plan, offer.transport))
            }
            Wish::Offer if hello.features.iter().any(|name| name == FEATURE_ACCEPT) => {
                Ok(Plan::Offer(sdp::offer(formats, &path.name, ssrc)?))
            }
            Wish::Offer => Err(Problem::unsupported_offer(
                "The offer receives nothing of what the stream carries. \
                 Send one with a `recvonly` section for audio and one for video.",
            )),
        }
    }

    fn text(&self, local: &Local<'_>) -> String {
        match self {
            Plan::Answer(plan, _) => plan.answer(local),
            Plan::Offer(plan) => plan.text(local),
        }
    }

    fn slots(&self) -> &[Slot] {
        match self {
            Plan::Answer(plan, _) => &plan.slots,
            Plan::Offer(plan) => &plan.slots,
        }
    }

    fn extensions(&self) -> Extensions {
        match self {
            Plan::Answer(plan, _) => plan.extensions,
            Plan::Offer(plan) => plan.extensions,
        }
    }

    fn ice_section(&self) -> IceSection {
        match self {
            Plan::Answer(plan, _) => plan.ice_section(),
            Plan::Offer(plan) => plan.ice_section(),
        }
    }

    fn remote(&self) -> Option<&RemoteTransport> {
        match self {
            Plan::Answer(_, remote) => Some(remote),
            Plan::Offer(_) => None,
        }
    }
}

/// Makes a 201 the 406 that carries our offer (draft-ietf-wish-whep-04 section 4.2.2).
fn counter(response: &mut Response, valid_until: SystemTime) {
    *response.status_mut() = StatusCode::NOT_ACCEPTABLE;
    let date = httpdate::fmt_http_date(valid_until);
    let value = HeaderValue::from_str(&format!("{SDP}; valid-until=\"{date}\""))
        .expect("invariant: a date is ASCII");
    response.headers_mut().insert(header::CONTENT_TYPE, value);
}

/// RFC 3550 section 8: random. 0 is left out, because tools print it for "none".
fn ssrc() -> u32 {
    rand::random_range(1..=u32::MAX)
}
