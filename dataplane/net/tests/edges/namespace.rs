//! Stories that need a network of their own: a small MTU, a link that leads nowhere. They run in a network namespace
//! and are skipped, and say so, without the right to make one.

use std::net::UdpSocket;
use std::process::Command;

use dataplane_engine::outbox::SendFailure;
use dataplane_engine::packet::Path;
use dataplane_net::{EdgeConfig, SocketOptions};

use crate::rig::{OpenEdge, PATIENCE, Rig, number_of, numbered, path, receive_at};

/// Runs a story on a thread inside a fresh network namespace after `setup`, whose lines are commands.
fn in_a_namespace(setup: &'static [&'static str], story: fn()) {
    let thread = std::thread::spawn(move || {
        // SAFETY: unshare takes no pointers; a new network namespace concerns only this thread, which
        // ends with the story.
        if unsafe { libc::unshare(libc::CLONE_NEWNET) } != 0 {
            let error = std::io::Error::last_os_error();
            eprintln!("skipped: no network namespace: {error}");
            return;
        }
        for line in setup.iter().chain(&DEAD_END) {
            let mut words = line.split_whitespace();
            let mut command = Command::new(words.next().expect("a command has a name"));
            match command.args(words).status() {
                Ok(status) if status.success() => {}
                outcome => {
                    eprintln!("skipped: `{line}`: {outcome:?}");
                    return;
                }
            }
        }
        story();
    });
    thread.join().unwrap();
}

fn peer() -> UdpSocket {
    let peer = UdpSocket::bind("127.0.0.1:0").unwrap();
    peer.set_read_timeout(Some(PATIENCE)).unwrap();
    peer
}

/// A link whose far end has no address: what is sent to a neighbour there waits for an answer to ARP
/// that never comes, and counts against the socket's send buffer meanwhile.
const DEAD_END: [&str; 4] = [
    "ip link add d0 type veth peer name d1",
    "ip link set d0 up",
    "ip link set d1 up",
    "ip address add 10.9.0.1/24 dev d0",
];

fn dead_end() -> Path {
    path("10.9.0.1".parse().unwrap(), "10.9.0.2:9".parse().unwrap())
}

pub(crate) fn a_route_with_a_small_mtu_costs_one_path_its_segmentation<E: OpenEdge>() {
    in_a_namespace(&["ip link set lo mtu 1000 up"], || {
        let mut rig = Rig::<E>::new();
        let (small, other) = (peer(), peer());
        let to_small = rig.path("127.0.0.1", &small);
        let to_other = rig.path("127.0.0.1", &other);
        let wide = dead_end();
        let packets: Vec<Vec<u8>> = (0..12).map(|n| numbered(n, 1_200)).collect();
        rig.commit(&wide, &packets);
        rig.commit(&to_small, &packets);
        rig.commit(&wide, &packets);
        rig.edge.submit().unwrap();
        // Every packet arrives, in fragments.
        for number in 0..12 {
            assert_eq!(number_of(&receive_at(&small).0), number);
        }
        assert_eq!(rig.edge.next_failure(), None);
        assert_eq!(rig.edge.egress(&to_small).segments_max, 1);
        assert_eq!(rig.edge.egress(&to_other).segments_max, 48);
        assert_eq!(rig.edge.egress(&wide).segments_max, 48);
        let counters = *rig.edge.counters();
        assert_eq!(
            (counters.fallback_paths, counters.fallback_interfaces),
            (1, 0)
        );
        assert_eq!((counters.sent_segmented, counters.sent_unsegmented), (3, 1));
    });
}

pub(crate) fn a_full_socket_drops_the_run_and_says_so<E: OpenEdge>() {
    in_a_namespace(&["ip link set lo up"], || {
        let options = SocketOptions {
            send_buffer_bytes: 48 << 10,
            ..SocketOptions::default()
        };
        let mut rig = Rig::<E>::with(EdgeConfig::default(), &options);
        let packets: Vec<Vec<u8>> = (0..12).map(|n| numbered(n, 1_200)).collect();
        let runs: Vec<_> = (0..100)
            .map(|_| rig.commit(&dead_end(), &packets).run)
            .collect();
        rig.edge.submit().unwrap();
        let mut failed = Vec::new();
        while let Some(failure) = rig.edge.next_failure() {
            assert_eq!(
                (failure.packets, failure.kind),
                (12, SendFailure::WouldBlock)
            );
            failed.push(failure.run);
        }
        // The first runs fit, and once the socket is full none does.
        assert!(
            !failed.is_empty() && failed.len() < runs.len(),
            "{failed:?}"
        );
        assert_eq!(failed, runs[runs.len() - failed.len()..]);
        let counters = *rig.edge.counters();
        assert_eq!(counters.dropped_would_block, 12 * failed.len() as u64);
        assert_eq!(counters.fallback_paths, 0);
        // The send memory is free again although nothing of it has left the host.
        assert!(rig.edge.run(&dead_end(), 1_200, 48).is_some());
    });
}
