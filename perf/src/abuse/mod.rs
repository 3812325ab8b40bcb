//! The node under attack: what hostile packets cost the honest, as a ratio to the same run without them.
//!
//! ```text
//! row 1   calm  ATTACK  calm  ATTACK  calm  ...      the first round is discarded
//! row 2   calm  ATTACK  calm  ...
//! ```
//!
//! The count parts of the same rows (nothing answered, nothing kept, nobody thrown out) are tests; here
//! they are gates beside the ratios, because a node that sheds its media is fast.

mod attack;
mod gates;
mod outcome;
mod row;
mod spray;
mod stage;
pub(crate) mod vitals;
mod window;

use std::time::Duration;

use serde_json::{Value, json};

use self::outcome::{Outcome, Round};
use self::row::{Also, ROWS};
pub(crate) use self::row::{Row, parse as parse_row, parse_rate};
use self::stage::{Stage, Visitors};
use self::vitals::Drops;
use self::window::Window;
use crate::cli::AbuseArguments;
use crate::cpu::{self, Affinity, Cores};
use crate::interrupt;
use crate::progress::Progress;
use crate::report::{Gate, Good, Report};
use crate::stats::{median, rounded};

const SCHEMA: &str = "lectern-perf/abuse/1";

/// Windows of attack in which viewers join, for the rows that ask for it.
const JOINING_WINDOWS: usize = 2;

/// Time the node may stand in line for a processor while nobody attacks, as a share: above it something
/// else runs on this machine, and what is found is about that.
const WAITED_MAX: f64 = 0.05;

/// A saturated node is to be well again after this.
const RECOVERY: Duration = Duration::from_secs(2);

/// Runs `lectern-perf abuse`.
///
/// # Errors
/// When the node cannot be started or joined, or a client of the standing load lost its connection.
pub(crate) fn measure(arguments: &AbuseArguments) -> anyhow::Result<Report> {
    interrupt::watch()?;
    let mut report = Report::new(SCHEMA);
    let affinity = Affinity::current()?;
    let cores = Cores::choose()?;
    cpu::pin(cores.loader)?;
    let rows: Vec<&'static Row> = match arguments.only.as_slice() {
        [] => ROWS.iter().collect(),
        only => only.to_vec(),
    };
    let rounds = usize::from(arguments.rounds.rounds);
    let progress = Progress::new((rows.len() * rounds) as u64);
    progress.doing("starting a node and filling its rooms".to_owned());
    let stage = Stage::set_up(arguments, cores, affinity)?;
    let mut outcomes = Vec::new();
    let mut before = stage.drops()?;
    for row in rows {
        progress.doing(format!("{}: {}", row.id, row.what));
        let mut outcome = attack(&stage, row, rounds, &progress, &mut report.rounds)?;
        let after = stage.drops()?;
        outcome.drops = after.since(&before);
        before = after;
        outcomes.push(outcome);
    }
    drop(progress);
    conclude(arguments, &stage, cores, &outcomes, &mut report);
    stage.leave()?;
    Ok(report)
}

/// All windows of one row; the first round is reported and discarded.
fn attack(
    stage: &Stage<'_>,
    row: &'static Row,
    rounds: usize,
    progress: &Progress,
    reported: &mut Vec<Value>,
) -> anyhow::Result<Outcome> {
    let mut armed = stage.arm(row)?;
    let visitors = Visitors::of(row);
    let mut report = |window: &Window, number: usize, discarded: bool| {
        let mut figures = window.figures();
        figures.insert("row".to_owned(), json!(row.id));
        figures.insert("round".to_owned(), json!(number));
        figures.insert("attack".to_owned(), json!(window.sprayed.is_some()));
        figures.insert("discarded".to_owned(), json!(discarded));
        reported.push(Value::Object(figures));
    };
    let mut outcome = Outcome {
        row,
        rate: armed.rate(),
        rounds: Vec::new(),
        joining: Vec::new(),
        packets: 0,
        drops: Drops::default(),
    };
    let sent = |window: &Window| window.sprayed.map_or(0, |sprayed| sprayed.packets);
    let mut before = stage.window(&mut armed, false, visitors)?;
    report(&before, 0, true);
    for number in 0..rounds {
        let attack = stage.window(&mut armed, true, visitors)?;
        if row.also == Also::Recovery {
            std::thread::sleep(RECOVERY);
        }
        let after = stage.window(&mut armed, false, visitors)?;
        outcome.packets += sent(&attack);
        report(&attack, number, number == 0);
        // The calm after the discarded attack is the calm before the first that counts.
        report(&after, number, false);
        if number > 0 {
            outcome.rounds.push(Round {
                before,
                attack,
                after: after.clone(),
            });
        }
        before = after;
        progress.step();
    }
    if row.also == Also::Joins {
        for _ in 0..JOINING_WINDOWS {
            let window = stage.window(&mut armed, true, Visitors::Many)?;
            report(&window, rounds, false);
            outcome.packets += sent(&window);
            outcome.joining.push(window);
        }
    }
    Ok(outcome)
}

fn conclude(
    arguments: &AbuseArguments,
    stage: &Stage<'_>,
    cores: Cores,
    outcomes: &[Outcome],
    report: &mut Report,
) {
    let streams = u32::from(arguments.rooms) * u32::from(arguments.viewers);
    let packets = u32::from(arguments.burst) * arguments.fps;
    let calm = outcomes.iter().flat_map(|outcome| &outcome.rounds);
    let noise = calm.map(|round| {
        let (before, after) = (round.before.latency_us(0.99), round.after.latency_us(0.99));
        before.max(after) / before.min(after)
    });
    let noise = median(noise).unwrap_or(f64::NAN);
    let waited = median(outcomes.iter().map(Outcome::calm_waited)).unwrap_or(f64::NAN);
    for (name, value) in [
        ("path", json!(stage.rig().word())),
        ("node", json!(stage.version())),
        ("rooms", json!(arguments.rooms)),
        ("viewers_a_room", json!(arguments.viewers)),
        ("burst", json!(arguments.burst)),
        ("frames_per_second", json!(arguments.fps)),
        ("forwarded_pps", json!(streams * packets)),
        ("profile", json!(arguments.rounds.profile.word())),
        ("cores_shared", json!(cores.shared())),
        ("calm_p99_noise", json!(rounded(noise, 3))),
        ("calm_node_waited", json!(rounded(waited, 4))),
    ] {
        report.medians.insert(name.to_owned(), value);
    }
    for outcome in outcomes {
        let figures = Value::Object(outcome.figures());
        report.medians.insert(outcome.row.id.to_owned(), figures);
        report.gates.extend(outcome.gates());
    }
    let quiet = Gate::judge("quiet", Good::Below, WAITED_MAX, 0.01, waited, "cpu");
    report.gates.push(quiet.quietly());
    report.table.extend([
        format!(
            "standing load: {} rooms of 1 publisher and {} viewers, {packets} packets/s each: {} packets/s \
             forwarded and authenticated, {}, over {}",
            arguments.rooms,
            arguments.viewers,
            streams * packets,
            arguments.rounds.profile.word(),
            stage.rig().word(),
        ),
        format!(
            "noise: two neighbouring calm windows differ in p99 by {noise:.2}x, and the node stood in line for \
             a processor for {:.1} % of the time",
            100.0 * waited,
        ),
        String::new(),
        Outcome::heading(),
    ]);
    report.table.extend(outcomes.iter().map(Outcome::line));
    let missed = report.gates.iter().filter(|gate| !gate.pass).count();
    report.table.push(String::new());
    report.table.push(match missed {
        0 => format!("all {} gates pass", report.gates.len()),
        _ => format!("{missed} of {} gates missed:", report.gates.len()),
    });
}
