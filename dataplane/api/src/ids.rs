//! Handles between the processes: `u64`, never reused within a boot. Uuids and names exist only outside.

use std::fmt;

use minicbor::{Decode, Encode};

macro_rules! handle {
    ($(#[$doc:meta])* $name:ident, $inner:ty) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Encode, Decode)]
        #[cbor(transparent)]
        pub struct $name(#[n(0)] pub $inner);

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.fmt(f)
            }
        }
    };
}

handle!(
    /// One connection of a participant (WHIP, WHEP, WebSocket): one ICE and DTLS association.
    SessionId,
    u64
);
handle!(
    /// One published track.
    TrackId,
    u64
);
handle!(
    /// One room; sessions of a room are placed together.
    RoomId,
    u64
);
handle!(
    /// One outgoing slot of a session: an SSRC, mid and payload-type set that lives as long as the
    /// session and whose source is switched without SDP (contracts.md 21).
    SlotId,
    u16
);
handle!(
    /// One shard: a pinned thread with its own UDP port.
    ShardIndex,
    u16
);
handle!(
    /// Correlates a reply with its order; unique per link connection.
    OrderId,
    u64
);
