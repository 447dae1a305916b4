//! The peer's certificate: its key, and whether that may sign. Nothing else in it matters, because trust is a
//! fingerprint and never a name, a date or an issuer (RFC 8827 §6.5).

use crate::error::Error;
use crate::key::{KeyType, PublicKey};
use x509_parser::oid_registry::{
    OID_EC_P256, OID_KEY_TYPE_EC_PUBLIC_KEY, OID_NIST_EC_P384, OID_PKCS1_RSAENCRYPTION, OID_SIG_ED25519, Oid,
};
use x509_parser::prelude::{FromDer, X509Certificate};
use x509_parser::public_key::PublicKey as Parsed;

/// Bits of an RSA key that we take. Below is too weak (RFC 9325 §4.5), above costs too much.
const RSA_BITS: std::ops::RangeInclusive<usize> = 2048..=8192;

/// The key of a DER certificate, if it may sign.
pub(crate) fn key(der: &[u8]) -> Result<PublicKey, Error> {
    let (rest, certificate) = X509Certificate::from_der(der).map_err(|_| Error::BadCertificate)?;
    if !rest.is_empty() {
        return Err(Error::BadCertificate);
    }
    // RFC 8422 §5.3, RFC 5246 §7.4.2: if there is a key usage, it must have digitalSignature.
    let usage = certificate.key_usage().map_err(|_| Error::BadCertificate)?;
    if usage.is_some_and(|usage| !usage.value.digital_signature()) {
        return Err(Error::CertificateKeyUsage);
    }
    let info = certificate.public_key();
    let parameter = || info.algorithm.parameters.as_ref().and_then(|any| Oid::try_from(any).ok());
    let algorithm = &info.algorithm.algorithm;
    let bytes = info.subject_public_key.data.as_ref();
    let key_type = if *algorithm == OID_KEY_TYPE_EC_PUBLIC_KEY {
        match parameter() {
            Some(curve) if curve == OID_EC_P256 => KeyType::EcdsaP256,
            Some(curve) if curve == OID_NIST_EC_P384 => KeyType::EcdsaP384,
            _ => return Err(Error::UnsupportedCertificate),
        }
    } else if *algorithm == OID_SIG_ED25519 {
        KeyType::Ed25519
    } else if *algorithm == OID_PKCS1_RSAENCRYPTION {
        match info.parsed() {
            Ok(Parsed::RSA(key)) if RSA_BITS.contains(&key.key_size()) => KeyType::Rsa,
            Ok(_) => return Err(Error::UnsupportedCertificate),
            Err(_) => return Err(Error::BadCertificate),
        }
    } else {
        return Err(Error::UnsupportedCertificate);
    };
    Ok(PublicKey { key_type, bytes: bytes.to_vec() })
}

#[cfg(test)]
mod tests {
    use super::*;
    use rustls_pki_types::CertificateDer;
    use rustls_pki_types::pem::PemObject;

    fn key_of(pem: &str) -> Result<KeyType, Error> {
        key(&CertificateDer::from_pem_slice(pem.as_bytes()).unwrap()).map(|key| key.key_type)
    }

    #[test]
    fn keys_that_cannot_be_used_are_refused_by_name() {
        assert_eq!(key_of(include_str!("tests/identities/rsa-3072.crt")), Ok(KeyType::Rsa));
        assert_eq!(key_of(include_str!("tests/identities/ed25519.crt")), Ok(KeyType::Ed25519));
        for weak in [include_str!("tests/identities/rsa-1024.crt"), include_str!("tests/identities/p521.crt")]
        {
            assert_eq!(key_of(weak), Err(Error::UnsupportedCertificate));
        }
        let no_signing = include_str!("tests/identities/no-signing.crt");
        assert_eq!(key_of(no_signing), Err(Error::CertificateKeyUsage));
        assert_eq!(key(b""), Err(Error::BadCertificate));
    }

    #[test]
    fn a_certificate_cut_short_or_changed_anywhere_never_panics() {
        let pem = include_str!("tests/identities/no-signing.crt");
        let der = CertificateDer::from_pem_slice(pem.as_bytes()).unwrap().to_vec();
        for at in 0..der.len() {
            assert_eq!(key(&der[..at]), Err(Error::BadCertificate));
            for value in [0, 0x7f, 0x80, 0xff] {
                let mut changed = der.clone();
                changed[at] = value;
                let _ = key(&changed);
            }
        }
    }
}
