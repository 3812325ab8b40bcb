//! What a shard holds is what the world put there, within limits.

use dataplane_engine::Population;
use dataplane_engine::limits::{OUTBOX_PACKETS_MAX, PATHS_PER_SESSION_MAX};
use dataplane_engine::time::Micros;

use super::Report;

/// Sessions, tracks and filled slots are exactly those that were ordered and have not ended; queues and
/// paths stay within their limits. What is forgotten nowhere would show here as a leak.
#[derive(Clone, Copy, Debug)]
pub struct Bounds;

impl Bounds {
    /// Its name.
    pub const NAME: &'static str = "Bounds";

    pub(crate) fn judge(
        now: Micros,
        holds: Population,
        expected: Population,
        queued: u64,
        report: &mut Report,
    ) {
        if holds != expected {
            let what = format!("the shard holds {holds:?}, the world {expected:?}");
            report.add(Self::NAME, now, what);
        }
        let most = (OUTBOX_PACKETS_MAX * 2 * holds.sessions.max(1)) as u64;
        if queued > most {
            report.add(
                Self::NAME,
                now,
                format!("{queued} packets wait, at most {most}"),
            );
        }
    }

    /// Judges one session's own description of itself.
    pub(crate) fn judge_session(now: Micros, json: &str, report: &mut Report) {
        let paths = json
            .split_once("\"paths\":")
            .map(|(_, rest)| {
                rest.chars()
                    .take_while(char::is_ascii_digit)
                    .collect::<String>()
            })
            .and_then(|digits| digits.parse::<usize>().ok());
        match paths {
            Some(paths) if paths <= PATHS_PER_SESSION_MAX => {}
            Some(_) | None => report.add(Self::NAME, now, format!("paths of {json}")),
        }
    }
}
