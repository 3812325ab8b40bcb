//! WHIP and WHEP over HTTP, with a data plane that only answers.
#![expect(
    clippy::unwrap_used,
    clippy::wildcard_enum_match_arm,
    reason = "a test that cannot go on says where"
)]

mod fake;

mod conformance;
mod counter;
mod data_plane;
mod events;
mod impostors;
mod inspect;
mod sessions;
mod stream_key;
mod takeover;
mod whip_whep;

use std::time::{Duration, SystemTime};

use axum::Router;
use axum::body::{Body, to_bytes};
use axum::http::{HeaderMap, Method, Request, StatusCode};
use controlplane::auth::token::RoomClaims;
use controlplane::auth::{Keys, Role, Source, VideoGrant};
use controlplane::config::CorsOrigins;
use controlplane::http::health::Health;
use controlplane::http::layers::{self, Layers};
use controlplane::http::metrics::Metrics;
use controlplane::node::{NodeClient, heartbeat};
use controlplane::rooms::{Limits, Registry, StreamPath};
use controlplane::state::{AppState, IceServer, Shared};
use dataplane_api::command::{Command, Setup, Source as SlotSource};
use dataplane_api::event::{
    CloseReason, Event, ResyncNeeded, SessionClosed, SessionConnected, Superseded, TrackLive,
    TrackSilent,
};
use dataplane_api::ids::{RoomId, SessionId, ShardIndex, SlotId, TrackId};
use dataplane_api::media::{CodecId, MediaKind};
use dataplane_api::reply::Refusal;
use dataplane_api::snapshot::{Part, SessionPart};
use fake::FakeNode;
use tokio::task::JoinHandle;
use tower::ServiceExt as _;

const WHIP: &str = include_str!("../vectors/sdp/chromium_whip.sdp");
const WHEP: &str = include_str!("../vectors/sdp/chromium_whep.sdp");
const SAFARI_WHEP: &str = include_str!("../vectors/sdp/safari_whep.sdp");
const SDP: &str = "application/sdp";
const FRAGMENT: &str = "application/trickle-ice-sdpfrag";

/// A control plane with a link to a fake data plane.
struct Node {
    dir: tempfile::TempDir,
    fake: FakeNode,
    keys: Keys,
    client: NodeClient,
    registry: Registry,
    health: Health,
    metrics: Metrics,
    router: Router,
    rooms: JoinHandle<()>,
}

struct Answer {
    status: StatusCode,
    headers: HeaderMap,
    body: String,
}

/// What a node may be like.
#[derive(Default)]
struct Setting {
    participants_max: Option<u32>,
    lenient_patch: bool,
    /// The data plane is of a build that cannot make offers.
    answers_only: bool,
}

async fn node() -> Node {
    with(Setting::default()).await
}

async fn with_limit(participants_max: Option<u32>) -> Node {
    with(Setting {
        participants_max,
        ..Setting::default()
    })
    .await
}

async fn with(setting: Setting) -> Node {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("link.sock");
    let fake = if setting.answers_only {
        FakeNode::start_with(path, 1, &[])
    } else {
        FakeNode::start(path, 1)
    };
    over(dir, fake, setting).await
}

/// A control plane over a data plane that may have seen others.
async fn over(dir: tempfile::TempDir, fake: FakeNode, setting: Setting) -> Node {
    let node = unsettled(dir, fake, setting);
    node.health.wait_for_link().await;
    // What follows begins after the snapshot that every control plane starts with.
    node.fake.take_orders();
    node
}

/// The same with these keys, alone.
async fn node_with_keys(keys: Keys) -> Node {
    let dir = tempfile::tempdir().unwrap();
    let fake = FakeNode::start(dir.path().join("link.sock"), 1);
    let node = unsettled_with(dir, fake, Setting::default(), keys);
    node.health.wait_for_link().await;
    node
}

/// The same, right after its start.
fn unsettled(dir: tempfile::TempDir, fake: FakeNode, setting: Setting) -> Node {
    let secret = "a secret of more than thirty-two bytes";
    let keys = Keys::from_secret("k-test", secret, "lectern").unwrap();
    unsettled_with(dir, fake, setting, keys)
}

fn unsettled_with(dir: tempfile::TempDir, fake: FakeNode, setting: Setting, keys: Keys) -> Node {
    let path = dir.path().join("link.sock");
    let metrics = Metrics::new();
    let health = Health::new(metrics.clone());
    let (client, events) = NodeClient::start(path);
    let registry = Registry::new(
        client.clone(),
        health.clone(),
        metrics.clone(),
        Limits {
            participants_max: setting.participants_max,
            stream_timeout: None,
        },
    );
    let rooms = tokio::spawn(registry.clone().run(events));
    let ice_servers: Vec<IceServer> = serde_json::from_str(
        r#"[{"urls":"stun:stun.example.net"},{"urls":"turn:turn.example.net","username":"u","credential":"c"}]"#,
    )
    .unwrap();
    let state = AppState::new(Shared {
        keys: keys.clone(),
        node: client.clone(),
        registry: registry.clone(),
        health: health.clone(),
        lenient_patch: setting.lenient_patch,
        ice_servers,
        node_id: [9; 16],
    });
    let settings = Layers {
        cors_origins: CorsOrigins::Any,
        metrics: metrics.clone(),
    };
    let router = layers::wrap(controlplane::http::routes(state), settings);
    Node {
        dir,
        fake,
        keys,
        client,
        registry,
        health,
        metrics,
        router,
        rooms,
    }
}

/// Lets the other tasks run until it is so.
async fn until(what: &str, condition: impl Fn() -> bool) {
    let reached = async {
        while !condition() {
            tokio::task::yield_now().await;
        }
    };
    assert!(
        tokio::time::timeout(Duration::from_secs(10), reached)
            .await
            .is_ok(),
        "never: {what}"
    );
}

impl Node {
    /// The process is gone; what it leaves is the data plane and its directory.
    async fn die(self) -> (tempfile::TempDir, FakeNode) {
        let Node {
            dir, fake, rooms, ..
        } = self;
        rooms.abort();
        assert!(rooms.await.is_err());
        (dir, fake)
    }

    fn token(&self, sub: &str, role: Role) -> String {
        self.token_with(sub, role, VideoGrant::default())
    }

    fn token_with(&self, sub: &str, role: Role, grant: VideoGrant) -> String {
        let grant = VideoGrant {
            room: grant.room.or_else(|| Some("math-7".into())),
            ..grant
        };
        let claims = RoomClaims::new(
            sub,
            role,
            grant,
            SystemTime::now(),
            Duration::from_secs(600),
        );
        self.keys.mint_room(claims).unwrap()
    }

    /// The token of a person who may publish and, unlike a teacher, does not moderate.
    fn publishing_student(&self, sub: &str) -> String {
        let grant = VideoGrant {
            can_publish: Some(true),
            ..VideoGrant::default()
        };
        self.token_with(sub, Role::Student, grant)
    }

    async fn send(&self, request: Request<Body>) -> Answer {
        let response = self.router.clone().oneshot(request).await.unwrap();
        let (parts, body) = response.into_parts();
        let body = to_bytes(body, 1 << 20).await.unwrap();
        Answer {
            status: parts.status,
            headers: parts.headers,
            body: String::from_utf8(body.to_vec()).unwrap(),
        }
    }

    async fn request(&self, method: Method, path: &str, token: &str, body: &str) -> Answer {
        let request = Request::builder()
            .method(method)
            .uri(path)
            .header("authorization", format!("Bearer {token}"))
            .header("content-type", SDP)
            .body(Body::from(body.to_owned()))
            .unwrap();
        self.send(request).await
    }

    async fn post(&self, path: &str, token: &str, offer: &str) -> Answer {
        self.request(Method::POST, path, token, offer).await
    }

    async fn patch(&self, path: &str, token: &str, if_match: Option<&str>, body: &str) -> Answer {
        let mut request = Request::patch(path)
            .header("authorization", format!("Bearer {token}"))
            .header("content-type", FRAGMENT);
        if let Some(etag) = if_match {
            request = request.header("if-match", etag);
        }
        self.send(request.body(Body::from(body.to_owned())).unwrap())
            .await
    }

    /// A teacher publishes `main`; returns the session's URL and token.
    async fn publish(&self) -> (String, String) {
        let token = self.token("teacher", Role::Teacher);
        let answer = self.post("/whip/math-7", &token, WHIP).await;
        assert_eq!(answer.status, StatusCode::CREATED, "{}", answer.body);
        (answer.header("location").to_owned(), token)
    }

    fn is_live(&self) -> bool {
        let path = StreamPath {
            room: "math-7".into(),
            name: "main".into(),
        };
        self.registry.formats(&path).is_some()
    }
}

impl Answer {
    fn header(&self, name: &str) -> &str {
        self.headers
            .get(name)
            .unwrap_or_else(|| panic!("no {name}"))
            .to_str()
            .unwrap()
    }

    /// The catalogue's row this answer is.
    fn problem(&self) -> (u16, String) {
        assert_eq!(
            self.header("content-type"),
            "application/problem+json",
            "{}",
            self.body
        );
        let body: serde_json::Value = serde_json::from_str(&self.body).unwrap();
        let slug = body["type"]
            .as_str()
            .unwrap()
            .strip_prefix("urn:lectern:problem:")
            .unwrap_or("blank");
        assert!(!body["detail"].as_str().unwrap().is_empty());
        (self.status.as_u16(), slug.to_owned())
    }

    fn is_problem(&self, status: u16, slug: &str) {
        assert_eq!(self.problem(), (status, slug.to_owned()), "{}", self.body);
        let retry = matches!(status, 409 | 503);
        assert_eq!(
            self.headers.contains_key("retry-after"),
            retry,
            "{}",
            self.body
        );
    }

    fn detail(&self) -> String {
        let body: serde_json::Value = serde_json::from_str(&self.body).unwrap();
        body["detail"].as_str().unwrap().to_owned()
    }
}

fn sessions(orders: &[Command], kind: &str) -> Vec<SessionId> {
    let session = |command: &Command| match command {
        Command::Admit(admit) => Some(admit.session),
        Command::Close(close) => Some(close.session),
        Command::Publish(publish) => Some(publish.session),
        Command::Subscribe(subscribe) => Some(subscribe.session),
        _ => None,
    };
    orders
        .iter()
        .filter(|command| fake::name(command) == kind)
        .filter_map(session)
        .collect()
}

fn tracks(orders: &[Command]) -> Vec<TrackId> {
    let track = |command: &Command| match command {
        Command::Publish(publish) => Some(publish.track),
        _ => None,
    };
    orders.iter().filter_map(track).collect()
}
