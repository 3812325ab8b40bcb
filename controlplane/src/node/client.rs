//! The control plane's end of the link (contracts.md 27).
//!
//! ```text
//! NodeClient --submit--> queue -> writer --.
//!      ^                                    >-- SOCK_SEQPACKET -- data plane
//!      `-- Pending <-- waiting <- reader <-'
//!                          `-> LinkEvent -> rooms::Registry
//! ```
//! `submit` only queues, so that a caller may hold a lock and orders leave in the order of the decisions
//! behind them; the answer is awaited without the lock. When the link is lost, every order that waits
//! fails at once; the link comes back by itself.

use std::future::Future;
use std::path::PathBuf;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;

use dataplane_api::command::Snapshot;
use dataplane_api::event::Hello;
use dataplane_api::ids::{OrderId, ShardIndex};
use dataplane_api::snapshot::Part;
use dataplane_api::{Command, Event, Reply};
use tokio::sync::{mpsc, oneshot, watch};
use tokio::time::{Sleep, sleep, timeout};

use super::link::{self, Connection, LinkState, Outgoing, Waiter};

/// Longest wait for an answer. The data plane answers within a millisecond; a shard that does not is
/// lost, and the person at the other end has waited long enough.
const ORDER_TIMEOUT: Duration = Duration::from_secs(5);

/// Why an order has no answer.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum LinkError {
    /// The link is down, or went down before the answer came. The order may or may not have been done.
    #[error("the link to the data plane is down")]
    Down,
    /// No answer within five seconds.
    #[error("the data plane did not answer in time")]
    Timeout,
    /// The order does not fit a frame: nothing was sent.
    #[error("the order does not fit a frame")]
    TooLarge,
}

/// What comes up the link, in order.
#[derive(Clone, Debug)]
pub enum LinkEvent {
    /// The link is up.
    Up {
        /// What the data plane said of itself.
        hello: Arc<Hello>,
        /// It is the process of the last time: its sessions live, and events may have been missed.
        same_boot: bool,
    },
    /// The link was lost.
    Down,
    /// An event of one shard.
    Event {
        /// Which shard.
        shard: ShardIndex,
        /// That shard's event counter.
        counter: u64,
        /// What happened.
        event: Event,
    },
}

/// A handle to the link; clones share it.
#[derive(Clone, Debug)]
pub struct NodeClient {
    /// Unbounded, because a queue that refuses would lose an order whose decision is already made. What
    /// is in it is bounded by the sessions the data plane admits.
    queue: mpsc::UnboundedSender<Outgoing>,
    state: watch::Receiver<Connection>,
    orders: Arc<AtomicU64>,
}

/// The answer to one order, to be awaited. Dropping it does not recall the order.
#[derive(Debug)]
pub struct Pending {
    reply: Option<oneshot::Receiver<Result<Reply, LinkError>>>,
    deadline: Pin<Box<Sleep>>,
}

impl Future for Pending {
    type Output = Result<Reply, LinkError>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let Some(reply) = &mut self.reply else {
            return Poll::Ready(Err(LinkError::Down));
        };
        if let Poll::Ready(answered) = Pin::new(reply).poll(cx) {
            return Poll::Ready(answered.unwrap_or(Err(LinkError::Down)));
        }
        self.deadline
            .as_mut()
            .poll(cx)
            .map(|()| Err(LinkError::Timeout))
    }
}

impl NodeClient {
    /// Starts to connect to the data plane that listens at `path`, and keeps the link for as long as the
    /// events are read. Needs a tokio runtime.
    #[must_use]
    pub fn start(path: PathBuf) -> (NodeClient, mpsc::UnboundedReceiver<LinkEvent>) {
        let (queue, orders) = mpsc::unbounded_channel();
        let (events_out, events) = mpsc::unbounded_channel();
        let (state_out, state) = watch::channel(Connection {
            number: 0,
            state: LinkState::Down,
        });
        tokio::spawn(link::keep(path, orders, events_out, state_out));
        (
            NodeClient {
                queue,
                state,
                orders: Arc::new(AtomicU64::new(1)),
            },
            events,
        )
    }

    /// Whether the link is up.
    #[must_use]
    pub fn is_up(&self) -> bool {
        matches!(self.state.borrow().state, LinkState::Up(_))
    }

    /// What the data plane said of itself, while the link is up.
    #[must_use]
    pub fn hello(&self) -> Option<Arc<Hello>> {
        match &self.state.borrow().state {
            LinkState::Up(hello) => Some(Arc::clone(hello)),
            LinkState::Down | LinkState::Superseded => None,
        }
    }

    /// Completes when a newer control plane has taken the link over, or the link's task is gone.
    pub async fn superseded(&self) {
        let mut state = self.state.clone();
        let taken = |connection: &Connection| matches!(connection.state, LinkState::Superseded);
        // An error means that the task is gone, which ends the link just as well.
        let _ended = state.wait_for(taken).await.is_err();
    }

    /// Completes when the link is up, with what the data plane said of itself; `None` when it never will
    /// be again.
    pub async fn up(&self) -> Option<Arc<Hello>> {
        let mut state = self.state.clone();
        let settled = |connection: &Connection| !matches!(connection.state, LinkState::Down);
        let connection = state.wait_for(settled).await.ok()?;
        match &connection.state {
            LinkState::Up(hello) => Some(Arc::clone(hello)),
            LinkState::Down | LinkState::Superseded => None,
        }
    }

    /// Queues an order; its answer is awaited with the result.
    pub fn submit(&self, command: Command) -> Pending {
        let (sender, reply) = oneshot::channel();
        let queued = self.enqueue(command, Waiter::Reply(sender));
        Pending {
            reply: queued.then_some(reply),
            deadline: Box::pin(sleep(ORDER_TIMEOUT)),
        }
    }

    /// Gives an order and awaits its answer.
    ///
    /// # Errors
    /// [`LinkError`].
    pub async fn order(&self, command: Command) -> Result<Reply, LinkError> {
        self.submit(command).await
    }

    /// Gives an order whose answer nobody awaits; a refusal is logged.
    pub fn tell(&self, command: Command) {
        self.enqueue(command, Waiter::Nobody);
    }

    /// Everything the data plane holds.
    ///
    /// # Errors
    /// [`LinkError`].
    pub async fn snapshot(&self) -> Result<Vec<Part>, LinkError> {
        let (sender, parts) = oneshot::channel();
        if !self.enqueue(
            Command::Snapshot(Snapshot {}),
            Waiter::Parts(Vec::new(), sender),
        ) {
            return Err(LinkError::Down);
        }
        match timeout(ORDER_TIMEOUT, parts).await {
            Ok(answered) => answered.unwrap_or(Err(LinkError::Down)),
            Err(_) => Err(LinkError::Timeout),
        }
    }

    fn enqueue(&self, command: Command, waiter: Waiter) -> bool {
        let connection = {
            let state = self.state.borrow();
            match state.state {
                LinkState::Up(_) => state.number,
                LinkState::Down | LinkState::Superseded => return false,
            }
        };
        let order = OrderId(self.orders.fetch_add(1, Ordering::Relaxed));
        self.queue
            .send(Outgoing {
                connection,
                order,
                command,
                waiter,
            })
            .is_ok()
    }
}
