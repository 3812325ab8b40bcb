//! The edge on io_uring: one ring a shard, multishot receive into a ring of buffers, segmented sends.

mod buffers;
mod receive;
mod ring;
mod send;

use std::net::IpAddr;
use std::time::Duration;

use dataplane_engine::outbox::{Egress, Outbox, SendFailed};
use dataplane_engine::packet::{Datagram, Path};
use dataplane_engine::time::Micros;
use io_uring::{cqueue, opcode};

use self::buffers::Buffers;
use self::receive::{BUFFER_BYTES, Receiver};
use self::ring::{Ring, Tag};
use crate::clock::{Clock, StampMap};
use crate::counters::EdgeCounters;
use crate::edge::{Edge, EdgeConfig, EdgeError, EdgeKind, Turn};
use crate::outgoing::{LentRun, Outgoing};
use crate::socket::ShardSockets;
use crate::wake::Waker;

/// How long closing an edge waits for the kernel to end its requests.
const CLOSE_PATIENCE: Duration = Duration::from_millis(100);

/// How often it looks whether they have ended.
const CLOSE_ATTEMPTS: usize = 64;

/// The share of the receive buffers that one turn may fill before it begins: the rest takes what arrives
/// while the turn runs.
const TURN_SHARE: usize = 8;

/// The io_uring edge. It stays on the thread that opened it: the ring has a single issuer.
#[derive(Debug)]
pub struct UringEdge {
    // The ring is dropped before what its requests point to.
    ring: Ring,
    receiver: Receiver,
    buffers: Buffers,
    outgoing: Outgoing,
    stamps: StampMap,
    wake: Wake,
    /// A turn is not prolonged when it has this many datagrams.
    turn_datagrams: usize,
    /// A submit that failed in the middle of a flush, reported by the next call that can.
    broken: Option<EdgeError>,
    sockets: ShardSockets,
}

/// The eventfd's side of the ring.
#[derive(Debug)]
struct Wake {
    waker: Waker,
    /// Whether the multishot poll is in the kernel.
    armed: bool,
    /// Whether a wake came that no turn has told of.
    pending: bool,
}

impl UringEdge {
    /// Sets a ring up on the calling thread.
    ///
    /// # Errors
    /// The kernel refused a step, which the error names.
    pub fn open(
        sockets: ShardSockets,
        waker: Waker,
        config: EdgeConfig,
    ) -> Result<UringEdge, EdgeError> {
        let mut buffers = Buffers::new(config.receive_buffers, BUFFER_BYTES);
        let ring = Ring::new(&sockets, &waker, config.sends, buffers.count())?;
        buffers.register(&ring)?;
        Ok(UringEdge {
            receiver: Receiver::new(buffers.count()),
            outgoing: Outgoing::new(&sockets, &config),
            stamps: StampMap::read(),
            wake: Wake {
                waker,
                armed: false,
                pending: false,
            },
            turn_datagrams: buffers.count() / TURN_SHARE,
            broken: None,
            ring,
            buffers,
            sockets,
        })
    }

    /// Queues whatever request has ended: receives and the wake poll.
    fn arm(&mut self) {
        self.receiver
            .arm(&mut self.ring, &mut self.outgoing.counters);
        if !self.wake.armed {
            // Multishot and edge-triggered: each write posts one completion, and the counter is never read.
            // Armed again it reports at once if it was ever written, so no wake is lost in between.
            let events = u32::try_from(libc::POLLIN).expect("invariant: POLLIN is a small number");
            let poll = opcode::PollAdd::new(self.ring.wake(), events)
                .multi(true)
                .build()
                .user_data(Tag::Wake.pack());
            // SAFETY: a poll points to nothing.
            unsafe { self.ring.push(&poll) };
            self.wake.armed = true;
        }
    }

    /// Reads every completion there is.
    fn reap(&mut self) {
        for completion in self.ring.completions() {
            match Tag::unpack(completion.user_data()) {
                Tag::Receive(socket) => self.receiver.on_completion(
                    socket,
                    &completion,
                    &mut self.buffers,
                    &mut self.outgoing.counters,
                ),
                Tag::Wake => {
                    self.wake.armed = cqueue::more(completion.flags());
                    self.wake.pending = true;
                }
                Tag::Send(index) => {
                    if completion.result() < 0 {
                        self.outgoing.on_refused(index, -completion.result());
                    }
                }
            }
        }
    }

    /// Sends the committed runs and makes the slab free again.
    fn send(&mut self) -> Result<(), EdgeError> {
        if self.outgoing.len() == 0 {
            return Ok(());
        }
        send::queue(&mut self.ring, &mut self.outgoing);
        self.outgoing.counters.submits += 1;
        // From here on the kernel has pointers into the slab, until `settle`.
        self.outgoing.held = true;
        let taken = self.ring.submit().map_err(EdgeError::Submit)?;
        self.reap();
        if taken {
            self.outgoing.settle();
        }
        Ok(())
    }

    /// Ends every request, so that the kernel has no pointer into this edge any more.
    fn close(&mut self) -> bool {
        if self.ring.cancel_all(CLOSE_PATIENCE).is_err() {
            return false;
        }
        for _ in 0..CLOSE_ATTEMPTS {
            self.reap();
            if !self.receiver.is_armed() && !self.wake.armed {
                return true;
            }
            if self.ring.wait(Some(CLOSE_PATIENCE)).is_err() {
                return false;
            }
        }
        false
    }
}

impl Drop for UringEdge {
    fn drop(&mut self) {
        if !self.close() {
            // The kernel tears a ring down on its own time. Memory it may still write to is better lost
            // than reused.
            self.buffers.leak();
            tracing::warn!("a ring would not close; its receive buffers are not freed");
        }
        // Lets go of the sockets now, where closing the ring would do so a little later and a restart
        // would meet a port in use. An error means that they are let go later.
        let _ = self.ring.submitter().unregister_files();
    }
}

impl Outbox for UringEdge {
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

impl Edge for UringEdge {
    fn wait(&mut self, deadline: Option<Micros>) -> Result<Turn, EdgeError> {
        // A submit that the kernel would not take is tried again first.
        self.submit()?;
        self.arm();
        self.reap();
        let idle = self.receiver.len() == 0 && !self.wake.pending && !self.outgoing.has_failures();
        let timeout = deadline.map(|deadline| deadline - Clock::now());
        if idle && timeout != Some(Duration::ZERO) {
            self.ring.wait(timeout)
        } else {
            self.ring.poll()
        }
        .map_err(EdgeError::Wait)?;
        self.reap();
        // A receive fills 32 buffers and then lets other work of the ring go first. What lies in the
        // socket already belongs to this turn: a frame cut in two is sent in shorter runs.
        while self.receiver.len() < self.turn_datagrams && self.ring.has_deferred() {
            let before = self.receiver.len();
            self.ring.poll().map_err(EdgeError::Wait)?;
            self.reap();
            if self.receiver.len() == before {
                break;
            }
        }
        self.receiver.check()?;
        self.stamps = StampMap::read();
        self.outgoing.now = self.stamps.now();
        self.outgoing.counters.turns += 1;
        let woken = std::mem::take(&mut self.wake.pending);
        if woken {
            self.wake.waker.lower();
            self.outgoing.counters.wakes += 1;
        }
        Ok(Turn {
            now: self.stamps.now(),
            datagrams: self.receiver.len(),
            woken,
        })
    }

    fn next_datagram(&mut self) -> Option<Datagram<'_>> {
        self.receiver
            .next(&mut self.buffers, &self.stamps, &mut self.outgoing.counters)
    }

    fn next_failure(&mut self) -> Option<SendFailed> {
        self.outgoing.next_failure()
    }

    fn submit(&mut self) -> Result<(), EdgeError> {
        if let Some(error) = self.broken.take() {
            return Err(error);
        }
        self.send()
    }

    fn end_turn(&mut self) {
        self.buffers.give_back();
    }

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
        EdgeKind::Uring
    }
}
