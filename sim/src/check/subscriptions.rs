//! Nobody gets what he did not subscribe to.

use dataplane_engine::time::Micros;

use crate::stamp::Stamp;

/// What was chosen before an order may leave after it: the longest linger and a turn.
const GRACE_US: u64 = 5_000;

/// Every packet is of the room of its viewer and of the track that fills its slot.
#[derive(Debug, Default)]
pub struct Subscriptions {
    permitted: Option<u32>,
    previous: Option<(u32, Micros)>,
}

impl Subscriptions {
    /// Its name.
    pub const NAME: &'static str = "Subscriptions";

    /// From now on the slot is filled by this publisher, or by nobody.
    pub(super) fn fill(&mut self, now: Micros, publisher: Option<u32>) {
        if self.permitted != publisher
            && let Some(before) = std::mem::replace(&mut self.permitted, publisher)
        {
            self.previous = Some((before, now));
        }
        self.permitted = publisher;
    }

    pub(super) fn judge(&self, now: Micros, room: u32, stamp: &Stamp) -> Option<String> {
        if stamp.room != room {
            return Some(format!("{stamp:?} in room {room}"));
        }
        let fresh = |at: Micros| now.since(at) <= GRACE_US;
        let permitted = self.permitted == Some(stamp.publisher)
            || self
                .previous
                .is_some_and(|(before, at)| before == stamp.publisher && fresh(at));
        (!permitted).then(|| format!("{stamp:?} in a slot that {:?} fills", self.permitted))
    }
}
