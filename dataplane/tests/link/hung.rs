//! A control plane that hangs: it has the link and does not read.

use std::time::Duration;

use dataplane::debug::{Answer, Subject};
use dataplane::mesh::Report;
use dataplane_api::command::{Ping, Snapshot};
use dataplane_api::event::ShardStats;
use dataplane_api::ids::{OrderId, ShardIndex};
use dataplane_api::snapshot::Part;
use dataplane_api::wire::Frame;
use dataplane_api::{Command, Event};
use serde_json::Value;
use tokio::time::timeout;

use crate::rig::{Client, PATIENCE, Rig, closed, pong, rig};

/// Two state events a session of 2,000 may wait for one control plane.
const EVENTS_WAITING_MAX: u64 = 4_096;

/// More than a connection that is closed otherwise has for its last frames.
const HANGS: Duration = Duration::from_secs(60);

/// What `/debug/link` says; the question is answered by the thread that writes the link, behind what was reported
/// before it.
async fn link(rig: &Rig) -> Value {
    let Answer::Found(json) = rig.asker.ask(Subject::Link).await else {
        panic!("the link thread answers");
    };
    serde_json::from_str(&json).expect("JSON")
}

/// A class of 12,000 comings and goings and five minutes of statistics, unread: memory stays bounded, nothing of it
/// is told late, and what is told instead is to ask.
#[tokio::test]
async fn what_a_hung_control_plane_missed_becomes_one_resync_and_one_measurement() {
    let rig = rig().await;
    let (client, _) = Client::connect(&rig).await;
    client.ping(1).await;
    let mut counter = 0;
    let mut report = |event| {
        counter += 1;
        rig.shard.report(Report::Event(counter, event));
    };
    const SECONDS: u32 = 300;
    const EVENTS_A_SECOND: u64 = 40;
    let mut session = 0;
    for second in 1..=SECONDS {
        for _ in 0..EVENTS_A_SECOND {
            session += 1;
            report(closed(session));
        }
        report(Event::ShardStats(ShardStats {
            sessions: second,
            ..ShardStats::default()
        }));
        rig.shard.ring();
        let waiting = &link(&rig).await["connections"][0];
        let frames = waiting["waiting_frames"].as_u64().expect("a number");
        assert!(frames <= EVENTS_WAITING_MAX, "second {second}: {waiting}");
        assert!(waiting["waiting_measurements"].as_u64() <= Some(1));
    }
    let waiting = &link(&rig).await["connections"][0];
    assert_eq!(waiting["resync_waits"], true, "{waiting}");
    assert_eq!(waiting["waiting_events"], 0, "{waiting}");
    assert_eq!(rig.status.resyncs(), 1);

    // It wakes up. What its socket held comes first, then the one resync, then the newest measurement.
    let mut sessions = 0;
    let mut measured = Vec::new();
    let mut resyncs = 0;
    while measured.last() != Some(&SECONDS) {
        match client.read().await {
            Frame::Event(_, _, Event::ResyncNeeded(_)) => resyncs += 1,
            Frame::Event(_, _, Event::ShardStats(stats)) => measured.push(stats.sessions),
            Frame::Event(_, _, event) => {
                assert_eq!(
                    resyncs, 0,
                    "no event is told behind the resync that covers it"
                );
                sessions += 1;
                assert_eq!(event, closed(sessions), "in order, none left out");
            }
            frame @ (Frame::Hello(_) | Frame::Order(..) | Frame::Reply(..) | Frame::Part(..)) => {
                panic!("{frame:?}")
            }
        }
    }
    assert_eq!(resyncs, 1);
    assert!(sessions < session, "the rest is in the snapshot");
    let coalesced = rig.status.measurements_dropped();
    assert_eq!(
        coalesced + measured.len() as u64,
        u64::from(SECONDS),
        "each measurement was written or counted"
    );

    client.order(2, Command::Snapshot(Snapshot {})).await;
    client.order(3, Command::Ping(Ping {})).await;
    assert_eq!(client.read().await, pong(3));
    let (ticket, _) = timeout(PATIENCE, next_order(&rig)).await.expect("in time");
    rig.shard.report(Report::Parts(ticket, Vec::new(), 12_300));
    rig.shard.ring();
    let part = client.read().await;
    let Frame::Part(OrderId(2), Part::ShardEnd(end)) = &part else {
        panic!("{part:?}");
    };
    assert_eq!((end.shard, end.counter), (ShardIndex(0), 12_300));
    assert!(matches!(
        client.read().await,
        Frame::Part(OrderId(2), Part::End(_))
    ));
    // And from here on events are told again.
    rig.shard.report(Report::Event(12_301, closed(99_999)));
    rig.shard.ring();
    assert_eq!(
        client.read().await,
        Frame::Event(ShardIndex(0), 12_301, closed(99_999))
    );
    assert_eq!(rig.status.resyncs(), 1);
}

async fn next_order(rig: &Rig) -> (dataplane::mesh::Ticket, Command) {
    loop {
        if let Some(order) = rig.shard.order() {
            return order;
        }
        tokio::task::yield_now().await;
    }
}

/// The link thread itself is behind: the ring of a shard is full, and what is lost there is one resync as well.
#[tokio::test]
async fn what_a_ring_lost_is_told_as_a_resync() {
    let rig = rig().await;
    let (client, _) = Client::connect(&rig).await;
    client.ping(1).await;
    for counter in 1..=10_000 {
        rig.shard.report(Report::Event(counter, closed(counter)));
    }
    rig.shard.ring();
    let mut events = 0;
    loop {
        match client.read().await {
            Frame::Event(_, counter, Event::ResyncNeeded(_)) => {
                assert_eq!(counter, 10_000, "the newest that was lost");
                break;
            }
            Frame::Event(..) => events += 1,
            frame @ (Frame::Hello(_) | Frame::Order(..) | Frame::Reply(..) | Frame::Part(..)) => {
                panic!("{frame:?}")
            }
        }
    }
    // What still waited to be written is in the snapshot too.
    assert!(events < 4_096, "{events}");
}

/// It hangs with its socket full while another takes over. When it wakes it must not take the link for lost and
/// connect again: that would take it from its successor. And what it had ordered before is not carried out, even
/// when the successor is gone by then.
#[tokio::test]
async fn a_hung_control_plane_that_was_superseded_knows_when_it_wakes() {
    let rig = rig().await;
    let (hung, _) = Client::connect(&rig).await;
    hung.ping(1).await;
    let mut counter = 0;
    // One or two may wait for the writer's turn, this many for a socket with room.
    while link(&rig).await["connections"][0]["waiting_events"].as_u64() < Some(32) {
        counter += 1;
        rig.shard.report(Report::Event(counter, closed(counter)));
        rig.shard.ring();
    }
    let (successor, _) = Client::connect(&rig).await;
    successor.ping(1).await;
    tokio::time::pause();
    tokio::time::advance(HANGS).await;
    tokio::time::resume();
    successor.ping(2).await;
    drop(successor);
    while rig.status.link_up() {
        tokio::task::yield_now().await;
    }
    // More than are read of one connection before it has read answers.
    for order in 2..1_150 {
        hung.order(order, Command::Ping(Ping {})).await;
    }
    let mut told = Vec::new();
    while let Some(frame) = hung.try_read().await {
        told.push(frame);
    }
    let last = told.pop().expect("a frame");
    assert!(
        matches!(last, Frame::Event(_, _, Event::Superseded(_))),
        "{last:?}"
    );
    assert!(!told.contains(&pong(2)), "a superseded one gives no orders");
    assert!(!rig.status.link_up());
}

/// Its socket has room, so it is told at once, and wakes with an order to give before it reads that.
#[tokio::test]
async fn a_hung_control_plane_that_wakes_with_an_order_reads_that_it_was_superseded() {
    let rig = rig().await;
    let (hung, _) = Client::connect(&rig).await;
    hung.ping(1).await;
    let (successor, _) = Client::connect(&rig).await;
    successor.ping(1).await;
    tokio::time::pause();
    tokio::time::advance(HANGS).await;
    tokio::time::resume();
    successor.ping(2).await;
    hung.order(2, Command::Ping(Ping {})).await;
    let said = hung.read().await;
    assert!(
        matches!(said, Frame::Event(_, _, Event::Superseded(_))),
        "{said:?}"
    );
    assert_eq!(hung.try_read().await, None);
    successor.ping(3).await;
}
