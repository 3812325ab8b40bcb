//! What a check has to be, and what it gets (contracts.md 6 and 7, security.md T10 and T12).

use dataplane_engine::packet::Path;
use dataplane_engine::reason::DropReason;
use turn::stun::{Builder, Class, IntegrityKey, Message, Method, TransactionId};

use crate::node::{Node, SHARD, remote_credentials};
use crate::peer::{Habits, path};
use crate::world::World;

/// A peer that was admitted and did nothing yet.
fn admitted() -> (World, String, IntegrityKey) {
    let mut world = World::new(1);
    let peer = world.admit(dataplane_api::command::Setup::ActPass, Habits::CHROMIUM);
    let [remote, _] = remote_credentials(0);
    let username = format!("{}:{remote}", world.peers[peer].admitted.ufrag);
    let key = world.peers[peer].key();
    (world, username, key)
}

fn request(build: impl FnOnce(Builder<'_>) -> usize) -> Vec<u8> {
    let mut bytes = vec![0; 512];
    let id = TransactionId([9; 12]);
    let len = build(Builder::new(&mut bytes, Class::Request, Method::BINDING, id).unwrap());
    bytes.truncate(len);
    bytes
}

/// What the node says to one datagram from `from`.
fn answer(world: &mut World, from: Path, mut bytes: Vec<u8>) -> Vec<(Path, Vec<u8>)> {
    world.node.receive(world.now, from, &mut bytes);
    world.node.turn(world.now)
}

/// Contracts.md 6: MESSAGE-INTEGRITY is enough.
#[test]
fn a_check_without_priority_role_or_fingerprint_is_accepted() {
    let (mut world, username, key) = admitted();
    let bare = request(|builder| {
        let builder = builder.username(&username).unwrap();
        builder.integrity(&key).unwrap().finish()
    });
    let answers = answer(&mut world, path(1), bare);
    let [(to, bytes)] = &answers[..] else {
        panic!("{answers:?}")
    };
    let message = Message::parse(bytes).unwrap();
    assert_eq!((*to, message.class()), (path(1), Class::Success));
    assert_eq!(message.xor_mapped_address(), Some(path(1).remote));
    assert!(message.verify_integrity(&key) && message.verify_fingerprint());
}

/// Security.md T10 and T12: no answer and no state for anything else.
#[test]
fn nothing_but_a_right_integrity_is_answered() {
    let (mut world, username, key) = admitted();
    let wrong = IntegrityKey::new(b"a password of two dozen 0");
    let [bare, unsealed, forged, stranger] = [
        request(|b| b.finish()),
        request(|b| {
            b.username(&username)
                .unwrap()
                .fingerprint()
                .unwrap()
                .finish()
        }),
        request(|b| {
            b.username(&username)
                .unwrap()
                .integrity(&wrong)
                .unwrap()
                .finish()
        }),
        request(|b| {
            b.username("nobody:peer0")
                .unwrap()
                .integrity(&key)
                .unwrap()
                .finish()
        }),
    ];
    for n in 0..10_000_u16 {
        for bytes in [&bare, &unsealed, &forged, &stranger] {
            world.node.receive(world.now, path(n), &mut bytes.clone());
        }
    }
    assert_eq!(world.node.turn(world.now), []);
    let dropped = &world.node.shard.counters().dropped_in;
    assert_eq!(dropped.of(DropReason::StunIntegrity), 20_000);
    assert_eq!(dropped.of(DropReason::StunUnknownUser), 20_000);
    assert!(world.node.handshakes.is_empty());
    // The peer itself is not locked out by it.
    world.run_ms(500);
    assert!(world.peers[0].is_keyed());
}

/// RFC 8445 section 7.3.1.1, for an agent that never controls: 487, whatever the tie-breaker.
#[test]
fn a_peer_that_wants_to_be_controlled_is_told_to_control() {
    for tie_breaker in [0, 1, u64::MAX / 2, u64::MAX] {
        let (mut world, username, key) = admitted();
        let check = request(|builder| {
            let builder = builder.username(&username).unwrap();
            let builder = builder.ice_controlled(tie_breaker).unwrap();
            builder.integrity(&key).unwrap().finish()
        });
        let answers = answer(&mut world, path(1), check);
        let [(to, bytes)] = &answers[..] else {
            panic!("{answers:?}")
        };
        let message = Message::parse(bytes).unwrap();
        assert_eq!((*to, message.error_code()), (path(1), Some(487)));
        assert!(message.verify_integrity(&key));
        assert!(world.node.handshakes.is_empty(), "nothing is validated");
        // It is the same peer that comes back with the right role.
        world.run_ms(500);
        assert!(world.peers[0].is_keyed());
    }
}

/// Contracts.md 7: a check that reached the wrong shard is handed over, and answered by the owner to where it
/// came from.
#[test]
fn a_check_at_the_wrong_shard_goes_to_its_owner() {
    let (mut world, username, key) = admitted();
    let mut elsewhere = Node::on(dataplane_api::ids::ShardIndex(8));
    let check = request(|builder| {
        let builder = builder.username(&username).unwrap();
        let builder = builder.use_candidate().unwrap();
        builder.integrity(&key).unwrap().finish()
    });
    elsewhere.receive(world.now, path(1), &mut check.clone());
    let handover = elsewhere.shard.poll_handover().expect("it is handed over");
    assert_eq!((handover.shard, handover.path), (SHARD, path(1)));
    assert_eq!(elsewhere.turn(world.now), [], "the stranger says nothing");
    assert_eq!(&*handover.bytes, &check[..]);
    let answers = answer(&mut world, handover.path, handover.bytes.into_vec());
    assert!(matches!(&answers[..], [(to, _)] if *to == path(1)));
    // Handing over is bounded: a flood for one shard does not grow another's queue.
    for _ in 0..1_000 {
        elsewhere.receive(world.now, path(1), &mut check.clone());
    }
    let handed_over = std::iter::from_fn(|| elsewhere.shard.poll_handover()).count();
    assert!(handed_over <= 64, "{handed_over}");
}
