//! What is committed: seeds that the targets name, inputs kept from earlier runs, crashes.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use super::Target;
use crate::behaviour::hash;
use crate::{hex, vectors};

/// Most inputs kept for a target: the corpus is read by people, too.
const KEPT_MAX: usize = 64;

/// Longest input that is kept: one that takes this many octets to show something new is shortened by hand.
const KEPT_LENGTH_MAX: usize = 4_096;

/// An input to begin with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// Where it is from.
    pub origin: String,
    /// The input.
    pub octets: Vec<u8>,
}

/// The inputs a target begins with: its seeds, its corpus, its past crashes.
///
/// # Panics
/// When a committed file cannot be read as what it is.
#[must_use]
pub fn entries(target: &Target) -> Vec<Entry> {
    let mut found: Vec<Entry> = Vec::new();
    let seeds = (target.seeds)();
    found.extend(seeds.into_iter().map(|octets| Entry {
        origin: "seed".to_owned(),
        octets,
    }));
    found.extend(read(&corpus_path(target.name)));
    for path in crash_paths(target.name) {
        found.extend(read(&path));
    }
    found
}

/// Replaces the kept inputs of a target.
///
/// # Errors
/// The file cannot be written.
pub fn keep(target: &str, inputs: &[Vec<u8>]) -> io::Result<usize> {
    let mut kept: Vec<&Vec<u8>> = inputs
        .iter()
        .filter(|input| input.len() <= KEPT_LENGTH_MAX)
        .collect();
    kept.sort_by_key(|input| (input.len(), input.as_slice()));
    kept.dedup();
    kept.truncate(KEPT_MAX);
    let mut text = String::new();
    for input in &kept {
        text.push_str(&hex::encode(input));
        text.push('\n');
    }
    fs::write(corpus_path(target), text)?;
    Ok(kept.len())
}

/// Writes a finding for committing and says where.
///
/// # Errors
/// The file cannot be written.
pub fn write_crash(target: &str, input: &[u8]) -> io::Result<PathBuf> {
    let directory = vectors::root().join("fuzz/crashes");
    fs::create_dir_all(&directory)?;
    let path = directory.join(format!("{target}-{:016x}.hex", hash(input)));
    fs::write(&path, format!("{}\n", hex::encode(input)))?;
    Ok(path)
}

fn corpus_path(target: &str) -> PathBuf {
    vectors::root().join(format!("fuzz/corpus/{target}.hex"))
}

fn crash_paths(target: &str) -> Vec<PathBuf> {
    let Ok(directory) = fs::read_dir(vectors::root().join("fuzz/crashes")) else {
        return Vec::new();
    };
    let of_target = |path: &PathBuf| {
        let name = path.file_name().and_then(|name| name.to_str());
        name.and_then(|name| name.strip_suffix(".hex"))
            .and_then(|name| name.rsplit_once('-'))
            .is_some_and(|(of, _)| of == target)
    };
    let mut paths: Vec<PathBuf> = directory
        .filter_map(|entry| Some(entry.ok()?.path()))
        .filter(of_target)
        .collect();
    paths.sort();
    paths
}

fn read(path: &Path) -> Vec<Entry> {
    let text = match fs::read_to_string(path) {
        Ok(text) => text,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Vec::new(),
        Err(error) => panic!("{}: {error}", path.display()),
    };
    let name = path.file_name().map(|name| name.to_string_lossy());
    let name = name.unwrap_or_default();
    text.lines()
        .enumerate()
        .map(|(index, line)| Entry {
            origin: format!("{name}:{}", index + 1),
            octets: hex::decode(line)
                .unwrap_or_else(|| panic!("{}:{}: no octets", path.display(), index + 1)),
        })
        .collect()
}
