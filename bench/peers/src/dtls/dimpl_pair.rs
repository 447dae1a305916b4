use dimpl::crypto::{Dtls12CipherSuite, NamedGroup};
use dimpl::{Config, Dtls, DtlsCertificate, Output};
use std::hint::black_box;
use std::sync::Arc;
use std::time::Instant;

pub struct Fixture {
    config: Arc<Config>,
    client: DtlsCertificate,
    server: DtlsCertificate,
}

impl Fixture {
    pub fn new() -> Self {
        let certificate = || dimpl::certificate::generate_self_signed_certificate().expect("a certificate");
        let config = Config::builder()
            .use_server_cookie(false)
            .kx_groups(&[NamedGroup::X25519, NamedGroup::Secp256r1])
            .dtls12_cipher_suites(&[Dtls12CipherSuite::ECDHE_ECDSA_AES128_GCM_SHA256])
            .build()
            .expect("a configuration");
        Self { config: Arc::new(config), client: certificate(), server: certificate() }
    }

    pub fn connect(&self, now: Instant) -> (Dtls, Dtls) {
        let mut client = Dtls::new_12(Arc::clone(&self.config), self.client.clone(), now);
        client.set_active(true);
        let mut server = Dtls::new_12(Arc::clone(&self.config), self.server.clone(), now);
        server.set_active(false);
        let mut connected = 0;
        for round in 0..20 {
            client.handle_timeout(now).expect("a timeout");
            server.handle_timeout(now).expect("a timeout");
            connected += carry(&mut client, &mut server);
            connected += carry(&mut server, &mut client);
            if connected == 2 {
                return (client, server);
            }
            assert!(round < 19, "dimpl does not connect");
        }
        (client, server)
    }
}

/// Takes all output of one end to the other; 1 if it says that it is connected.
fn carry(from: &mut Dtls, to: &mut Dtls) -> usize {
    let mut buffer = [0; 2048];
    let mut connected = 0;
    loop {
        match from.poll_output(&mut buffer) {
            Output::Packet(packet) => to.handle_packet(packet).expect("a good flight"),
            Output::Connected => connected = 1,
            Output::ApplicationData(data) => {
                black_box(data[0]);
            }
            Output::Timeout(_) => return connected,
            _ => {}
        }
    }
}

pub struct Records {
    client: Dtls,
    server: Dtls,
    data: Vec<u8>,
}

impl Records {
    pub fn new(fixture: &Fixture, now: Instant) -> Self {
        let (client, server) = fixture.connect(now);
        Self { client, server, data: vec![0x55; 1200] }
    }

    pub fn turn(&mut self) {
        self.client.send_application_data(&self.data).expect("sent");
        carry(&mut self.client, &mut self.server);
        carry(&mut self.server, &mut self.client);
    }
}
