//! Which addresses are used, as it is written on the command line.

use std::ops::RangeInclusive;

use clap::{Args, ValueEnum};
use sinnet::{EndpointConfig, ExternalAddress, Mdns};

/// Which of this machine's addresses peers are told of.
#[derive(Clone, Debug, Args)]
pub(crate) struct NetworkArgs {
    /// Use only this network interface, where no address is given; * stands for any characters. Repeatable. Default: all that are up.
    #[arg(long, value_name = "NAME")]
    interface: Vec<String>,

    /// Don't use this network interface; * stands for any characters. Repeatable.
    #[arg(long, value_name = "NAME")]
    except_interface: Vec<String>,

    /// Use a UDP port of this range: FIRST-LAST. Default: the system chooses.
    #[arg(long, value_name = "FIRST-LAST", value_parser = port_range)]
    port_range: Option<RangeInclusive<u16>>,

    /// Peers reach this machine by this address, with the same ports, as in clouds: IP, or INNER-IP=IP if this machine has several.
    /// Repeatable.
    #[arg(long, value_name = "[INNER=]IP")]
    external_ip: Vec<ExternalAddress>,

    /// What to do with names in place of addresses (mDNS): nothing, resolve those of browsers on the same link, or also hide our own
    /// addresses behind some.
    #[arg(long, value_name = "WHAT", value_enum, default_value_t = MdnsArg::Off)]
    mdns: MdnsArg,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug, ValueEnum)]
enum MdnsArg {
    Off,
    Resolve,
    Hide,
}

impl NetworkArgs {
    pub(crate) fn configure(&self, config: &mut EndpointConfig) {
        config.hosts.interfaces = self.interface.clone();
        config.hosts.except_interfaces = self.except_interface.clone();
        config.port_range = self.port_range.clone();
        config.external_addresses = self.external_ip.clone();
        config.mdns = match self.mdns {
            MdnsArg::Off => Mdns::Off,
            MdnsArg::Resolve => Mdns::Resolve,
            MdnsArg::Hide => Mdns::ResolveAndHide,
        };
    }
}

fn port_range(text: &str) -> Result<RangeInclusive<u16>, String> {
    let wrong = || "a range is written FIRST-LAST, with ports from 1 to 65535".to_owned();
    let (first, last) = text.split_once('-').ok_or_else(wrong)?;
    let port = |text: &str| text.parse::<u16>().ok().filter(|port| *port > 0).ok_or_else(wrong);
    let (first, last) = (port(first)?, port(last)?);
    if first > last { Err(wrong()) } else { Ok(first..=last) }
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Parser)]
    struct Line {
        #[command(flatten)]
        network: NetworkArgs,
    }

    fn config(line: &[&str]) -> Result<EndpointConfig, clap::Error> {
        let line = Line::try_parse_from(["sinnet"].iter().chain(line))?;
        let mut config = EndpointConfig::default();
        line.network.configure(&mut config);
        Ok(config)
    }

    #[test]
    fn every_argument_reaches_the_configuration() {
        let found = config(&[
            "--interface",
            "eth*",
            "--interface",
            "wlan0",
            "--except-interface",
            "eth1",
            "--port-range",
            "5000-5010",
            "--external-ip",
            "203.0.113.7",
            "--external-ip",
            "10.0.0.5=203.0.113.8",
            "--mdns",
            "hide",
        ])
        .unwrap();
        assert_eq!(found.hosts.interfaces, ["eth*", "wlan0"]);
        assert_eq!(found.hosts.except_interfaces, ["eth1"]);
        assert_eq!(found.port_range, Some(5000..=5010));
        let external: Vec<_> = found.external_addresses.iter().map(ToString::to_string).collect();
        assert_eq!(external, ["203.0.113.7", "10.0.0.5=203.0.113.8"]);
        assert_eq!(found.mdns, Mdns::ResolveAndHide);
        let nothing = config(&[]).unwrap();
        assert_eq!((nothing.mdns, nothing.port_range), (Mdns::Off, None));
    }

    #[test]
    fn what_is_no_range_is_refused() {
        for text in ["", "5000", "5010-5000", "0-9", "1-65536", "a-b", "-"] {
            assert!(port_range(text).is_err(), "{text}");
            assert!(config(&["--port-range", text]).is_err(), "{text}");
        }
        assert!(config(&["--external-ip", "host"]).is_err());
        assert!(config(&["--mdns", "on"]).is_err());
    }
}
