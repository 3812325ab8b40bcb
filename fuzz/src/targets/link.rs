//! Frames of the link between the two processes (contracts.md 27).

use std::net::SocketAddr;

use dataplane_api::command::{Close, Inspect, Ping};
use dataplane_api::event::{CloseReason, Event, Hello, Limits, SessionClosed, ShardInfo};
use dataplane_api::ids::{OrderId, SessionId, ShardIndex};
use dataplane_api::reply::{Refusal, Refused};
use dataplane_api::wire::Frame;
use dataplane_api::{Command, Reply};

use super::{OCTETS, shard};
use crate::behaviour;
use crate::runner::Target;

pub(super) fn targets() -> Vec<Target> {
    vec![Target {
        name: "link_frame",
        run: link_frame,
        seeds,
        length_max: 4_096,
        // Lists of small items grow by doubling, 32 octets of memory for one on the wire, and the frame
        // stands here up to three times.
        allocation_max: Some(1_024 * 1_024),
        executions: 40_000,
        words: &[
            &[0xa0],
            &[0xbf],
            &[0x9f],
            &[0xff],
            &[0x1b],
            &[0x5f],
            &[0x9b, 0, 0, 0, 0xff],
            &[0xf6],
        ],
        ..OCTETS
    }]
}

/// One frame of a peer that may be of another build.
pub fn link_frame(bytes: &[u8]) {
    let frame = match Frame::decode(bytes) {
        Ok(frame) => frame,
        Err(error) => return behaviour::outcome("error", &error),
    };
    behaviour::note(
        "kind",
        u64::from(bytes.first().copied().unwrap_or_default()),
    );
    behaviour::outcome("frame", &frame);
    // A length may be written in more octets than it takes, so what comes out may be shorter.
    let again = frame.encode().expect("what was read can be written");
    assert!(again.len() <= bytes.len() + 64);
    assert_eq!(
        Frame::decode(&again).expect("what was written can be read"),
        frame
    );
}

fn seeds() -> Vec<Vec<u8>> {
    let order = OrderId(9);
    let session = SessionId(77);
    let mut frames: Vec<Frame> = shard::orders()
        .into_iter()
        .map(|command| Frame::Order(order, command))
        .collect();
    frames.extend([
        Frame::Order(order, Command::Close(Close { session })),
        Frame::Order(order, Command::Ping(Ping {})),
        Frame::Order(order, Command::Inspect(Inspect::Session(session))),
        Frame::Reply(
            order,
            Reply::Refused(Refused {
                reason: Refusal::Overloaded,
                detail: "full".into(),
            }),
        ),
        Frame::Event(
            ShardIndex(1),
            5,
            Event::SessionClosed(SessionClosed {
                session,
                reason: CloseReason::ConsentExpired,
            }),
        ),
        Frame::Hello(Box::new(Hello {
            version: "0.1.0".into(),
            boot_id: [3; 16],
            features: vec!["x".into()],
            fingerprint: shard::fingerprint(),
            shards: vec![ShardInfo {
                index: ShardIndex(0),
                addresses: vec![SocketAddr::from(([192, 0, 2, 1], 40_000))],
                udp_port: 40_000,
            }],
            limits: Limits {
                sessions_per_shard_max: 4_096,
                slots_per_session_max: 256,
            },
            edge: "uring".into(),
            ops: Some(SocketAddr::from(([127, 0, 0, 1], 7880))),
            draining: true,
            connection: 3,
        })),
    ]);
    frames
        .iter()
        .map(|frame| frame.encode().expect("a seed can be written"))
        .collect()
}
