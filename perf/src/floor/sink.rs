//! Where the packets of a floor go.
//!
//! The best sink is an `ifb` device: its driver frees the packet inside the send call, so the sender
//! pays for the whole send path and for no receiving. It advertises segmentation offload, as a network
//! card with UDP segmentation offload does. A `dummy` device behaves alike. Where neither can be made,
//! receivers on loopback take the packets; the kernel then charges most of the receive path to the
//! sender, so figures are higher and compare only with others on loopback.

use std::io;
use std::net::{Ipv4Addr, SocketAddr, SocketAddrV4, UdpSocket};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use anyhow::{Context as _, bail};

use crate::cli::PathChoice;
use crate::namespace::{Namespace, ip};
use crate::socket::{COALESCED_BYTES_MAX, Socket};

/// Device name inside the private namespace.
pub(crate) const DEVICE: &str = "lectern-sink";

/// The benchmarking range (RFC 2544, appendix C.2.2): nobody routes it.
const DEVICE_ADDRESS: Ipv4Addr = Ipv4Addr::new(198, 18, 0, 1);

/// First viewer on a device; the following ones count up from it.
const FIRST_VIEWER: u32 = u32::from_be_bytes([198, 18, 16, 1]);

/// Port of viewers on a device.
const VIEWER_PORT: u16 = 5004;

/// How often the drain looks whether it shall end.
const DRAIN_PAUSE: Duration = Duration::from_millis(50);

/// What takes the packets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    Ifb,
    Dummy,
    Loopback,
}

impl Kind {
    /// The word used in reports.
    pub(crate) fn word(self) -> &'static str {
        match self {
            Kind::Ifb => "ifb",
            Kind::Dummy => "dummy",
            Kind::Loopback => "loopback",
        }
    }
}

/// A sink that is set up. Dropping it takes it down.
#[derive(Debug)]
pub(crate) struct Sink {
    kind: Kind,
    local: SocketAddr,
    destinations: Vec<SocketAddr>,
    /// How many of the destinations our device takes.
    sunk: usize,
    notes: Vec<String>,
    namespace: Option<Arc<Namespace>>,
    _drain: Option<Drain>,
}

impl Sink {
    /// The sink asked for; `auto` takes the first that can be made and notes why the better ones could
    /// not.
    ///
    /// # Errors
    /// When the one asked for cannot be made.
    pub(crate) fn set_up(choice: PathChoice, viewers: usize) -> anyhow::Result<Sink> {
        let device = match choice {
            PathChoice::Loopback => return Sink::loopback(viewers, &[]),
            PathChoice::Ifb | PathChoice::Auto => Sink::device(viewers),
        };
        match device {
            Ok(sink) => Ok(sink),
            Err(error) if choice == PathChoice::Auto => {
                Sink::loopback(viewers, &[format!("no ifb or dummy device: {error:#}")])
            }
            Err(error) => Err(error),
        }
    }

    fn device(viewers: usize) -> anyhow::Result<Sink> {
        let namespace = Arc::new(Namespace::new()?);
        let mut notes = Vec::new();
        for kind in [Kind::Ifb, Kind::Dummy] {
            match namespace.run(move || add_addressed_device(kind)) {
                Ok(()) => {
                    return Ok(Sink {
                        kind,
                        local: SocketAddr::new(DEVICE_ADDRESS.into(), 0),
                        destinations: (0_u32..)
                            .take(viewers)
                            .map(|number| viewer_address(number).into())
                            .collect(),
                        sunk: viewers,
                        notes,
                        namespace: Some(namespace),
                        _drain: None,
                    });
                }
                Err(error) => notes.push(format!("no {} device: {error:#}", kind.word())),
            }
        }
        bail!("{}", notes.join("; "))
    }

    /// Receivers on 127.0.0.1, one socket a viewer, read by one thread.
    ///
    /// # Errors
    /// When sockets cannot be made.
    pub(crate) fn loopback(viewers: usize, notes: &[String]) -> anyhow::Result<Sink> {
        let local = SocketAddr::new(Ipv4Addr::LOCALHOST.into(), 0);
        let sockets = (0..viewers)
            .map(|_| UdpSocket::bind(local))
            .collect::<io::Result<Vec<_>>>()
            .context("cannot bind the receivers; is `ulimit -n` high enough?")?;
        let destinations = sockets
            .iter()
            .map(UdpSocket::local_addr)
            .collect::<io::Result<_>>()?;
        Ok(Sink {
            kind: Kind::Loopback,
            local,
            destinations,
            sunk: 0,
            notes: notes.to_vec(),
            namespace: None,
            _drain: Some(Drain::start(sockets)?),
        })
    }

    /// A sink in a namespace that exists: `receivers` read what reaches them, `sunk` are addresses that are
    /// routed to our device.
    ///
    /// # Errors
    /// When the receivers cannot be read.
    pub(crate) fn in_namespace(
        namespace: Arc<Namespace>,
        local: Ipv4Addr,
        receivers: Vec<UdpSocket>,
        sunk: Vec<SocketAddr>,
    ) -> anyhow::Result<Sink> {
        let mut destinations = receivers
            .iter()
            .map(UdpSocket::local_addr)
            .collect::<io::Result<Vec<_>>>()?;
        destinations.extend(&sunk);
        Ok(Sink {
            kind: Kind::Ifb,
            local: SocketAddr::new(local.into(), 0),
            destinations,
            sunk: sunk.len(),
            notes: Vec::new(),
            namespace: Some(namespace),
            _drain: Some(Drain::start(receivers)?),
        })
    }

    /// What takes the packets.
    pub(crate) fn kind(&self) -> Kind {
        self.kind
    }

    /// One address a viewer.
    pub(crate) fn destinations(&self) -> &[SocketAddr] {
        &self.destinations
    }

    /// Why a better sink is not used.
    pub(crate) fn notes(&self) -> &[String] {
        &self.notes
    }

    /// What the driver has freed so far; `None` on loopback.
    ///
    /// # Errors
    /// When the kernel does not tell.
    pub(crate) fn freed(&self) -> anyhow::Result<Option<Freed>> {
        let Some(namespace) = &self.namespace else {
            return Ok(None);
        };
        let devices =
            namespace.run(|| Ok(std::fs::read_to_string("/proc/thread-self/net/dev")?))?;
        let freed = freed(&devices).with_context(|| format!("no counters of {DEVICE}"))?;
        Ok(Some(freed))
    }

    /// Of `total`, spread evenly over all destinations, the share our device takes.
    pub(crate) fn sunk_of(&self, total: u64) -> u64 {
        total * self.sunk as u64 / self.destinations.len().max(1) as u64
    }

    /// Runs `job` where the sink can be reached, with the address to bind.
    ///
    /// # Errors
    /// What the job returns.
    pub(crate) fn run<T: Send + 'static>(
        &self,
        job: impl FnOnce(SocketAddr) -> anyhow::Result<T> + Send + 'static,
    ) -> anyhow::Result<T> {
        let local = self.local;
        match &self.namespace {
            Some(namespace) => namespace.run(move || job(local)),
            None => job(local),
        }
    }
}

fn viewer_address(number: u32) -> SocketAddrV4 {
    SocketAddrV4::new(Ipv4Addr::from(FIRST_VIEWER + number), VIEWER_PORT)
}

/// Makes the device in the calling thread's namespace, without ARP: nobody would answer.
///
/// # Errors
/// With what the kernel said.
pub(crate) fn add_device(kind: Kind) -> anyhow::Result<()> {
    ip(["link", "add", DEVICE, "type", kind.word()])?;
    ip(["link", "set", DEVICE, "arp", "off", "up"])
}

/// The device and a network that is routed over it.
fn add_addressed_device(kind: Kind) -> anyhow::Result<()> {
    add_device(kind)?;
    let network = format!("{DEVICE_ADDRESS}/15");
    ip(["addr", "add", network.as_str(), "dev", DEVICE])
}

/// What a driver freed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Freed {
    /// One of many segments counts once.
    pub(crate) messages: u64,
    /// Headers of the network and link included, once a message.
    pub(crate) bytes: u64,
}

/// Headers of Ethernet, IPv4 and UDP.
const HEADER_BYTES: u64 = 14 + 20 + 8;

impl Freed {
    /// What was freed since `earlier`.
    pub(crate) fn since(self, earlier: Freed) -> Freed {
        Freed {
            messages: self.messages.saturating_sub(earlier.messages),
            bytes: self.bytes.saturating_sub(earlier.bytes),
        }
    }

    /// Bytes without headers.
    pub(crate) fn payload_bytes(self) -> u64 {
        self.bytes.saturating_sub(HEADER_BYTES * self.messages)
    }
}

/// The counters of our device in a `/proc/net/dev`. An `ifb` counts what it frees as received, a `dummy`
/// as transmitted.
fn freed(devices: &str) -> Option<Freed> {
    let counters = devices
        .lines()
        .find_map(|line| line.trim().strip_prefix(DEVICE)?.strip_prefix(':'))?;
    let counters: Vec<u64> = counters
        .split_ascii_whitespace()
        .map_while(|field| field.parse().ok())
        .collect();
    let received = (*counters.get(1)?, *counters.first()?);
    let transmitted = (*counters.get(9)?, *counters.get(8)?);
    let (messages, bytes) = received.max(transmitted);
    Some(Freed { messages, bytes })
}

/// Moves the calling thread into a network namespace of its own.
///
/// # Errors
/// EPERM without CAP_SYS_ADMIN.
pub(crate) fn leave_network_namespace() -> io::Result<()> {
    // SAFETY: CLONE_NEWNET concerns only the network namespace of the calling thread. It shares no
    // memory or descriptor table differently; sockets keep the namespace they were made in.
    let result = unsafe { libc::unshare(libc::CLONE_NEWNET) };
    if result == 0 {
        Ok(())
    } else {
        Err(io::Error::last_os_error())
    }
}

/// A thread that reads and forgets what arrives on loopback.
#[derive(Debug)]
struct Drain {
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Drain {
    fn start(sockets: Vec<UdpSocket>) -> anyhow::Result<Drain> {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()?;
        let entered = runtime.enter();
        let sockets = sockets
            .into_iter()
            .map(Socket::new)
            .collect::<io::Result<Vec<_>>>()?;
        drop(entered);
        let stop = Arc::new(AtomicBool::new(false));
        let stopped = Arc::clone(&stop);
        let thread = std::thread::Builder::new()
            .name("drain".to_owned())
            .spawn(move || {
                for socket in sockets {
                    runtime.spawn(async move {
                        let mut buffer = vec![0; COALESCED_BYTES_MAX];
                        while socket.receive(&mut buffer).await.is_ok() {}
                    });
                }
                runtime.block_on(async {
                    while !stopped.load(Ordering::Relaxed) {
                        tokio::time::sleep(DRAIN_PAUSE).await;
                    }
                });
            })?;
        Ok(Drain {
            stop,
            thread: Some(thread),
        })
    }
}

impl Drop for Drain {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            let _panicked = thread.join();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn freed_packets_are_read_from_our_device_in_either_direction() {
        let devices = "Inter-| Receive | Transmit\n face |bytes packets\n    lo: 9 8 0 0 0 0 0 0 9 8 0 0 0 0 0 0\n\
            lectern-sink: 85820 16 0 16 0 0 0 0 1 2 0 0 0 0 0 0\n";
        let found = |devices: &str| freed(devices).map(|freed| (freed.messages, freed.bytes));
        assert_eq!(found(devices), Some((16, 85820)));
        assert_eq!(found(&devices.replace(" 1 2 ", " 1 20 ")), Some((20, 1)));
        assert_eq!(found("lo: 1 1 0 0 0 0 0 0 1 1 0 0 0 0 0 0"), None);
    }

    #[test]
    fn a_device_sink_counts_what_it_takes_and_two_do_not_meet() {
        let Ok(first) = Sink::set_up(PathChoice::Ifb, 2) else {
            // Without the right to make devices there is none to test.
            return;
        };
        let second = Sink::set_up(PathChoice::Ifb, 2).unwrap();
        let messages = |sink: &Sink| sink.freed().unwrap().unwrap().messages;
        let before = (messages(&first), messages(&second));
        let to = first.destinations()[1];
        first
            .run(move |local| {
                let socket = UdpSocket::bind(local)?;
                for _ in 0..10 {
                    socket.send_to(b"gone", to)?;
                }
                Ok(())
            })
            .unwrap();
        assert!(messages(&first) >= before.0 + 10);
        assert!(messages(&second) < before.1 + 10);
    }
}
