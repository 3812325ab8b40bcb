//! `POST /api/token`: room tokens over HTTP.

use std::net::{IpAddr, SocketAddr};
use std::time::{Duration, SystemTime};

use axum::extract::{ConnectInfo, FromRequest, Query, Request, State};
use axum::http::{HeaderMap, Uri, header};
use axum::response::{IntoResponse, Response};
use axum::routing::post;
use axum::{Form, Json, Router};
use serde::{Deserialize, Serialize};

use super::layers::read_body;
use super::problem::Problem;
use super::public_url::{PublicUrl, websocket};
use crate::auth::token::{MintError, is_room_name};
use crate::auth::{Keys, Role, RoomClaims, VideoGrant};

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
#[derive(Debug, Default, Deserialize)]
struct TokenRequest {
    user_type: Option<String>,
    user_id: Option<String>,
    room: Option<String>,
    name: Option<String>,
}

#[derive(Debug, Serialize)]
struct TokenAnswer {
    token: String,
    mode: &'static str,
    room: String,
    webrtc_url: String,
    whip_url: String,
    ws_url: String,
    expires_in: u64,
}

/// The route.
pub fn routes(issuer: TokenIssuer) -> Router {
    Router::new()
        .route("/api/token", post(issue))
        .with_state(issuer)
}

async fn issue(State(issuer): State<TokenIssuer>, request: Request) -> Result<Response, Problem> {
    if !issuer.open {
        return Err(Problem::unauthenticated());
    }
    let headers = request.headers().clone();
    refuse_foreign_pages(&headers)?;
    let peer = request
        .extensions()
        .get::<ConnectInfo<SocketAddr>>()
        .map(|info| info.0.ip());
    let asked = read_request(request).await?;
    let answer = issuer.issue(asked, &headers, peer, SystemTime::now())?;
    Ok(([(header::CACHE_CONTROL, "no-store")], Json(answer)).into_response())
}

impl TokenIssuer {
    fn issue(
        &self,
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
        let video = VideoGrant {
            room: Some(room.clone()),
            ..VideoGrant::default()
        };
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
        Some("application/json") => serde_json::from_slice(&bytes)
            .map_err(|error| Problem::bad_request(format!("The JSON cannot be read: {error}.")))?,
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
mod tests {
    use super::*;
    use crate::config::{Config, Flags};
    use axum::body::{Body, to_bytes};
    use serde_json::{Value, json};
    use tower::ServiceExt;

    fn router(open: bool) -> (Router, Keys) {
        let keys = Keys::from_secret("k", "0123456789abcdef0123456789abcdef", "lectern").unwrap();
        let (config, _) = Config::from_environment(&Flags::default(), []).unwrap();
        let issuer = TokenIssuer {
            keys: keys.clone(),
            open,
            default_room: "live".to_owned(),
            public_url: PublicUrl::new(&config, "127.0.0.1:8080".parse().unwrap()),
        };
        (routes(issuer), keys)
    }

    async fn ask(
        router: &Router,
        request: axum::http::request::Builder,
        body: &str,
    ) -> (u16, Value) {
        let request = request.body(Body::from(body.to_owned())).unwrap();
        let response = router.clone().oneshot(request).await.unwrap();
        let status = response.status().as_u16();
        let bytes = to_bytes(response.into_body(), 1 << 16).await.unwrap();
        (status, serde_json::from_slice(&bytes).unwrap())
    }

    #[tokio::test]
    async fn query_form_and_json_ask_the_same() {
        let (router, keys) = router(true);
        let table = [
            (
                Request::post("/api/token?user_type=teacher&user_id=u-17&room=math-7"),
                String::new(),
            ),
            (
                Request::post("/api/token")
                    .header("content-type", "application/x-www-form-urlencoded"),
                "user_type=teacher&user_id=u-17&room=math-7".to_owned(),
            ),
            (
                Request::post("/api/token?room=other")
                    .header("content-type", "application/json; charset=utf-8"),
                json!({"user_type": "teacher", "user_id": "u-17", "room": "math-7", "extra": 1})
                    .to_string(),
            ),
        ];
        for (request, body) in table {
            let (status, answer) =
                ask(&router, request.header("host", "localhost:8080"), &body).await;
            assert_eq!(status, 200, "{answer}");
            let token = answer["token"].as_str().unwrap();
            let claims = keys.verify_room(token).unwrap();
            assert_eq!((claims.sub.as_str(), claims.role), ("u-17", Role::Teacher));
            assert!(claims.opens("math-7") && !claims.opens("other"));
            assert_eq!(claims.exp - claims.iat, 3600);
            assert_eq!(
                answer["webrtc_url"],
                format!("http://localhost:8080/whep/math-7?jwt={token}")
            );
            assert_eq!(
                answer["whip_url"],
                format!("http://localhost:8080/whip/math-7?jwt={token}")
            );
            assert_eq!(
                answer["ws_url"],
                format!("ws://localhost:8080/v1/ws?jwt={token}")
            );
            assert_eq!(
                (&answer["mode"], &answer["room"], &answer["expires_in"]),
                (&json!("main"), &json!("math-7"), &json!(3600))
            );
        }
    }

    #[tokio::test]
    async fn nobody_in_particular_is_a_new_viewer_of_the_default_room_each_time() {
        let (router, keys) = router(true);
        let mut subs = Vec::new();
        for _ in 0..2 {
            let (_, answer) = ask(&router, Request::post("/api/token"), "").await;
            let claims = keys.verify_room(answer["token"].as_str().unwrap()).unwrap();
            assert_eq!(claims.role, Role::Viewer);
            assert!(claims.opens("live"));
            subs.push(claims.sub);
        }
        assert_ne!(subs[0], subs[1]);
    }

    #[tokio::test]
    async fn without_open_tokens_everyone_is_told_to_authenticate() {
        let (router, _) = router(false);
        let (status, problem) = ask(&router, Request::post("/api/token?user_type=admin"), "").await;
        assert_eq!(status, 401);
        assert_eq!(problem["type"], "urn:lectern:problem:unauthenticated");
    }

    #[tokio::test]
    async fn a_foreign_page_gets_no_open_token_through_a_local_browser() {
        let (router, _) = router(true);
        let table = [
            (Some("http://localhost:5173"), "127.0.0.1:8080", 200),
            (Some("http://[::1]:8080"), "[::1]:8080", 200),
            (None, "LOCALHOST:8080", 200),
            (Some("https://evil.example"), "127.0.0.1:8080", 403),
            (Some("null"), "127.0.0.1:8080", 403),
            (Some("http://localhost.evil.example"), "127.0.0.1:8080", 403),
            (None, "rebound.evil.example:8080", 403),
        ];
        for (origin, host, expected) in table {
            let mut request = Request::post("/api/token").header("host", host);
            if let Some(origin) = origin {
                request = request.header("origin", origin);
            }
            let (status, _) = ask(&router, request, "").await;
            assert_eq!(status, expected, "{origin:?} {host}");
        }
    }

    #[tokio::test]
    async fn what_cannot_be_granted_is_said() {
        let (router, _) = router(true);
        let long = "x".repeat(129);
        for (query, status) in [
            ("user_type=root".to_owned(), 400),
            ("room=..%2Fetc".to_owned(), 400),
            (format!("user_id={long}"), 400),
        ] {
            let (found, problem) =
                ask(&router, Request::post(format!("/api/token?{query}")), "").await;
            assert_eq!(found, status, "{query}");
            assert!(!problem["detail"].as_str().unwrap().is_empty());
        }
        let request = Request::post("/api/token").header("content-type", "text/plain");
        assert_eq!(ask(&router, request, "x").await.0, 415);
        let request = Request::post("/api/token").header("content-type", "application/json");
        assert_eq!(ask(&router, request, "{").await.0, 400);
    }
}
