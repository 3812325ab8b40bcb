//! Connections, orders and the end of the link server.

use dataplane::lifetime::Phase;
use dataplane::link::LinkListener;
use dataplane::mesh::Report;
use dataplane_api::command::{Close, Inspect, Ping, Snapshot};
use dataplane_api::ids::{OrderId, SessionId, ShardIndex};
use dataplane_api::reply::{Done, Inspected, Unsupported};
use dataplane_api::snapshot::Part;
use dataplane_api::wire::{FRAME_BYTES_MAX, Frame};
use dataplane_api::{Command, Event, Reply};
use tokio::time::timeout;

use crate::rig::{Client, PATIENCE, closed, pong, rig};

#[tokio::test]
async fn hello_comes_first_and_names_where_media_goes() {
    let rig = rig().await;
    let (client, hello) = Client::connect(&rig).await;
    assert_eq!(hello.boot_id, [7; 16]);
    assert_eq!(hello.shards.len(), 1);
    assert_eq!(hello.shards[0].udp_port, 40_000);
    assert_eq!(
        hello.shards[0].addresses,
        ["192.0.2.1:40000".parse().expect("an address")]
    );
    client.ping(1).await;
    assert!(rig.status.link_up());
}

#[tokio::test]
async fn an_order_of_a_later_version_is_answered_and_the_link_goes_on() {
    let rig = rig().await;
    let (client, _) = Client::connect(&rig).await;
    let mut bytes = Frame::Order(OrderId(7), Command::Ping(Ping {}))
        .encode()
        .expect("encodes");
    bytes[0] = 63;
    client.send(&bytes).await;
    let unsupported = Reply::Unsupported(Unsupported { kind: 63 });
    assert_eq!(client.read().await, Frame::Reply(OrderId(7), unsupported));
    client.ping(8).await;
}

#[tokio::test]
async fn orders_reach_the_shard_and_its_words_come_back() {
    let rig = rig().await;
    let (client, _) = Client::connect(&rig).await;
    client
        .order(1, Command::Inspect(Inspect::Shard(ShardIndex(0))))
        .await;
    client
        .order(
            2,
            Command::Close(Close {
                session: SessionId(9),
            }),
        )
        .await;
    // The close of a session nobody knows is answered without the shard, hence first.
    assert_eq!(
        client.read().await,
        Frame::Reply(OrderId(2), Reply::Done(Done {}))
    );
    let (ticket, command) = rig.shard.order().expect("an order");
    assert_eq!(command, Command::Inspect(Inspect::Shard(ShardIndex(0))));
    rig.shard.report(Report::Event(41, closed(3)));
    let inspected = Reply::Inspected(Inspected { json: "{}".into() });
    rig.shard.report(Report::Reply(ticket, inspected.clone()));
    rig.shard.ring();
    assert_eq!(
        client.read().await,
        Frame::Event(ShardIndex(0), 41, closed(3))
    );
    assert_eq!(client.read().await, Frame::Reply(OrderId(1), inspected));
}

#[tokio::test]
async fn an_answer_that_no_frame_can_carry_is_refused_and_the_link_goes_on() {
    let rig = rig().await;
    let (client, _) = Client::connect(&rig).await;
    client
        .order(1, Command::Inspect(Inspect::Shard(ShardIndex(0))))
        .await;
    client.ping(2).await;
    let (ticket, _) = rig.shard.order().expect("an order");
    let json = "x".repeat(FRAME_BYTES_MAX);
    rig.shard
        .report(Report::Reply(ticket, Reply::Inspected(Inspected { json })));
    rig.shard.ring();
    let refused = client.read().await;
    assert!(
        matches!(refused, Frame::Reply(OrderId(1), Reply::Refused(_))),
        "{refused:?}"
    );
    client.ping(3).await;
}

#[tokio::test]
async fn a_snapshot_ends_with_the_counter_and_the_end() {
    let rig = rig().await;
    let (client, _) = Client::connect(&rig).await;
    client.order(1, Command::Snapshot(Snapshot {})).await;
    client.ping(2).await;
    let (ticket, _) = rig.shard.order().expect("an order");
    rig.shard.report(Report::Parts(ticket, Vec::new(), 5));
    rig.shard.ring();
    let (shard_end, end) = (client.read().await, client.read().await);
    let Frame::Part(OrderId(1), Part::ShardEnd(part)) = shard_end else {
        panic!("{shard_end:?}");
    };
    assert_eq!(part.counter, 5);
    assert!(
        matches!(end, Frame::Part(OrderId(1), Part::End(_))),
        "{end:?}"
    );
}

#[tokio::test]
async fn a_newer_control_plane_takes_over_and_the_older_is_told() {
    let rig = rig().await;
    let (older, _) = Client::connect(&rig).await;
    older.ping(1).await;
    let (newer, _) = Client::connect(&rig).await;
    newer.ping(1).await;
    let farewell = older.read().await;
    assert!(
        matches!(farewell, Frame::Event(_, _, Event::Superseded(_))),
        "{farewell:?}"
    );
    assert_eq!(
        older.try_read().await,
        None,
        "then the connection is closed"
    );
    newer.ping(2).await;
    assert!(rig.status.link_up());
}

/// The older one connected and was about to give its first order.
#[tokio::test]
async fn of_two_that_start_at_once_the_newer_has_the_link_and_the_older_is_told() {
    let rig = rig().await;
    let (older, _) = Client::connect(&rig).await;
    let (newer, _) = Client::connect(&rig).await;
    newer.ping(1).await;
    let farewell = older.read().await;
    assert!(
        matches!(farewell, Frame::Event(_, _, Event::Superseded(_))),
        "{farewell:?}"
    );
    assert_eq!(older.try_read().await, None);
    newer.ping(2).await;
}

#[tokio::test]
async fn a_control_plane_that_only_listens_takes_over_by_staying() {
    let rig = rig().await;
    let (older, _) = Client::connect(&rig).await;
    older.ping(1).await;
    let (_newer, _) = Client::connect(&rig).await;
    let farewell = older.read().await;
    assert!(
        matches!(farewell, Frame::Event(_, _, Event::Superseded(_))),
        "{farewell:?}"
    );
}

#[tokio::test]
async fn a_second_data_plane_that_looks_takes_nothing_over() {
    let rig = rig().await;
    let (client, _) = Client::connect(&rig).await;
    client.ping(1).await;
    let error = LinkListener::bind(&rig.path)
        .await
        .expect_err("somebody answers");
    assert!(error.to_string().contains("already answers"), "{error}");
    client.ping(2).await;
}

#[tokio::test]
async fn a_frame_too_long_ends_its_connection_and_no_other() {
    let rig = rig().await;
    let (client, _) = Client::connect(&rig).await;
    client.send(&vec![27; FRAME_BYTES_MAX + 1]).await;
    assert_eq!(client.try_read().await, None);
    let (client, _) = Client::connect(&rig).await;
    client.ping(1).await;
}

#[tokio::test]
async fn nonsense_ends_its_connection_and_no_other() {
    let event = Frame::Event(ShardIndex(0), 1, closed(1))
        .encode()
        .expect("encodes");
    for bytes in [&b"x"[..], &[27, 0, 1, 0xff], &[27, 0, 2, 0xa0], &event] {
        let rig = rig().await;
        let (client, _) = Client::connect(&rig).await;
        client.send(bytes).await;
        assert_eq!(client.try_read().await, None, "{bytes:?}");
        let (client, _) = Client::connect(&rig).await;
        client.ping(1).await;
    }
}

#[tokio::test]
async fn a_drained_node_without_sessions_ends_and_removes_its_socket() {
    let rig = rig().await;
    let (client, _) = Client::connect(&rig).await;
    client.ping(1).await;
    // An order given right before the end is answered.
    client.order(2, Command::Ping(Ping {})).await;
    assert_eq!(client.read().await, pong(2));
    rig.requests
        .send(Phase::Draining)
        .await
        .expect("the server listens");
    timeout(PATIENCE, rig.server)
        .await
        .expect("in time")
        .expect("no panic");
    assert!(!rig.path.exists());
    let said = client.read().await;
    assert!(
        matches!(said, Frame::Event(_, _, Event::Draining(_))),
        "{said:?}"
    );
    assert_eq!(client.try_read().await, None);
}

#[tokio::test]
async fn without_a_shard_left_the_server_ends() {
    let rig = rig().await;
    drop(rig.shard);
    timeout(PATIENCE, rig.server)
        .await
        .expect("in time")
        .expect("no panic");
}
