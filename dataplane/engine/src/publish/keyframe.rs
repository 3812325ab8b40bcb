//! The keyframe budget of one layer: whoever asks, the publisher is asked at most once an interval
//! (contracts.md 40), and again while the wish is unfulfilled.

use crate::limits::KEYFRAME_INTERVAL_US;
use crate::time::Micros;

/// Requests toward one layer.
#[derive(Debug, Default)]
pub(crate) struct KeyframeBudget {
    wanted: bool,
    asked_at: Option<Micros>,
}

impl KeyframeBudget {
    /// Somebody needs a keyframe.
    pub(crate) fn want(&mut self) {
        self.wanted = true;
    }

    /// A keyframe began.
    pub(crate) fn on_keyframe(&mut self) {
        self.wanted = false;
    }

    /// When to ask, if at all.
    pub(crate) fn next_deadline(&self, layer: u8) -> Option<Micros> {
        self.wanted.then(|| match self.asked_at {
            None => Micros::ZERO,
            Some(at) => at.plus_us(interval_us(layer)),
        })
    }

    /// Whether to ask now; then it counts as asked.
    pub(crate) fn take(&mut self, now: Micros, layer: u8) -> bool {
        let due = self.next_deadline(layer).is_some_and(|at| at <= now);
        if due {
            self.asked_at = Some(now);
        }
        due
    }
}

fn interval_us(layer: u8) -> u64 {
    let [.., highest] = KEYFRAME_INTERVAL_US;
    KEYFRAME_INTERVAL_US
        .get(usize::from(layer))
        .copied()
        .unwrap_or(highest)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_thousand_wishes_are_one_request_an_interval() {
        let mut budget = KeyframeBudget::default();
        let mut asked = 0;
        for ms in 0..2_000 {
            budget.want();
            asked += u32::from(budget.take(Micros::ZERO.plus_ms(ms), 0));
        }
        assert_eq!(asked, 4, "at 0, 500, 1000 and 1500 ms");
    }

    #[test]
    fn an_unfulfilled_wish_is_repeated_and_a_keyframe_ends_it() {
        let mut budget = KeyframeBudget::default();
        budget.want();
        assert!(budget.take(Micros(0), 1));
        assert_eq!(budget.next_deadline(1), Some(Micros(1_000_000)));
        assert!(budget.take(Micros(1_000_000), 1));
        budget.on_keyframe();
        assert_eq!(budget.next_deadline(1), None);
    }
}
