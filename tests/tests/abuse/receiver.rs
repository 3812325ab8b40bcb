//! What one peer of a hall received, opened and judged.

use std::collections::HashMap;
use std::hash::{DefaultHasher, Hash, Hasher};

use dataplane_engine::time::Micros;
use dataplane_engine::transport::keys::SrtpKeys;
use dataplane_engine::transport::replay::guess_index;
use dataplane_engine::transport::srtp::Opener;

use crate::attacker::header_len;
use crate::payloads::Stamp;

/// One media packet, the first time it came.
#[derive(Clone, Debug)]
pub(crate) struct Media {
    pub(crate) at: Micros,
    pub(crate) ssrc: u32,
    pub(crate) index: u64,
    /// The whole datagram.
    pub(crate) wire_len: usize,
    pub(crate) stamp: Option<Stamp>,
}

/// The receiving half of a peer.
#[derive(Debug)]
pub(crate) struct Receiver {
    opener: Option<Opener>,
    highest: HashMap<u32, u64>,
    /// A hash of what was sealed under each (SSRC, index) of this peer's key.
    sealed: HashMap<(u32, u64), u64>,
    /// Media in order of arrival, repetitions left out.
    pub(crate) media: Vec<Media>,
    /// When a packet came again, byte for byte: the NACK's answer on the same SSRC.
    pub(crate) repeats: Vec<(Micros, u32, u64)>,
    /// Bytes of media, repetitions included.
    pub(crate) media_bytes: u64,
    /// Compounds in the clear.
    pub(crate) rtcp: Vec<(Micros, Vec<u8>)>,
    /// STUN and DTLS datagrams.
    pub(crate) stun: u64,
    pub(crate) dtls: u64,
    /// When the last datagram of any kind came.
    pub(crate) last_at: Option<Micros>,
    /// Hashes every datagram in order: two runs that send a peer the same bytes agree.
    digest: DefaultHasher,
}

impl Receiver {
    pub(crate) fn new() -> Receiver {
        Receiver {
            opener: None,
            highest: HashMap::new(),
            sealed: HashMap::new(),
            media: Vec::new(),
            repeats: Vec::new(),
            media_bytes: 0,
            rtcp: Vec::new(),
            stun: 0,
            dtls: 0,
            last_at: None,
            digest: DefaultHasher::new(),
        }
    }

    pub(crate) fn install(&mut self, keys: &SrtpKeys) {
        self.opener = Some(Opener::new(keys));
    }

    /// One datagram of the node. What cannot be opened fails the test: the node sealed it for this peer.
    pub(crate) fn receive(&mut self, now: Micros, packet: &mut [u8]) {
        self.last_at = Some(now);
        packet.hash(&mut self.digest);
        match *packet {
            [0..=3, ..] => self.stun += 1,
            [20..=63, ..] => self.dtls += 1,
            [128..=191, 192..=223, ..] => {
                let opener = self.opener.as_mut().expect("no RTCP before the keys");
                let len = opener.open_rtcp(packet).expect("the node's SRTCP opens");
                self.rtcp.push((now, packet[..len].to_vec()));
            }
            _ => self.on_media(now, packet),
        }
    }

    fn on_media(&mut self, now: Micros, packet: &mut [u8]) {
        let opener = self.opener.as_mut().expect("no media before the keys");
        self.media_bytes += packet.len() as u64;
        let seq = u16::from_be_bytes([packet[2], packet[3]]);
        let ssrc = u32::from_be_bytes(*packet[8..12].first_chunk().unwrap());
        let index = match self.highest.get(&ssrc) {
            Some(&highest) => guess_index(highest, seq).unwrap(),
            None => seq.into(),
        };
        let mut hasher = DefaultHasher::new();
        packet.hash(&mut hasher);
        // Security.md S6: under one key, an (SSRC, index) stands for one datagram.
        if let Some(before) = self.sealed.insert((ssrc, index), hasher.finish()) {
            assert_eq!(before, hasher.finish(), "{ssrc:x} {index}: sealed twice");
            self.repeats.push((now, ssrc, index));
            return;
        }
        let header_len = header_len(packet).expect("the node writes whole headers");
        let wire_len = packet.len();
        let opened = opener
            .open_rtp(packet, header_len)
            .expect("the node's SRTP opens");
        assert_eq!(opened.index, index);
        let highest = self.highest.entry(ssrc).or_insert(index);
        *highest = index.max(*highest);
        let payload = &packet[opened.payload];
        let padding = if packet[0] & 0x20 == 0 {
            0
        } else {
            usize::from(*payload.last().unwrap())
        };
        self.media.push(Media {
            at: now,
            ssrc,
            index,
            wire_len,
            stamp: Stamp::read(&payload[..payload.len() - padding]),
        });
    }

    /// The keyframe requests (PLI) among what came, with the SSRC they name.
    pub(crate) fn keyframe_requests(&self) -> impl Iterator<Item = (Micros, u32)> + '_ {
        self.rtcp.iter().flat_map(|(at, compound)| {
            packets(compound)
                .filter(|packet| packet[0] & 0x1f == 1 && packet[1] == 206)
                .map(|packet| {
                    (
                        *at,
                        u32::from_be_bytes(*packet[8..12].first_chunk().unwrap()),
                    )
                })
        })
    }

    /// The NTP time of the last sender report.
    pub(crate) fn last_sender_report(&self) -> Option<(Micros, u64)> {
        self.rtcp.iter().rev().find_map(|(at, compound)| {
            let report = packets(compound).find(|packet| packet[1] == 200)?;
            Some((*at, u64::from_be_bytes(*report[8..16].first_chunk()?)))
        })
    }

    /// The stamps of what one publisher sent, in order of arrival.
    pub(crate) fn numbers_of(&self, publisher: u32) -> Vec<u64> {
        let stamps = self.media.iter().filter_map(|media| media.stamp);
        stamps
            .filter(|stamp| stamp.publisher == publisher)
            .map(|stamp| stamp.number)
            .collect()
    }

    /// Stands for every byte it was ever sent, in order.
    pub(crate) fn digest(&self) -> u64 {
        self.digest.finish()
    }
}

/// The packets of a compound that the node wrote.
fn packets(compound: &[u8]) -> impl Iterator<Item = &[u8]> {
    let mut rest = compound;
    std::iter::from_fn(move || {
        let header = rest.first_chunk::<4>()?;
        let len = 4 * (1 + usize::from(u16::from_be_bytes([header[2], header[3]])));
        let (packet, behind) = rest.split_at(len);
        rest = behind;
        Some(packet)
    })
}
