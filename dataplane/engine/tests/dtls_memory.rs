//! What forged records make the node remember (security.md D3). A test binary of its own, because it reads the
//! memory of its process.

#![allow(clippy::unwrap_used, reason = "a test states what must be by failing")]
#![cfg(target_os = "linux")]

mod dtls_peers;
mod vector_files;

use dtls_peers::{From, World};
use vector_files::{hex, json};

/// A hundred thousand fragment bombs against a server in the middle of its handshake and one that waits for it, the
/// published ones and those that count: 1 MiB at most, and none of it stays when the association ends.
#[test]
fn a_hundred_thousand_fragment_bombs_leave_nothing() {
    let published = json("dtls/malformed_and_edge.json");
    let published = published["cases"].as_array().unwrap().iter();
    let published: Vec<Vec<u8>> = published
        .filter(|case| case["name"].as_str().unwrap().contains("frag"))
        .map(|case| hex(&case["hex"]))
        .collect();
    assert!(published.len() >= 4, "{} bombs", published.len());
    let bomb = |number: u32| -> Box<[u8]> {
        let index = usize::try_from(number).unwrap();
        match number % 3 {
            0 => published[index / 3 % published.len()].clone().into(),
            1 => fragment(number, 1, 0, 1),
            _ => fragment(number, 11, 1, 1_100),
        }
    };
    let attack = |world: &mut World, bombs| {
        for number in 0..bombs {
            world.deliver(From::Client, bomb(number));
        }
    };
    let mut worlds = [World::started(), World::started()];
    // One server has answered, the other has heard nothing.
    let [answered, _] = &mut worlds;
    answered.run(answered.now, |from, datagram| {
        if from == From::Client {
            vec![datagram]
        } else {
            vec![]
        }
    });
    for world in &mut worlds {
        attack(world, 1_000);
    }
    let before = resident_bytes();
    for world in &mut worlds {
        attack(world, 50_000);
    }
    let grown = resident_bytes().saturating_sub(before);
    assert!(grown <= 1 << 20, "{grown} bytes more");
}

/// A part of a 16 KiB message, another one each time.
fn fragment(number: u32, message_type: u8, message_seq: u16, len: u16) -> Box<[u8]> {
    let be24 = |n: u32| n.to_be_bytes()[1..].to_vec();
    let mut datagram = vec![22, 0xfe, 0xfd, 0, 0, 0, 0];
    datagram.extend(number.to_be_bytes());
    datagram.extend((12 + len).to_be_bytes());
    datagram.push(message_type);
    datagram.extend(be24(0x4000));
    datagram.extend(message_seq.to_be_bytes());
    datagram.extend(be24(number % 0x3000));
    datagram.extend(be24(len.into()));
    datagram.resize(datagram.len() + usize::from(len), 0xaa);
    datagram.into()
}

/// What of this process is in memory.
fn resident_bytes() -> usize {
    let statm = std::fs::read_to_string("/proc/self/statm").unwrap();
    let pages: usize = statm.split(' ').nth(1).unwrap().parse().unwrap();
    pages * 4_096
}
