//! The receive buffers and the ring by which they are lent to the kernel (`IORING_REGISTER_PBUF_RING`).

use std::alloc::{self, Layout};
use std::ptr::NonNull;
use std::sync::atomic::{AtomicU16, Ordering};

use io_uring::types::BufRingEntry;

use super::ring::Ring;
use crate::edge::EdgeError;

/// The group of the shard's buffers; a ring has only this one.
pub(super) const GROUP: u16 = 0;

/// The kernel maps the buffer ring by pages.
const PAGE_BYTES: usize = 4_096;

/// Memory the kernel writes to, or reads, on its own time. Only raw pointers to it are kept; a slice
/// exists only of a part that the kernel has handed over.
#[derive(Debug)]
struct Region {
    start: NonNull<u8>,
    layout: Layout,
    leaked: bool,
}

impl Region {
    /// Page-aligned memory, touched, so that the pages are there.
    fn new(bytes: usize) -> Region {
        let layout = Layout::from_size_align(bytes.max(PAGE_BYTES), PAGE_BYTES)
            .expect("invariant: megabytes, aligned to a page");
        // SAFETY: the layout is at least a page long.
        let start = unsafe { alloc::alloc(layout) };
        let Some(start) = NonNull::new(start) else {
            alloc::handle_alloc_error(layout)
        };
        // SAFETY: the allocation is `layout.size()` bytes long and nobody else has it yet.
        unsafe { start.write_bytes(0, layout.size()) };
        Region {
            start,
            layout,
            leaked: false,
        }
    }

    /// A pointer `offset` bytes in.
    fn at(&self, offset: usize) -> NonNull<u8> {
        assert!(offset < self.layout.size());
        // SAFETY: the offset is inside the allocation.
        unsafe { self.start.add(offset) }
    }
}

impl Drop for Region {
    fn drop(&mut self) {
        if !self.leaked {
            // SAFETY: allocated with this layout in `new`, and not used after the drop: a region the
            // kernel may still use was marked as leaked.
            unsafe { alloc::dealloc(self.start.as_ptr(), self.layout) };
        }
    }
}

/// The receive buffers. A buffer belongs to the kernel from being given until a completion names it,
/// then to this process until it is given back.
#[derive(Debug)]
pub(super) struct Buffers {
    memory: Region,
    /// `io_uring_buf_ring`: an array of entries; the tail lies in a spare field of the first.
    ring: Region,
    buffer_bytes: usize,
    mask: u16,
    tail: u16,
    /// Taken this turn, to be given back at its end.
    spent: Vec<u16>,
}

impl Buffers {
    /// `count` buffers, a power of two, of `buffer_bytes` bytes each.
    pub(super) fn new(count: u16, buffer_bytes: usize) -> Buffers {
        assert!(
            count.is_power_of_two() && count <= 1 << 15,
            "receive_buffers is a power of two up to 32,768, not {count}"
        );
        Buffers {
            memory: Region::new(usize::from(count) * buffer_bytes),
            ring: Region::new(usize::from(count) * size_of::<BufRingEntry>()),
            buffer_bytes,
            mask: count - 1,
            tail: 0,
            spent: Vec::with_capacity(usize::from(count)),
        }
    }

    /// Registers the buffer ring and gives every buffer to the kernel.
    pub(super) fn register(&mut self, ring: &Ring) -> Result<(), EdgeError> {
        let address = self.ring.start.as_ptr() as u64;
        let count = self.mask + 1;
        // SAFETY: the region is page-aligned, holds `count` entries, and lives as long as the requests
        // that use it: the edge ends them before it drops its buffers, or leaks these.
        let registered = unsafe {
            ring.submitter()
                .register_buf_ring_with_flags(address, count, GROUP, 0)
        };
        registered.map_err(|source| EdgeError::Open {
            step: "IORING_REGISTER_PBUF_RING",
            source,
        })?;
        self.spent.extend(0..count);
        self.give_back();
        Ok(())
    }

    /// How many buffers there are.
    pub(super) fn count(&self) -> usize {
        usize::from(self.mask) + 1
    }

    /// The first `len` bytes of a buffer that a completion has named.
    ///
    /// # Safety
    /// The buffer belongs to this process: its completion was read, and it was not given back since.
    pub(super) unsafe fn bytes(&mut self, buffer: u16, len: usize) -> &mut [u8] {
        assert!(buffer <= self.mask && len <= self.buffer_bytes);
        let start = self.memory.at(usize::from(buffer) * self.buffer_bytes);
        // SAFETY: the asserted range is inside the region, which was initialised when it was allocated;
        // the caller vouches that the kernel does not write to it, and `&mut self` that nobody else has a
        // slice of it.
        unsafe { std::slice::from_raw_parts_mut(start.as_ptr(), len) }
    }

    /// Marks a buffer for [`Buffers::give_back`].
    pub(super) fn spend(&mut self, buffer: u16) {
        self.spent.push(buffer);
    }

    /// Gives all spent buffers to the kernel with one store.
    pub(super) fn give_back(&mut self) {
        if self.spent.is_empty() {
            return;
        }
        for &buffer in &self.spent {
            let address = self.memory.at(usize::from(buffer) * self.buffer_bytes);
            let slot = usize::from(self.tail & self.mask);
            let entry = self.ring.at(slot * size_of::<BufRingEntry>());
            // SAFETY: the slot is inside the region and aligned for an entry; the kernel reads entries only
            // between its head and the tail, and this slot is past the tail, because there are as many
            // slots as buffers and this buffer is not in the ring.
            let entry = unsafe { entry.cast::<BufRingEntry>().as_mut() };
            entry.set_addr(address.as_ptr() as u64);
            entry.set_len(
                u32::try_from(self.buffer_bytes)
                    .expect("invariant: buffers are 2 KiB and a header"),
            );
            entry.set_bid(buffer);
            self.tail = self.tail.wrapping_add(1);
        }
        self.spent.clear();
        // SAFETY: the region starts with the first entry, which was zeroed when it was allocated.
        let tail = unsafe { BufRingEntry::tail(self.ring.start.as_ptr().cast()) };
        // SAFETY: the tail is a u16 inside the region, aligned, and shared only with the kernel, which
        // reads it atomically.
        let tail = unsafe { AtomicU16::from_ptr(tail.cast_mut()) };
        // Release: the kernel sees the entries before it sees the tail that covers them.
        tail.store(self.tail, Ordering::Release);
    }

    /// Never frees the memory, because the kernel may still write to it.
    pub(super) fn leak(&mut self) {
        self.memory.leaked = true;
        self.ring.leaked = true;
    }
}
