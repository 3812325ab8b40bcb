//! Running targets: seeds and crashes first, then mutations, with what was found at the end.

mod campaign;
mod corpus;
mod minimise;
mod mutate;
mod panics;
mod report;
mod rng;

pub use campaign::{Campaign, Effort};
pub use corpus::{Entry, entries, keep, write_crash};
pub use minimise::minimise;
pub use mutate::Mutator;
pub use report::{Finding, Report, table};
pub use rng::Rng;

/// How inputs of a target look, which is what a mutation is to respect.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Shape {
    /// Fields and lengths.
    Octets,
    /// Lines of text: whole lines move, and numbers change as numbers.
    Lines,
}

/// One thing to fuzz.
#[derive(Clone, Copy, Debug)]
pub struct Target {
    /// Its name: of its corpus file and its crashes.
    pub name: &'static str,
    /// Executes one input; panics when an oracle objects.
    pub run: fn(&[u8]),
    /// Inputs to begin with.
    pub seeds: fn() -> Vec<Vec<u8>>,
    /// How inputs look.
    pub shape: Shape,
    /// Longest input tried, octets.
    pub length_max: usize,
    /// Most memory one execution may hold at once, octets, the target's own included. `None` where the
    /// thing under test rightly holds more, or is measured by its own oracle.
    pub allocation_max: Option<u64>,
    /// Executions in `make test`: chosen so that all targets together take a minute on two cores.
    pub executions: u64,
    /// Octets that mean something, to be inserted.
    pub words: &'static [&'static [u8]],
}
