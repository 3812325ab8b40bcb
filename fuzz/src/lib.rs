//! Fuzzing on a stable toolchain (security.md section 4).
//!
//! A *target* is a `fn(&[u8])` with its oracles inside: it panics when the code under test did what it
//! must not. The *runner* replays what is committed (vectors, corpora, past crashes), then mutates it by a
//! seed, for a number of executions or for a time. It has no coverage to steer by, so targets tell it what
//! they saw ([`behaviour::note`]) and it keeps the inputs that showed something new.
//!
//! * `make test` runs every target for a fixed number of executions: the same inputs every time.
//! * `cargo run -p fuzz -- --seconds 60` runs each for a minute; `make soak` does, for longer.
//! * `fuzz/corpus/<target>.hex` holds one input a line; `--keep` writes what showed something new.
//! * `fuzz/crashes/<target>-<hash>.hex` is a finding, minimised: commit it, it is replayed for ever.
#![forbid(unsafe_code)]

pub mod behaviour;
pub mod edge;
pub mod hex;
pub mod input;
pub mod runner;
pub mod targets;
pub mod vectors;

pub use runner::{Campaign, Effort, Finding, Report, Shape, Target};
pub use targets::all;
