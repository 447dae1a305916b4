//! The text form of a candidate (RFC 8839 §5.1):
//!
//! ```text
//! candidate:<foundation> <component> <transport> <priority> <address> <port> typ <type>
//!           [raddr <address>] [rport <port>] *(<name> <value>)
//! ```
//! Read with or without `a=` and `candidate:`; words are separated by one or more spaces and compared without
//! regard to case where the grammar is. Limits: 1024 bytes, 32 extensions.

use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::str::FromStr;

use crate::candidate::{Address, Candidate, CandidateKind, TcpType, Transport};
use crate::error::CandidateParseError as Error;

const MAX_LEN: usize = 1024;
const MAX_EXTENSIONS: usize = 32;
/// A DNS name's greatest length.
const MAX_NAME: usize = 253;

impl FromStr for Candidate {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self, Error> {
        if text.len() > MAX_LEN {
            return Err(Error::TooLong);
        }
        let text = text.trim_end_matches(['\r', '\n']).trim_matches(' ');
        if !text.bytes().all(|c| (0x20..0x7f).contains(&c)) {
            return Err(Error::Character);
        }
        let text = text.strip_prefix("a=").unwrap_or(text);
        let text = text.strip_prefix("candidate:").unwrap_or(text);
        let mut words = text.split(' ').filter(|w| !w.is_empty());
        let mut next = |name| words.next().ok_or(Error::Missing(name));

        let foundation = next("foundation")?;
        if foundation.len() > 32 || !foundation.bytes().all(is_ice_char) {
            return Err(Error::Invalid("foundation"));
        }
        let component: u16 = number(next("component")?, "component")?;
        if !(1..=256).contains(&component) {
            return Err(Error::Invalid("component"));
        }
        let transport = match next("transport")? {
            t if t.eq_ignore_ascii_case("udp") => Transport::Udp,
            t if t.eq_ignore_ascii_case("tcp") => Transport::Tcp,
            t if t.bytes().all(is_token_char) => Transport::Other(t.to_owned()),
            _ => return Err(Error::Invalid("transport")),
        };
        let priority: u32 = number(next("priority")?, "priority")?;
        let host = next("address")?;
        let port: u16 = number(next("port")?, "port")?;
        let address = match IpAddr::from_str(host) {
            Ok(ip) => Address::Ip(SocketAddr::new(ip, port)),
            Err(_) if is_name(host) => Address::Name { host: host.to_owned(), port },
            Err(_) => return Err(Error::Invalid("address")),
        };
        if !next("type")?.eq_ignore_ascii_case("typ") {
            return Err(Error::Missing("type"));
        }
        let kind = match next("type")? {
            t if t.eq_ignore_ascii_case("host") => CandidateKind::Host,
            t if t.eq_ignore_ascii_case("srflx") => CandidateKind::ServerReflexive,
            t if t.eq_ignore_ascii_case("prflx") => CandidateKind::PeerReflexive,
            t if t.eq_ignore_ascii_case("relay") => CandidateKind::Relayed,
            _ => return Err(Error::Invalid("type")),
        };
        let mut candidate = Self {
            foundation: foundation.to_owned(),
            component,
            transport,
            priority,
            address,
            kind,
            related: None,
            tcp_type: None,
            extensions: Vec::new(),
        };
        let (mut raddr, mut rport) = (None, None);
        while let Some(name) = words.next() {
            let value = words.next().ok_or(Error::Missing("extension's value"))?;
            match name {
                // A hidden or named address here is only information: forget it.
                "raddr" => raddr = IpAddr::from_str(value).ok(),
                "rport" => rport = Some(number(value, "rport")?),
                "tcptype" => candidate.tcp_type = Some(tcp_type(value)?),
                _ if candidate.extensions.len() == MAX_EXTENSIONS => return Err(Error::TooLong),
                _ => candidate.extensions.push((name.to_owned(), value.to_owned())),
            }
        }
        candidate.related = raddr.zip(rport).map(|(ip, port)| SocketAddr::new(ip, port));
        Ok(candidate)
    }
}

/// Writes `candidate:…`. A field with a space, a control character or anything outside printable ASCII makes
/// the formatting fail (`fmt::Error`), so that no caller can be made to write a second line; `to_string()`
/// then panics, so check candidates that were built by hand with `write!`. What the agent or the parser made
/// is always fine.
impl fmt::Display for Candidate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let transport = match &self.transport {
            Transport::Udp => "udp",
            Transport::Tcp => "tcp",
            Transport::Other(name) => word(name)?,
        };
        write!(f, "candidate:{} {} {transport} {} ", word(&self.foundation)?, self.component, self.priority)?;
        match &self.address {
            Address::Ip(addr) => write!(f, "{} {}", addr.ip(), addr.port())?,
            Address::Name { host, port } => write!(f, "{} {port}", word(host)?)?,
        }
        write!(f, " typ {}", self.kind.as_str())?;
        if let Some(related) = self.related {
            write!(f, " raddr {} rport {}", related.ip(), related.port())?;
        }
        if let Some(tcp_type) = self.tcp_type {
            f.write_str(match tcp_type {
                TcpType::Active => " tcptype active",
                TcpType::Passive => " tcptype passive",
                TcpType::SimultaneousOpen => " tcptype so",
            })?;
        }
        for (name, value) in &self.extensions {
            write!(f, " {} {}", word(name)?, word(value)?)?;
        }
        Ok(())
    }
}

/// `text` if it can stand as one word of the line.
fn word(text: &str) -> Result<&str, fmt::Error> {
    let fine = !text.is_empty() && text.bytes().all(|c| (0x21..0x7f).contains(&c));
    if fine { Ok(text) } else { Err(fmt::Error) }
}

fn number<T: FromStr>(text: &str, name: &'static str) -> Result<T, Error> {
    // `FromStr` for integers takes a leading '+'; the grammar does not.
    if !text.bytes().all(|c| c.is_ascii_digit()) {
        return Err(Error::Invalid(name));
    }
    text.parse().map_err(|_| Error::Invalid(name))
}

fn tcp_type(text: &str) -> Result<TcpType, Error> {
    match text {
        t if t.eq_ignore_ascii_case("active") => Ok(TcpType::Active),
        t if t.eq_ignore_ascii_case("passive") => Ok(TcpType::Passive),
        t if t.eq_ignore_ascii_case("so") => Ok(TcpType::SimultaneousOpen),
        _ => Err(Error::Invalid("tcptype")),
    }
}

fn is_ice_char(c: u8) -> bool {
    // "-", "_" and "." aren't ice-chars, but are seen in the wild and harmless.
    c.is_ascii_alphanumeric() || b"+/-_.".contains(&c)
}

fn is_token_char(c: u8) -> bool {
    c.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`{|}~".contains(&c)
}

/// Letters, digits, hyphens, underscores and dots, and not something that only looks like an address.
fn is_name(text: &str) -> bool {
    text.len() <= MAX_NAME
        && text.bytes().all(|c| c.is_ascii_alphanumeric() || b"-_.".contains(&c))
        && text.bytes().any(|c| c.is_ascii_alphabetic())
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::fmt::Write;

    const CHROMIUM_MDNS: &str = "candidate:3549815402 1 udp 2113937151 90d0c6a0-4209-41e1-81f2-b20684468535.local \
                                 52100 typ host generation 0 ufrag 9CgW network-cost 999";
    const FIREFOX_TCP: &str = "candidate:1 1 TCP 2105524479 10.9.0.1 9 typ host tcptype active";

    #[test]
    fn browser_lines_are_read() {
        let c: Candidate = CHROMIUM_MDNS.parse().unwrap();
        assert_eq!(c.extension("ufrag"), Some("9CgW"));
        assert_eq!(c.extension("network-cost"), Some("999"));
        assert!(matches!(&c.address, Address::Name { host, port: 52100 } if host.ends_with(".local")));
        let c: Candidate = FIREFOX_TCP.parse().unwrap();
        assert_eq!((c.transport, c.tcp_type), (Transport::Tcp, Some(TcpType::Active)));
        for line in [
            "candidate:0 1 UDP 2122252543 10.9.0.1 33079 typ host",
            "candidate:0 1 TCP 2105524479 0.0.0.0 9 typ host tcptype active",
            "candidate:1 1 UDP 2122252543 fd09:9::1 45101 typ host",
            "candidate:1806859665 1 udp 2122260223 127.0.0.1 58304 typ host generation 0 network-id 1 network-cost 50",
            "candidate:1054605387 1 tcp 1518149375 10.9.0.1 9 typ host tcptype active generation 0 ufrag aFsB network-id 2",
            "candidate:842163049 1 udp 1677729535 203.0.113.5 46154 typ srflx raddr 10.9.0.1 rport 46154 generation 0",
            "candidate:0 1 UDP 92217343 10.9.0.2 50071 typ relay raddr 10.9.0.2 rport 50071",
        ] {
            let c: Candidate = line.parse().unwrap();
            assert_eq!(c.to_string().to_lowercase(), line.to_lowercase());
        }
    }

    #[test]
    fn the_prefixes_are_optional() {
        let bare = FIREFOX_TCP.strip_prefix("candidate:").unwrap();
        let c: Candidate = FIREFOX_TCP.parse().unwrap();
        for text in [
            bare.to_owned(),
            format!("a={FIREFOX_TCP}"),
            format!("a={FIREFOX_TCP}\r\n"),
            format!("  {bare} "),
        ] {
            assert_eq!(text.parse(), Ok(c.clone()), "{text:?}");
        }
    }

    #[test]
    fn lines_that_break_the_grammar_are_named_errors() {
        for (line, error) in [
            ("", Error::Missing("foundation")),
            ("candidate:1 0 udp 1 10.0.0.1 1 typ host", Error::Invalid("component")),
            ("candidate:1 257 udp 1 10.0.0.1 1 typ host", Error::Invalid("component")),
            ("candidate:1 +1 udp 1 10.0.0.1 1 typ host", Error::Invalid("component")),
            ("candidate:1 1 udp 4294967296 10.0.0.1 1 typ host", Error::Invalid("priority")),
            ("candidate:1 1 udp -1 10.0.0.1 1 typ host", Error::Invalid("priority")),
            ("candidate:1 1 udp 1 10.0.0.256 1 typ host", Error::Invalid("address")),
            ("candidate:1 1 udp 1 10.0.0.1 65536 typ host", Error::Invalid("port")),
            ("candidate:1 1 udp 1 10.0.0.1 1 typ", Error::Missing("type")),
            ("candidate:1 1 udp 1 10.0.0.1 1 type host", Error::Missing("type")),
            ("candidate:1 1 udp 1 10.0.0.1 1 typ magic", Error::Invalid("type")),
            ("candidate:1 1 udp 1 10.0.0.1 1 typ host generation", Error::Missing("extension's value")),
            ("candidate:1 1 udp 1 10.0.0.1 1 typ host\r\na=x y", Error::Character),
            ("candidate:1 1 udp 1 10.0.0.1 1 typ host a\0 b", Error::Character),
            ("candidate:1 1 udp 1 b\u{fc}cher.local 1 typ host", Error::Character),
        ] {
            assert_eq!(line.parse::<Candidate>(), Err(error), "{line:?}");
        }
        assert_eq!("x".repeat(1025).parse::<Candidate>(), Err(Error::TooLong));
        let many = format!("1 1 udp 1 10.0.0.1 1 typ host{}", " a b".repeat(33));
        assert_eq!(many.parse::<Candidate>(), Err(Error::TooLong));
    }

    #[test]
    fn a_field_that_would_make_a_second_line_is_not_written() {
        let good: Candidate = FIREFOX_TCP.parse().unwrap();
        let write = |c: &Candidate| write!(String::new(), "{c}");
        assert!(write(&good).is_ok());
        for bad in ["", "x\r\na=fingerprint", "x\n", "x\0", "x y", "\u{fc}"] {
            let mut c = good.clone();
            c.foundation = bad.into();
            assert!(write(&c).is_err(), "foundation {bad:?}");
            let mut c = good.clone();
            c.extensions.push(("ufrag".into(), bad.into()));
            assert!(write(&c).is_err(), "extension {bad:?}");
            let mut c = good.clone();
            c.address = Address::Name { host: bad.into(), port: 1 };
            assert!(write(&c).is_err(), "name {bad:?}");
        }
    }

    fn any_candidate() -> impl Strategy<Value = Candidate> {
        let address = prop_oneof![
            any::<SocketAddr>().prop_map(|a| Address::Ip(SocketAddr::new(a.ip(), a.port()))),
            ("[a-z][a-z0-9-]{0,30}\\.local", any::<u16>())
                .prop_map(|(host, port)| Address::Name { host, port }),
        ];
        let kind = prop_oneof![
            Just(CandidateKind::Host),
            Just(CandidateKind::ServerReflexive),
            Just(CandidateKind::PeerReflexive),
            Just(CandidateKind::Relayed),
        ];
        let transport =
            prop_oneof![Just(Transport::Udp), Just(Transport::Tcp), Just(Transport::Other("sctp".into()))];
        let related =
            proptest::option::of(any::<SocketAddr>().prop_map(|a| SocketAddr::new(a.ip(), a.port())));
        let extensions = proptest::collection::vec(("x-[a-z]{1,8}", "[!-~]{1,12}"), 0..5);
        ("[A-Za-z0-9+/]{1,32}", 1u16..=256, transport, any::<u32>(), address, kind, related, extensions)
            .prop_map(|(foundation, component, transport, priority, address, kind, related, extensions)| {
                Candidate {
                    foundation,
                    component,
                    transport,
                    priority,
                    address,
                    kind,
                    related,
                    tcp_type: None,
                    extensions,
                }
            })
    }

    proptest! {
        #[test]
        fn what_is_written_reads_back_the_same(c in any_candidate()) {
            prop_assert_eq!(c.to_string().parse(), Ok(c));
        }

        #[test]
        fn no_text_makes_the_parser_panic(text in "\\PC{0,200}") {
            let _ = text.parse::<Candidate>();
        }

        #[test]
        fn near_valid_text_never_panics_and_reads_back(text in "(a=)?candidate:[0-9a-z]{0,4} [0-9]{0,3} (udp|tcp|x) [0-9]{0,11} [0-9a-f.:]{0,12} [0-9]{0,6} typ (host|srflx|q)( [a-z]{1,9} [0-9.]{1,9}){0,4}") {
            if let Ok(c) = text.parse::<Candidate>() {
                prop_assert_eq!(c.to_string().parse(), Ok(c));
            }
        }
    }
}
