//! Public corpora, their truncations and mutations: nothing panics, nothing unsealed verifies.

use turn::stun::{IntegrityKey, Message, attribute_type as kind};

use crate::data::{corpora, malformed};

/// Reads `bytes` through every accessor.
fn exercise(bytes: &[u8], key: &IntegrityKey) -> bool {
    let Ok(message) = Message::parse(bytes) else {
        return false;
    };
    assert!(message.attributes().count() <= bytes.len() / 4);
    for attribute in message.attributes().take(16) {
        let first = message
            .attribute(attribute.kind)
            .expect("an attribute that was listed");
        assert!(first.len() < bytes.len());
        let _ = message.xor_address(attribute.kind);
    }
    assert!(message.username().is_none_or(|name| name.len() <= 508));
    assert!(
        message
            .error_code()
            .is_none_or(|code| (300..=699).contains(&code))
    );
    let _ = (
        message.priority(),
        message.use_candidate(),
        message.username_fragments(),
    );
    let _ = (
        message.ice_controlled(),
        message.ice_controlling(),
        message.xor_mapped_address(),
    );
    let _ = (
        message.unknown_required(&[kind::USERNAME]).count(),
        message.verify_fingerprint(),
    );
    assert!(!message.verify_integrity(key), "nobody knows this key");
    true
}

#[test]
fn no_input_no_truncation_and_no_changed_octet_panics() {
    let key = IntegrityKey::new(b"a key nobody else has");
    let mut read = 0;
    let inputs: Vec<_> = corpora().into_iter().chain(malformed()).collect();
    assert!(inputs.len() >= 60, "a file was cut");
    for case in inputs {
        read += usize::from(exercise(&case.bytes, &key));
        for len in 0..case.bytes.len().min(128) {
            exercise(&case.bytes[..len], &key);
        }
        let mut bytes = case.bytes.clone();
        for at in 0..bytes.len().min(128) {
            let kept = bytes[at];
            for value in [0x00, 0x01, 0x7F, 0x80, 0xFF, kept ^ 0x10] {
                bytes[at] = value;
                exercise(&bytes, &key);
            }
            bytes[at] = kept;
        }
    }
    assert!(read >= 20, "only {read} inputs read as STUN");
}

/// What real agents sent must still read: the corpus holds the RFC 5769 messages under these names.
#[test]
fn real_messages_read() {
    for case in corpora() {
        let well_formed = [
            "5.stun", "6.stun", "7.stun", "8.stun", "1.stun", "10.stun", "14.stun",
        ];
        if well_formed.contains(&case.name.as_str()) {
            assert!(Message::parse(&case.bytes).is_ok(), "{}", case.name);
        }
    }
}
