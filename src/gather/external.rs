use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket};
use std::str::FromStr;

/// An address by which others reach this machine through a translator that is known beforehand, as servers in a cloud have
/// it: 1:1 NAT, with the same ports inside and outside. Written `203.0.113.7`, or `10.0.0.5=203.0.113.7` where it is not the
/// address that packets to it would leave from.
///
/// ```
/// use sinnet::{EndpointConfig, ExternalAddress};
///
/// let mut config = EndpointConfig::default();
/// config.external_addresses = vec!["203.0.113.7".parse()?];
/// # Ok::<(), sinnet::ExternalAddressError>(())
/// ```
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct ExternalAddress {
    /// What peers are told.
    pub external: IpAddr,
    /// The address of this machine that it stands for, of the same family. If `None`, it is the one that the system would
    /// use to send to `external`; nothing is sent to find that out.
    pub inner: Option<IpAddr>,
    /// Whether peers are told of the inner address, too: then the external one is a server-reflexive candidate, of lower
    /// priority, besides it. False by default: it is a host candidate in place of the inner one, which nobody hears of.
    pub besides: bool,
}

impl ExternalAddress {
    /// In place of the address that the system would send from.
    pub const fn new(external: IpAddr) -> Self {
        Self { external, inner: None, besides: false }
    }

    /// The address of ours that it stands for.
    fn inner(&self) -> Option<IpAddr> {
        self.inner.or_else(|| source_towards(self.external))
    }
}

/// The address that the system would send from. Connecting a UDP socket sends nothing.
fn source_towards(ip: IpAddr) -> Option<IpAddr> {
    let any: IpAddr = if ip.is_ipv4() { Ipv4Addr::UNSPECIFIED.into() } else { Ipv6Addr::UNSPECIFIED.into() };
    let socket = UdpSocket::bind((any, 0)).ok()?;
    socket.connect((ip, 9)).ok()?;
    socket.local_addr().ok().map(|addr| addr.ip())
}

/// Which of our addresses have which external ones.
#[derive(Clone, Default, Debug)]
pub(crate) struct Mapping(Vec<(IpAddr, IpAddr, bool)>);

impl Mapping {
    /// As of now: routes change.
    pub(crate) fn new(addresses: &[ExternalAddress]) -> Self {
        let known = addresses.iter().filter_map(|address| {
            let inner = address.inner();
            if inner.is_none() {
                tracing::debug!(external = %address.external, "no address of ours for this external one");
            }
            let inner = inner.filter(|inner| inner.is_ipv4() == address.external.is_ipv4());
            inner.map(|inner| (inner, address.external, address.besides))
        });
        Self(known.collect())
    }

    /// What is signalled in place of this host candidate.
    pub(crate) fn in_place_of(&self, base: SocketAddr) -> Option<SocketAddr> {
        let found = self.0.iter().find(|(inner, _, besides)| !besides && *inner == base.ip());
        found.map(|(_, external, _)| SocketAddr::new(*external, base.port()))
    }

    /// What is signalled besides it.
    pub(crate) fn besides(&self, base: SocketAddr) -> impl Iterator<Item = SocketAddr> + '_ {
        let mine = self.0.iter().filter(move |(inner, _, besides)| *besides && *inner == base.ip());
        mine.map(move |(_, external, _)| SocketAddr::new(*external, base.port()))
    }
}

impl fmt::Display for ExternalAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(inner) = self.inner {
            write!(f, "{inner}=")?;
        }
        write!(f, "{}", self.external)
    }
}

/// A text is no external address.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[error(
    "{0:?} is not an external address such as 203.0.113.7, or 10.0.0.5=203.0.113.7 with the inner one of its family"
)]
pub struct ExternalAddressError(String);

impl FromStr for ExternalAddress {
    type Err = ExternalAddressError;

    fn from_str(text: &str) -> Result<Self, ExternalAddressError> {
        let wrong = || ExternalAddressError(text.to_owned());
        let (inner, external) = match text.split_once('=') {
            Some((inner, external)) => (Some(inner.parse::<IpAddr>().map_err(|_| wrong())?), external),
            None => (None, text),
        };
        let external: IpAddr = external.parse().map_err(|_| wrong())?;
        if external.is_unspecified() || inner.is_some_and(|inner| inner.is_ipv4() != external.is_ipv4()) {
            return Err(wrong());
        }
        Ok(Self { inner, ..Self::new(external) })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_text_form_is_read_and_written() {
        for text in ["203.0.113.7", "10.0.0.5=203.0.113.7", "fd00::5=2001:db8::7"] {
            assert_eq!(text.parse::<ExternalAddress>().unwrap().to_string(), text);
        }
        for text in
            ["", "=", "10.0.0.5=", "=203.0.113.7", "10.0.0.5=2001:db8::7", "0.0.0.0", "host", "1.2.3.4:5"]
        {
            let error = text.parse::<ExternalAddress>().unwrap_err();
            assert!(error.to_string().contains(&format!("{text:?}")), "{error}");
        }
    }

    #[test]
    fn an_external_address_stands_for_its_inner_one_with_the_same_port() {
        let mut besides: ExternalAddress = "10.0.0.6=203.0.113.8".parse().unwrap();
        besides.besides = true;
        let mapping = Mapping::new(&["10.0.0.5=203.0.113.7".parse().unwrap(), besides]);
        let addr = |text: &str| text.parse::<SocketAddr>().unwrap();
        assert_eq!(mapping.in_place_of(addr("10.0.0.5:4242")), Some(addr("203.0.113.7:4242")));
        assert_eq!(mapping.in_place_of(addr("10.0.0.6:4242")), None);
        assert_eq!(mapping.besides(addr("10.0.0.6:4242")).collect::<Vec<_>>(), [addr("203.0.113.8:4242")]);
        assert_eq!(mapping.besides(addr("10.0.0.5:4242")).count(), 0);
    }

    #[test]
    fn without_an_inner_address_it_is_the_one_that_the_system_sends_from() {
        // 127.0.0.2 is reached from 127.0.0.1 or itself, wherever it is loopback.
        let inner = ExternalAddress::new("127.0.0.1".parse().unwrap()).inner();
        assert_eq!(inner, Some(IpAddr::V4(Ipv4Addr::LOCALHOST)));
    }
}
