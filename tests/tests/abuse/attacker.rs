//! What an attacker writes: packets byte by byte, so that they may be as wrong as the story wants.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};

use dataplane_engine::packet::{Path, SocketIndex};
use turn::stun::{BindingRequest, IntegrityKey, Role, TransactionId, write_binding_request};

/// Where the shard is asked.
const LOCAL: IpAddr = IpAddr::V4(Ipv4Addr::new(192, 0, 2, 1));

/// The path of somebody the shard was never told of.
pub(crate) fn foreign(number: u32) -> Path {
    let [_, _, high, low] = (number % 60_000).to_be_bytes();
    path(Ipv4Addr::new(127, 1, high, low), 9)
}

/// The path from an address.
pub(crate) fn path(address: Ipv4Addr, port: u16) -> Path {
    Path {
        local: LOCAL,
        remote: SocketAddr::new(IpAddr::V4(address), port),
        socket: SocketIndex::UDP_V4,
    }
}

/// The header of an RTP packet (RFC 3550 section 5.1).
#[derive(Clone, Copy, Debug)]
pub(crate) struct Rtp {
    pub(crate) marker: bool,
    pub(crate) padding: bool,
    pub(crate) payload_type: u8,
    pub(crate) seq: u16,
    pub(crate) timestamp: u32,
    pub(crate) ssrc: u32,
}

impl Rtp {
    /// The header and `payload` behind it.
    pub(crate) fn packet(&self, payload: &[u8]) -> Vec<u8> {
        let mut packet = vec![
            0x80 | u8::from(self.padding) << 5,
            u8::from(self.marker) << 7 | self.payload_type,
        ];
        packet.extend(self.seq.to_be_bytes());
        packet.extend(self.timestamp.to_be_bytes());
        packet.extend(self.ssrc.to_be_bytes());
        packet.extend(payload);
        packet
    }
}

/// Length of the RTP header of `packet` with CSRCs and extension; `None` when it does not fit.
pub(crate) fn header_len(packet: &[u8]) -> Option<usize> {
    let first = *packet.first()?;
    let csrcs_end = 12 + usize::from(first & 0x0f) * 4;
    if first & 0x10 == 0 {
        return (packet.len() >= csrcs_end).then_some(csrcs_end);
    }
    let words = packet.get(csrcs_end + 2..csrcs_end + 4)?;
    let end = csrcs_end + 4 + usize::from(u16::from_be_bytes([words[0], words[1]])) * 4;
    (packet.len() >= end).then_some(end)
}

/// An RTCP packet (RFC 3550 section 6.1): `count` is the five bits behind version and padding.
pub(crate) fn rtcp(count: u8, packet_type: u8, words: &[u32]) -> Vec<u8> {
    let mut packet = vec![0x80 | count, packet_type];
    packet.extend(u16::try_from(words.len()).unwrap().to_be_bytes());
    packet.extend(words.iter().flat_map(|word| word.to_be_bytes()));
    packet
}

/// A sender report without blocks.
pub(crate) fn sender_report(ssrc: u32, ntp: u64, timestamp: u32) -> Vec<u8> {
    let [high, low] = [ntp >> 32, ntp & 0xffff_ffff].map(|half| u32::try_from(half).unwrap());
    rtcp(0, 200, &[ssrc, high, low, timestamp, 1, 1])
}

/// A receiver report without blocks.
pub(crate) fn receiver_report(sender: u32) -> Vec<u8> {
    rtcp(0, 201, &[sender])
}

/// A receiver report on one SSRC that lost nothing, with what it says of the round trip (RFC 3550 section
/// 6.4.1: LSR and DLSR).
pub(crate) fn round_trip_report(sender: u32, ssrc: u32, lsr: u32, dlsr: u32) -> Vec<u8> {
    rtcp(1, 201, &[sender, ssrc, 0, 0, 0, lsr, dlsr])
}

/// BYE of several SSRCs (RFC 3550 section 6.6).
pub(crate) fn bye(ssrcs: &[u32]) -> Vec<u8> {
    rtcp(u8::try_from(ssrcs.len()).unwrap(), 203, ssrcs)
}

/// NACK (RFC 4585 section 6.2.1) of the 17 sequence numbers from each of `firsts` on.
pub(crate) fn nack(sender: u32, media: u32, firsts: impl IntoIterator<Item = u16>) -> Vec<u8> {
    let mut words = vec![sender, media];
    words.extend(
        firsts
            .into_iter()
            .map(|first| u32::from(first) << 16 | 0xffff),
    );
    rtcp(1, 205, &words)
}

/// PLI (RFC 4585 section 6.3.1).
pub(crate) fn pli(sender: u32, media: u32) -> Vec<u8> {
    rtcp(1, 206, &[sender, media])
}

/// FIR (RFC 5104 section 4.3.1) with an entry an SSRC.
pub(crate) fn fir(sender: u32, number: u8, ssrcs: &[u32]) -> Vec<u8> {
    let mut words = vec![sender, 0];
    for ssrc in ssrcs {
        words.extend([*ssrc, u32::from(number) << 24]);
    }
    rtcp(4, 206, &words)
}

/// REMB (draft-alvestrand-rmcat-remb-03) of an exponent and a mantissa.
pub(crate) fn remb(sender: u32, exponent: u32, mantissa: u32, ssrcs: &[u32]) -> Vec<u8> {
    let count = u32::try_from(ssrcs.len()).unwrap();
    let mut words = vec![sender, 0, u32::from_be_bytes(*b"REMB")];
    words.push(count << 24 | exponent << 18 | mantissa);
    words.extend(ssrcs);
    rtcp(15, 206, &words)
}

/// Transport-wide feedback that says that `count` packets from `base` on were all lost.
pub(crate) fn all_lost(sender: u32, media: u32, base: u16, count: u16) -> Vec<u8> {
    // One run-length chunk of "not received", then padding to the word.
    let words = [
        sender,
        media,
        u32::from(base) << 16 | u32::from(count),
        0,
        u32::from(count.min(0x1fff)) << 16,
    ];
    rtcp(15, 205, &words)
}

/// A connectivity check, sealed with `password`.
pub(crate) fn check(username: &str, password: &str, nominated: bool, id: u64) -> Vec<u8> {
    let mut bytes = [0; 700];
    let mut transaction = [7; 12];
    transaction[..8].copy_from_slice(&id.to_be_bytes());
    let request = BindingRequest {
        transaction_id: TransactionId(transaction),
        username,
        priority: 1,
        role: Role::Controlling(1),
        use_candidate: nominated,
    };
    let key = IntegrityKey::new(password.as_bytes());
    let len = write_binding_request(&mut bytes, &request, &key).unwrap();
    bytes[..len].to_vec()
}

/// xorshift64*: the same numbers for the same seed, everywhere.
#[derive(Clone, Debug)]
pub(crate) struct Random(pub(crate) u64);

impl Random {
    pub(crate) fn next(&mut self) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_f491_4f6c_dd1d)
    }

    pub(crate) fn below(&mut self, end: u64) -> u64 {
        (self.next() >> 16) % end
    }

    pub(crate) fn u32(&mut self) -> u32 {
        u32::try_from(self.next() >> 32).unwrap()
    }

    pub(crate) fn fill(&mut self, bytes: &mut [u8]) {
        for chunk in bytes.chunks_mut(8) {
            chunk.copy_from_slice(&self.next().to_be_bytes()[..chunk.len()]);
        }
    }
}
