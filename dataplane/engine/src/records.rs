//! DTLS at the shard: records go to the handshake worker, keys and flights come back.

use dataplane_api::event::{CloseReason, Event, SessionConnected};
use dataplane_api::ids::SessionId;

use crate::reason::DropReason;
use crate::session::Srtp;
use crate::shard::Shard;
use crate::table::Key;
use crate::time::Micros;
use crate::transport::handshake::{HandshakeInput, HandshakeOutput};

impl Shard {
    /// One DTLS datagram of a validated path.
    pub(crate) fn on_dtls(
        &mut self,
        now: Micros,
        key: Key,
        bytes: &[u8],
    ) -> Result<(), DropReason> {
        let session = self.sessions.get_mut(key).ok_or(DropReason::UnknownPath)?;
        if !session.gate.admits(now, bytes) {
            return Err(DropReason::Dtls);
        }
        self.handshakes.push_back(HandshakeInput::Record {
            session: session.id,
            bytes: bytes.into(),
        });
        Ok(())
    }

    /// What the handshake worker says.
    pub fn on_handshake(&mut self, now: Micros, output: HandshakeOutput) {
        match output {
            HandshakeOutput::Flight { session, datagrams } => self.send_flight(session, &datagrams),
            HandshakeOutput::Keyed {
                session,
                keys,
                flight,
            } => {
                let Some(&key) = self.session_keys.get(&session) else {
                    return;
                };
                let Some(entry) = self.sessions.get_mut(key) else {
                    return;
                };
                if entry.srtp.is_none() {
                    self.half_open -= 1;
                }
                // Install, then send: the peer may answer the flight at once.
                entry.srtp = Some(Srtp::new(&keys));
                entry.gate.on_keyed();
                self.counters.connected += 1;
                let join_ms = now.since(entry.admitted_at) / 1_000;
                self.events
                    .push_back(Event::SessionConnected(SessionConnected {
                        session,
                        join_ms,
                    }));
                self.send_flight(session, &flight);
                self.want_keyframes_of(now, key);
                self.reschedule(now, key);
            }
            HandshakeOutput::Failed { session, reason } => self.close_session(session, reason),
            HandshakeOutput::PeerClosed { session } => {
                self.close_session(session, CloseReason::PeerClosed);
            }
        }
    }

    fn send_flight(&mut self, session: SessionId, datagrams: &[Box<[u8]>]) {
        let path = match self.session_keys.get(&session) {
            Some(&key) => self
                .sessions
                .get(key)
                .and_then(|entry| entry.ice.selected()),
            // Sessions that close at once say goodbye in the order they closed, so it stands near the front.
            None => self
                .farewells
                .iter()
                .position(|(id, _)| *id == session)
                .and_then(|index| self.farewells.remove(index))
                .map(|(_, path)| path),
        };
        let Some(path) = path else { return };
        for datagram in datagrams {
            self.control.push(path, datagram);
        }
    }
}
