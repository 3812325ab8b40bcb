//! Frames that were recorded are read for ever as they were meant, and frames of later builds harm nobody
//! (contracts.md 27). How a release is recorded: `tests/frames/README.md`.

#![allow(clippy::unwrap_used, reason = "a test fails where it unwraps")]

mod cbor;
mod corpus;
mod future;
mod samples;

use std::collections::BTreeSet;

use dataplane_api::wire::{Frame, kinds};

use crate::cbor::Value;
use crate::corpus::{Corpus, releases};

/// The words of a value's text, so that a field that was added later is only some words more.
fn words(text: &str) -> Vec<&str> {
    text.split_whitespace()
        .map(|word| word.trim_end_matches(','))
        .collect()
}

/// Whether `all` has the words of `some`, in their order.
fn has_in_order(all: &[&str], some: &[&str]) -> bool {
    let mut rest = all.iter();
    some.iter().all(|word| rest.any(|other| other == word))
}

#[test]
fn every_recorded_frame_is_read_as_it_was_meant() {
    for corpus in releases() {
        for (name, bytes) in &corpus.frames {
            let place = format!("{} {name}", corpus.release);
            let read = Frame::decode(bytes).unwrap_or_else(|error| panic!("{place}: {error}"));
            let read = format!("{read:?}");
            let meant = &corpus.meanings[name];
            assert!(
                has_in_order(&words(&read), &words(meant)),
                "{place}\nmeant {meant}\n read {read}"
            );
        }
    }
}

/// What this build writes has every key that the release wrote, with the same value: another build of that release
/// reads it as its own.
#[test]
fn every_recorded_frame_is_written_as_it_was() {
    for corpus in releases() {
        for (name, bytes) in &corpus.frames {
            let place = format!("{} {name}", corpus.release);
            let written = Frame::decode(bytes).unwrap().encode().unwrap();
            assert_eq!(written[..3], bytes[..3], "{place}: kind and schema");
            let (was, is) = (Value::read(&bytes[3..]), Value::read(&written[3..]));
            assert!(is.contains(&was), "{place}\n was {was:?}\n  is {is:?}");
        }
    }
}

/// The newest corpus is of the release to come: it grows with the frames. Those before it never change.
#[test]
fn the_newest_corpus_is_what_this_build_writes() {
    let mut written = Corpus::of_samples();
    if let Some(release) = std::env::var_os("LECTERN_RECORD_FRAMES") {
        written.release = release.into_string().unwrap();
        written.record();
    }
    let newest = releases().pop().expect("a corpus");
    assert_eq!(
        newest.frames, written.frames,
        "the frames have changed: see dataplane/api/tests/frames/README.md"
    );
    assert_eq!(newest.meanings, written.meanings);
}

#[test]
fn every_kind_of_frame_is_recorded() {
    let newest = releases().pop().expect("a corpus");
    let recorded: BTreeSet<u8> = newest.frames.values().map(|bytes| bytes[0]).collect();
    for kind in kinds() {
        assert!(recorded.contains(&kind), "no frame of kind {kind}");
    }
    assert_eq!(recorded.len(), kinds().count());
}

#[test]
fn every_field_that_may_be_absent_is_recorded_both_ways() {
    let newest = releases().pop().expect("a corpus");
    let all: String = newest.meanings.values().cloned().collect();
    for field in samples::OPTIONAL {
        for form in ["None", "Some("] {
            let text = format!("{field}: {form}");
            assert!(all.contains(&text), "no frame has `{text}`");
        }
    }
}
