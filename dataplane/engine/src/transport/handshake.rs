//! DTLS 1.2 handshakes, sans-IO (contracts.md 8 and 9): many associations, driven by records and time,
//! ending in SRTP keys or a reason.
//!
//! The machine is `dimpl`; this file owns what it leaves open. It admits only bounded and well-formed
//! input before the handshake completes, checks the peer's certificate against the fingerprint its SDP
//! named before any key is released, and answers a client that repeats its last flight after that.
//!
//! A worker drives it from a thread, simulation drives it inline; neither shares it.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::fmt;
use std::time::{Duration, Instant};

use dataplane_api::command::Fingerprint;
use dataplane_api::event::CloseReason;
use dataplane_api::ids::SessionId;
use dimpl::Dtls;

use super::association::{Association, Outcome, is_of_last_client_flight};
use super::dtls::{ALERT, DATAGRAMS_MAX, Records};
pub use super::identity::{Identity, IdentityError};
pub use super::keys::Role;
use super::keys::SrtpKeys;
use super::nonce;
use crate::time::Micros;

/// An association that is not complete this long after its start has failed (security.md D5).
pub const HANDSHAKE_DEADLINE_US: u64 = 10_000_000;

/// Handshakes under way at once, of all shards. Each may remember 32 KiB of its peer (security.md D3), so this
/// bounds them to 128 MiB; the ones that a node completes meanwhile are 9,500 a second and core.
pub const HALF_OPEN_MAX: usize = 4_096;

/// Longest datagram of a flight: what every path carries (RFC 8831 section 5 assumes 1,200 as well).
const MTU_BYTES: usize = 1_200;

/// First repetition of an unanswered flight, doubling from there. RFC 6347 section 4.2.4.1 says 1 s; a
/// class does not wait that long for one lost datagram, and 200 ms is above the round trip of nearly all
/// peers. Browsers begin at 50 ms.
const FLIGHT_RTO: Duration = Duration::from_millis(200);

/// More repetitions of a flight than fit into the deadline, which is what ends a handshake:
/// 200 ms x (2^6 - 1) > 10 s.
const FLIGHT_RETRIES: usize = 8;

/// The peer's certificate is handed over whole, so the buffer holds the longest handshake message.
const POLL_BUFFER_BYTES: usize = 16 * 1_024;

/// What a shard asks of the handshake machine.
#[derive(Clone, Debug)]
pub enum HandshakeInput {
    /// ICE has validated a path of this session: expect (or send) a ClientHello. A second start of a
    /// session that is running changes nothing.
    Start {
        /// Whose association.
        session: SessionId,
        /// Our part.
        role: Role,
        /// What the peer's certificate must hash to.
        fingerprint: Fingerprint,
    },
    /// A datagram of DTLS records from the session's validated path.
    Record {
        /// Whose.
        session: SessionId,
        /// The datagram.
        bytes: Box<[u8]>,
    },
    /// The session is over: forget it. A completed association says `close_notify` first.
    Close {
        /// Whose.
        session: SessionId,
    },
}

impl HandshakeInput {
    /// Which session it is about.
    #[must_use]
    pub fn session(&self) -> SessionId {
        match *self {
            HandshakeInput::Start { session, .. }
            | HandshakeInput::Record { session, .. }
            | HandshakeInput::Close { session } => session,
        }
    }
}

/// What the handshake machine tells a shard.
#[derive(Debug)]
pub enum HandshakeOutput {
    /// Datagrams to send on the session's path, in order. For a session the shard has closed it is the
    /// `close_notify`, to be sent if the path is still at hand.
    Flight {
        /// Whose.
        session: SessionId,
        /// Each at most 1,200 bytes; not to be concatenated.
        datagrams: Vec<Box<[u8]>>,
    },
    /// The handshake completed with the right certificate: install the keys, then send the flight, so
    /// that the peer's first media finds keys.
    Keyed {
        /// Whose.
        session: SessionId,
        /// Both directions.
        keys: SrtpKeys,
        /// The last flight; empty when we are the client.
        flight: Vec<Box<[u8]>>,
    },
    /// No keys, and none to come: the association is forgotten.
    Failed {
        /// Whose.
        session: SessionId,
        /// [`CloseReason::HandshakeFailed`] or [`CloseReason::FingerprintMismatch`].
        reason: CloseReason,
    },
    /// The peer ended a completed association (`close_notify`, or a fatal alert, authenticated): it is
    /// forgotten.
    PeerClosed {
        /// Whose.
        session: SessionId,
    },
}

impl HandshakeOutput {
    /// Which session it is about.
    #[must_use]
    pub fn session(&self) -> SessionId {
        match *self {
            HandshakeOutput::Flight { session, .. }
            | HandshakeOutput::Keyed { session, .. }
            | HandshakeOutput::Failed { session, .. }
            | HandshakeOutput::PeerClosed { session } => session,
        }
    }
}

/// What was not worth an output.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct HandshakeCounters {
    /// Datagrams that reached no machine: malformed, beyond an association's caps, or of no association.
    pub refused: u64,
    /// Records of a completed association that it has no use for: application data (SCTP), plaintext
    /// alerts, renegotiation.
    pub ignored: u64,
    /// Last flights sent again because the client repeated its own.
    pub last_flights_repeated: u64,
    /// Starts that failed because [`HALF_OPEN_MAX`] handshakes were under way.
    pub starts_refused: u64,
    /// Times a server that had answered nobody yet began anew, rid of what lay in a ClientHello's way.
    pub started_over: u64,
}

/// Many associations, by session.
pub struct Handshakes {
    identity: Identity,
    #[expect(clippy::disallowed_types, reason = "the signature of Dtls::new_12")]
    config: std::sync::Arc<dimpl::Config>,
    base: Instant,
    associations: BTreeMap<SessionId, Association>,
    /// The next deadline of each association that has one.
    timers: BTreeSet<(Micros, SessionId)>,
    outputs: VecDeque<HandshakeOutput>,
    poll_buffer: Box<[u8]>,
    counters: HandshakeCounters,
}

impl Handshakes {
    /// No associations yet. `base` is the instant of [`Micros::ZERO`].
    #[must_use]
    #[expect(clippy::disallowed_types, reason = "the signature of Dtls::new_12")]
    pub fn new(identity: Identity, base: Instant) -> Handshakes {
        let config = dimpl::Config::builder()
            .mtu(MTU_BYTES)
            // A lite agent learns from a check that the sender has the password, not that it receives where it
            // says. A cookie would show that for another round trip of every join; instead the first flight is
            // repeated a dozen times at most until it is answered, which bounds what one ClientHello of a
            // participant can make us send to a stranger to a few KiB.
            .use_server_cookie(false)
            .require_client_certificate(true)
            .flight_start_rto(FLIGHT_RTO)
            .flight_retries(FLIGHT_RETRIES)
            .handshake_timeout(Duration::from_micros(HANDSHAKE_DEADLINE_US))
            .with_crypto_provider(nonce::provider())
            // A full queue is fatal, so the intake in front of it is what bounds it.
            .max_queue_rx(DATAGRAMS_MAX)
            .build()
            .expect("invariant: a constant configuration is valid");
        Handshakes {
            identity,
            config: std::sync::Arc::new(config),
            base,
            associations: BTreeMap::new(),
            timers: BTreeSet::new(),
            outputs: VecDeque::new(),
            poll_buffer: vec![0; POLL_BUFFER_BYTES].into_boxed_slice(),
            counters: HandshakeCounters::default(),
        }
    }

    /// Takes one input. Its outputs are ready when this returns.
    pub fn on_input(&mut self, now: Micros, input: HandshakeInput) {
        match input {
            HandshakeInput::Start {
                session,
                role,
                fingerprint,
            } => self.start(now, session, role, fingerprint),
            HandshakeInput::Record { session, bytes } => self.on_record(now, session, &bytes),
            HandshakeInput::Close { session } => self.close(now, session),
        }
    }

    /// Repeats and fails what is due. Call it when [`Handshakes::next_deadline`] has passed.
    pub fn on_timeout(&mut self, now: Micros) {
        let later = self.timers.split_off(&(now.plus_us(1), SessionId(0)));
        let due = std::mem::replace(&mut self.timers, later);
        for (_, session) in due {
            self.drive(now, session, None);
        }
    }

    /// The earliest time at which [`Handshakes::on_timeout`] has something to do.
    #[must_use]
    pub fn next_deadline(&self) -> Option<Micros> {
        self.timers.first().map(|&(due, _)| due)
    }

    /// The next output, oldest first.
    pub fn poll_output(&mut self) -> Option<HandshakeOutput> {
        self.outputs.pop_front()
    }

    /// What this node's certificate hashes to.
    #[must_use]
    pub fn fingerprint(&self) -> Fingerprint {
        self.identity.fingerprint()
    }

    /// Associations held, completed ones included.
    #[must_use]
    pub fn len(&self) -> usize {
        self.associations.len()
    }

    /// Handshakes under way: those that have a timer.
    #[must_use]
    pub fn half_open(&self) -> usize {
        self.timers.len()
    }

    /// Whether no association is held.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.associations.is_empty()
    }

    /// Totals since the start.
    #[must_use]
    pub fn counters(&self) -> HandshakeCounters {
        self.counters
    }

    fn start(&mut self, now: Micros, session: SessionId, role: Role, fingerprint: Fingerprint) {
        if self.associations.contains_key(&session) {
            return;
        }
        if self.half_open() >= HALF_OPEN_MAX {
            self.counters.starts_refused += 1;
            let reason = CloseReason::HandshakeFailed;
            self.outputs
                .push_back(HandshakeOutput::Failed { session, reason });
            return;
        }
        let mut dtls = self.machine(now);
        dtls.set_active(role == Role::Client);
        let deadline = now.plus_us(HANDSHAKE_DEADLINE_US);
        let association = Association::new(dtls, role, fingerprint, deadline);
        self.associations.insert(session, association);
        self.drive(now, session, None);
    }

    /// A server that waits for a ClientHello.
    fn machine(&self, now: Micros) -> Dtls {
        let certificate = self.identity.certificate().clone();
        Dtls::new_12(self.config.clone(), certificate, self.instant(now))
    }

    fn on_record(&mut self, now: Micros, session: SessionId, datagram: &[u8]) {
        let Some(association) = self.associations.get(&session) else {
            self.counters.refused += 1;
            return;
        };
        if association.is_complete() {
            self.on_late_record(now, session, datagram);
            return;
        }
        if association.begins_with(datagram) {
            self.start_over(now, session);
        }
        let association = self.associations.get_mut(&session);
        if association.is_some_and(|association| association.admits(datagram)) {
            self.drive(now, session, Some(datagram));
        } else {
            self.counters.refused += 1;
        }
    }

    /// A datagram after the keys: the only plaintext that means anything is a repetition of the client's
    /// last flight, the only ciphertext an alert. Nothing else reaches the machine, so nothing else can
    /// end the association (security.md D2).
    fn on_late_record(&mut self, now: Micros, session: SessionId, datagram: &[u8]) {
        let mut repeated = false;
        for record in Records::of(datagram) {
            let Ok(record) = record else {
                self.counters.refused += 1;
                break;
            };
            if is_of_last_client_flight(&record) {
                repeated = true;
            } else if record.epoch == 1 && record.content_type == ALERT {
                self.drive(now, session, Some(record.bytes));
            } else {
                self.counters.ignored += 1;
            }
        }
        if repeated {
            self.repeat_last_flight(now, session);
        }
    }

    fn start_over(&mut self, now: Micros, session: SessionId) {
        let dtls = self.machine(now);
        if let Some(association) = self.associations.get_mut(&session) {
            self.counters.started_over += 1;
            association.start_over(dtls);
            self.drive(now, session, None);
        }
    }

    fn repeat_last_flight(&mut self, now: Micros, session: SessionId) {
        let Some(association) = self.associations.get_mut(&session) else {
            return;
        };
        if let Some(datagrams) = association.repeat_last_flight(now) {
            self.counters.last_flights_repeated += 1;
            self.outputs
                .push_back(HandshakeOutput::Flight { session, datagrams });
        }
    }

    fn close(&mut self, now: Micros, session: SessionId) {
        let instant = self.instant(now);
        let Some(association) = self.forget(session) else {
            return;
        };
        let datagrams = association.close(instant, &mut self.poll_buffer);
        if !datagrams.is_empty() {
            self.outputs
                .push_back(HandshakeOutput::Flight { session, datagrams });
        }
    }

    /// Tells the machine the time, gives it `datagram`, and passes on what came of it.
    fn drive(&mut self, now: Micros, session: SessionId, datagram: Option<&[u8]>) {
        let instant = self.instant(now);
        let Some(association) = self.associations.get_mut(&session) else {
            return;
        };
        let outcome = association.drive(now, instant, datagram, &mut self.poll_buffer);
        match outcome {
            Outcome::Continues { flight, timeout } => {
                if !flight.is_empty() {
                    self.outputs.push_back(HandshakeOutput::Flight {
                        session,
                        datagrams: flight,
                    });
                }
                self.arm(session, timeout);
            }
            Outcome::Keyed { keys, flight } => {
                self.arm(session, None);
                self.outputs.push_back(HandshakeOutput::Keyed {
                    session,
                    keys,
                    flight,
                });
            }
            Outcome::StartOver => self.start_over(now, session),
            Outcome::Failed(reason) => {
                self.forget(session);
                self.outputs
                    .push_back(HandshakeOutput::Failed { session, reason });
            }
            Outcome::PeerClosed => {
                self.forget(session);
                self.outputs
                    .push_back(HandshakeOutput::PeerClosed { session });
            }
        }
    }

    /// Sets the association's timer to the machine's next repetition or its deadline, whichever is first;
    /// a completed one has none.
    fn arm(&mut self, session: SessionId, timeout: Option<Instant>) {
        let timeout = timeout.map(|instant| micros_at_or_after(self.base, instant));
        let Some(association) = self.associations.get_mut(&session) else {
            return;
        };
        let timer = association.due(timeout);
        let before = std::mem::replace(&mut association.timer, timer);
        if let Some(before) = before
            && Some(before) != timer
        {
            self.timers.remove(&(before, session));
        }
        if let Some(timer) = timer {
            self.timers.insert((timer, session));
        }
    }

    fn forget(&mut self, session: SessionId) -> Option<Association> {
        let association = self.associations.remove(&session)?;
        if let Some(timer) = association.timer {
            self.timers.remove(&(timer, session));
        }
        Some(association)
    }

    fn instant(&self, now: Micros) -> Instant {
        self.base + Duration::from_micros(now.0)
    }
}

impl fmt::Debug for Handshakes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Handshakes")
            .field("associations", &self.associations.len())
            .field("next_deadline", &self.next_deadline())
            .field("counters", &self.counters)
            .finish_non_exhaustive()
    }
}

/// Rounded up: a timer that fires a nanosecond early would fire again at the same microsecond.
fn micros_at_or_after(base: Instant, instant: Instant) -> Micros {
    let nanos = instant.saturating_duration_since(base).as_nanos();
    Micros(u64::try_from(nanos.div_ceil(1_000)).unwrap_or(u64::MAX))
}
