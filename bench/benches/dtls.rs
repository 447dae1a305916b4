//! Sealing and opening a record against bare `ring` on the same bytes, and whole handshakes by suite and kind of certificate.
//!
//! `cargo bench -p sinnet-bench --bench dtls`

use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use ring::aead::{AES_128_GCM, Aad, Algorithm, CHACHA20_POLY1305, LessSafeKey, Nonce, UnboundKey};
use sinnet_dtls::{Certificate, CipherSuite, Config, Connection, Fingerprint, HashAlgorithm, KeyType, Role};
use std::hint::black_box;
use std::sync::Arc;
use std::time::Instant;

const SUITES: [(&str, CipherSuite, &Algorithm); 2] = [
    ("aes-128-gcm", CipherSuite::TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256, &AES_128_GCM),
    ("chacha20-poly1305", CipherSuite::TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256, &CHACHA20_POLY1305),
];
const SIZES: [usize; 2] = [64, 1160];

#[expect(clippy::disallowed_methods, reason = "a benchmark needs one instant to start from")]
fn start() -> Instant {
    Instant::now()
}

fn identity() -> Arc<Certificate> {
    Arc::new(Certificate::generate(1_795_000_000).expect("a certificate"))
}

/// [`Connection::new`] or something like it.
type New = fn(Arc<Config>, Role, Vec<Fingerprint>, Instant, [u8; 32]) -> Connection;

/// A connected pair.
fn connect(certificate: &Arc<Certificate>, suite: CipherSuite, now: Instant) -> (Connection, Connection) {
    connect_by(Connection::new, certificate, suite, now)
}

fn connect_by(
    new: New,
    certificate: &Arc<Certificate>,
    suite: CipherSuite,
    now: Instant,
) -> (Connection, Connection) {
    let mut config = Config::new(Arc::clone(certificate));
    config.suites = vec![suite];
    let config = Arc::new(config);
    let expected = || vec![certificate.fingerprint(HashAlgorithm::Sha256)];
    let mut client = new(Arc::clone(&config), Role::Client, expected(), now, [1; 32]);
    let mut server = new(config, Role::Server, expected(), now, [2; 32]);
    let mut buffer = [0; 1500];
    while !client.is_connected() {
        while let Some(len) = client.poll_transmit(now, &mut buffer) {
            server.handle_input(now, &mut buffer[..len], |_| {}).expect("a good flight");
        }
        while let Some(len) = server.poll_transmit(now, &mut buffer) {
            client.handle_input(now, &mut buffer[..len], |_| {}).expect("a good flight");
        }
    }
    (client, server)
}

fn records(criterion: &mut Criterion) {
    let certificate = identity();
    let now = start();
    for (name, suite, algorithm) in SUITES {
        let mut group = criterion.benchmark_group(format!("seal+open {name}"));
        for size in SIZES {
            group.throughput(Throughput::Bytes(size as u64));
            let key =
                LessSafeKey::new(UnboundKey::new(algorithm, &vec![7; algorithm.key_len()]).expect("a key"));
            group.bench_function(BenchmarkId::new("bare ring", size), |bencher| {
                let mut buffer = vec![0x55; size];
                let mut counter = 0u64;
                bencher.iter(|| {
                    counter += 1;
                    let mut nonce = [0; 12];
                    nonce[4..].copy_from_slice(&counter.to_be_bytes());
                    let aad = [counter as u8; 13];
                    let tag = key
                        .seal_in_place_separate_tag(
                            Nonce::assume_unique_for_key(nonce),
                            Aad::from(&aad),
                            &mut buffer,
                        )
                        .expect("sealed");
                    key.open_in_place_separate_tag(
                        Nonce::assume_unique_for_key(nonce),
                        Aad::from(&aad),
                        tag,
                        &mut buffer,
                        0..,
                    )
                    .expect("opened");
                    black_box(buffer[0]);
                });
            });
            let (mut client, mut server) = connect(&certificate, suite, now);
            let header = client.header_len();
            group.bench_function(BenchmarkId::new("records", size), |bencher| {
                let mut slot = vec![0x55; header + size + client.tag_len()];
                bencher.iter(|| {
                    let len = client.seal(&mut slot, size).expect("sealed");
                    server
                        .handle_input(now, &mut slot[..len], |plaintext| {
                            black_box(plaintext[0]);
                        })
                        .expect("opened");
                });
            });
        }
        group.finish();
    }
}

fn handshakes(criterion: &mut Criterion) {
    let now = start();
    let made = |key_type| Certificate::generate_with(key_type, 1_795_000_000).expect("a certificate");
    let rsa = Certificate::from_pem(
        include_str!("../../dtls/src/tests/identities/rsa-2048.crt"),
        include_str!("../../dtls/src/tests/identities/rsa-2048.key"),
    );
    let mut group = criterion.benchmark_group("handshake, both ends");
    for certificate in [
        made(KeyType::EcdsaP256),
        made(KeyType::EcdsaP384),
        made(KeyType::Ed25519),
        rsa.expect("a good identity"),
    ] {
        let certificate = Arc::new(certificate);
        let rsa = certificate.key_type() == KeyType::Rsa;
        for suite in Config::default().suites {
            let name = suite.to_string();
            if name.contains("ECDHE_RSA") == rsa {
                let id = BenchmarkId::new(format!("{:?}", certificate.key_type()), name);
                group.bench_function(id, |bencher| bencher.iter(|| connect(&certificate, suite, now)));
            }
        }
    }
    // What is ours: messages, flights, records, certificates read and hashed for their fingerprints.
    let (certificate, suite) = (identity(), CipherSuite::TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256);
    group.bench_function("all but the cryptography", |bencher| {
        bencher.iter(|| connect_by(Connection::new_without_security, &certificate, suite, now));
    });
    group.finish();
}

criterion_group!(benches, records, handshakes);
criterion_main!(benches);
