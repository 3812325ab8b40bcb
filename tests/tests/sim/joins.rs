//! Stories of peers with real handshakes (str0m). What leaves the node toward them is judged by its headers,
//! what reaches them by its content.

use dataplane_api::Event;
use dataplane_api::event::{CloseReason, SessionClosed};
use dataplane_engine::reason::DropReason;
use sim::{Conditions, PeerId, World};

/// A second of 30 frames of four packets.
pub(crate) const PACKETS_A_SECOND: usize = 120;

pub(crate) fn assert_sees(world: &World, viewer: PeerId, packets: usize) {
    let received = world.peer(viewer).received();
    received.assert_in_order();
    assert!(
        received.packets() >= packets,
        "a viewer saw {} packets, wanted {packets}; the node: {:?}",
        received.packets(),
        world.node.shard().counters(),
    );
}

#[test]
fn everyone_sees_the_teacher_without_a_hole() {
    let mut world = World::new(1, Conditions::CLEAN);
    let teacher = world.publish();
    world.run_ms(1_000);
    let students: Vec<_> = (0..5).map(|_| world.watch(teacher)).collect();
    world.run_ms(4_000);
    for student in students {
        assert_sees(&world, student, 3 * PACKETS_A_SECOND);
        assert_eq!(world.peer(student).received().holes(), 0);
        assert_eq!(world.peer(student).received().duplicates(), 0);
    }
    let requests = world.peer(teacher).keyframe_requests;
    assert!(
        (1..=2).contains(&requests),
        "five joins at once cost {requests} keyframes"
    );
}

#[test]
fn a_student_who_comes_first_sees_the_teacher_from_the_first_frame() {
    let mut world = World::new(2, Conditions::CLEAN);
    let teacher = world.publish();
    let student = world.watch(teacher);
    world.run_ms(3_000);
    assert_sees(&world, student, 2 * PACKETS_A_SECOND);
}

#[test]
fn lost_packets_are_sent_again_as_they_were() {
    let mut world = World::new(3, Conditions::CLEAN);
    let teacher = world.publish();
    let student = world.watch(teacher);
    world.run_ms(2_000);
    // Publishers are not asked to repeat what the node itself misses, so the way in stays clean here:
    // what is lost on the way out is what the student asks for.
    world.network.set(Conditions {
        loss_per_mille: 50,
        ..Conditions::CLEAN
    });
    world.run_ms(10_000);
    world.network.set(Conditions::CLEAN);
    world.run_ms(2_000);
    let counters = world.node.shard().counters();
    assert!(counters.retransmitted_packets > 20, "{counters:?}");
    assert_sees(&world, student, 10 * PACKETS_A_SECOND);
}

#[test]
fn a_slot_that_changes_teachers_goes_on_without_a_hole() {
    let mut world = World::new(4, Conditions::CLEAN);
    let first = world.publish();
    let second = world.publish();
    let student = world.watch(first);
    world.run_ms(3_000);
    for teacher in [second, first, second] {
        world.switch(student, teacher);
        world.run_ms(2_000);
    }
    let received = world.peer(student).received();
    received.assert_in_order();
    assert_eq!(received.holes(), 0);
    let publishers: std::collections::BTreeSet<_> =
        received.stamps().map(|s| s.publisher).collect();
    assert_eq!(publishers.len(), 2);
}

#[test]
fn everyone_hears_and_sees_the_teacher() {
    let mut world = World::new(9, Conditions::CLEAN);
    let teacher = world.publish_with_voice();
    let students = [world.watch(teacher), world.watch(teacher)];
    world.run_ms(4_000);
    for student in students {
        assert_sees(&world, student, 3 * PACKETS_A_SECOND);
        let heard = world.peer(student).heard();
        heard.assert_in_order();
        assert!(
            heard.packets() > 3 * 50,
            "{} packets of voice",
            heard.packets()
        );
        assert_eq!(
            (heard.holes(), world.peer(student).received().holes()),
            (0, 0)
        );
    }
}

#[test]
fn a_restarted_encoder_goes_on_in_every_slot() {
    let mut world = World::new(10, Conditions::CLEAN);
    let teacher = world.publish();
    let student = world.watch(teacher);
    world.run_ms(3_000);
    // The second restart begins just before its sequence numbers wrap.
    for (ssrc, first_seq) in [(0x7001, 3), (0x7002, 65_400)] {
        let before = world.peer(student).received().packets();
        world.peer_mut(teacher).restart_encoder(ssrc, first_seq);
        world.run_ms(3_000);
        assert_sees(&world, student, before + 2 * PACKETS_A_SECOND);
        assert_eq!(world.peer(student).received().holes(), 0);
    }
}

#[test]
fn sequence_numbers_of_a_slot_wrap_unnoticed() {
    let mut world = World::new(11, Conditions::CLEAN);
    let teacher = world.publish();
    let student = world.watch(teacher);
    world.run_ms(2_000);
    // A slot begins below 2^15, so 2^16 numbers later it has wrapped once or twice.
    for _ in 0..80 {
        world.peer_mut(teacher).leave_out(900);
        world.run_ms(40);
    }
    let before = world.peer(student).received().packets();
    world.run_ms(2_000);
    assert_sees(&world, student, before + PACKETS_A_SECOND);
    let auth_failures = |world: &World| {
        let counters = world.node.shard().counters();
        counters.dropped_in.of(DropReason::SrtpAuth)
    };
    assert_eq!(auth_failures(&world), 0);
}

#[test]
fn a_student_whose_nat_rebinds_is_found_again() {
    let mut world = World::new(12, Conditions::CLEAN);
    let teacher = world.publish();
    let student = world.watch(teacher);
    world.run_ms(3_000);
    world.rebind(student);
    // Its next check validates the new path; the old one falls silent after 5 s.
    world.run_ms(9_000);
    let (before, strangers) = (
        world.peer(student).received().packets(),
        world.bytes_to_strangers,
    );
    world.run_ms(2_000);
    assert_sees(&world, student, before + PACKETS_A_SECOND);
    assert_eq!(
        world.bytes_to_strangers, strangers,
        "nothing goes to the old port any more"
    );
}

#[test]
fn a_forged_source_address_steals_nobodys_path() {
    let mut world = World::new(13, Conditions::CLEAN);
    let teacher = world.publish();
    let student = world.watch(teacher);
    let forger = world.watch(teacher);
    world.run_ms(3_000);
    world.forge(forger, student);
    let before = world.peer(student).received().packets();
    world.run_ms(10_000);
    assert_sees(&world, student, before + 9 * PACKETS_A_SECOND);
    assert_eq!(world.peer(student).received().holes(), 0);
    let refused = &world.node.shard().counters().dropped_in;
    assert!(refused.of(DropReason::PathLimit) > 0, "{refused:?}");
}

#[test]
fn a_student_who_starts_again_at_the_same_address_is_let_in() {
    let mut world = World::new(14, Conditions::CLEAN);
    let teacher = world.publish_with_voice();
    let student = world.watch(teacher);
    world.run_ms(3_000);
    let again = world.reload(student, teacher);
    world.run_ms(25_000);
    assert_sees(&world, again, 2 * PACKETS_A_SECOND);
    assert_eq!(world.node.shard().population().sessions, 3);
    world.run_ms(10_000);
    assert_eq!(
        world.node.shard().population().sessions,
        2,
        "its former self is let go"
    );
}

#[test]
fn a_student_who_vanishes_is_let_go_between_thirty_and_thirty_five_seconds() {
    let mut world = World::new(5, Conditions::CLEAN);
    let teacher = world.publish();
    let student = world.watch(teacher);
    world.run_ms(2_000);
    world.plug(student, false);
    let gone = Event::SessionClosed(SessionClosed {
        session: world.session(student),
        reason: CloseReason::ConsentExpired,
    });
    world.run_ms(30_000);
    assert!(!world.node.events().contains(&gone));
    world.run_ms(5_000);
    assert!(world.node.events().contains(&gone));
    assert_eq!(world.node.shard().population().subscriptions, 0);
    assert!(world.peer(teacher).is_connected(), "the teacher goes on");
}

#[test]
fn a_session_nobody_uses_is_let_go() {
    let mut world = World::new(6, Conditions::CLEAN);
    let teacher = world.publish();
    world.plug(teacher, false);
    world.run_ms(31_000);
    let gone = Event::SessionClosed(SessionClosed {
        session: world.session(teacher),
        reason: CloseReason::IceTimeout,
    });
    assert!(world.node.events().contains(&gone));
    assert_eq!(world.node.shard().population().sessions, 0);
}

#[test]
fn strangers_get_no_answer_and_leave_no_trace() {
    let mut world = World::new(7, Conditions::CLEAN);
    let teacher = world.publish();
    let student = world.watch(teacher);
    world.run_ms(2_000);
    let before = world.node.shard().counters().clone();
    for first in 0..=255u8 {
        for len in [0usize, 1, 2, 12, 13, 20, 100, 1_500] {
            let mut bytes = vec![first; len];
            if let Some(second) = bytes.get_mut(1) {
                *second = first.wrapping_mul(31);
            }
            world.inject(([203, 0, 113, first], 9).into(), &bytes);
        }
    }
    world.run_ms(1_000);
    let after = world.node.shard().counters();
    assert_eq!(world.bytes_to_strangers, 0);
    assert_eq!(
        after.dropped_in.total() - before.dropped_in.total(),
        256 * 8
    );
    assert_eq!(world.peer(student).received().holes(), 0);
}

#[test]
fn a_closed_class_leaves_nothing() {
    let mut world = World::new(8, Conditions::CLEAN);
    let teacher = world.publish();
    let student = world.watch(teacher);
    world.run_ms(2_000);
    world.close(teacher);
    world.close(student);
    world.run_ms(1_000);
    assert_eq!(
        world.node.shard().population(),
        dataplane_engine::Population::default()
    );
}
