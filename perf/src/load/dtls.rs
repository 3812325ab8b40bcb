//! A DTLS client that offers one SRTP profile and hands out the keys.
//!
//! The client library always offers its three profiles, and a server takes the one it likes best, which
//! is not the one a target is stated for. So the ClientHello is changed on its way out: every entry of
//! `use_srtp` (RFC 5764 section 4.1.1) becomes the wanted profile. Both ends must see the same ClientHello,
//! because its hash ends the handshake (RFC 5246 section 7.4.9) and a client certificate signs it (section
//! 7.4.8); hence the same change is made wherever the client hashes or signs.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;

use dimpl::crypto::{
    Buf, HashAlgorithm, HashContext, HashProvider, KeyProvider, SignatureAlgorithm, SigningKey,
};
use str0m::crypto::dtls::{
    DtlsCert, DtlsImplError, DtlsInstance, DtlsOutput, DtlsProvider, DtlsVersion, KeyingMaterial,
    ProtocolVersion, SrtpProfile,
};
use str0m::crypto::{CryptoError, CryptoProvider};

use crate::srtp::{Keys, Profile, Writer};

/// The `use_srtp` extension as the client library writes it: type 14, nine bytes, three profiles, no MKI.
const OFFER: [u8; 13] = [0, 14, 0, 9, 0, 6, 0, 8, 0, 7, 0, 1, 0];

/// Where the profiles stand in it.
const OFFER_PROFILES: std::ops::Range<usize> = 6..12;

/// Longest DTLS record the client makes or reads.
const RECORD_BYTES_MAX: usize = 2048;

/// Replaces the profiles of a ClientHello in `bytes`; everything else stays as it is.
fn narrow(profile: Profile, bytes: &mut [u8]) {
    let Some(at) = bytes
        .windows(OFFER.len())
        .position(|window| window == OFFER)
    else {
        return;
    };
    for entry in bytes[at..][OFFER_PROFILES].chunks_exact_mut(2) {
        entry.copy_from_slice(&profile.number().to_be_bytes());
    }
}

/// The keys of a finished handshake.
#[derive(Debug)]
pub(crate) struct Exported {
    /// For what the client sends.
    pub(crate) write: Keys,
    /// For what the server sends.
    pub(crate) read: Keys,
}

/// One client's handshake: the crypto provider to build the client with, and the keys afterwards.
#[derive(Debug)]
pub(crate) struct Handshake(&'static Client);

impl Handshake {
    /// For one client that offers only `profile`.
    ///
    /// The client library wants a provider that lives for ever, so this leaks a few bytes a client.
    pub(crate) fn new(profile: Profile) -> Handshake {
        Handshake(Box::leak(Box::new(Client {
            profile,
            outcome: Outcome::default(),
        })))
    }

    /// What to build the client with.
    pub(crate) fn provider(&self) -> Arc<CryptoProvider> {
        Arc::new(CryptoProvider {
            dtls_provider: self.0,
            ..str0m::crypto::from_feature_flags()
        })
    }

    /// The keys, once; `None` before the handshake is complete.
    ///
    /// # Errors
    /// When the server chose a profile that was not offered.
    pub(crate) fn take(&self) -> anyhow::Result<Option<Exported>> {
        let outcome = self
            .0
            .outcome
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .take();
        match outcome {
            None => Ok(None),
            Some(Ok(exported)) => Ok(Some(exported)),
            Some(Err(chosen)) => anyhow::bail!(
                "the node chose SRTP profile {chosen}, offered was only {}",
                self.0.profile.word()
            ),
        }
    }
}

/// The provider behind [`Handshake`].
#[derive(Debug)]
struct Client {
    profile: Profile,
    outcome: Outcome,
}

/// The keys, or the profile that should not have been chosen.
type Outcome = Arc<Mutex<Option<Result<Exported, String>>>>;

impl Client {
    fn export(&self, chosen: SrtpProfile, material: &[u8]) {
        let expected = match self.profile {
            Profile::Gcm128 => SrtpProfile::AEAD_AES_128_GCM,
            Profile::Gcm256 => SrtpProfile::AEAD_AES_256_GCM,
            Profile::Cm => SrtpProfile::AES128_CM_SHA1_80,
        };
        let exported = (chosen == expected)
            .then(|| {
                Some(Exported {
                    write: Keys::exported(self.profile, material, Writer::Client)?,
                    read: Keys::exported(self.profile, material, Writer::Server)?,
                })
            })
            .flatten();
        *self.outcome.lock().unwrap_or_else(PoisonError::into_inner) =
            Some(exported.ok_or_else(|| chosen.to_string()));
    }
}

impl DtlsProvider for Client {
    fn generate_certificate(&self) -> Option<DtlsCert> {
        dimpl::certificate::generate_self_signed_certificate().ok()
    }

    fn new_dtls(
        &self,
        cert: &DtlsCert,
        now: Instant,
        _version: DtlsVersion,
        mtu: Option<usize>,
    ) -> Result<Box<dyn DtlsInstance>, CryptoError> {
        let default = dimpl::crypto::aws_lc_rs::default_provider();
        let narrowed: &'static Narrowed = match self.profile {
            Profile::Gcm128 => &Narrowed(Profile::Gcm128),
            Profile::Gcm256 => &Narrowed(Profile::Gcm256),
            Profile::Cm => &Narrowed(Profile::Cm),
        };
        let provider = dimpl::crypto::CryptoProvider {
            hash_provider: narrowed,
            key_provider: narrowed,
            ..default
        };
        let mut builder = dimpl::Config::builder().with_crypto_provider(provider);
        if let Some(mtu) = mtu {
            builder = builder.mtu(mtu);
        }
        let config = builder
            .build()
            .map_err(|error| CryptoError::Other(error.to_string()))?;
        let certificate = dimpl::DtlsCertificate {
            certificate: cert.certificate.clone(),
            private_key: cert.private_key.clone(),
        };
        Ok(Box::new(Instance {
            client: Client {
                profile: self.profile,
                outcome: Arc::clone(&self.outcome),
            },
            dtls: dimpl::Dtls::new_12(Arc::new(config), certificate, now),
            record: vec![0; RECORD_BYTES_MAX],
        }))
    }
}

/// One DTLS connection.
struct Instance {
    client: Client,
    dtls: dimpl::Dtls,
    record: Vec<u8>,
}

impl std::fmt::Debug for Instance {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Instance")
            .field("client", &self.client.profile)
            .finish_non_exhaustive()
    }
}

impl DtlsInstance for Instance {
    fn set_active(&mut self, active: bool) {
        self.dtls.set_active(active);
    }

    fn handle_packet(&mut self, packet: &[u8]) -> Result<(), DtlsImplError> {
        self.dtls.handle_packet(packet)
    }

    fn poll_output<'a>(&mut self, buf: &'a mut [u8]) -> DtlsOutput<'a> {
        let room = self.record.len().min(buf.len());
        let mut copied = |bytes: &[u8]| -> usize {
            buf[..bytes.len()].copy_from_slice(bytes);
            bytes.len()
        };
        match self.dtls.poll_output(&mut self.record[..room]) {
            DtlsOutput::Packet(bytes) => {
                let length = copied(bytes);
                narrow(self.client.profile, &mut buf[..length]);
                DtlsOutput::Packet(&buf[..length])
            }
            DtlsOutput::KeyingMaterial(material, chosen) => {
                self.client.export(chosen, &material);
                DtlsOutput::KeyingMaterial(KeyingMaterial::new(&material), chosen)
            }
            DtlsOutput::PeerCert(bytes) => {
                let length = copied(bytes);
                DtlsOutput::PeerCert(&buf[..length])
            }
            DtlsOutput::ApplicationData(bytes) => {
                let length = copied(bytes);
                DtlsOutput::ApplicationData(&buf[..length])
            }
            DtlsOutput::BufferTooSmall { needed } => DtlsOutput::BufferTooSmall { needed },
            DtlsOutput::Timeout(at) => DtlsOutput::Timeout(at),
            DtlsOutput::Connected => DtlsOutput::Connected,
            // What a later version of the library may say cannot be passed on unknown: the connection ends.
            DtlsOutput::CloseNotify | _ => DtlsOutput::CloseNotify,
        }
    }

    fn handle_timeout(&mut self, now: Instant) -> Result<(), DtlsImplError> {
        self.dtls.handle_timeout(now)
    }

    fn send_application_data(&mut self, data: &[u8]) -> Result<usize, DtlsImplError> {
        self.dtls.send_application_data(data)
    }

    fn is_active(&self) -> bool {
        self.dtls.is_active()
    }

    fn protocol_version(&self) -> Option<ProtocolVersion> {
        self.dtls.protocol_version()
    }

    fn is_closing(&self) -> bool {
        self.dtls.is_closing()
    }

    fn is_closed(&self) -> bool {
        self.dtls.is_closed()
    }

    fn close(&mut self) -> Result<(), DtlsImplError> {
        self.dtls.close()
    }
}

/// Hashing and signing over the ClientHello as the server saw it.
#[derive(Debug)]
struct Narrowed(Profile);

impl HashProvider for Narrowed {
    fn create_hash(&self, algorithm: HashAlgorithm) -> Box<dyn HashContext> {
        Box::new(NarrowedHash {
            profile: self.0,
            hash: dimpl::crypto::aws_lc_rs::default_provider()
                .hash_provider
                .create_hash(algorithm),
        })
    }
}

#[derive(Debug)]
struct NarrowedHash {
    profile: Profile,
    hash: Box<dyn HashContext>,
}

impl HashContext for NarrowedHash {
    fn update(&mut self, data: &[u8]) {
        let mut data = data.to_vec();
        narrow(self.profile, &mut data);
        self.hash.update(&data);
    }

    fn clone_and_finalize(&self, out: &mut Buf) {
        self.hash.clone_and_finalize(out);
    }
}

impl KeyProvider for Narrowed {
    fn load_private_key(&self, key_der: &[u8]) -> Result<Box<dyn SigningKey>, dimpl::CryptoError> {
        Ok(Box::new(NarrowedKey {
            profile: self.0,
            key: dimpl::crypto::aws_lc_rs::default_provider()
                .key_provider
                .load_private_key(key_der)?,
        }))
    }
}

#[derive(Debug)]
struct NarrowedKey {
    profile: Profile,
    key: Box<dyn SigningKey>,
}

impl SigningKey for NarrowedKey {
    fn sign(
        &mut self,
        data: &[u8],
        hash_alg: HashAlgorithm,
        out: &mut Buf,
    ) -> Result<(), dimpl::CryptoError> {
        let mut data = data.to_vec();
        narrow(self.profile, &mut data);
        self.key.sign(&data, hash_alg, out)
    }

    fn algorithm(&self) -> SignatureAlgorithm {
        self.key.algorithm()
    }

    fn hash_algorithm(&self) -> HashAlgorithm {
        self.key.hash_algorithm()
    }

    fn supported_hash_algorithms(&self) -> &[HashAlgorithm] {
        self.key.supported_hash_algorithms()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    /// Runs a handshake against a plain server that would rather take AES-256, and returns what the
    /// client got.
    fn handshake(profile: Profile) -> Exported {
        let now = Instant::now();
        let handshake = Handshake::new(profile);
        let provider = handshake.provider();
        let certificate = provider.dtls_provider.generate_certificate().unwrap();
        let mut client = provider
            .dtls_provider
            .new_dtls(&certificate, now, DtlsVersion::Dtls12, None)
            .unwrap();
        client.set_active(true);

        let config = dimpl::Config::builder().build().unwrap();
        let certificate = dimpl::certificate::generate_self_signed_certificate().unwrap();
        let mut server = dimpl::Dtls::new_12(Arc::new(config), certificate, now);
        server.set_active(false);

        let mut server_connected = false;
        for step in 0..20 {
            let now = now + Duration::from_millis(step);
            client.handle_timeout(now).unwrap();
            let mut buffer = vec![0; 4096];
            loop {
                let output = client.poll_output(&mut buffer);
                if let DtlsOutput::Packet(packet) = output {
                    server.handle_packet(packet).unwrap();
                } else if matches!(output, DtlsOutput::Timeout(_)) {
                    break;
                }
            }
            server.handle_timeout(now).unwrap();
            loop {
                let output = server.poll_output(&mut buffer);
                server_connected |= matches!(output, DtlsOutput::Connected);
                if let DtlsOutput::Packet(packet) = output {
                    client.handle_packet(packet).unwrap();
                } else if matches!(output, DtlsOutput::Timeout(_)) {
                    break;
                }
            }
        }
        assert!(
            server_connected,
            "the server verified certificate and Finished"
        );
        handshake.take().unwrap().expect("keys")
    }

    #[test]
    fn each_profile_can_be_forced_on_a_server_that_prefers_another() {
        for profile in [Profile::Gcm128, Profile::Gcm256, Profile::Cm] {
            let keys = handshake(profile);
            let packet = [0x80, 96, 0, 1, 0, 0, 0, 0, 0, 0, 0, 5, 1, 2, 3];
            let mut out = [0; 64];
            let length = keys.write.seal(&packet, 12, 1, &mut out);
            assert_eq!(length, packet.len() + profile.tag_bytes());
            assert!(
                keys.read.open(&mut out[..length], 1).is_none(),
                "two directions"
            );
        }
    }

    #[test]
    fn only_the_offer_is_changed() {
        let mut hello = vec![1, 2, 3];
        hello.extend(OFFER);
        hello.extend([9, 9]);
        narrow(Profile::Cm, &mut hello);
        assert_eq!(
            hello,
            [1, 2, 3, 0, 14, 0, 9, 0, 6, 0, 1, 0, 1, 0, 1, 0, 9, 9]
        );
        let mut other = vec![0, 14, 0, 5, 0, 2, 0, 7, 0];
        narrow(Profile::Cm, &mut other);
        assert_eq!(other, [0, 14, 0, 5, 0, 2, 0, 7, 0]);
    }
}
