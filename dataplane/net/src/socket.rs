//! The two UDP sockets of a shard: IPv4 and IPv6 on one port, and their options.

use std::fmt;
use std::io;
use std::mem;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
use std::os::fd::{AsRawFd, RawFd};
use std::time::{Duration, Instant};

use dataplane_engine::packet::SocketIndex;
use socket2::{Domain, Protocol, Socket, Type};

/// `SO_MEMINFO` (linux/sock_diag.h) and the place of the drop counter in its answer.
const SO_MEMINFO: libc::c_int = 55;
const SK_MEMINFO_DROPS: usize = 8;

/// How often a port is tried that is in use.
const RETRY_EVERY: Duration = Duration::from_millis(10);

/// How often an ephemeral IPv4 port is drawn until IPv6 has it free too.
const EPHEMERAL_DRAWS: usize = 16;

/// What the sockets are asked for.
#[derive(Clone, Copy, Debug)]
pub struct SocketOptions {
    /// SO_SNDBUF. Full, it costs packets: dropped(send_would_block) is an alarm.
    pub send_buffer_bytes: usize,
    /// SO_RCVBUF.
    pub receive_buffer_bytes: usize,
    /// How long a port in use is tried again. The kernel closes the sockets of a ring some time after
    /// its process has died, so a restart can find its own port still taken.
    pub patience: Duration,
}

impl Default for SocketOptions {
    fn default() -> SocketOptions {
        SocketOptions {
            send_buffer_bytes: 32 << 20,
            receive_buffer_bytes: 16 << 20,
            patience: Duration::from_secs(2),
        }
    }
}

/// Buffer sizes of a socket, as they were granted: `net.core.wmem_max` and `rmem_max` cut what an
/// unprivileged process asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BufferSizes {
    /// Bytes of SO_SNDBUF, comparable to what was asked (the kernel doubles it for its bookkeeping).
    pub send_bytes: usize,
    /// Bytes of SO_RCVBUF, likewise.
    pub receive_bytes: usize,
}

/// An address family.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Family {
    /// IPv4.
    V4,
    /// IPv6.
    V6,
}

impl fmt::Display for Family {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Family::V4 => "IPv4",
            Family::V6 => "IPv6",
        })
    }
}

/// Why a shard has no sockets.
#[derive(Debug, thiserror::Error)]
pub enum BindError {
    /// Somebody has the port.
    #[error(
        "UDP port {port} ({family}) is in use: another node or program holds it (`ss -lunp sport = \
         :{port}` names it); stop that, or choose other ports with --media-port"
    )]
    PortInUse {
        /// The port.
        port: u16,
        /// In which family.
        family: Family,
    },
    /// A port below 1024 without the right to it.
    #[error(
        "UDP port {port} ({family}) needs CAP_NET_BIND_SERVICE: choose --media-port above 1023, or \
         grant the capability"
    )]
    Denied {
        /// The port.
        port: u16,
        /// In which family.
        family: Family,
    },
    /// The kernel has neither IPv4 nor IPv6.
    #[error("this host has neither IPv4 nor IPv6: {0}")]
    NoFamily(#[source] io::Error),
    /// Another system call failed.
    #[error("UDP port {port} ({family}): {step}: {source}")]
    Socket {
        /// The port.
        port: u16,
        /// In which family.
        family: Family,
        /// The system call or option.
        step: &'static str,
        /// What the kernel answered.
        source: io::Error,
    },
}

/// The bound sockets of one shard. They can be bound on any thread and moved to the shard's.
#[derive(Debug)]
pub struct ShardSockets {
    v4: Option<Socket>,
    v6: Option<Socket>,
    port: u16,
    missing: Option<(Family, io::Error)>,
    buffers: BufferSizes,
}

impl ShardSockets {
    /// Binds `0.0.0.0` and `[::]` (`IPV6_V6ONLY`) on `port`; 0 draws a port that both have free. A host
    /// without one of the families gets the other, and [`ShardSockets::missing`] says so.
    ///
    /// The bind is exclusive: with `SO_REUSEADDR` Linux would let a second node take the port and
    /// silently all its datagrams. What that option is for, a restart that meets its predecessor's
    /// sockets still closing, is covered by [`SocketOptions::patience`]. This call blocks so long.
    ///
    /// # Errors
    /// See [`BindError`]; each names the port and what to do.
    pub fn bind(port: u16, options: &SocketOptions) -> Result<ShardSockets, BindError> {
        let deadline = Instant::now() + options.patience;
        let mut draws = EPHEMERAL_DRAWS;
        loop {
            match bind_both(port, options) {
                Err(BindError::PortInUse { .. }) if port == 0 && draws > 0 => draws -= 1,
                Err(BindError::PortInUse { .. }) if port != 0 && Instant::now() < deadline => {
                    std::thread::sleep(RETRY_EVERY);
                }
                outcome => return outcome,
            }
        }
    }

    /// The UDP port.
    #[must_use]
    pub fn port(&self) -> u16 {
        self.port
    }

    /// Whether the shard has a socket of this family.
    #[must_use]
    pub fn has(&self, family: Family) -> bool {
        match family {
            Family::V4 => self.v4.is_some(),
            Family::V6 => self.v6.is_some(),
        }
    }

    /// The family this host does not have, and the kernel's word for it.
    #[must_use]
    pub fn missing(&self) -> Option<(Family, &io::Error)> {
        self.missing
            .as_ref()
            .map(|(family, error)| (*family, error))
    }

    /// The buffer sizes granted, of the smaller socket.
    #[must_use]
    pub fn buffers(&self) -> BufferSizes {
        self.buffers
    }

    /// Datagrams the kernel dropped for want of receive buffer, since the bind.
    pub(crate) fn drops(&self) -> u64 {
        self.iter().map(|(_, socket)| drops(socket)).sum()
    }

    /// The sockets there are.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (SocketIndex, &Socket)> {
        let v4 = self.v4.iter().map(|socket| (SocketIndex::UDP_V4, socket));
        v4.chain(self.v6.iter().map(|socket| (SocketIndex::UDP_V6, socket)))
    }

    /// The descriptor of one socket, open as long as `self` lives.
    pub(crate) fn raw(&self, index: SocketIndex) -> Option<RawFd> {
        let mut sockets = self.iter();
        sockets
            .find(|(found, _)| *found == index)
            .map(|(_, socket)| socket.as_raw_fd())
    }
}

fn bind_both(port: u16, options: &SocketOptions) -> Result<ShardSockets, BindError> {
    let v4 = open(Family::V4, port, options)?;
    let port = match &v4 {
        Ok(socket) => bound_port(socket, Family::V4)?,
        Err(_) => port,
    };
    let v6 = open(Family::V6, port, options)?;
    let (v4, v6, missing) = match (v4, v6) {
        (Ok(v4), Ok(v6)) => (Some(v4), Some(v6), None),
        (Ok(v4), Err(error)) => (Some(v4), None, Some((Family::V6, error))),
        (Err(error), Ok(v6)) => (None, Some(v6), Some((Family::V4, error))),
        (Err(error), Err(_)) => return Err(BindError::NoFamily(error)),
    };
    let port = match &v6 {
        Some(socket) => bound_port(socket, Family::V6)?,
        None => port,
    };
    let sizes = v4.iter().chain(&v6).map(granted);
    let buffers = sizes
        .reduce(|a, b| BufferSizes {
            send_bytes: a.send_bytes.min(b.send_bytes),
            receive_bytes: a.receive_bytes.min(b.receive_bytes),
        })
        .expect("invariant: one of the families is there");
    Ok(ShardSockets {
        v4,
        v6,
        port,
        missing,
        buffers,
    })
}

/// Opens and binds one socket. The inner error means that the host does not have the family.
fn open(
    family: Family,
    port: u16,
    options: &SocketOptions,
) -> Result<Result<Socket, io::Error>, BindError> {
    let failed = |step| {
        move |source| BindError::Socket {
            port,
            family,
            step,
            source,
        }
    };
    let (domain, address) = match family {
        Family::V4 => (
            Domain::IPV4,
            SocketAddr::from((Ipv4Addr::UNSPECIFIED, port)),
        ),
        Family::V6 => (
            Domain::IPV6,
            SocketAddr::from((Ipv6Addr::UNSPECIFIED, port)),
        ),
    };
    let socket = match Socket::new(domain, Type::DGRAM, Some(Protocol::UDP)) {
        Ok(socket) => socket,
        Err(error) if error.raw_os_error() == Some(libc::EAFNOSUPPORT) => return Ok(Err(error)),
        Err(error) => return Err(failed("socket")(error)),
    };
    for (step, level, name, value) in family_options(family) {
        set_option(&socket, *level, *name, *value).map_err(failed(step))?;
    }
    // Stamps are taken when a datagram enters the kernel, so that the wait for a turn does not look
    // like the network's to the estimators.
    set_option(&socket, libc::SOL_SOCKET, libc::SO_TIMESTAMPNS, 1)
        .map_err(failed("SO_TIMESTAMPNS"))?;
    let (send, receive) = (options.send_buffer_bytes, options.receive_buffer_bytes);
    set_buffer(&socket, libc::SO_SNDBUFFORCE, libc::SO_SNDBUF, send)
        .map_err(failed("SO_SNDBUF"))?;
    set_buffer(&socket, libc::SO_RCVBUFFORCE, libc::SO_RCVBUF, receive)
        .map_err(failed("SO_RCVBUF"))?;
    socket.set_nonblocking(true).map_err(failed("O_NONBLOCK"))?;
    match socket.bind(&address.into()) {
        Ok(()) => Ok(Ok(socket)),
        Err(error) => match error.raw_os_error() {
            Some(libc::EADDRINUSE) => Err(BindError::PortInUse { port, family }),
            Some(libc::EACCES) => Err(BindError::Denied { port, family }),
            Some(libc::EADDRNOTAVAIL) => Ok(Err(error)),
            _ => Err(failed("bind")(error)),
        },
    }
}

type OptionRow = (&'static str, libc::c_int, libc::c_int, libc::c_int);

/// Options of each family: say which of our addresses a datagram was sent to; never set "don't
/// fragment" and ignore what the path MTU cache says (`PMTUDISC_OMIT`), because a media packet that
/// arrives in two fragments is better than one that never arrives; keep IPv4 out of the IPv6 socket, so
/// that a path has one spelling.
fn family_options(family: Family) -> &'static [OptionRow] {
    match family {
        Family::V4 => &[
            ("IP_PKTINFO", libc::IPPROTO_IP, libc::IP_PKTINFO, 1),
            (
                "IP_MTU_DISCOVER",
                libc::IPPROTO_IP,
                libc::IP_MTU_DISCOVER,
                libc::IP_PMTUDISC_OMIT,
            ),
        ],
        Family::V6 => &[
            ("IPV6_V6ONLY", libc::IPPROTO_IPV6, libc::IPV6_V6ONLY, 1),
            (
                "IPV6_RECVPKTINFO",
                libc::IPPROTO_IPV6,
                libc::IPV6_RECVPKTINFO,
                1,
            ),
            (
                "IPV6_MTU_DISCOVER",
                libc::IPPROTO_IPV6,
                libc::IPV6_MTU_DISCOVER,
                libc::IPV6_PMTUDISC_OMIT,
            ),
        ],
    }
}

/// Asks for a buffer size past the host's limit (CAP_NET_ADMIN), else for as much as the limit grants.
fn set_buffer(
    socket: &Socket,
    forced: libc::c_int,
    plain: libc::c_int,
    bytes: usize,
) -> io::Result<()> {
    let bytes = libc::c_int::try_from(bytes).unwrap_or(libc::c_int::MAX / 2);
    set_option(socket, libc::SOL_SOCKET, forced, bytes)
        .or_else(|_| set_option(socket, libc::SOL_SOCKET, plain, bytes))
}

fn set_option(
    socket: &Socket,
    level: libc::c_int,
    name: libc::c_int,
    value: libc::c_int,
) -> io::Result<()> {
    let len = libc::socklen_t::try_from(size_of::<libc::c_int>())
        .expect("invariant: an int is four bytes");
    // SAFETY: the value is an int that lives through the call, and its length is given.
    let answer = unsafe {
        libc::setsockopt(
            socket.as_raw_fd(),
            level,
            name,
            (&raw const value).cast(),
            len,
        )
    };
    if answer != 0 {
        return Err(io::Error::last_os_error());
    }
    Ok(())
}

fn granted(socket: &Socket) -> BufferSizes {
    BufferSizes {
        send_bytes: socket.send_buffer_size().unwrap_or(0) / 2,
        receive_bytes: socket.recv_buffer_size().unwrap_or(0) / 2,
    }
}

fn bound_port(socket: &Socket, family: Family) -> Result<u16, BindError> {
    let address = socket.local_addr().map_err(|source| BindError::Socket {
        port: 0,
        family,
        step: "getsockname",
        source,
    })?;
    Ok(address
        .as_socket()
        .expect("invariant: an IP socket has an IP address")
        .port())
}

fn drops(socket: &Socket) -> u64 {
    let mut memory = [0u32; SK_MEMINFO_DROPS + 1];
    let mut len =
        libc::socklen_t::try_from(mem::size_of_val(&memory)).expect("invariant: nine integers");
    // SAFETY: the kernel writes at most `len` bytes into the array, which lives through the call.
    let answer = unsafe {
        libc::getsockopt(
            socket.as_raw_fd(),
            libc::SOL_SOCKET,
            SO_MEMINFO,
            memory.as_mut_ptr().cast(),
            &raw mut len,
        )
    };
    // A kernel without the option (before 4.12) leaves zeros.
    if answer == 0 {
        u64::from(memory[SK_MEMINFO_DROPS])
    } else {
        0
    }
}
