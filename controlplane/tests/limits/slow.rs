//! C6, time: whoever is slow is closed within 15 s. The clock is Tokio's own and moves only while everybody
//! waits, so what is measured is what was waited for.

use std::time::Duration;

use controlplane::auth::Role;
use controlplane::config::CorsOrigins;
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;
use tokio::time::{Instant, timeout};

use super::{Node, answer};

/// The row's number.
const CLOSED_WITHIN: Duration = Duration::from_secs(15);

/// The connection's end, and what came before it.
async fn closed(stream: &mut TcpStream, since: Instant) -> (String, Duration) {
    let answer = timeout(CLOSED_WITHIN * 4, answer(stream)).await;
    (answer.expect("it is never closed"), since.elapsed())
}

#[tokio::test(start_paused = true)]
async fn whoever_never_finishes_a_head_is_closed() {
    let node = Node::start(CorsOrigins::Any).await;
    for sent in [
        "",
        "G",
        "POST /whip/math-7 HTTP/1.1\r\n",
        "POST /whip/math-7 HTTP/1.1\r\nhost: x\r\nx-slow: ",
        // HTTP/2 with prior knowledge, and nothing after the preface.
        "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
    ] {
        let mut stream = node.connect().await;
        let since = Instant::now();
        stream.write_all(sent.as_bytes()).await.unwrap();
        let (_, took) = closed(&mut stream, since).await;
        assert!(took <= CLOSED_WITHIN, "{sent:?}: {took:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_byte_a_second_does_not_keep_a_head_open() {
    let node = Node::start(CorsOrigins::Any).await;
    let mut stream = node.connect().await;
    let since = Instant::now();
    let mut ticks = tokio::time::interval(Duration::from_secs(1));
    stream.write_all(b"GET / HTTP/1.1\r\nx: ").await.unwrap();
    while since.elapsed() <= CLOSED_WITHIN {
        ticks.tick().await;
        if stream.write_all(b"x").await.is_err() {
            break;
        }
    }
    assert!(since.elapsed() <= CLOSED_WITHIN, "{:?}", since.elapsed());
}

#[tokio::test(start_paused = true)]
async fn a_body_that_does_not_come_is_a_timeout() {
    let node = Node::start(CorsOrigins::Any).await;
    let token = node.token(Role::Teacher);
    for (path, media_type) in [
        ("/whip/math-7", "application/sdp"),
        ("/whep/math-7", "application/sdp"),
        ("/api/token", "application/json"),
    ] {
        let mut stream = node.connect().await;
        let since = Instant::now();
        let head = format!(
            "POST {path} HTTP/1.1\r\nhost: x\r\ncontent-type: {media_type}\r\n\
             authorization: Bearer {token}\r\ncontent-length: 100\r\n\r\nv=0"
        );
        stream.write_all(head.as_bytes()).await.unwrap();
        let (answer, took) = closed(&mut stream, since).await;
        assert!(answer.starts_with("HTTP/1.1 408"), "{path}: {answer}");
        assert!(took <= CLOSED_WITHIN, "{path}: {took:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_connection_that_has_asked_and_asks_no_more_is_closed() {
    let node = Node::start(CorsOrigins::Any).await;
    let mut stream = node.connect().await;
    let since = Instant::now();
    stream
        .write_all(b"GET /openapi.json HTTP/1.1\r\nhost: x\r\n\r\n")
        .await
        .unwrap();
    let (answer, took) = closed(&mut stream, since).await;
    assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
    assert!(took <= CLOSED_WITHIN, "{took:?}");
}
