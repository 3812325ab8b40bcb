//! Who wishes keyframes, when publishers are asked for them, and when a wish ends.

use super::class::{Class, PEER, path};
use super::frame::{Frame, VIDEO};
use crate::limits::KEYFRAME_REQUESTS_PER_SECOND_MAX;
use crate::publish::GiveUp;
use crate::transport::keys::Profile;

const GCM: Profile = Profile::AeadAes128Gcm;
const LOW: u32 = 0x11;
const HIGH: u32 = 0x12;

fn on(ssrc: u32, frame: Frame) -> Frame {
    Frame { ssrc, ..frame }
}

/// A teacher and a viewer, 2 s after the first keyframe (number 1), with no wish open. An opaque track carries no
/// dependency descriptor.
fn lesson(opaque: bool) -> (Class, usize, usize) {
    let mut class = Class::new();
    class.rtx = true;
    class.opaque = opaque;
    let teacher = class.join(PEER, GCM, &[]);
    let viewer = class.join(path(1), GCM, &[VIDEO]);
    class.publish_video(teacher);
    class.watch(viewer, VIDEO, teacher);
    class.send(teacher, Frame::key(1));
    class.advance_ms(1);
    class.advance_ms(2_000);
    (class, teacher, viewer)
}

/// A teacher with two layers and a viewer that shows the high one, in the middle of both.
fn layers() -> (Class, usize, usize) {
    let mut class = Class::new();
    class.rtx = true;
    let teacher = class.join(PEER, GCM, &[]);
    let viewer = class.join(path(1), GCM, &[VIDEO]);
    class.publish_layers(teacher, &[LOW, HIGH]);
    class.watch(viewer, VIDEO, teacher);
    class.send(teacher, on(HIGH, Frame::key(1)));
    class.send(teacher, on(LOW, Frame::key(1)));
    class.advance_ms(900);
    for ssrc in [HIGH, LOW] {
        class.send(teacher, on(ssrc, Frame::delta(2)));
    }
    class.advance_ms(1);
    (class, teacher, viewer)
}

#[test]
fn what_nobody_can_read_is_repaired_like_everything_else() {
    let (mut class, teacher, viewer) = lesson(true);
    for seq in [2, 4, 5] {
        class.send(teacher, Frame::delta(seq));
        class.advance_ms(1);
    }
    class.advance_ms(2);
    assert_eq!(class.take_asked(teacher), [3]);
    class.send_again(teacher, Frame::delta(3));
    class.advance_ms(1);
    let mut shown = class.payloads(viewer, VIDEO);
    shown.sort_unstable();
    assert_eq!(shown, [1, 2, 3, 4, 5]);
    let keyframes = GiveUp::ALL.iter().position(|&why| why == GiveUp::Keyframe);
    let given_up = class.shard.counters().nack.given_up[keyframes.unwrap()];
    assert_eq!(given_up, 0, "nobody knows that any of them was a keyframe");
}

#[test]
fn a_viewer_of_what_nobody_can_read_is_told_apart_from_one_that_lost_for_good() {
    let (mut class, teacher, viewer) = lesson(true);
    for seq in 2..=20 {
        class.send(teacher, Frame::delta(seq));
    }
    class.advance_ms(1);
    let before = class.keyframes_asked(teacher);
    let seqs = class.seqs(viewer, VIDEO);
    for _ in 0..4 {
        class.nack(viewer, VIDEO, &seqs[2..3]);
        class.advance_ms(120);
    }
    assert_eq!(
        class.keyframes_asked(teacher),
        before + 1,
        "the packets behind it are no keyframes"
    );
}

#[test]
fn a_wish_for_what_nobody_can_read_is_passed_on_once() {
    let (mut class, teacher, viewer) = lesson(true);
    let before = class.keyframes_asked(teacher);
    class.wish_keyframe(viewer);
    // Packets come, and any of them may or may not be the keyframe.
    for seq in 2..200 {
        class.send(teacher, Frame::delta(seq));
        class.advance_ms(20);
    }
    assert_eq!(class.keyframes_asked(teacher), before + 1);
    // Within the interval of the one before it, the next wish is kept until that is over, whatever comes.
    class.wish_keyframe(viewer);
    class.advance_ms(100);
    class.wish_keyframe(viewer);
    for seq in 200..300 {
        class.send(teacher, Frame::delta(seq));
        class.advance_ms(20);
    }
    assert_eq!(class.keyframes_asked(teacher), before + 3);
    // The same when two viewers wish one each, and the layer was asked just now.
    let other = class.join(path(2), GCM, &[VIDEO]);
    class.watch(other, VIDEO, teacher);
    class.advance_ms(1_000);
    let before = class.keyframes_asked(teacher);
    class.wish_keyframe(viewer);
    class.advance_ms(100);
    class.wish_keyframe(other);
    for seq in 300..400 {
        class.send(teacher, Frame::delta(seq));
        class.advance_ms(20);
    }
    assert_eq!(class.keyframes_asked(teacher), before + 2);
}

#[test]
fn a_layer_that_stopped_is_not_asked_for_ever() {
    let (mut class, teacher, viewer) = layers();
    class.wish_keyframe(viewer);
    class.advance_ms(1);
    let before = class.keyframes_asked(teacher);
    for _ in 0..330 {
        class.advance_ms(100);
    }
    let asked = class.keyframes_asked(teacher) - before;
    assert!(asked <= 2, "{asked} requests in 33 s");
}

#[test]
fn a_screen_that_stands_still_is_asked_for_the_keyframe_of_who_comes_late() {
    let (mut class, teacher, _) = lesson(false);
    class.advance_ms(10_000);
    let before = class.keyframes_asked(teacher);
    let late = class.join(path(2), GCM, &[VIDEO]);
    class.watch(late, VIDEO, teacher);
    for _ in 0..30 {
        class.advance_ms(100);
    }
    assert_eq!(class.keyframes_asked(teacher), before + 1);
}

#[test]
fn a_wish_ends_with_the_last_viewer() {
    let (mut class, teacher, viewer) = layers();
    class.wish_keyframe(viewer);
    class.advance_ms(1);
    let before = class.keyframes_asked(teacher);
    class.close(viewer);
    for seq in 3..100 {
        class.send(teacher, on(HIGH, Frame::delta(seq)));
        class.advance_ms(100);
    }
    assert_eq!(class.keyframes_asked(teacher), before);
}

#[test]
fn a_viewer_whose_layer_stopped_gets_a_keyframe_of_the_one_that_goes_on() {
    let (mut class, teacher, viewer) = layers();
    for seq in 3..=30 {
        class.send(teacher, on(LOW, Frame::delta(seq)));
        class.advance_ms(50);
    }
    let before = class.keyframes_asked(teacher);
    class.wish_keyframe(viewer);
    class.advance_ms(500);
    let asked = class.keyframes_of(teacher)[before..].to_vec();
    assert!(
        !asked.is_empty() && asked.iter().all(|&ssrc| ssrc == LOW),
        "{asked:x?}"
    );
    class.send(teacher, on(LOW, Frame::key(31)));
    let asked = class.keyframes_asked(teacher);
    class.advance_ms(900);
    assert_eq!(class.keyframes_asked(teacher), asked, "that was the one");
    assert_eq!(class.payloads(viewer, VIDEO), [1, 2, 31]);
}

#[test]
fn a_wish_that_comes_too_soon_is_heard_when_the_interval_is_over() {
    let (mut class, teacher, viewer) = lesson(false);
    let before = class.keyframes_asked(teacher);
    class.wish_keyframe(viewer);
    class.advance_ms(50);
    // This viewer loses the keyframe on its way.
    class.send(teacher, Frame::key(2));
    class.advance_ms(350);
    class.wish_keyframe(viewer);
    assert_eq!(class.keyframes_asked(teacher), before + 1);
    assert_eq!(
        class.shard.next_deadline(),
        Some(class.now.plus_ms(100)),
        "nothing sooner, and the wish not later"
    );
    class.advance_ms(100);
    assert_eq!(class.keyframes_asked(teacher), before + 2);
    assert!(class.shard.next_deadline() > Some(class.now));
}

#[test]
fn a_keyframe_that_comes_meanwhile_grants_the_wish_that_was_put_off() {
    let (mut class, teacher, viewer) = lesson(false);
    let before = class.keyframes_asked(teacher);
    class.wish_keyframe(viewer);
    class.advance_ms(50);
    class.wish_keyframe(viewer);
    class.send(teacher, Frame::key(2));
    class.advance_ms(450);
    class.advance_ms(1_000);
    assert_eq!(class.keyframes_asked(teacher), before + 1);
}

#[test]
fn what_the_node_wishes_for_a_viewer_costs_the_viewer_no_wish() {
    let (mut class, teacher, viewer) = lesson(false);
    for seq in 2..=5 {
        class.send(teacher, Frame::delta(seq));
    }
    class.advance_ms(1);
    let before = class.keyframes_asked(teacher);
    let seqs = class.seqs(viewer, VIDEO);
    for _ in 0..4 {
        class.nack(viewer, VIDEO, &seqs[2..3]);
        class.advance_ms(120);
    }
    for _ in 0..10 {
        class.nack(viewer, VIDEO, &seqs[2..3]);
    }
    assert_eq!(class.keyframes_asked(teacher), before + 1);
    class.wish_keyframe(viewer);
    let ignored = class.shard.counters().keyframe_wishes_ignored;
    assert_eq!(ignored, 0, "its first");
}

#[test]
fn a_layer_that_nobody_sees_is_neither_repaired_nor_renewed() {
    let (mut class, teacher, _) = layers();
    let before = class.keyframes_asked(teacher);
    for ssrc in [HIGH, LOW] {
        class.send(teacher, on(ssrc, Frame::delta(4)));
    }
    class.advance_ms(3);
    assert_eq!(class.take_asked(teacher), [3], "of the high layer");
    class.send(teacher, on(LOW, Frame::delta(1_000)));
    class.advance_ms(1);
    assert_eq!(class.keyframes_asked(teacher), before);
    class.send(teacher, on(HIGH, Frame::delta(1_000)));
    class.advance_ms(1);
    assert_eq!(class.keyframes_asked(teacher), before + 1);
}

#[test]
fn a_layer_is_repaired_as_long_as_a_viewer_shows_it() {
    let (mut class, teacher, viewer) = lesson_of_low();
    // The high one is wanted from now on, and the low one shown until a keyframe comes.
    class.send(teacher, on(HIGH, Frame::delta(1)));
    class.send(teacher, on(LOW, Frame::delta(4)));
    class.advance_ms(3);
    assert_eq!(class.take_asked(teacher), [3]);
    class.send(teacher, on(HIGH, Frame::key(2)));
    for seq in [5, 7] {
        class.send(teacher, on(LOW, Frame::delta(seq)));
    }
    class.advance_ms(3);
    assert!(!class.take_asked(teacher).contains(&6));
    assert_eq!(class.payloads(viewer, VIDEO), [1, 2, 4, 2]);
}

/// A teacher with two layers of which only the low one comes.
fn lesson_of_low() -> (Class, usize, usize) {
    let mut class = Class::new();
    class.rtx = true;
    let teacher = class.join(PEER, GCM, &[]);
    let viewer = class.join(path(1), GCM, &[VIDEO]);
    class.publish_layers(teacher, &[LOW, HIGH]);
    class.watch(viewer, VIDEO, teacher);
    class.send(teacher, on(LOW, Frame::key(1)));
    class.send(teacher, on(LOW, Frame::delta(2)));
    class.advance_ms(1);
    (class, teacher, viewer)
}

#[test]
fn many_tracks_that_wish_at_once_all_get_their_turn() {
    let mut class = Class::new();
    let teacher = class.join(PEER, GCM, &[]);
    let screens: Vec<u32> = (0..14).map(|n| 0x100 + n).collect();
    let viewer = class.join(path(1), GCM, &[VIDEO]);
    for (n, &ssrc) in (0..).zip(&screens) {
        class.publish_numbered_screen(teacher, n, ssrc);
    }
    let viewers: Vec<_> = (0..)
        .zip(&screens)
        .skip(1)
        .map(|(n, _)| (n, class.join(path(1 + n), GCM, &[VIDEO])))
        .chain([(0, viewer)])
        .collect();
    for &(n, viewer) in &viewers {
        class.watch_numbered_screen(viewer, teacher, n);
    }
    // Nobody gets a keyframe, so that every track wishes one all the time.
    let before = class.keyframes_asked(teacher);
    let mut asked_at = Vec::new();
    for tick in 0..400u16 {
        for &ssrc in &screens {
            class.send(teacher, on(ssrc, Frame::delta(tick + 1)));
        }
        class.advance_ms(10);
        asked_at.resize(class.keyframes_asked(teacher) - before, class.now);
    }
    let asked = class.keyframes_of(teacher);
    for ssrc in &screens {
        let times = asked.iter().filter(|&&other| other == *ssrc).count();
        assert!(times >= 2, "{ssrc:x} was asked {times} times: {asked:x?}");
    }
    let widths = asked_at.windows(KEYFRAME_REQUESTS_PER_SECOND_MAX + 1);
    for nine in widths {
        let [first, .., last] = nine else { continue };
        assert!(last.since(*first) >= 990_000, "{nine:?}");
    }
}

#[test]
fn an_old_keyframe_that_comes_late_does_not_grant_a_newer_wish() {
    let (mut class, teacher, viewer) = lesson(false);
    // 3 is the beginning of a keyframe, and lost.
    for seq in [2, 4, 5] {
        class.send(teacher, Frame::delta(seq));
    }
    class.advance_ms(3);
    let before = class.keyframes_asked(teacher);
    class.wish_keyframe(viewer);
    class.send_again(teacher, Frame::key(3));
    for seq in 6..20 {
        class.send(teacher, Frame::delta(seq));
        class.advance_ms(50);
    }
    assert_eq!(
        class.keyframes_asked(teacher),
        before + 2,
        "the viewer lost something behind it"
    );
    class.send(teacher, Frame::key(20));
    class.advance_ms(900);
    assert_eq!(class.keyframes_asked(teacher), before + 2);
}

#[test]
fn the_first_keyframe_of_a_restarted_encoder_grants_wishes_whatever_its_number() {
    let (mut class, teacher, viewer) = lesson(false);
    class.send(teacher, Frame::delta(20_000));
    class.advance_ms(600);
    class.wish_keyframe(viewer);
    class.advance_ms(1);
    let before = class.keyframes_asked(teacher);
    class.send(teacher, on(0x77, Frame::key(100)));
    for seq in 101..140 {
        class.advance_ms(50);
        class.send(teacher, on(0x77, Frame::delta(seq)));
    }
    assert_eq!(class.keyframes_asked(teacher), before);
}
