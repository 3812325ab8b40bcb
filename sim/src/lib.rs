//! A class in simulated time: one shard as it ships, peers that are not our code (str0m), a network whose
//! faults come from a seed, and checkers.
//!
//! The seam is the datagram: the shard, the handshake machines and the peers are all sans-IO, so a world is
//! a heap of deliveries and a clock that jumps to the next one. One seed replays the same faults and the
//! same decisions of the engine; the bytes differ, because nobody can seed the keys of DTLS.
#![forbid(unsafe_code)]
#![expect(
    clippy::wildcard_enum_match_arm,
    reason = "a simulated client ignores what it has no use for, today's events and tomorrow's"
)]

pub mod check;
pub mod network;
pub mod node;
pub mod peer;
pub mod source;
pub mod stamp;
pub mod wire;
pub mod world;

pub use network::Conditions;
pub use world::{PeerId, World};
