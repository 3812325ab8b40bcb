//! C4: which pages may read what, over every kind of resource.

use controlplane::config::CorsOrigins;

use super::{Node, header, status};

const RESOURCES: [&str; 5] = [
    "/whip/math-7",
    "/whep/math-7/second",
    "/whip/math-7/main/AAAAAAAAAAAAAAAAAAAAAA",
    "/api/token",
    "/openapi.json",
];

#[tokio::test]
async fn a_preflight_is_answered_by_the_list_and_never_with_credentials() {
    let listed = CorsOrigins::List(vec!["https://school.example".to_owned()]);
    // allowed, origin, what Access-Control-Allow-Origin says
    let table = [
        (CorsOrigins::Any, "https://anyone.example", Some("*")),
        (CorsOrigins::Any, "null", Some("*")),
        (
            listed.clone(),
            "https://school.example",
            Some("https://school.example"),
        ),
        (listed.clone(), "http://school.example", None),
        (listed.clone(), "https://school.example.evil.example", None),
        (listed.clone(), "https://SCHOOL.example", None),
        (listed, "null", None),
    ];
    for (allowed, origin, expected) in table {
        let node = Node::start(allowed).await;
        for resource in RESOURCES {
            for method in ["POST", "PATCH", "DELETE"] {
                let head = format!(
                    "OPTIONS {resource} HTTP/1.1\r\norigin: {origin}\r\n\
                     access-control-request-method: {method}\r\n\
                     access-control-request-headers: authorization,content-type,if-match"
                );
                let answer = node.ask(&head, b"").await;
                let case = format!("{method} {resource} from {origin}");
                assert!((200..300).contains(&status(&answer)), "{case}: {answer}");
                let says = |name| header(&answer, name);
                assert_eq!(says("access-control-allow-origin"), expected, "{case}");
                assert_eq!(says("access-control-allow-credentials"), None, "{case}");
                let methods = says("access-control-allow-methods").unwrap_or_default();
                assert_eq!(methods.contains(method), expected.is_some(), "{case}");
                let headers = says("access-control-allow-headers").unwrap_or_default();
                let sent = headers.contains("Authorization") && headers.contains("If-Match");
                assert_eq!(sent, expected.is_some(), "{case}");
            }
        }
    }
}

#[tokio::test]
async fn an_answer_exposes_what_whip_clients_read_whether_it_is_good_or_bad() {
    let node = Node::start(CorsOrigins::Any).await;
    for resource in RESOURCES {
        let head = format!("POST {resource} HTTP/1.1\r\norigin: https://anyone.example");
        let answer = node.ask(&head, b"").await;
        assert_eq!(
            header(&answer, "access-control-expose-headers"),
            Some("Location, ETag, Link, Accept-Post, Accept-Patch"),
            "{resource}: {answer}"
        );
    }
}
