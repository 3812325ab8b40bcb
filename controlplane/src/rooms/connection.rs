//! One connection of a person: what its URL stands for.

use dataplane_api::command::Slot;
use dataplane_api::ids::{SessionId, SlotId};
use dataplane_api::media::MediaKind;

use super::ResourceId;
use super::stream::Formats;
use crate::auth::Role;
use crate::sdp::IceSection;

/// What a connection does.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Kind {
    /// Publishes by WHIP.
    Whip,
    /// Watches by WHEP.
    Whep,
}

impl Kind {
    /// The first segment of its URLs, and its name in metrics.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Kind::Whip => "whip",
            Kind::Whep => "whep",
        }
    }
}

/// One connection of a person.
#[derive(Clone, Debug)]
pub struct Connection {
    /// The data plane's handle.
    pub session: SessionId,
    /// The last segment of its URL.
    pub resource: ResourceId,
    /// What it does.
    pub kind: Kind,
    /// The stream it fills or watches.
    pub stream: String,
    /// Whose it is.
    pub sub: String,
    /// As what.
    pub role: Role,
    /// Not hidden and no recorder: may count as a viewer.
    pub counted: bool,
    /// Names its ICE session; changes with each restart.
    pub etag: String,
    /// The number of its newest ICE restart, 0 before the first.
    pub restart: u64,
    /// The peer's ufrag of that ICE session; empty while the node's own offer has no answer.
    pub remote_ufrag: String,
    /// What the answer to a restart repeats.
    pub ice: IceSection,
    /// How many tracks a publisher will have; 0 of a viewer.
    pub tracks_planned: usize,
    /// What a viewer's stream carries; empty of a publisher.
    pub formats: Formats,
    /// Its slots that may be filled, none for a publisher.
    pub slots: Vec<(SlotId, MediaKind)>,
    /// Its slots as the data plane has them, those among them that an answer refused too.
    pub negotiated: Vec<Slot>,
    /// The data plane has admitted it.
    pub admitted: bool,
    /// Media flows.
    pub connected: bool,
}
