//! Our readers and writers against the crates `rtp` and `rtcp`: what one writes the other must read, and where
//! the two differ a test says which of them the RFC is with.

mod headers;
mod payloads;
mod reports;

use std::panic::{AssertUnwindSafe, catch_unwind};

/// Runs their code on what it may panic on. `Err` is a panic of theirs, whose message the harness keeps.
fn theirs<T>(run: impl FnOnce() -> T) -> Result<T, ()> {
    catch_unwind(AssertUnwindSafe(run)).map_err(|_| ())
}
