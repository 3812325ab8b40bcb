//! `floor-gso`: seal each packet for each viewer, hand the kernel one segmented message a viewer.
//!
//! No receiving, no routing, no rewriting beyond the header fields a viewer's packet must have: what is
//! left is encryption and the kernel's send path, which every node pays.

use std::io;
use std::mem;
use std::net::{SocketAddr, UdpSocket};
use std::os::fd::AsRawFd as _;
use std::ptr;
use std::time::Instant;

use anyhow::{Context as _, bail};
use io_uring::{IoUring, opcode, squeue, types};

use super::{Cost, Viewer, Work, packet};
use crate::cli::Submit;
use crate::cpu;

/// Messages of one submission. With 64 KiB each the ciphertext stays in the second-level cache.
const MESSAGES: usize = 16;
/// Longest message: 48 sealed packets of 1,216 B are 58,368 B.
const MESSAGE_BYTES: usize = 64 << 10;

/// How the kernel is called.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Edge {
    Uring,
    Mmsg,
}

impl Edge {
    /// What was asked for, or the better one that can really be set up: containers often forbid io_uring.
    ///
    /// # Errors
    /// When io_uring was asked for and cannot be set up.
    pub(crate) fn choose(submit: Submit) -> anyhow::Result<Edge> {
        let asked: Option<Edge> = submit.into();
        let probe = ring();
        match (asked, probe) {
            (Some(Edge::Mmsg), _) | (None, Err(_)) => Ok(Edge::Mmsg),
            (Some(Edge::Uring) | None, Ok(_)) => Ok(Edge::Uring),
            (Some(Edge::Uring), Err(error)) => Err(error).context("io_uring cannot be set up"),
        }
    }

    /// The word used in reports.
    pub(crate) fn word(self) -> &'static str {
        match self {
            Edge::Uring => "io_uring",
            Edge::Mmsg => "sendmmsg",
        }
    }
}

fn ring() -> io::Result<IoUring> {
    IoUring::builder()
        .setup_single_issuer()
        .setup_defer_taskrun()
        .build(64)
}

/// Sends bursts to every viewer, in turn, as fast as the kernel takes them or at an even pace, on a
/// thread of its own.
///
/// # Errors
/// When the kernel refuses a message for another reason than a full send buffer.
pub(crate) fn run(socket: &UdpSocket, work: &Work, edge: Edge) -> anyhow::Result<Cost> {
    socket.set_nonblocking(true)?;
    std::thread::scope(|scope| {
        std::thread::Builder::new()
            .name("floor-gso".to_owned())
            .spawn_scoped(scope, || {
                cpu::pin(work.cores.measured)?;
                match edge {
                    Edge::Uring => send_all(&mut Ring::new(socket)?, work),
                    Edge::Mmsg => send_all(&mut Calls(socket), work),
                }
            })?
            .join()
            .unwrap_or_else(|_| bail!("the sending thread panicked"))
    })
}

fn send_all<K: Kernel>(kernel: &mut K, work: &Work) -> anyhow::Result<Cost> {
    let viewers = Viewer::all(work);
    let mut packets: Vec<Vec<u8>> = (0..work.burst).map(|_| packet()).collect();
    let segment = packets.first().map_or(0, Vec::len) + work.profile.tag_bytes();
    let mut messages = Messages::new(&viewers, segment)?;
    let mut taken = Taken::default();
    let mut index = 0_u64;

    let begin = cpu::this_thread();
    let mut due = Instant::now();
    let end = due + work.window;
    while Instant::now() < end {
        for (number, viewer) in viewers.iter().enumerate() {
            let slot = messages.slot();
            let mut length = 0;
            for (offset, packet) in (0_u64..).zip(&mut packets) {
                length += viewer.seal(packet, index + offset, &mut slot[length..]);
            }
            messages.queue(number, length, segment);
            if messages.full() {
                kernel.send(&mut messages, &mut taken)?;
            }
        }
        index += work.burst as u64;
        if !work.interval.is_zero() {
            kernel.send(&mut messages, &mut taken)?;
            due += work.interval;
            std::thread::sleep(due.saturating_duration_since(Instant::now()));
        }
    }
    kernel.send(&mut messages, &mut taken)?;
    let cpu = cpu::this_thread().saturating_sub(begin);

    let burst = work.burst as u64;
    Ok(Cost {
        packets: taken.messages * burst,
        refused: taken.refused * burst,
        messages: taken.messages,
        cpu,
    })
}

/// What became of the messages.
#[derive(Clone, Copy, Debug, Default)]
struct Taken {
    messages: u64,
    refused: u64,
}

/// One way to hand messages to the kernel.
trait Kernel {
    /// Sends every queued message. When it returns the kernel holds no pointer into `messages`.
    fn send(&mut self, messages: &mut Messages, taken: &mut Taken) -> anyhow::Result<()>;
}

/// Room for one control message that carries a `u16`, aligned as the kernel wants it.
#[repr(C, align(8))]
struct Control([u8; 24]);

/// Messages under construction, with everything their headers point at. All of it lives on the heap at
/// addresses that do not change while this value lives.
struct Messages {
    slab: Vec<u8>,
    names: Vec<libc::sockaddr_in>,
    control: Box<Control>,
    vectors: Vec<libc::iovec>,
    headers: Vec<libc::mmsghdr>,
    queued: usize,
}

impl Messages {
    fn new(viewers: &[Viewer], segment: usize) -> anyhow::Result<Messages> {
        let names = viewers
            .iter()
            .map(|viewer| match viewer.destination {
                SocketAddr::V4(address) => Ok(libc::sockaddr_in {
                    sin_family: libc::sa_family_t::try_from(libc::AF_INET)?,
                    sin_port: address.port().to_be(),
                    sin_addr: libc::in_addr {
                        s_addr: u32::from_ne_bytes(address.ip().octets()),
                    },
                    sin_zero: [0; 8],
                }),
                SocketAddr::V6(address) => bail!("floors send over IPv4, not to {address}"),
            })
            .collect::<anyhow::Result<_>>()?;
        // SAFETY: a message header of zeroes is valid: null pointers with zero lengths.
        let empty: libc::mmsghdr = unsafe { mem::zeroed() };
        Ok(Messages {
            slab: vec![0; MESSAGES * MESSAGE_BYTES],
            names,
            control: segment_control(u16::try_from(segment)?)?,
            vectors: vec![
                libc::iovec {
                    iov_base: ptr::null_mut(),
                    iov_len: 0,
                };
                MESSAGES
            ],
            headers: vec![empty; MESSAGES],
            queued: 0,
        })
    }

    fn full(&self) -> bool {
        self.queued == MESSAGES
    }

    /// The bytes of the next message.
    fn slot(&mut self) -> &mut [u8] {
        &mut self.slab[self.queued * MESSAGE_BYTES..][..MESSAGE_BYTES]
    }

    /// Queues the first `length` bytes of [`Messages::slot`] for a viewer; segmented when there is more
    /// than one segment in it.
    fn queue(&mut self, viewer: usize, length: usize, segment: usize) {
        let base = self.slot().as_mut_ptr();
        let vector = &mut self.vectors[self.queued];
        vector.iov_base = base.cast();
        vector.iov_len = length;
        let header = &mut self.headers[self.queued].msg_hdr;
        header.msg_name = ptr::from_mut(&mut self.names[viewer]).cast();
        header.msg_namelen = NAME_BYTES;
        header.msg_iov = vector;
        header.msg_iovlen = 1;
        if length > segment {
            header.msg_control = ptr::from_mut(&mut *self.control).cast();
            header.msg_controllen = mem::size_of::<Control>();
        } else {
            header.msg_control = ptr::null_mut();
            header.msg_controllen = 0;
        }
        self.queued += 1;
    }
}

/// `size_of::<sockaddr_in>()` is 16.
const NAME_BYTES: libc::socklen_t = 16;
const _: () = assert!(mem::size_of::<libc::sockaddr_in>() == 16);

/// The `UDP_SEGMENT` control message: where the kernel cuts.
fn segment_control(segment: u16) -> anyhow::Result<Box<Control>> {
    // SAFETY: CMSG_SPACE and CMSG_LEN compute lengths and touch no memory.
    let (space, length) = unsafe { (libc::CMSG_SPACE(2), libc::CMSG_LEN(2)) };
    if usize::try_from(space)? != mem::size_of::<Control>() {
        bail!("a control message of two bytes takes {space} bytes here");
    }
    let mut control = Box::new(Control([0; 24]));
    let header = libc::cmsghdr {
        cmsg_len: usize::try_from(length)?,
        cmsg_level: libc::SOL_UDP,
        cmsg_type: libc::UDP_SEGMENT,
    };
    let first = ptr::from_mut(&mut *control).cast::<libc::cmsghdr>();
    // SAFETY: `Control` is aligned for a header (8) and has CMSG_SPACE(2) bytes, checked above: the
    // header and two bytes of data after it lie inside.
    unsafe {
        first.write(header);
        libc::CMSG_DATA(first)
            .cast::<u16>()
            .write_unaligned(segment);
    }
    Ok(control)
}

/// sendmmsg.
struct Calls<'a>(&'a UdpSocket);

impl Kernel for Calls<'_> {
    fn send(&mut self, messages: &mut Messages, taken: &mut Taken) -> anyhow::Result<()> {
        let queued = messages.queued;
        let mut done = 0;
        while done < queued {
            let rest = &mut messages.headers[done..queued];
            // SAFETY: each header points at a name, a vector, bytes and a control message owned by
            // `messages`, which is borrowed for the whole call; the kernel copies before it returns.
            let sent = unsafe {
                libc::sendmmsg(
                    self.0.as_raw_fd(),
                    rest.as_mut_ptr(),
                    libc::c_uint::try_from(rest.len())?,
                    libc::MSG_DONTWAIT,
                )
            };
            if let Ok(sent) = usize::try_from(sent) {
                done += sent;
                taken.messages += sent as u64;
                continue;
            }
            let error = io::Error::last_os_error();
            if error.kind() != io::ErrorKind::WouldBlock {
                return Err(error).context("sendmmsg");
            }
            done += 1;
            taken.refused += 1;
        }
        messages.queued = 0;
        Ok(())
    }
}

/// io_uring SENDMSG on a registered socket.
struct Ring(IoUring);

impl Ring {
    fn new(socket: &UdpSocket) -> anyhow::Result<Ring> {
        let ring = ring().context("io_uring cannot be set up")?;
        ring.submitter().register_files(&[socket.as_raw_fd()])?;
        Ok(Ring(ring))
    }
}

impl Kernel for Ring {
    fn send(&mut self, messages: &mut Messages, taken: &mut Taken) -> anyhow::Result<()> {
        if messages.queued == 0 {
            return Ok(());
        }
        // MSG_DONTWAIT: a send that would block must fail at once. Without it the ring would park it and
        // keep its pointers while the slab is being refilled.
        let flags = u32::try_from(libc::MSG_DONTWAIT)?;
        for header in &messages.headers[..messages.queued] {
            let entry = opcode::SendMsg::new(types::Fixed(0), &raw const header.msg_hdr)
                .flags(flags)
                .build()
                .flags(squeue::Flags::SKIP_SUCCESS);
            // SAFETY: the header and all it points at live in `messages`, borrowed until the submission
            // below has returned; a send that cannot finish at once fails instead of keeping pointers.
            unsafe { self.0.submission().push(&entry) }.map_err(|_| {
                anyhow::anyhow!("the submission queue has room for 64 entries, not 16")
            })?;
        }
        self.0.submit().context("io_uring_enter")?;
        taken.messages += messages.queued as u64;
        messages.queued = 0;
        // Only failures complete visibly.
        for completion in self.0.completion() {
            let error = io::Error::from_raw_os_error(-completion.result());
            if error.kind() != io::ErrorKind::WouldBlock {
                return Err(error).context("io_uring SENDMSG");
            }
            taken.messages -= 1;
            taken.refused += 1;
        }
        Ok(())
    }
}
