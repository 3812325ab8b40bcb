//! Packets of people without keys.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

use anyhow::{Context as _, bail};

use crate::floor::PACKET_BYTES;
use crate::load::publisher::Header;
use crate::srtp::RTP_HEADER_BYTES;

/// Makes packets, one after the other.
pub(crate) trait Forge: std::fmt::Debug + Send {
    /// The next one.
    fn next(&mut self) -> &[u8];
}

/// Overwrites `out` with what nobody can foresee.
fn randomise(out: &mut [u8]) {
    for chunk in out.chunks_mut(8) {
        chunk.copy_from_slice(&rand::random::<[u8; 8]>()[..chunk.len()]);
    }
}

/// STUN header: Binding request, length, magic cookie; 12 bytes of transaction follow (RFC 8489 section 5).
const STUN_HEADER_BYTES: usize = 20;
const STUN_TRANSACTION: std::ops::Range<usize> = 8..20;
const STUN_MAGIC: [u8; 4] = [0x21, 0x12, 0xa4, 0x42];

/// T10: a Binding request without credentials, which any STUN server would answer.
#[derive(Debug)]
pub(crate) struct BareBinding([u8; STUN_HEADER_BYTES]);

impl BareBinding {
    pub(crate) fn new() -> BareBinding {
        let mut packet = [0; STUN_HEADER_BYTES];
        packet[1] = 1;
        packet[4..8].copy_from_slice(&STUN_MAGIC);
        BareBinding(packet)
    }
}

impl Forge for BareBinding {
    fn next(&mut self) -> &[u8] {
        randomise(&mut self.0[STUN_TRANSACTION]);
        &self.0
    }
}

/// T12: checks that name real sessions and guess their password. No FINGERPRINT, which would have to be
/// right for the integrity to be looked at.
#[derive(Debug)]
pub(crate) struct GuessedBinding {
    packets: Vec<Vec<u8>>,
    next: usize,
}

impl GuessedBinding {
    /// Guesses for each of `usernames` in turn.
    pub(crate) fn new<'a>(usernames: impl IntoIterator<Item = &'a str>) -> GuessedBinding {
        let packets = usernames.into_iter().map(guess).collect();
        GuessedBinding { packets, next: 0 }
    }
}

/// MESSAGE-INTEGRITY is an HMAC-SHA1 (RFC 8489 section 14.5).
const INTEGRITY_BYTES: usize = 20;

fn guess(username: &str) -> Vec<u8> {
    let mut packet = BareBinding::new().0.to_vec();
    let mut attribute = |kind: u16, value: &[u8]| {
        packet.extend(kind.to_be_bytes());
        let length = u16::try_from(value.len()).unwrap_or(u16::MAX);
        packet.extend(length.to_be_bytes());
        packet.extend(value);
        packet.resize(packet.len().next_multiple_of(4), 0);
    };
    attribute(0x0006, username.as_bytes());
    attribute(0x0024, &0x6e7f_1eff_u32.to_be_bytes());
    attribute(0x802a, &[0x55; 8]);
    attribute(0x0008, &[0; INTEGRITY_BYTES]);
    let length = u16::try_from(packet.len() - STUN_HEADER_BYTES).unwrap_or(u16::MAX);
    packet[2..4].copy_from_slice(&length.to_be_bytes());
    packet
}

impl Forge for GuessedBinding {
    fn next(&mut self) -> &[u8] {
        let count = self.packets.len();
        let packet = &mut self.packets[self.next % count];
        self.next = self.next.wrapping_add(1);
        randomise(&mut packet[STUN_TRANSACTION]);
        let integrity = packet.len() - INTEGRITY_BYTES;
        randomise(&mut packet[integrity..]);
        packet
    }
}

/// D1, D5: ClientHellos of a real client, each with a random of its own.
#[derive(Clone, Debug)]
pub(crate) struct ClientHello(Vec<u8>);

/// Behind the record's header (13), the handshake's (12) and the version (2) (RFC 6347 section 4.2.2).
const HELLO_RANDOM: std::ops::Range<usize> = 27..59;

impl ClientHello {
    /// # Errors
    /// When the DTLS library makes none.
    pub(crate) fn new() -> anyhow::Result<ClientHello> {
        let certificate = dimpl::certificate::generate_self_signed_certificate()
            .map_err(|error| anyhow::anyhow!("no certificate: {error:?}"))?;
        let config = dimpl::Config::builder()
            .build()
            .map_err(|error| anyhow::anyhow!("no DTLS: {error}"))?;
        let now = Instant::now();
        let mut client = dimpl::Dtls::new_12(Arc::new(config), certificate, now);
        client.set_active(true);
        client
            .handle_timeout(now)
            .map_err(|error| anyhow::anyhow!("no ClientHello: {error}"))?;
        let mut buffer = vec![0; 2048];
        let dimpl::Output::Packet(hello) = client.poll_output(&mut buffer) else {
            bail!("the DTLS client begins with something else than a packet");
        };
        hello
            .get(HELLO_RANDOM)
            .context("a ClientHello without a random")?;
        Ok(ClientHello(hello.to_vec()))
    }
}

impl Forge for ClientHello {
    fn next(&mut self) -> &[u8] {
        randomise(&mut self.0[HELLO_RANDOM]);
        &self.0
    }
}

/// D2: what would end or restart an association if anybody could send it.
#[derive(Debug)]
pub(crate) struct DtlsInjection {
    records: Vec<Vec<u8>>,
    next: usize,
}

impl DtlsInjection {
    pub(crate) fn new(hello: &ClientHello) -> DtlsInjection {
        // Content type, DTLS 1.2, epoch, 48-bit sequence number, length (RFC 6347 section 4.1).
        let record = |kind: u8, epoch: u8, body: &[u8]| {
            let length = u16::try_from(body.len()).unwrap_or(u16::MAX).to_be_bytes();
            [
                &[kind, 0xfe, 0xfd, 0, epoch, 0, 0, 0, 0, 0xff, 0xff],
                length.as_slice(),
                body,
            ]
            .concat()
        };
        DtlsInjection {
            records: vec![
                hello.0.clone(),
                // Alerts in plaintext: fatal handshake_failure, warning close_notify.
                record(21, 0, &[2, 40]),
                record(21, 0, &[1, 0]),
                // ServerHelloDone, ChangeCipherSpec.
                record(22, 0, &[14, 0, 0, 0, 0, 5, 0, 0, 0, 0, 0, 0]),
                record(20, 0, &[1]),
                // An alert and data of the encrypted epoch, whose tags are guesses.
                record(21, 1, &[0xa5; 26]),
                record(23, 1, &[0xa5; 64]),
            ],
            next: 0,
        }
    }
}

impl Forge for DtlsInjection {
    fn next(&mut self) -> &[u8] {
        let count = self.records.len();
        let record = &self.records[self.next % count];
        self.next = self.next.wrapping_add(1);
        record
    }
}

/// S1, S2: media that looks like the next packet of a publisher, with a tag that is a guess.
#[derive(Debug)]
pub(crate) struct ForgedMedia {
    packet: Vec<u8>,
    ssrc: u32,
    payload_type: u8,
    /// Where the real stream is.
    index: Arc<AtomicU64>,
    ahead: u64,
}

/// Numbers ahead of the real stream that are forged in turn: all of them new, none so far away that it
/// would be taken for another rollover.
const AHEAD_MAX: u64 = 64;

impl ForgedMedia {
    pub(crate) fn new(ssrc: u32, payload_type: u8, index: Arc<AtomicU64>) -> ForgedMedia {
        let mut packet = vec![0; PACKET_BYTES + 16];
        randomise(&mut packet);
        ForgedMedia {
            packet,
            ssrc,
            payload_type,
            index,
            ahead: 0,
        }
    }
}

impl Forge for ForgedMedia {
    fn next(&mut self) -> &[u8] {
        self.ahead = self.ahead % AHEAD_MAX + 1;
        Header {
            marker: false,
            payload_type: self.payload_type,
            index: self.index.load(Ordering::Relaxed) + self.ahead,
            timestamp: self.ahead,
            ssrc: self.ssrc,
        }
        .write(&mut self.packet);
        randomise(&mut self.packet[RTP_HEADER_BYTES..RTP_HEADER_BYTES + 8]);
        &self.packet
    }
}

/// The fault matrix's garbage: STUN, DTLS and RTP in turn, none of it anybody's.
#[derive(Debug)]
pub(crate) struct Garbage {
    binding: BareBinding,
    hello: ClientHello,
    media: Vec<u8>,
    turn: u8,
}

impl Garbage {
    pub(crate) fn new(hello: ClientHello) -> Garbage {
        Garbage {
            binding: BareBinding::new(),
            hello,
            media: vec![0x5a; PACKET_BYTES],
            turn: 0,
        }
    }
}

impl Forge for Garbage {
    fn next(&mut self) -> &[u8] {
        self.turn = (self.turn + 1) % 3;
        match self.turn {
            0 => self.binding.next(),
            1 => self.hello.next(),
            _ => {
                randomise(&mut self.media[..RTP_HEADER_BYTES]);
                self.media[0] = 0x80;
                // A payload type that is not taken for RTCP (RFC 5761 section 4).
                self.media[1] = 96;
                &self.media
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The classes of RFC 7983.
    fn class(packet: &[u8]) -> &'static str {
        match packet[0] {
            0..=3 => "stun",
            20..=63 => "dtls",
            128..=191 => "rtp",
            _ => "nothing",
        }
    }

    #[test]
    fn garbage_is_a_third_of_each_and_never_the_same() {
        let mut garbage = Garbage::new(ClientHello::new().unwrap());
        let packets: Vec<Vec<u8>> = (0..6).map(|_| garbage.next().to_vec()).collect();
        let classes: Vec<_> = packets.iter().map(|packet| class(packet)).collect();
        assert_eq!(classes, ["dtls", "rtp", "stun", "dtls", "rtp", "stun"]);
        for turn in 0..3 {
            assert_ne!(packets[turn], packets[turn + 3]);
        }
    }

    #[test]
    fn a_client_hello_is_one() {
        let mut hello = ClientHello::new().unwrap();
        let packet = hello.next();
        assert_eq!(packet[0], 22, "a handshake record");
        assert_eq!(packet[13], 1, "a ClientHello");
        assert_eq!(packet[25..27], [0xfe, 0xfd], "of DTLS 1.2");
    }

    #[test]
    fn a_guess_is_a_well_formed_check_that_names_its_session() {
        let mut guesses = GuessedBinding::new(["abc:defg", "x:y"]);
        for username in ["abc:defg", "x:y", "abc:defg"] {
            let packet = guesses.next().to_vec();
            let length = usize::from(u16::from_be_bytes([packet[2], packet[3]]));
            assert_eq!(length + STUN_HEADER_BYTES, packet.len());
            assert_eq!(packet.len() % 4, 0);
            assert_eq!(packet[24..24 + username.len()], *username.as_bytes());
        }
    }

    #[test]
    fn forged_media_follows_the_real_stream() {
        let index = Arc::new(AtomicU64::new(0xffff));
        let mut forged = ForgedMedia::new(7, 96, Arc::clone(&index));
        assert_eq!(forged.next()[2..4], [0, 0]);
        assert_eq!(forged.next()[2..4], [0, 1]);
        index.store(500, Ordering::Relaxed);
        let packet = forged.next();
        assert_eq!(u16::from_be_bytes([packet[2], packet[3]]), 503);
        assert_eq!(packet[8..12], [0, 0, 0, 7]);
    }

    #[test]
    fn injections_are_whole_dtls_records() {
        let mut injection = DtlsInjection::new(&ClientHello::new().unwrap());
        for _ in 0..7 {
            let record = injection.next();
            assert_eq!(class(record), "dtls");
            let length = usize::from(u16::from_be_bytes([record[11], record[12]]));
            assert_eq!(record.len(), 13 + length);
        }
    }
}
