//! Rows R5, R6, R7 and R9: RTCP that authenticates and asks for what is not its sender's, or for too much.

use std::collections::BTreeMap;

use dataplane_api::media::CodecId;
use dataplane_engine::limits::{
    KEYFRAME_INTERVAL_US, NACK_NUMBERS_PER_SECOND_MAX, RTCP_PER_SECOND_MAX,
};
use dataplane_engine::reason::DropReason;
use dataplane_engine::time::Micros;

use crate::attacker::{
    all_lost, bye, fir, nack, pli, receiver_report, remb, round_trip_report, rtcp, sender_report,
};
use crate::hall::{Hall, PeerId};
use crate::memory::cost;
use crate::vectors;

/// Where the hostile two are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Place {
    /// In the first room, where one of them watches the publisher.
    SameRoom,
    /// In a room of their own, where their track and slot have the very SSRCs of everybody else's.
    OtherRoomSameSsrcs,
}

/// Two rooms, each with a publisher of three layers and a viewer, and a hostile viewer and a hostile publisher.
/// What everybody else was sent, and the node's counters, after two seconds in which the hostile two, if there
/// is an attack, send feedback for every SSRC of the others.
fn two_rooms(attack: bool, place: Place) -> (Vec<u64>, [u64; 3]) {
    let mut hall = Hall::new();
    hall.same_ssrcs = place == Place::OtherRoomSameSsrcs;
    let mut honest = Vec::new();
    let mut publishers = Vec::new();
    for room in 1..=2 {
        let publisher = hall.join_publisher(room, CodecId::VP8, 3);
        let viewer = hall.join_viewer(room, publisher);
        publishers.push(publisher);
        honest.extend([publisher, viewer]);
    }
    let hostile_publisher = hall.join_publisher(3, CodecId::VP8, 3);
    let hostile_viewer = match place {
        Place::SameRoom => hall.join_viewer(1, publishers[0]),
        Place::OtherRoomSameSsrcs => hall.join_viewer(3, hostile_publisher),
    };
    let mut foreign: Vec<u32> = vec![0, 1, 0xcafe_babe, u32::MAX];
    for &peer in &honest {
        foreign.push(hall.peers[peer].slot_ssrc);
        foreign.extend(hall.peers[peer].layers.iter().map(|layer| layer.ssrc));
    }
    let hostile = [hostile_viewer, hostile_publisher];
    let vectors: Vec<Vec<u8>> = vectors::rtcp().into_iter().map(|i| i.bytes).collect();
    let mut next_vector = vectors.iter().filter(|bytes| bytes.len() >= 8).cycle();

    for ms in 0..2_000u64 {
        if ms % 33 == 0 {
            for &publisher in &publishers {
                for layer in 0..3 {
                    let mut frame = hall.next_frame(publisher, layer, ms == 0, 400);
                    hall.deliver(hall.peers[publisher].path, &mut frame);
                }
            }
        }
        if ms % 500 == 100 {
            for &publisher in &publishers {
                let layers = hall.peers[publisher].layers.clone();
                for layer in layers {
                    let ntp = (ms << 32) / 1_000;
                    hall.send_rtcp(publisher, &sender_report(layer.ssrc, ntp, layer.timestamp));
                }
            }
        }
        if attack && ms % 10 == 5 {
            let ssrc = foreign[usize::try_from(ms / 10).unwrap() % foreign.len()];
            let last = hall.peers[honest[1]].received.media.last().unwrap().index;
            let seq = u16::try_from(last & 0xffff).unwrap();
            let compounds = [
                bye(&[ssrc]),
                bye(&foreign),
                nack(ssrc, ssrc, (0..30).map(|n| seq.wrapping_sub(17 * n))),
                pli(ssrc, ssrc),
                fir(ssrc, u8::try_from(ms / 10 % 256).unwrap(), &foreign),
                remb(ssrc, 0, 0, &foreign),
                remb(ssrc, 63, 0x3_ffff, &foreign),
                all_lost(ssrc, ssrc, 0, 0x1fff),
                sender_report(ssrc, u64::MAX, 0x1234_5678),
                rtcp(1, 201, &[ssrc, ssrc, u32::MAX, u32::MAX, u32::MAX, 0, 0]),
                next_vector.next().unwrap().clone(),
            ];
            for peer in hostile {
                for compound in &compounds {
                    hall.send_rtcp(peer, compound);
                }
            }
        }
        hall.advance_ms(1);
    }
    let counters = hall.shard.counters();
    assert_eq!(hall.shard.population().sessions, 6);
    if attack {
        assert!(hall.dropped(DropReason::RtcpBudget) > 0);
    }
    let digests = honest.iter().map(|&peer| {
        let received = &hall.peers[peer].received;
        assert!(received.rtcp.len() > 1 || !received.media.is_empty());
        received.digest()
    });
    let effects = [
        counters.keyframe_requests,
        counters.retransmitted_packets,
        counters.resends_missed,
    ];
    (digests.collect(), effects)
}

/// Nobody but the hostile two is sent a single other byte.
#[test]
fn r5_feedback_for_the_ssrcs_of_others_has_no_effect() {
    for place in [Place::SameRoom, Place::OtherRoomSameSsrcs] {
        let (quiet, before) = two_rooms(false, place);
        let (attacked, after) = two_rooms(true, place);
        assert_eq!(
            attacked, quiet,
            "{place:?}: every byte that the others were sent"
        );
        assert_eq!(
            after[..2],
            before[..2],
            "{place:?}: keyframe requests, resends"
        );
        // In its own room its slot has the SSRC it asks for, so asking for what was never sent counts as missed.
        assert!(after[2] == before[2] || place == Place::OtherRoomSameSsrcs);
    }
}

/// Within one room: what a hostile viewer may ask for, it may ask for its own slot alone.
#[test]
fn r5_a_bye_ends_nobody() {
    let mut hall = Hall::new();
    let publisher = hall.join_publisher(1, CodecId::VP8, 1);
    let viewer = hall.join_viewer(1, publisher);
    let hostile = hall.join_viewer(1, publisher);
    hall.send_frame(publisher, true);
    hall.advance_ms(5);
    let ssrcs = [
        hall.peers[publisher].layers[0].ssrc,
        hall.peers[viewer].slot_ssrc,
        hall.peers[hostile].slot_ssrc,
    ];
    for peer in [hostile, viewer, publisher] {
        hall.send_rtcp(peer, &bye(&ssrcs));
    }
    for _ in 0..30 {
        hall.send_frame(publisher, false);
        hall.advance_ms(33);
    }
    for peer in [viewer, hostile] {
        assert_eq!(hall.peers[peer].received.media.len(), 31);
    }
}

/// Plays a storm of `viewers` that each ask 50 times a second by PLI and by FIR, for their slot and for SSRCs
/// that are nobody's. The publisher answers a request after a tenth of a second.
fn storm(layers: u32, viewers: usize, ms: u64) {
    const ANSWER_MS: u64 = 100;
    const FRAME_MS: u64 = 100;
    let mut hall = Hall::new();
    let publisher = hall.join_publisher(1, CodecId::VP8, layers);
    let stormers: Vec<PeerId> = (0..viewers)
        .map(|_| hall.join_viewer(1, publisher))
        .collect();
    let mut joined: Option<(PeerId, Micros)> = None;
    let began = hall.now;
    let mut answered = 0;
    for at in 0..ms {
        if at % FRAME_MS == 0 {
            for layer in 0..usize::try_from(layers).unwrap() {
                let ssrc = hall.peers[publisher].layers[layer].ssrc;
                let due = hall.now.since(Micros(ANSWER_MS * 1_000));
                let requests: Vec<_> = hall.peers[publisher].received.keyframe_requests().collect();
                let is_due = |request: &&(Micros, u32)| request.1 == ssrc && request.0.0 <= due;
                let due = requests.iter().filter(is_due).count();
                let key = at == 0 || due > answered / usize::try_from(layers).unwrap();
                if key && at > 0 {
                    answered += 1;
                }
                let mut frame = hall.next_frame(publisher, layer, key, 60);
                hall.deliver(hall.peers[publisher].path, &mut frame);
            }
        }
        // Each every 20 ms, spread over them.
        for &viewer in stormers
            .iter()
            .skip(usize::try_from(at % 20).unwrap())
            .step_by(20)
        {
            let slot = hall.peers[viewer].slot_ssrc;
            let number = u8::try_from(at / 20 % 256).unwrap();
            let mut compound = receiver_report(1);
            compound.extend(pli(1, slot));
            compound.extend(fir(1, number, &[slot, 0, 0xdead_beef]));
            compound.extend(pli(0, 0));
            hall.send_rtcp(viewer, &compound);
        }
        if at == ms / 2 + 37 {
            joined = Some((hall.join_viewer(1, publisher), hall.now));
        }
        // What was asked for leaves now, as it would in a turn of its own.
        hall.turn();
        hall.advance_ms(1);
    }

    let received = &hall.peers[publisher].received;
    let mut by_layer: BTreeMap<u32, Vec<Micros>> = BTreeMap::new();
    for (at, ssrc) in received.keyframe_requests() {
        by_layer.entry(ssrc).or_default().push(at);
    }
    assert!(!by_layer.is_empty(), "somebody asks");
    for (ssrc, requests) in &by_layer {
        let layers = &hall.peers[publisher].layers;
        let layer = layers.iter().position(|layer| layer.ssrc == *ssrc).unwrap();
        let interval = KEYFRAME_INTERVAL_US[layer];
        assert!(interval >= 500_000);
        for pair in requests.windows(2) {
            assert!(
                pair[1].since(pair[0]) >= interval,
                "layer {layer}: {requests:?}"
            );
        }
        let most = 1 + hall.now.since(began) / interval;
        assert!(u64::try_from(requests.len()).unwrap() <= most);
        eprintln!(
            "{viewers} viewers, {ms} ms: {} requests of layer {layer}",
            requests.len()
        );
    }
    let (viewer, at) = joined.unwrap();
    let seen = hall.peers[viewer]
        .received
        .media
        .first()
        .expect("an honest join sees");
    let waited_ms = seen.at.since(at) / 1_000;
    eprintln!("an honest join sees after {waited_ms} ms");
    assert!(waited_ms <= 1_200);
}

#[test]
fn r6_a_thousand_viewers_cost_two_keyframes_a_second() {
    storm(1, 1_000, 3_000);
}

#[test]
fn r6_each_layer_has_its_limit() {
    storm(3, 100, 5_000);
}

/// The whole window: the numbers that are looked at within a second are used up at its beginning.
const EVERYTHING: u16 = 31 * 17;
/// So few that every compound that is read is looked at whole.
const NEWEST: u16 = 2 * 17;
const _: () = assert!(NEWEST as u32 * RTCP_PER_SECOND_MAX <= NACK_NUMBERS_PER_SECOND_MAX);

/// Ten seconds of 100 packets a second to one viewer that acknowledges a round trip of 100 ms; with or without
/// a thousand NACKs a second, each of the newest `asked` packets. Bytes it was sent, and when each packet was
/// repeated.
fn nacked(asked: u16, rtx: bool, payload: usize) -> (u64, BTreeMap<u64, Vec<Micros>>) {
    const RTT_MS: u64 = 100;
    let mut hall = Hall::new();
    hall.rtx = rtx;
    let publisher = hall.join_publisher(1, CodecId::VP8, 1);
    let viewer = hall.join_viewer(1, publisher);
    let slot = hall.peers[viewer].slot_ssrc;
    for ms in 0..10_000u64 {
        if ms % 10 == 0 {
            let mut frame = hall.next_frame(publisher, 0, ms == 0, payload);
            hall.deliver(hall.peers[publisher].path, &mut frame);
        }
        if ms % 1_000 == 50 {
            let layer = hall.peers[publisher].layers[0];
            let ntp = (ms << 32) / 1_000;
            hall.send_rtcp(publisher, &sender_report(layer.ssrc, ntp, layer.timestamp));
        }
        if ms % 500 == 200
            && let Some((at, ntp)) = hall.peers[viewer].received.last_sender_report()
            && let Some(held_us) = hall.now.since(at).checked_sub(RTT_MS * 1_000)
        {
            let lsr = u32::try_from(ntp >> 16 & 0xffff_ffff).unwrap();
            let dlsr = u32::try_from(held_us * 65_536 / 1_000_000).unwrap();
            hall.send_rtcp(viewer, &round_trip_report(1, slot, lsr, dlsr));
        }
        if asked > 0
            && let Some(last) = hall.peers[viewer].received.media.last()
        {
            let highest = hall.peers[viewer]
                .received
                .media
                .iter()
                .rev()
                .find(|m| m.ssrc == slot);
            let seq = u16::try_from(highest.unwrap_or(last).index & 0xffff).unwrap();
            let window = nack(
                1,
                slot,
                (0..asked / 17).map(|n| seq.wrapping_sub(17 * n + 16)),
            );
            hall.send_rtcp(viewer, &window);
        }
        hall.advance_ms(1);
    }
    let received = &hall.peers[viewer].received;
    let numbers: BTreeMap<u64, u64> = received
        .media
        .iter()
        .filter(|media| media.ssrc == slot)
        .map(|media| (media.index, media.stamp.unwrap().number))
        .collect();
    let mut repeats: BTreeMap<u64, Vec<Micros>> = BTreeMap::new();
    for (at, ssrc, index) in &received.repeats {
        assert_eq!(*ssrc, slot);
        repeats.entry(numbers[index]).or_default().push(*at);
    }
    for media in received.media.iter().filter(|media| media.ssrc != slot) {
        let number = media.stamp.unwrap().number;
        repeats.entry(number).or_default().push(media.at);
    }
    (received.media_bytes, repeats)
}

#[test]
fn r7_nacks_of_everything_grow_egress_by_a_fifth_at_most() {
    let mut percents = Vec::new();
    for rtx in [false, true] {
        // Of video, and of packets that are hardly more than their header and tag.
        for payload in [1_100, 40] {
            let (quiet, none) = nacked(0, rtx, payload);
            assert!(none.is_empty());
            for asked in [EVERYTHING, NEWEST] {
                let (attacked, repeats) = nacked(asked, rtx, payload);
                let all: usize = repeats.values().map(Vec::len).sum();
                assert!(all > 0, "an honest NACK is answered");
                percents.push(attacked * 100 / quiet);
                eprintln!(
                    "rtx {rtx}, {payload}, {asked} asked for: {quiet} bytes became {attacked}, {all} repeats"
                );
            }
        }
    }
    assert!(
        percents.iter().all(|&percent| percent <= 120),
        "{percents:?} %"
    );
}

#[test]
fn r7_a_packet_is_sent_again_thrice_and_once_a_round_trip() {
    for rtx in [false, true] {
        let (_, repeats) = nacked(NEWEST, rtx, 40);
        let most = repeats.values().map(Vec::len).max().unwrap();
        assert!((2..=3).contains(&most), "{most}");
        // The round trip is known from the second second on.
        for (number, times) in repeats.iter().filter(|(number, _)| **number > 200) {
            for pair in times.windows(2) {
                assert!(
                    pair[1].since(pair[0]) >= 100_000,
                    "packet {number} twice within a round trip: {times:?}"
                );
            }
        }
    }
}

#[test]
fn r9_twenty_thousand_compounds_a_second_delay_nothing() {
    const SECONDS: u64 = 4;
    let mut hall = Hall::new();
    let publisher = hall.join_publisher(1, CodecId::VP8, 1);
    let viewer = hall.join_viewer(1, publisher);
    let hostile = hall.join_viewer(1, publisher);
    let slot = hall.peers[hostile].slot_ssrc;
    let compounds = [
        receiver_report(1),
        pli(1, slot),
        nack(1, slot, (0..100).map(|n| n * 17)),
        remb(1, 0, 0, &[slot]),
        all_lost(1, slot, 0, 5_000),
        sender_report(1, 0, 0),
    ];
    let (mut sent, mut kept) = (0, 0);
    let mut accepted: Vec<u64> = Vec::new();
    for ms in 0..SECONDS * 1_000 {
        let before = hall.shard.counters().accepted_packets;
        for _ in 0..20 {
            // Half from the publisher, whose media must come through all the same.
            let peer = if sent % 2 == 0 { hostile } else { publisher };
            let compound = &compounds[sent % compounds.len()];
            let mut sealed = hall.seal_rtcp(peer, compound);
            let path = hall.peers[peer].path;
            kept += cost(|| hall.deliver(path, &mut sealed)).kept;
            sent += 1;
        }
        let taken = hall.shard.counters().accepted_packets - before;
        match accepted.last_mut().filter(|_| ms % 1_000 != 0) {
            Some(second) => *second += taken,
            None => accepted.push(taken),
        }
        if ms % 10 == 0 {
            hall.send_frame(publisher, ms == 0);
        }
        hall.advance_ms(1);
    }
    let of_each = u64::from(RTCP_PER_SECOND_MAX);
    assert_eq!(of_each, 200);
    eprintln!("{sent} compounds of two peers, read each second: {accepted:?}; {kept} bytes kept");
    assert!(
        accepted.iter().all(|&taken| taken <= 2 * of_each),
        "{accepted:?}"
    );
    let read: u64 = accepted.iter().sum();
    assert_eq!(hall.dropped(DropReason::RtcpBudget) + read, sent as u64);
    assert!(kept < 64 << 10, "{kept}");
    for peer in [viewer, hostile] {
        let stamp = hall.peers[publisher].stamp();
        let numbers = hall.peers[peer].received.numbers_of(stamp);
        let frames = hall.peers[publisher].layers[0].number;
        assert_eq!(numbers, (0..frames).collect::<Vec<_>>());
    }
    // Nothing waited for it either: a frame is with the viewer within the turn and its linger.
    let media = &hall.peers[viewer].received.media;
    for pair in media.windows(2) {
        assert!(pair[1].at.since(pair[0].at) <= 12_000);
    }
}
