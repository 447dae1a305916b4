//! No key ever seals twice under one nonce. A provider that writes down every (key, nonce) on its way into the AEAD shows
//! it: for both roles and kinds of nonce, over links that lose Finished, with data, alerts, exhaustion and the next session.

use super::pair::*;
use crate::crypto::ring::RING;
use crate::crypto::{Aead, CryptoError, Hasher, KeyExchange, Mac, NONCE_LEN, Provider, TAG_LEN};
use crate::key::PublicKey;
use crate::record::MAX_SEQUENCE;
use crate::suite::AeadAlgorithm;
use crate::*;
use proptest::prelude::*;
use std::collections::{HashMap, HashSet};
use std::sync::{Arc, Mutex, OnceLock};
use std::time::Duration;

type Nonce = [u8; NONCE_LEN];
/// What went into the AEAD to be sealed: key and nonce, in this order.
type Log = Arc<Mutex<Vec<(Vec<u8>, Nonce)>>>;

/// `ring`, written down; without randomness if that is wanted.
#[derive(Default)]
struct Witness {
    log: Log,
    no_randomness: bool,
}

struct WitnessAead {
    inner: Box<dyn Aead>,
    key: Vec<u8>,
    log: Log,
}

impl Aead for WitnessAead {
    fn seal(&self, nonce: Nonce, data: &[u8], in_out: &mut [u8]) -> Result<[u8; TAG_LEN], CryptoError> {
        self.log.lock().unwrap().push((self.key.clone(), nonce));
        self.inner.seal(nonce, data, in_out)
    }

    fn open(
        &self,
        nonce: Nonce,
        data: &[u8],
        in_out: &mut [u8],
        tag: &[u8; TAG_LEN],
    ) -> Result<(), CryptoError> {
        self.inner.open(nonce, data, in_out, tag)
    }
}

impl Provider for Witness {
    fn fill_random(&self, out: &mut [u8]) -> Result<(), CryptoError> {
        if self.no_randomness { Err(CryptoError) } else { RING.fill_random(out) }
    }

    fn hasher(&self, algorithm: HashAlgorithm) -> Box<dyn Hasher> {
        RING.hasher(algorithm)
    }

    fn mac(&self, algorithm: HashAlgorithm, key: &[u8]) -> Box<dyn Mac> {
        RING.mac(algorithm, key)
    }

    fn has_group(&self, group: NamedGroup) -> bool {
        RING.has_group(group)
    }

    fn key_exchange(&self, group: NamedGroup) -> Result<Box<dyn KeyExchange>, CryptoError> {
        RING.key_exchange(group)
    }

    fn aead(&self, algorithm: AeadAlgorithm, key: &[u8]) -> Result<Box<dyn Aead>, CryptoError> {
        let inner = RING.aead(algorithm, key)?;
        Ok(Box::new(WitnessAead { inner, key: key.to_vec(), log: Arc::clone(&self.log) }))
    }

    fn sign(
        &self,
        certificate: &Certificate,
        scheme: SignatureScheme,
        message: &[u8],
    ) -> Result<Vec<u8>, CryptoError> {
        RING.sign(certificate, scheme, message)
    }

    fn verify(
        &self,
        key: &PublicKey,
        scheme: SignatureScheme,
        message: &[u8],
        signature: &[u8],
    ) -> Result<(), CryptoError> {
        RING.verify(key, scheme, message, signature)
    }
}

/// A pair of which each end has a witness.
fn witnessed(suite: CipherSuite) -> (Pair, [Log; 2]) {
    let logs = [Log::default(), Log::default()];
    let mut pair = Pair::new(config(0), config(1));
    for (role, log) in [Role::Client, Role::Server].into_iter().zip(&logs) {
        let mut config = config(usize::from(role == Role::Server));
        config.suites = vec![suite];
        config.retransmit.limit = 1000;
        config.retransmit.max = Duration::from_secs(1);
        config.handshake_timeout = None;
        let other = identity(usize::from(role == Role::Client)).fingerprint(HashAlgorithm::Sha256);
        // A provider lives as long as the process.
        let witness = Box::leak(Box::new(Witness { log: Arc::clone(log), no_randomness: false }));
        let connection =
            Connection::with_crypto(witness, Arc::new(config), role, vec![other], pair.now, [3; 32]);
        pair.ends(role == Role::Client).0.connection = connection;
    }
    (pair, logs)
}

/// One session from the first hello to its end over a link that loses, repeats and delays; what both ends sealed.
fn session(suite: CipherSuite, fates: &[u8]) -> [Vec<(Vec<u8>, Nonce)>; 2] {
    let (mut pair, logs) = witnessed(suite);
    let mut fates = fates.iter().copied();
    // Bad for as long as there are fates, then good.
    let mut link = |_: bool, _: usize, datagram: Vec<u8>| match fates.next().unwrap_or(8) {
        0..4 => vec![],
        4 => vec![(Duration::from_millis(70), datagram)],
        5 => vec![(Duration::ZERO, datagram.clone()), (Duration::from_millis(3), datagram)],
        _ => fine(true, 0, datagram),
    };
    pair.run(Duration::from_secs(600), &mut link);
    pair.assert_connected();
    for round in 0..20u8 {
        for from_client in [true, false] {
            let now = pair.now;
            let (from, to) = pair.ends(from_client);
            let data = from.seal(&vec![round; usize::from(round) * 60]);
            to.input(now, &data);
            if round == 7 {
                // Calls that seal nothing.
                assert!(from.connection.seal(&mut [0; 20], 10).is_err());
                assert!(from.connection.seal(&mut [0; 20], 1 << 20).is_err());
            }
        }
        // The client has not seen Finished, it says: each end sends its last flight again if the other repeats its own.
        if round == 9 {
            let again: Vec<_> = pair.log.iter().filter(|(from_client, _)| *from_client).cloned().collect();
            for (_, datagram) in again {
                pair.server.input(pair.now, &datagram);
            }
        }
        pair.run(Duration::from_secs(2), fine);
    }
    let now = pair.now;
    pair.client.connection.close(now);
    pair.run(Duration::from_secs(2), fine);
    assert_eq!(pair.server.events, [Event::Connected, Event::Closed]);
    logs.map(|log| std::mem::take(&mut *log.lock().unwrap()))
}

/// The counter in a nonce: epoch and number, as the IV of that key is the nonce of number 0.
fn counters(sealed: &[(Vec<u8>, Nonce)]) -> Vec<u64> {
    let tail = |nonce: &Nonce| u64::from_be_bytes(nonce[4..].try_into().unwrap());
    let first = tail(&sealed[0].1);
    // The first record has epoch 1 and number 0.
    sealed.iter().map(|(_, nonce)| tail(nonce) ^ first).collect()
}

const SUITES: [CipherSuite; 3] = [
    CipherSuite::TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256,
    CipherSuite::TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384,
    CipherSuite::TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256,
];

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, ..ProptestConfig::default() })]

    #[test]
    fn no_key_seals_twice_under_one_nonce(
        suite in 0..SUITES.len(),
        fates in proptest::collection::vec(proptest::collection::vec(0u8..10, 0..40), 2),
    ) {
        let mut seen = HashSet::new();
        let mut owner = HashMap::new();
        // Two sessions of the same two ends, with the same seeds: the keys are others.
        for (number, fates) in fates.iter().enumerate() {
            for (side, log) in session(SUITES[suite], fates).into_iter().enumerate() {
                prop_assert!(log.len() > 20);
                // One key for each end and session, and the numbers are 0, 1, 2 … with nothing left out.
                let expected: Vec<u64> = (0..log.len() as u64).collect();
                prop_assert_eq!(counters(&log), expected);
                for (key, nonce) in log {
                    prop_assert_eq!(*owner.entry(key.clone()).or_insert((number, side)), (number, side));
                    prop_assert!(seen.insert((key, nonce)));
                }
            }
        }
        prop_assert_eq!(owner.len(), 4);
    }
}

#[test]
fn without_randomness_nothing_begins() {
    static BROKEN: OnceLock<Witness> = OnceLock::new();
    let broken = BROKEN.get_or_init(|| Witness { no_randomness: true, ..Witness::default() });
    for role in [Role::Client, Role::Server] {
        let now = base();
        let mut end = Connection::with_crypto(broken, Arc::new(config(0)), role, vec![], now, [3; 32]);
        assert_eq!(end.poll_event(), Some(Event::Failed(Error::Crypto)));
        assert_eq!((Error::Crypto.fault(), end.poll_timeout()), (Fault::Local, None));
        assert_eq!(end.handle_input(now, &mut [22; 50], |_| {}), Err(Error::Crypto));
    }
}

#[test]
fn finished_is_sealed_anew_each_time_it_is_sent() {
    for suite in SUITES {
        let mut fates = vec![9, 9];
        // The next six datagrams are lost: second flights, again and again.
        fates.extend([0; 6]);
        let [client, server] = session(suite, &fates);
        let [quiet_client, quiet_server] = session(suite, &[]);
        assert!(client.len() >= quiet_client.len() + 3, "{} {}", client.len(), quiet_client.len());
        assert!(server.len() >= quiet_server.len());
    }
}

#[test]
fn the_last_numbers_are_used_once_also_when_the_connection_ends_there() {
    for suite in SUITES {
        let (mut pair, [log, _]) = witnessed(suite);
        pair.run(Duration::from_secs(5), fine);
        pair.assert_connected();
        pair.client.connection.session.write.as_mut().unwrap().set_next(MAX_SEQUENCE - 1);
        log.lock().unwrap().clear();
        pair.client.seal(b"the last but one");
        pair.client.seal(b"the last");
        for _ in 0..5 {
            assert!(pair.client.connection.seal(&mut [0; 100], 10).is_err());
            pair.client.connection.abort(AlertDescription::INTERNAL_ERROR);
            assert!(pair.client.output(pair.now).is_empty(), "no number is left for an alert");
        }
        let log = log.lock().unwrap();
        assert_eq!(log.len(), 2);
        assert_ne!(log[0].1, log[1].1);
    }
}
