//! A shard's tables as snapshot parts: what a fresh control plane needs to take over.

use dataplane_api::snapshot::{Part, SessionPart, TrackPart};

use crate::shard::Shard;

impl Shard {
    /// Every session and track of this shard, sessions first.
    #[must_use]
    pub fn snapshot(&self) -> Vec<Part> {
        let sessions = self.session_keys.values().filter_map(|&key| {
            let session = self.sessions.get(key)?;
            let subscriptions = session.slots.iter().filter_map(|slot| {
                let track = self.tracks.get(slot.source()?)?;
                Some((slot.spec.slot, track.id()))
            });
            Some(Part::Session(SessionPart {
                session: session.id,
                room: session.room,
                shard: self.config.index,
                tag: session.tag.clone(),
                connected: session.is_connected(),
                ufrag: session.ice.local_ufrag().to_owned(),
                slots: session.slots.iter().map(|slot| slot.spec.clone()).collect(),
                subscriptions: subscriptions.collect(),
            }))
        });
        let tracks = self.track_keys.values().filter_map(|&key| {
            let track = self.tracks.get(key)?;
            Some(Part::Track(TrackPart {
                track: track.id(),
                session: track.spec.session,
                tag: track.spec.tag.clone(),
                live: track.is_live(),
                layers: track.layer_states(),
            }))
        });
        sessions.chain(tracks).collect()
    }

    /// Sessions, tracks and filled slots now.
    #[must_use]
    pub fn population(&self) -> Population {
        let subscriptions = self
            .tracks
            .iter()
            .map(|(_, track)| track.subscribers.len())
            .sum();
        Population {
            sessions: self.sessions.len(),
            tracks: self.tracks.len(),
            subscriptions,
        }
    }
}

/// See [`Shard::population`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Population {
    /// Sessions admitted.
    pub sessions: usize,
    /// Tracks published.
    pub tracks: usize,
    /// Slots filled.
    pub subscriptions: usize,
}
