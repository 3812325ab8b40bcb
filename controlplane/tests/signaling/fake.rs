//! A data plane that does nothing: it listens on a link socket, answers every order, remembers them, and
//! says what a test wants it to say.

use std::collections::VecDeque;
use std::path::PathBuf;
use std::sync::{Arc, Mutex};

use dataplane_api::command::{Command, Fingerprint, FingerprintHash};
use dataplane_api::event::{Event, FEATURE_ACCEPT, Hello, Limits, ShardInfo};
use dataplane_api::ids::{OrderId, ShardIndex};
use dataplane_api::reply::{Admitted, Done, Pong, Refusal, Refused, Reply};
use dataplane_api::snapshot::{End, Part};
use dataplane_api::wire::{FRAME_BYTES_MAX, Frame};
use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use tokio_seqpacket::{UnixSeqpacket, UnixSeqpacketListener};

/// One process of the data plane.
pub(crate) struct FakeNode {
    path: PathBuf,
    shared: Arc<Mutex<Shared>>,
    say: mpsc::UnboundedSender<Say>,
    task: JoinHandle<()>,
}

enum Say {
    Event(Event),
    Snapshot,
    HangUp,
}

#[derive(Default)]
struct Shared {
    orders: Vec<Command>,
    refusals: VecDeque<(&'static str, Refusal)>,
    silent: bool,
    parts: Vec<Part>,
    /// Orders of snapshots that wait for `snapshot`, when they are held.
    held: Option<VecDeque<OrderId>>,
    connections: usize,
    generation: u32,
}

impl Shared {
    fn snapshot(&self, id: OrderId) -> Vec<Frame> {
        let parts = self.parts.iter().cloned().chain([Part::End(End {})]);
        parts.map(|part| Frame::Part(id, part)).collect()
    }
}

pub(crate) fn name(command: &Command) -> &'static str {
    match command {
        Command::Admit(_) => "Admit",
        Command::Close(_) => "Close",
        Command::Publish(_) => "Publish",
        Command::Unpublish(_) => "Unpublish",
        Command::Subscribe(_) => "Subscribe",
        Command::Unsubscribe(_) => "Unsubscribe",
        Command::SetPolicy(_) => "SetPolicy",
        Command::RestartIce(_) => "RestartIce",
        Command::Accept(_) => "Accept",
        Command::Inspect(_) => "Inspect",
        Command::Snapshot(_) => "Snapshot",
        Command::Drain(_) => "Drain",
        Command::Ping(_) => "Ping",
    }
}

impl FakeNode {
    /// Listens at `path` as boot number `boot`, of a build that can make offers.
    pub(crate) fn start(path: PathBuf, boot: u8) -> FakeNode {
        FakeNode::start_with(path, boot, &[FEATURE_ACCEPT])
    }

    /// Listens at `path` as boot number `boot`, with these features.
    pub(crate) fn start_with(path: PathBuf, boot: u8, features: &[&str]) -> FakeNode {
        let hello = Hello {
            features: features.iter().map(|&name| name.to_owned()).collect(),
            ..hello(boot)
        };
        // A killed process leaves its socket file behind.
        drop(std::fs::remove_file(&path));
        let listener = UnixSeqpacketListener::bind(&path).unwrap();
        let shared = Arc::new(Mutex::new(Shared::default()));
        let (say, said) = mpsc::unbounded_channel();
        let task = tokio::spawn(serve(listener, hello, Arc::clone(&shared), said));
        FakeNode {
            path,
            shared,
            say,
            task,
        }
    }

    /// The process is gone; its socket file stays.
    pub(crate) fn kill(&self) -> PathBuf {
        self.task.abort();
        self.path.clone()
    }

    /// Closes the connection and waits for the next one.
    pub(crate) fn hang_up(&self) {
        assert!(self.say.send(Say::HangUp).is_ok());
    }

    pub(crate) fn event(&self, event: Event) {
        assert!(self.say.send(Say::Event(event)).is_ok());
    }

    /// The orders since the last call.
    pub(crate) fn take_orders(&self) -> Vec<Command> {
        std::mem::take(&mut self.shared.lock().unwrap().orders)
    }

    pub(crate) fn order_names(&self) -> Vec<&'static str> {
        self.shared
            .lock()
            .unwrap()
            .orders
            .iter()
            .map(name)
            .collect()
    }

    /// The next order of this kind is refused.
    pub(crate) fn refuse(&self, kind: &'static str, reason: Refusal) {
        self.shared
            .lock()
            .unwrap()
            .refusals
            .push_back((kind, reason));
    }

    /// Orders are taken and not answered.
    pub(crate) fn fall_silent(&self) {
        self.shared.lock().unwrap().silent = true;
    }

    pub(crate) fn holds(&self, parts: Vec<Part>) {
        self.shared.lock().unwrap().parts = parts;
    }

    /// Snapshots are answered by `snapshot` from now on.
    pub(crate) fn hold_snapshots(&self) {
        self.shared.lock().unwrap().held = Some(VecDeque::new());
    }

    /// Answers the oldest held snapshot with what the node holds now.
    pub(crate) fn snapshot(&self) {
        assert!(self.say.send(Say::Snapshot).is_ok());
    }

    pub(crate) fn connections(&self) -> usize {
        self.shared.lock().unwrap().connections
    }
}

async fn serve(
    mut listener: UnixSeqpacketListener,
    hello: Hello,
    shared: Arc<Mutex<Shared>>,
    mut said: mpsc::UnboundedReceiver<Say>,
) {
    loop {
        let socket = listener.accept().await.unwrap();
        let connection = {
            let mut shared = shared.lock().unwrap();
            shared.connections += 1;
            shared.connections
        };
        let hello = Hello {
            connection: u64::try_from(connection).unwrap(),
            ..hello.clone()
        };
        send(&socket, Frame::Hello(Box::new(hello))).await;
        let mut buffer = vec![0; FRAME_BYTES_MAX];
        loop {
            tokio::select! {
                received = socket.recv(&mut buffer) => {
                    let length = received.unwrap().bytes_read();
                    if length == 0 {
                        break;
                    }
                    on_frame(&socket, &shared, &buffer[..length]).await;
                }
                say = said.recv() => match say {
                    Some(Say::Event(event)) => send(&socket, Frame::Event(ShardIndex(0), 1, event)).await,
                    Some(Say::Snapshot) => {
                        let answers = {
                            let mut shared = shared.lock().unwrap();
                            let id = shared.held.as_mut().unwrap().pop_front().unwrap();
                            shared.snapshot(id)
                        };
                        for answer in answers {
                            send(&socket, answer).await;
                        }
                    }
                    Some(Say::HangUp) => break,
                    None => return,
                },
            }
        }
    }
}

async fn on_frame(socket: &UnixSeqpacket, shared: &Mutex<Shared>, bytes: &[u8]) {
    let Frame::Order(id, command) = Frame::decode(bytes).unwrap() else {
        panic!("only orders come down")
    };
    let answers = {
        let mut shared = shared.lock().unwrap();
        let refused = shared
            .refusals
            .front()
            .is_some_and(|(kind, _)| *kind == name(&command));
        let answers: Vec<Frame> = if shared.silent {
            Vec::new()
        } else if refused {
            let (_, reason) = shared.refusals.pop_front().unwrap();
            vec![Frame::Reply(
                id,
                Reply::Refused(Refused {
                    reason,
                    detail: "as the test says".into(),
                }),
            )]
        } else if let Command::Snapshot(_) = &command {
            if let Some(held) = &mut shared.held {
                held.push_back(id);
                Vec::new()
            } else {
                shared.snapshot(id)
            }
        } else {
            vec![Frame::Reply(id, reply(&command, &mut shared.generation))]
        };
        shared.orders.push(command);
        answers
    };
    for answer in answers {
        send(socket, answer).await;
    }
}

fn reply(command: &Command, generation: &mut u32) -> Reply {
    let session = match command {
        Command::Admit(admit) => admit.session,
        Command::RestartIce(restart) => restart.session,
        Command::Accept(accept) => accept.session,
        Command::Ping(_) => return Reply::Pong(Pong {}),
        _ => return Reply::Done(Done {}),
    };
    *generation += 1;
    Reply::Admitted(Admitted {
        session,
        shard: ShardIndex(0),
        ufrag: format!("ours{generation}"),
        pwd: "ourpwdourpwdourpwdourpwd".into(),
        candidates: vec!["192.0.2.7:40000".parse().unwrap()],
    })
}

fn hello(boot: u8) -> Hello {
    Hello {
        version: env!("CARGO_PKG_VERSION").into(),
        boot_id: [boot; 16],
        features: vec![],
        fingerprint: Fingerprint {
            hash: FingerprintHash::Sha256,
            digest: vec![0x5a; 32],
        },
        shards: vec![ShardInfo {
            index: ShardIndex(0),
            addresses: vec!["192.0.2.7:40000".parse().unwrap()],
            udp_port: 40000,
        }],
        limits: Limits {
            sessions_per_shard_max: 100,
            slots_per_session_max: 16,
        },
        edge: "mmsg".into(),
        ops: None,
        draining: false,
        connection: 0,
    }
}

async fn send(socket: &UnixSeqpacket, frame: Frame) {
    // The other side may be gone; what follows then is its business.
    drop(socket.send(&frame.encode().unwrap()).await);
}
