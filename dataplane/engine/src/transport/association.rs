//! One DTLS association: a `dimpl` machine, the bounds of what it is fed, the certificate check, and the
//! last flight kept for repetition.

use std::time::Instant;

use dataplane_api::command::Fingerprint;
use dataplane_api::event::CloseReason;
use dimpl::{Dtls, Output};

use super::dtls::{CHANGE_CIPHER_SPEC, CLIENT_KEY_EXCHANGE, Intake, Record};
use super::identity::hash;
use super::keys::{Profile, Role, SrtpKeys};
use crate::time::Micros;

/// Records of one last flight that arrive together ask for one answer: shorter than the first repetition
/// timer of any client.
const LAST_FLIGHT_GAP_US: u64 = 20_000;

/// Repetitions of our last flight: a client that repeats every 50 ms, doubling, gives up long before.
const LAST_FLIGHT_REPEATS_MAX: u32 = 32;

/// One DTLS association.
pub(super) struct Association {
    dtls: Dtls,
    role: Role,
    fingerprint: Fingerprint,
    certificate_matches: bool,
    /// When its owner has to drive it next.
    pub(super) timer: Option<Micros>,
    state: State,
}

enum State {
    Handshaking { deadline: Micros, intake: Intake },
    Keyed { last_flight: LastFlight },
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
    Failed(CloseReason),
    PeerClosed,
}

impl Association {
    /// Waits for a ClientHello, or sends one with its first step. `dtls` already has its role.
    pub(super) fn new(dtls: Dtls, role: Role, fingerprint: Fingerprint, deadline: Micros) -> Self {
        Association {
            dtls,
            role,
            fingerprint,
            certificate_matches: false,
            timer: None,
            state: State::Handshaking {
                deadline,
                intake: Intake::default(),
            },
        }
    }

    /// Whether it has given its keys.
    pub(super) fn is_complete(&self) -> bool {
        matches!(self.state, State::Keyed { .. })
    }

    /// Whether the machine may see this datagram of the handshake.
    pub(super) fn admits(&mut self, datagram: &[u8]) -> bool {
        match &mut self.state {
            State::Handshaking { intake, .. } => intake.admits(datagram),
            State::Keyed { .. } => false,
        }
    }

    /// The earlier of the machine's next repetition and the deadline; nothing is due once it is complete.
    pub(super) fn due(&self, timeout: Option<Micros>) -> Option<Micros> {
        match self.state {
            State::Handshaking { deadline, .. } => {
                Some(timeout.map_or(deadline, |timeout| timeout.min(deadline)))
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
        let result = self
            .dtls
            .handle_timeout(instant)
            .and_then(|()| datagram.map_or(Ok(()), |bytes| self.dtls.handle_packet(bytes)));
        if let Err(error) = result {
            tracing::debug!(%error, role = ?self.role, "DTLS association failed");
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
                flight: polled.flight,
                timeout: polled.timeout,
            };
        }
        // Connected without keys means that no SRTP profile was agreed on.
        match polled.keys {
            Some(keys) if self.certificate_matches => {
                self.state = State::Keyed {
                    last_flight: LastFlight::new(now, self.role, &polled.flight),
                };
                Outcome::Keyed {
                    keys,
                    flight: polled.flight,
                }
            }
            _ => Outcome::Failed(CloseReason::HandshakeFailed),
        }
    }

    /// Drains the machine.
    fn poll(&mut self, buffer: &mut [u8]) -> Polled {
        let mut polled = Polled::default();
        loop {
            match self.dtls.poll_output(buffer) {
                Output::Packet(bytes) => polled.flight.push(bytes.into()),
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
    fn new(now: Micros, role: Role, flight: &[Box<[u8]>]) -> LastFlight {
        LastFlight {
            datagrams: match role {
                Role::Server => flight.to_vec(),
                Role::Client => Vec::new(),
            },
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
