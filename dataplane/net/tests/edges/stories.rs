//! What every edge must do.

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::mpsc;
use std::time::Duration;

use dataplane_engine::limits::DATAGRAM_BYTES_MAX;
use dataplane_engine::outbox::{Run, SendFailed, SendFailure};
use dataplane_engine::packet::{Path, SocketIndex};
use dataplane_net::{BindError, Clock, EdgeConfig, EdgeKind, Family, ShardSockets, SocketOptions};

pub(crate) use crate::namespace::{
    a_full_socket_drops_the_run_and_says_so,
    a_route_with_a_small_mtu_costs_one_path_its_segmentation,
};
use crate::rig::{
    OpenEdge, PATIENCE, Rig, assert_silent, locals, number_of, numbered, peer, receive_at,
};

pub(crate) fn a_datagram_names_the_address_that_was_asked<E: OpenEdge>() {
    let mut rig = Rig::<E>::new();
    for local in locals() {
        let peer = peer(local);
        peer.send_to(b"check", rig.address(local)).unwrap();
        let received = rig.receive(1).remove(0);
        assert_eq!(received.path, rig.path(local, &peer));
        assert_eq!(received.bytes, b"check");
    }
}

pub(crate) fn a_reply_leaves_from_the_address_that_was_asked<E: OpenEdge>() {
    let mut rig = Rig::<E>::new();
    for local in locals() {
        let peer = peer(local);
        peer.send_to(b"check", rig.address(local)).unwrap();
        let asked = rig.receive(1).remove(0).path;
        // Alone and segmented: the source address rides beside the segment length.
        rig.send(&asked, &[b"answer".to_vec()]);
        rig.send(&asked, &[b"media1".to_vec(), b"media2".to_vec()]);
        for expected in [b"answer", b"media1", b"media2"] {
            assert_eq!(receive_at(&peer), (expected.to_vec(), rig.address(local)));
        }
    }
}

pub(crate) fn a_run_of_48_arrives_as_48_datagrams_in_order<E: OpenEdge>() {
    let mut rig = Rig::<E>::new();
    for local in locals() {
        let peer = peer(local);
        let to_peer = rig.path(local, &peer);
        assert_eq!(rig.edge.egress(&to_peer).segments_max, 48);
        let mut packets: Vec<Vec<u8>> = (0..48).map(|n| numbered(n, 1_200)).collect();
        packets[47].truncate(333);
        rig.send(&to_peer, &packets);
        for packet in &packets {
            assert_eq!(receive_at(&peer).0, *packet);
        }
        assert_silent(&peer);
    }
    let counters = rig.edge.counters();
    assert_eq!(counters.sent_segmented, counters.sent_runs);
    assert_eq!(counters.sent_unsegmented, 0);
    assert_eq!(rig.edge.next_failure(), None);
}

pub(crate) fn runs_to_both_families_leave_in_one_submit<E: OpenEdge>() {
    let mut rig = Rig::<E>::new();
    let locals = locals();
    let peers: Vec<_> = locals.iter().map(|local| peer(local)).collect();
    for round in 0..10 {
        for (local, peer) in locals.iter().zip(&peers) {
            let to_peer = rig.path(local, peer);
            rig.commit(
                &to_peer,
                &[numbered(round, 300), numbered(round + 100, 200)],
            );
        }
    }
    rig.edge.submit().unwrap();
    for (local, peer) in locals.iter().zip(&peers) {
        for round in 0..10 {
            let (first, from) = receive_at(peer);
            assert_eq!((number_of(&first), from), (round, rig.address(local)));
            assert_eq!(number_of(&receive_at(peer).0), round + 100);
        }
    }
}

pub(crate) fn bursts_beyond_the_receive_buffers_lose_nothing<E: OpenEdge>() {
    let config = EdgeConfig {
        // Fewer than the kernel fills in one go.
        receive_buffers: 16,
        ..EdgeConfig::default()
    };
    let mut rig = Rig::<E>::with(config, &SocketOptions::default());
    let peer = peer("127.0.0.1");
    let edge = rig.address("127.0.0.1");
    // Each burst is many times the buffers and lies in the socket before the edge looks.
    for burst in 0..8u32 {
        let numbers = burst * 2_500..(burst + 1) * 2_500;
        for number in numbers.clone() {
            peer.send_to(&numbered(number, 64), edge).unwrap();
        }
        let received = rig.receive(2_500);
        let received = received.iter().map(|datagram| number_of(&datagram.bytes));
        assert!(received.eq(numbers), "burst {burst} came out of order");
    }
    assert_eq!(rig.edge.counters().received_packets, 20_000);
    if rig.edge.kind() == EdgeKind::Uring {
        // The ring ran dry and was armed again, which is what this story is about.
        assert!(rig.edge.counters().receive_buffers_exhausted >= 8);
    }
    assert_eq!(rig.edge.kernel_drops(), 0);
}

/// Contracts.md 16: what a turn hands out lies in the kernel's buffers until the turn ends, so nothing that arrives
/// meanwhile can be written over it, and afterwards they take the rest.
pub(crate) fn receive_buffers_come_back_at_the_end_of_the_turn<E: OpenEdge>() {
    let config = EdgeConfig {
        receive_buffers: 16,
        ..EdgeConfig::default()
    };
    let mut rig = Rig::<E>::with(config, &SocketOptions::default());
    let peer = peer("127.0.0.1");
    let edge = rig.address("127.0.0.1");
    for number in 0..64 {
        peer.send_to(&numbered(number, 64), edge).unwrap();
    }
    let (mut received, mut turns) = (0, 0);
    while received < 64 {
        rig.edge.wait(Some(Clock::now() + PATIENCE)).unwrap();
        let mut lent = 0;
        while let Some(datagram) = rig.edge.next_datagram() {
            assert_eq!(number_of(datagram.bytes), received);
            (lent, received) = (lent + 1, received + 1);
        }
        if rig.edge.kind() == EdgeKind::Uring && lent == 16 {
            // 48 more lie in the socket, and no buffer is free.
            assert_eq!(rig.edge.wait(Some(Clock::now())).unwrap().datagrams, 0);
            assert!(rig.edge.next_datagram().is_none());
        }
        assert!(lent <= 16, "{lent} datagrams in 16 buffers");
        rig.edge.end_turn();
        turns += 1;
    }
    assert!(turns >= 4, "{turns} turns");
}

pub(crate) fn a_keyframe_of_a_hundred_packets_is_one_turn<E: OpenEdge>() {
    let mut rig = Rig::<E>::new();
    let peer = peer("127.0.0.1");
    let edge = rig.address("127.0.0.1");
    for number in 0..100 {
        peer.send_to(&numbered(number, 1_200), edge).unwrap();
    }
    // What came at once is handed out at once, or long runs to the viewers would be cut short.
    let turn = rig.edge.wait(Some(Clock::now() + PATIENCE)).unwrap();
    assert_eq!(turn.datagrams, 100);
}

pub(crate) fn memory_reused_hard_never_mixes_packets<E: OpenEdge>() {
    // Room for four runs of twelve, and a thousand of them in each flush.
    let config = EdgeConfig {
        slab_bytes: 1 << 16,
        sends: 64,
        ..EdgeConfig::default()
    };
    let mut rig = Rig::<E>::with(config, &SocketOptions::default());
    let peer = peer("127.0.0.1");
    let to_peer = rig.path("127.0.0.1", &peer);
    let (last, done) = (u32::MAX, mpsc::channel());
    // The receiver is slower than the sender, so the kernel drops most; what it delivers must be whole.
    let receiver = std::thread::spawn(move || {
        let (mut delivered, mut newest) = (0u32, 0);
        loop {
            let number = number_of(&receive_at(&peer).0);
            if number == last {
                done.0.send(()).unwrap();
                return delivered;
            }
            assert!(number >= newest, "{number} after {newest}");
            (delivered, newest) = (delivered + 1, number);
        }
    });
    let mut number = 0;
    for _flush in 0..2 {
        for _run in 0..1_000 {
            let packets: Vec<Vec<u8>> = (number..number + 12).map(|n| numbered(n, 1_200)).collect();
            rig.commit(&to_peer, &packets);
            number += 12;
        }
        rig.edge.submit().unwrap();
    }
    let deadline = Clock::now() + PATIENCE;
    while done.1.recv_timeout(Duration::from_millis(5)) == Err(mpsc::RecvTimeoutError::Timeout) {
        // The end may be dropped too, so it is repeated.
        rig.send(&to_peer, &[numbered(last, 8)]);
        assert!(Clock::now() < deadline, "the receiver did not see the end");
    }
    let delivered = receiver.join().unwrap();
    assert!(delivered > 1_000, "only {delivered} packets of {number}");
    assert_eq!(rig.edge.next_failure(), None);
    assert_eq!(rig.edge.counters().slab_exhausted, 0);
}

pub(crate) fn a_wake_ends_a_wait_without_a_deadline<E: OpenEdge>() {
    let mut rig = Rig::<E>::new();
    let waker = rig.waker.clone();
    let (mailbox, letters) = mpsc::channel();
    let sender = std::thread::spawn(move || {
        mailbox.send("order").unwrap();
        waker.wake();
    });
    let mut received = None;
    while received.is_none() {
        let turn = rig.edge.wait(None).unwrap();
        if turn.woken {
            received = letters.try_recv().ok();
        }
    }
    sender.join().unwrap();
    // A wake before the wait counts as well, and each only once.
    for _ in 0..3 {
        rig.waker.wake();
        rig.woken();
        let soon = Clock::now().plus_ms(2);
        assert!(!rig.edge.wait(Some(soon)).unwrap().woken);
    }
}

pub(crate) fn a_thousand_wakes_are_few_turns<E: OpenEdge>() {
    let mut rig = Rig::<E>::new();
    for _ in 0..1_000 {
        rig.waker.wake();
    }
    rig.woken();
    let soon = Clock::now().plus_ms(2);
    assert!(!rig.edge.wait(Some(soon)).unwrap().woken);
    assert_eq!(rig.edge.counters().wakes, 1);
    // From four threads at once none is lost: after the last message there is a turn that sees it.
    let (mailbox, letters) = mpsc::channel();
    let senders: Vec<_> = (0..4)
        .map(|_| {
            let (mailbox, waker) = (mailbox.clone(), rig.waker.clone());
            std::thread::spawn(move || {
                for letter in 0..1_000 {
                    mailbox.send(letter).unwrap();
                    waker.wake();
                }
            })
        })
        .collect();
    let mut read = 0;
    while read < 4_000 {
        rig.woken();
        read += letters.try_iter().count();
    }
    for sender in senders {
        sender.join().unwrap();
    }
    assert!(rig.edge.counters().wakes <= 4_001);
}

pub(crate) fn a_deadline_ends_a_wait<E: OpenEdge>() {
    let mut rig = Rig::<E>::new();
    for wait_us in [0, 1, 700, 3_000] {
        let deadline = Clock::now().plus_us(wait_us);
        let turn = rig.edge.wait(Some(deadline)).unwrap();
        assert!(turn.now >= deadline, "{wait_us} us");
        assert_eq!((turn.datagrams, turn.woken), (0, false));
    }
    let long_ago = dataplane_engine::time::Micros(1);
    rig.edge.wait(Some(long_ago)).unwrap();
}

pub(crate) fn a_datagram_ends_a_wait_before_its_deadline<E: OpenEdge>() {
    let mut rig = Rig::<E>::new();
    let peer = peer("127.0.0.1");
    let edge = rig.address("127.0.0.1");
    let deadline = Clock::now() + PATIENCE;
    let sender = std::thread::spawn(move || peer.send_to(b"check", edge).unwrap());
    let received = rig.receive(1);
    assert_eq!(received[0].bytes, b"check");
    assert!(Clock::now() < deadline);
    sender.join().unwrap();
}

pub(crate) fn arrival_is_when_the_kernel_received_it<E: OpenEdge>() {
    let mut rig = Rig::<E>::new();
    let peer = peer("127.0.0.1");
    let edge = rig.address("127.0.0.1");
    // The kernel switches its stamping on shortly after the first socket asks for it; until then it
    // stamps when a datagram is read.
    let deadline = Clock::now() + PATIENCE;
    loop {
        let before = Clock::now();
        peer.send_to(b"check", edge).unwrap();
        let after = Clock::now();
        // The datagram lies in the socket for a while.
        while Clock::now() < after.plus_ms(5) {
            std::hint::spin_loop();
        }
        let arrival = rig.receive(1)[0].arrival;
        // Two clocks are read one after the other; a preemption between the readings shifts the stamp.
        if arrival.plus_us(100) >= before && arrival <= after.plus_us(100) {
            return;
        }
        assert!(
            Clock::now() < deadline,
            "arrival {arrival:?}, sent {before:?} to {after:?}"
        );
    }
}

pub(crate) fn an_empty_datagram_stops_nothing<E: OpenEdge>() {
    let mut rig = Rig::<E>::new();
    let peer = peer("127.0.0.1");
    let edge = rig.address("127.0.0.1");
    for _ in 0..300 {
        peer.send_to(b"", edge).unwrap();
        peer.send_to(b"after", edge).unwrap();
    }
    let mut full = 0;
    while full < 300 {
        let received = rig.receive(1);
        full += received
            .iter()
            .filter(|datagram| datagram.bytes == b"after")
            .count();
    }
    assert_eq!(rig.edge.counters().receive_errors, 0);
}

pub(crate) fn an_oversized_datagram_is_counted_and_the_longest_is_not<E: OpenEdge>() {
    let mut rig = Rig::<E>::new();
    let peer = peer("127.0.0.1");
    let edge = rig.address("127.0.0.1");
    for len in [
        DATAGRAM_BYTES_MAX + 1,
        2_048,
        9_000,
        60_000,
        DATAGRAM_BYTES_MAX,
    ] {
        peer.send_to(&numbered(7, len), edge).unwrap();
    }
    let received = rig.receive(1);
    assert_eq!(received.len(), 1);
    assert_eq!(received[0].bytes.len(), DATAGRAM_BYTES_MAX);
    assert_eq!(number_of(&received[0].bytes), 7);
    let counters = rig.edge.counters();
    assert_eq!(
        (counters.received_packets, counters.received_oversized),
        (1, 4)
    );
}

pub(crate) fn a_refused_send_is_reported_once_with_its_run<E: OpenEdge>() {
    let mut rig = Rig::<E>::new();
    let peer = peer("127.0.0.1");
    let good = rig.path("127.0.0.1", &peer);
    // Broadcast without SO_BROADCAST is refused with EACCES.
    let bad = Path {
        local: Ipv4Addr::LOCALHOST.into(),
        remote: SocketAddr::from((Ipv4Addr::BROADCAST, 9)),
        socket: SocketIndex::UDP_V4,
    };
    let packets = |count: u32| (0..count).map(|n| numbered(n, 100)).collect::<Vec<_>>();
    rig.commit(&good, &packets(2));
    let first = rig.commit(&bad, &packets(5));
    rig.commit(&good, &packets(2));
    let second = rig.commit(&bad, &packets(1));
    rig.commit(&good, &packets(2));
    rig.edge.submit().unwrap();
    let refused = |run, packets| {
        Some(SendFailed {
            path: bad,
            run,
            packets,
            kind: SendFailure::Refused,
        })
    };
    assert_eq!(rig.edge.next_failure(), refused(first.run, 5));
    assert_eq!(rig.edge.next_failure(), refused(second.run, 1));
    assert_eq!(rig.edge.next_failure(), None);
    for expected in [0, 1, 0, 1, 0, 1] {
        assert_eq!(number_of(&receive_at(&peer).0), expected);
    }
    assert_eq!(rig.edge.counters().dropped_refused, 6);
    assert_eq!(rig.edge.egress(&bad).segments_max, 48);
}

pub(crate) fn a_run_dropped_without_commit_sends_nothing<E: OpenEdge>() {
    let mut rig = Rig::<E>::new();
    let peer = peer("127.0.0.1");
    let to_peer = rig.path("127.0.0.1", &peer);
    let mut run = rig.edge.run(&to_peer, 100, 3).unwrap();
    run.slot(100).fill(1);
    drop(run);
    let sent_before = Clock::now();
    let sent = rig.send(&to_peer, &[numbered(5, 50)]);
    assert!(sent.at >= sent_before && sent.at <= Clock::now());
    assert_eq!(number_of(&receive_at(&peer).0), 5);
    assert_silent(&peer);
}

pub(crate) fn a_port_in_use_is_named_and_free_when_the_edge_is_gone<E: OpenEdge>() {
    let rig = Rig::<E>::new();
    let impatient = SocketOptions {
        patience: Duration::ZERO,
        ..SocketOptions::default()
    };
    let error = ShardSockets::bind(rig.port, &impatient).unwrap_err();
    let (port, family) = (rig.port, Family::V4);
    assert!(
        matches!(error, BindError::PortInUse { port: p, family: f } if (p, f) == (port, family)),
        "{error}"
    );
    assert!(error.to_string().contains(&port.to_string()), "{error}");
    drop(rig);
    let again = ShardSockets::bind(port, &impatient).unwrap();
    assert_eq!(again.port(), port);
}
