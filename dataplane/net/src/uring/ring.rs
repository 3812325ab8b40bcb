//! The ring itself: setting it up with what the kernel has, entering it, and naming its completions.

use std::io;
use std::os::fd::{AsRawFd, RawFd};
use std::time::Duration;

use dataplane_engine::packet::SocketIndex;
use io_uring::squeue::Entry;
use io_uring::types::{CancelBuilder, Fixed, SubmitArgs, Timespec};
use io_uring::{IoUring, cqueue};

use crate::edge::EdgeError;
use crate::socket::ShardSockets;
use crate::wake::Waker;

/// How often a submit that the kernel takes only in part is continued before it is left for the next
/// turn. It takes all at once unless it lacks memory.
const SUBMIT_ATTEMPTS: usize = 8;

/// Submission entries beside the sends: two receives and the wake poll, armed once and now and then
/// again.
const OTHER_ENTRIES: usize = 8;

/// What a completion belongs to, kept in its `user_data`: the kind in the top byte, a number below.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Tag {
    /// The multishot receive of a socket.
    Receive(SocketIndex),
    /// The poll of the eventfd.
    Wake,
    /// The send at this place of the queue.
    Send(usize),
}

impl Tag {
    const KIND_SHIFT: u32 = 56;

    pub(super) fn pack(self) -> u64 {
        match self {
            Tag::Receive(socket) => 1 << Tag::KIND_SHIFT | u64::from(socket.0),
            Tag::Wake => 2 << Tag::KIND_SHIFT,
            Tag::Send(index) => 3 << Tag::KIND_SHIFT | index as u64,
        }
    }

    /// The tag in `user_data`, which the kernel returns as it was given.
    pub(super) fn unpack(user_data: u64) -> Tag {
        let number = user_data & ((1 << Tag::KIND_SHIFT) - 1);
        match user_data >> Tag::KIND_SHIFT {
            1 => Tag::Receive(SocketIndex(
                u8::try_from(number).expect("invariant: packed from a u8"),
            )),
            2 => Tag::Wake,
            3 => Tag::Send(usize::try_from(number).expect("invariant: packed from a usize")),
            kind => unreachable!("invariant: no request is tagged {kind}"),
        }
    }
}

/// One io_uring, used by the thread that made it.
pub(super) struct Ring {
    ring: IoUring,
    sockets: [Option<Fixed>; 2],
    wake: Fixed,
}

impl std::fmt::Debug for Ring {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Ring")
            .field("fd", &self.ring.as_raw_fd())
            .finish_non_exhaustive()
    }
}

impl Ring {
    /// A ring for at most `sends` sends a submit and `receives` receive buffers, with the sockets and
    /// the waker registered.
    pub(super) fn new(
        sockets: &ShardSockets,
        waker: &Waker,
        sends: usize,
        receives: usize,
    ) -> Result<Ring, EdgeError> {
        // The completion queue cannot overflow: each receive completion holds a buffer until it has been
        // read, a submit yields at most one completion a send, and of the rest there is one each.
        let submissions = (sends + OTHER_ENTRIES).next_power_of_two();
        let completions = (submissions + receives + OTHER_ENTRIES).next_power_of_two();
        let ring = set_up(entries(submissions), entries(completions))?;
        let params = ring.params();
        // Without these a wait has no deadline, successful sends flood the completion queue, or the
        // kernel reads a message after the submit.
        for (present, step) in [
            (params.is_feature_ext_arg(), "IORING_FEAT_EXT_ARG"),
            (
                params.is_feature_skip_cqe_on_success(),
                "IORING_FEAT_CQE_SKIP",
            ),
            (
                params.is_feature_submit_stable(),
                "IORING_FEAT_SUBMIT_STABLE",
            ),
            (params.is_feature_nodrop(), "IORING_FEAT_NODROP"),
        ] {
            if !present {
                let source = io::Error::from_raw_os_error(libc::ENOSYS);
                return Err(EdgeError::Open { step, source });
            }
        }
        // Registered files spare each request the reference count of a file that other threads share.
        let mut files: Vec<RawFd> = Vec::with_capacity(3);
        let mut registered = [None; 2];
        for (index, socket) in sockets.iter() {
            registered[usize::from(index.0)] = Some(Fixed(entries(files.len())));
            files.push(socket.as_raw_fd());
        }
        let wake = Fixed(entries(files.len()));
        files.push(waker.event().as_raw_fd());
        ring.submitter()
            .register_files(&files)
            .map_err(|source| EdgeError::Open {
                step: "IORING_REGISTER_FILES",
                source,
            })?;
        Ok(Ring {
            ring,
            sockets: registered,
            wake,
        })
    }

    /// The registered file of a socket.
    pub(super) fn socket(&self, index: SocketIndex) -> Option<Fixed> {
        self.sockets.get(usize::from(index.0)).copied().flatten()
    }

    /// The sockets that are registered.
    pub(super) fn sockets(&self) -> impl Iterator<Item = SocketIndex> + use<> {
        let present = self.sockets.map(|socket| socket.is_some());
        [SocketIndex::UDP_V4, SocketIndex::UDP_V6]
            .into_iter()
            .filter(move |index| present[usize::from(index.0)])
    }

    /// The registered file of the eventfd.
    pub(super) fn wake(&self) -> Fixed {
        self.wake
    }

    /// The crate's handle for registering buffers and cancelling.
    pub(super) fn submitter(&self) -> io_uring::Submitter<'_> {
        self.ring.submitter()
    }

    /// Queues a request.
    ///
    /// # Safety
    /// Whatever the request points to lives, unmoved, until the kernel is done with it.
    pub(super) unsafe fn push(&mut self, request: &Entry) {
        // SAFETY: the caller vouches for what the request points to.
        let pushed = unsafe { self.ring.submission().push(request) };
        pushed.expect("invariant: the submission queue has room for a full submit and all rearms");
    }

    /// Whether requests are queued that the kernel has not taken.
    pub(super) fn has_queued(&mut self) -> bool {
        !self.ring.submission().is_empty()
    }

    /// Hands all queued requests to the kernel. False when it would not take all of them for want of
    /// memory: then the rest stays queued.
    pub(super) fn submit(&mut self) -> io::Result<bool> {
        for _ in 0..SUBMIT_ATTEMPTS {
            match self.ring.submit() {
                Ok(_) => {}
                Err(error) if is_transient(&error) => {}
                Err(error) => return Err(error),
            }
            if !self.has_queued() {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// Submits what is queued and waits for a completion, at most `timeout`.
    pub(super) fn wait(&mut self, timeout: Option<Duration>) -> io::Result<()> {
        let submitter = self.ring.submitter();
        let outcome = match timeout {
            None => submitter.submit_and_wait(1),
            Some(timeout) => {
                let timeout = Timespec::from(timeout);
                submitter.submit_with_args(1, &SubmitArgs::new().timespec(&timeout))
            }
        };
        match outcome {
            Ok(_) => Ok(()),
            Err(error) if error.raw_os_error() == Some(libc::ETIME) => Ok(()),
            Err(error) if is_transient(&error) => Ok(()),
            Err(error) => Err(error),
        }
    }

    /// Submits what is queued and lets the kernel finish what it deferred, without waiting. Costs a
    /// system call only when there is something of either.
    pub(super) fn poll(&mut self) -> io::Result<()> {
        let submissions = self.ring.submission();
        if submissions.is_empty() && !submissions.taskrun() && !submissions.cq_overflow() {
            return Ok(());
        }
        drop(submissions);
        match self.ring.submit() {
            Ok(_) => Ok(()),
            Err(error) if is_transient(&error) => Ok(()),
            Err(error) => Err(error),
        }
    }

    /// Whether the kernel has work of this ring that only an enter runs.
    pub(super) fn has_deferred(&mut self) -> bool {
        self.ring.submission().taskrun()
    }

    /// The completions there are.
    pub(super) fn completions(&mut self) -> cqueue::CompletionQueue<'_> {
        self.ring.completion()
    }

    /// Asks the kernel to end all requests; their completions follow.
    pub(super) fn cancel_all(&self, timeout: Duration) -> io::Result<()> {
        self.ring
            .submitter()
            .register_sync_cancel(Some(Timespec::from(timeout)), CancelBuilder::any())
    }
}

/// A ring with completions deferred to the owner's own waits (`DEFER_TASKRUN`, Linux 6.1), or on 6.0
/// run at the owner's next system call.
fn set_up(submissions: u32, completions: u32) -> Result<IoUring, EdgeError> {
    let mut deferred = IoUring::builder();
    deferred
        .setup_cqsize(completions)
        .setup_submit_all()
        .setup_single_issuer()
        .setup_taskrun_flag();
    let mut cooperative = deferred.clone();
    deferred.setup_defer_taskrun();
    cooperative.setup_coop_taskrun();
    deferred
        .build(submissions)
        .or_else(|error| match error.raw_os_error() {
            Some(libc::EINVAL) => cooperative.build(submissions),
            _ => Err(error),
        })
        .map_err(|source| EdgeError::Open {
            step: "io_uring_setup",
            source,
        })
}

/// Errors that pass: a signal, or no memory for the moment.
fn is_transient(error: &io::Error) -> bool {
    matches!(
        error.raw_os_error(),
        Some(libc::EINTR | libc::EAGAIN | libc::EBUSY | libc::ENOMEM)
    )
}

fn entries(number: usize) -> u32 {
    u32::try_from(number).expect("invariant: ring sizes are thousands")
}

#[cfg(test)]
mod tests {
    use std::os::unix::net::UnixDatagram;

    use io_uring::{opcode, squeue, types};

    use super::*;

    #[test]
    fn tags_survive_the_kernel() {
        for tag in [
            Tag::Receive(SocketIndex::UDP_V6),
            Tag::Wake,
            Tag::Send(0),
            Tag::Send(511),
        ] {
            assert_eq!(Tag::unpack(tag.pack()), tag);
        }
    }

    /// The slab is reused after a submit because of what this test shows: a send with `MSG_DONTWAIT`
    /// that would block is not parked in the ring with a pointer to its payload, but has failed, with a
    /// completion that can be read, when the submit returns. Loopback UDP never blocks, so the socket is
    /// one that does.
    #[test]
    fn a_send_that_would_block_has_failed_when_the_submit_returns() {
        if crate::probe::probe().is_err() {
            eprintln!("skipped: no io_uring here");
            return;
        }
        let (near, _far) = UnixDatagram::pair().unwrap();
        let mut ring = set_up(1_024, 2_048).unwrap();
        let mut payload = [7u8; 2_000];
        let iovec = libc::iovec {
            iov_base: payload.as_mut_ptr().cast(),
            iov_len: payload.len(),
        };
        let mut header = crate::message::empty_header();
        header.msg_iov = (&raw const iovec).cast_mut();
        header.msg_iovlen = 1;
        for index in 0..1_000u64 {
            let send = opcode::SendMsg::new(types::Fd(near.as_raw_fd()), &raw const header)
                .flags(libc::MSG_DONTWAIT.cast_unsigned())
                .build()
                .flags(squeue::Flags::SKIP_SUCCESS)
                .user_data(index);
            // SAFETY: header, iovec and payload live until the end of the test, after the ring's last use.
            unsafe { ring.submission().push(&send).unwrap() };
        }
        ring.submit().unwrap();
        assert!(ring.submission().is_empty());
        let refused: Vec<(u64, i32)> = ring
            .completion()
            .map(|completion| (completion.user_data(), completion.result()))
            .collect();
        // The queue of a Unix socket holds a few, then every send is refused, and each refusal is there.
        let first = refused.first().expect("some sends were refused").0;
        let expected: Vec<(u64, i32)> =
            (first..1_000).map(|index| (index, -libc::EAGAIN)).collect();
        assert_eq!(refused, expected);
    }
}
