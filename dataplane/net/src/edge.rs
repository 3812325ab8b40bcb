//! What every edge does, and what it may be told when it is opened.

use std::fmt;
use std::io;
use std::net::IpAddr;

use dataplane_engine::outbox::{Outbox, SendFailed};
use dataplane_engine::packet::Datagram;
use dataplane_engine::time::Micros;

use crate::counters::EdgeCounters;
use crate::mmsg::MmsgEdge;
use crate::socket::ShardSockets;
use crate::uring::UringEdge;
use crate::wake::Waker;

/// UDP in and out for one shard. The thread that opens an edge is the one that uses it.
///
/// The sending half is [`Outbox`]; the order of a turn is on the crate's front page.
pub trait Edge: Outbox {
    /// Waits until a datagram can be read, another thread wakes, a send failure waits to be reported, or
    /// `deadline` has passed. Without a deadline it waits as long as it takes; with one in the past it
    /// only looks. It may also return early, with nothing to do.
    ///
    /// # Errors
    /// The kernel refuses to wait, receive or send at all. The edge is of no more use.
    fn wait(&mut self, deadline: Option<Micros>) -> Result<Turn, EdgeError>;

    /// The next datagram of this turn. Its bytes are valid until the next call.
    fn next_datagram(&mut self) -> Option<Datagram<'_>>;

    /// The next run that did not leave. Each is reported once, in the order of the runs of a submit.
    fn next_failure(&mut self) -> Option<SendFailed>;

    /// Hands the committed runs to the kernel. Runs also leave earlier when the slab is full, in the
    /// order of their commits.
    ///
    /// # Errors
    /// The kernel refuses to send at all (not: a send). The edge is of no more use.
    fn submit(&mut self) -> Result<(), EdgeError>;

    /// Gives the receive buffers of this turn back to the kernel.
    fn end_turn(&mut self);

    /// Totals since the edge was opened.
    fn counters(&self) -> &EdgeCounters;

    /// Datagrams the kernel dropped because a socket's receive buffer was full, since the sockets were
    /// bound. Asks the kernel, so not for every turn.
    fn kernel_drops(&self) -> u64;

    /// Local addresses on which segmented sends are switched off now. For metrics, not for every turn.
    fn unsegmented_addresses(&self) -> Vec<IpAddr>;

    /// Which edge this is.
    fn kind(&self) -> EdgeKind;
}

/// What a wait found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Turn {
    /// The time after the wait: the time of the whole turn.
    pub now: Micros,
    /// Datagrams that [`Edge::next_datagram`] will give at most.
    pub datagrams: usize,
    /// Whether another thread woke the edge: its mailbox has something.
    pub woken: bool,
}

/// The two edges.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum EdgeKind {
    /// One io_uring a shard.
    Uring,
    /// `recvmmsg` and `sendmmsg`.
    Mmsg,
}

impl EdgeKind {
    /// The name in configuration, logs and metrics.
    #[must_use]
    pub fn label(self) -> &'static str {
        match self {
            EdgeKind::Uring => "uring",
            EdgeKind::Mmsg => "mmsg",
        }
    }
}

impl fmt::Display for EdgeKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.label())
    }
}

/// Sizes of an edge. The default is what a node runs with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct EdgeConfig {
    /// Receive buffers of the ring, a power of two up to 32,768. The `mmsg` edge receives at most an
    /// eighth of it a socket and turn.
    pub receive_buffers: u16,
    /// Send memory. A turn that needs more submits in between.
    pub slab_bytes: usize,
    /// Most runs in one submit.
    pub sends: usize,
}

impl Default for EdgeConfig {
    fn default() -> EdgeConfig {
        EdgeConfig {
            receive_buffers: 2_048,
            // 16 runs of the longest kind; small enough to stay in the L2 cache.
            slab_bytes: 16 * 64 * 1_024,
            sends: 512,
        }
    }
}

/// An edge that cannot be opened, or can work no longer.
#[derive(Debug, thiserror::Error)]
pub enum EdgeError {
    /// A step of setting the edge up failed.
    #[error("{step}: {source}")]
    Open {
        /// The system call.
        step: &'static str,
        /// What the kernel answered.
        source: io::Error,
    },
    /// Waiting failed.
    #[error("cannot wait for datagrams: {0}")]
    Wait(#[source] io::Error),
    /// Receiving failed again and again.
    #[error("cannot receive datagrams: {0}")]
    Receive(#[source] io::Error),
    /// Submitting failed as a whole.
    #[error("cannot submit sends: {0}")]
    Submit(#[source] io::Error),
}

/// An open edge of either kind. It has no `Edge` of its own: match once and run the shard's loop with
/// the edge inside, so that the loop is compiled for each and no packet pays for the choice.
#[derive(Debug)]
#[expect(
    clippy::large_enum_variant,
    reason = "one a shard, moved once, when it is opened"
)]
pub enum AnyEdge {
    /// The ring.
    Uring(UringEdge),
    /// The fallback.
    Mmsg(MmsgEdge),
}

impl AnyEdge {
    /// Opens an edge on the calling thread, which is the one that has to use it.
    ///
    /// # Errors
    /// The kernel refused a step; the error names it.
    pub fn open(
        kind: EdgeKind,
        sockets: ShardSockets,
        waker: Waker,
        config: EdgeConfig,
    ) -> Result<AnyEdge, EdgeError> {
        match kind {
            EdgeKind::Uring => UringEdge::open(sockets, waker, config).map(AnyEdge::Uring),
            EdgeKind::Mmsg => MmsgEdge::open(sockets, waker, config).map(AnyEdge::Mmsg),
        }
    }
}
