//! Time at a viewer never runs backwards, and keeps pace.

use super::window::Note;

/// Between two packets the time of the slot and that of the world may differ by so much: a loss is noticed when
/// the first packet after it comes, up to a blackout of 2 s later in these classes, then it is asked for during a
/// second, and the network and the slewing of clocks add to it.
const SKEW_US_MAX: u64 = 5_000_000;

/// One frame has one timestamp, the next frame a greater one, and the difference is the time that passed.
#[derive(Clone, Copy, Debug)]
pub struct Times;

impl Times {
    /// Its name.
    pub const NAME: &'static str = "Times";

    pub(super) fn judge(earlier: &Note, later: &Note, clock_hz: u32) -> Option<String> {
        let ticks = later.timestamp.wrapping_sub(earlier.timestamp);
        let same_frame = earlier.same_source(later) && earlier.stamp.frame == later.stamp.frame;
        if same_frame {
            return (ticks != 0).then(|| {
                format!(
                    "two timestamps within a frame, {ticks} apart: {:?}",
                    later.stamp
                )
            });
        }
        if ticks == 0 || ticks >= 1 << 31 {
            return Some(format!(
                "timestamp {} of {:?} follows {} of {:?}",
                later.timestamp, later.stamp, earlier.timestamp, earlier.stamp
            ));
        }
        let ticks_us = u64::from(ticks) * 1_000_000 / u64::from(clock_hz);
        let passed_us = later.at.0.abs_diff(earlier.at.0);
        (ticks_us.abs_diff(passed_us) > SKEW_US_MAX).then(|| {
            format!(
                "{ticks_us} us in timestamps, {passed_us} us in truth: {:?} after {:?}",
                later.stamp, earlier.stamp
            )
        })
    }
}
