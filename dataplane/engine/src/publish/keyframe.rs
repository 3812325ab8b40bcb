//! How often keyframes are asked for, three times limited (security.md R6): a viewer is heard once an interval a
//! slot, a layer is asked for once an interval whoever wishes it (contracts.md 40) and again while the wish is
//! unfulfilled, a publisher is asked for so many a second in all.

use std::collections::VecDeque;

use crate::limits::{
    KEYFRAME_INTERVAL_US, KEYFRAME_REQUESTS_PER_SECOND_MAX, KEYFRAME_WISH_INTERVAL_US,
};
use crate::time::Micros;

/// Requests toward one layer.
#[derive(Debug, Default)]
pub(crate) struct KeyframeBudget {
    /// Somebody needs a keyframe that begins at this extended number or behind it.
    wanted_from: Option<u64>,
    asked_at: Option<Micros>,
}

impl KeyframeBudget {
    /// Somebody needs a keyframe that begins at `from` or behind it. An older one, which was lost and repaired,
    /// does not mend what was lost since.
    pub(crate) fn want(&mut self, from: u64) {
        self.wanted_from = self.wanted_from.max(Some(from));
    }

    /// A keyframe began at `ext_seq`.
    pub(crate) fn on_keyframe(&mut self, ext_seq: u64) {
        self.wanted_from = self.wanted_from.filter(|&from| ext_seq < from);
    }

    /// The layer is numbered anew.
    pub(crate) fn restart(&mut self) {
        self.wanted_from = self.wanted_from.map(|_| 0);
    }

    /// When to ask, if at all.
    pub(crate) fn next_deadline(&self, layer: u8) -> Option<Micros> {
        self.wanted_from.map(|_| match self.asked_at {
            None => Micros::ZERO,
            Some(at) => at.plus_us(interval_us(layer)),
        })
    }

    /// When it was asked for last.
    pub(crate) fn asked_at(&self) -> Option<Micros> {
        self.asked_at
    }

    /// It is asked for. `is_last` says that the wish ends with that, else it ends with a keyframe.
    pub(crate) fn on_asked(&mut self, now: Micros, is_last: bool) {
        self.asked_at = Some(now);
        if is_last {
            self.wanted_from = None;
        }
    }
}

/// How often one viewer is heard on one slot.
///
/// A wish that comes too soon is put off to the end of the interval: the keyframe that the one before it brought may
/// have been lost on the way, and not every viewer asks again.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct WishLimit {
    heard_at: Option<Micros>,
    /// The slot's newest index when the last wish was put off.
    deferred: Option<u64>,
}

impl WishLimit {
    /// Whether a wish is heard now; else it is put off. `newest` is the highest index the slot has given out.
    pub(crate) fn hears(&mut self, now: Micros, newest: u64) -> bool {
        if self.ends_at().is_some_and(|ends_at| now < ends_at) {
            self.deferred = Some(newest);
            return false;
        }
        self.heard_at = Some(now);
        self.deferred = None;
        true
    }

    /// A keyframe is forwarded as `index`: a wish from before it has come true.
    pub(crate) fn on_keyframe(&mut self, index: u64) {
        self.deferred = self.deferred.filter(|&newest| index <= newest);
    }

    /// The slot shows something else from now on.
    pub(crate) fn forget_deferred(&mut self) {
        self.deferred = None;
    }

    /// When the wish that was put off is to be heard.
    pub(crate) fn due_at(&self) -> Option<Micros> {
        self.deferred.and(self.ends_at())
    }

    /// Whether the wish that was put off is heard now.
    pub(crate) fn take_deferred(&mut self, now: Micros) -> bool {
        let due = self.due_at().is_some_and(|at| at <= now);
        if due {
            self.heard_at = Some(now);
            self.deferred = None;
        }
        due
    }

    fn ends_at(&self) -> Option<Micros> {
        self.heard_at
            .map(|at| at.plus_us(KEYFRAME_WISH_INTERVAL_US))
    }
}

/// When one publisher was last asked for keyframes, over all it publishes: never more often within any second than
/// [`KEYFRAME_REQUESTS_PER_SECOND_MAX`].
#[derive(Debug, Default)]
pub(crate) struct KeyframeRate {
    /// The last requests, oldest first.
    asked_at: VecDeque<Micros>,
}

impl KeyframeRate {
    /// When it may be asked once more, as of `now`.
    pub(crate) fn ready_at(&self, now: Micros) -> Micros {
        match self.asked_at.front() {
            Some(oldest) if self.asked_at.len() >= KEYFRAME_REQUESTS_PER_SECOND_MAX => {
                oldest.plus_us(SECOND_US).max(now)
            }
            Some(_) | None => now,
        }
    }

    /// It is asked once more.
    pub(crate) fn on_asked(&mut self, now: Micros) {
        if self.asked_at.len() >= KEYFRAME_REQUESTS_PER_SECOND_MAX {
            self.asked_at.pop_front();
        }
        self.asked_at.push_back(now);
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

    fn take(budget: &mut KeyframeBudget, ms: u64, layer: u8) -> bool {
        let now = Micros::ZERO.plus_ms(ms);
        let due = budget.next_deadline(layer).is_some_and(|at| at <= now);
        if due {
            budget.on_asked(now, false);
        }
        due
    }

    #[test]
    fn a_thousand_wishes_are_one_request_an_interval() {
        let mut budget = KeyframeBudget::default();
        let mut asked = 0;
        for ms in 0..2_000 {
            budget.want(0);
            asked += u32::from(take(&mut budget, ms, 0));
        }
        assert_eq!(asked, 4, "at 0, 500, 1000 and 1500 ms");
    }

    #[test]
    fn a_viewer_that_storms_is_heard_once_an_interval() {
        let mut limit = WishLimit::default();
        let heard = (0..2_000).filter(|&ms| limit.hears(Micros::ZERO.plus_ms(ms), 0));
        assert_eq!(heard.count(), 4);
    }

    #[test]
    fn a_wish_that_comes_too_soon_is_heard_later_unless_a_newer_keyframe_comes() {
        let mut limit = WishLimit::default();
        let at = |ms| Micros::ZERO.plus_ms(ms);
        assert!(limit.hears(at(0), 10));
        assert!(!limit.hears(at(400), 20));
        limit.on_keyframe(20);
        assert_eq!(limit.due_at(), Some(at(500)), "that one was here before");
        assert!(!limit.take_deferred(at(499)) && limit.take_deferred(at(500)));
        assert!(!limit.take_deferred(at(5_000)), "once");
        assert!(limit.hears(at(1_000), 30) && !limit.hears(at(1_100), 30));
        limit.on_keyframe(31);
        assert_eq!(limit.due_at(), None);
    }

    #[test]
    fn a_publisher_of_much_is_asked_for_eight_within_any_second() {
        let mut rate = KeyframeRate::default();
        let mut asked = Vec::new();
        // One alone, then whenever it is ready: a window of a second from the first would let 15 pass by 1,007 ms.
        for ms in (0..1).chain(990..4_000) {
            let now = Micros::ZERO.plus_ms(ms);
            if rate.ready_at(now) <= now {
                rate.on_asked(now);
                asked.push(ms);
            }
        }
        assert!(asked.windows(9).all(|nine| nine[8] - nine[0] >= 1_000));
        assert_eq!(asked.len(), 4 * 8, "{asked:?}");
    }

    #[test]
    fn an_unfulfilled_wish_is_repeated_and_a_keyframe_ends_it() {
        let mut budget = KeyframeBudget::default();
        budget.want(7);
        assert!(take(&mut budget, 0, 1));
        assert_eq!(budget.next_deadline(1), Some(Micros(1_000_000)));
        budget.on_keyframe(6);
        assert!(take(&mut budget, 1_000, 1), "the keyframe is too old");
        budget.on_keyframe(7);
        assert_eq!(budget.next_deadline(1), None);
    }
}
