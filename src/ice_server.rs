use std::fmt;

use sinnet_turn::ServerUri;

use crate::error::Error;

/// Longest user name of a TURN server, bytes (RFC 8489 §14.3).
const MAX_USERNAME: usize = 508;

/// Which ways a connection may take: W3C's `RTCIceTransportPolicy`.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default)]
pub enum IceTransportPolicy {
    /// Any.
    #[default]
    All,
    /// Only through TURN servers: no address of ours is signalled, in candidates or in what stands beside them, and nothing
    /// leaves for the peer but from a relay. The servers see our address, of course. A relay on this very machine has one of
    /// ours.
    Relay,
}

/// STUN and TURN servers with one pair of credentials: W3C's `RTCIceServer`. `Debug` doesn't show the credential.
///
/// ```
/// use sinnet::{EndpointConfig, IceServer};
///
/// let stun = IceServer::stun("stun:stun.example.org".parse()?);
/// let turn = IceServer {
///     urls: vec!["turn:turn.example.org".parse()?, "turns:turn.example.org".parse()?],
///     username: "alice".to_owned(),
///     credential: "wonderland".to_owned(),
/// };
/// let config = EndpointConfig { ice_servers: vec![stun, turn], ..EndpointConfig::default() };
/// # Ok::<(), sinnet::UriError>(())
/// ```
#[derive(Clone, PartialEq, Eq)]
pub struct IceServer {
    /// Where. `stun:` servers are asked how they see us; so are `turn:` servers over UDP, which relay besides.
    pub urls: Vec<ServerUri>,
    /// Who we are to TURN servers; empty for STUN servers.
    pub username: String,
    /// The password that belongs to it: of a user that the server knows, or one that ends by itself
    /// ([`turn::ephemeral_credentials`](crate::turn::ephemeral_credentials)).
    pub credential: String,
}

impl IceServer {
    /// A server without credentials.
    pub fn stun(url: ServerUri) -> Self {
        Self { urls: vec![url], username: String::new(), credential: String::new() }
    }

    /// What can't work, whatever the servers say.
    pub(crate) fn check(&self) -> Result<(), Error> {
        let wrong = |what: &str| {
            let url = self.urls.first().map(ServerUri::to_string).unwrap_or_default();
            Err(Error::IceServer { url, what: what.to_owned() })
        };
        if self.urls.is_empty() {
            return wrong("there is no URL");
        }
        let turn = self.urls.iter().any(|url| url.scheme.is_turn());
        if turn && (self.username.is_empty() || self.credential.is_empty()) {
            return wrong("a TURN server needs a user name and a credential");
        }
        if self.username.len() > MAX_USERNAME {
            return wrong("the user name has more than 508 bytes");
        }
        Ok(())
    }
}

impl fmt::Debug for IceServer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let urls: Vec<_> = self.urls.iter().map(ServerUri::to_string).collect();
        f.debug_struct("IceServer")
            .field("urls", &urls)
            .field("username", &self.username)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn server(urls: &[&str], username: &str, credential: &str) -> IceServer {
        IceServer {
            urls: urls.iter().map(|url| url.parse().unwrap()).collect(),
            username: username.to_owned(),
            credential: credential.to_owned(),
        }
    }

    #[test]
    fn a_turn_server_without_credentials_is_refused_at_once() {
        assert!(IceServer::stun("stun:192.0.2.1".parse().unwrap()).check().is_ok());
        assert!(server(&["turn:192.0.2.1", "turns:192.0.2.1"], "alice", "secret").check().is_ok());
        for wrong in [
            server(&["turn:192.0.2.1"], "", "secret"),
            server(&["stun:192.0.2.1", "turns:192.0.2.1"], "alice", ""),
            server(&["turn:192.0.2.1"], &"x".repeat(MAX_USERNAME + 1), "secret"),
            server(&[], "alice", "secret"),
        ] {
            assert!(matches!(wrong.check(), Err(Error::IceServer { .. })), "{wrong:?}");
        }
    }

    #[test]
    fn debug_shows_no_credential() {
        let shown = format!("{:?}", server(&["turn:192.0.2.1"], "alice", "wonderland"));
        assert!(shown.contains("turn:192.0.2.1") && shown.contains("alice"), "{shown}");
        assert!(!shown.contains("wonderland"), "{shown}");
    }
}
