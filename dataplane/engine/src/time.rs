//! The engine's clock type. The engine never reads a clock: every entry point is told the time.

use std::ops::{Add, AddAssign, Sub};
use std::time::Duration;

/// A point in time: microseconds of `CLOCK_MONOTONIC` in a running node, microseconds since zero in
/// simulation.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Micros(pub u64);

impl Micros {
    /// The beginning of simulated time.
    pub const ZERO: Micros = Micros(0);

    /// Microseconds from `earlier` to `self`; zero when `earlier` is later.
    #[must_use]
    pub fn since(self, earlier: Micros) -> u64 {
        self.0.saturating_sub(earlier.0)
    }

    /// Milliseconds, modulo 2^32: for stored times that are only ever compared with recent ones.
    #[must_use]
    pub fn wrapping_ms(self) -> u32 {
        u32::try_from(self.0 / 1_000 % (1 << 32)).unwrap_or(0)
    }

    /// The time `us` microseconds later, saturating.
    #[must_use]
    pub fn plus_us(self, us: u64) -> Micros {
        Micros(self.0.saturating_add(us))
    }

    /// The time `ms` milliseconds later, saturating.
    #[must_use]
    pub fn plus_ms(self, ms: u64) -> Micros {
        self.plus_us(ms.saturating_mul(1_000))
    }
}

impl Add<Duration> for Micros {
    type Output = Micros;

    fn add(self, rhs: Duration) -> Micros {
        self.plus_us(u64::try_from(rhs.as_micros()).unwrap_or(u64::MAX))
    }
}

impl AddAssign<Duration> for Micros {
    fn add_assign(&mut self, rhs: Duration) {
        *self = *self + rhs;
    }
}

impl Sub<Micros> for Micros {
    type Output = Duration;

    fn sub(self, rhs: Micros) -> Duration {
        Duration::from_micros(self.since(rhs))
    }
}
