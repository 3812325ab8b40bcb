//! How long to wait before a process is started again.

use std::time::Duration;

/// Shortest and longest pause. The first lets a port be closed; the last spares the machine and the log
/// when a process cannot start at all.
const PAUSE: (Duration, Duration) = (Duration::from_millis(10), Duration::from_secs(5));

/// A process that was ready for this long had not failed at its start: people are waiting, and whatever
/// killed it may not come again.
const HEALTHY_TIME: Duration = Duration::from_secs(1);

/// Longest pause after a process that was ready, however briefly: whoever starts is likely to serve.
const SERVED_PAUSE_MAX: Duration = Duration::from_millis(500);

/// None to speak of after a process that had served, longer and longer for one that fails each time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Pause {
    next: Duration,
}

impl Default for Pause {
    fn default() -> Pause {
        Pause { next: PAUSE.0 }
    }
}

impl Pause {
    /// The process had been ready for this long when it ended.
    pub fn on_end(&mut self, ready_for: Duration) {
        if ready_for >= HEALTHY_TIME {
            *self = Pause::default();
        }
        self.next = self.next.min(SERVED_PAUSE_MAX);
    }

    /// The pause before the start that comes now; the one after it is longer.
    pub fn before_start(&mut self) -> Duration {
        let pause = self.next;
        self.next = PAUSE.1.min(pause * 4);
        pause
    }

    /// The pause that a start that fails now is followed by.
    #[must_use]
    pub fn coming(&self) -> Duration {
        self.next
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_process_that_served_is_back_at_once_however_often_it_is_killed() {
        let mut pause = Pause::default();
        for _kill in 0..20 {
            pause.on_end(Duration::from_secs(2));
            assert_eq!(pause.before_start(), Duration::from_millis(10));
        }
    }

    #[test]
    fn a_process_that_cannot_start_is_waited_for_longer_and_longer() {
        let mut pause = Pause::default();
        let pauses_ms = (0..7).map(|_| pause.before_start().as_millis());
        let pauses_ms: Vec<u128> = pauses_ms.collect();
        assert_eq!(pauses_ms, [10, 40, 160, 640, 2_560, 5_000, 5_000]);
    }

    #[test]
    fn a_process_that_dies_right_after_it_was_ready_is_waited_for_half_a_second_at_most() {
        let mut pause = Pause::default();
        let pauses_ms: Vec<u128> = (0..7)
            .map(|_| {
                pause.on_end(Duration::from_millis(999));
                pause.before_start().as_millis()
            })
            .collect();
        assert_eq!(pauses_ms, [10, 40, 160, 500, 500, 500, 500]);
        pause.on_end(Duration::from_secs(1));
        assert_eq!(pause.before_start(), Duration::from_millis(10));
    }
}
