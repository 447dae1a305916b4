//! What the owner of a connection decides before it starts.

use crate::alert::AlertDescription;
use crate::certificate::Certificate;
use crate::types::{CipherSuite, NamedGroup, SignatureScheme, SrtpProfile};
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

/// Whether a server asks the client for a certificate.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ClientCertificate {
    /// It must show one: WebRTC (RFC 8827 §6.5).
    Required,
    /// It is asked, and may show none.
    Requested,
    /// It is not asked.
    NotRequested,
}

/// Takes one line in the key log format (`CLIENT_RANDOM <hex> <hex>`), without a line end. Whoever has such a
/// line can read the session.
pub type KeyLog = Arc<dyn Fn(&str) + Send + Sync>;

/// Decides about the peer's certificate in place of the fingerprints. It gets the chain in DER, the peer's own
/// certificate first, once per handshake, and gives the alert to refuse with.
pub type CertificateCheck = Arc<dyn Fn(&[Vec<u8>]) -> Result<(), AlertDescription> + Send + Sync>;

/// The retransmission timer (RFC 6347 §4.2.4.1). A flight that gets no answer is sent again after `initial`,
/// then after twice as long each time, but never longer than `max`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Retransmit {
    /// First interval. RFC 6347 recommends 1 s. On a path that ICE has measured, twice its round trip is right, and not
    /// less than 50 ms: see [`Connection::set_initial_timeout`](crate::Connection::set_initial_timeout).
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
    /// Our identity. A client without one shows none when asked; a server must have one.
    pub certificate: Option<Arc<Certificate>>,
    /// As a server: whether to ask for the client's certificate. Default: required. What it shows is verified in any
    /// case.
    pub client_certificate: ClientCertificate,
    /// Decides about the peer's certificate in place of the fingerprints given to
    /// [`Connection::new`](crate::Connection::new); for uses other than WebRTC's. Default: none, the fingerprints
    /// decide.
    pub certificate_check: Option<CertificateCheck>,
    /// Suites we accept, best first. As a server our order decides. Default: all six, AES-GCM before ChaCha20-Poly1305
    /// on machines with instructions for it, and behind it on others. Values that this crate doesn't know are left out.
    pub suites: Vec<CipherSuite>,
    /// Groups we accept, best first. As a server our order decides. P-256 should stay among them: the list is our view
    /// of certificates too (RFC 8422 §5.1.1). Default: X25519, P-256, P-384.
    pub groups: Vec<NamedGroup>,
    /// Signature schemes we accept from the peer, best first. Default: ECDSA, Ed25519, RSA-PSS, RSA PKCS #1, each with
    /// SHA-256 to SHA-512.
    pub verify_schemes: Vec<SignatureScheme>,
    /// Signature schemes we sign with, best first; those that our key can't make are passed over. Default: what the
    /// key can, SHA-256 first, RSA-PSS before PKCS #1.
    pub signing_schemes: Option<Vec<SignatureScheme>>,
    /// Refuse a peer without the extended master secret (RFC 7627). Without it somebody in the middle could give two
    /// sessions one secret, so that fingerprints and keys no longer belong together. Default: true.
    pub require_extended_master_secret: bool,
    /// Profiles of SRTP to negotiate for a media layer (RFC 5764), best first. Default: none, no extension.
    pub srtp_profiles: Vec<SrtpProfile>,
    /// Application protocols, best first, such as `webrtc` or `c-webrtc` (RFC 8833): a client offers them, a server
    /// that is offered protocols insists on one of its own (RFC 7301 §3.2). Each of 1 to 255 bytes. Default: none, no
    /// extension.
    pub alpn: Vec<Vec<u8>>,
    /// As a server: answer the first ClientHello with a HelloVerifyRequest and go on only with a client that returns
    /// its cookie (RFC 6347 §4.2.1). ICE proves the same, so the default is false.
    pub require_cookie: bool,
    /// Largest datagram of the handshake in bytes, record headers included, UDP and IP not. Below 60 not every
    /// handshake message fits, not even in pieces. Default 1200;
    /// [`Connection::set_mtu`](crate::Connection::set_mtu) changes it.
    pub mtu: usize,
    /// Retransmission timer. Default: 400 ms, at most 5 s, 16 times.
    pub retransmit: Retransmit,
    /// How long after [`Connection::new`](crate::Connection::new) the handshake may last, a server's wait for the
    /// ClientHello included; `None`: as long as the retransmissions last, and a server waits for ever. Default 30 s.
    pub handshake_timeout: Option<Duration>,
    /// Largest handshake message accepted, in bytes. Default 16 KiB.
    pub max_handshake_message: usize,
    /// Fail the handshake over plaintext records that have no place in it (application data, unknown types) with the
    /// alert unexpected_message, as some test suites ask for. Default: false, they are dropped.
    pub refuse_stray_plaintext: bool,
    /// Keep application data that overtakes the peer's Finished, and deliver it behind that; otherwise it is dropped, as
    /// some test suites ask for. Default: true, as datagrams do overtake each other.
    pub keep_overtaking_data: bool,
    /// Where to tell the session's secrets, for debugging. Default: nowhere.
    pub key_log: Option<KeyLog>,
}

impl Config {
    /// The defaults, with this identity.
    pub fn new(certificate: Arc<Certificate>) -> Self {
        Self { certificate: Some(certificate), ..Self::default() }
    }
}

impl Default for Config {
    /// The defaults without an identity, which is of use to clients only.
    fn default() -> Self {
        Self {
            certificate: None,
            client_certificate: ClientCertificate::Required,
            certificate_check: None,
            suites: crate::suite::by_preference(crate::suite::aes_in_hardware()),
            groups: vec![NamedGroup::X25519, NamedGroup::SECP256R1, NamedGroup::SECP384R1],
            verify_schemes: crate::key::ACCEPTED.to_vec(),
            signing_schemes: None,
            require_extended_master_secret: true,
            srtp_profiles: Vec::new(),
            alpn: Vec::new(),
            require_cookie: false,
            mtu: 1200,
            retransmit: Retransmit {
                initial: Duration::from_millis(400),
                max: Duration::from_secs(5),
                limit: 16,
            },
            handshake_timeout: Some(Duration::from_secs(30)),
            max_handshake_message: 16 * 1024,
            refuse_stray_plaintext: false,
            keep_overtaking_data: true,
            key_log: None,
        }
    }
}

impl fmt::Debug for Config {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Config")
            .field("certificate", &self.certificate)
            .field("client_certificate", &self.client_certificate)
            .field("certificate_check", &self.certificate_check.is_some())
            .field("suites", &self.suites)
            .field("groups", &self.groups)
            .field("verify_schemes", &self.verify_schemes)
            .field("signing_schemes", &self.signing_schemes)
            .field("require_extended_master_secret", &self.require_extended_master_secret)
            .field("srtp_profiles", &self.srtp_profiles)
            .field("alpn", &self.alpn)
            .field("require_cookie", &self.require_cookie)
            .field("mtu", &self.mtu)
            .field("retransmit", &self.retransmit)
            .field("handshake_timeout", &self.handshake_timeout)
            .field("max_handshake_message", &self.max_handshake_message)
            .field("refuse_stray_plaintext", &self.refuse_stray_plaintext)
            .field("keep_overtaking_data", &self.keep_overtaking_data)
            .field("key_log", &self.key_log.is_some())
            .finish()
    }
}
