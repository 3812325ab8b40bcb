//! A link server whose shard is played by the test, and a control plane.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use dataplane::advertise::Advertised;
use dataplane::debug::Asker;
use dataplane::lifetime::{Lifetime, Phase};
use dataplane::link::{LinkListener, Server, Surroundings};
use dataplane::mesh::{HandshakeEnd, ShardEnd, mesh};
use dataplane::node::Node;
use dataplane::status::{ShardStatus, Status};
use dataplane_api::command::{Fingerprint, FingerprintHash, Ping};
use dataplane_api::event::{CloseReason, Hello, Limits, SessionClosed};
use dataplane_api::ids::{OrderId, SessionId};
use dataplane_api::reply::Pong;
use dataplane_api::wire::{FRAME_BYTES_MAX, Frame};
use dataplane_api::{Command, Event, Reply};
use dataplane_net::Waker;
use tokio::sync::{mpsc, watch};
use tokio::task::JoinHandle;
use tokio::time::timeout;
use tokio_seqpacket::UnixSeqpacket;

/// Longest wait for anything; only a failing test waits that long.
pub(crate) const PATIENCE: Duration = Duration::from_secs(10);

/// A server whose shard is played by the test.
pub(crate) struct Rig {
    pub(crate) path: PathBuf,
    pub(crate) shard: ShardEnd,
    pub(crate) status: Arc<Status>,
    pub(crate) requests: mpsc::Sender<Phase>,
    pub(crate) asker: Asker,
    pub(crate) server: JoinHandle<()>,
    _advertised: watch::Sender<Advertised>,
    _handshake: HandshakeEnd,
    _dir: tempfile::TempDir,
}

pub(crate) async fn rig() -> Rig {
    let dir = tempfile::tempdir().expect("a directory");
    let path = dir.path().join("link.sock");
    let listener = LinkListener::bind(&path).await.expect("listens");
    let (link, mut shards, handshake) = mesh(vec![Waker::new().expect("an eventfd")]);
    let health = link.healths().remove(0);
    let shard_status = ShardStatus {
        health,
        slot: Arc::default(),
    };
    let status = Arc::new(Status::new(vec![shard_status], Arc::default(), "mmsg"));
    let advertised = Advertised {
        addresses: vec!["192.0.2.1".parse().expect("an address")],
        warnings: Vec::new(),
    };
    let (requests, from_requests) = mpsc::channel(4);
    let (to_advertised, from_advertised) = watch::channel(advertised.clone());
    let bell = link.bell();
    let (asker, questions) = Asker::new();
    let server = Server::new(
        listener,
        Node::new(link, &[40_000], advertised),
        bell,
        hello(),
        Lifetime::new(Instant::now(), Duration::MAX, Duration::MAX),
        Surroundings {
            requests: from_requests,
            advertised: from_advertised,
            status: Arc::clone(&status),
            questions,
        },
    );
    Rig {
        path,
        shard: shards.remove(0),
        status,
        requests,
        asker,
        server: tokio::spawn(server.run()),
        _advertised: to_advertised,
        _handshake: handshake,
        _dir: dir,
    }
}

fn hello() -> Hello {
    Hello {
        version: "0.1.0".into(),
        boot_id: [7; 16],
        features: Vec::new(),
        fingerprint: Fingerprint {
            hash: FingerprintHash::Sha256,
            digest: vec![1; 32],
        },
        shards: Vec::new(),
        limits: Limits {
            sessions_per_shard_max: 10,
            slots_per_session_max: 10,
        },
        edge: "mmsg".into(),
        ops: None,
        draining: false,
        connection: 0,
    }
}

/// A control plane.
pub(crate) struct Client(UnixSeqpacket);

impl Client {
    pub(crate) async fn connect(rig: &Rig) -> (Client, Hello) {
        let client = Client(UnixSeqpacket::connect(&rig.path).await.expect("connects"));
        let Frame::Hello(hello) = client.read().await else {
            panic!("a hello comes first");
        };
        (client, *hello)
    }

    pub(crate) async fn send(&self, bytes: &[u8]) {
        timeout(PATIENCE, self.0.send(bytes))
            .await
            .expect("in time")
            .expect("sends");
    }

    pub(crate) async fn order(&self, order: u64, command: Command) {
        self.send(
            &Frame::Order(OrderId(order), command)
                .encode()
                .expect("encodes"),
        )
        .await;
    }

    /// `None` when the server has closed the connection.
    pub(crate) async fn try_read(&self) -> Option<Frame> {
        let mut buffer = vec![0; FRAME_BYTES_MAX];
        let received = timeout(PATIENCE, self.0.recv(&mut buffer))
            .await
            .expect("in time");
        let len = received.map_or(0, |info| info.bytes_read());
        (len > 0).then(|| Frame::decode(&buffer[..len]).expect("decodes"))
    }

    pub(crate) async fn read(&self) -> Frame {
        self.try_read().await.expect("a frame and not the end")
    }

    pub(crate) async fn ping(&self, order: u64) {
        self.order(order, Command::Ping(Ping {})).await;
        assert_eq!(self.read().await, pong(order));
    }
}

pub(crate) fn pong(order: u64) -> Frame {
    Frame::Reply(OrderId(order), Reply::Pong(Pong {}))
}

pub(crate) fn closed(session: u64) -> Event {
    let session = SessionId(session);
    Event::SessionClosed(SessionClosed {
        session,
        reason: CloseReason::PeerClosed,
    })
}
