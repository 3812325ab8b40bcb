//! What becomes of events that were lost: the rooms are compared with a snapshot of the data plane.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::Arc;
use std::time::Duration;

use dataplane_api::ids::{SessionId, TrackId};
use dataplane_api::snapshot::Part;
use tokio::time::sleep;

use super::{Registry, Rooms};
use crate::rooms::room::{Input, Resync, Room};

/// How soon a snapshot that was refused or not answered is asked for again.
const SNAPSHOT_PAUSE: Duration = Duration::from_millis(200);

/// A snapshot is on its way: what it can speak of.
#[derive(Debug)]
pub(super) struct Asked {
    /// The sessions that the data plane had admitted when it was asked.
    admitted: HashSet<SessionId>,
    /// Tracks of which newer news came meanwhile.
    pub(super) touched: HashSet<TrackId>,
    /// Sessions that ended meanwhile: a part of the answer may still have them.
    pub(super) closed: HashSet<SessionId>,
    /// Something was lost meanwhile.
    again: bool,
}

impl Registry {
    /// Compares with what the data plane holds, in the background: events go on meanwhile. One question
    /// at a time, because an answer is compared with what was known when *it* was asked for; whatever is
    /// lost before the answer is made up for by another question.
    pub(super) fn resync(&self) {
        let mut rooms = self.rooms();
        if let Some(asked) = &mut rooms.asked {
            asked.again = true;
            return;
        }
        rooms.asked = Some(rooms.question());
        drop(rooms);
        tokio::spawn(self.clone().compare());
    }

    async fn compare(self) {
        loop {
            self.0.metrics.resynced();
            let answer = self.0.node.snapshot().await;
            if let Err(error) = &answer {
                tracing::warn!(%error, "no snapshot of the data plane");
                if self.0.node.is_up() {
                    sleep(SNAPSHOT_PAUSE).await;
                }
            }
            // In one piece: a question that is asked between would be taken for this one.
            let mut rooms = self.rooms();
            let Some(asked) = rooms.asked.take() else {
                return;
            };
            let complete = answer.is_ok();
            // While the link is down nothing can be asked: its return asks again, or has done so.
            let again = asked.again || !complete && self.0.node.is_up();
            if let Ok(parts) = answer {
                self.reconcile(&mut rooms, asked, parts);
            }
            rooms.asked = again.then(|| rooms.question());
            if !again {
                if complete {
                    self.0.settled.send_replace(true);
                    self.0.health.set_link_up(self.0.node.is_up());
                }
                return;
            }
        }
    }

    /// Makes the rooms what the answer says, as far as it can speak of them.
    fn reconcile(&self, rooms: &mut Rooms, asked: Asked, parts: Vec<Part>) {
        let mut held = Resync {
            sessions: HashMap::new(),
            tracks: HashMap::new(),
            admitted: asked.admitted,
        };
        let (mut sessions, mut tracks) = (BTreeMap::new(), Vec::new());
        for part in parts {
            match part {
                Part::Session(session) => drop(sessions.insert(session.session, session)),
                Part::Track(track) => tracks.push(track),
                Part::ShardEnd(_) | Part::End(_) => {}
            }
        }
        self.adopt(rooms, &sessions, &tracks, &asked.closed);
        // What is in the answer lives, also when it was not known when it was asked for.
        held.admitted.extend(sessions.keys());
        for (session, part) in sessions {
            held.sessions
                .insert(session, (part.connected, part.subscriptions));
        }
        for track in tracks {
            if !asked.touched.contains(&track.track) {
                held.tracks.insert(track.track, (track.live, track.layers));
            }
        }
        // Shared: a copy for each room would cost the square of a full node.
        let held = Arc::new(held);
        let names: Vec<String> = rooms.by_name.keys().cloned().collect();
        for name in names {
            self.apply(rooms, &name, Input::Resync(Arc::clone(&held)));
        }
    }
}

impl Rooms {
    /// What a snapshot that is asked for now can speak of.
    fn question(&self) -> Asked {
        let connections = self.by_name.values().flat_map(Room::connections);
        Asked {
            admitted: connections
                .filter(|connection| connection.admitted)
                .map(|connection| connection.session)
                .collect(),
            touched: HashSet::new(),
            closed: HashSet::new(),
            again: false,
        }
    }
}
