//! The two lives: what a running class notices when a process of the node dies, is replaced, hangs, or loses
//! its disk, its descriptors or its clock.
//!
//! Everybody in the class is real to the last authentication tag, and every media packet is numbered: that
//! none is lost is counted, not believed. A kill is a window of its own; the calm between the kills says how
//! long a gap is on this machine anyway.

mod churn;
mod controlplane;
mod dataplane;
mod faults;
mod hall;
mod health;
mod host;
mod keepsake;
mod outcome;
mod place;
mod round;

use std::time::Duration;

use clap::ValueEnum;
use rand::SeedableRng as _;
use rand::rngs::StdRng;

use self::hall::{Emptied, Hall};
use self::host::{Host, Options};
use self::place::Place;
use self::round::Told;
use crate::cli::RestartArguments;
use crate::cpu::{self, Affinity, Cores};
use crate::interrupt;
use crate::progress::Progress;
use crate::report::Report;

const SCHEMA: &str = "lectern-perf/restart/1";

/// After this nothing may remain of a class that everybody left.
const EMPTY_MAX: Duration = Duration::from_secs(60);

/// What is done to the node.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Chapter {
    /// The control plane is killed, again and again, and restarted by its supervisor.
    Kill,
    /// The control plane hangs.
    Freeze,
    /// The data plane is killed, again and again.
    Media,
    /// A control plane with another data directory takes over.
    Takeover,
    /// The next version takes over.
    Upgrade,
    /// The disk is full.
    Disk,
    /// The control plane may open no more files.
    Descriptors,
    /// The clock jumps, forward and back; needs libfaketime.
    Clock,
    /// A moderator ends sessions while people storm in.
    Kick,
}

impl Chapter {
    /// Its name on the command line and in results.
    pub(crate) fn word(self) -> &'static str {
        match self {
            Chapter::Kill => "kill",
            Chapter::Freeze => "freeze",
            Chapter::Media => "media",
            Chapter::Takeover => "takeover",
            Chapter::Upgrade => "upgrade",
            Chapter::Disk => "disk",
            Chapter::Descriptors => "descriptors",
            Chapter::Clock => "clock",
            Chapter::Kick => "kick",
        }
    }

    /// How many rounds it has.
    fn rounds(self, arguments: &RestartArguments) -> u64 {
        match self {
            Chapter::Kill => arguments.kills.into(),
            Chapter::Media => arguments.media_kills.into(),
            Chapter::Takeover | Chapter::Upgrade => arguments.takeovers.into(),
            Chapter::Freeze | Chapter::Disk | Chapter::Descriptors | Chapter::Kick => 1,
            Chapter::Clock => faults::CLOCKS,
        }
    }
}

/// What all chapters share.
#[derive(Debug)]
struct Stage<'a> {
    arguments: &'a RestartArguments,
    options: Options,
    random: StdRng,
    progress: Progress,
}

impl Stage<'_> {
    fn step(&self, chapter: Chapter, number: usize) {
        self.progress
            .doing(format!("{}, round {}", chapter.word(), number + 1));
        self.progress.step();
    }
}

/// Runs `lectern-perf restart`.
///
/// # Errors
/// When a node cannot be started or joined, or a client of the class lost its connection.
pub(crate) fn measure(arguments: &RestartArguments) -> anyhow::Result<Report> {
    interrupt::watch()?;
    let mut report = Report::new(SCHEMA);
    let affinity = Affinity::current()?;
    let cores = Cores::choose()?;
    cpu::pin(cores.loader)?;
    let chapters = match arguments.only.as_slice() {
        [] => Chapter::value_variants(),
        only => only,
    };
    let rounds = chapters.iter().map(|chapter| chapter.rounds(arguments));
    let mut stage = Stage {
        arguments,
        options: Options {
            program: arguments.node.clone(),
            edge: arguments.edge.clone(),
            log: None,
            cores,
            affinity,
            environment: Vec::new(),
        },
        random: StdRng::seed_from_u64(arguments.seed),
        progress: Progress::new(rounds.sum()),
    };
    let (mut all, mut emptied) = (Vec::new(), Vec::new());
    for &chapter in chapters {
        let mut told = Told::new(chapter);
        match tell(&mut stage, &mut told) {
            Ok(empty) => emptied.push((all.len(), empty)),
            Err(error) => {
                interrupt::check()?;
                let fault = format!("the chapter ended early: {error:#}");
                told.faults.push(fault);
            }
        }
        all.push(told);
    }
    stage.progress.doing("everybody has left".to_owned());
    for (chapter, emptied) in emptied {
        let told: &mut Told = &mut all[chapter];
        match emptied.wait() {
            Ok(after) => told.empty_s = Some(after.as_secs_f64()),
            Err(error) => {
                interrupt::check()?;
                told.faults.push(format!("everybody has left: {error:#}"));
            }
        }
    }
    drop(stage.progress);
    outcome::conclude(arguments, &all, cores, &mut report);
    Ok(report)
}

/// A node of its own for each chapter, and a full class in it; in the end everybody leaves. What remains then
/// is watched while the next chapter goes on: a stream waits half a minute for its publisher.
fn tell(stage: &mut Stage<'_>, told: &mut Told) -> anyhow::Result<Emptied> {
    stage.options.log = stage.arguments.node_log.as_ref().map(|log| {
        let name = log.file_name().unwrap_or_default().to_string_lossy();
        log.with_file_name(format!("{}-{name}", told.chapter.word()))
    });
    let place = Place::prepare(told.chapter)?;
    stage.options.environment = place.environment();
    let host = match told.chapter {
        Chapter::Kill | Chapter::Freeze | Chapter::Media => Host::supervised(&stage.options)?,
        Chapter::Takeover
        | Chapter::Upgrade
        | Chapter::Disk
        | Chapter::Descriptors
        | Chapter::Clock
        | Chapter::Kick => Host::units(&stage.options, place.data())?,
    };
    let mut hall = Hall::fill(host, stage.arguments)?;
    match told.chapter {
        Chapter::Kill => controlplane::kills(stage, &mut hall, told)?,
        Chapter::Freeze => controlplane::freeze(stage, &mut hall, told)?,
        Chapter::Media => dataplane::kills(stage, &mut hall, told)?,
        Chapter::Takeover => controlplane::takeovers(stage, &mut hall, told)?,
        Chapter::Upgrade => controlplane::upgrades(stage, &mut hall, told)?,
        Chapter::Disk => faults::disk(stage, &mut hall, told, &place)?,
        Chapter::Descriptors => faults::descriptors(stage, &mut hall, told)?,
        Chapter::Clock => faults::clock(stage, &mut hall, told, &place)?,
        Chapter::Kick => faults::kick(stage, &mut hall, told)?,
    }
    let refused = hall.leave();
    // A moderator has ended some of them before.
    if refused > 0 && told.chapter != Chapter::Kick {
        told.faults
            .push(format!("{refused} sessions could not be ended"));
    }
    Ok(hall.empty(EMPTY_MAX, place))
}
