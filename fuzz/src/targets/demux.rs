//! Datagrams from a path that ICE has not validated: one class each, no octet out, no state (security.md
//! D1, S1, T10, X1).

use std::cell::RefCell;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};

use dataplane_api::Command;
use dataplane_api::command::Ping;
use dataplane_api::ids::ShardIndex;
use dataplane_engine::limits::DATAGRAM_BYTES_MAX;
use dataplane_engine::packet::{Datagram, Path, SocketIndex};
use dataplane_engine::reason::DropReason;
use dataplane_engine::time::Micros;
use dataplane_engine::{Shard, ShardConfig, ShardLimits};

use super::{OCTETS, rtcp_vectors, rtp_vectors, stun};
use crate::behaviour;
use crate::edge::Edge;
use crate::runner::Target;
use crate::vectors;

pub(super) fn targets() -> Vec<Target> {
    vec![Target {
        name: "demux",
        run: demux,
        seeds,
        length_max: 2_000,
        // The shard is made with the first input and stays: its pool alone is 16 MiB.
        allocation_max: None,
        executions: 60_000,
        words: &[&[0x21, 0x12, 0xa4, 0x42], &[0x16, 0xfe, 0xfd]],
        ..OCTETS
    }]
}

fn seeds() -> Vec<Vec<u8>> {
    let dtls = vectors::octets(&["dataplane/engine/tests/vectors/dtls/malformed_and_edge.json"]);
    let mut seeds = [rtp_vectors(), rtcp_vectors(), stun::stun_vectors(), dtls].concat();
    // RFC 7983 section 7, all of it.
    seeds.extend((0..=255).map(|first| vec![first, 96, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0]));
    seeds.push(Vec::new());
    seeds
}

thread_local! {
    static SHARD: RefCell<Option<Shard>> = const { RefCell::new(None) };
}

/// One datagram to a shard that nobody joined. The shard is the same for all of them, which is the oracle:
/// none may leave anything behind.
pub fn demux(bytes: &[u8]) {
    let mut shard = SHARD.with_borrow_mut(|kept| {
        kept.take().unwrap_or_else(|| {
            Shard::new(ShardConfig {
                index: ShardIndex(1),
                seed: [1; 32],
                candidates: Vec::new(),
                limits: ShardLimits::default(),
            })
        })
    });
    let now = Micros(1_000_000);
    let path = Path {
        local: IpAddr::V4(Ipv4Addr::new(192, 0, 2, 1)),
        remote: SocketAddr::new(IpAddr::V4(Ipv4Addr::new(203, 0, 113, 9)), 999),
        socket: SocketIndex::UDP_V4,
    };
    let before = shard.counters().clone();
    let mut datagram = bytes.to_vec();
    shard.on_datagram(
        now,
        Datagram {
            path,
            bytes: &mut datagram,
            arrival: now,
        },
    );
    let after = shard.counters().clone();
    let dropped: Vec<DropReason> = DropReason::ALL
        .iter()
        .copied()
        .filter(|&reason| after.dropped_in.of(reason) != before.dropped_in.of(reason))
        .collect();
    let handed_over = shard.poll_handover().is_some();
    let class = class(bytes);
    match (dropped.as_slice(), class) {
        (_, Class::Stun) if handed_over => assert_eq!(dropped, []),
        (&[reason], Class::Stun) => {
            behaviour::outcome("stun", &reason);
            let silent = [
                DropReason::StunMalformed,
                DropReason::StunUnexpected,
                DropReason::StunUnknownUser,
            ];
            assert!(silent.contains(&reason), "{reason:?}");
        }
        (&[reason], Class::None) => assert_eq!(reason, DropReason::Demux),
        (&[reason], Class::Other) => assert_eq!(reason, DropReason::UnknownPath),
        (reasons, class) => panic!("{reasons:?} for {class:?}"),
    }
    behaviour::outcome("class", &class);
    behaviour::note("handed over", u64::from(handed_over));
    assert_eq!(after.received_packets, before.received_packets + 1);
    assert!(shard.poll_handshake().is_none() && shard.poll_event().is_none());
    let mut edge = Edge::default();
    shard.flush(now, &mut edge);
    assert!(edge.runs.is_empty(), "somebody who is nobody was answered");
    assert_eq!(shard.next_deadline(), None, "a stranger set a timer");
    let pong = shard.on_command(now, Command::Ping(Ping {}));
    behaviour::outcome("pong", &pong);
    SHARD.with_borrow_mut(|kept| *kept = Some(shard));
}

#[derive(Clone, Copy, Debug)]
enum Class {
    None,
    Stun,
    Other,
}

/// RFC 7983 section 7 and RFC 5761 section 4, written a second time.
fn class(bytes: &[u8]) -> Class {
    match bytes.first() {
        _ if bytes.len() > DATAGRAM_BYTES_MAX => Class::None,
        Some(0..=3) => Class::Stun,
        Some(20..=63) => Class::Other,
        Some(128..=191) if bytes.len() > 1 => Class::Other,
        _ => Class::None,
    }
}
