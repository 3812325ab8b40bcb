//! The table, and what was promised.

use std::time::Duration;

use serde_json::{Map, Value, json};

use super::Chapter;
use super::round::{Told, worst};
use crate::cli::RestartArguments;
use crate::cpu::Cores;
use crate::report::{Gate, Good, Report};
use crate::stats::{median, rounded};

/// What a control plane may add to a gap at a viewer, milliseconds.
const GAP_MS: f64 = 20.0;

/// What the data plane's memory may grow by while nobody listens to it, KiB: its histories fill up in the
/// first seconds of a class (16 MiB here), and the queue to the control plane is bounded.
const GROWN_KIB: f64 = 32_768.0;

/// Writes table, medians, gates and rounds of all chapters into the report.
pub(crate) fn conclude(
    arguments: &RestartArguments,
    all: &[Told],
    cores: Cores,
    report: &mut Report,
) {
    let viewers = u32::from(arguments.rooms) * u32::from(arguments.viewers);
    let packets = u32::from(arguments.burst) * arguments.fps;
    for (name, value) in [
        ("rooms", json!(arguments.rooms)),
        ("viewers_a_room", json!(arguments.viewers)),
        ("burst", json!(arguments.burst)),
        ("frames_per_second", json!(arguments.fps)),
        ("forwarded_pps", json!(viewers * packets)),
        ("seed", json!(arguments.seed)),
        ("cores_shared", json!(cores.shared())),
    ] {
        report.medians.insert(name.to_owned(), value);
    }
    report.table.extend([
        format!(
            "{} rooms of 1 publisher and {} viewers, {packets} packets/s each: {} packets/s forwarded and \
             authenticated; seed {}",
            arguments.rooms,
            arguments.viewers,
            viewers * packets,
            arguments.seed
        ),
        String::new(),
        format!(
            "{:<12}{:>7}{:>12}{:>6}{:>10}{:>10}{:>10}{:>11}{:>10}{:>8}",
            "what", "times", "packets", "lost", "calm gap", "worst gap", "added ms", "back ms p50", "max", "faults"
        ),
    ]);
    for told in all {
        report.rounds.extend(
            told.rounds
                .iter()
                .map(|round| round.value(told.calm_gap_ms())),
        );
        let figures = figures(told);
        report.table.push(line(told));
        report
            .medians
            .insert(told.chapter.word().to_owned(), Value::Object(figures));
        report.gates.extend(gates(told, arguments));
    }
    let faults: Vec<String> = all
        .iter()
        .flat_map(|told| {
            let chapter = told.chapter.word();
            told.faults()
                .map(move |fault| format!("{chapter}: {fault}"))
        })
        .collect();
    if !faults.is_empty() {
        report.table.push(String::new());
        report.table.extend(faults);
    }
}

/// What "back" is for a chapter.
fn back_of(chapter: Chapter) -> &'static str {
    match chapter {
        Chapter::Media => "back_ms",
        Chapter::Kick => "viewer_ms",
        Chapter::Kill
        | Chapter::Freeze
        | Chapter::Takeover
        | Chapter::Upgrade
        | Chapter::Disk
        | Chapter::Descriptors
        | Chapter::Clock => "api_ms",
    }
}

fn line(told: &Told) -> String {
    let back = told.all(back_of(told.chapter));
    let longest = worst(told.rounds.iter().map(|round| round.seen.gap_ms));
    format!(
        "{:<12}{:>7}{:>12}{:>6}{:>10.1}{:>10.1}{:>10.1}{:>11.0}{:>10.0}{:>8}",
        told.chapter.word(),
        told.rounds.len(),
        told.packets(),
        told.lost(),
        told.calm_gap_ms(),
        longest,
        told.added_gap_ms(),
        median(back.iter().copied()).unwrap_or(f64::NAN),
        worst(back),
        told.faults().count(),
    )
}

fn figures(told: &Told) -> Map<String, Value> {
    let mut figures = Map::new();
    let mut note = |name: String, value: f64| {
        figures.insert(name, json!(rounded(value, 3)));
    };
    note("calm_gap_ms".to_owned(), told.calm_gap_ms());
    note("added_gap_ms".to_owned(), told.added_gap_ms());
    note("added_held_ms".to_owned(), told.added_held_ms());
    if let Some(after) = told.empty_s {
        note("empty_after_s".to_owned(), after);
    }
    let names: std::collections::BTreeSet<&String> = told
        .rounds
        .iter()
        .flat_map(|round| round.figures.keys())
        .collect();
    for name in names {
        let values = told.all(name);
        note(format!("{name}_max"), worst(values.iter().copied()));
        note(format!("{name}_p50"), median(values).unwrap_or(f64::NAN));
    }
    figures.insert("packets".to_owned(), json!(told.packets()));
    figures.insert("rounds".to_owned(), json!(told.rounds.len()));
    figures.insert("lost".to_owned(), json!(told.lost()));
    figures.insert("wrong".to_owned(), json!(told.wrong()));
    figures.insert("faults".to_owned(), told.faults().cloned().collect());
    figures
}

fn gates(told: &Told, arguments: &RestartArguments) -> Vec<Gate> {
    let id = |what: &str| format!("{}/{what}", told.chapter.word());
    let most = |what: &str, must: f64, value: f64, unit| {
        Gate::judge(&id(what), Good::Below, must, must, value, unit)
    };
    // Of nothing nothing is known.
    let figure = |name: &str| match told.all(name) {
        none if none.is_empty() => f64::NAN,
        some => worst(some),
    };
    let count = |count: u64| Duration::from_secs(count).as_secs_f64();
    let faults = u64::try_from(told.faults().count()).unwrap_or(u64::MAX);
    let missing = told.chapter.rounds(arguments) - told.rounds.len() as u64;
    let mut gates = vec![
        most("lost", 0.0, count(told.lost()), "packets"),
        most("wrong", 0.0, count(told.wrong()), "packets"),
        most("faults", 0.0, count(faults), "faults"),
        most("missing", 0.0, count(missing), "rounds"),
        most("empty", 60.0, told.empty_s.unwrap_or(f64::NAN), "s after"),
    ];
    let gap = || most("gap", GAP_MS, told.added_gap_ms(), "ms");
    match told.chapter {
        Chapter::Kill | Chapter::Takeover | Chapter::Upgrade => {
            gates.push(gap());
            gates.push(most("api", 1000.0, figure("api_ms"), "ms"));
        }
        Chapter::Freeze => {
            gates.push(gap());
            gates.push(most("grown", GROWN_KIB, figure("grown_kib"), "KiB"));
        }
        Chapter::Media => {
            let served = told.all("served_in_5s");
            let mean = served.iter().sum::<f64>() / count(served.len() as u64);
            gates.push(most("back", 500.0, figure("back_ms"), "ms"));
            gates.push(most("noticed", 1000.0, figure("noticed_ms"), "ms"));
            let served = Gate::judge(&id("served"), Good::Above, 0.99, 1.0, mean, "in 5 s");
            gates.push(served);
            gates.push(most("unserved", 0.0, figure("unserved"), "share"));
        }
        Chapter::Descriptors => gates.push(most("cpu", 0.5, figure("cpu_share"), "share")),
        Chapter::Kick => {
            gates.push(most("viewer", 500.0, figure("viewer_ms"), "ms"));
            gates.push(most("publisher", 500.0, figure("publisher_ms"), "ms"));
        }
        Chapter::Disk | Chapter::Clock => {}
    }
    gates
}
