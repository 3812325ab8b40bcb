//! Who wishes keyframes, and when publishers are asked for them.
//!
//! A viewer wishes one by PLI or FIR (RFC 4585 section 6.3.1, RFC 5104 section 4.3.1), a slot by waiting for a switch
//! point, the node for what a publisher or a viewer lost for good. All wishes for a layer are one, and how often they
//! are passed on is limited there and once more for the publisher (see `publish/keyframe`).

use codecs::rtcp::pli_fir::write_pli;
use codecs::rtcp::sr_rr::write_rr;

use crate::feedback::seal_compound;
use crate::forward::Slot;
use crate::session::Session;
use crate::shard::Shard;
use crate::table::Key;
use crate::time::Micros;

impl Shard {
    /// A viewer says that it needs a keyframe on one of its slots.
    pub(crate) fn on_keyframe_wish(&mut self, now: Micros, key: Key, ssrc: u32) {
        let Some(session) = self.sessions.get_mut(key) else {
            return;
        };
        let Some(position) = session.slot_by_ssrc(ssrc) else {
            return;
        };
        let Some(slot) = session.slots.get_mut(position) else {
            return;
        };
        if slot.source().is_none() {
            return;
        }
        if slot.hears_wish(now) {
            self.wish_keyframe(now, key, position);
            return;
        }
        self.counters.keyframe_wishes_ignored += 1;
        let due_at = slot.wish_due_at();
        if session
            .wish_at
            .is_none_or(|at| due_at.is_some_and(|due| due < at))
        {
            session.wish_at = due_at;
            self.reschedule(now, key);
        }
    }

    /// Hears the wishes of a viewer that came too soon after others, where no keyframe was forwarded since.
    pub(crate) fn hear_deferred_wishes(&mut self, now: Micros, key: Key) {
        let Some(session) = self.sessions.get_mut(key) else {
            return;
        };
        if session.wish_at.is_none_or(|at| now < at) {
            return;
        }
        for position in 0..session.slots.len() {
            let slot = self
                .sessions
                .get_mut(key)
                .and_then(|session| session.slots.get_mut(position));
            if slot.is_some_and(|slot| slot.take_deferred_wish(now)) {
                self.wish_keyframe(now, key, position);
            }
        }
        if let Some(session) = self.sessions.get_mut(key) {
            session.wish_at = session.slots.iter().filter_map(Slot::wish_due_at).min();
        }
    }

    /// What is shown on a slot needs a keyframe.
    pub(crate) fn wish_keyframe(&mut self, now: Micros, key: Key, position: usize) {
        let slot = self
            .sessions
            .get(key)
            .and_then(|session| session.slots.get(position));
        let Some((Some(track_key), shown)) = slot.map(|slot| (slot.source(), slot.layer())) else {
            return;
        };
        let Some(track) = self.tracks.get_mut(track_key) else {
            return;
        };
        // A slot whose layer stopped goes on with the best one.
        let layer = shown
            .filter(|&layer| track.is_heard(now, layer))
            .unwrap_or_else(|| track.best_layer(now));
        // A slot that waits for a layer begins with any keyframe of it; one that shows it has missed what came.
        let from = if shown == Some(layer) {
            track.next_seq(layer)
        } else {
            0
        };
        track.want_keyframe(layer, from);
        let publisher = track.session;
        self.request_keyframes(now, publisher);
    }

    /// A viewer just connected: every video track it watches is to send a keyframe.
    pub(crate) fn want_keyframes_of(&mut self, now: Micros, key: Key) {
        let Some(session) = self.sessions.get(key) else {
            return;
        };
        let sources: Vec<Key> = session.slots.iter().filter_map(Slot::source).collect();
        for track_key in sources {
            if let Some(track) = self.tracks.get_mut(track_key) {
                let layer = track.best_layer(now);
                track.want_keyframe(layer, 0);
                let publisher = track.session;
                self.request_keyframes(now, publisher);
            }
        }
    }

    /// Asks a publisher for the keyframes that are wished and within its budget, first for the layer that waits
    /// longest since it was asked: else tracks that always wish one leave nothing to those behind them.
    pub(crate) fn request_keyframes(&mut self, now: Micros, key: Key) {
        let Some(session) = self.sessions.get_mut(key) else {
            return;
        };
        let Some(path) = session.ice.selected() else {
            return;
        };
        let sender_ssrc = session.rtcp_ssrc;
        while session.keyframes.ready_at(now) <= now {
            let tracks = session.tracks.iter();
            let due = tracks
                .filter_map(|&key| Some((key, self.tracks.get(key)?)))
                .flat_map(|(key, track)| {
                    let requests = track.keyframe_requests(now);
                    let due = requests.filter(|&(_, at, _)| at <= now);
                    due.map(move |(layer, _, asked_at)| (asked_at, key, layer))
                })
                .min_by_key(|&(asked_at, _, _)| asked_at);
            let Some((_, track_key, layer)) = due else {
                break;
            };
            let Session { receiver, srtp, .. } = session;
            let Some(srtp) = srtp.as_mut() else {
                return;
            };
            if let Some(track) = self.tracks.get_mut(track_key) {
                track.on_keyframe_asked(now, layer);
            }
            let Some(stream) = receiver.layer(track_key, layer) else {
                continue;
            };
            session.keyframes.on_asked(now);
            self.counters.keyframe_requests += 1;
            let media_ssrc = stream.ssrc;
            seal_compound(&mut self.control, path, srtp, |out| {
                let mut at = write_rr(out, sender_ssrc, &[]).ok()?;
                at += write_pli(out.get_mut(at..)?, sender_ssrc, media_ssrc).ok()?;
                Some(at)
            });
        }
        self.reschedule(now, key);
    }
}
