//! What a server is given to begin with.

use std::collections::HashMap;
use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use super::policy::PeerPolicy;

/// How a server behaves. `Debug` shows neither secrets nor passwords.
#[derive(Clone)]
pub struct ServerConfig {
    /// The realm: the domain of whoever runs the server (RFC 8489 §9.2.4). At most 127 bytes; with one of more than 400
    /// challenges don't fit [`MAX_RESPONSE`](crate::MAX_RESPONSE), and nobody gets in.
    pub realm: String,
    /// Users with their passwords.
    pub users: HashMap<String, String>,
    /// Secrets shared with whoever gives out [ephemeral credentials](crate::ephemeral_credentials); each is good, so that
    /// one can be changed without a gap.
    pub secrets: Vec<Vec<u8>>,
    /// Whether IPv4 is relayed. True by default.
    pub ipv4: bool,
    /// Whether IPv6 is relayed. False by default.
    pub ipv6: bool,
    /// Whether the owner's sockets can be told not to let datagrams be fragmented (RFC 8656 §14). False by default.
    pub dont_fragment: bool,
    /// Whether Binding requests are answered, which anybody may send (RFC 8489 §12). True by default.
    pub binding: bool,
    /// Whom to relay to.
    pub peers: PeerPolicy,
    /// The addresses of this machine: where the server listens and relays.
    pub own_addresses: Vec<IpAddr>,
    /// Allocations in all. 1000 by default.
    pub max_allocations: usize,
    /// Allocations of one user. 20 by default.
    pub max_allocations_per_user: usize,
    /// Permissions of one allocation. 128 by default.
    pub max_permissions: usize,
    /// Channels of one allocation. 128 by default.
    pub max_channels: usize,
    /// Payload that one allocation may send and get per second, in bytes, with as much at once; `None` for no limit,
    /// the default.
    pub max_bytes_per_second: Option<u64>,
    /// The lifetime of allocations for which nobody asks for more (RFC 8656 §3.2: 600 s).
    pub default_lifetime: Duration,
    /// The longest that can be asked for (RFC 8656 §7.2: 3600 s).
    pub max_lifetime: Duration,
    /// How long a nonce is good (RFC 8656 §5: at most an hour, the default).
    pub nonce_lifetime: Duration,
    /// Answers per second to one address that shows no credentials: challenges, errors, Binding responses. 50 by default.
    pub max_unauthenticated_per_second: u32,
    /// Sends who asks for an allocation to another server (RFC 8489 §10).
    pub alternate_server: Option<SocketAddr>,
}

impl ServerConfig {
    /// The defaults. Somebody must be let in by [`users`](Self::users) or [`secrets`](Self::secrets).
    pub fn new(realm: impl Into<String>) -> Self {
        Self {
            realm: realm.into(),
            users: HashMap::new(),
            secrets: Vec::new(),
            ipv4: true,
            ipv6: false,
            dont_fragment: false,
            binding: true,
            peers: PeerPolicy::default(),
            own_addresses: Vec::new(),
            max_allocations: 1000,
            max_allocations_per_user: 20,
            max_permissions: 128,
            max_channels: 128,
            max_bytes_per_second: None,
            default_lifetime: Duration::from_secs(600),
            max_lifetime: Duration::from_secs(3600),
            nonce_lifetime: Duration::from_secs(3600),
            max_unauthenticated_per_second: 50,
            alternate_server: None,
        }
    }
}

impl fmt::Debug for ServerConfig {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ServerConfig")
            .field("realm", &self.realm)
            .field("users", &self.users.len())
            .field("secrets", &self.secrets.len())
            .field("peers", &self.peers)
            .field("own_addresses", &self.own_addresses)
            .finish_non_exhaustive()
    }
}
