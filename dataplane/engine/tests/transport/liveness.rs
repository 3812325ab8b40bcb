//! Who is still there (contracts.md 6, security.md T11, the blackouts of the fault matrix).

use dataplane_api::event::CloseReason;

use crate::peer::{Habits, path};
use crate::world::World;

/// Contracts.md 6: Debian's GStreamer sends no second authenticated check.
#[test]
fn a_peer_that_checks_once_lives_by_its_media() {
    let (mut world, publisher, viewer) = World::class(Habits::GSTREAMER, Habits::GSTREAMER);
    let begun = world.now;
    world.run_ms(120_000);
    assert_eq!(
        (world.closed(publisher), world.closed(viewer)),
        (None, None)
    );
    assert!(world.gap_ms(viewer, begun) < 100);
}

/// Contracts.md 6: RFC 7675 for whoever did send periodic checks.
#[test]
fn a_peer_that_stops_its_checks_is_not_kept_by_its_media() {
    let (mut world, _, viewer) = World::class(Habits::CHROMIUM, Habits::CHROMIUM);
    world.run_ms(15_000);
    world.peers[viewer].habits.check_ms = Some(10_000_000);
    let at = world.peers[viewer].at;
    // The check that was due before that is the last.
    world.run_ms(2_600);
    let last_check = world.peers[viewer].answers.last().unwrap().0;
    world.run_ms(60_000);
    assert_eq!(world.closed(viewer), Some(CloseReason::ConsentExpired));
    assert_eq!(world.media_to(at, last_check.plus_ms(30_000)), 0);
    let alive = last_check.plus_ms(29_000);
    assert!(world.media_to(at, alive) > 40, "and no moment too early");
}

/// Security.md T11: a frozen viewer is sent nothing 30 s after its last sign of life, is told of within 35 s, and
/// an ICE restart brings it back until then.
#[test]
fn a_frozen_viewer_is_left_alone_after_30_s() {
    for habits in [Habits::CHROMIUM, Habits::STR0M, Habits::GSTREAMER] {
        let (mut world, _, viewer) = World::class(Habits::CHROMIUM, habits);
        world.run_ms(15_000);
        world.peers[viewer].frozen = true;
        let (frozen, at) = (world.now, world.peers[viewer].at);
        world.run_ms(30_100);
        assert_eq!(world.media_to(at, frozen.plus_ms(30_050)), 0, "{habits:?}");
        assert!(world.media_to(at, frozen.plus_ms(23_000)) > 40);
        world.run_ms(4_900);
        assert_eq!(world.closed(viewer), Some(CloseReason::ConsentExpired));
        assert_eq!(world.node.shard.population().sessions, 1);
    }
}

/// Security.md T11: "resumes after ICE restart".
#[test]
fn a_restart_revives_a_peer_whose_consent_has_lapsed() {
    let (mut world, _, viewer) = World::class(Habits::CHROMIUM, Habits::CHROMIUM);
    world.run_ms(15_000);
    world.peers[viewer].frozen = true;
    world.run_ms(31_000);
    let session = world.peers[viewer].session;
    let admitted = world.node.restart_ice(world.now, session, 1);
    let restarted = world.now;
    world.run_ms(20_000);
    assert_eq!(world.closed(viewer), None, "it has the time of a newcomer");
    let at = world.peers[viewer].at;
    assert_eq!(world.media_to(at, restarted), 0, "but no consent");
    let thawed = world.now;
    world.peers[viewer].frozen = false;
    world.peers[viewer].at = path(9_000);
    world.peers[viewer].restarted(thawed, admitted);
    world.run_ms(2_000);
    assert!(world.gap_ms(viewer, thawed) < 200);
}

/// Security.md, fault matrix: 2 s and 30 s resume, 40 s ends.
#[test]
fn blackouts_end_in_a_picture_or_in_a_clean_end() {
    for (dark_ms, resumes) in [(2_000, true), (30_000, true), (40_000, false)] {
        for phase_ms in [0, 700, 1_900] {
            let (mut world, _, viewer) = World::class(Habits::CHROMIUM, Habits::CHROMIUM);
            world.run_ms(15_000 + phase_ms);
            let begun = world.now;
            world.peers[viewer].dark = true;
            world.run_ms(dark_ms.min(35_000));
            let ended = world.closed(viewer);
            assert_eq!(ended, (!resumes).then_some(CloseReason::ConsentExpired));
            world.run_ms(dark_ms.saturating_sub(35_000));
            world.peers[viewer].dark = false;
            // Unanswered, Chromium checks every 900 ms and faster.
            let returned = world.now;
            world.peers[viewer].check_soon(returned);
            world.run_ms(3_000);
            let times = world.peers[viewer].media_times();
            let first = times.into_iter().find(|&at| at > returned);
            assert_eq!(
                first.is_some_and(|at| at.since(returned) < 1_500_000),
                resumes,
                "{dark_ms} ms dark since {begun:?}, {first:?}"
            );
        }
    }
}

/// Security.md T11: a session lives by its peer, not by whoever has seen one of its checks.
#[test]
fn a_replayed_check_keeps_no_dead_session_alive() {
    let (mut world, _, viewer) = World::class(Habits::CHROMIUM, Habits::CHROMIUM);
    let captured = world.peers[viewer].check(true);
    let at = world.peers[viewer].at;
    world.node.receive(world.now, at, &mut captured.clone());
    world.run_ms(15_000);
    world.peers[viewer].frozen = true;
    let frozen = world.now;
    for _ in 0..350 {
        for from in [at, path(9_000)] {
            world.node.receive(world.now, from, &mut captured.clone());
        }
        world.run_ms(100);
    }
    assert_eq!(world.closed(viewer), Some(CloseReason::ConsentExpired));
    assert_eq!(world.media_to(at, frozen.plus_ms(30_050)), 0);
    assert_eq!(world.media_to(path(9_000), frozen), 0);
}
