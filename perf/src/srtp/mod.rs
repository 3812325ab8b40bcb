//! SRTP as the load generator and the floors speak it (RFC 3711, RFC 7714, RFC 5764).
//!
//! Written apart from the engine's on purpose: a node that seals wrongly must not be found right by its
//! own code. No replay protection: duplicates are what the load generator is there to count.

mod cipher;
mod index;

use aws_lc_rs::aead::Aad;
use aws_lc_rs::hmac;
use clap::ValueEnum;

use self::cipher::{Cipher, Counter, cm_keystream, gcm_nonce};
pub(crate) use self::index::{Indices, identity};

/// Fixed part of an RTP header (RFC 3550 section 5.1).
pub(crate) const RTP_HEADER_BYTES: usize = 12;
/// Part of an RTCP packet that is never encrypted (RFC 3711 section 3.4).
const RTCP_CLEAR_BYTES: usize = 8;
/// E flag and index at the end of an SRTCP packet.
const SRTCP_INDEX_BYTES: usize = 4;

/// SRTP protection profile.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Profile {
    /// SRTP_AEAD_AES_128_GCM (RFC 7714).
    Gcm128,
    /// SRTP_AEAD_AES_256_GCM (RFC 7714).
    Gcm256,
    /// SRTP_AES128_CM_HMAC_SHA1_80 (RFC 5764).
    Cm,
}

impl Profile {
    /// The number in the `use_srtp` extension (RFC 5764 section 4.1.2, RFC 7714 section 14.2).
    pub(crate) fn number(self) -> u16 {
        match self {
            Profile::Gcm128 => 0x0007,
            Profile::Gcm256 => 0x0008,
            Profile::Cm => 0x0001,
        }
    }

    /// The word used on the command line and in reports.
    pub(crate) fn word(self) -> &'static str {
        match self {
            Profile::Gcm128 => "gcm128",
            Profile::Gcm256 => "gcm256",
            Profile::Cm => "cm",
        }
    }

    fn key_bytes(self) -> usize {
        match self {
            Profile::Gcm128 | Profile::Cm => 16,
            Profile::Gcm256 => 32,
        }
    }

    fn salt_bytes(self) -> usize {
        match self {
            Profile::Gcm128 | Profile::Gcm256 => 12,
            Profile::Cm => 14,
        }
    }

    /// Bytes a sealed packet is longer than the plain one.
    pub(crate) fn tag_bytes(self) -> usize {
        match self {
            Profile::Gcm128 | Profile::Gcm256 => 16,
            Profile::Cm => 10,
        }
    }
}

/// Which end of the DTLS handshake wrote the packets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Writer {
    Client,
    Server,
}

/// Keys of one direction of one session.
#[derive(Debug)]
pub(crate) struct Keys {
    profile: Profile,
    rtp: Cipher,
    rtcp: Cipher,
}

impl Keys {
    /// From the exported keying material: client key, server key, client salt, server salt (RFC 5764
    /// section 4.2). `None` when its length does not fit the profile.
    pub(crate) fn exported(profile: Profile, material: &[u8], writer: Writer) -> Option<Keys> {
        let (key, salt) = (profile.key_bytes(), profile.salt_bytes());
        if material.len() != 2 * (key + salt) {
            return None;
        }
        let (keys, salts) = material.split_at(2 * key);
        Some(match writer {
            Writer::Client => Keys::derive(profile, &keys[..key], &salts[..salt]),
            Writer::Server => Keys::derive(profile, &keys[key..], &salts[salt..]),
        })
    }

    /// Fresh keys that nobody else knows: a floor's viewer.
    pub(crate) fn random(profile: Profile) -> Keys {
        let master: [u8; 46] = std::array::from_fn(|_| rand::random());
        let (key, salt) = master.split_at(32);
        Keys::derive(
            profile,
            &key[..profile.key_bytes()],
            &salt[..profile.salt_bytes()],
        )
    }

    fn derive(profile: Profile, master_key: &[u8], master_salt: &[u8]) -> Keys {
        Keys {
            profile,
            rtp: Cipher::derive(profile, master_key, master_salt, 0),
            rtcp: Cipher::derive(profile, master_key, master_salt, 3),
        }
    }

    /// Seals `packet`, whose first `header` bytes stay readable, into `out`; returns the sealed length.
    /// `index` is the 48-bit packet index, whose low 16 bits are the packet's sequence number.
    ///
    /// `out` must have room for the packet and [`Profile::tag_bytes`].
    #[inline]
    pub(crate) fn seal(&self, packet: &[u8], header: usize, index: u64, out: &mut [u8]) -> usize {
        let (clear, plaintext) = packet.split_at(header);
        let ssrc = ssrc_of(clear);
        let out = &mut out[..packet.len() + self.profile.tag_bytes()];
        let (out_clear, out_rest) = out.split_at_mut(header);
        out_clear.copy_from_slice(clear);
        let (body, tag) = out_rest.split_at_mut(plaintext.len());
        match &self.rtp {
            Cipher::Gcm { key, salt } => {
                key.seal_out_of_place_scatter(
                    gcm_nonce(salt, ssrc, index),
                    Aad::from(clear),
                    plaintext,
                    body,
                    &[],
                    tag,
                )
                .expect("invariant: lengths were cut to fit just above");
            }
            Cipher::Cm(counter) => {
                let Counter { key, salt, auth } = &**counter;
                body.copy_from_slice(plaintext);
                cm_keystream(key, salt, ssrc, index, body);
                let mut mac = hmac::Context::with_key(auth);
                mac.update(out_clear);
                mac.update(body);
                mac.update(&rollover(index));
                tag.copy_from_slice(&mac.sign().as_ref()[..self.profile.tag_bytes()]);
            }
        }
        packet.len() + self.profile.tag_bytes()
    }

    /// Authenticates and decrypts an SRTP packet in place; `None` when it is not from this writer.
    pub(crate) fn open<'a>(&self, packet: &'a mut [u8], index: u64) -> Option<Rtp<'a>> {
        let header = rtp_header_bytes(packet)?;
        let tag = self.profile.tag_bytes();
        if packet.len() < header + tag {
            return None;
        }
        let (clear, rest) = packet.split_at_mut(header);
        let ssrc = ssrc_of(clear);
        let mut payload = match &self.rtp {
            Cipher::Gcm { key, salt } => &*key
                .open_in_place(gcm_nonce(salt, ssrc, index), Aad::from(&*clear), rest)
                .ok()?,
            Cipher::Cm(counter) => {
                let Counter { key, salt, auth } = &**counter;
                let (body, received) = rest.split_at_mut(rest.len() - tag);
                let mut mac = hmac::Context::with_key(auth);
                mac.update(clear);
                mac.update(body);
                mac.update(&rollover(index));
                if mac.sign().as_ref()[..tag] != *received {
                    return None;
                }
                cm_keystream(key, salt, ssrc, index, body);
                &*body
            }
        };
        // P bit: the last byte counts the padding, itself included (RFC 3550 section 5.1).
        if clear[0] & 0x20 != 0 {
            let padding = usize::from(*payload.last()?);
            payload = payload.get(..payload.len().checked_sub(padding)?)?;
        }
        Some(Rtp {
            payload_type: clear[1] & 0x7f,
            payload,
        })
    }

    /// Seals an RTCP compound packet. `index` must grow with every packet of this writer.
    pub(crate) fn seal_rtcp(&self, packet: &[u8], index: u32) -> Vec<u8> {
        let ssrc = u32::from_be_bytes([packet[4], packet[5], packet[6], packet[7]]);
        let trailer = (index | 1 << 31).to_be_bytes();
        let mut out = packet.to_vec();
        let (clear, body) = out.split_at_mut(RTCP_CLEAR_BYTES);
        match &self.rtcp {
            Cipher::Gcm { key, salt } => {
                let mut aad = [0; RTCP_CLEAR_BYTES + SRTCP_INDEX_BYTES];
                aad[..RTCP_CLEAR_BYTES].copy_from_slice(clear);
                aad[RTCP_CLEAR_BYTES..].copy_from_slice(&trailer);
                let nonce = gcm_nonce(salt, ssrc, u64::from(index));
                let tag = key
                    .seal_in_place_separate_tag(nonce, Aad::from(aad), body)
                    .expect("invariant: a control packet is shorter than the cipher's limit");
                out.extend_from_slice(tag.as_ref());
                out.extend_from_slice(&trailer);
            }
            Cipher::Cm(counter) => {
                let Counter { key, salt, auth } = &**counter;
                cm_keystream(key, salt, ssrc, u64::from(index), body);
                out.extend_from_slice(&trailer);
                let tag = hmac::sign(auth, &out);
                out.extend_from_slice(&tag.as_ref()[..self.profile.tag_bytes()]);
            }
        }
        out
    }

    /// Authenticates and decrypts an SRTCP packet in place and returns the compound packet.
    pub(crate) fn open_rtcp<'a>(&self, packet: &'a mut [u8]) -> Option<&'a [u8]> {
        let tag = self.profile.tag_bytes();
        if packet.len() < RTCP_CLEAR_BYTES + SRTCP_INDEX_BYTES + tag {
            return None;
        }
        let ssrc = u32::from_be_bytes(packet[4..8].try_into().ok()?);
        match &self.rtcp {
            // The tag stands before the index, and the index is part of the AAD (RFC 7714 section 9.2).
            Cipher::Gcm { key, salt } => {
                let (sealed, trailer) = packet.split_at_mut(packet.len() - SRTCP_INDEX_BYTES);
                let trailer: [u8; SRTCP_INDEX_BYTES] = (&*trailer).try_into().ok()?;
                let index = encrypted_index(trailer)?;
                let mut aad = [0; RTCP_CLEAR_BYTES + SRTCP_INDEX_BYTES];
                aad[..RTCP_CLEAR_BYTES].copy_from_slice(&sealed[..RTCP_CLEAR_BYTES]);
                aad[RTCP_CLEAR_BYTES..].copy_from_slice(&trailer);
                let nonce = gcm_nonce(salt, ssrc, u64::from(index));
                let body = &mut sealed[RTCP_CLEAR_BYTES..];
                let length = key.open_in_place(nonce, Aad::from(aad), body).ok()?.len();
                Some(&packet[..RTCP_CLEAR_BYTES + length])
            }
            // The tag comes last and covers the index (RFC 3711 section 3.4).
            Cipher::Cm(counter) => {
                let Counter { key, salt, auth } = &**counter;
                let (covered, received) = packet.split_at_mut(packet.len() - tag);
                if hmac::sign(auth, covered).as_ref()[..tag] != *received {
                    return None;
                }
                let end = covered.len() - SRTCP_INDEX_BYTES;
                let index = encrypted_index(covered[end..].try_into().ok()?)?;
                let body = &mut covered[RTCP_CLEAR_BYTES..end];
                cm_keystream(key, salt, ssrc, u64::from(index), body);
                Some(&packet[..end])
            }
        }
    }
}

/// An authenticated packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Rtp<'a> {
    pub(crate) payload_type: u8,
    /// Without padding.
    pub(crate) payload: &'a [u8],
}

/// The rollover counter as the authentication tag covers it.
fn rollover(index: u64) -> [u8; 4] {
    let bytes = index.to_be_bytes();
    [bytes[2], bytes[3], bytes[4], bytes[5]]
}

/// The SRTCP index; `None` when the E flag says the packet is not encrypted, which nobody here sends.
fn encrypted_index(trailer: [u8; SRTCP_INDEX_BYTES]) -> Option<u32> {
    let word = u32::from_be_bytes(trailer);
    (word >> 31 == 1).then_some(word & 0x7fff_ffff)
}

fn ssrc_of(header: &[u8]) -> u32 {
    u32::from_be_bytes([header[8], header[9], header[10], header[11]])
}

/// Header length with contributing sources and extension.
fn rtp_header_bytes(packet: &[u8]) -> Option<usize> {
    let first = *packet.first()?;
    let mut length = RTP_HEADER_BYTES + 4 * usize::from(first & 0x0f);
    if first & 0x10 != 0 {
        let words = packet.get(length + 2..length + 4)?;
        length += 4 + 4 * usize::from(u16::from_be_bytes([words[0], words[1]]));
    }
    (packet.len() >= length).then_some(length)
}

#[cfg(test)]
mod tests {
    use aws_lc_rs::aead::{AES_128_GCM, LessSafeKey, UnboundKey};

    use super::*;

    fn hex(text: &str) -> Vec<u8> {
        (0..text.len() / 2)
            .map(|i| u8::from_str_radix(&text[2 * i..2 * i + 2], 16).unwrap())
            .collect()
    }

    /// RFC 7714 section 16.1.1: session key and salt are given, not derived.
    #[test]
    fn a_gcm_packet_is_that_of_the_rfc() {
        let cipher = |key: &[u8], salt: &[u8]| Cipher::Gcm {
            key: LessSafeKey::new(UnboundKey::new(&AES_128_GCM, key).unwrap()),
            salt: salt.try_into().unwrap(),
        };
        let key = hex("000102030405060708090a0b0c0d0e0f");
        let salt = hex("517569642070726f2071756f");
        let keys = Keys {
            profile: Profile::Gcm128,
            rtp: cipher(&key, &salt),
            rtcp: cipher(&key, &salt),
        };
        let plain = hex(
            "8040f17b8041f8d35501a0b247616c6c696120657374206f6d6e69732064697669736120696e207061727465732074726573",
        );
        let sealed = hex(
            "8040f17b8041f8d35501a0b2f24de3a3fb34de6cacba861c9d7e4bcabe633bd50d294e6f42a5f47a51c7d19b36de3adf8833899d7f27beb16a9152cf765ee4390cce",
        );
        let mut out = vec![0; plain.len() + 16];
        assert_eq!(keys.seal(&plain, 12, 0xf17b, &mut out), sealed.len());
        assert_eq!(out, sealed);
        let mut packet = sealed;
        assert_eq!(
            keys.open(&mut packet, 0xf17b).unwrap().payload,
            &plain[12..]
        );
    }

    #[test]
    fn each_profile_opens_what_it_sealed_and_nothing_else() {
        for profile in [Profile::Gcm128, Profile::Gcm256, Profile::Cm] {
            let material: Vec<u8> = (0..2 * (profile.key_bytes() + profile.salt_bytes()))
                .map(|byte| u8::try_from(byte).unwrap())
                .collect();
            let client = Keys::exported(profile, &material, Writer::Client).unwrap();
            let server = Keys::exported(profile, &material, Writer::Server).unwrap();
            let mut plain = vec![0x80, 96, 0x00, 0x05, 0, 0, 0, 1, 1, 2, 3, 4];
            plain.extend((0..100).map(|byte| byte ^ 0x5a));
            let index = (7 << 16) | 5;
            let mut out = vec![0; 200];
            let length = client.seal(&plain, 12, index, &mut out);
            assert_eq!(length, plain.len() + profile.tag_bytes());

            let opened = |keys: &Keys, index: u64, flip: Option<usize>| {
                let mut packet = out[..length].to_vec();
                if let Some(at) = flip {
                    packet[at] ^= 1;
                }
                keys.open(&mut packet, index)
                    .map(|rtp| rtp.payload.to_vec())
            };
            assert_eq!(opened(&client, index, None).as_deref(), Some(&plain[12..]));
            assert_eq!(opened(&server, index, None), None, "other direction");
            assert_eq!(
                opened(&client, index + (1 << 16), None),
                None,
                "other rollover"
            );
            for at in [1, 20, length - 1] {
                assert_eq!(opened(&client, index, Some(at)), None, "byte {at} changed");
            }
        }
    }

    #[test]
    fn control_packets_open_only_as_they_were_sealed() {
        for profile in [Profile::Gcm128, Profile::Gcm256, Profile::Cm] {
            let keys = Keys::random(profile);
            let plain = [0x81, 206, 0, 2, 0, 0, 0, 1, 0, 0, 0, 2];
            let sealed = keys.seal_rtcp(&plain, 77);
            assert_eq!(sealed.len(), plain.len() + 4 + profile.tag_bytes());
            assert_eq!(keys.open_rtcp(&mut sealed.clone()), Some(&plain[..]));
            for at in 0..sealed.len() {
                let mut changed = sealed.clone();
                changed[at] ^= 1;
                assert_eq!(keys.open_rtcp(&mut changed), None, "{profile:?} byte {at}");
            }
        }
    }

    #[test]
    fn padding_and_extensions_are_not_payload() {
        let keys = Keys::random(Profile::Gcm128);
        let mut plain = vec![0xb0, 96, 0, 1, 0, 0, 0, 1, 1, 2, 3, 4];
        plain.extend([0xbe, 0xde, 0, 1, 0x10, 7, 0, 0]);
        plain.extend(*b"media\0\0\x03");
        let mut out = vec![0; 100];
        let length = keys.seal(&plain, 20, 1, &mut out);
        assert_eq!(keys.open(&mut out[..length], 1).unwrap().payload, b"media");
    }

    #[test]
    fn short_and_lying_packets_are_refused_without_panic() {
        let keys = Keys::random(Profile::Gcm128);
        for first in [0x80, 0x8f, 0x90, 0xff] {
            for length in 0..64 {
                let mut packet = vec![first; length];
                assert!(keys.open(&mut packet, 0).is_none());
                assert!(keys.open_rtcp(&mut packet).is_none());
                let _ = super::Indices::default().guess(&packet);
            }
        }
    }
}
