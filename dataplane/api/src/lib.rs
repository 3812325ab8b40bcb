//! What may cross between the control plane and the data plane: plain data, no logic, versioned.
//!
//! The carrier is a `SOCK_SEQPACKET` Unix socket; one packet is one [`wire::Frame`]. Orders
//! ([`command::Command`]) go down, [`reply::Reply`] and [`event::Event`] come up. Ids are made by the
//! control plane and orders are idempotent, so "send again" is always right. SRTP keys never cross.
//!
//! Every struct is a CBOR map with integer keys: a key that a reader does not know is ignored, a key
//! added later is optional, a number is never given a second meaning (contracts.md 27).
#![forbid(unsafe_code)]

pub mod command;
pub mod event;
pub mod ids;
pub mod media;
pub mod reply;
pub mod snapshot;
pub mod wire;

pub use command::Command;
pub use event::Event;
pub use reply::Reply;
