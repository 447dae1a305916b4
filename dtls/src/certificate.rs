//! Our own identity: a certificate, its chain and its private key.

use crate::error::CertificateError;
use crate::fingerprint::{Fingerprint, HashAlgorithm};
use crate::key::{KeyType, PublicKey};
use crate::types::SignatureScheme;
use ring::rand::{SecureRandom, SystemRandom};
use ring::rsa;
use ring::signature::{self, EcdsaKeyPair, EcdsaSigningAlgorithm, Ed25519KeyPair, KeyPair, RsaEncoding};
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, PrivateKeyDer};
use std::borrow::Cow;
use std::fmt;
use std::time::Duration;
use x509_parser::asn1_rs::{FromDer, Sequence};

const DAY: u64 = 24 * 60 * 60;
/// Seconds from 1970 to the last day that a certificate's four-digit year can say, less our validity.
const LATEST: u64 = 253_370_764_800;
/// Certificates in a chain, our own included.
const MAX_CHAIN: usize = 16;
/// What a PEM file says of an encrypted key: PKCS #8 (RFC 7468 §11), and OpenSSL's older formats (RFC 1421 §4.6.1.1).
const ENCRYPTED: [&str; 2] = ["-----BEGIN ENCRYPTED PRIVATE KEY-----", "Proc-Type: 4,ENCRYPTED"];

/// A certificate and its key. To be made once and shared: RFC 8827 §6.5 lets one identity serve many connections.
pub struct Certificate {
    /// Our own first.
    chain: Vec<Vec<u8>>,
    key_type: KeyType,
    key: SigningKey,
}

/// `ring`'s keys, which never give the private part out again.
enum SigningKey {
    Ecdsa(EcdsaKeyPair),
    Ed25519(Ed25519KeyPair),
    Rsa(Box<rsa::KeyPair>),
}

impl Certificate {
    /// A new ECDSA P-256 key and a certificate for it: random serial number, valid from one day before `now_unix`
    /// (seconds since 1970) for 30 days from it, as browsers do.
    ///
    /// # Errors
    ///
    /// The system gives no randomness.
    pub fn generate(now_unix: u64) -> Result<Self, CertificateError> {
        Self::generate_with(KeyType::EcdsaP256, now_unix)
    }

    /// The same with a key of another type. RSA keys are not made here, only read; browsers take no Ed25519.
    ///
    /// # Errors
    ///
    /// RSA was asked for, or the system gives no randomness.
    pub fn generate_with(key_type: KeyType, now_unix: u64) -> Result<Self, CertificateError> {
        let broken = |error: rcgen::Error| CertificateError::Generate(error.to_string());
        let now = now_unix.clamp(DAY, LATEST);
        let epoch = rcgen::date_time_ymd(1970, 1, 1);
        let mut serial = [0u8; 16];
        SystemRandom::new()
            .fill(&mut serial)
            .map_err(|_| CertificateError::Generate("no randomness".to_owned()))?;
        // RFC 5280 §4.1.2.2: positive, so the top bit is clear; the next one keeps it from being short.
        serial[0] = serial[0] & 0x7f | 0x40;
        let key = NewKey::generate(key_type)?;
        let mut params = rcgen::CertificateParams::default();
        params.not_before = epoch + Duration::from_secs(now - DAY);
        params.not_after = epoch + Duration::from_secs(now + 30 * DAY);
        params.serial_number = Some(rcgen::SerialNumber::from_slice(&serial));
        params.distinguished_name = rcgen::DistinguishedName::new();
        params.distinguished_name.push(rcgen::DnType::CommonName, "WebRTC");
        let certificate = params.self_signed(&key).map_err(broken)?;
        Ok(Self { chain: vec![certificate.der().to_vec()], key_type, key: key.key })
    }

    /// An identity from a DER certificate and its private key: PKCS #8 of ECDSA P-256, P-384, Ed25519 or RSA of
    /// 2048 to 4096 bits, PKCS #1 of RSA, or SEC 1 (RFC 5915) of ECDSA.
    ///
    /// # Errors
    ///
    /// What of it cannot be used.
    pub fn from_der(certificate: &[u8], private_key: &[u8]) -> Result<Self, CertificateError> {
        Self::from_der_chain(&[certificate], private_key)
    }

    /// The same with a chain: our certificate first, then those that vouch for it, 16 in all at most. Peers of WebRTC
    /// look at the first only.
    ///
    /// # Errors
    ///
    /// What of it cannot be used.
    pub fn from_der_chain(chain: &[&[u8]], private_key: &[u8]) -> Result<Self, CertificateError> {
        let leaf = chain.first().ok_or(CertificateError::Certificate)?;
        if chain.len() > MAX_CHAIN {
            return Err(CertificateError::Certificate);
        }
        let certified = crate::peer_certificate::key(leaf).map_err(|_| CertificateError::Certificate)?;
        let (key_type, key) = SigningKey::parse(private_key, &certified)?;
        if (key_type, key.public_key()) != (certified.key_type, &certified.bytes) {
            return Err(CertificateError::KeyMismatch);
        }
        let chain = chain.iter().map(|der| der.to_vec()).collect();
        Ok(Self { chain, key_type, key })
    }

    /// An identity from PEM texts: one or more `CERTIFICATE`, our own first, and `PRIVATE KEY`, `RSA PRIVATE KEY` or
    /// `EC PRIVATE KEY`. All may stand in one text.
    ///
    /// # Errors
    ///
    /// What of it cannot be used.
    pub fn from_pem(certificate_pem: &str, key_pem: &str) -> Result<Self, CertificateError> {
        let chain: Vec<_> = CertificateDer::pem_slice_iter(certificate_pem.as_bytes())
            .collect::<Result<_, _>>()
            .map_err(|_| CertificateError::Certificate)?;
        if ENCRYPTED.iter().any(|mark| key_pem.contains(mark)) {
            return Err(CertificateError::EncryptedKey);
        }
        let key = PrivateKeyDer::from_pem_slice(key_pem.as_bytes()).map_err(|_| CertificateError::Key)?;
        let chain: Vec<&[u8]> = chain.iter().map(|der| der.as_ref()).collect();
        let result = Self::from_der_chain(&chain, key.secret_der());
        wipe(key);
        result
    }

    /// The certificate in DER.
    pub fn der(&self) -> &[u8] {
        self.chain.first().map(Vec::as_slice).unwrap_or_default()
    }

    /// The certificate and those that vouch for it, in DER.
    pub fn chain(&self) -> &[Vec<u8>] {
        &self.chain
    }

    /// The kind of its key.
    pub const fn key_type(&self) -> KeyType {
        self.key_type
    }

    /// What the `a=fingerprint` line must say.
    pub fn fingerprint(&self, algorithm: HashAlgorithm) -> Fingerprint {
        Fingerprint::of(algorithm, self.der())
    }

    /// Somebody's certificate with another key of the same kind: what an impostor has.
    #[cfg(test)]
    pub(crate) fn impostor(victim: &Self) -> Self {
        let other = Self::generate_with(victim.key_type, 1_795_000_000).unwrap();
        Self { chain: victim.chain.clone(), ..other }
    }

    /// A signature over `message`, as it goes on the wire.
    pub(crate) fn sign(&self, scheme: SignatureScheme, message: &[u8]) -> Option<Vec<u8>> {
        self.key.sign(scheme, message)
    }
}

impl SigningKey {
    /// The scheme is for RSA to obey; the other kinds have one each.
    fn sign(&self, scheme: SignatureScheme, message: &[u8]) -> Option<Vec<u8>> {
        let random = SystemRandom::new();
        match self {
            Self::Ecdsa(key) => Some(key.sign(&random, message).ok()?.as_ref().to_vec()),
            Self::Ed25519(key) => Some(key.sign(message).as_ref().to_vec()),
            Self::Rsa(key) => {
                let padding: &'static dyn RsaEncoding = match scheme {
                    SignatureScheme::RSA_PSS_RSAE_SHA256 => &signature::RSA_PSS_SHA256,
                    SignatureScheme::RSA_PSS_RSAE_SHA384 => &signature::RSA_PSS_SHA384,
                    SignatureScheme::RSA_PSS_RSAE_SHA512 => &signature::RSA_PSS_SHA512,
                    SignatureScheme::RSA_PKCS1_SHA256 => &signature::RSA_PKCS1_SHA256,
                    SignatureScheme::RSA_PKCS1_SHA384 => &signature::RSA_PKCS1_SHA384,
                    SignatureScheme::RSA_PKCS1_SHA512 => &signature::RSA_PKCS1_SHA512,
                    _ => return None,
                };
                let mut out = vec![0; key.public().modulus_len()];
                key.sign(padding, &random, message, &mut out).ok()?;
                Some(out)
            }
        }
    }

    fn parse(der: &[u8], certified: &PublicKey) -> Result<(KeyType, Self), CertificateError> {
        let ecdsa = |algorithm: &'static EcdsaSigningAlgorithm| {
            EcdsaKeyPair::from_pkcs8(algorithm, der, &SystemRandom::new()).ok().map(Self::Ecdsa)
        };
        if let Some(key) = ecdsa(&signature::ECDSA_P256_SHA256_ASN1_SIGNING) {
            return Ok((KeyType::EcdsaP256, key));
        }
        if let Some(key) = ecdsa(&signature::ECDSA_P384_SHA384_ASN1_SIGNING) {
            return Ok((KeyType::EcdsaP384, key));
        }
        if let Ok(key) = Ed25519KeyPair::from_pkcs8_maybe_unchecked(der) {
            return Ok((KeyType::Ed25519, Self::Ed25519(key)));
        }
        if let Some(private) = sec1(der) {
            return Self::with_scalar(private, certified);
        }
        let key = rsa::KeyPair::from_pkcs8(der).or_else(|_| rsa::KeyPair::from_der(der));
        Ok((KeyType::Rsa, Self::Rsa(Box::new(key.map_err(|_| CertificateError::Key)?))))
    }

    /// The scalar alone is a key of the certificate's curve, if it belongs to it: `ring` compares.
    fn with_scalar(private: &[u8], certified: &PublicKey) -> Result<(KeyType, Self), CertificateError> {
        let algorithm = match certified.key_type {
            KeyType::EcdsaP256 => &signature::ECDSA_P256_SHA256_ASN1_SIGNING,
            KeyType::EcdsaP384 => &signature::ECDSA_P384_SHA384_ASN1_SIGNING,
            KeyType::Ed25519 | KeyType::Rsa => return Err(CertificateError::KeyMismatch),
        };
        let random = SystemRandom::new();
        EcdsaKeyPair::from_private_key_and_public_key(algorithm, private, &certified.bytes, &random)
            .map(|key| (certified.key_type, Self::Ecdsa(key)))
            .map_err(|_| CertificateError::KeyMismatch)
    }

    fn public_key(&self) -> &[u8] {
        match self {
            Self::Ecdsa(key) => key.public_key().as_ref(),
            Self::Ed25519(key) => key.public_key().as_ref(),
            Self::Rsa(key) => key.public_key().as_ref(),
        }
    }
}

/// A key that is being made, as rcgen wants to see it. `ring` makes keys as PKCS #8 only, so it is read once; a key of rcgen's own
/// would keep that text, and we would read it again. `ring`'s document can't be wiped.
struct NewKey {
    key: SigningKey,
    scheme: SignatureScheme,
    algorithm: &'static rcgen::SignatureAlgorithm,
}

impl NewKey {
    fn generate(key_type: KeyType) -> Result<Self, CertificateError> {
        let random = SystemRandom::new();
        let ecdsa = |algorithm: &'static EcdsaSigningAlgorithm| {
            let pkcs8 = EcdsaKeyPair::generate_pkcs8(algorithm, &random).ok()?;
            let key = EcdsaKeyPair::from_pkcs8(algorithm, pkcs8.as_ref(), &random).ok()?;
            Some(SigningKey::Ecdsa(key))
        };
        let (key, scheme, algorithm) = match key_type {
            KeyType::EcdsaP256 => (
                ecdsa(&signature::ECDSA_P256_SHA256_ASN1_SIGNING),
                SignatureScheme::ECDSA_SHA256,
                &rcgen::PKCS_ECDSA_P256_SHA256,
            ),
            KeyType::EcdsaP384 => (
                ecdsa(&signature::ECDSA_P384_SHA384_ASN1_SIGNING),
                SignatureScheme::ECDSA_SHA384,
                &rcgen::PKCS_ECDSA_P384_SHA384,
            ),
            KeyType::Ed25519 => {
                let pkcs8 = Ed25519KeyPair::generate_pkcs8(&random).ok();
                let key = pkcs8.and_then(|pkcs8| Ed25519KeyPair::from_pkcs8(pkcs8.as_ref()).ok());
                (key.map(SigningKey::Ed25519), SignatureScheme::ED25519, &rcgen::PKCS_ED25519)
            }
            KeyType::Rsa => return Err(CertificateError::Generate("RSA keys are only read".to_owned())),
        };
        let key = key.ok_or_else(|| CertificateError::Generate("no key".to_owned()))?;
        Ok(Self { key, scheme, algorithm })
    }
}

impl rcgen::PublicKeyData for NewKey {
    fn der_bytes(&self) -> &[u8] {
        self.key.public_key()
    }

    fn algorithm(&self) -> &'static rcgen::SignatureAlgorithm {
        self.algorithm
    }
}

impl rcgen::SigningKey for NewKey {
    fn sign(&self, message: &[u8]) -> Result<Vec<u8>, rcgen::Error> {
        self.key.sign(self.scheme, message).ok_or(rcgen::Error::RemoteKeyError)
    }
}

/// The `privateKey` of an `ECPrivateKey` (RFC 5915 §3). Curve and public key may follow; the certificate has both.
fn sec1(der: &[u8]) -> Option<&[u8]> {
    let (_, sequence) = Sequence::from_der(der).ok()?;
    let Cow::Borrowed(content) = sequence.content else { return None };
    let (rest, version) = u8::from_der(content).ok()?;
    let (_, private) = <&[u8]>::from_der(rest).ok()?;
    (version == 1).then_some(private)
}

/// Overwrites what was read of a key file.
fn wipe(key: PrivateKeyDer<'static>) {
    use zeroize::Zeroize;
    let mut key = key;
    key.zeroize();
}

impl fmt::Debug for Certificate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Certificate")
            .field("key_type", &self.key_type)
            .field("fingerprint", &self.fingerprint(HashAlgorithm::Sha256).to_string())
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::crypto::Provider;
    use crate::crypto::ring::RING;

    const NOW: u64 = 1_795_000_000;

    #[test]
    fn two_generated_certificates_differ_and_stay_small() {
        let (a, b) = (Certificate::generate(NOW).unwrap(), Certificate::generate(NOW).unwrap());
        assert_ne!(a.der(), b.der());
        assert!(a.der().len() < 400, "{} bytes", a.der().len());
        assert_ne!(a.fingerprint(HashAlgorithm::Sha256), b.fingerprint(HashAlgorithm::Sha256));
    }

    #[test]
    fn a_generated_certificate_is_signed_by_its_own_key() {
        let kinds: [(KeyType, &dyn signature::VerificationAlgorithm); 3] = [
            (KeyType::EcdsaP256, &signature::ECDSA_P256_SHA256_ASN1),
            (KeyType::EcdsaP384, &signature::ECDSA_P384_SHA384_ASN1),
            (KeyType::Ed25519, &signature::ED25519),
        ];
        for (key_type, algorithm) in kinds {
            let made = Certificate::generate_with(key_type, NOW).unwrap();
            let (_, read) = x509_parser::parse_x509_certificate(made.der()).unwrap();
            let certified = crate::peer_certificate::key(made.der()).unwrap();
            assert_eq!((certified.key_type, &certified.bytes[..]), (key_type, made.key.public_key()));
            signature::UnparsedPublicKey::new(algorithm, &certified.bytes)
                .verify(read.tbs_certificate.as_ref(), &read.signature_value.data)
                .unwrap_or_else(|_| panic!("{key_type:?}"));
        }
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
        let text = format!("{from_der:?}");
        assert!(text.contains("EcdsaP256") && text.ends_with(".. }"), "{text}");
    }

    #[test]
    fn a_key_of_another_certificate_or_kind_is_refused() {
        let key = rcgen::KeyPair::generate_for(&rcgen::PKCS_ECDSA_P256_SHA256).unwrap();
        let other = rcgen::KeyPair::generate_for(&rcgen::PKCS_ECDSA_P256_SHA256).unwrap();
        let other_kind = rcgen::KeyPair::generate_for(&rcgen::PKCS_ED25519).unwrap();
        let made = rcgen::CertificateParams::default().self_signed(&key).unwrap();
        let load = |der: &[u8], key: &[u8]| Certificate::from_der(der, key).err();
        assert_eq!(load(made.der(), &other.serialize_der()), Some(CertificateError::KeyMismatch));
        assert_eq!(load(made.der(), &other_kind.serialize_der()), Some(CertificateError::KeyMismatch));
        assert_eq!(load(made.der(), b"garbage"), Some(CertificateError::Key));
        assert_eq!(load(b"garbage", &key.serialize_der()), Some(CertificateError::Certificate));
        let trailing = [made.der(), &[0][..]].concat();
        assert_eq!(load(&trailing, &key.serialize_der()), Some(CertificateError::Certificate));
    }

    const RSA: &str = include_str!("tests/identities/rsa-2048.crt");

    #[test]
    fn rsa_is_read_in_both_formats_and_from_2048_bits_on() {
        let pkcs8 = Certificate::from_pem(RSA, include_str!("tests/identities/rsa-2048.key")).unwrap();
        let pkcs1 = Certificate::from_pem(RSA, include_str!("tests/identities/rsa-2048-pkcs1.key")).unwrap();
        assert_eq!((pkcs8.key_type(), pkcs8.der()), (KeyType::Rsa, pkcs1.der()));
        let short = Certificate::from_pem(
            include_str!("tests/identities/rsa-1024.crt"),
            include_str!("tests/identities/rsa-1024.key"),
        );
        assert_eq!(short.err(), Some(CertificateError::Certificate));
    }

    #[test]
    fn ecdsa_is_read_in_the_format_of_sec_1_too() {
        // From `openssl ecparam -name prime256v1 -genkey`, with its EC PARAMETERS in front, and for P-384.
        for (certificate, key) in [
            (include_str!("tests/identities/sec1-p256.crt"), include_str!("tests/identities/sec1-p256.key")),
            (include_str!("tests/identities/sec1-p384.crt"), include_str!("tests/identities/sec1-p384.key")),
        ] {
            assert!(key.contains("BEGIN EC PRIVATE KEY"));
            let identity = Certificate::from_pem(certificate, key).unwrap();
            let certified = crate::peer_certificate::key(identity.der()).unwrap();
            let scheme = identity.key_type().signs_with()[0];
            let signature = identity.sign(scheme, b"message").unwrap();
            assert_eq!(RING.verify(&certified, scheme, b"message", &signature), Ok(()));
            let der = PrivateKeyDer::from_pem_slice(key.as_bytes()).unwrap();
            for len in 0..der.secret_der().len() {
                assert!(Certificate::from_der(identity.der(), &der.secret_der()[..len]).is_err());
            }
            for other in [
                Certificate::generate(NOW).unwrap().der(),
                &CertificateDer::from_pem_slice(RSA.as_bytes()).unwrap(),
            ] {
                let error = Certificate::from_der(other, der.secret_der()).err();
                assert_eq!(error, Some(CertificateError::KeyMismatch));
            }
        }
    }

    #[test]
    fn an_encrypted_key_is_refused_with_the_command_that_helps() {
        let certificate = include_str!("tests/identities/sec1-p256.crt");
        for key in [
            include_str!("tests/identities/encrypted.key"),
            include_str!("tests/identities/encrypted-sec1.key"),
        ] {
            let error = Certificate::from_pem(certificate, key).unwrap_err();
            assert_eq!(error, CertificateError::EncryptedKey);
            assert!(error.to_string().contains("openssl pkey -in"), "{error}");
        }
        let garbage = Certificate::from_pem(certificate, "no key at all").unwrap_err();
        assert!(garbage.to_string().contains("openssl pkcs8 -topk8 -nocrypt"), "{garbage}");
    }

    #[test]
    fn every_kind_signs_what_its_certificate_verifies() {
        let rsa = Certificate::from_pem(RSA, include_str!("tests/identities/rsa-2048.key")).unwrap();
        let made = [KeyType::EcdsaP256, KeyType::EcdsaP384, KeyType::Ed25519]
            .map(|key_type| Certificate::generate_with(key_type, NOW).unwrap());
        for identity in made.iter().chain([&rsa]) {
            let key = crate::peer_certificate::key(identity.der()).unwrap();
            assert_eq!(key.key_type, identity.key_type());
            for &scheme in identity.key_type().signs_with() {
                let signature = identity.sign(scheme, b"message").unwrap();
                let verify = |message: &[u8]| RING.verify(&key, scheme, message, &signature);
                assert_eq!(verify(b"message"), Ok(()), "{scheme}");
                assert!(verify(b"massage").is_err(), "{scheme}");
            }
        }
        assert!(matches!(Certificate::generate_with(KeyType::Rsa, NOW), Err(CertificateError::Generate(_))));
    }

    #[test]
    fn a_chain_keeps_its_order_and_has_an_end() {
        let own = Certificate::generate(NOW).unwrap();
        let key = rcgen::KeyPair::generate_for(&rcgen::PKCS_ECDSA_P256_SHA256).unwrap();
        let leaf = rcgen::CertificateParams::default().self_signed(&key).unwrap();
        let chain = [leaf.der(), own.der()];
        let identity = Certificate::from_der_chain(&chain, &key.serialize_der()).unwrap();
        assert_eq!(identity.chain(), chain);
        assert_eq!(identity.der(), &leaf.der()[..]);
        let pem = format!("{}{}", leaf.pem(), RSA);
        let identity = Certificate::from_pem(&pem, &key.serialize_pem()).unwrap();
        assert_eq!(identity.chain().len(), 2);
        let load = |chain: &[&[u8]]| Certificate::from_der_chain(chain, &key.serialize_der()).err();
        assert_eq!(load(&[]), Some(CertificateError::Certificate));
        assert_eq!(load(&[&leaf.der()[..]; 17]), Some(CertificateError::Certificate));
    }
}
