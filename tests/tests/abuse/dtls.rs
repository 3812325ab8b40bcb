//! Rows D1 to D7: DTLS from strangers, from a validated path, and from a peer with the wrong certificate.

use std::collections::{BTreeMap, BTreeSet};

use dataplane_api::Event;
use dataplane_api::command::SessionPolicy;
use dataplane_api::event::CloseReason;
use dataplane_api::ids::SessionId;
use dataplane_api::media::CodecId;
use dataplane_engine::reason::DropReason;
use dataplane_engine::time::Micros;
use dataplane_engine::transport::handshake::{HandshakeInput, HandshakeOutput, Role};

use crate::attacker::{Random, Rtp, foreign, receiver_report};
use crate::hall::{Hall, PeerId};
use crate::memory::{assert_nothing_kept, cost};
use crate::vectors;

const STRANGERS: u32 = 1_000;

/// A ClientHello that a server would answer.
fn client_hello(hall: &mut Hall) -> Vec<u8> {
    let dtls = hall.dtls.as_mut().unwrap();
    let session = SessionId(u64::MAX);
    let start = HandshakeInput::Start {
        session,
        role: Role::Client,
        fingerprint: dtls.node.fingerprint(),
    };
    dtls.clients.on_input(hall.now, start);
    let Some(HandshakeOutput::Flight { datagrams, .. }) = dtls.clients.poll_output() else {
        panic!("a client begins");
    };
    dtls.clients
        .on_input(hall.now, HandshakeInput::Close { session });
    datagrams[0].to_vec()
}

/// The same ClientHello of another client: its random is new (record header 13, handshake header 12,
/// version 2).
fn renew(hello: &mut [u8], random: &mut Random) {
    random.fill(&mut hello[27..59]);
}

fn closed(hall: &Hall) -> Vec<CloseReason> {
    let mut reasons = Vec::new();
    for event in &hall.events {
        if let Event::SessionClosed(closed) = event {
            reasons.push(closed.reason);
        }
    }
    reasons
}

/// A publisher and a viewer with keys of a real handshake, and media between them.
fn class_with_dtls() -> (Hall, PeerId, PeerId) {
    let mut hall = Hall::with_dtls();
    let publisher = hall.join_publisher(1, CodecId::VP8, 1);
    let viewer = hall.join_viewer(1, publisher);
    for n in 0..10 {
        hall.send_frame(publisher, n == 0);
        hall.advance_ms(33);
    }
    assert_eq!(hall.peers[viewer].received.media.len(), 10);
    (hall, publisher, viewer)
}

#[test]
fn d1_hellos_of_strangers_win_no_join() {
    const JOINS: usize = 500;
    const AT_ONCE: usize = 50;
    let mut hall = Hall::with_dtls();
    let mut spray: Vec<Vec<u8>> = vectors::dtls_edge().into_iter().map(|i| i.bytes).collect();
    spray.push(client_hello(&mut hall));
    let (mut sprayed, mut kept) = (0u32, 0);
    let mut spray_some = |hall: &mut Hall, datagrams: usize| {
        for _ in 0..datagrams {
            // Every stranger sends every vector in the end.
            let vector = usize::try_from(sprayed / STRANGERS + sprayed).unwrap() % spray.len();
            let mut bytes = spray[vector].clone();
            let path = foreign(sprayed % STRANGERS);
            kept += cost(|| hall.deliver(path, &mut bytes)).kept;
            sprayed += 1;
        }
    };
    for _ in 0..JOINS / AT_ONCE {
        let joining: Vec<PeerId> = (0..AT_ONCE)
            .map(|_| hall.admit(1, None, SessionPolicy::default()))
            .collect();
        spray_some(&mut hall, 500);
        for &peer in &joining {
            hall.check(peer);
            hall.start_client(peer);
            spray_some(&mut hall, 20);
        }
        spray_some(&mut hall, 500);
        while hall.turn() {
            spray_some(&mut hall, 500);
        }
        assert!(joining.iter().all(|&peer| hall.peers[peer].is_connected()));
    }
    eprintln!("{JOINS} joins under {sprayed} records, {kept} bytes kept");
    assert!(u64::from(sprayed) > 25 * u64::from(STRANGERS));
    assert!(closed(&hall).is_empty());
    assert_eq!(hall.bytes_to_strangers, 0);
    assert_eq!(kept, 0, "nothing is kept of a stranger's record");
    assert_eq!(hall.dtls.as_ref().unwrap().node.len(), JOINS);
    assert_eq!(hall.shard.population().sessions, JOINS);
    let dropped = hall.dropped(DropReason::UnknownPath) + hall.dropped(DropReason::Demux);
    assert_eq!(dropped, u64::from(sprayed));
}

/// The same with clients that are not our code, over a network with a delay.
#[test]
fn d1_hellos_of_strangers_win_no_join_of_another_stack() {
    let mut world = sim::World::new(101, sim::Conditions::CLEAN);
    let teacher = world.publish();
    world.run_ms(500);
    let spray = vectors::dtls_edge();
    let students: Vec<_> = (0..20).map(|_| world.watch(teacher)).collect();
    let mut sprayed = 0;
    for _ in 0..200 {
        for _ in 0..25 {
            let from = foreign(sprayed % STRANGERS).remote;
            let vector = usize::try_from(sprayed).unwrap() % spray.len();
            world.inject(from, &spray[vector].bytes);
            sprayed += 1;
        }
        world.run_ms(1);
    }
    world.run_ms(300);
    assert!(students.iter().all(|&s| world.peer(s).is_connected()));
    assert_eq!(world.bytes_to_strangers, 0);
}

#[test]
fn d2_records_after_keys_are_dropped() {
    let (mut hall, publisher, viewer) = class_with_dtls();
    let mut inputs: Vec<Vec<u8>> = vectors::dtls().into_iter().map(|i| i.bytes).collect();
    inputs.push(client_hello(&mut hall));
    // A plaintext fatal alert and a plaintext close_notify.
    for alert in [[2, 40], [1, 0]] {
        let mut record = vec![21, 0xfe, 0xfd, 0, 0, 0, 0, 0, 0, 0, 9, 0, 2];
        record.extend(alert);
        inputs.push(record);
    }
    let recorded: Vec<_> = hall.dtls.as_ref().unwrap().received.clone();
    inputs.extend(recorded.into_iter().map(|(_, bytes)| bytes));

    // First before the viewer was heard under the keys, when the machine still reads handshake records, then
    // after. The publisher was heard in both.
    for heard in [false, true] {
        if heard {
            hall.send_rtcp(viewer, &receiver_report(1));
        }
        for input in &inputs {
            hall.deliver_from(publisher, input);
            hall.deliver_from(viewer, input);
            hall.send_frame(publisher, false);
            // More than the second in which the gate counts bytes, over all inputs.
            hall.advance_ms(10);
            if hall.now.0 % 7 == 0 {
                hall.check(viewer);
            }
        }
    }
    let frames = 10 + 2 * u64::try_from(inputs.len()).unwrap();
    let numbers = hall.peers[viewer]
        .received
        .numbers_of(hall.peers[publisher].stamp());
    assert_eq!(numbers, (0..frames).collect::<Vec<_>>(), "no packet lost");
    assert!(closed(&hall).is_empty());
    assert_eq!(hall.bytes_to_strangers, 0);

    // It is the association it was: the authenticated close_notify of each is understood.
    for peer in [publisher, viewer] {
        let session = hall.peers[peer].session;
        let clients = &mut hall.dtls.as_mut().unwrap().clients;
        clients.on_input(hall.now, HandshakeInput::Close { session });
        hall.drive_clients();
        while hall.turn() {}
    }
    assert_eq!(closed(&hall), [CloseReason::PeerClosed; 2]);
    assert!(hall.dtls.unwrap().node.is_empty());
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

/// Records of the node with an epoch that is encrypted: (epoch and sequence number, explicit nonce).
fn encrypted_records(datagram: &[u8]) -> Vec<(u64, [u8; 8], Vec<u8>)> {
    let mut records = Vec::new();
    let mut rest = datagram;
    while rest.len() > 13 {
        let len = 13 + usize::from(u16::from_be_bytes([rest[11], rest[12]]));
        let (record, behind) = rest.split_at(len);
        let number = u64::from_be_bytes(*record[3..11].first_chunk().unwrap());
        if number >> 48 > 0 {
            // RFC 5288 section 3: the explicit half of the nonce is the first eight bytes.
            let nonce = *record[13..21].first_chunk().unwrap();
            records.push((number, nonce, record.to_vec()));
        }
        rest = behind;
    }
    records
}

#[test]
fn d6_no_nonce_is_used_twice() {
    let mut hall = Hall::with_dtls();
    let peers: Vec<PeerId> = (0..200).map(|_| hall.join(1, None)).collect();
    // Every client repeats its last flight, and the node its own: the same records, not new ones.
    let flights = hall.dtls.as_ref().unwrap().received.clone();
    for _ in 0..3 {
        hall.advance_ms(50);
        for &peer in &peers {
            let session = hall.peers[peer].session;
            let last = flights.iter().rfind(|(of, _)| *of == session).unwrap();
            hall.deliver_from(peer, &last.1);
        }
        hall.advance_ms(1);
    }
    for &peer in &peers {
        let session = hall.peers[peer].session;
        let close = dataplane_api::command::Close { session };
        let order = dataplane_api::command::Command::Close(close);
        hall.shard.on_command(hall.now, order);
        while hall.turn() {}
    }

    let (mut records, mut repeated) = (0, 0);
    let mut by_nonce: BTreeMap<(SessionId, [u8; 8]), Vec<u8>> = BTreeMap::new();
    let mut by_number: BTreeMap<(SessionId, u64), Vec<u8>> = BTreeMap::new();
    let mut last: BTreeMap<SessionId, u64> = BTreeMap::new();
    for (session, datagram) in &hall.dtls.as_ref().unwrap().sent {
        for (number, nonce, record) in encrypted_records(datagram) {
            records += 1;
            let same_nonce = by_nonce.insert((*session, nonce), record.clone());
            let same_number = by_number.insert((*session, number), record.clone());
            if let Some(before) = same_nonce {
                assert_eq!(before, record, "{session:?}: one nonce, two records");
                assert_eq!(same_number, Some(record), "{session:?}");
                repeated += 1;
            } else {
                assert_eq!(same_number, None, "{session:?}: one number, two records");
                let before = last.insert(*session, number);
                assert!(before < Some(number), "{session:?}: numbers increase");
            }
        }
    }
    eprintln!(
        "{records} encrypted records of {} associations, {repeated} repeated",
        peers.len()
    );
    assert_eq!(
        by_nonce.len(),
        2 * peers.len(),
        "Finished and close_notify of each"
    );
    assert!(repeated >= peers.len(), "the last flights were repeated");
}

#[test]
fn d7_another_certificate_forwards_nothing() {
    let mut hall = Hall::with_dtls();
    let right = hall.dtls.as_ref().unwrap().clients.fingerprint();
    let honest = hall.join_publisher(1, CodecId::VP8, 1);
    let viewer = hall.join_viewer(1, honest);
    hall.send_frame(honest, true);
    hall.advance_ms(5);
    let mut wrong_digests = BTreeSet::new();
    for bit in [0, 7, 130, 255] {
        let mut wrong = right.clone();
        wrong.digest[bit / 8] ^= 1 << (bit % 8);
        wrong_digests.insert(wrong.digest);
    }
    // A prefix, and nothing.
    wrong_digests.insert(right.digest[..20].to_vec());
    wrong_digests.insert(Vec::new());
    for (number, digest) in (0..).zip(&wrong_digests) {
        let mut fingerprint = right.clone();
        fingerprint.digest = digest.clone();
        let session = SessionId(1_000 + number);
        let policy = SessionPolicy::default();
        let impostor = hall.admit_as(session, 1, Some(CodecId::VP8), policy, fingerprint);
        hall.publish(impostor, CodecId::VP8, 1);
        hall.watch(viewer, impostor);
        hall.watch(impostor, honest);
        hall.check(impostor);
        hall.start_client(impostor);
        while hall.turn() {
            hall.send_frame(honest, true);
        }
        // A client that finished its own half has keys and tries.
        if hall.peers[impostor].is_connected() {
            for n in 0..10 {
                hall.send_frame(impostor, n == 0);
                hall.advance_ms(1);
            }
        }
        hall.send_frame(honest, true);
        hall.advance_ms(33);
        let stamp = hall.peers[impostor].stamp();
        assert!(hall.peers[viewer].received.numbers_of(stamp).is_empty());
        assert_eq!(hall.peers[impostor].received.media.len(), 0);
        hall.watch(viewer, honest);
    }
    assert_eq!(
        closed(&hall),
        vec![CloseReason::FingerprintMismatch; wrong_digests.len()]
    );
    assert_eq!(hall.dtls.as_ref().unwrap().node.len(), 2);
    hall.send_frame(honest, true);
    hall.advance_ms(5);
    assert!(
        !hall.peers[viewer]
            .received
            .numbers_of(hall.peers[honest].stamp())
            .is_empty()
    );
}

/// Media under the keys of a handshake that the node never accepted is not even opened.
#[test]
fn d7_media_before_keys_is_dropped() {
    let mut hall = Hall::with_dtls();
    let early = hall.admit(1, None, SessionPolicy::default());
    hall.publish(early, CodecId::VP8, 1);
    hall.check(early);
    let header = Rtp {
        marker: true,
        padding: false,
        payload_type: 96,
        seq: 1,
        timestamp: 0,
        ssrc: hall.peers[early].layers[0].ssrc,
    };
    for _ in 0..100 {
        hall.deliver_from(early, &header.packet(&[0; 100]));
        hall.deliver_from(early, &receiver_report(1));
    }
    assert_eq!(hall.dropped(DropReason::NoKeys), 200);
}
