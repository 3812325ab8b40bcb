//! Classes in simulated time: shards as they ship, a network whose faults come from a seed, peers, and
//! checkers of everything that leaves the node.
//!
//! The seam is the datagram: the shards, the handshake machines and the peers are all sans-IO, so a world is
//! a heap of deliveries and a clock that jumps to the next one.
//!
//! There are two kinds of peers. Those with real handshakes are not our code (str0m): one seed replays the
//! same faults and the same decisions of the engine, but not the same bytes, because nobody can seed the keys
//! of DTLS. Those with injected keys ([`wired`]) are light, and a world of them replays byte for byte; what
//! leaves the node toward them is opened and judged before the network can lose it ([`check`]).
#![forbid(unsafe_code)]
#![expect(
    clippy::wildcard_enum_match_arm,
    reason = "a simulated client ignores what it has no use for, today's events and tomorrow's"
)]

pub mod check;
pub mod network;
pub mod node;
pub mod peer;
pub mod received;
pub mod saboteur;
pub mod source;
pub mod stamp;
pub mod wire;
pub mod wired;
pub mod world;

pub use network::{Burst, Conditions, Faults, Rate, Way};
pub use saboteur::Plant;
pub use wired::{PublisherPlan, ViewerPlan};
pub use world::{PeerId, World};
