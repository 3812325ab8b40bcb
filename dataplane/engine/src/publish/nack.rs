//! What is missing of one incoming stream, when to ask the publisher for it again, and when to stop asking
//! (RFC 4585 section 6.2.1, RFC 4588).
//!
//! A packet is asked for once a round trip, a little less often each time. It is given up when that was
//! enough, when it would come too late for any viewer, or when a keyframe made it needless.

use std::collections::VecDeque;

use codecs::rtp::Seq;

use crate::limits::{
    MISSING_PER_STREAM_MAX, NACK_AGE_US_MAX, NACK_ASKS_MAX, NACK_INTERVAL_US_MIN, REORDER_US_MAX,
    REORDER_US_MIN, RTT_US_DEFAULT, RTT_US_MAX,
};
use crate::time::Micros;

/// Why a packet is not asked for any more.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum GiveUp {
    /// Asked for as often as is allowed.
    Asks,
    /// So old that no viewer waits for it.
    Age,
    /// One of more than a stream may miss at once: the link was away, not lossy.
    Burst,
    /// A keyframe began after it.
    Keyframe,
}

impl GiveUp {
    /// Every reason, in the order of [`NackStats::given_up`].
    pub const ALL: [GiveUp; 4] = [GiveUp::Asks, GiveUp::Age, GiveUp::Burst, GiveUp::Keyframe];

    /// The `reason` label in metrics.
    #[must_use]
    pub fn label(self) -> &'static str {
        match self {
            GiveUp::Asks => "asks",
            GiveUp::Age => "age",
            GiveUp::Burst => "burst",
            GiveUp::Keyframe => "keyframe",
        }
    }
}

/// What became of the packets publishers' streams missed.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct NackStats {
    /// Requests for a packet, each time counted.
    pub asked: u64,
    /// Missing packets that came after they were asked for.
    pub repaired: u64,
    /// Missing packets that came by themselves, only later than others.
    pub reordered: u64,
    /// Missing packets that are not asked for any more, by [`GiveUp::ALL`].
    pub given_up: [u64; GiveUp::ALL.len()],
}

impl NackStats {
    fn give_up(&mut self, reason: GiveUp, packets: u64) {
        let place = match reason {
            GiveUp::Asks => 0,
            GiveUp::Age => 1,
            GiveUp::Burst => 2,
            GiveUp::Keyframe => 3,
        };
        self.given_up[place] += packets;
    }
}

/// Round trip to a publisher, as its answers show it; one for all its streams.
#[derive(Debug)]
pub(crate) struct RoundTrip {
    us: u64,
    /// Answers in a row that may have been to any of several requests.
    ambiguous: u8,
}

/// So many answers to requests that were repeated, and the estimate is what made them be.
const AMBIGUOUS_MAX: u8 = 3;

impl Default for RoundTrip {
    fn default() -> Self {
        RoundTrip {
            us: RTT_US_DEFAULT,
            ambiguous: 0,
        }
    }
}

impl RoundTrip {
    pub(crate) fn us(&self) -> u64 {
        self.us
    }

    /// An answer to the only request.
    fn on_answer(&mut self, sample_us: u64) {
        self.ambiguous = 0;
        self.us = (self.us * 7 + sample_us.min(RTT_US_MAX)) / 8;
    }

    /// An answer to one of several requests says nothing (Karn). But when every answer comes after the request was
    /// repeated, the estimate is too short to ever be corrected, and the time since the first request is nearer
    /// to the truth.
    fn on_ambiguous_answer(&mut self, since_first_us: u64) {
        self.ambiguous = self.ambiguous.saturating_add(1);
        if self.ambiguous >= AMBIGUOUS_MAX {
            self.us = (self.us + since_first_us.min(RTT_US_MAX)) / 2;
        }
    }
}

#[derive(Clone, Copy, Debug)]
struct Missing {
    ext_seq: u64,
    noticed_at: Micros,
    ask_at: Micros,
    first_asked_at: Micros,
    asks: u8,
}

/// The missing packets of one SSRC, oldest first.
#[derive(Debug)]
pub(crate) struct Gaps {
    missing: VecDeque<Missing>,
    /// How long a packet may be overtaken before it is asked for: as long as was lately seen, because some
    /// networks reorder always.
    reorder_us: u64,
    /// When the next request is due, or earlier; kept so that a packet that arrives need not look at them all.
    ask_at: Option<Micros>,
}

impl Default for Gaps {
    fn default() -> Self {
        Gaps {
            missing: VecDeque::new(),
            reorder_us: REORDER_US_MIN,
            ask_at: None,
        }
    }
}

/// How a packet arrived.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Way {
    /// On its own SSRC.
    Original,
    /// On the retransmission SSRC (RFC 4588), so that it surely answers a request.
    Rtx,
}

impl Gaps {
    /// A packet arrived beyond `highest`: those between are missing from now on. False when they are too many
    /// to ask for, and only a keyframe helps.
    pub(crate) fn on_advance(
        &mut self,
        now: Micros,
        highest: u64,
        ext_seq: u64,
        stats: &mut NackStats,
    ) -> bool {
        let between = ext_seq.saturating_sub(highest).saturating_sub(1);
        if between + self.missing.len() as u64 > MISSING_PER_STREAM_MAX as u64 {
            stats.give_up(GiveUp::Burst, between + self.missing.len() as u64);
            self.missing.clear();
            self.ask_at = None;
            return false;
        }
        if between == 0 {
            return true;
        }
        let ask_at = now.plus_us(self.reorder_us);
        self.ask_at = Some(self.ask_at.map_or(ask_at, |at| at.min(ask_at)));
        self.missing
            .extend((highest + 1..ext_seq).map(|ext_seq| Missing {
                ext_seq,
                noticed_at: now,
                ask_at,
                first_asked_at: Micros::ZERO,
                asks: 0,
            }));
        true
    }

    /// A packet arrived that is not the newest.
    pub(crate) fn on_late(
        &mut self,
        now: Micros,
        ext_seq: u64,
        way: Way,
        round_trip: &mut RoundTrip,
        stats: &mut NackStats,
    ) {
        let Some(missing) = self.take(ext_seq) else {
            return;
        };
        let late_us = now.since(missing.noticed_at);
        let overtaken =
            way == Way::Original && (missing.asks == 0 || late_us < round_trip.us() / 2);
        if overtaken {
            // A request that was sent meanwhile was one too many.
            self.reorder_us = self.reorder_us.max(late_us).min(REORDER_US_MAX);
            stats.reordered += 1;
            return;
        }
        stats.repaired += 1;
        let since_first_us = now.since(missing.first_asked_at);
        match missing.asks {
            0 => {}
            1 => round_trip.on_answer(since_first_us),
            _ => round_trip.on_ambiguous_answer(since_first_us),
        }
    }

    /// A packet arrived that is not taken: it is not asked for any more.
    pub(crate) fn forget(&mut self, ext_seq: u64) {
        self.take(ext_seq);
    }

    fn take(&mut self, ext_seq: u64) -> Option<Missing> {
        let at = self
            .missing
            .binary_search_by_key(&ext_seq, |missing| missing.ext_seq)
            .ok()?;
        let missing = self.missing.remove(at)?;
        if self.missing.is_empty() {
            self.ask_at = None;
        }
        Some(missing)
    }

    /// A keyframe began at `ext_seq`: what is missing before it would show nothing any more.
    pub(crate) fn on_keyframe(&mut self, ext_seq: u64, stats: &mut NackStats) {
        while let Some(missing) = self.missing.front()
            && missing.ext_seq < ext_seq
        {
            self.missing.pop_front();
            stats.give_up(GiveUp::Keyframe, 1);
        }
        if self.missing.is_empty() {
            self.ask_at = None;
        }
    }

    /// When to look at what is missing.
    pub(crate) fn next_deadline(&self) -> Option<Micros> {
        self.ask_at
    }

    /// How many packets are missing.
    pub(crate) fn len(&self) -> usize {
        self.missing.len()
    }

    /// Gives up what is past hope; true when something was, and only a keyframe helps.
    pub(crate) fn give_up(&mut self, now: Micros, stats: &mut NackStats) -> bool {
        let before = self.missing.len();
        self.missing.retain(|missing| {
            let reason = if missing.asks >= NACK_ASKS_MAX && missing.ask_at <= now {
                GiveUp::Asks
            } else if now.since(missing.noticed_at) >= NACK_AGE_US_MAX {
                GiveUp::Age
            } else {
                return true;
            };
            stats.give_up(reason, 1);
            false
        });
        self.look_again();
        self.missing.len() < before
    }

    /// Writes the sequence numbers that are due into `out`, oldest first, and says how many; they then count as
    /// asked for. What does not fit is due again at once.
    pub(crate) fn take_due(
        &mut self,
        now: Micros,
        rtt_us: u64,
        out: &mut [Seq],
        stats: &mut NackStats,
    ) -> usize {
        let due = self
            .missing
            .iter_mut()
            .filter(|missing| missing.ask_at <= now && missing.asks < NACK_ASKS_MAX);
        let mut taken = 0;
        for (place, missing) in out.iter_mut().zip(due) {
            *place = Seq(crate::transport::replay::seq_of(missing.ext_seq));
            if missing.asks == 0 {
                missing.first_asked_at = now;
            }
            missing.asks += 1;
            missing.ask_at = now.plus_us(interval_us(rtt_us, missing.asks));
            taken += 1;
        }
        stats.asked += taken as u64;
        if taken > 0 {
            // What reordering was seen fades with what is lost, or one late packet would slow every repair for ever.
            self.reorder_us = (self.reorder_us - self.reorder_us / 64).max(REORDER_US_MIN);
        }
        self.look_again();
        taken
    }

    fn look_again(&mut self) {
        self.ask_at = self.missing.iter().map(|missing| missing.ask_at).min();
    }
}

/// How long to wait for the answer to request number `asks`: a round trip and a quarter for the first, half a
/// round trip more each time.
fn interval_us(rtt_us: u64, asks: u8) -> u64 {
    let quarters = 5 + 2 * (u64::from(asks).max(1) - 1);
    (rtt_us * quarters / 4).max(NACK_INTERVAL_US_MIN)
}

const _: () = assert!(MISSING_PER_STREAM_MAX < 1 << 15, "half the number space");

#[cfg(test)]
mod tests {
    use super::*;

    fn ms(ms: u64) -> Micros {
        Micros::ZERO.plus_ms(ms)
    }

    fn due(gaps: &mut Gaps, now: Micros, stats: &mut NackStats) -> Vec<u16> {
        let mut seqs = [Seq(0); 64];
        let taken = gaps.take_due(now, RTT_US_DEFAULT, &mut seqs, stats);
        seqs[..taken].iter().map(|seq| seq.0).collect()
    }

    #[test]
    fn a_missing_packet_is_asked_for_once_a_round_trip_ever_less_often() {
        let (mut gaps, mut stats) = (Gaps::default(), NackStats::default());
        assert!(gaps.on_advance(ms(0), 99, 101, &mut stats));
        let mut asked_at = Vec::new();
        for at in 0..5_000 {
            if !due(&mut gaps, ms(at), &mut stats).is_empty() {
                asked_at.push(at);
            }
        }
        assert_eq!(asked_at.len(), usize::from(NACK_ASKS_MAX));
        let waits: Vec<u64> = asked_at.windows(2).map(|w| w[1] - w[0]).collect();
        assert!(waits.is_sorted(), "{waits:?}");
        assert_eq!(waits[0], RTT_US_DEFAULT * 5 / 4 / 1_000);
    }

    #[test]
    fn a_packet_that_was_only_overtaken_is_never_asked_for_again_so_soon() {
        let (mut gaps, mut stats) = (Gaps::default(), NackStats::default());
        gaps.on_advance(ms(0), 9, 11, &mut stats);
        assert_eq!(gaps.next_deadline(), Some(Micros(REORDER_US_MIN)));
        let mut rtt = RoundTrip::default();
        gaps.on_late(ms(1), 10, Way::Original, &mut rtt, &mut stats);
        assert_eq!((gaps.len(), gaps.next_deadline()), (0, None));
        gaps.on_advance(ms(2), 11, 13, &mut stats);
        gaps.on_late(ms(10), 12, Way::Original, &mut rtt, &mut stats);
        gaps.on_advance(ms(20), 13, 15, &mut stats);
        assert_eq!(
            gaps.next_deadline(),
            Some(ms(28)),
            "8 ms late was seen, 8 ms is waited"
        );
        assert_eq!((stats.reordered, stats.asked), (2, 0));
    }

    /// The estimate after 60 losses, each answered by `way` a true round trip after a request, and how many requests
    /// that took.
    fn learned(true_us: u64, way: Way) -> (u64, u64) {
        let (mut gaps, mut stats) = (Gaps::default(), NackStats::default());
        let mut round_trip = RoundTrip::default();
        let mut highest = 0;
        for n in 0..60u64 {
            let begin = ms(n * 4_000);
            gaps.on_advance(begin, highest, highest + 2, &mut stats);
            let mut answer_at = None;
            for us in (0..3_000_000).step_by(1_000) {
                let now = begin.plus_us(us);
                if answer_at.is_some_and(|at| at <= now) {
                    gaps.on_late(now, highest + 1, way, &mut round_trip, &mut stats);
                    break;
                }
                let mut seqs = [Seq(0); 4];
                let taken = gaps.take_due(now, round_trip.us(), &mut seqs, &mut stats);
                if taken > 0 {
                    answer_at.get_or_insert(now.plus_us(true_us));
                }
            }
            highest += 2;
        }
        assert_eq!(stats.repaired, 60);
        (round_trip.us(), stats.asked)
    }

    #[test]
    fn the_round_trip_is_learned_however_long_it_is() {
        for way in [Way::Rtx, Way::Original] {
            for true_ms in [60, 130, 200, 400, 700] {
                let (rtt_us, asked) = learned(true_ms * 1_000, way);
                let near = true_ms * 950..true_ms * 1_100;
                assert!(near.contains(&rtt_us), "{true_ms} ms: {rtt_us} us");
                assert!(asked < 80, "{true_ms} ms: {asked} requests for 60 losses");
            }
        }
    }

    #[test]
    fn now_and_then_a_lost_request_does_not_lengthen_the_estimate() {
        let mut round_trip = RoundTrip::default();
        for n in 0..200 {
            if n % 5 == 0 {
                round_trip.on_ambiguous_answer(300_000);
            } else {
                round_trip.on_answer(50_000);
            }
        }
        assert!(round_trip.us() < 51_000, "{}", round_trip.us());
    }

    #[test]
    fn each_packet_ends_repaired_reordered_or_given_up_with_its_reason() {
        let (mut gaps, mut stats) = (Gaps::default(), NackStats::default());
        gaps.on_advance(ms(0), 0, 3, &mut stats);
        gaps.on_keyframe(3, &mut stats);
        assert!(gaps.len() == 0);
        gaps.on_advance(ms(10), 3, 5, &mut stats);
        assert!(!gaps.give_up(ms(10).plus_us(NACK_AGE_US_MAX - 1), &mut stats));
        assert!(gaps.give_up(ms(10).plus_us(NACK_AGE_US_MAX), &mut stats));
        let jump = MISSING_PER_STREAM_MAX as u64 + 2;
        assert!(!gaps.on_advance(ms(20), 5, 5 + jump, &mut stats));
        assert!(gaps.len() == 0, "a jump takes no memory");
        assert_eq!(stats.given_up, [0, 1, jump - 1, 2]);
    }

    #[test]
    fn more_than_fits_one_request_is_due_at_once() {
        let (mut gaps, mut stats) = (Gaps::default(), NackStats::default());
        gaps.on_advance(ms(0), 0, 101, &mut stats);
        assert_eq!(due(&mut gaps, ms(5), &mut stats).len(), 64);
        assert_eq!(gaps.next_deadline(), Some(Micros(REORDER_US_MIN)));
        assert_eq!(due(&mut gaps, ms(5), &mut stats).len(), 36);
        assert!(gaps.next_deadline().unwrap() > ms(5));
    }
}
