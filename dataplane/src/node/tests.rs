use dataplane_api::command::{Close, Inspect, Ping, Publish, Unpublish};
use dataplane_api::event::{CloseReason, SessionClosed, SessionConnected, ShardStats};
use dataplane_api::ids::{RoomId, SessionId, TrackId};
use dataplane_api::media::MediaKind;
use dataplane_api::reply::{Admitted, Pong, Refused};
use dataplane_api::snapshot::{SessionPart, TrackPart};
use dataplane_net::Waker;

use super::*;
use crate::mesh::{ShardEnd as ShardSide, mesh};
use crate::samples::admit;

const CONNECTION: ConnectionId = ConnectionId(1);

/// A node with shards that the test plays itself.
struct Played {
    node: Node,
    shards: Vec<ShardSide>,
    /// Keeps the shards' inputs to the worker connected.
    _handshake: crate::mesh::HandshakeEnd,
}

fn played(shards: usize) -> Played {
    let wakers = (0..shards).map(|_| Waker::new().unwrap()).collect();
    let (link, shards, handshake) = mesh(wakers);
    let ports: Vec<u16> = (40_000..).take(shards.len()).collect();
    let advertised = Advertised {
        addresses: vec!["192.0.2.1".parse().unwrap()],
        warnings: Vec::new(),
    };
    Played {
        node: Node::new(link, &ports, advertised),
        shards,
        _handshake: handshake,
    }
}

fn ticket(order: u64) -> Ticket {
    Ticket {
        connection: CONNECTION,
        order: OrderId(order),
    }
}

fn admitted(session: u64, shard: u16) -> Reply {
    Reply::Admitted(Admitted {
        session: SessionId(session),
        shard: ShardIndex(shard),
        ufrag: "ufrag".into(),
        pwd: "pwd".into(),
        candidates: Vec::new(),
    })
}

fn closed(session: u64) -> Event {
    Event::SessionClosed(SessionClosed {
        session: SessionId(session),
        reason: CloseReason::ConsentExpired,
    })
}

fn refusal(reply: Option<Reply>) -> Refusal {
    match reply {
        Some(Reply::Refused(Refused { reason, .. })) => reason,
        other => panic!("a refusal, not {other:?}"),
    }
}

impl Played {
    fn outputs(&mut self) -> Vec<Output> {
        std::iter::from_fn(|| self.node.poll_output()).collect()
    }

    /// Admits a session and has its shard accept it.
    fn admit(&mut self, session: u64, room: u64) -> usize {
        let order = ticket(1_000 + session);
        assert_eq!(
            self.node
                .on_order(order, Command::Admit(admit(session, room, 0))),
            None
        );
        let shard = self
            .node
            .placement()
            .of_session(SessionId(session))
            .unwrap();
        let side = &self.shards[usize::from(shard.0)];
        let (arrived, _) = side.order().unwrap();
        side.report(Report::Reply(arrived, admitted(session, shard.0)));
        assert_eq!(self.outputs().len(), 1);
        usize::from(shard.0)
    }

    fn publish(&mut self, track: u64, session: u64, order: u64) -> Option<Reply> {
        let publish = Publish {
            track: TrackId(track),
            session: SessionId(session),
            uid: [0; 16],
            origin_node: [0; 16],
            hops: 0,
            kind: MediaKind::Audio,
            mid: "0".into(),
            codecs: Vec::new(),
            encodings: Vec::new(),
            opaque: false,
            tag: Vec::new(),
        };
        self.node.on_order(ticket(order), Command::Publish(publish))
    }
}

#[test]
fn an_admitted_session_is_told_the_addresses_of_this_minute() {
    let mut played = played(1);
    assert_eq!(
        played
            .node
            .on_order(ticket(1), Command::Admit(admit(1, 1, 0))),
        None
    );
    let (arrived, _) = played.shards[0].order().unwrap();
    played.node.set_advertised(Advertised {
        addresses: vec!["198.51.100.7".parse().unwrap()],
        warnings: Vec::new(),
    });
    played.shards[0].report(Report::Reply(arrived, admitted(1, 0)));
    match &played.outputs()[..] {
        [Output::Reply(to, Reply::Admitted(reply))] => {
            assert_eq!(*to, ticket(1));
            assert_eq!(reply.candidates, ["198.51.100.7:40000".parse().unwrap()]);
        }
        other => panic!("{other:?}"),
    }
}

#[test]
fn orders_find_their_shard_and_what_is_gone_needs_none() {
    let mut played = played(2);
    let home = played.admit(1, 100);
    assert_eq!(played.publish(7, 1, 1), None);
    let unpublish = Command::Unpublish(Unpublish { track: TrackId(7) });
    assert_eq!(played.node.on_order(ticket(2), unpublish.clone()), None);
    let inspect = Command::Inspect(Inspect::Room(RoomId(100)));
    assert_eq!(played.node.on_order(ticket(3), inspect), None);
    let arrived: Vec<u64> = std::iter::from_fn(|| played.shards[home].order())
        .map(|(t, _)| t.order.0)
        .collect();
    assert_eq!(arrived, [1, 2, 3]);

    let done = Some(Reply::Done(Done {}));
    let close = Command::Close(Close {
        session: SessionId(99),
    });
    assert_eq!(played.node.on_order(ticket(4), close), done);
    let gone = Command::Unpublish(Unpublish { track: TrackId(99) });
    assert_eq!(played.node.on_order(ticket(5), gone), done);
    assert_eq!(
        played.node.on_order(ticket(6), Command::Ping(Ping {})),
        Some(Reply::Pong(Pong {}))
    );
    assert_eq!(refusal(played.publish(8, 99, 7)), Refusal::Unknown);
    let inspect = Command::Inspect(Inspect::Session(SessionId(99)));
    assert_eq!(
        refusal(played.node.on_order(ticket(8), inspect)),
        Refusal::Unknown
    );
}

#[test]
fn a_draining_node_refuses_new_sessions_and_repeats_its_answer_to_old_ones() {
    let mut played = played(1);
    played.admit(1, 100);
    assert!(played.node.drain(), "that is news");
    assert!(!played.node.drain(), "and once");
    let fresh = played
        .node
        .on_order(ticket(2), Command::Admit(admit(2, 100, 0)));
    assert_eq!(refusal(fresh), Refusal::Draining);
    assert_eq!(
        played
            .node
            .on_order(ticket(3), Command::Admit(admit(1, 100, 0))),
        None
    );
}

#[test]
fn a_refused_session_frees_its_place() {
    let mut played = played(1);
    played
        .node
        .on_order(ticket(1), Command::Admit(admit(1, 100, 0)));
    let (arrived, _) = played.shards[0].order().unwrap();
    let reply = refused(Refusal::Overloaded, "full".into());
    played.shards[0].report(Report::Reply(arrived, reply));
    played.outputs();
    assert_eq!(played.node.placement().sessions(), 0);
}

#[test]
fn too_many_orders_in_flight_are_refused_and_replies_always_fit() {
    let mut played = played(1);
    played.admit(1, 100);
    let inspect = Command::Inspect(Inspect::Session(SessionId(1)));
    for order in 0..ORDERS_IN_FLIGHT_MAX as u64 {
        assert_eq!(played.node.on_order(ticket(order), inspect.clone()), None);
        let (arrived, _) = played.shards[0].order().unwrap();
        // Ten events around each reply: they must not take its room.
        for counter in 0..10 {
            let connected = SessionConnected {
                session: SessionId(1),
                join_ms: 1,
            };
            played.shards[0].report(Report::Event(counter, Event::SessionConnected(connected)));
        }
        played.shards[0].report(Report::Reply(arrived, Reply::Done(Done {})));
    }
    let over = played.node.on_order(ticket(9_999), inspect.clone());
    assert_eq!(refusal(over), Refusal::Overloaded);
    let outputs = played.outputs();
    let replies = outputs
        .iter()
        .filter(|o| matches!(o, Output::Reply(..)))
        .count();
    assert_eq!(replies, ORDERS_IN_FLIGHT_MAX);
    assert_eq!(
        played.node.on_order(ticket(10_000), inspect),
        None,
        "there is room again"
    );
}

#[test]
fn a_snapshot_has_every_shards_parts_with_its_counter_and_one_end() {
    let mut played = played(2);
    let order = Command::Snapshot(Snapshot {});
    assert_eq!(played.node.on_order(ticket(1), order.clone()), None);
    assert_eq!(
        refusal(played.node.on_order(ticket(2), order)),
        Refusal::Overloaded
    );
    for (shard, counter) in [(1, 11), (0, 5)] {
        assert!(
            played
                .outputs()
                .iter()
                .all(|o| !matches!(o, Output::Part(_, Part::End(_))))
        );
        let (arrived, _) = played.shards[shard].order().unwrap();
        let track = TrackPart {
            track: TrackId(7),
            session: SessionId(1),
            tag: vec![1],
            live: true,
            layers: Vec::new(),
        };
        played.shards[shard].report(Report::Parts(arrived, vec![Part::Track(track)], counter));
    }
    let outputs = played.outputs();
    match &outputs[..] {
        [
            Output::Part(_, Part::Track(_)),
            Output::Part(
                _,
                Part::ShardEnd(ShardEnd {
                    shard: ShardIndex(0),
                    counter: 5,
                }),
            ),
            Output::Part(last, Part::End(_)),
        ] => assert_eq!(*last, ticket(1)),
        other => panic!("{other:?}"),
    }
}

#[test]
fn lost_state_events_become_one_resync_and_the_tables_are_asked_for_anew() {
    let mut played = played(1);
    played.admit(1, 100);
    played.admit(2, 100);
    let side = &played.shards[0];
    let mut counter = 0;
    // Measurements may fill the ring; what is lost then is the close of session 2.
    for _ in 0..10_000 {
        counter += 1;
        side.report(Report::Event(
            counter,
            Event::ShardStats(ShardStats::default()),
        ));
    }
    counter += 1;
    side.report(Report::Event(counter, closed(2)));
    let outputs = played.outputs();
    let resyncs: Vec<&Output> = outputs
        .iter()
        .filter(|o| matches!(o, Output::Event(_, _, Event::ResyncNeeded(_))))
        .collect();
    assert_eq!(resyncs, [&resync(ShardIndex(0), counter)]);
    assert!(
        played.node.placement().of_session(SessionId(2)).is_some(),
        "not known yet"
    );

    let (census, command) = played.shards[0].order().unwrap();
    assert_eq!(
        (census.connection, command),
        (ConnectionId::NODE, Command::Snapshot(Snapshot {}))
    );
    let part = SessionPart {
        session: SessionId(1),
        room: RoomId(100),
        shard: ShardIndex(0),
        tag: Vec::new(),
        connected: true,
        ufrag: String::new(),
        slots: Vec::new(),
        subscriptions: Vec::new(),
    };
    played.shards[0].report(Report::Parts(census, vec![Part::Session(part)], counter));
    assert!(
        played.outputs().is_empty(),
        "the control plane is not told of the census"
    );
    assert!(played.node.placement().of_session(SessionId(1)).is_some());
    assert!(played.node.placement().of_session(SessionId(2)).is_none());
}

#[test]
fn a_shard_that_ends_answers_its_orders_and_the_rest_goes_on() {
    let mut played = played(2);
    let home = played.admit(1, 100);
    let other = played.admit(2, 200);
    assert_ne!(home, other);
    let close = Command::Close(Close {
        session: SessionId(1),
    });
    played.node.on_order(ticket(1), close);
    played
        .node
        .on_order(ticket(2), Command::Snapshot(Snapshot {}));
    played
        .node
        .on_order(ticket(3), Command::Inspect(Inspect::Session(SessionId(1))));
    let dead = played.shards.remove(home);
    dead.report(Report::Event(41, closed(77)));
    drop(dead);

    let outputs = played.outputs();
    let shard = ShardIndex(u16::try_from(home).unwrap());
    assert!(
        outputs.contains(&Output::Event(shard, 41, closed(77))),
        "its last words are heard"
    );
    assert!(outputs.contains(&Output::Reply(ticket(1), Reply::Done(Done {}))));
    assert!(outputs.iter().any(|output| matches!(output,
        Output::Reply(to, Reply::Refused(r)) if *to == ticket(3) && r.reason == Refusal::Unknown)));
    assert!(outputs.contains(&resync(shard, 42)));
    assert_eq!(played.node.placement().of_session(SessionId(1)), None);
    assert!(played.node.placement().of_session(SessionId(2)).is_some());

    let (arrived, _) = played.shards[0].order().unwrap();
    played.shards[0].report(Report::Parts(arrived, Vec::new(), 1));
    let outputs = played.outputs();
    assert!(
        matches!(outputs.last(), Some(Output::Part(_, Part::End(_)))),
        "{outputs:?}"
    );
    assert_eq!(
        played
            .node
            .on_order(ticket(4), Command::Admit(admit(3, 100, 0))),
        None
    );
    assert_eq!(
        played.node.placement().of_session(SessionId(3)),
        Some(ShardIndex(1 - shard.0))
    );
}

#[test]
fn the_snapshot_of_a_control_plane_that_left_bothers_nobody() {
    let mut played = played(1);
    let order = Command::Snapshot(Snapshot {});
    played.node.on_order(ticket(1), order.clone());
    played.node.on_disconnected(CONNECTION);
    let newer = Ticket {
        connection: ConnectionId(2),
        order: OrderId(1),
    };
    assert_eq!(played.node.on_order(newer, order), None);
    for counter in [1, 2] {
        let (arrived, _) = played.shards[0].order().unwrap();
        played.shards[0].report(Report::Parts(arrived, Vec::new(), counter));
    }
    let tickets: Vec<Ticket> = played
        .outputs()
        .iter()
        .map(|output| match output {
            Output::Part(to, _) => *to,
            Output::Reply(..) | Output::Event(..) => panic!("{output:?}"),
        })
        .collect();
    assert_eq!(tickets, [newer, newer], "the shard's end and the end, once");
}
