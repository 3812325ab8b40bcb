//! What becomes of the sessions of an earlier control plane: their tags tell who they are.

use std::collections::{BTreeMap, HashMap, HashSet};

use dataplane_api::Command;
use dataplane_api::command::Close;
use dataplane_api::ids::{SessionId, TrackId};
use dataplane_api::snapshot::{SessionPart, TrackPart};

use super::{Registry, Rooms};
use crate::rooms::room::{Adopted, Input, Room};
use crate::rooms::tag::{SessionTag, TrackTag};

impl Registry {
    /// Takes in every session that no room knows. One that this process made or took over, and has forgotten
    /// since, is closed: its `Close` was lost with the link, or is still on its way. `closed` are those
    /// whose end was heard since the data plane was asked. A session whose tag, or a track's, this build
    /// cannot read is left alone, and ends when its client does.
    pub(super) fn adopt(
        &self,
        rooms: &mut Rooms,
        sessions: &BTreeMap<SessionId, SessionPart>,
        tracks: &[TrackPart],
        closed: &HashSet<SessionId>,
    ) {
        let mut of_session: HashMap<SessionId, Vec<&TrackPart>> = HashMap::new();
        for track in tracks {
            of_session.entry(track.session).or_default().push(track);
        }
        let (mut adopted, mut unreadable) = (0_usize, 0_usize);
        // In the order of their ids, so that the newer publisher of a stream comes last.
        for (&session, part) in sessions {
            if rooms.of_session.contains_key(&session) || closed.contains(&session) {
                continue;
            }
            if self.0.ids.own(session) {
                self.0.node.tell(Command::Close(Close { session }));
                continue;
            }
            let tracks = of_session.remove(&session).unwrap_or_default();
            if self.adopt_one(rooms, part, &tracks).is_some() {
                adopted += 1;
            } else {
                unreadable += 1;
            }
        }
        if adopted > 0 {
            tracing::info!(
                sessions = adopted,
                rooms = rooms.by_name.len(),
                "took over from an earlier control plane"
            );
        }
        if unreadable > 0 {
            tracing::warn!(
                sessions = unreadable,
                "sessions with tags that this version cannot read are left to themselves"
            );
        }
    }

    fn adopt_one(
        &self,
        rooms: &mut Rooms,
        part: &SessionPart,
        tracks: &[&TrackPart],
    ) -> Option<()> {
        let tag = SessionTag::decode(&part.tag)?;
        let (name, formats, tracks_planned) = (tag.room.clone(), tag.formats(), tag.tracks);
        let connection = tag.connection(part)?;
        // All or none: with a part of them its publisher would count as one that never got its answer.
        let tracks: Vec<_> = tracks
            .iter()
            .map(|&track| TrackTag::track(track.clone()))
            .collect::<Option<_>>()?;
        let limits = self.0.limits;
        rooms
            .by_name
            .entry(name.clone())
            .or_insert_with(|| Room::new(part.room, limits));
        self.0.ids.take_over(part.session);
        rooms.of_session.insert(part.session, name.clone());
        let ids: Vec<TrackId> = tracks.iter().map(|track| track.track).collect();
        rooms
            .of_track
            .extend(ids.into_iter().map(|track| (track, name.clone())));
        let adopted = Adopted {
            connection,
            tracks,
            tracks_planned,
            formats,
        };
        self.apply(rooms, &name, Input::Adopt(adopted));
        Some(())
    }
}
