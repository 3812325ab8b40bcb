//! Sessions of before: their URL, ETag and token must open them after whatever happened to the node.

use std::time::{Duration, Instant};

use anyhow::{Context as _, bail};

use super::hall::Hall;
use crate::load::guest::Guest;
use crate::load::patience::Patience;

/// How long a picture may take to come.
const PICTURE_MAX: Duration = Duration::from_secs(5);

const FRAGMENT: &str = "application/trickle-ice-sdpfrag";

/// Two viewers who joined before: one has its network changed afterwards, the other leaves.
#[derive(Debug)]
pub(crate) struct Keepsakes {
    moves: Guest,
    leaves: Guest,
}

impl Keepsakes {
    /// Two viewers join a room and see a picture.
    ///
    /// # Errors
    /// When they cannot.
    pub(crate) fn make(hall: &Hall, room: usize) -> anyhow::Result<Keepsakes> {
        let joining = [
            hall.visit(room, Patience::Outage)?,
            hall.visit(room, Patience::Outage)?,
        ];
        let [moves, leaves] = joining.map(|guest| guest.recv().context("the loader ended")?);
        let keepsakes = Keepsakes {
            moves: moves?,
            leaves: leaves?,
        };
        for guest in [&keepsakes.moves, &keepsakes.leaves] {
            picture(guest).context("a viewer of before")?;
        }
        Ok(keepsakes)
    }

    /// Both get a token that is valid now.
    pub(crate) fn renew(&mut self, token: &str) {
        for guest in [&mut self.moves, &mut self.leaves] {
            token.clone_into(&mut guest.token);
        }
    }

    /// Does with both what their owners may do. What went wrong is told, and both are gone in the end.
    pub(crate) fn prove(self, hall: &Hall, faults: &mut Vec<String>) {
        let Keepsakes { moves, leaves } = self;
        let mut tell = |outcome: anyhow::Result<()>| {
            if let Err(error) = outcome {
                faults.push(format!("{error:#}"));
            }
        };
        tell(restart(hall, &moves));
        tell(end(hall, &moves).context("the session that was restarted"));
        tell(end(hall, &leaves));
        moves.vanish();
        leaves.vanish();
    }
}

/// The session answers with its ETag, takes a trickled candidate and a restart for it, refuses the ETag of
/// before, and goes on with its media.
fn restart(hall: &Hall, guest: &Guest) -> anyhow::Result<()> {
    let session = &guest.session;
    let ask = |method: &str, headers: &[(&str, &str)], body: &str| {
        hall.ask(method, &session.url, &guest.token, headers, body)
    };
    let found = ask("GET", &[], "")?;
    if (found.status, &found.etag) != (204, &session.etag) {
        bail!(
            "GET of an old session: {} with the ETag {}, which was {}: {}",
            found.status,
            found.etag,
            session.etag,
            found.body
        );
    }
    let patch = |etag: &str, ufrag: &str| {
        let headers = [("Content-Type", FRAGMENT), ("If-Match", etag)];
        let fragment = format!(
            "a=ice-ufrag:{ufrag}\r\na=ice-pwd:0123456789abcdef01234567\r\n\
             m=video 9 UDP/TLS/RTP/SAVPF 0\r\na=mid:0\r\n"
        );
        ask("PATCH", &headers, &fragment)
    };
    let (_, own) = guest
        .seat
        .username
        .split_once(':')
        .context("invariant: a user name of ICE has two parts")?;
    let trickled = patch(&session.etag, own)?;
    if trickled.status != 204 {
        bail!(
            "a trickled candidate: {} {}",
            trickled.status,
            trickled.body
        );
    }
    let before = guest.heard.bytes();
    let restarted = patch(&session.etag, "neverseen")?;
    if restarted.status != 200 || restarted.etag.is_empty() || restarted.etag == session.etag {
        bail!(
            "a restart: {} with the ETag {}: {}",
            restarted.status,
            restarted.etag,
            restarted.body
        );
    }
    let stale = patch(&session.etag, "another")?;
    if stale.status != 412 {
        bail!("a restart with the ETag of before: {}", stale.status);
    }
    // The client does not follow: a restart that fails never ends the session.
    let deadline = Instant::now() + PICTURE_MAX;
    while guest.heard.bytes() == before {
        if Instant::now() > deadline {
            bail!("no media after a restart that the client did not follow");
        }
        std::thread::sleep(Duration::from_millis(2));
    }
    Ok(())
}

/// DELETE is answered 200, and the session is gone.
pub(crate) fn end(hall: &Hall, guest: &Guest) -> anyhow::Result<()> {
    let (session, token) = (&guest.session.url, &guest.token);
    let ended = hall.ask("DELETE", session, token, &[], "")?;
    if ended.status != 200 {
        bail!("DELETE of a session: {} {}", ended.status, ended.body);
    }
    let found = hall.ask("GET", session, token, &[], "")?;
    if found.status != 404 {
        bail!("GET of a session that was ended: {}", found.status);
    }
    Ok(())
}

/// Waits for the first keyframe; how long after the keys it came.
pub(crate) fn picture(guest: &Guest) -> anyhow::Result<Duration> {
    let deadline = Instant::now() + PICTURE_MAX;
    loop {
        if let Some(after) = guest.heard.keyframe() {
            return Ok(after);
        }
        if Instant::now() > deadline {
            bail!("no picture within {PICTURE_MAX:?}");
        }
        std::thread::sleep(Duration::from_millis(2));
    }
}
