//! `stun: stuns: turn: turns:` (RFC 7064, RFC 7065): where a server is, as users write it.

use std::fmt;
use std::net::{IpAddr, Ipv6Addr};
use std::str::FromStr;

/// The longest host name (RFC 1035 §2.3.4, without the final dot).
const MAX_NAME: usize = 253;
/// RFC 7064 §3.2, RFC 7065 §3.2.
const PORT: u16 = 3478;
const SECURE_PORT: u16 = 5349;

/// What the server is asked for, and whether inside TLS.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Scheme {
    /// `stun:`
    Stun,
    /// `stuns:`
    Stuns,
    /// `turn:`
    Turn,
    /// `turns:`
    Turns,
}

impl Scheme {
    const ALL: [(Self, &'static str); 4] =
        [(Self::Stun, "stun"), (Self::Stuns, "stuns"), (Self::Turn, "turn"), (Self::Turns, "turns")];

    /// Whether TLS (or DTLS) is meant.
    pub fn is_secure(self) -> bool {
        matches!(self, Self::Stuns | Self::Turns)
    }

    /// Whether the server is to relay.
    pub fn is_turn(self) -> bool {
        matches!(self, Self::Turn | Self::Turns)
    }
}

impl fmt::Display for Scheme {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        Self::ALL.iter().filter(|(scheme, _)| scheme == self).try_for_each(|(_, name)| f.write_str(name))
    }
}

/// A name to be resolved, or an address.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub enum Host {
    /// An address; IPv6 is written in brackets.
    Ip(IpAddr),
    /// A name of letters, digits, `-`, `_` and dots.
    Name(String),
}

impl fmt::Display for Host {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Ip(IpAddr::V6(ip)) => write!(f, "[{ip}]"),
            Self::Ip(ip) => ip.fmt(f),
            Self::Name(name) => f.write_str(name),
        }
    }
}

/// The transport between client and server.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum UriTransport {
    /// Datagrams; DTLS if the scheme is secure.
    Udp,
    /// A stream; TLS if the scheme is secure.
    Tcp,
}

/// Why a text is no such URI.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum UriError {
    /// It begins with none of the four schemes.
    #[error("the URI of a server begins with stun:, stuns:, turn: or turns:")]
    Scheme,
    /// There is no host, or it is neither an address nor a name; an IPv6 address must stand in brackets.
    #[error("the URI has no host name or address that could be one")]
    Host,
    /// The port is not a number from 1 to 65535.
    #[error("the port is not a number from 1 to 65535")]
    Port,
    /// Something else than `?transport=udp` or `?transport=tcp` follows.
    #[error("only ?transport=udp or ?transport=tcp may follow the host and port")]
    Transport,
    /// `?transport=` belongs to `turn:` and `turns:` only.
    #[error("stun: and stuns: take no ?transport=")]
    TransportOfStun,
}

/// A server's URI. It is written back in the form in which it was read, but for the case of the scheme.
///
/// ```
/// let uri: sinnet_turn::ServerUri = "turns:turn.example.org?transport=tcp".parse().unwrap();
/// assert_eq!((uri.port_or_default(), uri.scheme.is_secure()), (5349, true));
/// ```
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub struct ServerUri {
    /// Which of the four.
    pub scheme: Scheme,
    /// Where.
    pub host: Host,
    /// The port, if it is said.
    pub port: Option<u16>,
    /// The transport, if it is said.
    pub transport: Option<UriTransport>,
}

impl ServerUri {
    /// The port: 3478, or 5349 with TLS, if none is said.
    pub fn port_or_default(&self) -> u16 {
        self.port.unwrap_or(if self.scheme.is_secure() { SECURE_PORT } else { PORT })
    }

    /// The transport: UDP, or TCP with TLS, if none is said (RFC 7064 §3.2, RFC 5928 §3).
    pub fn transport_or_default(&self) -> UriTransport {
        let default = if self.scheme.is_secure() { UriTransport::Tcp } else { UriTransport::Udp };
        self.transport.unwrap_or(default)
    }
}

impl FromStr for ServerUri {
    type Err = UriError;

    fn from_str(text: &str) -> Result<Self, UriError> {
        let (scheme, rest) = text.split_once(':').ok_or(UriError::Scheme)?;
        let known = Scheme::ALL.iter().find(|(_, name)| name.eq_ignore_ascii_case(scheme));
        let (scheme, _) = *known.ok_or(UriError::Scheme)?;
        let (authority, query) = match rest.split_once('?') {
            Some((authority, query)) => (authority, Some(query)),
            None => (rest, None),
        };
        let (host, port) = parse_authority(authority)?;
        let transport = match query {
            None => None,
            Some(_) if !scheme.is_turn() => return Err(UriError::TransportOfStun),
            Some("transport=udp") => Some(UriTransport::Udp),
            Some("transport=tcp") => Some(UriTransport::Tcp),
            Some(_) => return Err(UriError::Transport),
        };
        Ok(Self { scheme, host, port, transport })
    }
}

/// `host [ ":" port ]`.
fn parse_authority(text: &str) -> Result<(Host, Option<u16>), UriError> {
    let (host, port) = match text.strip_prefix('[') {
        Some(rest) => {
            let (ip, after) = rest.split_once(']').ok_or(UriError::Host)?;
            let ip: Ipv6Addr = ip.parse().map_err(|_| UriError::Host)?;
            let port = match after {
                "" => None,
                _ => Some(after.strip_prefix(':').ok_or(UriError::Port)?),
            };
            (Host::Ip(ip.into()), port)
        }
        None => {
            let (host, port) = match text.split_once(':') {
                Some((host, port)) => (host, Some(port)),
                None => (text, None),
            };
            (parse_host(host)?, port)
        }
    };
    let number = |port: &str| {
        let digits = port.len() <= 5 && port.bytes().all(|byte| byte.is_ascii_digit());
        port.parse().ok().filter(|&number: &u16| digits && number > 0).ok_or(UriError::Port)
    };
    Ok((host, port.map(number).transpose()?))
}

fn parse_host(text: &str) -> Result<Host, UriError> {
    if let Ok(ip) = text.parse::<std::net::Ipv4Addr>() {
        return Ok(Host::Ip(ip.into()));
    }
    let letters = text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte));
    let name = text.strip_suffix('.').unwrap_or(text);
    let labels = name.split('.').all(|label| (1..=63).contains(&label.len()));
    // All digits and dots, but no address: some resolvers take 127.1 for one.
    let numeric = text.bytes().all(|byte| byte.is_ascii_digit() || byte == b'.');
    if letters && labels && !numeric && name.len() <= MAX_NAME {
        Ok(Host::Name(text.to_owned()))
    } else {
        Err(UriError::Host)
    }
}

impl fmt::Display for ServerUri {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.scheme, self.host)?;
        if let Some(port) = self.port {
            write!(f, ":{port}")?;
        }
        match self.transport {
            Some(UriTransport::Udp) => f.write_str("?transport=udp"),
            Some(UriTransport::Tcp) => f.write_str("?transport=tcp"),
            None => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn parse(text: &str) -> Result<ServerUri, UriError> {
        text.parse()
    }

    #[test]
    fn the_examples_of_the_rfcs_are_read_and_written_back() {
        for (text, port, transport) in [
            ("stun:example.org", 3478, UriTransport::Udp),
            ("stuns:example.org", 5349, UriTransport::Tcp),
            ("stun:example.org:8000", 8000, UriTransport::Udp),
            ("turn:example.org", 3478, UriTransport::Udp),
            ("turns:example.org", 5349, UriTransport::Tcp),
            ("turn:example.org:8000", 8000, UriTransport::Udp),
            ("turn:example.org?transport=udp", 3478, UriTransport::Udp),
            ("turn:example.org?transport=tcp", 3478, UriTransport::Tcp),
            ("turns:example.org?transport=tcp", 5349, UriTransport::Tcp),
            ("turn:192.0.2.1:1", 1, UriTransport::Udp),
            ("turn:[2001:db8::1]:65535?transport=tcp", 65_535, UriTransport::Tcp),
            ("stun:[::1]", 3478, UriTransport::Udp),
            ("turn:a_b-c.example.", 3478, UriTransport::Udp),
        ] {
            let uri = parse(text).unwrap();
            assert_eq!(uri.to_string(), text);
            assert_eq!((uri.port_or_default(), uri.transport_or_default()), (port, transport), "{text}");
        }
        assert_eq!(parse("TURNS:example.org").unwrap().to_string(), "turns:example.org");
    }

    #[test]
    fn what_is_wrong_is_named() {
        for (text, error) in [
            ("", UriError::Scheme),
            ("example.org", UriError::Scheme),
            ("http://example.org", UriError::Scheme),
            (" turn:example.org", UriError::Scheme),
            ("turn:", UriError::Host),
            ("turn://example.org", UriError::Host),
            ("turn:user@example.org", UriError::Host),
            ("turn:example.org/path", UriError::Host),
            ("turn:2001:db8::1", UriError::Host),
            ("turn:fe80:db8::1", UriError::Port),
            ("turn:[2001:db8::1", UriError::Host),
            ("turn:[fe80::1%eth0]", UriError::Host),
            ("turn:[192.0.2.1]", UriError::Host),
            ("turn:127.1", UriError::Host),
            ("turn:2130706433", UriError::Host),
            ("turn:a..b", UriError::Host),
            ("turn:exämple.org", UriError::Host),
            ("turn:example.org:", UriError::Port),
            ("turn:example.org:0", UriError::Port),
            ("turn:example.org:65536", UriError::Port),
            ("turn:example.org:+80", UriError::Port),
            ("turn:example.org:000080", UriError::Port),
            ("turn:[::1]80", UriError::Port),
            ("turn:example.org?transport=sctp", UriError::Transport),
            ("turn:example.org?transport=UDP", UriError::Transport),
            ("turn:example.org?", UriError::Transport),
            ("turn:example.org?x=y", UriError::Transport),
            ("stun:example.org?transport=udp", UriError::TransportOfStun),
        ] {
            assert_eq!(parse(text), Err(error), "{text:?}");
        }
        assert_eq!(parse(&format!("turn:{}", "a".repeat(64))), Err(UriError::Host));
        assert_eq!(parse(&format!("turn:{}x", "a.".repeat(127))), Err(UriError::Host));
    }

    proptest! {
        #[test]
        fn what_is_read_is_written_back_the_same(text in "(stun|turns?):[\\[\\]a-z0-9:.%?=-]{0,24}(\\?transport=tcp)?") {
            if let Ok(uri) = parse(&text) {
                prop_assert_eq!(parse(&uri.to_string()), Ok(uri));
            }
        }
    }
}
