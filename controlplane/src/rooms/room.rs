//! One room as a pure state machine: who publishes which stream, who watches, who has to go.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::time::Duration;

use dataplane_api::ids::{RoomId, SessionId, SlotId, TrackId};
use dataplane_api::media::MediaKind;

use super::stream::{Formats, Publisher, Resumption, Stream, Track};
use super::{MAIN, ResourceId};
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
    /// The peer's ufrag of that ICE session.
    pub remote_ufrag: String,
    /// What the answer to a restart repeats.
    pub ice: IceSection,
    /// Its slots, none for a publisher.
    pub slots: Vec<(SlotId, MediaKind)>,
    /// The data plane has admitted it.
    pub admitted: bool,
    /// Media flows.
    pub connected: bool,
}

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
    /// An ICE restart was done: new remote ufrag, new ETag.
    Restarted(SessionId, String, String),
    /// The data plane is another process: nothing of the old one lives.
    AllGone,
    /// What the data plane holds, after events were missed.
    Resync(Resync),
    /// Time passes.
    Tick,
}

/// What the data plane held when asked.
#[derive(Clone, Debug)]
pub struct Resync {
    /// Its sessions: connected or not, and which slot is filled from which track.
    pub sessions: HashMap<SessionId, (bool, Vec<(SlotId, TrackId)>)>,
    /// Its tracks, live or silent.
    pub tracks: HashMap<TrackId, bool>,
    /// Sessions that must be in it if they live: those admitted when it was asked for.
    pub admitted: HashSet<SessionId>,
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
    participants_max: Option<u32>,
    streams: BTreeMap<String, Stream>,
    connections: BTreeMap<SessionId, Connection>,
}

impl Room {
    /// An idle room.
    #[must_use]
    pub fn new(id: RoomId, participants_max: Option<u32>) -> Room {
        Room {
            id,
            participants_max,
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
            Input::Closed(session) => self.remove(now, session, &mut out),
            Input::Activity(track, live) => {
                for stream in self.streams.values_mut() {
                    stream.track_activity(now, track, live);
                }
            }
            Input::Restarted(session, ufrag, etag) => {
                if let Some(connection) = self.connections.get_mut(&session) {
                    (connection.remote_ufrag, connection.etag) = (ufrag, etag);
                }
            }
            Input::AllGone => {
                let sessions: Vec<SessionId> = self.connections.keys().copied().collect();
                for session in sessions {
                    self.remove(now, session, &mut out);
                }
                for stream in self.streams.values_mut() {
                    stream.reset();
                }
            }
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

    /// The room as JSON for people.
    #[must_use]
    pub fn inspect(&self, name: &str) -> serde_json::Value {
        let connections: Vec<serde_json::Value> = self
            .connections
            .values()
            .map(|connection| {
                serde_json::json!({
                    // A string, as every id outside: 64 bits do not survive a JavaScript number.
                    "session": connection.session.0.to_string(),
                    "kind": connection.kind.as_str(),
                    "stream": connection.stream,
                    "sub": connection.sub,
                    "role": connection.role,
                    "connected": connection.connected,
                })
            })
            .collect();
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

    /// Nobody is here and nobody is waited for.
    #[must_use]
    pub fn is_idle(&self) -> bool {
        self.connections.is_empty() && self.streams.is_empty()
    }

    /// When the room next needs a `Tick`.
    #[must_use]
    pub fn next_deadline(&self) -> Option<Duration> {
        self.streams.values().filter_map(Stream::deadline).min()
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
                self.remove(now, session, out);
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
                    self.forget(viewer, out);
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
    fn remove(&mut self, now: Duration, session: SessionId, out: &mut Vec<Output>) {
        self.forget(session, out);
        for stream in self.streams.values_mut() {
            if stream
                .publisher()
                .is_some_and(|publisher| publisher.session == session)
            {
                stream.vacate(now);
            }
        }
    }

    fn forget(&mut self, session: SessionId, out: &mut Vec<Output>) {
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

    fn resync(&mut self, now: Duration, held: &Resync, out: &mut Vec<Output>) {
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
                self.remove(now, session, out);
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
                if let Some(&live) = held.tracks.get(&track) {
                    stream.track_activity(now, track, live);
                }
            }
        }
    }

    fn tick(&mut self, now: Duration, out: &mut Vec<Output>) {
        let over: Vec<String> = self
            .streams
            .iter()
            .filter(|(_, stream)| stream.deadline().is_some_and(|deadline| deadline <= now))
            .map(|(name, _)| name.clone())
            .collect();
        for name in over {
            for viewer in self.viewers_of(&name) {
                self.forget(viewer, out);
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
        let limit = self.participants_max?;
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
