//! The two lives, with real processes and a class in which every packet is numbered: the short form of
//! `lectern-perf restart`, and its counts. What is a time (20 ms, 1 s, 500 ms, 5 s) is promised and measured
//! there; here it only may not be absurd, because tests share their machine.
//!
//! The programs are those that stand beside this test: `cargo build --workspace --bins` makes them.
#![allow(clippy::unwrap_used, reason = "a test states what must be by failing")]

mod faults;
mod lives;
mod told;
