//! Connectivity checks: the only thing that is parsed from a path nobody knows yet, and the only thing
//! that makes a path known (security.md, rule 1).

use turn::stun::{
    BINDING_SUCCESS_LEN_MAX, Class, Message, Method, write_binding_success, write_role_conflict,
};

use crate::packet::{Datagram, Path};
use crate::reason::DropReason;
use crate::shard::{Handover, Shard};
use crate::table::Key;
use crate::time::Micros;
use crate::transport::handshake::HandshakeInput;
use crate::transport::ice::{Check, PathChange};
use crate::transport::ufrag::read_ufrag;

impl Shard {
    /// Answers a check whose MESSAGE-INTEGRITY is right; is silent to everything else, so that nobody can
    /// be made to receive our answers to somebody else's packets (security.md T10).
    pub(crate) fn on_stun(
        &mut self,
        now: Micros,
        datagram: &Datagram<'_>,
    ) -> Result<(), DropReason> {
        let message = Message::parse(datagram.bytes).map_err(|_| DropReason::StunMalformed)?;
        // Debian's GStreamer keeps its path alive with indications alone; they carry no integrity, so they
        // are no sign of life either (contracts.md 6).
        if message.class() != Class::Request || message.method() != Method::BINDING {
            return Err(DropReason::StunUnexpected);
        }
        let username = message.username().ok_or(DropReason::StunUnknownUser)?;
        let (local, _) = message
            .username_fragments()
            .ok_or(DropReason::StunUnknownUser)?;
        let (shard, id) = read_ufrag(local.as_bytes()).ok_or(DropReason::StunUnknownUser)?;
        if shard != self.config.index {
            return self.hand_over(Handover {
                shard,
                path: datagram.path,
                bytes: (&*datagram.bytes).into(),
                arrival: datagram.arrival,
            });
        }
        let key = *self
            .session_keys
            .get(&id)
            .ok_or(DropReason::StunUnknownUser)?;
        let session = self
            .sessions
            .get_mut(key)
            .ok_or(DropReason::StunUnknownUser)?;
        let (generation, integrity) = session
            .ice
            .key_of(username.as_bytes())
            .ok_or(DropReason::StunUnknownUser)?;
        if !message.verify_integrity(integrity) {
            return Err(DropReason::StunIntegrity);
        }

        // MESSAGE-INTEGRITY is all a check needs here: PRIORITY would rate a candidate we never check, the role is
        // known, FINGERPRINT tells STUN from media where the first byte does not (contracts.md 6).
        let path = datagram.path;
        let id = message.transaction_id();
        if message.ice_controlled().is_some() {
            // A lite agent never controls (RFC 8445 section 6.1.1), whatever the tie-breakers say.
            self.control
                .push_with(path, BINDING_SUCCESS_LEN_MAX, |out| {
                    write_role_conflict(out, id, integrity).ok()
                });
            return Ok(());
        }
        let check = Check {
            path,
            id,
            nominated: message.use_candidate(),
            generation,
        };
        // A check that changes nothing must not take the path from its owner either.
        session.ice.admits(now, &check)?;
        self.take_over(now, path, key)?;
        let session = self
            .sessions
            .get_mut(key)
            .ok_or(DropReason::StunUnknownUser)?;
        match session.ice.on_valid_check(now, check) {
            PathChange::None => {}
            PathChange::Added { evicted } => {
                if let Some(evicted) = evicted {
                    self.paths.remove(&evicted);
                }
                self.paths.insert(path, key);
            }
            PathChange::Refused => return Err(DropReason::PathLimit),
        }
        session.on_heard();
        let (_, integrity) = session
            .ice
            .key_of(username.as_bytes())
            .ok_or(DropReason::StunUnknownUser)?;
        self.control
            .push_with(path, BINDING_SUCCESS_LEN_MAX, |out| {
                write_binding_success(out, id, path.remote, integrity).ok()
            });
        // Whoever has shown to be the peer of this session has said its SDP.
        if let Some((role, fingerprint)) = session.handshake()
            && session.gate.start(now)
        {
            let session = session.id;
            self.handshakes.push_back(HandshakeInput::Start {
                session,
                role,
                fingerprint,
            });
        }
        self.reschedule(now, key);
        Ok(())
    }

    /// A path is one session's. Another may take it only when it fell silent: a peer that came back with the
    /// port of its former self, not one that forges a neighbour's source address.
    fn take_over(&mut self, now: Micros, path: Path, key: Key) -> Result<(), DropReason> {
        let Some(&owner) = self.paths.get(&path) else {
            return Ok(());
        };
        if owner == key {
            return Ok(());
        }
        if let Some(other) = self.sessions.get_mut(owner) {
            if other.ice.keeps(now, path) {
                return Err(DropReason::PathLimit);
            }
            other.ice.forget(path);
        }
        self.paths.remove(&path);
        Ok(())
    }
}
