//! A datagram socket that receives coalesced packets (UDP_GRO) and sends segmented ones, so that the
//! load generator stays cheap beside what it measures.

use std::io::{self, IoSliceMut};
use std::net::{SocketAddr, UdpSocket};
use std::time::Duration;

use quinn_udp::{RecvMeta, Transmit, UdpSocketState};
use socket2::SockRef;
use tokio::io::Interest;

/// Large enough for every packet that can wait while the loader serves the other sockets. The kernel
/// caps it at `net.core.rmem_max`.
const RECEIVE_BUFFER_BYTES: usize = 4 << 20;

/// Longest coalesced receive: the largest UDP payload.
pub(crate) const COALESCED_BYTES_MAX: usize = 65_535;

/// A bound socket of the load generator.
#[derive(Debug)]
pub(crate) struct Socket {
    io: tokio::net::UdpSocket,
    state: UdpSocketState,
    local: SocketAddr,
}

/// Packets of one receive call: `stride` bytes each, the last may be shorter.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Received {
    pub(crate) from: SocketAddr,
    pub(crate) len: usize,
    pub(crate) stride: usize,
    /// When the kernel received them, since the Unix epoch; so that latency holds no waiting for this
    /// program. `None` where the kernel does not say.
    pub(crate) at: Option<Duration>,
}

impl Socket {
    /// Takes over a bound socket. Must be called within a runtime with I/O enabled.
    ///
    /// # Errors
    /// When the socket options are refused.
    pub(crate) fn new(socket: UdpSocket) -> io::Result<Socket> {
        let _granted = SockRef::from(&socket).set_recv_buffer_size(RECEIVE_BUFFER_BYTES);
        socket.set_nonblocking(true)?;
        let state = UdpSocketState::new((&socket).into())?;
        let local = socket.local_addr()?;
        Ok(Socket {
            io: tokio::net::UdpSocket::from_std(socket)?,
            state,
            local,
        })
    }

    /// The address it is bound to.
    pub(crate) fn local(&self) -> SocketAddr {
        self.local
    }

    /// Waits for packets. Cancel-safe.
    pub(crate) async fn receive(&self, buffer: &mut [u8]) -> io::Result<Received> {
        loop {
            self.io.readable().await?;
            match self.try_receive(buffer) {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                done => return done,
            }
        }
    }

    /// Packets that are there already.
    pub(crate) fn try_receive(&self, buffer: &mut [u8]) -> io::Result<Received> {
        self.io.try_io(Interest::READABLE, || {
            let mut meta = [RecvMeta::default()];
            self.state
                .recv((&self.io).into(), &mut [IoSliceMut::new(buffer)], &mut meta)?;
            Ok(Received {
                from: meta[0].addr,
                len: meta[0].len,
                stride: meta[0].stride.max(1),
                at: meta[0].timestamp,
            })
        })
    }

    /// Sends one packet. A full send buffer loses it, as a network would.
    pub(crate) fn send(&self, packet: &[u8], to: SocketAddr) -> io::Result<()> {
        send(&self.state, &self.io, packet, None, to)
    }
}

/// A blocking socket that sends bursts as one segmented message.
#[derive(Debug)]
pub(crate) struct BurstSocket {
    io: UdpSocket,
    state: UdpSocketState,
}

impl BurstSocket {
    /// Takes over a bound socket.
    ///
    /// # Errors
    /// When the socket options are refused.
    pub(crate) fn new(io: UdpSocket) -> io::Result<BurstSocket> {
        let state = UdpSocketState::new((&io).into())?;
        Ok(BurstSocket { io, state })
    }

    /// Packets of one segmented message on this socket.
    pub(crate) fn segments_max(&self) -> usize {
        self.state.max_gso_segments()
    }

    /// Sends `packets`, `segment` bytes each but the last, which may be shorter.
    pub(crate) fn send(&self, packets: &[u8], segment: usize, to: SocketAddr) -> io::Result<()> {
        send(&self.state, &self.io, packets, Some(segment), to)
    }
}

fn send<'a, S>(
    state: &UdpSocketState,
    socket: &'a S,
    contents: &[u8],
    segment_size: Option<usize>,
    destination: SocketAddr,
) -> io::Result<()>
where
    &'a S: Into<quinn_udp::UdpSockRef<'a>>,
{
    state.try_send(
        socket.into(),
        &Transmit {
            destination,
            ecn: None,
            contents,
            segment_size,
            src_ip: None,
        },
    )
}
