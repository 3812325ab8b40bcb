//! What the data plane tells unasked. *State* events must arrive, or are replaced by one
//! `ResyncNeeded`; *measurements* may be coalesced or dropped, counted.

use std::net::SocketAddr;

use minicbor::{Decode, Encode};

use crate::command::Fingerprint;
use crate::ids::{SessionId, ShardIndex, TrackId};
use crate::media::CodecId;

/// The first frame on every link connection, from the data plane.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub struct Hello {
    /// `major.minor.patch` of the data plane; a control plane more than one minor away refuses.
    #[n(0)]
    pub version: String,
    /// Random, new at every start of the process: a change means that every session is gone.
    #[n(1)]
    #[cbor(with = "minicbor::bytes")]
    pub boot_id: [u8; 16],
    /// Names of what this build can do beyond the version.
    #[n(2)]
    pub features: Vec<String>,
    /// The certificate of this boot, for `a=fingerprint`.
    #[n(3)]
    pub fingerprint: Fingerprint,
    /// The shards.
    #[n(4)]
    pub shards: Vec<ShardInfo>,
    /// Bounds the control plane should know before it asks.
    #[n(5)]
    pub limits: Limits,
    /// `uring` or `mmsg`.
    #[n(6)]
    pub edge: String,
    /// Where the data plane answers health and metrics.
    #[n(7)]
    pub ops: Option<SocketAddr>,
    /// The node takes no new sessions any more.
    #[n(8)]
    #[cbor(default)]
    pub draining: bool,
    /// Number of this connection, never repeated within a boot: the ids that a control plane makes start
    /// above `connection << 40`, whatever its clock says. 0 from a data plane that does not count.
    #[n(9)]
    #[cbor(default)]
    pub connection: u64,
}

/// In [`Hello::features`]: [`crate::command::Admit::remote`] may be left open.
pub const FEATURE_ACCEPT: &str = "accept";

/// One shard, as it introduces itself.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub struct ShardInfo {
    /// Its number.
    #[n(0)]
    pub index: ShardIndex,
    /// Its advertised addresses with its UDP port, best first.
    #[n(1)]
    pub addresses: Vec<SocketAddr>,
    /// Its UDP port.
    #[n(2)]
    pub udp_port: u16,
}

/// See [`Hello::limits`].
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub struct Limits {
    /// Sessions a shard accepts.
    #[n(0)]
    pub sessions_per_shard_max: u32,
    /// Slots a session may have.
    #[n(1)]
    pub slots_per_session_max: u16,
}

/// One event of one shard.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Event {
    /// ICE and DTLS are through: keys are installed.
    SessionConnected(SessionConnected),
    /// The session is gone, by order or by itself.
    SessionClosed(SessionClosed),
    /// The first packet of a track arrived, or the first after a silence.
    TrackLive(TrackLive),
    /// No packet of a track for two seconds.
    TrackSilent(TrackSilent),
    /// State events were lost: ask for a `Snapshot`.
    ResyncNeeded(ResyncNeeded),
    /// A newer control plane took the link: stop.
    Superseded(Superseded),
    /// The node takes no new sessions any more; those it has go on.
    Draining(Draining),
    /// Layers of a track came or went.
    TrackLayers(TrackLayers),
    /// Counters of one shard, once a second. A measurement.
    ShardStats(ShardStats),
}

impl Event {
    /// Whether the event must arrive (or be replaced by `ResyncNeeded`).
    #[must_use]
    pub fn is_state(&self) -> bool {
        !matches!(self, Event::ShardStats(_))
    }
}

/// See [`Event::SessionConnected`].
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub struct SessionConnected {
    /// Which.
    #[n(0)]
    pub session: SessionId,
    /// From `Admit` to here, ms.
    #[n(1)]
    pub join_ms: u64,
}

/// See [`Event::SessionClosed`].
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub struct SessionClosed {
    /// Which.
    #[n(0)]
    pub session: SessionId,
    /// Why.
    #[n(1)]
    #[cbor(decode_with = "crate::wire::or_other")]
    pub reason: CloseReason,
}

/// Why a session ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Encode, Decode)]
#[cbor(index_only)]
pub enum CloseReason {
    /// By order of the control plane.
    #[n(0)]
    Ordered,
    /// No valid ICE check arrived in time after `Admit`.
    #[n(1)]
    IceTimeout,
    /// No sign of life for 30 s (RFC 7675).
    #[n(2)]
    ConsentExpired,
    /// The DTLS handshake failed or took over 10 s.
    #[n(3)]
    HandshakeFailed,
    /// The peer's certificate is not the one its SDP named.
    #[n(4)]
    FingerprintMismatch,
    /// The peer closed DTLS (`close_notify`).
    #[n(5)]
    PeerClosed,
    /// An SRTP key reached the end of its life (RFC 3711 section 9.2).
    #[n(6)]
    KeyExhausted,
    /// A reason that this build does not know: the session is gone all the same.
    #[n(255)]
    Other,
}

impl crate::wire::Grows for CloseReason {
    const OTHER: CloseReason = CloseReason::Other;
}

/// See [`Event::TrackLive`].
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub struct TrackLive {
    /// Which.
    #[n(0)]
    pub track: TrackId,
    /// What it sends.
    #[n(1)]
    pub codec: CodecId,
}

/// See [`Event::TrackSilent`].
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub struct TrackSilent {
    /// Which.
    #[n(0)]
    pub track: TrackId,
}

/// See [`Event::Draining`]. Of the node and not of a shard: its shard and counter are 0, and no snapshot contains
/// it. Said once a connection; who connects later reads [`Hello::draining`].
#[derive(Clone, Debug, Default, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub struct Draining {}

/// See [`Event::TrackLayers`].
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub struct TrackLayers {
    /// Which.
    #[n(0)]
    pub track: TrackId,
    /// Every layer, in the order of `Publish`.
    #[n(1)]
    pub layers: Vec<LayerState>,
}

/// One layer of a track: an encoding of `Publish`.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub struct LayerState {
    /// Its restriction identifier, for simulcast.
    #[n(0)]
    pub rid: Option<String>,
    /// Packets of it arrive.
    #[n(1)]
    pub live: bool,
}

/// See [`Event::ResyncNeeded`].
#[derive(Clone, Debug, Default, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub struct ResyncNeeded {}

/// See [`Event::Superseded`].
#[derive(Clone, Debug, Default, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub struct Superseded {}

/// See [`Event::ShardStats`]. Totals since the process started.
#[derive(Clone, Debug, Default, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub struct ShardStats {
    /// Sessions now.
    #[n(0)]
    pub sessions: u32,
    /// Published tracks now.
    #[n(1)]
    pub tracks: u32,
    /// Filled slots now.
    #[n(2)]
    pub subscriptions: u32,
    /// Datagrams received.
    #[n(3)]
    pub packets_in: u64,
    /// RTP and RTCP packets sent.
    #[n(4)]
    pub packets_out: u64,
    /// Bytes received.
    #[n(5)]
    pub bytes_in: u64,
    /// Bytes sent.
    #[n(6)]
    pub bytes_out: u64,
    /// Datagrams dropped, all reasons.
    #[n(7)]
    pub dropped: u64,
}
