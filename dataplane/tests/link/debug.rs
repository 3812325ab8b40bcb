//! What the ops port may ask, and what it is told when a shard does not answer.

use dataplane::debug::{Answer, QUESTIONS_MAX, Subject};
use dataplane::mesh::Report;
use dataplane_api::command::Inspect;
use dataplane_api::ids::{SessionId, ShardIndex};
use dataplane_api::reply::Inspected;
use dataplane_api::{Command, Reply};
use serde_json::Value;

use crate::rig::{Client, rig};

const SHARD: Subject = Subject::Inspect(Inspect::Shard(ShardIndex(0)));

#[test]
fn a_path_names_what_is_asked_for() {
    let session = Subject::Inspect(Inspect::Session(SessionId(7)));
    for (path, subject) in [
        ("/debug/link", Some(Subject::Link)),
        ("/debug/sessions", Some(Subject::Sessions)),
        ("/debug/sessions/7", Some(session)),
        ("/debug/shards/0", Some(SHARD)),
        ("/debug/shards", None),
        ("/debug/shards/0/1", None),
        ("/debug/shards/65536", None),
        ("/debug/sessions/", None),
        ("/debug/sessions/ada", None),
        ("/debug", None),
        ("/metrics", None),
    ] {
        assert_eq!(Subject::of_path(path), subject, "{path}");
    }
}

#[tokio::test]
async fn a_shard_is_asked_by_its_ring_and_the_control_plane_hears_nothing_of_it() {
    let rig = rig().await;
    let (client, _) = Client::connect(&rig).await;
    client.ping(1).await;
    let asker = rig.asker.clone();
    let asked = tokio::spawn(async move { asker.ask(SHARD).await });
    let (ticket, command) = loop {
        if let Some(order) = rig.shard.order() {
            break order;
        }
        tokio::task::yield_now().await;
    };
    assert_eq!(command, Command::Inspect(Inspect::Shard(ShardIndex(0))));
    let json = "{\"shard\":0}".to_owned();
    let inspected = Reply::Inspected(Inspected { json: json.clone() });
    rig.shard.report(Report::Reply(ticket, inspected));
    rig.shard.ring();
    assert_eq!(asked.await.expect("no panic"), Answer::Found(json));
    client.ping(2).await;
}

#[tokio::test]
async fn what_nobody_knows_is_unknown() {
    let rig = rig().await;
    for what in [
        Inspect::Session(SessionId(7)),
        Inspect::Shard(ShardIndex(9)),
    ] {
        let answer = rig.asker.ask(Subject::Inspect(what)).await;
        assert!(matches!(answer, Answer::Unknown(_)), "{answer:?}");
    }
    let Answer::Found(sessions) = rig.asker.ask(Subject::Sessions).await else {
        panic!("a list");
    };
    let sessions: Value = serde_json::from_str(&sessions).expect("JSON");
    assert_eq!(sessions["total"], 0);
}

/// The shard's thread hangs: the asker is told within a second, the link goes on, and questions do not pile up.
#[tokio::test]
async fn a_shard_that_hangs_holds_up_nobody() {
    let rig = rig().await;
    let (client, _) = Client::connect(&rig).await;
    let mut questions = Vec::new();
    for wave in 1..=4 {
        for _ in 0..QUESTIONS_MAX {
            let asker = rig.asker.clone();
            questions.push(tokio::spawn(async move { asker.ask(SHARD).await }));
        }
        // By now the link thread has seen them.
        client.ping(wave).await;
    }
    for question in questions {
        let answer = question.await.expect("no panic");
        assert!(matches!(answer, Answer::Unavailable(_)), "{answer:?}");
    }
    let asked = std::iter::from_fn(|| rig.shard.order()).count();
    assert!((1..=QUESTIONS_MAX).contains(&asked), "{asked}");
    // Those who asked are gone, so there is room again.
    let (link, shard) = tokio::join!(rig.asker.ask(Subject::Link), rig.asker.ask(SHARD));
    assert!(matches!(link, Answer::Found(_)), "{link:?}");
    assert!(matches!(shard, Answer::Unavailable(_)), "{shard:?}");
    assert_eq!(std::iter::from_fn(|| rig.shard.order()).count(), 1);
}

#[tokio::test]
async fn a_shard_that_failed_is_unknown() {
    let rig = rig().await;
    let (link, client) = (rig.asker.clone(), Client::connect(&rig).await);
    drop(rig.shard);
    // The server ends with its last shard; whoever asks then is told so.
    drop(client);
    let answer = link.ask(SHARD).await;
    assert!(!matches!(answer, Answer::Found(_)), "{answer:?}");
}
