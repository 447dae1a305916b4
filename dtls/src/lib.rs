//! DTLS 1.2 for WebRTC: handshake and in-place records, without I/O.
//!
//! [`Connection`] is one end of one session, client or server. It opens no socket, reads no clock and waits for
//! nothing: datagrams and the time are arguments, datagrams to send are written into the caller's buffer.
//!
//! * The handshake is RFC 6347 (DTLS 1.2) with ECDHE on X25519, P-256 or P-384 (RFC 8422), certificates of ECDSA, RSA or
//!   Ed25519 keys, the extended master secret (RFC 7627, required unless told otherwise) and the renegotiation
//!   indication (RFC 5746; renegotiation itself is refused). Both ends show a certificate, and it must match a
//!   fingerprint from the signalling channel (RFC 8122) before anything is delivered.
//! * Records are AES-GCM (RFC 5288, 5289) or ChaCha20-Poly1305 (RFC 7905), sealed and opened where they lie.
//! * For a media layer: `use_srtp` (RFC 5764) and exporters (RFC 5705). For whoever wants it: ALPN (RFC 7301, 8833).
//!
//! There is no session resumption, no compression, no CBC suite and no key exchange without forward secrecy.
//!
//! # Limits
//!
//! | what | limit |
//! |---|---|
//! | one handshake message received | [`Config::max_handshake_message`], 16 KiB unless set |
//! | handshake bytes kept for reassembly | that, and 32 KiB for the 6 messages behind the awaited one |
//! | separate ranges kept of one message | 1024 |
//! | records of the next epoch kept | 8, of at most 2 KiB each |
//! | replay window | 960 records |
//! | records refused by the AEAD | 2^36, then the connection fails |
//! | records sealed | 2^48 - 1; under AES-GCM 388 GB in all |
//! | resends of a flight because the peer repeated its own | one per half of the initial timeout |
//!
//! # Example
//!
//! ```
//! use sinnet_dtls::{Certificate, Config, Connection, HashAlgorithm, Role};
//! use std::{sync::Arc, time::Instant};
//!
//! # #[allow(clippy::disallowed_methods)]
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let now = Instant::now();
//! let identity = Arc::new(Certificate::generate(1_795_000_000)?);
//! let config = Arc::new(Config::new(Arc::clone(&identity)));
//! let expected = vec![identity.fingerprint(HashAlgorithm::Sha256)];
//! let mut client = Connection::new(config.clone(), Role::Client, expected.clone(), now, [1; 32]);
//! let mut server = Connection::new(config, Role::Server, expected, now, [2; 32]);
//!
//! let mut datagram = [0; 1200];
//! while !(client.is_connected() && server.is_connected()) {
//!     while let Some(len) = client.poll_transmit(now, &mut datagram) {
//!         server.handle_input(now, &mut datagram[..len], |_| {})?;
//!     }
//!     while let Some(len) = server.poll_transmit(now, &mut datagram) {
//!         client.handle_input(now, &mut datagram[..len], |_| {})?;
//!     }
//! }
//!
//! let start = client.header_len();
//! datagram[start..start + 5].copy_from_slice(b"hello");
//! let len = client.seal(&mut datagram, 5)?;
//! server.handle_input(now, &mut datagram[..len], |data| assert_eq!(data, b"hello"))?;
//! # Ok(())
//! # }
//! ```
#![forbid(unsafe_code)]

mod alert;
mod certificate;
mod config;
mod connection;
mod crypto;
mod error;
mod event;
mod fingerprint;
mod flight;
mod handshake;
mod input;
mod key;
mod output;
mod peer_certificate;
mod reassembly;
mod record;
mod session;
mod stats;
mod suite;
mod transcript;
mod types;
mod v12;
mod wire;

#[cfg(test)]
mod tests;

pub use alert::AlertDescription;
pub use certificate::Certificate;
pub use config::{CertificateCheck, ClientCertificate, Config, KeyLog, Retransmit, Role};
pub use connection::Connection;
pub use error::{CertificateError, Error, ExportError, Fault, FingerprintError, SealError};
pub use event::{Event, Negotiated};
pub use fingerprint::{Fingerprint, HashAlgorithm};
pub use key::KeyType;
pub use stats::Stats;
pub use types::{
    CipherSuite, ExtensionType, HandshakeType, NamedGroup, ProtocolVersion, SignatureScheme, SrtpProfile,
};
