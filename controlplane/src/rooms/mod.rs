//! Rooms, their streams and connections.
//!
//! [`room::Room`] decides, purely: inputs in, outputs out, time is an argument. [`registry::Registry`]
//! owns the rooms, feeds them requests and events, and carries their outputs to the data plane.

pub mod admission;
pub mod connection;
pub mod news;
pub mod registry;
pub mod room;
pub mod stream;
pub mod tag;

pub use admission::Admission;
pub use connection::{Connection, Kind};
pub use news::{News, Reconnect, TrackNews};
pub use registry::Registry;
pub use room::{Input, Left, Limits, Output, Refusal, Restart, Room};
pub use stream::{Stream, Track};

use std::fmt;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

/// The stream of `/whip/{room}` and `/whep/{room}`.
pub const MAIN: &str = "main";

/// A stream as clients name it: `{room}/{name}`.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct StreamPath {
    /// The room's name.
    pub room: String,
    /// The stream's name within it.
    pub name: String,
}

impl fmt::Display for StreamPath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.room, self.name)
    }
}

/// The last segment of a session URL: 128 random bits, so that knowing it is not luck (RFC 9725
/// section 5).
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ResourceId(String);

impl ResourceId {
    /// A new one.
    #[must_use]
    pub fn random() -> ResourceId {
        ResourceId(URL_SAFE_NO_PAD.encode(rand::random::<[u8; 16]>()))
    }

    /// One that a client sent, to be looked up.
    #[must_use]
    pub fn presented(text: &str) -> ResourceId {
        ResourceId(text.to_owned())
    }

    /// Its text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// A strong ETag without its quotes: names one ICE session (RFC 9725 section 4.3.1).
#[must_use]
pub fn new_etag() -> String {
    URL_SAFE_NO_PAD.encode(rand::random::<[u8; 9]>())
}

#[cfg(test)]
mod tests;
