//! STUN: reading, sealing, and building again from what was read (security.md T9).

use turn::stun::{
    Attribute, Builder, Class, IntegrityKey, Message, attribute_type, write_error,
    write_unknown_attributes,
};

use super::OCTETS;
use crate::behaviour;
use crate::runner::Target;
use crate::vectors;

/// The password of RFC 5769's short-term vectors.
const PASSWORD: &[u8] = b"VOkJxbRl1RmTxUk/WvJxBt";

pub(super) fn targets() -> Vec<Target> {
    vec![Target {
        name: "stun",
        run: stun,
        seeds: stun_vectors,
        executions: 40_000,
        words: &[
            &[0x21, 0x12, 0xa4, 0x42],
            &[0x80, 0x28, 0, 4],
            &[0x00, 0x08, 0, 20],
            &[0x00, 0x1c, 0, 32],
            &[0x00, 0x06, 0, 9],
            &[0x00, 0x25, 0, 0],
            &[0x80, 0x29, 0, 8],
            &[0x80, 0x2a, 0, 8],
            &[0x00, 0x20, 0, 8],
            &[0x00, 0x09, 0, 4],
        ],
        ..OCTETS
    }]
}

/// The messages of the vectors.
pub(super) fn stun_vectors() -> Vec<Vec<u8>> {
    vectors::octets(&[
        "turn/tests/vectors/rfc5769.json",
        "turn/tests/vectors/rfc8489_b1.json",
        "turn/tests/vectors/stun_malformed_and_edge.json",
        "turn/tests/vectors/libwebrtc_stun.jsonl",
        "turn/tests/vectors/pion_stun.jsonl",
    ])
}

/// One message.
pub fn stun(bytes: &[u8]) {
    let message = match Message::parse(bytes) {
        Ok(message) => message,
        Err(error) => return behaviour::outcome("error", &error),
    };
    assert_eq!(message.bytes(), bytes);
    behaviour::outcome("class", &message.class());
    behaviour::note("method", u64::from(message.method().0.min(16)));
    let attributes: Vec<Attribute<'_>> = message.attributes().collect();
    let octets: usize = attributes
        .iter()
        .map(|attribute| 4 + attribute.value.len())
        .sum();
    assert!(octets + 20 <= bytes.len());
    for attribute in &attributes {
        if !(0x40..0x8000).contains(&attribute.kind) && attribute.kind < 0x8040 {
            behaviour::note("attribute", u64::from(attribute.kind));
        }
        let first = attributes.iter().find(|other| other.kind == attribute.kind);
        assert_eq!(
            message.attribute(attribute.kind),
            first.map(|first| first.value),
            "the first counts"
        );
    }
    accessors(&message);

    let key = IntegrityKey::new(PASSWORD);
    let sealed = message.verify_integrity(&key);
    assert!(!sealed || message.has_integrity());
    behaviour::note(
        "sealed",
        u64::from(sealed) << 1 | u64::from(message.verify_fingerprint()),
    );
    rebuilt(&message, &attributes, &key);
    answers(&message, bytes, &key);
}

fn accessors(message: &Message<'_>) {
    if let Some((local, remote)) = message.username_fragments() {
        assert_eq!(
            message.username().map(str::len),
            Some(local.len() + 1 + remote.len())
        );
        assert!(!local.contains(':'));
    }
    assert!(
        message
            .error_code()
            .is_none_or(|code| (300..700).contains(&code))
    );
    behaviour::note("username", u64::from(message.username().is_some()));
    behaviour::note(
        "address",
        u64::from(
            message
                .xor_mapped_address()
                .is_some_and(|address| address.is_ipv6()),
        ),
    );
    behaviour::note("code", u64::from(message.error_code().unwrap_or(0)));
    let ice = [
        message.priority().is_some(),
        message.use_candidate(),
        message.ice_controlling().is_some(),
        message.ice_controlled().is_some(),
    ];
    behaviour::outcome("ice", &ice.map(u8::from));
}

/// The same attributes written and sealed read as the same.
fn rebuilt(message: &Message<'_>, attributes: &[Attribute<'_>], key: &IntegrityKey) {
    let mut out = vec![0xa5; message.bytes().len() + 64];
    let mut builder = Builder::new(
        &mut out,
        message.class(),
        message.method(),
        message.transaction_id(),
    )
    .expect("room for a header");
    for attribute in attributes {
        builder = builder
            .attribute(attribute.kind, attribute.value)
            .expect("it was there");
    }
    let len = builder
        .integrity(key)
        .and_then(Builder::fingerprint)
        .expect("room for both seals")
        .finish();
    let again = Message::parse(&out[..len]).expect("a message that was written");
    let read: Vec<_> = again
        .attributes()
        .map(|attribute| (attribute.kind, attribute.value))
        .collect();
    let wanted: Vec<_> = attributes
        .iter()
        .map(|attribute| (attribute.kind, attribute.value))
        .collect();
    assert_eq!(read, wanted);
    assert_eq!(
        (again.class(), again.method(), again.transaction_id()),
        (message.class(), message.method(), message.transaction_id())
    );
    assert!(again.verify_integrity(key) && again.verify_fingerprint());
    // One changed bit of what the seal covers, and it is broken.
    let at = 4 + usize::from(message.transaction_id().0[0]) % 16;
    out[at] ^= 1;
    assert!(
        Message::parse(&out[..len]).is_ok_and(|forged| !forged.verify_integrity(key)) || at < 8
    );
}

/// What is answered before the sender is known is no longer than what was asked (security.md T4, T10).
fn answers(message: &Message<'_>, bytes: &[u8], key: &IntegrityKey) {
    if message.class() != Class::Request {
        return;
    }
    let known = [attribute_type::USERNAME, attribute_type::PRIORITY];
    let mut out = vec![0; bytes.len()];
    for key in [None, Some(key)] {
        let unknown = message.unknown_required(&known);
        let (method, id) = (message.method(), message.transaction_id());
        match write_unknown_attributes(&mut out, method, id, unknown, key) {
            Ok(len) => {
                assert!(len <= bytes.len());
                let answer = Message::parse(&out[..len]).expect("an answer that was written");
                assert_eq!(
                    (answer.class(), answer.error_code()),
                    (Class::Error, Some(420))
                );
            }
            Err(error) => behaviour::outcome("no answer", &error),
        }
        if let Ok(len) = write_error(&mut out, method, id, 400, key) {
            assert!(len <= bytes.len());
        }
    }
}
