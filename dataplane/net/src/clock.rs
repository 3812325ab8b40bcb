//! The one clock of the data plane: `CLOCK_MONOTONIC`, and the kernel's receive stamps mapped to it.

use std::time::{Duration, Instant};

use dataplane_engine::time::Micros;

/// The clock every shard of this process reads.
#[derive(Clone, Copy, Debug)]
pub struct Clock;

impl Clock {
    /// Microseconds of `CLOCK_MONOTONIC`.
    #[must_use]
    pub fn now() -> Micros {
        Micros(read_ns(libc::CLOCK_MONOTONIC) / 1_000)
    }

    /// The `Instant` at which [`Clock::now`] was zero, for libraries that want instants: theirs is this
    /// plus the microseconds. Read it once per process, because two readings may differ by a
    /// microsecond.
    ///
    /// # Panics
    /// Never on Linux, where an `Instant` is `CLOCK_MONOTONIC` itself.
    #[must_use]
    pub fn instant_of_zero() -> Instant {
        Instant::now()
            .checked_sub(Duration::from_micros(Clock::now().0))
            .expect("invariant: an Instant is CLOCK_MONOTONIC, which is not below zero")
    }
}

/// Nanoseconds of one of the kernel's clocks since its zero.
fn read_ns(clock: libc::clockid_t) -> u64 {
    let mut time = libc::timespec {
        tv_sec: 0,
        tv_nsec: 0,
    };
    // SAFETY: `time` is a valid timespec for the call to fill, and both clocks asked for here exist on
    // every Linux, so the call cannot fail.
    unsafe { libc::clock_gettime(clock, &raw mut time) };
    timespec_ns(time.tv_sec, time.tv_nsec)
}

/// Seconds and nanoseconds as nanoseconds; zero for times before the clock's zero.
pub(crate) fn timespec_ns(seconds: i64, nanoseconds: i64) -> u64 {
    let seconds = u64::try_from(seconds).unwrap_or(0);
    let nanoseconds = u64::try_from(nanoseconds).unwrap_or(0);
    seconds
        .saturating_mul(1_000_000_000)
        .saturating_add(nanoseconds)
}

/// Oldest arrival believed. A datagram waits in the socket for milliseconds; a stamp further from now
/// means that `CLOCK_REALTIME` was stepped between the stamp and the reading.
const ARRIVAL_AGE_MAX_US: u64 = 2_000_000;

/// How receive stamps (`SO_TIMESTAMPNS`, which is `CLOCK_REALTIME`) map to the engine's clock. Read once
/// a turn, so that a turn costs two clock readings and not one a datagram.
#[derive(Clone, Copy, Debug)]
pub(crate) struct StampMap {
    now: Micros,
    realtime_ns: u64,
}

impl StampMap {
    /// Reads both clocks.
    pub(crate) fn read() -> StampMap {
        StampMap {
            now: Clock::now(),
            realtime_ns: read_ns(libc::CLOCK_REALTIME),
        }
    }

    /// The time of the reading.
    pub(crate) fn now(&self) -> Micros {
        self.now
    }

    /// When a datagram with this stamp arrived. Without a stamp, or with one that a stepped clock made
    /// unbelievable, it arrived now.
    pub(crate) fn arrival(&self, stamp_ns: Option<u64>) -> Micros {
        let age_us = match stamp_ns {
            Some(stamp_ns) => self.realtime_ns.saturating_sub(stamp_ns) / 1_000,
            None => 0,
        };
        if age_us > ARRIVAL_AGE_MAX_US {
            return self.now;
        }
        Micros(self.now.0.saturating_sub(age_us))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn map() -> StampMap {
        StampMap {
            now: Micros(50_000_000),
            realtime_ns: 1_700_000_000_000_000_000,
        }
    }

    #[test]
    fn a_stamp_becomes_its_age_on_the_monotonic_clock() {
        let stamp = 1_700_000_000_000_000_000 - 1_500_000;
        assert_eq!(map().arrival(Some(stamp)), Micros(49_998_500));
    }

    #[test]
    fn a_stamp_from_the_future_or_from_long_ago_is_now() {
        let hour_ns = 3_600_000_000_000;
        let realtime_ns = map().realtime_ns;
        assert_eq!(map().arrival(Some(realtime_ns + hour_ns)), map().now());
        assert_eq!(map().arrival(Some(realtime_ns - hour_ns)), map().now());
        assert_eq!(map().arrival(None), map().now());
    }

    #[test]
    fn the_clock_goes_forward_and_agrees_with_instants() {
        let zero = Clock::instant_of_zero();
        let before = Clock::now();
        let by_instant = Micros(u64::try_from(zero.elapsed().as_micros()).unwrap());
        let after = Clock::now();
        assert!(before <= after);
        // Two readings of one clock, each truncated to microseconds.
        assert!(by_instant.plus_us(2) >= before && by_instant <= after.plus_us(2));
    }
}
