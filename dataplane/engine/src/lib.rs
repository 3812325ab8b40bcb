//! One media shard, sans-IO: no clock, no socket, no thread, no lock, no `unsafe`.
//!
//! ```text
//! edge ── on_datagram ──► demux ─┬─ STUN ──► checks ──► transport/ice      answers into control
//!                                ├─ DTLS ──► transport/gate ──► poll_handshake ──► worker
//!                                │                              on_handshake ◄── keys, last flight
//!                                ├─ RTCP ──► feedback, wishes    reports, NACK, keyframe wishes
//!                                └─ RTP ───► transport/srtp ──► publish ──► pool
//!                                                                            │ one copy, kept for history
//!                                    forward/slot  ◄── fan_out, a slot each ─┘
//!                                        │ rewrite: index, timestamp
//!                                    lanes of the viewer's session
//! edge ◄── Outbox ── flush ◄── audio, control, resends, video: runs of equal length,
//!                              sealed from the pool into the bytes the edge lends
//! ```
//!
//! The caller tells the time and owns all I/O (see [`outbox::Outbox`]), so a seed and a list of inputs
//! replay the same decisions.
#![forbid(unsafe_code)]

mod checks;
mod closing;
mod command;
mod control;
mod demux;
pub mod exchange;
mod fan_out;
mod feedback;
mod flush;
mod forward;
mod inspect;
pub mod limits;
mod linger;
mod media;
pub mod outbox;
mod pace;
pub mod packet;
pub mod pool;
mod publish;
pub mod reason;
mod records;
mod repair;
mod session;
pub mod shard;
mod snapshot;
pub mod stats;
mod table;
pub mod time;
mod timers;
pub mod transport;
mod wishes;

pub use publish::{GiveUp, NackStats};
pub use shard::{Handover, Population, Shard, ShardConfig, ShardLimits};
