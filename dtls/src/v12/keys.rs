//! Secrets of DTLS 1.2: extended master secret (RFC 7627 §4), traffic keys (RFC 5246 §6.3), Finished (§7.4.9).

use crate::config::{Config, Role};
use crate::crypto::{NONCE_LEN, Provider, SuiteParameters, equal_in_constant_time, prf};
use crate::error::Error;
use crate::record::Protection;
use crate::record::open::OpenKey;
use crate::record::seal::SealKey;
use crate::session::Session;
use crate::types::CipherSuite;
use std::fmt::Write;
use zeroize::Zeroizing;

/// Epoch of the first keys, and the only one without renegotiation.
const EPOCH: u16 = 1;
/// Bytes of `verify_data`.
const VERIFY_DATA_LEN: usize = 12;

/// The master secret. Zeroised when dropped; has no `Debug`.
pub(crate) struct MasterSecret(Zeroizing<[u8; 48]>);

impl MasterSecret {
    /// From the key exchange's result and the transcript so far, which ends in ClientKeyExchange.
    pub(crate) fn extended(provider: &dyn Provider, premaster: &[u8], transcript: &[u8]) -> Self {
        let session_hash = provider.hash(transcript);
        let mut secret = Zeroizing::new([0; 48]);
        prf(provider, premaster, b"extended master secret", &[&session_hash], &mut secret[..]);
        Self(secret)
    }

    /// The keys of both directions, put where the session seals and opens.
    pub(crate) fn install(
        &self,
        session: &mut Session,
        suite: CipherSuite,
        client_random: &[u8; 32],
        server_random: &[u8; 32],
    ) -> Result<(), Error> {
        let parameters = SuiteParameters::of(suite).ok_or(Error::Crypto)?;
        let SuiteParameters { key_len, iv_len, explicit_nonce } = parameters;
        let mut block = Zeroizing::new([0; 2 * (32 + NONCE_LEN)]);
        let block = block.get_mut(..2 * (key_len + iv_len)).ok_or(Error::Crypto)?;
        prf(session.crypto, &self.0[..], b"key expansion", &[server_random, client_random], block);
        let (keys, ivs) = block.split_at(2 * key_len);
        let (client_key, server_key) = keys.split_at(key_len);
        let (client_iv, server_iv) = ivs.split_at(iv_len);
        let protection = |key: &[u8], part: &[u8]| -> Result<Protection, Error> {
            let mut iv = [0; NONCE_LEN];
            for (to, from) in iv.iter_mut().zip(part) {
                *to = *from;
            }
            let aead = session.crypto.aead(suite, key).map_err(|_| Error::Crypto)?;
            Ok(Protection { aead, iv, explicit_nonce })
        };
        let client = protection(client_key, client_iv)?;
        let server = protection(server_key, server_iv)?;
        let (write, read) = match session.role {
            Role::Client => (client, server),
            Role::Server => (server, client),
        };
        session.write = Some(SealKey::new(write, EPOCH));
        session.read = Some(OpenKey::new(read));
        self.log(&session.config, client_random);
        Ok(())
    }

    /// `verify_data` of the role's Finished over the transcript so far.
    pub(crate) fn verify_data(
        &self,
        provider: &dyn Provider,
        role: Role,
        transcript: &[u8],
    ) -> [u8; VERIFY_DATA_LEN] {
        let label: &[u8] = match role {
            Role::Client => b"client finished",
            Role::Server => b"server finished",
        };
        let mut out = [0; VERIFY_DATA_LEN];
        prf(provider, &self.0[..], label, &[&provider.hash(transcript)], &mut out);
        out
    }

    /// Whether the body of the role's Finished is right.
    pub(crate) fn check_finished(&self, session: &Session, role: Role, body: &[u8]) -> Result<(), Error> {
        let expected = self.verify_data(session.crypto, role, session.transcript.bytes());
        if equal_in_constant_time(&expected, body) { Ok(()) } else { Err(Error::BadFinished) }
    }

    fn log(&self, config: &Config, client_random: &[u8; 32]) {
        let Some(key_log) = &config.key_log else { return };
        let mut line = Zeroizing::new(String::with_capacity(14 + 64 + 1 + 96));
        line.push_str("CLIENT_RANDOM ");
        for byte in client_random {
            let _ = write!(line, "{byte:02x}");
        }
        line.push(' ');
        for byte in self.0.iter() {
            let _ = write!(line, "{byte:02x}");
        }
        key_log(&line);
    }
}
