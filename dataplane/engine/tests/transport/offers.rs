//! The node offers and the peer answers: nothing is heard before the answer, everything after it.

use dataplane_api::command::{Accept, Command, RemoteTransport, RestartIce, Setup, TAG_BYTES_MAX};
use dataplane_api::event::CloseReason;
use dataplane_api::media::Extensions;
use dataplane_api::reply::{Refusal, Reply};
use dataplane_api::snapshot::Part;
use dataplane_engine::limits::{HALF_OPEN_PER_SHARD_MAX, ICE_TIMEOUT_US};
use dataplane_engine::reason::DropReason;

use crate::node::{admitted, remote, remote_credentials};
use crate::peer::Habits;
use crate::world::World;

/// What the peer's answer says.
fn answer(world: &World, peer: usize, setup: Setup) -> RemoteTransport {
    remote(world.peers[peer].dtls.fingerprint(), setup)
}

fn accept(world: &mut World, peer: usize, remote: RemoteTransport) -> Reply {
    let session = world.peers[peer].session;
    world.node.accept(world.now, session, remote, None)
}

fn is_refused(reply: &Reply, reason: Refusal) -> bool {
    matches!(reply, Reply::Refused(refused) if refused.reason == reason)
}

fn tag(world: &World, peer: usize) -> Vec<u8> {
    let session = world.peers[peer].session;
    let parts = world.node.shard.snapshot();
    let tag = parts.into_iter().find_map(|part| match part {
        Part::Session(part) if part.session == session => Some(part.tag),
        Part::Session(_) | Part::Track(_) | Part::ShardEnd(_) | Part::End(_) => None,
    });
    tag.expect("the session is here")
}

/// Both roles of DTLS, through loss: who answers `passive` makes us the client (contracts.md 9).
#[test]
fn a_peer_that_answers_our_offer_joins_in_the_role_it_chose() {
    for seed in 0..20 {
        for setup in [Setup::Active, Setup::Passive] {
            let mut world = World::new(seed);
            world.loss_percent = u32::try_from(seed).unwrap();
            let peer = world.offer(setup, Habits::CHROMIUM);
            world.run_ms(200);
            let remote = answer(&world, peer, setup);
            accept(&mut world, peer, remote);
            world.run_ms(3_000);
            assert!(world.peers[peer].is_keyed(), "seed {seed}, {setup:?}");
            assert_eq!(world.node.shard.counters().connected, 1);
        }
    }
}

/// Security.md, rule 1: no answer and no state before there is somebody who could be authenticated.
#[test]
fn before_its_answer_a_session_hears_nobody() {
    let mut world = World::new(1);
    let peer = world.offer(Setup::Active, Habits::CHROMIUM);
    world.run_ms(3_000);
    let counters = world.node.shard.counters();
    assert!(counters.dropped_in.of(DropReason::StunUnknownUser) > 5);
    assert_eq!(counters.accepted_packets, 0);
    assert_eq!(counters.sent_packets, 0);
    assert!(world.node.handshakes.is_empty());
    let at = world.peers[peer].at;
    world.node.receive(world.now, at, &mut [22; 60]);
    let counters = world.node.shard.counters();
    assert_eq!(counters.dropped_in.of(DropReason::UnknownPath), 1);

    let restart = RestartIce {
        session: world.peers[peer].session,
        ufrag: "peer1".into(),
        pwd: "a password of two dozen 1".into(),
        tag: None,
    };
    let refused = world.node.order(world.now, Command::RestartIce(restart));
    assert!(is_refused(&refused, Refusal::Invalid), "{refused:?}");
    let remote = answer(&world, peer, Setup::Active);
    accept(&mut world, peer, remote);
    world.run_ms(1_000);
    assert!(world.peers[peer].is_keyed());
}

#[test]
fn an_answer_counts_once_and_leaves_no_choice_open() {
    let mut world = World::new(1);
    let peer = world.offer(Setup::Active, Habits::CHROMIUM);
    let ufrag = world.peers[peer].admitted.ufrag.clone();
    let remote = answer(&world, peer, Setup::Active);
    let open = answer(&world, peer, Setup::ActPass);
    let refused = accept(&mut world, peer, open);
    assert!(is_refused(&refused, Refusal::Invalid), "{refused:?}");
    let padding = Accept {
        session: world.peers[peer].session,
        remote: remote.clone(),
        tag: None,
        codecs: Vec::new(),
        extensions: Some(Extensions {
            mid: Some(0),
            ..Extensions::default()
        }),
    };
    let refused = world.node.order(world.now, Command::Accept(padding));
    assert!(is_refused(&refused, Refusal::Invalid), "{refused:?}");
    for _ in 0..2 {
        let reply = accept(&mut world, peer, remote.clone());
        assert_eq!(admitted(reply).ufrag, ufrag);
    }
    let mut others = vec![remote.clone(); 4];
    others[0].ufrag = "another".into();
    others[1].pwd = "another password of two dozen".into();
    others[2].fingerprint.digest = vec![9; 32];
    others[3].setup = Setup::Passive;
    for other in others {
        let refused = accept(&mut world, peer, other);
        assert!(is_refused(&refused, Refusal::Invalid), "{refused:?}");
    }
    world.run_ms(1_000);
    assert!(world.peers[peer].is_keyed(), "the first answer holds");

    // Even after a restart of ICE the answer that is sent again is the one that was given.
    let session = world.peers[peer].session;
    let restarted = world.node.restart_ice(world.now, session, 1);
    world.peers[peer].restarted(world.now, restarted.clone());
    let reply = accept(&mut world, peer, remote);
    assert_eq!(admitted(reply).ufrag, restarted.ufrag);
}

#[test]
fn an_offer_nobody_answers_ends_like_a_session_nobody_uses() {
    let mut world = World::new(1);
    let silent = world.offer(Setup::Active, Habits::CHROMIUM);
    let late = world.offer(Setup::Active, Habits::CHROMIUM);
    world.run_ms(ICE_TIMEOUT_US / 1_000 - 1);
    let remote = answer(&world, late, Setup::Active);
    accept(&mut world, late, remote);
    world.run_ms(2_000);
    assert_eq!(world.closed(silent), Some(CloseReason::IceTimeout));
    assert!(
        world.peers[late].is_keyed(),
        "an answer in time has the time it needs"
    );
    assert_eq!(world.node.shard.population().sessions, 1);
    let remote = answer(&world, silent, Setup::Active);
    let refused = accept(&mut world, silent, remote);
    assert!(is_refused(&refused, Refusal::Unknown), "{refused:?}");
}

/// Security.md D5: who is offered a session counts as half open.
#[test]
fn offers_are_bounded() {
    let mut world = World::new(1);
    let offer = |world: &mut World, n: usize| {
        let session = dataplane_api::ids::SessionId(1_000_000 + n as u64);
        world.node.offer(world.now, session)
    };
    for n in 0..HALF_OPEN_PER_SHARD_MAX {
        assert!(matches!(offer(&mut world, n), Reply::Admitted(_)));
    }
    let refused = offer(&mut world, HALF_OPEN_PER_SHARD_MAX);
    assert!(is_refused(&refused, Refusal::Overloaded), "{refused:?}");
}

/// A successor of the control plane finds what its predecessor said last.
#[test]
fn answers_and_restarts_replace_the_tag() {
    let mut world = World::new(1);
    let peer = world.offer(Setup::Active, Habits::CHROMIUM);
    let session = world.peers[peer].session;
    assert_eq!(tag(&world, peer), b"");
    let remote = answer(&world, peer, Setup::Active);
    let too_long = Some(vec![0; TAG_BYTES_MAX + 1]);
    let refused = world
        .node
        .accept(world.now, session, remote.clone(), too_long.clone());
    assert!(is_refused(&refused, Refusal::Invalid), "{refused:?}");
    world.run_ms(500);
    assert!(!world.peers[peer].is_keyed(), "nothing was changed");
    let longest = vec![7; TAG_BYTES_MAX];
    world
        .node
        .accept(world.now, session, remote, Some(longest.clone()));
    assert_eq!(tag(&world, peer), longest);

    let [ufrag, pwd] = remote_credentials(1);
    let restart = |tag| RestartIce {
        session,
        ufrag: ufrag.clone(),
        pwd: pwd.clone(),
        tag,
    };
    for (given, kept) in [
        (too_long, longest.clone()),
        (None, longest),
        (Some(b"first".to_vec()), b"first".to_vec()),
        // The same restart under a new tag: a control plane that died before it could say the first.
        (Some(b"second".to_vec()), b"second".to_vec()),
    ] {
        let order = Command::RestartIce(restart(given));
        world.node.order(world.now, order);
        assert_eq!(tag(&world, peer), kept);
    }
}
