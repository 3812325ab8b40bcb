//! How control planes learn that the node drains, and how they are numbered.

use dataplane::lifetime::Phase;
use dataplane::mesh::Report;
use dataplane_api::command::{
    Admit, Drain, Fingerprint, FingerprintHash, RemoteTransport, SessionPolicy, Setup,
};
use dataplane_api::ids::{OrderId, RoomId, SessionId, ShardIndex};
use dataplane_api::media::Extensions;
use dataplane_api::reply::{Admitted, Done, Refusal};
use dataplane_api::wire::Frame;
use dataplane_api::{Command, Event, Reply};
use tokio::time::timeout;

use crate::rig::{Client, PATIENCE, Rig, closed, rig};

fn admit(session: u64) -> Command {
    Command::Admit(Admit {
        session: SessionId(session),
        room: RoomId(1),
        tag: Vec::new(),
        shard_hint: None,
        remote: Some(RemoteTransport {
            ufrag: "them".into(),
            pwd: "their-password-of-22-ch".into(),
            fingerprint: Fingerprint {
                hash: FingerprintHash::Sha256,
                digest: vec![0; 32],
            },
            setup: Setup::ActPass,
        }),
        extensions: Extensions::default(),
        slots: Vec::new(),
        policy: SessionPolicy::default(),
    })
}

/// A node with one session, and its control plane.
async fn with_session() -> (Rig, Client) {
    let rig = rig().await;
    let (client, hello) = Client::connect(&rig).await;
    assert!(!hello.draining);
    client.order(1, admit(1)).await;
    // Given right behind, so it says that the order before has arrived.
    client.ping(2).await;
    let (ticket, _) = rig.shard.order().expect("an order");
    let admitted = Reply::Admitted(Admitted {
        session: SessionId(1),
        shard: ShardIndex(0),
        ufrag: "0001".into(),
        pwd: "secret".into(),
        candidates: Vec::new(),
    });
    rig.shard.report(Report::Reply(ticket, admitted));
    rig.shard.ring();
    let reply = client.read().await;
    assert!(
        matches!(reply, Frame::Reply(OrderId(1), Reply::Admitted(_))),
        "{reply:?}"
    );
    (rig, client)
}

fn is_draining(frame: &Frame) -> bool {
    matches!(frame, Frame::Event(_, _, Event::Draining(_)))
}

/// The last session leaves: the server ends.
async fn ends_with_its_session(rig: Rig, client: Client) {
    rig.shard.report(Report::Event(1, closed(1)));
    rig.shard.ring();
    assert_eq!(
        client.read().await,
        Frame::Event(ShardIndex(0), 1, closed(1))
    );
    timeout(PATIENCE, rig.server)
        .await
        .expect("in time")
        .expect("no panic");
    assert_eq!(client.try_read().await, None, "and nothing more was said");
}

#[tokio::test]
async fn a_drain_by_signal_is_said_once_and_to_those_who_come_later() {
    let (rig, client) = with_session().await;
    for _ in 0..2 {
        let phase = Phase::Draining;
        rig.requests.send(phase).await.expect("the server listens");
    }
    let said = client.read().await;
    assert!(is_draining(&said), "{said:?}");
    assert!(rig.status.draining());
    let (later, hello) = Client::connect(&rig).await;
    assert!(hello.draining);
    drop(later);
    client.order(3, admit(2)).await;
    let reply = client.read().await;
    let refused = matches!(
        &reply,
        Frame::Reply(OrderId(3), Reply::Refused(refused)) if refused.reason == Refusal::Draining
    );
    assert!(refused, "{reply:?}");
    ends_with_its_session(rig, client).await;
}

#[tokio::test]
async fn a_drain_by_order_ends_the_process_with_its_last_session() {
    let (rig, client) = with_session().await;
    for order in [3, 4] {
        client.order(order, Command::Drain(Drain {})).await;
    }
    let said = client.read().await;
    assert!(is_draining(&said), "{said:?}");
    for order in [3, 4] {
        assert_eq!(
            client.read().await,
            Frame::Reply(OrderId(order), Reply::Done(Done {}))
        );
    }
    ends_with_its_session(rig, client).await;
}

#[tokio::test]
async fn a_drain_by_order_of_an_empty_node_is_answered_and_ends_it() {
    let rig = rig().await;
    let (client, _) = Client::connect(&rig).await;
    client.order(1, Command::Drain(Drain {})).await;
    assert!(is_draining(&client.read().await));
    assert_eq!(
        client.read().await,
        Frame::Reply(OrderId(1), Reply::Done(Done {}))
    );
    assert_eq!(client.try_read().await, None);
    timeout(PATIENCE, rig.server)
        .await
        .expect("in time")
        .expect("no panic");
}

/// What a control plane numbers starts above `connection << 40`: no two may ever be told the same.
#[tokio::test]
async fn no_two_connections_have_one_number() {
    let rig = rig().await;
    let mut last = 0;
    for _ in 0..20 {
        let (client, hello) = Client::connect(&rig).await;
        assert!(hello.connection > last, "{} after {last}", hello.connection);
        last = hello.connection;
        drop(client);
    }
}
