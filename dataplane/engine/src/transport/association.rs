//! One DTLS association: a `dimpl` machine, the bounds of what it is fed, the certificate check, and the
//! last flight kept for repetition.

use std::time::Instant;

use dataplane_api::command::Fingerprint;
use dataplane_api::event::CloseReason;
use dimpl::{Dtls, Output};

use super::dtls::{
    CHANGE_CIPHER_SPEC, CLIENT_HELLO, CLIENT_KEY_EXCHANGE, Intake, Record, Records,
    is_whole_client_hello,
};
use super::identity::hash;
use super::keys::{Profile, Role, SrtpKeys};
use super::nonce;
use crate::time::Micros;

/// Records of one last flight that arrive together ask for one answer: shorter than the first repetition
/// timer of any client.
const LAST_FLIGHT_GAP_US: u64 = 20_000;

/// Repetitions of our last flight: a client that repeats every 50 ms, doubling, gives up long before.
const LAST_FLIGHT_REPEATS_MAX: u32 = 32;

/// A flight is repeated at the latest after this, unanswered. The machine doubles its timer from 200 ms, so that
/// within the deadline a flight of its own leaves six times: where a third of all datagrams is lost in each
/// direction, every fiftieth join would fail for that. A flight has 1 to 2 KiB, which makes this 40 kbit/s, for
/// at most ten seconds.
///
/// A lite agent learns from a check that the sender has the password, not that it is where it says: a server's first
/// flight may go to somebody who never asked for it, until something answers it. So until then it is repeated
/// like this a few times only, which is what such loss needs, and by the machine's slowing timer after that. The
/// answer can be forged as well, by the one peer that has the password of this session; what it makes us send is
/// then at most 50 KiB, once a session.
const FLIGHT_REPEAT_US: u64 = 400_000;

/// Repetitions of a server's first flight before anything answers it, besides the machine's own.
const UNANSWERED_REPEATS_MAX: u32 = 6;

/// How often a server that answered nothing yet may start over. What makes it do so costs a forger as many
/// datagrams.
const STARTS_OVER_MAX: u32 = 64;

/// One DTLS association.
pub(super) struct Association {
    dtls: Dtls,
    starts_over: u32,
    role: Role,
    fingerprint: Fingerprint,
    certificate_matches: bool,
    /// When its owner has to drive it next.
    pub(super) timer: Option<Micros>,
    state: State,
}

enum State {
    Handshaking {
        deadline: Micros,
        intake: Intake,
        /// What was sent last, and when.
        flight: Option<(Micros, Vec<Box<[u8]>>)>,
        /// How often our flight may be repeated, unless something answers the first one.
        unanswered_repeats: Option<u32>,
    },
    Keyed {
        last_flight: LastFlight,
    },
}

/// What came of one step.
pub(super) enum Outcome {
    Continues {
        flight: Vec<Box<[u8]>>,
        timeout: Option<Instant>,
    },
    Keyed {
        keys: SrtpKeys,
        flight: Vec<Box<[u8]>>,
    },
    /// The machine ended over something nobody vouches for, and nothing is lost with it: go on with another.
    StartOver,
    Failed(CloseReason),
    PeerClosed,
}

impl Association {
    /// Waits for a ClientHello, or sends one with its first step. `dtls` already has its role.
    pub(super) fn new(dtls: Dtls, role: Role, fingerprint: Fingerprint, deadline: Micros) -> Self {
        Association {
            dtls,
            starts_over: 0,
            role,
            fingerprint,
            certificate_matches: false,
            timer: None,
            state: State::Handshaking {
                deadline,
                intake: Intake::new(role),
                flight: None,
                unanswered_repeats: (role == Role::Server).then_some(UNANSWERED_REPEATS_MAX),
            },
        }
    }

    /// Whether a server that has answered nobody yet should forget what it was given and begin with this
    /// datagram: a whole ClientHello. Else the first fragment of a forged one would lie in its way until the
    /// deadline.
    pub(super) fn begins_with(&self, datagram: &[u8]) -> bool {
        let is_unburdened = match &self.state {
            State::Handshaking { intake, .. } => intake.is_empty(),
            State::Keyed { .. } => true,
        };
        !is_unburdened && self.may_start_over() && is_whole_client_hello(datagram)
    }

    /// Goes on with a new machine, until the same deadline.
    pub(super) fn start_over(&mut self, dtls: Dtls) {
        self.dtls = dtls;
        self.starts_over += 1;
        if let State::Handshaking { intake, .. } = &mut self.state {
            *intake = Intake::new(self.role);
        }
    }

    fn may_start_over(&self) -> bool {
        let has_answered = match &self.state {
            State::Handshaking { flight, .. } => flight.is_some(),
            State::Keyed { .. } => true,
        };
        self.role == Role::Server && !has_answered && self.starts_over < STARTS_OVER_MAX
    }

    /// Whether it has given its keys.
    pub(super) fn is_complete(&self) -> bool {
        matches!(self.state, State::Keyed { .. })
    }

    /// Whether the machine may see this datagram of the handshake.
    pub(super) fn admits(&mut self, datagram: &[u8]) -> bool {
        match &mut self.state {
            State::Handshaking {
                intake,
                unanswered_repeats,
                ..
            } => {
                let admitted = intake.admits(datagram);
                if admitted && is_beyond_client_hello(datagram) {
                    *unanswered_repeats = None;
                }
                admitted
            }
            State::Keyed { .. } => false,
        }
    }

    /// The earliest of the machine's next repetition, our own, and the deadline; nothing is due once it is
    /// complete.
    pub(super) fn due(&self, timeout: Option<Micros>) -> Option<Micros> {
        match &self.state {
            State::Handshaking {
                deadline,
                flight,
                unanswered_repeats,
                ..
            } => {
                let repeat_at = flight
                    .as_ref()
                    .filter(|_| *unanswered_repeats != Some(0))
                    .map(|(sent, _)| sent.plus_us(FLIGHT_REPEAT_US));
                [timeout, repeat_at, Some(*deadline)]
                    .into_iter()
                    .flatten()
                    .min()
            }
            State::Keyed { .. } => None,
        }
    }

    /// The answer to a client that repeats its last flight, if one is due.
    ///
    /// RFC 6347 section 4.2.4: the server, finished, repeats its last flight when the client repeats its
    /// own, and never on a timer. It is done here and not left to the machine, which recognises the
    /// repetition only when ClientKeyExchange is the first message of its record: BoringSSL packs a whole
    /// flight into one record, behind its Certificate.
    pub(super) fn repeat_last_flight(&mut self, now: Micros) -> Option<Vec<Box<[u8]>>> {
        match &mut self.state {
            State::Handshaking { .. } => None,
            State::Keyed { last_flight } => last_flight.repeat(now),
        }
    }

    /// Ends it: the `close_notify` of a complete one, nothing of another.
    pub(super) fn close(mut self, instant: Instant, poll_buffer: &mut [u8]) -> Vec<Box<[u8]>> {
        if !self.is_complete() {
            return Vec::new();
        }
        // An error leaves nothing to send, and the association is gone either way.
        let _ = self.dtls.handle_timeout(instant);
        let _ = self.dtls.close();
        self.poll(poll_buffer).flight
    }

    /// One step: the time, a datagram if there is one, and what the machine makes of them.
    pub(super) fn drive(
        &mut self,
        now: Micros,
        instant: Instant,
        datagram: Option<&[u8]>,
        poll_buffer: &mut [u8],
    ) -> Outcome {
        let handshaking = match self.state {
            State::Handshaking { deadline, .. } if now >= deadline => {
                return Outcome::Failed(CloseReason::HandshakeFailed);
            }
            State::Handshaking { .. } => true,
            State::Keyed { .. } => false,
        };
        // The datagram first: it may answer what would else be repeated.
        let result = datagram
            .map_or(Ok(()), |bytes| self.dtls.handle_packet(bytes))
            .and_then(|()| self.dtls.handle_timeout(instant));
        if let Err(error) = result {
            tracing::debug!(%error, role = ?self.role, "DTLS association failed");
            if self.may_start_over() {
                return Outcome::StartOver;
            }
            // After completion only an authenticated alert reaches the machine, so this is the peer's wish.
            return ended(handshaking);
        }

        let polled = self.poll(poll_buffer);
        if polled.certificate_differs {
            return Outcome::Failed(CloseReason::FingerprintMismatch);
        }
        if polled.peer_closed {
            return ended(handshaking);
        }
        if !polled.connected {
            return Outcome::Continues {
                flight: self.sent_or_repeated(now, polled.flight),
                timeout: polled.timeout,
            };
        }
        // Connected without keys means that no SRTP profile was agreed on.
        match polled.keys {
            Some(keys) if self.certificate_matches => {
                let flight = last_flight(self.role, &polled.flight);
                self.state = State::Keyed {
                    last_flight: LastFlight::new(now, &flight),
                };
                Outcome::Keyed { keys, flight }
            }
            _ => Outcome::Failed(CloseReason::HandshakeFailed),
        }
    }

    /// What leaves after a step of the handshake: what the machine said, or else its last flight again when that
    /// is due. The datagrams are the same, so a peer that has them drops them as repetitions.
    fn sent_or_repeated(&mut self, now: Micros, said: Vec<Box<[u8]>>) -> Vec<Box<[u8]>> {
        let State::Handshaking {
            flight,
            unanswered_repeats,
            ..
        } = &mut self.state
        else {
            return said;
        };
        let may_repeat = *unanswered_repeats != Some(0);
        if !said.is_empty() {
            let said = newest_flight(self.role, said);
            *flight = Some((now, said.clone()));
            return said;
        }
        match flight {
            Some((sent, datagrams)) if may_repeat && now.since(*sent) >= FLIGHT_REPEAT_US => {
                *sent = now;
                *unanswered_repeats = unanswered_repeats.map(|left| left.saturating_sub(1));
                datagrams.clone()
            }
            _ => said,
        }
    }

    /// Drains the machine.
    fn poll(&mut self, buffer: &mut [u8]) -> Polled {
        let mut polled = Polled::default();
        loop {
            match self.dtls.poll_output(buffer) {
                Output::Packet(bytes) => {
                    let mut datagram: Box<[u8]> = bytes.into();
                    nonce::number(&mut datagram);
                    polled.flight.push(datagram);
                }
                Output::PeerCert(der) => {
                    let digest = hash(self.fingerprint.hash, der);
                    self.certificate_matches = digest == self.fingerprint.digest;
                    polled.certificate_differs = !self.certificate_matches;
                }
                Output::KeyingMaterial(material, profile) => {
                    polled.keys = Profile::from_dtls(profile).and_then(|profile| {
                        SrtpKeys::from_keying_material(profile, self.role, &material)
                    });
                }
                Output::Connected => polled.connected = true,
                Output::CloseNotify => polled.peer_closed = true,
                Output::BufferTooSmall { needed } => {
                    unreachable!("invariant: nothing of {needed} bytes passes the intake")
                }
                Output::Timeout(at) => {
                    polled.timeout = Some(at);
                    return polled;
                }
                // Passes neither the intake nor the filter after it.
                Output::ApplicationData(_) => {}
                _ => {}
            }
        }
    }
}

/// The end of an association that the peer or an error brought about.
fn ended(handshaking: bool) -> Outcome {
    if handshaking {
        Outcome::Failed(CloseReason::HandshakeFailed)
    } else {
        Outcome::PeerClosed
    }
}

/// What one drain of the machine gave.
#[derive(Default)]
struct Polled {
    flight: Vec<Box<[u8]>>,
    certificate_differs: bool,
    connected: bool,
    keys: Option<SrtpKeys>,
    peer_closed: bool,
    timeout: Option<Instant>,
}

/// Our last flight as a server, kept until the session ends: under 100 bytes.
struct LastFlight {
    datagrams: Vec<Box<[u8]>>,
    sent: Micros,
    repeats: u32,
}

impl LastFlight {
    fn new(now: Micros, flight: &[Box<[u8]>]) -> LastFlight {
        LastFlight {
            datagrams: flight.to_vec(),
            sent: now,
            repeats: 0,
        }
    }

    /// The same datagrams again, unless there are none, they just left, or they were asked for too often.
    /// The client takes them for the first ones, late: the record numbers are the same.
    fn repeat(&mut self, now: Micros) -> Option<Vec<Box<[u8]>>> {
        if self.datagrams.is_empty()
            || self.repeats == LAST_FLIGHT_REPEATS_MAX
            || now.since(self.sent) < LAST_FLIGHT_GAP_US
        {
            return None;
        }
        self.sent = now;
        self.repeats += 1;
        Some(self.datagrams.clone())
    }
}

/// What of the machine's words is the last flight: a server's from its ChangeCipherSpec on; a client that has its
/// keys has nothing to say.
///
/// A client's flight that repeats and completes at once makes the machine repeat its own flight and go on to the
/// next, in one datagram. A peer may drop a datagram that begins with what it has (the machine itself does), and
/// would never see the end of this one, however often it is repeated.
fn last_flight(role: Role, said: &[Box<[u8]>]) -> Vec<Box<[u8]>> {
    match role {
        Role::Client => Vec::new(),
        Role::Server => said
            .iter()
            .filter_map(|datagram| {
                behind(datagram, |record| {
                    record.epoch == 0 && record.content_type != CHANGE_CIPHER_SPEC
                })
            })
            .collect(),
    }
}

/// What of the machine's words before that is its newest flight: not the ClientHello that was answered.
fn newest_flight(role: Role, said: Vec<Box<[u8]>>) -> Vec<Box<[u8]>> {
    let is_hello = |record: &Record<'_>| {
        let first = record.fragments().flatten().next();
        first.is_some_and(|fragment| fragment.message_type == CLIENT_HELLO)
    };
    let has_more = said
        .iter()
        .any(|datagram| behind(datagram, is_hello).is_some());
    if role == Role::Server || !has_more {
        return said;
    }
    said.iter()
        .filter_map(|datagram| behind(datagram, is_hello))
        .collect()
}

/// A datagram from the first record on that is not `old`.
fn behind(datagram: &[u8], old: impl Fn(&Record<'_>) -> bool) -> Option<Box<[u8]>> {
    let old_bytes: usize = Records::of(datagram)
        .flatten()
        .take_while(old)
        .map(|record| record.bytes.len())
        .sum();
    let rest = datagram.get(old_bytes..)?;
    (!rest.is_empty()).then(|| rest.into())
}

/// Whether a datagram does not begin with a ClientHello.
fn is_beyond_client_hello(datagram: &[u8]) -> bool {
    let first = Records::of(datagram).flatten().next();
    first.is_some_and(|record| {
        let fragment = record.fragments().flatten().next();
        fragment.is_none_or(|fragment| fragment.message_type != CLIENT_HELLO)
    })
}

/// Whether a record belongs to flight 5 of RFC 6347 section 4.2.4, seen in plaintext.
pub(super) fn is_of_last_client_flight(record: &Record<'_>) -> bool {
    if record.epoch != 0 {
        return false;
    }
    record.content_type == CHANGE_CIPHER_SPEC
        || record
            .fragments()
            .flatten()
            .any(|fragment| fragment.message_type == CLIENT_KEY_EXCHANGE)
}
