//! ICE as a lite agent (RFC 8445 section 2.5): it answers checks and never sends any, learns the peer's
//! addresses from authenticated checks alone, and follows the controlling side's nomination.

use turn::stun::IntegrityKey;

use crate::limits::{
    CONSENT_US, ICE_TIMEOUT_US, PATH_SILENT_US, PATH_TAKEOVER_US, PATHS_PER_SESSION_MAX,
};
use crate::packet::Path;
use crate::time::Micros;

/// A path that carried an authenticated check.
#[derive(Clone, Copy, Debug)]
struct Validated {
    path: Path,
    heard_at: Micros,
    /// When it last carried USE-CANDIDATE.
    nominated_at: Option<Micros>,
}

/// What a valid check changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum PathChange {
    /// The path was known.
    None,
    /// The path is new and validated. `evicted` was the one silent longest and is forgotten.
    Added { evicted: Option<Path> },
    /// The session has all the paths it may have, all of them alive.
    Refused,
}

/// The lite agent of one session.
#[derive(Debug)]
pub(crate) struct IceAgent {
    local_ufrag: String,
    local_pwd: String,
    key: IntegrityKey,
    remote_ufrag: String,
    remote_pwd: String,
    paths: Vec<Validated>,
    /// Where egress goes.
    selected: Option<Path>,
    admitted_at: Micros,
    heard_at: Option<Micros>,
}

impl IceAgent {
    pub(crate) fn new(
        now: Micros,
        local_ufrag: String,
        local_pwd: String,
        remote_ufrag: String,
        remote_pwd: String,
    ) -> IceAgent {
        IceAgent {
            key: IntegrityKey::new(local_pwd.as_bytes()),
            local_ufrag,
            local_pwd,
            remote_ufrag,
            remote_pwd,
            paths: Vec::new(),
            selected: None,
            admitted_at: now,
            heard_at: None,
        }
    }

    pub(crate) fn local_ufrag(&self) -> &str {
        &self.local_ufrag
    }

    pub(crate) fn local_pwd(&self) -> &str {
        &self.local_pwd
    }

    /// The key of checks toward us, and of our answers.
    pub(crate) fn key(&self) -> &IntegrityKey {
        &self.key
    }

    /// Whether `username` of a check is ours: `local:remote` (RFC 8445 section 7.2.2). Compared in whole:
    /// the remote part tells a restarted peer from its former self.
    pub(crate) fn accepts_username(&self, username: &[u8]) -> bool {
        let local = self.local_ufrag.as_bytes();
        username
            .strip_prefix(local)
            .and_then(|rest| rest.strip_prefix(b":"))
            == Some(self.remote_ufrag.as_bytes())
    }

    /// The peer restarted ICE: new credentials on both sides; paths and media stay until new checks
    /// choose (RFC 8445 section 9).
    pub(crate) fn restart(
        &mut self,
        now: Micros,
        local_ufrag: String,
        local_pwd: String,
        remote_ufrag: String,
        remote_pwd: String,
    ) {
        self.key = IntegrityKey::new(local_pwd.as_bytes());
        self.local_ufrag = local_ufrag;
        self.local_pwd = local_pwd;
        self.remote_ufrag = remote_ufrag;
        self.remote_pwd = remote_pwd;
        for validated in &mut self.paths {
            validated.nominated_at = None;
        }
        // A restart is a sign of life by another way: the new checks get the time a newcomer's get.
        self.heard_at = self.heard_at.map(|_| now);
    }

    /// Whether an ICE restart with these credentials was already applied.
    pub(crate) fn remote_is(&self, ufrag: &str, pwd: &str) -> bool {
        self.remote_ufrag == ufrag && self.remote_pwd == pwd
    }

    /// A check on `path` whose MESSAGE-INTEGRITY is right.
    pub(crate) fn on_valid_check(
        &mut self,
        now: Micros,
        path: Path,
        nominated: bool,
    ) -> PathChange {
        let nominated_at = nominated.then_some(now);
        let mut change = PathChange::None;
        if let Some(known) = self.paths.iter_mut().find(|v| v.path == path) {
            known.heard_at = now;
            known.nominated_at = nominated_at.or(known.nominated_at);
        } else {
            let evicted = match self.make_room(now) {
                Ok(evicted) => evicted,
                Err(Full) => return PathChange::Refused,
            };
            self.paths.push(Validated {
                path,
                heard_at: now,
                nominated_at,
            });
            change = PathChange::Added { evicted };
        }
        self.heard_at = Some(now);
        // Egress follows the path that last carried USE-CANDIDATE; any other check only validates, or
        // the peer's check of a backup pair would take the media with it (contracts.md 5).
        if nominated || self.selected.is_none() {
            self.selected = Some(path);
        }
        change
    }

    /// An authenticated SRTP or SRTCP packet on a validated path.
    pub(crate) fn on_authenticated(&mut self, now: Micros, path: Path) {
        if let Some(known) = self.paths.iter_mut().find(|v| v.path == path) {
            known.heard_at = now;
            self.heard_at = Some(now);
        }
    }

    /// Whether `path` was heard lately enough that nobody else may have it.
    pub(crate) fn keeps(&self, now: Micros, path: Path) -> bool {
        self.paths
            .iter()
            .any(|v| v.path == path && now.since(v.heard_at) < PATH_TAKEOVER_US)
    }

    /// The path belongs to another session now.
    pub(crate) fn forget(&mut self, path: Path) {
        self.paths.retain(|v| v.path != path);
        if self.selected == Some(path) {
            self.selected = self.paths.iter().max_by_key(|v| v.heard_at).map(|v| v.path);
        }
    }

    /// Where egress goes now.
    pub(crate) fn selected(&self) -> Option<Path> {
        self.selected
    }

    /// Every path that was validated.
    pub(crate) fn paths(&self) -> impl Iterator<Item = Path> + '_ {
        self.paths.iter().map(|v| v.path)
    }

    /// Whether any check was ever valid.
    pub(crate) fn is_validated(&self) -> bool {
        self.heard_at.is_some()
    }

    /// When this session is dead unless it is heard: 30 s after admission or the last sign of life.
    pub(crate) fn expires_at(&self) -> Micros {
        match self.heard_at {
            Some(heard_at) => heard_at.plus_us(CONSENT_US),
            None => self.admitted_at.plus_us(ICE_TIMEOUT_US),
        }
    }

    /// When to look whether the selected path fell silent. While it is and no other lives, once a second.
    pub(crate) fn next_deadline(&self, now: Micros) -> Micros {
        let selected = self
            .selected
            .and_then(|selected| self.paths.iter().find(|v| v.path == selected))
            .filter(|_| self.paths.len() > 1);
        let Some(selected) = selected else {
            return self.expires_at();
        };
        let silent_at = selected.heard_at.plus_us(PATH_SILENT_US);
        let look_at = if silent_at > now {
            silent_at
        } else {
            now.plus_ms(1_000)
        };
        look_at.min(self.expires_at())
    }

    /// Leaves a selected path that is silent for another that lives, nominated ones first.
    pub(crate) fn on_tick(&mut self, now: Micros) {
        let Some(selected) = self.selected else {
            return;
        };
        let lives = |v: &Validated| now.since(v.heard_at) < PATH_SILENT_US;
        if self.paths.iter().any(|v| v.path == selected && lives(v)) {
            return;
        }
        let best = self
            .paths
            .iter()
            .filter(|v| lives(v))
            .max_by_key(|v| (v.nominated_at, v.heard_at));
        if let Some(best) = best {
            self.selected = Some(best.path);
        }
    }

    fn make_room(&mut self, now: Micros) -> Result<Option<Path>, Full> {
        if self.paths.len() < PATHS_PER_SESSION_MAX {
            return Ok(None);
        }
        let (index, oldest) = self
            .paths
            .iter()
            .enumerate()
            .filter(|(_, v)| Some(v.path) != self.selected)
            .min_by_key(|(_, v)| v.heard_at)
            .ok_or(Full)?;
        if now.since(oldest.heard_at) < PATH_SILENT_US {
            return Err(Full);
        }
        Ok(Some(self.paths.swap_remove(index).path))
    }
}

struct Full;

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

    fn agent() -> IceAgent {
        IceAgent::new(
            Micros::ZERO,
            "L".into(),
            "lp".into(),
            "R".into(),
            "rp".into(),
        )
    }

    fn at(ms: u64) -> Micros {
        Micros::ZERO.plus_ms(ms)
    }

    #[test]
    fn egress_follows_nomination_and_not_the_last_check() {
        let mut ice = agent();
        ice.on_valid_check(at(0), path(1), false);
        assert_eq!(
            ice.selected(),
            Some(path(1)),
            "before nomination the first validated path serves"
        );
        ice.on_valid_check(at(1), path(2), true);
        assert_eq!(ice.selected(), Some(path(2)));
        ice.on_valid_check(at(2), path(1), false);
        assert_eq!(
            ice.selected(),
            Some(path(2)),
            "a check of a backup pair moves nothing"
        );
    }

    #[test]
    fn a_silent_path_gives_way_and_comes_back_when_nominated() {
        let mut ice = agent();
        ice.on_valid_check(at(0), path(1), true);
        ice.on_valid_check(at(4_000), path(2), false);
        ice.on_tick(at(4_999));
        assert_eq!(ice.selected(), Some(path(1)));
        ice.on_tick(at(5_000));
        assert_eq!(ice.selected(), Some(path(2)));
        ice.on_valid_check(at(6_000), path(1), true);
        assert_eq!(ice.selected(), Some(path(1)));
    }

    #[test]
    fn authenticated_media_keeps_a_path_alive_without_checks() {
        let mut ice = agent();
        ice.on_valid_check(at(0), path(1), true);
        ice.on_authenticated(at(29_000), path(1));
        assert_eq!(ice.expires_at(), at(59_000));
        ice.on_authenticated(at(30_000), path(9));
        assert_eq!(
            ice.expires_at(),
            at(59_000),
            "a path ICE did not validate says nothing"
        );
    }

    #[test]
    fn without_a_check_the_session_expires_after_admission() {
        assert_eq!(agent().expires_at(), at(30_000));
    }

    #[test]
    fn a_ninth_path_replaces_a_silent_one_never_a_live_one() {
        let mut ice = agent();
        for port in 1..=8 {
            ice.on_valid_check(at(u64::from(port)), path(port), port == 1);
        }
        assert_eq!(
            ice.on_valid_check(at(100), path(9), false),
            PathChange::Refused
        );
        let change = ice.on_valid_check(at(5_100), path(9), false);
        assert_eq!(
            change,
            PathChange::Added {
                evicted: Some(path(2))
            },
            "the selected one is never evicted"
        );
    }

    #[test]
    fn a_username_names_both_sides() {
        let ice = agent();
        assert!(ice.accepts_username(b"L:R"));
        for wrong in [&b"L"[..], b"L:", b"L:RR", b"R:L", b"L:S", b"LL:R", b""] {
            assert!(!ice.accepts_username(wrong), "{wrong:?}");
        }
    }
}
