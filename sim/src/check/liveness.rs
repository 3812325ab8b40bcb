//! When the faults stop, the class goes on.

use dataplane_engine::time::Micros;

/// How long recovery may take (security.md, "Whole-system simulation").
pub const RECOVERY_US_MAX: u64 = 3_000_000;

/// Within three seconds of the last fault every connected viewer sees pictures that were captured after it,
/// and hears.
#[derive(Clone, Copy, Debug)]
pub struct Liveness;

impl Liveness {
    /// Its name.
    pub const NAME: &'static str = "Liveness";

    /// `shown` is when the newest thing shown was captured, `since` when the faults stopped.
    pub(crate) fn judge(since: Micros, shown: Option<Micros>) -> bool {
        shown.is_some_and(|captured| captured >= since)
    }
}
