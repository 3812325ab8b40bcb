//! When the process drains and when it ends: a pure state machine over signals, the link and the number
//! of sessions.

use std::time::{Duration, Instant};

/// How far the process is on its way out.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Phase {
    /// Sessions are admitted.
    Serving,
    /// No session is admitted; the process ends with the last one, or at the deadline.
    Draining,
    /// The process ends now.
    Stopping,
}

/// See the module.
#[derive(Debug)]
pub struct Lifetime {
    phase: Phase,
    orphan_grace: Duration,
    drain_deadline: Duration,
    /// Since when no control plane has the link; `None` while one has.
    orphaned_since: Option<Instant>,
    draining_since: Option<Instant>,
}

impl Lifetime {
    /// A node that starts now, without a control plane.
    #[must_use]
    pub fn new(now: Instant, orphan_grace: Duration, drain_deadline: Duration) -> Lifetime {
        Lifetime {
            phase: Phase::Serving,
            orphan_grace,
            drain_deadline,
            orphaned_since: Some(now),
            draining_since: None,
        }
    }

    /// How far the process is on its way out.
    #[must_use]
    pub fn phase(&self) -> Phase {
        self.phase
    }

    /// A control plane took the link.
    pub fn on_linked(&mut self) {
        self.orphaned_since = None;
    }

    /// The control plane left the link.
    pub fn on_orphaned(&mut self, now: Instant) {
        self.orphaned_since.get_or_insert(now);
    }

    /// Somebody asks for a later phase. A phase never goes back.
    pub fn on_request(&mut self, now: Instant, phase: Phase) {
        if phase > self.phase {
            self.phase = phase;
            if phase == Phase::Draining {
                self.draining_since = Some(now);
            }
        }
    }

    /// Moves on when its time has come: call after every other input and at [`Lifetime::next_deadline`].
    pub fn on_tick(&mut self, now: Instant, sessions: usize) {
        if self.phase == Phase::Serving && self.orphan_deadline().is_some_and(|at| at <= now) {
            tracing::warn!(
                grace_s = self.orphan_grace.as_secs(),
                "no control plane for the whole grace period: draining"
            );
            self.on_request(now, Phase::Draining);
        }
        if self.phase == Phase::Draining {
            if sessions == 0 {
                tracing::info!("drained: the last session has ended");
                self.on_request(now, Phase::Stopping);
            } else if self.drain_ends().is_some_and(|at| at <= now) {
                tracing::warn!(sessions, "the drain deadline has passed with sessions left");
                self.on_request(now, Phase::Stopping);
            }
        }
    }

    /// When [`Lifetime::on_tick`] has something to do even if nothing else happens.
    #[must_use]
    pub fn next_deadline(&self) -> Option<Instant> {
        match self.phase {
            Phase::Serving => self.orphan_deadline(),
            Phase::Draining => self.drain_ends(),
            Phase::Stopping => None,
        }
    }

    fn orphan_deadline(&self) -> Option<Instant> {
        self.orphaned_since
            .and_then(|since| since.checked_add(self.orphan_grace))
    }

    fn drain_ends(&self) -> Option<Instant> {
        self.draining_since
            .and_then(|since| since.checked_add(self.drain_deadline))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const GRACE: Duration = Duration::from_secs(100);
    const DEADLINE: Duration = Duration::from_secs(10);

    fn at(start: Instant, s: u64) -> Instant {
        start + Duration::from_secs(s)
    }

    #[test]
    fn a_drain_ends_with_the_last_session() {
        let start = Instant::now();
        let mut life = Lifetime::new(start, GRACE, DEADLINE);
        life.on_linked();
        life.on_request(start, Phase::Draining);
        life.on_tick(start, 2);
        assert_eq!(life.phase(), Phase::Draining);
        assert_eq!(life.next_deadline(), Some(at(start, 10)));
        life.on_tick(at(start, 3), 0);
        assert_eq!(life.phase(), Phase::Stopping);
    }

    #[test]
    fn a_drain_ends_at_its_deadline_with_sessions_left() {
        let start = Instant::now();
        let mut life = Lifetime::new(start, GRACE, DEADLINE);
        life.on_request(start, Phase::Draining);
        life.on_tick(at(start, 9), 1);
        assert_eq!(life.phase(), Phase::Draining);
        life.on_tick(at(start, 10), 1);
        assert_eq!(life.phase(), Phase::Stopping);
    }

    #[test]
    fn a_node_without_a_control_plane_serves_for_the_grace_period_and_then_drains() {
        let start = Instant::now();
        let mut life = Lifetime::new(start, GRACE, DEADLINE);
        assert_eq!(life.next_deadline(), Some(at(start, 100)));
        life.on_linked();
        assert_eq!(life.next_deadline(), None);
        life.on_orphaned(at(start, 50));
        life.on_orphaned(at(start, 90));
        life.on_tick(at(start, 149), 1);
        assert_eq!(
            life.phase(),
            Phase::Serving,
            "counted from when the link was lost"
        );
        life.on_tick(at(start, 150), 1);
        assert_eq!(life.phase(), Phase::Draining);
    }

    #[test]
    fn a_phase_never_goes_back_and_a_repeated_request_does_not_extend_the_drain() {
        let start = Instant::now();
        let mut life = Lifetime::new(start, GRACE, DEADLINE);
        life.on_request(start, Phase::Draining);
        life.on_request(at(start, 5), Phase::Draining);
        assert_eq!(life.next_deadline(), Some(at(start, 10)));
        life.on_request(at(start, 5), Phase::Stopping);
        life.on_request(at(start, 6), Phase::Draining);
        assert_eq!(life.phase(), Phase::Stopping);
    }

    #[test]
    fn a_grace_period_beyond_time_is_no_deadline() {
        let life = Lifetime::new(Instant::now(), Duration::MAX, Duration::MAX);
        assert_eq!(life.next_deadline(), None);
    }
}
