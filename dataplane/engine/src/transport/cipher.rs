//! The two packet ciphers behind every profile: AES-GCM (RFC 7714) and AES-CM with HMAC-SHA1 (RFC 3711).
//!
//! One [`Cipher`] has the session keys of one direction of RTP or of RTCP. It knows nonces, tags and
//! associated data, and nothing of windows or of which index comes next.

use std::fmt;

use aws_lc_rs::aead::{AES_128_GCM, AES_256_GCM, Aad, LessSafeKey, Nonce, UnboundKey};
use aws_lc_rs::cipher::{AES_128, EncryptingKey, EncryptionContext, UnboundCipherKey};
use aws_lc_rs::hmac;
use aws_lc_rs::iv::FixedLength;
use subtle::ConstantTimeEq;

use super::keys::{
    AUTH_KEY_BYTES, KEY_BYTES_MAX, Label, MasterKey, Profile, SALT_BYTES_MAX, derive,
};

/// What SRTCP leaves in the clear: the first header of a compound with its sender SSRC (RFC 3711 section
/// 3.4).
pub(crate) const RTCP_CLEAR_BYTES: usize = 8;

/// The E bit and the 31-bit index (RFC 3711 section 3.4).
pub(crate) const RTCP_INDEX_BYTES: usize = 4;

/// A tag that did not verify. Says nothing else on purpose.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct BadTag;

/// Session keys of one direction.
pub(crate) enum Cipher {
    Gcm(Gcm),
    /// Boxed: both AES key schedules and the HMAC states are 1 KiB, in a variant few sessions use.
    Cm(Box<Cm>),
}

impl Cipher {
    /// The SRTP cipher of a master key.
    pub(crate) fn rtp(profile: Profile, master: &MasterKey) -> Cipher {
        let labels = [
            Label::RtpEncryption,
            Label::RtpAuthentication,
            Label::RtpSalt,
        ];
        Cipher::derived(profile, master, labels)
    }

    /// The SRTCP cipher of a master key.
    pub(crate) fn rtcp(profile: Profile, master: &MasterKey) -> Cipher {
        let labels = [
            Label::RtcpEncryption,
            Label::RtcpAuthentication,
            Label::RtcpSalt,
        ];
        Cipher::derived(profile, master, labels)
    }

    fn derived(profile: Profile, master: &MasterKey, labels: [Label; 3]) -> Cipher {
        let [encryption, authentication, salting] = labels;
        let mut key = [0; KEY_BYTES_MAX];
        let key = &mut key[..profile.key_bytes()];
        derive(master, encryption, key);
        let mut salt = [0; SALT_BYTES_MAX];
        let salt = &mut salt[..profile.salt_bytes()];
        derive(master, salting, salt);
        let mut auth_key = [0; AUTH_KEY_BYTES];
        if profile == Profile::Aes128CmSha1_80 {
            derive(master, authentication, &mut auth_key);
        }
        Cipher::from_session_keys(profile, key, salt, &auth_key)
    }

    /// A cipher of keys that are derived already. `auth_key` is unused by GCM.
    pub(super) fn from_session_keys(
        profile: Profile,
        key: &[u8],
        salt: &[u8],
        auth_key: &[u8],
    ) -> Cipher {
        const LENGTHS: &str = "invariant: session keys have the lengths of their profile";
        match profile {
            Profile::AeadAes128Gcm | Profile::AeadAes256Gcm => {
                let algorithm = match profile.key_bytes() {
                    16 => &AES_128_GCM,
                    _ => &AES_256_GCM,
                };
                Cipher::Gcm(Gcm {
                    key: LessSafeKey::new(UnboundKey::new(algorithm, key).expect(LENGTHS)),
                    salt: salt.try_into().expect(LENGTHS),
                })
            }
            Profile::Aes128CmSha1_80 => Cipher::Cm(Box::new(Cm {
                key: UnboundCipherKey::new(&AES_128, key)
                    .and_then(EncryptingKey::ctr)
                    .expect(LENGTHS),
                salt: salt.try_into().expect(LENGTHS),
                mac: hmac::Key::new(hmac::HMAC_SHA1_FOR_LEGACY_USE_ONLY, auth_key),
            })),
        }
    }
}

impl fmt::Debug for Cipher {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Cipher::Gcm(_) => "Cipher::Gcm",
            Cipher::Cm(_) => "Cipher::Cm",
        })
    }
}

const GCM_TAG_BYTES: usize = Profile::AeadAes128Gcm.tag_bytes();
const CM_TAG_BYTES: usize = Profile::Aes128CmSha1_80.tag_bytes();

/// AES-GCM with a 96-bit salt.
pub(crate) struct Gcm {
    key: LessSafeKey,
    salt: [u8; 12],
}

impl Gcm {
    /// Encrypts `plaintext`, and `extra` behind it, into `out`, the tag behind both. `out` is exactly
    /// that long.
    pub(crate) fn seal(
        &self,
        nonce: Nonce,
        aad: &[u8],
        plaintext: &[u8],
        extra: &[u8],
        out: &mut [u8],
    ) {
        let (ciphertext, extra_and_tag) = out.split_at_mut(plaintext.len());
        self.key
            .seal_out_of_place_scatter(
                nonce,
                Aad::from(aad),
                plaintext,
                ciphertext,
                extra,
                extra_and_tag,
            )
            .expect("invariant: the output is plaintext, extra and tag long");
    }

    /// As [`Gcm::seal`], where the plaintext already stands at the beginning of `out` and the rest of
    /// `out` is `extra` and tag long.
    pub(crate) fn seal_in_place(
        &self,
        nonce: Nonce,
        aad: &[u8],
        plaintext_bytes: usize,
        extra: &[u8],
        out: &mut [u8],
    ) {
        let (text, extra_and_tag) = out.split_at_mut(plaintext_bytes);
        self.key
            .seal_in_place_scatter(nonce, Aad::from(aad), text, extra, extra_and_tag)
            .expect("invariant: the output is plaintext, extra and tag long");
    }

    /// Verifies and decrypts in place; the tag is the end of `sealed`. Returns the plaintext's length.
    /// The bytes are undefined after a bad tag.
    pub(crate) fn open(
        &self,
        nonce: Nonce,
        aad: &[u8],
        sealed: &mut [u8],
    ) -> Result<usize, BadTag> {
        let bytes = sealed.len().checked_sub(GCM_TAG_BYTES).ok_or(BadTag)?;
        let (text, tag) = sealed.split_at_mut(bytes);
        self.key
            .open_in_place_separate_tag(nonce, Aad::from(aad), tag, text)
            .map_err(|_| BadTag)?;
        Ok(bytes)
    }

    /// The nonce of an RTP packet (RFC 7714 section 8.1): 0, SSRC and the 48-bit index, salted.
    pub(crate) fn rtp_nonce(&self, ssrc: u32, index: u64) -> Nonce {
        self.nonce(ssrc, index)
    }

    /// The nonce of an RTCP packet (RFC 7714 section 9.1): 0, SSRC, 0 and the 31-bit index, salted.
    pub(crate) fn rtcp_nonce(&self, ssrc: u32, index: u32) -> Nonce {
        self.nonce(ssrc, u64::from(index))
    }

    fn nonce(&self, ssrc: u32, index: u64) -> Nonce {
        let mut nonce = self.salt;
        xor(&mut nonce[2..6], &ssrc.to_be_bytes());
        xor(&mut nonce[6..12], &index.to_be_bytes()[2..]);
        Nonce::assume_unique_for_key(nonce)
    }
}

/// AES-128 counter mode and an 80-bit HMAC-SHA1.
pub(crate) struct Cm {
    key: EncryptingKey,
    salt: [u8; SALT_BYTES_MAX],
    /// Holds the states of the inner and outer hash behind their key block: a packet's MAC starts from a
    /// copy of them.
    mac: hmac::Key,
}

impl Cm {
    /// Adds the keystream of (ssrc, index) to `text` (RFC 3711 section 4.1.1): encrypts and decrypts.
    pub(crate) fn apply_keystream(&self, ssrc: u32, index: u64, text: &mut [u8]) {
        let mut counter = [0; 16];
        counter[..SALT_BYTES_MAX].copy_from_slice(&self.salt);
        xor(&mut counter[4..8], &ssrc.to_be_bytes());
        xor(&mut counter[8..14], &index.to_be_bytes()[2..]);
        self.key
            .less_safe_encrypt(text, EncryptionContext::Iv128(FixedLength::from(counter)))
            .expect("invariant: a counter block fits counter mode");
    }

    /// The tag of `authenticated` followed by `suffix` (the rollover counter of SRTP, RFC 3711 section
    /// 4.2; empty for SRTCP).
    pub(crate) fn tag(&self, authenticated: &[u8], suffix: &[u8]) -> [u8; CM_TAG_BYTES] {
        let mut context = hmac::Context::with_key(&self.mac);
        context.update(authenticated);
        context.update(suffix);
        let mut tag = [0; CM_TAG_BYTES];
        tag.copy_from_slice(&context.sign().as_ref()[..CM_TAG_BYTES]);
        tag
    }

    /// Compares in constant time.
    pub(crate) fn verify(
        &self,
        authenticated: &[u8],
        suffix: &[u8],
        tag: &[u8],
    ) -> Result<(), BadTag> {
        let expected = self.tag(authenticated, suffix);
        if bool::from(expected[..].ct_eq(tag)) {
            Ok(())
        } else {
            Err(BadTag)
        }
    }
}

/// The associated data of an encrypted AEAD SRTCP packet (RFC 7714 section 9.2): the clear header, then
/// the word of E bit and index.
pub(crate) fn rtcp_aad(packet: &[u8], word: u32) -> [u8; RTCP_CLEAR_BYTES + RTCP_INDEX_BYTES] {
    let mut aad = [0; RTCP_CLEAR_BYTES + RTCP_INDEX_BYTES];
    aad[..RTCP_CLEAR_BYTES].copy_from_slice(&packet[..RTCP_CLEAR_BYTES]);
    aad[RTCP_CLEAR_BYTES..].copy_from_slice(&word.to_be_bytes());
    aad
}

fn xor(bytes: &mut [u8], with: &[u8]) {
    for (byte, with) in bytes.iter_mut().zip(with) {
        *byte ^= with;
    }
}

#[cfg(test)]
mod tests {
    use serde_json::Value;

    use super::*;

    const KEYSTREAM: &str =
        include_str!("../../tests/vectors/srtp/rfc3711_b2_aes128_cm_keystream.json");

    #[test]
    fn counter_mode_keystream_is_that_of_rfc_3711_b2() {
        let vector: Value = serde_json::from_str(KEYSTREAM).unwrap();
        let key = hex(&vector["session_key"]);
        let salt = hex(&vector["session_salt_14"]);
        let Cipher::Cm(cm) =
            Cipher::from_session_keys(Profile::Aes128CmSha1_80, &key, &salt, &[0; 20])
        else {
            panic!("AES-CM expected");
        };
        // Past the last block: the counter carries from its lower byte to the next.
        let mut stream = vec![0; 16 * 0x1_0000];
        cm.apply_keystream(0, 0, &mut stream);

        let blocks = vector["blocks"].as_array().unwrap();
        assert_eq!(blocks.len(), 6);
        for block in blocks {
            let counter = hex(&block["counter_block"]);
            let number = usize::from(u16::from_be_bytes([counter[14], counter[15]]));
            assert_eq!(
                stream[16 * number..][..16],
                hex(&block["keystream"])[..],
                "block {number}"
            );
        }
    }

    #[test]
    fn ssrc_and_index_enter_the_counter_block_where_rfc_3711_puts_them() {
        let salt = [0; 14];
        let Cipher::Cm(cm) =
            Cipher::from_session_keys(Profile::Aes128CmSha1_80, &[7; 16], &salt, &[0; 20])
        else {
            panic!("AES-CM expected");
        };
        let mut keystream = [0; 16];
        cm.apply_keystream(0x0102_0304, 0xa1a2_a3a4_a5a6, &mut keystream);
        // (SSRC * 2^64) XOR (i * 2^16)
        let mut block = [
            0, 0, 0, 0, 1, 2, 3, 4, 0xa1, 0xa2, 0xa3, 0xa4, 0xa5, 0xa6, 0, 0,
        ];
        let ecb = UnboundCipherKey::new(&AES_128, &[7; 16])
            .and_then(EncryptingKey::ecb)
            .unwrap();
        ecb.encrypt(&mut block).unwrap();
        assert_eq!(keystream, block);
    }

    fn hex(value: &Value) -> Vec<u8> {
        let digits = value.as_str().unwrap();
        (0..digits.len() / 2)
            .map(|at| u8::from_str_radix(&digits[2 * at..2 * at + 2], 16).unwrap())
            .collect()
    }
}
