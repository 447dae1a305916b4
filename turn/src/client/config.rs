//! What a client is given to begin with.

use std::fmt;
use std::time::Duration;

use sinnet_stun::Retransmission;

/// A long-term credential (RFC 8489 §9.2). `Debug` doesn't show the password.
#[derive(Clone, PartialEq, Eq)]
pub struct Credentials {
    /// The user name, at most 508 bytes (RFC 8489 §14.3).
    pub username: String,
    /// The password.
    pub password: String,
}

impl fmt::Debug for Credentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Credentials").field("username", &self.username).finish_non_exhaustive()
    }
}

/// How messages travel between client and server.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum Transport {
    /// Datagrams, over UDP or DTLS: requests are sent again until they are answered.
    Datagram,
    /// A stream, over TCP or TLS: [`StreamDecoder`](crate::StreamDecoder) cuts what comes in, nothing is sent twice.
    Stream,
}

/// Which relayed addresses to ask for (RFC 8656 §7.1).
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Families {
    /// What the server gives without being asked: IPv4.
    #[default]
    Default,
    /// IPv6 only (REQUESTED-ADDRESS-FAMILY).
    Ipv6,
    /// IPv4, and IPv6 if there is any (ADDITIONAL-ADDRESS-FAMILY).
    Both,
}

/// How a client behaves.
#[derive(Clone, Debug)]
pub struct ClientConfig {
    /// Who we are.
    pub credentials: Credentials,
    /// Which relayed addresses to ask for.
    pub families: Families,
    /// The lifetime to ask for; `None` leaves it to the server, which means 600 s (RFC 8656 §3.2).
    pub lifetime: Option<Duration>,
    /// Asks that relayed datagrams aren't fragmented (RFC 8656 §18.9). A server that can't is used all the same.
    pub dont_fragment: bool,
    /// When requests are sent again on datagrams (RFC 8489 §6.2.1).
    pub retransmission: Retransmission,
    /// How long an answer may take on a stream (RFC 8489 §6.2.2: 39.5 s).
    pub stream_timeout: Duration,
    /// How long getting the allocation may take in all, with challenges and redirections. 20 s by default.
    pub allocate_timeout: Duration,
    /// How often the server may send us to another (RFC 8489 §10). 3 by default.
    pub max_redirects: u8,
    /// Permissions at most. 128 by default.
    pub max_permissions: usize,
    /// Channels at most, with those whose numbers can't be used again yet; there are 4096 numbers. 256 by default.
    pub max_channels: usize,
}

impl ClientConfig {
    /// The defaults, for this user.
    pub fn new(credentials: Credentials) -> Self {
        Self {
            credentials,
            families: Families::Default,
            lifetime: None,
            dont_fragment: false,
            retransmission: Retransmission::default(),
            stream_timeout: Duration::from_millis(39_500),
            allocate_timeout: Duration::from_secs(20),
            max_redirects: 3,
            max_permissions: 128,
            max_channels: 256,
        }
    }
}
