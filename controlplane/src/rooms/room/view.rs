//! What others see of a room.

use std::collections::BTreeSet;

use dataplane_api::media::MediaKind;

use super::Room;
use crate::rooms::MAIN;
use crate::rooms::connection::{Connection, Kind};
use crate::rooms::news::{News, TrackNews};
use crate::rooms::stream::Stream;

impl Room {
    /// The room as JSON for people.
    #[must_use]
    pub fn inspect(&self, name: &str) -> serde_json::Value {
        let connections: Vec<serde_json::Value> =
            self.connections.values().map(Connection::inspect).collect();
        serde_json::json!({
            "name": name,
            "streams_live": self.streams_live(),
            "viewers": self.viewers(),
            "connections": connections,
        })
    }

    /// Streams somebody fills.
    #[must_use]
    pub fn streams_live(&self) -> usize {
        self.streams
            .values()
            .filter(|stream| stream.tracks().is_some())
            .count()
    }

    /// Persons with a connected subscribing connection, without hidden ones, recorders, and whoever
    /// publishes `main` (domain.md row 20).
    #[must_use]
    pub fn viewers(&self) -> usize {
        let publisher = self
            .streams
            .get(MAIN)
            .and_then(Stream::publisher)
            .map(|of| of.sub.as_str());
        let viewers: BTreeSet<&str> = self
            .connections
            .values()
            .filter(|connection| {
                connection.kind == Kind::Whep && connection.connected && connection.counted
            })
            .map(|connection| connection.sub.as_str())
            .filter(|sub| Some(*sub) != publisher)
            .collect();
        viewers.len()
    }

    /// What the viewers of a stream may know of it.
    #[must_use]
    pub fn news(&self, stream: &str) -> News {
        let tracks = self.stream(stream).and_then(Stream::tracks);
        let tracks = tracks.unwrap_or_default();
        let mut told: Vec<TrackNews> = tracks
            .iter()
            .map(|track| TrackNews {
                kind: track.kind,
                layers: track.layers.clone(),
            })
            .collect();
        told.sort_by_key(|track| track.kind == MediaKind::Video);
        News {
            active: tracks.iter().any(|track| track.live),
            tracks: told,
            viewers: self.viewers(),
            reconnect: None,
        }
    }
}

impl Connection {
    /// This connection as JSON for people. Its URL's last segment stays out: who has it and a token of the
    /// room may end the session.
    #[must_use]
    pub fn inspect(&self) -> serde_json::Value {
        serde_json::json!({
            // A string, as every id outside: 64 bits do not survive a JavaScript number.
            "session": self.session.0.to_string(),
            "kind": self.kind.as_str(),
            "stream": self.stream,
            "sub": self.sub,
            "role": self.role,
            "connected": self.connected,
        })
    }
}
