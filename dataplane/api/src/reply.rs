//! Answers to orders.

use std::net::SocketAddr;

use minicbor::{Decode, Encode};

use crate::ids::{SessionId, ShardIndex};

/// The answer to one order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Reply {
    /// It is so now, or was already.
    Done(Done),
    /// To `Admit` and `RestartIce`.
    Admitted(Admitted),
    /// It cannot be so; nothing was changed.
    Refused(Refused),
    /// To `Inspect`.
    Inspected(Inspected),
    /// To `Ping`.
    Pong(Pong),
    /// The data plane does not know this frame kind, or something the order names (an older one,
    /// contracts.md 27).
    Unsupported(Unsupported),
}

/// See [`Reply::Done`].
#[derive(Clone, Debug, Default, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub struct Done {}

/// What an SDP answer needs.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub struct Admitted {
    /// The session.
    #[n(0)]
    pub session: SessionId,
    /// Where it lives.
    #[n(1)]
    pub shard: ShardIndex,
    /// Our `a=ice-ufrag`; it encodes shard and session.
    #[n(2)]
    pub ufrag: String,
    /// Our `a=ice-pwd`, 128 bits of randomness.
    #[n(3)]
    pub pwd: String,
    /// Our host candidates, best first.
    #[n(4)]
    pub candidates: Vec<SocketAddr>,
}

/// See [`Reply::Refused`].
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub struct Refused {
    /// Why, for the program.
    #[n(0)]
    #[cbor(decode_with = "crate::wire::or_other")]
    pub reason: Refusal,
    /// Why, for the log: what was asked and what is the limit.
    #[n(1)]
    pub detail: String,
}

/// Why an order was refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Encode, Decode)]
#[cbor(index_only)]
pub enum Refusal {
    /// No such session, track, slot or shard.
    #[n(0)]
    Unknown,
    /// A limit of the shard or node is reached: try later or elsewhere.
    #[n(1)]
    Overloaded,
    /// The node drains.
    #[n(2)]
    Draining,
    /// The order contradicts itself or what is so (mid too long, slot of another kind).
    #[n(3)]
    Invalid,
    /// A reason that this build does not know: nothing was changed all the same.
    #[n(255)]
    Other,
}

impl crate::wire::Grows for Refusal {
    const OTHER: Refusal = Refusal::Other;
}

/// See [`Reply::Inspected`].
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub struct Inspected {
    /// JSON for people.
    #[n(0)]
    pub json: String,
}

/// See [`Reply::Pong`].
#[derive(Clone, Debug, Default, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub struct Pong {}

/// See [`Reply::Unsupported`].
#[derive(Clone, Debug, Default, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub struct Unsupported {
    /// The frame kind that was not understood.
    #[n(0)]
    pub kind: u8,
}
