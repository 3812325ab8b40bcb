//! Looks into everything that leaves the node, with the keys of the sessions whose keys are known, and shows
//! it to the checkers.

use std::collections::BTreeMap;
use std::net::SocketAddr;

use codecs::rtcp::{Compound, Packet, is_rtcp};
use codecs::rtp::RtpView;
use codecs::rtp::rtx::read_osn;
use codecs::rtp::view::{header_len, strip_padding};
use dataplane_api::command::Slot;
use dataplane_api::ids::{SessionId, SlotId, TrackId};
use dataplane_api::media::MediaKind;
use dataplane_engine::Population;
use dataplane_engine::time::Micros;
use dataplane_engine::transport::keys::{Profile, SrtpKeys};
use dataplane_engine::transport::srtp::Opener;

use super::one_seal::Seal;
use super::window::{Note, Window};
use super::{
    Continuity, KeyframeLimiter, Lengths, Once, OneSeal, Payloads, Pictures, Repairs, Report,
    Speech, Strangers, Subscriptions, SwitchPoints, Times, digest,
};
use crate::stamp::{Stamp, begins_keyframe, read_picture};

/// E bit and index behind every SRTCP packet (RFC 3711 section 3.4).
const SRTCP_WORD_BYTES: usize = 4;

/// What one shard should hold.
pub type Expected = Population;

/// One slot of a session.
#[derive(Debug)]
struct Outgoing {
    slot: SlotId,
    kind: MediaKind,
    ssrc: u32,
    rtx_ssrc: Option<u32>,
    clock_hz: u32,
    source: Option<TrackId>,
    epoch: u32,
    subscriptions: Subscriptions,
    once: Once,
    window: Window,
}

/// One session.
#[derive(Debug)]
struct Watched {
    room: u32,
    shard: usize,
    /// Of sessions whose keys are known.
    opener: Option<(Opener, Profile)>,
    slots: Vec<Outgoing>,
    tracks: Vec<TrackId>,
    open: bool,
}

/// Everything that is known of what leaves the node.
#[derive(Debug, Default)]
pub struct Tap {
    report: Report,
    sessions: BTreeMap<SessionId, Watched>,
    /// Who is, or was, at an address, the newest last.
    at: BTreeMap<SocketAddr, Vec<SessionId>>,
    /// Who publishes a track, as stamps name him.
    publishers: BTreeMap<TrackId, u32>,
    one_seal: OneSeal,
    strangers: Strangers,
    speech: Speech,
    keyframes: KeyframeLimiter,
    scratch: Vec<u8>,
    judged: u64,
    /// Of the shard whose flush is judged.
    paused_packets: u64,
}

impl Tap {
    /// What was found so far.
    #[must_use]
    pub fn report(&self) -> &Report {
        &self.report
    }

    pub(crate) fn report_mut(&mut self) -> &mut Report {
        &mut self.report
    }

    /// Packets of media that were looked into.
    #[must_use]
    pub fn judged(&self) -> u64 {
        self.judged
    }

    /// A session was admitted. `keys` are those of its peer, the peer's side local.
    pub fn admit(
        &mut self,
        session: SessionId,
        room: u32,
        shard: usize,
        keys: Option<&SrtpKeys>,
        slots: &[Slot],
    ) {
        let slots = slots.iter().map(|slot| Outgoing {
            slot: slot.slot,
            kind: slot.kind,
            ssrc: slot.ssrc,
            rtx_ssrc: slot.rtx_ssrc,
            clock_hz: slot.codecs.first().map_or(90_000, |codec| codec.clock_hz),
            source: None,
            epoch: 0,
            subscriptions: Subscriptions::default(),
            once: Once::default(),
            window: Window::default(),
        });
        let watched = Watched {
            room,
            shard,
            opener: keys.map(|keys| (Opener::new(keys), keys.profile)),
            slots: slots.collect(),
            tracks: Vec::new(),
            open: true,
        };
        self.sessions.insert(session, watched);
    }

    /// The peer of a session is at an address.
    pub fn introduce(&mut self, session: SessionId, address: SocketAddr) {
        self.strangers.introduce(address);
        let here = self.at.entry(address).or_default();
        here.retain(|&other| other != session);
        here.push(session);
    }

    /// A session publishes a track.
    pub fn publish(&mut self, session: SessionId, track: TrackId, publisher: u32) {
        self.publishers.insert(track, publisher);
        if let Some(watched) = self.sessions.get_mut(&session) {
            watched.tracks.push(track);
        }
    }

    /// A track fills a slot, or nothing does.
    pub fn fill(&mut self, now: Micros, session: SessionId, slot: SlotId, track: Option<TrackId>) {
        let publisher = track.and_then(|track| self.publishers.get(&track).copied());
        let Some(watched) = self.sessions.get_mut(&session) else {
            return;
        };
        for outgoing in watched.slots.iter_mut().filter(|other| other.slot == slot) {
            if outgoing.source != track {
                outgoing.source = track;
                outgoing.epoch += 1;
                outgoing.subscriptions.fill(now, publisher);
            }
        }
    }

    /// A session ended, with everything it published.
    pub fn close(&mut self, now: Micros, session: SessionId) {
        let Some(watched) = self.sessions.get_mut(&session) else {
            return;
        };
        watched.open = false;
        for track in std::mem::take(&mut watched.tracks) {
            self.end_track(now, track);
        }
        if let Some(watched) = self.sessions.get_mut(&session) {
            for slot in &mut watched.slots {
                slot.source = None;
                slot.subscriptions.fill(now, None);
            }
        }
    }

    fn end_track(&mut self, now: Micros, track: TrackId) {
        self.publishers.remove(&track);
        let slots = self.sessions.values_mut().flat_map(|w| &mut w.slots);
        for slot in slots.filter(|slot| slot.source == Some(track)) {
            slot.source = None;
            slot.epoch += 1;
            slot.subscriptions.fill(now, None);
        }
    }

    /// Sessions that were admitted and did not end.
    pub fn open_sessions(&self) -> impl Iterator<Item = (SessionId, usize)> + '_ {
        let open = self.sessions.iter().filter(|(_, watched)| watched.open);
        open.map(|(&session, watched)| (session, watched.shard))
    }

    /// What a shard should hold.
    #[must_use]
    pub fn expected(&self, shard: usize) -> Expected {
        let mut expected = Expected::default();
        let here = |watched: &&Watched| watched.open && watched.shard == shard;
        for watched in self.sessions.values().filter(here) {
            expected.sessions += 1;
            expected.tracks += watched.tracks.len();
            let filled = watched.slots.iter().filter(|slot| slot.source.is_some());
            expected.subscriptions += filled.count();
        }
        expected
    }

    /// The node took a packet of a publisher's microphone.
    pub fn audio_arrived(&mut self, now: Micros, publisher: u32, seq: u16) {
        self.speech.arrived(now, publisher, seq);
    }

    /// A flush of a shard begins, which has withheld so many packets from viewers it cannot reach.
    pub fn begin_flush(&mut self, paused_packets: u64) {
        self.speech.begin();
        self.paused_packets = paused_packets;
    }

    /// One datagram of the flush.
    pub fn judge(&mut self, now: Micros, to: SocketAddr, bytes: &[u8]) {
        if let Some(what) = self.strangers.judge(to, bytes.len()) {
            self.report.add(Strangers::NAME, now, what);
            return;
        }
        match bytes.first() {
            Some(128..=191) if is_rtcp(bytes) => self.judge_rtcp(now, to, bytes),
            Some(128..=191) => self.judge_rtp(now, to, bytes),
            // Checks and handshakes have nothing to look into.
            Some(_) | None => {}
        }
    }

    fn judge_rtcp(&mut self, now: Micros, to: SocketAddr, bytes: &[u8]) {
        let Some(&[ssrc0, ssrc1, ssrc2, ssrc3]) = bytes.get(4..8) else {
            return;
        };
        let ssrc = u32::from_be_bytes([ssrc0, ssrc1, ssrc2, ssrc3]);
        for &session in self.at.get(&to).into_iter().flatten().rev() {
            let Some(watched) = self.sessions.get_mut(&session) else {
                continue;
            };
            let Some((opener, profile)) = &mut watched.opener else {
                continue;
            };
            self.scratch.clear();
            self.scratch.extend_from_slice(bytes);
            let Ok(len) = opener.open_rtcp(&mut self.scratch) else {
                continue;
            };
            let word_at = match profile {
                Profile::Aes128CmSha1_80 => bytes.len() - profile.tag_bytes() - SRTCP_WORD_BYTES,
                Profile::AeadAes128Gcm | Profile::AeadAes256Gcm => bytes.len() - SRTCP_WORD_BYTES,
            };
            let word = [0, 1, 2, 3].map(|n| bytes[word_at + n]);
            let index = u32::from_be_bytes(word);
            let seal = self
                .one_seal
                .note_control(session, ssrc, index, digest(bytes));
            if seal == Seal::Reused {
                let what = format!("SRTCP index {index:#x} of session {session}");
                self.report.add(OneSeal::NAME, now, what);
            }
            for packet in Compound::parse(&self.scratch[..len]) {
                let asked = match packet {
                    Ok(Packet::Pli(pli)) => vec![pli.media_ssrc],
                    Ok(Packet::Fir(fir)) => fir.entries().map(|entry| entry.ssrc).collect(),
                    Ok(_) => Vec::new(),
                    Err(error) => {
                        let what = format!("RTCP of our own: {error}");
                        self.report.add(Payloads::NAME, now, what);
                        Vec::new()
                    }
                };
                for ssrc in asked {
                    if let Some(what) = self.keyframes.judge(now, session, ssrc) {
                        self.report.add(KeyframeLimiter::NAME, now, what);
                    }
                }
            }
            return;
        }
    }

    fn judge_rtp(&mut self, now: Micros, to: SocketAddr, bytes: &[u8]) {
        let Ok(view) = RtpView::parse(bytes) else {
            self.report
                .add(Payloads::NAME, now, "RTP of our own is malformed");
            return;
        };
        let (ssrc, seq) = (view.ssrc(), view.seq());
        let content = digest(bytes);
        let mut reused = None;
        let candidates = self.at.get(&to).cloned().unwrap_or_default();
        for &session in candidates.iter().rev() {
            match self.one_seal.look(session, ssrc, seq, content) {
                Seal::Again => return self.judge_open(now, session),
                Seal::Reused => reused = Some(session),
                Seal::New => {}
            }
            let Some(watched) = self.sessions.get_mut(&session) else {
                continue;
            };
            let Some((opener, _)) = &mut watched.opener else {
                // Its keys are not known: the newest peer at this address is whom it is for.
                if reused.is_none() {
                    self.one_seal.note(session, ssrc, seq, content);
                    return;
                }
                continue;
            };
            self.scratch.clear();
            self.scratch.extend_from_slice(bytes);
            let Ok(header) = header_len(&self.scratch) else {
                return;
            };
            let Ok(opened) = opener.open_rtp(&mut self.scratch, header) else {
                continue;
            };
            self.one_seal.note(session, ssrc, seq, content);
            self.judge_open(now, session);
            let scratch = std::mem::take(&mut self.scratch);
            self.judge_opened(
                now,
                session,
                opened.index,
                bytes.len(),
                &scratch[..opened.payload.end],
            );
            self.scratch = scratch;
            return;
        }
        match reused {
            Some(session) => {
                let what = format!("SSRC {ssrc:#x} number {seq} of session {session}");
                self.report.add(OneSeal::NAME, now, what);
            }
            None => {
                let what = format!("SSRC {ssrc:#x} number {seq} to {to} opens with no key");
                self.report.add(Payloads::NAME, now, what);
            }
        }
    }

    fn judge_open(&mut self, now: Micros, session: SessionId) {
        if self
            .sessions
            .get(&session)
            .is_some_and(|watched| !watched.open)
        {
            let what = format!("media for session {session}, which ended");
            self.report.add(Subscriptions::NAME, now, what);
        }
    }

    /// `packet` is decrypted, its padding still inside.
    fn judge_opened(
        &mut self,
        now: Micros,
        session: SessionId,
        index: u64,
        len: usize,
        packet: &[u8],
    ) {
        let report = &mut self.report;
        let Ok(view) = RtpView::parse(packet) else {
            return;
        };
        let Ok(payload) = strip_padding(view.payload(), view.has_padding()) else {
            report.add(Payloads::NAME, now, "padding of our own is malformed");
            return;
        };
        let Some(watched) = self.sessions.get_mut(&session) else {
            return;
        };
        let ssrc = view.ssrc();
        let of_slot = |slot: &&mut Outgoing| slot.ssrc == ssrc || slot.rtx_ssrc == Some(ssrc);
        let Some(slot) = watched.slots.iter_mut().find(of_slot) else {
            report.add(
                Subscriptions::NAME,
                now,
                format!("SSRC {ssrc:#x}, which session {session} has not"),
            );
            return;
        };
        self.judged += 1;
        let repairs = slot.rtx_ssrc == Some(ssrc);
        if payload.is_empty() {
            // A probe carries nothing.
            return;
        }
        let (original, media) = match (repairs, read_osn(payload)) {
            (false, _) => (None, payload),
            (true, Some((osn, media))) => (Some(osn), media),
            (true, None) => return,
        };
        let Some(stamp) = Stamp::read(media, slot.kind) else {
            report.add(
                Payloads::NAME,
                now,
                format!("index {index} of session {session} holds what nobody sent"),
            );
            return;
        };
        if let Some(what) = Lengths::judge(len, &stamp) {
            report.add(Lengths::NAME, now, what);
        }
        let content = digest(media);
        if let Some(osn) = original {
            let first = slot.window.by_seq(osn.0);
            if let Some(what) = first.and_then(|note| Repairs::judge(note, &stamp, content)) {
                report.add(Repairs::NAME, now, what);
            }
            return;
        }
        if let Some(what) = slot.subscriptions.judge(now, watched.room, &stamp) {
            report.add(Subscriptions::NAME, now, what);
        }
        if let Some(what) = self.speech.judge(now, session, slot.kind, &stamp) {
            report.add(Speech::NAME, now, what);
        }
        if let Some(what) = slot.once.note(slot.epoch, index, &stamp) {
            // Its neighbours are not to blame.
            report.add(Once::NAME, now, what);
            return;
        }
        let video = slot.kind == MediaKind::Video;
        let note = Note {
            index,
            at: now,
            timestamp: view.timestamp(),
            stamp,
            picture: if video { read_picture(media) } else { None },
            begins_keyframe: !video || begins_keyframe(media),
            epoch: slot.epoch,
            paused_packets: self.paused_packets,
            digest: content,
        };
        let clock_hz = slot.clock_hz;
        if slot.window.is_empty()
            && let Some(what) = SwitchPoints::judge(None, &note)
        {
            report.add(SwitchPoints::NAME, now, what);
        }
        slot.window.insert(note, |earlier, later| {
            let found = [
                (Continuity::NAME, Continuity::judge(earlier, later)),
                (Times::NAME, Times::judge(earlier, later, clock_hz)),
                (Pictures::NAME, Pictures::judge(earlier, later)),
                (
                    SwitchPoints::NAME,
                    SwitchPoints::judge(Some(earlier), later),
                ),
            ];
            for (name, what) in found {
                if let Some(what) = what {
                    report.add(name, now, format!("session {session}: {what}"));
                }
            }
        });
    }
}
