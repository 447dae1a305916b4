//! Our own identity: a self-signed ECDSA P-256 certificate and its private key.

use crate::error::CertificateError;
use crate::fingerprint::{Fingerprint, HashAlgorithm};
use ring::rand::{SecureRandom, SystemRandom};
use ring::signature::{ECDSA_P256_SHA256_ASN1_SIGNING, EcdsaKeyPair, KeyPair};
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, PrivatePkcs8KeyDer};
use std::fmt;
use std::time::Duration;
use zeroize::Zeroizing;

const DAY: u64 = 24 * 60 * 60;
/// Seconds from 1970 to the last day that a certificate's four-digit year can say, less our validity.
const LATEST: u64 = 253_370_764_800;

/// A certificate and its key. To be made once and shared: RFC 8827 §6.5 lets one identity serve many connections.
pub struct Certificate {
    der: Vec<u8>,
    key: EcdsaKeyPair,
}

impl Certificate {
    /// A new key and a certificate for it: random serial number, valid from one day before `now_unix` (seconds
    /// since 1970) for 30 days from it, as browsers do.
    pub fn generate(now_unix: u64) -> Result<Self, CertificateError> {
        let broken = |error: rcgen::Error| CertificateError::Generate(error.to_string());
        let now = now_unix.clamp(DAY, LATEST);
        let epoch = rcgen::date_time_ymd(1970, 1, 1);
        let mut serial = [0u8; 16];
        SystemRandom::new()
            .fill(&mut serial)
            .map_err(|_| CertificateError::Generate("no randomness".to_owned()))?;
        // RFC 5280 §4.1.2.2: positive, so the top bit is clear; the next one keeps it from being short.
        serial[0] = serial[0] & 0x7f | 0x40;
        let key = rcgen::KeyPair::generate_for(&rcgen::PKCS_ECDSA_P256_SHA256).map_err(broken)?;
        let mut params = rcgen::CertificateParams::default();
        params.not_before = epoch + Duration::from_secs(now - DAY);
        params.not_after = epoch + Duration::from_secs(now + 30 * DAY);
        params.serial_number = Some(rcgen::SerialNumber::from_slice(&serial));
        params.distinguished_name = rcgen::DistinguishedName::new();
        params.distinguished_name.push(rcgen::DnType::CommonName, "WebRTC");
        let certificate = params.self_signed(&key).map_err(broken)?;
        let pkcs8 = Zeroizing::new(key.serialize_der());
        Self::from_der(certificate.der(), &pkcs8)
    }

    /// An identity from a DER certificate and its PKCS #8 private key (ECDSA P-256).
    pub fn from_der(certificate_der: &[u8], pkcs8_key_der: &[u8]) -> Result<Self, CertificateError> {
        let key =
            EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_ASN1_SIGNING, pkcs8_key_der, &SystemRandom::new())
                .map_err(|_| CertificateError::Key)?;
        let der = CertificateDer::from(certificate_der);
        let parsed = webpki::EndEntityCert::try_from(&der).map_err(|_| CertificateError::Certificate)?;
        // The certificate's key info ends in the public point (RFC 5480 §2.2).
        if !parsed.subject_public_key_info().ends_with(key.public_key().as_ref()) {
            return Err(CertificateError::KeyMismatch);
        }
        Ok(Self { der: certificate_der.to_vec(), key })
    }

    /// An identity from PEM texts: `CERTIFICATE` and `PRIVATE KEY`. Both may stand in one text.
    pub fn from_pem(certificate_pem: &str, key_pem: &str) -> Result<Self, CertificateError> {
        let certificate = CertificateDer::from_pem_slice(certificate_pem.as_bytes())
            .map_err(|_| CertificateError::Certificate)?;
        let key =
            PrivatePkcs8KeyDer::from_pem_slice(key_pem.as_bytes()).map_err(|_| CertificateError::Key)?;
        Self::from_der(&certificate, key.secret_pkcs8_der())
    }

    /// The certificate in DER.
    pub fn der(&self) -> &[u8] {
        &self.der
    }

    /// What the `a=fingerprint` line must say.
    pub fn fingerprint(&self, algorithm: HashAlgorithm) -> Fingerprint {
        Fingerprint::of(algorithm, &self.der)
    }

    /// Somebody's certificate without its key: what an impostor has.
    #[cfg(test)]
    pub(crate) fn impostor(victim: &Self) -> Self {
        let random = SystemRandom::new();
        let pkcs8 = EcdsaKeyPair::generate_pkcs8(&ECDSA_P256_SHA256_ASN1_SIGNING, &random).unwrap();
        let key = EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_ASN1_SIGNING, pkcs8.as_ref(), &random).unwrap();
        Self { der: victim.der.clone(), key }
    }

    /// ECDSA with SHA-256 over `message`, as a DER signature.
    pub(crate) fn sign(&self, message: &[u8]) -> Option<Vec<u8>> {
        Some(self.key.sign(&SystemRandom::new(), message).ok()?.as_ref().to_vec())
    }
}

impl fmt::Debug for Certificate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Certificate")
            .field("fingerprint", &self.fingerprint(HashAlgorithm::Sha256).to_string())
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: u64 = 1_795_000_000;

    #[test]
    fn two_generated_certificates_differ_and_stay_small() {
        let (a, b) = (Certificate::generate(NOW).unwrap(), Certificate::generate(NOW).unwrap());
        assert_ne!(a.der(), b.der());
        assert!(a.der().len() < 400, "{} bytes", a.der().len());
        assert_ne!(a.fingerprint(HashAlgorithm::Sha256), b.fingerprint(HashAlgorithm::Sha256));
    }

    #[test]
    fn any_clock_gives_a_certificate() {
        for now in [0, 1, NOW, u64::MAX] {
            Certificate::generate(now).unwrap();
        }
    }

    #[test]
    fn an_identity_reads_back_from_der_and_pem() {
        let key = rcgen::KeyPair::generate_for(&rcgen::PKCS_ECDSA_P256_SHA256).unwrap();
        let made = rcgen::CertificateParams::default().self_signed(&key).unwrap();
        let from_der = Certificate::from_der(made.der(), &key.serialize_der()).unwrap();
        let from_pem = Certificate::from_pem(&made.pem(), &key.serialize_pem()).unwrap();
        assert_eq!(from_der.der(), from_pem.der());
        assert!(!format!("{from_der:?}").contains("key"));
    }

    #[test]
    fn a_key_of_another_certificate_or_kind_is_refused() {
        let key = rcgen::KeyPair::generate_for(&rcgen::PKCS_ECDSA_P256_SHA256).unwrap();
        let other = rcgen::KeyPair::generate_for(&rcgen::PKCS_ECDSA_P256_SHA256).unwrap();
        let wrong_kind = rcgen::KeyPair::generate_for(&rcgen::PKCS_ED25519).unwrap();
        let made = rcgen::CertificateParams::default().self_signed(&key).unwrap();
        let load = |der: &[u8], key: &[u8]| Certificate::from_der(der, key).err();
        assert_eq!(load(made.der(), &other.serialize_der()), Some(CertificateError::KeyMismatch));
        assert_eq!(load(made.der(), &wrong_kind.serialize_der()), Some(CertificateError::Key));
        assert_eq!(load(b"garbage", &key.serialize_der()), Some(CertificateError::Certificate));
    }
}
