//! The client's side of long-term credentials (RFC 8489 §9.2.3 and §9.2.5).

use sinnet_stun::{
    AttributeType, Builder, IntegrityKey, Message, PasswordAlgorithm, SecurityFeatures, long_term_key,
    userhash,
};

use super::config::Credentials;
use super::event::Reason;

/// Bytes of PASSWORD-ALGORITHMS that are said back at most: 32 entries without parameters.
const MAX_ALGORITHMS: usize = 128;

/// What signs requests, after a challenge.
#[derive(Clone, Debug)]
pub(crate) struct Auth {
    pub(crate) realm: String,
    pub(crate) nonce: String,
    /// There if the server takes hashed names.
    userhash: Option<[u8; 32]>,
    /// The server's list, to be said back, and our choice; without a list, MD5 and SHA-1 it is.
    algorithms: Option<(Vec<u8>, PasswordAlgorithm)>,
    key: IntegrityKey,
}

/// Whether the nonce promises PASSWORD-ALGORITHMS and there is none: RFC 8489 §9.2.5.
pub(crate) fn is_bid_down(message: &Message<'_>) -> bool {
    let features = message.nonce().and_then(SecurityFeatures::of_nonce).unwrap_or_default();
    features.password_algorithms && message.attribute(AttributeType::PASSWORD_ALGORITHMS).is_none()
}

impl Auth {
    /// Of a 401.
    pub(crate) fn from_challenge(credentials: &Credentials, message: &Message<'_>) -> Result<Self, Reason> {
        let (Some(realm), Some(nonce)) = (message.realm(), message.nonce()) else {
            return Err(Reason::BadChallenge);
        };
        if is_bid_down(message) {
            return Err(Reason::BidDown);
        }
        let anonymous = SecurityFeatures::of_nonce(nonce).is_some_and(|features| features.username_anonymity);
        let algorithms = match message.attribute(AttributeType::PASSWORD_ALGORITHMS) {
            None => None,
            Some(list) if list.len() > MAX_ALGORITHMS => return Err(Reason::NoPasswordAlgorithm),
            // RFC 8656 §6: SHA-256 wherever it stands in the list.
            Some(list) => {
                let offered = |algorithm| message.password_algorithms().any(|offer| offer == algorithm);
                let known = [PasswordAlgorithm::SHA256, PasswordAlgorithm::MD5];
                let choice = known.into_iter().find(|&algorithm| offered(algorithm));
                Some((list.to_vec(), choice.ok_or(Reason::NoPasswordAlgorithm)?))
            }
        };
        let algorithm = algorithms.as_ref().map_or(PasswordAlgorithm::MD5, |(_, choice)| *choice);
        let key = long_term_key(&credentials.username, realm, &credentials.password, algorithm)
            .ok_or(Reason::NoPasswordAlgorithm)?;
        Ok(Self {
            realm: realm.to_owned(),
            nonce: nonce.to_owned(),
            userhash: anonymous.then(|| userhash(&credentials.username, realm)),
            algorithms,
            key,
        })
    }

    /// Appends what a signed request ends with.
    pub(crate) fn sign(&self, credentials: &Credentials, b: &mut Builder<'_>) {
        match &self.userhash {
            Some(hash) => b.userhash(hash),
            None => b.username(&credentials.username),
        };
        b.realm(&self.realm).nonce(&self.nonce);
        match &self.algorithms {
            Some((list, choice)) => {
                b.attribute(AttributeType::PASSWORD_ALGORITHMS, list).password_algorithm(*choice);
                b.integrity_sha256(&self.key)
            }
            None => b.integrity(&self.key),
        };
    }

    /// Whether a response was made by who knows our password.
    pub(crate) fn verifies(&self, message: &Message<'_>) -> bool {
        match self.algorithms {
            Some(_) => message.verify_integrity_sha256(&self.key).is_valid(),
            None => message.verify_integrity(&self.key).is_valid(),
        }
    }
}
