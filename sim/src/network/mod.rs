//! What happens to a datagram between a peer and the node, by seed: every peer has a link, every link two
//! directions, and each direction its own conditions, which may change at any time.

mod conditions;
mod lane;

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::net::SocketAddr;
use std::ops::AddAssign;

use dataplane_engine::time::Micros;

pub use conditions::{Burst, Conditions, Rate};
use lane::Lane;

/// Datagrams are received in batches, as a shard that was busy finds them: times of arrival are multiples of
/// this.
const BATCH_US: u64 = 500;

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

/// Names the link of one peer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LinkId(usize);

/// A direction of a link.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Way {
    /// From the peer to the node.
    Up,
    /// From the node to the peer.
    Down,
}

impl Way {
    /// Both directions.
    pub const BOTH: [Way; 2] = [Way::Up, Way::Down];
}

/// How often each fault happened.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Faults {
    /// Datagrams lost by themselves.
    pub lost: u64,
    /// Datagrams lost in bursts.
    pub lost_in_bursts: u64,
    /// Datagrams that a full queue dropped.
    pub queue_full: u64,
    /// Datagrams longer than the link lets through.
    pub too_long: u64,
    /// Datagrams lost because nothing passed.
    pub blacked_out: u64,
    /// Datagrams overtaken.
    pub reordered: u64,
    /// Datagrams delivered twice.
    pub duplicated: u64,
    /// Datagrams damaged.
    pub corrupted: u64,
}

impl Faults {
    /// All of them.
    #[must_use]
    pub fn total(&self) -> u64 {
        self.lost
            + self.lost_in_bursts
            + self.queue_full
            + self.too_long
            + self.blacked_out
            + self.reordered
            + self.duplicated
            + self.corrupted
    }
}

impl AddAssign for Faults {
    fn add_assign(&mut self, other: Faults) {
        self.lost += other.lost;
        self.lost_in_bursts += other.lost_in_bursts;
        self.queue_full += other.queue_full;
        self.too_long += other.too_long;
        self.blacked_out += other.blacked_out;
        self.reordered += other.reordered;
        self.duplicated += other.duplicated;
        self.corrupted += other.corrupted;
    }
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

/// Every link, and every datagram on its way, earliest first.
#[derive(Debug)]
pub struct Network {
    seed: u64,
    /// Of the links to come.
    conditions: Conditions,
    links: Vec<[Lane; 2]>,
    order: u64,
    heap: BinaryHeap<Reverse<Scheduled>>,
    faults: Faults,
    arrivals: Vec<(Micros, Delivery)>,
}

impl Network {
    /// A network without links whose faults follow from `seed`.
    #[must_use]
    pub fn new(seed: u64, conditions: Conditions) -> Network {
        Network {
            seed,
            conditions,
            links: Vec::new(),
            order: 0,
            heap: BinaryHeap::new(),
            faults: Faults::default(),
            arrivals: Vec::new(),
        }
    }

    /// A link for one more peer.
    pub fn add_link(&mut self) -> LinkId {
        let number = self.links.len() as u64;
        // Odd factors keep the seeds of two lanes of two worlds apart.
        let seed = |way: u64| {
            self.seed.wrapping_mul(0x9e37_79b9_7f4a_7c15)
                ^ (number * 2 + way).wrapping_mul(0xd134_2543_de82_ef95)
        };
        let lanes = [
            Lane::new(seed(0), self.conditions),
            Lane::new(seed(1), self.conditions),
        ];
        self.links.push(lanes);
        LinkId(self.links.len() - 1)
    }

    /// Gives every link both ways, now and to come, the same conditions. They hold for what is sent from
    /// then on.
    pub fn set(&mut self, conditions: Conditions) {
        self.conditions = conditions;
        for lane in self.links.iter_mut().flatten() {
            lane.conditions = conditions;
        }
    }

    /// Changes the conditions of one direction of one link.
    pub fn change(&mut self, link: LinkId, way: Way, change: impl FnOnce(&mut Conditions)) {
        change(&mut self.links[link.0][way as usize].conditions);
    }

    /// Changes the conditions of every link, now and to come, both ways.
    pub fn change_all(&mut self, change: impl Fn(&mut Conditions)) {
        change(&mut self.conditions);
        for lane in self.links.iter_mut().flatten() {
            change(&mut lane.conditions);
        }
    }

    /// What happened so far.
    #[must_use]
    pub fn faults(&self) -> Faults {
        self.faults
    }

    /// Sends a datagram on its way, or loses it.
    pub fn send(&mut self, now: Micros, link: LinkId, way: Way, delivery: Delivery) {
        let lane = &mut self.links[link.0][way as usize];
        lane.send(now, delivery, &mut self.faults, &mut self.arrivals);
        self.schedule();
    }

    /// When the next datagram arrives.
    #[must_use]
    pub fn next_arrival(&self) -> Option<Micros> {
        let held = self.links.iter().flatten().filter_map(Lane::next_deadline);
        let scheduled = self.heap.peek().map(|Reverse(scheduled)| scheduled.at);
        held.chain(scheduled).min()
    }

    /// Takes one datagram that has arrived by `now`.
    pub fn arrive(&mut self, now: Micros) -> Option<Delivery> {
        for lane in self.links.iter_mut().flatten() {
            lane.on_timeout(now, &mut self.arrivals);
        }
        self.schedule();
        let Reverse(next) = self.heap.peek()?;
        if next.at > now {
            return None;
        }
        self.heap.pop().map(|Reverse(scheduled)| scheduled.delivery)
    }

    fn schedule(&mut self) {
        for (at, delivery) in self.arrivals.drain(..) {
            self.order += 1;
            self.heap.push(Reverse(Scheduled {
                at: Micros(at.0.next_multiple_of(BATCH_US)),
                order: self.order,
                delivery,
            }));
        }
    }
}
