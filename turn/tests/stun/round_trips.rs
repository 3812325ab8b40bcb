//! What the writers write, the reader reads and verifies, and one side's seal is the other's.

use std::net::SocketAddr;

use turn::stun::{
    BINDING_SUCCESS_LEN_MAX, BindingRequest, BuildError, Builder, Class, IntegrityKey, Message,
    Method, Role, TransactionId, attribute_type as kind, write_binding_indication,
    write_binding_request, write_binding_success, write_error, write_role_conflict,
    write_unknown_attributes,
};

const ID: TransactionId = TransactionId([1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12]);

fn key() -> IntegrityKey {
    IntegrityKey::new(b"VOkJxbRl1RmTxUk/WvJxBt")
}

fn check(role: Role, use_candidate: bool) -> Vec<u8> {
    let request = BindingRequest {
        transaction_id: ID,
        username: "evtj:h6vY",
        priority: 1_845_494_271,
        role,
        use_candidate,
    };
    let mut out = [0; 200];
    let len = write_binding_request(&mut out, &request, &key()).expect("room for a check");
    out[..len].to_vec()
}

#[test]
fn a_check_of_either_role_reads_back() {
    let bytes = check(Role::Controlling(u64::MAX), true);
    let message = Message::parse(&bytes).unwrap();
    assert_eq!(message.transaction_id(), ID);
    assert_eq!(message.username_fragments(), Some(("evtj", "h6vY")));
    assert_eq!(message.priority(), Some(1_845_494_271));
    assert_eq!(message.ice_controlling(), Some(u64::MAX));
    assert_eq!(message.ice_controlled(), None);
    assert!(message.use_candidate());
    assert!(message.verify_integrity(&key()) && message.verify_fingerprint());

    let bytes = check(Role::Controlled(7), false);
    let message = Message::parse(&bytes).unwrap();
    assert_eq!(
        (message.ice_controlled(), message.use_candidate()),
        (Some(7), false)
    );
}

#[test]
fn an_answer_names_the_address_it_goes_to() {
    let addresses = [
        "192.0.2.1:32853",
        "[2001:db8::1]:1",
        "0.0.0.0:0",
        "[::1]:65535",
    ];
    for address in addresses.map(|text| text.parse::<SocketAddr>().unwrap()) {
        let mut out = [0; BINDING_SUCCESS_LEN_MAX];
        let len = write_binding_success(&mut out, ID, address, &key()).unwrap();
        let message = Message::parse(&out[..len]).unwrap();
        assert_eq!(message.class(), Class::Success);
        assert_eq!(message.xor_mapped_address(), Some(address));
        assert!(message.verify_integrity(&key()) && message.verify_fingerprint());
    }
}

/// A dual-stack socket shows IPv4 peers as mapped IPv6; the peer compares with the IPv4 it knows.
#[test]
fn an_ipv4_mapped_peer_is_told_its_ipv4_address() {
    let mut out = [0; BINDING_SUCCESS_LEN_MAX];
    let mapped = "[::ffff:192.0.2.1]:99".parse().unwrap();
    let len = write_binding_success(&mut out, ID, mapped, &key()).unwrap();
    let message = Message::parse(&out[..len]).unwrap();
    assert_eq!(
        message.xor_mapped_address(),
        Some("192.0.2.1:99".parse().unwrap())
    );
}

#[test]
fn refusals_carry_their_code_and_nothing_to_amplify() {
    let mut out = [0; 100];
    let len = write_role_conflict(&mut out, ID, &key()).unwrap();
    let message = Message::parse(&out[..len]).unwrap();
    assert_eq!(
        (message.class(), message.error_code()),
        (Class::Error, Some(487))
    );
    assert!(message.verify_integrity(&key()) && message.verify_fingerprint());

    let len = write_error(&mut out, Method::ALLOCATE, ID, 401, None).unwrap();
    let message = Message::parse(&out[..len]).unwrap();
    assert_eq!(
        (message.method(), message.error_code()),
        (Method::ALLOCATE, Some(401))
    );
    assert!(!message.has_integrity() && message.verify_fingerprint());
    assert_eq!(len, 36);
    assert_eq!(
        write_error(&mut out, Method::BINDING, ID, 299, None),
        Err(BuildError::Value)
    );

    let types = [0x7001, 0x7002, 0x7003];
    let len = write_unknown_attributes(
        &mut out,
        Method::BINDING,
        ID,
        types.into_iter(),
        Some(&key()),
    )
    .unwrap();
    let message = Message::parse(&out[..len]).unwrap();
    assert_eq!(message.error_code(), Some(420));
    assert_eq!(
        message.attribute(kind::UNKNOWN_ATTRIBUTES),
        Some(&[0x70, 1, 0x70, 2, 0x70, 3][..])
    );
    assert!(message.verify_integrity(&key()) && message.verify_fingerprint());
}

#[test]
fn an_indication_is_a_header_and_a_fingerprint() {
    let mut out = [0; 28];
    let len = write_binding_indication(&mut out, ID).unwrap();
    let message = Message::parse(&out[..len]).unwrap();
    assert_eq!((message.class(), len), (Class::Indication, 28));
    assert!(message.verify_fingerprint());
}

/// An attacker who cannot seal appends after the seal: none of it exists for the reader.
#[test]
fn nothing_behind_the_seal_is_believed() {
    let mut out = [0; 200];
    let len = Builder::new(&mut out, Class::Request, Method::BINDING, ID)
        .and_then(|b| b.username("a:b"))
        .and_then(|b| b.integrity(&key()))
        .and_then(|b| b.use_candidate())
        .and_then(|b| b.username("c:d"))
        .and_then(|b| b.attribute(0x7777, &[]))
        .and_then(Builder::fingerprint)
        .unwrap()
        .finish();
    let message = Message::parse(&out[..len]).unwrap();
    assert!(message.verify_integrity(&key()) && message.verify_fingerprint());
    assert_eq!(message.username(), Some("a:b"));
    assert!(!message.use_candidate());
    assert_eq!(message.unknown_required(&[kind::USERNAME]).count(), 0);
}

#[test]
fn of_two_usernames_the_first_counts() {
    let mut out = [0; 200];
    let len = Builder::new(&mut out, Class::Request, Method::BINDING, ID)
        .and_then(|b| b.username("a:b"))
        .and_then(|b| b.username("c:d"))
        .unwrap()
        .finish();
    assert_eq!(Message::parse(&out[..len]).unwrap().username(), Some("a:b"));
}

#[test]
fn a_short_buffer_is_refused_at_every_length() {
    let whole = check(Role::Controlling(1), true).len();
    for room in 0..whole + 4 {
        let mut out = vec![0; room];
        let request = BindingRequest {
            transaction_id: ID,
            username: "evtj:h6vY",
            priority: 1,
            role: Role::Controlling(1),
            use_candidate: true,
        };
        let written = write_binding_request(&mut out, &request, &key());
        if room < whole {
            assert_eq!(written, Err(BuildError::Space), "{room}");
        } else {
            assert_eq!(written, Ok(whole), "{room}");
        }
    }
    let mut out = [0; 1_000];
    let builder = Builder::new(&mut out, Class::Request, Method::BINDING, ID).unwrap();
    assert_eq!(
        builder.username(&"u".repeat(509)).err(),
        Some(BuildError::Value)
    );
}
