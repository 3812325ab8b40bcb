//! Which edge this host can have, found out by using it.

use std::fmt;
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::str::FromStr;
use std::time::Duration;

use dataplane_engine::outbox::{Outbox, Run};
use dataplane_engine::packet::{Path, SocketIndex};

use crate::clock::Clock;
use crate::edge::{Edge, EdgeConfig, EdgeError, EdgeKind};
use crate::socket::{BindError, Family, ShardSockets, SocketOptions};
use crate::uring::UringEdge;
use crate::wake::Waker;

/// How long the probe waits for its own datagrams. On loopback they are there at once.
const PATIENCE_US: u64 = 1_000_000;

/// What the operator asks for (`--edge`).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum EdgeChoice {
    /// The ring where it works, else `mmsg`.
    #[default]
    Auto,
    /// The ring, or no start.
    Uring,
    /// Plain system calls.
    Mmsg,
}

/// A word that names no edge.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is not an edge: auto, uring or mmsg")]
pub struct UnknownEdge(String);

impl FromStr for EdgeChoice {
    type Err = UnknownEdge;

    fn from_str(word: &str) -> Result<EdgeChoice, UnknownEdge> {
        match word {
            "auto" => Ok(EdgeChoice::Auto),
            "uring" => Ok(EdgeChoice::Uring),
            "mmsg" => Ok(EdgeChoice::Mmsg),
            other => Err(UnknownEdge(other.to_owned())),
        }
    }
}

impl fmt::Display for EdgeChoice {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            EdgeChoice::Auto => "auto",
            EdgeChoice::Uring => "uring",
            EdgeChoice::Mmsg => "mmsg",
        })
    }
}

/// Which edge it is, and why not the other: for the log and for `doctor`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Decision {
    /// The edge to open.
    pub kind: EdgeKind,
    /// The reason, a sentence without a full stop.
    pub why: String,
}

/// Why the ring edge does not work on this host.
#[derive(Debug, thiserror::Error)]
pub enum UringRefused {
    /// The kernel refused a step.
    #[error("io_uring refused: {0}{hint}", hint = hint(.0))]
    Edge(#[from] EdgeError),
    /// No socket to try it on.
    #[error("io_uring not tried: {0}")]
    Sockets(#[from] BindError),
    /// No eventfd.
    #[error("io_uring not tried: eventfd: {0}")]
    Waker(io::Error),
    /// The ring took the datagrams and they did not come back.
    #[error("io_uring refused: {received} of {sent} datagrams sent through it to itself came back")]
    Silent {
        /// How many were sent.
        sent: usize,
        /// How many arrived unchanged.
        received: usize,
    },
}

/// Chooses the edge. Takes a few milliseconds.
///
/// # Errors
/// The ring was asked for and does not work.
pub fn decide(choice: EdgeChoice) -> Result<Decision, UringRefused> {
    let decision = |kind, why: &str| Decision {
        kind,
        why: why.to_owned(),
    };
    const WORKS: &str =
        "io_uring works: multishot receive, buffer ring and segmented sends were tried";
    match choice {
        EdgeChoice::Mmsg => Ok(decision(EdgeKind::Mmsg, "it was asked for")),
        EdgeChoice::Uring => probe().map(|()| decision(EdgeKind::Uring, WORKS)),
        EdgeChoice::Auto => Ok(match probe() {
            Ok(()) => decision(EdgeKind::Uring, WORKS),
            Err(refused) => decision(EdgeKind::Mmsg, &refused.to_string()),
        }),
    }
}

/// Sets a small ring edge up on the calling thread and sends itself a segmented run.
///
/// # Errors
/// What the kernel refused.
pub fn probe() -> Result<(), UringRefused> {
    const PACKETS: [&[u8]; 3] = [b"lectern probe 1", b"lectern probe 2", b"short"];
    let options = SocketOptions {
        send_buffer_bytes: 1 << 16,
        receive_buffer_bytes: 1 << 16,
        patience: Duration::ZERO,
    };
    let sockets = ShardSockets::bind(0, &options)?;
    let (socket, local) = if sockets.has(Family::V4) {
        (SocketIndex::UDP_V4, IpAddr::V4(Ipv4Addr::LOCALHOST))
    } else {
        (SocketIndex::UDP_V6, IpAddr::V6(Ipv6Addr::LOCALHOST))
    };
    let path = Path {
        local,
        remote: (local, sockets.port()).into(),
        socket,
    };
    let config = EdgeConfig {
        receive_buffers: 8,
        slab_bytes: 1 << 16,
        sends: 4,
    };
    let waker = Waker::new().map_err(UringRefused::Waker)?;
    let mut edge = UringEdge::open(sockets, waker, config)?;
    let deadline = Clock::now().plus_us(PATIENCE_US);
    if let Some(mut run) = edge.run(&path, PACKETS[0].len(), PACKETS.len()) {
        for packet in PACKETS {
            run.slot(packet.len()).copy_from_slice(packet);
        }
        run.commit();
    }
    edge.submit()?;
    let mut received = 0;
    while received < PACKETS.len() {
        let turn = edge.wait(Some(deadline))?;
        while let Some(datagram) = edge.next_datagram() {
            let expected = PACKETS.get(received);
            if datagram.path == path && expected.is_some_and(|packet| *packet == datagram.bytes) {
                received += 1;
            }
        }
        edge.end_turn();
        if turn.now >= deadline {
            break;
        }
    }
    if received < PACKETS.len() {
        let sent = PACKETS.len();
        return Err(UringRefused::Silent { sent, received });
    }
    Ok(())
}

/// What usually stands behind an error of setting a ring up, in brackets.
fn hint(error: &EdgeError) -> &'static str {
    let EdgeError::Open { source, .. } = error else {
        return "";
    };
    match source.raw_os_error() {
        Some(libc::EPERM | libc::EACCES) => {
            " (a seccomp filter, as in most containers, or the sysctl kernel.io_uring_disabled)"
        }
        Some(libc::ENOSYS | libc::EINVAL) => " (the ring edge needs Linux 6.0 or later)",
        Some(libc::ENOMEM) => " (raise LimitMEMLOCK)",
        Some(libc::EMFILE) => " (raise LimitNOFILE)",
        _ => "",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_choice_reads_as_it_is_written() {
        for choice in [EdgeChoice::Auto, EdgeChoice::Uring, EdgeChoice::Mmsg] {
            assert_eq!(choice.to_string().parse(), Ok(choice));
        }
        let unknown = "epoll".parse::<EdgeChoice>().unwrap_err();
        assert_eq!(
            unknown.to_string(),
            "`epoll` is not an edge: auto, uring or mmsg"
        );
    }

    #[test]
    fn automatic_choice_always_finds_an_edge_and_says_why() {
        let decision = decide(EdgeChoice::Auto).unwrap();
        let expected = match probe() {
            Ok(()) => EdgeKind::Uring,
            Err(_) => EdgeKind::Mmsg,
        };
        assert_eq!(decision.kind, expected);
        assert!(decision.why.contains("io_uring"), "{}", decision.why);
    }

    #[test]
    fn a_refusal_names_the_step_the_error_and_the_usual_cause() {
        let refused = UringRefused::Edge(EdgeError::Open {
            step: "io_uring_setup",
            source: io::Error::from_raw_os_error(libc::EPERM),
        });
        let text = refused.to_string();
        for part in [
            "io_uring_setup",
            "not permitted",
            "seccomp",
            "io_uring_disabled",
        ] {
            assert!(text.contains(part), "{text}");
        }
    }
}
