//! Everything the data plane holds, one part a frame, so that a fresh control plane can take over from
//! it alone.

use minicbor::{Decode, Encode};

use crate::command::Slot;
use crate::event::LayerState;
use crate::ids::{RoomId, SessionId, ShardIndex, SlotId, TrackId};

/// One part of a snapshot.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Part {
    /// One session.
    Session(SessionPart),
    /// One track.
    Track(TrackPart),
    /// One shard is complete.
    ShardEnd(ShardEnd),
    /// The snapshot is complete.
    End(End),
}

/// A session and its slots.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub struct SessionPart {
    /// Its handle.
    #[n(0)]
    pub session: SessionId,
    /// Its room.
    #[n(1)]
    pub room: RoomId,
    /// Where it lives.
    #[n(2)]
    pub shard: ShardIndex,
    /// As given in `Admit`.
    #[n(3)]
    #[cbor(with = "minicbor::bytes")]
    pub tag: Vec<u8>,
    /// Keys are installed.
    #[n(4)]
    pub connected: bool,
    /// Our `a=ice-ufrag`.
    #[n(5)]
    pub ufrag: String,
    /// As given in `Admit`.
    #[n(6)]
    pub slots: Vec<Slot>,
    /// Which slot is filled from which track.
    #[n(7)]
    pub subscriptions: Vec<(SlotId, TrackId)>,
}

/// A published track.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub struct TrackPart {
    /// Its handle.
    #[n(0)]
    pub track: TrackId,
    /// Who sends it.
    #[n(1)]
    pub session: SessionId,
    /// As given in `Publish`.
    #[n(2)]
    #[cbor(with = "minicbor::bytes")]
    pub tag: Vec<u8>,
    /// A packet arrived within the last two seconds.
    #[n(3)]
    pub live: bool,
    /// Every layer, in the order of `Publish`; empty from a data plane that does not tell.
    #[n(4)]
    #[cbor(default)]
    pub layers: Vec<LayerState>,
}

/// Says at which event counter the shard's parts were taken: older events are already in them.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub struct ShardEnd {
    /// Which shard.
    #[n(0)]
    pub shard: ShardIndex,
    /// The counter of the last event before the snapshot.
    #[n(1)]
    pub counter: u64,
}

/// The last part.
#[derive(Clone, Debug, Default, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub struct End {}
