//! Handshakes as they go in a class: over a good wire and a bad one, in both roles, with the right
//! certificate and a wrong one (contracts.md 8 to 10).

#![allow(clippy::unwrap_used, reason = "a test states what must be by failing")]

mod dtls_peers;

use std::collections::BTreeMap;

use aws_lc_rs::digest;
use dataplane_api::command::{Fingerprint, FingerprintHash};
use dataplane_api::event::CloseReason;
use dataplane_api::ids::SessionId;
use dataplane_engine::time::Micros;
use dataplane_engine::transport::handshake::{
    HANDSHAKE_DEADLINE_US, HandshakeInput, HandshakeOutput, Role,
};
use dataplane_engine::transport::keys::{Profile, SrtpKeys};
use dataplane_engine::transport::srtp::{Opener, Sealer};
use dtls_peers::raw_client::{RawClient, datagrams_of, join};
use dtls_peers::{From, SESSION, World, machine, perfect, start};

#[test]
fn both_ends_get_the_keys_of_each_other() {
    let mut world = World::started();
    world.run(world.seconds(1), perfect);

    let server = world.at_server.keys.take().unwrap();
    let client = world.at_client.keys.take().unwrap();
    // The order of the crate, which contracts.md 10 relies on: AES-256-GCM when it is offered.
    assert_eq!(server.profile, Profile::AeadAes256Gcm);
    assert_opens(&server, &client);
    assert_opens(&client, &server);
    // Nothing is left to wait for.
    assert_eq!(world.server.next_deadline(), None);
    assert_eq!(world.client.next_deadline(), None);
}

#[test]
fn every_flight_fits_the_smallest_path() {
    let mut world = World::started();
    let end = world.seconds(1);
    world.run(end, |_, datagram| {
        assert!(datagram.len() <= 1_200);
        vec![datagram]
    });
    assert!(world.at_server.keys.is_some());
}

/// Three datagrams in a row are lost, wherever in the handshake that happens.
#[test]
fn a_burst_of_loss_anywhere_still_joins() {
    for first_lost in 0..8 {
        let mut world = World::started();
        let mut number = 0;
        let end = world.seconds(9);
        world.run(end, |_, datagram| {
            let lost = (first_lost..first_lost + 3).contains(&number);
            number += 1;
            if lost { vec![] } else { vec![datagram] }
        });
        let server = world.at_server.keys.take();
        let client = world.at_client.keys.take();
        assert_opens(
            &server.unwrap_or_else(|| panic!("server, from datagram {first_lost}")),
            &client.unwrap_or_else(|| panic!("client, from datagram {first_lost}")),
        );
    }
}

#[test]
fn duplicated_and_reversed_datagrams_change_nothing() {
    let mut world = World::started();
    let end = world.seconds(9);
    let mut held = None;
    world.run(end, |from, datagram| match held.take() {
        None => {
            held = Some((from, datagram.clone()));
            vec![datagram.clone(), datagram]
        }
        Some((last_from, last)) if last_from == from => vec![datagram.clone(), last, datagram],
        Some(_) => vec![datagram.clone(), datagram],
    });
    let server = world.at_server.keys.take().unwrap();
    assert_opens(&server, &world.at_client.keys.take().unwrap());
}

/// Contracts.md 9: the server is done, the client is not, and only its repetition tells.
#[test]
fn losing_the_last_server_flight_three_times_still_joins() {
    let mut world = World::started();
    let end = world.seconds(9);
    let mut lost = 0;
    world.run(end, |from, datagram| {
        if from == From::Server && has_change_cipher_spec(&datagram) && lost < 3 {
            lost += 1;
            return vec![];
        }
        vec![datagram]
    });
    assert_eq!(lost, 3);
    let server = world.at_server.keys.take().unwrap();
    assert_opens(&server, &world.at_client.keys.take().unwrap());
    assert_eq!(world.server.counters().last_flights_repeated, 3);
}

/// BoringSSL packs the messages of a flight into one record, so the ClientKeyExchange that asks for the
/// repetition stands behind a Certificate.
#[test]
fn a_packed_last_client_flight_is_understood_and_answered_again() {
    let mut world = World::started();
    let end = world.seconds(9);
    let mut lost = 0;
    world.run(end, |from, datagram| {
        if from == From::Server && has_change_cipher_spec(&datagram) && lost < 3 {
            lost += 1;
            return vec![];
        }
        match from {
            From::Client => vec![packed(&datagram)],
            From::Server => vec![datagram],
        }
    });
    assert_eq!(lost, 3);
    assert!(world.at_client.keys.is_some());
}

#[test]
fn a_finished_server_is_silent_until_the_client_repeats_itself() {
    let mut world = World::started();
    let mut last_flight_of_client = Vec::new();
    let end = world.seconds(1);
    world.run(end, |from, datagram| {
        if from == From::Client && has_change_cipher_spec(&datagram) {
            last_flight_of_client.push(datagram.clone());
        }
        vec![datagram]
    });
    let flights = world.at_server.flights;
    world.run(world.seconds(600), |_, _| panic!("nobody asked"));
    assert_eq!(world.at_server.flights, flights);

    // Each repetition is answered once; the records of one repetition, and a flood, are answered as one.
    for round in 1..=3 {
        for _ in 0..10 {
            world.deliver(From::Client, last_flight_of_client[0].clone());
        }
        assert_eq!(world.at_server.flights, flights + round);
        world.run(world.seconds(1), |_, _| vec![]);
    }
    for _ in 0..1_000 {
        world.deliver(From::Client, last_flight_of_client[0].clone());
        world.run(world.seconds(1), |_, _| vec![]);
    }
    assert!(
        world.at_server.flights < flights + 50,
        "a replay is no amplifier"
    );
}

#[test]
fn a_client_hello_in_many_datagrams_is_put_together() {
    for mtu in [70, 80, 100] {
        let (mut server, mut client) = (machine(), RawClient::new(mtu));
        server.on_input(Micros(0), start(Role::Server, client.fingerprint()));
        let hello = client.on_time(Micros(0));
        assert!(hello.len() >= 2, "an MTU of {mtu} cuts the ClientHello");

        // In reverse order: reassembly does not depend on luck.
        let hello = hello.into_iter().rev().collect();
        let server_keys = join(&mut server, &mut client, hello).expect("the server is keyed");
        assert_opens(&server_keys, &client.keys.expect("the client is keyed"));
    }
}

#[test]
fn a_fingerprint_of_each_hash_is_checked() {
    for (hash, algorithm) in [
        (FingerprintHash::Sha256, &digest::SHA256),
        (FingerprintHash::Sha384, &digest::SHA384),
        (FingerprintHash::Sha512, &digest::SHA512),
    ] {
        for right in [true, false] {
            let (mut server, mut client) = (machine(), RawClient::new(1_200));
            let der = &client.certificate.certificate;
            let mut digest = digest::digest(algorithm, der).as_ref().to_vec();
            if !right {
                *digest.last_mut().unwrap() ^= 1;
            }
            server.on_input(Micros(0), start(Role::Server, Fingerprint { hash, digest }));

            let hello = client.on_time(Micros(0));
            let joined = join(&mut server, &mut client, hello).map(drop);
            let expected = if right {
                Ok(())
            } else {
                Err(CloseReason::FingerprintMismatch)
            };
            assert_eq!(joined, expected, "{hash:?}");
        }
    }
}

#[test]
fn a_wrong_certificate_fails_both_roles_and_gives_no_keys() {
    // The server's peer is not who the SDP named.
    let mut world = World::idle();
    let other = machine().fingerprint();
    let server = world.server.fingerprint();
    world.start(other, server);
    world.run(world.seconds(1), perfect);
    assert_eq!(
        world.at_server.failed,
        Some(CloseReason::FingerprintMismatch)
    );
    assert_eq!(world.at_server.keys, None);
    assert!(world.server.is_empty());
    // The client never hears the end of it and gives up by itself.
    world.run(world.seconds(20), perfect);
    assert_eq!(world.at_client.failed, Some(CloseReason::HandshakeFailed));
    assert_eq!(world.at_client.keys, None);

    // And the other way round.
    let mut world = World::idle();
    let other = machine().fingerprint();
    let client = world.client.fingerprint();
    world.start(client, other);
    world.run(world.seconds(1), perfect);
    assert_eq!(
        world.at_client.failed,
        Some(CloseReason::FingerprintMismatch)
    );
    assert_eq!(world.at_client.keys, None);
    assert_eq!(world.at_server.keys, None);
}

#[test]
fn a_silent_peer_fails_at_the_deadline() {
    for role in [Role::Server, Role::Client] {
        let mut machine = machine();
        let fingerprint = machine.fingerprint();
        let begin = Micros(5_000_000);
        machine.on_input(begin, start(role, fingerprint));
        let deadline = begin.plus_us(HANDSHAKE_DEADLINE_US);

        let mut failed_at = None;
        let mut last = begin;
        while let Some(due) = machine.next_deadline() {
            assert!(due > last, "a deadline that does not move is a busy loop");
            last = due;
            machine.on_timeout(due);
            while let Some(output) = machine.poll_output() {
                if let HandshakeOutput::Failed { reason, .. } = output {
                    assert_eq!(reason, CloseReason::HandshakeFailed);
                    failed_at = Some(due);
                }
            }
        }
        assert_eq!(failed_at, Some(deadline), "{role:?}");
        assert!(machine.is_empty());
    }
}

/// A peer that says just enough to be alive does not move the deadline.
#[test]
fn repeating_the_client_hello_does_not_move_the_deadline() {
    let mut world = World::started();
    let begin = world.now;
    let end = world.seconds(20);
    world.run(end, |from, datagram| match from {
        From::Client => vec![datagram],
        From::Server => vec![],
    });
    assert_eq!(world.at_server.failed, Some(CloseReason::HandshakeFailed));
    assert_eq!(world.at_client.failed, Some(CloseReason::HandshakeFailed));
    assert!(world.now >= begin.plus_us(HANDSHAKE_DEADLINE_US));
    assert!(world.server.is_empty());
}

/// One forged ClientHello from a participant's session must not send a stranger a flight every 400 ms.
#[test]
fn a_server_flight_that_nobody_answers_is_seldom_repeated() {
    let mut world = World::started();
    let (mut is_first, mut bytes_out) = (true, 0);
    world.run(world.seconds(9), |from, datagram| match from {
        From::Client if std::mem::take(&mut is_first) => vec![datagram],
        From::Client => vec![],
        From::Server => {
            bytes_out += datagram.len();
            vec![]
        }
    });
    assert!(!is_first);
    assert!(
        (6..=12).contains(&world.at_server.flights),
        "{}",
        world.at_server.flights
    );
    assert!(bytes_out < 12 * 1_024, "{bytes_out} bytes");
}

#[test]
fn closing_tells_the_other_end() {
    let mut world = World::started();
    world.run(world.seconds(1), perfect);
    world.close(From::Client);
    assert!(world.client.is_empty());
    world.run(world.seconds(1), perfect);
    assert!(world.at_server.peer_closed);
    assert!(world.server.is_empty());

    // Before the handshake is complete there is nobody to tell.
    let mut world = World::started();
    world.run(world.now, |_, _| vec![]);
    let flights = world.at_client.flights;
    world.close(From::Client);
    assert_eq!(world.at_client.flights, flights);
    assert!(world.client.is_empty());
    assert_eq!(world.client.next_deadline(), None);
}

#[test]
fn application_data_is_ignored_and_the_association_lives() {
    let (mut server, mut client) = (machine(), RawClient::new(1_200));
    server.on_input(Micros(0), start(Role::Server, client.fingerprint()));
    let hello = client.on_time(Micros(0));
    assert!(join(&mut server, &mut client, hello).is_ok());

    client.dtls.send_application_data(b"SCTP INIT").unwrap();
    for bytes in client.drain() {
        let record = HandshakeInput::Record {
            session: SESSION,
            bytes,
        };
        server.on_input(Micros(1_000), record);
    }
    assert!(server.poll_output().is_none());
    assert_eq!(server.counters().ignored, 1);
    assert_eq!(server.len(), 1);
}

/// Security.md D6: epoch and sequence number are the explicit nonce of every record we seal, in both roles, through
/// repetitions and the close, so none comes twice under a key and they only grow.
#[test]
fn nonces_are_counted() {
    let mut sealed = 0;
    for round in 0..500 {
        let mut world = World::started();
        let mut newest: [Option<u64>; 2] = [None; 2];
        let mut seen: BTreeMap<(bool, u64), Box<[u8]>> = BTreeMap::new();
        let mut note = |from, datagram: &[u8]| {
            for (_, epoch, record) in records(datagram) {
                if epoch == 0 {
                    continue;
                }
                assert_eq!(record[3..11], record[13..21], "epoch and sequence number");
                let nonce = u64::from_be_bytes(*record[13..].first_chunk().unwrap());
                let is_client = from == From::Client;
                if let Some(before) = seen.insert((is_client, nonce), record.into()) {
                    assert_eq!(*before, *record, "the same record again");
                    continue;
                }
                let newest = &mut newest[usize::from(is_client)];
                assert!(newest.is_none_or(|newest| newest < nonce));
                *newest = Some(nonce);
                sealed += 1;
            }
        };
        let mut number = 0;
        world.run(world.seconds(9), |from, datagram| {
            note(from, &datagram);
            number += 1;
            // Every other world loses datagrams, so that flights are sealed again.
            let lost = round % 2 == 1 && number % 3 == 0;
            if lost { vec![] } else { vec![datagram] }
        });
        assert!(world.at_server.keys.is_some() && world.at_client.keys.is_some());
        world.close(From::Server);
        world.run(world.seconds(1), |from, datagram| {
            note(from, &datagram);
            vec![datagram]
        });
        assert!(
            world.at_client.peer_closed,
            "the peer opens what is counted"
        );
    }
    assert!(sealed > 1_500, "{sealed} records");
}

#[test]
fn many_sessions_do_not_touch_each_other() {
    let mut server = machine();
    let mut clients: Vec<RawClient> = (0..8).map(|_| RawClient::new(1_200)).collect();
    let mut wire = Vec::new();
    for (number, client) in (0..).zip(&mut clients) {
        server.on_input(
            Micros(0),
            HandshakeInput::Start {
                session: SessionId(number),
                role: Role::Server,
                fingerprint: client.fingerprint(),
            },
        );
        wire.extend(
            client
                .on_time(Micros(0))
                .into_iter()
                .map(|bytes| (number, bytes)),
        );
    }
    let mut keyed = Vec::new();
    while !wire.is_empty() {
        for (number, bytes) in std::mem::take(&mut wire) {
            let session = SessionId(number);
            server.on_input(Micros(0), HandshakeInput::Record { session, bytes });
        }
        while let Some(output) = server.poll_output() {
            let number = output.session().0;
            if let HandshakeOutput::Keyed { session, .. } = &output {
                keyed.push(*session);
            }
            for datagram in datagrams_of(output).unwrap().0 {
                let client = &mut clients[usize::try_from(number).unwrap()];
                let answer = client.on_datagram(&datagram);
                wire.extend(answer.into_iter().map(|bytes| (number, bytes)));
            }
        }
    }
    keyed.sort();
    assert_eq!(keyed, (0..8).map(SessionId).collect::<Vec<_>>());
    assert!(clients.iter().all(|client| client.keys.is_some()));
}

/// What one end seals, the other opens.
fn assert_opens(sender: &SrtpKeys, receiver: &SrtpKeys) {
    assert_eq!(sender.profile, receiver.profile);
    let mut packet = vec![0x80, 96, 0x12, 0x34, 0, 0, 0, 0, 1, 2, 3, 4];
    packet.resize(12 + 50 + sender.profile.rtp_overhead(), 0);
    Sealer::new(sender).seal_rtp(0x1234, 12, &[9; 50], 0, &mut packet);
    let opened = Opener::new(receiver).open_rtp(&mut packet, 12).unwrap();
    assert_eq!(packet[opened.payload], [9; 50]);
}

/// The records of a datagram: content type, epoch, and the whole record.
fn records(datagram: &[u8]) -> Vec<(u8, u16, &[u8])> {
    let mut records = Vec::new();
    let mut rest = datagram;
    while !rest.is_empty() {
        let len = 13 + usize::from(u16::from_be_bytes([rest[11], rest[12]]));
        let epoch = u16::from_be_bytes([rest[3], rest[4]]);
        records.push((rest[0], epoch, &rest[..len]));
        rest = &rest[len..];
    }
    records
}

fn has_change_cipher_spec(datagram: &[u8]) -> bool {
    records(datagram)
        .iter()
        .any(|&(content_type, ..)| content_type == 20)
}

/// The same datagram, its plaintext handshake records merged into the first of them.
fn packed(datagram: &[u8]) -> Box<[u8]> {
    let mut out: Vec<u8> = Vec::new();
    let mut open: Option<usize> = None;
    for (content_type, epoch, bytes) in records(datagram) {
        match open {
            Some(at) if content_type == 22 && epoch == 0 => {
                out.extend(&bytes[13..]);
                let len = u16::try_from(out.len() - at - 13).unwrap();
                out[at + 11..at + 13].copy_from_slice(&len.to_be_bytes());
            }
            _ => {
                open = (content_type == 22 && epoch == 0).then_some(out.len());
                out.extend(bytes);
            }
        }
    }
    out.into()
}
