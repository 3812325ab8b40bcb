//! Rows D3 to D5: records that are meant to fill memory, wherever they come from.

use dataplane_api::command::SessionPolicy;
use dataplane_api::ids::SessionId;
use dataplane_engine::reason::DropReason;
use dataplane_engine::time::Micros;
use dataplane_engine::transport::handshake::{HandshakeInput, Role};

use crate::attacker::{Random, foreign, receiver_report};
use crate::dtls::{class_with_dtls, client_hello};
use crate::hall::Hall;
use crate::memory::{assert_nothing_kept, cost};
use crate::vectors;

/// The same ClientHello of another client: its random is new (record header 13, handshake header 12,
/// version 2).
fn renew(hello: &mut [u8], random: &mut Random) {
    random.fill(&mut hello[27..59]);
}

/// A fragment of one byte of a 16 KiB ClientHello.
fn fragment_bomb(number: u32) -> Vec<u8> {
    let mut datagram = vec![22, 0xfe, 0xfd, 0, 0, 0, 0];
    datagram.extend(number.to_be_bytes());
    datagram.extend([0, 13, 1, 0, 0x40, 0, 0, u8::try_from(number % 16).unwrap()]);
    datagram.extend(&(number % 0x4000).to_be_bytes()[1..]);
    datagram.extend([0, 0, 1, 0xaa]);
    datagram
}

#[test]
fn d3_fragment_bombs_are_bounded() {
    const BOMBS: u32 = 100_000;
    const KEPT_MAX: i64 = 1 << 20;
    let edge = vectors::dtls_edge();
    let fragments: Vec<&[u8]> = edge
        .iter()
        .filter(|input| input.name.contains("frag"))
        .map(|input| &*input.bytes)
        .collect();
    assert!(fragments.len() >= 5, "{}", fragments.len());
    let bomb = |number: u32| match usize::try_from(number % 8).unwrap() {
        n if n < fragments.len().min(6) => fragments[n].to_vec(),
        _ => fragment_bomb(number),
    };

    // Through a shard, whose gate counts bytes a second, within the ten seconds a handshake may take.
    let mut hall = Hall::with_dtls();
    let peer = hall.admit(1, None, SessionPolicy::default());
    hall.check(peer);
    while hall.turn() {}
    let through_shard = cost(|| {
        for number in 0..BOMBS {
            hall.deliver_from(peer, &bomb(number));
            if number % 11 == 0 {
                hall.now = hall.now.plus_ms(1);
                hall.turn();
            }
        }
    });
    assert!(
        hall.dropped(DropReason::Dtls) > u64::from(BOMBS / 2),
        "the gate bounds"
    );

    // Straight into a machine, as if the gate were not there.
    let mut hall = Hall::with_dtls();
    let machine = &mut hall.dtls.as_mut().unwrap().node;
    let session = SessionId(7);
    let fingerprint = machine.fingerprint();
    let start = HandshakeInput::Start {
        session,
        role: Role::Server,
        fingerprint,
    };
    machine.on_input(Micros(0), start);
    let into_machine = cost(|| {
        for number in 0..BOMBS {
            let bytes = bomb(number).into();
            machine.on_input(Micros(0), HandshakeInput::Record { session, bytes });
            while machine.poll_output().is_some() {}
        }
    });
    eprintln!("{BOMBS} bombs each: shard {through_shard:?}, machine {into_machine:?}");
    for cost in [through_shard, into_machine] {
        assert!(cost.kept <= KEPT_MAX, "{cost:?}");
        assert!(cost.peak <= KEPT_MAX.unsigned_abs(), "{cost:?}");
    }
}

#[test]
fn d4_no_record_panics_or_allocates_beyond_its_due() {
    const PEAK_MAX: u64 = 64 << 10;
    let mut worst = (0, String::new());
    let mut hall = Hall::with_dtls();
    let waiting = hall.admit(1, None, SessionPolicy::default());
    let keyed = hall.join(1, None);
    let inputs = vectors::dtls();
    for input in &inputs {
        // A machine of its own for each input: nothing yet, and in the middle of a handshake.
        let fresh = hall.admit(1, None, SessionPolicy::default());
        hall.check(fresh);
        hall.turn();
        let middle = hall.admit(1, None, SessionPolicy::default());
        hall.check(middle);
        hall.start_client(middle);
        hall.turn();
        for peer in [waiting, fresh, middle, keyed] {
            let cost = cost(|| {
                hall.deliver_from(peer, &input.bytes);
                // What the shard passes on is the machine's to judge, before the next turn.
                let dtls = hall.dtls.as_mut().unwrap();
                while let Some(record) = hall.shard.poll_handshake() {
                    dtls.node.on_input(hall.now, record);
                }
            });
            if cost.peak > worst.0 {
                worst = (cost.peak, input.name.clone());
            }
        }
        while hall.turn() {}
        hall.advance_ms(20);
    }
    eprintln!(
        "{} inputs in four states, at most {} bytes: {}",
        inputs.len(),
        worst.0,
        worst.1
    );
    assert!(worst.0 <= PEAK_MAX, "{worst:?}");
}

#[test]
fn d5_valid_hellos_make_no_association() {
    const HELLOS: u64 = 50_000;
    let (mut hall, publisher, viewer) = class_with_dtls();
    hall.send_rtcp(viewer, &receiver_report(1));
    let joining = hall.admit(1, None, SessionPolicy::default());
    hall.check(joining);
    while hall.turn() {}
    let hello = client_hello(&mut hall);
    let mut random = Random(5);
    let associations = hall.dtls.as_ref().unwrap().node.len();
    assert_eq!(associations, 3);
    let sent_before = hall.dtls.as_ref().unwrap().sent.len();

    // 10,000 a second for five: three of four from strangers, the others from each validated path in turn.
    let mut left_alone = Vec::new();
    let mut flood = |hall: &mut Hall, hellos: u64| {
        for number in 0..hellos {
            let mut bytes = hello.clone();
            renew(&mut bytes, &mut random);
            let path = match number % 12 {
                0 => hall.peers[publisher].path,
                4 => hall.peers[viewer].path,
                8 => hall.peers[joining].path,
                _ => foreign(random.u32()),
            };
            hall.deliver(path, &mut bytes);
            if number % 10 == 9 {
                hall.now = hall.now.plus_ms(1);
                hall.turn();
                let node = &hall.dtls.as_ref().unwrap().node;
                left_alone.push(node.len() <= associations);
            }
        }
    };
    // The first hello of the one who joins is answered, and its buffers are there afterwards.
    flood(&mut hall, 1_000);
    let answered = hall.dtls.as_ref().unwrap().sent.len();
    let flat = cost(|| flood(&mut hall, HELLOS));
    assert!(
        left_alone.iter().all(|&alone| alone),
        "an association was made"
    );
    let flights = hall.dtls.as_ref().unwrap().sent.len();
    eprintln!(
        "{HELLOS} hellos: {flat:?}, {} datagrams back",
        flights - sent_before
    );
    // What `left_alone` and the harness note is in it.
    assert!(flat.kept < 2 << 20, "{flat:?}");
    assert!(flights - sent_before <= 32, "{answered}");
    assert_eq!(hall.bytes_to_strangers, 0);
}

#[test]
fn d5_hellos_of_strangers_cost_no_memory() {
    let (mut hall, ..) = class_with_dtls();
    let hello = client_hello(&mut hall);
    let mut random = Random(6);
    assert_nothing_kept("ClientHello from a stranger", 50_000, || {
        let mut bytes = hello.clone();
        for _ in 0..50_000 {
            renew(&mut bytes, &mut random);
            let path = foreign(random.u32());
            hall.deliver(path, &mut bytes);
        }
    });
    assert!(hall.shard.poll_handshake().is_none());
}
