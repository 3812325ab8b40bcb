//! Stories of one shard whose sessions have injected keys: what is sent is opened again and compared.

mod class;
mod continuity;
mod edge;
mod frame;
mod layers;
mod limits;
mod peer;
mod repair;
mod rtcp;
mod wishes;
mod wrap;

use dataplane_api::command::{Close, Command, Subscribe, Unsubscribe};
use dataplane_api::ids::{SlotId, TrackId};

use self::class::{Class, PEER, path};
use self::frame::{AUDIO, Frame, VIDEO};
use super::*;
use crate::limits::LINGER_US_MAX;
use crate::outbox::{RunId, SendFailed, SendFailure};
use crate::transport::keys::Profile;

#[test]
fn viewers_of_every_profile_open_what_a_publisher_sealed() {
    let mut class = Class::new();
    let teacher = class.join(PEER, Profile::AeadAes256Gcm, &[]);
    class.publish_video(teacher);
    let viewers: Vec<_> = (1..)
        .zip(Profile::ALL)
        .map(|(n, profile)| {
            let viewer = class.join(path(n), profile, &[VIDEO]);
            class.watch(viewer, VIDEO, teacher);
            viewer
        })
        .collect();
    class.send(teacher, Frame::key(100));
    class.send(teacher, Frame::delta(101));
    class.flush();
    for viewer in viewers {
        assert_eq!(class.payloads(viewer, VIDEO), [100, 101]);
    }
}

#[test]
fn a_late_packet_behind_padding_never_shares_an_index_with_the_next_source() {
    let mut class = Class::new();
    let first = class.join(PEER, Profile::AeadAes128Gcm, &[]);
    let second = class.join(path(1), Profile::AeadAes128Gcm, &[]);
    let viewer = class.join(path(2), Profile::AeadAes128Gcm, &[VIDEO]);
    class.publish_video(first);
    class.publish_video(second);
    class.watch(viewer, VIDEO, first);
    class.send(first, Frame::key(1_000));
    class.send(first, Frame::padding(1_005));
    class.send(first, Frame::delta(1_003));
    class.watch(viewer, VIDEO, second);
    for seq in 7..12 {
        class.send(
            second,
            Frame {
                seq,
                ..Frame::key(seq)
            },
        );
    }
    class.flush();
    assert_eq!(
        class.payloads(viewer, VIDEO),
        [1_000, 1_003, 7, 8, 9, 10, 11]
    );
}

#[test]
fn an_encoder_that_restarts_with_a_new_ssrc_goes_on_at_its_next_keyframe() {
    let mut class = Class::new();
    let teacher = class.join(PEER, Profile::AeadAes128Gcm, &[]);
    let viewer = class.join(path(1), Profile::AeadAes128Gcm, &[VIDEO]);
    class.publish_video(teacher);
    class.watch(viewer, VIDEO, teacher);
    class.send(teacher, Frame::key(20_000));
    class.send(teacher, Frame::delta(20_001));
    let restarted = |seq| Frame {
        ssrc: 0x77,
        ..Frame::delta(seq)
    };
    // The same sequence number in the same turn under another SSRC: another packet.
    class.send(teacher, restarted(20_001));
    let asked = class.shard.counters().keyframe_requests;
    class.advance_ms(1_000);
    class.send(teacher, restarted(20_002));
    assert!(
        class.shard.counters().keyframe_requests > asked,
        "the viewer waits for a keyframe"
    );
    class.send(
        teacher,
        Frame {
            key: true,
            ..restarted(20_003)
        },
    );
    class.send(teacher, restarted(20_004));
    class.flush();
    assert_eq!(
        class.payloads(viewer, VIDEO),
        [20_000, 20_001, 20_003, 20_004]
    );
}

#[test]
fn a_jump_of_the_source_is_a_hole_of_one() {
    let mut class = Class::new();
    let teacher = class.join(PEER, Profile::AeadAes128Gcm, &[]);
    let viewer = class.join(path(1), Profile::AeadAes128Gcm, &[VIDEO]);
    class.publish_video(teacher);
    class.watch(viewer, VIDEO, teacher);
    class.send(teacher, Frame::key(100));
    class.flush();
    // Two jumps, one of them lost on the way out, were more than a receiver's guess of the rollover counter
    // bridges.
    for seq in [30_000, 60_000] {
        class.send(teacher, Frame::delta(seq));
    }
    class.flush();
    let seqs = class.seqs(viewer, VIDEO);
    let steps: Vec<_> = seqs
        .windows(2)
        .map(|pair| pair[1].wrapping_sub(pair[0]))
        .collect();
    assert_eq!(
        steps,
        [2, 2],
        "each jump leaves one hole, so that the decoder sees a loss"
    );
}

#[test]
fn a_session_whose_only_path_went_to_another_keeps_no_core_busy() {
    let mut class = Class::new();
    let teacher = class.join(PEER, Profile::AeadAes128Gcm, &[]);
    class.publish_video(teacher);
    let viewer = class.join(path(1), Profile::AeadAes128Gcm, &[VIDEO]);
    class.watch(viewer, VIDEO, teacher);
    class.send(teacher, Frame::key(1));
    class.flush();
    class.advance_ms(16_000);
    class.check(teacher, PEER, true);
    // The viewer's browser was restarted and got the port of its former self.
    let again = class.join(path(1), Profile::AeadAes128Gcm, &[VIDEO]);
    class.watch(again, VIDEO, teacher);
    class.send(teacher, Frame::key(2));
    class.flush();
    assert_eq!(class.payloads(again, VIDEO), [2]);
    for _ in 0..20 {
        let next = class
            .shard
            .next_deadline()
            .expect("sessions have deadlines");
        assert!(
            next > class.now,
            "a deadline that has passed keeps a core busy"
        );
        class.advance_ms(100);
    }
    assert_eq!(class.shard.queued_packets(), 0);
}

#[test]
fn a_publisher_without_a_path_waits_for_one_without_spinning() {
    let mut class = Class::new();
    let teacher = class.join(PEER, Profile::AeadAes128Gcm, &[]);
    class.publish_video(teacher);
    class.send(teacher, Frame::delta(1));
    let viewer = class.join(path(1), Profile::AeadAes128Gcm, &[VIDEO]);
    class.advance_ms(16_000);
    class.check(viewer, path(1), true);
    class.join(PEER, Profile::AeadAes128Gcm, &[]);
    class.watch(viewer, VIDEO, teacher);
    class.advance_ms(3_000);
    assert!(
        class
            .shard
            .next_deadline()
            .expect("sessions have deadlines")
            > class.now
    );
}

#[test]
fn a_neighbour_cannot_take_the_path_of_a_viewer_that_only_sends_reports() {
    let mut class = Class::new();
    let viewer = class.join(path(1), Profile::AeadAes128Gcm, &[VIDEO]);
    class.send_report(viewer);
    // GStreamer's reports come every 2 to 6 s, and it sends no second check (contracts.md 6).
    class.advance_ms(7_000);
    let neighbour = class.admit(&[]);
    class.check(neighbour, path(1), true);
    let (teacher, dropped) = (
        class.join(PEER, Profile::AeadAes128Gcm, &[]),
        class.shard.counters(),
    );
    assert_eq!(dropped.dropped_in.of(DropReason::PathLimit), 1);
    class.publish_video(teacher);
    class.watch(viewer, VIDEO, teacher);
    class.send(teacher, Frame::key(1));
    class.flush();
    assert_eq!(class.payloads(viewer, VIDEO), [1]);
}

#[test]
fn a_layer_that_appears_is_asked_for_a_keyframe_and_shown() {
    let mut class = Class::new();
    let teacher = class.join(PEER, Profile::AeadAes128Gcm, &[]);
    class.publish_layers(teacher, &[0x11, 0x12]);
    let viewer = class.join(path(1), Profile::AeadAes128Gcm, &[VIDEO]);
    class.watch(viewer, VIDEO, teacher);
    let low = |frame| Frame {
        ssrc: 0x11,
        ..frame
    };
    let high = |frame| Frame {
        ssrc: 0x12,
        ..frame
    };
    class.send(teacher, low(Frame::key(100)));
    let asked = class.shard.counters().keyframe_requests;
    class.advance_ms(500);
    class.send(teacher, low(Frame::delta(101)));
    class.send(teacher, high(Frame::delta(500)));
    assert_eq!(
        class.shard.counters().keyframe_requests,
        asked + 1,
        "asked of the high layer"
    );
    class.send(teacher, high(Frame::key(501)));
    class.send(teacher, low(Frame::delta(102)));
    // The high layer dies: the low one is wanted, and asked for the keyframe it needs.
    class.advance_ms(1_500);
    let asked = class.shard.counters().keyframe_requests;
    class.send(teacher, low(Frame::delta(103)));
    assert_eq!(
        class.shard.counters().keyframe_requests,
        asked + 1,
        "asked of the low layer"
    );
    class.send(teacher, low(Frame::key(104)));
    class.flush();
    assert_eq!(class.payloads(viewer, VIDEO), [100, 101, 501, 104]);
}

#[test]
fn a_run_that_did_not_leave_was_never_sent() {
    let mut class = Class::new();
    let teacher = class.join(PEER, Profile::AeadAes128Gcm, &[]);
    let viewer = class.join(path(1), Profile::AeadAes128Gcm, &[VIDEO]);
    class.publish_video(teacher);
    class.watch(viewer, VIDEO, teacher);
    for seq in 1..=4 {
        class.send(
            teacher,
            Frame {
                key: seq == 1,
                ..Frame::delta(seq)
            },
        );
    }
    class.flush();
    let before = class.shard.counters().clone();
    let (run, of) = class.edge.last_run(path(1));
    let failed = SendFailed {
        path: path(1),
        run,
        packets: 2,
        kind: SendFailure::WouldBlock,
    };
    class.shard.on_send_failed(class.now, failed);
    let after = class.shard.counters().clone();
    assert_eq!(of, 4);
    assert_eq!(after.send_failed_packets - before.send_failed_packets, 2);
    assert_eq!(
        after.dropped_out.of(DropReason::Send) - before.dropped_out.of(DropReason::Send),
        2
    );
    assert_eq!(before.sealed_packets - after.sealed_packets, 2);
    class.assert_conserved();
    // The first two left and are sent again when asked for; the last two were never sent.
    let seqs = class.seqs(viewer, VIDEO);
    class.nack(viewer, VIDEO, &seqs);
    class.flush();
    let counters = class.shard.counters();
    assert_eq!(
        (counters.retransmitted_packets, counters.resends_missed),
        (2, 2)
    );
    // And their indices are not used for anything else.
    class.send(teacher, Frame::delta(5));
    class.flush();
    assert_eq!(class.payloads(viewer, VIDEO), [1, 2, 3, 4, 5]);
}

#[test]
fn a_control_datagram_that_did_not_leave_costs_no_slot_a_packet() {
    let mut class = Class::new();
    let viewer = class.join(path(1), Profile::AeadAes128Gcm, &[VIDEO]);
    class.check(viewer, path(1), true);
    class.flush();
    let (run, _) = class.edge.last_run(path(1));
    let failed = SendFailed {
        path: path(1),
        run,
        packets: 1,
        kind: SendFailure::Refused,
    };
    class.shard.on_send_failed(class.now, failed);
    let unknown = SendFailed {
        run: RunId(u64::MAX),
        packets: 9,
        ..failed
    };
    class.shard.on_send_failed(class.now, unknown);
    assert_eq!(class.shard.counters().send_failed_packets, 10);
    class.assert_conserved();
}

#[test]
fn audio_leaves_first_and_a_burst_is_one_run() {
    let mut class = Class::new();
    let teacher = class.join(PEER, Profile::AeadAes128Gcm, &[]);
    class.publish_video(teacher);
    class.publish_audio(teacher);
    let viewers = [1, 2].map(|n| class.join(path(n), Profile::AeadAes128Gcm, &[VIDEO, AUDIO]));
    for viewer in viewers {
        class.watch(viewer, VIDEO, teacher);
        class.watch(viewer, AUDIO, teacher);
    }
    class.flush();
    class.edge.clear();
    for seq in 1..=5 {
        class.send(
            teacher,
            Frame {
                key: seq == 1,
                ..Frame::delta(seq)
            },
        );
    }
    class.send(teacher, Frame::audio(1));
    class.check(viewers[0], path(1), true);
    class.flush();
    let runs = class.edge.media_runs();
    assert_eq!(
        runs,
        [(path(1), 1), (path(2), 1), (path(1), 5), (path(2), 5)]
    );
}

#[test]
fn a_busy_shard_holds_video_for_company_and_audio_never() {
    let mut class = Class::new();
    let teacher = class.join(PEER, Profile::AeadAes128Gcm, &[]);
    class.publish_video(teacher);
    class.publish_audio(teacher);
    let viewer = class.join(path(1), Profile::AeadAes128Gcm, &[VIDEO, AUDIO]);
    class.watch(viewer, VIDEO, teacher);
    class.watch(viewer, AUDIO, teacher);
    class.flush();
    class.edge.clear();
    class.shard.linger = Linger::default();
    class
        .shard
        .linger
        .on_sent(class.now, 10_000_000, 10_000_000);
    class.send(
        teacher,
        Frame {
            len: 501,
            ..Frame::key(1)
        },
    );
    class.send(teacher, Frame::audio(1));
    class.flush();
    assert_eq!(class.edge.media_runs(), [(path(1), 1)], "the audio");
    assert_eq!(
        class.shard.next_deadline(),
        Some(class.now.plus_us(LINGER_US_MAX))
    );
    class.advance_ms(1);
    class.send(teacher, Frame::delta(2));
    class.send(
        teacher,
        Frame {
            len: 300,
            ..Frame::delta(3)
        },
    );
    class.flush();
    assert_eq!(
        class.edge.media_runs().len(),
        1,
        "the first packet's wait is not over"
    );
    class.advance_ms(1);
    assert_eq!(
        class.edge.media_runs()[1..],
        [(path(1), 3)],
        "one run, padded to equal lengths"
    );
    assert_eq!(class.payloads(viewer, VIDEO), [1, 2, 3]);
}

#[test]
fn a_viewer_that_asks_for_everything_again_gets_little() {
    let mut class = Class::new();
    let teacher = class.join(PEER, Profile::AeadAes128Gcm, &[]);
    let viewer = class.join(path(1), Profile::AeadAes128Gcm, &[VIDEO]);
    class.publish_video(teacher);
    class.watch(viewer, VIDEO, teacher);
    for seq in 1..=2_000 {
        class.send(
            teacher,
            Frame {
                key: seq == 1,
                ..Frame::delta(seq)
            },
        );
        class.flush();
        class.advance_ms(5);
        let seqs: Vec<_> = class
            .seqs(viewer, VIDEO)
            .into_iter()
            .rev()
            .take(300)
            .collect();
        class.nack(viewer, VIDEO, &seqs);
        class.flush();
    }
    let counters = class.shard.counters();
    assert!(
        counters.retransmitted_packets > 100,
        "a viewer with losses is helped"
    );
    assert!(
        counters.retransmitted_packets * 5 < counters.sealed_packets * 2,
        "{} sent again of {}",
        counters.retransmitted_packets,
        counters.sealed_packets
    );
}

#[test]
fn slots_come_and_go_and_leave_nothing_behind() {
    let mut class = Class::new();
    let teacher = class.join(PEER, Profile::AeadAes128Gcm, &[]);
    let viewer = class.join(path(1), Profile::AeadAes128Gcm, &[VIDEO]);
    class.publish_video(teacher);
    for round in 0..50u16 {
        class.watch(viewer, VIDEO, teacher);
        class.send(teacher, Frame::key(round * 3));
        class.send(teacher, Frame::delta(round * 3 + 1));
        let session = class.session(viewer);
        class.shard.on_command(
            class.now,
            Command::Unsubscribe(Unsubscribe {
                session,
                slot: SlotId(0),
            }),
        );
        class.send(teacher, Frame::delta(round * 3 + 2));
        assert_eq!(class.shard.population().subscriptions, 0);
    }
    class.flush();
    let expected: Vec<u32> = (0..150).filter(|n| n % 3 != 2).collect();
    assert_eq!(class.payloads(viewer, VIDEO), expected);
    let session = class.session(teacher);
    class.watch(viewer, VIDEO, teacher);
    class
        .shard
        .on_command(class.now, Command::Close(Close { session }));
    assert_eq!(
        class.shard.population(),
        Population {
            sessions: 1,
            tracks: 0,
            subscriptions: 0
        }
    );
    let order = Subscribe {
        session: class.session(viewer),
        slot: SlotId(0),
        source: dataplane_api::command::Source::Track(TrackId(1)),
    };
    let reply = class.shard.on_command(class.now, Command::Subscribe(order));
    assert!(matches!(reply, dataplane_api::Reply::Refused(_)));
}
