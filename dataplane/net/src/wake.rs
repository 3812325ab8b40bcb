//! Waking a shard thread that waits in its edge: an eventfd behind a flag, so that a storm of wakes
//! costs one system call.

use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

/// Wakes one edge. Clones wake the same edge.
///
/// Put the message into the mailbox first, then wake: whatever was put before [`Waker::wake`] is seen by
/// the turn that the wake starts, or by an earlier one.
#[derive(Clone, Debug)]
pub struct Waker {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    event: OwnedFd,
    /// True from the first wake until the edge has seen it. While it is true further wakes are free.
    raised: AtomicBool,
}

impl Waker {
    /// A waker for an edge that is opened with a clone of it.
    ///
    /// # Errors
    /// The process has no file descriptor left (EMFILE, ENFILE).
    pub fn new() -> io::Result<Waker> {
        // SAFETY: eventfd takes no pointers; the result is checked before it is used.
        let event = unsafe { libc::eventfd(0, libc::EFD_CLOEXEC | libc::EFD_NONBLOCK) };
        if event < 0 {
            return Err(io::Error::last_os_error());
        }
        // SAFETY: the call above returned this descriptor, so it is open and nobody else owns it.
        let event = unsafe { OwnedFd::from_raw_fd(event) };
        Ok(Waker {
            shared: Arc::new(Shared {
                event,
                raised: AtomicBool::new(false),
            }),
        })
    }

    /// Ends the edge's wait, now or at its next one.
    pub fn wake(&self) {
        // AcqRel: the release half publishes what was put into the mailbox before, also when the flag is
        // up already, because the edge lowers it with an acquiring exchange before it looks.
        if self.shared.raised.swap(true, Ordering::AcqRel) {
            return;
        }
        let one = 1u64.to_ne_bytes();
        // The counter cannot overflow: it would take 2^64 writes. A write can fail in no other way on a
        // descriptor that is open.
        // SAFETY: the buffer is eight bytes, which is what an eventfd takes, and lives through the call.
        unsafe {
            libc::write(
                self.shared.event.as_raw_fd(),
                one.as_ptr().cast(),
                one.len(),
            )
        };
    }

    /// The eventfd to wait on: readable after a wake.
    pub(crate) fn event(&self) -> BorrowedFd<'_> {
        self.shared.event.as_fd()
    }

    /// Whether a wake waits to be seen.
    pub(crate) fn is_raised(&self) -> bool {
        self.shared.raised.load(Ordering::Acquire)
    }

    /// Takes the wake, for an edge that is told of each write to the eventfd (multishot poll in the
    /// ring) and never reads its counter. What was put before the wake is visible afterwards.
    pub(crate) fn lower(&self) {
        self.shared.raised.swap(false, Ordering::AcqRel);
    }

    /// Takes the wake and empties the eventfd, for an edge that polls it level-triggered.
    ///
    /// The order matters: were the flag lowered first, a wake between the two steps would be eaten by
    /// the read while its flag stays up, and no wake would ever be written again.
    pub(crate) fn drain(&self) {
        let mut count = [0u8; 8];
        // SAFETY: the buffer is eight bytes, which is what an eventfd gives, and lives through the call.
        // The descriptor does not block; an empty counter answers EAGAIN, which is as good.
        unsafe {
            libc::read(
                self.shared.event.as_raw_fd(),
                count.as_mut_ptr().cast(),
                count.len(),
            )
        };
        self.lower();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pending(waker: &Waker) -> Option<u64> {
        let mut count = [0u8; 8];
        // SAFETY: an eight-byte buffer that lives through the call.
        let read = unsafe { libc::read(waker.event().as_raw_fd(), count.as_mut_ptr().cast(), 8) };
        (read == 8).then(|| u64::from_ne_bytes(count))
    }

    #[test]
    fn a_storm_of_wakes_is_one_write() {
        let waker = Waker::new().unwrap();
        for _ in 0..1_000 {
            waker.wake();
        }
        assert_eq!(pending(&waker), Some(1));
    }

    #[test]
    fn a_wake_after_the_drain_is_written_again() {
        let waker = Waker::new().unwrap();
        waker.wake();
        waker.drain();
        assert_eq!(pending(&waker), None);
        waker.clone().wake();
        assert!(waker.is_raised());
        assert_eq!(pending(&waker), Some(1));
    }
}
