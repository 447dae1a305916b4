//! What the owner of a connection decides before it starts.

use crate::certificate::Certificate;
use crate::types::{CipherSuite, NamedGroup};
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

/// Which end of the handshake to play: `a=setup:active` is the client (RFC 5763 §5).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// Speaks first.
    Client,
    /// Waits for the ClientHello.
    Server,
}

/// Takes one line in the key log format (`CLIENT_RANDOM <hex> <hex>`), without a line end. Whoever has such a
/// line can read the session.
pub type KeyLog = Arc<dyn Fn(&str) + Send + Sync>;

/// The retransmission timer (RFC 6347 §4.2.4.1). A flight that gets no answer is sent again after `initial`,
/// then after twice as long each time, but never longer than `max`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Retransmit {
    /// First interval. RFC 6347 recommends 1 s; on a path that ICE has just measured 50 ms is what browsers use.
    pub initial: Duration,
    /// Longest interval.
    pub max: Duration,
    /// How often one flight is sent again before the handshake has failed.
    pub limit: u32,
}

/// Settings of a [`Connection`](crate::Connection); shared between connections.
#[derive(Clone)]
#[non_exhaustive]
pub struct Config {
    /// Our identity.
    pub certificate: Arc<Certificate>,
    /// Suites we accept, best first. As a server our order decides. Default: AES-128-GCM, ChaCha20-Poly1305.
    pub suites: Vec<CipherSuite>,
    /// Groups we accept, best first. As a server our order decides. P-256 should stay among them: a server may take
    /// the list for our view of certificates too (RFC 8422 §5.1.1). Default: X25519, P-256.
    pub groups: Vec<NamedGroup>,
    /// Largest datagram of the handshake in bytes, record headers included, UDP and IP not. Below 50 no handshake
    /// message fits, not even in pieces. Default 1200.
    pub mtu: usize,
    /// Retransmission timer. Default: 50 ms, at most 5 s, 16 times.
    pub retransmit: Retransmit,
    /// How long after [`Connection::new`](crate::Connection::new) the handshake may last, a server's wait for the
    /// ClientHello included; `None`: as long as the retransmissions last, and a server waits for ever. Default 30 s.
    pub handshake_timeout: Option<Duration>,
    /// Largest handshake message accepted, in bytes. Default 16 KiB.
    pub max_handshake_message: usize,
    /// Where to tell the session's secrets, for debugging. Default: nowhere.
    pub key_log: Option<KeyLog>,
}

impl Config {
    /// The defaults, with this identity.
    pub fn new(certificate: Arc<Certificate>) -> Self {
        Self {
            certificate,
            suites: vec![
                CipherSuite::TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256,
                CipherSuite::TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256,
            ],
            groups: vec![NamedGroup::X25519, NamedGroup::SECP256R1],
            mtu: 1200,
            retransmit: Retransmit {
                initial: Duration::from_millis(50),
                max: Duration::from_secs(5),
                limit: 16,
            },
            handshake_timeout: Some(Duration::from_secs(30)),
            max_handshake_message: 16 * 1024,
            key_log: None,
        }
    }
}

impl fmt::Debug for Config {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Config")
            .field("certificate", &self.certificate)
            .field("suites", &self.suites)
            .field("groups", &self.groups)
            .field("mtu", &self.mtu)
            .field("retransmit", &self.retransmit)
            .field("handshake_timeout", &self.handshake_timeout)
            .field("max_handshake_message", &self.max_handshake_message)
            .field("key_log", &self.key_log.is_some())
            .finish()
    }
}
