//! Certificate fingerprints (RFC 8122 §5): a hash name and the digest of the DER certificate.
//!
//! Trust in a peer comes from nothing else: its certificate is self-signed, and the fingerprint arrived over the
//! signalling channel.

use crate::error::{Error, FingerprintError};
use std::fmt;
use std::str::FromStr;

/// A hash that we trust for fingerprints. The order is by strength.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum HashAlgorithm {
    /// 32 bytes.
    Sha256,
    /// 48 bytes.
    Sha384,
    /// 64 bytes.
    Sha512,
}

impl HashAlgorithm {
    /// The name in an `a=fingerprint` line.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Sha256 => "sha-256",
            Self::Sha384 => "sha-384",
            Self::Sha512 => "sha-512",
        }
    }

    /// Length of the digest in bytes.
    pub const fn digest_len(self) -> usize {
        match self {
            Self::Sha256 => 32,
            Self::Sha384 => 48,
            Self::Sha512 => 64,
        }
    }

    pub(crate) fn ring(self) -> &'static ring::digest::Algorithm {
        match self {
            Self::Sha256 => &ring::digest::SHA256,
            Self::Sha384 => &ring::digest::SHA384,
            Self::Sha512 => &ring::digest::SHA512,
        }
    }
}

/// The digest of a certificate. Written and read as `sha-256 AB:CD:…`, in either case.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Fingerprint {
    /// Which hash.
    pub algorithm: HashAlgorithm,
    /// [`HashAlgorithm::digest_len`] bytes.
    pub digest: Vec<u8>,
}

impl Fingerprint {
    /// The fingerprint of a DER certificate.
    pub fn of(algorithm: HashAlgorithm, certificate_der: &[u8]) -> Self {
        let digest = ring::digest::digest(algorithm.ring(), certificate_der);
        Self { algorithm, digest: digest.as_ref().to_vec() }
    }
}

impl fmt::Display for Fingerprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.algorithm.name())?;
        for (index, byte) in self.digest.iter().enumerate() {
            write!(f, "{}{byte:02X}", if index == 0 { ' ' } else { ':' })?;
        }
        Ok(())
    }
}

impl FromStr for Fingerprint {
    type Err = FingerprintError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let (name, digits) = text.trim().split_once(' ').ok_or(FingerprintError::Syntax)?;
        let algorithm = [HashAlgorithm::Sha256, HashAlgorithm::Sha384, HashAlgorithm::Sha512]
            .into_iter()
            .find(|known| name.eq_ignore_ascii_case(known.name()))
            .ok_or(FingerprintError::UnknownHash)?;
        let mut digest = Vec::with_capacity(algorithm.digest_len());
        for pair in digits.trim().split(':') {
            let bytes = pair.as_bytes();
            if bytes.len() != 2 || !bytes.iter().all(u8::is_ascii_hexdigit) {
                return Err(FingerprintError::Syntax);
            }
            if digest.len() == algorithm.digest_len() {
                return Err(FingerprintError::Length);
            }
            digest.push(u8::from_str_radix(pair, 16).map_err(|_| FingerprintError::Syntax)?);
        }
        if digest.len() != algorithm.digest_len() {
            return Err(FingerprintError::Length);
        }
        Ok(Self { algorithm, digest })
    }
}

/// Whether the certificate is the promised one. Of the hashes given only the strongest decides, and one of its
/// fingerprints must match (RFC 8122 §5); none given is a refusal.
pub(crate) fn verify(expected: &[Fingerprint], certificate_der: &[u8]) -> Result<(), Error> {
    let strongest =
        expected.iter().map(|fingerprint| fingerprint.algorithm).max().ok_or(Error::NoFingerprint)?;
    let got = Fingerprint::of(strongest, certificate_der);
    if expected.contains(&got) {
        return Ok(());
    }
    let expected =
        expected.iter().filter(|fingerprint| fingerprint.algorithm == strongest).cloned().collect();
    Err(Error::FingerprintMismatch { expected, got })
}

#[cfg(test)]
mod tests {
    use super::*;

    const DER: &[u8] = b"not really a certificate";

    #[test]
    fn a_fingerprint_reads_back_in_either_case() {
        for algorithm in [HashAlgorithm::Sha256, HashAlgorithm::Sha384, HashAlgorithm::Sha512] {
            let fingerprint = Fingerprint::of(algorithm, DER);
            let text = fingerprint.to_string();
            assert_eq!(text.parse(), Ok(fingerprint.clone()));
            assert_eq!(text.to_lowercase().parse(), Ok(fingerprint.clone()));
            assert_eq!(text.to_uppercase().parse(), Ok(fingerprint));
        }
    }

    #[test]
    fn broken_texts_are_refused_by_name() {
        let good = Fingerprint::of(HashAlgorithm::Sha256, DER).to_string();
        let parse = |text: &str| text.parse::<Fingerprint>();
        assert_eq!(parse(""), Err(FingerprintError::Syntax));
        assert_eq!(parse("sha-256"), Err(FingerprintError::Syntax));
        assert_eq!(parse("sha-256 +1:22"), Err(FingerprintError::Syntax));
        assert_eq!(parse(&good.replace(':', "")), Err(FingerprintError::Syntax));
        assert_eq!(parse("sha-1 AA:BB"), Err(FingerprintError::UnknownHash));
        assert_eq!(parse("md5 AA:BB"), Err(FingerprintError::UnknownHash));
        assert_eq!(parse("sha-256 AA:BB"), Err(FingerprintError::Length));
        assert_eq!(parse(&format!("{good}:00")), Err(FingerprintError::Length));
        assert_eq!(parse(&good.replace("256", "512")), Err(FingerprintError::Length));
    }

    #[test]
    fn the_strongest_hash_decides() {
        let right = |algorithm| Fingerprint::of(algorithm, DER);
        let wrong = |algorithm| Fingerprint::of(algorithm, b"another");
        use HashAlgorithm::{Sha256, Sha512};
        assert_eq!(verify(&[], DER), Err(Error::NoFingerprint));
        assert_eq!(verify(&[right(Sha256)], DER), Ok(()));
        assert_eq!(verify(&[wrong(Sha256), right(Sha256)], DER), Ok(()));
        assert_eq!(verify(&[wrong(Sha256), right(Sha512)], DER), Ok(()));
        assert_eq!(
            verify(&[right(Sha256), wrong(Sha512)], DER),
            Err(Error::FingerprintMismatch { expected: vec![wrong(Sha512)], got: right(Sha512) })
        );
    }

    #[test]
    fn a_mismatch_names_both_fingerprints_in_one_sentence() {
        let expected = Fingerprint::of(HashAlgorithm::Sha256, b"another");
        let error = verify(std::slice::from_ref(&expected), DER).unwrap_err().to_string();
        assert!(error.contains(&expected.to_string()), "{error}");
        assert!(error.contains(&Fingerprint::of(HashAlgorithm::Sha256, DER).to_string()), "{error}");
    }
}
