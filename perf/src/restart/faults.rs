//! What a class notices when the node's machine fails it: no disk, no descriptors, another time; and whether
//! a moderator's word counts in a storm.

use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::time::{Duration, Instant};

use anyhow::Context as _;
use rand::RngExt as _;
use rustix::process::{Pid, Resource, Rlimit, Signal, prlimit};
use socket2::{Domain, Socket, Type};

use super::controlplane::{back, keep, milliseconds};
use super::hall::Hall;
use super::host::Life;
use super::keepsake::{Keepsakes, picture};
use super::place::Place;
use super::round::{Round, Told};
use super::{Stage, churn};
use crate::cpu;
use crate::load::node::Grant;
use crate::load::patience::Patience;

const CALM: Duration = Duration::from_millis(300);

/// What the clock shows, one after the other: jumps of an hour, two hours, 25 hours, two days and one.
const JUMPS: [&str; 5] = ["+1h", "-1h", "+1d", "-1d", "+0"];
pub(crate) const CLOCKS: u64 = JUMPS.len() as u64;

/// The control plane is restarted while the clock shows this: ids must not come twice.
const RESTART_AT: &str = "-1d";

/// How long a jump may take to have an effect.
const AFTER_JUMP: Duration = Duration::from_millis(1200);

/// Descriptors of the control plane, and connections that want one each.
const DESCRIPTORS: u64 = 256;
const CONNECTIONS: u32 = 400;

/// How long somebody waits for a door to open.
const KNOCK_MAX: Duration = Duration::from_millis(10);

/// How long it has none, and its use of a processor is measured.
const WITHOUT: Duration = Duration::from_secs(2);

/// Packets that come this long after a session was ended are too many.
const KICKED: Duration = Duration::from_millis(1500);

/// The disk is full: the control plane is killed, comes back and serves.
///
/// # Errors
/// When the class cannot go on.
pub(crate) fn disk(
    stage: &mut Stage<'_>,
    hall: &mut Hall,
    told: &mut Told,
    place: &Place,
) -> anyhow::Result<()> {
    stage.step(told.chapter, 0);
    told.calm.push(hall.calm(CALM)?);
    let mut round = Round::new(told.chapter, 0, 0.0);
    let keepsakes = keep(hall, &mut stage.random, &mut round)?;
    let (seen, ()) = hall.window(|hall| {
        place.fill()?;
        let begun = Instant::now();
        hall.host.as_units()?.restart(Some(Signal::KILL))?;
        hall.follow();
        let back = back(hall, begun, &mut round, || Ok(true));
        round.tell("the API", back);
        if let Some(keepsakes) = keepsakes {
            keepsakes.prove(hall, &mut round.faults);
        }
        Ok(())
    })?;
    round.seen = seen;
    told.rounds.push(round);
    Ok(())
}

/// The control plane has no descriptor left for those who knock.
///
/// # Errors
/// When the class cannot go on.
pub(crate) fn descriptors(
    stage: &mut Stage<'_>,
    hall: &mut Hall,
    told: &mut Told,
) -> anyhow::Result<()> {
    stage.step(told.chapter, 0);
    told.calm.push(hall.calm(CALM)?);
    let mut round = Round::new(told.chapter, 0, 0.0);
    let keepsakes = keep(hall, &mut stage.random, &mut round)?;
    let (seen, ()) = hall.window(|hall| {
        let pid = hall.host.pid(Life::Controlplane)?;
        let few = Rlimit {
            current: Some(DESCRIPTORS),
            maximum: Some(DESCRIPTORS),
        };
        let process = Pid::from_raw(i32::try_from(pid)?);
        prlimit(process, Resource::Nofile, few).context("cannot limit the control plane")?;
        let url = hall.host.url();
        let http = url.trim_start_matches("http://").parse()?;
        let knocking = (0..CONNECTIONS)
            .map(|number| knock(number, http))
            .collect::<anyhow::Result<Vec<_>>>()?;
        let let_in = knocking.iter().flatten().count();
        round.figure("let_in", u32::try_from(let_in).map_or(0.0, f64::from));
        let (begun, before) = (Instant::now(), cpu::of_process(pid)?);
        std::thread::sleep(WITHOUT);
        let spent = cpu::of_process(pid)?.since(before).run;
        let share = spent.as_secs_f64() / begun.elapsed().as_secs_f64();
        round.figure("cpu_share", share);
        let open = std::fs::read_dir(format!("/proc/{pid}/fd"))?.count();
        round.figure("descriptors", u32::try_from(open).map_or(0.0, f64::from));
        drop(knocking);
        let begun = Instant::now();
        let back = back(hall, begun, &mut round, || Ok(true));
        round.tell("the API", back);
        if let Some(keepsakes) = keepsakes {
            keepsakes.prove(hall, &mut round.faults);
        }
        Ok(())
    })?;
    round.seen = seen;
    told.rounds.push(round);
    Ok(())
}

/// A connection that says nothing, from an address of its own: many from one address are turned away. `None`
/// when nobody opens, because the kernel has too many who wait.
fn knock(number: u32, to: SocketAddr) -> anyhow::Result<Option<TcpStream>> {
    let socket = Socket::new(Domain::IPV4, Type::STREAM, None)?;
    let [.., high, low] = number.to_be_bytes();
    let from = Ipv4Addr::new(127, 20, high, low.saturating_add(1).max(1));
    socket.bind(&SocketAddr::new(from.into(), 0).into())?;
    let opened = socket.connect_timeout(&to.into(), KNOCK_MAX);
    Ok(opened.is_ok().then(|| socket.into()))
}

/// The clock jumps; nobody notices, and fresh tokens open doors.
///
/// # Errors
/// When the class cannot go on.
pub(crate) fn clock(
    stage: &mut Stage<'_>,
    hall: &mut Hall,
    told: &mut Told,
    place: &Place,
) -> anyhow::Result<()> {
    let chapter = Instant::now();
    for (number, jump) in JUMPS.into_iter().enumerate() {
        stage.step(told.chapter, number);
        told.calm.push(hall.calm(CALM)?);
        let mut round = Round::new(told.chapter, number, chapter.elapsed().as_secs_f64());
        let visited = stage.random.random_range(0..hall.load.rooms.len());
        let mut keepsakes = Keepsakes::make(hall, visited)?;
        let (room, before) = {
            let room = &hall.load.rooms[visited];
            (room.name.clone(), room.view_token.clone())
        };
        let (seen, ()) = hall.window(|hall| {
            place.set_clock(jump)?;
            std::thread::sleep(AFTER_JUMP);
            // The first jump is no longer than a token lives; each of the others is.
            if number > 0 {
                round.tell(
                    &format!("the clock at {jump}"),
                    jumped(hall, &room, &before),
                );
            }
            let begun = Instant::now();
            if jump == RESTART_AT {
                hall.host.as_units()?.restart(Some(Signal::KILL))?;
                hall.follow();
            }
            for room in &mut hall.load.rooms {
                room.view_token = hall.host.token(&room.name, Grant::Subscribe)?;
            }
            let back = back(hall, begun, &mut round, || Ok(true));
            round.tell(&format!("the API at {jump}"), back);
            // A token from the future opens nothing, whoever's it is: its owner gets another one.
            keepsakes.renew(&hall.load.rooms[visited].view_token);
            keepsakes.prove(hall, &mut round.faults);
            Ok(())
        })?;
        round.seen = seen;
        let standing = hall.standing();
        let known = hall.wait_for(Duration::from_secs(5), |census| {
            census.connections == standing && census.sessions == standing
        });
        round.tell(&format!("the rooms at {jump}"), known.map(|_| ()));
        told.rounds.push(round);
    }
    Ok(())
}

/// The control plane's clock is another one now: a token of before the jump opens no room, so a preloaded library
/// that did nothing cannot pass for a node that minds nothing.
fn jumped(hall: &Hall, room: &str, token: &str) -> anyhow::Result<()> {
    let url = format!("{}/whep/{room}", hall.host.url());
    let headers = [("Content-Type", "application/sdp")];
    let http = &hall.load.http;
    let answer = http.request("POST", &url, token, &headers, "v=0\r\n")?;
    anyhow::ensure!(
        answer.status == 401,
        "a token of before is answered {}",
        answer.status
    );
    Ok(())
}

/// A moderator ends a viewer's and a publisher's session while people storm in.
///
/// # Errors
/// When the class cannot go on.
pub(crate) fn kick(stage: &mut Stage<'_>, hall: &mut Hall, told: &mut Told) -> anyhow::Result<()> {
    stage.step(told.chapter, 0);
    told.calm.push(hall.calm(CALM)?);
    let mut round = Round::new(told.chapter, 0, 0.0);
    let room = hall.load.rooms[0].name.clone();
    let moderator = hall.host.token(&room, Grant::Moderate)?;
    let join = |hall: &Hall| {
        let guest = hall.visit(0, Patience::Outage)?.recv();
        let guest = guest.context("the loader ended")??;
        picture(&guest)?;
        anyhow::Ok(guest)
    };
    let kicked = join(hall)?;
    let witness = join(hall)?;
    let end = |hall: &Hall, session: &str| {
        std::thread::sleep(CALM);
        let answer = hall.ask("DELETE", session, &moderator, &[], "")?;
        let ended = Instant::now();
        anyhow::ensure!(
            answer.status == 200,
            "a moderator's DELETE: {}",
            answer.status
        );
        std::thread::sleep(KICKED);
        anyhow::Ok(ended)
    };
    let seed = stage.random.random();
    let (seen, (ended, churned)) =
        hall.window(|hall| churn::during(hall, seed, |hall| end(hall, &kicked.session.url)))?;
    (round.seen, round.churned) = (seen, churned);
    let late = |last: Option<Instant>, ended: Instant| {
        milliseconds(last.map_or(Duration::ZERO, |last| last.saturating_duration_since(ended)))
    };
    round.figure("viewer_ms", late(kicked.heard.last_at(), ended));
    // Its own viewers lose the picture now: that is no loss, so nobody counts.
    let publisher = hall.loader.sessions()[0].0.clone();
    let (ended, _) = churn::during(hall, seed, |hall| end(hall, &publisher))?;
    round.figure("publisher_ms", late(witness.heard.last_at(), ended));
    kicked.vanish();
    // Its session may have ended with the stream.
    let (session, token) = (&witness.session.url, &witness.token);
    hall.ask("DELETE", session, token, &[], "")?;
    witness.vanish();
    told.rounds.push(round);
    Ok(())
}
