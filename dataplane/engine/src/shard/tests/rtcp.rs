//! What the peers of these stories say and are told by RTCP.

use codecs::rtcp::pli_fir::write_pli;
use codecs::rtcp::sr_rr::{write_rr, write_sr};
use codecs::rtcp::{ReportBlock, SenderInfo, nack};
use codecs::rtp::Seq;
use dataplane_api::media::MediaKind;

use super::class::Class;
use super::frame::{VIDEO, ssrc};

impl Class {
    /// A viewer asks for packets of its slot again.
    pub(super) fn nack(&mut self, peer: usize, kind: MediaKind, seqs: &[u16]) {
        let mut seqs: Vec<_> = seqs.iter().copied().map(Seq).collect();
        seqs.sort_unstable_by_key(|seq| seq.0);
        self.send_nack(peer, kind, &seqs);
    }

    /// The same for its video, by numbers that are in order already and may wrap.
    pub(super) fn nack_in_order(&mut self, peer: usize, seqs: &[u16]) {
        let seqs: Vec<_> = seqs.iter().copied().map(Seq).collect();
        self.send_nack(peer, VIDEO, &seqs);
    }

    fn send_nack(&mut self, peer: usize, kind: MediaKind, seqs: &[Seq]) {
        let mut plain = [0; 1_200];
        let len = nack::write(&mut plain, 1, ssrc(kind), seqs).unwrap().len;
        self.send_rtcp(peer, &plain[..len]);
    }

    /// A viewer asks for a keyframe on its slot.
    pub(super) fn wish_keyframe(&mut self, peer: usize) {
        let mut plain = [0; 100];
        let len = write_pli(&mut plain, 1, ssrc(VIDEO)).unwrap();
        self.send_rtcp(peer, &plain[..len]);
    }

    /// An empty receiver report.
    pub(super) fn send_report(&mut self, peer: usize) {
        let mut plain = [0; 100];
        let len = write_rr(&mut plain, 1, &[]).unwrap();
        self.send_rtcp(peer, &plain[..len]);
    }

    /// A publisher says that `timestamp` of its stream is `ntp` on its clock.
    pub(super) fn send_clock(&mut self, peer: usize, ssrc: u32, ntp: u64, timestamp: u32) {
        let info = SenderInfo {
            ssrc,
            ntp,
            rtp_timestamp: timestamp,
            packet_count: 0,
            octet_count: 0,
        };
        let mut plain = [0; 100];
        let len = write_sr(&mut plain, &info, &[]).unwrap();
        self.send_rtcp(peer, &plain[..len]);
    }

    /// A viewer answers a sender report on its video, held back for `held_ms`.
    pub(super) fn answer(&mut self, peer: usize, report: &SenderInfo, held_ms: u32) {
        let block = ReportBlock {
            ssrc: report.ssrc,
            last_sr: report.compact_ntp(),
            delay_since_last_sr: held_ms * 65_536 / 1_000,
            ..ReportBlock::default()
        };
        let mut plain = [0; 100];
        let len = write_rr(&mut plain, 1, &[block]).unwrap();
        self.send_rtcp(peer, &plain[..len]);
    }

    fn send_rtcp(&mut self, peer: usize, plain: &[u8]) {
        let entry = &mut self.peers[peer];
        let path = entry.path;
        let mut bytes = vec![0; plain.len() + 64];
        let len = entry
            .sealer
            .as_mut()
            .unwrap()
            .seal_rtcp(plain, &mut bytes)
            .unwrap();
        self.receive(path, &mut bytes[..len]);
    }

    /// The sender reports that a viewer got since the last call.
    pub(super) fn take_reports(&mut self, peer: usize) -> Vec<SenderInfo> {
        std::mem::take(&mut self.peers[peer].reports)
    }

    /// The round trip to a viewer, as far as it is known.
    pub(super) fn rtt_us(&self, peer: usize) -> Option<u64> {
        let key = self.shard.session_keys[&self.session(peer)];
        self.shard.sessions.get(key).unwrap().rtt_us
    }

    /// What a publisher was asked to send again since the last call.
    pub(super) fn take_asked(&mut self, peer: usize) -> Vec<u16> {
        std::mem::take(&mut self.peers[peer].asked)
    }

    /// How many keyframes a publisher was asked for.
    pub(super) fn keyframes_asked(&self, peer: usize) -> usize {
        self.peers[peer].keyframes_asked.len()
    }

    /// The SSRCs a publisher was asked for keyframes of, in that order.
    pub(super) fn keyframes_of(&self, peer: usize) -> &[u32] {
        &self.peers[peer].keyframes_asked
    }
}
