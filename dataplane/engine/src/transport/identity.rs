//! The DTLS certificate of this boot, and what a certificate hashes to.

use std::fmt;

use aws_lc_rs::digest;
use dataplane_api::command::{Fingerprint, FingerprintHash};
use dimpl::DtlsCertificate;

/// The certificate could not be made: the random source or the crypto library failed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("making the DTLS certificate failed: {0}")]
pub struct IdentityError(String);

/// The certificate of this boot: self-signed, ECDSA P-256, naming neither host nor software.
#[derive(Clone)]
pub struct Identity {
    certificate: DtlsCertificate,
}

impl Identity {
    /// Makes key and certificate.
    ///
    /// # Errors
    ///
    /// [`IdentityError`] when the crypto library cannot.
    pub fn generate() -> Result<Identity, IdentityError> {
        let certificate = dimpl::certificate::generate_self_signed_certificate()
            .map_err(|error| IdentityError(error.to_string()))?;
        Ok(Identity { certificate })
    }

    /// What SDP says of it in `a=fingerprint`: SHA-256 of the DER.
    #[must_use]
    pub fn fingerprint(&self) -> Fingerprint {
        Fingerprint {
            hash: FingerprintHash::Sha256,
            digest: hash(FingerprintHash::Sha256, &self.certificate.certificate),
        }
    }

    /// Certificate and private key, for the machine.
    pub(super) fn certificate(&self) -> &DtlsCertificate {
        &self.certificate
    }
}

impl fmt::Debug for Identity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Identity").finish_non_exhaustive()
    }
}

/// The digest of a DER certificate, as RFC 8122 section 5 defines its fingerprint.
pub(super) fn hash(function: FingerprintHash, der: &[u8]) -> Vec<u8> {
    let algorithm = match function {
        FingerprintHash::Sha256 => &digest::SHA256,
        FingerprintHash::Sha384 => &digest::SHA384,
        FingerprintHash::Sha512 => &digest::SHA512,
    };
    digest::digest(algorithm, der).as_ref().to_vec()
}
