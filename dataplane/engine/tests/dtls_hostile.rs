//! Hostile records on a validated path: published corpora, crash inputs and mutations against the
//! machine before, during and after a handshake (security.md D2 to D5).

#![allow(clippy::unwrap_used, reason = "a test states what must be by failing")]

mod dtls_peers;
mod vector_files;

use dataplane_api::ids::SessionId;
use dataplane_engine::time::Micros;
use dataplane_engine::transport::handshake::{
    HALF_OPEN_MAX, HANDSHAKE_DEADLINE_US, HandshakeInput, HandshakeOutput, Handshakes, Role,
};
use dtls_peers::{From, World, machine, perfect};
use serde_json::Value;
use vector_files::{hex, json, text};

#[test]
fn no_input_panics_a_machine_in_any_state() {
    let inputs = inputs();
    assert!(inputs.len() > 100, "the corpora are there");
    for input in &inputs {
        // Nothing happened yet.
        let mut world = World::started();
        world.deliver(From::Client, input.bytes());
        world.deliver(From::Server, input.bytes());

        // In the middle: before each datagram of the handshake.
        let mut world = World::started();
        let end = world.seconds(1);
        world.run(end, |_, datagram| vec![input.bytes(), datagram]);
    }
}

/// Security.md D2: none of it is authentic, so none of it ends a join. The one thing that cannot be told from the
/// peer is a ClientHello that is well-formed and first.
#[test]
fn garbage_before_and_during_a_handshake_does_not_stop_it() {
    let mut first_hellos = 0;
    for input in inputs() {
        let mut world = World::started();
        world.deliver(From::Server, input.bytes());
        if is_answered(&input) {
            first_hellos += 1;
        } else {
            world.deliver(From::Client, input.bytes());
        }
        let end = world.seconds(9);
        world.run(end, |_, datagram| {
            vec![datagram, input.bytes(), input.bytes()]
        });
        assert!(world.at_server.keys.is_some(), "{}", input.name);
        assert!(world.at_client.keys.is_some(), "{}", input.name);
    }
    assert!(first_hellos < 5, "{first_hellos}");
}

/// Security.md D1 and D2: a forged beginning of a ClientHello, or a whole one that no handshake can follow, would lie
/// in the way of the peer's own until the deadline.
#[test]
fn a_whole_client_hello_begins_anew_whatever_came_before() {
    let hello = client_hello();
    let mut forged: Vec<Vec<u8>> = Vec::new();
    // Its first bytes as a fragment of a longer one.
    let mut fragment = hello[..60].to_vec();
    fragment[11..13].copy_from_slice(&47_u16.to_be_bytes());
    fragment[22..25].copy_from_slice(&[0, 0, 35]);
    forged.push(fragment);
    // Its cipher suites, versions and extensions in pieces: every byte of the body set to zero in turn.
    forged.extend((25..hello.len()).map(|at| {
        let mut broken = hello.to_vec();
        broken[at] = 0;
        broken
    }));
    let mut started_over = 0;
    for bytes in forged {
        let input = Input {
            name: String::new(),
            bytes,
        };
        if is_answered(&input) {
            continue;
        }
        let mut world = World::started();
        for _ in 0..3 {
            world.deliver(From::Client, input.bytes());
        }
        world.run(world.seconds(9), perfect);
        assert!(world.at_server.keys.is_some(), "{:02x?}", input.bytes);
        started_over += world.server.counters().started_over;
    }
    assert!(started_over > 10, "{started_over}");
}

/// And that is no way to keep a worker busy: the records of a session are bounded a second in front of it, and the
/// starts of an association for good.
#[test]
fn starting_over_has_an_end() {
    let hello = client_hello();
    // DTLS 1.0, which ends the machine, and no cipher suite (RFC 5246 section 7.4.1.2), which it waits out.
    let mut old = hello.to_vec();
    old[25..27].copy_from_slice(&[0xfe, 0xff]);
    let mut without_suites = hello.to_vec();
    let suites_at = 13 + 12 + 2 + 32 + 1 + 1;
    let suites = usize::from(u16::from_be_bytes([hello[suites_at], hello[suites_at + 1]]));
    without_suites[suites_at + 2..suites_at + 2 + suites].fill(0);
    for bytes in [old, without_suites] {
        let mut world = World::started();
        for _ in 0..1_000 {
            world.deliver(From::Client, bytes.clone().into());
        }
        assert_eq!(world.server.counters().started_over, 64);
        world.run(world.seconds(20), |_, _| vec![]);
        assert!(world.at_server.failed.is_some() && world.server.is_empty());
    }
}

#[test]
fn nothing_injected_ends_or_wakes_a_completed_association() {
    let mut world = World::started();
    let mut recorded = Vec::new();
    let end = world.seconds(1);
    world.run(end, |from, datagram| {
        recorded.push((from, datagram.clone()));
        vec![datagram]
    });
    let flights = (world.at_server.flights, world.at_client.flights);

    for input in inputs() {
        world.deliver(From::Client, input.bytes());
        world.deliver(From::Server, input.bytes());
    }
    for hello in json("dtls/malformed_and_edge.json")["cases"]
        .as_array()
        .unwrap()
    {
        world.deliver(From::Client, hex(&hello["hex"]).into());
    }
    assert_eq!((world.at_server.flights, world.at_client.flights), flights);

    // A replay of the whole handshake, to both.
    for (from, datagram) in recorded {
        world.deliver(from, datagram);
    }
    assert!(world.at_server.failed.is_none() && !world.at_server.peer_closed);
    assert!(world.at_client.failed.is_none() && !world.at_client.peer_closed);

    // It is the association it was: an authenticated close_notify is understood.
    world.close(From::Client);
    world.run(world.seconds(1), perfect);
    assert!(world.at_server.peer_closed);
}

#[test]
fn every_cut_and_every_flipped_bit_of_a_client_hello_is_survived() {
    let hello = client_hello();
    let mut server = machine();
    let fingerprint = server.fingerprint();
    let mutations =
        (0..hello.len())
            .map(|len| hello[..len].to_vec())
            .chain((0..8 * hello.len()).map(|bit| {
                let mut flipped = hello.to_vec();
                flipped[bit / 8] ^= 1 << (bit % 8);
                flipped
            }));
    for (number, bytes) in (0..).zip(mutations) {
        let session = SessionId(number);
        server.on_input(
            Micros(0),
            HandshakeInput::Start {
                session,
                role: Role::Server,
                fingerprint: fingerprint.clone(),
            },
        );
        for _ in 0..2 {
            let bytes = bytes.clone().into();
            server.on_input(Micros(0), HandshakeInput::Record { session, bytes });
        }
        while let Some(output) = server.poll_output() {
            assert!(
                matches!(
                    output,
                    HandshakeOutput::Flight { .. } | HandshakeOutput::Failed { .. }
                ),
                "a ClientHello alone keys nothing"
            );
        }
        server.on_input(Micros(0), HandshakeInput::Close { session });
    }
    assert!(server.is_empty());
    assert_eq!(server.next_deadline(), None);
}

/// D5: whatever is sent, an association exists only because a shard started it.
#[test]
fn records_make_no_associations() {
    let hello = client_hello();
    let mut server = machine();
    for number in 0..1_000 {
        let session = SessionId(number);
        let bytes = hello.clone();
        server.on_input(Micros(0), HandshakeInput::Record { session, bytes });
    }
    assert!(server.is_empty());
    assert!(server.poll_output().is_none());
    assert_eq!(server.counters().refused, 1_000);
}

/// D3: fragments that never complete a message cost nothing beyond the cap, and the deadline ends it.
#[test]
fn a_fragment_bomb_is_bounded_and_ends_at_the_deadline() {
    let mut world = World::started();
    world.run(world.now, |_, _| vec![]);
    let refused = world.server.counters().refused;
    for number in 0..10_000_u32 {
        // One byte of a 16 KiB ClientHello, another one each time.
        let mut datagram = vec![22, 0xfe, 0xfd, 0, 0, 0, 0];
        datagram.extend(number.to_be_bytes());
        datagram.extend([0, 13, 1, 0, 0x40, 0, 0, 0]);
        datagram.extend(&(number % 0x4000).to_be_bytes()[1..]);
        datagram.extend([0, 0, 1, 0xaa]);
        world.deliver(From::Client, datagram.into());
    }
    // All but the 64 an association remembers.
    assert_eq!(world.server.counters().refused - refused, 10_000 - 64);
    assert_eq!(world.at_server.flights, 0);
    world.run(world.seconds(20), |_, _| vec![]);
    assert!(world.at_server.failed.is_some());
    assert!(world.server.is_empty());
}

/// D5: whoever starts more than the worker bears is refused at once, and time makes room.
#[test]
fn handshakes_under_way_are_bounded() {
    let mut server = machine();
    let fingerprint = server.fingerprint();
    let start = |server: &mut Handshakes, now, number| {
        server.on_input(
            now,
            HandshakeInput::Start {
                session: SessionId(number),
                role: Role::Server,
                fingerprint: fingerprint.clone(),
            },
        );
        server.poll_output()
    };
    for number in 0..HALF_OPEN_MAX as u64 {
        assert!(start(&mut server, Micros(0), number).is_none());
    }
    let refused = start(&mut server, Micros(0), u64::MAX);
    assert!(
        matches!(refused, Some(HandshakeOutput::Failed { .. })),
        "{refused:?}"
    );
    assert_eq!(server.half_open(), HALF_OPEN_MAX);
    assert_eq!(server.counters().starts_refused, 1);
    let later = Micros(HANDSHAKE_DEADLINE_US);
    server.on_timeout(later);
    while server.poll_output().is_some() {}
    assert!(server.is_empty());
    assert!(start(&mut server, later, u64::MAX).is_none());
}

struct Input {
    name: String,
    bytes: Vec<u8>,
}

impl Input {
    fn bytes(&self) -> Box<[u8]> {
        self.bytes.clone().into()
    }
}

/// Whether a server that heard nothing before answers it.
fn is_answered(input: &Input) -> bool {
    let mut world = World::started();
    world.deliver(From::Client, input.bytes());
    world.at_server.flights > 0
}

/// Everything that is at hand.
fn inputs() -> Vec<Input> {
    let mut inputs = Vec::new();
    let mut add = |file: &str, number: usize, digits: &Value, name: &str| {
        inputs.push(Input {
            name: format!("{file} {number} {name}"),
            bytes: hex(digits),
        });
    };
    let edge = json("dtls/malformed_and_edge.json");
    for (number, case) in edge["cases"].as_array().unwrap().iter().enumerate() {
        add("edge", number, &case["hex"], case["name"].as_str().unwrap());
    }
    let crashes = json("dtls/named_crate_crashes.json");
    for (number, case) in crashes["cases"].as_array().unwrap().iter().enumerate() {
        let digits = if case["hex"].is_string() {
            "hex"
        } else {
            "hex_prefix"
        };
        add(
            "crash",
            number,
            &case[digits],
            case["crate"].as_str().unwrap(),
        );
    }
    for file in ["pion_dtls_record.jsonl", "pion_dtls_ext.jsonl"] {
        for (number, line) in text(&format!("dtls/{file}")).lines().enumerate() {
            let case: Value = serde_json::from_str(line).unwrap();
            if case["hex"].is_string() {
                add(file, number, &case["hex"], case["name"].as_str().unwrap());
            }
        }
    }
    inputs
}

fn client_hello() -> Box<[u8]> {
    let mut world = World::started();
    let mut hello = None;
    world.run(world.now, |from, datagram| {
        assert_eq!(from, From::Client);
        hello = Some(datagram);
        vec![]
    });
    hello.unwrap()
}
