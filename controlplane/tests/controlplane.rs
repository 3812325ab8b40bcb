//! The control plane's process alone: what it serves without a data plane, and what it never logs.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod place;

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::process::{Child, Stdio};
use std::time::{Duration, Instant};

use place::{Place, forking, stdout};
use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;

/// A control plane without a data plane, its log read line by line.
struct Controlplane {
    process: Child,
    log: BufReader<std::process::ChildStderr>,
    http: SocketAddr,
    ops: SocketAddr,
    read: String,
}

impl Controlplane {
    #[allow(
        clippy::zombie_processes,
        reason = "without its supervisor's pipe it ends by itself"
    )]
    fn start(place: &Place, more: &[&str]) -> Controlplane {
        let mut arguments = vec![
            "controlplane",
            "--exit-with-stdin",
            "--http",
            "127.0.0.1:0",
            "--ops",
            "127.0.0.1:0",
        ];
        arguments.extend(more);
        let mut process = {
            let _alone = forking();
            let mut command = place.command(&arguments);
            command
                .stdin(Stdio::piped())
                .stderr(Stdio::piped())
                .spawn()
                .unwrap()
        };
        let mut log = BufReader::new(process.stderr.take().unwrap());
        let mut read = String::new();
        loop {
            let from = read.len();
            assert_ne!(log.read_line(&mut read).unwrap(), 0, "it ended: {read}");
            let line: Value = serde_json::from_str(&read[from..]).unwrap();
            if line["message"] == "serving" {
                let address = |name: &str| line[name].as_str().unwrap().parse().unwrap();
                let (http, ops) = (address("http"), address("ops"));
                return Controlplane {
                    process,
                    log,
                    http,
                    ops,
                    read,
                };
            }
        }
    }

    /// Reads the log up to the line with this message.
    fn logs(&mut self, message: &str) {
        loop {
            let from = self.read.len();
            let length = self.log.read_line(&mut self.read).unwrap();
            assert_ne!(length, 0, "it ended: {}", self.read);
            let line: Value = serde_json::from_str(&self.read[from..]).unwrap();
            if line["message"] == message {
                return;
            }
        }
    }

    /// Ends its standard input and returns its whole log.
    fn end(mut self) -> String {
        drop(self.process.stdin.take());
        self.log.read_to_string(&mut self.read).unwrap();
        assert!(self.process.wait().unwrap().success(), "{}", self.read);
        self.read
    }
}

fn request(address: SocketAddr, head: &str) -> String {
    let mut stream = TcpStream::connect(address).unwrap();
    write!(
        stream,
        "{head}\r\nhost: {address}\r\nconnection: close\r\n\r\n"
    )
    .unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    answer
}

#[test]
fn a_control_plane_without_a_data_plane_serves_pages_and_says_that_it_is_not_ready() {
    let place = Place::new();
    let node = Controlplane::start(&place, &["--open-tokens"]);
    assert!(request(node.http, "GET /watch/x HTTP/1.1").starts_with("HTTP/1.1 200"));
    assert!(request(node.http, "POST /api/token HTTP/1.1").starts_with("HTTP/1.1 200"));
    assert!(
        request(node.http, "GET /metrics HTTP/1.1").starts_with("HTTP/1.1 404"),
        "only on ops"
    );
    assert!(request(node.ops, "GET /healthz HTTP/1.1").starts_with("HTTP/1.1 200"));
    assert!(request(node.ops, "GET /readyz HTTP/1.1").starts_with("HTTP/1.1 503"));
    assert!(request(node.ops, "GET /metrics HTTP/1.1").contains("lectern_link_up 0"));
    assert!(request(node.ops, "GET /debug/rooms HTTP/1.1").ends_with("[]"));
    let ops = node.ops.to_string();
    assert_eq!(
        stdout(&place.run(&["inspect", "rooms", "--ops", &ops])),
        "[]\n"
    );
    node.end();
}

#[test]
fn sigterm_lets_a_request_that_runs_be_answered_and_waits_for_no_idle_connection() {
    let place = Place::new();
    let mut node = Controlplane::start(&place, &["--open-tokens"]);
    let _idle = TcpStream::connect(node.http).unwrap();
    let mut running = TcpStream::connect(node.http).unwrap();
    let body = br#"{"room":"math-7"}"#;
    write!(
        running,
        "POST /api/token HTTP/1.1\r\nhost: {}\r\nconnection: close\r\ncontent-type: application/json\r\n\
         content-length: {}\r\nexpect: 100-continue\r\n\r\n",
        node.http,
        body.len()
    )
    .unwrap();
    let mut answer = BufReader::new(running.try_clone().unwrap());
    let mut line = String::new();
    // The server says this when somebody has begun to read the body: the request runs.
    answer.read_line(&mut line).unwrap();
    assert_eq!(line, "HTTP/1.1 100 Continue\r\n");

    let asked = Instant::now();
    let pid = Pid::from_raw(i32::try_from(node.process.id()).unwrap()).unwrap();
    kill_process(pid, Signal::TERM).unwrap();
    node.logs("stopping");
    running.write_all(body).unwrap();
    let mut rest = String::new();
    answer.read_to_string(&mut rest).unwrap();
    assert!(rest.contains("HTTP/1.1 200 OK"), "{rest}");
    assert!(node.process.wait().unwrap().success());
    assert!(asked.elapsed() < Duration::from_secs(2));
}

#[test]
fn no_byte_of_a_token_reaches_the_log_even_when_everything_is_logged() {
    let place = Place::new();
    let token = stdout(&place.run(&["token", "--role", "teacher", "--room", "math-7"]));
    let token = token.trim();
    let node = Controlplane::start(&place, &["--log-level", "trace"]);
    for head in [
        format!("POST /whip/math-7?jwt={token} HTTP/1.1\r\ncontent-length: 0"),
        format!("POST /whip/math-7 HTTP/1.1\r\nauthorization: Bearer {token}\r\ncontent-length: 0"),
        format!("GET /watch/math-7?token={token} HTTP/1.1"),
        format!("DELETE /whip/math-7/main/x?jwt={token} HTTP/1.1"),
        format!(
            "POST /whip/math-7 HTTP/1.1\r\nauthorization: Bearer x{token}\r\ncontent-length: 0"
        ),
    ] {
        assert!(request(node.http, &head).starts_with("HTTP/1.1"), "{head}");
    }
    let log = node.end();
    assert!(
        log.contains("/whip/{room}"),
        "requests are logged by their pattern: {log}"
    );
    for part in token.split('.') {
        assert!(!log.contains(part), "a part of the token is in the log");
    }
}
