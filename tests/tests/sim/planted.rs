//! Every checker can fire: a bug is planted for each, and exactly that one notices it.

use std::collections::BTreeSet;

use dataplane_engine::time::Micros;
use dataplane_engine::transport::keys::Profile;
use sim::{Conditions, Plant, PublisherPlan, ViewerPlan, World};

/// A class in which everything happens that a bug could hide in: audio and video, retransmissions with and
/// without RTX, keyframe requests.
fn class(plant: Option<Plant>) -> World {
    let mut world = World::wired(5, Conditions::with_rtt_ms(30), 1);
    if let Some(plant) = plant {
        world.sabotage(plant, Micros::ZERO.plus_ms(500));
    }
    let teacher = world.publish_as(0, PublisherPlan::default());
    world.run_ms(600);
    for rtx in [true, false, true] {
        let plan = ViewerPlan {
            rtx,
            profile: Profile::AeadAes256Gcm,
            ..ViewerPlan::default()
        };
        world.watch_as(teacher, plan);
        world.run_ms(100);
    }
    // Audio and video meet in a turn only where they jitter.
    let jitter_us = if plant == Some(Plant::DelaysSpeech) {
        25_000
    } else {
        0
    };
    world.network.change_all(|conditions| {
        conditions.loss_per_mille = 30;
        conditions.jitter_us = jitter_us;
    });
    world.run_ms(4_000);
    world.recover();
    world
}

fn check(plant: Plant) {
    let world = class(Some(plant));
    let noticed: BTreeSet<&str> = world.violations().iter().map(|v| v.checker).collect();
    assert!(world.planted() > 0, "{plant:?} found no place");
    assert_eq!(
        noticed,
        BTreeSet::from([plant.checker()]),
        "{plant:?}: {}; first: {:?}",
        plant.what(),
        world.violations().first(),
    );
}

#[test]
fn without_a_bug_no_checker_fires() {
    assert_eq!(class(None).violations(), []);
}

macro_rules! planted {
    ($($test:ident: $plant:ident;)+) => {
        $(#[test]
        fn $test() {
            check(Plant::$plant);
        })+

        #[test]
        fn every_bug_has_its_test_and_every_checker_its_bug() {
            let tested = [$(Plant::$plant),+];
            assert_eq!(tested, Plant::ALL);
            for plant in Plant::ALL {
                eprintln!("| {} | {} |", plant.what(), plant.checker());
            }
        }
    };
}

planted! {
    a_datagram_that_vanishes_is_noticed: LosesReceived;
    a_selected_packet_that_vanishes_is_noticed: LosesSelected;
    a_datagram_that_never_leaves_is_noticed: SwallowsControl;
    an_index_that_is_sealed_twice_is_noticed: SealsTwice;
    a_hole_is_noticed: LeavesHole;
    a_jump_of_picture_ids_is_noticed: JumpsPictures;
    time_that_runs_backwards_is_noticed: RunsBackwards;
    a_packet_that_is_forwarded_twice_is_noticed: ForwardsTwice;
    a_switch_to_what_is_no_keyframe_is_noticed: SwitchesAnywhere;
    a_packet_of_another_room_is_noticed: LeaksRoom;
    a_damaged_payload_is_noticed: ForwardsDamage;
    a_wrong_retransmission_is_noticed: RepairsWrongly;
    too_much_padding_is_noticed: PadsTooMuch;
    an_answer_to_a_stranger_is_noticed: AnswersStranger;
    speech_behind_video_is_noticed: DelaysSpeech;
    a_second_keyframe_request_is_noticed: AsksTwice;
    a_session_that_is_never_forgotten_is_noticed: LeaksSession;
    a_viewer_who_sees_nothing_more_is_noticed: GoesSilent;
}
