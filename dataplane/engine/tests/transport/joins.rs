//! Joining: handshakes through loss, forgery and silence.

use std::cell::Cell;
use std::rc::Rc;

use dataplane_api::command::{Close, Command, Setup};
use dataplane_api::event::CloseReason;
use dataplane_api::ids::SessionId;
use dataplane_api::reply::{Refusal, Reply};
use dataplane_engine::limits::{HALF_OPEN_PER_SHARD_MAX, ICE_TIMEOUT_US};
use dataplane_engine::reason::DropReason;
use dataplane_engine::transport::handshake::{HANDSHAKE_DEADLINE_US, HandshakeInput};

use crate::node::{CHANGE_CIPHER_SPEC, has_record};
use crate::peer::Habits;
use crate::world::World;

/// Contracts.md 8: the keys come with the last flight and are installed before it leaves, so what the peer says at
/// once is understood. (Where the peer is the server it has its keys before us, and what it says at once comes with
/// its last flight.) The order of the outputs is asserted in [`crate::node`], in this story and every other.
#[test]
fn media_that_answers_the_last_flight_at_once_is_opened() {
    for seed in 0..20 {
        for setup in [Setup::ActPass, Setup::Passive] {
            let mut world = World::new(seed);
            world.loss_percent = u32::try_from(seed).unwrap();
            let peer = world.admit(setup, Habits::CHROMIUM.publishing());
            world.run_ms(3_000);
            assert!(world.peers[peer].is_keyed());
            let counters = world.node.shard.counters();
            assert_eq!(counters.connected, 1);
            if setup == Setup::ActPass {
                let too_early = counters.dropped_in.of(DropReason::NoKeys);
                assert_eq!(too_early, 0, "{setup:?}, seed {seed}");
            }
        }
    }
}

/// Contracts.md 9, with the gate and the shard in between.
#[test]
fn losing_the_last_flight_three_times_still_joins() {
    let mut world = World::new(1);
    let lost = Rc::new(Cell::new(0));
    let counter = Rc::clone(&lost);
    world.loses = Box::new(move |to_node, bytes| {
        let lose = !to_node && has_record(bytes, CHANGE_CIPHER_SPEC) && counter.get() < 3;
        counter.set(counter.get() + u32::from(lose));
        lose
    });
    let peer = world.admit(Setup::ActPass, Habits::CHROMIUM);
    world.run_ms(5_000);
    assert_eq!(lost.get(), 3);
    assert!(world.peers[peer].is_keyed());
}

/// Contracts.md 9: any flight, in both roles, with a third of all datagrams lost each way.
#[test]
fn every_join_survives_a_third_of_all_datagrams_lost() {
    let mut slowest = 0;
    for seed in 0..100 {
        for setup in [Setup::ActPass, Setup::Passive] {
            let mut world = World::new(seed);
            world.loss_percent = 30;
            let peer = world.admit(setup, Habits::CHROMIUM);
            let begun = world.now;
            while !(world.peers[peer].is_keyed() && world.node.shard.counters().connected == 1) {
                world.run_ms(1);
                let closed = world.closed(peer);
                assert_eq!(closed, None, "seed {seed}, {setup:?}");
                assert!(
                    world.now.since(begun) < HANDSHAKE_DEADLINE_US,
                    "seed {seed}, {setup:?}"
                );
            }
            slowest = slowest.max(world.now.since(begun) / 1_000);
        }
    }
    assert!(slowest < 6_000, "the slowest of 200 took {slowest} ms");
}

/// Contracts.md 9 and security.md D2: once the peer is heard under the keys, plaintext reaches no machine.
#[test]
fn a_live_association_is_deaf_to_plaintext() {
    let mut world = World::new(1);
    let recorded = Rc::new(std::cell::RefCell::new(Vec::new()));
    let record = Rc::clone(&recorded);
    world.loses = Box::new(move |to_node, bytes| {
        if to_node && (20..=63).contains(&bytes[0]) {
            record.borrow_mut().push(bytes.to_vec());
        }
        false
    });
    let publisher = world.join(Habits::CHROMIUM.publishing());
    let session = world.peers[publisher].session;
    world.node.publish(world.now, session);
    let viewer = world.join(Habits::CHROMIUM);
    let watching = world.peers[viewer].session;
    world.node.subscribe(world.now, watching, session);
    world.run_ms(1_000);

    let mut forged = recorded.borrow().clone();
    forged.retain(|bytes| bytes[3..5] == [0, 0]);
    let plaintext_alert = vec![21, 0xfe, 0xfd, 0, 0, 0, 0, 0, 0, 0, 99, 0, 2, 2, 40];
    forged.push(plaintext_alert);
    let (at, begun) = (world.peers[publisher].at, world.now);
    let before = world.node.shard.counters().dropped_in.of(DropReason::Dtls);
    let machine = world.node.handshakes.counters();
    for round in 0..1_000 {
        let mut bytes = forged[round % forged.len()].clone();
        world.node.receive(world.now, at, &mut bytes);
        world.turn();
        world.run_ms(1);
    }
    let dropped = world.node.shard.counters().dropped_in.of(DropReason::Dtls) - before;
    assert!(
        dropped >= 900,
        "{dropped} of 1,000 were plaintext throughout"
    );
    assert_eq!(world.node.handshakes.counters(), machine);
    assert_eq!(world.node.handshakes.len(), 2);
    assert!(world.gap_ms(viewer, begun) < 100, "no medium was lost");
    // It is the association it was: its close_notify is understood.
    let close = HandshakeInput::Close { session };
    world.peers[publisher].dtls.on_input(world.now, close);
    world.run_ms(100);
    assert_eq!(world.closed(publisher), Some(CloseReason::PeerClosed));
}

#[test]
fn closing_tells_the_peer() {
    let mut world = World::new(1);
    let peer = world.join(Habits::CHROMIUM);
    let session = world.peers[peer].session;
    world
        .node
        .order(world.now, Command::Close(Close { session }));
    world.turn();
    world.run_ms(100);
    assert_eq!(world.peers[peer].closed, Some(CloseReason::PeerClosed));
    assert!(world.node.handshakes.is_empty());
}

/// A class that ends: everybody is told, not only the last few.
#[test]
fn closing_a_class_tells_everybody() {
    const CLASS: usize = 100;
    let mut world = World::new(1);
    for _ in 0..CLASS {
        world.admit(Setup::ActPass, Habits::CHROMIUM);
    }
    world.run_ms(500);
    for peer in 0..CLASS {
        assert!(world.peers[peer].is_keyed());
        let session = world.peers[peer].session;
        let close = Command::Close(Close { session });
        world.node.order(world.now, close);
    }
    world.turn();
    world.run_ms(50);
    let told = world.peers.iter().filter(|peer| peer.closed.is_some());
    assert_eq!(told.count(), CLASS);
}

/// Security.md D5: a worker that never answers leaves no session half open.
#[test]
fn a_session_whose_handshake_nobody_drives_ends() {
    let mut world = World::new(1);
    world.node.worker_is_lost = true;
    let peer = world.admit(Setup::ActPass, Habits::CHROMIUM);
    world.run_ms(HANDSHAKE_DEADLINE_US / 1_000 + 2_000);
    assert_eq!(world.closed(peer), None);
    world.run_ms(50);
    assert_eq!(world.closed(peer), Some(CloseReason::HandshakeFailed));
    assert_eq!(world.node.shard.population().sessions, 0);
    world.node.worker_is_lost = false;
    world.join(Habits::CHROMIUM);
}

/// Security.md D5: ten seconds from the first valid check.
#[test]
fn a_handshake_that_does_not_end_ends_the_session() {
    for setup in [Setup::ActPass, Setup::Passive] {
        let mut world = World::new(1);
        world.loses = Box::new(|to_node, bytes| to_node && (20..=63).contains(&bytes[0]));
        let peer = world.admit(setup, Habits::CHROMIUM);
        world.run_ms(HANDSHAKE_DEADLINE_US / 1_000 + 10);
        assert_eq!(world.closed(peer), None, "{setup:?}");
        assert_eq!(world.node.handshakes.half_open(), 1);
        world.run_ms(10);
        assert_eq!(world.closed(peer), Some(CloseReason::HandshakeFailed));
        assert!(world.node.handshakes.is_empty());
        assert_eq!(world.node.shard.population().sessions, 0);
    }
}

/// Security.md D7: nothing of a peer with another certificate is forwarded.
#[test]
fn another_certificate_than_the_signalled_one_closes_the_session() {
    for setup in [Setup::ActPass, Setup::Passive] {
        let mut world = World::new(1);
        let viewer = world.join(Habits::CHROMIUM);
        let impostor = world.admit(setup, Habits::CHROMIUM.publishing());
        let machine = dataplane_engine::transport::handshake::Handshakes::new(
            dataplane_engine::transport::handshake::Identity::generate().unwrap(),
            crate::node::base(),
        );
        world.peers[impostor].dtls = machine;
        let session = world.peers[impostor].session;
        world.node.publish(world.now, session);
        let watching = world.peers[viewer].session;
        world.node.subscribe(world.now, watching, session);
        world.run_ms(2_000);
        assert_eq!(
            world.closed(impostor),
            Some(CloseReason::FingerprintMismatch),
            "{setup:?}"
        );
        assert_eq!(world.media_out, []);
        assert_eq!(world.node.shard.counters().connected, 1);
    }
}

/// Security.md D5: sessions without keys are bounded, and time makes room.
#[test]
fn sessions_that_never_connect_are_bounded() {
    let mut world = World::new(1);
    let fingerprint = world.node.handshakes.fingerprint();
    let admit = |world: &mut World, n: usize| {
        let session = SessionId(1_000_000 + n as u64);
        world
            .node
            .admit(world.now, session, fingerprint.clone(), Setup::ActPass)
    };
    for n in 0..HALF_OPEN_PER_SHARD_MAX {
        assert!(matches!(admit(&mut world, n), Reply::Admitted(_)));
    }
    let refused = admit(&mut world, HALF_OPEN_PER_SHARD_MAX);
    assert!(
        matches!(&refused, Reply::Refused(refused) if refused.reason == Refusal::Overloaded),
        "{refused:?}"
    );
    let again = admit(&mut world, 0);
    assert!(matches!(again, Reply::Admitted(_)), "an order sent again");
    world.run_ms(ICE_TIMEOUT_US / 1_000);
    assert_eq!(world.node.shard.population().sessions, 0);
    // And who connects does not count.
    for _ in 0..3 {
        world.join(Habits::CHROMIUM);
    }
    for n in 0..HALF_OPEN_PER_SHARD_MAX {
        assert!(matches!(admit(&mut world, n), Reply::Admitted(_)), "{n}");
    }
}
