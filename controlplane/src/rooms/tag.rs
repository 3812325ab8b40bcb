//! The tags of `Admit` and `Publish`: what a control plane that was not there needs to take over a
//! session, kept by the data plane and returned byte for byte by `Snapshot`. JSON, so that `inspect`
//! shows it; the version comes first and unknown members are ignored.

use serde::{Deserialize, Serialize};

use dataplane_api::command::TAG_BYTES_MAX;
use dataplane_api::media::MediaKind;

use super::room::{Connection, Kind};
use crate::sdp::Format;

/// Raised when a member changes its meaning.
pub const VERSION: u32 = 1;

/// Of one session.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SessionTag {
    /// [`VERSION`].
    pub v: u32,
    /// `whip` or `whep`.
    pub kind: String,
    /// The room's name.
    pub room: String,
    /// The stream's name.
    pub stream: String,
    /// Whose it is.
    pub sub: String,
    /// The last segment of its URL.
    pub id: String,
    /// Its first ETag.
    pub etag: String,
    /// The peer's first ufrag.
    pub ufrag: String,
    /// May count as a viewer.
    pub counted: bool,
}

/// Of one track: what a new viewer's answer needs.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TrackTag {
    /// [`VERSION`].
    pub v: u32,
    /// `audio` or `video`.
    pub kind: String,
    /// The codec's number.
    pub codec: u16,
    /// Its form.
    pub form: u32,
}

impl SessionTag {
    /// The tag of a connection.
    #[must_use]
    pub fn new(room: &str, connection: &Connection) -> SessionTag {
        SessionTag {
            v: VERSION,
            kind: connection.kind.as_str().to_owned(),
            room: room.to_owned(),
            stream: connection.stream.clone(),
            sub: connection.sub.clone(),
            id: connection.resource.as_str().to_owned(),
            etag: connection.etag.clone(),
            ufrag: connection.remote_ufrag.clone(),
            counted: connection.counted,
        }
    }

    /// Its kind, when this build knows it.
    #[must_use]
    pub fn kind(&self) -> Option<Kind> {
        [Kind::Whip, Kind::Whep]
            .into_iter()
            .find(|kind| kind.as_str() == self.kind)
    }

    /// Its bytes, at most [`TAG_BYTES_MAX`].
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        encode(self)
    }
}

impl TrackTag {
    /// The tag of a track.
    #[must_use]
    pub fn new(kind: MediaKind, format: Format) -> TrackTag {
        let kind = match kind {
            MediaKind::Audio => "audio",
            MediaKind::Video => "video",
        };
        TrackTag {
            v: VERSION,
            kind: kind.to_owned(),
            codec: format.codec.0,
            form: format.form,
        }
    }

    /// Its bytes.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        encode(self)
    }
}

fn encode(tag: &impl Serialize) -> Vec<u8> {
    let bytes = serde_json::to_vec(tag).expect("invariant: strings and numbers always serialise");
    debug_assert!(bytes.len() <= TAG_BYTES_MAX);
    bytes
}

/// Room and stream 64 bytes each, the URL's id 22, ETag 12, 256 of ufrag and 128 of `sub` (JSON writes a
/// control character in 6), 160 of names and punctuation.
const _: () = assert!(2 * 64 + 22 + 12 + 6 * (256 + 128) + 160 <= TAG_BYTES_MAX);
