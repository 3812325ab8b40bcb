//! Every room of the node, and the way of their decisions to the data plane.
//!
//! One lock covers all rooms. What is done under it is arithmetic on a few maps and queueing of orders,
//! never an await: a decision and the orders that follow from it leave in one piece, so the data plane
//! hears of two decisions in the order in which they were made.

mod resync;

use std::collections::{HashMap, HashSet};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use dataplane_api::command::{Close, Source, Subscribe};
use dataplane_api::ids::{RoomId, SessionId, TrackId};
use dataplane_api::{Command, Event};
use tokio::sync::{mpsc, watch};
use tokio::time::{MissedTickBehavior, interval};

use resync::Asked;

use super::admission::Admission;
use super::news::News;
use super::room::{Connection, Input, Kind, Output, Refusal, Room};
use super::stream::{Formats, Stream};
use super::{ResourceId, StreamPath};
use crate::auth::Role;
use crate::http::health::Health;
use crate::http::metrics::{ConnectionKind, ConnectionState, Metrics};
use crate::node::{LinkEvent, NodeClient, Pending};

/// How often rooms look at the clock: the gap of a stream is 30 s, and half a second more is nothing.
const TICK: Duration = Duration::from_millis(500);

/// The rooms; clones share them.
#[derive(Clone, Debug)]
pub struct Registry(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    node: NodeClient,
    health: Health,
    metrics: Metrics,
    started: Instant,
    ids: AtomicU64,
    first_id: u64,
    participants_max: Option<u32>,
    rooms: Mutex<Rooms>,
}

#[derive(Debug, Default)]
struct Rooms {
    by_name: HashMap<String, Room>,
    of_session: HashMap<SessionId, String>,
    of_track: HashMap<TrackId, String>,
    asked: Option<Asked>,
    news: HashMap<SessionId, watch::Sender<News>>,
}

impl Registry {
    /// A registry without rooms over the link `node`. It keeps `health` and the gauges of `metrics` true.
    #[must_use]
    pub fn new(
        node: NodeClient,
        health: Health,
        metrics: Metrics,
        participants_max: Option<u32>,
    ) -> Registry {
        // 41 bits of milliseconds and 20 of counter: a restarted control plane starts above every id of
        // the one before unless that one made a million ids a millisecond.
        let since_epoch = SystemTime::now()
            .duration_since(UNIX_EPOCH)
            .unwrap_or_default();
        let first_id = u64::try_from(since_epoch.as_millis()).unwrap_or_default() << 20;
        Registry(Arc::new(Inner {
            node,
            health,
            metrics,
            started: Instant::now(),
            ids: AtomicU64::new(first_id),
            first_id,
            participants_max,
            rooms: Mutex::default(),
        }))
    }

    /// Feeds the rooms with what comes up the link and with time, for as long as the link is kept.
    pub async fn run(self, mut events: mpsc::UnboundedReceiver<LinkEvent>) {
        let mut ticks = interval(TICK);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Skip);
        loop {
            tokio::select! {
                event = events.recv() => match event {
                    Some(event) => self.on_link(event),
                    None => return,
                },
                _ = ticks.tick() => self.tick(),
            }
        }
    }

    /// A new handle for a session, track or room.
    #[must_use]
    pub fn next_id(&self) -> u64 {
        self.0.ids.fetch_add(1, Ordering::Relaxed)
    }

    /// What a stream carries, when it is live.
    #[must_use]
    pub fn formats(&self, path: &StreamPath) -> Option<Formats> {
        self.rooms()
            .by_name
            .get(&path.room)?
            .stream(&path.name)
            .and_then(Stream::formats)
    }

    /// The connection behind a session URL.
    #[must_use]
    pub fn connection(
        &self,
        kind: Kind,
        path: &StreamPath,
        resource: &ResourceId,
    ) -> Option<Connection> {
        let rooms = self.rooms();
        let connection = rooms.by_name.get(&path.room)?.connection(resource)?;
        (connection.kind == kind && connection.stream == path.name).then(|| connection.clone())
    }

    /// Gives a stream to a connection that will publish it. Until [`Admission::keep`] is called, dropping
    /// the result undoes it, here and in the data plane.
    ///
    /// # Errors
    /// The room's [`Refusal`].
    pub fn reserve(&self, room: &str, connection: Connection) -> Result<Admission, Refusal> {
        self.enter(room, connection.session, Input::Reserve(connection))
    }

    /// Brings a viewer into its room, with slots planned for `formats`; otherwise as
    /// [`Registry::reserve`].
    ///
    /// # Errors
    /// The room's [`Refusal`].
    pub fn join(
        &self,
        room: &str,
        connection: Connection,
        formats: Formats,
    ) -> Result<Admission, Refusal> {
        self.enter(room, connection.session, Input::Join(connection, formats))
    }

    fn enter(&self, room: &str, session: SessionId, input: Input) -> Result<Admission, Refusal> {
        let mut rooms = self.rooms();
        let id = RoomId(self.next_id());
        let limit = self.0.participants_max;
        let id = rooms
            .by_name
            .entry(room.to_owned())
            .or_insert_with(|| Room::new(id, limit))
            .id;
        rooms.of_session.insert(session, room.to_owned());
        if let Some(refusal) = self.apply(&mut rooms, room, input).refused {
            rooms.of_session.remove(&session);
            return Err(refusal);
        }
        drop(rooms);
        Ok(Admission::new(self.clone(), room.to_owned(), id, session))
    }

    pub(super) fn proceed(
        &self,
        room: &str,
        session: SessionId,
        input: Input,
    ) -> Result<Vec<Pending>, Refusal> {
        let mut rooms = self.rooms();
        let applied = self.apply(&mut rooms, room, input);
        match applied.refused {
            Some(refusal) => Err(refusal),
            None if !rooms.of_session.contains_key(&session) => Err(Refusal::Gone),
            None => Ok(applied.orders),
        }
    }

    /// Undoes an admission at any point of its way.
    pub(super) fn abandon(&self, session: SessionId) {
        let mut rooms = self.rooms();
        self.0.node.tell(Command::Close(Close { session }));
        self.on_session(&mut rooms, session, Input::Closed(session));
    }

    /// Ends a session by its owner's wish; the answer tells that the data plane has done it.
    pub fn close(&self, session: SessionId) -> Pending {
        let mut rooms = self.rooms();
        let pending = self.0.node.submit(Command::Close(Close { session }));
        self.on_session(&mut rooms, session, Input::Closed(session));
        pending
    }

    /// Remembers a done ICE restart.
    pub fn restarted(&self, session: SessionId, ufrag: String, etag: String) {
        let mut rooms = self.rooms();
        self.on_session(&mut rooms, session, Input::Restarted(session, ufrag, etag));
    }

    /// What the viewer behind a session may know of its stream, from now on; the sender goes with the
    /// session. `None` for a session that is not here.
    #[must_use]
    pub fn news(&self, session: SessionId) -> Option<watch::Receiver<News>> {
        let mut rooms = self.rooms();
        rooms.of_session.contains_key(&session).then(|| {
            let sender = rooms.news.entry(session).or_default();
            sender.subscribe()
        })
    }

    /// Persons watching a room.
    #[must_use]
    pub fn viewers(&self, room: &str) -> usize {
        self.rooms().by_name.get(room).map_or(0, Room::viewers)
    }

    /// Every room as JSON for people, by name.
    #[must_use]
    pub fn inspect(&self) -> Vec<serde_json::Value> {
        let rooms = self.rooms();
        let mut names: Vec<&String> = rooms.by_name.keys().collect();
        names.sort_unstable();
        names
            .into_iter()
            .filter_map(|name| Some(rooms.by_name.get(name)?.inspect(name)))
            .collect()
    }

    fn on_link(&self, event: LinkEvent) {
        match event {
            LinkEvent::Up { same_boot, .. } => {
                self.0.health.set_link_up(true);
                if same_boot {
                    self.resync();
                } else {
                    self.everywhere(|| Input::AllGone);
                }
            }
            LinkEvent::Down => self.0.health.set_link_up(false),
            LinkEvent::Event { event, .. } => self.on_event(event),
        }
    }

    fn on_event(&self, event: Event) {
        let mut rooms = self.rooms();
        match event {
            Event::SessionConnected(connected) => {
                let session = connected.session;
                if let Some(kind) = rooms.kind_of(session) {
                    tracing::info!(
                        kind = kind.as_str(),
                        join_ms = connected.join_ms,
                        "connected"
                    );
                    self.0
                        .metrics
                        .joined(label(kind), Duration::from_millis(connected.join_ms));
                }
                self.on_session(&mut rooms, session, Input::Connected(session));
            }
            Event::SessionClosed(closed) => {
                let session = closed.session;
                if let Some(kind) = rooms.kind_of(session) {
                    tracing::info!(kind = kind.as_str(), reason = ?closed.reason, "closed");
                }
                self.on_session(&mut rooms, session, Input::Closed(session));
            }
            Event::TrackLive(live) => self.on_track(&mut rooms, live.track, true),
            Event::TrackSilent(silent) => self.on_track(&mut rooms, silent.track, false),
            Event::ResyncNeeded(_) => {
                drop(rooms);
                self.resync();
            }
            // The client ends with `Superseded`, and the process follows.
            Event::Superseded(_)
            | Event::Draining(_)
            | Event::TrackLayers(_)
            | Event::ShardStats(_) => {}
        }
    }

    fn tick(&self) {
        let now = self.0.started.elapsed();
        let mut rooms = self.rooms();
        let due: Vec<String> = rooms
            .by_name
            .iter()
            .filter(|(_, room)| room.next_deadline().is_some_and(|deadline| deadline <= now))
            .map(|(name, _)| name.clone())
            .collect();
        for name in due {
            self.apply(&mut rooms, &name, Input::Tick);
        }
        rooms.measure(&self.0.metrics);
    }

    fn everywhere(&self, input: impl Fn() -> Input) {
        let mut rooms = self.rooms();
        let names: Vec<String> = rooms.by_name.keys().cloned().collect();
        for name in names {
            self.apply(&mut rooms, &name, input());
        }
    }

    fn on_session(&self, rooms: &mut Rooms, session: SessionId, input: Input) {
        if let Some(name) = rooms.of_session.get(&session).cloned() {
            self.apply(rooms, &name, input);
        }
    }

    fn on_track(&self, rooms: &mut Rooms, track: TrackId, live: bool) {
        if let Some(asked) = &mut rooms.asked {
            asked.touched.insert(track);
        }
        if let Some(name) = rooms.of_track.get(&track).cloned() {
            self.apply(rooms, &name, Input::Activity(track, live));
        }
    }

    /// One step of one room, with its orders queued.
    fn apply(&self, rooms: &mut Rooms, name: &str, input: Input) -> Applied {
        let mut applied = Applied::default();
        let Some(room) = rooms.by_name.get_mut(name) else {
            return applied;
        };
        let asking = if let Input::Admitted(session) = &input {
            Some(*session)
        } else {
            None
        };
        let published: Vec<TrackId> = if let Input::Published(_, tracks) = &input {
            tracks.iter().map(|track| track.track).collect()
        } else {
            Vec::new()
        };
        let outputs = room.apply(self.0.started.elapsed(), input);
        if room.is_idle() {
            rooms.by_name.remove(name);
        }
        if !outputs
            .iter()
            .any(|output| matches!(output, Output::Refused(_)))
        {
            rooms
                .of_track
                .extend(published.into_iter().map(|track| (track, name.to_owned())));
        }
        for output in outputs {
            match output {
                Output::Refused(refusal) => applied.refused = Some(refusal),
                Output::Subscribe(session, slot, track) => {
                    let source = Source::Track(track);
                    let order = Command::Subscribe(Subscribe {
                        session,
                        slot,
                        source,
                    });
                    if Some(session) == asking {
                        applied.orders.push(self.0.node.submit(order));
                    } else {
                        self.0.node.tell(order);
                    }
                }
                Output::Close(session) => self.0.node.tell(Command::Close(Close { session })),
                Output::Left(left) => {
                    rooms.of_session.remove(&left.session);
                    for track in left.tracks {
                        rooms.of_track.remove(&track);
                    }
                }
            }
        }
        applied
    }

    fn rooms(&self) -> MutexGuard<'_, Rooms> {
        // A panic under the lock would be a defect of a pure function; the rooms of the others go on.
        self.0.rooms.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Rooms {
    fn measure(&self, metrics: &Metrics) {
        let mut connections: HashMap<(Kind, bool), usize> = HashMap::new();
        let mut people: HashSet<(&str, &str, Role)> = HashSet::new();
        for (name, room) in &self.by_name {
            for connection in room.connections() {
                *connections
                    .entry((connection.kind, connection.connected))
                    .or_default() += 1;
                people.insert((name, &connection.sub, connection.role));
            }
        }
        metrics.set_rooms(self.by_name.len());
        for role in Role::ALL {
            metrics.set_participants(role, people.iter().filter(|(_, _, of)| *of == role).count());
        }
        for kind in [Kind::Whip, Kind::Whep] {
            for (connected, state) in [
                (false, ConnectionState::New),
                (true, ConnectionState::Connected),
            ] {
                let count = connections.get(&(kind, connected)).copied().unwrap_or(0);
                metrics.set_connections(label(kind), state, count);
            }
        }
    }

    fn kind_of(&self, session: SessionId) -> Option<Kind> {
        let room = self.by_name.get(self.of_session.get(&session)?)?;
        room.connections()
            .find(|connection| connection.session == session)
            .map(|of| of.kind)
    }
}

fn label(kind: Kind) -> ConnectionKind {
    match kind {
        Kind::Whip => ConnectionKind::Whip,
        Kind::Whep => ConnectionKind::Whep,
    }
}

#[derive(Debug, Default)]
struct Applied {
    refused: Option<Refusal>,
    orders: Vec<Pending>,
}
