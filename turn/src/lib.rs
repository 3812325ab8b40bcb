//! STUN messages (RFC 8489) as a sans-IO codec: read in place, written into the caller's bytes.
//!
//! Nothing here reads a clock, owns a socket or panics, and neither reading nor writing allocates.
#![forbid(unsafe_code)]
#![cfg_attr(
    not(test),
    deny(clippy::indexing_slicing, clippy::arithmetic_side_effects)
)]

mod bytes;
pub mod stun;
