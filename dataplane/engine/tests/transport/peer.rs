//! A peer: its checks, its side of DTLS, its media.

use codecs::rtcp::sr_rr::write_rr;
use dataplane_api::command::Setup;
use dataplane_api::event::CloseReason;
use dataplane_api::ids::SessionId;
use dataplane_api::reply::Admitted;
use dataplane_engine::packet::{Path, SocketIndex};
use dataplane_engine::time::Micros;
use dataplane_engine::transport::handshake::{
    HandshakeInput, HandshakeOutput, Handshakes, Identity, Role,
};
use dataplane_engine::transport::srtp::{Opener, Sealer};
use turn::stun::{
    BindingRequest, Class, IntegrityKey, Message, Role as IceRole, TransactionId,
    write_binding_request,
};

use crate::node::{CAMERA, base, remote_credentials};

/// The path of a peer behind `port` of its NAT.
pub(crate) fn path(port: u16) -> Path {
    Path {
        local: [192, 0, 2, 1].into(),
        remote: ([198, 51, 100, 7], port).into(),
        socket: SocketIndex::UDP_V4,
    }
}

/// What a peer does by itself.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Habits {
    /// Interval of its checks once it has chosen a pair. Without one it sends no second check.
    pub(crate) check_ms: Option<u64>,
    /// Whether those carry USE-CANDIDATE, as the first always does.
    pub(crate) nominates_again: bool,
    /// Interval of its camera's packets.
    pub(crate) media_ms: Option<u64>,
    /// Interval of its receiver reports.
    pub(crate) report_ms: Option<u64>,
}

impl Habits {
    /// Checks every 2.5 s, each of them a nomination; reports on video every second.
    pub(crate) const CHROMIUM: Habits = Habits {
        check_ms: Some(2_500),
        nominates_again: true,
        media_ms: None,
        report_ms: Some(1_000),
    };
    /// Checks often and nominates once.
    pub(crate) const STR0M: Habits = Habits {
        check_ms: Some(1_000),
        nominates_again: false,
        media_ms: None,
        report_ms: Some(500),
    };
    /// Debian's: no second check, ever.
    pub(crate) const GSTREAMER: Habits = Habits {
        check_ms: None,
        nominates_again: false,
        media_ms: None,
        report_ms: Some(5_000),
    };

    pub(crate) const fn publishing(self) -> Habits {
        Habits {
            media_ms: Some(20),
            ..self
        }
    }
}

pub(crate) struct Peer {
    pub(crate) session: SessionId,
    pub(crate) admitted: Admitted,
    pub(crate) habits: Habits,
    /// Where its datagrams come from, and the only path by which it is reached.
    pub(crate) at: Path,
    /// Another pair it checks, and how often.
    pub(crate) backup: Option<(Path, u64)>,
    /// The network is away, in both directions.
    pub(crate) dark: bool,
    /// It does nothing at all (SIGSTOP).
    pub(crate) frozen: bool,
    pub(crate) generation: u32,
    pub(crate) dtls: Handshakes,
    pub(crate) closed: Option<CloseReason>,
    /// Datagrams that reached it, with the path.
    pub(crate) received: Vec<(Micros, Path, Vec<u8>)>,
    /// Packets that authenticated.
    pub(crate) opened: Vec<Micros>,
    pub(crate) answers: Vec<(Micros, TransactionId, Class)>,
    role: Role,
    nominated: bool,
    validated: bool,
    checks: u32,
    next_check: Option<Micros>,
    next_backup: Option<Micros>,
    next_media: Micros,
    next_report: Micros,
    seq: u16,
    srtp: Option<(Sealer, Opener)>,
}

impl Peer {
    pub(crate) fn new(now: Micros, port: u16, setup: Setup, habits: Habits) -> Peer {
        Peer {
            session: SessionId(u64::from(port)),
            admitted: Admitted {
                session: SessionId(0),
                shard: crate::node::SHARD,
                ufrag: String::new(),
                pwd: String::new(),
                candidates: Vec::new(),
            },
            habits,
            at: path(port),
            backup: None,
            dark: false,
            frozen: false,
            generation: 0,
            dtls: Handshakes::new(Identity::generate().unwrap(), base()),
            closed: None,
            received: Vec::new(),
            opened: Vec::new(),
            answers: Vec::new(),
            role: match setup {
                Setup::Active | Setup::ActPass => Role::Client,
                Setup::Passive => Role::Server,
            },
            nominated: false,
            validated: false,
            checks: 0,
            next_check: Some(now),
            next_backup: Some(now),
            next_media: now,
            next_report: now,
            seq: 0,
            srtp: None,
        }
    }

    /// Starts DTLS when the first answer says that the pair works.
    pub(crate) fn start_dtls(
        &mut self,
        now: Micros,
        fingerprint: dataplane_api::command::Fingerprint,
    ) {
        let start = HandshakeInput::Start {
            session: self.session,
            role: self.role,
            fingerprint,
        };
        self.dtls.on_input(now, start);
    }

    pub(crate) fn is_keyed(&self) -> bool {
        self.srtp.is_some()
    }

    /// New credentials of our side; its own restarted as often as `generation` says.
    pub(crate) fn restarted(&mut self, now: Micros, admitted: Admitted) {
        self.admitted = admitted;
        self.generation += 1;
        self.nominated = false;
        self.next_check = Some(now);
    }

    /// Its next check is due.
    pub(crate) fn check_soon(&mut self, now: Micros) {
        self.next_check = Some(now);
    }

    /// A check with the credentials it has.
    pub(crate) fn check(&mut self, nominated: bool) -> Vec<u8> {
        self.checks += 1;
        let mut id = [0; 12];
        id[..4].copy_from_slice(&self.checks.to_be_bytes());
        let [ufrag, _] = remote_credentials(self.generation);
        let mut bytes = vec![0; 512];
        let request = BindingRequest {
            transaction_id: TransactionId(id),
            username: &format!("{}:{ufrag}", self.admitted.ufrag),
            priority: 1,
            role: IceRole::Controlling(1),
            use_candidate: nominated,
        };
        let len = write_binding_request(&mut bytes, &request, &self.key()).unwrap();
        bytes.truncate(len);
        bytes
    }

    pub(crate) fn key(&self) -> IntegrityKey {
        IntegrityKey::new(self.admitted.pwd.as_bytes())
    }

    /// What it sends at `now` by itself.
    pub(crate) fn act(&mut self, now: Micros) -> Vec<(Path, Vec<u8>)> {
        let mut out = Vec::new();
        if self.frozen {
            return out;
        }
        if self.next_check.is_some_and(|at| at <= now) {
            let nominated = !self.nominated || self.habits.nominates_again;
            out.push((self.at, self.check(nominated)));
            // Until it is answered a check is repeated often; then by habit.
            let interval = if self.nominated {
                self.habits.check_ms
            } else {
                Some(100)
            };
            self.next_check = interval.map(|ms| now.plus_ms(ms));
        }
        if let Some((path, interval_ms)) = self.backup
            && self.next_backup.is_some_and(|at| at <= now)
        {
            out.push((path, self.check(false)));
            self.next_backup = Some(now.plus_ms(interval_ms));
        }
        if self.dtls.next_deadline().is_some_and(|at| at <= now) {
            self.dtls.on_timeout(now);
        }
        self.drain_dtls(&mut out);
        if let Some((sealer, _)) = &mut self.srtp {
            if let Some(interval_ms) = self.habits.media_ms
                && self.next_media <= now
            {
                self.next_media = now.plus_ms(interval_ms);
                self.seq = self.seq.wrapping_add(1);
                let (at, seq) = (self.at, self.seq);
                out.push((at, camera_packet(sealer, seq)));
            }
            if let Some(interval_ms) = self.habits.report_ms
                && self.next_report <= now
            {
                self.next_report = now.plus_ms(interval_ms);
                let mut plain = [0; 64];
                let len = write_rr(&mut plain, 1, &[]).unwrap();
                let mut sealed = vec![0; len + 64];
                let sealed_len = sealer.seal_rtcp(&plain[..len], &mut sealed).unwrap();
                sealed.truncate(sealed_len);
                out.push((self.at, sealed));
            }
        }
        out
    }

    /// One datagram from the node; whether it is the first answer to a check.
    pub(crate) fn receive(&mut self, now: Micros, path: Path, bytes: &[u8]) -> bool {
        self.received.push((now, path, bytes.to_vec()));
        if self.frozen {
            return false;
        }
        match bytes[0] {
            0..=3 => {
                let message = Message::parse(bytes).unwrap();
                assert!(message.verify_integrity(&self.key()) || self.generation > 0);
                self.answers
                    .push((now, message.transaction_id(), message.class()));
                if message.class() == Class::Success {
                    self.nominated = true;
                    if self.habits.check_ms.is_none() {
                        self.next_check = None;
                    }
                    return !std::mem::replace(&mut self.validated, true);
                }
            }
            20..=63 => self.dtls.on_input(
                now,
                HandshakeInput::Record {
                    session: self.session,
                    bytes: bytes.into(),
                },
            ),
            _ => self.open(now, bytes),
        }
        false
    }

    fn open(&mut self, now: Micros, bytes: &[u8]) {
        let Some((_, opener)) = &mut self.srtp else {
            return;
        };
        let mut packet = bytes.to_vec();
        let is_rtcp = (192..=223).contains(&bytes[1]);
        if is_rtcp {
            opener.open_rtcp(&mut packet).unwrap();
        } else {
            let header_len = codecs::rtp::view::header_len(&packet).unwrap();
            opener.open_rtp(&mut packet, header_len).unwrap();
            self.opened.push(now);
        }
    }

    fn drain_dtls(&mut self, out: &mut Vec<(Path, Vec<u8>)>) {
        while let Some(output) = self.dtls.poll_output() {
            let datagrams = match output {
                HandshakeOutput::Flight { datagrams, .. } => datagrams,
                HandshakeOutput::Keyed { keys, flight, .. } => {
                    self.srtp = Some((Sealer::new(&keys), Opener::new(&keys)));
                    flight
                }
                HandshakeOutput::Failed { reason, .. } => {
                    self.closed = Some(reason);
                    Vec::new()
                }
                HandshakeOutput::PeerClosed { .. } => {
                    self.closed = Some(CloseReason::PeerClosed);
                    Vec::new()
                }
            };
            let at = self.at;
            out.extend(datagrams.into_iter().map(|bytes| (at, bytes.into_vec())));
        }
    }

    /// Seals one packet of its camera, without sending it.
    pub(crate) fn media_packet(&mut self) -> Vec<u8> {
        self.seq = self.seq.wrapping_add(1);
        let (sealer, _) = self.srtp.as_mut().expect("a keyed peer");
        camera_packet(sealer, self.seq)
    }

    /// Times at which RTP reached it.
    pub(crate) fn media_times(&self) -> Vec<Micros> {
        let media = self.received.iter().filter(|(_, _, bytes)| is_rtp(bytes));
        media.map(|&(at, ..)| at).collect()
    }
}

pub(crate) fn is_rtp(bytes: &[u8]) -> bool {
    (128..=191).contains(&bytes[0]) && !(192..=223).contains(&bytes[1])
}

/// A whole VP8 keyframe in one packet (RFC 7741 section 4.2, RFC 6386 section 9.1).
fn camera_packet(sealer: &mut Sealer, seq: u16) -> Vec<u8> {
    let mut packet = vec![0x80, 0x80 | 96];
    packet.extend(seq.to_be_bytes());
    packet.extend((u32::from(seq) * 1_800).to_be_bytes());
    packet.extend(CAMERA.to_be_bytes());
    packet.resize(600, 0);
    let mut payload = vec![0x10, 0, 0, 0, 0x9d, 0x01, 0x2a];
    payload.resize(500, 0xa5);
    let len = sealer.seal_rtp(u64::from(seq), 12, &payload, 0, &mut packet);
    packet.truncate(len);
    packet
}
