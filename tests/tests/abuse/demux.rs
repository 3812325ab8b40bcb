//! Row X1, and garbage of every kind against a running call.

use dataplane_engine::reason::DropReason;
use sim::{Conditions, World};

use crate::attacker::{Random, foreign};
use crate::hall::Hall;
use crate::memory::assert_nothing_kept;
use crate::vectors;
use dataplane_api::media::CodecId;

/// The reasons for which a datagram of this beginning may be dropped, by the protocol RFC 7983 section 7 and
/// RFC 5761 section 4 make of it.
fn reasons(bytes: &[u8], validated: bool) -> &'static [DropReason] {
    use DropReason as R;
    match *bytes {
        [0..=3, ..] => &[R::StunMalformed, R::StunUnexpected, R::StunUnknownUser],
        [20..=63, ..] if validated => &[R::Dtls],
        [128..=191, 192..=223, ..] if validated => {
            &[R::RtcpMalformed, R::SrtpAuth, R::SrtpReplay, R::SsrcLimit]
        }
        [128..=191, _, ..] if validated => {
            &[R::RtpMalformed, R::SrtpAuth, R::SrtpReplay, R::SsrcLimit]
        }
        [20..=63, ..] | [128..=191, _, ..] => &[R::UnknownPath],
        _ => &[R::Demux],
    }
}

#[test]
fn x1_every_beginning_has_one_class() {
    let mut hall = Hall::new();
    let peer = hall.join_publisher(1, CodecId::VP8, 1);
    let viewer = hall.join_viewer(1, peer);
    hall.send_frame(peer, true);
    hall.advance_ms(5);
    let sent = hall.shard.counters().sent_packets;
    let mut random = Random(21);
    let mut datagrams = 0;
    for validated in [false, true] {
        for first in 0..=255u8 {
            for len in 0..=64 {
                // Zeros, ones, and noise behind the first byte.
                for filling in 0..3 {
                    let mut bytes = vec![[0, 0xff][filling & 1]; len];
                    if filling == 2 {
                        random.fill(&mut bytes);
                    }
                    if let Some(byte) = bytes.first_mut() {
                        *byte = first;
                    }
                    let path = if validated {
                        hall.peers[peer].path
                    } else {
                        foreign(first.into())
                    };
                    let before = hall.shard.counters().clone();
                    let allowed = reasons(&bytes, validated);
                    hall.deliver(path, &mut bytes);
                    datagrams += 1;
                    let after = hall.shard.counters();
                    let moved: Vec<_> = after
                        .dropped_in
                        .iter()
                        .zip(before.dropped_in.iter())
                        .filter(|(after, before)| after.1 != before.1)
                        .map(|(after, _)| after.0)
                        .collect();
                    // A record of a later epoch goes on to the handshake machine, which is the DTLS class.
                    let accepted = after.accepted_packets - before.accepted_packets;
                    let to_machine = accepted == 1 && validated && (20..=63).contains(&first);
                    assert!(
                        to_machine || (moved.len() == 1 && allowed.contains(&moved[0])),
                        "{first} x {len}, validated {validated}: {moved:?}, accepted {accepted}"
                    );
                }
            }
        }
    }
    hall.advance_ms(5);
    assert_eq!(datagrams, 2 * 256 * 65 * 3);
    assert_eq!(hall.bytes_to_strangers, 0);
    assert_eq!(hall.shard.counters().sent_packets, sent, "none is answered");
    hall.send_frame(peer, false);
    hall.advance_ms(5);
    let numbers = hall.peers[viewer]
        .received
        .numbers_of(hall.peers[peer].stamp());
    assert_eq!(numbers, [0, 1]);
}

/// One datagram of garbage: STUN, DTLS, RTP and RTCP in turn, vectors and noise.
struct Garbage {
    random: Random,
    vectors: Vec<Vec<u8>>,
    number: usize,
}

impl Garbage {
    fn new(seed: u64) -> Garbage {
        let inputs = [
            vectors::stun(),
            vectors::dtls(),
            vectors::rtp(),
            vectors::rtcp(),
        ];
        let vectors = inputs.concat().into_iter().map(|input| input.bytes);
        Garbage {
            random: Random(seed),
            vectors: vectors.filter(|bytes| bytes.len() <= 1_500).collect(),
            number: 0,
        }
    }

    fn next(&mut self) -> Vec<u8> {
        self.number += 1;
        if self.number.is_multiple_of(2) {
            return self.vectors[self.number / 2 % self.vectors.len()].clone();
        }
        let len = 20 + usize::try_from(self.random.below(1_180)).unwrap();
        let mut bytes = vec![0; len];
        self.random.fill(&mut bytes);
        let beginnings: [&[u8]; 5] = [
            &[0, 1, 0, 0, 0x21, 0x12, 0xa4, 0x42],
            &[22, 0xfe, 0xfd, 0, 0],
            &[0x80, 96],
            &[0x90, 111],
            &[0x81, 201],
        ];
        let beginning = beginnings[self.number / 2 % beginnings.len()];
        bytes[..beginning.len()].copy_from_slice(beginning);
        if bytes[0] == 0 {
            let rest = u16::try_from(len - 20).unwrap() & !3;
            bytes.truncate(20 + usize::from(rest));
            bytes[2..4].copy_from_slice(&rest.to_be_bytes());
        }
        bytes
    }
}

#[test]
fn five_thousand_garbage_packets_a_second_lose_no_media() {
    const SECONDS: u64 = 10;
    const A_MS: u64 = 5;
    let mut world = World::new(77, Conditions::CLEAN);
    let teacher = world.publish_with_voice();
    let students = [world.watch(teacher), world.watch(teacher)];
    world.run_ms(1_000);
    let mut garbage = Garbage::new(77);
    let before: Vec<_> = students
        .iter()
        .map(|&s| world.peer(s).received().packets())
        .collect();
    let sent_before = world.peer(teacher).packets_sent();
    for _ in 0..SECONDS * 1_000 {
        for _ in 0..A_MS {
            let from = foreign(garbage.random.u32()).remote;
            let bytes = garbage.next();
            world.inject(from, &bytes);
        }
        world.run_ms(1);
    }
    let sent = usize::try_from(world.peer(teacher).packets_sent() - sent_before).unwrap();
    assert!(sent >= 1_190, "{sent}");
    for (&student, before) in students.iter().zip(before) {
        let received = world.peer(student).received();
        received.assert_in_order();
        assert_eq!((received.holes(), received.duplicates()), (0, 0));
        assert_eq!(world.peer(student).heard().holes(), 0);
        // The frame of the last 5 ms is still on its way.
        assert!(received.packets() - before + 8 >= sent, "{sent}");
    }
    assert_eq!(world.bytes_to_strangers, 0);
    assert_eq!(world.node.shard().population().sessions, 3);
}

#[test]
fn nothing_is_kept_of_a_forged_packet() {
    const PACKETS: u64 = 50_000;
    let mut hall = Hall::new();
    let publisher = hall.join_publisher(1, CodecId::VP8, 1);
    let viewer = hall.join_viewer(1, publisher);
    hall.send_frame(publisher, true);
    hall.advance_ms(5);
    let mut garbage = Garbage::new(78);
    let forged: Vec<Vec<u8>> = (0..5_000).map(|_| garbage.next()).collect();
    let mut bytes = Vec::with_capacity(2_000);
    let mut flood = |hall: &mut Hall, validated: bool| {
        let mut random = Random(79);
        for n in 0..usize::try_from(PACKETS).unwrap() {
            bytes.clear();
            bytes.extend_from_slice(&forged[n % forged.len()]);
            // Records on a validated path go to a machine that this hall does not have; D3 bounds it.
            if validated && (20..=63).contains(bytes.first().unwrap_or(&0)) {
                continue;
            }
            let path = match validated {
                true => hall.peers[publisher].path,
                false => foreign(random.u32()),
            };
            hall.deliver(path, &mut bytes);
        }
    };
    assert_nothing_kept("forged, from strangers", PACKETS, || {
        flood(&mut hall, false)
    });
    assert_nothing_kept("forged, on a validated path", PACKETS, || {
        flood(&mut hall, true)
    });
    let sent = hall.shard.counters().sent_packets;
    hall.advance_ms(5);
    assert_eq!(hall.bytes_to_strangers, 0);
    assert_eq!(hall.shard.counters().sent_packets, sent);
    hall.send_frame(publisher, false);
    hall.advance_ms(5);
    assert_eq!(hall.peers[viewer].received.media.len(), 2);
}
