//! The round trip to a viewer, from the sender reports it answers (RFC 3550 section 6.4.1, figure 2).
//!
//! Their NTP times are the publisher's capture clock and say nothing of ours. So the time of sending is looked up
//! by the report's own number, and a viewer that returns a number nobody sent measures nothing (contracts.md 24).

use crate::limits::RTT_US_MAX;
use crate::publish::middle_32;
use crate::time::Micros;

/// Reports that may be answered: receivers answer the last one they got, and eight seconds late is too late.
const REPORTS: usize = 8;

/// The last sender reports of one SSRC.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct SentReports {
    /// LSR and time of sending, in a ring.
    ring: [Option<(u32, Micros)>; REPORTS],
    next: usize,
}

impl SentReports {
    /// A report with this NTP time leaves.
    pub(crate) fn on_sent(&mut self, now: Micros, ntp: u64) {
        if let Some(place) = self.ring.get_mut(self.next) {
            *place = Some((middle_32(ntp), now));
        }
        self.next = (self.next + 1) % REPORTS;
    }

    /// The round trip in microseconds that a report block shows which arrived at `arrival`. `None` when it answers
    /// none of these reports, or shows what cannot be.
    pub(crate) fn round_trip(
        &self,
        arrival: Micros,
        last_sr: u32,
        delay_since_last_sr: u32,
    ) -> Option<u64> {
        let sent_at = self
            .ring
            .iter()
            .flatten()
            .find_map(|&(lsr, sent_at)| (lsr == last_sr).then_some(sent_at))?;
        let held_us = u64::from(delay_since_last_sr) * 1_000_000 / 65_536;
        // A unit of the delay is 15 us: on a short way the two may cross.
        let rtt_us = (arrival.since(sent_at) + DELAY_UNIT_US).checked_sub(held_us)?;
        (rtt_us <= RTT_US_MAX).then_some(rtt_us)
    }
}

/// 1/65536 s, rounded up.
const DELAY_UNIT_US: u64 = 16;

/// One more measurement: an eighth of it enters, as in TCP (RFC 6298 section 2).
pub(crate) fn smooth(rtt_us: Option<u64>, measured_us: u64) -> u64 {
    rtt_us.map_or(measured_us, |rtt_us| rtt_us - rtt_us / 8 + measured_us / 8)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The reports of eleven seconds on a clock that has nothing to do with ours.
    fn sent() -> SentReports {
        let mut reports = SentReports::default();
        for second in 0..11 {
            let ntp = (0xe0_0000_0000 + second) << 32;
            reports.on_sent(Micros(second * 1_000_000), ntp);
        }
        reports
    }

    fn lsr(second: u64) -> u32 {
        middle_32((0xe0_0000_0000 + second) << 32)
    }

    #[test]
    fn the_round_trip_is_what_is_left_of_the_time_without_the_viewers_delay() {
        let reports = sent();
        // Answered half a second after it arrived there.
        let rtt = reports.round_trip(Micros(10_580_000), lsr(10), 32_768);
        assert_eq!(rtt, Some(80_016));
        let rtt = reports.round_trip(Micros(3_100_000), lsr(3), 0);
        assert_eq!(rtt, Some(100_016), "the oldest of eight");
    }

    #[test]
    fn what_answers_no_report_measures_nothing() {
        let reports = sent();
        let now = Micros(10_100_000);
        assert_eq!(reports.round_trip(now, 0, 0), None, "none received yet");
        assert_eq!(reports.round_trip(now, lsr(10) ^ 1, 0), None, "made up");
        assert_eq!(reports.round_trip(now, lsr(2), 0), None, "long forgotten");
    }

    #[test]
    fn what_cannot_be_measures_nothing() {
        let reports = sent();
        let longer_than_it_was = reports.round_trip(Micros(10_100_000), lsr(10), 65_536);
        assert_eq!(longer_than_it_was, None);
        assert_eq!(reports.round_trip(Micros(13_000_000), lsr(10), 0), None);
        // The viewer's clock has rounded its delay up.
        assert_eq!(reports.round_trip(Micros(10_000_999), lsr(10), 66), Some(8));
    }

    #[test]
    fn one_outlier_moves_the_estimate_by_an_eighth() {
        let steady = (0..100).fold(None, |rtt, _| Some(smooth(rtt, 40_000)));
        assert_eq!(steady, Some(40_000));
        assert_eq!(smooth(steady, 120_000), 50_000);
    }
}
