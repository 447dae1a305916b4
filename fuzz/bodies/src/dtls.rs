//! A DTLS connection that is handed datagrams of somebody who does not know the certificate's key.

use std::sync::{Arc, OnceLock};
use std::time::Instant;

use sinnet_dtls::{Certificate, Config, Connection, Fingerprint, HashAlgorithm, Role};

use crate::{MANY, check_deadline, datagrams, start};

/// The first byte chooses: bit 0 the role (0 server, 1 client), bit 1 whether time goes on between datagrams. The rest are
/// datagrams, each behind its length. Whatever they are, no application data comes out.
pub fn dtls_handshake(data: &[u8]) {
    let Some((&mode, rest)) = data.split_first() else { return };
    let role = if mode & 1 == 0 { Role::Server } else { Role::Client };
    let fingerprint = Fingerprint::of(HashAlgorithm::Sha256, b"a certificate that nobody has");
    let mut now = start();
    let mut connection =
        Connection::new(Arc::new(Config::new(certificate())), role, vec![fingerprint], now, [7; 32]);
    drain(&mut connection, now);
    for datagram in datagrams(rest) {
        let mut datagram = datagram.to_vec();
        let _ =
            connection.handle_input(now, &mut datagram, |_| panic!("data of an unknown peer was delivered"));
        assert!(!connection.is_connected(), "connected to an unknown peer");
        drain(&mut connection, now);
        if mode & 2 != 0
            && let Some(deadline) = connection.poll_timeout()
        {
            now = now.max(deadline);
            let _ = connection.handle_timeout(now);
            drain(&mut connection, now);
            check_deadline("dtls", now, connection.poll_timeout());
        }
    }
    connection.close(now);
    drain(&mut connection, now);
}

fn drain(connection: &mut Connection, now: Instant) {
    let mut out = [0; 1200];
    let sent = (0..MANY).take_while(|_| connection.poll_transmit(now, &mut out).is_some()).count();
    let told = (0..MANY).take_while(|_| connection.poll_event().is_some()).count();
    assert!(sent < MANY && told < MANY, "{sent} datagrams, {told} events");
}

fn certificate() -> Arc<Certificate> {
    static CERTIFICATE: OnceLock<Arc<Certificate>> = OnceLock::new();
    CERTIFICATE
        .get_or_init(|| Arc::new(Certificate::generate(1_700_000_000).expect("a certificate can be made")))
        .clone()
}
