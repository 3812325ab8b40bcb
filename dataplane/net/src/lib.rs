//! The edge of a shard: UDP in and out of the kernel, and nothing that knows what a packet means.
//!
//! One shard thread owns one edge, and an edge owns the shard's two sockets (IPv4 and IPv6 on one
//! port). There are two edges behind one trait, [`Edge`]: [`UringEdge`], one io_uring with multishot
//! receive and segmented sends, and [`MmsgEdge`], `recvmmsg` and `sendmmsg`, for hosts that forbid
//! io_uring and as the yardstick the ring is measured against. [`decide`] picks one by really setting a
//! ring up.
//!
//! A turn of a shard thread:
//!
//! ```text
//! wait(next deadline)          blocks; tells the time once for the whole turn
//! next_failure()*              runs of the last turn that did not leave
//! next_datagram()*             what arrived, lent from the receive buffers
//! run() slot()* commit()       the engine seals packets into memory the edge lends
//! submit()                     one system call for all runs
//! end_turn()                   the receive buffers go back to the kernel
//! ```
//!
//! The two edges share everything that is not a system call: runs and the memory they are sealed into,
//! the rules for segmentation that fails, addresses and control messages. After an edge is open it
//! allocates nothing per packet.
//!
//! This is the only package of the node that contains `unsafe`; each block says why it is sound. It is
//! written for Linux: io_uring, `UDP_SEGMENT` and `IP_PKTINFO` on send have no portable counterpart.

pub mod addresses;
pub mod affinity;
mod clock;
mod control;
mod counters;
mod edge;
mod gso;
mod message;
mod mmsg;
mod outgoing;
mod probe;
pub mod rlimit;
mod sockaddr;
mod socket;
mod uring;
mod wake;

pub use clock::Clock;
pub use counters::EdgeCounters;
pub use edge::{AnyEdge, Edge, EdgeConfig, EdgeError, EdgeKind, Turn};
pub use mmsg::MmsgEdge;
pub use outgoing::LentRun;
pub use probe::{Decision, EdgeChoice, UnknownEdge, UringRefused, decide, probe};
pub use socket::{BindError, BufferSizes, Family, ShardSockets, SocketOptions};
pub use uring::UringEdge;
pub use wake::Waker;
