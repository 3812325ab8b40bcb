//! What a viewer may know of the stream it watches: the content of WHEP's server-sent events.

use dataplane_api::event::LayerState;
use dataplane_api::media::MediaKind;

/// The state of things for one viewer. Whoever reads it compares it with what it has told before: a slow
/// reader misses states and never the last one.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct News {
    /// Somebody publishes, and packets arrive.
    pub active: bool,
    /// The stream's tracks, audio first; empty while nobody publishes.
    pub tracks: Vec<TrackNews>,
    /// Persons who watch the room (domain.md row 20).
    pub viewers: usize,
    /// The viewer should make a new session. Its present one may live on (a drain) or be closed.
    pub reconnect: Option<Reconnect>,
}

/// One track of a stream.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TrackNews {
    /// Audio or video.
    pub kind: MediaKind,
    /// Its layers, in the publisher's order; empty where it has no simulcast.
    pub layers: Vec<LayerState>,
}

/// Why a viewer should make a new session.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reconnect {
    /// The node is on its way out: its media goes on until the viewer is elsewhere.
    Draining,
    /// The media process was lost; the session is gone.
    MediaDown,
    /// The stream goes on with codecs that this session did not negotiate; the session is gone.
    OtherFormats,
}

impl Reconnect {
    /// Its name outside.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Reconnect::Draining => "draining",
            Reconnect::MediaDown => "media-down",
            Reconnect::OtherFormats => "other-formats",
        }
    }
}
