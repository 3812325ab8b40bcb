//! What an edge counts: plain totals since it was opened, copied out by the shard once a second.

/// Totals of one edge.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct EdgeCounters {
    /// Datagrams handed to the engine.
    pub received_packets: u64,
    /// Their UDP payload bytes.
    pub received_bytes: u64,
    /// Datagrams dropped because they were longer than the engine accepts.
    pub received_oversized: u64,
    /// Datagrams dropped because the kernel gave no usable address with them.
    pub received_unaddressed: u64,
    /// Times every receive buffer was in use and datagrams had to wait in the socket.
    pub receive_buffers_exhausted: u64,
    /// Times a socket's receive was armed again (always one a socket at the start; io_uring only).
    pub receive_rearmed: u64,
    /// Errors the kernel reported on receive.
    pub receive_errors: u64,
    /// Runs committed by the engine.
    pub sent_runs: u64,
    /// Packets in them.
    pub sent_packets: u64,
    /// Their UDP payload bytes.
    pub sent_bytes: u64,
    /// Runs handed to the kernel as one segmented message.
    pub sent_segmented: u64,
    /// Runs sent packet by packet after segmentation failed or where it is off.
    pub sent_unsegmented: u64,
    /// Paths on which segmentation was switched off for a minute.
    pub fallback_paths: u64,
    /// Local addresses on which segmentation was switched off.
    pub fallback_interfaces: u64,
    /// Packets dropped because the socket's send buffer was full: an alarm.
    pub dropped_would_block: u64,
    /// Packets dropped because the kernel had no memory or the device queue was full (ENOBUFS, ENOMEM).
    pub dropped_no_buffers: u64,
    /// Packets dropped because they are larger than the route allows.
    pub dropped_too_large: u64,
    /// Packets dropped because the kernel refused them (unreachable, permission, device error).
    pub dropped_refused: u64,
    /// Runs refused because every byte of send memory was still with the kernel.
    pub slab_exhausted: u64,
    /// System calls that sent.
    pub submits: u64,
    /// Turns, which is returns from waiting.
    pub turns: u64,
    /// Turns that another thread's wake ended.
    pub wakes: u64,
}
