//! ICE as a lite agent (RFC 8445 section 2.5): it answers checks and never sends any, learns the peer's
//! addresses from authenticated checks alone, and follows the controlling side's nomination.

use turn::stun::{IntegrityKey, TransactionId};

use super::consent::Consent;
pub(crate) use super::paths::PathChange;
use super::paths::Paths;
use super::seen::{Novelty, SeenChecks};
use crate::packet::Path;
use crate::reason::DropReason;
use crate::time::Micros;

/// Both sides' user fragments and passwords.
#[derive(Debug)]
struct Credentials {
    local_ufrag: String,
    local_pwd: String,
    key: IntegrityKey,
    /// `None` while the peer has not answered our offer: no check can name both sides then.
    remote: Option<RemoteCredentials>,
    /// The checks that used them.
    seen: SeenChecks,
}

/// The peer's user fragment and password.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct RemoteCredentials {
    pub(crate) ufrag: String,
    pub(crate) pwd: String,
}

impl Credentials {
    fn new(
        local_ufrag: String,
        local_pwd: String,
        remote: Option<RemoteCredentials>,
    ) -> Credentials {
        Credentials {
            key: IntegrityKey::new(local_pwd.as_bytes()),
            local_ufrag,
            local_pwd,
            remote,
            seen: SeenChecks::default(),
        }
    }

    /// Whether `username` of a check is `local:remote` (RFC 8445 section 7.2.2). Compared in whole: the remote
    /// part tells a restarted peer from its former self.
    fn name(&self, username: &[u8]) -> bool {
        let named = username
            .strip_prefix(self.local_ufrag.as_bytes())
            .and_then(|rest| rest.strip_prefix(b":"));
        let remote = self.remote.as_ref().map(|remote| remote.ufrag.as_bytes());
        remote.is_some() && named == remote
    }
}

/// Which credentials a check used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Generation {
    /// Those of the last offer and answer.
    Current,
    /// Those before the last restart.
    Previous,
}

/// A check whose MESSAGE-INTEGRITY is right.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Check {
    pub(crate) path: Path,
    pub(crate) id: TransactionId,
    /// It carries USE-CANDIDATE.
    pub(crate) nominated: bool,
    pub(crate) generation: Generation,
}

/// The lite agent of one session.
#[derive(Debug)]
pub(crate) struct IceAgent {
    credentials: Credentials,
    /// What the peer uses until it has the answer to its restart, which may be lost on the way: until the
    /// first check under the new credentials the old ones are as good, so that a restart interrupts nothing. After
    /// several restarts without a check they are the last ones that the peer has shown to have.
    previous: Option<Credentials>,
    paths: Paths,
    consent: Consent,
}

impl IceAgent {
    pub(crate) fn new(
        now: Micros,
        local_ufrag: String,
        local_pwd: String,
        remote: Option<RemoteCredentials>,
    ) -> IceAgent {
        IceAgent {
            credentials: Credentials::new(local_ufrag, local_pwd, remote),
            previous: None,
            paths: Paths::default(),
            consent: Consent::new(now),
        }
    }

    pub(crate) fn local_ufrag(&self) -> &str {
        &self.credentials.local_ufrag
    }

    pub(crate) fn local_pwd(&self) -> &str {
        &self.credentials.local_pwd
    }

    /// The key of a check with this username, and of its answer; `None` when it is not for us.
    pub(crate) fn key_of(&self, username: &[u8]) -> Option<(Generation, &IntegrityKey)> {
        if self.credentials.name(username) {
            return Some((Generation::Current, &self.credentials.key));
        }
        let previous = self.previous.as_ref().filter(|c| c.name(username))?;
        Some((Generation::Previous, &previous.key))
    }

    /// The peer answered our offer. Its checks get the time a newcomer's get: the answer came in time, and what
    /// remains of the offer's may be too short for them.
    pub(crate) fn accept(&mut self, now: Micros, remote: RemoteCredentials) {
        self.credentials.remote = Some(remote);
        self.consent = Consent::new(now);
    }

    /// The peer restarted ICE: new credentials on both sides; paths and media stay until new checks choose (RFC
    /// 8445 section 9).
    pub(crate) fn restart(
        &mut self,
        now: Micros,
        local_ufrag: String,
        local_pwd: String,
        remote: RemoteCredentials,
    ) {
        let next = Credentials::new(local_ufrag, local_pwd, Some(remote));
        let last = std::mem::replace(&mut self.credentials, next);
        // What waits here was not replaced by a check under `last`, so nobody has shown to have `last`.
        self.previous.get_or_insert(last);
        self.paths.on_restart();
        self.consent.on_restart(now);
    }

    /// Whether an ICE restart with these credentials was already applied.
    pub(crate) fn remote_is(&self, remote: &RemoteCredentials) -> bool {
        self.credentials.remote.as_ref() == Some(remote)
    }

    /// Whether a valid check may change anything: it is no replay, and there is room for its path.
    /// [`IceAgent::on_valid_check`] then does not refuse it.
    ///
    /// # Errors
    /// Why not.
    pub(crate) fn admits(&self, now: Micros, check: &Check) -> Result<(), DropReason> {
        match self.novelty(check) {
            Novelty::Replayed => Err(DropReason::StunReplay),
            // The path is gone: what it was is no reason to have it again.
            Novelty::Repeated if !self.paths.has(check.path) => Err(DropReason::StunReplay),
            Novelty::Repeated => Ok(()),
            Novelty::New if self.paths.has_room(now, check.path, check.nominated) => Ok(()),
            Novelty::New => Err(DropReason::PathLimit),
        }
    }

    /// A valid check. One that repeats its transaction id says that its path works, and nothing else: neither that
    /// the peer consents nor that it nominates.
    pub(crate) fn on_valid_check(&mut self, now: Micros, check: Check) -> PathChange {
        match self.novelty(&check) {
            Novelty::New => {}
            Novelty::Repeated if self.paths.on_packet(now, check.path) => return PathChange::None,
            Novelty::Repeated | Novelty::Replayed => return PathChange::Refused,
        }
        let current = check.generation == Generation::Current;
        let change = self
            .paths
            .on_check(now, check.path, check.nominated, current);
        if change == PathChange::Refused {
            return change;
        }
        self.consent.on_check(now, check.nominated);
        if let Some(credentials) = self.credentials_mut(check.generation) {
            credentials.seen.remember(check.id, check.path);
        }
        if current {
            self.previous = None;
        }
        change
    }

    fn novelty(&self, check: &Check) -> Novelty {
        let credentials = match check.generation {
            Generation::Current => Some(&self.credentials),
            Generation::Previous => self.previous.as_ref(),
        };
        credentials.map_or(Novelty::New, |credentials| {
            credentials.seen.novelty(check.id, check.path)
        })
    }

    fn credentials_mut(&mut self, generation: Generation) -> Option<&mut Credentials> {
        match generation {
            Generation::Current => Some(&mut self.credentials),
            Generation::Previous => self.previous.as_mut(),
        }
    }

    /// An authenticated SRTP or SRTCP packet on a validated path.
    pub(crate) fn on_authenticated(&mut self, now: Micros, path: Path) {
        if self.paths.on_packet(now, path) {
            self.consent.on_packet(now);
        }
    }

    /// Whether `path` was heard lately enough that nobody else may have it.
    pub(crate) fn keeps(&self, now: Micros, path: Path) -> bool {
        self.paths.keeps(now, path)
    }

    /// The path belongs to another session now.
    pub(crate) fn forget(&mut self, path: Path) {
        self.paths.forget(path);
    }

    /// Where egress goes now; nowhere without the peer's consent.
    pub(crate) fn selected(&self) -> Option<Path> {
        self.paths.selected().filter(|_| !self.consent.has_lapsed())
    }

    /// Every path that was validated.
    pub(crate) fn paths(&self) -> impl Iterator<Item = Path> + '_ {
        self.paths.iter()
    }

    /// Whether any check was ever valid.
    pub(crate) fn is_validated(&self) -> bool {
        self.consent.was_given()
    }

    /// When this session is over unless its peer is heard.
    pub(crate) fn expires_at(&self) -> Micros {
        self.consent.ends_at()
    }

    /// When [`IceAgent::on_tick`] has something to do, or the session is over.
    pub(crate) fn next_deadline(&self, now: Micros) -> Micros {
        let consent = self.consent.next_deadline();
        match self.paths.next_deadline(now) {
            Some(paths) => paths.min(consent),
            None => consent,
        }
    }

    /// Stops egress without consent, leaves a silent path. The paths that are forgotten with this.
    pub(crate) fn on_tick(&mut self, now: Micros) -> Vec<Path> {
        self.consent.on_tick(now);
        self.paths.on_tick(now)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::packet::SocketIndex;

    fn path(port: u16) -> Path {
        Path {
            local: [192, 0, 2, 1].into(),
            remote: ([198, 51, 100, 7], port).into(),
            socket: SocketIndex::UDP_V4,
        }
    }

    fn remote(n: &str) -> RemoteCredentials {
        RemoteCredentials {
            ufrag: format!("R{n}"),
            pwd: format!("rp{n}"),
        }
    }

    fn agent() -> IceAgent {
        IceAgent::new(Micros::ZERO, "L".into(), "lp".into(), Some(remote("")))
    }

    fn restart(ice: &mut IceAgent, now: Micros, n: &str) {
        ice.restart(now, format!("L{n}"), format!("lp{n}"), remote(n));
    }

    fn at(ms: u64) -> Micros {
        Micros::ZERO.plus_ms(ms)
    }

    fn check(n: u8, port: u16, generation: Generation) -> Check {
        Check {
            path: path(port),
            id: TransactionId([n; 12]),
            nominated: true,
            generation,
        }
    }

    fn generation(ice: &IceAgent, username: &[u8]) -> Option<Generation> {
        ice.key_of(username).map(|(generation, _)| generation)
    }

    #[test]
    fn a_username_names_both_sides() {
        let ice = agent();
        assert_eq!(generation(&ice, b"L:R"), Some(Generation::Current));
        for wrong in [&b"L"[..], b"L:", b"L:RR", b"R:L", b"L:S", b"LL:R", b""] {
            assert_eq!(generation(&ice, wrong), None, "{wrong:?}");
        }
    }

    #[test]
    fn an_offer_hears_nobody_until_it_is_answered() {
        let mut ice = IceAgent::new(at(0), "L".into(), "lp".into(), None);
        for forged in [&b"L:"[..], b"L:R", b"L", b""] {
            assert_eq!(generation(&ice, forged), None, "{forged:?}");
        }
        assert_eq!(ice.expires_at(), at(30_000));
        ice.accept(at(29_000), remote(""));
        assert_eq!(generation(&ice, b"L:R"), Some(Generation::Current));
        assert_eq!(generation(&ice, b"L:"), None);
        assert_eq!(ice.expires_at(), at(59_000));
    }

    #[test]
    fn old_credentials_serve_until_the_first_check_with_the_new_ones() {
        let mut ice = agent();
        ice.on_valid_check(at(0), check(0, 1, Generation::Current));
        restart(&mut ice, at(1_000), "2");
        assert_eq!(generation(&ice, b"L:R"), Some(Generation::Previous));
        assert_eq!(generation(&ice, b"L2:R2"), Some(Generation::Current));
        for mixed in [&b"L:R2"[..], b"L2:R"] {
            assert_eq!(generation(&ice, mixed), None);
        }
        ice.on_valid_check(at(2_000), check(1, 1, Generation::Previous));
        assert_eq!(ice.selected(), Some(path(1)), "media goes on meanwhile");
        assert_eq!(generation(&ice, b"L:R"), Some(Generation::Previous));
        ice.on_valid_check(at(3_000), check(2, 2, Generation::Current));
        assert_eq!(ice.selected(), Some(path(2)));
        assert_eq!(generation(&ice, b"L:R"), None);
    }

    /// A peer that restarts twice before it has any answer still uses what it had before the first.
    #[test]
    fn what_the_peer_has_shown_to_have_outlives_restarts_it_never_heard_of() {
        let mut ice = agent();
        ice.on_valid_check(at(0), check(0, 1, Generation::Current));
        restart(&mut ice, at(1_000), "2");
        restart(&mut ice, at(2_000), "3");
        assert_eq!(generation(&ice, b"L:R"), Some(Generation::Previous));
        assert_eq!(generation(&ice, b"L2:R2"), None);
        assert_eq!(generation(&ice, b"L3:R3"), Some(Generation::Current));
        ice.on_valid_check(at(3_000), check(1, 1, Generation::Current));
        assert_eq!(generation(&ice, b"L:R"), None);
    }

    /// What is captured on the way may be sent again from anywhere.
    #[test]
    fn a_replayed_nomination_moves_nothing_and_keeps_nobody() {
        let mut ice = agent();
        let captured = check(1, 1, Generation::Current);
        ice.on_valid_check(at(0), captured);
        ice.on_valid_check(at(100), check(2, 1, Generation::Current));
        let ends_at = ice.expires_at();
        for ms in 200..20_000 {
            let thief = Check {
                path: path(9),
                ..captured
            };
            assert_eq!(ice.admits(at(ms), &thief), Err(DropReason::StunReplay));
            assert_eq!(ice.on_valid_check(at(ms), thief), PathChange::Refused);
            // From the peer's own address it is answered, and that is all.
            assert_eq!(ice.admits(at(ms), &captured), Ok(()));
            assert_eq!(ice.on_valid_check(at(ms), captured), PathChange::None);
        }
        assert_eq!(ice.selected(), Some(path(1)));
        assert_eq!(ice.paths().count(), 1);
        assert_eq!(ice.expires_at(), ends_at);
        ice.on_tick(at(30_100));
        assert_eq!(ice.selected(), None);
    }

    #[test]
    fn a_repeated_nomination_does_not_take_back_what_was_nominated_since() {
        let mut ice = agent();
        ice.on_valid_check(at(0), check(1, 1, Generation::Current));
        ice.on_valid_check(at(100), check(2, 2, Generation::Current));
        ice.on_valid_check(at(200), check(1, 1, Generation::Current));
        assert_eq!(ice.selected(), Some(path(2)));
    }

    /// Contracts.md 6: libnice repeats a check under one id, doubling from 500 ms, and two pairs in turn.
    #[test]
    fn a_check_repeated_for_want_of_an_answer_counts_once() {
        let mut ice = agent();
        for ms in [0, 500, 1_500, 3_500, 7_500, 15_500] {
            ice.on_valid_check(at(ms), check(1, 1, Generation::Current));
            ice.on_valid_check(at(ms + 100), check(2, 2, Generation::Current));
        }
        for second in 16..120 {
            ice.on_authenticated(at(second * 1_000), path(1));
            ice.on_tick(at(second * 1_000));
            assert!(ice.selected().is_some(), "{second} s");
        }
    }

    #[test]
    fn nothing_is_sent_without_consent() {
        let mut ice = agent();
        ice.on_valid_check(at(0), check(0, 1, Generation::Current));
        ice.on_tick(at(29_999));
        assert_eq!(ice.selected(), Some(path(1)));
        assert_eq!(ice.next_deadline(at(29_999)), at(30_000));
        ice.on_tick(at(30_000));
        assert_eq!(ice.selected(), None);
        assert_eq!(ice.expires_at(), at(34_500));
        ice.on_authenticated(at(31_000), path(9));
        assert_eq!(
            ice.selected(),
            None,
            "a path ICE did not validate says nothing"
        );
        ice.on_authenticated(at(31_000), path(1));
        assert_eq!(ice.selected(), Some(path(1)));
    }
}
