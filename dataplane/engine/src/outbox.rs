//! The seam between the engine and the edge: the edge lends bytes, the engine writes ciphertext into
//! them.
//!
//! The engine decides order, runs, padding and flush deadlines; the edge decides system calls. A *run*
//! is one destination's packets of equal length (the last may be shorter), which the edge may send as
//! one segmented message (`UDP_SEGMENT`).

use crate::packet::{Path, PathKind};
use crate::time::Micros;

/// What the edge can do on one path right now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Egress {
    /// Longest run in packets; 1 where segmentation is off for this path, and then no packet is padded.
    pub segments_max: u16,
    /// Longest run in bytes.
    pub run_bytes_max: u32,
    /// Bytes the carrier adds to each packet (IP, UDP, framing); enters the bandwidth estimate.
    pub overhead_bytes: u16,
    /// What carries this path.
    pub kind: PathKind,
}

/// Names a committed run until the edge has reported its completion. Within a shard's edge each is greater
/// than the one committed before it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RunId(pub u64);

/// A committed run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Sent {
    /// Comes back in [`SendFailed`] when the run could not be sent.
    pub run: RunId,
    /// The send time of every packet of the run, read once.
    pub at: Micros,
}

/// Why a run did not leave.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SendFailure {
    /// The socket's send buffer is full: the run was dropped.
    WouldBlock,
    /// The kernel refused it (unreachable, permission, device error).
    Refused,
    /// A packet is larger than the route allows even unsegmented.
    TooLarge,
}

/// A run that did not leave. The edge reports it before the next turn; its packets count as
/// dropped(send) and as never sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SendFailed {
    /// The path of the run.
    pub path: Path,
    /// Which run.
    pub run: RunId,
    /// How many of its packets did not leave, counted from the run's end: the first packets may have
    /// been resent unsegmented and left.
    pub packets: u16,
    /// Why.
    pub kind: SendFailure,
}

/// The sending half of an edge, as the engine sees it.
pub trait Outbox {
    /// One run under construction.
    type Run<'a>: Run
    where
        Self: 'a;

    /// What can be sent on `path` in one run.
    fn egress(&self, path: &Path) -> Egress;

    /// Lends space for `count` packets of at most `segment_len` bytes each. `None` when every slab is
    /// still with the kernel: the packets then count as dropped(send).
    ///
    /// `count` and `segment_len * count` must be within [`Outbox::egress`] of the same path.
    fn run(&mut self, path: &Path, segment_len: usize, count: usize) -> Option<Self::Run<'_>>;
}

/// Bytes lent for one run. Dropping it without [`Run::commit`] sends nothing.
pub trait Run {
    /// The next packet of the run: exactly `len` bytes to fill. Every packet but the last has the run's
    /// segment length; the last may be shorter, never longer (a longer last segment is cut wrong
    /// silently by the kernel), which the edge asserts.
    fn slot(&mut self, len: usize) -> &mut [u8];

    /// Queues the packets filled so far for sending, and says when that was.
    fn commit(self) -> Sent;
}
