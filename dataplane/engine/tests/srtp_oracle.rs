//! Our packets against those of webrtc-srtp, an implementation on another crypto library: it encrypts,
//! and both must come to the same bytes. It never sees bytes that were not made here.

#![allow(clippy::unwrap_used, reason = "a test states what must be by failing")]

use dataplane_engine::transport::keys::{Profile, Role, SrtpKeys};
use dataplane_engine::transport::replay::seq_of;
use dataplane_engine::transport::srtp::{Opener, Sealer};
use webrtc_srtp::context::Context;
use webrtc_srtp::protection_profile::ProtectionProfile;

#[test]
fn rtp_is_the_same_bytes_over_three_rollovers() {
    for (profile, mut oracle, keys) in ends() {
        let mut sealer = Sealer::new(&keys);
        let mut opener = Opener::new(&reversed(&keys));
        // Far strides reach the rollovers soon, and stay below the half cycle a guess bridges.
        for (number, index) in (0x0123..0x3_8000_u64).step_by(997).enumerate() {
            let header = header(number, index);
            let payload: Vec<u8> = (0..=250)
                .cycle()
                .skip(number)
                .take(number * 7 % 1_250)
                .collect();
            let plain = [&header[..], &payload].concat();
            let expected = oracle.encrypt_rtp(&plain).unwrap();

            let mut sealed = header.clone();
            sealed.resize(plain.len() + profile.rtp_overhead(), 0);
            let len = sealer.seal_rtp(index, header.len(), &payload, 0, &mut sealed);
            assert_eq!(len, sealed.len());
            assert_eq!(sealed, expected, "{profile:?} index {index:#x}");

            let opened = opener.open_rtp(&mut sealed, header.len()).unwrap();
            assert_eq!(opened.index, index);
            assert_eq!(sealed[opened.payload], payload);
        }
    }
}

#[test]
fn rtcp_is_the_same_bytes() {
    for (profile, mut oracle, keys) in ends() {
        let mut sealer = Sealer::new(&keys);
        let mut opener = Opener::new(&reversed(&keys));
        for number in 0..200_u16 {
            let words = 1 + number % 40;
            let mut plain = vec![0x80, 200];
            plain.extend(words.to_be_bytes());
            plain.extend(0x0102_0304_u32.to_be_bytes());
            plain.resize(4 + 4 * usize::from(words), 0x5a);
            let expected = oracle.encrypt_rtcp(&plain).unwrap();

            let mut sealed = vec![0; plain.len() + profile.rtcp_overhead()];
            assert_eq!(sealer.seal_rtcp(&plain, &mut sealed), Some(sealed.len()));
            assert_eq!(sealed, expected, "{profile:?} packet {number}");
            let len = opener.open_rtcp(&mut sealed).unwrap();
            assert_eq!(sealed[..len], plain);
        }
    }
}

/// Each profile with keys of ours and a sender of the other implementation with the same.
fn ends() -> Vec<(Profile, Context, SrtpKeys)> {
    let other = |profile| match profile {
        Profile::Aes128CmSha1_80 => ProtectionProfile::Aes128CmHmacSha1_80,
        Profile::AeadAes128Gcm => ProtectionProfile::AeadAes128Gcm,
        Profile::AeadAes256Gcm => ProtectionProfile::AeadAes256Gcm,
    };
    Profile::ALL
        .into_iter()
        .map(|profile| {
            let len = u8::try_from(profile.keying_material_bytes()).unwrap();
            let material: Vec<u8> = (0..len).map(|at| at.wrapping_mul(53) ^ 0xa5).collect();
            let keys = SrtpKeys::from_keying_material(profile, Role::Server, &material).unwrap();
            let (key, salt) = (keys.local.key(), keys.local.salt());
            let oracle = Context::new(key, salt, other(profile), None, None).unwrap();
            (profile, oracle, keys)
        })
        .collect()
}

fn reversed(keys: &SrtpKeys) -> SrtpKeys {
    SrtpKeys {
        profile: keys.profile,
        local: keys.remote.clone(),
        remote: keys.local.clone(),
    }
}

/// Plain, with CSRCs, with an extension, and with both.
fn header(number: usize, index: u64) -> Vec<u8> {
    let csrcs = u8::from(number % 2 == 1) * 2;
    let extension = number % 4 >= 2;
    let mut header = vec![0x80 | csrcs | (u8::from(extension) << 4), 96];
    header.extend(seq_of(index).to_be_bytes());
    header.extend(0x1234_5678_u32.to_be_bytes());
    header.extend(0xcafe_babe_u32.to_be_bytes());
    header.resize(12 + 4 * usize::from(csrcs), 0x77);
    if extension {
        // RFC 8285 section 4.2: one element, id 1, three bytes.
        header.extend([0xbe, 0xde, 0, 1, 0x12, 1, 2, 3]);
    }
    header
}
