//! How many connections the process can hold: fewer than it has descriptors.
//!
//! A process without a free descriptor cannot accept, nor open a file, nor reach the data plane when the link
//! breaks. So some descriptors are kept back, and a connection beyond the rest is closed as soon as it is
//! accepted: whoever connects learns at once that this node is full, and nothing of the node waits for it.

use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use rustix::process::{Resource, getrlimit};

/// Descriptors that are no public connection's: standard streams, log, runtime, listeners, link, certificate
/// and keys while they are read (30 in all), and [`OPS_MAX`].
const RESERVED: u64 = 64;

/// Connections of the ops port: scrapers and people.
pub const OPS_MAX: usize = 32;

/// Even a process with next to no descriptors serves this many.
const PUBLIC_MIN: u64 = 16;

/// How often shedding is logged at most.
const LOG_INTERVAL: Duration = Duration::from_secs(1);

/// How many connections there may be, and are; clones share the count.
#[derive(Clone, Debug)]
pub struct Capacity(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    max: usize,
    open: AtomicUsize,
    shed: AtomicU64,
    logged: Mutex<Option<Instant>>,
}

/// One counted connection; dropping it makes room.
#[derive(Debug)]
pub struct Seat(Arc<Inner>);

impl Capacity {
    /// Room for this many.
    #[must_use]
    pub fn of(max: usize) -> Capacity {
        Capacity(Arc::new(Inner {
            max,
            open: AtomicUsize::new(0),
            shed: AtomicU64::new(0),
            logged: Mutex::new(None),
        }))
    }

    /// What this process's limit of descriptors leaves to the public port.
    #[must_use]
    pub fn of_process() -> Capacity {
        Capacity::of(public_max(getrlimit(Resource::Nofile).current))
    }

    /// A place for one connection, or `None`: then it must be closed at once.
    pub(super) fn take(&self) -> Option<Seat> {
        let taken = self
            .0
            .open
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, |open| {
                (open < self.0.max).then_some(open + 1)
            });
        if taken.is_ok() {
            return Some(Seat(Arc::clone(&self.0)));
        }
        self.0.shed.fetch_add(1, Ordering::Relaxed);
        if self.may_log(Instant::now()) {
            tracing::warn!(
                connections = self.0.max,
                shed = self.0.shed.load(Ordering::Relaxed),
                "no room for more connections: raise the limit of open files (LimitNOFILE)"
            );
        }
        None
    }

    fn may_log(&self, now: Instant) -> bool {
        let mut logged = self.0.logged.lock().unwrap_or_else(PoisonError::into_inner);
        let due = logged.is_none_or(|last| now.duration_since(last) >= LOG_INTERVAL);
        if due {
            *logged = Some(now);
        }
        due
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        self.0.open.fetch_sub(1, Ordering::Relaxed);
    }
}

/// Without a limit, as many as a count can hold.
fn public_max(nofile: Option<u64>) -> usize {
    let Some(nofile) = nofile else {
        return usize::MAX;
    };
    usize::try_from(nofile.saturating_sub(RESERVED).max(PUBLIC_MIN)).unwrap_or(usize::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn descriptors_are_kept_back_whatever_the_limit_is() {
        let table = [
            (Some(256), 192),
            (Some(20_000), 19_936),
            (Some(10), 16),
            (None, usize::MAX),
        ];
        for (nofile, expected) in table {
            assert_eq!(public_max(nofile), expected, "{nofile:?}");
        }
    }

    #[test]
    fn a_seat_that_is_left_is_free_again() {
        let capacity = Capacity::of(2);
        let (first, _second) = (capacity.take().unwrap(), capacity.take().unwrap());
        assert!(capacity.take().is_none() && capacity.take().is_none());
        drop(first);
        assert!(capacity.take().is_some());
        assert_eq!(capacity.0.shed.load(Ordering::Relaxed), 2);
    }

    #[test]
    fn shedding_is_logged_once_a_second() {
        let capacity = Capacity::of(0);
        let start = Instant::now();
        let logged: Vec<bool> = [0, 1, 999, 1000, 1001, 2500]
            .into_iter()
            .map(|ms| capacity.may_log(start + Duration::from_millis(ms)))
            .collect();
        assert_eq!(logged, [true, false, false, true, false, true]);
    }
}
