//! How long somebody keeps asking to join, and how often.

use std::time::Duration;

use super::http::Refused;

/// What a client does when it is not let in at once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Patience {
    /// Waits for the stream to become live; a node that does not answer is broken.
    Live,
    /// Has been in a class that broke off: asks again soon, then less and less often, and never before the
    /// node wants to be asked.
    Outage,
    /// Wants to know to the millisecond when the node lets people in again.
    Probe,
}

/// How long a stream may take to become live, and the pause between attempts.
const LIVE: (Duration, Duration) = (Duration::from_secs(10), Duration::from_millis(250));

/// How long somebody tries to come back, and the first and the longest pause.
const OUTAGE_MAX: Duration = Duration::from_secs(30);
const OUTAGE_PAUSE: (Duration, Duration) = (Duration::from_millis(100), Duration::from_secs(1));

/// How much longer each pause is than the one before it.
const OUTAGE_GROWTH: f64 = 1.5;

const PROBE: (Duration, Duration) = (Duration::from_secs(20), Duration::from_millis(5));

impl Patience {
    /// The pause before the next attempt; `None` when there is none. `attempt` counts from 0, `waited`
    /// from the first one.
    pub(crate) fn pause(
        self,
        refused: &Refused,
        attempt: u16,
        waited: Duration,
    ) -> Option<Duration> {
        let (most, pause) = match (self, refused) {
            (_, Refused::Never(_)) | (Patience::Live, Refused::Gone(_)) => return None,
            (Patience::Live, Refused::Later(..)) => LIVE,
            (Patience::Probe, _) => PROBE,
            (Patience::Outage, refused) => {
                let grown = OUTAGE_PAUSE
                    .0
                    .mul_f64(OUTAGE_GROWTH.powi(attempt.min(20).into()));
                let asked = match refused {
                    Refused::Later(_, after) => *after,
                    Refused::Gone(_) | Refused::Never(_) => Duration::ZERO,
                };
                (OUTAGE_MAX, grown.min(OUTAGE_PAUSE.1).max(asked))
            }
        };
        (waited < most).then_some(pause)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_returning_client_asks_less_and_less_often_and_heeds_the_node() {
        let gone = Refused::Gone(anyhow::anyhow!("refused"));
        let busy = Refused::Later(anyhow::anyhow!("503"), Duration::from_secs(2));
        let wait = |attempt| Patience::Outage.pause(&gone, attempt, Duration::ZERO);
        assert_eq!(wait(0), Some(Duration::from_millis(100)));
        assert_eq!(wait(1), Some(Duration::from_millis(150)));
        assert_eq!(wait(60), Some(Duration::from_secs(1)));
        let heeded = Patience::Outage.pause(&busy, 0, Duration::ZERO);
        assert_eq!(heeded, Some(Duration::from_secs(2)));
        assert_eq!(Patience::Outage.pause(&gone, 1, OUTAGE_MAX), None);
        assert_eq!(Patience::Live.pause(&gone, 0, Duration::ZERO), None);
        assert!(Patience::Live.pause(&busy, 0, Duration::ZERO).is_some());
        let never = Refused::Never(anyhow::anyhow!("401"));
        assert_eq!(Patience::Probe.pause(&never, 0, Duration::ZERO), None);
    }
}
