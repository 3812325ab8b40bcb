//! What only a process shows: its memory, its processor time, its descriptors, its log.

use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use serde_json::Value;

use super::fake::FakeNode;
use super::place::{Place, forking, stdout};

/// A control plane of its own, under a limit of descriptors.
struct Process {
    place: Place,
    child: Child,
    http: SocketAddr,
    ops: SocketAddr,
    log: std::thread::JoinHandle<String>,
}

impl Process {
    fn start(nofile: usize) -> Process {
        let place = Place::new();
        let arguments = [
            "controlplane",
            "--exit-with-stdin",
            "--http",
            "127.0.0.1:0",
            "--ops",
            "127.0.0.1:0",
            "--log-format",
            "json",
        ];
        let lectern = place.command(&arguments);
        let mut child = {
            let _alone = forking();
            Command::new("sh")
                .args(["-c", &format!("ulimit -n {nofile} && exec \"$@\""), "sh"])
                .arg(lectern.get_program())
                .args(lectern.get_args())
                .current_dir(place.path())
                .env_clear()
                .env("PATH", std::env::var_os("PATH").unwrap_or_default())
                .stdin(Stdio::piped())
                .stdout(Stdio::null())
                .stderr(Stdio::piped())
                .spawn()
                .unwrap()
        };
        let mut log = BufReader::new(child.stderr.take().unwrap());
        let mut read = String::new();
        let serving = loop {
            let from = read.len();
            assert_ne!(log.read_line(&mut read).unwrap(), 0, "it ended: {read}");
            let line: Value = serde_json::from_str(&read[from..]).unwrap();
            if line["message"] == "serving" {
                break line;
            }
        };
        let address = |name: &str| serving[name].as_str().unwrap().parse().unwrap();
        // Read all the while: a full pipe would stop the process.
        let log = std::thread::spawn(move || {
            let mut rest = String::new();
            log.read_to_string(&mut rest).unwrap();
            rest
        });
        Process {
            http: address("http"),
            ops: address("ops"),
            place,
            child,
            log,
        }
    }

    fn link(&self) -> PathBuf {
        self.place.path().join("lectern-data/link.sock")
    }

    fn rss_kib(&self) -> u64 {
        let status = fs::read_to_string(format!("/proc/{}/status", self.child.id())).unwrap();
        let line = status
            .lines()
            .find(|line| line.starts_with("VmRSS:"))
            .unwrap();
        line.split_whitespace().nth(1).unwrap().parse().unwrap()
    }

    /// Processor time so far, in ticks of 10 ms (`sysconf(_SC_CLK_TCK)` is 100 on every Linux).
    fn cpu_ticks(&self) -> u64 {
        let stat = fs::read_to_string(format!("/proc/{}/stat", self.child.id())).unwrap();
        let fields: Vec<&str> = stat
            .rsplit_once(')')
            .unwrap()
            .1
            .split_whitespace()
            .collect();
        fields[11].parse::<u64>().unwrap() + fields[12].parse::<u64>().unwrap()
    }

    /// Ends it and returns its log.
    fn end(mut self) -> String {
        drop(self.child.stdin.take());
        assert!(self.child.wait().unwrap().success());
        self.log.join().unwrap()
    }
}

fn connect(address: SocketAddr) -> TcpStream {
    let stream = TcpStream::connect(address).unwrap();
    stream
        .set_read_timeout(Some(Duration::from_secs(20)))
        .unwrap();
    stream
}

/// `GET path` on a connection that stays open; the status, or `None` when it was closed instead.
fn get(stream: &mut TcpStream, path: &str) -> Option<u16> {
    write!(stream, "GET {path} HTTP/1.1\r\nhost: x\r\n\r\n").ok()?;
    let mut head = [0; 12];
    stream.read_exact(&mut head).ok()?;
    std::str::from_utf8(&head[9..]).ok()?.parse().ok()
}

/// How many bytes of a chunked body the node takes before it has had enough, and what it says.
fn pour(process: &Process, head: &str, bytes_max: u64) -> (u64, String) {
    let mut stream = connect(process.http);
    write!(
        stream,
        "{head}\r\nhost: x\r\ntransfer-encoding: chunked\r\n\r\n"
    )
    .unwrap();
    let mut reader = stream.try_clone().unwrap();
    let answer = std::thread::spawn(move || {
        let mut answer = Vec::new();
        let mut buffer = [0; 4096];
        while let Ok(count @ 1..) = reader.read(&mut buffer) {
            answer.extend_from_slice(&buffer[..count]);
        }
        String::from_utf8_lossy(&answer).into_owned()
    });
    let chunk = format!("10000\r\n{}\r\n", "v".repeat(0x10000));
    let mut sent = 0;
    while sent < bytes_max && stream.write_all(chunk.as_bytes()).is_ok() {
        sent += 0x10000;
    }
    (sent, answer.join().unwrap())
}

#[tokio::test(flavor = "multi_thread")]
async fn c5_a_gigabyte_in_chunks_is_cut_off_and_not_kept() {
    const GIGABYTE: u64 = 1 << 30;
    /// What both sockets' buffers hold beside the 256 KiB that are read.
    const TAKEN_MAX: u64 = 32 << 20;
    const GROWTH_KIB_MAX: u64 = 8 << 10;
    let process = Process::start(4096);
    let data_plane = FakeNode::start(process.link(), 1);
    while get(&mut connect(process.ops), "/readyz") != Some(200) {
        tokio::task::yield_now().await;
    }
    let token = stdout(
        &process
            .place
            .run(&["token", "--role", "teacher", "--room", "math-7"]),
    );
    let token = token.trim();
    let sdp = "content-type: application/sdp";
    let bearer = format!("authorization: Bearer {token}");
    // The first requests bring what every later one shares.
    pour(
        &process,
        &format!("POST /whip/math-7 HTTP/1.1\r\n{sdp}\r\n{bearer}"),
        GIGABYTE,
    );
    let before = process.rss_kib();
    for (head, statuses) in [
        (
            format!("POST /whip/math-7 HTTP/1.1\r\n{sdp}\r\n{bearer}"),
            [413, 413],
        ),
        (
            format!("POST /whep/math-7 HTTP/1.1\r\n{sdp}\r\n{bearer}"),
            [413, 413],
        ),
        (
            format!("POST /api/token HTTP/1.1\r\ncontent-type: application/json\r\n{bearer}"),
            [413, 413],
        ),
        (format!("POST /whip/math-7 HTTP/1.1\r\n{sdp}"), [401, 401]),
        ("POST /nowhere HTTP/1.1".to_owned(), [404, 404]),
        ("POST /openapi.json HTTP/1.1".to_owned(), [405, 405]),
    ] {
        let (sent, answer) = pour(&process, &head, GIGABYTE);
        assert!(sent <= TAKEN_MAX, "{head}: {sent} bytes were taken");
        // A close that meets bytes on their way resets the connection, which may eat the answer.
        let status = answer.split(' ').nth(1).and_then(|code| code.parse().ok());
        assert!(
            status.is_none_or(|status: u16| statuses.contains(&status)),
            "{head}: {answer}"
        );
    }
    let growth = process.rss_kib().saturating_sub(before);
    assert!(growth <= GROWTH_KIB_MAX, "{growth} KiB");
    process.end();
    drop(data_plane);
}

#[test]
fn c6_without_descriptors_the_node_sheds_stays_reachable_and_recovers() {
    const NOFILE: usize = 256;
    const CONNECTIONS: usize = 300;
    /// Of the 100 that an accept loop would take in a second if it span.
    const TICKS_MAX: u64 = 30;
    let process = Process::start(NOFILE);
    let mut held = Vec::new();
    let mut shed = 0;
    for _ in 0..CONNECTIONS {
        let mut stream = connect(process.http);
        match get(&mut stream, "/publish/x") {
            Some(200) => held.push(stream),
            Some(other) => panic!("{other}"),
            None => shed += 1,
        }
    }
    assert!((150..NOFILE).contains(&held.len()), "{} held", held.len());
    assert!(shed >= 50, "{shed} shed");
    // The rest of the node has the descriptors it needs: the ops port answers, and the data plane is found.
    assert_eq!(get(&mut connect(process.ops), "/healthz"), Some(200));
    let link = process.link();
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    runtime.block_on(async {
        let mut listener = tokio_seqpacket::UnixSeqpacketListener::bind(link).unwrap();
        let accepted = tokio::time::timeout(Duration::from_secs(20), listener.accept());
        accepted.await.expect("the link has a descriptor").unwrap();
    });
    // While nobody can come in, others keep knocking; what that costs is measured over a second.
    let (began, ticks) = (Instant::now(), process.cpu_ticks());
    while began.elapsed() < Duration::from_secs(1) {
        assert_eq!(get(&mut connect(process.http), "/publish/x"), None);
        std::thread::park_timeout(Duration::from_millis(20));
    }
    let spent = process.cpu_ticks() - ticks;
    assert!(spent <= TICKS_MAX, "{spent} ticks");
    drop(held);
    // Closed connections are noticed soon, not at once.
    let deadline = Instant::now() + Duration::from_secs(20);
    while get(&mut connect(process.http), "/publish/x") != Some(200) {
        assert!(Instant::now() < deadline, "it never recovers");
        std::thread::yield_now();
    }
    let log = process.end();
    let lines = log
        .lines()
        .filter(|line| line.contains("no room for more connections"));
    let lines = lines.count();
    assert!((1..=25).contains(&lines), "{lines} lines: {log}");
}

#[test]
fn c4_no_byte_of_a_token_or_key_is_logged_at_trace() {
    let place = Place::new();
    let token = stdout(&place.run(&["token", "--role", "teacher", "--room", "math-7"]));
    let key = stdout(&place.run(&["token", "--stream-key", "--room", "math-7"]));
    let (token, key) = (token.trim().to_owned(), key.trim().to_owned());
    let arguments = [
        "controlplane",
        "--exit-with-stdin",
        "--http",
        "127.0.0.1:0",
        "--ops",
        "127.0.0.1:0",
        "--log-level",
        "trace",
        "--log-format",
        "json",
    ];
    let mut child = {
        let _alone = forking();
        let mut command = place.command(&arguments);
        command.stdin(Stdio::piped()).stderr(Stdio::piped());
        command.spawn().unwrap()
    };
    let mut log = BufReader::new(child.stderr.take().unwrap());
    let mut read = String::new();
    let http: SocketAddr = loop {
        let from = read.len();
        assert_ne!(log.read_line(&mut read).unwrap(), 0, "it ended: {read}");
        let line: Value = serde_json::from_str(&read[from..]).unwrap_or_default();
        if line["message"] == "serving" {
            break line["http"].as_str().unwrap().parse().unwrap();
        }
    };
    let rest = std::thread::spawn(move || {
        let mut rest = String::new();
        log.read_to_string(&mut rest).unwrap();
        rest
    });
    for secret in [&token, &key, &format!("x{key}")] {
        for head in [
            format!("POST /whip/math-7?jwt={secret} HTTP/1.1"),
            format!("POST /whip/math-7 HTTP/1.1\r\nauthorization: Bearer {secret}"),
            format!("POST /whep/math-7?token={secret} HTTP/1.1"),
            format!("DELETE /whip/math-7/main/x?jwt={secret} HTTP/1.1"),
            format!("POST /api/token?room=math-7&jwt={secret} HTTP/1.1"),
            format!("GET /{secret}/x HTTP/1.1"),
            format!("GET /watch/math-7?{secret} HTTP/1.1\r\nreferer: http://x/?jwt={secret}"),
        ] {
            let mut stream = connect(http);
            write!(
                stream,
                "{head}\r\nhost: x\r\ncontent-type: application/sdp\r\ncontent-length: 3\r\n\
                 connection: close\r\n\r\nv=0"
            )
            .unwrap();
            let mut answer = Vec::new();
            let _reset = stream.read_to_end(&mut answer);
            assert!(answer.starts_with(b"HTTP/1.1 "), "{head}");
        }
    }
    drop(child.stdin.take());
    assert!(child.wait().unwrap().success());
    read.push_str(&rest.join().unwrap());
    assert!(read.contains("/whip/{room}"), "requests are logged: {read}");
    let parts = token.split('.').chain([&key[4..]]);
    for part in parts {
        assert!(!read.contains(part), "a part of a secret is in the log");
    }
}
