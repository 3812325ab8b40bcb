//! Whether the peer still wants to receive (contracts.md 6).
//!
//! A lite agent sends no checks of its own, so it reads consent (RFC 7675) from what the peer shows: a valid
//! check, or a packet that authenticates under the keys. Debian's GStreamer sends no second check, so its
//! media has to do. A peer that did send periodic checks is held to them: its media alone says that it sends,
//! not that it still listens.

use crate::limits::{CHECKER_CHECKS, CHECKER_GAP_US, CONSENT_GRACE_US, CONSENT_US, ICE_TIMEOUT_US};
use crate::time::Micros;

/// The consent of one peer.
#[derive(Debug)]
pub(crate) struct Consent {
    /// Admission or the last ICE restart: the peer is given time from here.
    begun_at: Micros,
    checked_at: Option<Micros>,
    /// The last sign of life of any kind.
    heard_at: Option<Micros>,
    /// Checks that count toward [`CHECKER_CHECKS`].
    counted: u8,
    /// The peer's first check, its first nomination, then the last check that counted.
    counted_at: Option<Micros>,
    nominated: bool,
    lapsed: bool,
}

impl Consent {
    pub(crate) fn new(now: Micros) -> Consent {
        Consent {
            begun_at: now,
            checked_at: None,
            heard_at: None,
            counted: 0,
            counted_at: None,
            nominated: false,
            lapsed: false,
        }
    }

    /// A valid check under a transaction id that was not seen before. One that repeats an id consents to nothing:
    /// whoever once saw it can send it again.
    pub(crate) fn on_check(&mut self, now: Micros, nominated: bool) {
        self.checked_at = Some(now);
        self.heard_at = Some(now);
        self.lapsed = false;
        if nominated && !self.nominated {
            // Whatever came before belongs to the choice of a pair, however long that took.
            self.nominated = true;
            self.counted = 0;
            self.counted_at = None;
        }
        match self.counted_at {
            None => self.counted_at = Some(now),
            Some(counted_at) if now.since(counted_at) >= CHECKER_GAP_US => {
                self.counted = self.counted.saturating_add(1);
                self.counted_at = Some(now);
            }
            Some(_) => {}
        }
    }

    /// An authenticated packet on a validated path.
    pub(crate) fn on_packet(&mut self, now: Micros) {
        self.heard_at = Some(now);
        if !self.is_checker() {
            self.lapsed = false;
        }
    }

    /// ICE was restarted: the new checks get the time a newcomer's get. What has lapsed stays lapsed until one
    /// of them arrives (RFC 7675 section 5.1).
    pub(crate) fn on_restart(&mut self, now: Micros) {
        self.begun_at = now;
        if !self.is_checker() {
            self.counted = 0;
            self.counted_at = None;
            self.nominated = false;
        }
    }

    /// Notices that consent has lapsed.
    pub(crate) fn on_tick(&mut self, now: Micros) {
        self.lapsed |= self.lapses_at().is_some_and(|at| at <= now);
    }

    /// Whether the peer sends periodic checks.
    pub(crate) fn is_checker(&self) -> bool {
        self.counted >= CHECKER_CHECKS
    }

    /// Whether nothing may be sent.
    pub(crate) fn has_lapsed(&self) -> bool {
        self.lapsed
    }

    /// Whether any check was ever valid.
    pub(crate) fn was_given(&self) -> bool {
        self.checked_at.is_some()
    }

    /// When nothing more may be sent, unless the peer is heard before.
    pub(crate) fn lapses_at(&self) -> Option<Micros> {
        let shown_at = if self.is_checker() {
            self.checked_at
        } else {
            self.heard_at
        };
        shown_at.map(|at| at.plus_us(CONSENT_US))
    }

    /// When the session is over, unless the peer is heard before.
    pub(crate) fn ends_at(&self) -> Micros {
        let patience = self.begun_at.plus_us(ICE_TIMEOUT_US);
        match self.lapses_at().map(|at| at.plus_us(CONSENT_GRACE_US)) {
            Some(ends_at) if self.is_restarting() => ends_at.max(patience),
            Some(ends_at) => ends_at,
            None => patience,
        }
    }

    /// When to look again.
    pub(crate) fn next_deadline(&self) -> Micros {
        let lapses_at = self.lapses_at().filter(|_| !self.lapsed);
        self.ends_at().min(lapses_at.unwrap_or(Micros(u64::MAX)))
    }

    /// Whether the peer's last check is older than the restart.
    fn is_restarting(&self) -> bool {
        self.checked_at
            .is_some_and(|checked_at| checked_at < self.begun_at)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(ms: u64) -> Micros {
        Micros::ZERO.plus_ms(ms)
    }

    /// A peer whose checks come every `interval_ms`.
    fn checking(checks: u8, interval_ms: u64) -> Consent {
        let mut consent = Consent::new(at(0));
        for n in 0..checks {
            consent.on_check(at(u64::from(n) * interval_ms), true);
        }
        consent
    }

    #[test]
    fn periodic_checks_are_told_from_the_burst_that_chooses_a_pair() {
        assert!(!checking(30, 50).is_checker(), "1.5 s of trying pairs");
        assert!(!checking(3, 2_500).is_checker());
        // Chromium checks every 2.5 s, Firefox every 5 s +- 20 %.
        assert!(checking(4, 2_500).is_checker());
        assert!(checking(4, 4_000).is_checker());
        assert!(checking(21, 480).is_checker(), "and whoever checks faster");
    }

    #[test]
    fn choosing_a_pair_may_take_long() {
        let mut consent = Consent::new(at(0));
        for n in 0..10 {
            consent.on_check(at(n * 2_500), false);
        }
        consent.on_check(at(25_000), true);
        assert!(!consent.is_checker(), "the nomination ends the choice");
        for n in 11..14 {
            consent.on_check(at(n * 2_500), false);
        }
        assert!(consent.is_checker());
    }

    /// Contracts.md 6: whoever never repeats a check lives by media.
    #[test]
    fn media_is_enough_for_a_peer_that_never_repeats_a_check() {
        let mut consent = checking(2, 100);
        consent.on_packet(at(29_000));
        assert_eq!(consent.lapses_at(), Some(at(59_000)));
        assert_eq!(consent.ends_at(), at(63_500));
    }

    /// Contracts.md 6: RFC 7675 for whoever did.
    #[test]
    fn media_alone_does_not_keep_a_checker() {
        let mut consent = checking(5, 2_500);
        for second in 11..50 {
            consent.on_packet(at(second * 1_000));
        }
        assert_eq!(consent.lapses_at(), Some(at(40_000)));
        consent.on_tick(at(39_999));
        assert!(!consent.has_lapsed());
        consent.on_tick(at(40_000));
        consent.on_packet(at(40_001));
        assert!(consent.has_lapsed(), "its media changes nothing");
        assert_eq!(consent.ends_at(), at(44_500));
        consent.on_check(at(41_000), false);
        assert!(!consent.has_lapsed(), "the network came back in time");
    }

    #[test]
    fn without_a_check_the_session_ends_after_admission() {
        let consent = Consent::new(at(1_000));
        assert_eq!(consent.ends_at(), at(31_000));
        assert_eq!(consent.lapses_at(), None);
        assert_eq!(consent.next_deadline(), at(31_000));
    }

    #[test]
    fn a_restart_gives_time_but_no_consent() {
        let mut consent = checking(5, 2_500);
        consent.on_tick(at(40_000));
        consent.on_restart(at(44_000));
        assert!(consent.has_lapsed(), "nothing is sent on an old promise");
        assert_eq!(consent.ends_at(), at(74_000));
        consent.on_check(at(45_000), true);
        assert!(!consent.has_lapsed() && consent.is_checker());
        assert_eq!(consent.ends_at(), at(79_500));
    }

    #[test]
    fn a_deadline_never_lies_behind_what_was_done() {
        let mut consent = checking(5, 2_500);
        assert_eq!(consent.next_deadline(), at(40_000));
        consent.on_tick(at(40_000));
        assert_eq!(consent.next_deadline(), at(44_500));
    }
}
