//! Outgoing sequence numbers without a hole that the node made.

use super::window::Note;

/// A gap of a source longer than this becomes a hole of one packet (`forward/rewrite.rs`).
const GAP_MAX: u64 = 900;

/// Within one source the sequence keeps the distances of the source: what was lost on the way in stays a
/// hole, and only packets that carried nothing are closed over. A new source begins right behind the last
/// packet of the one before.
#[derive(Clone, Copy, Debug)]
pub struct Continuity;

impl Continuity {
    /// Its name.
    pub const NAME: &'static str = "Continuity";

    pub(super) fn judge(earlier: &Note, later: &Note) -> Option<String> {
        let step = later.index - earlier.index;
        if !earlier.same_source(later) {
            return (step != 1).then(|| {
                format!(
                    "a new source begins {step} behind the last: {:?} after {:?}",
                    later.stamp, earlier.stamp
                )
            });
        }
        let Some(numbers) = later.stamp.number.checked_sub(earlier.stamp.number) else {
            return Some(format!(
                "{:?} stands behind {:?}",
                later.stamp, earlier.stamp
            ));
        };
        let paddings = u64::from(later.stamp.paddings - earlier.stamp.paddings);
        let kept = (numbers..=numbers + paddings).contains(&step);
        let paused = earlier.pauses_before(later) && step == 1;
        let bridged = paused || (numbers > GAP_MAX && step <= numbers);
        (!kept && !bridged).then(|| {
            format!(
                "{step} numbers between packets {numbers} apart, {paddings} of padding between them: \
                 index {} {:?} after {:?}",
                later.index, later.stamp, earlier.stamp
            )
        })
    }
}
