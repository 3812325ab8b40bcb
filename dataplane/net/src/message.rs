//! One message for the kernel: the header of `sendmsg` with everything it points to beside it.

use std::os::fd::RawFd;
use std::ptr;

use dataplane_engine::packet::Path;

use crate::control::SendControl;
use crate::sockaddr::SockAddr;

/// A message and what its header points to. The header is valid only while the message stays where it
/// is, so messages live in a slice that is allocated once.
#[derive(Debug)]
pub(crate) struct Message {
    address: SockAddr,
    control: SendControl,
    payload: libc::iovec,
    header: libc::msghdr,
}

impl Message {
    /// A message that has not been filled.
    pub(crate) fn empty() -> Message {
        Message {
            address: SockAddr::EMPTY,
            control: SendControl::EMPTY,
            payload: libc::iovec {
                iov_base: ptr::null_mut(),
                iov_len: 0,
            },
            header: empty_header(),
        }
    }

    /// Addresses `bytes` to `path`, cut into segments where a length is given. The pointer is good for
    /// one send while the message is neither moved nor filled again and `bytes` live.
    pub(crate) fn fill(
        &mut self,
        path: &Path,
        segment_len: Option<u16>,
        bytes: &[u8],
    ) -> *const libc::msghdr {
        self.address = SockAddr::new(path.remote);
        self.control = SendControl::new(path.local, segment_len);
        self.payload.iov_base = bytes.as_ptr().cast_mut().cast();
        self.payload.iov_len = bytes.len();
        let (address, control) = (self.address.as_bytes(), self.control.as_bytes());
        self.header.msg_name = address.as_ptr().cast_mut().cast();
        self.header.msg_namelen =
            u32::try_from(address.len()).expect("invariant: an address is 28 bytes at most");
        self.header.msg_control = control.as_ptr().cast_mut().cast();
        self.header.msg_controllen = control.len();
        self.header.msg_iov = &raw mut self.payload;
        self.header.msg_iovlen = 1;
        &raw const self.header
    }

    /// Sends `bytes` as one datagram, now, without waiting.
    ///
    /// # Errors
    /// The `errno` of `sendmsg`.
    pub(crate) fn send_now(&mut self, fd: RawFd, path: &Path, bytes: &[u8]) -> Result<(), i32> {
        let header = self.fill(path, None, bytes);
        // SAFETY: `fill` made the header point to this message's own address, control and iovec and to
        // `bytes`; all are borrowed through the call, and the kernel only reads them.
        let sent = unsafe { libc::sendmsg(fd, header, libc::MSG_DONTWAIT | libc::MSG_NOSIGNAL) };
        if sent < 0 { Err(last_errno()) } else { Ok(()) }
    }
}

/// A header that points nowhere.
pub(crate) fn empty_header() -> libc::msghdr {
    // SAFETY: a msghdr is integers and pointers, for which zero is a value; with zero lengths it names
    // no address, no payload and no control.
    unsafe { std::mem::zeroed() }
}

/// The `errno` of the system call that just failed on this thread.
pub(crate) fn last_errno() -> i32 {
    std::io::Error::last_os_error()
        .raw_os_error()
        .expect("invariant: the last OS error has a number")
}
