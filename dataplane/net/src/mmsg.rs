//! The edge on plain system calls: `recvmmsg`, `sendmmsg` with `UDP_SEGMENT`, `ppoll`. For hosts without
//! io_uring, and the yardstick the ring is measured against.

use std::net::IpAddr;
use std::os::fd::{AsRawFd, RawFd};
use std::ptr;
use std::time::Duration;

use dataplane_engine::limits::DATAGRAM_BYTES_MAX;
use dataplane_engine::outbox::{Egress, Outbox, SendFailed};
use dataplane_engine::packet::{Datagram, Path, SocketIndex};
use dataplane_engine::time::Micros;

use crate::clock::{Clock, StampMap};
use crate::control::{RECEIVE_CONTROL_BYTES, ReceivedControl};
use crate::counters::EdgeCounters;
use crate::edge::{Edge, EdgeConfig, EdgeError, EdgeKind, Turn};
use crate::message::{empty_header, last_errno};
use crate::outgoing::{LentRun, Outgoing};
use crate::sockaddr::{self, SOCKADDR_BYTES_MAX};
use crate::socket::ShardSockets;
use crate::wake::Waker;

/// The share of the configured receive buffers that one socket's batch gets.
const BATCH_SHARE: u16 = 8;

/// One receive buffer. Longer datagrams are cut by the kernel, which says so.
const BUFFER_BYTES: usize = DATAGRAM_BYTES_MAX.next_multiple_of(64);

/// Errors in a row after which receiving is given up.
const ERRORS_MAX: u32 = 256;

/// The system-call edge. It stays on the thread that opened it.
#[derive(Debug)]
pub struct MmsgEdge {
    batches: Vec<Batch>,
    outgoing: Outgoing,
    /// Headers of one `sendmmsg`, each pointing to a message of `outgoing`.
    headers: Vec<libc::mmsghdr>,
    /// Which run each header belongs to.
    indices: Vec<usize>,
    stamps: StampMap,
    waker: Waker,
    errors_in_row: u32,
    broken: Option<EdgeError>,
    sockets: ShardSockets,
}

impl MmsgEdge {
    /// Opens the edge on the calling thread.
    ///
    /// # Errors
    /// None today; the signature is that of every edge.
    pub fn open(
        sockets: ShardSockets,
        waker: Waker,
        config: EdgeConfig,
    ) -> Result<MmsgEdge, EdgeError> {
        let batch = usize::from((config.receive_buffers / BATCH_SHARE).max(1));
        Ok(MmsgEdge {
            batches: sockets
                .iter()
                .map(|(index, socket)| Batch::new(index, socket.as_raw_fd(), batch))
                .collect(),
            outgoing: Outgoing::new(&sockets, &config),
            headers: Vec::with_capacity(config.sends),
            indices: Vec::with_capacity(config.sends),
            stamps: StampMap::read(),
            waker,
            errors_in_row: 0,
            broken: None,
            sockets,
        })
    }

    /// Sends the committed runs: one system call for each stretch of runs that leave by one socket.
    fn send(&mut self) -> Result<(), EdgeError> {
        if self.outgoing.len() == 0 {
            return Ok(());
        }
        // Should the submit fail as a whole, nothing more is lent.
        self.outgoing.held = true;
        let mut index = 0;
        while index < self.outgoing.len() {
            let mut fd = None;
            self.headers.clear();
            self.indices.clear();
            while index < self.outgoing.len() {
                if let Some((socket, header)) = self.outgoing.message(index) {
                    let leaves_by = self.sockets.raw(socket);
                    if fd.is_some() && fd != leaves_by {
                        break;
                    }
                    fd = leaves_by;
                    // SAFETY: `message` returned a pointer to a header that stays in place until `settle`.
                    let msg_hdr = unsafe { *header };
                    self.headers.push(libc::mmsghdr {
                        msg_hdr,
                        msg_len: 0,
                    });
                    self.indices.push(index);
                }
                index += 1;
            }
            if let Some(fd) = fd {
                self.send_stretch(fd)?;
            }
        }
        self.outgoing.settle();
        Ok(())
    }

    /// Sends the collected headers. `sendmmsg` stops at the first message it cannot send and reports the
    /// error only when that is the first of a call, so each call begins where the last one ended.
    fn send_stretch(&mut self, fd: RawFd) -> Result<(), EdgeError> {
        let mut done = 0;
        while done < self.headers.len() {
            let rest = &mut self.headers[done..];
            let count = u32::try_from(rest.len()).expect("invariant: EdgeConfig::sends");
            self.outgoing.counters.submits += 1;
            // SAFETY: each header points to a message of `outgoing` and to its slab, which stay as they are
            // until `settle`; there are `count` of them. The kernel writes only `msg_len`.
            let sent = unsafe {
                libc::sendmmsg(
                    fd,
                    rest.as_mut_ptr(),
                    count,
                    libc::MSG_DONTWAIT | libc::MSG_NOSIGNAL,
                )
            };
            match usize::try_from(sent) {
                Ok(sent) => done += sent,
                Err(_) => match last_errno() {
                    libc::EINTR => {}
                    errno @ (libc::EBADF | libc::ENOTSOCK | libc::EFAULT | libc::ENOSYS) => {
                        let error = std::io::Error::from_raw_os_error(errno);
                        return Err(EdgeError::Submit(error));
                    }
                    errno => {
                        self.outgoing.on_refused(self.indices[done], errno);
                        done += 1;
                    }
                },
            }
        }
        Ok(())
    }

    /// Waits for a readable socket or a wake.
    fn poll(&self, timeout: Option<Duration>) -> Result<Ready, EdgeError> {
        let entry = |fd| libc::pollfd {
            fd,
            events: libc::POLLIN,
            revents: 0,
        };
        // A negative descriptor is skipped by the kernel.
        let mut polled = [
            entry(self.waker.event().as_raw_fd()),
            entry(self.batches.first().map_or(-1, |batch| batch.fd)),
            entry(self.batches.get(1).map_or(-1, |batch| batch.fd)),
        ];
        let timeout = timeout.map(|timeout| libc::timespec {
            tv_sec: i64::try_from(timeout.as_secs()).unwrap_or(i64::MAX),
            tv_nsec: i64::from(timeout.subsec_nanos()),
        });
        let timeout = timeout.as_ref().map_or(ptr::null(), ptr::from_ref);
        // SAFETY: the array holds three entries and lives through the call; the timeout is null or points
        // to a timespec that does; no signal mask is given.
        let count = unsafe { libc::ppoll(polled.as_mut_ptr(), 3, timeout, ptr::null()) };
        if count < 0 {
            return match last_errno() {
                libc::EINTR | libc::EAGAIN | libc::ENOMEM => Ok(Ready::default()),
                errno => Err(EdgeError::Wait(std::io::Error::from_raw_os_error(errno))),
            };
        }
        Ok(Ready {
            woken: polled[0].revents != 0,
            batches: [polled[1].revents != 0, polled[2].revents != 0],
        })
    }
}

/// What a poll found.
#[derive(Clone, Copy, Debug, Default)]
struct Ready {
    woken: bool,
    batches: [bool; 2],
}

impl Outbox for MmsgEdge {
    type Run<'a> = LentRun<'a>;

    fn egress(&self, path: &Path) -> Egress {
        self.outgoing.egress(path)
    }

    fn run(&mut self, path: &Path, segment_len: usize, count: usize) -> Option<LentRun<'_>> {
        if !self.outgoing.has_room(segment_len * count)
            && let Err(error) = self.send()
        {
            self.broken.get_or_insert(error);
        }
        self.outgoing.lend(path, segment_len, count)
    }
}

impl Edge for MmsgEdge {
    fn wait(&mut self, deadline: Option<Micros>) -> Result<Turn, EdgeError> {
        self.submit()?;
        let busy = self.outgoing.has_failures()
            || self
                .batches
                .iter()
                .any(|batch| batch.has_more || batch.len() > 0);
        let ready = if busy {
            // A batch that was full most likely has more, and polling first would only say so.
            Ready {
                woken: self.waker.is_raised(),
                batches: [true; 2],
            }
        } else {
            self.poll(deadline.map(|deadline| deadline - Clock::now()))?
        };
        for (batch, ready) in self.batches.iter_mut().zip(ready.batches) {
            if !ready || batch.len() > 0 {
                continue;
            }
            match batch.receive() {
                Ok(()) => self.errors_in_row = 0,
                Err(errno) => {
                    self.outgoing.counters.receive_errors += 1;
                    self.errors_in_row += 1;
                    if self.errors_in_row >= ERRORS_MAX {
                        let error = std::io::Error::from_raw_os_error(errno);
                        return Err(EdgeError::Receive(error));
                    }
                }
            }
        }
        if ready.woken {
            self.waker.drain();
            self.outgoing.counters.wakes += 1;
        }
        self.stamps = StampMap::read();
        self.outgoing.now = self.stamps.now();
        self.outgoing.counters.turns += 1;
        Ok(Turn {
            now: self.stamps.now(),
            datagrams: self.batches.iter().map(Batch::len).sum(),
            woken: ready.woken,
        })
    }

    fn next_datagram(&mut self) -> Option<Datagram<'_>> {
        let counters = &mut self.outgoing.counters;
        let mut found = None;
        for (position, batch) in self.batches.iter_mut().enumerate() {
            if let Some(datagram) = batch.advance(counters) {
                found = Some((position, datagram));
                break;
            }
        }
        let (position, received) = found?;
        Some(Datagram {
            path: received.path,
            arrival: self.stamps.arrival(received.stamp_ns),
            bytes: self.batches[position].payload(received.slot, received.bytes),
        })
    }

    fn next_failure(&mut self) -> Option<SendFailed> {
        self.outgoing.next_failure()
    }

    fn submit(&mut self) -> Result<(), EdgeError> {
        match self.broken.take() {
            Some(error) => Err(error),
            None => self.send(),
        }
    }

    /// Nothing to do: the buffers are written only by the next wait.
    fn end_turn(&mut self) {}

    fn counters(&self) -> &EdgeCounters {
        &self.outgoing.counters
    }

    fn kernel_drops(&self) -> u64 {
        self.sockets.drops()
    }

    fn unsegmented_addresses(&self) -> Vec<IpAddr> {
        self.outgoing.unsegmented_addresses()
    }

    fn kind(&self) -> EdgeKind {
        EdgeKind::Mmsg
    }
}

/// Where the kernel puts the address and the control messages of one datagram.
#[derive(Clone, Copy, Debug)]
#[repr(C, align(8))]
struct Slot {
    control: [u8; RECEIVE_CONTROL_BYTES],
    name: [u8; SOCKADDR_BYTES_MAX],
}

/// The receive buffers of one socket and what is in them.
#[derive(Debug)]
struct Batch {
    socket: SocketIndex,
    fd: RawFd,
    slots: Vec<Slot>,
    payloads: Vec<u8>,
    iovecs: Vec<libc::iovec>,
    headers: Vec<libc::mmsghdr>,
    received: usize,
    next: usize,
    /// Whether the last receive filled every buffer.
    has_more: bool,
}

/// A datagram of a batch.
#[derive(Clone, Copy, Debug)]
struct Received {
    slot: usize,
    bytes: usize,
    path: Path,
    stamp_ns: Option<u64>,
}

impl Batch {
    fn new(socket: SocketIndex, fd: RawFd, count: usize) -> Batch {
        let slot = Slot {
            control: [0; RECEIVE_CONTROL_BYTES],
            name: [0; SOCKADDR_BYTES_MAX],
        };
        let iovec = libc::iovec {
            iov_base: ptr::null_mut(),
            iov_len: 0,
        };
        let header = libc::mmsghdr {
            msg_hdr: empty_header(),
            msg_len: 0,
        };
        Batch {
            socket,
            fd,
            slots: vec![slot; count],
            // Ones, not zeros: writing makes the kernel give the pages now and not in the first turns.
            payloads: vec![1; count * BUFFER_BYTES],
            iovecs: vec![iovec; count],
            headers: vec![header; count],
            received: 0,
            next: 0,
            has_more: false,
        }
    }

    fn len(&self) -> usize {
        self.received - self.next
    }

    /// Receives as many datagrams as there are buffers. Nothing there is not an error.
    fn receive(&mut self) -> Result<(), i32> {
        self.received = 0;
        self.next = 0;
        self.has_more = false;
        let count = self.headers.len();
        let payloads = self.payloads.chunks_exact_mut(BUFFER_BYTES);
        let parts = self.slots.iter_mut().zip(&mut self.iovecs).zip(payloads);
        for (header, ((slot, iovec), payload)) in self.headers.iter_mut().zip(parts) {
            iovec.iov_base = payload.as_mut_ptr().cast();
            iovec.iov_len = payload.len();
            let header = &mut header.msg_hdr;
            header.msg_name = slot.name.as_mut_ptr().cast();
            header.msg_namelen = u32::try_from(slot.name.len()).expect("invariant: 28");
            header.msg_control = slot.control.as_mut_ptr().cast();
            header.msg_controllen = slot.control.len();
            header.msg_iov = iovec;
            header.msg_iovlen = 1;
        }
        let vlen = u32::try_from(count).expect("invariant: EdgeConfig::receive_buffers");
        // SAFETY: there are `vlen` headers, each pointing to its own slot, iovec and payload of this batch,
        // all of which live and are borrowed mutably through the call; no timeout is given.
        let received = unsafe {
            libc::recvmmsg(
                self.fd,
                self.headers.as_mut_ptr(),
                vlen,
                libc::MSG_DONTWAIT,
                ptr::null_mut(),
            )
        };
        match usize::try_from(received) {
            Ok(received) => {
                self.received = received;
                self.has_more = received == count;
                Ok(())
            }
            Err(_) => match last_errno() {
                libc::EAGAIN | libc::EINTR => Ok(()),
                errno => Err(errno),
            },
        }
    }

    /// The next datagram the engine can use; others are counted.
    fn advance(&mut self, counters: &mut EdgeCounters) -> Option<Received> {
        while self.next < self.received {
            let at = self.next;
            self.next += 1;
            let (header, slot) = (&self.headers[at], &self.slots[at]);
            let bytes = header.msg_len as usize;
            if header.msg_hdr.msg_flags & libc::MSG_TRUNC != 0 || bytes > DATAGRAM_BYTES_MAX {
                counters.received_oversized += 1;
                continue;
            }
            let name_len = (header.msg_hdr.msg_namelen as usize).min(slot.name.len());
            let control_len = header.msg_hdr.msg_controllen.min(slot.control.len());
            let control = ReceivedControl::read(&slot.control[..control_len]);
            let remote = sockaddr::read(&slot.name[..name_len]);
            let (Some(remote), Some(local)) = (remote, control.local) else {
                counters.received_unaddressed += 1;
                continue;
            };
            counters.received_packets += 1;
            counters.received_bytes += bytes as u64;
            return Some(Received {
                slot: at,
                bytes,
                path: Path {
                    local,
                    remote,
                    socket: self.socket,
                },
                stamp_ns: control.stamp_ns,
            });
        }
        None
    }

    fn payload(&mut self, slot: usize, bytes: usize) -> &mut [u8] {
        let start = slot * BUFFER_BYTES;
        &mut self.payloads[start..start + bytes]
    }
}
