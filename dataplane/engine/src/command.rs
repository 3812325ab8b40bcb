//! Orders of the control plane. Each is idempotent: what already is so is answered as the first time.

mod refusal;

use dataplane_api::Command;
use dataplane_api::Reply;
use dataplane_api::command::{
    Accept, Admit, Publish, RestartIce, SetPolicy, Setup, Slot as SlotSpec, Source, Subscribe,
    Unsubscribe,
};
use dataplane_api::event::CloseReason;
use dataplane_api::ids::{SessionId, SlotId};
use dataplane_api::media::PayloadType;
use dataplane_api::reply::{Admitted, Done, Inspected, Pong, Refusal, Refused};
use rand::RngExt;

use refusal::{
    check_admit, check_credentials, check_extensions, check_publish, check_tag, invalid, unknown,
};

use crate::forward::Slot;
use crate::limits::{HALF_OPEN_PER_SHARD_MAX, TRACKS_PER_SESSION_MAX};
use crate::publish::{Subscriber, Track};
use crate::session::Session;
use crate::shard::Shard;
use crate::table::Key;
use crate::time::Micros;
use crate::transport::ice::{IceAgent, RemoteCredentials};
use crate::transport::ufrag::{make_password, make_ufrag};

type Answer = Result<Reply, Refused>;

impl Shard {
    /// Carries out one order. `Snapshot` and `Drain` concern the whole node and are answered by the link.
    pub fn on_command(&mut self, now: Micros, command: Command) -> Reply {
        let answer = match command {
            Command::Admit(admit) => self.admit(now, admit),
            Command::Close(close) => {
                self.close_session(close.session, CloseReason::Ordered);
                Ok(done())
            }
            Command::Publish(publish) => self.publish(publish),
            Command::Unpublish(unpublish) => {
                if let Some(&key) = self.track_keys.get(&unpublish.track) {
                    self.unpublish(now, key);
                }
                Ok(done())
            }
            Command::Subscribe(subscribe) => self.subscribe(now, &subscribe),
            Command::Unsubscribe(unsubscribe) => self.unsubscribe(&unsubscribe),
            Command::SetPolicy(order) => self.set_policy(order),
            Command::RestartIce(order) => self.restart_ice(now, order),
            Command::Inspect(what) => match self.inspect(what) {
                Some(json) => Ok(Reply::Inspected(Inspected { json })),
                None => Err(unknown("nothing of that name on this shard")),
            },
            Command::Accept(order) => self.accept(now, order),
            Command::Ping(_) => Ok(Reply::Pong(Pong {})),
            Command::Snapshot(_) | Command::Drain(_) => {
                Err(invalid("this order is for the node, not for a shard"))
            }
        };
        answer.unwrap_or_else(Reply::Refused)
    }

    fn admit(&mut self, now: Micros, admit: Admit) -> Answer {
        if let Some(&key) = self.session_keys.get(&admit.session) {
            return self.admitted(key);
        }
        if self.sessions.len() >= self.config.limits.sessions_max {
            return Err(Refused {
                reason: Refusal::Overloaded,
                detail: format!(
                    "shard {} has its {} sessions",
                    self.config.index,
                    self.sessions.len()
                ),
            });
        }
        if self.half_open >= HALF_OPEN_PER_SHARD_MAX {
            return Err(Refused {
                reason: Refusal::Overloaded,
                detail: format!(
                    "shard {} has {} sessions that are not connected yet",
                    self.config.index, self.half_open
                ),
            });
        }
        check_admit(&admit)?;
        let remote = admit.remote.as_ref().map(|remote| RemoteCredentials {
            ufrag: remote.ufrag.clone(),
            pwd: remote.pwd.clone(),
        });
        let ice = IceAgent::new(
            now,
            make_ufrag(self.config.index, admit.session, &mut self.rng),
            make_password(&mut self.rng),
            remote,
        );
        let slots = admit
            .slots
            .iter()
            .map(|spec| self.make_slot(spec.clone()))
            .collect();
        let id = admit.session;
        let rtcp_ssrc = self.rng.random_range(1..=u32::MAX);
        let session = Session::new(now, admit, ice, slots, rtcp_ssrc);
        let key = self.sessions.insert(session);
        self.session_keys.insert(id, key);
        self.half_open += 1;
        self.reschedule(now, key);
        self.admitted(key)
    }

    fn make_slot(&mut self, spec: SlotSpec) -> Slot {
        let first_index = [(); 2].map(|()| self.rng.random_range(1..0x8000));
        let first_timestamp = self.rng.random();
        Slot::new(spec, first_index, first_timestamp)
    }

    fn admitted(&self, key: Key) -> Answer {
        let session = self
            .sessions
            .get(key)
            .ok_or_else(|| unknown("the session is gone"))?;
        Ok(Reply::Admitted(Admitted {
            session: session.id,
            shard: self.config.index,
            ufrag: session.ice.local_ufrag().to_owned(),
            pwd: session.ice.local_pwd().to_owned(),
            candidates: self.config.candidates.clone(),
        }))
    }

    fn publish(&mut self, publish: Publish) -> Answer {
        if self.track_keys.contains_key(&publish.track) {
            return Ok(done());
        }
        let key = self.session_key(publish.session)?;
        let session = self
            .sessions
            .get_mut(key)
            .ok_or_else(|| unknown("the session is gone"))?;
        if session.tracks.len() >= TRACKS_PER_SESSION_MAX {
            return Err(invalid(format!(
                "a session publishes at most {TRACKS_PER_SESSION_MAX} tracks"
            )));
        }
        check_publish(&publish)?;
        let id = publish.track;
        let track = self.tracks.insert(Track::new(publish, key));
        session.tracks.push(track);
        self.track_keys.insert(id, track);
        Ok(done())
    }

    fn unpublish(&mut self, now: Micros, key: Key) {
        let session = self.tracks.get(key).map(|track| track.session);
        self.end_track(key);
        if let Some(session) = session.and_then(|session| self.sessions.get_mut(session)) {
            session.receiver.forget(now, key);
        }
    }

    fn subscribe(&mut self, now: Micros, order: &Subscribe) -> Answer {
        let Source::Track(track_id) = order.source;
        let key = self.session_key(order.session)?;
        let track_key = *self
            .track_keys
            .get(&track_id)
            .ok_or_else(|| unknown(format!("no track {track_id} on this shard")))?;
        let session = self
            .sessions
            .get_mut(key)
            .ok_or_else(|| unknown("the session is gone"))?;
        let position = session
            .slots
            .iter()
            .position(|slot| slot.spec.slot == order.slot)
            .ok_or_else(|| {
                unknown(format!(
                    "no slot {} in session {}",
                    order.slot, order.session
                ))
            })?;
        let slot = session
            .slots
            .get_mut(position)
            .ok_or_else(|| unknown("no such slot"))?;
        let previous = slot.source();
        if previous == Some(track_key) {
            return Ok(done());
        }
        let track = self
            .tracks
            .get_mut(track_key)
            .ok_or_else(|| unknown("the track is gone"))?;
        if track.spec.kind != slot.spec.kind {
            return Err(invalid("a slot takes sources of its own kind"));
        }
        let subscriber = Subscriber {
            session: key,
            slot: u16::try_from(position).map_err(|_| invalid("slot position"))?,
        };
        let publisher = track.session;
        slot.fill(track_key, publisher);
        track.subscribers.push(subscriber);
        let connected = session.is_connected();
        if connected {
            let layer = track.best_layer(now);
            track.want_keyframe(layer, 0);
        }
        if let Some(previous) = previous.and_then(|previous| self.tracks.get_mut(previous)) {
            previous.subscribers.retain(|other| *other != subscriber);
        }
        if connected {
            self.request_keyframes(now, publisher);
        }
        Ok(done())
    }

    fn unsubscribe(&mut self, order: &Unsubscribe) -> Answer {
        let key = self.session_key(order.session)?;
        let session = self
            .sessions
            .get_mut(key)
            .ok_or_else(|| unknown("the session is gone"))?;
        let Some(slot) = session
            .slots
            .iter_mut()
            .find(|slot| slot.spec.slot == order.slot)
        else {
            return Err(unknown(format!(
                "no slot {} in session {}",
                order.slot, order.session
            )));
        };
        let source = slot.source();
        slot.empty();
        if let Some(track) = source.and_then(|track| self.tracks.get_mut(track)) {
            let position = session
                .slots
                .iter()
                .position(|slot| slot.spec.slot == order.slot);
            track.subscribers.retain(|subscriber| {
                subscriber.session != key || Some(usize::from(subscriber.slot)) != position
            });
        }
        Ok(done())
    }

    fn set_policy(&mut self, order: SetPolicy) -> Answer {
        let key = self.session_key(order.session)?;
        let session = self
            .sessions
            .get_mut(key)
            .ok_or_else(|| unknown("the session is gone"))?;
        session.pacer.set_ceiling(order.policy.egress_bps_max);
        session.policer.set_ceiling(order.policy.ingress_bps_max);
        session.policy = order.policy;
        Ok(done())
    }

    fn restart_ice(&mut self, now: Micros, order: RestartIce) -> Answer {
        let key = self.session_key(order.session)?;
        check_credentials(&order.ufrag, &order.pwd)?;
        check_tag(order.tag.as_deref().unwrap_or_default())?;
        let session = self
            .sessions
            .get_mut(key)
            .ok_or_else(|| unknown("the session is gone"))?;
        if session.remote.is_none() {
            return Err(invalid("the peer has not answered our offer yet"));
        }
        let remote = RemoteCredentials {
            ufrag: order.ufrag,
            pwd: order.pwd,
        };
        if !session.ice.remote_is(&remote) {
            let ufrag = make_ufrag(self.config.index, order.session, &mut self.rng);
            let pwd = make_password(&mut self.rng);
            session.ice.restart(now, ufrag, pwd, remote);
        }
        if let Some(tag) = order.tag {
            session.tag = tag;
        }
        self.reschedule(now, key);
        self.admitted(key)
    }

    /// The peer's answer to our offer. A peer that has given one cannot give another: whoever wants new credentials
    /// restarts ICE, and a certificate is for life.
    fn accept(&mut self, now: Micros, order: Accept) -> Answer {
        let key = self.session_key(order.session)?;
        let Accept {
            session: _,
            remote,
            tag,
            codecs,
            extensions,
        } = order;
        check_credentials(&remote.ufrag, &remote.pwd)?;
        check_tag(tag.as_deref().unwrap_or_default())?;
        check_extensions(&extensions.unwrap_or_default())?;
        let session = self
            .sessions
            .get_mut(key)
            .ok_or_else(|| unknown("the session is gone"))?;
        match &session.remote {
            Some(known) if *known == remote => {}
            Some(_) => return Err(invalid("the peer has answered otherwise before")),
            None if remote.setup == Setup::ActPass => {
                return Err(invalid(
                    "an answer is active or passive (RFC 5763 section 5)",
                ));
            }
            None => {
                let credentials = RemoteCredentials {
                    ufrag: remote.ufrag.clone(),
                    pwd: remote.pwd.clone(),
                };
                let fits = |(id, left): &(SlotId, Vec<PayloadType>)| {
                    let slot = session.slots.iter().find(|slot| slot.spec.slot == *id);
                    slot.is_some_and(|slot| slot.was_offered(left))
                };
                if !codecs.iter().all(fits) {
                    return Err(invalid("the answer takes what was not offered"));
                }
                for (id, left) in codecs {
                    let slot = session.slots.iter_mut().find(|slot| slot.spec.slot == id);
                    if let Some(slot) = slot {
                        slot.spec.codecs = left;
                    }
                }
                if let Some(extensions) = extensions {
                    session.extensions = extensions;
                }
                session.ice.accept(now, credentials);
                session.remote = Some(remote);
            }
        }
        if let Some(tag) = tag {
            session.tag = tag;
        }
        self.reschedule(now, key);
        self.admitted(key)
    }

    fn session_key(&self, id: SessionId) -> Result<Key, Refused> {
        self.session_keys
            .get(&id)
            .copied()
            .ok_or_else(|| unknown(format!("no session {id} on this shard")))
    }
}

fn done() -> Reply {
    Reply::Done(Done {})
}

#[cfg(test)]
mod tests {
    use dataplane_api::command::{Fingerprint, FingerprintHash, RemoteTransport, SessionPolicy};
    use dataplane_api::ids::{RoomId, SlotId};
    use dataplane_api::media::MediaKind;

    use super::*;

    /// Slots with these SSRCs and retransmission SSRCs.
    fn admit(ssrcs: &[(u32, Option<u32>)]) -> Admit {
        let slots = (0..).zip(ssrcs).map(|(n, &(ssrc, rtx_ssrc))| SlotSpec {
            slot: SlotId(n),
            kind: MediaKind::Video,
            mid: "v".into(),
            ssrc,
            rtx_ssrc,
            codecs: Vec::new(),
        });
        Admit {
            session: SessionId(1),
            room: RoomId(1),
            tag: Vec::new(),
            shard_hint: None,
            remote: Some(RemoteTransport {
                ufrag: "peer".into(),
                pwd: "a password of two dozen".into(),
                fingerprint: Fingerprint {
                    hash: FingerprintHash::Sha256,
                    digest: vec![0; 32],
                },
                setup: Setup::Active,
            }),
            extensions: dataplane_api::media::Extensions::default(),
            slots: slots.collect(),
            policy: SessionPolicy::default(),
        }
    }

    /// Contracts.md 11: two streams of one SSRC would seal one index twice.
    #[test]
    fn no_ssrc_of_a_session_stands_for_two_streams() {
        let refused = |ssrcs: &[_]| check_admit(&admit(ssrcs)).is_err();
        assert!(!refused(&[(1, Some(2)), (3, Some(4)), (5, None)]));
        assert!(refused(&[(1, Some(1))]), "its own");
        assert!(refused(&[(3, None), (1, Some(3))]), "another's");
        assert!(refused(&[(1, Some(3)), (3, None)]), "another's, behind it");
        assert!(refused(&[(1, Some(2)), (5, None), (3, Some(2))]), "twice");
        assert!(refused(&[(1, None), (5, None), (1, None)]));
    }
}
