//! DTLS: records of a peer that ICE has validated, and two machines with a hostile wire between them
//! (security.md D2 to D5).

use std::cell::RefCell;
use std::collections::VecDeque;
use std::time::Instant;

use dataplane_api::command::Fingerprint;
use dataplane_api::ids::SessionId;
use dataplane_engine::time::Micros;
use dataplane_engine::transport::handshake::{
    HandshakeInput, HandshakeOutput, Handshakes, Identity, Role,
};
use dataplane_engine::transport::keys::SrtpKeys;

use super::OCTETS;
use crate::behaviour;
use crate::input::Input;
use crate::runner::Target;
use crate::vectors;

const SESSION: SessionId = SessionId(7);

/// Octets that may leave for an association that never completes, whatever comes: a flight is below 2 KiB
/// and is repeated at most eight times within the deadline, doubled for what the client repeats.
const UNKEYED_OCTETS_MAX: usize = 48 * 1_024;

pub(super) fn targets() -> Vec<Target> {
    vec![
        Target {
            name: "dtls_record",
            run: dtls_record,
            seeds: record_seeds,
            length_max: 6_000,
            // The intake of an association (32 KiB) and the machine around it.
            allocation_max: Some(512 * 1_024),
            executions: 4_000,
            words: &[
                &[0x16, 0xfe, 0xfd, 0, 0],
                &[0x16, 0xfe, 0xff, 0, 0],
                &[0x14, 0xfe, 0xfd],
                &[0x15, 0xfe, 0xfd],
                &[0x17, 0xfe, 0xfd, 0, 1],
                &[0, 0, 0, 0, 0, 0, 0],
            ],
            ..OCTETS
        },
        Target {
            name: "dtls_handshake",
            run: dtls_handshake,
            seeds: || {
                vec![
                    vec![0; 16],
                    // Lost, doubled, swapped, cut and flipped, one after the other.
                    vec![1, 0, 2, 0, 3, 0, 4, 40, 5, 9, 9, 0, 0, 0],
                    vec![
                        0, 0, 0, 0, 0, 6, 20, 0x16, 0xfe, 0xfd, 0, 0, 0, 0, 0, 0, 0, 0, 0, 5, 1, 2,
                        3, 4, 5,
                    ],
                    vec![1; 24],
                    (0..60).collect(),
                ]
            },
            length_max: 300,
            allocation_max: None,
            executions: 600,
            words: &[&[0x15, 0xfe, 0xfd, 0, 0, 0, 0, 0, 0, 0, 0, 0, 2, 2, 40]],
            ..OCTETS
        },
    ]
}

fn record_seeds() -> Vec<Vec<u8>> {
    let datagrams = vectors::octets(&[
        "dataplane/engine/tests/vectors/dtls/malformed_and_edge.json",
        "dataplane/engine/tests/vectors/dtls/named_crate_crashes.json",
        "dataplane/engine/tests/vectors/dtls/pion_dtls_record.jsonl",
        "dataplane/engine/tests/vectors/dtls/pion_dtls_ext.jsonl",
    ]);
    let framed = |datagram: &Vec<u8>| {
        let len = u16::try_from(datagram.len().min(2_047)).expect("below 2,048");
        [&[1][..], &len.to_be_bytes(), datagram].concat()
    };
    let mut seeds: Vec<Vec<u8>> = datagrams.iter().map(framed).collect();
    let hello = client_hello();
    // A good beginning, once, twice, and in front of what is not good.
    seeds.push(framed(&hello));
    seeds.push([framed(&hello), framed(&hello)].concat());
    let spoilt: Vec<_> = seeds
        .iter()
        .take(12)
        .map(|seed| [framed(&hello), seed.clone()].concat())
        .collect();
    seeds.extend(spoilt);
    seeds
}

/// A ClientHello of our own machine.
fn client_hello() -> Vec<u8> {
    let mut client = machine(0);
    client.on_input(Micros(0), start(Role::Client, identity(1).fingerprint()));
    match client.poll_output() {
        Some(HandshakeOutput::Flight { datagrams, .. }) => datagrams
            .first()
            .map(|datagram| datagram.to_vec())
            .unwrap_or_default(),
        _ => Vec::new(),
    }
}

thread_local! {
    static IDENTITIES: RefCell<Vec<Identity>> = const { RefCell::new(Vec::new()) };
}

/// One of two identities. Making one costs more than most executions.
fn identity(which: usize) -> Identity {
    IDENTITIES.with_borrow_mut(|made| {
        while made.len() <= which {
            made.push(Identity::generate().expect("the crypto library works"));
        }
        made[which].clone()
    })
}

fn machine(which: usize) -> Handshakes {
    Handshakes::new(identity(which), Instant::now())
}

fn start(role: Role, fingerprint: Fingerprint) -> HandshakeInput {
    HandshakeInput::Start {
        session: SESSION,
        role,
        fingerprint,
    }
}

/// Datagrams of a peer that has no certificate and no key, with time between them.
pub fn dtls_record(bytes: &[u8]) {
    let mut input = Input::new(bytes);
    let mut server = machine(0);
    let mut now = Micros(1_000_000);
    let role = if input.u8() & 0x80 == 0 {
        Role::Server
    } else {
        Role::Client
    };
    server.on_input(now, start(role, identity(1).fingerprint()));
    let mut octets = 0;
    let mut datagrams = 0;
    let mut over = drain(&mut server, &mut octets);
    while !input.is_empty() && datagrams < 200 {
        let datagram = input.long();
        datagrams += 1;
        server.on_input(
            now,
            HandshakeInput::Record {
                session: SESSION,
                bytes: datagram.into(),
            },
        );
        over |= drain(&mut server, &mut octets);
        now = now.plus_ms(u64::from(input.u8()));
        if server.next_deadline().is_some_and(|due| due <= now) {
            server.on_timeout(now);
            over |= drain(&mut server, &mut octets);
            assert!(
                server.next_deadline().is_none_or(|due| due > now),
                "a deadline that does not move"
            );
        }
        assert_eq!(
            server.len(),
            usize::from(!over),
            "one association while it lasts"
        );
    }
    assert!(
        octets <= UNKEYED_OCTETS_MAX,
        "{octets} octets to somebody without a key"
    );
    let counters = server.counters();
    behaviour::size("octets", octets);
    behaviour::size(
        "refused",
        usize::try_from(counters.refused).unwrap_or(usize::MAX),
    );
    behaviour::note("over", u64::from(over));
    // It ends by itself.
    for _ in 0..64 {
        let Some(due) = server.next_deadline() else {
            break;
        };
        now = now.max(due);
        server.on_timeout(now);
        drain(&mut server, &mut octets);
    }
    assert!(
        server.is_empty(),
        "an association without keys outlived its deadline"
    );
}

/// Counts what leaves; whether the association is over.
fn drain(server: &mut Handshakes, octets: &mut usize) -> bool {
    let mut over = false;
    while let Some(output) = server.poll_output() {
        match output {
            HandshakeOutput::Flight { datagrams, .. } => {
                assert!(datagrams.iter().all(|datagram| datagram.len() <= 1_200));
                *octets += datagrams
                    .iter()
                    .map(|datagram| datagram.len())
                    .sum::<usize>();
            }
            HandshakeOutput::Keyed { .. } => panic!("keys for somebody without a certificate"),
            HandshakeOutput::Failed { reason, .. } => {
                behaviour::outcome("failed", &reason);
                over = true;
            }
            HandshakeOutput::PeerClosed { .. } => over = true,
        }
    }
    over
}

#[derive(Default)]
struct End {
    keys: Option<SrtpKeys>,
    over: bool,
}

/// Two machines whose datagrams are lost, doubled, kept back, cut, flipped or made up, as the input says.
/// Keys are agreed by both or by none, and a wire that behaves at last brings the join.
pub fn dtls_handshake(bytes: &[u8]) {
    let mut input = Input::new(bytes);
    let mut now = Micros(1_000_000);
    let (mut server, mut client) = (machine(0), machine(1));
    let (mut at_server, mut at_client) = (End::default(), End::default());
    let mut wire: VecDeque<(Role, Box<[u8]>)> = VecDeque::new();
    let mut forged = false;
    let mut lost = 0;
    server.on_input(now, start(Role::Server, client.fingerprint()));
    client.on_input(now, start(Role::Client, server.fingerprint()));
    collect(&mut server, Role::Server, &mut at_server, &mut wire);
    collect(&mut client, Role::Client, &mut at_client, &mut wire);
    for _ in 0..400 {
        let Some((from, datagram)) = wire.pop_front() else {
            let next = [server.next_deadline(), client.next_deadline()];
            let Some(next) = next.into_iter().flatten().min() else {
                break;
            };
            now = now.max(next);
            server.on_timeout(now);
            client.on_timeout(now);
            collect(&mut server, Role::Server, &mut at_server, &mut wire);
            collect(&mut client, Role::Client, &mut at_client, &mut wire);
            continue;
        };
        let mut datagrams = Vec::new();
        // Past its end the input is zeros: a wire that behaves.
        match input.u8() % 8 {
            1 => lost += 1,
            2 => datagrams.extend([datagram.clone(), datagram]),
            3 => {
                wire.push_back((from, datagram));
                if wire.len() == 1 {
                    datagrams.extend(wire.pop_front().map(|(_, datagram)| datagram));
                }
            }
            4 => {
                let len = usize::from(input.u8()) * 4;
                lost += 1;
                datagrams.push(datagram.iter().copied().take(len).collect());
            }
            5 => {
                let (at, bit) = (usize::from(input.u8()) * 5, input.u8() % 8);
                let mut flipped = datagram;
                if let Some(octet) = flipped.get_mut(at) {
                    *octet ^= 1 << bit;
                    forged = true;
                }
                datagrams.push(flipped);
            }
            6 => {
                datagrams.extend([input.short().into(), datagram]);
                forged = true;
            }
            _ => datagrams.push(datagram),
        }
        for bytes in datagrams {
            let record = HandshakeInput::Record {
                session: SESSION,
                bytes,
            };
            match from {
                Role::Client => {
                    server.on_input(now, record);
                    collect(&mut server, Role::Server, &mut at_server, &mut wire);
                }
                Role::Server => {
                    client.on_input(now, record);
                    collect(&mut client, Role::Client, &mut at_client, &mut wire);
                }
            }
        }
    }
    behaviour::note(
        "server",
        u64::from(at_server.keys.is_some()) << 1 | u64::from(at_server.over),
    );
    behaviour::note(
        "client",
        u64::from(at_client.keys.is_some()) << 1 | u64::from(at_client.over),
    );
    if let (Some(ours), Some(theirs)) = (&at_server.keys, &at_client.keys) {
        assert_eq!(ours.profile, theirs.profile);
        assert_eq!(
            (ours.local.key(), ours.local.salt()),
            (theirs.remote.key(), theirs.remote.salt())
        );
        assert_eq!(
            (ours.remote.key(), ours.remote.salt()),
            (theirs.local.key(), theirs.local.salt())
        );
    }
    // Loss, doubling, cutting and disorder are what DTLS is made for; a forger may end a handshake, which
    // is plaintext until its last message, but nothing else may. Four flights may be lost in a row before
    // the deadline: 200 ms x (2^5 - 1) < 10 s < 200 ms x (2^6 - 1).
    if !forged && lost <= 4 {
        assert!(
            at_server.keys.is_some() && at_client.keys.is_some(),
            "the wire behaved at last and nobody joined"
        );
    }
}

fn collect(
    machine: &mut Handshakes,
    role: Role,
    end: &mut End,
    wire: &mut VecDeque<(Role, Box<[u8]>)>,
) {
    while let Some(output) = machine.poll_output() {
        match output {
            HandshakeOutput::Flight { datagrams, .. } => {
                wire.extend(datagrams.into_iter().map(|datagram| (role, datagram)));
            }
            HandshakeOutput::Keyed { keys, flight, .. } => {
                assert!(end.keys.is_none(), "keyed twice");
                end.keys = Some(keys);
                wire.extend(flight.into_iter().map(|datagram| (role, datagram)));
            }
            HandshakeOutput::Failed { .. } | HandshakeOutput::PeerClosed { .. } => end.over = true,
        }
    }
}
