//! Datagrams that are no media: STUN answers, DTLS flights, RTCP. They wait here until the flush of the
//! same turn and leave behind its audio, before all else.

use crate::outbox::{Outbox, Run};
use crate::packet::Path;
use crate::stats::Counters;

/// A turn's control datagrams, in one buffer that keeps its capacity.
#[derive(Debug, Default)]
pub(crate) struct ControlQueue {
    bytes: Vec<u8>,
    items: Vec<(Path, usize)>,
}

impl ControlQueue {
    /// Queues one datagram.
    pub(crate) fn push(&mut self, path: Path, datagram: &[u8]) {
        self.bytes.extend_from_slice(datagram);
        self.items.push((path, datagram.len()));
    }

    /// Queues what `write` writes into a buffer of `len_max` bytes; nothing when it returns `None`.
    pub(crate) fn push_with(
        &mut self,
        path: Path,
        len_max: usize,
        write: impl FnOnce(&mut [u8]) -> Option<usize>,
    ) {
        let start = self.bytes.len();
        self.bytes.resize(start + len_max, 0);
        let len = self
            .bytes
            .get_mut(start..)
            .and_then(write)
            .unwrap_or(0)
            .min(len_max);
        self.bytes.truncate(start + len);
        if len > 0 {
            self.items.push((path, len));
        }
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.items.is_empty()
    }

    /// Sends everything. What the edge has no slab for is lost: each of these is repeated by its protocol.
    pub(crate) fn flush<O: Outbox>(&mut self, outbox: &mut O, counters: &mut Counters) {
        let mut rest = self.bytes.as_slice();
        for &(path, len) in &self.items {
            let Some((datagram, tail)) = rest.split_at_checked(len) else {
                break;
            };
            rest = tail;
            if let Some(mut run) = outbox.run(&path, len, 1) {
                run.slot(len).copy_from_slice(datagram);
                run.commit();
                counters.sent_packets += 1;
                counters.sent_bytes += len as u64;
                counters.sent_runs += 1;
            }
        }
        self.items.clear();
        self.bytes.clear();
    }
}
