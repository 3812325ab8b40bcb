//! Comings and goings: people join, restart ICE and leave all the time, so that whatever happens to the node
//! happens in the middle of it.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use rand::rngs::StdRng;
use rand::{RngExt as _, SeedableRng as _};

use super::hall::Hall;
use crate::load::guest::Guest;
use crate::load::http::Http;
use crate::load::patience::Patience;

/// Between two joins.
const PAUSE: Duration = Duration::from_millis(40);

/// How long somebody tries to leave in order; afterwards they are gone anyway.
const LEAVING_MAX: Duration = Duration::from_secs(5);

/// Who came and went.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Churned {
    pub(crate) joined: u32,
    pub(crate) refused: u32,
    pub(crate) left: u32,
    /// Whose DELETE never got an answer: the node finds out by itself.
    pub(crate) vanished: u32,
}

/// Goes on until `enough`. Who leaves asks again until the node answers, like a page that is closed with a
/// beacon that waits for the network.
pub(crate) fn churn(
    invite: impl Fn(usize) -> anyhow::Result<std::sync::mpsc::Receiver<anyhow::Result<Guest>>>,
    http: &Http,
    seed: u64,
    enough: &AtomicBool,
) -> anyhow::Result<Churned> {
    let mut random = StdRng::seed_from_u64(seed);
    let mut churned = Churned::default();
    let mut joining = Vec::new();
    let mut here: Vec<Guest> = Vec::new();
    while !enough.load(Ordering::Relaxed) {
        joining.push(invite(random.random_range(0..usize::from(u16::MAX)))?);
        std::thread::sleep(PAUSE.mul_f64(random.random_range(0.5..1.5)));
        joining.retain(|guest| match guest.try_recv() {
            Ok(Ok(guest)) => {
                churned.joined += 1;
                here.push(guest);
                false
            }
            Ok(Err(_)) => {
                churned.refused += 1;
                false
            }
            Err(_not_yet) => true,
        });
        if here.len() > 2 {
            let guest = here.swap_remove(random.random_range(0..here.len()));
            if random.random_bool(0.5) {
                restart(&guest, http);
            }
            // Once, now: when the node is away, that is how it is.
            leave(guest, http, Duration::ZERO, &mut churned);
        }
    }
    for guest in joining {
        match guest.recv() {
            Ok(Ok(guest)) => {
                churned.joined += 1;
                here.push(guest);
            }
            Ok(Err(_)) | Err(_) => churned.refused += 1,
        }
    }
    for guest in here {
        leave(guest, http, LEAVING_MAX, &mut churned);
    }
    Ok(churned)
}

/// Asks for an ICE restart that it does not follow.
fn restart(guest: &Guest, http: &Http) {
    let headers = [
        ("Content-Type", "application/trickle-ice-sdpfrag"),
        ("If-Match", "*"),
    ];
    let fragment = "a=ice-ufrag:onthego\r\na=ice-pwd:0123456789abcdef01234567\r\n";
    let url = &guest.session.url;
    let _answered_or_not = http.request("PATCH", url, &guest.token, &headers, fragment);
}

fn leave(guest: Guest, http: &Http, patience: Duration, churned: &mut Churned) {
    let deadline = Instant::now() + patience;
    loop {
        let url = http.here(&guest.session.url);
        let answer = http.request("DELETE", &url, &guest.token, &[], "");
        if answer.is_ok_and(|answer| matches!(answer.status, 200 | 404)) {
            churned.left += 1;
            break;
        }
        if Instant::now() >= deadline {
            churned.vanished += 1;
            break;
        }
        std::thread::sleep(PAUSE);
    }
    guest.vanish();
}

/// Runs `happening` while people come and go.
///
/// # Errors
/// Those of `happening`.
pub(crate) fn during<T>(
    hall: &mut Hall,
    seed: u64,
    happening: impl FnOnce(&mut Hall) -> anyhow::Result<T>,
) -> anyhow::Result<(T, Churned)> {
    let (load, http) = (hall.load.clone(), hall.load.http.clone());
    let visitors = hall.loader.visitors()?;
    let enough = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let churning = scope.spawn(|| {
            let invite = |number: usize| {
                let room = &load.rooms[number % load.rooms.len()];
                let address = std::net::Ipv4Addr::LOCALHOST.into();
                let mut join = load.join(room, crate::load::peer::Role::Viewer, address);
                join.patience = Patience::Outage;
                visitors.invite(join)
            };
            churn(invite, &http, seed, &enough)
        });
        let happened = happening(hall);
        enough.store(true, Ordering::Relaxed);
        let churned = churning.join();
        let churned = churned.map_err(|_| anyhow::anyhow!("the churning thread panicked"))??;
        Ok((happened?, churned))
    })
}
