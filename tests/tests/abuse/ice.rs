//! Rows T10 to T12: Binding floods, a viewer that falls silent, guesses of ICE passwords.

use dataplane_api::Event;
use dataplane_api::command::SessionPolicy;
use dataplane_api::event::{CloseReason, SessionClosed};
use dataplane_api::media::CodecId;
use dataplane_engine::limits::PATHS_PER_SESSION_MAX;
use dataplane_engine::reason::DropReason;

use crate::attacker::{Random, check, foreign};
use crate::hall::{Hall, PeerId};
use crate::memory::{assert_nothing_kept, cost};
use crate::vectors;

/// A publisher, a viewer, and a second of media between them.
fn class() -> (Hall, PeerId, PeerId) {
    let mut hall = Hall::new();
    let publisher = hall.join_publisher(1, CodecId::VP8, 1);
    let viewer = hall.join_viewer(1, publisher);
    hall.send_frame(publisher, true);
    play(&mut hall, publisher, 1_000);
    (hall, publisher, viewer)
}

/// Lets a publisher send 30 frames a second.
fn play(hall: &mut Hall, publisher: PeerId, ms: u64) {
    for _ in 0..ms / 33 {
        hall.send_frame(publisher, false);
        hall.advance_ms(33);
    }
}

/// An unauthenticated Binding request.
fn bare_binding(random: &mut Random) -> [u8; 20] {
    let mut message = [0; 20];
    message[..8].copy_from_slice(&[0, 1, 0, 0, 0x21, 0x12, 0xa4, 0x42]);
    random.fill(&mut message[8..]);
    message
}

#[test]
fn t10_a_bare_binding_is_not_answered() {
    const BINDINGS: u64 = 100_000;
    let (mut hall, publisher, viewer) = class();
    let mut random = Random(10);
    let sent = hall.shard.counters().sent_packets;
    // 20,000 a second for five: from strangers, and with the source address of a peer.
    assert_nothing_kept("bare Binding", BINDINGS, || {
        for n in 0..BINDINGS {
            let path = match n % 4 {
                0 => hall.peers[viewer].path,
                _ => foreign(random.u32()),
            };
            let mut message = bare_binding(&mut random);
            hall.deliver(path, &mut message);
            if n % 20 == 0 {
                hall.now = hall.now.plus_ms(1);
            }
        }
    });
    for input in vectors::stun() {
        for path in [foreign(1), hall.peers[publisher].path] {
            hall.deliver(path, &mut input.bytes.clone());
        }
    }
    hall.turn();
    let stun = hall.peers[viewer].received.stun;
    assert_eq!(stun, 1, "only the check it joined with was answered");
    assert_eq!(hall.bytes_to_strangers, 0);
    // What left meanwhile is RTCP that was due, not an answer each.
    assert!(hall.shard.counters().sent_packets - sent < 50);
}

#[test]
fn t11_nothing_is_sent_to_a_frozen_viewer_after_thirty_seconds() {
    let (mut hall, publisher, viewer) = class();
    hall.check(viewer);
    let frozen_at = hall.now;
    play(&mut hall, publisher, 40_000);
    let last = hall.peers[viewer].received.last_at.unwrap();
    let silent_after_ms = last.since(frozen_at) / 1_000;
    eprintln!("last packet {silent_after_ms} ms after the last sign of life");
    assert!((29_000..=31_000).contains(&silent_after_ms));
    let gone = Event::SessionClosed(SessionClosed {
        session: hall.peers[viewer].session,
        reason: CloseReason::ConsentExpired,
    });
    assert!(hall.events.contains(&gone));
    assert_eq!(hall.shard.population().sessions, 1, "the publisher goes on");

    // The session is over: its owner hears that, and whoever thaws comes back as a newcomer.
    assert!(!hall.restart_ice(viewer, "thawed"));
    let thawed_at = hall.now;
    let again = hall.join_viewer(1, publisher);
    hall.send_frame(publisher, true);
    play(&mut hall, publisher, 500);
    let seen = hall.peers[again].received.media.first().unwrap().at;
    assert!(seen.since(thawed_at) <= 2_000_000);
}

#[test]
fn t11_a_thawed_viewer_resumes_with_an_ice_restart() {
    // Until 30 s it is sent everything, then nothing, and for a while its session is still there.
    for frozen_ms in [2_000, 12_000, 29_000, 33_000] {
        let (mut hall, publisher, viewer) = class();
        hall.check(viewer);
        let frozen_at = hall.now;
        play(&mut hall, publisher, frozen_ms);
        let last = hall.peers[viewer].received.last_at.unwrap();
        assert!(last.since(frozen_at) <= 31_000_000);
        assert!(hall.restart_ice(viewer, "thawed"), "frozen {frozen_ms} ms");
        // It comes back from another address: what was frozen is a laptop.
        hall.move_peer(viewer, foreign(4_000));
        hall.check(viewer);
        let before = hall.peers[viewer].received.media.len();
        let resumed_at = hall.now;
        hall.send_frame(publisher, true);
        play(&mut hall, publisher, 1_000);
        let received = &hall.peers[viewer].received;
        assert_eq!(received.media.len() - before, 31, "frozen {frozen_ms} ms");
        assert!(received.media[before].at.since(resumed_at) <= 100_000);
        assert_eq!(hall.shard.population().sessions, 2);
    }
}

/// A check proves that its sender has the password, not that he sent it now: one that was captured is answered
/// where it came from first, and is worth nothing otherwise.
#[test]
fn t11_a_captured_nomination_neither_steals_media_nor_revives_a_viewer() {
    let (mut hall, publisher, viewer) = class();
    let peer = &hall.peers[viewer];
    let username = format!("{}:peer", peer.ufrag);
    let captured = check(&username, &peer.password, true, 1 << 40);
    let at = peer.path;
    hall.deliver(at, &mut captured.clone());
    let frozen_at = hall.now;
    for n in 0..400 {
        for path in [at, foreign(9), foreign(100 + n)] {
            hall.deliver(path, &mut captured.clone());
        }
        play(&mut hall, publisher, 99);
    }
    assert_eq!(hall.bytes_to_strangers, 0);
    // Twice every 99 ms, until the session is over after 34.5 s.
    let replayed = hall.dropped(DropReason::StunReplay);
    assert!((690..=700).contains(&replayed), "{replayed}");
    let media = &hall.peers[viewer].received.media;
    let last = media.last().unwrap().at.since(frozen_at) / 1_000;
    assert!((29_000..=31_000).contains(&last), "{last} ms");
    let gone = Event::SessionClosed(SessionClosed {
        session: hall.peers[viewer].session,
        reason: CloseReason::ConsentExpired,
    });
    assert!(hall.events.contains(&gone));
}

/// Whoever knew the credentials from before a restart is nobody once the restart is through.
#[test]
fn t11_old_credentials_are_dead_after_a_restart() {
    let (mut hall, _, viewer) = class();
    let peer = &hall.peers[viewer];
    let username = format!("{}:peer", peer.ufrag);
    let mut old = check(&username, &peer.password, true, 1);
    assert!(hall.restart_ice(viewer, "thawed"));
    hall.check(viewer);
    hall.deliver(foreign(9), &mut old);
    hall.advance_ms(1);
    assert_eq!(hall.bytes_to_strangers, 0);
    assert_eq!(hall.dropped(DropReason::StunUnknownUser), 1);
}

#[test]
fn t12_a_million_wrong_passwords_get_no_answer_and_leave_no_state() {
    const GUESSES: u64 = 1_000_000;
    let (mut hall, publisher, viewer) = class();
    let peer = &hall.peers[viewer];
    let username = format!("{}:peer", peer.ufrag);
    // A guess is a check of the right form under another password; its transaction and its integrity vary.
    let guess = check(&username, "another password of 25 ch", true, 1);
    let (tag_at, fingerprint_at) = (guess.len() - 8 - 20, guess.len() - 8);
    let mut random = Random(12);
    let stun = hall.peers[viewer].received.stun;
    let mut bytes = guess.clone();
    assert_nothing_kept("check with a wrong password", GUESSES, || {
        for n in 0..GUESSES {
            bytes.copy_from_slice(&guess);
            random.fill(&mut bytes[8..20]);
            random.fill(&mut bytes[tag_at..fingerprint_at]);
            // A fingerprint that does not fit would be refused before the password is tried.
            bytes.truncate(fingerprint_at);
            let len = u16::try_from(bytes.len() - 20).unwrap();
            bytes[2..4].copy_from_slice(&len.to_be_bytes());
            let path = match n % 2 {
                0 => hall.peers[viewer].path,
                _ => foreign(random.u32()),
            };
            hall.deliver(path, &mut bytes);
            bytes.resize(guess.len(), 0);
        }
    });
    assert_eq!(hall.dropped(DropReason::StunIntegrity), GUESSES);
    hall.advance_ms(1);
    assert_eq!(hall.peers[viewer].received.stun, stun, "no reply");
    assert_eq!(hall.bytes_to_strangers, 0);
    let before = hall.peers[viewer].received.media.len();
    play(&mut hall, publisher, 330);
    assert_eq!(hall.peers[viewer].received.media.len() - before, 10);
}

/// A ufrag that names another shard is passed on unread; how many may wait is bounded, whoever sends them.
#[test]
fn t12_forged_checks_for_other_shards_wait_in_a_bounded_queue() {
    const WAITING_BYTES_MAX: i64 = 64 << 10;
    let (mut hall, publisher, viewer) = class();
    // Shard 1, session 7: 12 bytes in base64 (contracts.md 7).
    let forged = check("AAEAAAAAAAAAAAcA:peer", "a password of two dozen", true, 1);
    let cost = cost(|| {
        for n in 0..100_000 {
            let mut bytes = [0; 200];
            bytes[..forged.len()].copy_from_slice(&forged);
            hall.deliver(foreign(n), &mut bytes[..forged.len()]);
        }
    });
    let waiting = std::iter::from_fn(|| hall.shard.poll_handover()).count();
    eprintln!("{waiting} of 100,000 wait: {cost:?}");
    assert!((1..=64).contains(&waiting));
    assert!(cost.kept <= WAITING_BYTES_MAX, "{cost:?}");
    let before = hall.peers[viewer].received.media.len();
    play(&mut hall, publisher, 330);
    assert_eq!(hall.peers[viewer].received.media.len() - before, 10);
    assert_eq!(hall.bytes_to_strangers, 0);
}

#[test]
fn t12_a_session_has_at_most_eight_paths() {
    let mut hall = Hall::new();
    let peer = hall.admit(1, None, SessionPolicy::default());
    for number in 0..1_000 {
        hall.check_from(peer, foreign(number), false);
        if number % 100 == 0 {
            hall.now = hall.now.plus_ms(10);
        }
    }
    let answered = 1_000 - hall.dropped(DropReason::PathLimit);
    assert_eq!(answered, u64::try_from(PATHS_PER_SESSION_MAX).unwrap());
    assert_eq!(PATHS_PER_SESSION_MAX, 8);

    // Nothing but STUN is read from the others.
    for number in 0..1_000 {
        hall.deliver(foreign(number), &mut [0x80; 60]);
    }
    assert_eq!(hall.dropped(DropReason::UnknownPath), 1_000 - 8);
}

/// A nomination always finds room, and the bound stands.
#[test]
fn t12_a_nomination_beyond_eight_paths_replaces_one() {
    let mut hall = Hall::new();
    let peer = hall.admit(1, None, SessionPolicy::default());
    for number in 0..100 {
        hall.check_from(peer, foreign(number), true);
    }
    assert_eq!(hall.dropped(DropReason::PathLimit), 0);
    for number in 0..100 {
        hall.deliver(foreign(number), &mut [0x80; 60]);
    }
    assert_eq!(hall.dropped(DropReason::UnknownPath), 100 - 8);
}
