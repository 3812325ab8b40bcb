//! What a shard counts: plain totals since it started, copied out once a second.

use crate::publish::NackStats;
use crate::reason::Dropped;

/// Totals of one shard. Conservation (contracts.md 20): `received` = what was accepted + `dropped` on
/// ingress; `selected` = `sealed` + `dropped` on egress + what is queued.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Counters {
    /// Datagrams received, and packets that came from other shards.
    pub received_packets: u64,
    /// Bytes of them.
    pub received_bytes: u64,
    /// Datagrams that reached their consumer: checks answered, records handed on, RTP taken, RTCP read.
    pub accepted_packets: u64,
    /// RTP packets chosen for a slot.
    pub selected_packets: u64,
    /// RTP packets not offered to a slot because its viewer could not be reached.
    pub paused_packets: u64,
    /// RTP packets sealed for a slot and not reported as unsent, without retransmissions.
    pub sealed_packets: u64,
    /// RTP packets sealed again on request and not reported as unsent.
    pub retransmitted_packets: u64,
    /// RTP packets asked for again that were not sent: forgotten, asked for too often or too soon, beyond the
    /// session's budgets (of bytes, and of numbers a second) or the turn's, no slab, no path any more, or not taken
    /// by the kernel. What is asked for counts here or in `retransmitted_packets`.
    pub resends_missed: u64,
    /// Of `retransmitted_packets`, those on a retransmission SSRC (RFC 4588).
    pub rtx_packets: u64,
    /// What publishers were asked to send again, and what became of it.
    pub nack: NackStats,
    /// Keyframes wished by viewers more often than they are heard. The last wish of an interval is heard at its
    /// end, unless a keyframe was forwarded meanwhile.
    pub keyframe_wishes_ignored: u64,
    /// Of `sent_packets`, those the kernel did not take.
    pub send_failed_packets: u64,
    /// Datagrams committed to the edge, RTP and all else.
    pub sent_packets: u64,
    /// Bytes of them.
    pub sent_bytes: u64,
    /// Runs committed to the edge.
    pub sent_runs: u64,
    /// Keyframe requests sent to publishers.
    pub keyframe_requests: u64,
    /// Sessions that connected.
    pub connected: u64,
    /// Sessions that no valid check ever reached.
    pub ice_timeouts: u64,
    /// Sessions not heard for 30 s.
    pub consent_expired: u64,
    /// Handshakes that failed.
    pub handshakes_failed: u64,
    /// Peers whose certificate was not the one their SDP named.
    pub fingerprint_mismatches: u64,
    /// Current linger in microseconds.
    pub linger_us: u64,
    /// Datagrams dropped on the way in, by reason.
    pub dropped_in: Dropped,
    /// RTP packets dropped on the way out, by reason.
    pub dropped_out: Dropped,
}
