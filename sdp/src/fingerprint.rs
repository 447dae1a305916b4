//! `a=fingerprint` (RFC 8122 §5): the hash of a certificate, which is all that the peer is known by.

use std::fmt;
use std::str::FromStr;

use crate::error::{Error, excerpt};

/// The hash of a certificate and its name.
///
/// Parsed from `sha-256 AB:CD:…`: the name in either case, the digest in upper- or lower-case hex. For hashes that are
/// known by name the length of the digest is checked; others are carried (RFC 8122 §5 lets them be ignored), with 1 to
/// 64 bytes.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct Fingerprint {
    /// Name from the IANA registry of hash function textual names, in lower case.
    pub algorithm: String,
    /// The hash of the DER certificate.
    pub digest: Vec<u8>,
}

/// Longest digest of any registered hash, in bytes.
const MAX_DIGEST: usize = 64;

impl Fingerprint {
    /// Whether the hash is one that is trusted to identify a certificate: sha-256, sha-384 or sha-512.
    pub fn is_strong(&self) -> bool {
        matches!(self.algorithm.as_str(), "sha-256" | "sha-384" | "sha-512")
    }

    pub(crate) fn check(&self) -> Result<(), Error> {
        // RFC 8122 §5: hash-func is a token; that it is in lower case is this type's own rule.
        let token = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b"!#$%&'*+-.^_`{|}~".contains(&b);
        if self.algorithm.is_empty() || !self.algorithm.bytes().all(token) {
            return Err(Error::BadFingerprint(format!(
                "'{}' is no name of a hash",
                excerpt(&self.algorithm)
            )));
        }
        let len = self.digest.len();
        let fits = match digest_len(&self.algorithm) {
            Some(expected) => len == expected,
            None => (1..=MAX_DIGEST).contains(&len),
        };
        if fits {
            Ok(())
        } else {
            Err(Error::BadFingerprint(format!("{} can't have {len} bytes", excerpt(&self.algorithm))))
        }
    }
}

/// Bytes of a digest, by the hash's registered name.
fn digest_len(algorithm: &str) -> Option<usize> {
    match algorithm {
        "md2" | "md5" => Some(16),
        "sha-1" => Some(20),
        "sha-224" => Some(28),
        "sha-256" => Some(32),
        "sha-384" => Some(48),
        "sha-512" => Some(64),
        _ => None,
    }
}

impl fmt::Display for Fingerprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ", self.algorithm)?;
        for (i, byte) in self.digest.iter().enumerate() {
            write!(f, "{}{byte:02X}", if i == 0 { "" } else { ":" })?;
        }
        Ok(())
    }
}

impl FromStr for Fingerprint {
    type Err = Error;

    fn from_str(s: &str) -> Result<Self, Error> {
        let (algorithm, hex) = s
            .trim()
            .split_once(' ')
            .ok_or_else(|| Error::BadFingerprint(format!("'{}' is not 'hash AB:CD:…'", excerpt(s))))?;
        let digest = hex
            .trim()
            .split(':')
            .take(MAX_DIGEST + 1)
            .map(hex_byte)
            .collect::<Option<Vec<u8>>>()
            .ok_or_else(|| Error::BadFingerprint(format!("'{}' is not hex", excerpt(hex))))?;
        let fingerprint = Self { algorithm: algorithm.to_ascii_lowercase(), digest };
        fingerprint.check()?;
        Ok(fingerprint)
    }
}

fn hex_byte(pair: &str) -> Option<u8> {
    match *pair.as_bytes() {
        [a, b] => {
            let value = char::from(a).to_digit(16)? * 16 + char::from(b).to_digit(16)?;
            u8::try_from(value).ok()
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn case_of_name_and_hex_does_not_matter_and_upper_case_hex_is_written() {
        let upper: Fingerprint = format!("sha-256 {}", ["AB"; 32].join(":")).parse().unwrap();
        let mixed: Fingerprint = format!("SHA-256 {}", ["aB"; 32].join(":")).parse().unwrap();
        assert_eq!(upper, mixed);
        assert_eq!(mixed.to_string(), format!("sha-256 {}", ["AB"; 32].join(":")));
    }

    #[test]
    fn a_digest_must_have_the_length_of_its_hash() {
        for (name, len) in
            [("md5", 16), ("sha-1", 20), ("sha-224", 28), ("sha-256", 32), ("sha-384", 48), ("sha-512", 64)]
        {
            for have in [0, 1, len - 1, len, len + 1, 65, 1000] {
                let parsed = format!("{name} {}", vec!["00"; have].join(":")).parse::<Fingerprint>();
                assert_eq!(parsed.is_ok(), have == len, "{name} with {have} bytes: {parsed:?}");
            }
        }
    }

    #[test]
    fn malformed_fingerprints_are_refused() {
        for text in
            ["", "sha-256", "sha-256 ", "sha-256 A", "x AB:C", "x AB::CD", "x AB CD", "x +1", "x AB:", "é AB"]
        {
            assert!(matches!(text.parse::<Fingerprint>(), Err(Error::BadFingerprint(_))), "{text:?}");
        }
    }

    proptest! {
        #[test]
        fn what_is_written_parses_back(digest in proptest::collection::vec(any::<u8>(), 1..=64)) {
            let fingerprint = Fingerprint { algorithm: "x-hash".to_owned(), digest };
            prop_assert_eq!(fingerprint.to_string().parse(), Ok(fingerprint));
        }

        #[test]
        fn no_text_makes_the_parser_panic(text in "(sha-256 )?[0-9A-Fa-f:]{0,200}|\\PC{0,40}") {
            let _ = text.parse::<Fingerprint>();
        }
    }
}
