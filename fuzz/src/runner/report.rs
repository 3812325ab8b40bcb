//! What a run came to.

use std::fmt;
use std::fmt::Write as _;
use std::time::Duration;

use crate::hex;

/// An input that an oracle or a panic objected to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    /// Which target.
    pub target: &'static str,
    /// `file:line` of the panic.
    pub site: String,
    /// What it said.
    pub message: String,
    /// The input as it was found: a committed input's origin, or the number of the execution.
    pub origin: String,
    /// The input, minimised.
    pub input: Vec<u8>,
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{}: {} at {} ({}); {} octets: {}",
            self.target,
            self.message,
            self.site,
            self.origin,
            self.input.len(),
            hex::encode(&self.input)
        )
    }
}

/// One target's run.
#[derive(Clone, Debug)]
pub struct Report {
    /// Which target.
    pub target: &'static str,
    /// Inputs it began with.
    pub seeds: usize,
    /// Inputs kept because they showed something new.
    pub kept: usize,
    /// Different things seen.
    pub behaviours: usize,
    /// Inputs executed, seeds included.
    pub executions: u64,
    /// Panics that the code under test caught itself.
    pub contained: u64,
    /// The slowest execution.
    pub slowest: Duration,
    /// All of it.
    pub took: Duration,
    /// What was found, one a site.
    pub findings: Vec<Finding>,
    /// Fewest inputs that show everything that was seen, for the corpus: those that were not committed
    /// already are new.
    pub cover: Vec<Vec<u8>>,
}

/// The reports as a table for people, with totals.
#[must_use]
pub fn table(reports: &[Report]) -> String {
    let mut out = String::new();
    let mut row = |columns: [&str; 9]| {
        let [
            target,
            seeds,
            kept,
            behaviours,
            executions,
            rate,
            slowest,
            contained,
            findings,
        ] = columns;
        writeln!(
            out,
            "{target:<22} {seeds:>6} {kept:>6} {behaviours:>10} {executions:>12} {rate:>10} {slowest:>11} {contained:>9} {findings:>8}"
        )
        .expect("invariant: writing to a String cannot fail");
    };
    row([
        "target",
        "corpus",
        "kept",
        "behaviours",
        "executions",
        "per second",
        "slowest us",
        "contained",
        "findings",
    ]);
    for report in reports {
        let millis = u64::try_from(report.took.as_millis()).unwrap_or(u64::MAX);
        let rate = report.executions.saturating_mul(1_000) / millis.max(1);
        row([
            report.target,
            &report.seeds.to_string(),
            &report.kept.to_string(),
            &report.behaviours.to_string(),
            &report.executions.to_string(),
            &rate.to_string(),
            &report.slowest.as_micros().to_string(),
            &report.contained.to_string(),
            &report.findings.len().to_string(),
        ]);
    }
    let executions: u64 = reports.iter().map(|report| report.executions).sum();
    let findings: usize = reports.iter().map(|report| report.findings.len()).sum();
    writeln!(
        out,
        "fuzz: {} targets, {executions} executions, {findings} findings",
        reports.len()
    )
    .expect("invariant: writing to a String cannot fail");
    out
}
