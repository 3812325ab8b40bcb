//! A room and what the data plane holds of it: found by a control plane that was not there, or compared
//! after events were missed.

use std::collections::{HashMap, HashSet};
use std::time::Duration;

use dataplane_api::event::LayerState;
use dataplane_api::ids::{SessionId, SlotId, TrackId};

use super::{Left, Output, Room};
use crate::rooms::connection::{Connection, Kind};
use crate::rooms::news::Reconnect;
use crate::rooms::stream::{Formats, Stream, Track};

/// What the data plane held when asked.
#[derive(Debug)]
pub struct Resync {
    /// Its sessions: connected or not, and which slot is filled from which track.
    pub sessions: HashMap<SessionId, (bool, Vec<(SlotId, TrackId)>)>,
    /// Its tracks, live or silent, with their layers.
    pub tracks: HashMap<TrackId, (bool, Vec<LayerState>)>,
    /// Sessions that must be in it if they live: those admitted when it was asked for.
    pub admitted: HashSet<SessionId>,
}

/// A session of an earlier control plane.
#[derive(Clone, Debug)]
pub struct Adopted {
    /// As its tag and the data plane tell it.
    pub connection: Connection,
    /// A publisher's tracks.
    pub tracks: Vec<Track>,
    /// How many tracks a publisher was to have.
    pub tracks_planned: usize,
    /// What a viewer's stream carried when it joined.
    pub formats: Formats,
}

impl Room {
    /// Two sessions of one stream stand here when the `Close` of the older one was lost: the newer stays.
    pub(super) fn adopt(&mut self, now: Duration, adopted: Adopted, out: &mut Vec<Output>) {
        let Adopted {
            connection,
            tracks,
            tracks_planned,
            formats,
        } = adopted;
        let session = connection.session;
        let stream = self.streams.entry(connection.stream.clone()).or_default();
        match connection.kind {
            // Its client has no answer and never will have: the earlier control plane died over it.
            Kind::Whip if tracks.len() < tracks_planned => {
                out.push(Output::Left(Left {
                    session,
                    tracks: tracks.iter().map(|track| track.track).collect(),
                    reconnect: None,
                }));
                out.push(Output::Close(session));
                return;
            }
            Kind::Whip => {
                let older = stream.publisher().map(|publisher| publisher.session);
                if let Some(older) = older {
                    self.forget(older, None, out);
                    out.push(Output::Close(older));
                }
                let stream = self.streams.entry(connection.stream.clone()).or_default();
                stream.adopt(now, session, connection.sub.clone(), tracks);
            }
            Kind::Whep => stream.adopt_gap(now, formats),
        }
        self.connections.insert(session, connection);
    }

    /// Viewers whose slots do not fit what is published stand here when their `Close` was lost with an
    /// earlier control plane.
    fn close_misfits(&mut self, out: &mut Vec<Output>) {
        let misfits: Vec<SessionId> = self
            .connections
            .values()
            .filter(|of| of.kind == Kind::Whep && of.admitted && !of.formats.is_empty())
            .filter(|of| {
                let live = self.stream(&of.stream).and_then(Stream::formats);
                live.is_some_and(|live| live != of.formats)
            })
            .map(|of| of.session)
            .collect();
        for viewer in misfits {
            self.forget(viewer, Some(Reconnect::OtherFormats), out);
            out.push(Output::Close(viewer));
        }
    }

    pub(super) fn resync(&mut self, now: Duration, held: &Resync, out: &mut Vec<Output>) {
        self.close_misfits(out);
        let known: Vec<(SessionId, bool)> = self
            .connections
            .values()
            .filter(|connection| held.admitted.contains(&connection.session))
            .map(|connection| {
                (
                    connection.session,
                    held.sessions.contains_key(&connection.session),
                )
            })
            .collect();
        for (session, alive) in known {
            if !alive {
                self.remove(now, session, None, out);
                continue;
            }
            let Some((connected, filled)) = held.sessions.get(&session) else {
                continue;
            };
            if let Some(connection) = self.connections.get_mut(&session) {
                connection.connected |= connected;
            }
            let mut wanted = Vec::new();
            self.subscribe(session, &mut wanted);
            out.extend(wanted.into_iter().filter(|output| match output {
                Output::Subscribe(_, slot, track) => !filled.contains(&(*slot, *track)),
                Output::Refused(_) | Output::Close(_) | Output::Left(_) => true,
            }));
        }
        for stream in self.streams.values_mut() {
            let tracks: Vec<TrackId> = stream
                .tracks()
                .unwrap_or_default()
                .iter()
                .map(|track| track.track)
                .collect();
            for track in tracks {
                if let Some((live, layers)) = held.tracks.get(&track) {
                    stream.track_activity(now, track, *live);
                    stream.track_layers(track, layers);
                }
            }
        }
    }
}
