//! Proof that every checker can fire: a bug planted between the node and its checkers. It knows the keys of the
//! sessions, so it can open what the node sealed, change it and seal it again, or lie about what was counted.
//! The node itself has no switch for any of it.

mod plant;

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};

use codecs::payload::vp8::Descriptor;
use codecs::rtcp::pli_fir::write_pli;
use codecs::rtcp::sr_rr::write_rr;
use codecs::rtcp::{Compound, Packet as Rtcp, is_rtcp};
use codecs::rtp::view::header_len;
use codecs::rtp::write::{set_padding, set_seq, set_timestamp};
use codecs::rtp::{ExtSeq, RtpView, extension_range};
use dataplane_api::ids::SessionId;
use dataplane_api::media::MediaKind;
use dataplane_engine::Population;
use dataplane_engine::stats::Counters;
use dataplane_engine::time::Micros;
use dataplane_engine::transport::keys::{RTCP_OVERHEAD_MAX, SrtpKeys};
use dataplane_engine::transport::srtp::{Opener, Sealer};

pub use self::plant::Plant;
use crate::source::{TRANSPORT_CC, codec};
use crate::stamp::{Stamp, begins_keyframe, read_picture};
use crate::wire::Committed;

/// Where nobody ever was.
const STRANGER: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::new(203, 0, 113, 99)), 9);
/// A stream flows once so many of its packets were sent.
const FLOWING_PACKETS: u64 = 40;
/// More than any packet needs.
const PACKET_BYTES_MAX: usize = 2_000;

/// The saboteur's keys to one session.
#[derive(Debug)]
struct Access {
    /// It gets retransmissions on a stream of their own.
    rtx: bool,
    /// Packets of its video that were opened.
    seen: u64,
    opener: Opener,
    sealer: Sealer,
    forger: Sealer,
}

/// A packet that was opened.
struct Opened {
    index: u64,
    header_len: usize,
    /// Header and payload, padding included.
    packet: Vec<u8>,
}

/// Plants one bug.
#[derive(Debug)]
pub struct Saboteur {
    plant: Plant,
    from: Micros,
    sessions: BTreeMap<SessionId, Access>,
    at: BTreeMap<SocketAddr, SessionId>,
    /// The session that is the victim, once there is one.
    victim: Option<SessionId>,
    /// How often the bug happened.
    planted: u64,
    /// What became of a sealed packet, by SSRC and sequence number: a repetition of it becomes the same.
    changed: BTreeMap<(u32, u16), Vec<u8>>,
    /// The packet before, for those that repeat it.
    previous: Option<Vec<u8>>,
    /// Differences between what is told and what is true.
    sent_lie: u64,
}

impl Saboteur {
    /// Plants `plant` from time `from` on.
    #[must_use]
    pub fn new(plant: Plant, from: Micros) -> Saboteur {
        Saboteur {
            plant,
            from,
            sessions: BTreeMap::new(),
            at: BTreeMap::new(),
            victim: None,
            planted: 0,
            changed: BTreeMap::new(),
            previous: None,
            sent_lie: 0,
        }
    }

    /// How often the bug happened.
    #[must_use]
    pub fn planted(&self) -> u64 {
        self.planted
    }

    /// A session, its peer's keys (the peer's side local), and where the peer is.
    pub(crate) fn introduce(
        &mut self,
        session: SessionId,
        keys: &SrtpKeys,
        address: SocketAddr,
        rtx: bool,
    ) {
        let node_side = SrtpKeys {
            profile: keys.profile,
            local: keys.remote.clone(),
            remote: keys.local.clone(),
        };
        self.at.insert(address, session);
        self.sessions.entry(session).or_insert_with(|| Access {
            rtx,
            seen: 0,
            opener: Opener::new(keys),
            sealer: Sealer::new(&node_side),
            forger: Sealer::new(&node_side),
        });
    }

    /// Changes what a shard sent in one flush, and what it says it counted.
    pub(crate) fn tamper(
        &mut self,
        now: Micros,
        shard: usize,
        committed: &mut Vec<Committed>,
        counters: &mut Counters,
        population: &mut Population,
    ) {
        if shard == 0 {
            if now >= self.from {
                self.plant(committed, counters, population);
            }
            counters.sent_packets = counters.sent_packets.wrapping_add(self.sent_lie);
        }
    }

    fn plant(
        &mut self,
        committed: &mut Vec<Committed>,
        counters: &mut Counters,
        population: &mut Population,
    ) {
        match self.plant {
            Plant::LosesReceived => {
                self.planted = 1;
                counters.accepted_packets -= 1;
            }
            Plant::LosesSelected => {
                self.planted = 1;
                counters.selected_packets += 1;
            }
            Plant::LeaksSession => {
                self.planted = 1;
                population.sessions += 1;
            }
            Plant::SwallowsControl => {
                let report = committed.iter().position(|c| is_rtcp(&c.bytes));
                if let Some(report) = report.filter(|_| self.planted == 0) {
                    self.planted = 1;
                    committed.remove(report);
                }
            }
            Plant::AnswersStranger => {
                if let Some(first) = committed.first().filter(|_| self.planted == 0).cloned() {
                    let mut copy = first;
                    copy.path.remote = STRANGER;
                    self.add(committed, copy);
                }
            }
            Plant::DelaysSpeech => self.delay_speech(committed),
            Plant::AsksTwice => self.ask_twice(committed),
            Plant::GoesSilent => self.go_silent(committed),
            Plant::SealsTwice
            | Plant::LeavesHole
            | Plant::JumpsPictures
            | Plant::RunsBackwards
            | Plant::ForwardsTwice
            | Plant::SwitchesAnywhere
            | Plant::LeaksRoom
            | Plant::ForwardsDamage
            | Plant::RepairsWrongly
            | Plant::PadsTooMuch => self.change_media(committed),
        }
    }

    /// One more datagram than the node sent.
    fn add(&mut self, committed: &mut Vec<Committed>, datagram: Committed) {
        committed.push(datagram);
        self.planted += 1;
        self.sent_lie = self.sent_lie.wrapping_add(1);
    }

    fn delay_speech(&mut self, committed: &mut [Committed]) {
        let ssrc = |c: &Committed| RtpView::parse(&c.bytes).map_or(0, |view| view.ssrc());
        let pt = |c: &Committed, kind| {
            !is_rtcp(&c.bytes)
                && matches!(c.bytes.first(), Some(128..=191))
                && RtpView::parse(&c.bytes).is_ok_and(|v| v.payload_type() == codec(kind).pt)
        };
        let Some(audio) = committed.iter().position(|c| pt(c, MediaKind::Audio)) else {
            return;
        };
        let to = committed[audio].path.remote;
        let video = committed.iter().rposition(|c| {
            c.path.remote == to && pt(c, MediaKind::Video) && ssrc(c) != ssrc(&committed[audio])
        });
        if let Some(video) = video.filter(|&video| video > audio && self.planted == 0) {
            self.planted = 1;
            committed[audio..=video].rotate_left(1);
        }
    }

    fn ask_twice(&mut self, committed: &mut Vec<Committed>) {
        if self.planted > 0 {
            return;
        }
        let mut forged = None;
        for datagram in committed.iter().filter(|c| is_rtcp(&c.bytes)) {
            let Some(session) = self.at.get(&datagram.path.remote) else {
                continue;
            };
            let Some(access) = self.sessions.get_mut(session) else {
                continue;
            };
            let mut plain = datagram.bytes.clone();
            let Ok(len) = access.opener.open_rtcp(&mut plain) else {
                continue;
            };
            let pli = Compound::parse(&plain[..len]).find_map(|packet| match packet {
                Ok(Rtcp::Pli(pli)) => Some(pli),
                Ok(_) | Err(_) => None,
            });
            if let Some(pli) = pli {
                let mut compound = [0; 100];
                let fits = "invariant: a report and a request fit";
                // SRTCP indices are counted by SSRC: one of its own collides with none of the node's.
                let sender = pli.sender_ssrc.wrapping_add(1);
                let mut at = write_rr(&mut compound, sender, &[]).expect(fits);
                at += write_pli(&mut compound[at..], sender, pli.media_ssrc).expect(fits);
                let mut bytes = vec![0; at + RTCP_OVERHEAD_MAX];
                let len = access.forger.seal_rtcp(&compound[..at], &mut bytes);
                bytes.truncate(len.expect("invariant: few are forged"));
                forged = Some(Committed {
                    path: datagram.path,
                    bytes,
                    left: true,
                });
                break;
            }
        }
        if let Some(forged) = forged {
            self.add(committed, forged);
        }
    }

    fn go_silent(&mut self, committed: &mut Vec<Committed>) {
        let video = codec(MediaKind::Video).pt;
        let at = &self.at;
        let media = |c: &Committed| {
            matches!(c.bytes.first(), Some(128..=191))
                && !is_rtcp(&c.bytes)
                && RtpView::parse(&c.bytes).is_ok_and(|view| view.payload_type() >= video)
        };
        if self.victim.is_none() {
            let first = committed.iter().find(|c| media(c));
            self.victim = first.and_then(|c| at.get(&c.path.remote).copied());
        }
        let victim = self.victim;
        let before = committed.len();
        committed.retain(|c| !media(c) || at.get(&c.path.remote).copied() != victim);
        let gone = (before - committed.len()) as u64;
        self.planted += gone;
        self.sent_lie = self.sent_lie.wrapping_sub(gone);
    }

    /// Changes packets of the video of one viewer.
    fn change_media(&mut self, committed: &mut Vec<Committed>) {
        let mut extra = Vec::new();
        for datagram in committed.iter_mut() {
            let bytes = &datagram.bytes;
            if !matches!(bytes.first(), Some(128..=191)) || is_rtcp(bytes) {
                continue;
            }
            let Some(&session) = self.at.get(&datagram.path.remote) else {
                continue;
            };
            if self.victim.is_some_and(|victim| victim != session) {
                continue;
            }
            let Ok(view) = RtpView::parse(bytes) else {
                continue;
            };
            let video = codec(MediaKind::Video).pt;
            let repair = view.payload_type() == video + 1;
            if !(view.payload_type() == video || repair) {
                continue;
            }
            let (ssrc, seq) = (view.ssrc(), view.seq());
            if let Some(before) = self.changed.get(&(ssrc, seq.0)) {
                datagram.bytes.clone_from(before);
                continue;
            }
            let Some(opened) = self.open(session, bytes) else {
                continue;
            };
            if !self.may_change(session, repair) {
                continue;
            }
            let Some((index, packet)) = self.change(&opened) else {
                continue;
            };
            self.victim = Some(session);
            self.planted += 1;
            let sealed = self.seal(session, index, opened.header_len, &packet);
            if self.plant == Plant::SealsTwice {
                let mut copy = datagram.clone();
                copy.bytes = sealed;
                extra.push(copy);
            } else {
                self.changed.insert((ssrc, seq.0), sealed.clone());
                datagram.bytes = sealed;
            }
        }
        for datagram in extra {
            committed.push(datagram);
            self.sent_lie = self.sent_lie.wrapping_add(1);
        }
    }

    /// Retransmissions are changed by the bug that is about them alone. What is changed for a viewer with RTX would
    /// be repaired by an unchanged one, so the others choose a viewer without. They wait until its stream flows,
    /// but for the bug that is about its beginning.
    fn may_change(&mut self, session: SessionId, repair: bool) -> bool {
        let of_repair = self.plant == Plant::RepairsWrongly;
        let flows = self.plant == Plant::SwitchesAnywhere || of_repair;
        let Some(access) = self.sessions.get_mut(&session) else {
            return false;
        };
        access.seen += 1;
        repair == of_repair && access.rtx == of_repair && (flows || access.seen > FLOWING_PACKETS)
    }

    fn open(&mut self, session: SessionId, bytes: &[u8]) -> Option<Opened> {
        let access = self.sessions.get_mut(&session)?;
        let mut packet = bytes.to_vec();
        let header_len = header_len(&packet).ok()?;
        let opened = access.opener.open_rtp(&mut packet, header_len).ok()?;
        packet.truncate(opened.payload.end);
        Some(Opened {
            index: opened.index,
            header_len,
            packet,
        })
    }

    fn seal(
        &mut self,
        session: SessionId,
        index: u64,
        header_len: usize,
        packet: &[u8],
    ) -> Vec<u8> {
        let mut out = vec![0; PACKET_BYTES_MAX];
        out[..packet.len()].copy_from_slice(packet);
        let access = self
            .sessions
            .get_mut(&session)
            .expect("invariant: just opened with it");
        let len =
            access
                .sealer
                .seal_rtp_in_place(index, header_len, packet.len() - header_len, &mut out);
        out.truncate(len);
        out
    }

    /// What becomes of a packet, with the index it is sealed under; `None` when it stays as it is.
    fn change(&mut self, opened: &Opened) -> Option<(u64, Vec<u8>)> {
        let Opened {
            index,
            header_len,
            packet,
        } = opened;
        let (mut index, header_len) = (*index, *header_len);
        let mut changed = packet.clone();
        let fits = "invariant: the packet has a header";
        let payload = &packet[header_len..];
        let first_time = self.planted == 0;
        match self.plant {
            Plant::SealsTwice if first_time => {
                let range = extension_range(packet, TRANSPORT_CC)?;
                changed[range.start] ^= 1;
            }
            Plant::LeavesHole => {
                index += 1;
                set_seq(&mut changed, ExtSeq(index).seq()).expect(fits);
            }
            Plant::JumpsPictures => {
                let picture = read_picture(payload)?;
                let descriptor = Descriptor::parse(payload)?;
                let id = (picture.id + 500) & 0x7fff;
                descriptor
                    .patch(&mut changed[header_len..], id, picture.tl0)
                    .expect(fits);
            }
            Plant::RunsBackwards if first_time => {
                let timestamp = RtpView::parse(packet).ok()?.timestamp();
                set_timestamp(&mut changed, timestamp.wrapping_sub(90_000)).expect(fits);
            }
            Plant::ForwardsTwice if first_time => {
                if RtpView::parse(packet).ok()?.has_padding() {
                    self.previous = None;
                    return None;
                }
                let previous = self.previous.replace(payload.to_vec())?;
                let part = |payload| Stamp::read(payload, MediaKind::Video).map(|s| s.part);
                // Within one frame and of one length, so that nothing else is wrong with it.
                if previous.len() < payload.len() || part(payload)? == 0 {
                    return None;
                }
                changed.truncate(header_len);
                changed.extend(previous);
            }
            Plant::SwitchesAnywhere if first_time => {
                if !begins_keyframe(payload) {
                    return None;
                }
                let descriptor = Descriptor::parse(payload)?;
                changed[header_len + descriptor.len] |= 1;
            }
            Plant::LeaksRoom if first_time => {
                let mut stamp = Stamp::read(payload, MediaKind::Video)?;
                stamp.room += 1;
                let rewritten = stamp.vp8(payload.len(), read_picture(payload));
                changed[header_len..].copy_from_slice(&rewritten);
            }
            Plant::ForwardsDamage if first_time => {
                // Behind descriptor and frame header, before any padding.
                changed[header_len + 30] ^= 0x10;
            }
            Plant::RepairsWrongly if first_time => {
                let media = payload.get(2..)?;
                let mut stamp = Stamp::read(media, MediaKind::Video)?;
                stamp.captured_us += 1;
                let rewritten = stamp.vp8(media.len(), read_picture(media));
                changed[header_len + 2..].copy_from_slice(&rewritten);
            }
            Plant::PadsTooMuch if first_time => {
                if RtpView::parse(packet).ok()?.has_padding() {
                    return None;
                }
                set_padding(&mut changed, true).expect(fits);
                changed.resize(changed.len() + 89, 0);
                changed.push(90);
            }
            _ => return None,
        }
        Some((index, changed))
    }
}
