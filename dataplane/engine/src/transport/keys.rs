//! SRTP master keys: where they come from (DTLS-SRTP, RFC 5764) and what is derived from them (RFC 3711
//! section 4.3).
//!
//! Keys never leave the data plane and never reach a log: every `Debug` here prints lengths or names.

use std::fmt;

use aws_lc_rs::cipher::{AES_128, AES_256, EncryptingKey, EncryptionContext, UnboundCipherKey};
use aws_lc_rs::iv::FixedLength;

/// Longest master or session encryption key: AES-256.
pub(crate) const KEY_BYTES_MAX: usize = 32;
/// Longest master or session salt: the 112 bits of AES-CM (RFC 3711 section 4.1.1).
pub(crate) const SALT_BYTES_MAX: usize = 14;
/// The HMAC-SHA1 session key (RFC 3711 section 5.2: `n_a` = 160 bits).
pub(crate) const AUTH_KEY_BYTES: usize = 20;

/// The SRTP protection profiles of this node. What is not here is not negotiated: no 32-bit tags, no
/// AES-192, no NULL ciphers, no MKI.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Profile {
    /// `SRTP_AES128_CM_HMAC_SHA1_80` (RFC 5764 section 4.1.2): 4.5 times the cost of GCM, for peers that
    /// offer nothing else.
    Aes128CmSha1_80,
    /// `SRTP_AEAD_AES_128_GCM` (RFC 7714).
    AeadAes128Gcm,
    /// `SRTP_AEAD_AES_256_GCM` (RFC 7714): what a browser gets.
    AeadAes256Gcm,
}

impl Profile {
    /// Every profile.
    pub const ALL: [Profile; 3] = [
        Profile::AeadAes128Gcm,
        Profile::AeadAes256Gcm,
        Profile::Aes128CmSha1_80,
    ];

    /// The profile DTLS agreed on; `None` for one this node cannot seal.
    #[must_use]
    pub fn from_dtls(profile: dimpl::SrtpProfile) -> Option<Profile> {
        match profile {
            dimpl::SrtpProfile::AES128_CM_SHA1_80 => Some(Profile::Aes128CmSha1_80),
            dimpl::SrtpProfile::AEAD_AES_128_GCM => Some(Profile::AeadAes128Gcm),
            dimpl::SrtpProfile::AEAD_AES_256_GCM => Some(Profile::AeadAes256Gcm),
            _ => None,
        }
    }

    /// Its name in the IANA registry of DTLS-SRTP profiles, for logs and `Inspect`.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Profile::Aes128CmSha1_80 => "SRTP_AES128_CM_HMAC_SHA1_80",
            Profile::AeadAes128Gcm => "SRTP_AEAD_AES_128_GCM",
            Profile::AeadAes256Gcm => "SRTP_AEAD_AES_256_GCM",
        }
    }

    /// Bytes of the encryption key, master and session alike.
    #[must_use]
    pub const fn key_bytes(self) -> usize {
        match self {
            Profile::Aes128CmSha1_80 | Profile::AeadAes128Gcm => 16,
            Profile::AeadAes256Gcm => 32,
        }
    }

    /// Bytes of the salt, master and session alike (RFC 3711 section 8.2, RFC 7714 section 12).
    #[must_use]
    pub const fn salt_bytes(self) -> usize {
        match self {
            Profile::Aes128CmSha1_80 => 14,
            Profile::AeadAes128Gcm | Profile::AeadAes256Gcm => 12,
        }
    }

    /// Bytes of the authentication tag.
    #[must_use]
    pub const fn tag_bytes(self) -> usize {
        match self {
            Profile::Aes128CmSha1_80 => 10,
            Profile::AeadAes128Gcm | Profile::AeadAes256Gcm => 16,
        }
    }

    /// Bytes an SRTP packet is longer than its RTP packet.
    #[must_use]
    pub const fn rtp_overhead(self) -> usize {
        self.tag_bytes()
    }

    /// Bytes an SRTCP packet is longer than its RTCP packet: the tag and the word of E bit and index.
    #[must_use]
    pub const fn rtcp_overhead(self) -> usize {
        self.tag_bytes() + 4
    }

    /// Bytes of keying material DTLS exports for both directions (RFC 5764 section 4.2).
    #[must_use]
    pub const fn keying_material_bytes(self) -> usize {
        2 * (self.key_bytes() + self.salt_bytes())
    }
}

/// The most any profile adds to an RTP packet.
pub const RTP_OVERHEAD_MAX: usize = 16;

/// The most any profile adds to an RTCP packet.
pub const RTCP_OVERHEAD_MAX: usize = 20;

/// Which end of the DTLS association this node was.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// The peer sent the ClientHello: its SDP said `active`, or left the choice to us.
    Server,
    /// We sent the ClientHello: the peer's SDP said `passive`.
    Client,
}

/// A master key and its salt. Kept beside the cipher made from it, so that a session can be exported
/// (contracts.md 3).
#[derive(Clone, PartialEq, Eq)]
pub struct MasterKey {
    key: [u8; KEY_BYTES_MAX],
    key_bytes: usize,
    salt: [u8; SALT_BYTES_MAX],
    salt_bytes: usize,
}

impl MasterKey {
    /// A master key of `profile`; `None` when a length is not the profile's.
    #[must_use]
    pub fn new(profile: Profile, key: &[u8], salt: &[u8]) -> Option<MasterKey> {
        if key.len() != profile.key_bytes() || salt.len() != profile.salt_bytes() {
            return None;
        }
        let mut master = MasterKey {
            key: [0; KEY_BYTES_MAX],
            key_bytes: key.len(),
            salt: [0; SALT_BYTES_MAX],
            salt_bytes: salt.len(),
        };
        master.key[..key.len()].copy_from_slice(key);
        master.salt[..salt.len()].copy_from_slice(salt);
        Some(master)
    }

    /// The key bytes.
    #[must_use]
    pub fn key(&self) -> &[u8] {
        &self.key[..self.key_bytes]
    }

    /// The salt bytes.
    #[must_use]
    pub fn salt(&self) -> &[u8] {
        &self.salt[..self.salt_bytes]
    }
}

impl fmt::Debug for MasterKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MasterKey")
            .field("key_bytes", &self.key_bytes)
            .field("salt_bytes", &self.salt_bytes)
            .finish()
    }
}

/// Both directions of one DTLS association.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SrtpKeys {
    /// What both ends agreed on.
    pub profile: Profile,
    /// Seals what we send.
    pub local: MasterKey,
    /// Opens what the peer sends.
    pub remote: MasterKey,
}

impl SrtpKeys {
    /// Reads the exporter's output: client key, server key, client salt, server salt (RFC 5764 section
    /// 4.2). `None` when its length is not the profile's.
    #[must_use]
    pub fn from_keying_material(profile: Profile, role: Role, material: &[u8]) -> Option<SrtpKeys> {
        if material.len() != profile.keying_material_bytes() {
            return None;
        }
        let (keys, salts) = material.split_at(2 * profile.key_bytes());
        let (client_key, server_key) = keys.split_at(profile.key_bytes());
        let (client_salt, server_salt) = salts.split_at(profile.salt_bytes());
        let client = MasterKey::new(profile, client_key, client_salt)?;
        let server = MasterKey::new(profile, server_key, server_salt)?;
        let (local, remote) = match role {
            Role::Server => (server, client),
            Role::Client => (client, server),
        };
        Some(SrtpKeys {
            profile,
            local,
            remote,
        })
    }
}

/// What a derived key is for: the label of RFC 3711 section 4.3.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Label {
    /// SRTP encryption key.
    RtpEncryption = 0,
    /// SRTP message authentication key.
    RtpAuthentication = 1,
    /// SRTP salt.
    RtpSalt = 2,
    /// SRTCP encryption key.
    RtcpEncryption = 3,
    /// SRTCP message authentication key.
    RtcpAuthentication = 4,
    /// SRTCP salt.
    RtcpSalt = 5,
}

/// Fills `out` with the session key of `label`: the AES-CM pseudo-random function of RFC 3711 section
/// 4.3.3 with a key derivation rate of zero, which is the only one DTLS-SRTP uses (RFC 5764 section
/// 4.1.2). A 96-bit salt (RFC 7714 section 11) is the left part of the 112-bit one, zeros behind it.
pub fn derive(master: &MasterKey, label: Label, out: &mut [u8]) {
    // key_id = label || r with r = 0, right-aligned in 112 bits: the label is byte 7 of the salt. The
    // last 16 bits of the counter block count the blocks.
    let mut counter = [0; 16];
    counter[..SALT_BYTES_MAX].copy_from_slice(&master.salt);
    counter[7] ^= label as u8;

    let algorithm = match master.key_bytes {
        16 => &AES_128,
        _ => &AES_256,
    };
    out.fill(0);
    UnboundCipherKey::new(algorithm, master.key())
        .and_then(EncryptingKey::ctr)
        .and_then(|key| {
            key.less_safe_encrypt(out, EncryptionContext::Iv128(FixedLength::from(counter)))
        })
        .expect("invariant: a master key has the length of its AES variant");
}
