//! One stream: who fills it, with what, and since when.
//!
//! ```text
//!  idle --Reserve--> reserved --Published--> live --publisher gone--> gap --30 s--> idle
//!                        |                     ^                       |
//!                        `--failed--> as before `------Published-------'
//! ```

use std::time::Duration;

use dataplane_api::event::LayerState;
use dataplane_api::ids::{SessionId, TrackId};
use dataplane_api::media::MediaKind;

use crate::sdp::Format;

/// How long viewers wait for a publisher to come back (domain.md row 13).
pub const GAP: Duration = Duration::from_secs(30);

/// A publisher silent this long gives way to another session of the same person (domain.md row 15). It
/// is also what the data plane calls silent.
pub const SILENT: Duration = Duration::from_secs(2);

/// One published track.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Track {
    /// The data plane's handle.
    pub track: TrackId,
    /// Audio or video.
    pub kind: MediaKind,
    /// What a viewer must take.
    pub format: Format,
    /// Packets arrive.
    pub live: bool,
    /// Its layers as the data plane last told them; empty without simulcast or before the first packet.
    pub layers: Vec<LayerState>,
}

/// Who fills a stream.
#[derive(Clone, Debug)]
pub struct Publisher {
    /// Its session.
    pub session: SessionId,
    /// Its person.
    pub sub: String,
    /// Empty while reserved.
    pub tracks: Vec<Track>,
    /// From when on it has been silent long enough to give way, `None` while a track is live.
    pub replaceable_from: Option<Duration>,
}

/// One stream of a room.
#[derive(Clone, Debug, Default)]
pub struct Stream {
    publisher: Option<Publisher>,
    /// After a publisher: what it sent, and until when viewers wait.
    gap: Option<(Formats, Duration)>,
}

/// What a stream carries, sorted: equal when a viewer's slots fit both.
pub type Formats = Vec<(MediaKind, Format)>;

/// How a stream starts again, for those who were watching.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Resumption {
    /// The viewers' slots fit.
    SameFormats,
    /// They do not: the viewers have to come again.
    OtherFormats,
}

impl Stream {
    /// The tracks to watch, when it is live.
    #[must_use]
    pub fn tracks(&self) -> Option<&[Track]> {
        let publisher = self.publisher.as_ref()?;
        (!publisher.tracks.is_empty()).then_some(publisher.tracks.as_slice())
    }

    /// What it carries, when it is live.
    #[must_use]
    pub fn formats(&self) -> Option<Formats> {
        self.tracks().map(formats)
    }

    /// Who fills it or is about to.
    #[must_use]
    pub fn publisher(&self) -> Option<&Publisher> {
        self.publisher.as_ref()
    }

    /// Whether nothing is left to remember.
    #[must_use]
    pub fn is_idle(&self) -> bool {
        self.publisher.is_none() && self.gap.is_none()
    }

    /// Gives the stream to a session that will publish.
    pub(super) fn reserve(&mut self, now: Duration, session: SessionId, sub: String) {
        let replaceable_from = Some(now + SILENT);
        self.publisher = Some(Publisher {
            session,
            sub,
            tracks: Vec::new(),
            replaceable_from,
        });
    }

    /// The reserving session publishes now.
    pub(super) fn publish(&mut self, tracks: Vec<Track>) -> Option<Resumption> {
        let publisher = self.publisher.as_mut()?;
        let now = formats(&tracks);
        publisher.tracks = tracks;
        let resumed = match self.gap.take() {
            Some((before, _)) if before != now => Resumption::OtherFormats,
            _ => Resumption::SameFormats,
        };
        Some(resumed)
    }

    /// The publisher is gone: a gap opens, or the one that was open goes on.
    pub(super) fn vacate(&mut self, now: Duration) {
        if let Some(publisher) = self.publisher.take()
            && !publisher.tracks.is_empty()
        {
            self.gap = Some((formats(&publisher.tracks), now + GAP));
        }
    }

    /// The gap is over, or everything died at once.
    pub(super) fn reset(&mut self) {
        *self = Stream::default();
    }

    /// Takes over a publisher of an earlier control plane. One without a live track may give way at once:
    /// the data plane would have told two seconds after its last packet.
    pub(super) fn adopt(
        &mut self,
        now: Duration,
        session: SessionId,
        sub: String,
        tracks: Vec<Track>,
    ) {
        let silent = tracks.iter().all(|track| !track.live);
        self.gap = None;
        self.publisher = Some(Publisher {
            session,
            sub,
            tracks,
            replaceable_from: silent.then_some(now),
        });
    }

    /// Somebody watches a stream whose publisher is gone: since when is not known, so the gap begins now.
    pub(super) fn adopt_gap(&mut self, now: Duration, formats: Formats) {
        if self.publisher.is_none() && self.gap.is_none() {
            self.gap = Some((formats, now + GAP));
        }
    }

    /// When the gap ends, unless somebody is about to publish; or when a silent publisher's time is up.
    pub(super) fn deadline(&self, timeout: Option<Duration>) -> Option<Duration> {
        match (&self.publisher, &self.gap) {
            (None, Some((_, until))) => Some(*until),
            (Some(publisher), _) if !publisher.tracks.is_empty() => {
                let silent_from = publisher.replaceable_from?.saturating_sub(SILENT);
                silent_from.checked_add(timeout?)
            }
            _ => None,
        }
    }

    pub(super) fn track_layers(&mut self, track: TrackId, layers: &[LayerState]) {
        let tracks = self.publisher.iter_mut().flat_map(|of| &mut of.tracks);
        for known in tracks.filter(|known| known.track == track) {
            known.layers = layers.to_vec();
        }
    }

    pub(super) fn track_activity(&mut self, now: Duration, track: TrackId, live: bool) {
        let Some(publisher) = self.publisher.as_mut() else {
            return;
        };
        for known in publisher
            .tracks
            .iter_mut()
            .filter(|known| known.track == track)
        {
            known.live = live;
        }
        let silent = publisher.tracks.iter().all(|known| !known.live);
        publisher.replaceable_from = match (silent, publisher.replaceable_from) {
            (false, _) => None,
            (true, Some(from)) => Some(from),
            // The data plane says so two seconds after the last packet.
            (true, None) => Some(now),
        };
    }
}

impl Publisher {
    /// Whether a newer session of the same person may take its place.
    #[must_use]
    pub fn replaceable(&self, now: Duration) -> bool {
        self.replaceable_from.is_some_and(|from| from <= now)
    }
}

fn formats(tracks: &[Track]) -> Formats {
    let mut formats: Formats = tracks
        .iter()
        .map(|track| (track.kind, track.format))
        .collect();
    formats.sort_by_key(|(kind, format)| (*kind == MediaKind::Video, *format));
    formats
}
