//! The tags of `Admit` and `Publish`: what a control plane that was not there needs to take over a
//! session, kept by the data plane and returned byte for byte by `Snapshot`. JSON, so that `inspect`
//! shows it; the version comes first and unknown members are ignored.

use serde::{Deserialize, Serialize};

use dataplane_api::command::Slot;
use dataplane_api::media::{CodecId, MediaKind};
use dataplane_api::snapshot::{SessionPart, TrackPart};

use super::ResourceId;
use super::connection::{Connection, Kind};
use super::stream::{Formats, Track};
use crate::auth::Role;
use crate::auth::token::is_room_name;
use crate::sdp::{Format, IceSection};

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
    /// As what.
    pub role: Role,
    /// The last segment of its URL.
    pub id: String,
    /// Its first ETag.
    pub etag: String,
    /// The peer's first ufrag.
    pub ufrag: String,
    /// May count as a viewer.
    pub counted: bool,
    /// What the answer to a restart repeats.
    pub ice: IceSection,
    /// How many tracks a publisher has.
    #[serde(default)]
    pub tracks: usize,
    /// What a viewer's stream carries.
    #[serde(default)]
    pub formats: Vec<TrackTag>,
    /// The slots of the node's own offer that the viewer takes; all without it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub taken: Option<Vec<u16>>,
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
            role: connection.role,
            id: connection.resource.as_str().to_owned(),
            etag: connection.etag.clone(),
            ufrag: connection.remote_ufrag.clone(),
            counted: connection.counted,
            ice: connection.ice.clone(),
            tracks: connection.tracks_planned,
            formats: connection
                .formats
                .iter()
                .map(|&(kind, format)| TrackTag::new(kind, format))
                .collect(),
            taken: (connection.slots.len() < connection.negotiated.len())
                .then(|| connection.slots.iter().map(|(slot, _)| slot.0).collect()),
        }
    }

    /// The tag in a session of the data plane, when this build can read it.
    #[must_use]
    pub fn decode(bytes: &[u8]) -> Option<SessionTag> {
        let tag: SessionTag = serde_json::from_slice(bytes).ok()?;
        let known = tag.v == VERSION && tag.kind().is_some();
        (known && is_room_name(&tag.room) && is_room_name(&tag.stream)).then_some(tag)
    }

    /// Its kind, when this build knows it.
    #[must_use]
    pub fn kind(&self) -> Option<Kind> {
        [Kind::Whip, Kind::Whep]
            .into_iter()
            .find(|kind| kind.as_str() == self.kind)
    }

    /// What a viewer's stream carries.
    #[must_use]
    pub fn formats(&self) -> Formats {
        self.formats.iter().filter_map(TrackTag::format).collect()
    }

    /// The connection behind this tag, as the data plane holds it.
    #[must_use]
    pub fn connection(self, part: &SessionPart) -> Option<Connection> {
        let takes = |slot: &&Slot| {
            let taken = self.taken.as_ref();
            taken.is_none_or(|taken| taken.contains(&slot.slot.0))
        };
        let slots = part.slots.iter().filter(takes);
        let slots = slots.map(|slot| (slot.slot, slot.kind)).collect();
        Some(Connection {
            session: part.session,
            resource: ResourceId::presented(&self.id),
            kind: self.kind()?,
            formats: self.formats(),
            stream: self.stream,
            sub: self.sub,
            role: self.role,
            counted: self.counted,
            etag: self.etag,
            restart: 0,
            remote_ufrag: self.ufrag,
            ice: self.ice,
            tracks_planned: self.tracks,
            slots,
            negotiated: part.slots.clone(),
            admitted: true,
            connected: part.connected,
        })
    }

    /// Its bytes. An offer of absurdly many and long mids may take them beyond [`TAG_BYTES_MAX`]: the data
    /// plane refuses such an order, and the client is told so.
    ///
    /// [`TAG_BYTES_MAX`]: dataplane_api::command::TAG_BYTES_MAX
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

    /// The track behind a part of a snapshot, when this build can read its tag.
    #[must_use]
    pub fn track(part: TrackPart) -> Option<Track> {
        let tag: TrackTag = serde_json::from_slice(&part.tag).ok()?;
        let (kind, format) = tag.format()?;
        Some(Track {
            track: part.track,
            kind,
            format,
            live: part.live,
            layers: part.layers,
        })
    }

    /// What it says.
    #[must_use]
    pub fn format(&self) -> Option<(MediaKind, Format)> {
        let kind = match (self.v, self.kind.as_str()) {
            (VERSION, "audio") => MediaKind::Audio,
            (VERSION, "video") => MediaKind::Video,
            _ => return None,
        };
        let format = Format {
            codec: CodecId(self.codec),
            form: self.form,
        };
        Some((kind, format))
    }

    /// Its bytes.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        encode(self)
    }
}

fn encode(tag: &impl Serialize) -> Vec<u8> {
    serde_json::to_vec(tag).expect("invariant: strings and numbers always serialise")
}
