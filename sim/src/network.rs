//! What happens to a datagram between two ends, by seed.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::net::SocketAddr;

use dataplane_engine::time::Micros;
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};

/// Faults of every link of a world, each way.
#[derive(Clone, Copy, Debug)]
pub struct Conditions {
    /// One-way delay.
    pub delay_us: u64,
    /// Added to the delay, uniformly from zero; more than a packet's spacing reorders.
    pub jitter_us: u64,
    /// Share of datagrams lost, per mille.
    pub loss_per_mille: u32,
    /// Share delivered twice, per mille.
    pub duplicate_per_mille: u32,
    /// Share with one flipped bit, per mille.
    pub corrupt_per_mille: u32,
}

impl Conditions {
    /// A good wire: 5 ms and nothing else.
    pub const CLEAN: Conditions = Conditions {
        delay_us: 5_000,
        jitter_us: 0,
        loss_per_mille: 0,
        duplicate_per_mille: 0,
        corrupt_per_mille: 0,
    };
}

/// A datagram on its way.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Delivery {
    /// From whom.
    pub from: SocketAddr,
    /// To whom.
    pub to: SocketAddr,
    /// Its bytes, perhaps damaged.
    pub bytes: Vec<u8>,
}

#[derive(Debug, PartialEq, Eq)]
struct Scheduled {
    at: Micros,
    order: u64,
    delivery: Delivery,
}

impl Ord for Scheduled {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        (self.at, self.order).cmp(&(other.at, other.order))
    }
}

impl PartialOrd for Scheduled {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

/// Every datagram on its way, earliest first.
#[derive(Debug)]
pub struct Network {
    /// May be changed at any time; holds for what is sent from then on.
    pub conditions: Conditions,
    rng: StdRng,
    order: u64,
    heap: BinaryHeap<Reverse<Scheduled>>,
}

impl Network {
    /// A network whose faults follow from `seed`.
    #[must_use]
    pub fn new(seed: u64, conditions: Conditions) -> Network {
        Network {
            conditions,
            rng: StdRng::seed_from_u64(seed),
            order: 0,
            heap: BinaryHeap::new(),
        }
    }

    /// Sends a datagram on its way, or loses it.
    pub fn send(&mut self, now: Micros, mut delivery: Delivery) {
        let conditions = self.conditions;
        if self.one_in(conditions.loss_per_mille) {
            return;
        }
        if self.one_in(conditions.corrupt_per_mille) && !delivery.bytes.is_empty() {
            let bit = self.rng.random_range(0..delivery.bytes.len() * 8);
            delivery.bytes[bit / 8] ^= 1 << (bit % 8);
        }
        if self.one_in(conditions.duplicate_per_mille) {
            self.schedule(now, delivery.clone());
        }
        self.schedule(now, delivery);
    }

    /// When the next datagram arrives.
    #[must_use]
    pub fn next_arrival(&self) -> Option<Micros> {
        self.heap.peek().map(|Reverse(scheduled)| scheduled.at)
    }

    /// Takes one datagram that has arrived by `now`.
    pub fn arrive(&mut self, now: Micros) -> Option<Delivery> {
        if self.next_arrival()? > now {
            return None;
        }
        self.heap.pop().map(|Reverse(scheduled)| scheduled.delivery)
    }

    fn schedule(&mut self, now: Micros, delivery: Delivery) {
        let jitter_us = match self.conditions.jitter_us {
            0 => 0,
            most => self.rng.random_range(0..=most),
        };
        self.order += 1;
        self.heap.push(Reverse(Scheduled {
            at: now.plus_us(self.conditions.delay_us + jitter_us),
            order: self.order,
            delivery,
        }));
    }

    fn one_in(&mut self, per_mille: u32) -> bool {
        per_mille > 0 && self.rng.random_range(0..1_000) < per_mille
    }
}
