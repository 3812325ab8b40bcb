//! Handles for sessions, tracks and rooms: numbers that the data plane never sees twice within a boot
//! (contracts.md 2), whatever the clock says and however many control planes came before.

use std::collections::HashSet;
use std::ops::Range;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{SystemTime, UNIX_EPOCH};

use dataplane_api::ids::SessionId;

/// Ids of one connection to the data plane: 2^40 are more than a connection lives to use.
const CONNECTION_SHIFT: u32 = 40;

/// See the module.
#[derive(Debug, Default)]
pub(super) struct Ids(Mutex<Issued>);

#[derive(Debug, Default)]
struct Issued {
    next: u64,
    /// Where the present range began.
    first: u64,
    /// What was issued over earlier connections.
    earlier: Vec<Range<u64>>,
    /// Sessions of earlier control planes that this one answers for. They are as many as there were at the
    /// takeover.
    taken_over: HashSet<SessionId>,
}

impl Ids {
    /// A connection to the data plane is up; `connection` is the number it gave it.
    pub(super) fn begin(&self, connection: u64) {
        let first = if connection == 0 {
            by_the_clock()
        } else {
            connection << CONNECTION_SHIFT
        };
        let mut ids = self.lock();
        // Another boot counts from one again. A request that was ahead of this news has used the range
        // already, so it goes on.
        if connection != 0 && ids.next >> CONNECTION_SHIFT == connection {
            return;
        }
        if ids.first < ids.next {
            let earlier = ids.first..ids.next;
            ids.earlier.push(earlier);
        }
        (ids.first, ids.next) = (first, first);
    }

    /// A new handle.
    pub(super) fn next(&self) -> u64 {
        let mut ids = self.lock();
        let id = ids.next;
        ids.next += 1;
        id
    }

    /// A session of an earlier control plane is this one's from now on.
    pub(super) fn take_over(&self, session: SessionId) {
        self.lock().taken_over.insert(session);
    }

    /// Whether this process made the session or has taken it over: it knows all of these that are to live.
    pub(super) fn own(&self, session: SessionId) -> bool {
        let (ids, id) = (self.lock(), session.0);
        (ids.first..ids.next).contains(&id)
            || ids.earlier.iter().any(|range| range.contains(&id))
            || ids.taken_over.contains(&session)
    }

    fn lock(&self) -> MutexGuard<'_, Issued> {
        // Nothing panics while it is held.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// For a data plane that does not count its connections: 41 bits of milliseconds and 20 of counter. A
/// successor starts above every id of its predecessor unless that one made a million ids a millisecond or
/// the clock went back.
fn by_the_clock() -> u64 {
    let since_epoch = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap_or_default();
    u64::try_from(since_epoch.as_millis()).unwrap_or_default() << 20
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_connection_has_a_range_of_its_own_and_all_are_remembered_as_ours() {
        let ids = Ids::default();
        ids.begin(3);
        let first = ids.next();
        assert_eq!((first, ids.next()), (3 << 40, (3 << 40) + 1));
        ids.begin(9);
        assert_eq!(ids.next(), 9 << 40);
        let own = |id| ids.own(SessionId(id));
        assert!(own(first) && own(first + 1) && own(9 << 40));
        assert!(!own(first + 2), "never made");
        assert!(!own(4 << 40), "another control plane's");
        ids.take_over(SessionId(4 << 40));
        assert!(own(4 << 40) && !own((4 << 40) + 1));
    }

    #[test]
    fn what_was_issued_while_a_connection_came_up_is_not_issued_again() {
        let ids = Ids::default();
        ids.begin(1);
        let before = ids.next();
        // The next boot counts its connections from one again, and a request may be ahead of the news.
        let ahead = ids.next();
        ids.begin(1);
        let after = ids.next();
        assert!(after > ahead && ahead > before && after < 2 << 40);
    }

    #[test]
    fn a_data_plane_that_does_not_count_gets_ids_by_the_clock() {
        let ids = Ids::default();
        ids.begin(0);
        let id = ids.next();
        assert!(id > 1 << 50 && ids.own(SessionId(id)));
    }
}
