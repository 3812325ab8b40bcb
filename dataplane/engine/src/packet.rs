//! What the edge hands to a shard: one received datagram and the path it came by.

use std::net::{IpAddr, SocketAddr};

use crate::time::Micros;

/// Which socket of the shard carries a path. A shard owns one UDP port with an IPv4 and an IPv6
/// socket; streams (ICE-TCP) and relays get numbers above these.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct SocketIndex(pub u8);

impl SocketIndex {
    /// The shard's IPv4 UDP socket.
    pub const UDP_V4: SocketIndex = SocketIndex(0);
    /// The shard's IPv6 UDP socket (`IPV6_V6ONLY`).
    pub const UDP_V6: SocketIndex = SocketIndex(1);
}

/// One way to a peer: the local address the datagram was sent to (so that a multi-homed host answers
/// from the address that was asked), the remote address, and the socket.
///
/// The edge builds it with IPv6 flow information zeroed, so equal paths compare equal.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Path {
    /// The address of this host that the peer used (`IP_PKTINFO`).
    pub local: IpAddr,
    /// The peer's address and port.
    pub remote: SocketAddr,
    /// The socket that received, and will send.
    pub socket: SocketIndex,
}

/// What kind of carrier a path is. The engine branches on it only for padding and deadlines.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PathKind {
    /// A UDP datagram socket.
    Datagram,
    /// A framed byte stream (RFC 4571), bounded by the edge.
    Stream,
    /// A ring to the TURN worker of this process.
    Relay,
}

/// One received datagram. The bytes live in the edge's receive buffer and go back to the kernel at the
/// end of the turn, so whatever outlives the turn is copied or opened out of place.
#[derive(Debug)]
pub struct Datagram<'a> {
    /// Where it came from and where it was sent to.
    pub path: Path,
    /// The bytes, never longer than [`crate::limits::DATAGRAM_BYTES_MAX`].
    pub bytes: &'a mut [u8],
    /// When the kernel received it (`SO_TIMESTAMPNS`), mapped to the engine's clock.
    pub arrival: Micros,
}
