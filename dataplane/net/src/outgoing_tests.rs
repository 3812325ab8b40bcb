use std::net::UdpSocket;
use std::time::Duration;

use super::*;
use crate::socket::SocketOptions;

const SEGMENT: usize = 100;

/// A receiver on loopback and an outgoing half that sends to it.
fn rig(slab_bytes: usize, sends: usize) -> (Outgoing, Path, UdpSocket, ShardSockets) {
    let sockets = ShardSockets::bind(0, &SocketOptions::default()).unwrap();
    let config = EdgeConfig {
        slab_bytes,
        sends,
        ..EdgeConfig::default()
    };
    let outgoing = Outgoing::new(&sockets, &config);
    let receiver = UdpSocket::bind("127.0.0.1:0").unwrap();
    receiver
        .set_read_timeout(Some(Duration::from_secs(5)))
        .unwrap();
    let path = Path {
        local: "127.0.0.1".parse().unwrap(),
        remote: receiver.local_addr().unwrap(),
        socket: SocketIndex::UDP_V4,
    };
    (outgoing, path, receiver, sockets)
}

fn commit(outgoing: &mut Outgoing, path: &Path, packets: usize) -> Sent {
    let mut run = outgoing.lend(path, SEGMENT, packets).unwrap();
    for packet in 0..packets {
        run.slot(SEGMENT).fill(u8::try_from(packet).unwrap());
    }
    run.commit()
}

fn arrived(receiver: &UdpSocket, packets: usize) {
    for packet in 0..packets {
        let mut bytes = [0; 2_000];
        let len = receiver.recv(&mut bytes).unwrap();
        assert_eq!(bytes[..len], [u8::try_from(packet).unwrap(); SEGMENT]);
    }
}

#[test]
fn a_run_refused_as_too_large_is_sent_singly_and_its_path_remembered() {
    for errno in [libc::EMSGSIZE, libc::EINVAL] {
        let (mut outgoing, path, receiver, _sockets) = rig(1 << 16, 8);
        commit(&mut outgoing, &path, 5);
        assert!(outgoing.message(0).is_some());
        outgoing.on_refused(0, errno);
        outgoing.settle();
        arrived(&receiver, 5);
        assert_eq!(outgoing.next_failure(), None);
        assert_eq!(outgoing.egress(&path).segments_max, 1);
        let other = Path {
            remote: "127.0.0.1:9".parse().unwrap(),
            ..path
        };
        assert_eq!(outgoing.egress(&other).segments_max, 48);
        assert_eq!(outgoing.counters.sent_unsegmented, 1);
        assert_eq!(outgoing.counters.fallback_paths, 1);
    }
}

#[test]
fn eio_switches_segmentation_off_for_the_local_address() {
    let (mut outgoing, path, receiver, _sockets) = rig(1 << 16, 8);
    commit(&mut outgoing, &path, 3);
    outgoing.message(0);
    outgoing.on_refused(0, libc::EIO);
    outgoing.settle();
    arrived(&receiver, 3);
    let other = Path {
        remote: "127.0.0.1:9".parse().unwrap(),
        ..path
    };
    assert_eq!(outgoing.egress(&other).segments_max, 1);
    assert_eq!(outgoing.unsegmented_addresses(), [path.local]);
}

#[test]
fn a_run_committed_after_its_path_was_marked_is_sent_singly_too() {
    let (mut outgoing, path, receiver, _sockets) = rig(1 << 16, 8);
    commit(&mut outgoing, &path, 2);
    outgoing.message(0);
    outgoing.on_refused(0, libc::EMSGSIZE);
    outgoing.settle();
    arrived(&receiver, 2);
    commit(&mut outgoing, &path, 4);
    assert!(outgoing.message(0).is_none());
    outgoing.settle();
    arrived(&receiver, 4);
    assert_eq!(outgoing.next_failure(), None);
}

#[test]
fn segmentation_is_not_blamed_when_single_packets_fail_as_well() {
    let (mut outgoing, path, _receiver, _sockets) = rig(1 << 16, 8);
    // Port 0 is refused with EINVAL however it is sent to.
    let nowhere = Path {
        remote: "127.0.0.1:0".parse().unwrap(),
        ..path
    };
    let sent = commit(&mut outgoing, &nowhere, 5);
    outgoing.message(0);
    outgoing.on_refused(0, libc::EINVAL);
    outgoing.settle();
    let failed = outgoing.next_failure().unwrap();
    assert_eq!(failed.run, sent.run);
    assert_eq!((failed.packets, failed.kind), (5, SendFailure::Refused));
    assert_eq!(outgoing.egress(&nowhere).segments_max, 48);
    assert_eq!(outgoing.counters.dropped_refused, 5);
}

#[test]
fn each_error_has_its_failure_and_its_counter() {
    let (mut outgoing, path, _receiver, _sockets) = rig(1 << 16, 8);
    for (errno, kind) in [
        (libc::EAGAIN, SendFailure::WouldBlock),
        (libc::ENOBUFS, SendFailure::WouldBlock),
        (libc::EPERM, SendFailure::Refused),
        (libc::ENETUNREACH, SendFailure::Refused),
    ] {
        let sent = commit(&mut outgoing, &path, 3);
        outgoing.on_refused(0, errno);
        outgoing.settle();
        let expected = SendFailed {
            path,
            run: sent.run,
            packets: 3,
            kind,
        };
        assert_eq!(outgoing.next_failure(), Some(expected));
    }
    let sent = commit(&mut outgoing, &path, 1);
    outgoing.on_refused(0, libc::EMSGSIZE);
    outgoing.settle();
    let failed = outgoing.next_failure().unwrap();
    assert_eq!((failed.run, failed.kind), (sent.run, SendFailure::TooLarge));
    let counters = outgoing.counters;
    assert_eq!(counters.dropped_would_block, 3);
    assert_eq!(counters.dropped_no_buffers, 3);
    assert_eq!(counters.dropped_refused, 6);
    assert_eq!(counters.dropped_too_large, 1);
}

#[test]
fn a_full_slab_a_full_queue_and_a_held_submit_lend_nothing() {
    let (mut outgoing, path, _receiver, _sockets) = rig(RUN_BYTES_MAX, 2);
    assert!(outgoing.has_room(RUN_BYTES_MAX));
    assert!(!outgoing.has_room(RUN_BYTES_MAX + 1));
    commit(&mut outgoing, &path, 48);
    assert!(outgoing.lend(&path, 1_364, 48).is_none());
    commit(&mut outgoing, &path, 1);
    assert!(outgoing.lend(&path, 1, 1).is_none());
    assert_eq!(outgoing.counters.slab_exhausted, 2);
    outgoing.settle();
    assert!(outgoing.lend(&path, 1_364, 48).is_some());
    outgoing.held = true;
    assert!(outgoing.lend(&path, 1, 1).is_none());
}

#[test]
fn a_run_that_is_not_committed_takes_no_space() {
    let (mut outgoing, path, _receiver, _sockets) = rig(RUN_BYTES_MAX, 2);
    for _ in 0..10 {
        let mut run = outgoing.lend(&path, 1_300, 48).unwrap();
        run.slot(1_300).fill(1);
    }
    assert_eq!(outgoing.len(), 0);
    let empty = outgoing.lend(&path, 1_300, 48).unwrap().commit();
    assert_eq!(outgoing.len(), 0);
    let next = commit(&mut outgoing, &path, 1);
    assert_ne!(empty.run, next.run);
}

#[test]
fn a_path_without_a_socket_is_lent_nothing() {
    let (mut outgoing, path, _receiver, _sockets) = rig(1 << 16, 2);
    let relay = Path {
        socket: SocketIndex(7),
        ..path
    };
    assert!(outgoing.lend(&relay, 100, 1).is_none());
}

#[test]
#[should_panic(expected = "a packet of 101 bytes in a run of 100 byte segments")]
fn a_longer_last_packet_panics() {
    let (mut outgoing, path, _receiver, _sockets) = rig(1 << 16, 2);
    let mut run = outgoing.lend(&path, SEGMENT, 2).unwrap();
    run.slot(SEGMENT).fill(0);
    run.slot(SEGMENT + 1).fill(0);
}

#[test]
#[should_panic(expected = "only the last of a run may be shorter")]
fn a_packet_after_a_shorter_one_panics() {
    let (mut outgoing, path, _receiver, _sockets) = rig(1 << 16, 2);
    let mut run = outgoing.lend(&path, SEGMENT, 3).unwrap();
    run.slot(SEGMENT - 1).fill(0);
    run.slot(SEGMENT).fill(0);
}

#[test]
#[should_panic(expected = "the run was lent for 1 packets")]
fn more_packets_than_asked_for_panic() {
    let (mut outgoing, path, _receiver, _sockets) = rig(1 << 16, 2);
    let mut run = outgoing.lend(&path, SEGMENT, 1).unwrap();
    run.slot(SEGMENT).fill(0);
    run.slot(SEGMENT).fill(0);
}

#[test]
#[should_panic(expected = "a run has 1 to 48 packets")]
fn a_run_of_49_panics() {
    let (mut outgoing, path, _receiver, _sockets) = rig(1 << 16, 2);
    let _ = outgoing.lend(&path, SEGMENT, 49);
}

#[test]
#[should_panic(expected = "a run has 1 to 65507 bytes")]
fn a_run_longer_than_a_datagram_panics() {
    let (mut outgoing, path, _receiver, _sockets) = rig(1 << 16, 2);
    let _ = outgoing.lend(&path, 1_365, 48);
}
