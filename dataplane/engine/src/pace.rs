//! The pacer's place in the path (contracts.md 19). Its unit is the frame: a frame leaves as one train
//! while it fits 40 ms of the estimate. Until an estimate exists the ceiling of the session's policy is the
//! only bound.

/// A train lasts at most this long at the estimated rate.
const TRAIN_MS_MAX: u64 = 40;

/// The pacer of one session.
#[derive(Debug, Default)]
pub(crate) struct Pacer {
    egress_bps_max: Option<u64>,
}

impl Pacer {
    /// Follows the session's ceiling, bit/s.
    pub(crate) fn set_ceiling(&mut self, egress_bps_max: Option<u64>) {
        self.egress_bps_max = egress_bps_max;
    }

    /// Longest train in bytes.
    pub(crate) fn train_bytes_max(&self) -> usize {
        self.egress_bps_max.map_or(usize::MAX, |bps| {
            usize::try_from(bps.saturating_mul(TRAIN_MS_MAX) / 8_000).unwrap_or(usize::MAX)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_train_is_forty_milliseconds_of_the_ceiling() {
        let mut pacer = Pacer::default();
        assert_eq!(pacer.train_bytes_max(), usize::MAX);
        pacer.set_ceiling(Some(1_000_000));
        assert_eq!(pacer.train_bytes_max(), 5_000);
    }
}
