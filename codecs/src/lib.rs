//! Bytes to meaning and back: RTP, RTCP and payload descriptors as pure functions over `&[u8]`.
//!
//! Nothing here reads a clock, owns a socket or panics: readers are views into the caller's bytes, writers
//! fill the caller's bytes and return the length. Whatever the network sends ends in a value or in a typed
//! error. Nothing allocates but a [`payload::Depacketizer`], which keeps one buffer as long as its caller
//! allows.
//!
//! * [`rtp`]: one packet, its header extensions, its sequence numbers.
//! * [`rtcp`]: compound packets, one file a packet kind.
//! * [`payload`]: the codecs' payload formats: descriptors, keyframes, layers, frames to packets and back.
#![forbid(unsafe_code)]
#![cfg_attr(
    not(test),
    deny(clippy::indexing_slicing, clippy::arithmetic_side_effects)
)]

mod bits;
mod bytes;
pub mod payload;
pub mod rtcp;
pub mod rtp;

pub use bytes::WriteError;
