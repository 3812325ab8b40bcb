//! A light peer: keys are put into it instead of a handshake, so that every byte of a class follows from its
//! seed. It answers as a client does: checks, reports, requests to send again with retries, keyframe
//! requests, retransmission, probes.
//!
//! Its SRTP is the engine's own. That a node is understood by code that is not ours is for the peers with
//! real handshakes to show.

mod decoder;
mod encoder;
mod ice;
mod plan;
mod screen;
mod sources;

use std::collections::VecDeque;
use std::net::SocketAddr;

use codecs::rtcp::pli_fir::write_pli;
use codecs::rtcp::sr_rr::{write_rr, write_sr};
use codecs::rtcp::{Compound, Packet as Rtcp, SenderInfo, is_rtcp, nack};
use codecs::rtp::rtx::read_osn;
use codecs::rtp::view::{header_len, strip_padding};
use codecs::rtp::{ExtSeq, RtpView};
use dataplane_api::media::MediaKind;
use dataplane_api::reply::Admitted;
use dataplane_engine::time::Micros;
use dataplane_engine::transport::keys::{RTCP_OVERHEAD_MAX, SrtpKeys};
use dataplane_engine::transport::srtp::{Opener, Sealer};
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};

pub use self::decoder::Shown;
use self::ice::Checks;
pub use self::plan::{PublisherPlan, ViewerPlan};
pub use self::screen::{Screen, Tally};
pub use self::sources::Heard;
use self::sources::{FRAME_INTERVAL_US, Sources, VOICE_INTERVAL_US};
use crate::network::Delivery;

const REPORT_INTERVAL_US: u64 = 1_000_000;
/// Seconds between 1900 and 1970, and some of the twenty-first century: the clocks of peers are not ours.
const NTP_BASE_S: u64 = 3_900_000_000;

/// A light peer.
#[derive(Debug)]
pub struct Wired {
    rng: StdRng,
    address: SocketAddr,
    node: SocketAddr,
    /// Where its first checks go instead, as those of a client whose candidates got mixed up.
    stray: Option<SocketAddr>,
    ufrag: String,
    pwd: String,
    checks: Option<Checks>,
    keys: SrtpKeys,
    sealer: Sealer,
    opener: Opener,
    connected: bool,
    transport_seq: u16,
    rtcp_ssrc: u32,
    report_at: Micros,
    /// Offset of its wall clock, in 32.32 fixed point.
    ntp_offset: u64,
    sources: Option<Sources>,
    screens: Vec<Screen>,
    heard: Heard,
    outgoing: VecDeque<Delivery>,
}

impl Wired {
    /// A peer at `address` with `keys`, its own side local, whose choices follow from `seed`.
    #[must_use]
    pub fn new(seed: u64, address: SocketAddr, keys: SrtpKeys) -> Wired {
        let mut rng = StdRng::seed_from_u64(seed);
        let mut word = |chars: usize| -> String {
            (0..chars)
                .map(|_| char::from(rng.random_range(b'a'..=b'z')))
                .collect()
        };
        let (ufrag, pwd) = (word(6), word(24));
        Wired {
            ufrag,
            pwd,
            address,
            node: address,
            stray: None,
            checks: None,
            sealer: Sealer::new(&keys),
            opener: Opener::new(&keys),
            keys,
            connected: false,
            transport_seq: rng.random(),
            rtcp_ssrc: rng.random_range(1..=u32::MAX),
            report_at: Micros::ZERO,
            ntp_offset: rng.random_range(0..1 << 40),
            sources: None,
            screens: Vec::new(),
            heard: Heard::default(),
            outgoing: VecDeque::new(),
            rng,
        }
    }

    /// Its user fragment and password.
    #[must_use]
    pub fn credentials(&self) -> (&str, &str) {
        (&self.ufrag, &self.pwd)
    }

    /// Its keys, its own side local.
    #[must_use]
    pub fn keys(&self) -> &SrtpKeys {
        &self.keys
    }

    /// Acts on the node's answer: begins its checks. The first of them go to `stray`, if any.
    pub fn answer(&mut self, now: Micros, admitted: &Admitted, stray: Option<SocketAddr>) {
        self.node = admitted.candidates[0];
        self.stray = stray;
        let tie_breaker = self.rng.random();
        let (ufrag, pwd) = (&admitted.ufrag, &admitted.pwd);
        self.checks = Some(Checks::new(now, &self.ufrag, ufrag, pwd, tie_breaker));
    }

    /// New credentials of its own, for an ICE restart.
    pub fn renew_credentials(&mut self) {
        let mut word = |chars: usize| -> String {
            (0..chars)
                .map(|_| char::from(self.rng.random_range(b'a'..=b'z')))
                .collect()
        };
        (self.ufrag, self.pwd) = (word(6), word(24));
    }

    /// The node's answer to an ICE restart.
    pub fn restart_ice(&mut self, now: Micros, admitted: &Admitted) {
        if let Some(checks) = &mut self.checks {
            checks.restart(now, &self.ufrag, &admitted.ufrag, &admitted.pwd);
        }
    }

    /// Where it is.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// It got an answer, and has keys anyway.
    #[must_use]
    pub fn is_connected(&self) -> bool {
        self.connected
    }

    /// The slots it watches.
    #[must_use]
    pub fn screens(&self) -> &[Screen] {
        &self.screens
    }

    /// Its slot of a kind.
    ///
    /// # Panics
    /// When it has none.
    #[must_use]
    pub fn screen(&self, kind: MediaKind) -> &Screen {
        let mut of_kind = self.screens.iter().filter(|s| s.kind() == kind);
        of_kind.next().expect("a slot of this kind")
    }

    /// Whether it publishes or hears audio.
    #[must_use]
    pub fn has_voice(&self) -> bool {
        let hears = |screen: &Screen| screen.kind() == MediaKind::Audio;
        match &self.sources {
            Some(sources) => sources.voice.is_some(),
            None => self.screens.iter().any(hears),
        }
    }

    /// When it wants to be called.
    #[must_use]
    pub fn next_deadline(&self) -> Micros {
        let Some(checks) = &self.checks else {
            return Micros(u64::MAX);
        };
        let mut next = checks.next_deadline();
        if !self.connected {
            return next;
        }
        next = next.min(self.report_at);
        if let Some(sources) = &self.sources {
            if !sources.frozen {
                next = next.min(sources.next_frame_at);
            }
            if sources.voice.is_some() {
                next = next.min(sources.next_voice_at);
            }
        }
        let screens = self.screens.iter().filter_map(Screen::next_deadline);
        screens.fold(next, Micros::min)
    }

    /// Whatever was due.
    pub fn on_timeout(&mut self, now: Micros) {
        if let Some(checks) = &mut self.checks
            && let Some(check) = checks.poll(now)
        {
            // Two checks go astray, so that an answer to a handed-over one can be lost as well.
            let astray = self.stray.filter(|_| checks.checks_sent() <= 2);
            self.push(astray.unwrap_or(self.node), check);
        }
        if !self.connected {
            return;
        }
        self.send_media(now);
        self.ask(now);
        if self.report_at <= now {
            self.report_at = now.plus_us(REPORT_INTERVAL_US);
            self.send_reports(now);
        }
    }

    /// One datagram.
    pub fn receive(&mut self, now: Micros, delivery: &mut Delivery) {
        match delivery.bytes.first() {
            Some(0..=3) => {
                if self
                    .checks
                    .as_mut()
                    .is_some_and(|checks| checks.on_message(now, &delivery.bytes))
                {
                    self.connect(now);
                }
            }
            Some(128..=191) if is_rtcp(&delivery.bytes) => self.on_rtcp(now, &mut delivery.bytes),
            Some(128..=191) => self.on_rtp(now, &mut delivery.bytes),
            // What a damaged datagram looks like is nobody's business.
            Some(_) | None => {}
        }
    }

    /// Takes what it sent.
    pub fn poll_outgoing(&mut self) -> Option<Delivery> {
        self.outgoing.pop_front()
    }

    fn connect(&mut self, now: Micros) {
        if std::mem::replace(&mut self.connected, true) {
            return;
        }
        // Clients that joined in the same instant do not keep step.
        self.report_at = now.plus_us(self.rng.random_range(0..REPORT_INTERVAL_US));
        if let Some(sources) = &mut self.sources {
            sources.next_frame_at = now.plus_us(self.rng.random_range(0..FRAME_INTERVAL_US));
            sources.next_voice_at = now.plus_us(self.rng.random_range(0..VOICE_INTERVAL_US));
        }
        for screen in &mut self.screens {
            screen.on_connected(now);
        }
    }

    /// Asks for what is missing, and for keyframes.
    fn ask(&mut self, now: Micros) {
        let rtt_us = self.checks.as_ref().and_then(Checks::rtt_us);
        for n in 0..self.screens.len() {
            let screen = &mut self.screens[n];
            let missing = screen.on_timeout(now, rtt_us.unwrap_or(100_000));
            let pli = screen.take_keyframe_wish(now);
            let (from, ssrc) = (self.rtcp_ssrc, screen.plan.ssrc);
            if !missing.is_empty() {
                self.send_rtcp(|out| nack::write(out, from, ssrc, &missing).ok().map(|w| w.len));
            }
            if pli {
                self.send_rtcp(|out| write_pli(out, from, ssrc).ok());
            }
        }
    }

    fn send_reports(&mut self, now: Micros) {
        let ntp = self.ntp(now);
        let infos: Vec<SenderInfo> = self
            .sources
            .iter()
            .flat_map(Sources::encoders)
            .filter(|encoder| encoder.packets() > 0)
            .map(|encoder| SenderInfo {
                ssrc: encoder.plan.ssrc,
                ntp,
                rtp_timestamp: encoder.timestamp(now),
                packet_count: ExtSeq(encoder.packets()).low32(),
                octet_count: encoder.octets,
            })
            .collect();
        for info in infos {
            self.send_rtcp(|out| write_sr(out, &info, &[]).ok());
        }
        let screens = self.screens.iter_mut();
        let blocks: Vec<_> = screens.filter_map(|s| s.report(now)).collect();
        let from = self.rtcp_ssrc;
        if !blocks.is_empty() {
            self.send_rtcp(|out| write_rr(out, from, &blocks).ok());
        }
    }

    /// Its wall clock in 32.32 fixed point.
    fn ntp(&self, now: Micros) -> u64 {
        let since_start = (u128::from(now.0) << 32) / 1_000_000;
        (NTP_BASE_S << 32)
            + self.ntp_offset
            + u64::try_from(since_start).expect("invariant: simulated time is short")
    }

    fn on_rtp(&mut self, now: Micros, bytes: &mut [u8]) {
        let Ok(header) = header_len(bytes) else {
            return;
        };
        let Ok(opened) = self.opener.open_rtp(bytes, header) else {
            return;
        };
        let Ok(view) = RtpView::parse(&bytes[..opened.payload.end]) else {
            return;
        };
        let Ok(payload) = strip_padding(view.payload(), view.has_padding()) else {
            return;
        };
        for screen in &mut self.screens {
            if screen.plan.ssrc == view.ssrc() {
                // A packet of padding alone probes the path.
                if !payload.is_empty() {
                    screen.on_packet(now, opened.index, payload);
                }
            } else if screen.plan.rtx_ssrc == Some(view.ssrc())
                && let Some((osn, original)) = read_osn(payload)
                && !original.is_empty()
                && let Some(index) = screen.original(osn)
            {
                screen.on_packet(now, index, original);
            }
        }
    }

    fn on_rtcp(&mut self, now: Micros, bytes: &mut [u8]) {
        let Ok(len) = self.opener.open_rtcp(bytes) else {
            return;
        };
        for packet in Compound::parse(&bytes[..len]) {
            match packet {
                Ok(Rtcp::SenderReport(report)) => {
                    let ssrc = report.info.ssrc;
                    for screen in self.screens.iter_mut().filter(|s| s.plan.ssrc == ssrc) {
                        screen.on_sender_report(now, report.info);
                    }
                }
                Ok(Rtcp::Nack(nack)) => self.resend(nack.media_ssrc, nack.seqs()),
                Ok(Rtcp::Pli(pli)) => self.want_keyframe(pli.media_ssrc),
                Ok(Rtcp::Fir(fir)) => fir
                    .entries()
                    .for_each(|entry| self.want_keyframe(entry.ssrc)),
                Ok(Rtcp::TransportCc(feedback)) => {
                    for (_, arrival) in feedback.packets() {
                        match arrival {
                            Some(_) => self.heard.acknowledged += 1,
                            None => self.heard.missed += 1,
                        }
                    }
                }
                // The rest concerns an application, or a sender that adapts.
                Ok(_) | Err(_) => {}
            }
        }
    }

    fn send_rtcp(&mut self, write: impl FnOnce(&mut [u8]) -> Option<usize>) {
        let mut plain = [0; 1_200];
        let Some(len) = write(&mut plain) else {
            return;
        };
        let mut bytes = vec![0; len + RTCP_OVERHEAD_MAX];
        if let Some(len) = self.sealer.seal_rtcp(&plain[..len], &mut bytes) {
            bytes.truncate(len);
            self.push(self.node, bytes);
        }
    }

    fn push(&mut self, to: SocketAddr, bytes: Vec<u8>) {
        self.outgoing.push_back(Delivery {
            from: self.address,
            to,
            bytes,
        });
    }
}
