//! The newest packets of one slot in the order of their indices, so that each is judged against its
//! neighbours however late it comes.

use std::collections::VecDeque;

use dataplane_engine::time::Micros;

use crate::stamp::{Picture, Stamp};

/// More than any retransmission or reordering reaches back.
const PACKETS: usize = 4_096;

/// One packet as it was first sealed.
#[derive(Clone, Copy, Debug)]
pub(super) struct Note {
    pub(super) index: u64,
    pub(super) at: Micros,
    pub(super) timestamp: u32,
    pub(super) stamp: Stamp,
    pub(super) picture: Option<Picture>,
    pub(super) begins_keyframe: bool,
    /// Counts the orders that changed what fills the slot.
    pub(super) epoch: u32,
    /// Packets that its shard had withheld by then from viewers it could not reach.
    pub(super) paused_packets: u64,
    /// Content of the payload.
    pub(super) digest: u64,
}

impl Note {
    /// Both are of one stream of one encoder, chosen by the same order.
    pub(super) fn same_source(&self, other: &Note) -> bool {
        let source = |note: &Note| (note.epoch, note.stamp.publisher, note.stamp.ssrc);
        source(self) == source(other)
    }

    /// Packets were withheld between the two, perhaps of this slot: then it began anew, as with another source.
    pub(super) fn pauses_before(&self, later: &Note) -> bool {
        later.paused_packets > self.paused_packets
    }
}

/// The newest packets of one slot.
#[derive(Debug, Default)]
pub(super) struct Window {
    notes: VecDeque<Note>,
}

impl Window {
    pub(super) fn is_empty(&self) -> bool {
        self.notes.is_empty()
    }

    /// Notes a packet. Hands out the pairs that are neighbours because of it, the earlier index first.
    pub(super) fn insert(&mut self, note: Note, mut judge: impl FnMut(&Note, &Note)) {
        let place = match self.notes.back() {
            Some(last) if last.index > note.index => {
                self.notes.partition_point(|n| n.index < note.index)
            }
            _ => self.notes.len(),
        };
        if let Some(before) = place.checked_sub(1).and_then(|at| self.notes.get(at)) {
            judge(before, &note);
        }
        if let Some(after) = self.notes.get(place) {
            judge(&note, after);
        }
        self.notes.insert(place, note);
        if self.notes.len() > PACKETS {
            self.notes.pop_front();
        }
    }

    /// The newest packet with this sequence number.
    pub(super) fn by_seq(&self, seq: u16) -> Option<&Note> {
        self.notes
            .iter()
            .rev()
            .find(|note| note.index & 0xffff == u64::from(seq))
    }
}
