//! One room as a pure state machine: who publishes which stream, who watches, who has to go.

mod takeover;
mod view;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use dataplane_api::event::LayerState;
use dataplane_api::ids::{RoomId, SessionId, SlotId, TrackId};

use super::ResourceId;
use super::connection::{Connection, Kind};
use super::news::Reconnect;
use super::stream::{Formats, Publisher, Resumption, Stream, Track};

pub use takeover::{Adopted, Resync};

/// What happens to a room.
#[derive(Clone, Debug)]
pub enum Input {
    /// Somebody wants to publish: keeps the stream for them until `Published` or `Closed`.
    Reserve(Connection),
    /// The reserving session was admitted and its tracks declared.
    Published(SessionId, Vec<Track>),
    /// Somebody wants to watch, with slots planned for these formats.
    Join(Connection, Formats),
    /// The joining session was admitted.
    Admitted(SessionId),
    /// ICE and DTLS are through.
    Connected(SessionId),
    /// A session is over: by its own request, by the data plane, or because joining failed.
    Closed(SessionId),
    /// Packets of a track arrive, or no longer.
    Activity(TrackId, bool),
    /// Layers of a track came or went.
    Layers(TrackId, Vec<LayerState>),
    /// The node's offer was answered: the remote ufrag, and the slots that the peer takes.
    Accepted(SessionId, String, Vec<SlotId>),
    /// An ICE restart was done.
    Restarted(Restart),
    /// The data plane is another process: nothing of the old one lives.
    AllGone,
    /// A session of an earlier control plane, found in the data plane. Older sessions first.
    Adopt(Adopted),
    /// What the data plane holds, after events were missed.
    Resync(Arc<Resync>),
    /// Time passes.
    Tick,
}

/// What follows.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Output {
    /// The request is refused; nothing else follows.
    Refused(Refusal),
    /// Fill a slot.
    Subscribe(SessionId, SlotId, TrackId),
    /// Close a session of the data plane.
    Close(SessionId),
    /// A connection is no longer part of the room.
    Left(Left),
}

/// A connection that is gone.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Left {
    /// Its session.
    pub session: SessionId,
    /// Its tracks.
    pub tracks: Vec<TrackId>,
    /// Its client should come again, and why.
    pub reconnect: Option<Reconnect>,
}

/// A done ICE restart.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Restart {
    /// Whose.
    pub session: SessionId,
    /// Its place among all restarts that were ordered: answers may be read in another order.
    pub number: u64,
    /// The peer's new ufrag.
    pub ufrag: String,
    /// The new ETag.
    pub etag: String,
}

/// Bounds of every room.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Limits {
    /// Persons.
    pub participants_max: Option<u32>,
    /// A publisher without a packet for this long is closed.
    pub stream_timeout: Option<Duration>,
}

/// Why a request is refused.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// Another person publishes this stream.
    OtherPublisher,
    /// The same person publishes it, and media flowed within the last two seconds.
    StillPublishing,
    /// Nobody publishes it, or no longer what it was a moment ago.
    NotLive,
    /// The limit of participants is reached.
    Full(u32),
    /// The session was closed meanwhile.
    Gone,
}

/// One room.
#[derive(Debug)]
pub struct Room {
    /// The data plane's handle.
    pub id: RoomId,
    limits: Limits,
    streams: BTreeMap<String, Stream>,
    connections: BTreeMap<SessionId, Connection>,
}

impl Room {
    /// An idle room.
    #[must_use]
    pub fn new(id: RoomId, limits: Limits) -> Room {
        Room {
            id,
            limits,
            streams: BTreeMap::new(),
            connections: BTreeMap::new(),
        }
    }

    /// Applies one input at `now`.
    pub fn apply(&mut self, now: Duration, input: Input) -> Vec<Output> {
        let mut out = Vec::new();
        match input {
            Input::Reserve(connection) => self.reserve(now, connection, &mut out),
            Input::Published(session, tracks) => self.published(session, tracks, &mut out),
            Input::Join(connection, formats) => self.join(connection, &formats, &mut out),
            Input::Admitted(session) => self.admitted(session, &mut out),
            Input::Connected(session) => {
                if let Some(connection) = self.connections.get_mut(&session) {
                    connection.connected = true;
                }
            }
            Input::Closed(session) => self.remove(now, session, None, &mut out),
            Input::Activity(track, live) => {
                for stream in self.streams.values_mut() {
                    stream.track_activity(now, track, live);
                }
            }
            Input::Layers(track, layers) => {
                for stream in self.streams.values_mut() {
                    stream.track_layers(track, &layers);
                }
            }
            Input::Accepted(session, ufrag, slots) => {
                if let Some(connection) = self.connections.get_mut(&session) {
                    connection.remote_ufrag = ufrag;
                    connection.slots.retain(|(slot, _)| slots.contains(slot));
                }
            }
            Input::Restarted(restart) => {
                let connection = self.connections.get_mut(&restart.session);
                if let Some(connection) = connection.filter(|of| of.restart < restart.number) {
                    connection.restart = restart.number;
                    (connection.remote_ufrag, connection.etag) = (restart.ufrag, restart.etag);
                }
            }
            Input::AllGone => {
                let sessions: Vec<SessionId> = self.connections.keys().copied().collect();
                for session in sessions {
                    self.remove(now, session, Some(Reconnect::MediaDown), &mut out);
                }
                for stream in self.streams.values_mut() {
                    stream.reset();
                }
            }
            Input::Adopt(adopted) => self.adopt(now, adopted, &mut out),
            Input::Resync(held) => self.resync(now, &held, &mut out),
            Input::Tick => self.tick(now, &mut out),
        }
        self.streams.retain(|_, stream| !stream.is_idle());
        out
    }

    /// A stream that is not idle.
    #[must_use]
    pub fn stream(&self, name: &str) -> Option<&Stream> {
        self.streams.get(name)
    }

    /// The connection with this URL.
    #[must_use]
    pub fn connection(&self, resource: &ResourceId) -> Option<&Connection> {
        self.connections
            .values()
            .find(|connection| connection.resource == *resource)
    }

    /// Every connection.
    pub fn connections(&self) -> impl Iterator<Item = &Connection> {
        self.connections.values()
    }

    /// Nobody is here and nobody is waited for.
    #[must_use]
    pub fn is_idle(&self) -> bool {
        self.connections.is_empty() && self.streams.is_empty()
    }

    /// When the room next needs a `Tick`.
    #[must_use]
    pub fn next_deadline(&self) -> Option<Duration> {
        let timeout = self.limits.stream_timeout;
        self.streams
            .values()
            .filter_map(|stream| stream.deadline(timeout))
            .min()
    }

    fn reserve(&mut self, now: Duration, connection: Connection, out: &mut Vec<Output>) {
        if let Some(refusal) = self.full(&connection.sub) {
            return out.push(Output::Refused(refusal));
        }
        let publisher = self.stream(&connection.stream).and_then(Stream::publisher);
        match publisher {
            Some(Publisher { sub, .. }) if *sub != connection.sub => {
                return out.push(Output::Refused(Refusal::OtherPublisher));
            }
            Some(publisher) if !publisher.replaceable(now) => {
                return out.push(Output::Refused(Refusal::StillPublishing));
            }
            Some(&Publisher { session, .. }) => {
                self.remove(now, session, None, out);
                out.push(Output::Close(session));
            }
            None => {}
        }
        let stream = self.streams.entry(connection.stream.clone()).or_default();
        stream.reserve(now, connection.session, connection.sub.clone());
        self.connections.insert(connection.session, connection);
    }

    fn published(&mut self, session: SessionId, tracks: Vec<Track>, out: &mut Vec<Output>) {
        let Some(connection) = self.connections.get_mut(&session) else {
            return out.push(Output::Refused(Refusal::Gone));
        };
        connection.admitted = true;
        let name = connection.stream.clone();
        let resumption = self
            .streams
            .get_mut(&name)
            .and_then(|stream| stream.publish(tracks));
        match resumption {
            None => out.push(Output::Refused(Refusal::Gone)),
            Some(Resumption::SameFormats) => {
                for viewer in self.viewers_of(&name) {
                    self.subscribe(viewer, out);
                }
            }
            Some(Resumption::OtherFormats) => {
                for viewer in self.viewers_of(&name) {
                    self.forget(viewer, Some(Reconnect::OtherFormats), out);
                    out.push(Output::Close(viewer));
                }
            }
        }
    }

    fn join(&mut self, connection: Connection, planned: &Formats, out: &mut Vec<Output>) {
        if let Some(refusal) = self.full(&connection.sub) {
            return out.push(Output::Refused(refusal));
        }
        let live = self.stream(&connection.stream).and_then(Stream::formats);
        if live.as_ref() != Some(planned) {
            return out.push(Output::Refused(Refusal::NotLive));
        }
        self.connections.insert(connection.session, connection);
    }

    fn admitted(&mut self, session: SessionId, out: &mut Vec<Output>) {
        let Some(connection) = self.connections.get_mut(&session) else {
            return out.push(Output::Refused(Refusal::Gone));
        };
        connection.admitted = true;
        self.subscribe(session, out);
    }

    /// A publisher leaves a gap behind; a viewer leaves nothing.
    fn remove(
        &mut self,
        now: Duration,
        session: SessionId,
        reconnect: Option<Reconnect>,
        out: &mut Vec<Output>,
    ) {
        self.forget(session, reconnect, out);
        for stream in self.streams.values_mut() {
            if stream
                .publisher()
                .is_some_and(|publisher| publisher.session == session)
            {
                stream.vacate(now);
            }
        }
    }

    fn forget(&mut self, session: SessionId, reconnect: Option<Reconnect>, out: &mut Vec<Output>) {
        let Some(connection) = self.connections.remove(&session) else {
            return;
        };
        let publishes = |stream: &&Stream| {
            stream
                .publisher()
                .is_some_and(|publisher| publisher.session == session)
        };
        let tracks = self
            .streams
            .get(&connection.stream)
            .filter(publishes)
            .and_then(Stream::tracks);
        out.push(Output::Left(Left {
            session,
            tracks: tracks
                .unwrap_or_default()
                .iter()
                .map(|track| track.track)
                .collect(),
            reconnect,
        }));
    }

    /// Fills each slot of a viewer from the stream's track of its kind.
    fn subscribe(&self, session: SessionId, out: &mut Vec<Output>) {
        let Some(viewer) = self
            .connections
            .get(&session)
            .filter(|viewer| viewer.admitted)
        else {
            return;
        };
        let tracks = self
            .stream(&viewer.stream)
            .and_then(Stream::tracks)
            .unwrap_or_default();
        for (slot, kind) in &viewer.slots {
            if let Some(track) = tracks.iter().find(|track| track.kind == *kind) {
                out.push(Output::Subscribe(session, *slot, track.track));
            }
        }
    }

    /// A publisher that has been silent for too long is closed, which opens a gap; when a gap is over its
    /// viewers go.
    fn tick(&mut self, now: Duration, out: &mut Vec<Output>) {
        let timeout = self.limits.stream_timeout;
        let due = |stream: &Stream| stream.deadline(timeout).is_some_and(|at| at <= now);
        let over: Vec<String> = self
            .streams
            .iter()
            .filter(|(_, stream)| due(stream))
            .map(|(name, _)| name.clone())
            .collect();
        for name in over {
            let silent = self.stream(&name).and_then(Stream::publisher);
            if let Some(&Publisher { session, .. }) = silent {
                self.remove(now, session, None, out);
                out.push(Output::Close(session));
                continue;
            }
            for viewer in self.viewers_of(&name) {
                self.forget(viewer, None, out);
                out.push(Output::Close(viewer));
            }
            self.streams.remove(&name);
        }
    }

    fn viewers_of(&self, stream: &str) -> Vec<SessionId> {
        let watches = |of: &&Connection| of.kind == Kind::Whep && of.stream == stream;
        self.connections
            .values()
            .filter(watches)
            .map(|of| of.session)
            .collect()
    }

    /// The refusal for one more person, when the room is full.
    fn full(&self, sub: &str) -> Option<Refusal> {
        let limit = self.limits.participants_max?;
        let subs: BTreeSet<&str> = self
            .connections
            .values()
            .map(|of| of.sub.as_str())
            .collect();
        let full =
            !subs.contains(sub) && u32::try_from(subs.len()).is_ok_and(|count| count >= limit);
        full.then_some(Refusal::Full(limit))
    }
}
