//! What happens to the control plane: it is killed, replaced, upgraded, it hangs.

use std::time::{Duration, Instant};

use anyhow::Context as _;
use rand::RngExt as _;
use rand::rngs::StdRng;
use rustix::process::Signal;

use super::churn;
use super::hall::Hall;
use super::health::Health;
use super::host::{Host, Life};
use super::keepsake::{Keepsakes, end, picture};
use super::round::{Round, Told};
use super::{Chapter, Stage};
use crate::load::patience::Patience;

/// A calm window between two rounds.
const CALM: Duration = Duration::from_millis(250);

/// When in a window it happens, at the latest.
const MOMENT_MAX: Duration = Duration::from_millis(250);

/// How long a node may take until it is what it was. The promise is a second; this is where waiting ends.
const BACK_MAX: Duration = Duration::from_secs(20);

/// Who is gone when the control plane hangs.
const VANISHING: usize = 4;

/// After this the data plane has noticed who vanished (RFC 7675: 30 s) and the control plane has been told.
const NOTICED_MAX: Duration = Duration::from_secs(60);

/// Kills with SIGKILL, under a supervisor, in the middle of comings and goings.
///
/// # Errors
/// When the class cannot go on.
pub(crate) fn kills(stage: &mut Stage<'_>, hall: &mut Hall, told: &mut Told) -> anyhow::Result<()> {
    let begun = Instant::now();
    for number in 0..usize::from(stage.arguments.kills) {
        stage.step(told.chapter, number);
        told.calm.push(hall.calm(CALM)?);
        let mut round = Round::new(told.chapter, number, begun.elapsed().as_secs_f64());
        let keepsakes = keep(hall, &mut stage.random, &mut round)?;
        let (seed, moment) = (stage.random.random(), moment(&mut stage.random));
        let (seen, ((), churned)) = hall.window(|hall| {
            churn::during(hall, seed, |hall| {
                std::thread::sleep(moment);
                let old = hall.host.pid(Life::Controlplane)?;
                hall.host.signal(Life::Controlplane, Signal::KILL)?;
                let killed = Instant::now();
                let back = back(hall, killed, &mut round, || {
                    Ok(hall.host.pid(Life::Controlplane)? != old)
                });
                round.tell("the API", back);
                if let Some(keepsakes) = keepsakes {
                    keepsakes.prove(hall, &mut round.faults);
                }
                let known = everyone_is_known(hall);
                round.tell("the rooms", known);
                Ok(())
            })
        })?;
        (round.seen, round.churned) = (seen, churned);
        told.rounds.push(round);
    }
    Ok(())
}

/// Somebody who was here before, if they could join.
pub(super) fn keep(
    hall: &Hall,
    random: &mut StdRng,
    round: &mut Round,
) -> anyhow::Result<Option<Keepsakes>> {
    match Keepsakes::make(hall, random.random_range(0..hall.load.rooms.len())) {
        Ok(keepsakes) => Ok(Some(keepsakes)),
        Err(error) => {
            crate::interrupt::check()?;
            round.tell("before", Err(error));
            Ok(None)
        }
    }
}

fn moment(random: &mut StdRng) -> Duration {
    MOMENT_MAX.mul_f64(random.random_range(0.0..1.0))
}

/// The ops port says ready, an offer is answered, and whoever made it sees a picture.
pub(super) fn back(
    hall: &Hall,
    killed: Instant,
    round: &mut Round,
    is_another: impl Fn() -> anyhow::Result<bool>,
) -> anyhow::Result<()> {
    let newcomer = hall.visit(round.number, Patience::Probe)?;
    let health = Health::new(&hall.host.ops(Life::Controlplane));
    // A killed process may answer one more time.
    while !is_another().unwrap_or(false) && killed.elapsed() < BACK_MAX {
        std::thread::sleep(Duration::from_millis(1));
    }
    let ready = health.wait(true, BACK_MAX)?;
    round.figure("ready_ms", milliseconds(ready - killed));
    let guest = newcomer.recv().context("the loader ended")?;
    let guest = guest.context("a newcomer")?;
    let answered = guest.answered.saturating_duration_since(killed);
    round.figure("post_ms", milliseconds(answered));
    round.figure("api_ms", milliseconds(answered.max(ready - killed)));
    let seen = picture(&guest).context("a newcomer")?;
    round.figure("joined_ms", milliseconds(guest.took));
    round.figure("picture_ms", milliseconds(seen));
    let ended = end(hall, &guest).context("the newcomer");
    guest.vanish();
    ended
}

/// Every room is known with at least its publisher and its viewers.
fn everyone_is_known(hall: &Hall) -> anyhow::Result<()> {
    let census = hall.census()?;
    if census.rooms < hall.load.rooms.len() || census.connections < hall.standing() {
        anyhow::bail!(
            "{} rooms with {} connections are not in {census:?}",
            hall.load.rooms.len(),
            hall.standing()
        );
    }
    Ok(())
}

/// A control plane with nothing but the keys takes over from one that runs, and from one that was killed.
///
/// # Errors
/// When the class cannot go on.
pub(crate) fn takeovers(
    stage: &mut Stage<'_>,
    hall: &mut Hall,
    told: &mut Told,
) -> anyhow::Result<()> {
    let before = [None, Some(Signal::KILL)];
    replacements(stage, hall, told, &before)
}

/// The next version takes over: started when the old one was told to end, and while it still serves.
///
/// # Errors
/// When the class cannot go on.
pub(crate) fn upgrades(
    stage: &mut Stage<'_>,
    hall: &mut Hall,
    told: &mut Told,
) -> anyhow::Result<()> {
    let before = [Some(Signal::TERM), None];
    replacements(stage, hall, told, &before)
}

fn replacements(
    stage: &mut Stage<'_>,
    hall: &mut Hall,
    told: &mut Told,
    before: &[Option<Signal>],
) -> anyhow::Result<()> {
    let begun = Instant::now();
    for number in 0..usize::from(stage.arguments.takeovers) {
        stage.step(told.chapter, number);
        told.calm.push(hall.calm(CALM)?);
        let mut round = Round::new(told.chapter, number, begun.elapsed().as_secs_f64());
        let keepsakes = keep(hall, &mut stage.random, &mut round)?;
        let moment = moment(&mut stage.random);
        let next = stage.arguments.next.as_deref();
        let next = next.filter(|_| told.chapter == Chapter::Upgrade);
        let (seen, ()) = hall.window(|hall| {
            std::thread::sleep(moment);
            let begun = Instant::now();
            let signal = before[number % before.len()];
            let took = hall.host.as_units()?.replace(next, signal)?;
            round.figure("ready_line_ms", milliseconds(took));
            hall.follow();
            let back = back(hall, begun, &mut round, || Ok(true));
            round.tell("the API", back);
            if let Some(keepsakes) = keepsakes {
                keepsakes.prove(hall, &mut round.faults);
            }
            let known = everyone_is_known(hall);
            round.tell("the rooms", known);
            Ok(())
        })?;
        round.seen = seen;
        told.rounds.push(round);
    }
    Ok(())
}

/// The control plane hangs: SIGSTOP. Somebody vanishes meanwhile, and afterwards it knows.
///
/// # Errors
/// When the class cannot go on.
pub(crate) fn freeze(
    stage: &mut Stage<'_>,
    hall: &mut Hall,
    told: &mut Told,
) -> anyhow::Result<()> {
    stage.step(told.chapter, 0);
    told.calm.push(hall.calm(4 * CALM)?);
    let mut round = Round::new(told.chapter, 0, 0.0);
    let keepsakes = keep(hall, &mut stage.random, &mut round)?;
    let vanishing = (0..VANISHING)
        .map(|room| hall.visit(room, Patience::Outage))
        .collect::<anyhow::Result<Vec<_>>>()?;
    let vanishing = vanishing
        .into_iter()
        .map(|guest| guest.recv().context("the loader ended")?)
        .collect::<anyhow::Result<Vec<_>>>()?;
    let length = stage.arguments.freeze;
    let (seen, ()) = hall.window(|hall| {
        let memory = memory(&hall.host)?;
        hall.host.signal(Life::Controlplane, Signal::STOP)?;
        for guest in vanishing {
            guest.vanish();
        }
        std::thread::sleep(length);
        hall.host.signal(Life::Controlplane, Signal::CONT)?;
        let woken = Instant::now();
        round.figure("frozen_ms", milliseconds(length));
        round.figure("grown_kib", self::memory(&hall.host)? - memory);
        let back = back(hall, woken, &mut round, || Ok(true));
        round.tell("the API", back);
        if let Some(keepsakes) = keepsakes {
            keepsakes.prove(hall, &mut round.faults);
        }
        Ok(())
    })?;
    round.seen = seen;
    let (everyone, length) = (hall.standing(), length.as_secs());
    // Those who vanished have been noticed while nobody listened, where the hang was longer than that takes.
    let patience = NOTICED_MAX.saturating_sub(Duration::from_secs(length));
    let known = hall.wait_for(patience.max(Duration::from_secs(5)), |census| {
        census.connections == everyone && census.sessions == everyone
    });
    round.tell("the rooms afterwards", known.map(|_| ()));
    told.rounds.push(round);
    Ok(())
}

/// The data plane's memory that is no file's, KiB.
fn memory(host: &Host) -> anyhow::Result<f64> {
    let smaps = format!("/proc/{}/smaps_rollup", host.pid(Life::Dataplane)?);
    let smaps = std::fs::read_to_string(&smaps).with_context(|| format!("cannot read {smaps}"))?;
    let bytes = crate::abuse::vitals::anonymous(&smaps).context("no anonymous memory")?;
    Ok(Duration::from_micros(bytes >> 10).as_secs_f64() * 1e6)
}

/// As numbers stand in the report.
pub(crate) fn milliseconds(duration: Duration) -> f64 {
    duration.as_secs_f64() * 1000.0
}
