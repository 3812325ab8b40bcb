//! Counting what arrives: each viewer must get each packet of the window exactly once.

use std::time::Duration;

use hdrhistogram::Histogram;

use super::stamp::Stamp;

/// Latency is recorded up to a minute, with three significant digits.
const LATENCY_NS_MAX: u64 = 60_000_000_000;

/// What all viewers counted in one window.
#[derive(Clone, Debug)]
pub(crate) struct Counts {
    /// Distinct packets of this window.
    pub(crate) delivered: u64,
    /// Their bytes as UDP payload.
    pub(crate) bytes: u64,
    /// Packets that had come to the same viewer before.
    pub(crate) duplicate: u64,
    /// Authenticated packets that are not of the viewer's room in this run.
    pub(crate) foreign: u64,
    /// Packets that came after one with a higher number.
    pub(crate) reordered: u64,
    /// Packets that did not authenticate.
    pub(crate) forged: u64,
    /// One-way, nanoseconds: from before the publisher's send call to the viewer's kernel.
    pub(crate) latency: Histogram<u64>,
    /// Longest time in which nothing came to some viewer.
    pub(crate) gap: Duration,
    /// By how much more at most than the publisher had left between the two packets: what node and network
    /// add to a gap, whatever the publisher's own pauses were.
    pub(crate) held: Duration,
}

impl Counts {
    fn new() -> Counts {
        Counts {
            delivered: 0,
            bytes: 0,
            duplicate: 0,
            foreign: 0,
            reordered: 0,
            forged: 0,
            latency: Histogram::new_with_bounds(1, LATENCY_NS_MAX, 3)
                .expect("invariant: constant bounds with three digits are valid"),
            gap: Duration::ZERO,
            held: Duration::ZERO,
        }
    }
}

/// Counters of one window over all viewers of the run.
#[derive(Debug)]
pub(crate) struct Tally {
    window: u32,
    counts: Counts,
    viewers: Vec<(Run, Seen)>,
    /// When the first packet of all came to each viewer, since the Unix epoch.
    first: Vec<Option<Duration>>,
}

/// What a publisher's packets carry: a viewer must get those of its own room and no other.
type Run = u64;

impl Tally {
    /// One viewer for each run that is to be seen.
    pub(crate) fn new(runs: impl IntoIterator<Item = Run>) -> Tally {
        let viewers: Vec<_> = runs.into_iter().map(|run| (run, Seen::default())).collect();
        Tally {
            window: 0,
            counts: Counts::new(),
            first: vec![None; viewers.len()],
            viewers,
        }
    }

    /// When the first packet of all came to each viewer.
    pub(crate) fn first(&self) -> &[Option<Duration>] {
        &self.first
    }

    /// Forgets the window before and counts packets of `window` from now on.
    pub(crate) fn begin(&mut self, window: u32) {
        self.window = window;
        self.counts = Counts::new();
        for (_, seen) in &mut self.viewers {
            seen.clear();
        }
    }

    /// What was counted since [`Tally::begin`].
    pub(crate) fn counts(&self) -> &Counts {
        &self.counts
    }

    /// An authenticated media payload came to `viewer` at `at`, in a datagram of `length` bytes.
    pub(crate) fn payload(&mut self, viewer: usize, payload: &[u8], length: usize, at: Duration) {
        let (run, seen) = &mut self.viewers[viewer];
        let Some(stamp) = Stamp::read(payload).filter(|stamp| stamp.run == *run) else {
            self.counts.foreign += 1;
            return;
        };
        self.first[viewer].get_or_insert(at);
        // Packets sent between windows, and late ones of the window before, are nobody's.
        if stamp.window != self.window || self.window == 0 {
            return;
        }
        match seen.note(stamp.sequence) {
            Order::Next => {
                if let Some((came, sent)) = seen.last.replace((at, stamp.sent)) {
                    let gap = at.saturating_sub(came);
                    let held = gap.saturating_sub(stamp.sent.saturating_sub(sent));
                    self.counts.gap = self.counts.gap.max(gap);
                    self.counts.held = self.counts.held.max(held);
                }
            }
            Order::Late => self.counts.reordered += 1,
            Order::Again => {
                self.counts.duplicate += 1;
                return;
            }
        }
        self.counts.delivered += 1;
        self.counts.bytes += length as u64;
        let nanoseconds = u64::try_from(at.saturating_sub(stamp.sent).as_nanos());
        self.counts
            .latency
            .saturating_record(nanoseconds.unwrap_or(LATENCY_NS_MAX).max(1));
    }

    /// A packet came that nobody with the right keys wrote.
    pub(crate) fn forged(&mut self) {
        self.counts.forged += 1;
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Order {
    Next,
    Late,
    Again,
}

/// The numbers one viewer has seen in this window.
#[derive(Clone, Debug, Default)]
struct Seen {
    bits: Vec<u64>,
    /// One past the highest number seen.
    end: u64,
    /// When the packet before it came, and when that was sent.
    last: Option<(Duration, Duration)>,
}

impl Seen {
    fn clear(&mut self) {
        self.bits.clear();
        self.end = 0;
        self.last = None;
    }

    fn note(&mut self, number: u64) -> Order {
        let Ok(word) = usize::try_from(number / 64) else {
            return Order::Late;
        };
        if word >= self.bits.len() {
            self.bits.resize(word + 1, 0);
        }
        let bit = 1 << (number % 64);
        if self.bits[word] & bit != 0 {
            return Order::Again;
        }
        self.bits[word] |= bit;
        if number < self.end {
            return Order::Late;
        }
        self.end = number + 1;
        Order::Next
    }
}

#[cfg(test)]
mod tests {
    use super::super::stamp::STAMP_BYTES;
    use super::*;

    const RUN: u64 = 7;
    const SENT: Duration = Duration::from_secs(1);

    fn payload(run: u64, window: u32, sequence: u64) -> Vec<u8> {
        let mut payload = vec![0; STAMP_BYTES + 10];
        Stamp {
            window,
            run,
            sequence,
            sent: SENT,
        }
        .write(&mut payload);
        payload
    }

    fn tally(packets: &[(usize, Vec<u8>)]) -> Counts {
        let mut tally = Tally::new([RUN, RUN]);
        tally.begin(1);
        for (viewer, payload) in packets {
            tally.payload(*viewer, payload, 100, SENT + Duration::from_micros(150));
        }
        tally.counts().clone()
    }

    #[test]
    fn each_viewer_gets_each_packet_once() {
        let counts = tally(&[
            (0, payload(RUN, 1, 0)),
            (1, payload(RUN, 1, 0)),
            (0, payload(RUN, 1, 1)),
            (0, payload(RUN, 1, 1)),
        ]);
        assert_eq!((counts.delivered, counts.duplicate), (3, 1));
        assert_eq!((counts.foreign, counts.reordered), (0, 0));
        assert_eq!(counts.bytes, 300);
    }

    #[test]
    fn a_late_packet_is_delivered_and_counted_as_reordered() {
        let order = [0, 2, 1, 200, 199];
        let packets: Vec<_> = order.map(|number| (0, payload(RUN, 1, number))).into();
        let counts = tally(&packets);
        assert_eq!(
            (counts.delivered, counts.reordered, counts.duplicate),
            (5, 2, 0)
        );
    }

    #[test]
    fn other_runs_and_unstamped_packets_are_foreign_other_windows_are_not_counted() {
        let counts = tally(&[
            (0, payload(RUN + 1, 1, 0)),
            (0, b"no stamp here at all, but long enough for one".to_vec()),
            (0, Vec::new()),
            (0, payload(RUN, 0, 5)),
            (0, payload(RUN, 2, 6)),
        ]);
        assert_eq!((counts.foreign, counts.delivered), (3, 0));
    }

    #[test]
    fn latency_is_arrival_minus_stamp_and_never_negative() {
        let mut tally = Tally::new([RUN]);
        tally.begin(1);
        tally.payload(
            0,
            &payload(RUN, 1, 0),
            100,
            SENT + Duration::from_micros(150),
        );
        tally.payload(0, &payload(RUN, 1, 1), 100, Duration::ZERO);
        let latency = &tally.counts().latency;
        assert!(latency.max().abs_diff(150_000) < 200);
        assert_eq!(latency.min(), 1);
    }

    #[test]
    fn a_gap_is_told_with_and_without_the_pause_of_the_publisher() {
        let ms = Duration::from_millis;
        let mut tally = Tally::new([RUN]);
        tally.begin(1);
        for (sequence, sent, came) in [(0, 0, 1), (1, 33, 40), (2, 66, 67), (3, 100, 141)] {
            let mut payload = vec![0; STAMP_BYTES + 10];
            Stamp {
                window: 1,
                run: RUN,
                sequence,
                sent: SENT + ms(sent),
            }
            .write(&mut payload);
            tally.payload(0, &payload, 100, SENT + ms(came));
        }
        assert_eq!((tally.counts().gap, tally.counts().held), (ms(74), ms(40)));
        assert_eq!(tally.first(), [Some(SENT + ms(1))]);
        tally.begin(2);
        assert_eq!(tally.counts().gap, Duration::ZERO);
        assert!(tally.first()[0].is_some(), "the first of all stays");
    }

    #[test]
    fn a_new_window_starts_from_nothing() {
        let mut tally = Tally::new([RUN]);
        tally.begin(1);
        tally.payload(0, &payload(RUN, 1, 9), 100, SENT);
        tally.begin(2);
        tally.payload(0, &payload(RUN, 2, 3), 100, SENT);
        assert_eq!((tally.counts().delivered, tally.counts().reordered), (1, 0));
    }
}
