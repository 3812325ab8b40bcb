//! The real binary: started on ports of the kernel's choice, asked for a session over its link, ended by
//! signals.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream, UdpSocket};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, ChildStdout, Command as Program, ExitStatus, Stdio};
use std::sync::mpsc;
use std::thread;
use std::time::{Duration, Instant};

use dataplane_api::command::{
    Admit, Close, Fingerprint, FingerprintHash, RemoteTransport, SessionPolicy, Setup,
};
use dataplane_api::ids::{OrderId, RoomId, SessionId};
use dataplane_api::media::Extensions;
use dataplane_api::reply::{Admitted, Refusal};
use dataplane_api::wire::{FRAME_BYTES_MAX, Frame};
use dataplane_api::{Command, Event, Reply};
use serde_json::Value;
use tokio::time::timeout;
use tokio_seqpacket::UnixSeqpacket;

/// Longest wait for anything; only a failing test waits that long.
const PATIENCE: Duration = Duration::from_secs(20);

/// How soon the process is gone that is told to stop (domain.md, configuration).
const STOP_MAX: Duration = Duration::from_secs(2);

/// A running data plane. It ends with its standard input, so a test that fails leaves none behind.
struct DataPlane {
    child: Child,
    stdin: ChildStdin,
    dir: tempfile::TempDir,
    ready: Value,
}

fn program(dir: &Path, args: &[&str]) -> Program {
    let mut program = Program::new(env!("CARGO_BIN_EXE_lectern-dataplane"));
    let config = dir.join("lectern.toml");
    // In the file and not as flags, so that a test may say otherwise.
    let defaults = "media_port = 0\nmedia_ops = \"127.0.0.1:0\"\nlog_format = \"json\"\n";
    std::fs::write(&config, defaults).expect("writes");
    program
        .env_remove("LECTERN_LOG_LEVEL")
        .arg("--config")
        .arg(config)
        .arg("--data-dir")
        .arg(dir)
        .args(args)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    program
}

impl DataPlane {
    fn start(args: &[&str]) -> DataPlane {
        let dir = tempfile::tempdir().expect("a directory");
        let args = [&["--json", "--exit-with-stdin"], args].concat();
        let mut program = program(dir.path(), &args);
        program.stdin(Stdio::piped()).stderr(Stdio::inherit());
        DataPlane::spawned(program, dir)
    }

    fn spawned(mut program: Program, dir: tempfile::TempDir) -> DataPlane {
        let mut child = program.spawn().expect("starts");
        // Taken out, because waiting for a child closes the input that it still has.
        let stdin = child.stdin.take().expect("a pipe");
        let ready = first_line(child.stdout.take().expect("a pipe"));
        DataPlane {
            child,
            stdin,
            dir,
            ready: serde_json::from_str(&ready).expect("a ready line"),
        }
    }

    fn link(&self) -> PathBuf {
        PathBuf::from(self.ready["link"].as_str().expect("a path"))
    }

    fn signal(&self, name: &str) {
        let pid = self.child.id().to_string();
        let kill = Program::new("kill")
            .args(["-s", name, &pid])
            .status()
            .expect("kill runs");
        assert!(kill.success());
    }

    /// Waits for the end.
    fn ended(self) -> (ExitStatus, tempfile::TempDir) {
        let status = ended(self.child);
        drop(self.stdin);
        (status, self.dir)
    }

    fn get(&self, path: &str) -> (u16, String) {
        let ops: SocketAddr = self.ready["media_ops"]
            .as_str()
            .expect("an address")
            .parse()
            .expect("an address");
        let mut stream = TcpStream::connect(ops).expect("connects");
        stream.set_read_timeout(Some(PATIENCE)).expect("a timeout");
        write!(
            stream,
            "GET {path} HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n"
        )
        .expect("asks");
        let mut answer = String::new();
        stream.read_to_string(&mut answer).expect("an answer");
        let status = answer
            .split(' ')
            .nth(1)
            .expect("a status")
            .parse()
            .expect("a number");
        (status, answer)
    }
}

fn first_line(stdout: ChildStdout) -> String {
    let (sender, receiver) = mpsc::channel();
    thread::spawn(move || {
        let mut line = String::new();
        let read = BufReader::new(stdout).read_line(&mut line);
        let _ = sender.send(read.map(|_| line));
    });
    receiver
        .recv_timeout(PATIENCE)
        .expect("a line in time")
        .expect("a line")
}

fn ended(mut child: Child) -> ExitStatus {
    let (sender, receiver) = mpsc::channel();
    let pid = child.id().to_string();
    thread::spawn(move || {
        let _ = sender.send(child.wait());
    });
    match receiver.recv_timeout(PATIENCE) {
        Ok(status) => status.expect("waits"),
        Err(_) => {
            let _ = Program::new("kill").args(["-s", "KILL", &pid]).status();
            panic!("the process does not end");
        }
    }
}

/// A control plane.
struct Client(UnixSeqpacket);

impl Client {
    async fn connect(plane: &DataPlane) -> Client {
        let client = Client(
            UnixSeqpacket::connect(plane.link())
                .await
                .expect("connects"),
        );
        let hello = client.read().await;
        assert!(matches!(hello, Frame::Hello(_)), "{hello:?}");
        client
    }

    async fn read(&self) -> Frame {
        let mut buffer = vec![0; FRAME_BYTES_MAX];
        let info = timeout(PATIENCE, self.0.recv(&mut buffer))
            .await
            .expect("in time");
        let len = info.expect("receives").bytes_read();
        Frame::decode(&buffer[..len]).expect("decodes")
    }

    /// Gives an order and returns its answer, passing events by.
    async fn order(&self, order: u64, command: Command) -> Reply {
        let frame = Frame::Order(OrderId(order), command)
            .encode()
            .expect("encodes");
        self.0.send(&frame).await.expect("sends");
        loop {
            if let Frame::Reply(OrderId(answered), reply) = self.read().await {
                assert_eq!(answered, order);
                return reply;
            }
        }
    }

    async fn admit(&self, order: u64, session: u64, room: u64) -> Reply {
        let admit = Admit {
            session: SessionId(session),
            room: RoomId(room),
            tag: b"tag".to_vec(),
            shard_hint: None,
            remote: Some(RemoteTransport {
                ufrag: "them".into(),
                pwd: "their-password-of-22-ch".into(),
                fingerprint: Fingerprint {
                    hash: FingerprintHash::Sha256,
                    digest: vec![0; 32],
                },
                setup: Setup::ActPass,
            }),
            extensions: Extensions::default(),
            slots: Vec::new(),
            policy: SessionPolicy::default(),
        };
        self.order(order, Command::Admit(admit)).await
    }

    /// Asks for sessions until the node drains: a signal takes a moment, and sessions are welcome until
    /// it arrives.
    async fn refused_as_draining(&self, order: u64) {
        let mut reply = self.admit(order, 1_000, 1_000).await;
        while let Reply::Admitted(admitted) = reply {
            let close = Command::Close(Close {
                session: admitted.session,
            });
            self.order(order, close).await;
            reply = self.admit(order, 1_000, 1_000).await;
        }
        let Reply::Refused(refused) = reply else {
            panic!("{reply:?}");
        };
        assert_eq!(refused.reason, Refusal::Draining);
    }

    async fn admitted(&self, order: u64, session: u64, room: u64) -> Admitted {
        let reply = self.admit(order, session, room).await;
        let Reply::Admitted(admitted) = reply else {
            panic!("{reply:?}");
        };
        admitted
    }
}

#[tokio::test]
async fn a_session_is_admitted_drained_and_the_process_ends() {
    let plane = DataPlane::start(&["--shards", "2", "--advertise", "127.0.0.1,192.0.2.9"]);
    let media: Vec<SocketAddr> = plane.ready["media"]
        .as_array()
        .expect("a list")
        .iter()
        .map(|address| address.as_str().expect("text").parse().expect("an address"))
        .collect();
    assert_eq!(media.len(), 4, "two addresses on two shards: {media:?}");
    assert_eq!(plane.ready["pid"], plane.child.id());
    assert_eq!(plane.get("/healthz").0, 200);
    assert_eq!(plane.get("/readyz").0, 200);

    let client = Client::connect(&plane).await;
    let one = client.admitted(1, 1, 100).await;
    let other = client.admitted(2, 2, 200).await;
    assert_ne!(one.shard, other.shard, "two rooms, two shards");
    assert!(
        one.candidates
            .iter()
            .all(|candidate| media.contains(candidate)),
        "{one:?}"
    );
    assert_eq!(one.candidates.len(), 2);
    assert!(one.ufrag.len() >= 4 && one.pwd.len() >= 22, "{one:?}");
    assert_eq!(
        client.admitted(3, 1, 100).await.ufrag,
        one.ufrag,
        "asked again, answered the same"
    );

    // A datagram that is nothing is counted by the shard that owns the port.
    let socket = UdpSocket::bind("127.0.0.1:0").expect("binds");
    let port = one.candidates[0].port();
    socket
        .send_to(&[255; 20], ("127.0.0.1", port))
        .expect("sends");
    loop {
        // A shard's statistics come once a second.
        if let Frame::Event(shard, _, Event::ShardStats(stats)) = client.read().await
            && shard == one.shard
            && stats.dropped > 0
        {
            assert_eq!((stats.sessions, stats.packets_in), (1, 1));
            break;
        }
    }
    let (_, metrics) = plane.get("/metrics");
    let shard = one.shard;
    let line = format!("lectern_shard_dropped_total{{shard=\"{shard}\",reason=\"demux\"}} 1");
    assert!(metrics.contains(&line), "{line}\n{metrics}");

    for (path, word) in [
        ("/debug/shards", "\"sessions\":1"),
        (&format!("/debug/shards/{shard}"), "\"sessions\":1"),
        ("/debug/sessions", "\"session\":\"2\""),
        ("/debug/sessions/1", "\"session\":\"1\""),
        ("/debug/link", "\"control_plane\":true"),
    ] {
        let (status, body) = plane.get(path);
        assert_eq!(status, 200, "{path}: {body}");
        assert!(body.contains(word), "{path}: {body}");
    }
    assert_eq!(plane.get("/debug/sessions/3").0, 404);

    plane.signal("TERM");
    client.refused_as_draining(4).await;
    assert_eq!(plane.get("/readyz").0, 503);
    let (_, metrics) = plane.get("/metrics");
    assert!(metrics.contains("lectern_draining 1\n"), "{metrics}");
    for session in [1, 2] {
        let close = Command::Close(Close {
            session: SessionId(session),
        });
        assert!(matches!(
            client.order(10 + session, close).await,
            Reply::Done(_)
        ));
    }
    let (status, dir) = plane.ended();
    assert_eq!(status.code(), Some(0));
    let left: Vec<_> = std::fs::read_dir(dir.path())
        .expect("reads")
        .flatten()
        .collect();
    assert_eq!(
        left.len(),
        1,
        "only the test's own lectern.toml is left: {left:?}"
    );
}

#[tokio::test]
async fn a_second_sigterm_does_not_wait_for_sessions() {
    let plane = DataPlane::start(&["--shards", "1", "--edge", "mmsg"]);
    let client = Client::connect(&plane).await;
    client.admitted(1, 1, 100).await;
    plane.signal("TERM");
    client.refused_as_draining(2).await;
    let asked = Instant::now();
    plane.signal("TERM");
    assert_eq!(plane.ended().0.code(), Some(0));
    assert!(asked.elapsed() < STOP_MAX, "{:?}", asked.elapsed());
}

#[test]
fn a_sigterm_with_nobody_here_ends_at_once() {
    let plane = DataPlane::start(&["--shards", "1", "--edge", "mmsg"]);
    let asked = Instant::now();
    plane.signal("TERM");
    assert_eq!(plane.ended().0.code(), Some(0));
    assert!(asked.elapsed() < STOP_MAX, "{:?}", asked.elapsed());
}

#[tokio::test]
async fn a_sigint_does_not_wait_for_sessions() {
    let plane = DataPlane::start(&["--shards", "1", "--edge", "mmsg"]);
    let client = Client::connect(&plane).await;
    client.admitted(1, 1, 100).await;
    let asked = Instant::now();
    plane.signal("INT");
    assert_eq!(plane.ended().0.code(), Some(0));
    assert!(asked.elapsed() < STOP_MAX, "{:?}", asked.elapsed());
}

#[test]
fn the_process_ends_with_its_supervisor() {
    let plane = DataPlane::start(&["--shards", "1"]);
    drop(plane.stdin);
    assert_eq!(ended(plane.child).code(), Some(0));
}

#[test]
fn a_port_in_use_is_named_with_the_flag() {
    let taken = UdpSocket::bind("0.0.0.0:0").expect("binds");
    let port = taken.local_addr().expect("an address").port().to_string();
    let dir = tempfile::tempdir().expect("a directory");
    let output = program(dir.path(), &["--shards", "1", "--media-port", &port])
        .output()
        .expect("runs");
    let log = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(1), "{log}");
    assert!(log.contains(&port) && log.contains("--media-port"), "{log}");
    assert!(
        !dir.path().join("link.sock").exists(),
        "nothing is left behind"
    );
}

#[test]
fn the_probe_says_what_the_host_offers() {
    let dir = tempfile::tempdir().expect("a directory");
    let args = ["--probe", "--json", "--advertise", "127.0.0.1"];
    let output = program(dir.path(), &args).output().expect("runs");
    assert_eq!(output.status.code(), Some(0));
    let probe: Value = serde_json::from_slice(&output.stdout).expect("one line of JSON");
    let edge = probe["edge"].as_str().expect("an edge");
    assert!(["uring", "mmsg"].contains(&edge), "{probe}");
    assert!(!probe["reason"].as_str().expect("a reason").is_empty());
    for number in ["rmem_max", "wmem_max", "nofile"] {
        assert!(probe[number].as_u64().expect(number) > 0, "{probe}");
    }
    assert_eq!(probe["addresses"], serde_json::json!(["127.0.0.1"]));
}

#[test]
fn a_wrong_flag_ends_with_one_and_help_with_zero() {
    let dir = tempfile::tempdir().expect("a directory");
    let wrong = program(dir.path(), &["--edge", "dpdk"])
        .output()
        .expect("runs");
    assert_eq!(wrong.status.code(), Some(1));
    assert!(String::from_utf8_lossy(&wrong.stderr).contains("auto, uring or mmsg"));
    let help = program(dir.path(), &["--help"]).output().expect("runs");
    assert_eq!(help.status.code(), Some(0));
    assert!(
        !String::from_utf8_lossy(&help.stdout).contains("exit-with-stdin"),
        "it is hidden"
    );
}

/// One span a session: a line when it leaves names it and its shard, in fields that stay.
#[tokio::test]
async fn the_log_names_the_session_that_left_and_why() {
    let dir = tempfile::tempdir().expect("a directory");
    let log = dir.path().join("log");
    let args = ["--json", "--exit-with-stdin", "--shards", "1"];
    let mut program = program(dir.path(), &args);
    let file = std::fs::File::create(&log).expect("a file");
    program.stdin(Stdio::piped()).stderr(file);
    let plane = DataPlane::spawned(program, dir);
    let client = Client::connect(&plane).await;
    let session = (1 << 40) + 7;
    client.admitted(1, session, 100).await;
    let close = Command::Close(Close {
        session: SessionId(session),
    });
    client.order(2, close).await;
    plane.signal("INT");
    let (_, _dir) = plane.ended();
    let text = std::fs::read_to_string(&log).expect("a log");
    let lines = text
        .lines()
        .map(|line| serde_json::from_str(line).expect("JSON"));
    let left: Vec<Value> = lines
        .filter(|line: &Value| line["message"] == "left")
        .collect();
    assert_eq!(left.len(), 1, "{text}");
    assert_eq!(left[0]["reason"], "ordered");
    assert_eq!(left[0]["level"], "INFO");
    assert_eq!(left[0]["span"]["name"], "session");
    assert_eq!(left[0]["span"]["session"], session.to_string());
    assert_eq!(left[0]["span"]["shard"], 0);
}
