//! Continuity of one outgoing stream: sequence numbers, timestamps and picture numbers go on across sources, and
//! the sequence closes over packets that are not forwarded (contracts.md 21, 23).

use dataplane_api::media::MediaKind;

use super::picture::{Patch, Pictures};
use super::timeline::{Instant, Timeline};
use crate::pool::PacketMeta;
use crate::publish::SenderClock;
use crate::table::Key;
use crate::time::Micros;
use crate::transport::replay::{RTP_INDEX_END, RtpReplayWindow};

/// Cuts remembered for packets that arrive late. A cut older than that only matters to a packet more
/// than sixteen drops late, which then opens a hole instead of filling one.
const CUTS: usize = 16;

/// The longest gap of a source that stays a gap: what is further behind is never let in any more (the
/// replay window of `transport/srtp.rs`). A longer one becomes a hole of one packet. Left as it is, a few of
/// them whose packets are lost would exceed the 2^15 that a receiver's guess of the rollover counter bridges,
/// and the slot would be mute for the rest of its session, whatever fills it next.
const GAP_MAX: u64 = RtpReplayWindow::INDICES;

/// Maps one source's extended sequence numbers to the outgoing index.
#[derive(Debug, Clone, Copy)]
struct Sequence {
    /// First forwarded number of this source: earlier ones belong to before the switch.
    first: u64,
    highest: u64,
    /// Outgoing index of `first`.
    base: u64,
    /// Numbers that were left out, newest last.
    cuts: [u64; CUTS],
    cuts_len: usize,
}

/// The rewriter of one slot. The outgoing index is the 48-bit SRTP index, whose low half is the sequence
/// number on the wire.
#[derive(Debug)]
pub(crate) struct Rewriter {
    sequence: Option<Sequence>,
    /// The next index of a new source.
    next_index: u64,
    timeline: Timeline,
    pictures: Pictures,
}

/// One rewritten position.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Position {
    /// The 48-bit SRTP index.
    pub(crate) index: u64,
    /// The RTP timestamp.
    pub(crate) timestamp: u32,
    /// What is added to the numbers of its picture.
    pub(crate) patch: Patch,
}

impl Rewriter {
    /// `first_index` is random in 1..2^15: low enough that a receiver's index guess cannot wrap backwards
    /// over a first loss (security.md S4).
    pub(crate) fn new(kind: MediaKind, first_index: u16, first_timestamp: u32) -> Rewriter {
        Rewriter {
            sequence: None,
            next_index: u64::from(first_index & 0x7fff).max(1),
            timeline: Timeline::new(kind, first_timestamp),
            pictures: Pictures::default(),
        }
    }

    /// A new source begins with this packet of `publisher`: everything goes on from ours.
    pub(crate) fn switch(&mut self, meta: &PacketMeta, publisher: Key, clock_hz: u32) {
        self.timeline.switch(instant(meta), publisher, clock_hz);
        self.pictures.switch();
        self.sequence = Some(Sequence::starting(meta.ext_seq, self.next_index));
    }

    /// Where a packet of the current source goes, or `None` when it is from before the switch, was left
    /// out, is too late to have a place, or at the end of the key's life (security.md S7).
    pub(crate) fn place(&mut self, meta: &PacketMeta, publisher: Key) -> Option<Position> {
        self.bridge(meta.ext_seq);
        let sequence = self.sequence.as_mut()?;
        let index = sequence
            .index_of(meta.ext_seq)
            .filter(|&index| index < RTP_INDEX_END)?;
        // Among those placed: padding behind a frame may overtake the frame, and says nothing of time.
        let is_newest = index >= self.next_index;
        let timestamp = self.timeline.place(instant(meta), publisher, is_newest)?;
        // A late packet can be the highest that goes out: those behind it may all have been left out.
        self.next_index = self.next_index.max(index + 1);
        sequence.highest = sequence.highest.max(meta.ext_seq);
        let patch = self
            .pictures
            .place(meta.picture.as_ref(), meta.frame_number);
        Some(Position {
            index,
            timestamp,
            patch,
        })
    }

    /// A packet of the current source is not forwarded: what follows closes up. One that arrives late
    /// leaves a hole, because what followed has gone out already.
    pub(crate) fn skip(&mut self, ext_seq: u64) {
        self.bridge(ext_seq);
        if let Some(sequence) = self.sequence.as_mut()
            && ext_seq > sequence.highest
        {
            sequence.highest = ext_seq;
            sequence.cut(ext_seq);
        }
    }

    /// Closes a gap that is too long to leave open, but for one packet, so that the decoder sees a loss.
    fn bridge(&mut self, ext_seq: u64) {
        if let Some(sequence) = &mut self.sequence
            && ext_seq.saturating_sub(sequence.highest) > GAP_MAX
        {
            *sequence = Sequence::starting(ext_seq, self.next_index + 1);
        }
    }

    /// NTP time and timestamp for a sender report; see [`Timeline::report`].
    pub(crate) fn report(&self, now: Micros, clock: Option<SenderClock>) -> Option<(u64, u32)> {
        self.timeline.report(now, clock)
    }
}

fn instant(meta: &PacketMeta) -> Instant {
    Instant {
        timestamp: meta.timestamp,
        arrival: meta.arrival,
        captured: meta.captured,
    }
}

impl Sequence {
    fn starting(first: u64, base: u64) -> Sequence {
        Sequence {
            first,
            highest: first,
            base,
            cuts: [0; CUTS],
            cuts_len: 0,
        }
    }

    fn index_of(&self, ext_seq: u64) -> Option<u64> {
        if ext_seq < self.first {
            return None;
        }
        let cuts = self.cuts.get(..self.cuts_len)?;
        if cuts.contains(&ext_seq) {
            return None;
        }
        let before = cuts.iter().filter(|&&cut| cut < ext_seq).count() as u64;
        Some(self.base + (ext_seq - self.first) - before)
    }

    fn cut(&mut self, ext_seq: u64) {
        if self.cuts_len == CUTS {
            // The oldest cut becomes the beginning: whatever is from before it has no place any more.
            let oldest = self.cuts[0];
            self.base += oldest - self.first;
            self.first = oldest + 1;
            self.cuts.copy_within(1.., 0);
            self.cuts_len -= 1;
        }
        self.cuts[self.cuts_len] = ext_seq;
        self.cuts_len += 1;
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::table::Table;

    fn publisher() -> Key {
        Table::default().insert(())
    }

    fn meta(ext_seq: u64) -> PacketMeta {
        PacketMeta {
            ext_seq,
            timestamp: 90_000,
            ..PacketMeta::plain()
        }
    }

    fn switch(rewriter: &mut Rewriter, ext_seq: u64) {
        rewriter.switch(&meta(ext_seq), publisher(), 90_000);
    }

    fn started() -> Rewriter {
        let mut rewriter = Rewriter::new(MediaKind::Video, 100, 5_000);
        switch(&mut rewriter, 1_000);
        rewriter
    }

    fn index(rewriter: &mut Rewriter, ext_seq: u64) -> Option<u64> {
        rewriter.place(&meta(ext_seq), publisher()).map(|p| p.index)
    }

    #[test]
    fn losses_stay_holes_and_late_packets_fill_them() {
        let mut rewriter = started();
        assert_eq!(index(&mut rewriter, 1_000), Some(100));
        assert_eq!(index(&mut rewriter, 1_003), Some(103));
        assert_eq!(index(&mut rewriter, 1_001), Some(101));
        assert_eq!(index(&mut rewriter, 999), None, "from before the switch");
    }

    #[test]
    fn what_is_left_out_leaves_no_hole() {
        let mut rewriter = started();
        assert_eq!(index(&mut rewriter, 1_000), Some(100));
        rewriter.skip(1_002);
        assert_eq!(index(&mut rewriter, 1_003), Some(102));
        assert_eq!(
            index(&mut rewriter, 1_001),
            Some(101),
            "late, and still in its own place"
        );
        assert_eq!(index(&mut rewriter, 1_002), None);
    }

    #[test]
    fn a_new_source_goes_on_where_the_old_one_stopped() {
        let mut rewriter = started();
        let first = rewriter.place(&meta(1_000), publisher()).unwrap();
        let begin = PacketMeta {
            timestamp: 4_000_000_000,
            arrival: Micros(100_000),
            ..meta(7)
        };
        rewriter.switch(&begin, publisher(), 90_000);
        let second = rewriter.place(&begin, publisher()).unwrap();
        assert_eq!(second.index, first.index + 1);
        assert_eq!(
            second.timestamp,
            first.timestamp.wrapping_add(9_000),
            "100 ms at 90 kHz"
        );
    }

    #[test]
    fn a_source_after_a_late_packet_begins_behind_it() {
        let mut rewriter = started();
        assert_eq!(index(&mut rewriter, 1_000), Some(100));
        rewriter.skip(1_005);
        assert_eq!(index(&mut rewriter, 1_003), Some(103));
        switch(&mut rewriter, 7);
        assert_eq!(index(&mut rewriter, 7), Some(104));
    }

    #[test]
    fn a_gap_nobody_can_fill_is_a_hole_of_one() {
        let mut rewriter = started();
        assert_eq!(index(&mut rewriter, 1_000), Some(100));
        assert_eq!(index(&mut rewriter, 1_000 + GAP_MAX), Some(100 + GAP_MAX));
        assert_eq!(index(&mut rewriter, 40_000), Some(102 + GAP_MAX));
        assert_eq!(index(&mut rewriter, 39_999), None, "from before the gap");
        rewriter.skip(80_000);
        assert_eq!(index(&mut rewriter, 80_001), Some(105 + GAP_MAX));
    }

    #[test]
    fn nothing_is_placed_past_the_end_of_the_keys_life() {
        let mut rewriter = started();
        rewriter.next_index = RTP_INDEX_END - 1;
        switch(&mut rewriter, 5);
        assert_eq!(index(&mut rewriter, 5), Some(RTP_INDEX_END - 1));
        assert_eq!(index(&mut rewriter, 6), None);
    }

    proptest! {
        /// Whatever arrives in whatever order, whatever is left out, and however often the source changes: no
        /// index is given twice, and indices keep each source's order.
        #[test]
        fn no_index_is_given_twice(steps in prop::collection::vec((0u64..8, 0u8..8), 1..400)) {
            let mut rewriter = started();
            let mut given = std::collections::BTreeMap::new();
            let mut seen = std::collections::BTreeSet::new();
            let (mut source, mut newest) = (0, 1_000);
            for (step, what) in steps {
                let ext_seq = match step {
                    5 => newest.max(1_004) - 3,
                    6 => { newest += 3; newest }
                    7 => { newest += 3_000; newest }
                    ahead => { newest += ahead.min(1); newest }
                };
                if what == 7 {
                    source += 1;
                    newest = 50_000 - newest % 40_000;
                    switch(&mut rewriter, newest);
                    continue;
                }
                if !seen.insert((source, ext_seq)) {
                    continue;
                }
                if what < 3 {
                    rewriter.skip(ext_seq);
                } else if let Some(index) = index(&mut rewriter, ext_seq) {
                    prop_assert_eq!(given.insert(index, (source, ext_seq)), None);
                }
            }
            prop_assert!(given.values().is_sorted(), "indices keep the order of sources and packets");
        }
    }
}
