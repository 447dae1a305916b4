//! STUN and TURN servers, as they are written on the command line.

use sinnet::{EndpointConfig, IceServer, IceTcp, IceTransportPolicy, ServerUri};

use crate::args::BindArgs;

impl BindArgs {
    /// The endpoint that the arguments ask for, of a command by itself or of a member of a group.
    pub(crate) fn configure(&self, config: &mut EndpointConfig, include_loopback: bool) {
        // Taken apart, so that the compiler sees an argument that goes nowhere.
        let Self { bind, loopback, ice_tcp, stun, ice_server, relay_only: _, network } = self;
        if !bind.is_empty() {
            config.bind = bind.clone();
        }
        config.include_loopback = *loopback || include_loopback;
        config.ice_servers =
            stun.iter().cloned().map(IceServer::stun).chain(ice_server.iter().cloned()).collect();
        if *ice_tcp {
            config.ice_tcp = IceTcp::ActiveAndPassive;
        }
        network.configure(config);
    }

    /// Which ways connections may take.
    pub(crate) fn ice_transport_policy(&self) -> IceTransportPolicy {
        if self.relay_only { IceTransportPolicy::Relay } else { IceTransportPolicy::All }
    }
}

/// `URI` or `URI,USER,CREDENTIAL`; the credential may have commas.
pub(crate) fn ice_server(text: &str) -> Result<IceServer, String> {
    let mut parts = text.splitn(3, ',');
    let url: ServerUri = parts.next().unwrap_or_default().parse().map_err(|error| format!("{error}"))?;
    let is_turn = url.scheme.is_turn();
    let (username, credential) = (parts.next().unwrap_or_default(), parts.next().unwrap_or_default());
    if is_turn && (username.is_empty() || credential.is_empty()) {
        return Err("a TURN server is given as URI,USER,CREDENTIAL".to_owned());
    }
    if !is_turn && !username.is_empty() {
        return Err("a STUN server takes no user".to_owned());
    }
    Ok(IceServer { urls: vec![url], username: username.to_owned(), credential: credential.to_owned() })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_server_is_a_uri_and_perhaps_credentials() {
        let turn = ice_server("turns:turn.example.org:443?transport=tcp,1700000000:alice,a,b=").unwrap();
        assert_eq!(turn.urls[0].to_string(), "turns:turn.example.org:443?transport=tcp");
        assert_eq!((turn.username.as_str(), turn.credential.as_str()), ("1700000000:alice", "a,b="));
        assert_eq!(ice_server("stun:192.0.2.1").unwrap(), IceServer::stun("stun:192.0.2.1".parse().unwrap()));
        for wrong in [
            "",
            "http://example.org",
            "turn:192.0.2.1",
            "turn:192.0.2.1,alice",
            "turn:192.0.2.1,,x",
            "stun:192.0.2.1,a,b",
        ] {
            assert!(ice_server(wrong).is_err(), "{wrong}");
        }
    }
}
