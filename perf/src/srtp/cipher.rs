//! Session keys and what they seal with (RFC 3711 sections 4.1 and 4.3, RFC 7714 section 8).

use aws_lc_rs::aead::{AES_128_GCM, AES_256_GCM, LessSafeKey, Nonce, UnboundKey};
use aws_lc_rs::cipher::{AES_128, AES_256, EncryptingKey, EncryptionContext, UnboundCipherKey};
use aws_lc_rs::hmac;
use aws_lc_rs::iv::FixedLength;

use super::Profile;

/// Session authentication key of HMAC-SHA1 (RFC 3711 section 8.2).
const AUTH_KEY_BYTES: usize = 20;

/// What seals or opens packets of one kind in one direction.
pub(super) enum Cipher {
    Gcm { key: LessSafeKey, salt: [u8; 12] },
    Cm(Box<Counter>),
}

/// AES in counter mode with its authentication key.
pub(super) struct Counter {
    pub(super) key: EncryptingKey,
    pub(super) salt: [u8; 14],
    pub(super) auth: hmac::Key,
}

impl std::fmt::Debug for Cipher {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Cipher::Gcm { .. } => "Gcm",
            Cipher::Cm(_) => "Cm",
        })
    }
}

impl Cipher {
    /// `label` 0 for RTP, 3 for RTCP; authentication and salt follow it (RFC 3711 section 4.3.2).
    pub(super) fn derive(
        profile: Profile,
        master_key: &[u8],
        master_salt: &[u8],
        label: u8,
    ) -> Cipher {
        let key = kdf(master_key, master_salt, label, profile.key_bytes());
        let salt = kdf(master_key, master_salt, label + 2, profile.salt_bytes());
        let fits = "invariant: the length asked of the key derivation is the profile's";
        let algorithm = match profile {
            Profile::Gcm128 => &AES_128_GCM,
            Profile::Gcm256 => &AES_256_GCM,
            Profile::Cm => {
                let auth = kdf(master_key, master_salt, label + 1, AUTH_KEY_BYTES);
                return Cipher::Cm(Box::new(Counter {
                    key: counter_mode(&key),
                    salt: salt.try_into().expect(fits),
                    auth: hmac::Key::new(hmac::HMAC_SHA1_FOR_LEGACY_USE_ONLY, &auth),
                }));
            }
        };
        Cipher::Gcm {
            key: LessSafeKey::new(UnboundKey::new(algorithm, &key).expect(fits)),
            salt: salt.try_into().expect(fits),
        }
    }
}

/// The AES-CM pseudorandom function with key derivation rate 0 (RFC 3711 section 4.3.3). A 96-bit salt is
/// padded with zero bytes to 112 bits (RFC 7714 section 12).
fn kdf(master_key: &[u8], master_salt: &[u8], label: u8, length: usize) -> Vec<u8> {
    let mut iv = [0; 16];
    iv[..master_salt.len()].copy_from_slice(master_salt);
    iv[7] ^= label;
    let mut stream = vec![0; length];
    counter(&counter_mode(master_key), iv, &mut stream);
    stream
}

fn counter_mode(key: &[u8]) -> EncryptingKey {
    let algorithm = if key.len() == 32 { &AES_256 } else { &AES_128 };
    UnboundCipherKey::new(algorithm, key)
        .and_then(EncryptingKey::ctr)
        .expect("invariant: AES keys here are 16 or 32 bytes")
}

fn counter(key: &EncryptingKey, iv: [u8; 16], data: &mut [u8]) {
    key.less_safe_encrypt(data, EncryptionContext::Iv128(FixedLength::from(iv)))
        .expect("invariant: counter mode takes any length");
}

/// RFC 3711 section 4.1.1: salt, SSRC and index, each shifted to its place.
pub(super) fn cm_keystream(
    key: &EncryptingKey,
    salt: &[u8; 14],
    ssrc: u32,
    index: u64,
    data: &mut [u8],
) {
    let mut iv = [0; 16];
    iv[..14].copy_from_slice(salt);
    xor(&mut iv[4..8], &ssrc.to_be_bytes());
    xor(&mut iv[8..14], &index.to_be_bytes()[2..]);
    counter(key, iv, data);
}

/// RFC 7714 sections 8.1 and 9.1: both forms are SSRC and a 48-bit number over the salt.
pub(super) fn gcm_nonce(salt: &[u8; 12], ssrc: u32, index: u64) -> Nonce {
    let mut nonce = *salt;
    xor(&mut nonce[2..6], &ssrc.to_be_bytes());
    xor(&mut nonce[6..12], &index.to_be_bytes()[2..]);
    Nonce::assume_unique_for_key(nonce)
}

fn xor(target: &mut [u8], with: &[u8]) {
    for (byte, other) in target.iter_mut().zip(with) {
        *byte ^= other;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hex(text: &str) -> Vec<u8> {
        (0..text.len() / 2)
            .map(|i| u8::from_str_radix(&text[2 * i..2 * i + 2], 16).unwrap())
            .collect()
    }

    /// RFC 3711 appendix B.3.
    #[test]
    fn session_keys_are_those_of_the_rfc() {
        let key = hex("E1F97A0D3E018BE0D64FA32C06DE4139");
        let salt = hex("0EC675AD498AFEEBB6960B3AABE6");
        assert_eq!(
            kdf(&key, &salt, 0, 16),
            hex("C61E7A93744F39EE10734AFE3FF7A087")
        );
        assert_eq!(kdf(&key, &salt, 2, 14), hex("30CBBC08863D8C85D49DB34A9AE1"));
        assert_eq!(
            kdf(&key, &salt, 1, 20),
            hex("CEBE321F6FF7716B6FD4AB49AF256A156D38BAA4")
        );
    }
}
