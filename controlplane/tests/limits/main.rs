//! Rows C4, C5 and C6 of the threat table (security.md) over real sockets: foreign pages, oversized bodies,
//! and those who come slowly, in crowds, or until the descriptors are gone.
#![expect(
    clippy::unwrap_used,
    clippy::wildcard_enum_match_arm,
    reason = "a test that cannot go on says where"
)]

mod bodies;
mod cors;
mod crowd;
#[path = "../signaling/fake.rs"]
#[expect(
    dead_code,
    reason = "these stories need a data plane that answers, and no more"
)]
mod fake;
#[path = "../place/mod.rs"]
mod place;
mod process;
mod routes;
mod slow;

use std::net::{Ipv4Addr, SocketAddr};
use std::time::{Duration, SystemTime};

use axum::Router;
use controlplane::auth::token::RoomClaims;
use controlplane::auth::{Keys, Role, VideoGrant};
use controlplane::config::{Config, CorsOrigins, Flags};
use controlplane::http::health::Health;
use controlplane::http::layers::Layers;
use controlplane::http::metrics::Metrics;
use controlplane::http::public;
use controlplane::http::public_url::PublicUrl;
use controlplane::http::server::Server;
use controlplane::http::token::TokenIssuer;
use controlplane::node::NodeClient;
use controlplane::rooms::{Limits, Registry};
use controlplane::state::{AppState, Shared};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpSocket, TcpStream};

/// The public port of a node whose data plane only answers.
struct Node {
    address: SocketAddr,
    keys: Keys,
    routes: Router,
    _fake: fake::FakeNode,
    _dir: tempfile::TempDir,
}

impl Node {
    async fn start(cors_origins: CorsOrigins) -> Node {
        let dir = tempfile::tempdir().unwrap();
        let link = dir.path().join("link.sock");
        let fake = fake::FakeNode::start(link.clone(), 1);
        let keys = Keys::from_secret("k", "0123456789abcdef0123456789abcdef", "lectern").unwrap();
        let metrics = Metrics::new();
        let health = Health::new(metrics.clone());
        let (client, events) = NodeClient::start(link);
        let registry = Registry::new(
            client.clone(),
            health.clone(),
            metrics.clone(),
            Limits::default(),
        );
        tokio::spawn(registry.clone().run(events));
        let (config, _) = Config::from_environment(&Flags::default(), []).unwrap();
        let server = Server::bind("--http", "127.0.0.1:0".parse().unwrap()).unwrap();
        let address = server.address();
        let issuer = TokenIssuer {
            keys: keys.clone(),
            open: false,
            default_room: "live".to_owned(),
            public_url: PublicUrl::new(&config, address),
        };
        let state = AppState::new(Shared {
            keys: keys.clone(),
            node: client,
            registry,
            health: health.clone(),
            ice_servers: Vec::new(),
            node_id: [1; 16],
            lenient_patch: false,
        });
        let settings = Layers {
            cors_origins,
            metrics,
        };
        let routes = public::routes(state.clone(), issuer.clone());
        let (_stop, serving) = server
            .serve(public::router(state, issuer, settings))
            .unwrap();
        tokio::spawn(serving);
        health.wait_for_link().await;
        Node {
            address,
            keys,
            routes,
            _fake: fake,
            _dir: dir,
        }
    }

    fn token(&self, role: Role) -> String {
        let grant = VideoGrant {
            room: Some("math-7".into()),
            ..VideoGrant::default()
        };
        let lifetime = Duration::from_secs(600);
        let claims = RoomClaims::new("u-17", role, grant, SystemTime::now(), lifetime);
        self.keys.mint_room(claims).unwrap()
    }

    /// A connection from this address of the loopback network: to the node, another client.
    async fn connect_from(&self, from: Ipv4Addr) -> TcpStream {
        let socket = TcpSocket::new_v4().unwrap();
        socket.bind(SocketAddr::from((from, 0))).unwrap();
        socket.connect(self.address).await.unwrap()
    }

    async fn connect(&self) -> TcpStream {
        self.connect_from(Ipv4Addr::LOCALHOST).await
    }

    /// One request on a connection of its own, and its whole answer.
    async fn ask(&self, head: &str, body: &[u8]) -> String {
        let mut stream = self.connect().await;
        let length = body.len();
        let head =
            format!("{head}\r\nhost: x\r\ncontent-length: {length}\r\nconnection: close\r\n\r\n");
        stream.write_all(head.as_bytes()).await.unwrap();
        // A node that refuses by the head alone may close before all of a body is sent.
        let _cut = stream.write_all(body).await;
        answer(&mut stream).await
    }
}

/// What comes until the connection ends, however it ends.
async fn answer(stream: &mut TcpStream) -> String {
    let mut bytes = Vec::new();
    let mut buffer = [0; 4096];
    while let Ok(count @ 1..) = stream.read(&mut buffer).await {
        bytes.extend_from_slice(&buffer[..count]);
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

fn status(answer: &str) -> u16 {
    let status = answer.split(' ').nth(1).and_then(|code| code.parse().ok());
    status.unwrap_or_else(|| panic!("no answer: {answer:?}"))
}

fn header<'a>(answer: &'a str, name: &str) -> Option<&'a str> {
    let (head, _) = answer.split_once("\r\n\r\n")?;
    head.lines()
        .filter_map(|line| line.split_once(": "))
        .find(|(found, _)| found.eq_ignore_ascii_case(name))
        .map(|(_, value)| value)
}
