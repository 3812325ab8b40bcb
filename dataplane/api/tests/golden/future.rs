//! Frames of later builds: what this one does with what it does not know.

use dataplane_api::wire::{Frame, FrameError};

use crate::cbor::Value;
use crate::corpus::{lines, releases, unhex};

/// `tests/frames/future.txt`: a name, the bytes, and what is to become of them.
const FUTURE: &str = include_str!("../frames/future.txt");

/// What a build does with a frame.
fn outcome(bytes: &[u8]) -> String {
    match Frame::decode(bytes) {
        Ok(frame) => format!("reads {frame:?}"),
        Err(
            FrameError::UnknownKind {
                kind,
                order: Some(order),
            }
            | FrameError::UnknownValue {
                kind,
                order: Some(order),
            },
        ) => format!("answers Unsupported({kind}) to {order}"),
        Err(FrameError::UnknownKind { .. } | FrameError::UnknownValue { .. }) => {
            "ignores it".to_owned()
        }
        Err(error) => format!("closes the link: {error}"),
    }
}

#[test]
fn what_a_later_build_says_closes_no_link() {
    for (name, line) in lines(FUTURE) {
        let (hex, expected) = line.split_once(' ').expect("bytes and an outcome");
        assert_eq!(outcome(&unhex(hex)), expected, "{name}");
    }
}

/// Every map of every frame, with a key that nobody knows.
#[test]
fn unknown_keys_change_nothing() {
    for corpus in releases() {
        for (name, bytes) in &corpus.frames {
            let (header, body) = bytes.split_at(3);
            let grown = [header, &Value::read(body).grown().write()].concat();
            assert!(grown.len() > bytes.len());
            let read = Frame::decode(&grown);
            let read = read.unwrap_or_else(|error| panic!("{name}: {error}"));
            assert_eq!(read, Frame::decode(bytes).unwrap(), "{name}");
        }
    }
}
