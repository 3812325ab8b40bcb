//! The rings between threads: link and shards, shards and the handshake worker, shard and shard.
//!
//! Every ring is bounded. A full ring drops or coalesces and is counted; nobody ever waits for a reader,
//! so a slow thread cannot slow a shard down.
//!
//! ```text
//!            orders, <= ORDERS_IN_FLIGHT_MAX           records, start, close
//!   link  ------------------------------->  shard  ----------------------->  handshake
//!  thread <-------------------------------  thread <-----------------------    worker
//!            replies always fit, events        ^ |       flights, keys
//!            drop into one resync              | v
//!                                         shard: handovers
//! ```

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use crossbeam::channel::{Receiver, Sender, TrySendError, bounded};
use crossbeam::queue::ArrayQueue;
use dataplane_api::ids::{OrderId, ShardIndex};
use dataplane_api::snapshot::Part;
use dataplane_api::{Command, Event, Reply};
use dataplane_engine::shard::Handover;
use dataplane_engine::transport::handshake::{HandshakeInput, HandshakeOutput};
use dataplane_net::Waker;
use tokio::sync::Notify;

/// Orders that may be unanswered by one shard. 512 joins are half a second of a join storm.
pub const ORDERS_IN_FLIGHT_MAX: usize = 512;

/// Events a shard may be ahead of the link thread.
const EVENTS_MAX: usize = 4_096;

/// Outputs the handshake worker may be ahead of a shard: a full class joining within one turn.
const HANDSHAKE_OUTPUTS_MAX: usize = 2_048;

/// Inputs all shards together may be ahead of the handshake worker: at 10,000 handshakes/s and two
/// inputs each, 200 ms.
const HANDSHAKE_INPUTS_MAX: usize = 4_096;

/// Datagrams other shards may have handed over to one shard. They are first ICE checks, which repeat.
const HANDOVERS_MAX: usize = 256;

/// Which link connection an order came from, so that an answer never reaches a later control plane.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ConnectionId(pub u64);

impl ConnectionId {
    /// The node itself.
    pub const NODE: ConnectionId = ConnectionId(0);
    /// The ops port: connections are counted from below and never come here.
    pub const OPS: ConnectionId = ConnectionId(u64::MAX);
}

/// Names an order across threads.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Ticket {
    /// Who gave it.
    pub connection: ConnectionId,
    /// Its id on that connection.
    pub order: OrderId,
}

/// What a shard tells the link thread.
#[derive(Debug)]
pub enum Report {
    /// The answer to an order.
    Reply(Ticket, Reply),
    /// The answer to `Snapshot`: everything the shard holds, and the counter of its last event.
    Parts(Ticket, Vec<Part>, u64),
    /// An event with its counter.
    Event(u64, Event),
}

/// What the link thread and the ops port may know of a shard without asking it.
#[derive(Debug, Default)]
pub struct ShardHealth {
    ended: AtomicBool,
    lost_up_to: AtomicU64,
    measurements_lost: AtomicU64,
}

impl ShardHealth {
    /// The shard's thread has ended, by order or by a panic.
    #[must_use]
    pub fn has_ended(&self) -> bool {
        self.ended.load(Ordering::Acquire)
    }

    pub(crate) fn end(&self) {
        self.ended.store(true, Ordering::Release);
    }

    /// Counter of the newest state event that found the ring to the link thread full; 0 when none did.
    #[must_use]
    pub fn lost_up_to(&self) -> u64 {
        self.lost_up_to.load(Ordering::Acquire)
    }

    /// Measurements that found the ring to the link thread full.
    #[must_use]
    pub fn measurements_lost(&self) -> u64 {
        self.measurements_lost.load(Ordering::Relaxed)
    }
}

/// The rings of one shard.
#[derive(Debug)]
struct Rings {
    orders: ArrayQueue<(Ticket, Command)>,
    reports: ArrayQueue<Report>,
    handshakes: ArrayQueue<HandshakeOutput>,
    handovers: ArrayQueue<Handover>,
    health: Arc<ShardHealth>,
    stop: AtomicBool,
    waker: Waker,
}

/// The link thread's side.
#[derive(Debug)]
pub struct LinkEnd {
    shards: Vec<Arc<Rings>>,
    bell: Arc<Notify>,
}

/// One shard's side.
#[derive(Debug)]
pub struct ShardEnd {
    index: ShardIndex,
    own: Arc<Rings>,
    all: Vec<Arc<Rings>>,
    link: Arc<Notify>,
    handshake: Sender<(ShardIndex, HandshakeInput)>,
}

/// The handshake worker's side.
#[derive(Debug)]
pub struct HandshakeEnd {
    shards: Vec<Arc<Rings>>,
    inputs: Receiver<(ShardIndex, HandshakeInput)>,
}

/// Connects one shard a waker with the link thread, the handshake worker and each other.
#[must_use]
pub fn mesh(wakers: Vec<Waker>) -> (LinkEnd, Vec<ShardEnd>, HandshakeEnd) {
    let rings: Vec<Arc<Rings>> = wakers
        .into_iter()
        .map(|waker| {
            Arc::new(Rings {
                orders: ArrayQueue::new(ORDERS_IN_FLIGHT_MAX),
                reports: ArrayQueue::new(ORDERS_IN_FLIGHT_MAX + EVENTS_MAX),
                handshakes: ArrayQueue::new(HANDSHAKE_OUTPUTS_MAX),
                handovers: ArrayQueue::new(HANDOVERS_MAX),
                health: Arc::default(),
                stop: AtomicBool::new(false),
                waker,
            })
        })
        .collect();
    let bell = Arc::new(Notify::new());
    let (handshake, inputs) = bounded(HANDSHAKE_INPUTS_MAX);
    let shards = (0..=u16::MAX)
        .zip(&rings)
        .map(|(index, own)| ShardEnd {
            index: ShardIndex(index),
            own: Arc::clone(own),
            all: rings.clone(),
            link: Arc::clone(&bell),
            handshake: handshake.clone(),
        })
        .collect();
    (
        LinkEnd {
            shards: rings.clone(),
            bell,
        },
        shards,
        HandshakeEnd {
            shards: rings,
            inputs,
        },
    )
}

impl LinkEnd {
    /// Number of shards, ended ones included.
    #[must_use]
    pub fn shards(&self) -> usize {
        self.shards.len()
    }

    /// Gives an order to a shard; `false` when the shard does not exist or has
    /// [`ORDERS_IN_FLIGHT_MAX`] waiting.
    #[must_use]
    pub fn order(&self, shard: ShardIndex, ticket: Ticket, command: Command) -> bool {
        let Some(rings) = self.shards.get(usize::from(shard.0)) else {
            return false;
        };
        let taken = rings.orders.push((ticket, command)).is_ok();
        if taken {
            rings.waker.wake();
        }
        taken
    }

    /// The next report of a shard.
    #[must_use]
    pub fn report(&self, shard: ShardIndex) -> Option<Report> {
        self.shards.get(usize::from(shard.0))?.reports.pop()
    }

    /// What is known of a shard.
    #[must_use]
    pub fn health(&self, shard: ShardIndex) -> Option<&ShardHealth> {
        self.shards
            .get(usize::from(shard.0))
            .map(|rings| &*rings.health)
    }

    /// What is known of every shard, for other readers.
    #[must_use]
    pub fn healths(&self) -> Vec<Arc<ShardHealth>> {
        self.shards
            .iter()
            .map(|rings| Arc::clone(&rings.health))
            .collect()
    }

    /// Resolves when some shard has reported since the last call.
    pub fn bell(&self) -> Arc<Notify> {
        Arc::clone(&self.bell)
    }

    /// A handle that stops every shard, for the thread that ends the process.
    #[must_use]
    pub fn stopper(&self) -> Stopper {
        Stopper {
            shards: self.shards.clone(),
        }
    }
}

/// Ends the shards.
#[derive(Clone, Debug)]
pub struct Stopper {
    shards: Vec<Arc<Rings>>,
}

impl Stopper {
    /// Asks every shard to end after its current turn.
    pub fn stop(&self) {
        for rings in &self.shards {
            rings.stop.store(true, Ordering::Release);
            rings.waker.wake();
        }
    }
}

impl ShardEnd {
    /// The shard's number.
    #[must_use]
    pub fn index(&self) -> ShardIndex {
        self.index
    }

    /// Whether the process ends.
    #[must_use]
    pub fn must_stop(&self) -> bool {
        self.own.stop.load(Ordering::Acquire)
    }

    /// The next order of the control plane.
    #[must_use]
    pub fn order(&self) -> Option<(Ticket, Command)> {
        self.own.orders.pop()
    }

    /// The next output of the handshake worker.
    #[must_use]
    pub fn handshake(&self) -> Option<HandshakeOutput> {
        self.own.handshakes.pop()
    }

    /// The next datagram another shard received for this one.
    #[must_use]
    pub fn handover(&self) -> Option<Handover> {
        self.own.handovers.pop()
    }

    /// Whether anything waits in a ring to this shard.
    #[must_use]
    pub fn has_mail(&self) -> bool {
        !(self.own.orders.is_empty()
            && self.own.handshakes.is_empty()
            && self.own.handovers.is_empty())
    }

    /// Reports to the link thread; [`ShardEnd::ring`] wakes it. Events never take the room that the
    /// replies to accepted orders need, so a reply always fits.
    pub fn report(&self, report: Report) {
        if let Report::Event(counter, event) = &report
            && self.own.reports.len() >= EVENTS_MAX
        {
            let health = &self.own.health;
            if event.is_state() {
                health.lost_up_to.store(*counter, Ordering::Release);
            } else {
                health.measurements_lost.fetch_add(1, Ordering::Relaxed);
            }
            return;
        }
        self.own
            .reports
            .push(report)
            .expect("invariant: replies in the ring <= orders in flight <= ORDERS_IN_FLIGHT_MAX");
    }

    /// Wakes the link thread.
    pub fn ring(&self) {
        self.link.notify_one();
    }

    /// Hands an input to the handshake worker, or hands it back when the worker is
    /// `HANDSHAKE_INPUTS_MAX` behind.
    ///
    /// # Errors
    /// The input itself.
    pub fn to_handshake(&self, input: HandshakeInput) -> Result<(), HandshakeInput> {
        self.handshake
            .try_send((self.index, input))
            .map_err(|error| match error {
                TrySendError::Full((_, input)) | TrySendError::Disconnected((_, input)) => input,
            })
    }

    /// Hands a datagram to the shard it belongs to; `false` when that shard does not exist or is
    /// `HANDOVERS_MAX` behind.
    #[must_use]
    pub fn hand_over(&self, handover: Handover) -> bool {
        let Some(rings) = self.all.get(usize::from(handover.shard.0)) else {
            return false;
        };
        let taken = rings.handovers.push(handover).is_ok();
        if taken {
            rings.waker.wake();
        }
        taken
    }
}

impl Drop for ShardEnd {
    /// However a shard's thread ends, the link thread learns of it.
    fn drop(&mut self) {
        self.own.health.end();
        self.link.notify_one();
    }
}

impl HandshakeEnd {
    /// What the shards send; disconnected once every shard has ended.
    #[must_use]
    pub fn inputs(&self) -> &Receiver<(ShardIndex, HandshakeInput)> {
        &self.inputs
    }

    /// Hands an output to a shard, or hands it back when the shard is `HANDSHAKE_OUTPUTS_MAX` behind. For
    /// a shard that has ended it is dropped.
    ///
    /// # Errors
    /// The output itself.
    #[expect(
        clippy::result_large_err,
        reason = "it is handed back, not an error that travels"
    )]
    pub fn output(
        &self,
        shard: ShardIndex,
        output: HandshakeOutput,
    ) -> Result<(), HandshakeOutput> {
        // What an ended shard would have done with it matters to nobody; kept, it would never drain.
        let rings = self.shards.get(usize::from(shard.0));
        let Some(rings) = rings.filter(|rings| !rings.health.has_ended()) else {
            return Ok(());
        };
        rings.handshakes.push(output)?;
        rings.waker.wake();
        Ok(())
    }
}
