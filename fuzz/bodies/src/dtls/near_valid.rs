//! A DTLS connection without security: what it gets is nearly what its peer would send, from the first hello to data and
//! alerts in records of epoch 1.

use std::sync::Arc;

use sinnet_dtls::{ClientCertificate, Config, Connection, Role, SrtpProfile};

use super::{Watch, certificate};
use crate::{check_deadline, datagrams, start};

/// The first byte chooses: bit 0 the role (0 server, 1 client), bit 1 whether time goes on between datagrams, bit 2 whether a
/// server asks for a cookie, bit 3 ChaCha20 or, without, AES-GCM, bit 4 whether the extended master secret may be missing,
/// bit 5 whether certificates may be, bit 6 whether SRTP and application protocols are offered, bit 7 whether stray
/// plaintext is refused. The rest are datagrams, each behind its length.
pub fn dtls_near_valid(data: &[u8]) {
    let Some((&mode, rest)) = data.split_first() else { return };
    let role = if mode & 1 == 0 { Role::Server } else { Role::Client };
    let mut now = start();
    let mut connection = Connection::new_without_security(Arc::new(config(mode)), role, vec![], now, [0; 32]);
    let mut watch = Watch::default();
    let said = watch.send_all(&mut connection, now);
    assert_eq!(said.is_empty(), role == Role::Server);
    for datagram in datagrams(rest) {
        let mut datagram = datagram.to_vec();
        let mut delivered = 0;
        let _ = connection.handle_input(now, &mut datagram, |plaintext| delivered += 1 + plaintext.len());
        watch.events(&mut connection);
        assert!(delivered == 0 || watch.connected, "data before the handshake was over");
        watch.send_all(&mut connection, now);
        if mode & 2 != 0
            && let Some(deadline) = connection.poll_timeout()
        {
            now = now.max(deadline);
            let _ = connection.handle_timeout(now);
            watch.events(&mut connection);
            watch.send_all(&mut connection, now);
            check_deadline("dtls", now, connection.poll_timeout());
        }
    }
    connection.close(now);
    watch.send_all(&mut connection, now);
    watch.events(&mut connection);
    assert!(watch.ended && connection.poll_timeout().is_none());
}

/// The settings that a byte stands for. Whatever certificate comes is the right one.
pub(super) fn config(mode: u8) -> Config {
    let mut config = Config::new(certificate());
    config.certificate_check = Some(Arc::new(|_| Ok(())));
    config.require_cookie = mode & 4 != 0;
    let chacha = mode & 8 != 0;
    config.suites.retain(|suite| suite.to_string().contains("CHACHA20") == chacha);
    config.require_extended_master_secret = mode & 16 == 0;
    if mode & 32 != 0 {
        config.client_certificate = ClientCertificate::Requested;
    }
    if mode & 64 != 0 {
        config.srtp_profiles =
            vec![SrtpProfile::SRTP_AEAD_AES_128_GCM, SrtpProfile::SRTP_AES128_CM_HMAC_SHA1_80];
        config.alpn = vec![b"webrtc".to_vec(), b"c-webrtc".to_vec()];
    }
    config.refuse_stray_plaintext = mode & 128 != 0;
    config
}
