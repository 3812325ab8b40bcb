//! C10 and the description: every route of the public port is in `/openapi.json`, and every route there asks
//! for a token unless it stands on a list.

use std::collections::{BTreeMap, BTreeSet};

use axum::Router;
use controlplane::config::CorsOrigins;
use controlplane::http::openapi;
use serde_json::Value;

use super::Node;

const METHODS: [&str; 6] = ["get", "head", "post", "patch", "delete", "options"];

/// Everyone may ask these; they tell nothing of a room. The rest is 401 without a token.
const ALLOWED: [&str; 10] = [
    "get /",
    "get /docs",
    "get /openapi.json",
    "get /publish/{room}",
    "get /watch/{room}",
    "get /assets/{path}",
    "get endpoint",
    "head endpoint",
    "options endpoint",
    "options session",
];

fn described() -> BTreeMap<String, BTreeSet<String>> {
    let document: Value = serde_json::from_str(openapi::text()).unwrap();
    let paths = document["paths"].as_object().unwrap();
    paths
        .iter()
        .map(|(path, item)| {
            let methods = METHODS.iter().filter(|method| item.get(**method).is_some());
            (
                path.clone(),
                methods.map(|method| (*method).to_owned()).collect(),
            )
        })
        .collect()
}

/// The patterns of a router, from its debug text: axum has no other way to list them.
fn patterns(router: &Router) -> BTreeSet<String> {
    let text = format!("{router:?}");
    let patterns: BTreeSet<String> = text
        .split("RouteId(")
        .filter_map(|part| part.split_once("): \"")?.1.split_once('"'))
        .map(|(pattern, _)| pattern.replace("{*", "{"))
        .filter(|pattern| !pattern.contains("__private"))
        .collect();
    assert!(
        patterns.contains("/api/token"),
        "axum prints otherwise now: {text}"
    );
    patterns
}

/// A path of this pattern.
fn example(pattern: &str) -> String {
    pattern
        .replace("{room}", "math-7")
        .replace("{name}", "main")
        .replace("{id}", "3q2-7wEjRWeJq83vEjRWeA")
        .replace("{stream}", "x9")
        .replace("{path}", "none.js")
}

/// What an address is for.
fn shape(pattern: &str) -> &str {
    let is_whip_or_whep = pattern.contains("whip") || pattern.contains("whep");
    match (is_whip_or_whep, pattern.contains("{id}")) {
        (true, true) => "session",
        (true, false) => "endpoint",
        (false, _) => pattern,
    }
}

async fn status(node: &Node, method: &str, path: &str) -> u16 {
    let answer = node
        .ask(&format!("{} {path} HTTP/1.1", method.to_uppercase()), b"")
        .await;
    super::status(&answer)
}

#[tokio::test]
async fn every_route_is_described_and_every_description_has_its_route() {
    let node = Node::start(CorsOrigins::Any).await;
    let routed = patterns(&node.routes);
    let described = described();
    for pattern in &routed {
        let Some(methods) = described.get(pattern) else {
            panic!("{pattern} is not in the document");
        };
        for method in METHODS {
            let found = status(&node, method, &example(pattern)).await;
            // HEAD is GET's shadow where nobody described it apart.
            let implied = matches!(method, "head" | "options");
            let there = found != 405;
            let said = methods.contains(method);
            assert!(
                said == there || (there && implied),
                "{method} {pattern}: {found}"
            );
        }
    }
    for pattern in described.keys() {
        assert!(routed.contains(pattern), "{pattern} is no route");
    }
}

#[tokio::test]
async fn every_described_route_asks_for_a_token_unless_it_is_on_the_list() {
    let node = Node::start(CorsOrigins::Any).await;
    let document: Value = serde_json::from_str(openapi::text()).unwrap();
    for (pattern, methods) in described() {
        for method in &methods {
            let allowed = ALLOWED.contains(&format!("{method} {}", shape(&pattern)).as_str());
            let security = document["paths"][&pattern][method]["security"].as_array();
            let open = security.is_none_or(Vec::is_empty);
            assert_eq!(open, allowed, "the document on {method} {pattern}");
            let found = status(&node, method, &example(&pattern)).await;
            let unauthenticated = found == 401;
            assert_eq!(unauthenticated, !allowed, "{method} {pattern}: {found}");
        }
    }
}
