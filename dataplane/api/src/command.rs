//! Orders of the control plane. Idempotent: an order for something that already is so answers as the
//! first time.

use minicbor::{Decode, Encode};

use crate::ids::{RoomId, SessionId, ShardIndex, SlotId, TrackId};
use crate::media::{Encoding, Extensions, MediaKind, PayloadType};

/// Longest `tag` (contracts of the link): opaque to the data plane, returned byte for byte by `Snapshot`.
pub const TAG_BYTES_MAX: usize = 4096;

/// One order. Each is a frame kind of its own, see [`crate::wire`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Command {
    /// Admit a session: choose its shard, make ICE credentials, wait for its checks.
    Admit(Admit),
    /// Close a session with everything it publishes and watches.
    Close(Close),
    /// Declare a track that an admitted session will send.
    Publish(Publish),
    /// End a track.
    Unpublish(Unpublish),
    /// Fill a slot from a source.
    Subscribe(Subscribe),
    /// Empty a slot.
    Unsubscribe(Unsubscribe),
    /// Replace a session's policy.
    SetPolicy(SetPolicy),
    /// Replace a session's remote ICE credentials and make new local ones (ICE restart).
    RestartIce(RestartIce),
    /// Readable state of one room, session or shard.
    Inspect(Inspect),
    /// Everything the data plane holds, as many frames and a final marker.
    Snapshot(Snapshot),
    /// Refuse new sessions from now on, and end the process with the last one that is there (or at its drain
    /// deadline), like SIGTERM. There is no way back.
    Drain(Drain),
    /// Answered by `Pong`.
    Ping(Ping),
    /// The peer has answered the node's own offer: what [`Admit::remote`] left open.
    Accept(Accept),
}

/// See [`Command::Admit`].
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub struct Admit {
    /// The new session's handle.
    #[n(0)]
    pub session: SessionId,
    /// Its room: sessions of one room share a shard while the room fits one.
    #[n(1)]
    pub room: RoomId,
    /// Opaque to the data plane (room, stream, subject, resource id, ETag, codecs), at most
    /// [`TAG_BYTES_MAX`].
    #[n(2)]
    #[cbor(with = "minicbor::bytes")]
    pub tag: Vec<u8>,
    /// A shard to prefer, when the control plane knows a reason.
    #[n(3)]
    pub shard_hint: Option<ShardIndex>,
    /// What the peer's SDP said of its transport. `None` when the node offers: [`Command::Accept`] brings
    /// it, and until then the session hears nobody. Needs the feature [`crate::event::FEATURE_ACCEPT`].
    #[n(4)]
    pub remote: Option<RemoteTransport>,
    /// The session's header extension ids.
    #[n(5)]
    pub extensions: Extensions,
    /// Outgoing slots, all of them for WHEP, none for WHIP.
    #[n(6)]
    pub slots: Vec<Slot>,
    /// Ceilings and priorities.
    #[n(7)]
    pub policy: SessionPolicy,
}

/// The peer's side of ICE and DTLS, from its SDP.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub struct RemoteTransport {
    /// `a=ice-ufrag`.
    #[n(0)]
    pub ufrag: String,
    /// `a=ice-pwd`.
    #[n(1)]
    pub pwd: String,
    /// `a=fingerprint`.
    #[n(2)]
    pub fingerprint: Fingerprint,
    /// `a=setup`.
    #[n(3)]
    pub setup: Setup,
}

/// A certificate fingerprint (RFC 8122). Only hashes of the SHA-2 family are representable: sha-1 and
/// md5 are refused where the SDP is read.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub struct Fingerprint {
    /// Hash function.
    #[n(0)]
    pub hash: FingerprintHash,
    /// The digest: 32, 48 or 64 bytes.
    #[n(1)]
    #[cbor(with = "minicbor::bytes")]
    pub digest: Vec<u8>,
}

/// Hash functions accepted in a fingerprint.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Encode, Decode)]
#[cbor(index_only)]
pub enum FingerprintHash {
    /// SHA-256.
    #[n(0)]
    Sha256,
    /// SHA-384.
    #[n(1)]
    Sha384,
    /// SHA-512.
    #[n(2)]
    Sha512,
}

/// The peer's `a=setup` (RFC 5763): we take the other part, and are server when it leaves the choice.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Encode, Decode)]
#[cbor(index_only)]
pub enum Setup {
    /// The peer starts the handshake.
    #[n(0)]
    Active,
    /// We start the handshake.
    #[n(1)]
    Passive,
    /// The peer leaves the choice to us.
    #[n(2)]
    ActPass,
}

/// One outgoing slot (contracts.md 21).
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub struct Slot {
    /// Its number within the session.
    #[n(0)]
    pub slot: SlotId,
    /// What it carries.
    #[n(1)]
    pub kind: MediaKind,
    /// Its `a=mid`, at most 16 bytes (the longest one-byte-header extension).
    #[n(2)]
    pub mid: String,
    /// The SSRC it sends with for as long as the session lives.
    #[n(3)]
    pub ssrc: u32,
    /// The SSRC of its RTX stream, when negotiated.
    #[n(4)]
    pub rtx_ssrc: Option<u32>,
    /// The codecs the viewer negotiated for it.
    #[n(5)]
    pub codecs: Vec<PayloadType>,
}

/// What a session may use. Travels as data so that the data plane decides alone, per packet.
#[derive(Clone, Debug, Default, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub struct SessionPolicy {
    /// Ceiling of what is sent to it, bit/s.
    #[n(0)]
    pub egress_bps_max: Option<u64>,
    /// Ceiling of what it may publish, bit/s.
    #[n(1)]
    pub ingress_bps_max: Option<u64>,
}

/// See [`Command::Close`].
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub struct Close {
    /// Which session. Unknown or already closed: answers `Done`.
    #[n(0)]
    pub session: SessionId,
}

/// See [`Command::Publish`].
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub struct Publish {
    /// The new track's handle.
    #[n(0)]
    pub track: TrackId,
    /// The session that sends it.
    #[n(1)]
    pub session: SessionId,
    /// The track's id outside (uuid), for the cascade.
    #[n(2)]
    #[cbor(with = "minicbor::bytes")]
    pub uid: [u8; 16],
    /// The node where the track was first published (contracts.md 2): a node drops its own on return.
    #[n(3)]
    #[cbor(with = "minicbor::bytes")]
    pub origin_node: [u8; 16],
    /// Nodes it has passed, at most 3.
    #[n(4)]
    pub hops: u8,
    /// Audio or video.
    #[n(5)]
    pub kind: MediaKind,
    /// The m-section's `a=mid`.
    #[n(6)]
    pub mid: String,
    /// Negotiated payload types; the first is the one asked for in our answer.
    #[n(7)]
    pub codecs: Vec<PayloadType>,
    /// Its encodings, lowest layer first; never empty.
    #[n(8)]
    pub encodings: Vec<Encoding>,
    /// End-to-end encrypted: payloads are never parsed (contracts.md 22).
    #[n(9)]
    pub opaque: bool,
    /// Opaque to the data plane, returned by `Snapshot`.
    #[n(10)]
    #[cbor(with = "minicbor::bytes")]
    pub tag: Vec<u8>,
}

/// See [`Command::Unpublish`].
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub struct Unpublish {
    /// Which track.
    #[n(0)]
    pub track: TrackId,
}

/// See [`Command::Subscribe`].
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub struct Subscribe {
    /// The viewer's session.
    #[n(0)]
    pub session: SessionId,
    /// Which of its slots.
    #[n(1)]
    pub slot: SlotId,
    /// What fills it.
    #[n(2)]
    pub source: Source,
}

/// What fills a slot.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Encode, Decode)]
pub enum Source {
    /// One track.
    #[n(0)]
    Track(#[n(0)] TrackId),
}

/// See [`Command::Unsubscribe`].
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub struct Unsubscribe {
    /// The viewer's session.
    #[n(0)]
    pub session: SessionId,
    /// Which of its slots.
    #[n(1)]
    pub slot: SlotId,
}

/// See [`Command::SetPolicy`].
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub struct SetPolicy {
    /// Whose.
    #[n(0)]
    pub session: SessionId,
    /// The new policy, whole.
    #[n(1)]
    pub policy: SessionPolicy,
}

/// See [`Command::RestartIce`].
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub struct RestartIce {
    /// Whose.
    #[n(0)]
    pub session: SessionId,
    /// The peer's new `a=ice-ufrag`.
    #[n(1)]
    pub ufrag: String,
    /// The peer's new `a=ice-pwd`.
    #[n(2)]
    pub pwd: String,
    /// Replaces the tag of `Admit`: the ETag has changed, and a successor must know it.
    #[n(3)]
    #[cbor(with = "minicbor::bytes")]
    pub tag: Option<Vec<u8>>,
}

/// See [`Command::Accept`]. Answered with `Admitted`; a repeated one changes nothing.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub struct Accept {
    /// Whose.
    #[n(0)]
    pub session: SessionId,
    /// What its SDP answer said of its transport: `setup` is `active` or `passive`.
    #[n(1)]
    pub remote: RemoteTransport,
    /// Replaces the tag of `Admit`.
    #[n(2)]
    #[cbor(with = "minicbor::bytes")]
    pub tag: Option<Vec<u8>>,
    /// What the answer left of the codecs that its slots offered, with their feedback and retransmission;
    /// a slot that is not named here stays as offered.
    #[n(3)]
    #[cbor(default)]
    pub codecs: Vec<(SlotId, Vec<PayloadType>)>,
    /// What it left of the header extensions; `None`: all of them.
    #[n(4)]
    pub extensions: Option<Extensions>,
}

/// See [`Command::Inspect`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Encode, Decode)]
pub enum Inspect {
    /// One session.
    #[n(0)]
    Session(#[n(0)] SessionId),
    /// One room.
    #[n(1)]
    Room(#[n(0)] RoomId),
    /// One shard.
    #[n(2)]
    Shard(#[n(0)] ShardIndex),
}

/// See [`Command::Snapshot`].
#[derive(Clone, Debug, Default, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub struct Snapshot {}

/// See [`Command::Drain`].
#[derive(Clone, Debug, Default, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub struct Drain {}

/// See [`Command::Ping`].
#[derive(Clone, Debug, Default, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub struct Ping {}
