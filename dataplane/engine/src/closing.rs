//! The end of sessions and tracks: nothing of them stays behind.

use dataplane_api::event::{CloseReason, Event, SessionClosed};
use dataplane_api::ids::SessionId;

use crate::forward::Slot;
use crate::reason::DropReason;
use crate::shard::Shard;
use crate::table::Key;
use crate::transport::handshake::HandshakeInput;

impl Shard {
    /// Ends a session with everything it publishes and watches.
    pub(crate) fn close_session(&mut self, id: SessionId, reason: CloseReason) {
        let Some(key) = self.session_keys.remove(&id) else {
            return;
        };
        let Some(mut session) = self.sessions.remove(key) else {
            return;
        };
        self.timers.set(key, &mut session.deadline, None);
        if session.srtp.is_none() {
            self.half_open -= 1;
        }
        for path in session.ice.paths() {
            if self.paths.get(&path) == Some(&key) {
                self.paths.remove(&path);
            }
        }
        for track in std::mem::take(&mut session.tracks) {
            self.end_track(track);
        }
        for track in session.slots.iter().filter_map(Slot::source) {
            if let Some(track) = self.tracks.get_mut(track) {
                track
                    .subscribers
                    .retain(|subscriber| subscriber.session != key);
            }
        }
        let queued = session.lanes.len();
        self.counters
            .dropped_out
            .add(DropReason::Send, queued as u64);
        // Every session may close in one turn, and each that has its keys says goodbye; one whose association the
        // peer ended has nothing to say.
        if let Some(path) = session.ice.selected()
            && session.srtp.is_some()
            && reason != CloseReason::PeerClosed
        {
            if self.farewells.len() >= self.config.limits.sessions_max {
                self.farewells.pop_front();
            }
            self.farewells.push_back((id, path));
        }
        if session.ice.is_validated() {
            self.handshakes
                .push_back(HandshakeInput::Close { session: id });
        }
        match reason {
            CloseReason::IceTimeout => self.counters.ice_timeouts += 1,
            CloseReason::ConsentExpired => self.counters.consent_expired += 1,
            CloseReason::HandshakeFailed => self.counters.handshakes_failed += 1,
            CloseReason::FingerprintMismatch => self.counters.fingerprint_mismatches += 1,
            CloseReason::Ordered
            | CloseReason::PeerClosed
            | CloseReason::KeyExhausted
            | CloseReason::Other => {}
        }
        self.events.push_back(Event::SessionClosed(SessionClosed {
            session: id,
            reason,
        }));
    }

    /// Ends a track: the slots it filled are empty. Its publisher's session, if it goes on, has to forget its
    /// streams.
    pub(crate) fn end_track(&mut self, key: Key) {
        let Some(track) = self.tracks.remove(key) else {
            return;
        };
        self.track_keys.remove(&track.id());
        for subscriber in &track.subscribers {
            if let Some(session) = self.sessions.get_mut(subscriber.session)
                && let Some(slot) = session.slots.get_mut(usize::from(subscriber.slot))
            {
                slot.empty();
            }
        }
        if let Some(session) = self.sessions.get_mut(track.session) {
            session.tracks.retain(|&other| other != key);
        }
    }
}
