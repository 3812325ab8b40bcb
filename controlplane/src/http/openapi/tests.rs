//! The document against the router: nothing undescribed, nothing described that is not there, nothing open
//! that should not be.

use std::collections::{BTreeMap, BTreeSet};

use axum::body::Body;
use axum::http::{Request, StatusCode};
use serde_json::Value;
use tower::ServiceExt;

use super::*;
use crate::auth::Keys;
use crate::config::{Config, CorsOrigins, Flags};
use crate::http::health::Health;
use crate::http::layers::Layers;
use crate::http::metrics::Metrics;
use crate::http::problem::Kind;
use crate::http::public;
use crate::http::public_url::PublicUrl;
use crate::http::token::TokenIssuer;
use crate::node::NodeClient;
use crate::rooms::Registry;
use crate::state::{AppState, Shared};

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

fn parts() -> (AppState, TokenIssuer, Layers) {
    let keys = Keys::from_secret("k", "0123456789abcdef0123456789abcdef", "lectern").unwrap();
    let metrics = Metrics::new();
    let health = Health::new(metrics.clone());
    let (node, _events) = NodeClient::start("/nonexistent/link.sock".into());
    let registry = Registry::new(node.clone(), health.clone(), metrics.clone(), None);
    let (config, _) = Config::from_environment(&Flags::default(), []).unwrap();
    let issuer = TokenIssuer {
        keys: keys.clone(),
        open: false,
        default_room: "live".to_owned(),
        public_url: PublicUrl::new(&config, "127.0.0.1:8080".parse().unwrap()),
    };
    let state = AppState::new(Shared {
        keys,
        node,
        registry,
        health,
        ice_servers: Vec::new(),
        node_id: [1; 16],
    });
    let settings = Layers {
        cors_origins: CorsOrigins::Any,
        metrics,
    };
    (state, issuer, settings)
}

fn described() -> BTreeMap<String, BTreeSet<String>> {
    let document: Value = serde_json::from_str(text()).unwrap();
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

async fn status(router: &Router, method: &str, path: &str) -> StatusCode {
    let request = Request::builder()
        .method(method.to_uppercase().as_str())
        .uri(path)
        .body(Body::empty())
        .unwrap();
    router.clone().oneshot(request).await.unwrap().status()
}

#[tokio::test]
async fn every_route_is_described_and_every_description_has_its_route() {
    let (state, issuer, settings) = parts();
    let routed = patterns(&public::routes(state.clone(), issuer.clone()));
    let router = public::router(state, issuer, settings);
    let described = described();
    for pattern in &routed {
        let Some(methods) = described.get(pattern) else {
            panic!("{pattern} is not in the document");
        };
        for method in METHODS {
            let found = status(&router, method, &example(pattern)).await;
            // HEAD is GET's shadow where nobody described it apart.
            let implied = matches!(method, "head" | "options");
            let there = found != StatusCode::METHOD_NOT_ALLOWED;
            let said = methods.contains(method);
            assert!(
                said == there || (there && implied),
                "{method} {pattern}: {found}"
            );
        }
    }
    for pattern in described.keys() {
        let pending = pattern.contains("/sse");
        assert!(pending || routed.contains(pattern), "{pattern} is no route");
    }
}

#[tokio::test]
async fn every_described_route_asks_for_a_token_unless_it_is_on_the_list() {
    let (state, issuer, settings) = parts();
    let routed = patterns(&public::routes(state.clone(), issuer.clone()));
    let router = public::router(state, issuer, settings);
    let document: Value = serde_json::from_str(text()).unwrap();
    for (pattern, methods) in described() {
        for method in &methods {
            let allowed = ALLOWED.contains(&format!("{method} {}", shape(&pattern)).as_str());
            let security = document["paths"][&pattern][method]["security"].as_array();
            let open = security.is_none_or(Vec::is_empty);
            assert_eq!(open, allowed, "the document on {method} {pattern}");
            if !routed.contains(&pattern) {
                continue;
            }
            let found = status(&router, method, &example(&pattern)).await;
            let unauthenticated = found == StatusCode::UNAUTHORIZED;
            assert_eq!(unauthenticated, !allowed, "{method} {pattern}: {found}");
        }
    }
}

#[test]
fn every_problem_of_the_catalogue_is_a_reusable_answer_with_what_the_node_would_send() {
    let document: Value = serde_json::from_str(text()).unwrap();
    let responses = document["components"]["responses"].as_object().unwrap();
    assert_eq!(responses.len(), Kind::CATALOGUE.len());
    for kind in Kind::CATALOGUE {
        let slug = kind.slug().unwrap();
        let example =
            &responses[slug]["content"]["application/problem+json"]["examples"][slug]["value"];
        assert_eq!(example["type"], format!("urn:lectern:problem:{slug}"));
        assert_eq!(example["status"], kind.status().as_u16());
        assert!(
            example["detail"]
                .as_str()
                .is_some_and(|detail| detail.ends_with('.'))
        );
        let retries = responses[slug]["headers"].get("Retry-After").is_some();
        let should = matches!(kind.status().as_u16(), 409 | 429 | 503);
        assert_eq!(retries, should, "{slug}");
    }
}

#[test]
fn every_operation_has_a_name_of_its_own_and_a_summary() {
    let document: Value = serde_json::from_str(text()).unwrap();
    assert_eq!(document["info"]["version"], env!("CARGO_PKG_VERSION"));
    let mut names = BTreeSet::new();
    for (path, methods) in described() {
        for method in methods {
            let operation = &document["paths"][&path][&method];
            let name = operation["operationId"].as_str().unwrap().to_owned();
            assert!(names.insert(name.clone()), "{name} twice");
            assert!(!operation["summary"].as_str().unwrap().is_empty());
        }
    }
}

#[test]
fn every_reference_leads_somewhere() {
    fn references<'a>(value: &'a Value, found: &mut Vec<&'a str>) {
        match value {
            Value::Object(members) => {
                for (key, member) in members {
                    match member.as_str().filter(|_| key == "$ref") {
                        Some(reference) => found.push(reference),
                        None => references(member, found),
                    }
                }
            }
            Value::Array(items) => items.iter().for_each(|item| references(item, found)),
            Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
        }
    }
    let document: Value = serde_json::from_str(text()).unwrap();
    let mut found = Vec::new();
    references(&document, &mut found);
    assert!(!found.is_empty());
    for reference in found {
        let pointer = reference.strip_prefix('#').unwrap();
        assert!(document.pointer(pointer).is_some(), "{reference}");
    }
}

/// The page's tests give this file to a validator of OpenAPI documents; `UPDATE_EXPECT=1` writes it anew.
#[test]
fn the_committed_document_is_the_one_that_is_served() {
    expect_test::expect_file!["../../../web/src/testing/openapi.json"].assert_eq(text());
}
