//! What was received from one SSRC: counts, jitter and the sender's clock, for receiver reports (RFC 3550
//! section 6.4.1) and for our own sender reports.

use codecs::rtcp::ReportBlock;
use codecs::rtp::Seq;

use super::clock::{SenderClock, middle_32};
use super::nack::{Gaps, NackStats, RoundTrip, Way};
use crate::limits::MISSING_PER_STREAM_MAX;
use crate::reason::DropReason;
use crate::time::Micros;
use crate::transport::replay::{RtpReplayWindow, seq_of};

/// Reception state of one SSRC.
#[derive(Debug)]
pub(crate) struct Stream {
    pub(crate) ssrc: u32,
    first_seq: u64,
    highest_seq: u64,
    received: u64,
    expected_at_report: u64,
    received_at_report: u64,
    /// Sixteenths of a timestamp unit (RFC 3550 appendix A.8).
    jitter_q4: u64,
    transit: Option<i64>,
    clock: Option<SenderClock>,
    /// What arrived, by whichever way: a packet that was repaired may still come by itself.
    seen: Option<RtpReplayWindow>,
    /// When the first did.
    since: Micros,
    gaps: Gaps,
    /// Packets were lost for good, and nothing was done about it yet.
    broken: bool,
}

/// Whether a packet is news.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Arrived {
    /// It was not here before, nor any behind it.
    Newest,
    /// It was not here before, but packets behind it were.
    Late(Late),
    /// It was, or it is too old to tell.
    Duplicate,
}

impl Arrived {
    /// Where news stands; a double is dropped.
    pub(crate) fn news(self) -> Result<Option<Late>, DropReason> {
        match self {
            Arrived::Newest => Ok(None),
            Arrived::Late(late) => Ok(Some(late)),
            Arrived::Duplicate => Err(DropReason::Duplicate),
        }
    }
}

/// A packet as it came.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Packet {
    pub(crate) ext_seq: u64,
    pub(crate) way: Way,
    /// When the kernel received it.
    pub(crate) arrival: Micros,
}

/// Where a late packet stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Late {
    /// The newest number of its stream.
    pub(crate) highest: u64,
    /// When its stream began: what the layer had before that was numbered otherwise.
    pub(crate) since: Micros,
}

impl Stream {
    /// A stream whose first packet has the extended number `ext_seq`.
    pub(crate) fn new(ssrc: u32, ext_seq: u64) -> Stream {
        Stream {
            ssrc,
            first_seq: ext_seq,
            highest_seq: ext_seq,
            received: 0,
            expected_at_report: 0,
            received_at_report: 0,
            jitter_q4: 0,
            transit: None,
            clock: None,
            seen: None,
            since: Micros::ZERO,
            gaps: Gaps::default(),
            broken: false,
        }
    }

    /// Notes a packet as here. `repair` says whether what it shows to be missing is worth asking for.
    pub(crate) fn arrive(
        &mut self,
        now: Micros,
        packet: Packet,
        repair: bool,
        round_trip: &mut RoundTrip,
        stats: &mut NackStats,
    ) -> Arrived {
        let Packet {
            ext_seq,
            way,
            arrival,
        } = packet;
        let Some(seen) = &mut self.seen else {
            self.seen = Some(RtpReplayWindow::starting_with(ext_seq));
            self.since = arrival;
            return Arrived::Newest;
        };
        if !seen.admits(ext_seq) {
            return Arrived::Duplicate;
        }
        let highest = seen.highest();
        seen.mark(ext_seq);
        if ext_seq < highest {
            self.gaps.on_late(now, ext_seq, way, round_trip, stats);
            return Arrived::Late(Late {
                highest,
                since: self.since,
            });
        }
        if repair && ext_seq > highest + 1 {
            self.broken |= !self.gaps.on_advance(now, highest, ext_seq, stats);
        }
        Arrived::Newest
    }

    /// A packet arrived that is not taken: it is not missing.
    pub(crate) fn refuse(&mut self, ext_seq: u64) {
        match &mut self.seen {
            None => self.seen = Some(RtpReplayWindow::starting_with(ext_seq)),
            Some(seen) if seen.admits(ext_seq) => seen.mark(ext_seq),
            Some(_) => {}
        }
        self.gaps.forget(ext_seq);
    }

    /// The extended number of `seq`, which a retransmission names: near the newest of this stream, and not so far
    /// ahead of it that it could not have been asked for.
    pub(crate) fn extend(&self, seq: Seq) -> Option<u64> {
        let highest = self.seen.as_ref()?.highest();
        let distance = seq.distance(Seq(seq_of(highest)));
        let ext_seq = highest.checked_add_signed(i64::from(distance))?;
        (ext_seq <= highest + MISSING_PER_STREAM_MAX as u64).then_some(ext_seq)
    }

    /// The highest extended number that arrived, by whichever way.
    pub(crate) fn newest(&self) -> u64 {
        self.seen
            .as_ref()
            .map_or(self.highest_seq, RtpReplayWindow::highest)
    }

    /// A keyframe began at `ext_seq`.
    pub(crate) fn on_keyframe(&mut self, ext_seq: u64, stats: &mut NackStats) {
        self.gaps.on_keyframe(ext_seq, stats);
    }

    /// Gives up what is past hope.
    pub(crate) fn give_up(&mut self, now: Micros, stats: &mut NackStats) {
        self.broken |= self.gaps.give_up(now, stats);
    }

    /// Whether packets were lost for good since the last call.
    pub(crate) fn take_broken(&mut self) -> bool {
        std::mem::take(&mut self.broken)
    }

    /// See [`Gaps::take_due`].
    pub(crate) fn take_due(
        &mut self,
        now: Micros,
        rtt_us: u64,
        out: &mut [Seq],
        stats: &mut NackStats,
    ) -> usize {
        self.gaps.take_due(now, rtt_us, out, stats)
    }

    /// When a missing packet is to be asked for.
    pub(crate) fn nack_at(&self) -> Option<Micros> {
        self.gaps.next_deadline()
    }

    /// Packets that are missing and asked for.
    pub(crate) fn missing(&self) -> usize {
        self.gaps.len()
    }

    /// Counts one packet. The replay window of SRTP has already dropped doubles.
    pub(crate) fn on_packet(
        &mut self,
        arrival: Micros,
        ext_seq: u64,
        timestamp: u32,
        clock_hz: u32,
    ) {
        self.received += 1;
        self.first_seq = self.first_seq.min(ext_seq);
        self.highest_seq = self.highest_seq.max(ext_seq);
        // RFC 3550 section 6.4.1: D(i-1,i) in timestamp units, J += (|D| - J) / 16. Both clocks wrap at
        // 32 bits, so the difference is taken there.
        let ticks = arrival.0.wrapping_mul(u64::from(clock_hz)) / 1_000_000;
        let ticks = u32::try_from(ticks & u64::from(u32::MAX)).unwrap_or(0);
        let transit = i64::from(ticks.wrapping_sub(timestamp).cast_signed());
        if let Some(last) = self.transit.replace(transit) {
            let d = transit.abs_diff(last);
            // A jump of the sender's clock (a restarted encoder) is not jitter.
            if d < u64::from(clock_hz) {
                self.jitter_q4 = self.jitter_q4 + d - (self.jitter_q4 + 8) / 16;
            }
        }
    }

    /// A sender report of this SSRC.
    pub(crate) fn on_sender_report(&mut self, clock: SenderClock) {
        self.clock = Some(clock);
    }

    /// The sender's clock, once it said what it is.
    pub(crate) fn clock(&self) -> Option<SenderClock> {
        self.clock
    }

    /// The report block for what happened since the last one.
    pub(crate) fn report(&mut self, now: Micros) -> ReportBlock {
        let expected = self.highest_seq - self.first_seq + 1;
        let expected_interval = expected.saturating_sub(self.expected_at_report);
        let received_interval = self.received - self.received_at_report;
        self.expected_at_report = expected;
        self.received_at_report = self.received;
        let lost_interval = expected_interval.saturating_sub(received_interval);
        let fraction = (lost_interval * 256)
            .checked_div(expected_interval)
            .unwrap_or(0)
            .min(255);
        let lost = expected.saturating_sub(self.received).min(0x7f_ffff);
        let (last_sr, delay_since_last_sr) = self.clock.map_or((0, 0), |clock| {
            let delay_us = now.since(clock.arrival);
            (middle_32(clock.ntp), low_32(delay_us * 65_536 / 1_000_000))
        });
        ReportBlock {
            ssrc: self.ssrc,
            fraction_lost: u8::try_from(fraction).unwrap_or(u8::MAX),
            cumulative_lost: i32::try_from(lost).unwrap_or(i32::MAX),
            highest_seq: low_32(self.highest_seq),
            jitter: low_32(self.jitter_q4 / 16),
            last_sr,
            delay_since_last_sr,
        }
    }
}

fn low_32(n: u64) -> u32 {
    u32::try_from(n & u64::from(u32::MAX)).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_report_says_what_was_lost_since_the_last_one() {
        let mut stream = Stream::new(1, 1_001);
        for seq in (1_000..1_100).filter(|seq| seq % 4 != 0) {
            stream.on_packet(
                Micros((seq - 1_000) * 20_000),
                seq,
                low_32((seq - 1_000) * 960),
                48_000,
            );
        }
        stream.on_packet(Micros(100 * 20_000), 1_100, 100 * 960, 48_000);
        let first = stream.report(Micros(2_000_000));
        assert_eq!(first.highest_seq, 1_100);
        assert_eq!(first.cumulative_lost, 24, "every fourth from 1004 on");
        assert_eq!(first.fraction_lost, 61, "24 of 100");
        assert_eq!(first.jitter, 0, "an even stream has none");
        let second = stream.report(Micros(2_000_000));
        assert_eq!((second.fraction_lost, second.cumulative_lost), (0, 24));
    }

    #[test]
    fn the_delay_since_the_last_sender_report_is_in_sixty_five_thousandths() {
        let mut stream = Stream::new(1, 0);
        stream.on_packet(Micros::ZERO, 0, 0, 90_000);
        stream.on_sender_report(SenderClock {
            ntp: 0x0123_4567_89ab_cdef,
            timestamp: 0,
            arrival: Micros(1_000_000),
        });
        let report = stream.report(Micros(1_500_000));
        assert_eq!(report.last_sr, 0x4567_89ab);
        assert_eq!(report.delay_since_last_sr, 32_768);
    }

    #[test]
    fn uneven_arrival_is_jitter_and_a_clock_jump_is_not() {
        let mut stream = Stream::new(1, 0);
        for n in 0..200u32 {
            let late_us = u64::from(n % 2) * 2_000;
            stream.on_packet(
                Micros(u64::from(n) * 20_000 + late_us),
                u64::from(n),
                n * 960,
                48_000,
            );
        }
        let jitter = stream.report(Micros::ZERO).jitter;
        assert!(
            (90..=96).contains(&jitter),
            "2 ms at 48 kHz are 96 units, got {jitter}"
        );
        stream.on_packet(Micros(200 * 20_000), 200, 3_000_000_000, 48_000);
        assert!(stream.report(Micros::ZERO).jitter <= 96);
    }
}
