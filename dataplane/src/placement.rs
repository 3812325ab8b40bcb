//! Which shard a session lives on: pure tables, kept by the link thread.
//!
//! A room lives on one shard, so a session joins its room's; the first session of a room goes where the
//! control plane hints, else to the least loaded shard. Load is counted when a session is *assigned*,
//! not when it connects: a thousand joins in one second would otherwise all see the same empty shard.

use std::collections::hash_map::Entry;
use std::collections::{BTreeMap, HashMap, HashSet};

use dataplane_api::command::Admit;
use dataplane_api::ids::{RoomId, SessionId, ShardIndex, TrackId};

/// Where sessions, rooms and tracks live.
#[derive(Debug)]
pub struct Placement {
    sessions: HashMap<SessionId, Seat>,
    tracks: HashMap<TrackId, SessionId>,
    rooms: HashMap<RoomId, Home>,
    shards: Vec<Load>,
}

/// One session's place.
#[derive(Clone, Debug)]
struct Seat {
    shard: ShardIndex,
    room: RoomId,
    weight: u64,
    tracks: Vec<TrackId>,
    /// Its shard has answered `Admit`. Until then the shard's own list cannot know it.
    admitted: bool,
}

/// The shard of a room, while it has sessions.
#[derive(Clone, Copy, Debug)]
struct Home {
    shard: ShardIndex,
    sessions: u32,
}

#[derive(Clone, Copy, Debug, Default)]
struct Load {
    /// Sum of the weights of its sessions: one for the session, one for each outgoing slot, because a
    /// slot is what costs packets.
    weight: u64,
    sessions: u32,
    dead: bool,
}

impl Placement {
    /// No session yet on `shards` shards.
    #[must_use]
    pub fn new(shards: usize) -> Placement {
        Placement {
            sessions: HashMap::new(),
            tracks: HashMap::new(),
            rooms: HashMap::new(),
            shards: vec![Load::default(); shards],
        }
    }

    /// Assigns a session to a shard; a session that has one keeps it. `None` when no shard is alive.
    pub fn assign(&mut self, admit: &Admit) -> Option<ShardIndex> {
        if let Some(seat) = self.sessions.get(&admit.session) {
            return Some(seat.shard);
        }
        let shard = self
            .rooms
            .get(&admit.room)
            .map(|home| home.shard)
            .or_else(|| admit.shard_hint.filter(|&hint| self.is_alive(hint)))
            .or_else(|| self.least_loaded())?;
        let weight = 1 + admit.slots.len() as u64;
        let seat = Seat {
            shard,
            room: admit.room,
            weight,
            tracks: Vec::new(),
            admitted: false,
        };
        self.seat(admit.session, seat);
        Some(shard)
    }

    /// Its shard accepted the session.
    pub fn on_admitted(&mut self, session: SessionId) {
        if let Some(seat) = self.sessions.get_mut(&session) {
            seat.admitted = true;
        }
    }

    /// Its shard refused the session. A refusal of a repeated order leaves the accepted one.
    pub fn on_refused(&mut self, session: SessionId) {
        if self
            .sessions
            .get(&session)
            .is_some_and(|seat| !seat.admitted)
        {
            self.on_closed(session);
        }
    }

    /// The session is gone. Its tracks go with it.
    pub fn on_closed(&mut self, session: SessionId) {
        let Some(seat) = self.sessions.remove(&session) else {
            return;
        };
        for track in &seat.tracks {
            self.tracks.remove(track);
        }
        if let Some(load) = self.shards.get_mut(usize::from(seat.shard.0)) {
            load.weight -= seat.weight;
            load.sessions -= 1;
        }
        if let Some(home) = self.rooms.get_mut(&seat.room) {
            home.sessions -= 1;
            if home.sessions == 0 {
                self.rooms.remove(&seat.room);
            }
        }
    }

    /// The track is being published by the session. A track keeps its first publisher.
    pub fn on_publish(&mut self, track: TrackId, session: SessionId) {
        let Some(seat) = self.sessions.get_mut(&session) else {
            return;
        };
        if let Entry::Vacant(entry) = self.tracks.entry(track) {
            entry.insert(session);
            seat.tracks.push(track);
        }
    }

    /// The track is gone, or was never accepted.
    pub fn on_unpublished(&mut self, track: TrackId) {
        let publisher = self.tracks.remove(&track);
        if let Some(seat) = publisher.and_then(|session| self.sessions.get_mut(&session)) {
            seat.tracks.retain(|&other| other != track);
        }
    }

    /// What a shard itself says it holds: events about it were lost. Sessions that are still being
    /// admitted stay.
    pub fn on_census(
        &mut self,
        shard: ShardIndex,
        sessions: &HashSet<SessionId>,
        tracks: &[(TrackId, SessionId)],
    ) {
        let gone: Vec<SessionId> = self
            .sessions
            .iter()
            .filter(|(id, seat)| seat.shard == shard && seat.admitted && !sessions.contains(id))
            .map(|(&id, _)| id)
            .collect();
        for session in gone {
            self.on_closed(session);
        }
        for &(track, session) in tracks {
            self.on_publish(track, session);
        }
    }

    /// The shard ended: nothing is assigned to it any more and what it held is gone.
    pub fn on_dead(&mut self, shard: ShardIndex) {
        let held: Vec<SessionId> = self
            .sessions
            .iter()
            .filter(|(_, seat)| seat.shard == shard)
            .map(|(&id, _)| id)
            .collect();
        for session in held {
            self.on_closed(session);
        }
        if let Some(load) = self.shards.get_mut(usize::from(shard.0)) {
            load.dead = true;
        }
    }

    /// Every session with its room and shard, in no order.
    pub fn seats(&self) -> impl Iterator<Item = (SessionId, RoomId, ShardIndex)> + '_ {
        self.sessions
            .iter()
            .map(|(&session, seat)| (session, seat.room, seat.shard))
    }

    /// The shard of a session.
    #[must_use]
    pub fn of_session(&self, session: SessionId) -> Option<ShardIndex> {
        self.sessions.get(&session).map(|seat| seat.shard)
    }

    /// The shard of a track.
    #[must_use]
    pub fn of_track(&self, track: TrackId) -> Option<ShardIndex> {
        self.tracks
            .get(&track)
            .and_then(|&session| self.of_session(session))
    }

    /// The shard of a room.
    #[must_use]
    pub fn of_room(&self, room: RoomId) -> Option<ShardIndex> {
        self.rooms.get(&room).map(|home| home.shard)
    }

    /// Whether the shard exists and has not ended.
    #[must_use]
    pub fn is_alive(&self, shard: ShardIndex) -> bool {
        self.shards
            .get(usize::from(shard.0))
            .is_some_and(|load| !load.dead)
    }

    /// The shards that take orders, in order.
    pub fn alive(&self) -> impl Iterator<Item = ShardIndex> + '_ {
        (0..=u16::MAX)
            .map(ShardIndex)
            .take(self.shards.len())
            .filter(|&shard| self.is_alive(shard))
    }

    /// Sessions of all shards.
    #[must_use]
    pub fn sessions(&self) -> usize {
        self.sessions.len()
    }

    /// Sessions of each shard that is alive, for logs and people.
    #[must_use]
    pub fn sessions_by_shard(&self) -> BTreeMap<u16, u32> {
        self.alive()
            .map(|shard| (shard.0, self.shards[usize::from(shard.0)].sessions))
            .collect()
    }

    fn least_loaded(&self) -> Option<ShardIndex> {
        self.alive()
            .min_by_key(|shard| self.shards[usize::from(shard.0)].weight)
    }

    fn seat(&mut self, session: SessionId, seat: Seat) {
        if let Some(load) = self.shards.get_mut(usize::from(seat.shard.0)) {
            load.weight += seat.weight;
            load.sessions += 1;
        }
        self.rooms
            .entry(seat.room)
            .or_insert(Home {
                shard: seat.shard,
                sessions: 0,
            })
            .sessions += 1;
        self.sessions.insert(session, seat);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::samples::admit;

    fn hinted(session: u64, room: u64, hint: u16) -> Admit {
        Admit {
            shard_hint: Some(ShardIndex(hint)),
            ..admit(session, room, 0)
        }
    }

    #[test]
    fn a_room_stays_together_and_rooms_spread() {
        let mut placement = Placement::new(2);
        let first = placement.assign(&admit(1, 100, 0)).unwrap();
        let second = placement.assign(&admit(2, 200, 0)).unwrap();
        assert_ne!(first, second, "an empty shard was free");
        for session in 3..50 {
            assert_eq!(placement.assign(&admit(session, 100, 2)), Some(first));
        }
        assert_eq!(
            placement.assign(&admit(50, 300, 0)),
            Some(second),
            "viewers count as soon as they are assigned"
        );
    }

    #[test]
    fn a_repeated_order_changes_nothing() {
        let mut placement = Placement::new(2);
        let first = placement.assign(&admit(1, 100, 2));
        assert_eq!(placement.assign(&admit(1, 100, 2)), first);
        assert_eq!(placement.sessions(), 1);
        placement.on_closed(SessionId(1));
        placement.on_closed(SessionId(1));
        assert_eq!(placement.sessions(), 0);
        assert_eq!(
            placement.sessions_by_shard(),
            BTreeMap::from([(0, 0), (1, 0)])
        );
    }

    #[test]
    fn a_refused_session_leaves_no_trace_and_a_refused_repetition_leaves_the_session() {
        let mut placement = Placement::new(1);
        placement.assign(&admit(1, 100, 2));
        placement.on_refused(SessionId(1));
        assert_eq!(
            (placement.sessions(), placement.of_room(RoomId(100))),
            (0, None)
        );
        placement.assign(&admit(2, 100, 2));
        placement.on_admitted(SessionId(2));
        placement.on_refused(SessionId(2));
        assert_eq!(placement.of_session(SessionId(2)), Some(ShardIndex(0)));
    }

    #[test]
    fn a_hint_is_taken_for_a_new_room_only() {
        let mut placement = Placement::new(3);
        assert_eq!(placement.assign(&hinted(1, 100, 2)), Some(ShardIndex(2)));
        assert_eq!(
            placement.assign(&hinted(2, 100, 0)),
            Some(ShardIndex(2)),
            "a session on another shard than its room could not be forwarded to"
        );
        assert_eq!(
            placement.assign(&hinted(3, 300, 9)),
            Some(ShardIndex(0)),
            "no such shard: the least loaded one"
        );
    }

    #[test]
    fn an_empty_room_may_move() {
        let mut placement = Placement::new(2);
        assert_eq!(placement.assign(&hinted(1, 100, 1)), Some(ShardIndex(1)));
        placement.on_closed(SessionId(1));
        assert_eq!(placement.of_room(RoomId(100)), None);
        assert_eq!(placement.assign(&hinted(2, 100, 0)), Some(ShardIndex(0)));
    }

    #[test]
    fn tracks_live_and_die_with_their_publisher() {
        let mut placement = Placement::new(1);
        placement.assign(&admit(1, 100, 0));
        placement.on_publish(TrackId(7), SessionId(1));
        placement.on_publish(TrackId(8), SessionId(1));
        assert_eq!(placement.of_track(TrackId(7)), Some(ShardIndex(0)));
        placement.on_unpublished(TrackId(7));
        assert_eq!(placement.of_track(TrackId(7)), None);
        placement.on_closed(SessionId(1));
        assert_eq!(placement.of_track(TrackId(8)), None);
    }

    #[test]
    fn a_census_removes_what_the_shard_forgot_but_not_who_is_just_coming() {
        let mut placement = Placement::new(1);
        for session in 1..=3 {
            placement.assign(&admit(session, 100, 0));
        }
        placement.on_admitted(SessionId(1));
        placement.on_admitted(SessionId(2));
        let held = HashSet::from([SessionId(1)]);
        placement.on_census(ShardIndex(0), &held, &[(TrackId(7), SessionId(1))]);
        assert_eq!(placement.of_session(SessionId(1)), Some(ShardIndex(0)));
        assert_eq!(
            placement.of_session(SessionId(2)),
            None,
            "its close event was lost"
        );
        assert_eq!(
            placement.of_session(SessionId(3)),
            Some(ShardIndex(0)),
            "not answered yet"
        );
        assert_eq!(placement.of_track(TrackId(7)), Some(ShardIndex(0)));
    }

    #[test]
    fn a_dead_shard_takes_its_sessions_along_and_gets_no_new_ones() {
        let mut placement = Placement::new(2);
        placement.assign(&hinted(1, 100, 0));
        placement.assign(&hinted(2, 200, 1));
        placement.on_dead(ShardIndex(0));
        assert_eq!(placement.of_session(SessionId(1)), None);
        assert_eq!(placement.assign(&hinted(3, 100, 0)), Some(ShardIndex(1)));
        placement.on_dead(ShardIndex(1));
        assert_eq!(placement.assign(&admit(4, 400, 0)), None);
        assert_eq!(placement.alive().count(), 0);
    }
}
