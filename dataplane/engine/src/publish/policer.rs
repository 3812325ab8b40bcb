//! What a session may publish: a bucket of bytes that fills at its ceiling (security.md R10). It is emptied by
//! packets that authenticated and by nothing else, so nobody can use up another's.

use crate::limits::{
    INGRESS_BPS_DEFAULT, INGRESS_BURST_BITS_MAX, INGRESS_BURST_US, INGRESS_PACKET_BYTES_MIN,
};
use crate::time::Micros;

/// The policer of one session.
#[derive(Debug)]
pub(crate) struct Policer {
    bps_max: u64,
    /// Millionths of a bit, so that nothing is lost to rounding.
    level: u64,
    filled_at: Micros,
}

impl Policer {
    /// A full bucket with a ceiling in bit/s; `None` is [`INGRESS_BPS_DEFAULT`].
    pub(crate) fn new(now: Micros, bps_max: Option<u64>) -> Policer {
        let mut policer = Policer {
            bps_max: 0,
            level: 0,
            filled_at: now,
        };
        policer.set_ceiling(bps_max);
        policer.level = policer.level_max();
        policer
    }

    /// Follows a changed ceiling.
    pub(crate) fn set_ceiling(&mut self, bps_max: Option<u64>) {
        // A terabit a second is no ceiling, and keeps the arithmetic below 2^64.
        self.bps_max = bps_max
            .unwrap_or(INGRESS_BPS_DEFAULT)
            .min(1_000_000_000_000);
        self.level = self.level.min(self.level_max());
    }

    /// Whether a packet of `bytes` is within the ceiling; then it counts.
    pub(crate) fn admits(&mut self, now: Micros, bytes: usize) -> bool {
        let elapsed_us = now.since(self.filled_at).min(INGRESS_BURST_US);
        self.filled_at = now;
        self.level = (self.level + elapsed_us * self.bps_max).min(self.level_max());
        let cost = (bytes as u64).max(INGRESS_PACKET_BYTES_MIN) * 8_000_000;
        match self.level.checked_sub(cost) {
            Some(level) => {
                self.level = level;
                true
            }
            None => false,
        }
    }

    fn level_max(&self) -> u64 {
        (self.bps_max * INGRESS_BURST_US).min(INGRESS_BURST_BITS_MAX * 1_000_000)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Packets of `bytes` admitted within one second of `pps`, from a full bucket.
    fn admitted(policer: &mut Policer, second: u64, pps: u64, bytes: usize) -> u64 {
        (0..pps)
            .filter(|n| policer.admits(Micros(second * 1_000_000 + n * 1_000_000 / pps), bytes))
            .count() as u64
    }

    #[test]
    fn a_flood_is_cut_to_the_ceiling_within_a_second() {
        let mut policer = Policer::new(Micros::ZERO, Some(4_000_000));
        let first = admitted(&mut policer, 0, 20_000, 1_250) * 10_000;
        assert!(
            (5_900_000..=6_100_000).contains(&first),
            "{first} bits: a burst and a second"
        );
        let second = admitted(&mut policer, 1, 20_000, 1_250) * 10_000;
        assert!((3_950_000..=4_050_000).contains(&second), "{second} bits");
    }

    #[test]
    fn whoever_stays_below_loses_nothing() {
        let mut policer = Policer::new(Micros::ZERO, Some(4_000_000));
        for second in 0..10 {
            assert_eq!(admitted(&mut policer, second, 390, 1_250), 390);
        }
    }

    #[test]
    fn small_packets_cost_what_their_handling_costs() {
        let mut policer = Policer::new(Micros::ZERO, None);
        admitted(&mut policer, 0, 200_000, 40);
        let second = admitted(&mut policer, 1, 200_000, 40);
        let most = INGRESS_BPS_DEFAULT / 8 / INGRESS_PACKET_BYTES_MIN;
        assert!((most - 10..=most + 10).contains(&second), "{second}");
    }

    #[test]
    fn a_lowered_ceiling_holds_at_once() {
        let mut policer = Policer::new(Micros::ZERO, Some(8_000_000));
        policer.set_ceiling(Some(1_000_000));
        let bits = admitted(&mut policer, 0, 1_000, 1_250) * 10_000;
        assert!(bits <= 1_510_000, "{bits}");
    }
}
