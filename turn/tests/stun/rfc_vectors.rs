//! RFC 5769 and RFC 8489 appendix B.1, read, verified, and every bit of them flipped.

use serde::Deserialize;
use turn::stun::{Class, IntegrityKey, Message, Method, attribute_type as kind};

use crate::data::unhex;

#[derive(Deserialize)]
struct Rfc5769 {
    vectors: Vec<Vector>,
}

#[derive(Deserialize)]
struct Vector {
    name: String,
    hex: String,
    key_utf8: Option<String>,
    key_md5: Option<String>,
}

/// The four messages of RFC 5769 with their keys, in the order of its sections.
fn rfc5769() -> [(Vec<u8>, IntegrityKey); 4] {
    let text = include_str!("../vectors/rfc5769.json");
    let file: Rfc5769 = serde_json::from_str(text).expect("a vector file");
    let vectors: Vec<_> = file
        .vectors
        .iter()
        .map(|vector| {
            let key = match (&vector.key_utf8, &vector.key_md5) {
                (Some(text), _) => text.as_bytes().to_vec(),
                (None, Some(hex)) => unhex(hex),
                (None, None) => panic!("{}: no key", vector.name),
            };
            (unhex(&vector.hex), IntegrityKey::new(&key))
        })
        .collect();
    vectors
        .try_into()
        .unwrap_or_else(|_| panic!("four vectors"))
}

#[test]
fn a_connectivity_check() {
    let [(bytes, key), ..] = rfc5769();
    let message = Message::parse(&bytes).unwrap();
    assert_eq!(message.class(), Class::Request);
    assert_eq!(message.method(), Method::BINDING);
    assert_eq!(
        message.attribute(kind::SOFTWARE),
        Some(&b"STUN test client"[..])
    );
    assert_eq!(message.priority(), Some(1_845_494_271));
    assert_eq!(message.ice_controlled(), Some(10_605_970_187_446_795_062));
    assert_eq!(message.ice_controlling(), None);
    assert_eq!(message.username(), Some("evtj:h6vY"));
    assert_eq!(message.username_fragments(), Some(("evtj", "h6vY")));
    assert!(!message.use_candidate());
    assert!(message.verify_integrity(&key));
    assert!(message.verify_fingerprint());
    assert!(!message.verify_integrity(&IntegrityKey::new(b"VOkJxbRl1RmTxUk/WvJxBu")));
}

#[test]
fn its_answers_over_both_address_families() {
    let [_, (v4, v4_key), (v6, v6_key), _] = rfc5769();
    let message = Message::parse(&v4).unwrap();
    assert_eq!(message.class(), Class::Success);
    assert_eq!(
        message.xor_mapped_address(),
        Some("192.0.2.1:32853".parse().unwrap())
    );
    assert!(message.verify_integrity(&v4_key) && message.verify_fingerprint());

    let message = Message::parse(&v6).unwrap();
    let address = "[2001:db8:1234:5678:11:2233:4455:6677]:32853"
        .parse()
        .unwrap();
    assert_eq!(message.xor_mapped_address(), Some(address));
    assert!(message.verify_integrity(&v6_key) && message.verify_fingerprint());
}

#[test]
fn long_term_credentials() {
    let [.., (bytes, key)] = rfc5769();
    let message = Message::parse(&bytes).unwrap();
    assert_eq!(message.username(), Some("マトリックス"));
    assert_eq!(message.attribute(kind::REALM), Some(&b"example.org"[..]));
    assert!(message.verify_integrity(&key));
    assert!(!message.has_fingerprint() && !message.verify_fingerprint());
}

#[test]
fn sha256_and_a_userhash() {
    #[derive(Deserialize)]
    struct File {
        hex: String,
        userhash: String,
        long_term_key_sha256: String,
    }
    let file: File =
        serde_json::from_str(include_str!("../vectors/rfc8489_b1.json")).expect("a vector file");
    let bytes = unhex(&file.hex);
    let key = IntegrityKey::new(&unhex(&file.long_term_key_sha256));
    let message = Message::parse(&bytes).unwrap();
    assert_eq!(
        message.attribute(kind::USERHASH),
        Some(&unhex(&file.userhash)[..])
    );
    assert!(message.verify_integrity(&key));
    for bit in 0..bytes.len() * 8 {
        let mut flipped = bytes.clone();
        flipped[bit / 8] ^= 0x80 >> (bit % 8);
        assert!(!verifies(&flipped, &key), "bit {bit}");
    }
}

fn verifies(bytes: &[u8], key: &IntegrityKey) -> bool {
    Message::parse(bytes).is_ok_and(|message| message.verify_integrity(key))
}

#[test]
fn no_bit_under_the_seals_can_be_flipped() {
    for (bytes, key) in rfc5769() {
        let fingerprinted = Message::parse(&bytes).unwrap().has_fingerprint();
        let sealed = bytes.len() - if fingerprinted { 8 } else { 0 };
        for bit in 0..bytes.len() * 8 {
            let mut flipped = bytes.clone();
            flipped[bit / 8] ^= 0x80 >> (bit % 8);
            let at = bit / 8;
            // The length field is replaced in the HMAC, but a changed one no longer fits the datagram.
            if at < sealed {
                assert!(
                    !verifies(&flipped, &key),
                    "bit {bit} under MESSAGE-INTEGRITY"
                );
            }
            let intact = Message::parse(&flipped).is_ok_and(|m| m.verify_fingerprint());
            assert!(!intact, "bit {bit} under FINGERPRINT");
        }
    }
}
