//! Stories of viewers whom the node offers a session: WHEP's counter-offer, answered by str0m.

use dataplane_api::command::Setup;
use dataplane_engine::reason::DropReason;
use sim::{Conditions, World};

use crate::joins::{PACKETS_A_SECOND, assert_sees};

/// Who answers `active` finds us the server of DTLS, who answers `passive` the client.
#[test]
fn a_student_who_answers_our_offer_sees_the_teacher() {
    for setup in [Setup::Active, Setup::Passive] {
        let mut world = World::new(1, Conditions::CLEAN);
        let teacher = world.publish_with_voice();
        world.run_ms(1_000);
        let student = world.offer(teacher, setup);
        world.run_ms(200);
        world.accept(student, setup);
        world.run_ms(3_000);
        assert_sees(&world, student, 2 * PACKETS_A_SECOND);
        assert_eq!(world.peer(student).received().holes(), 0, "{setup:?}");
    }
}

#[test]
fn before_the_answer_nothing_is_said_and_nobody_is_remembered() {
    let mut world = World::new(2, Conditions::CLEAN);
    let teacher = world.publish();
    world.plug(teacher, false);
    let student = world.offer(teacher, Setup::Active);
    world.run_ms(5_000);
    let counters = world.node.shard().counters();
    assert!(
        counters.dropped_in.of(DropReason::StunUnknownUser) >= 3,
        "{counters:?}"
    );
    assert_eq!(counters.accepted_packets, 0);
    assert_eq!(counters.sent_packets, 0);
    assert!(!world.is_connected(student));
    world.plug(teacher, true);
    world.accept(student, Setup::Active);
    world.run_ms(5_000);
    assert_sees(&world, student, PACKETS_A_SECOND);
}

/// A class on a bad network answers in its own time; everybody is there in the end.
#[test]
fn offers_are_answered_through_loss() {
    let mut world = World::new(
        3,
        Conditions {
            loss_per_mille: 100,
            ..Conditions::CLEAN
        },
    );
    let teacher = world.publish();
    let mut students = Vec::new();
    for n in 0..10 {
        let setup = [Setup::Active, Setup::Passive][n % 2];
        let student = world.offer(teacher, setup);
        world.run_ms(70);
        world.accept(student, setup);
        students.push(student);
    }
    world.await_joins(&students);
}
