//! `lectern-perf`: what a forwarded packet costs, as a ratio against what it must cost.
//!
//! A figure in nanoseconds belongs to one machine and one minute. So every run measures *floors*
//! beside the node: programs that do the part of the work no media node can avoid (system calls and
//! encryption) and nothing else, on the same network path, in alternating rounds. The ratio between the
//! two is what is gated and what is compared between machines.
//!
//! CPU time is counted, never wall time: the scheduler's run time of the threads that do the work.

#![deny(unsafe_code)]

mod abuse;
mod cli;
mod cpu;
mod draw;
mod floor;
mod forward;
mod interrupt;
mod load;
mod machine;
mod namespace;
mod progress;
mod report;
mod restart;
mod rig;
mod socket;
mod srtp;
mod stats;

use std::process::ExitCode;

use clap::Parser;

use crate::cli::{Cli, Command};
use crate::report::{Report, Verdict};

/// Every gate passed.
const EXIT_PASS: u8 = 0;
/// The run failed, or was void: its numbers mean nothing.
const EXIT_ERROR: u8 = 1;
/// The run is valid and at least one gate was missed.
const EXIT_GATE_MISSED: u8 = 3;

fn main() -> ExitCode {
    let cli = Cli::parse();
    let json = cli.json();
    match run(cli) {
        Ok(None) => ExitCode::from(EXIT_PASS),
        Ok(Some(report)) => {
            report.print(json);
            ExitCode::from(match report.verdict() {
                Verdict::Pass => EXIT_PASS,
                Verdict::GateMissed => EXIT_GATE_MISSED,
            })
        }
        Err(error) => {
            eprintln!("lectern-perf: {error:#}");
            ExitCode::from(EXIT_ERROR)
        }
    }
}

/// The report of a measurement; a drawing has none.
fn run(cli: Cli) -> anyhow::Result<Option<Report>> {
    match cli.command {
        Command::Floor(arguments) => floor::measure(&arguments).map(Some),
        Command::Forward(arguments) => forward::measure(&arguments).map(Some),
        Command::Abuse(arguments) => abuse::measure(&arguments).map(Some),
        Command::Restart(arguments) => restart::measure(&arguments).map(Some),
        Command::Draw(arguments) => draw::draw(&arguments).map(|()| None),
    }
}
