//! How often keyframes are asked for, three times limited (security.md R6): a viewer is heard once an interval a
//! slot, a layer is asked for once an interval whoever wishes it (contracts.md 40) and again while the wish is
//! unfulfilled, a publisher is asked for so many a second in all.

use crate::limits::{
    KEYFRAME_INTERVAL_US, KEYFRAME_REQUESTS_PER_SECOND_MAX, KEYFRAME_WISH_INTERVAL_US,
};
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

/// How often one viewer is heard on one slot.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct WishLimit {
    heard_at: Option<Micros>,
}

impl WishLimit {
    /// Whether a wish is heard now.
    pub(crate) fn hears(&mut self, now: Micros) -> bool {
        let heard = self
            .heard_at
            .is_none_or(|at| now.since(at) >= KEYFRAME_WISH_INTERVAL_US);
        if heard {
            self.heard_at = Some(now);
        }
        heard
    }
}

/// How many keyframes one publisher was asked for within the current second, over all it publishes.
#[derive(Debug, Default)]
pub(crate) struct KeyframeRate {
    window_at: Micros,
    asked: u32,
}

impl KeyframeRate {
    /// When it may be asked once more, as of `now`.
    pub(crate) fn ready_at(&self, now: Micros) -> Micros {
        let window_ends = self.window_at.plus_us(SECOND_US);
        if self.asked < KEYFRAME_REQUESTS_PER_SECOND_MAX || window_ends <= now {
            now
        } else {
            window_ends
        }
    }

    /// It is asked once more.
    pub(crate) fn on_asked(&mut self, now: Micros) {
        if now.since(self.window_at) >= SECOND_US {
            self.window_at = now;
            self.asked = 0;
        }
        self.asked += 1;
    }
}

const SECOND_US: u64 = 1_000_000;

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
    fn a_viewer_that_storms_is_heard_once_an_interval() {
        let mut limit = WishLimit::default();
        let heard = (0..2_000).filter(|&ms| limit.hears(Micros::ZERO.plus_ms(ms)));
        assert_eq!(heard.count(), 4);
    }

    #[test]
    fn a_publisher_of_much_is_asked_for_eight_a_second_in_all() {
        let mut rate = KeyframeRate::default();
        let mut asked = 0;
        for ms in 0..3_000 {
            let now = Micros::ZERO.plus_ms(ms);
            if rate.ready_at(now) <= now {
                rate.on_asked(now);
                asked += 1;
            }
        }
        assert_eq!(asked, 24);
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
