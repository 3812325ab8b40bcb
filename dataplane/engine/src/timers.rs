//! When to look at a session again. One deadline a session: whoever wants an earlier look moves it.

use std::collections::BTreeSet;

use crate::table::Key;
use crate::time::Micros;

/// The deadlines of all sessions, earliest first. Equal times come in the order of the keys, so a seed
/// replays.
#[derive(Debug, Default)]
pub(crate) struct Timers {
    due: BTreeSet<(Micros, Key)>,
}

impl Timers {
    /// Moves the deadline of `key` from `*at` to `to`.
    pub(crate) fn set(&mut self, key: Key, at: &mut Option<Micros>, to: Option<Micros>) {
        if *at == to {
            return;
        }
        if let Some(old) = *at {
            self.due.remove(&(old, key));
        }
        if let Some(new) = to {
            self.due.insert((new, key));
        }
        *at = to;
    }

    /// The earliest deadline.
    pub(crate) fn next(&self) -> Option<Micros> {
        self.due.first().map(|&(at, _)| at)
    }

    /// Takes one session whose deadline has passed. Its own record of it must then be cleared.
    pub(crate) fn pop(&mut self, now: Micros) -> Option<Key> {
        let &(at, key) = self.due.first()?;
        if at > now {
            return None;
        }
        self.due.pop_first();
        Some(key)
    }
}
