//! Loss on the way in and on the way out, and who may ask for what how often.

use dataplane_api::command::{Command, SessionPolicy, SetPolicy};

use super::class::{Class, PEER, path};
use super::frame::{Frame, VIDEO};
use crate::limits::{HISTORY_US_MAX, MISSING_PER_STREAM_MAX};
use crate::publish::GiveUp;
use crate::reason::DropReason;
use crate::transport::keys::Profile;

const GCM: Profile = Profile::AeadAes128Gcm;

/// A teacher and a viewer, after the first keyframe (number 1).
fn lesson(rtx: bool) -> (Class, usize, usize) {
    let mut class = Class::new();
    class.rtx = rtx;
    let teacher = class.join(PEER, GCM, &[]);
    let viewer = class.join(path(1), GCM, &[VIDEO]);
    class.publish_video(teacher);
    class.watch(viewer, VIDEO, teacher);
    class.send(teacher, Frame::key(1));
    class.advance_ms(1);
    (class, teacher, viewer)
}

fn dropped(class: &Class, reason: DropReason) -> u64 {
    class.shard.counters().dropped_in.of(reason)
}

#[test]
fn what_the_node_misses_is_asked_for_and_comes_by_rtx() {
    let (mut class, teacher, viewer) = lesson(true);
    for seq in [2, 3, 6, 7] {
        class.send(teacher, Frame::delta(seq));
    }
    class.advance_ms(1);
    assert!(
        class.take_asked(teacher).is_empty(),
        "they may only be late"
    );
    class.advance_ms(2);
    assert_eq!(class.take_asked(teacher), [4, 5]);
    for seq in [4, 5] {
        class.send_again(teacher, Frame::delta(seq));
    }
    class.advance_ms(300);
    assert!(class.take_asked(teacher).is_empty(), "nothing is missing");
    let mut shown = class.payloads(viewer, VIDEO);
    shown.sort_unstable();
    assert_eq!(shown, [1, 2, 3, 4, 5, 6, 7]);
    let nack = &class.shard.counters().nack;
    assert_eq!((nack.asked, nack.repaired), (2, 2));
}

#[test]
fn a_publisher_without_rtx_sends_the_packet_itself_again() {
    let (mut class, teacher, viewer) = lesson(false);
    class.send(teacher, Frame::delta(3));
    class.advance_ms(3);
    assert_eq!(class.take_asked(teacher), [2]);
    class.advance_ms(80);
    class.send(teacher, Frame::delta(2));
    class.advance_ms(500);
    assert!(class.take_asked(teacher).is_empty());
    assert_eq!(class.payloads(viewer, VIDEO), [1, 3, 2]);
    assert_eq!(class.shard.counters().nack.repaired, 1);
}

#[test]
fn a_packet_that_comes_both_ways_is_forwarded_once() {
    let (mut class, teacher, viewer) = lesson(true);
    class.send(teacher, Frame::delta(3));
    class.advance_ms(3);
    class.send_again(teacher, Frame::delta(2));
    class.send(teacher, Frame::delta(2));
    class.send_again(teacher, Frame::delta(2));
    class.send_again(teacher, Frame::delta(1));
    class.advance_ms(1);
    assert_eq!(class.payloads(viewer, VIDEO), [1, 3, 2]);
    assert_eq!(dropped(&class, DropReason::Duplicate), 3);
}

#[test]
fn an_unrepaired_packet_is_given_up_and_a_keyframe_asked_for() {
    let (mut class, teacher, _) = lesson(true);
    let before = class.keyframes_asked(teacher);
    class.send(teacher, Frame::delta(3));
    for seq in 4..400u16 {
        class.advance_ms(5);
        class.send(teacher, Frame::delta(seq));
    }
    let asked = class.take_asked(teacher);
    assert!(asked.iter().all(|&seq| seq == 2));
    assert!(
        (4..=10).contains(&asked.len()),
        "asked {} times",
        asked.len()
    );
    let nack = class.shard.counters().nack.clone();
    assert_eq!(nack.given_up.iter().sum::<u64>(), 1, "{nack:?}");
    assert!(
        class.keyframes_asked(teacher) > before,
        "only a keyframe mends it"
    );
}

#[test]
fn a_keyframe_makes_older_losses_needless() {
    let (mut class, teacher, _) = lesson(true);
    class.send(teacher, Frame::delta(3));
    class.send(teacher, Frame::key(5));
    class.advance_ms(3);
    assert!(
        class.take_asked(teacher).is_empty(),
        "2 and 4 show nothing any more"
    );
    let nack = &class.shard.counters().nack;
    let place = GiveUp::ALL.iter().position(|r| *r == GiveUp::Keyframe);
    assert_eq!(nack.given_up[place.unwrap()], 2);
}

#[test]
fn an_outage_is_mended_by_a_keyframe_and_not_by_hundreds_of_requests() {
    let (mut class, teacher, _) = lesson(true);
    let asked = class.keyframes_asked(teacher);
    class.advance_ms(2_000);
    let far = u16::try_from(MISSING_PER_STREAM_MAX).unwrap() + 10;
    class.send(teacher, Frame::delta(far));
    class.advance_ms(600);
    assert!(class.take_asked(teacher).is_empty());
    assert!(class.keyframes_asked(teacher) > asked);
}

#[test]
fn nobody_is_asked_for_what_nobody_watches() {
    let mut class = Class::new();
    class.rtx = true;
    let teacher = class.join(PEER, GCM, &[]);
    class.publish_video(teacher);
    class.send(teacher, Frame::key(1));
    class.send(teacher, Frame::delta(9));
    class.advance_ms(500);
    assert!(class.take_asked(teacher).is_empty());
}

#[test]
fn a_retransmission_of_what_was_never_near_is_dropped() {
    let (mut class, teacher, viewer) = lesson(true);
    class.send_again(teacher, Frame::delta(30_000));
    class.send_again(teacher, Frame::delta(65_000));
    class.advance_ms(5);
    assert_eq!(class.payloads(viewer, VIDEO), [1]);
    let refused = dropped(&class, DropReason::Rtx) + dropped(&class, DropReason::Duplicate);
    assert_eq!(refused, 2);
    class.send(teacher, Frame::delta(2));
    class.advance_ms(5);
    assert_eq!(class.payloads(viewer, VIDEO), [1, 2]);
}

#[test]
fn a_viewer_with_rtx_is_helped_on_its_retransmission_stream() {
    let (mut class, teacher, viewer) = lesson(true);
    for seq in 2..=10 {
        class.send(teacher, Frame::delta(seq));
    }
    class.advance_ms(1);
    let seqs = class.seqs(viewer, VIDEO);
    for _ in 0..2 {
        class.nack(viewer, VIDEO, &seqs[3..5]);
        class.advance_ms(150);
    }
    assert_eq!(class.repaired(viewer), 4);
    assert_eq!(class.shard.counters().rtx_packets, 4);
    // Media goes on without a hole, and each repetition says the number of its original.
    assert_eq!(
        class.seqs(viewer, VIDEO)[10..],
        [seqs[3], seqs[4], seqs[3], seqs[4]]
    );
    assert_eq!(class.payloads(viewer, VIDEO)[10..], [4, 5, 4, 5]);
    class.send(teacher, Frame::delta(11));
    class.advance_ms(1);
    assert_eq!(class.seqs(viewer, VIDEO).last(), Some(&(seqs[9] + 1)));
}

/// The peers of these tests compare every datagram of one index with the one before it (contracts.md 11).
#[test]
fn a_viewer_without_rtx_gets_the_same_bytes_again() {
    let (mut class, teacher, viewer) = lesson(false);
    class.send(teacher, Frame::delta(2));
    class.advance_ms(1);
    let seqs = class.seqs(viewer, VIDEO);
    class.nack(viewer, VIDEO, &seqs);
    class.advance_ms(1);
    assert_eq!(class.shard.counters().retransmitted_packets, 2);
    assert_eq!(class.shard.counters().rtx_packets, 0);
    assert_eq!(class.payloads(viewer, VIDEO), [1, 2], "known already");
}

#[test]
fn what_is_older_than_a_viewer_waits_is_not_sent_again() {
    let (mut class, teacher, viewer) = lesson(false);
    class.send(teacher, Frame::delta(2));
    class.advance_ms(1);
    let seqs = class.seqs(viewer, VIDEO);
    class.advance_ms(HISTORY_US_MAX / 1_000);
    class.nack(viewer, VIDEO, &seqs);
    class.advance_ms(1);
    let counters = class.shard.counters();
    assert_eq!(
        (counters.retransmitted_packets, counters.resends_missed),
        (0, 2)
    );
}

#[test]
fn a_storm_of_keyframe_wishes_is_one_request_an_interval() {
    let (mut class, teacher, viewer) = lesson(false);
    class.advance_ms(2_000);
    class.send(teacher, Frame::key(2));
    let before = class.keyframes_asked(teacher);
    for seq in 0..400u16 {
        class.wish_keyframe(viewer);
        class.send(teacher, Frame::key(seq + 3));
        class.advance_ms(5);
    }
    let asked = class.keyframes_asked(teacher) - before;
    assert_eq!(asked, 4, "2 s are four intervals");
    let ignored = class.shard.counters().keyframe_wishes_ignored;
    assert_eq!(ignored, 396);
}

#[test]
fn a_publisher_beyond_its_ceiling_is_policed_and_not_asked_for_what_was_refused() {
    let (mut class, teacher, viewer) = lesson(true);
    let session = class.session(teacher);
    let order = SetPolicy {
        session,
        policy: SessionPolicy {
            egress_bps_max: None,
            ingress_bps_max: Some(400_000),
        },
    };
    class.shard.on_command(class.now, Command::SetPolicy(order));
    // 500 bytes and header each millisecond are 4.3 Mbit/s.
    for seq in 2..2_002 {
        class.send(teacher, Frame::delta(seq));
        class.advance_ms(1);
    }
    let policed = dropped(&class, DropReason::Policer);
    assert!(
        (1_700..1_850).contains(&policed),
        "{policed} policed of 2,000"
    );
    assert!(class.take_asked(teacher).is_empty());
    assert!(class.payloads(viewer, VIDEO).len() > 100);
}

#[test]
fn a_viewer_that_waits_gets_a_keyframe_whole_whose_first_packet_was_lost_and_repaired() {
    let (mut class, teacher, _) = lesson(true);
    class.send(teacher, Frame::delta(2));
    class.advance_ms(1);
    let late = class.join(path(2), GCM, &[VIDEO]);
    class.watch(late, VIDEO, teacher);
    // A keyframe of four packets, 3 to 6, and a frame behind it; the first is lost.
    for seq in 4..=7 {
        class.send(teacher, Frame::delta(seq));
    }
    class.advance_ms(3);
    assert!(class.payloads(late, VIDEO).is_empty());
    class.send_again(teacher, Frame::key(3));
    class.send(teacher, Frame::delta(8));
    class.advance_ms(1);
    assert_eq!(class.payloads(late, VIDEO), [3, 4, 5, 6, 7, 8]);
    assert!(class.seqs(late, VIDEO).windows(2).all(|w| w[0] + 1 == w[1]));
}

#[test]
fn a_packet_that_a_viewer_never_gets_is_made_up_for_by_a_keyframe() {
    let (mut class, teacher, viewer) = lesson(true);
    class.advance_ms(2_000);
    for seq in 2..=5 {
        class.send(teacher, Frame::delta(seq));
    }
    class.advance_ms(1);
    let before = class.keyframes_asked(teacher);
    let seqs = class.seqs(viewer, VIDEO);
    for _ in 0..3 {
        class.nack(viewer, VIDEO, &seqs[2..3]);
        class.advance_ms(120);
    }
    assert_eq!(
        class.keyframes_asked(teacher),
        before,
        "it may be on its way"
    );
    class.nack(viewer, VIDEO, &seqs[2..3]);
    class.advance_ms(1);
    assert_eq!(class.keyframes_asked(teacher), before + 1);
    class.send(teacher, Frame::key(6));
    class.advance_ms(1_500);
    class.nack(viewer, VIDEO, &seqs[2..3]);
    class.advance_ms(1);
    assert_eq!(
        class.keyframes_asked(teacher),
        before + 1,
        "it has one since"
    );
}

#[test]
fn a_keyframe_at_the_very_beginning_is_whole_though_the_shard_is_late() {
    let mut class = Class::new();
    class.lag_us = 300;
    let teacher = class.join(PEER, GCM, &[]);
    let viewer = class.join(path(1), GCM, &[VIDEO]);
    class.publish_video(teacher);
    class.watch(viewer, VIDEO, teacher);
    class.send(teacher, Frame::delta(2));
    class.send(teacher, Frame::key(1));
    class.send(teacher, Frame::delta(3));
    class.advance_ms(1);
    let mut shown = class.payloads(viewer, VIDEO);
    shown.sort_unstable();
    assert_eq!(shown, [1, 2, 3]);
}

#[test]
fn a_stray_packet_of_a_track_that_ended_takes_no_other_track() {
    let mut class = Class::new();
    let teacher = class.join(PEER, GCM, &[]);
    let viewer = class.join(path(1), GCM, &[VIDEO]);
    class.publish_layers(teacher, &[0xc1]);
    class.publish_screen(teacher, 0xc2);
    class.watch(viewer, VIDEO, teacher);
    let of = |ssrc, frame: Frame| Frame {
        ssrc,
        bare: true,
        ..frame
    };
    class.send(teacher, of(0xc1, Frame::key(1)));
    class.send(teacher, of(0xc2, Frame::key(1_001)));
    class.unpublish_screen(teacher);
    class.send(teacher, of(0xc2, Frame::key(1_002)));
    // Nor does one that nobody ever declared, and whose payload type only the camera has.
    class.send(teacher, of(0xc3, Frame::key(2_002)));
    for seq in 2..=5 {
        class.send(teacher, of(0xc1, Frame::delta(seq)));
    }
    class.advance_ms(1);
    assert_eq!(class.payloads(viewer, VIDEO), [1, 2, 3, 4, 5]);
}

#[test]
fn what_the_encoder_before_repeats_is_not_taken_for_what_this_one_lost() {
    let (mut class, teacher, viewer) = lesson(true);
    for seq in 2..=20 {
        class.send(teacher, Frame::delta(seq));
    }
    class.send_again(teacher, Frame::delta(13));
    let new = |frame: Frame| Frame {
        ssrc: 0x77,
        ..frame
    };
    class.send(teacher, new(Frame::key(10)));
    for seq in [11, 12, 14, 15] {
        class.send(teacher, new(Frame::delta(seq)));
    }
    class.send_again(teacher, Frame::delta(13));
    class.advance_ms(1);
    assert_eq!(
        class.payloads(viewer, VIDEO).len(),
        20 + 5,
        "the new 13 is missing"
    );
    class.send(teacher, new(Frame::delta(13)));
    class.advance_ms(1);
    assert_eq!(class.payloads(viewer, VIDEO).last(), Some(&13));
    assert_eq!(class.payloads(viewer, VIDEO).len(), 20 + 6);
}

#[test]
fn what_arrived_and_was_refused_is_not_asked_for() {
    let (mut class, teacher, viewer) = lesson(false);
    let unknown = |seq| Frame {
        payload_type: Some(101),
        ..Frame::delta(seq)
    };
    class.send(teacher, unknown(2));
    class.send(teacher, Frame::delta(3));
    class.advance_ms(500);
    assert!(class.take_asked(teacher).is_empty());
    assert_eq!(dropped(&class, DropReason::PayloadType), 1);
    assert_eq!(class.payloads(viewer, VIDEO), [1, 3]);
    let seqs = class.seqs(viewer, VIDEO);
    assert_eq!(seqs[0] + 1, seqs[1], "the viewer misses nothing");
}

#[test]
fn an_unknown_payload_type_on_a_new_ssrc_replaces_nobody() {
    let (mut class, teacher, viewer) = lesson(false);
    let stray = Frame {
        ssrc: 0x99,
        payload_type: Some(101),
        ..Frame::delta(700)
    };
    class.send(teacher, stray);
    class.send(teacher, Frame::delta(2));
    class.advance_ms(1);
    assert_eq!(class.payloads(viewer, VIDEO), [1, 2]);
}

#[test]
fn a_gap_that_padding_shows_is_asked_for_at_once() {
    let (mut class, teacher, _) = lesson(true);
    class.advance_ms(1_200);
    class.send(teacher, Frame::padding(4));
    let due = class.shard.next_deadline().unwrap();
    assert!(due <= class.now.plus_ms(3), "{due:?} at {:?}", class.now);
    class.advance_ms(3);
    assert_eq!(class.take_asked(teacher), [2, 3]);
}

#[test]
fn a_viewer_who_was_away_for_many_packets_is_shown_the_class_again() {
    let (mut class, teacher, viewer) = lesson(false);
    let mut seq = 1u16;
    let mut send = |class: &mut Class, packets: u32| {
        for _ in 0..packets {
            seq = seq.wrapping_add(1);
            let frame = if seq.is_multiple_of(64) {
                Frame::key(seq)
            } else {
                Frame::delta(seq)
            };
            class.send(teacher, frame);
            class.advance_us(500);
            class.edge.clear();
        }
    };
    class.deafen(viewer, true);
    // Ten thousand would be bridged by any receiver, forty thousand by none.
    send(&mut class, 25_000);
    class.check(teacher, PEER, true);
    send(&mut class, 15_000);
    class.deafen(viewer, false);
    class.check(viewer, path(1), true);
    let before = class.payloads(viewer, VIDEO).len();
    send(&mut class, 200);
    assert!(class.payloads(viewer, VIDEO).len() > before + 100);
}
