//! The media process: threads around the sans-IO engine, and the link to the control plane.
//!
//! ```text
//!   main thread (tokio, single-threaded)            one thread a shard, pinned
//!   +----------------------------------+            +---------------------------+
//!   | link/   orders in, events out    |  orders    | runner.rs                 |
//!   | node.rs placement, routing       | ---------> |   edge (dataplane-net)    |
//!   | ops.rs  health, metrics          | <--------- |   Shard (dataplane-engine)|
//!   | signal.rs, lifetime.rs           |  reports   +---------------------------+
//!   +----------------------------------+              | records      ^ keys
//!                                                     v              | flights
//!                                            workers/handshake.rs (one thread)
//! ```
//! Threads meet only in [`mesh`]: bounded rings that drop or coalesce, counted, and never block. A panic
//! in a shard ends that shard; the others go on and readiness fails.
#![forbid(unsafe_code)]

pub mod advertise;
pub mod config;
pub mod cpus;
pub mod debug;
mod host;
mod journal;
pub mod lifetime;
pub mod link;
mod log;
pub mod mesh;
mod metrics;
pub mod node;
mod ops;
pub mod placement;
mod process;
pub mod route;
pub mod runner;
#[cfg(test)]
mod samples;
mod signal;
pub mod stats;
pub mod status;
pub mod workers;

pub use process::run;
