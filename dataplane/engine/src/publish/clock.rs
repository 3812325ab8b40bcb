//! The capture clock of a publisher, as the sender reports of its streams tell it (RFC 3550 section 6.4.1).
//!
//! An NTP time is 32.32 fixed point: seconds above, parts of a second below.

use crate::time::Micros;

/// One sender report as it arrived.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct SenderClock {
    /// The report's NTP time.
    pub(crate) ntp: u64,
    /// The RTP timestamp of the same instant.
    pub(crate) timestamp: u32,
    /// When it arrived here.
    pub(crate) arrival: Micros,
}

impl SenderClock {
    /// What a report says of the clock: nothing when its NTP time is zero, which is what a sender without
    /// a wallclock writes.
    pub(crate) fn reported(ntp: u64, timestamp: u32, arrival: Micros) -> Option<SenderClock> {
        (ntp != 0).then_some(SenderClock {
            ntp,
            timestamp,
            arrival,
        })
    }

    /// When a packet with `timestamp` was captured. Within half a cycle of the timestamp around the report,
    /// which is 6.6 h at 90 kHz.
    pub(crate) fn captured(&self, timestamp: u32, clock_hz: u32) -> u64 {
        let ticks = i64::from(timestamp.wrapping_sub(self.timestamp).cast_signed());
        let elapsed = (ticks << 32).checked_div(clock_hz.into()).unwrap_or(0);
        self.ntp.wrapping_add_signed(elapsed)
    }

    /// The publisher's NTP time at `now`, less the way of the report.
    pub(crate) fn ntp_at(&self, now: Micros) -> u64 {
        self.ntp.wrapping_add(ntp_of_us(now.since(self.arrival)))
    }
}

/// Microseconds as NTP time: 2^32 / 10^6 each.
pub(crate) fn ntp_of_us(us: u64) -> u64 {
    let (seconds, rest) = (us / 1_000_000, us % 1_000_000);
    (seconds << 32) + (rest << 32) / 1_000_000
}

/// What passed from one NTP time to another, in ticks of `clock_hz`, rounded to the nearest; negative when `to` is
/// earlier.
pub(crate) fn ticks_between(from: u64, to: u64, clock_hz: u32) -> i64 {
    let elapsed = i128::from(to.wrapping_sub(from).cast_signed());
    let ticks = (elapsed * i128::from(clock_hz) + (1 << 31)) >> 32;
    i64::try_from(ticks).unwrap_or(0)
}

/// The middle 32 bits of an NTP time: LSR of a report block.
pub(crate) fn middle_32(ntp: u64) -> u32 {
    u32::try_from(ntp >> 16 & u64::from(u32::MAX)).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_packet_is_captured_as_far_from_the_report_as_its_timestamp_is() {
        let clock = SenderClock::reported(10 << 32, 50, Micros(7)).unwrap();
        assert_eq!(clock.captured(50, 90_000), 10 << 32);
        assert_eq!(clock.captured(45_050, 90_000), (10 << 32) + (1 << 31));
        let before = clock.captured(50_u32.wrapping_sub(90_000), 90_000);
        assert_eq!(before, 9 << 32, "over the wrap of the timestamp");
        assert_eq!(ticks_between(before, clock.ntp, 90_000), 90_000);
        assert_eq!(ticks_between(clock.ntp, before, 90_000), -90_000);
    }

    #[test]
    fn there_and_back_is_the_same_tick() {
        let clock = SenderClock::reported(10 << 32, 0, Micros(0)).unwrap();
        for ticks in (0..1_000_000).step_by(1_001) {
            for clock_hz in [8_000, 48_000, 90_000] {
                let captured = clock.captured(ticks, clock_hz);
                let back = ticks_between(clock.ntp, captured, clock_hz);
                assert_eq!(back, i64::from(ticks), "{clock_hz}");
            }
        }
    }

    #[test]
    fn a_sender_without_a_wallclock_says_nothing() {
        assert_eq!(SenderClock::reported(0, 1, Micros(1)), None);
    }

    #[test]
    fn time_passes_alike_on_both_sides() {
        assert_eq!(ntp_of_us(1_500_000), (1 << 32) + (1 << 31));
        let clock = SenderClock::reported(3 << 32, 0, Micros(1_000_000)).unwrap();
        assert_eq!(clock.ntp_at(Micros(3_000_000)), 5 << 32);
    }
}
