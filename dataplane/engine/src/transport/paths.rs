//! The ways to a peer that its checks validated, and which of them egress takes (contracts.md 4 and 5).
//!
//! Egress follows the path that last carried USE-CANDIDATE. Any other check only validates: Chromium checks its
//! backup pair too, and following the last check would throw media away for seconds. Without a nomination
//! egress moves in two cases only, and both need the selected path to be silent:
//!
//! - **It is silent for 5 s** and another validated path lives.
//! - **A path succeeded it.** A NAT that forgot its binding gives the peer another port in the middle of a
//!   call, and not every peer nominates again (str0m does not). What that looks like here is unmistakable: from
//!   one moment on everything comes from the new port and nothing from the old. So a path from the same remote
//!   address that was first validated *after* the selected one was last heard succeeds it, as soon as the
//!   silence is half as long again as the longest pause the selected path lately made. A backup pair never
//!   succeeds: it was validated while the selected path was heard, before and after. The remote address has
//!   to be the same, because whoever can copy a check can send it again from an address of his own, but not
//!   from the peer's.

use crate::limits::{
    CONSENT_US, PATH_PATIENCE_US_MIN, PATH_SILENT_US, PATH_TAKEOVER_US, PATHS_PER_SESSION_MAX,
    RETRACED_US_MAX,
};
use crate::packet::Path;
use crate::time::Micros;

/// A path's pauses are remembered for one to two of these.
const PAUSES_WINDOW_US: u64 = 8_000_000;
/// A path is known well enough to be missed after this many signs of life ...
const SIGNS_MIN: u32 = 16;
/// ... over at least this time.
const ACQUAINTANCE_US: u64 = 2_000_000;
/// A path whose longest pause is below this is missed soon: above the checks of Chromium (2.5 s), below the
/// receiver reports of a viewer that sends nothing else (RFC 3550 section 6.3.1), of which one may be lost.
const CHATTY_PAUSE_US_MAX: u64 = 3_000_000;

/// What a valid check changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum PathChange {
    /// The path was known.
    None,
    /// The path is new and validated. `evicted` was the one silent longest and is forgotten.
    Added { evicted: Option<Path> },
    /// The session has all the paths it may have, or the check is a replay.
    Refused,
}

/// How long a path lately was silent between two signs of life.
#[derive(Clone, Copy, Debug)]
struct Pauses {
    signs: u32,
    since: Micros,
    window_at: Micros,
    /// The longest of this window, and of the one before.
    longest_us: [u64; 2],
}

impl Pauses {
    fn new(now: Micros) -> Pauses {
        Pauses {
            signs: 0,
            since: now,
            window_at: now,
            longest_us: [0; 2],
        }
    }

    fn note(&mut self, now: Micros, pause_us: u64) {
        self.signs = self.signs.saturating_add(1);
        let [current, _] = self.longest_us;
        if now.since(self.window_at) >= PAUSES_WINDOW_US {
            self.window_at = now;
            self.longest_us = [pause_us, current];
        } else if pause_us > current {
            self.longest_us[0] = pause_us;
        }
    }

    /// How long a silence has to be before it says something.
    fn patience_us(&self, now: Micros) -> u64 {
        if !self.is_acquainted(now) {
            return PATH_SILENT_US;
        }
        let [current, before] = self.longest_us;
        let longest = current.max(before);
        (longest + longest / 2).clamp(PATH_PATIENCE_US_MIN, PATH_SILENT_US)
    }

    /// How long a silence has to be before the path may be another session's.
    fn takeover_us(&self, now: Micros) -> u64 {
        let longest = self.longest_us.into_iter().max().unwrap_or_default();
        if !self.is_acquainted(now) || longest > CHATTY_PAUSE_US_MAX {
            return PATH_TAKEOVER_US;
        }
        (2 * longest).max(PATH_SILENT_US)
    }

    fn is_acquainted(&self, now: Micros) -> bool {
        self.signs >= SIGNS_MIN && now.since(self.since) >= ACQUAINTANCE_US
    }
}

/// A path that carried an authenticated check.
#[derive(Clone, Copy, Debug)]
struct Validated {
    path: Path,
    born_at: Micros,
    heard_at: Micros,
    pauses: Pauses,
    /// When it last carried USE-CANDIDATE.
    nominated_at: Option<Micros>,
    /// The ICE generation of its last check.
    generation: u32,
    /// When egress left it because it was silent.
    left_at: Option<Micros>,
}

impl Validated {
    fn hear(&mut self, now: Micros) {
        self.pauses.note(now, now.since(self.heard_at));
        self.heard_at = now;
        self.left_at = None;
    }

    fn lives(&self, now: Micros) -> bool {
        now.since(self.heard_at) < PATH_SILENT_US
    }

    /// Whether this is the other's flow behind a new binding of the peer's NAT. What the network overtook may
    /// still come by the old one for a moment.
    fn succeeds(&self, other: &Validated) -> bool {
        self.path.local == other.path.local
            && self.path.socket == other.path.socket
            && self.path.remote.ip() == other.path.remote.ip()
            && self.born_at > other.born_at
            && other.heard_at <= self.born_at.plus_us(RETRACED_US_MAX)
    }

    /// When it is forgotten: soon when egress left it, else when it is as old as a consent. Chromium checks its
    /// backup pair every 25 s.
    fn forgotten_at(&self) -> Micros {
        match self.left_at {
            Some(left_at) => left_at.plus_us(PATH_SILENT_US),
            None => self.heard_at.plus_us(CONSENT_US),
        }
    }
}

/// The paths of one session.
#[derive(Debug, Default)]
pub(crate) struct Paths {
    validated: Vec<Validated>,
    /// Where egress goes.
    selected: Option<Path>,
    generation: u32,
}

impl Paths {
    /// A check on `path` whose MESSAGE-INTEGRITY is right; `current` unless it used the credentials of before
    /// the last restart.
    pub(crate) fn on_check(
        &mut self,
        now: Micros,
        path: Path,
        nominated: bool,
        current: bool,
    ) -> PathChange {
        let nominated_at = nominated.then_some(now);
        let generation = self.generation.wrapping_sub(u32::from(!current));
        let mut change = PathChange::None;
        if let Some(known) = self.entry(path) {
            known.hear(now);
            known.nominated_at = nominated_at.or(known.nominated_at);
            known.generation = generation;
        } else {
            let Ok(evicted) = self.make_room(now, nominated) else {
                return PathChange::Refused;
            };
            self.validated.push(Validated {
                path,
                born_at: now,
                heard_at: now,
                pauses: Pauses::new(now),
                nominated_at,
                generation,
                left_at: None,
            });
            change = PathChange::Added { evicted };
        }
        if nominated || self.selected.is_none() {
            self.selected = Some(path);
        } else {
            self.follow(now);
        }
        change
    }

    /// An authenticated packet. Whether its path is one of these.
    pub(crate) fn on_packet(&mut self, now: Micros, path: Path) -> bool {
        let Some(known) = self.entry(path) else {
            return false;
        };
        known.hear(now);
        if self.selected != Some(path) {
            self.follow(now);
        }
        true
    }

    /// Nominations so far were of the generation that ends; paths and egress stay until new checks choose
    /// (RFC 8445 section 9).
    pub(crate) fn on_restart(&mut self) {
        self.generation = self.generation.wrapping_add(1);
        for validated in &mut self.validated {
            validated.nominated_at = None;
        }
    }

    /// Leaves a silent path if there is a better one. The paths that are forgotten with this.
    pub(crate) fn on_tick(&mut self, now: Micros) -> Vec<Path> {
        self.follow(now);
        let selected = self.selected;
        let mut forgotten = Vec::new();
        self.validated.retain(|v| {
            let keep = selected == Some(v.path) || v.forgotten_at() > now;
            if !keep {
                forgotten.push(v.path);
            }
            keep
        });
        forgotten
    }

    /// When [`Paths::on_tick`] has something to do.
    pub(crate) fn next_deadline(&self, now: Micros) -> Option<Micros> {
        let selected = self.selected_entry();
        let others = self
            .validated
            .iter()
            .filter(|v| Some(v.path) != self.selected);
        others
            .flat_map(|other| {
                let leave = selected.map(|selected| {
                    let patience_us = if other.succeeds(selected) {
                        selected.pauses.patience_us(now)
                    } else {
                        PATH_SILENT_US
                    };
                    selected.heard_at.plus_us(patience_us)
                });
                // A silence that has begun is looked at when another path is heard.
                [leave.filter(|&at| at > now), Some(other.forgotten_at())]
            })
            .flatten()
            .min()
    }

    /// Whether `path` was heard lately enough that nobody else may have it.
    pub(crate) fn keeps(&self, now: Micros, path: Path) -> bool {
        self.validated
            .iter()
            .any(|v| v.path == path && now.since(v.heard_at) < v.pauses.takeover_us(now))
    }

    /// Whether `path` is one of these.
    pub(crate) fn has(&self, path: Path) -> bool {
        self.validated.iter().any(|v| v.path == path)
    }

    /// Whether a check on `path` would not be refused.
    pub(crate) fn has_room(&self, now: Micros, path: Path, nominated: bool) -> bool {
        self.has(path) || self.room(now, nominated).is_ok()
    }

    /// The path belongs to another session now.
    pub(crate) fn forget(&mut self, path: Path) {
        self.validated.retain(|v| v.path != path);
        if self.selected == Some(path) {
            let newest = self.validated.iter().max_by_key(|v| v.heard_at);
            self.selected = newest.map(|v| v.path);
        }
    }

    /// Where egress goes.
    pub(crate) fn selected(&self) -> Option<Path> {
        self.selected
    }

    /// Every path.
    pub(crate) fn iter(&self) -> impl Iterator<Item = Path> + '_ {
        self.validated.iter().map(|v| v.path)
    }

    fn entry(&mut self, path: Path) -> Option<&mut Validated> {
        self.validated.iter_mut().find(|v| v.path == path)
    }

    fn selected_entry(&self) -> Option<&Validated> {
        let selected = self.selected?;
        self.validated.iter().find(|v| v.path == selected)
    }

    fn follow(&mut self, now: Micros) {
        let Some(&selected) = self.selected_entry() else {
            return;
        };
        let silent_us = now.since(selected.heard_at);
        let others = || {
            let selected = selected.path;
            self.validated.iter().filter(move |v| v.path != selected)
        };
        let successor = others()
            .filter(|v| v.succeeds(&selected) && silent_us >= selected.pauses.patience_us(now))
            .max_by_key(|v| v.heard_at);
        let next = successor.or_else(|| {
            others()
                .filter(|v| silent_us >= PATH_SILENT_US && v.lives(now))
                .max_by_key(|v| (v.nominated_at, v.heard_at))
        });
        let Some(next) = next.map(|v| v.path) else {
            return;
        };
        self.selected = Some(next);
        if let Some(left) = self.entry(selected.path) {
            left.left_at = Some(now);
        }
        if let Some(next) = self.entry(next)
            && next.succeeds(&selected)
        {
            // The flow is the same, so what is known of it is too.
            next.pauses = selected.pauses;
        }
    }

    fn make_room(&mut self, now: Micros, nominated: bool) -> Result<Option<Path>, Full> {
        let evicted = self.room(now, nominated)?;
        Ok(evicted.map(|index| self.validated.swap_remove(index).path))
    }

    /// Room for one more: a path of an ICE generation that has ended gives way at once, another one when it is
    /// silent. To a nomination one that lives gives way too, or a peer with eight pairs that work could choose none
    /// of the others; one it never nominated, if there is one. The index of the path that goes.
    fn room(&self, now: Micros, nominated: bool) -> Result<Option<usize>, Full> {
        if self.validated.len() < PATHS_PER_SESSION_MAX {
            return Ok(None);
        }
        let is_kept = |v: &Validated| v.generation == self.generation && v.lives(now);
        let (index, first) = self
            .validated
            .iter()
            .enumerate()
            .filter(|(_, v)| Some(v.path) != self.selected)
            .min_by_key(|(_, v)| {
                let has_ended = v.generation != self.generation;
                let lives = v.lives(now);
                (
                    !has_ended,
                    lives,
                    lives && v.nominated_at.is_some(),
                    v.heard_at,
                )
            })
            .ok_or(Full)?;
        if is_kept(first) && !nominated {
            return Err(Full);
        }
        Ok(Some(index))
    }
}

struct Full;

#[cfg(test)]
#[path = "paths_tests.rs"]
mod tests;
