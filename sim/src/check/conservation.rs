//! Nothing vanishes and nothing appears (contracts.md 20).

use dataplane_engine::stats::Counters;
use dataplane_engine::time::Micros;

use super::Report;

/// What came in was accepted or dropped for a reason; what was selected was sealed, dropped for a reason or
/// still waits; and the shard's counts are those of who stands beside it and counts as well.
#[derive(Debug, Default)]
pub struct Conservation {
    handed_in: u64,
    came_out: u64,
}

impl Conservation {
    /// Its name.
    pub const NAME: &'static str = "Conservation";

    /// A datagram was given to the shard.
    pub(crate) fn hand_in(&mut self) {
        self.handed_in += 1;
    }

    /// A datagram came out of the shard.
    pub(crate) fn come_out(&mut self) {
        self.came_out += 1;
    }

    pub(crate) fn judge(&self, now: Micros, counters: &Counters, queued: u64, report: &mut Report) {
        let Conservation {
            handed_in,
            came_out,
        } = *self;
        let taken = counters.accepted_packets + counters.dropped_in.total();
        let sent = counters.sealed_packets + counters.dropped_out.total() + queued;
        let mut compare = |what: &str, one: u64, other: u64| {
            if one != other {
                report.add(Self::NAME, now, format!("{what}: {one} and {other}"));
            }
        };
        compare(
            "received, accepted + dropped",
            counters.received_packets,
            taken,
        );
        compare(
            "selected, sealed + dropped + queued",
            counters.selected_packets,
            sent,
        );
        compare("handed in, received", handed_in, counters.received_packets);
        compare("came out, sent", came_out, counters.sent_packets);
    }
}
