//! One peer of these stories: what it seals with, and what it opened.

use std::collections::BTreeMap;

use codecs::payload::dependency::Mandatory;
use codecs::payload::vp8;
use codecs::rtcp::{Compound, Packet, SenderInfo};
use codecs::rtp::RtpView;
use codecs::rtp::rtx::{OSN_LEN, read_osn};
use codecs::rtp::view::{header_len, strip_padding};
use dataplane_api::media::MediaKind;
use dataplane_api::reply::Admitted;

use super::frame::{AUDIO, DESCRIPTOR_EXTENSION, Picture, RTX_PT, RTX_SSRC, VIDEO, ssrc};
use crate::packet::Path;
use crate::transport::srtp::{Opener, Sealer};

/// A packet as its viewer reads it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Shown {
    pub(super) seq: u16,
    pub(super) timestamp: u32,
    pub(super) picture: Option<Picture>,
    pub(super) frame_number: Option<u16>,
    /// The P bit.
    pub(super) is_padded: bool,
    /// Bytes of the payload, without padding.
    pub(super) len: usize,
}

pub(super) struct Peer {
    pub(super) admitted: Admitted,
    pub(super) path: Path,
    pub(super) sealer: Option<Sealer>,
    pub(super) opener: Option<Opener>,
    pub(super) slots: Vec<MediaKind>,
    /// RTP sequence number and number in the payload of what was received, in order of arrival.
    pub(super) received: Vec<(MediaKind, u16, u32)>,
    /// The video among them, in full.
    pub(super) shown: Vec<Shown>,
    /// Sender reports.
    pub(super) reports: Vec<SenderInfo>,
    /// Of what was received, how many came on the retransmission SSRC.
    pub(super) repaired: usize,
    /// Sequence numbers the node asked for again, in order.
    pub(super) asked: Vec<u16>,
    /// The SSRCs the node asked for keyframes of, in order.
    pub(super) keyframes_asked: Vec<u32>,
    /// Index of its next packet on the retransmission SSRC.
    pub(super) rtx_index: u64,
    pub(super) is_deaf: bool,
    /// Every datagram by SSRC and sequence number.
    pub(super) sealed: BTreeMap<(u32, u16), Vec<u8>>,
}

impl Peer {
    pub(super) fn open(&mut self, sealed: &[u8]) {
        let view = RtpView::parse(sealed).unwrap();
        let (ssrc_of, seq) = (view.ssrc(), view.seq().0);
        if let Some(before) = self.sealed.insert((ssrc_of, seq), sealed.to_vec()) {
            assert_eq!(before, sealed, "one index, two packets");
            return;
        }
        let mut packet = sealed.to_vec();
        let header_len = header_len(sealed).unwrap();
        let opened = self
            .opener
            .as_mut()
            .unwrap()
            .open_rtp(&mut packet, header_len)
            .expect("it opens");
        let view = RtpView::parse(&packet[..opened.payload.end]).unwrap();
        let payload = strip_padding(view.payload(), view.has_padding()).unwrap();
        let (kind, seq, payload) = if ssrc_of == ssrc(VIDEO) + RTX_SSRC {
            self.repaired += 1;
            assert_eq!(view.payload_type(), RTX_PT);
            let (osn, _) = read_osn(payload).unwrap();
            (VIDEO, osn.0, &payload[OSN_LEN..])
        } else if ssrc_of == ssrc(AUDIO) {
            (AUDIO, seq, payload)
        } else {
            (VIDEO, seq, payload)
        };
        let descriptor = vp8::Descriptor::parse(payload).unwrap();
        let number_at = descriptor.len + 6;
        let number = u16::from_be_bytes([payload[number_at], payload[number_at + 1]]);
        self.received.push((kind, seq, number.into()));
        if kind == VIDEO {
            let mandatory = view
                .extension(DESCRIPTOR_EXTENSION)
                .and_then(Mandatory::parse);
            self.shown.push(Shown {
                seq,
                timestamp: view.timestamp(),
                picture: descriptor.picture_id.map(|id| Picture {
                    id: id.value(),
                    tl0: descriptor.tl0_pic_idx.unwrap(),
                    key_idx: descriptor.key_idx.unwrap(),
                }),
                frame_number: mandatory.map(|mandatory| mandatory.frame_number),
                is_padded: view.has_padding(),
                len: payload.len(),
            });
        }
    }

    pub(super) fn open_rtcp(&mut self, sealed: &[u8]) {
        let mut packet = sealed.to_vec();
        let opener = self.opener.as_mut().unwrap();
        let len = opener.open_rtcp(&mut packet).expect("it opens");
        for packet in Compound::parse(&packet[..len]) {
            match packet.unwrap() {
                Packet::Nack(nack) => self.asked.extend(nack.seqs().map(|seq| seq.0)),
                Packet::Pli(pli) => self.keyframes_asked.push(pli.media_ssrc),
                Packet::SenderReport(report) => self.reports.push(report.info),
                Packet::ReceiverReport(_)
                | Packet::Sdes(_)
                | Packet::Bye(_)
                | Packet::TransportCc(_)
                | Packet::Remb(_)
                | Packet::Fir(_)
                | Packet::Unknown(_) => {}
            }
        }
    }
}
