//! Threads that do what a shard must not wait for.

pub mod handshake;
