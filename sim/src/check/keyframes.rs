//! Publishers are not pestered for keyframes.

use std::collections::BTreeMap;

use dataplane_api::ids::SessionId;
use dataplane_engine::time::Micros;

/// Least time between two requests for one layer (contracts.md 40).
const INTERVAL_US: u64 = 500_000;

/// At most one request a layer within half a second, whoever asks.
#[derive(Debug, Default)]
pub struct KeyframeLimiter {
    asked: BTreeMap<(SessionId, u32), Micros>,
}

impl KeyframeLimiter {
    /// Its name.
    pub const NAME: &'static str = "KeyframeLimiter";

    pub(super) fn judge(&mut self, now: Micros, session: SessionId, ssrc: u32) -> Option<String> {
        let before = self.asked.insert((session, ssrc), now)?;
        let waited_us = now.since(before);
        (waited_us < INTERVAL_US)
            .then(|| format!("session {session} is asked for {ssrc:#x} after {waited_us} us"))
    }
}
