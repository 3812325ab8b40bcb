//! C5: what is too long, too many or too deep is refused, and costs what the limit is and no more.

use controlplane::auth::Role;
use controlplane::config::CorsOrigins;
use serde_json::Value;

use super::{Node, status};

fn slug(answer: &str) -> String {
    let body = answer.split_once("\r\n\r\n").unwrap().1;
    let problem: Value = serde_json::from_str(body).unwrap_or_else(|_| panic!("{answer}"));
    let name = problem["type"].as_str().unwrap();
    name.rsplit(':').next().unwrap().to_owned()
}

/// An offer with as many empty sections.
fn sections(count: usize) -> String {
    let mut offer = "v=0\r\no=- 1 1 IN IP4 0.0.0.0\r\ns=-\r\nt=0 0\r\n".to_owned();
    for _ in 0..count {
        offer.push_str("m=audio 9 UDP/TLS/RTP/SAVPF 0\r\n");
    }
    offer
}

#[tokio::test]
async fn an_offer_has_so_many_bytes_lines_and_sections_and_no_more() {
    let node = Node::start(CorsOrigins::Any).await;
    let head = |kind: &str| {
        let token = node.token(Role::Teacher);
        format!(
            "POST /{kind}/math-7 HTTP/1.1\r\ncontent-type: application/sdp\r\nauthorization: Bearer {token}"
        )
    };
    let lines = format!("{}{}", sections(1), "a=x\r\n".repeat(2_000));
    let line = format!("{}a={}\r\n", sections(1), "x".repeat(70_000));
    for (what, offer) in [
        ("10^5 sections", sections(100_000)),
        ("65 sections", sections(65)),
        ("2,000 lines and some", lines),
        ("one endless line", line),
        ("256 KiB and a byte", "v".repeat(256 * 1024 + 1)),
    ] {
        // A viewer of a stream that is not live is told so before the offer is looked at, but not before it
        // is bounded.
        let kinds: &[&str] = if offer.len() > 256 * 1024 {
            &["whip", "whep"]
        } else {
            &["whip"]
        };
        for kind in kinds {
            let answer = node.ask(&head(kind), offer.as_bytes()).await;
            assert_eq!(status(&answer), 413, "{what}: {answer}");
            assert_eq!(slug(&answer), "too-large", "{what}");
        }
    }
    // The same shapes within their limits are judged by what they say.
    let answer = node.ask(&head("whip"), sections(64).as_bytes()).await;
    assert!(matches!(status(&answer), 400 | 422), "{answer}");
}

#[tokio::test]
async fn json_is_32_levels_deep_at_most() {
    let node = Node::start(CorsOrigins::Any).await;
    let token = node.token(Role::Teacher);
    let head = format!(
        "POST /api/token HTTP/1.1\r\ncontent-type: application/json\r\nauthorization: Bearer {token}"
    );
    for (levels, expected) in [(31, 200), (32, 400), (1_900, 400), (100_000, 413)] {
        let (open, close) = ("[".repeat(levels), "]".repeat(levels));
        let body = format!("{{\"room\":\"math-7\",\"x\":{open}{close}}}");
        let answer = node.ask(&head, body.as_bytes()).await;
        assert_eq!(status(&answer), expected, "{levels}: {answer}");
    }
}

#[tokio::test]
async fn a_head_is_16_kib_at_most() {
    let node = Node::start(CorsOrigins::Any).await;
    for (bytes, served) in [(8 * 1024, true), (64 * 1024, false), (1024 * 1024, false)] {
        let head = format!(
            "GET /openapi.json HTTP/1.1\r\nx-padding: {}",
            "x".repeat(bytes)
        );
        let answer = node.ask(&head, b"").await;
        assert_eq!(answer.starts_with("HTTP/1.1 200"), served, "{bytes}");
    }
}
