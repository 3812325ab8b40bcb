//! Members: people who joined, have keys, and misuse them.

use std::io;
use std::sync::Arc;

use super::Attack;
use crate::floor::PACKET_BYTES;
use crate::load::guest::{Guest, Heard};
use crate::load::peer::Seat;
use crate::load::publisher::{Header, describe};
use crate::srtp::{Keys, RTP_HEADER_BYTES};

/// SSRC members put into their reports.
const REPORTER: [u8; 4] = [0, 0, 0, 9];

/// What an attack needs of a guest, who is connected as long as somebody holds the rest.
#[derive(Debug)]
pub(crate) struct Member {
    guest: Guest,
    /// SRTCP index of the last packet; the reports of a guest are all the attack's.
    index: u32,
}

impl Member {
    pub(crate) fn new(guest: Guest) -> Member {
        Member { guest, index: 0 }
    }

    fn seat(&self) -> &Seat {
        &self.guest.seat
    }

    fn keys(&self) -> &Keys {
        &self.guest.keys
    }

    /// What came to this member.
    pub(crate) fn heard(&self) -> Arc<Heard> {
        Arc::clone(&self.guest.heard)
    }

    fn send(&self, packet: &[u8]) -> io::Result<()> {
        self.seat()
            .socket
            .send_to(packet, self.guest.node())
            .map(|_| ())
    }

    fn report(&mut self, plain: &[u8]) -> io::Result<()> {
        self.index = (self.index + 1) & 0x7fff_ffff;
        let sealed = self.keys().seal_rtcp(plain, self.index);
        self.send(&sealed)
    }
}

/// S5: media with valid tags, each packet of an SSRC never seen before.
#[derive(Debug)]
pub(crate) struct RandomSsrcs {
    member: Member,
    packet: Vec<u8>,
    sealed: Vec<u8>,
}

impl RandomSsrcs {
    pub(crate) fn new(member: Member) -> RandomSsrcs {
        RandomSsrcs {
            member,
            packet: vec![0x5a; PACKET_BYTES],
            sealed: vec![0; PACKET_BYTES + 16],
        }
    }
}

impl Attack for RandomSsrcs {
    fn fire(&mut self) -> io::Result<()> {
        let index = 1;
        Header {
            marker: true,
            payload_type: self.member.seat().payload_type,
            index,
            timestamp: 0,
            ssrc: rand::random(),
        }
        .write(&mut self.packet);
        let length =
            self.member
                .keys()
                .seal(&self.packet, RTP_HEADER_BYTES, index, &mut self.sealed);
        self.member.send(&self.sealed[..length])
    }
}

/// R10: media of one stream, far more than anybody needs.
#[derive(Debug)]
pub(crate) struct Flood {
    member: Member,
    ssrc: u32,
    packet: Vec<u8>,
    sealed: Vec<u8>,
    index: u64,
}

/// Packets of a frame of the flood.
const FLOOD_BURST: u64 = 40;

impl Flood {
    /// `None` when the member offered nothing to send.
    pub(crate) fn new(member: Member) -> Option<Flood> {
        Some(Flood {
            ssrc: member.seat().ssrc?,
            member,
            packet: vec![0x5a; PACKET_BYTES],
            sealed: vec![0; PACKET_BYTES + 16],
            index: 1,
        })
    }
}

impl Attack for Flood {
    fn fire(&mut self) -> io::Result<()> {
        let (frame, place) = (self.index / FLOOD_BURST, self.index % FLOOD_BURST);
        Header {
            marker: place + 1 == FLOOD_BURST,
            payload_type: self.member.seat().payload_type,
            index: self.index,
            // 500 frames a second on the clock of video.
            timestamp: frame * 180,
            ssrc: self.ssrc,
        }
        .write(&mut self.packet);
        let picture = u16::try_from(frame & 0x7fff).unwrap_or(0);
        let payload = &mut self.packet[RTP_HEADER_BYTES..];
        describe(payload, picture, place == 0, frame.is_multiple_of(250));
        let length =
            self.member
                .keys()
                .seal(&self.packet, RTP_HEADER_BYTES, self.index, &mut self.sealed);
        self.index += 1;
        self.member.send(&self.sealed[..length])
    }
}

/// R9: empty receiver reports.
#[derive(Debug)]
pub(crate) struct Reports(Member);

impl Reports {
    pub(crate) fn new(member: Member) -> Reports {
        Reports(member)
    }
}

impl Attack for Reports {
    fn fire(&mut self) -> io::Result<()> {
        self.0.report(&empty_report())
    }
}

/// R6: keyframe requests of many viewers, PLI and FIR in turn.
#[derive(Debug)]
pub(crate) struct KeyframeStorm {
    members: Vec<Member>,
    next: usize,
}

impl KeyframeStorm {
    pub(crate) fn new(members: Vec<Member>) -> KeyframeStorm {
        KeyframeStorm { members, next: 0 }
    }
}

impl Attack for KeyframeStorm {
    fn fire(&mut self) -> io::Result<()> {
        let count = self.members.len();
        let round = self.next / count;
        let member = &mut self.members[self.next % count];
        self.next = self.next.wrapping_add(1);
        let (ssrc, _) = member.guest.heard.last();
        let request = match round % 2 {
            0 => pli(ssrc),
            _ => fir(ssrc, u8::try_from(round & 0xff).unwrap_or(0)),
        };
        member.report(&[empty_report(), request].concat())
    }
}

/// R7: one viewer says that it has received nothing of the last thousand packets.
#[derive(Debug)]
pub(crate) struct FullWindowNacks(Member);

impl FullWindowNacks {
    pub(crate) fn new(member: Member) -> FullWindowNacks {
        FullWindowNacks(member)
    }
}

impl Attack for FullWindowNacks {
    fn fire(&mut self) -> io::Result<()> {
        let (ssrc, sequence) = self.0.guest.heard.last();
        self.0
            .report(&[empty_report(), nack(ssrc, sequence)].concat())
    }
}

/// A receiver report without a block (RFC 3550 section 6.4.2).
fn empty_report() -> Vec<u8> {
    [&[0x80, 201, 0, 1], REPORTER.as_slice()].concat()
}

/// RFC 4585 section 6.3.1.
fn pli(ssrc: u32) -> Vec<u8> {
    [&[0x81, 206, 0, 2], REPORTER.as_slice(), &ssrc.to_be_bytes()].concat()
}

/// RFC 5104 section 4.3.1; a request counts as new when its number is.
fn fir(ssrc: u32, number: u8) -> Vec<u8> {
    [
        &[0x84, 206, 0, 4],
        REPORTER.as_slice(),
        &[0; 4],
        &ssrc.to_be_bytes(),
        &[number, 0, 0, 0],
    ]
    .concat()
}

/// Entries of one NACK: each names 17 packets (RFC 4585 section 6.2.1).
const NACK_ENTRIES: u16 = 60;

/// The last 1,020 packets up to `last`, all of them.
fn nack(ssrc: u32, last: u16) -> Vec<u8> {
    let words = 2 + NACK_ENTRIES;
    let mut packet = vec![0x81, 205];
    packet.extend(words.to_be_bytes());
    packet.extend(REPORTER);
    packet.extend(ssrc.to_be_bytes());
    for entry in 0..NACK_ENTRIES {
        let first = last.wrapping_sub(17 * (NACK_ENTRIES - entry) - 1);
        packet.extend(first.to_be_bytes());
        packet.extend([0xff; 2]);
    }
    packet
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Packets of a compound, by the lengths they claim.
    fn split(mut compound: &[u8]) -> Vec<&[u8]> {
        let mut packets = Vec::new();
        while let [_, _, high, low, ..] = *compound {
            let length = 4 * (usize::from(u16::from_be_bytes([high, low])) + 1);
            let (packet, rest) = compound.split_at(length);
            packets.push(packet);
            compound = rest;
        }
        packets
    }

    #[test]
    fn reports_claim_the_length_they_have() {
        let compound = [empty_report(), pli(7), fir(7, 3), nack(7, 5)].concat();
        let kinds: Vec<_> = split(&compound)
            .iter()
            .map(|packet| (packet[0] & 0x1f, packet[1]))
            .collect();
        assert_eq!(kinds, [(0, 201), (1, 206), (4, 206), (1, 205)]);
    }

    #[test]
    fn a_full_window_ends_at_the_last_packet() {
        let packet = nack(7, 1019);
        let entry = |at: usize| u16::from_be_bytes([packet[at], packet[at + 1]]);
        assert_eq!(entry(12), 0);
        assert_eq!(entry(16), 17);
        assert_eq!(entry(packet.len() - 4) + 16, 1019);
    }
}
