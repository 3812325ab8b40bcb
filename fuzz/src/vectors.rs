//! The vector files of the packages, as seeds.

use std::path::PathBuf;

use serde_json::Value;

use crate::hex;

/// The root of the repository.
#[must_use]
pub fn root() -> PathBuf {
    PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/.."))
}

/// Every octet string of the files, whatever it is called there: vectors and corpora are attack material,
/// so an input of another protocol is as good a seed as one's own.
///
/// # Panics
/// When a file is missing, malformed or empty of octets: a moved file is not to cost its seeds silently.
#[must_use]
pub fn octets(files: &[&str]) -> Vec<Vec<u8>> {
    let mut found = Vec::new();
    for file in files {
        let before = found.len();
        let text = text(file);
        if file.ends_with(".jsonl") {
            for line in text.lines() {
                collect(&json(file, line), &mut found);
            }
        } else {
            collect(&json(file, &text), &mut found);
        }
        assert!(found.len() > before, "{file} has no octets");
    }
    found
}

/// The bytes of each file with `extension` in a directory, in the order of their names.
///
/// # Panics
/// When there is none.
#[must_use]
pub fn files(directory: &str, extension: &str) -> Vec<Vec<u8>> {
    let path = root().join(directory);
    let entries = std::fs::read_dir(&path).unwrap_or_else(|error| panic!("{directory}: {error}"));
    let mut paths: Vec<_> = entries
        .filter_map(|entry| Some(entry.ok()?.path()))
        .filter(|path| path.extension().is_some_and(|found| found == extension))
        .collect();
    paths.sort();
    assert!(!paths.is_empty(), "{directory} has no .{extension}");
    let read = |path: &PathBuf| {
        std::fs::read(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
    };
    paths.iter().map(read).collect()
}

fn text(file: &str) -> String {
    std::fs::read_to_string(root().join(file)).unwrap_or_else(|error| panic!("{file}: {error}"))
}

fn json(file: &str, text: &str) -> Value {
    serde_json::from_str(text).unwrap_or_else(|error| panic!("{file}: {error}"))
}

/// Strings of hexadecimal digits, three octets at least so that a number in digits is none.
fn collect(value: &Value, found: &mut Vec<Vec<u8>>) {
    match value {
        Value::String(text) if text.len() >= 6 => {
            found.extend(hex::decode(text).filter(|octets| !found.contains(octets)));
        }
        Value::Array(items) => items.iter().for_each(|item| collect(item, found)),
        Value::Object(fields) => fields.values().for_each(|field| collect(field, found)),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
}
