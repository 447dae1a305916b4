//! A DTLS connection that is handed datagrams of somebody who does not know the certificate's key.

use std::sync::Arc;

use sinnet_dtls::{Config, Connection, Fingerprint, HashAlgorithm, Role};

use super::{Watch, certificate};
use crate::{check_deadline, datagrams, start};

/// The first byte chooses: bit 0 the role (0 server, 1 client), bit 1 whether time goes on between datagrams. The rest are
/// datagrams, each behind its length. Whatever they are, no application data comes out.
pub fn dtls_handshake(data: &[u8]) {
    let Some((&mode, rest)) = data.split_first() else { return };
    let role = if mode & 1 == 0 { Role::Server } else { Role::Client };
    let fingerprint = Fingerprint::of(HashAlgorithm::Sha256, b"a certificate that nobody has");
    let mut now = start();
    let mut connection =
        Connection::new(Arc::new(Config::new(certificate())), role, vec![fingerprint], now, [7; 32]);
    let mut watch = Watch::default();
    let mut drain = |connection: &mut Connection, now| {
        watch.send_all(connection, now);
        watch.events(connection);
    };
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
