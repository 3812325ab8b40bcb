//! `POST /api/token`: room tokens over HTTP (domain.md row 19).
//!
//! Who moderates a room lets others into it: the bearer is an admin's token, or one with `video.roomAdmin`
//! for the very room. Nobody gives more than she has: not a higher role, not a right her own token lacks.

use std::net::{IpAddr, SocketAddr};
use std::time::{Duration, SystemTime};

use axum::extract::{ConnectInfo, FromRequest, Query, Request, State};
use axum::http::{HeaderMap, Uri, header};
use axum::response::{IntoResponse, Response};
use axum::routing::post;
use axum::{Form, Json, Router};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::layers::read_body;
use super::problem::Problem;
use super::public_url::{PublicUrl, websocket};
use super::signaling::token;
use crate::auth::token::{MintError, is_room_name};
use crate::auth::{Keys, Rights, Role, RoomClaims, VideoGrant};

/// Life of an issued token, seconds.
const TOKEN_LIFETIME_S: u64 = 3600;

/// Longest body, bytes: three short fields.
const REQUEST_BYTES_MAX: usize = 4096;

/// What the route needs to know.
#[derive(Clone, Debug)]
pub struct TokenIssuer {
    /// Signs.
    pub keys: Keys,
    /// Everyone gets a token.
    pub open: bool,
    /// The room of a request that names none.
    pub default_room: String,
    /// For the URLs in the answer.
    pub public_url: PublicUrl,
}

/// A request as query, form or JSON; the body wins where both name a field. Unknown fields are ignored.
#[derive(Debug, Default, Deserialize, ToSchema)]
#[schema(example = json!({"user_type": "student", "user_id": "u-17", "room": "math-7", "name": "Ada"}))]
pub(super) struct TokenRequest {
    /// The role: admin, teacher, student, monitor or viewer. Absent: viewer.
    user_type: Option<String>,
    /// Who this is to your platform, 1 to 128 bytes. Absent: somebody new.
    #[schema(max_length = 128)]
    user_id: Option<String>,
    /// The room. Absent: the node's `default_room`.
    #[schema(pattern = "^[A-Za-z0-9_-]{1,64}$")]
    room: Option<String>,
    /// The name to show to others, at most 256 bytes.
    #[schema(max_length = 256)]
    name: Option<String>,
}

/// A room token and where it leads.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct TokenAnswer {
    /// The room token, a JWT.
    token: String,
    /// The stream: always `main`.
    #[schema(example = "main")]
    mode: &'static str,
    /// The room it opens.
    #[schema(example = "math-7")]
    room: String,
    /// Watch here (WHEP); the token is in the query.
    #[schema(example = "https://live.school.example/whep/math-7?jwt=eyJ...")]
    webrtc_url: String,
    /// Publish here (WHIP); the token is in the query.
    #[schema(example = "https://live.school.example/whip/math-7?jwt=eyJ...")]
    whip_url: String,
    /// WebSocket signaling; nothing listens there yet.
    #[schema(example = "wss://live.school.example/v1/ws?jwt=eyJ...")]
    ws_url: String,
    /// Life of the token, seconds.
    #[schema(example = 3600)]
    expires_in: u64,
}

/// Whom a request for a token is from: the owner of a verified room token, or nobody in particular where
/// the node gives tokens to everyone.
struct Asker(Option<RoomClaims>);

/// The route.
pub fn routes(issuer: TokenIssuer) -> Router {
    Router::new()
        .route("/api/token", post(issue))
        .with_state(issuer)
}

async fn issue(State(issuer): State<TokenIssuer>, request: Request) -> Result<Response, Problem> {
    let headers = request.headers().clone();
    let asker = match token(&headers, request.uri()) {
        Some(token) => Asker(Some(issuer.keys.verify_room(token)?)),
        None if issuer.open => {
            refuse_foreign_pages(&headers)?;
            Asker(None)
        }
        None => return Err(Problem::unauthenticated()),
    };
    let peer = request
        .extensions()
        .get::<ConnectInfo<SocketAddr>>()
        .map(|info| info.0.ip());
    let asked = read_request(request).await?;
    let answer = issuer.issue(&asker, asked, &headers, peer, SystemTime::now())?;
    Ok(([(header::CACHE_CONTROL, "no-store")], Json(answer)).into_response())
}

impl TokenIssuer {
    fn issue(
        &self,
        asker: &Asker,
        asked: TokenRequest,
        headers: &HeaderMap,
        peer: Option<IpAddr>,
        now: SystemTime,
    ) -> Result<TokenAnswer, Problem> {
        let role = match asked.user_type.as_deref() {
            None | Some("") => Role::Viewer,
            Some(name) => Role::ALL
                .into_iter()
                .find(|role| role.as_str() == name)
                .ok_or_else(|| {
                    Problem::bad_request(
                        "`user_type` is one of admin, teacher, student, monitor, viewer.",
                    )
                })?,
        };
        let room = asked
            .room
            .filter(|room| !room.is_empty())
            .unwrap_or_else(|| self.default_room.clone());
        if !is_room_name(&room) {
            return Err(Problem::bad_request(
                "`room` has 1 to 64 of the characters A-Z a-z 0-9 _ -.",
            ));
        }
        let sub = asked
            .user_id
            .filter(|id| !id.is_empty())
            .unwrap_or_else(anonymous);
        let video = asker.grant(role, &room)?;
        let lifetime = Duration::from_secs(TOKEN_LIFETIME_S);
        let mut claims = RoomClaims::new(sub, role, video, now, lifetime);
        claims.name = asked.name.filter(|name| !name.is_empty());
        let token = self.keys.mint_room(claims).map_err(|error| match error {
            MintError::Claims(what) => {
                Problem::bad_request(format!("`user_id` or `name`: {what}."))
            }
            error @ (MintError::NoActiveKey | MintError::Sign(_)) => {
                tracing::error!(%error, "no token can be issued");
                Problem::internal()
            }
        })?;
        let base = self.public_url.of_request(headers, peer);
        Ok(TokenAnswer {
            webrtc_url: format!("{base}/whep/{room}?jwt={token}"),
            whip_url: format!("{base}/whip/{room}?jwt={token}"),
            ws_url: format!("{}/v1/ws?jwt={token}", websocket(&base)),
            token,
            mode: "main",
            room,
            expires_in: TOKEN_LIFETIME_S,
        })
    }
}

impl Asker {
    /// The grant of a token for `role` in `room`, or why this asker may not give one.
    fn grant(&self, role: Role, room: &str) -> Result<VideoGrant, Problem> {
        let grant = VideoGrant {
            room: Some(room.to_owned()),
            ..VideoGrant::default()
        };
        let Some(claims) = &self.0 else {
            return Ok(grant);
        };
        if !claims.opens(room) {
            return Err(Problem::wrong_room(claims.video.room.as_deref()));
        }
        let rights = claims.rights();
        if claims.role != Role::Admin && !rights.room_admin {
            return Err(Problem::not_allowed(
                "Giving tokens needs a token of an admin, or one with `video.roomAdmin` for the room.",
            ));
        }
        if role.rank() > claims.role.rank() {
            return Err(Problem::not_allowed(format!(
                "A {} gives no token of a {role}: a role is never above one's own.",
                claims.role
            )));
        }
        // The role's defaults, without what the giver herself lacks.
        let given = Rights::new(role, &grant);
        let no = |has: bool, gets: bool| (gets && !has).then_some(false);
        let may_publish = no(rights.may_publish(), given.may_publish());
        let narrowed =
            given.may_publish() && may_publish.is_none() && given.publish != rights.publish;
        Ok(VideoGrant {
            can_publish: may_publish,
            can_publish_sources: narrowed.then_some(rights.publish),
            can_subscribe: no(rights.subscribe, given.subscribe),
            can_publish_data: no(rights.publish_data, given.publish_data),
            room_admin: no(rights.room_admin, given.room_admin),
            room_join: no(rights.join, given.join),
            ..grant
        })
    }
}

/// A fresh identity for somebody who gave none.
fn anonymous() -> String {
    format!("anonymous-{}", uuid::Uuid::now_v7())
}

async fn read_request(request: Request) -> Result<TokenRequest, Problem> {
    let (parts, body) = request.into_parts();
    let query = from_query(&parts.uri)?;
    let bytes = read_body(body, REQUEST_BYTES_MAX).await?;
    if bytes.is_empty() {
        return Ok(query);
    }
    let media_type = parts
        .headers
        .get(header::CONTENT_TYPE)
        .and_then(|value| value.to_str().ok())
        .and_then(|value| value.split(';').next())
        .map(|value| value.trim().to_ascii_lowercase());
    let body: TokenRequest = match media_type.as_deref() {
        Some("application/json") => super::json::parse(&bytes)?,
        Some("application/x-www-form-urlencoded") => {
            let request = Request::from_parts(parts, bytes.into());
            let form = Form::<TokenRequest>::from_request(request, &()).await;
            form.map_err(|error| {
                Problem::bad_request(format!("The form cannot be read: {error}."))
            })?
            .0
        }
        Some(_) | None => {
            return Err(Problem::wrong_type(
                "application/json` or `application/x-www-form-urlencoded",
            ));
        }
    };
    Ok(TokenRequest {
        user_type: body.user_type.or(query.user_type),
        user_id: body.user_id.or(query.user_id),
        room: body.room.or(query.room),
        name: body.name.or(query.name),
    })
}

fn from_query(uri: &Uri) -> Result<TokenRequest, Problem> {
    let query = Query::<TokenRequest>::try_from_uri(uri)
        .map_err(|error| Problem::bad_request(format!("The query cannot be read: {error}.")))?;
    Ok(query.0)
}

/// A node that gives tokens to everyone listens on loopback only, but any web page in this machine's
/// browser can reach loopback. So the page must be local too (`Origin`), and the name by which it calls
/// us must be (`Host`), else a foreign name that resolves to 127.0.0.1 would do.
fn refuse_foreign_pages(headers: &HeaderMap) -> Result<(), Problem> {
    let text = |name| headers.get(name).map(|value| value.to_str().unwrap_or("?"));
    let host_is_local = text(header::HOST).is_none_or(is_local);
    let origin_is_local = text(header::ORIGIN).is_none_or(|origin| {
        origin
            .split_once("://")
            .is_some_and(|(_, host)| is_local(host))
    });
    if host_is_local && origin_is_local {
        Ok(())
    } else {
        Err(Problem::not_allowed(
            "Open tokens are for pages of this machine: open http://127.0.0.1 or http://localhost. \
             Elsewhere, get a token from your platform or `lectern token`.",
        ))
    }
}

/// Whether a host, perhaps with a port, is this machine by name or address.
fn is_local(authority: &str) -> bool {
    let Ok(authority) = authority.parse::<axum::http::uri::Authority>() else {
        return false;
    };
    let host = authority
        .host()
        .trim_start_matches('[')
        .trim_end_matches(']');
    host.eq_ignore_ascii_case("localhost")
        || host
            .parse::<IpAddr>()
            .is_ok_and(|address| address.is_loopback())
}

#[cfg(test)]
mod tests;
