//! One end of a session, with the keys of a handshake that took place before the story.

use std::collections::BTreeMap;

use codecs::rtcp::{Compound, Packet, is_rtcp};
use codecs::rtp::RtpView;
use codecs::rtp::view::{header_len, strip_padding};
use dataplane_engine::packet::Path;
use dataplane_engine::transport::keys::{
    Profile, RTCP_OVERHEAD_MAX, RTP_OVERHEAD_MAX, Role, SrtpKeys,
};
use dataplane_engine::transport::replay::guess_index;
use dataplane_engine::transport::srtp::{Opener, Sealer};

use super::orders::Who;
use crate::behaviour;

/// A peer.
#[derive(Debug)]
pub(super) struct Peer {
    pub(super) who: Who,
    /// Where it sends from.
    pub(super) path: Path,
    /// Where it ever sent a check from: what is sent there may be for it.
    pub(super) paths: Vec<Path>,
    pub(super) ufrag: String,
    pub(super) pwd: String,
    keys: SrtpKeys,
    sealer: Sealer,
    opener: Opener,
    /// Highest index sent, by SSRC.
    sent: BTreeMap<u32, u64>,
    /// Every RTP datagram that came, by SSRC and sequence number.
    seen: BTreeMap<(u32, u16), Vec<u8>>,
    /// Payloads that came, by SSRC, without the repetitions.
    pub(super) payloads: BTreeMap<u32, Vec<Vec<u8>>>,
    /// The last sequence number that came, by SSRC.
    last: BTreeMap<u32, u16>,
    /// Keyframe requests and NACKs that came.
    pub(super) asked: u64,
}

impl Peer {
    /// A peer, and the shard's half of its keys.
    pub(super) fn new(
        who: Who,
        path: Path,
        profile: Profile,
        ufrag: String,
        pwd: String,
    ) -> (Peer, SrtpKeys) {
        let session = who.session().0;
        let material: Vec<u8> = (session.to_le_bytes()[0]..=255)
            .cycle()
            .take(profile.keying_material_bytes())
            .collect();
        let keys = |role| {
            SrtpKeys::from_keying_material(profile, role, &material).expect("as much as it takes")
        };
        let peer = Peer {
            who,
            path,
            paths: vec![path],
            ufrag,
            pwd,
            sealer: Sealer::new(&keys(Role::Client)),
            opener: Opener::new(&keys(Role::Client)),
            keys: keys(Role::Client),
            sent: BTreeMap::new(),
            seen: BTreeMap::new(),
            payloads: BTreeMap::new(),
            last: BTreeMap::new(),
            asked: 0,
        };
        (peer, keys(Role::Server))
    }

    /// A packet sealed so that it opens, as far as its sequence number allows. `None` without a header.
    pub(super) fn seal_rtp(&mut self, plain: &[u8]) -> Option<Vec<u8>> {
        let header = header_len(plain).ok()?;
        let view = RtpView::parse(plain).ok()?;
        let (seq, ssrc) = (view.seq().0, view.ssrc());
        let highest = self.sent.get(&ssrc).copied();
        let index = match highest {
            Some(highest) => guess_index(highest, seq)?,
            None => u64::from(seq),
        };
        self.sent.insert(ssrc, index.max(highest.unwrap_or(0)));
        let mut sealed = vec![0; plain.len() + RTP_OVERHEAD_MAX];
        sealed[..plain.len()].copy_from_slice(plain);
        let len = self
            .sealer
            .seal_rtp_in_place(index, header, plain.len() - header, &mut sealed);
        sealed.truncate(len);
        Some(sealed)
    }

    /// A sealed compound. `None` when it is shorter than a header with its SSRC.
    pub(super) fn seal_rtcp(&mut self, plain: &[u8]) -> Option<Vec<u8>> {
        if plain.len() < 8 {
            return None;
        }
        let mut sealed = vec![0; plain.len() + RTCP_OVERHEAD_MAX];
        let len = self.sealer.seal_rtcp(plain, &mut sealed)?;
        sealed.truncate(len);
        Some(sealed)
    }

    /// The last sequence number sent on a stream.
    pub(super) fn last_sent(&self, ssrc: u32) -> u16 {
        let index = self.sent.get(&ssrc).copied().unwrap_or(100);
        u16::try_from(index % (1 << 16)).expect("invariant: 16 bits")
    }

    /// The last sequence number that came on a stream.
    pub(super) fn last_received(&self, ssrc: u32) -> u16 {
        self.last.get(&ssrc).copied().unwrap_or(0)
    }

    /// Opens what the shard sent to one of its paths; whether it is sealed for this peer, or for anybody.
    pub(super) fn receive(&mut self, datagram: &[u8]) -> bool {
        match datagram {
            [0..=3, ..] => {
                let len = datagram.len();
                assert!(len <= 100, "an answer to a check of {len} octets");
                true
            }
            [20..=63, ..] => true,
            _ if is_rtcp(datagram) => self.rtcp(datagram),
            _ => self.rtp(datagram),
        }
    }

    fn rtcp(&mut self, datagram: &[u8]) -> bool {
        let mut packet = datagram.to_vec();
        let Ok(len) = self.opener.open_rtcp(&mut packet) else {
            return false;
        };
        for packet in Compound::parse(&packet[..len]) {
            match packet.expect("what the shard writes is well-formed") {
                Packet::Pli(_) | Packet::Fir(_) | Packet::Nack(_) => {
                    self.asked += 1;
                    behaviour::outcome("asked", &self.who);
                }
                Packet::SenderReport(_) => behaviour::outcome("sender report", &self.who),
                Packet::TransportCc(_) => behaviour::outcome("transport-cc", &self.who),
                Packet::ReceiverReport(report) => {
                    behaviour::size("report blocks", report.blocks().count());
                }
                Packet::Sdes(_) | Packet::Bye(_) | Packet::Remb(_) | Packet::Unknown(_) => {}
            }
        }
        true
    }

    fn rtp(&mut self, datagram: &[u8]) -> bool {
        let sealed = RtpView::parse(datagram).expect("what the shard sends has a header");
        let header = sealed.header_len();
        let key = (sealed.ssrc(), sealed.seq().0);
        let mut packet = datagram.to_vec();
        if let Some(before) = self.seen.get(&key) {
            if before == datagram {
                behaviour::outcome("again", &self.who);
                return true;
            }
            // Without a memory of what was opened: is it sealed with these keys, or with another peer's?
            let mut stranger = Opener::new(&self.keys);
            let ours = stranger.open_rtp(&mut packet, header).is_ok();
            assert!(!ours, "one index, two packets");
            return false;
        }
        let Ok(opened) = self.opener.open_rtp(&mut packet, header) else {
            return false;
        };
        self.seen.insert(key, datagram.to_vec());
        let view = RtpView::parse(&packet[..opened.payload.end]).expect("it was read above");
        let payload =
            strip_padding(view.payload(), view.has_padding()).expect("its padding is right");
        if let Some(last) = self.last.insert(view.ssrc(), view.seq().0) {
            behaviour::note("gap", u64::from(view.seq().0.wrapping_sub(last).min(3)));
        }
        behaviour::note("payload type", u64::from(view.payload_type()));
        self.payloads
            .entry(view.ssrc())
            .or_default()
            .push(payload.to_vec());
        true
    }
}
