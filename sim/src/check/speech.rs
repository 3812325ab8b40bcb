//! Speech waits for nobody.

use std::collections::BTreeMap;

use dataplane_api::ids::SessionId;
use dataplane_api::media::MediaKind;
use dataplane_engine::time::Micros;

use crate::stamp::Stamp;

/// Packets of audio remembered from their arrival on.
const ARRIVALS_MAX: usize = 1_024;

/// A packet of audio leaves in the turn in which it came, and within a session before the video of that turn.
#[derive(Debug, Default)]
pub struct Speech {
    /// When the node last got which packet, by publisher and sequence number.
    arrivals: BTreeMap<(u32, u16), Micros>,
    /// Sessions that got video in this flush.
    seen: Vec<SessionId>,
}

impl Speech {
    /// Its name.
    pub const NAME: &'static str = "Speech";

    /// The node took a packet of audio.
    pub(super) fn arrived(&mut self, now: Micros, publisher: u32, seq: u16) {
        self.arrivals.insert((publisher, seq), now);
        if self.arrivals.len() > ARRIVALS_MAX {
            self.arrivals.pop_first();
        }
    }

    /// A flush begins.
    pub(super) fn begin(&mut self) {
        self.seen.clear();
    }

    pub(super) fn judge(
        &mut self,
        now: Micros,
        session: SessionId,
        kind: MediaKind,
        stamp: &Stamp,
    ) -> Option<String> {
        if kind == MediaKind::Video {
            self.seen.push(session);
            return None;
        }
        if self.seen.contains(&session) {
            return Some(format!("{stamp:?} behind video"));
        }
        let came = *self.arrivals.get(&(stamp.publisher, stamp.seq))?;
        (came != now).then(|| format!("{stamp:?} waited {} us", now.since(came)))
    }
}
