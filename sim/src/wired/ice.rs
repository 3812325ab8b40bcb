//! Connectivity checks of a light peer: a controlling agent with one pair (RFC 8445).

use std::collections::VecDeque;

use dataplane_engine::time::Micros;
use turn::stun::{
    BindingRequest, Class, IntegrityKey, Message, Role, TransactionId, write_binding_request,
};

/// Until the first answer (RFC 8445 section 14: at least every 50 ms for one pair).
const SETUP_INTERVAL_US: u64 = 100_000;
/// Afterwards. RFC 7675 section 5.1 allows 5 s; a client that wants to come back from a NAT's whim within a
/// second and a half has to ask more often.
const CONSENT_INTERVAL_US: u64 = 1_000_000;
/// Checks whose answer is still welcome.
const OUTSTANDING_MAX: usize = 64;
const CHECK_BYTES_MAX: usize = 256;

/// One agent.
#[derive(Debug)]
pub(super) struct Checks {
    username: String,
    key: IntegrityKey,
    tie_breaker: u64,
    next_id: u64,
    outstanding: VecDeque<(TransactionId, Micros)>,
    next_at: Micros,
    answered_at: Option<Micros>,
    rtt_us: Option<u64>,
}

impl Checks {
    /// Checks toward the agent with `remote_ufrag` and `remote_pwd`, beginning now.
    pub(super) fn new(
        now: Micros,
        local_ufrag: &str,
        remote_ufrag: &str,
        remote_pwd: &str,
        tie_breaker: u64,
    ) -> Checks {
        Checks {
            username: format!("{remote_ufrag}:{local_ufrag}"),
            key: IntegrityKey::new(remote_pwd.as_bytes()),
            tie_breaker,
            next_id: 0,
            outstanding: VecDeque::new(),
            next_at: now,
            answered_at: None,
            rtt_us: None,
        }
    }

    /// New credentials: from now on the checks carry them.
    pub(super) fn restart(
        &mut self,
        now: Micros,
        local_ufrag: &str,
        remote_ufrag: &str,
        remote_pwd: &str,
    ) {
        self.username = format!("{remote_ufrag}:{local_ufrag}");
        self.key = IntegrityKey::new(remote_pwd.as_bytes());
        self.outstanding.clear();
        self.answered_at = None;
        self.next_at = now;
    }

    pub(super) fn next_deadline(&self) -> Micros {
        self.next_at
    }

    /// How many checks were sent, with whatever credentials.
    pub(super) fn checks_sent(&self) -> u64 {
        self.next_id
    }

    pub(super) fn rtt_us(&self) -> Option<u64> {
        self.rtt_us
    }

    /// The next check, when it is due.
    pub(super) fn poll(&mut self, now: Micros) -> Option<Vec<u8>> {
        if self.next_at > now {
            return None;
        }
        let interval_us = match self.answered_at {
            None => SETUP_INTERVAL_US,
            Some(_) => CONSENT_INTERVAL_US,
        };
        self.next_at = now.plus_us(interval_us);
        let mut id = [0; 12];
        id[..8].copy_from_slice(&self.tie_breaker.to_be_bytes());
        let [.., a, b, c, d] = self.next_id.to_be_bytes();
        id[8..].copy_from_slice(&[a, b, c, d]);
        self.next_id += 1;
        let transaction_id = TransactionId(id);
        self.outstanding.push_back((transaction_id, now));
        if self.outstanding.len() > OUTSTANDING_MAX {
            self.outstanding.pop_front();
        }
        let request = BindingRequest {
            transaction_id,
            username: &self.username,
            priority: 0x6e00_1eff,
            role: Role::Controlling(self.tie_breaker),
            use_candidate: true,
        };
        let mut bytes = vec![0; CHECK_BYTES_MAX];
        let len = write_binding_request(&mut bytes, &request, &self.key)
            .expect("invariant: a check fits its buffer");
        bytes.truncate(len);
        Some(bytes)
    }

    /// A STUN message from the node. True when it is the first answer to these credentials.
    pub(super) fn on_message(&mut self, now: Micros, bytes: &[u8]) -> bool {
        let Ok(message) = Message::parse(bytes) else {
            return false;
        };
        if message.class() != Class::Success || !message.verify_integrity(&self.key) {
            return false;
        }
        let id = message.transaction_id();
        let Some(place) = self.outstanding.iter().position(|(sent, _)| *sent == id) else {
            return false;
        };
        if let Some((_, sent_at)) = self.outstanding.remove(place) {
            self.rtt_us = Some(now.since(sent_at));
        }
        self.answered_at.replace(now).is_none()
    }
}
