//! An edge under test, peers on loopback, and waiting that is bounded.

use std::net::{IpAddr, SocketAddr, UdpSocket};
use std::time::Duration;

use dataplane_engine::outbox::{Run, Sent};
use dataplane_engine::packet::{Path, SocketIndex};
use dataplane_engine::time::Micros;
use dataplane_net::{
    Clock, Edge, EdgeConfig, EdgeError, MmsgEdge, ShardSockets, SocketOptions, Turn, UringEdge,
    Waker,
};

/// How long a story waits for anything before it fails.
pub(crate) const PATIENCE: Duration = Duration::from_secs(10);

/// Edges open alike; the node does it by `AnyEdge`, which is not one edge type.
pub(crate) trait OpenEdge: Edge + Sized {
    fn open_edge(
        sockets: ShardSockets,
        waker: Waker,
        config: EdgeConfig,
    ) -> Result<Self, EdgeError>;

    fn is_possible() -> bool;
}

impl OpenEdge for UringEdge {
    fn open_edge(
        sockets: ShardSockets,
        waker: Waker,
        config: EdgeConfig,
    ) -> Result<UringEdge, EdgeError> {
        UringEdge::open(sockets, waker, config)
    }

    fn is_possible() -> bool {
        match dataplane_net::probe() {
            Ok(()) => true,
            Err(refused) => {
                eprintln!("skipped: {refused}");
                false
            }
        }
    }
}

impl OpenEdge for MmsgEdge {
    fn open_edge(
        sockets: ShardSockets,
        waker: Waker,
        config: EdgeConfig,
    ) -> Result<MmsgEdge, EdgeError> {
        MmsgEdge::open(sockets, waker, config)
    }

    fn is_possible() -> bool {
        true
    }
}

/// A received datagram, copied.
#[derive(Debug)]
pub(crate) struct Received {
    pub(crate) path: Path,
    pub(crate) bytes: Vec<u8>,
    pub(crate) arrival: Micros,
}

pub(crate) struct Rig<E> {
    pub(crate) edge: E,
    pub(crate) waker: Waker,
    pub(crate) port: u16,
}

impl<E: OpenEdge> Rig<E> {
    pub(crate) fn new() -> Rig<E> {
        Rig::with(EdgeConfig::default(), &SocketOptions::default())
    }

    pub(crate) fn with(config: EdgeConfig, options: &SocketOptions) -> Rig<E> {
        let sockets = ShardSockets::bind(0, options).unwrap();
        let port = sockets.port();
        let waker = Waker::new().unwrap();
        let mut edge = E::open_edge(sockets, waker.clone(), config).unwrap();
        // The first wait arms the receives.
        edge.wait(Some(Clock::now())).unwrap();
        Rig { edge, waker, port }
    }

    pub(crate) fn address(&self, local: &str) -> SocketAddr {
        SocketAddr::new(local.parse().unwrap(), self.port)
    }

    /// The path from our `local` to `peer`.
    pub(crate) fn path(&self, local: &str, peer: &UdpSocket) -> Path {
        path(local.parse().unwrap(), peer.local_addr().unwrap())
    }

    /// Turns until `count` datagrams were received.
    pub(crate) fn receive(&mut self, count: usize) -> Vec<Received> {
        let deadline = Clock::now() + PATIENCE;
        let mut received = Vec::with_capacity(count);
        while received.len() < count {
            let turn = self.edge.wait(Some(deadline)).unwrap();
            while let Some(datagram) = self.edge.next_datagram() {
                received.push(Received {
                    path: datagram.path,
                    bytes: datagram.bytes.to_vec(),
                    arrival: datagram.arrival,
                });
            }
            self.edge.end_turn();
            let missing = count.saturating_sub(received.len());
            assert!(turn.now < deadline, "{missing} of {count} did not arrive");
        }
        received
    }

    /// Turns until a wake.
    pub(crate) fn woken(&mut self) -> Turn {
        let deadline = Clock::now() + PATIENCE;
        loop {
            let turn = self.edge.wait(Some(deadline)).unwrap();
            if turn.woken {
                return turn;
            }
            assert!(turn.now < deadline, "no wake");
        }
    }

    /// Commits one run.
    pub(crate) fn commit(&mut self, path: &Path, packets: &[Vec<u8>]) -> Sent {
        let mut run = self
            .edge
            .run(path, packets[0].len(), packets.len())
            .expect("the edge has room");
        for packet in packets {
            run.slot(packet.len()).copy_from_slice(packet);
        }
        run.commit()
    }

    /// Commits one run and submits it.
    pub(crate) fn send(&mut self, path: &Path, packets: &[Vec<u8>]) -> Sent {
        let sent = self.commit(path, packets);
        self.edge.submit().unwrap();
        sent
    }
}

pub(crate) fn path(local: IpAddr, remote: SocketAddr) -> Path {
    Path {
        local,
        remote,
        socket: match local {
            IpAddr::V4(_) => SocketIndex::UDP_V4,
            IpAddr::V6(_) => SocketIndex::UDP_V6,
        },
    }
}

/// A peer on loopback of the family of `local`.
pub(crate) fn peer(local: &str) -> UdpSocket {
    let address: IpAddr = local.parse().unwrap();
    let any = match address {
        IpAddr::V4(_) => "127.0.0.1:0",
        IpAddr::V6(_) => "[::1]:0",
    };
    let peer = UdpSocket::bind(any).unwrap();
    peer.set_read_timeout(Some(PATIENCE)).unwrap();
    peer
}

/// Local addresses to ask: several of 127/8, and IPv6 where the host has it.
pub(crate) fn locals() -> Vec<&'static str> {
    let mut locals = vec!["127.0.0.1", "127.0.0.5", "127.1.2.3"];
    match UdpSocket::bind("[::1]:0") {
        Ok(_) => locals.push("::1"),
        Err(error) => eprintln!("without IPv6: {error}"),
    }
    locals
}

/// A packet whose every byte follows from its number, so that a byte of another packet shows.
pub(crate) fn numbered(number: u32, len: usize) -> Vec<u8> {
    let mut packet = number.to_be_bytes().to_vec();
    let mut state = number | 1;
    packet.resize_with(len, || {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        state.to_be_bytes()[0]
    });
    packet
}

/// The number of a [`numbered`] packet, after checking every byte.
pub(crate) fn number_of(packet: &[u8]) -> u32 {
    let number = u32::from_be_bytes(*packet.first_chunk().unwrap());
    assert!(
        packet == numbered(number, packet.len()),
        "packet {number} has bytes of another"
    );
    number
}

/// Receives one datagram at a peer.
pub(crate) fn receive_at(peer: &UdpSocket) -> (Vec<u8>, SocketAddr) {
    let mut bytes = vec![0; 65_536];
    let (len, from) = peer.recv_from(&mut bytes).unwrap();
    bytes.truncate(len);
    (bytes, from)
}

/// Asserts that nothing more arrives at a peer. Loopback delivers within the send, so what is not there
/// now never comes.
pub(crate) fn assert_silent(peer: &UdpSocket) {
    peer.set_nonblocking(true).unwrap();
    let error = peer.recv(&mut [0; 2_048]).unwrap_err();
    assert_eq!(error.kind(), std::io::ErrorKind::WouldBlock);
    peer.set_nonblocking(false).unwrap();
}
