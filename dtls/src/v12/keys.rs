//! Secrets of DTLS 1.2: master secret (RFC 7627 §4, RFC 5246 §8.1), traffic keys (RFC 5246 §6.3), Finished (§7.4.9),
//! exporter (RFC 5705).

use crate::config::{Config, Role};
use crate::crypto::{NONCE_LEN, Provider, equal_in_constant_time, prf};
use crate::error::{Error, ExportError};
use crate::record::Protection;
use crate::record::open::OpenKey;
use crate::record::seal::SealKey;
use crate::session::Session;
use crate::suite::Suite;
use std::fmt::Write;
use zeroize::Zeroizing;

/// Epoch of the first keys, and the only one without renegotiation.
const EPOCH: u16 = 1;
/// Bytes of `verify_data`.
const VERIFY_DATA_LEN: usize = 12;
/// Labels that the protocol itself uses; an exporter must not (RFC 5705 §4, RFC 7627 §4).
const RESERVED_LABELS: [&str; 5] =
    ["client finished", "server finished", "master secret", "key expansion", "extended master secret"];

/// The randoms of both hellos.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Randoms {
    pub(crate) client: [u8; 32],
    pub(crate) server: [u8; 32],
}

/// The master secret and what it is used with. Wiped when dropped; has no `Debug`. It is boxed, as each move of the bytes
/// themselves would leave a copy behind.
pub(crate) struct Secrets {
    master: Box<Zeroizing<[u8; 48]>>,
    suite: Suite,
    randoms: Randoms,
    extended: bool,
}

impl Secrets {
    /// From the key exchange's result. With the hash of the transcript up to ClientKeyExchange, the extended master secret;
    /// without, the one of RFC 5246 §8.1.
    pub(crate) fn derive(
        provider: &dyn Provider,
        suite: Suite,
        randoms: Randoms,
        premaster: &[u8],
        session_hash: Option<&[u8]>,
    ) -> Self {
        let mut master = Box::new(Zeroizing::new([0; 48]));
        let out = &mut master[..];
        if let Some(session_hash) = session_hash {
            prf(provider, suite.hash, premaster, b"extended master secret", &[session_hash], out);
        } else {
            let seed = [&randoms.client[..], &randoms.server];
            prf(provider, suite.hash, premaster, b"master secret", &seed, out);
        }
        Self { master, suite, randoms, extended: session_hash.is_some() }
    }

    /// The keys of both directions, put where the session seals and opens.
    pub(crate) fn install(&self, session: &mut Session) -> Result<(), Error> {
        let algorithm = self.suite.aead;
        let (key_len, iv_len) = (algorithm.key_len(), algorithm.iv_len());
        let mut block = Zeroizing::new([0; 2 * (32 + NONCE_LEN)]);
        let block = block.get_mut(..2 * (key_len + iv_len)).ok_or(Error::Crypto)?;
        let seed = [&self.randoms.server[..], &self.randoms.client];
        prf(session.crypto, self.suite.hash, &self.master[..], b"key expansion", &seed, block);
        let (keys, ivs) = block.split_at(2 * key_len);
        let (client_key, server_key) = keys.split_at(key_len);
        let (client_iv, server_iv) = ivs.split_at(iv_len);
        let protection = |key: &[u8], part: &[u8]| -> Result<Protection, Error> {
            let mut iv = [0; NONCE_LEN];
            for (to, from) in iv.iter_mut().zip(part) {
                *to = *from;
            }
            let aead = session.crypto.aead(algorithm, key).map_err(|_| Error::Crypto)?;
            Ok(Protection { aead, iv, explicit_nonce: algorithm.is_gcm() })
        };
        let client = protection(client_key, client_iv)?;
        let server = protection(server_key, server_iv)?;
        let (write, read) = match session.role {
            Role::Client => (client, server),
            Role::Server => (server, client),
        };
        session.write = Some(SealKey::new(write, EPOCH));
        session.read = Some(OpenKey::new(read));
        self.log(&session.config);
        Ok(())
    }

    /// `verify_data` of the role's Finished over the transcript so far.
    pub(crate) fn verify_data(&self, session: &mut Session, role: Role) -> [u8; VERIFY_DATA_LEN] {
        let label: &[u8] = match role {
            Role::Client => b"client finished",
            Role::Server => b"server finished",
        };
        let hash = self.suite.hash;
        let mut out = [0; VERIFY_DATA_LEN];
        let transcript = session.transcript.digest(session.crypto, hash);
        prf(session.crypto, hash, &self.master[..], label, &[&transcript], &mut out);
        out
    }

    /// Whether the body of the role's Finished is right.
    pub(crate) fn check_finished(&self, session: &mut Session, role: Role, body: &[u8]) -> Result<(), Error> {
        let expected = self.verify_data(session, role);
        if equal_in_constant_time(&expected, body) { Ok(()) } else { Err(Error::BadFinished) }
    }

    /// RFC 5705 §4. No context and an empty one give different bytes.
    pub(crate) fn export(
        &self,
        provider: &dyn Provider,
        label: &str,
        context: Option<&[u8]>,
        out: &mut [u8],
    ) -> Result<(), ExportError> {
        if !self.extended {
            return Err(ExportError::NoExtendedMasterSecret);
        }
        if RESERVED_LABELS.contains(&label) {
            return Err(ExportError::ReservedLabel);
        }
        let len;
        let mut seed = vec![&self.randoms.client[..], &self.randoms.server];
        if let Some(context) = context {
            len = u16::try_from(context.len()).map_err(|_| ExportError::ContextTooLong)?.to_be_bytes();
            seed.extend([&len[..], context]);
        }
        prf(provider, self.suite.hash, &self.master[..], label.as_bytes(), &seed, out);
        Ok(())
    }

    fn log(&self, config: &Config) {
        let Some(key_log) = &config.key_log else { return };
        tracing::warn!("this session's secrets go to the key log: whoever has it can read the session");
        let mut line = Zeroizing::new(String::with_capacity(14 + 64 + 1 + 96));
        line.push_str("CLIENT_RANDOM ");
        for byte in self.randoms.client {
            let _ = write!(line, "{byte:02x}");
        }
        line.push(' ');
        for byte in self.master.iter() {
            let _ = write!(line, "{byte:02x}");
        }
        key_log(&line);
    }
}
