//! Rows S1 to S7: media that is forged, replayed, moved, or sealed too often.

use std::collections::BTreeSet;

use dataplane_api::media::CodecId;
use dataplane_engine::limits::{SSRCS_PER_SESSION_MAX, SSRCS_REMEMBERED_MAX};
use dataplane_engine::reason::DropReason;
use dataplane_engine::transport::keys::{Profile, Role, SrtpKeys};
use dataplane_engine::transport::replay::{
    HAND_OVER_JUMP, RTCP_INDEX_END, RTP_INDEX_END, RtcpReplayWindow, RtpReplayWindow, SendIndex,
    guess_index,
};
use dataplane_engine::transport::srtp::{Opener, Sealer};

use crate::attacker::{Random, Rtp, foreign, pli, receiver_report};
use crate::hall::{Hall, PeerId};
use crate::memory::{assert_nothing_kept, cost};

/// A publisher and a viewer that sees it.
fn class() -> (Hall, PeerId, PeerId) {
    let mut hall = Hall::new();
    let publisher = hall.join_publisher(1, CodecId::VP8, 1);
    let viewer = hall.join_viewer(1, publisher);
    hall.send_frame(publisher, true);
    hall.advance_ms(5);
    (hall, publisher, viewer)
}

fn header(hall: &Hall, publisher: PeerId) -> Rtp {
    Rtp {
        marker: true,
        padding: false,
        payload_type: 96,
        seq: 0,
        timestamp: 0,
        ssrc: hall.peers[publisher].layers[0].ssrc,
    }
}

/// What the viewer saw of the publisher, which must be every packet that was sent, once.
fn assert_all_seen(hall: &Hall, publisher: PeerId, viewer: PeerId) {
    let sent = hall.peers[publisher].layers[0].number;
    let seen = hall.peers[viewer]
        .received
        .numbers_of(hall.peers[publisher].stamp());
    assert_eq!(seen, (0..sent).collect::<Vec<_>>());
}

#[test]
fn s1_media_from_a_foreign_address_reaches_nobody() {
    const FORGED: u64 = 50_000;
    let (mut hall, publisher, viewer) = class();
    let mut random = Random(1);
    let header = header(&hall, publisher);
    for n in 0..FORGED {
        // 10,000 a second for five: noise, and what is worse, packets of the publisher with the right tag that
        // the attacker took from the wire.
        let (mut bytes, genuine) = if n % 100 == 0 {
            (hall.next_frame(publisher, 0, false, 300), true)
        } else {
            let mut bytes = Rtp {
                seq: n.to_be_bytes()[7].into(),
                ..header
            }
            .packet(&[0; 60]);
            random.fill(&mut bytes[12..]);
            (bytes, false)
        };
        let mut copy = bytes.clone();
        hall.deliver(foreign(random.u32()), &mut copy);
        if genuine {
            hall.deliver(hall.peers[publisher].path, &mut bytes);
        }
        if n % 10 == 0 {
            hall.advance_ms(1);
        }
    }
    hall.advance_ms(5);
    assert_all_seen(&hall, publisher, viewer);
    assert_eq!(hall.bytes_to_strangers, 0);
    assert_eq!(hall.dropped(DropReason::UnknownPath), FORGED);
}

#[test]
fn s2_a_million_bad_tags_end_nothing_and_lose_nothing() {
    const FORGED: u64 = 1_000_000;
    let (mut hall, publisher, viewer) = class();
    let template = header(&hall, publisher).packet(&[0x5a; 32]);
    let mut report = hall.seal_rtcp(publisher, &receiver_report(1));
    let mut random = Random(2);
    let mut bytes = template.clone();
    let mut forge = |hall: &mut Hall, forged: u64| {
        for n in 0..forged {
            if n % 16 == 0 {
                // SRTCP under the publisher's SSRC, with an index of its own.
                let last = report.len() - 1;
                random.fill(&mut report[8..last]);
                let at = report.len() - 4;
                report[at] |= 0x80;
                hall.deliver(hall.peers[publisher].path, &mut report.clone());
            } else {
                bytes.copy_from_slice(&template);
                // Ahead of the stream, or the replay window would refuse it before its tag is looked at.
                let next = hall.peers[publisher].layers[0].index;
                let seq = u16::try_from(next + random.below(1 << 14)).unwrap();
                bytes[2..4].copy_from_slice(&seq.to_be_bytes());
                random.fill(&mut bytes[20..44]);
                hall.deliver(hall.peers[publisher].path, &mut bytes);
            }
            if n % 1_000 == 0 {
                hall.send_frame(publisher, false);
                hall.advance_ms(1);
            }
        }
    };
    forge(&mut hall, FORGED);
    let refused = hall.dropped(DropReason::SrtpAuth) + hall.dropped(DropReason::SrtpReplay);
    assert_eq!(refused, FORGED);
    assert!(hall.dropped(DropReason::SrtpAuth) > FORGED * 9 / 10);
    assert_eq!(hall.shard.population().sessions, 2);
    // Half a Gbit/s of forgeries is charged to nobody: neither to the grant nor to the budget of reports.
    assert_eq!(hall.dropped(DropReason::Policer), 0);
    assert_eq!(hall.dropped(DropReason::RtcpBudget), 0);
    assert_all_seen(&hall, publisher, viewer);
}

#[test]
fn s2_nothing_is_kept_of_a_bad_tag() {
    const FORGED: u64 = 100_000;
    let (mut hall, publisher, _) = class();
    let mut bytes = header(&hall, publisher).packet(&[0x5a; 32]);
    let template = bytes.clone();
    assert_nothing_kept("bad tag on the right path and SSRC", FORGED, || {
        for n in 0..FORGED {
            bytes.copy_from_slice(&template);
            bytes[2..4].copy_from_slice(&u16::try_from(n % 65_536).unwrap().to_be_bytes());
            hall.deliver(hall.peers[publisher].path, &mut bytes);
        }
    });
}

#[test]
fn s3_a_replayed_packet_is_forwarded_once() {
    const PACKETS: usize = 4_000;
    let window = usize::try_from(RtpReplayWindow::INDICES).unwrap();
    assert!(window >= 1_024, "video and RTX: {window}");
    const { assert!(RtcpReplayWindow::INDICES >= 128) };
    let (mut hall, publisher, viewer) = class();
    let mut sent: Vec<Vec<u8>> = Vec::new();
    let mut replayed = 0;
    for n in 0..PACKETS {
        let frame = hall.next_frame(publisher, 0, false, 200);
        hall.deliver_from(publisher, &frame);
        sent.push(frame);
        // At once, once and twice; a few later; at the window's edge, and one beyond it.
        let later = [
            0,
            0,
            1,
            63,
            64,
            65,
            127,
            128,
            window - 1,
            window,
            window + 1,
            2 * window,
        ];
        for back in later.into_iter().filter(|&back| back <= n) {
            let again = sent[n - back].clone();
            hall.deliver_from(publisher, &again);
            replayed += 1;
        }
        if n % 8 == 0 {
            hall.advance_ms(1);
        }
    }
    hall.advance_ms(5);
    assert_eq!(hall.dropped(DropReason::SrtpReplay), replayed);
    assert_all_seen(&hall, publisher, viewer);
    assert!(hall.peers[viewer].received.repeats.is_empty());
}

/// A replayed request has no effect: one keyframe wish, recorded and sent again a hundred times.
#[test]
fn s3_a_replayed_report_has_no_effect() {
    let (mut hall, publisher, viewer) = class();
    let wish = pli(1, hall.peers[viewer].slot_ssrc);
    let sealed = hall.seal_rtcp(viewer, &wish);
    hall.deliver_from(viewer, &sealed);
    hall.advance_ms(1);
    hall.send_frame(publisher, true);
    let asked = hall.shard.counters().keyframe_requests;
    for _ in 0..100 {
        hall.advance_ms(1_000);
        hall.check(publisher);
        hall.deliver_from(viewer, &sealed);
        hall.check(viewer);
    }
    assert_eq!(hall.dropped(DropReason::SrtpReplay), 100);
    assert_eq!(hall.shard.counters().keyframe_requests, asked);
}

#[test]
fn s4_every_packet_around_a_rollover_is_opened() {
    for loss_percent in [0, 5, 30] {
        let (mut hall, publisher, viewer) = class();
        let mut random = Random(0x54 + loss_percent);
        // Up to the wrap, in steps below 2^15, as a stream of some minutes would come.
        for index in [0x4000, 0x8000, 0xc000, 0xf800] {
            hall.peers[publisher].layers[0].index = index;
            hall.send_frame(publisher, false);
        }
        hall.advance_ms(5);
        let path = hall.peers[publisher].path;
        let mut packets: Vec<Vec<u8>> = (0..0x1_1000)
            .step_by(if loss_percent == 0 { 16 } else { 8 })
            .take(4_096)
            .map(|_| hall.next_frame(publisher, 0, false, 60))
            .collect();
        // Reordered by up to 64.
        for at in 0..packets.len() {
            let with = at + usize::try_from(random.below(64)).unwrap();
            if with < packets.len() {
                packets.swap(at, with);
            }
        }
        let (mut arrived, mut forged) = (0, 0);
        for packet in &packets {
            if random.below(100) < loss_percent {
                continue;
            }
            // First a forgery half a cycle ahead, whose rollover counter nobody may believe.
            let mut forgery = packet.clone();
            let seq = u16::from_be_bytes([packet[2], packet[3]]).wrapping_add(0x8000);
            forgery[2..4].copy_from_slice(&seq.to_be_bytes());
            hall.deliver(path, &mut forgery);
            forged += 1;
            let accepted = hall.shard.counters().accepted_packets;
            hall.deliver(path, &mut packet.clone());
            arrived += hall.shard.counters().accepted_packets - accepted;
        }
        assert_eq!(
            arrived, forged,
            "{loss_percent} %: every packet that arrived is opened"
        );
        let refused = hall.dropped(DropReason::SrtpAuth) + hall.dropped(DropReason::SrtpReplay);
        assert_eq!(refused, forged);
        assert!(forged > 4_096 * (100 - loss_percent - 2) / 100);
        hall.advance_ms(5);
        assert!(!hall.peers[viewer].received.media.is_empty());
    }
}

/// The other direction: what we send wraps too, and a receiver that loses a third of it follows.
#[test]
fn s4_our_own_streams_start_low_and_wrap_openly() {
    for start in 0..=u16::MAX {
        let first = SendIndex::from_random(start).peek();
        assert!((1..0x7fff).contains(&first), "{first}");
    }
    let (mut hall, publisher, viewer) = class();
    let first = hall.peers[viewer].received.media[0].index;
    assert!((1..1 << 15).contains(&first));
    // The publisher's numbers jump by 900 eighty times: the viewer's opener follows each packet, or the hall
    // fails.
    for _ in 0..160 {
        hall.peers[publisher].layers[0].index += 900;
        hall.send_frame(publisher, false);
        hall.advance_ms(33);
    }
    assert_all_seen(&hall, publisher, viewer);
    let last = hall.peers[viewer].received.media.last().unwrap().index;
    assert!(last > 1 << 16, "it wrapped: {last}");
}

#[test]
fn s5_a_million_random_ssrcs_leave_no_state() {
    const FORGED: u64 = 1_000_000;
    let (mut hall, publisher, viewer) = class();
    let template = header(&hall, publisher).packet(&[0x5a; 20]);
    let mut bytes = template.clone();
    let mut random = Random(5);
    let cost = cost(|| {
        for _ in 0..FORGED {
            bytes.copy_from_slice(&template);
            random.fill(&mut bytes[2..12]);
            hall.deliver(hall.peers[publisher].path, &mut bytes);
        }
    });
    eprintln!("{FORGED} random SSRCs: {cost:?}");
    assert!(cost.kept <= 64 << 10, "{cost:?}");
    assert_eq!(hall.dropped(DropReason::SrtpAuth), FORGED);
    hall.send_frame(publisher, false);
    hall.advance_ms(5);
    assert_all_seen(&hall, publisher, viewer);
}

/// The same from the publisher itself, with the right tag each: 32 live, 256 remembered, and its stream goes on.
#[test]
fn s5_authenticated_ssrcs_are_limited() {
    const SSRCS: u64 = 50_000;
    let (mut hall, publisher, viewer) = class();
    let honest = header(&hall, publisher);
    let mut random = Random(6);
    let mut flood = |hall: &mut Hall, count: u64| {
        for n in 0..count {
            let header = Rtp {
                ssrc: random.u32() | 0x8000_0000,
                ..honest
            };
            let mut sealed = hall.seal(publisher, 1_000 + n % 100, &header.packet(&[0xa5; 40]));
            hall.deliver(hall.peers[publisher].path, &mut sealed);
        }
    };
    flood(&mut hall, 1_000);
    let cost = cost(|| flood(&mut hall, SSRCS));
    eprintln!("{SSRCS} authenticated SSRCs: {cost:?}");
    assert!(cost.kept <= 64 << 10, "{cost:?}");
    assert_eq!((SSRCS_PER_SESSION_MAX, SSRCS_REMEMBERED_MAX), (32, 256));
    // The honest SSRC is among the known. None is forgotten, so the rest is refused, whatever was long unused.
    let known = u64::try_from(SSRCS_PER_SESSION_MAX + SSRCS_REMEMBERED_MAX).unwrap();
    assert_eq!(
        hall.dropped(DropReason::SsrcLimit),
        SSRCS + 1_000 + 1 - known
    );
    // A new SSRC of its only payload type is a restarted encoder, so the honest stream begins with a keyframe, once
    // its packets are not late ones of the encoder before.
    hall.advance_ms(2_100);
    hall.send_frame(publisher, true);
    hall.advance_ms(5);
    assert_all_seen(&hall, publisher, viewer);
}

/// Every datagram a viewer gets is noted under (SSRC, index) of its key by `Receiver`, which fails at two.
#[test]
fn s6_a_storm_of_switches_seals_no_index_twice() {
    const SWITCHES: usize = 100_000;
    let mut hall = Hall::new();
    let publishers: Vec<PeerId> = (0..3)
        .map(|_| hall.join_publisher(1, CodecId::VP8, 1))
        .collect();
    let viewer = hall.join_viewer(1, publishers[0]);
    let slot = hall.peers[viewer].slot_ssrc;
    let mut random = Random(6);
    let mut expected = 0;
    for n in 0..SWITCHES {
        // A to B to A, and at times to a third; the source left behind still sends.
        let to = publishers[if random.below(5) == 0 { 2 } else { n % 2 }];
        hall.watch(viewer, to);
        if random.below(20) == 0 {
            // Its numbers jump, by less than a rollover can be lost in.
            hall.peers[to].layers[0].index += random.below(1 << 14);
        }
        hall.send_frame(to, true);
        expected += 1;
        let other = publishers[usize::try_from(random.below(3)).unwrap()];
        if other != to {
            hall.send_frame(other, random.below(2) == 0);
        }
        if n % 16 == 15 {
            hall.advance_ms(2);
        }
        if n % 64 == 63 {
            let last = hall.peers[viewer].received.media.last().unwrap().index;
            let seq = u16::try_from(last & 0xffff).unwrap().wrapping_sub(20);
            let nack = crate::attacker::nack(1, slot, [seq]);
            hall.send_rtcp(viewer, &nack);
        }
        if n % 4_096 == 0 {
            publishers.iter().for_each(|&peer| hall.check(peer));
            hall.check(viewer);
        }
    }
    hall.advance_ms(5);
    let received = &hall.peers[viewer].received;
    let indices: BTreeSet<u64> = received.media.iter().map(|media| media.index).collect();
    assert_eq!(indices.len(), received.media.len(), "every index once");
    eprintln!(
        "{SWITCHES} switches, {} packets, {} sent again, none under an index of another",
        indices.len(),
        received.repeats.len(),
    );
    assert!(
        received.media.len() >= expected * 9 / 10,
        "{}",
        received.media.len()
    );
    assert!(!received.repeats.is_empty());
    assert!(received.media.iter().all(|media| media.ssrc == slot));
}

fn keys(profile: Profile, role: Role) -> SrtpKeys {
    let len = u8::try_from(profile.keying_material_bytes()).unwrap();
    let material: Vec<u8> = (0..len).map(|at| at.wrapping_mul(37)).collect();
    SrtpKeys::from_keying_material(profile, role, &material).unwrap()
}

#[test]
fn s7_no_index_is_used_beyond_the_life_of_a_key() {
    assert_eq!((RTP_INDEX_END, RTCP_INDEX_END), (1 << 48, 1 << 31));

    // RTP: the last two indices are given out and sealed, and then none; a jump does not lead around.
    let mut index = SendIndex::resuming_at(RTP_INDEX_END - 2);
    assert_eq!(
        index.by_ref().take(4).collect::<Vec<_>>(),
        [RTP_INDEX_END - 2, RTP_INDEX_END - 1]
    );
    assert_eq!(index.next(), None);
    index.jump();
    assert_eq!(index.next(), None);
    let mut late = SendIndex::resuming_at(RTP_INDEX_END - HAND_OVER_JUMP / 2);
    late.jump();
    assert_eq!(late.next(), None);
    let mut beyond = SendIndex::resuming_at(u64::MAX);
    beyond.jump();
    assert_eq!(beyond.next(), None);

    // A receiver guesses no index beyond the end, so nothing is opened there.
    let last = RTP_INDEX_END - 1;
    assert_eq!(guess_index(last, 0xffff), Some(last));
    for seq in 0..0x7fff {
        assert_eq!(guess_index(last, seq), None, "{seq}");
    }

    // SRTCP: the two last packets open at the other end, then nothing is written.
    for profile in Profile::ALL {
        let mut sealer = Sealer::resuming(&keys(profile, Role::Server), RTCP_INDEX_END - 2);
        let mut opener = Opener::new(&keys(profile, Role::Client));
        let report = receiver_report(1);
        let mut out = vec![0; report.len() + profile.rtcp_overhead()];
        for _ in 0..2 {
            let len = sealer.seal_rtcp(&report, &mut out).unwrap();
            assert_eq!(opener.open_rtcp(&mut out[..len]), Ok(report.len()));
        }
        out.fill(0);
        for _ in 0..100 {
            assert_eq!(sealer.seal_rtcp(&report, &mut out), None);
        }
        assert!(out.iter().all(|&byte| byte == 0), "nothing was written");
        assert_eq!(sealer.rtcp_next(), RTCP_INDEX_END, "and nothing wraps");
    }
}
