//! From a packet in the pool to ciphertext in the outbox: which slots take it, where it goes in each
//! slot's stream, and how a burst leaves in runs.

mod egress;
mod history;
mod picture;
mod reports;
mod rewrite;
mod rtx;
mod run;
mod sent;
mod slot;
#[cfg(test)]
mod storm;
mod timeline;
mod wire;

pub(crate) use egress::{Flow, Lane, Lanes, Lengths, Pending};
pub(crate) use history::Sealed;
pub(crate) use reports::smooth;
pub(crate) use sent::{Load, SentRuns};
pub(crate) use slot::{Slot, Verdict};
