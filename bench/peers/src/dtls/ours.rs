use sinnet_dtls::{Certificate, CipherSuite, Config, Connection, HashAlgorithm, Role};
use std::hint::black_box;
use std::sync::Arc;
use std::time::Instant;

pub struct Fixture {
    config: Arc<Config>,
}

impl Fixture {
    pub fn new() -> Self {
        let certificate = Certificate::generate(1_795_000_000).expect("a certificate");
        let mut config = Config::new(Arc::new(certificate));
        config.suites = vec![CipherSuite::TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256];
        Self { config: Arc::new(config) }
    }

    pub fn connect(&self, now: Instant) -> (Connection, Connection) {
        let certificate = self.config.certificate.as_ref().expect("a certificate");
        let expected = || vec![certificate.fingerprint(HashAlgorithm::Sha256)];
        let end = |role, seed| Connection::new(Arc::clone(&self.config), role, expected(), now, [seed; 32]);
        let (mut client, mut server) = (end(Role::Client, 1), end(Role::Server, 2));
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
}

pub struct Records {
    client: Connection,
    server: Connection,
    slot: Vec<u8>,
}

impl Records {
    pub fn new(fixture: &Fixture, now: Instant) -> Self {
        let (client, server) = fixture.connect(now);
        Self { client, server, slot: vec![0x55; 1300] }
    }

    pub fn turn(&mut self, now: Instant) {
        let len = self.client.seal(&mut self.slot, 1200).expect("sealed");
        let deliver = |plaintext: &mut [u8]| {
            black_box(plaintext[0]);
        };
        self.server.handle_input(now, &mut self.slot[..len], deliver).expect("opened");
    }
}
