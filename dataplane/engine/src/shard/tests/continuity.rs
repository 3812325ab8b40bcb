//! What a viewer sees of a slot whose source changes: one stream that counts on, on one clock at a time.

use super::class::{Class, PEER, path};
use super::frame::{Frame, VIDEO};
use super::peer::Shown;
use crate::transport::keys::Profile;

const GCM: Profile = Profile::AeadAes128Gcm;

/// Picture id, TL0PICIDX, KEYIDX and frame number of what was shown.
fn numbers(shown: &[Shown]) -> Vec<(u16, u8, u8, u16)> {
    shown
        .iter()
        .map(|shown| {
            let picture = shown.picture.expect("a numbered picture");
            let frame = shown.frame_number.expect("a numbered frame");
            (picture.id, picture.tl0, picture.key_idx, frame)
        })
        .collect()
}

/// What counts on from `n` for `count` pictures.
fn counting(n: u16, count: u16) -> Vec<(u16, u8, u8, u16)> {
    (n..n + count)
        .map(|n| {
            let [_, low] = n.to_be_bytes();
            (n, low, low & 0x1f, n)
        })
        .collect()
}

#[test]
fn pictures_count_on_through_a_restart_another_layer_and_another_track() {
    let mut class = Class::new();
    let teacher = class.join(PEER, GCM, &[]);
    let pupil = class.join(path(9), GCM, &[]);
    class.publish_layers(teacher, &[0x11, 0x12]);
    class.publish_video(pupil);
    let viewers: Vec<_> = (1..)
        .zip(Profile::ALL)
        .map(|(n, profile)| class.join(path(n), profile, &[VIDEO]))
        .collect();
    for &viewer in &viewers {
        class.watch(viewer, VIDEO, teacher);
    }
    let of = |ssrc, frame| Frame { ssrc, ..frame };
    class.send(teacher, of(0x11, Frame::key(1)).counting(1_000));
    class.send(teacher, of(0x11, Frame::delta(2)).counting(1_001));
    // The high layer appears.
    class.advance_ms(100);
    class.send(teacher, of(0x12, Frame::key(700)).counting(30_000));
    class.send(teacher, of(0x12, Frame::padding(701)));
    class.send(teacher, of(0x12, Frame::delta(702)).counting(30_001));
    // Another track.
    for &viewer in &viewers {
        class.watch(viewer, VIDEO, pupil);
    }
    class.advance_ms(100);
    class.send(pupil, Frame::key(50).counting(5));
    // Its encoder starts over under another SSRC.
    class.send(pupil, of(0x77, Frame::key(9)).counting(20_000));
    class.send(pupil, of(0x77, Frame::delta(10)).counting(20_001));
    class.advance_ms(100);
    for &viewer in &viewers {
        let shown = class.shown(viewer);
        assert_eq!(numbers(shown), counting(1_000, 7));
        let first = shown[0];
        for (n, shown) in (0..).zip(shown) {
            assert_eq!(shown.seq, first.seq.wrapping_add(n));
        }
        assert!(
            shown
                .windows(2)
                .all(|pair| pair[1].timestamp.wrapping_sub(pair[0].timestamp) < 1 << 31)
        );
    }
}

#[test]
fn what_was_renumbered_is_sent_again_byte_for_byte() {
    // The class compares every datagram with the one that had its SSRC and sequence number before.
    for profile in Profile::ALL {
        let mut class = Class::new();
        let first = class.join(PEER, GCM, &[]);
        let second = class.join(path(9), GCM, &[]);
        let viewer = class.join(path(1), profile, &[VIDEO]);
        class.publish_video(first);
        class.publish_video(second);
        class.watch(viewer, VIDEO, first);
        class.send(first, Frame::key(1).counting(1_000));
        class.advance_ms(1);
        class.watch(viewer, VIDEO, second);
        for seq in 1..=5 {
            // Lengths that are padded to one.
            let frame = Frame {
                key: seq == 1,
                len: 500 + usize::from(seq),
                ..Frame::delta(seq)
            };
            class.send(second, frame.counting(40 + seq));
        }
        class.advance_ms(1);
        assert_eq!(numbers(class.shown(viewer)), counting(1_000, 6));
        let lens: Vec<_> = class.shown(viewer).iter().map(|shown| shown.len).collect();
        assert_eq!(lens, [500, 501, 502, 503, 504, 505], "padded, and said so");
        // By then the slot shows something else again.
        class.watch(viewer, VIDEO, first);
        class.send(first, Frame::key(2).counting(7));
        let seqs = class.seqs(viewer, VIDEO);
        class.nack(viewer, VIDEO, &seqs);
        class.flush();
        assert_eq!(class.shard.counters().retransmitted_packets, 6);
        assert_eq!(class.shown(viewer).len(), 7, "the rest were known");
    }
}

#[test]
fn what_was_renumbered_comes_by_rtx_with_its_new_numbers() {
    for profile in Profile::ALL {
        let mut class = Class::new();
        class.rtx = true;
        let first = class.join(PEER, GCM, &[]);
        let second = class.join(path(9), GCM, &[]);
        let viewer = class.join(path(1), profile, &[VIDEO]);
        class.publish_video(first);
        class.publish_video(second);
        class.watch(viewer, VIDEO, first);
        class.send(first, Frame::key(1).counting(1_000));
        class.watch(viewer, VIDEO, second);
        class.send(second, Frame::key(8).counting(40));
        class.advance_ms(1);
        let before = class.shown(viewer).to_vec();
        let seqs = class.seqs(viewer, VIDEO);
        class.nack(viewer, VIDEO, &seqs);
        class.flush();
        assert_eq!(class.repaired(viewer), 2);
        assert_eq!(class.shown(viewer)[2..], before);
    }
}

#[test]
fn nothing_of_an_encrypted_track_is_renumbered() {
    let mut class = Class::new();
    class.opaque = true;
    let first = class.join(PEER, GCM, &[]);
    let second = class.join(path(9), GCM, &[]);
    let viewer = class.join(path(1), GCM, &[VIDEO]);
    class.publish_video(first);
    class.publish_video(second);
    class.watch(viewer, VIDEO, first);
    class.send(first, Frame::key(1).counting(1_000));
    class.watch(viewer, VIDEO, second);
    class.send(second, Frame::delta(7).counting(39));
    class.send(second, Frame::key(8).counting(40));
    class.advance_ms(1);
    let expected = [counting(1_000, 1), counting(40, 1)].concat();
    assert_eq!(numbers(class.shown(viewer)), expected);
}

#[test]
fn a_publisher_without_picture_ids_is_left_as_it_is() {
    let mut class = Class::new();
    let first = class.join(PEER, GCM, &[]);
    let second = class.join(path(9), GCM, &[]);
    let viewer = class.join(path(1), GCM, &[VIDEO]);
    class.publish_video(first);
    class.publish_video(second);
    class.watch(viewer, VIDEO, first);
    class.send(first, Frame::key(1).counting(1_000));
    class.watch(viewer, VIDEO, second);
    class.send(second, Frame::key(8));
    class.watch(viewer, VIDEO, first);
    class.send(first, Frame::key(2).counting(9));
    class.advance_ms(1);
    assert_eq!(class.payloads(viewer, VIDEO), [1, 8, 2]);
    let shown = class.shown(viewer);
    assert_eq!((shown[1].picture, shown[1].frame_number), (None, None));
    assert_eq!(numbers(&[shown[0], shown[2]]), counting(1_000, 2));
}

#[test]
fn padding_is_taken_off_with_its_bit_and_the_stream_closes_over_what_was_nothing_else() {
    let mut class = Class::new();
    let teacher = class.join(PEER, GCM, &[]);
    let viewer = class.join(path(1), GCM, &[VIDEO]);
    class.publish_video(teacher);
    class.watch(viewer, VIDEO, teacher);
    class.send(teacher, Frame::key(1).counting(1));
    class.send(teacher, Frame::padding(2));
    let padded = Frame {
        padding: 200,
        ..Frame::delta(3)
    };
    class.send(teacher, padded.counting(2));
    class.advance_ms(1);
    let shown = class.shown(viewer);
    assert_eq!(numbers(shown), counting(1, 2));
    assert_eq!(shown[1].seq, shown[0].seq.wrapping_add(1));
    assert!(shown.iter().all(|shown| !shown.is_padded));
}

/// NTP time of a second on somebody's clock.
fn ntp(second: u64) -> u64 {
    second << 32
}

#[test]
fn a_viewer_is_told_the_publishers_clock_and_never_two_of_them() {
    let mut class = Class::new();
    let teacher = class.join(PEER, GCM, &[]);
    let pupil = class.join(path(9), GCM, &[]);
    let viewer = class.join(path(1), GCM, &[VIDEO]);
    class.publish_video(teacher);
    class.publish_video(pupil);
    class.watch(viewer, VIDEO, teacher);
    class.send(teacher, Frame::key(1));
    class.advance_ms(1_000);
    assert!(class.take_reports(viewer).is_empty(), "no clock is known");
    // Frame 1 has the timestamp 3,000 and was captured at second 50.
    class.send_clock(teacher, 0xb1, ntp(50), 3_000);
    class.send(teacher, Frame::delta(31));
    class.advance_ms(1_000);
    let reports = class.take_reports(viewer);
    let shown = class.shown(viewer).to_vec();
    assert_eq!(reports.len(), 1);
    assert_eq!(reports[0].ntp, ntp(51), "a second later");
    assert_eq!(
        reports[0].rtp_timestamp.wrapping_sub(shown[0].timestamp),
        90_000
    );
    // The pupil's clock is another one, and not known at first.
    class.watch(viewer, VIDEO, pupil);
    class.send(pupil, Frame::key(7));
    class.advance_ms(1_000);
    class.advance_ms(2_000);
    assert!(class.take_reports(viewer).is_empty());
    class.send_clock(pupil, 0xb1, ntp(9_000), 21_000);
    class.send(pupil, Frame::delta(8));
    class.advance_ms(1_000);
    let reports = class.take_reports(viewer);
    assert_eq!(reports[0].ntp, ntp(9_001));
    let begin = class.shown(viewer)[2].timestamp;
    assert_eq!(reports[0].rtp_timestamp.wrapping_sub(begin), 90_000);
}

#[test]
fn camera_and_screen_of_one_publisher_stand_as_far_apart_as_they_were_captured() {
    let mut class = Class::new();
    let teacher = class.join(PEER, GCM, &[]);
    let viewer = class.join(path(1), GCM, &[VIDEO]);
    class.publish_layers(teacher, &[0xc1]);
    class.publish_screen(teacher, 0xc2);
    class.watch(viewer, VIDEO, teacher);
    let of = |ssrc, frame| Frame { ssrc, ..frame };
    // The first packet of a stream is what its clock can be told of.
    class.send(teacher, of(0xc1, Frame::key(1)));
    class.send(teacher, of(0xc2, Frame::key(900)));
    class.send_clock(teacher, 0xc1, ntp(50), 3_000);
    class.send_clock(teacher, 0xc2, ntp(50), 900 * 3_000);
    // 100 ms later the camera, 200 ms later the screen, whose encoder takes 400 ms.
    class.send(teacher, of(0xc1, Frame::delta(4)));
    class.watch_screen(viewer, teacher);
    class.advance_ms(500);
    class.send(teacher, of(0xc2, Frame::key(906)));
    class.flush();
    let shown = class.shown(viewer);
    let apart = shown[2].timestamp.wrapping_sub(shown[1].timestamp);
    assert_eq!(apart, 9_000, "100 ms, not 500");
}

#[test]
fn the_round_trip_to_a_viewer_is_what_its_reports_say_of_ours() {
    let mut class = Class::new();
    let teacher = class.join(PEER, GCM, &[]);
    let viewer = class.join(path(1), GCM, &[VIDEO]);
    class.publish_video(teacher);
    class.watch(viewer, VIDEO, teacher);
    class.send_clock(teacher, 0xb1, ntp(50), 3_000);
    class.send(teacher, Frame::key(1));
    class.send_clock(teacher, 0xb1, ntp(50), 3_000);
    class.send(teacher, Frame::delta(2));
    class.advance_ms(1_000);
    let report = class.take_reports(viewer)[0];
    class.advance_ms(540);
    class.answer(viewer, &report, 500);
    let rtt_us = class.rtt_us(viewer).unwrap();
    assert!((40_000..40_100).contains(&rtt_us), "{rtt_us} us");
    // A report nobody sent, and one from a clock that runs backwards.
    let mut made_up = report;
    made_up.ntp += ntp(1);
    class.answer(viewer, &made_up, 0);
    class.answer(viewer, &report, 600);
    assert_eq!(class.rtt_us(viewer), Some(rtt_us));
    // 120 ms once: an eighth of the way.
    class.advance_ms(80);
    class.answer(viewer, &report, 500);
    let rtt_us = class.rtt_us(viewer).unwrap();
    assert!((50_000..50_100).contains(&rtt_us), "{rtt_us} us");
}
