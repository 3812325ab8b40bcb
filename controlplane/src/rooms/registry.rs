//! Every room of the node, and the way of their decisions to the data plane.
//!
//! One lock covers all rooms. What is done under it is arithmetic on a few maps and queueing of orders,
//! never an await: a decision and the orders that follow from it leave in one piece, so the data plane
//! hears of two decisions in the order in which they were made.

mod audience;
mod census;
mod events;
mod ids;
mod resync;
mod takeover;

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use dataplane_api::Command;
use dataplane_api::command::{Close, Source, Subscribe, Unsubscribe};
use dataplane_api::ids::{RoomId, SessionId, SlotId, TrackId};
use tokio::sync::{mpsc, watch};
use tokio::time::{MissedTickBehavior, interval, timeout};

use audience::Audience;
use ids::Ids;
use resync::Asked;

use super::admission::Admission;
use super::connection::{Connection, Kind};
use super::news::{News, Reconnect};
use super::room::{Input, Limits, Output, Refusal, Restart, Room};
use super::stream::{Formats, Stream};
use super::{ResourceId, StreamPath};
use crate::http::health::Health;
use crate::http::metrics::Metrics;
use crate::node::{LinkEvent, NodeClient, Pending};

/// How often rooms look at the clock and listeners are told what changed.
const TICK: Duration = Duration::from_millis(100);

/// How long a request waits for the sessions of an earlier control plane to be taken over, which takes
/// some milliseconds.
const SETTLING_TIME_MAX: Duration = Duration::from_secs(2);

/// From when on viewers are told that the media process is lost.
const LOST_AFTER: Duration = Duration::from_millis(800);

/// How long it waits for the data plane to be found at all.
const LINKING_TIME_MAX: Duration = Duration::from_millis(300);

/// The rooms; clones share them.
#[derive(Clone, Debug)]
pub struct Registry(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    node: NodeClient,
    health: Health,
    metrics: Metrics,
    started: Instant,
    ids: Ids,
    limits: Limits,
    /// The rooms are those of the data plane: what an earlier control plane left is taken over.
    settled: watch::Sender<bool>,
    rooms: Mutex<Rooms>,
}

#[derive(Debug, Default)]
struct Rooms {
    by_name: HashMap<String, Room>,
    of_session: HashMap<SessionId, String>,
    of_track: HashMap<TrackId, String>,
    asked: Option<Asked>,
    /// ICE restarts that were ordered.
    restarts: u64,
    /// Since when there is no link.
    down_since: Option<Instant>,
    audience: Audience,
}

impl Registry {
    /// A registry without rooms over the link `node`. It keeps `health` and the gauges of `metrics` true.
    #[must_use]
    pub fn new(node: NodeClient, health: Health, metrics: Metrics, limits: Limits) -> Registry {
        Registry(Arc::new(Inner {
            node,
            health,
            metrics,
            started: Instant::now(),
            ids: Ids::default(),
            limits,
            settled: watch::Sender::new(false),
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
        self.0.ids.next()
    }

    /// Whether the rooms are those of the data plane. Right after a start they are not yet: whoever asks
    /// waits, for two seconds at most, and not long when there is no data plane.
    pub async fn settled(&self) -> bool {
        let mut settled = self.0.settled.subscribe();
        let mut within = async |limit| {
            let waiting = settled.wait_for(|settled| *settled);
            matches!(timeout(limit, waiting).await, Ok(Ok(_)))
        };
        within(LINKING_TIME_MAX).await || self.0.node.is_up() && within(SETTLING_TIME_MAX).await
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
        let limits = self.0.limits;
        let id = rooms
            .by_name
            .entry(room.to_owned())
            .or_insert_with(|| Room::new(id, limits))
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

    /// Remembers the answer to the node's own offer, and empties the slots that it refused. `false` when
    /// another answer came first: that one counts.
    ///
    /// # Errors
    /// [`Refusal::Gone`] when the session was closed meanwhile.
    pub fn accepted(
        &self,
        session: SessionId,
        ufrag: &str,
        slots: Vec<SlotId>,
    ) -> Result<bool, Refusal> {
        let mut rooms = self.rooms();
        let connection = rooms.connection(session).ok_or(Refusal::Gone)?;
        if !connection.remote_ufrag.is_empty() {
            return Ok(connection.remote_ufrag == ufrag);
        }
        let refused = connection.slots.iter().map(|(slot, _)| *slot);
        for slot in refused.filter(|slot| !slots.contains(slot)) {
            self.0
                .node
                .tell(Command::Unsubscribe(Unsubscribe { session, slot }));
        }
        let input = Input::Accepted(session, ufrag.to_owned(), slots);
        self.on_session(&mut rooms, session, input);
        Ok(true)
    }

    /// Orders an ICE restart. Of two at once the data plane keeps the later one, and so does the room: by
    /// the number that comes with the answer to be awaited.
    pub fn restart(&self, order: Command) -> (u64, Pending) {
        let mut rooms = self.rooms();
        rooms.restarts += 1;
        (rooms.restarts, self.0.node.submit(order))
    }

    /// Remembers a done ICE restart.
    pub fn restarted(&self, restart: Restart) {
        let mut rooms = self.rooms();
        self.on_session(&mut rooms, restart.session, Input::Restarted(restart));
    }

    /// What the viewer behind a session may know of its stream, from now on; the sender goes with the
    /// session. `None` for a session that is not here.
    #[must_use]
    pub fn news(&self, session: SessionId) -> Option<watch::Receiver<News>> {
        let mut rooms = self.rooms();
        let Rooms {
            by_name,
            of_session,
            audience,
            ..
        } = &mut *rooms;
        let room = by_name.get(of_session.get(&session)?)?;
        Some(audience.listen(room, session))
    }

    /// Persons watching a room.
    #[must_use]
    pub fn viewers(&self, room: &str) -> usize {
        self.rooms().by_name.get(room).map_or(0, Room::viewers)
    }

    /// The session with this handle, or with this last segment of its URL, and its room's name.
    #[must_use]
    pub fn find(&self, wanted: &str) -> Option<(String, Connection)> {
        let rooms = self.rooms();
        let handle = wanted.parse().ok().map(SessionId);
        rooms.by_name.iter().find_map(|(name, room)| {
            let is_wanted = |connection: &&Connection| {
                handle == Some(connection.session) || connection.resource.as_str() == wanted
            };
            let connection = room.connections().find(is_wanted)?;
            Some((name.clone(), connection.clone()))
        })
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
        // A link that is away this long has lost its data plane; one that was taken over has ended us.
        let lost = |since: Instant| since.elapsed() >= LOST_AFTER;
        if rooms.down_since.is_some_and(lost) {
            rooms.send_away(Some(Reconnect::MediaDown));
        }
        let Rooms {
            by_name, audience, ..
        } = &mut *rooms;
        audience.tell(by_name);
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

    fn on_track(&self, rooms: &mut Rooms, track: TrackId, input: Input) {
        if let Some(asked) = &mut rooms.asked {
            asked.touched.insert(track);
        }
        if let Some(name) = rooms.of_track.get(&track).cloned() {
            self.apply(rooms, &name, input);
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
        rooms.audience.changed(name);
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
                    let _span = tracing::info_span!("session", session = left.session.0).entered();
                    let reconnect = left.reconnect.map(Reconnect::as_str);
                    tracing::info!(reconnect, "left");
                    rooms.of_session.remove(&left.session);
                    rooms.audience.left(left.session, left.reconnect);
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
    fn send_away(&mut self, why: Option<Reconnect>) {
        self.audience.send_away(why, &self.by_name);
    }

    fn kind_of(&self, session: SessionId) -> Option<Kind> {
        self.connection(session).map(|of| of.kind)
    }

    fn connection(&self, session: SessionId) -> Option<&Connection> {
        let room = self.by_name.get(self.of_session.get(&session)?)?;
        room.connections()
            .find(|connection| connection.session == session)
    }
}

#[derive(Debug, Default)]
struct Applied {
    refused: Option<Refusal>,
    orders: Vec<Pending>,
}
