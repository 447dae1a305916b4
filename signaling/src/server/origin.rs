//! Who may talk to the server: the checks of `Host` and `Origin`.
//!
//! A browser lets any page of any site open a WebSocket to any server, ours on 127.0.0.1 included (cross-site WebSocket
//! hijacking). All that it does is to say in `Origin` whose page it is. So:
//!
//! | `Origin` | may it open a session? |
//! |---|---|
//! | the server's own: its host and port are those in `Host` | yes |
//! | one of [`ServerConfig::allowed_origins`](super::ServerConfig::allowed_origins), or that list has `*` | yes |
//! | absent | yes: no browser leaves it out, and what is no browser can say what it likes |
//! | `null`, or any other | no: 403 |
//!
//! That alone can be got around by a site that points its own name at our address after its page was loaded (DNS
//! rebinding): then `Origin` and `Host` agree. So the server answers only to hosts that nobody can rebind: IP
//! addresses, `localhost` and names below it, and [`ServerConfig::allowed_hosts`](super::ServerConfig::allowed_hosts).
//! The answer to any other is 421.

use std::net::{IpAddr, Ipv6Addr};

/// Whether the server answers to this `Host` (a name or an address, maybe with a port).
#[must_use]
pub fn host_is_allowed(host: &str, allowed: &[String]) -> bool {
    let Some((name, _port)) = split_port(host) else { return false };
    if let Some(v6) = name.strip_prefix('[').and_then(|name| name.strip_suffix(']')) {
        return v6.parse::<Ipv6Addr>().is_ok();
    }
    let name = name.strip_suffix('.').unwrap_or(name).to_ascii_lowercase();
    name.parse::<IpAddr>().is_ok()
        || name == "localhost"
        || name.ends_with(".localhost")
        || allowed.iter().any(|allowed| allowed.eq_ignore_ascii_case(&name))
}

/// Whether a page of this `Origin` may open a session with a server that was addressed as `host`.
#[must_use]
pub fn origin_is_allowed(origin: Option<&str>, host: &str, allowed: &[String]) -> bool {
    let Some(origin) = origin else { return true };
    if allowed.iter().any(|allowed| allowed == "*" || allowed.eq_ignore_ascii_case(origin)) {
        return true;
    }
    // RFC 6454 §6.2: scheme "://" host [ ":" port ], with the port left out where it is the scheme's own.
    let Some((scheme, authority)) = origin.split_once("://") else { return false };
    let default_port = match scheme {
        "http" => 80,
        "https" => 443,
        _ => return false,
    };
    match (split_port(authority), split_port(host)) {
        (Some((origin_name, origin_port)), Some((host_name, host_port))) => {
            origin_name.eq_ignore_ascii_case(host_name)
                && origin_port.unwrap_or(default_port) == host_port.unwrap_or(default_port)
        }
        _ => false,
    }
}

/// `name[:port]` in parts; `None` when it is neither.
fn split_port(authority: &str) -> Option<(&str, Option<u16>)> {
    let end_of_name = if authority.starts_with('[') {
        authority.find(']')? + 1
    } else {
        authority.find(':').unwrap_or(authority.len())
    };
    let (name, rest) = authority.split_at_checked(end_of_name)?;
    let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '_' | '[' | ']' | ':');
    if name.is_empty() || !name.chars().all(plain) {
        return None;
    }
    match rest.strip_prefix(':') {
        None if rest.is_empty() => Some((name, None)),
        None => None,
        Some(port) if port.bytes().all(|b| b.is_ascii_digit()) => Some((name, Some(port.parse().ok()?))),
        Some(_) => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_servers_own_pages_may_and_others_may_not() {
        for (origin, host) in [
            ("http://127.0.0.1:8080", "127.0.0.1:8080"),
            ("http://localhost:8080", "LOCALHOST:8080"),
            ("http://[::1]:8080", "[::1]:8080"),
            ("http://10.9.0.2", "10.9.0.2"),
            ("http://10.9.0.2", "10.9.0.2:80"),
            ("https://sinnet.example", "sinnet.example:443"),
        ] {
            assert!(origin_is_allowed(Some(origin), host, &[]), "{origin} to {host}");
        }
        for (origin, host) in [
            ("https://evil.example", "127.0.0.1:8080"),
            ("null", "127.0.0.1:8080"),
            ("", "127.0.0.1:8080"),
            ("http://127.0.0.1:8081", "127.0.0.1:8080"),
            ("http://127.0.0.1", "127.0.0.1:8080"),
            ("http://127.0.0.1:8080.evil.example", "127.0.0.1:8080"),
            ("http://127.0.0.1:8080@evil.example", "127.0.0.1:8080"),
            ("http://evil.example/127.0.0.1:8080", "127.0.0.1:8080"),
            ("file://127.0.0.1:8080", "127.0.0.1:8080"),
            ("http://localhost:8080", "127.0.0.1:8080"),
            ("http://", ""),
        ] {
            assert!(!origin_is_allowed(Some(origin), host, &[]), "{origin} to {host}");
        }
    }

    #[test]
    fn without_an_origin_it_is_no_browser() {
        assert!(origin_is_allowed(None, "127.0.0.1:8080", &[]));
    }

    #[test]
    fn the_lists_extend_what_is_allowed() {
        let origins = ["https://app.example".to_owned()];
        assert!(origin_is_allowed(Some("https://app.example"), "127.0.0.1:8080", &origins));
        assert!(!origin_is_allowed(Some("http://app.example"), "127.0.0.1:8080", &origins));
        assert!(origin_is_allowed(Some("null"), "127.0.0.1:8080", &["*".to_owned()]));
        assert!(host_is_allowed("peer.lan:8080", &["Peer.lan".to_owned()]));
    }

    #[test]
    fn only_hosts_that_nobody_can_rebind_are_answered() {
        for host in [
            "127.0.0.1",
            "127.0.0.1:8080",
            "[::1]:8080",
            "localhost:1",
            "a.localhost",
            "localhost.",
            "10.0.0.7:80",
        ] {
            assert!(host_is_allowed(host, &[]), "{host}");
        }
        for host in [
            "",
            "evil.example:8080",
            "127.0.0.1.evil.example",
            "localhost.evil.example",
            "evillocalhost",
            "[::1",
            "[evil]:80",
            "127.0.0.1:x",
            "127.0.0.1:99999",
            "::1",
        ] {
            assert!(!host_is_allowed(host, &[]), "{host}");
        }
    }
}
