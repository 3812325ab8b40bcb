//! Rows of the fault matrix that concern whole paths: blackouts, rebinding, restarts, small MTUs, shards; and
//! that what is not subscribed is not sent.

use dataplane_api::Event;
use dataplane_api::event::{CloseReason, SessionClosed};
use dataplane_api::media::MediaKind;
use dataplane_engine::time::Micros;
use sim::{Conditions, PeerId, PublisherPlan, ViewerPlan, Way, World};

const VIDEO: MediaKind = MediaKind::Video;
/// Until a picture is there again (security.md section 2).
const RETURN_US_MAX: u64 = 1_500_000;

/// A teacher and some students who have joined.
fn class(seed: u64, students: usize) -> (World, PeerId, Vec<PeerId>) {
    let mut world = World::wired(seed, Conditions::with_rtt_ms(50), 1);
    let teacher = world.publish_with_voice();
    world.run_ms(500);
    let students = (0..students)
        .map(|n| {
            let plan = ViewerPlan {
                rtx: n % 2 == 0,
                ..ViewerPlan::default()
            };
            world.watch_as(teacher, plan)
        })
        .collect();
    world.run_ms(2_000);
    (world, teacher, students)
}

fn shown_after(world: &World, student: PeerId, from: Micros) -> Option<u64> {
    let shown = world.light(student).screen(VIDEO).shown();
    let first = shown.iter().find(|shown| shown.captured >= from)?;
    Some(first.at.since(from))
}

fn assert_back(world: &World, student: PeerId, from: Micros) {
    let after = shown_after(world, student, from);
    assert!(
        after.is_some_and(|us| us <= RETURN_US_MAX),
        "a picture after {after:?} us"
    );
}

fn is_closed(world: &World, peer: PeerId, reason: CloseReason) -> bool {
    world
        .node
        .events()
        .contains(&Event::SessionClosed(SessionClosed {
            session: world.session(peer),
            reason,
        }))
}

#[test]
fn a_blackout_of_two_seconds_is_over_within_a_second_and_a_half() {
    for ways in [&Way::BOTH[..], &Way::BOTH[..1], &Way::BOTH[1..]] {
        let (mut world, teacher, students) = class(201, 2);
        for victim in [students[0], students[1], teacher] {
            world.black_out(victim, ways, true);
            world.run_ms(2_000);
            world.black_out(victim, ways, false);
            let back = world.now();
            world.run_ms(3_000);
            for &student in &students {
                assert_back(&world, student, back);
            }
        }
    }
}

#[test]
fn a_blackout_of_thirty_seconds_is_no_end() {
    // Consent lapses 30 s after the last sign of life (contracts.md 6), the session ends some seconds later.
    let (mut world, teacher, students) = class(202, 2);
    for victim in [students[0], teacher] {
        world.black_out(victim, &Way::BOTH, true);
        world.run_ms(30_000);
        world.black_out(victim, &Way::BOTH, false);
        let back = world.now();
        world.run_ms(3_000);
        assert!(!is_closed(&world, victim, CloseReason::ConsentExpired));
        for &student in &students {
            assert_back(&world, student, back);
        }
    }
}

#[test]
fn after_a_blackout_of_forty_seconds_a_student_joins_again_within_two() {
    let (mut world, teacher, students) = class(203, 2);
    let victim = students[0];
    world.black_out(victim, &Way::BOTH, true);
    world.run_ms(30_000);
    assert!(!is_closed(&world, victim, CloseReason::ConsentExpired));
    world.run_ms(5_000);
    assert!(
        is_closed(&world, victim, CloseReason::ConsentExpired),
        "told within 35 s"
    );
    world.run_ms(5_000);
    let back = world.now();
    let again = world.reload(victim, teacher);
    world.run_ms(2_000);
    let after = shown_after(&world, again, back);
    assert!(after.is_some_and(|us| us <= 2_000_000), "{after:?}");
    assert_eq!(world.node.shard().population().sessions, 3);
}

#[test]
fn a_publisher_whose_nat_rebinds_is_back_within_a_second_and_a_half() {
    let (mut world, teacher, students) = class(204, 3);
    for _ in 0..3 {
        world.rebind(teacher);
        let from = world.now();
        world.run_ms(9_000);
        for &student in &students {
            let freeze_us = world
                .light(student)
                .screen(VIDEO)
                .longest_freeze_us(Micros(from.0 - 500_000));
            assert!(freeze_us <= RETURN_US_MAX, "a freeze of {freeze_us} us");
        }
    }
}

#[test]
fn a_hundred_viewers_rebind_at_once_and_nobody_misses_more_than_a_second_and_a_half() {
    let (mut world, _, students) = class(205, 100);
    let from = world.now();
    for &student in &students {
        world.rebind(student);
    }
    world.run_ms(5_000);
    let strangers = world.bytes_to_strangers;
    assert!(strangers > 0, "what was on its way went to the old ports");
    world.run_ms(3_000);
    assert_eq!(
        world.bytes_to_strangers, strangers,
        "nothing goes to an old port after five seconds"
    );
    for &student in &students {
        let screen = world.light(student).screen(VIDEO);
        let freeze_us = screen.longest_freeze_us(Micros(from.0 - 500_000));
        assert!(freeze_us <= RETURN_US_MAX, "a freeze of {freeze_us} us");
    }
}

#[test]
fn a_restart_of_ice_costs_no_picture() {
    let (mut world, teacher, students) = class(206, 2);
    let from = world.now();
    for peer in [students[0], teacher, students[0]] {
        world.restart_ice(peer);
        world.run_ms(2_000);
    }
    for &student in &students {
        let screen = world.light(student).screen(VIDEO);
        assert!(screen.longest_freeze_us(from) <= 100_000);
        assert_eq!(screen.tallies().values().map(|t| t.lost()).sum::<u64>(), 0);
    }
}

#[test]
fn what_a_publisher_fits_into_a_small_mtu_reaches_viewers_behind_the_same() {
    // 24 bytes of header, 950 of payload, 16 of tag: 990. RTX adds two; padding must add nothing beyond the
    // longest of a run.
    let mut world = World::wired(207, Conditions::with_rtt_ms(50), 1);
    world
        .network
        .change_all(|conditions| conditions.mtu_bytes = Some(1_000));
    let teacher = world.publish_as(
        0,
        PublisherPlan {
            payload_bytes: 950,
            probes: false,
            ..PublisherPlan::default()
        },
    );
    let students = [world.watch(teacher), world.watch(teacher)];
    world.run_ms(2_000);
    world
        .network
        .change_all(|conditions| conditions.loss_per_mille = 20);
    world.run_ms(5_000);
    world.recover();
    assert_eq!(world.network.faults().too_long, 0);
    for student in students {
        assert!(world.light(student).screen(VIDEO).received() > 500);
    }
}

#[test]
fn a_stray_check_is_handed_to_its_shard() {
    // One light client in eight asks a neighbouring shard first; of eighty some do.
    let mut world = World::wired(208, Conditions::with_rtt_ms(20), 3);
    let teachers: Vec<_> = (0..3)
        .map(|room| world.publish_as(room, PublisherPlan::default()))
        .collect();
    let students: Vec<_> = (0..78).map(|n| world.watch(teachers[n % 3])).collect();
    world.run_ms(3_000);
    for student in students {
        assert!(!world.light(student).screen(VIDEO).shown().is_empty());
    }
    let here: Vec<_> = world
        .node
        .shards()
        .map(|s| s.population().sessions)
        .collect();
    assert_eq!(here, [27, 27, 27]);
    assert!(world.node.handed_over() > 3);
}

#[test]
fn three_layers_come_as_the_highest() {
    let mut world = World::wired(209, Conditions::with_rtt_ms(20), 1);
    let plan = PublisherPlan {
        layers: 3,
        ..PublisherPlan::default()
    };
    let teacher = world.publish_as(0, plan);
    world.run_ms(500);
    let student = world.watch(teacher);
    world.run_ms(4_000);
    let shown = world.light(student).screen(VIDEO).shown();
    assert!(shown.len() > 70, "{} pictures", shown.len());
    assert!(shown.iter().all(|shown| shown.layer == 2));
}

#[test]
fn a_restarted_encoder_and_a_frozen_camera_come_back() {
    let (mut world, teacher, students) = class(210, 2);
    for with_keyframe in [true, false] {
        world.light_mut(teacher).restart_encoder(with_keyframe);
        let from = world.now();
        world.run_ms(2_000);
        let now = world.now();
        world.light_mut(teacher).freeze(now, true);
        world.run_ms(3_000);
        let now = world.now();
        world.light_mut(teacher).freeze(now, false);
        world.run_ms(2_000);
        for &student in &students {
            assert_back(&world, student, from);
            assert_back(&world, student, now);
        }
    }
}

#[test]
fn late_packets_of_an_encoder_that_restarted_change_nothing() {
    let (mut world, teacher, students) = class(212, 2);
    world.change(teacher, Way::Up, |conditions| {
        conditions.reorder_per_mille = 200;
        conditions.reorder_depth = 12;
        conditions.duplicate_per_mille = 200;
    });
    let from = world.now();
    for _ in 0..10 {
        world.light_mut(teacher).restart_encoder(true);
        world.run_ms(1_000);
    }
    for student in students {
        let freeze_us = world.light(student).screen(VIDEO).longest_freeze_us(from);
        // A keyframe whose beginning is overtaken by the rest of it is asked for again.
        assert!(freeze_us <= 1_000_000, "a freeze of {freeze_us} us");
    }
}

#[test]
fn rooms_on_one_shard_with_the_same_ssrcs_never_meet() {
    // That nothing of one room reaches another says the checker `Subscriptions`: every publisher here sends with
    // the same SSRCs, and every viewer has the same slots.
    let mut world = World::wired(211, Conditions::with_rtt_ms(20), 1);
    let mut rooms = Vec::new();
    for room in 0..10 {
        let teacher = world.publish_as(room, PublisherPlan::default());
        rooms.push((teacher, [world.watch(teacher), world.watch(teacher)]));
    }
    world.run_ms(1_000);
    for &(_, [student, _]) in rooms.iter().take(5) {
        world.rebind(student);
        world.run_ms(400);
    }
    world.recover();
    assert!(world.tap().judged() > 10_000, "{}", world.tap().judged());
}
