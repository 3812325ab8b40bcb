//! The document by itself; `tests/limits/routes.rs` holds it against the router.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;

use super::*;
use crate::http::problem::Kind;

const METHODS: [&str; 6] = ["get", "head", "post", "patch", "delete", "options"];

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
