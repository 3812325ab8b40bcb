//! C6, numbers: a thousand who say nothing, and one who asks.

use std::net::Ipv4Addr;
use std::time::Duration;

use controlplane::config::CorsOrigins;
use controlplane::http::idle::{FIRST_REQUEST_TIME_MAX, IDLE_PER_ADDRESS_MAX};
use tokio::io::AsyncWriteExt;
use tokio::time::{Instant, timeout};

use super::{Node, answer, status};

const SLOW: usize = 1_000;
/// One fewer than an address may have.
const PER_ADDRESS: usize = IDLE_PER_ADDRESS_MAX as usize - 1;

#[tokio::test]
async fn a_thousand_slow_sockets_keep_nobody_from_being_served_and_are_closed() {
    let node = Node::start(CorsOrigins::Any).await;
    let mut slow = Vec::with_capacity(SLOW);
    for at in 0..SLOW {
        // 127.0.1.1, 127.0.1.2, ...: sixteen clients.
        let last = u8::try_from(at / PER_ADDRESS + 1).unwrap();
        let mut stream = node.connect_from(Ipv4Addr::new(127, 0, 1, last)).await;
        stream.write_all(b"POST /whip/math-7 HTT").await.unwrap();
        slow.push(stream);
    }
    for _ in 0..20 {
        let answer = node.ask("GET /openapi.json HTTP/1.1", b"").await;
        assert_eq!(status(&answer), 200);
    }
    // From here on the clock moves only while everybody waits, also for the kernel, which has much to do:
    // that each is closed within 15 s is held in `slow`, by one at a time.
    tokio::time::pause();
    let closing = async {
        for stream in &mut slow {
            answer(stream).await;
        }
    };
    timeout(Duration::from_secs(60), closing)
        .await
        .expect("every slow one is closed");
}

#[tokio::test]
async fn an_address_with_64_silent_connections_is_refused_the_next_and_others_are_not() {
    let node = Node::start(CorsOrigins::Any).await;
    let crowded = Ipv4Addr::new(127, 0, 2, 1);
    let mut silent = Vec::new();
    for _ in 0..IDLE_PER_ADDRESS_MAX {
        silent.push(node.connect_from(crowded).await);
    }
    let since = Instant::now();
    let mut next = node.connect_from(crowded).await;
    assert_eq!(answer(&mut next).await, "", "it is closed without a word");
    assert!(
        since.elapsed() < FIRST_REQUEST_TIME_MAX / 2,
        "and not at the deadline of the silent"
    );
    let answer = node.ask("GET /openapi.json HTTP/1.1", b"").await;
    assert_eq!(status(&answer), 200);
}
