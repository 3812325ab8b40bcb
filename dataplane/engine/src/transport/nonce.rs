//! Explicit nonces of DTLS 1.2 AES-GCM records: epoch and sequence number (RFC 5288 section 3, security.md D6).
//!
//! The machine draws the eight explicit octets at random. A counter cannot repeat within a key, so it stands
//! here twice, where a record is sealed and where it leaves: the sealing side takes epoch and sequence number
//! from the additional data, which begins with them (RFC 5246 section 6.2.3.3), and the leaving side writes
//! them into the record from its own header. The two agree, or the peer cannot open the record.

use dimpl::CryptoError;
use dimpl::crypto::aws_lc_rs::default_provider;
use dimpl::crypto::{
    Aad, Buf, Cipher, CryptoProvider, Dtls12CipherSuite, HashAlgorithm, Nonce,
    SupportedDtls12CipherSuite, TmpBuf,
};

use super::dtls::Records;

/// Octets of a record before its explicit nonce.
const RECORD_HEADER_BYTES: usize = 13;
/// Epoch and sequence number in a record's header (RFC 6347 section 4.1).
const EPOCH_AND_SEQUENCE: std::ops::Range<usize> = 3..11;
/// The explicit part of a nonce (RFC 5288 section 3).
const EXPLICIT: std::ops::Range<usize> = 4..12;
/// Where it stands in a record.
const EXPLICIT_IN_RECORD: std::ops::Range<usize> =
    RECORD_HEADER_BYTES..RECORD_HEADER_BYTES + (EXPLICIT.end - EXPLICIT.start);

/// The suites of every WebRTC peer (RFC 8827 section 6.5 makes the first mandatory). Others would seal two
/// records an association, which is no reason to have a second kind of nonce.
const SUITES: &[&dyn SupportedDtls12CipherSuite] = &[
    &Counted(Dtls12CipherSuite::ECDHE_ECDSA_AES256_GCM_SHA384),
    &Counted(Dtls12CipherSuite::ECDHE_ECDSA_AES128_GCM_SHA256),
];

/// The crypto library with counted nonces.
pub(super) fn provider() -> CryptoProvider {
    CryptoProvider {
        cipher_suites: SUITES,
        ..default_provider()
    }
}

/// Writes epoch and sequence number of each protected record of an outgoing datagram into its explicit nonce.
pub(super) fn number(datagram: &mut [u8]) {
    let mut at = 0;
    let spans: Vec<(usize, u16)> = Records::of(datagram)
        .flatten()
        .map(|record| {
            let span = (at, record.epoch);
            at += record.bytes.len();
            span
        })
        .collect();
    for (at, _) in spans.into_iter().filter(|&(_, epoch)| epoch > 0) {
        let Some(record) = datagram.get_mut(at..) else {
            return;
        };
        if record.len() >= EXPLICIT_IN_RECORD.end {
            record.copy_within(EPOCH_AND_SEQUENCE, EXPLICIT_IN_RECORD.start);
        }
    }
}

/// A suite of the crypto library whose nonces are counted.
#[derive(Debug)]
struct Counted(Dtls12CipherSuite);

impl Counted {
    fn inner(&self) -> &'static dyn SupportedDtls12CipherSuite {
        let suites = default_provider().cipher_suites.iter();
        *suites
            .into_iter()
            .find(|suite| suite.suite() == self.0)
            .expect("invariant: the library has the suites of SUITES")
    }
}

impl SupportedDtls12CipherSuite for Counted {
    fn suite(&self) -> Dtls12CipherSuite {
        self.0
    }

    fn hash_algorithm(&self) -> HashAlgorithm {
        self.inner().hash_algorithm()
    }

    fn key_lengths(&self) -> (usize, usize, usize) {
        self.inner().key_lengths()
    }

    fn explicit_nonce_len(&self) -> usize {
        self.inner().explicit_nonce_len()
    }

    fn tag_len(&self) -> usize {
        self.inner().tag_len()
    }

    fn create_cipher(&self, key: &[u8]) -> Result<Box<dyn Cipher>, CryptoError> {
        Ok(Box::new(CountedCipher(self.inner().create_cipher(key)?)))
    }
}

#[derive(Debug)]
struct CountedCipher(Box<dyn Cipher>);

impl Cipher for CountedCipher {
    fn encrypt(
        &mut self,
        plaintext: &mut Buf,
        aad: Aad,
        mut nonce: Nonce,
    ) -> Result<(), CryptoError> {
        let number = aad.get(..EXPLICIT.end - EXPLICIT.start);
        let number = number.ok_or(CryptoError::InvalidNonce)?;
        nonce.0[EXPLICIT].copy_from_slice(number);
        self.0.encrypt(plaintext, aad, nonce)
    }

    fn decrypt(
        &mut self,
        ciphertext: &mut TmpBuf,
        aad: Aad,
        nonce: Nonce,
    ) -> Result<(), CryptoError> {
        // The peer's nonce is the peer's business.
        self.0.decrypt(ciphertext, aad, nonce)
    }
}
