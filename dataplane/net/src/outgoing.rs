//! Runs on their way to the kernel, and the memory they are sealed into: what both edges share on the
//! sending side.
//!
//! All runs of a turn are laid one after the other into one slab. A submit hands them to the kernel and
//! then resets the slab, which is sound because no send outlives the submit: every send carries
//! `MSG_DONTWAIT`, so the kernel either copies the payload or refuses it before the system call returns
//! (see `uring/send.rs` for the ring). The slab is therefore lent again only after the failures of its
//! submit were read and dealt with; where the kernel would not take the submit at all it stays with the
//! kernel, and [`Outgoing::lend`] refuses.

use std::collections::VecDeque;
use std::net::IpAddr;
use std::os::fd::RawFd;

use dataplane_engine::limits::{RUN_BYTES_MAX, RUN_SEGMENTS_MAX};
use dataplane_engine::outbox::{Egress, Run, RunId, SendFailed, SendFailure, Sent};
use dataplane_engine::packet::{Path, PathKind, SocketIndex};
use dataplane_engine::time::Micros;

use crate::clock::Clock;
use crate::counters::EdgeCounters;
use crate::edge::EdgeConfig;
use crate::gso::{Marked, Segmentation, is_segmentation_failure};
use crate::message::Message;
use crate::socket::ShardSockets;

/// IPv4 and UDP headers without options.
const OVERHEAD_V4_BYTES: u16 = 20 + 8;

/// IPv6 and UDP headers without extensions.
const OVERHEAD_V6_BYTES: u16 = 40 + 8;

/// One committed run.
#[derive(Clone, Copy, Debug)]
struct Queued {
    path: Path,
    id: RunId,
    start: usize,
    bytes: usize,
    segment_len: usize,
    packets: u16,
    fate: Fate,
}

/// What becomes of a run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fate {
    /// One message for the kernel, which reports nothing but failure.
    Whole,
    /// Several packets, and segmentation was switched off for the path after the engine had asked.
    Singly,
    /// The kernel refused it with this `errno`.
    Failed(i32),
}

/// The sending half of an edge, without its system calls.
#[derive(Debug)]
pub(crate) struct Outgoing {
    slab: Vec<u8>,
    /// Bytes of the slab in use.
    filled: usize,
    queue: Vec<Queued>,
    queue_max: usize,
    /// One for each place in the queue.
    messages: Box<[Message]>,
    /// Whether a run in the queue needs more than a successful submit.
    troubled: bool,
    /// Whether the kernel still holds messages of a submit it did not take.
    pub(crate) held: bool,
    segmentation: Segmentation,
    failures: VecDeque<SendFailed>,
    sockets: [Option<RawFd>; 2],
    next_run: u64,
    /// The time of the turn.
    pub(crate) now: Micros,
    pub(crate) counters: EdgeCounters,
}

impl Outgoing {
    pub(crate) fn new(sockets: &ShardSockets, config: &EdgeConfig) -> Outgoing {
        assert!(
            config.slab_bytes >= RUN_BYTES_MAX && config.sends > 0,
            "invariant: the slab holds the longest run"
        );
        Outgoing {
            // Ones, not zeros: writing makes the kernel give the pages now and not in the first turns.
            slab: vec![1; config.slab_bytes],
            filled: 0,
            queue: Vec::with_capacity(config.sends),
            queue_max: config.sends,
            messages: (0..config.sends).map(|_| Message::empty()).collect(),
            troubled: false,
            held: false,
            segmentation: Segmentation::new(),
            failures: VecDeque::with_capacity(config.sends),
            sockets: [SocketIndex::UDP_V4, SocketIndex::UDP_V6].map(|index| sockets.raw(index)),
            next_run: 0,
            now: Clock::now(),
            counters: EdgeCounters::default(),
        }
    }

    /// [`dataplane_engine::outbox::Outbox::egress`].
    pub(crate) fn egress(&self, path: &Path) -> Egress {
        let segments_max = self.segmentation.segments_max(path, self.now);
        Egress {
            segments_max: u16::try_from(segments_max).expect("invariant: RUN_SEGMENTS_MAX"),
            run_bytes_max: u32::try_from(RUN_BYTES_MAX).expect("invariant: RUN_BYTES_MAX"),
            overhead_bytes: match path.remote.ip() {
                IpAddr::V4(_) => OVERHEAD_V4_BYTES,
                IpAddr::V6(_) => OVERHEAD_V6_BYTES,
            },
            kind: PathKind::Datagram,
        }
    }

    /// Whether a run of `bytes` fits without a submit.
    pub(crate) fn has_room(&self, bytes: usize) -> bool {
        !self.held && self.queue.len() < self.queue_max && self.filled + bytes <= self.slab.len()
    }

    /// Lends space for a run, or refuses while there is none or the path has no socket here.
    ///
    /// # Panics
    /// When the run breaks the limits of [`Outgoing::egress`]: no packet, more than
    /// [`RUN_SEGMENTS_MAX`], or more than [`RUN_BYTES_MAX`].
    pub(crate) fn lend(
        &mut self,
        path: &Path,
        segment_len: usize,
        count: usize,
    ) -> Option<LentRun<'_>> {
        assert!(
            (1..=RUN_SEGMENTS_MAX).contains(&count),
            "a run has 1 to {RUN_SEGMENTS_MAX} packets, not {count}"
        );
        assert!(
            segment_len > 0 && segment_len * count <= RUN_BYTES_MAX,
            "a run has 1 to {RUN_BYTES_MAX} bytes, not {count} times {segment_len}"
        );
        if !self.has_room(segment_len * count) {
            self.counters.slab_exhausted += 1;
            return None;
        }
        self.socket(path.socket)?;
        Some(LentRun {
            start: self.filled,
            outgoing: self,
            path: *path,
            segment_len,
            count,
            packets: 0,
            bytes: 0,
        })
    }

    /// How many runs wait for a submit.
    pub(crate) fn len(&self) -> usize {
        self.queue.len()
    }

    /// Which socket the run at `index` leaves by, and its message for the kernel. `None` for a run that
    /// [`Outgoing::settle`] will send singly. The pointer is good until `settle`.
    pub(crate) fn message(&mut self, index: usize) -> Option<(SocketIndex, *const libc::msghdr)> {
        let run = &self.queue[index];
        if run.fate == Fate::Singly {
            return None;
        }
        let segment_len = (run.packets > 1).then(|| {
            self.counters.sent_segmented += 1;
            u16::try_from(run.segment_len).expect("invariant: below RUN_BYTES_MAX")
        });
        let bytes = &self.slab[run.start..run.start + run.bytes];
        let header = self.messages[index].fill(&run.path, segment_len, bytes);
        Some((run.path.socket, header))
    }

    /// Notes that the kernel refused the message at `index`.
    pub(crate) fn on_refused(&mut self, index: usize, errno: i32) {
        self.queue[index].fate = Fate::Failed(errno);
        self.troubled = true;
    }

    /// Deals with what a submit left over, in the order of the queue, and makes the slab free again.
    /// Called after every message was taken and every refusal was noted.
    pub(crate) fn settle(&mut self) {
        if self.troubled {
            for index in 0..self.queue.len() {
                let run = self.queue[index];
                match run.fate {
                    Fate::Whole => {}
                    Fate::Singly => self.send_singly(index, None),
                    Fate::Failed(errno) if run.packets > 1 && is_segmentation_failure(errno) => {
                        self.send_singly(index, Some(errno));
                    }
                    Fate::Failed(errno) => self.give_up(&run, run.packets, errno),
                }
            }
        }
        self.queue.clear();
        self.filled = 0;
        self.troubled = false;
        self.held = false;
    }

    /// The next run that did not leave.
    pub(crate) fn next_failure(&mut self) -> Option<SendFailed> {
        self.failures.pop_front()
    }

    /// Whether a run failed that was not reported yet.
    pub(crate) fn has_failures(&self) -> bool {
        !self.failures.is_empty()
    }

    /// Local addresses without segmentation now.
    pub(crate) fn unsegmented_addresses(&self) -> Vec<IpAddr> {
        self.segmentation.interfaces(self.now).collect()
    }

    fn socket(&self, index: SocketIndex) -> Option<RawFd> {
        self.sockets.get(usize::from(index.0)).copied().flatten()
    }

    /// Sends the packets of a run one by one. After a failure of segmentation, `cause`, the first packet
    /// that passes proves that segmentation was to blame.
    fn send_singly(&mut self, index: usize, cause: Option<i32>) {
        let run = self.queue[index];
        let fd = self
            .socket(run.path.socket)
            .expect("invariant: lend refuses a path without a socket");
        self.counters.sent_unsegmented += 1;
        let mut unsent = run.packets;
        let mut refusal = None;
        for packet in self.slab[run.start..run.start + run.bytes].chunks(run.segment_len) {
            match self.messages[index].send_now(fd, &run.path, packet) {
                Ok(()) => unsent -= 1,
                Err(errno) => {
                    refusal = Some(errno);
                    break;
                }
            }
        }
        if let Some(errno) = cause
            && unsent < run.packets
        {
            self.mark(&run.path, errno);
        }
        if let Some(errno) = refusal {
            self.give_up(&run, unsent, errno);
        }
    }

    fn mark(&mut self, path: &Path, errno: i32) {
        let error = std::io::Error::from_raw_os_error(errno);
        match self.segmentation.mark(path, errno, self.now) {
            Marked::Path => {
                self.counters.fallback_paths += 1;
                tracing::debug!(%error, "segmentation is off for one path for 60 s");
            }
            Marked::Interface { first } => {
                self.counters.fallback_interfaces += 1;
                if first {
                    tracing::warn!(
                        local = %path.local,
                        %error,
                        "the interface of this address refuses segmented sends (UDP_SEGMENT), so each \
                         packet is sent alone at several times the CPU; check its checksum offload \
                         with `ethtool -k`"
                    );
                }
            }
        }
    }

    fn give_up(&mut self, run: &Queued, packets: u16, errno: i32) {
        let (kind, counter) = match errno {
            libc::EAGAIN => (
                SendFailure::WouldBlock,
                &mut self.counters.dropped_would_block,
            ),
            // The engine can do about a full device queue what it can do about a full socket.
            libc::ENOBUFS | libc::ENOMEM => (
                SendFailure::WouldBlock,
                &mut self.counters.dropped_no_buffers,
            ),
            libc::EMSGSIZE => (SendFailure::TooLarge, &mut self.counters.dropped_too_large),
            _ => (SendFailure::Refused, &mut self.counters.dropped_refused),
        };
        *counter += u64::from(packets);
        self.failures.push_back(SendFailed {
            path: run.path,
            run: run.id,
            packets,
            kind,
        });
    }
}

/// A run under construction in the edge's slab. Dropped without a commit it takes no space and sends
/// nothing.
#[derive(Debug)]
pub struct LentRun<'a> {
    outgoing: &'a mut Outgoing,
    path: Path,
    start: usize,
    segment_len: usize,
    count: usize,
    packets: usize,
    bytes: usize,
}

impl Run for LentRun<'_> {
    /// # Panics
    /// When the packet would break the run: more packets than were asked for, an empty one, one longer
    /// than the segment length, or any after a shorter one. The kernel would cut such a run wrong
    /// without a word.
    fn slot(&mut self, len: usize) -> &mut [u8] {
        assert!(
            self.packets < self.count,
            "the run was lent for {} packets",
            self.count
        );
        assert!(
            (1..=self.segment_len).contains(&len),
            "a packet of {len} bytes in a run of {} byte segments",
            self.segment_len
        );
        assert!(
            self.bytes == self.packets * self.segment_len,
            "a packet after a shorter one: only the last of a run may be shorter"
        );
        let at = self.start + self.bytes;
        self.packets += 1;
        self.bytes += len;
        &mut self.outgoing.slab[at..at + len]
    }

    fn commit(self) -> Sent {
        let outgoing = self.outgoing;
        let sent = Sent {
            run: RunId(outgoing.next_run),
            at: Clock::now(),
        };
        outgoing.next_run += 1;
        if self.packets == 0 {
            return sent;
        }
        // A submit in the middle of the engine's flush may have switched segmentation off after the
        // engine asked.
        let singly =
            self.packets > 1 && outgoing.segmentation.segments_max(&self.path, outgoing.now) == 1;
        outgoing.troubled |= singly;
        outgoing.queue.push(Queued {
            path: self.path,
            id: sent.run,
            start: self.start,
            bytes: self.bytes,
            segment_len: self.segment_len,
            packets: u16::try_from(self.packets).expect("invariant: RUN_SEGMENTS_MAX"),
            fate: if singly { Fate::Singly } else { Fate::Whole },
        });
        outgoing.filled += self.bytes;
        outgoing.counters.sent_runs += 1;
        outgoing.counters.sent_packets += self.packets as u64;
        outgoing.counters.sent_bytes += self.bytes as u64;
        sent
    }
}

#[cfg(test)]
#[path = "outgoing_tests.rs"]
mod tests;
