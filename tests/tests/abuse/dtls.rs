//! Rows D1, D2, D6 and D7: DTLS from strangers, after the keys, and from a peer with the wrong certificate.

use std::collections::{BTreeMap, BTreeSet};

use dataplane_api::Event;
use dataplane_api::command::SessionPolicy;
use dataplane_api::event::CloseReason;
use dataplane_api::ids::SessionId;
use dataplane_api::media::CodecId;
use dataplane_engine::reason::DropReason;
use dataplane_engine::transport::handshake::{HandshakeInput, HandshakeOutput, Role};

use crate::attacker::{Rtp, foreign, receiver_report};
use crate::hall::{Hall, PeerId};
use crate::memory::cost;
use crate::vectors;

const STRANGERS: u32 = 1_000;

/// A ClientHello that a server would answer.
pub(crate) fn client_hello(hall: &mut Hall) -> Vec<u8> {
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
pub(crate) fn class_with_dtls() -> (Hall, PeerId, PeerId) {
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
