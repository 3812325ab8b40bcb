//! When each transport-wide numbered packet of a publisher arrived, for transport-cc feedback
//! (draft-holmer-rmcat-transport-wide-cc-extensions-01). Arrival is the kernel's time stamp: the shard's
//! batching must not look like queueing to the publisher (contracts.md 1).

use codecs::rtp::{ExtSeq, Seq, SeqUnwrapper};

use crate::limits::TRANSPORT_CC_INTERVAL_US;
use crate::time::Micros;

/// Packets one feedback may span. At 50 ms that is 10,000 packets/s from one publisher.
const SPAN_MAX: usize = 512;

/// A packet can be this far behind the last feedback and still be of before it: eight times what the replay
/// window of one SSRC lets in.
const LATE_MAX: u64 = 8_192;

/// Arrivals since the last feedback.
#[derive(Debug)]
pub(crate) struct Arrivals {
    unwrapper: SeqUnwrapper,
    /// The number of `times[0]`.
    base: Option<ExtSeq>,
    times: Vec<Option<u64>>,
    pending_since: Option<Micros>,
    feedbacks: u8,
}

/// What one feedback packet says.
#[derive(Debug)]
pub(crate) struct Feedback<'a> {
    pub(crate) base: Seq,
    /// Arrival in µs of each number from `base` on, `None` where it did not arrive.
    pub(crate) times: &'a [Option<u64>],
    pub(crate) count: u8,
}

impl Default for Arrivals {
    fn default() -> Self {
        Arrivals {
            unwrapper: SeqUnwrapper::new(),
            base: None,
            times: Vec::with_capacity(SPAN_MAX),
            pending_since: None,
            feedbacks: 0,
        }
    }
}

impl Arrivals {
    /// Notes one packet. One from before the last feedback is not reported again.
    pub(crate) fn note(&mut self, now: Micros, seq: Seq, arrival: Micros) {
        let mut ext_seq = self.unwrapper.extend(seq);
        let mut base = *self.base.get_or_insert(ext_seq);
        if base.since(ext_seq) > LATE_MAX {
            // Nothing is that late: more than half the number space was lost, and what looks old is new.
            self.unwrapper = SeqUnwrapper::new();
            ext_seq = self.unwrapper.extend(seq);
            base = ext_seq;
            self.base = Some(base);
            self.times.clear();
        }
        if ext_seq < base {
            return;
        }
        let Ok(offset) = usize::try_from(ext_seq.since(base)) else {
            return;
        };
        if offset >= SPAN_MAX {
            // The publisher jumped, or sends more than a feedback can say: begin anew here.
            self.times.clear();
            self.base = Some(ext_seq);
            self.times.push(Some(arrival.0));
        } else {
            if self.times.len() <= offset {
                self.times.resize(offset + 1, None);
            }
            if let Some(time) = self.times.get_mut(offset) {
                *time = time.or(Some(arrival.0));
            }
        }
        self.pending_since.get_or_insert(now);
    }

    /// When the next feedback is due.
    pub(crate) fn next_deadline(&self) -> Option<Micros> {
        self.pending_since
            .map(|at| at.plus_us(TRANSPORT_CC_INTERVAL_US))
    }

    /// The feedback that is due, to be followed by [`Arrivals::clear`].
    pub(crate) fn due(&self, now: Micros) -> Option<Feedback<'_>> {
        if self.next_deadline()? > now {
            return None;
        }
        Some(Feedback {
            base: self.base?.seq(),
            times: &self.times,
            count: self.feedbacks,
        })
    }

    /// A feedback told the first `told` numbers. What did not fit is due at once.
    pub(crate) fn clear(&mut self, now: Micros, told: usize) {
        // Nothing told means nothing can be: begin anew rather than say the same for ever.
        let told = if told == 0 {
            self.times.len()
        } else {
            told.min(self.times.len())
        };
        if let Some(base) = self.base {
            self.base = Some(base.plus(told as u64));
        }
        self.times.drain(..told);
        self.feedbacks = self.feedbacks.wrapping_add(1);
        let rest = self.times.iter().any(Option::is_some);
        self.pending_since = rest.then(|| Micros(now.0.saturating_sub(TRANSPORT_CC_INTERVAL_US)));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_feedback_tells_every_number_between_the_first_and_the_last() {
        let mut arrivals = Arrivals::default();
        for seq in [10u16, 11, 13] {
            arrivals.note(Micros(1_000), Seq(seq), Micros(u64::from(seq)));
        }
        assert!(arrivals.due(Micros(50_999)).is_none());
        let feedback = arrivals.due(Micros(51_000)).unwrap();
        assert_eq!(feedback.base, Seq(10));
        assert_eq!(feedback.times, [Some(10), Some(11), None, Some(13)]);
        arrivals.clear(Micros(51_000), 4);
        assert_eq!(arrivals.next_deadline(), None);
        arrivals.note(Micros(60_000), Seq(12), Micros(12));
        assert_eq!(arrivals.next_deadline(), None, "12 was reported as lost");
        arrivals.note(Micros(60_000), Seq(15), Micros(15));
        let feedback = arrivals.due(Micros(110_000)).unwrap();
        assert_eq!(
            (feedback.base, feedback.times, feedback.count),
            (Seq(14), &[None, Some(15)][..], 1)
        );
    }

    #[test]
    fn what_did_not_fit_one_feedback_is_due_at_once() {
        let mut arrivals = Arrivals::default();
        for seq in 0..10u16 {
            arrivals.note(Micros(0), Seq(seq), Micros(u64::from(seq)));
        }
        arrivals.clear(Micros(50_000), 4);
        let feedback = arrivals.due(Micros(50_000)).unwrap();
        assert_eq!(
            (feedback.base, feedback.times.len(), feedback.count),
            (Seq(4), 6, 1)
        );
    }

    #[test]
    fn an_outage_of_more_than_half_the_numbers_does_not_silence_the_feedback() {
        let mut arrivals = Arrivals::default();
        arrivals.note(Micros(0), Seq(100), Micros(0));
        arrivals.clear(Micros(50_000), 1);
        arrivals.note(Micros(60_000), Seq(50_000), Micros(7));
        let feedback = arrivals.due(Micros(110_000)).expect("a feedback is due");
        assert_eq!(
            (feedback.base, feedback.times),
            (Seq(50_000), &[Some(7)][..])
        );
    }

    #[test]
    fn a_jump_begins_anew_and_memory_stays_bounded() {
        let mut arrivals = Arrivals::default();
        arrivals.note(Micros(0), Seq(0), Micros(0));
        arrivals.note(Micros(0), Seq(20_000), Micros(1));
        let feedback = arrivals.due(Micros(50_000)).unwrap();
        assert_eq!(
            (feedback.base, feedback.times),
            (Seq(20_000), &[Some(1)][..])
        );
        assert_eq!(arrivals.times.capacity(), SPAN_MAX);
    }
}
