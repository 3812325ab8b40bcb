//! Stories of the paths of one session.

use super::*;
use crate::packet::SocketIndex;

fn path(port: u16) -> Path {
    Path {
        local: [192, 0, 2, 1].into(),
        remote: ([198, 51, 100, 7], port).into(),
        socket: SocketIndex::UDP_V4,
    }
}

fn at(ms: u64) -> Micros {
    Micros::ZERO.plus_ms(ms)
}

/// A peer whose checks on path 1 came since the beginning, and whose packets every `pause_ms` for 10 s.
fn heard(pause_ms: u64) -> Paths {
    let mut paths = Paths::default();
    paths.on_check(at(0), path(1), true, true);
    for n in 1..=10_000 / pause_ms {
        paths.on_packet(at(n * pause_ms), path(1));
    }
    paths
}

/// Contracts.md 5.
#[test]
fn egress_follows_nomination_and_not_the_last_check() {
    let mut paths = Paths::default();
    paths.on_check(at(0), path(1), false, true);
    assert_eq!(
        paths.selected(),
        Some(path(1)),
        "before nomination the first validated path serves"
    );
    paths.on_check(at(1), path(2), true, true);
    assert_eq!(paths.selected(), Some(path(2)));
    paths.on_check(at(2), path(1), false, true);
    assert_eq!(
        paths.selected(),
        Some(path(2)),
        "a check of a backup pair moves nothing"
    );
}

/// Contracts.md 5.
#[test]
fn a_silent_path_gives_way_and_comes_back_when_nominated() {
    let mut paths = Paths::default();
    paths.on_check(at(0), path(1), true, true);
    paths.on_check(at(50), path(2), false, true);
    paths.on_packet(at(100), path(1));
    paths.on_packet(at(200), path(1));
    paths.on_check(at(4_000), path(2), false, true);
    assert_eq!(paths.next_deadline(at(4_000)), Some(at(5_200)));
    paths.on_tick(at(5_199));
    assert_eq!(paths.selected(), Some(path(1)));
    paths.on_tick(at(5_200));
    assert_eq!(paths.selected(), Some(path(2)));
    paths.on_check(at(6_000), path(1), true, true);
    assert_eq!(paths.selected(), Some(path(1)));
}

/// Contracts.md 5: Chromium checks its backup pair too, from the same public address behind the same NAT.
#[test]
fn a_backup_pair_never_steals_a_path_that_pauses() {
    let mut paths = Paths::default();
    paths.on_check(at(0), path(1), true, true);
    paths.on_check(at(30), path(2), false, true);
    let mut now = 0;
    for pause in [20, 20, 500, 20, 900, 20, 2_000, 20, 4_900]
        .iter()
        .cycle()
        .take(900)
    {
        // In the middle and at the end of each pause the backup is checked, and a backup born meanwhile.
        for part in [pause / 2, pause - 1] {
            paths.on_check(at(now + part), path(2), false, true);
            paths.on_tick(at(now + part));
            assert_eq!(paths.selected(), Some(path(1)), "{part} of {pause} ms");
        }
        now += pause;
        paths.on_packet(at(now), path(1));
    }
}

/// A second network interface that comes up during a call is a new path from the same public address.
#[test]
fn a_path_that_appears_while_the_selected_one_is_heard_never_succeeds_it() {
    let mut paths = heard(20);
    paths.on_check(at(10_010), path(2), false, true);
    // 200 ms later than what the network may have overtaken.
    paths.on_packet(at(10_200), path(1));
    for ms in 10_200..15_200 {
        paths.on_check(at(ms), path(2), false, true);
        paths.on_tick(at(ms));
        assert_eq!(paths.selected(), Some(path(1)), "{ms}");
    }
    paths.on_tick(at(15_200));
    assert_eq!(paths.selected(), Some(path(2)), "after 5 s, as any other");
}

#[test]
fn a_new_binding_of_the_nat_is_followed_as_soon_as_the_old_one_is_missed() {
    // What the peer's habit is, and how long its silence has to be.
    for (pause_ms, patience_ms) in [(20, 250), (100, 250), (500, 750), (1_000, 5_000)] {
        let mut paths = if pause_ms == 1_000 {
            // Ten signs of life are too few to miss the next.
            let mut paths = Paths::default();
            paths.on_check(at(0), path(1), true, true);
            for n in 1..=10 {
                paths.on_packet(at(n * 1_000), path(1));
            }
            paths
        } else {
            heard(pause_ms)
        };
        paths.on_check(at(10_050), path(2), false, true);
        let moves_at = at(10_000 + patience_ms);
        assert_eq!(paths.next_deadline(at(10_050)), Some(moves_at));
        for ms in (10_060..10_000 + patience_ms).step_by(usize::try_from(pause_ms).unwrap()) {
            paths.on_packet(at(ms), path(2));
            assert_eq!(paths.selected(), Some(path(1)), "{pause_ms}");
        }
        paths.on_tick(moves_at);
        assert_eq!(paths.selected(), Some(path(2)), "{pause_ms}");
        if patience_ms < 5_000 {
            // It is the same flow: the next binding is followed as fast.
            let last = moves_at.plus_ms(20);
            paths.on_packet(last, path(2));
            paths.on_check(last.plus_ms(30), path(3), false, true);
            paths.on_tick(last.plus_ms(patience_ms));
            assert_eq!(paths.selected(), Some(path(3)), "{pause_ms}");
        }
    }
}

#[test]
fn a_packet_overtaken_on_the_old_binding_does_not_hold_egress_there() {
    let mut paths = heard(20);
    paths.on_check(at(10_010), path(2), false, true);
    paths.on_packet(at(10_040), path(1));
    paths.on_tick(at(10_290));
    assert_eq!(paths.selected(), Some(path(2)));
}

#[test]
fn another_address_succeeds_by_nomination_only() {
    let copied = Path {
        remote: ([203, 0, 113, 9], 1).into(),
        ..path(1)
    };
    let mut paths = heard(20);
    paths.on_check(at(10_010), copied, false, true);
    for ms in 10_010..15_000 {
        paths.on_check(at(ms), copied, false, true);
        paths.on_tick(at(ms));
        assert_eq!(paths.selected(), Some(path(1)));
    }
    paths.on_check(at(15_000), copied, true, true);
    assert_eq!(paths.selected(), Some(copied));
}

#[test]
fn an_old_binding_is_forgotten_and_a_backup_is_not() {
    let mut paths = heard(20);
    paths.on_check(at(9_990), path(9), false, true);
    paths.on_packet(at(10_000), path(1));
    paths.on_check(at(10_110), path(2), false, true);
    paths.on_packet(at(10_250), path(2));
    assert_eq!(paths.selected(), Some(path(2)));
    assert!(paths.on_tick(at(15_249)).is_empty());
    assert_eq!(paths.on_tick(at(15_250)), [path(1)]);
    // Chromium checks its backup pair every 25 s.
    assert!(paths.on_tick(at(34_989)).is_empty());
    paths.on_packet(at(39_990), path(2));
    assert_eq!(paths.on_tick(at(39_990)), [path(9)]);
    assert_eq!(paths.iter().collect::<Vec<_>>(), [path(2)]);
}

/// Contracts.md 5.
#[test]
fn a_ninth_path_replaces_a_silent_one_never_a_live_one() {
    let mut paths = Paths::default();
    for port in 1..=8 {
        paths.on_check(at(u64::from(port)), path(port), port == 1, true);
    }
    let ninth = paths.on_check(at(100), path(9), false, true);
    assert_eq!(ninth, PathChange::Refused);
    let change = paths.on_check(at(5_100), path(9), false, true);
    let evicted = Some(path(2));
    assert_eq!(
        change,
        PathChange::Added { evicted },
        "the selected one is never evicted"
    );
}

/// A peer that chooses a ninth pair is followed, whatever its others do.
#[test]
fn a_nominated_path_finds_room_among_live_ones() {
    let mut paths = Paths::default();
    for port in 1..=8 {
        paths.on_check(at(u64::from(port)), path(port), port <= 2, true);
    }
    // Egress is on 2; 1 was nominated before, 3 never was and is the oldest of those.
    assert_eq!(paths.selected(), Some(path(2)));
    assert!(!paths.has_room(at(100), path(9), false));
    assert!(paths.has_room(at(100), path(9), true));
    let change = paths.on_check(at(100), path(9), true, true);
    let evicted = Some(path(3));
    assert_eq!(change, PathChange::Added { evicted });
    assert_eq!(paths.selected(), Some(path(9)));
    // Where all were nominated, the one that is silent longest goes.
    for port in [1, 2, 4, 5, 6, 7, 8] {
        paths.on_check(at(200 + u64::from(port)), path(port), true, true);
    }
    let change = paths.on_check(at(300), path(10), true, true);
    let evicted = Some(path(9));
    assert_eq!(change, PathChange::Added { evicted });
}

/// Contracts.md 5: who comes back with the port of his former self waits no longer than it takes to miss that.
#[test]
fn a_path_is_anothers_as_soon_as_it_is_missed() {
    for (pause_ms, kept_ms) in [(20, 5_000), (1_000, 5_000), (2_500, 5_000), (2_600, 5_200)] {
        let mut paths = Paths::default();
        paths.on_check(at(0), path(1), true, true);
        for n in 1..=20 {
            paths.on_packet(at(n * pause_ms), path(1));
        }
        let last_ms = (20 * pause_ms).max(2_000);
        paths.on_packet(at(last_ms), path(1));
        // The time it took to get acquainted with a path that says much is a pause of its own.
        let kept_ms = kept_ms.max(2 * (last_ms - 20 * pause_ms));
        assert!(
            paths.keeps(at(last_ms + kept_ms - 1), path(1)),
            "{pause_ms}"
        );
        assert!(!paths.keeps(at(last_ms + kept_ms), path(1)), "{pause_ms}");
    }
    // Rare signs of life, of which one may be lost: GStreamer's receiver reports. And a path hardly known.
    for (pause_ms, signs) in [(3_100, 20), (6_200, 20), (20, 10)] {
        let mut paths = Paths::default();
        paths.on_check(at(0), path(1), true, true);
        for n in 1..=signs {
            paths.on_packet(at(n * pause_ms), path(1));
        }
        let last_ms = signs * pause_ms;
        assert!(paths.keeps(at(last_ms + 14_999), path(1)), "{pause_ms}");
        assert!(!paths.keeps(at(last_ms + 15_000), path(1)), "{pause_ms}");
    }
}

#[test]
fn a_restart_finds_room_among_the_paths_it_ends() {
    let mut paths = Paths::default();
    for port in 1..=8 {
        paths.on_check(at(u64::from(port)), path(port), port == 1, true);
    }
    paths.on_restart();
    // All of them alive; seven make room, the eighth carries media.
    for port in 11..=17 {
        let change = paths.on_check(at(100), path(port), false, true);
        assert!(matches!(change, PathChange::Added { evicted: Some(_) }));
    }
    assert_eq!(paths.selected(), Some(path(1)));
    let change = paths.on_check(at(100), path(18), false, true);
    assert_eq!(change, PathChange::Refused);
    paths.on_check(at(100), path(17), true, true);
    assert_eq!(paths.selected(), Some(path(17)));
    let change = paths.on_check(at(100), path(18), false, true);
    let evicted = Some(path(1));
    assert_eq!(change, PathChange::Added { evicted });
}
