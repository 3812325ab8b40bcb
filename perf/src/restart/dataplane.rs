//! The data plane is killed: the connections are lost, the node is not, and everybody comes back.

use std::time::{Duration, Instant};

use anyhow::Context as _;
use rand::RngExt as _;
use rustix::process::Signal;

use super::Stage;
use super::controlplane::milliseconds;
use super::hall::Hall;
use super::health::Health;
use super::host::Life;
use super::round::{Round, Told};
use crate::load::loader::Loader;
use crate::load::stamp;

/// A calm window before each kill.
const CALM: Duration = Duration::from_millis(300);

/// Where waiting ends; the promises are half a second and five seconds.
const BACK_MAX: Duration = Duration::from_secs(20);
const SERVED_MAX: Duration = Duration::from_secs(15);

/// Kills with SIGKILL. Everybody notices at once, as a page does whose server tells it, and asks to join
/// again with growing pauses.
///
/// # Errors
/// When somebody cannot come back at all.
pub(crate) fn kills(stage: &mut Stage<'_>, hall: &mut Hall, told: &mut Told) -> anyhow::Result<()> {
    let begun = Instant::now();
    for number in 0..usize::from(stage.arguments.media_kills) {
        stage.step(told.chapter, number);
        told.calm.push(hall.calm(CALM)?);
        std::thread::sleep(CALM.mul_f64(stage.random.random_range(0.0..1.0)));
        let mut round = Round::new(told.chapter, number, begun.elapsed().as_secs_f64());
        let old = hall.loader.sessions().to_vec();
        let health = [Life::Controlplane, Life::Dataplane].map(|life| hall.host.ops(life));
        let [web, media] = health.map(|base| Health::new(&base));

        hall.host.signal(Life::Dataplane, Signal::KILL)?;
        let (killed, killed_at) = (Instant::now(), stamp::now());
        let load = hall.load.clone();
        let rejoining = std::thread::spawn(move || Loader::start(load));
        let (noticed, returned) = std::thread::scope(|scope| {
            let noticing = scope.spawn(|| {
                let down = web.wait(false, BACK_MAX)?;
                anyhow::Ok((down, web.wait(true, BACK_MAX)?))
            });
            // The socket of a killed process is gone at once: what answers is the next one.
            let returned = media.wait(true, BACK_MAX);
            (noticing.join(), returned)
        });
        let returned = returned.context("the data plane")?;
        round.figure("back_ms", milliseconds(returned - killed));
        let noticed = noticed.map_err(|_| anyhow::anyhow!("the watching thread panicked"))?;
        match noticed {
            Ok((down, up)) => {
                round.figure("noticed_ms", milliseconds(down - killed));
                round.figure("linked_ms", milliseconds(up - killed));
            }
            Err(error) => round.tell("the control plane", Err(error)),
        }
        for (session, token) in &old {
            let outcome = refused(hall, session, token);
            round.tell("an old session", outcome);
        }
        let rejoined = rejoining.join();
        hall.loader = rejoined.map_err(|_| anyhow::anyhow!("the joining thread panicked"))??;
        serve(hall, killed_at, &mut round)?;
        told.rounds.push(round);
    }
    Ok(())
}

/// A session of before is unknown, or the node says that it cannot tell.
fn refused(hall: &Hall, session: &str, token: &str) -> anyhow::Result<()> {
    let found = hall.ask("GET", session, token, &[], "")?;
    if !matches!(found.status, 404 | 503) {
        anyhow::bail!("GET answers {}", found.status);
    }
    Ok(())
}

/// Waits until everybody has media, and notes how long that took since the kill.
fn serve(hall: &Hall, killed_at: Duration, round: &mut Round) -> anyhow::Result<()> {
    let deadline = Instant::now() + SERVED_MAX;
    let first = loop {
        let first = hall.loader.first()?;
        if first.iter().all(Option::is_some) || Instant::now() > deadline {
            break first;
        }
        std::thread::sleep(Duration::from_millis(5));
    };
    let mut served: Vec<f64> = first
        .iter()
        .flatten()
        .map(|&at| milliseconds(at.saturating_sub(killed_at)))
        .collect();
    served.sort_by(f64::total_cmp);
    let (everyone, late) = (
        first.len(),
        served.iter().filter(|&&ms| ms > 5000.0).count(),
    );
    let unserved = everyone - served.len();
    if unserved > 0 {
        round
            .faults
            .push(format!("{unserved} viewers never got media again"));
    }
    let share = |count: usize| {
        let share = u32::try_from(count).map_or(0.0, f64::from);
        share / u32::try_from(everyone.max(1)).map_or(1.0, f64::from)
    };
    round.figure("served_in_5s", share(everyone - unserved - late));
    round.figure("unserved", share(unserved));
    round.figure(
        "half_served_ms",
        served.get(served.len() / 2).copied().unwrap_or(0.0),
    );
    round.figure("all_served_ms", served.last().copied().unwrap_or(0.0));
    let standing = hall.standing();
    let known = hall.wait_for(Duration::from_secs(5), |census| {
        census.connections == standing && census.sessions == standing
    });
    round.tell("the rooms afterwards", known.map(|_| ()));
    Ok(())
}
