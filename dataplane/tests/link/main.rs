//! The link server against a control plane played by the test; the shards are played too, so nothing
//! here depends on media.

mod debug;
mod drain;
mod hung;
mod rig;
mod stories;
