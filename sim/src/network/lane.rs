//! One direction of one link: its conditions, its own dice, and what it holds back.

use std::collections::VecDeque;

use dataplane_engine::time::Micros;
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};

use super::conditions::Conditions;
use super::{Delivery, Faults};

/// An overtaken datagram arrives after this at the latest, whether anything overtook it or not.
const HELD_US_MAX: u64 = 100_000;

/// A datagram that waits to be overtaken.
#[derive(Debug)]
struct Held {
    /// Arrives together with the datagram of this number.
    with: u64,
    by: Micros,
    delivery: Delivery,
}

/// One direction of one link.
#[derive(Debug)]
pub(super) struct Lane {
    pub(super) conditions: Conditions,
    /// Its own, so that what happens on one link does not depend on what another one carries.
    rng: StdRng,
    in_burst: bool,
    /// When the bottleneck has sent all that waits in front of it.
    busy_until: Micros,
    datagrams: u64,
    held: VecDeque<Held>,
}

impl Lane {
    pub(super) fn new(seed: u64, conditions: Conditions) -> Lane {
        Lane {
            conditions,
            rng: StdRng::seed_from_u64(seed),
            in_burst: false,
            busy_until: Micros::ZERO,
            datagrams: 0,
            held: VecDeque::new(),
        }
    }

    /// Takes a datagram and appends what arrives because of it, each with its time of arrival.
    pub(super) fn send(
        &mut self,
        now: Micros,
        mut delivery: Delivery,
        faults: &mut Faults,
        arrivals: &mut Vec<(Micros, Delivery)>,
    ) {
        let conditions = self.conditions;
        self.datagrams += 1;
        if conditions.blackout {
            faults.blacked_out += 1;
            return;
        }
        if conditions
            .mtu_bytes
            .is_some_and(|most| delivery.bytes.len() > most)
        {
            faults.too_long += 1;
            return;
        }
        if self.is_in_burst() {
            faults.lost_in_bursts += 1;
            return;
        }
        if self.one_in(conditions.loss_per_mille) {
            faults.lost += 1;
            return;
        }
        let Some(left_at) = self.pass_bottleneck(now, delivery.bytes.len() as u64) else {
            faults.queue_full += 1;
            return;
        };
        if self.one_in(conditions.corrupt_per_mille) && !delivery.bytes.is_empty() {
            faults.corrupted += 1;
            let bit = self.rng.random_range(0..delivery.bytes.len() * 8);
            delivery.bytes[bit / 8] ^= 1 << (bit % 8);
        }
        if self.one_in(conditions.duplicate_per_mille) {
            faults.duplicated += 1;
            let at = self.arrival(left_at);
            arrivals.push((at, delivery.clone()));
        }
        let at = self.arrival(left_at);
        if conditions.reorder_depth > 0 && self.one_in(conditions.reorder_per_mille) {
            faults.reordered += 1;
            self.held.push_back(Held {
                with: self.datagrams + u64::from(conditions.reorder_depth),
                by: at.plus_us(HELD_US_MAX),
                delivery,
            });
        } else {
            arrivals.push((at, delivery));
        }
        self.release(at, arrivals);
    }

    /// Until when the datagram that waits longest waits.
    pub(super) fn next_deadline(&self) -> Option<Micros> {
        self.held.iter().map(|held| held.by).min()
    }

    /// Lets go what waited too long.
    pub(super) fn on_timeout(&mut self, now: Micros, arrivals: &mut Vec<(Micros, Delivery)>) {
        while let Some(position) = self.held.iter().position(|held| held.by <= now) {
            if let Some(held) = self.held.remove(position) {
                arrivals.push((now, held.delivery));
            }
        }
    }

    fn release(&mut self, at: Micros, arrivals: &mut Vec<(Micros, Delivery)>) {
        let datagrams = self.datagrams;
        while let Some(position) = self.held.iter().position(|held| held.with <= datagrams) {
            if let Some(held) = self.held.remove(position) {
                arrivals.push((at.plus_us(1), held.delivery));
            }
        }
    }

    fn is_in_burst(&mut self) -> bool {
        let Some(burst) = self.conditions.burst else {
            self.in_burst = false;
            return false;
        };
        let changes_ppm = if self.in_burst {
            burst.ends_ppm()
        } else {
            burst.begins_ppm()
        };
        if self.rng.random_range(0..1_000_000) < changes_ppm {
            self.in_burst = !self.in_burst;
        }
        self.in_burst
    }

    /// When the datagram has passed the bottleneck; `None` when the queue in front of it is full.
    fn pass_bottleneck(&mut self, now: Micros, bytes: u64) -> Option<Micros> {
        let Some(rate) = self.conditions.rate else {
            return Some(now);
        };
        let bps = rate.bps.max(1);
        let waiting_bytes = self.busy_until.since(now) * bps / 8_000_000;
        if waiting_bytes + bytes > rate.queue_bytes {
            return None;
        }
        self.busy_until = self
            .busy_until
            .max(now)
            .plus_us((bytes * 8_000_000).div_ceil(bps));
        Some(self.busy_until)
    }

    fn arrival(&mut self, left_at: Micros) -> Micros {
        let jitter_us = match self.conditions.jitter_us {
            0 => 0,
            most => self.rng.random_range(0..=most),
        };
        left_at.plus_us(self.conditions.delay_us + jitter_us)
    }

    fn one_in(&mut self, per_mille: u32) -> bool {
        per_mille > 0 && self.rng.random_range(0..1_000) < per_mille
    }
}

#[cfg(test)]
mod tests {
    use super::super::{Burst, Rate};
    use super::*;

    fn delivery(n: u64, len: usize) -> Delivery {
        let mut bytes = vec![0; len];
        bytes[..8].copy_from_slice(&n.to_be_bytes());
        Delivery {
            from: ([192, 0, 2, 1], 1).into(),
            to: ([192, 0, 2, 2], 2).into(),
            bytes,
        }
    }

    fn number(delivery: &Delivery) -> u64 {
        u64::from_be_bytes(delivery.bytes[..8].try_into().expect("eight bytes"))
    }

    /// Numbers in order of arrival of `datagrams` sent a millisecond apart.
    fn arrive(conditions: Conditions, datagrams: u64) -> (Vec<u64>, Faults) {
        let mut lane = Lane::new(7, conditions);
        let (mut faults, mut arrivals) = (Faults::default(), Vec::new());
        for n in 0..datagrams {
            let now = Micros::ZERO.plus_ms(n);
            lane.send(now, delivery(n, 100), &mut faults, &mut arrivals);
        }
        lane.on_timeout(Micros(u64::MAX), &mut arrivals);
        arrivals.sort_by_key(|&(at, _)| at);
        (arrivals.iter().map(|(_, d)| number(d)).collect(), faults)
    }

    #[test]
    fn bursts_lose_their_share_in_runs_of_their_mean_length() {
        let burst = Some(Burst {
            loss_per_mille: 100,
            mean_datagrams: 8,
        });
        let (arrived, faults) = arrive(
            Conditions {
                burst,
                ..Conditions::CLEAN
            },
            100_000,
        );
        let runs = arrived.windows(2).filter(|w| w[1] != w[0] + 1).count() as u64;
        assert!(
            (9_000..11_000).contains(&faults.lost_in_bursts),
            "{faults:?}"
        );
        let mean = faults.lost_in_bursts / runs;
        assert!((7..=9).contains(&mean), "bursts of {mean}");
    }

    #[test]
    fn an_overtaken_datagram_arrives_behind_as_many_as_overtake_it() {
        let (arrived, faults) = arrive(
            Conditions {
                reorder_per_mille: 20,
                reorder_depth: 20,
                ..Conditions::CLEAN
            },
            10_000,
        );
        assert_eq!(arrived.len(), 10_000, "none is lost");
        assert!((120..280).contains(&faults.reordered), "{faults:?}");
        let late: Vec<u64> = (0u64..)
            .zip(&arrived)
            .filter_map(|(place, &n)| place.checked_sub(n))
            .filter(|&late| late > 2)
            .collect();
        assert!(late.iter().all(|late| (15..=21).contains(late)), "{late:?}");
    }

    #[test]
    fn a_bottleneck_spaces_what_fits_its_queue_and_drops_the_rest() {
        let rate = Some(Rate {
            bps: 80_000,
            queue_bytes: 1_000,
        });
        let mut lane = Lane::new(
            7,
            Conditions {
                rate,
                delay_us: 0,
                ..Conditions::CLEAN
            },
        );
        let (mut faults, mut arrivals) = (Faults::default(), Vec::new());
        for n in 0..20 {
            lane.send(Micros::ZERO, delivery(n, 100), &mut faults, &mut arrivals);
        }
        let times: Vec<u64> = arrivals.iter().map(|(at, _)| at.0).collect();
        assert_eq!(times, (1..=10).map(|n| n * 10_000).collect::<Vec<_>>());
        assert_eq!(faults.queue_full, 10);
    }

    #[test]
    fn what_is_longer_than_the_mtu_or_in_a_blackout_is_gone() {
        let (arrived, faults) = arrive(
            Conditions {
                mtu_bytes: Some(99),
                ..Conditions::CLEAN
            },
            10,
        );
        assert_eq!((arrived.len(), faults.too_long), (0, 10));
        let (arrived, faults) = arrive(
            Conditions {
                blackout: true,
                ..Conditions::CLEAN
            },
            10,
        );
        assert_eq!((arrived.len(), faults.blacked_out), (0, 10));
    }

    #[test]
    fn a_damaged_datagram_differs_in_one_bit() {
        let mut lane = Lane::new(
            7,
            Conditions {
                corrupt_per_mille: 1_000,
                ..Conditions::CLEAN
            },
        );
        let (mut faults, mut arrivals) = (Faults::default(), Vec::new());
        lane.send(Micros::ZERO, delivery(0, 100), &mut faults, &mut arrivals);
        let bits: u32 = arrivals[0].1.bytes.iter().map(|b| b.count_ones()).sum();
        assert_eq!((bits, faults.corrupted), (1, 1));
    }
}
