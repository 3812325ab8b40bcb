//! What one session may cost: SSRCs, requests to send again, and what failed sends count as.

use dataplane_api::command::{Close, Command};

use super::class::{Class, PEER, path};
use super::frame::{Frame, VIDEO};
use crate::limits::{
    FORWARDED_EXTENSION_BYTES_MAX, NACK_NUMBERS_PER_SECOND_MAX, SSRCS_PER_SESSION_MAX,
    SSRCS_REMEMBERED_MAX,
};
use crate::outbox::{SendFailed, SendFailure};
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

/// Packets sent again, and asked for and not sent.
fn resends(class: &Class) -> (u64, u64) {
    let counters = class.shard.counters();
    (counters.retransmitted_packets, counters.resends_missed)
}

#[test]
fn an_encoder_may_restart_as_often_as_its_ssrcs_can_be_remembered() {
    let (mut class, teacher, viewer) = lesson(false);
    let most = u16::try_from(SSRCS_PER_SESSION_MAX + SSRCS_REMEMBERED_MAX).unwrap();
    for restart in 1..most {
        class.advance_ms(3_000);
        class.send_report(viewer);
        class.send(
            teacher,
            Frame {
                ssrc: 0x1_0000 + u32::from(restart),
                ..Frame::key(restart)
            },
        );
    }
    class.advance_ms(1);
    assert_eq!(class.payloads(viewer, VIDEO).len(), usize::from(most));
    class.send(
        teacher,
        Frame {
            ssrc: 0x2_0000,
            ..Frame::key(1)
        },
    );
    let refused = class.shard.counters().dropped_in.of(DropReason::SsrcLimit);
    assert_eq!(refused, 1, "none may be forgotten");
    class.send(
        teacher,
        Frame {
            ssrc: 0x1_0000 + u32::from(most - 1),
            ..Frame::delta(most)
        },
    );
    class.advance_ms(1);
    assert_eq!(class.payloads(viewer, VIDEO).len(), usize::from(most) + 1);
}

#[test]
fn a_viewer_that_asks_for_numbers_without_end_has_few_looked_at() {
    let (mut class, _, viewer) = lesson(false);
    let seq = class.seqs(viewer, VIDEO)[0];
    let numbers: Vec<u16> = (0..5_000).map(|n| seq.wrapping_add(2_000 + n)).collect();
    let most = u64::from(NACK_NUMBERS_PER_SECOND_MAX);
    for _ in 0..most / 5_000 {
        class.nack_in_order(viewer, &numbers);
    }
    class.nack(viewer, VIDEO, &[seq]);
    class.flush();
    assert_eq!(resends(&class), (0, most + 1), "not looked at, but counted");
    class.nack_in_order(viewer, &numbers);
    assert_eq!(resends(&class), (0, most + 5_001));
    class.advance_ms(1_000);
    class.nack(viewer, VIDEO, &[seq]);
    class.flush();
    assert_eq!(resends(&class), (1, most + 5_001), "another second");
}

#[test]
fn what_was_to_be_sent_again_to_a_session_that_is_gone_is_counted() {
    let (mut class, _, viewer) = lesson(false);
    let seqs = class.seqs(viewer, VIDEO);
    class.nack(viewer, VIDEO, &seqs);
    let session = class.session(viewer);
    let close = Command::Close(Close { session });
    class.shard.on_command(class.now, close);
    class.flush();
    assert_eq!(resends(&class), (0, 1));
}

#[test]
fn a_packet_sent_again_that_did_not_leave_was_never_sent_again() {
    for rtx in [true, false] {
        let (mut class, _, viewer) = lesson(rtx);
        let seqs = class.seqs(viewer, VIDEO);
        for failure in 1..=5 {
            class.nack(viewer, VIDEO, &seqs);
            class.flush();
            assert_eq!(resends(&class), (1, failure - 1));
            let (run, packets) = class.edge.last_run(path(1));
            assert_eq!(packets, 1);
            let failed = SendFailed {
                path: path(1),
                run,
                packets: 1,
                kind: SendFailure::WouldBlock,
            };
            class.shard.on_send_failed(class.now, failed);
            assert_eq!(resends(&class), (0, failure));
            assert_eq!(class.shard.counters().rtx_packets, 0);
            class.assert_conserved();
            class.advance_ms(100);
        }
        // It has its three tries, and what they cost, as before.
        for _ in 0..4 {
            class.nack(viewer, VIDEO, &seqs);
            class.advance_ms(100);
        }
        assert_eq!(resends(&class), (3, 6));
    }
}

/// Security.md R7, where headers are most of what is sent.
#[test]
fn long_descriptors_are_not_sent_again_for_nothing() {
    for rtx in [true, false] {
        let (mut class, teacher, viewer) = lesson(rtx);
        let from = class.shard.counters().clone();
        let mut again = 0;
        for seq in 2..=2_000 {
            class.send(
                teacher,
                Frame {
                    len: 20,
                    frame_number: Some(seq),
                    descriptor_len: FORWARDED_EXTENSION_BYTES_MAX,
                    ..Frame::delta(seq)
                },
            );
            class.flush();
            class.advance_ms(5);
            let seqs = class.seqs(viewer, VIDEO);
            let mut newest: Vec<u16> = seqs[seqs.len().saturating_sub(100)..].to_vec();
            newest.sort_unstable();
            newest.dedup();
            class.nack_in_order(viewer, &newest);
            let before = class.shard.counters().sent_bytes;
            class.flush();
            again += class.shard.counters().sent_bytes - before;
        }
        let counters = class.shard.counters();
        let (sent, resent) = (
            counters.sent_bytes - from.sent_bytes - again,
            counters.retransmitted_packets,
        );
        assert!(resent > 100, "a viewer with losses is helped: {resent}");
        assert!(again * 5 <= sent, "{again} bytes again, of {sent}");
    }
}
