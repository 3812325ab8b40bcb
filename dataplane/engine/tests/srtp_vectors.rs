//! The published vectors: key derivation, whole packets of the profiles this node offers, and the
//! refusal of everything else (contracts.md 13).

#![allow(clippy::unwrap_used, reason = "a test states what must be by failing")]

mod vector_files;

use dataplane_engine::reason::DropReason;
use dataplane_engine::transport::keys::{Label, MasterKey, Profile, Role, SrtpKeys, derive};
use dataplane_engine::transport::srtp::{Opener, Sealer};
use serde_json::Value;
use vector_files::{hex, json};

#[test]
fn session_keys_are_derived_as_in_rfc_3711_b3() {
    let vector = json("srtp/rfc3711_b3_kdf.json");
    let master = MasterKey::new(
        Profile::Aes128CmSha1_80,
        &hex(&vector["master_key"]),
        &hex(&vector["master_salt"]),
    )
    .unwrap();
    let rtcp = &vector["derived_srtcp"];
    for (label, expected) in [
        (Label::RtpEncryption, &vector["cipher_key_label0"]),
        (
            Label::RtpAuthentication,
            &vector["auth_key_label1_94_octets"],
        ),
        (Label::RtpSalt, &vector["cipher_salt_label2"]),
        (Label::RtcpEncryption, &rtcp["cipher_key_label3"]),
        (Label::RtcpAuthentication, &rtcp["auth_key_label4_20"]),
        (Label::RtcpSalt, &rtcp["cipher_salt_label5"]),
    ] {
        let expected = hex(expected);
        let mut derived = vec![0xff; expected.len()];
        derive(&master, label, &mut derived);
        assert_eq!(derived, expected, "{label:?}");
    }
}

#[test]
fn packets_of_offered_profiles_are_sealed_and_opened_byte_for_byte() {
    let mut checked = 0;
    for vector in json("srtp/packets_end_to_end.json")["vectors"]
        .as_array()
        .unwrap()
    {
        let Some(keys) = offered(vector) else {
            continue;
        };
        checked += 1;
        let plain = hex(&vector["plain"]);
        let protected = hex(&vector["protected"]);
        let name = &vector["name"];
        if vector["kind"] == "rtcp" {
            let mut sealer = Sealer::resuming(&keys, vector["index"].as_u64().unwrap());
            let mut sealed = vec![0; protected.len()];
            assert_eq!(sealer.seal_rtcp(&plain, &mut sealed), Some(protected.len()));
            assert_eq!(sealed, protected, "{name}");
            let len = Opener::new(&keys).open_rtcp(&mut sealed).unwrap();
            assert_eq!(sealed[..len], plain, "{name}");
            continue;
        }

        let roc = vector["roc"].as_u64().unwrap();
        let index = (roc << 16) | 0x1234;
        let mut sealed = vec![0; protected.len()];
        sealed[..12].copy_from_slice(&plain[..12]);
        Sealer::new(&keys).seal_rtp(index, 12, &plain[12..], 0, &mut sealed);
        assert_eq!(sealed, protected, "{name}");

        let mut in_place = plain.clone();
        in_place.resize(protected.len(), 0);
        Sealer::new(&keys).seal_rtp_in_place(index, 12, plain.len() - 12, &mut in_place);
        assert_eq!(in_place, protected, "{name}");

        // A new receiver believes in rollover zero; for the others it would have to be led there.
        let opened = Opener::new(&keys).open_rtp(&mut sealed, 12);
        if roc == 0 {
            let opened = opened.unwrap();
            assert_eq!(opened.index, index, "{name}");
            assert_eq!(sealed[opened.payload], plain[12..], "{name}");
        } else {
            assert_eq!(opened, Err(DropReason::SrtpAuth), "{name}");
        }
    }
    // CM80 and both GCMs with their RTCP, and CM80 at two other rollovers.
    assert_eq!(checked, 8);
}

#[test]
fn packets_of_other_profiles_are_refused() {
    // Right keys, wrong profile: MKI, 32-bit tags and AES-192/256-CM all end in a tag that is not ours.
    let mut refused = 0;
    for vector in json("srtp/packets_end_to_end.json")["vectors"]
        .as_array()
        .unwrap()
    {
        if offered(vector).is_some() {
            continue;
        }
        let key = hex(&vector["master_key"]);
        let salt = hex(&vector["master_salt"]);
        for profile in Profile::ALL {
            // A key of another length is no key of this profile, so there is nothing to open with.
            let Some(master) = MasterKey::new(profile, &key, &salt) else {
                continue;
            };
            let mut opener = Opener::new(&both(profile, &master));
            let mut packet = hex(&vector["protected"]);
            let outcome = if vector["kind"] == "rtcp" {
                opener.open_rtcp(&mut packet).map(drop)
            } else {
                opener.open_rtp(&mut packet, 12).map(drop)
            };
            assert_eq!(outcome, Err(DropReason::SrtpAuth), "{}", vector["name"]);
            assert_eq!(opener.ssrc_count(), 0);
        }
        refused += 1;
    }
    assert_eq!(refused, 5);

    for vector in json("srtp/rfc6188_aes192_aes256.json")["vectors"]
        .as_array()
        .unwrap()
    {
        if vector["master_key"].is_string() {
            let (key, salt) = (hex(&vector["master_key"]), hex(&vector["master_salt"]));
            for profile in Profile::ALL {
                assert_eq!(MasterKey::new(profile, &key, &salt), None);
            }
        }
    }
}

#[test]
fn encrypted_headers_of_rfc_9335_are_refused_before_their_tag_is_tried() {
    let file = json("srtp/rfc9335_cryptex.json");
    for vector in file["vectors"].as_array().unwrap() {
        let (profile, keys) = match vector["profile"].as_str().unwrap() {
            "AEAD_AES_128_GCM" => (Profile::AeadAes128Gcm, &file["gcm"]),
            _ => (Profile::Aes128CmSha1_80, &file["cm"]),
        };
        let master = MasterKey::new(
            profile,
            &hex(&keys["master_key"]),
            &hex(&keys["master_salt"]),
        )
        .unwrap();
        let mut opener = Opener::new(&both(profile, &master));
        let mut packet = hex(&vector["protected"]);
        let header_len = header_len(&packet);
        let outcome = opener.open_rtp(&mut packet, header_len);
        assert_eq!(
            outcome,
            Err(DropReason::RtpMalformed),
            "{}",
            vector["title"]
        );

        // The same packet without cryptex is an ordinary one.
        let plain = hex(&vector["plain"]);
        let mut sealed = plain.clone();
        sealed.resize(plain.len() + profile.rtp_overhead(), 0);
        let index = u64::from(u16::from_be_bytes([plain[2], plain[3]]));
        let mut sealer = Sealer::new(&both(profile, &master));
        sealer.seal_rtp_in_place(index, header_len, plain.len() - header_len, &mut sealed);
        let opened = opener.open_rtp(&mut sealed, header_len).unwrap();
        assert_eq!(sealed[opened.payload], plain[header_len..]);
    }
}

#[test]
fn rfc_6904_elements_stay_as_opaque_as_they_came() {
    // The tag covers the header as sent, so nothing distinguishes the packet: its payload opens, and the
    // extension elements, which no answer of ours asks to encrypt, are never decrypted.
    let vector = json("srtp/rfc6904_encrypted_header_ext.json");
    let profile = Profile::Aes128CmSha1_80;
    let master = MasterKey::new(
        profile,
        &hex(&vector["master_key"]),
        &hex(&vector["master_salt"]),
    )
    .unwrap();
    let protected = hex(&vector["protected"]);
    let plain = hex(&vector["plain"]);
    let header_len = header_len(&protected);
    let mut packet = protected.clone();
    let opened = Opener::new(&both(profile, &master))
        .open_rtp(&mut packet, header_len)
        .unwrap();
    assert_eq!(packet[..header_len], protected[..header_len]);
    assert_ne!(packet[..header_len], plain[..header_len]);
    assert_eq!(packet[opened.payload], plain[header_len..]);
}

#[test]
fn keying_material_is_cut_by_role() {
    for profile in Profile::ALL {
        let len = u8::try_from(profile.keying_material_bytes()).unwrap();
        let material: Vec<u8> = (0..len).collect();
        let server = SrtpKeys::from_keying_material(profile, Role::Server, &material).unwrap();
        let client = SrtpKeys::from_keying_material(profile, Role::Client, &material).unwrap();
        assert_eq!(server.local, client.remote);
        assert_eq!(server.remote, client.local);
        let (key, salt) = (profile.key_bytes(), profile.salt_bytes());
        assert_eq!(client.local.key(), &material[..key]);
        assert_eq!(server.local.key(), &material[key..2 * key]);
        assert_eq!(client.local.salt(), &material[2 * key..2 * key + salt]);
        assert_eq!(server.local.salt(), &material[2 * key + salt..]);
        let short = &material[1..];
        assert_eq!(
            SrtpKeys::from_keying_material(profile, Role::Server, short),
            None
        );
    }
}

#[test]
fn nothing_prints_a_key() {
    let master = MasterKey::new(Profile::AeadAes128Gcm, &[0xab; 16], &[0xcd; 12]).unwrap();
    let keys = both(Profile::AeadAes128Gcm, &master);
    for printed in [
        format!("{keys:?}"),
        format!("{:?}", Opener::new(&keys)),
        format!("{:?}", Sealer::new(&keys)),
    ] {
        let printed = printed.to_lowercase();
        for secret in ["ab, ab", "abab", "171, 171", "cd, cd", "cdcd", "205, 205"] {
            assert!(!printed.contains(secret), "{printed}");
        }
    }
}

/// The keys of a vector whose profile this node offers.
fn offered(vector: &Value) -> Option<SrtpKeys> {
    let name = vector["name"].as_str().unwrap();
    let profile = if name.contains("MKI") {
        return None;
    } else if name.starts_with("AES_CM_128_HMAC_SHA1_80") {
        Profile::Aes128CmSha1_80
    } else if name.starts_with("AEAD_AES_128_GCM") {
        Profile::AeadAes128Gcm
    } else if name.starts_with("AEAD_AES_256_GCM") {
        Profile::AeadAes256Gcm
    } else {
        return None;
    };
    let master = MasterKey::new(
        profile,
        &hex(&vector["master_key"]),
        &hex(&vector["master_salt"]),
    )
    .unwrap();
    Some(both(profile, &master))
}

/// One key for both directions: what is sealed is opened with the same.
fn both(profile: Profile, master: &MasterKey) -> SrtpKeys {
    SrtpKeys {
        profile,
        local: master.clone(),
        remote: master.clone(),
    }
}

/// RFC 3550 section 5.1 and 5.3.1.
fn header_len(packet: &[u8]) -> usize {
    let fixed = 12 + 4 * usize::from(packet[0] & 0x0f);
    if packet[0] & 0x10 == 0 {
        return fixed;
    }
    let words = u16::from_be_bytes([packet[fixed + 2], packet[fixed + 3]]);
    fixed + 4 + 4 * usize::from(words)
}
