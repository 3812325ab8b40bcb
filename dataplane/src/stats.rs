//! What a shard's thread measures beside the engine's and the edge's counters, and the slot into which
//! it copies all of it once a second.

use std::sync::{Mutex, PoisonError};

use dataplane_engine::shard::Population;
use dataplane_engine::stats::Counters;
use dataplane_net::EdgeCounters;

/// Upper bounds of the turn histogram in microseconds. A turn longer than the linger (2 ms) delays
/// somebody.
pub const TURN_BOUNDS_US: [u64; 10] = [25, 50, 100, 250, 500, 1_000, 2_000, 5_000, 10_000, 50_000];

/// How long turns took.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Turns {
    /// Turns up to each of [`TURN_BOUNDS_US`], each counted once.
    pub counts: [u64; TURN_BOUNDS_US.len()],
    /// Turns beyond the last bound.
    pub beyond: u64,
    /// Microseconds of all turns.
    pub sum_us: u64,
}

impl Turns {
    /// Counts a turn that worked for `us` microseconds after its wait.
    pub fn record(&mut self, us: u64) {
        self.sum_us += us;
        match TURN_BOUNDS_US.iter().position(|&bound| us <= bound) {
            Some(index) => self.counts[index] += 1,
            None => self.beyond += 1,
        }
    }

    /// All turns.
    #[must_use]
    pub fn total(&self) -> u64 {
        self.counts.iter().sum::<u64>() + self.beyond
    }
}

/// Messages that found a ring full.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct RingDrops {
    /// DTLS records for the handshake worker.
    pub records: u64,
    /// Checks for other shards.
    pub handovers: u64,
}

/// Everything a shard shows, as of its last copy.
#[derive(Clone, Debug, Default)]
pub struct Sample {
    /// The engine's totals.
    pub engine: Counters,
    /// The edge's totals.
    pub edge: EdgeCounters,
    /// Datagrams the kernel dropped because the receive buffer was full.
    pub kernel_drops: u64,
    /// Local addresses on which segmented sends are off.
    pub unsegmented: Vec<String>,
    /// How long turns took.
    pub turns: Turns,
    /// Messages that found a ring full.
    pub rings: RingDrops,
    /// What the shard holds.
    pub population: Population,
}

/// Where a shard leaves its sample and the ops port finds it.
#[derive(Debug, Default)]
pub struct Slot(Mutex<Sample>);

impl Slot {
    /// Leaves a sample. A shard waits for nobody: while the slot is being read, this second is skipped.
    pub fn publish(&self, sample: Sample) {
        match self.0.try_lock() {
            Ok(mut slot) => *slot = sample,
            Err(std::sync::TryLockError::Poisoned(poisoned)) => *poisoned.into_inner() = sample,
            Err(std::sync::TryLockError::WouldBlock) => {}
        }
    }

    /// The last sample.
    #[must_use]
    pub fn read(&self) -> Sample {
        self.0
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_turn_is_counted_in_the_first_bound_that_holds_it() {
        let mut turns = Turns::default();
        for us in [0, 25, 26, 1_000, 50_000, 50_001] {
            turns.record(us);
        }
        assert_eq!(turns.counts, [2, 1, 0, 0, 0, 1, 0, 0, 0, 1]);
        assert_eq!((turns.beyond, turns.total()), (1, 6));
        assert_eq!(turns.sum_us, 101_052);
    }
}
