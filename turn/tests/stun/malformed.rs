//! The malformed and odd messages by name, each with what it requires of this layer.

use turn::stun::{
    Class, Message, Method, StunError, attribute_type as kind, write_unknown_attributes,
};

use crate::data::{Case, malformed};

#[test]
fn every_case_gets_its_required_behaviour() {
    let all = malformed();
    assert_eq!(all.len(), 24);
    for case in &all {
        match error_of(&case.name) {
            Some(error) => {
                let parsed = Message::parse(&case.bytes).map(|message| message.class());
                assert_eq!(parsed, Err(error), "{}", case.name);
            }
            None => well_framed(case),
        }
    }
}

/// Messages that must not even be read, and why.
fn error_of(name: &str) -> Option<StunError> {
    Some(match name {
        "length field not multiple of 4"
        | "length field longer than datagram"
        | "length shorter than datagram (trailing bytes)" => StunError::Length,
        "attr length runs past end" | "attr length 65533 padding wrap" => StunError::Attribute,
        "MESSAGE-INTEGRITY with 0-length value" | "MESSAGE-INTEGRITY-SHA256 12-byte truncation" => {
            StunError::Integrity
        }
        "FINGERPRINT not last" => StunError::Fingerprint,
        "first byte 0x00 but not STUN (no cookie)" => StunError::NotStun,
        "ChannelData 0x4000 len 65535 truncated" | "ChannelData 0x5000 unbound/reserved" => {
            StunError::TooShort
        }
        _ => return None,
    })
}

/// Messages that read, and where the caller's refusal comes from.
fn well_framed(Case { name, bytes }: &Case) {
    let message = Message::parse(bytes).unwrap_or_else(|error| panic!("{name}: {error}"));
    match name.as_str() {
        "bare binding request 20 bytes" => {
            assert_eq!(message.class(), Class::Request);
            assert_eq!(message.username(), None);
            assert!(!message.has_integrity());
        }
        "1500-byte message of 366 zero-length attrs" => {
            assert_eq!(message.attributes().count(), (bytes.len() - 20) / 4);
        }
        "unknown comprehension-required x 100" => {
            assert_eq!(message.unknown_required(&[]).count(), 100);
            // The refusal names as many as fit without being longer than the request.
            for room in 44..=bytes.len() {
                let mut out = vec![0; room];
                let types = message.unknown_required(&[]);
                let id = message.transaction_id();
                let len = write_unknown_attributes(&mut out, Method::BINDING, id, types, None)
                    .unwrap_or_else(|error| panic!("{room}: {error}"));
                let refusal = Message::parse(&out[..len]).expect("a refusal");
                assert_eq!(refusal.error_code(), Some(420));
                let listed = refusal.attribute(kind::UNKNOWN_ATTRIBUTES).expect("a list");
                let fits = (room - 40) / 4 * 2;
                assert_eq!(listed.len() / 2, fits.min(100), "{room}");
            }
        }
        "USERNAME 600 bytes" => assert_eq!(message.username(), None),
        "USERNAME no colon" => {
            assert_eq!(message.username(), Some("abcdef"));
            assert_eq!(message.username_fragments(), None);
        }
        "XOR-PEER-ADDRESS family 0" | "XOR-PEER-ADDRESS IPv6 family, 8-byte value" => {
            assert!(message.attribute(kind::XOR_PEER_ADDRESS).is_some());
            assert_eq!(message.xor_address(kind::XOR_PEER_ADDRESS), None);
        }
        "ERROR-CODE class 7 in response" => {
            assert_eq!(message.class(), Class::Error);
            assert_eq!(message.error_code(), None);
        }
        "Binding response to unknown transaction" => {
            assert_eq!(message.class(), Class::Success);
            assert!(!message.has_integrity());
        }
        "Binding indication" => assert_eq!(message.class(), Class::Indication),
        "Allocate w/o auth" | "Allocate LIFETIME 0xffffffff" => {
            assert_eq!(message.method(), Method::ALLOCATE);
            assert!(!message.has_integrity());
            assert!(message.attribute(kind::REQUESTED_TRANSPORT).is_some());
        }
        "CreatePermission with 100 XOR-PEER-ADDRESS" => {
            assert_eq!(message.method(), Method::CREATE_PERMISSION);
            assert_eq!(message.attributes().count(), 100);
        }
        other => panic!("no rule for the case {other:?}"),
    }
}
