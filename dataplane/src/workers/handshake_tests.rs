//! Stories of the handshake worker.

use dataplane_api::command::{Fingerprint, FingerprintHash};
use dataplane_engine::transport::handshake::{HALF_OPEN_MAX, Role};
use dataplane_net::Waker;

use super::*;
use crate::mesh::{ShardEnd, mesh};

fn worker(shards: usize) -> (Worker, Vec<ShardEnd>) {
    let wakers = (0..shards).map(|_| Waker::new().unwrap()).collect();
    let (_link, shards, mesh) = mesh(wakers);
    let identity = Identity::generate().unwrap();
    let base = Clock::instant_of_zero();
    let worker = Worker {
        machine: Handshakes::new(identity.clone(), base),
        identity,
        base,
        mesh,
        slot: Arc::default(),
        associations: HashMap::new(),
        backlog: BTreeMap::new(),
        panics_at: None,
    };
    (worker, shards)
}

/// We speak first, so that the start alone has an output.
fn start(shard: u16, session: u64) -> (ShardIndex, HandshakeInput) {
    let input = HandshakeInput::Start {
        session: SessionId(session),
        role: Role::Client,
        fingerprint: Fingerprint {
            hash: FingerprintHash::Sha256,
            digest: vec![0; 32],
        },
    };
    (ShardIndex(shard), input)
}

fn keyed(worker: &mut Worker, session: u64) {
    let association = worker.associations.get_mut(&SessionId(session));
    association.unwrap().progress = Progress::Keyed;
}

fn outputs(shard: &ShardEnd) -> Vec<HandshakeOutput> {
    std::iter::from_fn(|| shard.handshake()).collect()
}

#[test]
fn a_flight_goes_to_the_shard_of_its_session() {
    let (mut worker, shards) = worker(2);
    worker.turn(vec![start(1, 7), start(0, 8)]);
    for (shard, session) in [(0, 8), (1, 7)] {
        let outputs = outputs(&shards[shard]);
        assert!(
            matches!(&outputs[..], [HandshakeOutput::Flight { datagrams, .. }] if !datagrams.is_empty()),
            "{outputs:?}"
        );
        assert_eq!(outputs[0].session(), SessionId(session));
    }
}

/// Security.md D5.
#[test]
fn a_start_beyond_the_limit_fails_at_once_and_leaves_nothing() {
    let (mut worker, shards) = worker(2);
    let start_server = |session| {
        let (shard, mut input) = start(u16::from(session % 2 == 1), session);
        if let HandshakeInput::Start { role, .. } = &mut input {
            *role = Role::Server;
        }
        (shard, input)
    };
    let most = u64::try_from(HALF_OPEN_MAX).unwrap();
    worker.turn((0..most).map(start_server).collect());
    assert!(shards.iter().all(|shard| outputs(shard).is_empty()));
    worker.turn(vec![start_server(most + 1)]);
    let refused = outputs(&shards[1]);
    assert!(
        matches!(refused[..], [HandshakeOutput::Failed { session, .. }] if session.0 == most + 1),
        "{refused:?}"
    );
    assert_eq!(worker.associations.len(), HALF_OPEN_MAX);
    assert_eq!(worker.machine.counters().starts_refused, 1);
}

#[test]
fn a_closed_session_is_forgotten() {
    let (mut worker, shards) = worker(1);
    let close = HandshakeInput::Close {
        session: SessionId(7),
    };
    worker.turn(vec![start(0, 7), (ShardIndex(0), close)]);
    assert_eq!(
        outputs(&shards[0]).len(),
        1,
        "the flight; nothing is said to who was not keyed"
    );
    assert!(worker.associations.is_empty() && worker.machine.is_empty());
}

#[test]
fn a_shard_that_is_behind_gets_everything_later_and_in_order() {
    let (mut worker, shards) = worker(1);
    let sessions = 3_000;
    for session in 0..sessions {
        let reason = CloseReason::HandshakeFailed;
        let output = HandshakeOutput::Failed {
            session: SessionId(session),
            reason,
        };
        worker.deliver(ShardIndex(0), output);
    }
    assert!(worker.is_behind(), "the ring is shorter than that");
    let mut arrived = outputs(&shards[0]);
    worker.deliver_backlog();
    arrived.extend(outputs(&shards[0]));
    let order: Vec<u64> = arrived.iter().map(|output| output.session().0).collect();
    assert!(order.iter().copied().eq(0..sessions), "{order:?}");
}

#[test]
fn nothing_waits_for_a_shard_that_has_ended() {
    let (mut worker, mut shards) = worker(2);
    let failed = |session| HandshakeOutput::Failed {
        session: SessionId(session),
        reason: CloseReason::HandshakeFailed,
    };
    for session in 0..3_000 {
        worker.deliver(ShardIndex(0), failed(session));
    }
    assert!(worker.is_behind());
    drop(shards.remove(0));
    worker.deliver_backlog();
    assert!(!worker.is_behind(), "the worker would wake for ever");
    worker.deliver(ShardIndex(1), failed(1));
    assert_eq!(outputs(&shards[0]).len(), 1, "the other shard goes on");
}

#[test]
fn flights_beyond_the_backlog_are_dropped_and_results_are_not() {
    let (mut worker, shards) = worker(1);
    let flight = || HandshakeOutput::Flight {
        session: SessionId(1),
        datagrams: Vec::new(),
    };
    for _ in 0..BACKLOG_MAX * 2 {
        worker.deliver(ShardIndex(0), flight());
    }
    assert!(worker.slot.flights_dropped() > 0);
    assert_eq!(worker.backlog[&ShardIndex(0)].len(), BACKLOG_MAX);
    worker.deliver(
        ShardIndex(0),
        HandshakeOutput::PeerClosed {
            session: SessionId(1),
        },
    );
    let mut last = None;
    for _ in 0..10 {
        last = outputs(&shards[0]).pop().or(last);
        worker.deliver_backlog();
    }
    assert!(
        matches!(last, Some(HandshakeOutput::PeerClosed { .. })),
        "{last:?}"
    );
}

/// A session whose start was behind the input that panicked is started all the same.
#[test]
fn a_panic_loses_nothing_of_the_turn_but_its_cause() {
    let (mut worker, shards) = worker(1);
    worker.panics_at = Some(SessionId(8));
    worker.turn(vec![start(0, 7), start(0, 8), start(0, 9), start(0, 10)]);
    assert_eq!(worker.slot.panics(), 1);
    let outputs = outputs(&shards[0]);
    let of = |session| {
        let outputs = outputs.iter().filter(|o| o.session() == SessionId(session));
        let is_failed = |o: &HandshakeOutput| matches!(o, HandshakeOutput::Failed { .. });
        outputs.map(is_failed).collect::<Vec<_>>()
    };
    // A flight and no more where nothing happened; 7 was under way and 8 is the cause.
    assert_eq!(
        [7, 8, 9, 10].map(of),
        [vec![false, true], vec![true], vec![false], vec![false]]
    );
}

/// Without our last flight its client would repeat its own until it gives up.
#[test]
fn after_a_panic_a_client_that_lost_our_last_flight_fails_when_it_repeats_its_own() {
    let (mut worker, shards) = worker(1);
    worker.turn(vec![start(0, 7), start(0, 8)]);
    keyed(&mut worker, 7);
    keyed(&mut worker, 8);
    worker.start_over();
    outputs(&shards[0]);
    let record = |session, content_type| {
        let bytes = [content_type, 0xfe, 0xfd, 0, 1, 0, 0, 0, 0, 0, 1, 0, 1, 1];
        let session = SessionId(session);
        (
            ShardIndex(0),
            HandshakeInput::Record {
                session,
                bytes: bytes.into(),
            },
        )
    };
    worker.turn(vec![record(7, 22), record(7, 22), record(8, ALERT)]);
    let failed = outputs(&shards[0]);
    assert!(
        matches!(
            failed[..],
            [HandshakeOutput::Failed {
                session: SessionId(7),
                ..
            }]
        ),
        "{failed:?}"
    );
    let close = |session| {
        (
            ShardIndex(0),
            HandshakeInput::Close {
                session: SessionId(session),
            },
        )
    };
    worker.turn(vec![close(7), close(8)]);
    assert!(worker.associations.is_empty());
}

#[test]
fn after_a_panic_handshakes_under_way_fail_and_new_ones_start() {
    let (mut worker, shards) = worker(1);
    worker.turn(vec![start(0, 7), start(0, 8)]);
    keyed(&mut worker, 8);
    outputs(&shards[0]);
    worker.start_over();
    let failed = outputs(&shards[0]);
    assert!(
        matches!(
            failed[..],
            [HandshakeOutput::Failed {
                session: SessionId(7),
                ..
            }]
        ),
        "the keyed session needs the machine no more: {failed:?}"
    );
    assert_eq!(worker.slot.panics(), 1);
    worker.turn(vec![start(0, 9)]);
    assert_eq!(outputs(&shards[0]).len(), 1);
}
