//! Stories of a whole transport in virtual time: checks, handshakes and media between one shard, its handshake
//! machine and peers, over a network that loses, rebinds and goes dark. Each story names the contract or the row
//! of security.md whose violation it would have caught.

#![allow(clippy::unwrap_used, reason = "a story fails where it unwraps")]

mod checks;
mod joins;
mod liveness;
mod node;
mod offers;
mod paths;
mod peer;
mod world;
