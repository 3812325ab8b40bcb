//! Sending: one SENDMSG a run, segmented by the kernel.
//!
//! Why the slab is free again when a submit returns. A successful send posts no completion
//! (`SKIP_SUCCESS`), so none can be waited for; what makes the reuse sound is that no send outlives the
//! system call that submits it:
//!
//! - `MSG_DONTWAIT` in a request's flags makes it one that may not wait (`REQ_F_NOWAIT`): it is issued
//!   inside `io_uring_enter`, and where it would block it fails with EAGAIN. It is neither parked on a
//!   poll nor given to a worker thread; both would keep its pointers. (`O_NONBLOCK` on the socket does
//!   not do this.) Nothing here is linked, drained or forced to be asynchronous, the other ways to
//!   outlive a submit.
//! - A UDP send that succeeded has copied its payload into socket buffers; zero-copy sends are not used.
//! - A request that failed always posts a completion, `SKIP_SUCCESS` or not, and those of a submit are
//!   posted before `io_uring_enter` returns. A test in `ring.rs` holds the kernel to it.
//!
//! What remains is a submit the kernel did not take whole, for want of memory: then the requests it did
//! not take still point to the slab, which stays lent (`Outgoing::held`) until a later submit took them.

use io_uring::{opcode, squeue};

use super::ring::{Ring, Tag};
use crate::outgoing::Outgoing;

/// Queues the committed runs, unless a submit is still held.
pub(super) fn queue(ring: &mut Ring, outgoing: &mut Outgoing) {
    if outgoing.held {
        return;
    }
    for index in 0..outgoing.len() {
        let Some((socket, header)) = outgoing.message(index) else {
            continue;
        };
        let socket = ring
            .socket(socket)
            .expect("invariant: a run is lent only for a socket there is");
        let flags = (libc::MSG_DONTWAIT | libc::MSG_NOSIGNAL).cast_unsigned();
        let send = opcode::SendMsg::new(socket, header)
            .flags(flags)
            .build()
            .flags(squeue::Flags::SKIP_SUCCESS)
            .user_data(Tag::Send(index).pack());
        // SAFETY: the header and all it points to stay as they are until `Outgoing::settle`, which is called
        // only after the kernel has taken every request, and it is done with a send when it has taken it
        // (see above).
        unsafe { ring.push(&send) };
    }
}
