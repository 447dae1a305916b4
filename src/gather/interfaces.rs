//! What the system says of its interfaces, in the form in which it is judged.

use std::io;
use std::net::IpAddr;

/// One address of one interface.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Listed {
    pub(crate) interface: String,
    /// 0 where the system gives none.
    pub(crate) index: u32,
    pub(crate) ip: IpAddr,
    /// How many of its first bits its whole network has.
    pub(crate) prefix: u8,
    pub(crate) up: bool,
    pub(crate) flags: Flags,
}

/// What is special about an IPv6 address. Nothing, where it is not known.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub(crate) struct Flags {
    /// Made at random and changed now and then (RFC 8981).
    pub(crate) temporary: bool,
    /// For what uses it already, not for new conversations (RFC 4862 §5.5.4).
    pub(crate) deprecated: bool,
    /// Not known to be ours alone (RFC 4862 §5.4): nothing can be sent from it yet, or at all.
    pub(crate) tentative: bool,
}

/// Every address of every interface that the calling thread can see, in the system's order. Some tens of microseconds, as
/// these are system calls.
///
/// # Errors
/// As a rule those of a process without file descriptors left.
pub(crate) fn list() -> io::Result<Vec<Listed>> {
    let interfaces = if_addrs::get_if_addrs()?;
    let v6 = interfaces.iter().any(|interface| interface.ip().is_ipv6());
    let flags = if v6 { ipv6_flags()? } else { Vec::new() };
    let listed = interfaces.into_iter().map(|interface| {
        let (ip, index) = (interface.ip(), interface.index.unwrap_or(0));
        let flags = flags.iter().find(|(i, of, _)| (*i, IpAddr::V6(*of)) == (index, ip));
        Listed {
            index,
            ip,
            prefix: match &interface.addr {
                if_addrs::IfAddr::V4(addr) => addr.prefixlen,
                if_addrs::IfAddr::V6(addr) => addr.prefixlen,
            },
            up: interface.is_oper_up() || interface.is_loopback(),
            flags: flags.map(|(.., flags)| *flags).unwrap_or_default(),
            interface: interface.name,
        }
    });
    Ok(listed.collect())
}

/// Linux lists IPv6 addresses with their flags in a file. `/proc/net` is that of the process's first thread.
#[cfg(any(target_os = "linux", target_os = "android"))]
fn ipv6_flags() -> io::Result<Vec<(u32, std::net::Ipv6Addr, Flags)>> {
    flags_in(std::fs::read_to_string("/proc/thread-self/net/if_inet6"))
}

/// No file and no right to read it is how some systems are. Anything else passes, and without the flags every address would seem to
/// have changed.
#[cfg_attr(
    not(any(target_os = "linux", target_os = "android")),
    expect(dead_code, reason = "Linux's format")
)]
fn flags_in(file: io::Result<String>) -> io::Result<Vec<(u32, std::net::Ipv6Addr, Flags)>> {
    match file {
        Ok(text) => Ok(text.lines().filter_map(line).collect()),
        Err(error) if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::PermissionDenied) => {
            tracing::debug!(%error, "temporary IPv6 addresses can't be told from others");
            Ok(Vec::new())
        }
        Err(error) => Err(error),
    }
}

#[cfg(not(any(target_os = "linux", target_os = "android")))]
fn ipv6_flags() -> io::Result<Vec<(u32, std::net::Ipv6Addr, Flags)>> {
    Ok(Vec::new())
}

/// Address, interface, prefix length, scope and flags (`IFA_F_…` of `linux/if_addr.h`), all in hexadecimal, and a name.
#[cfg_attr(
    not(any(target_os = "linux", target_os = "android")),
    expect(dead_code, reason = "Linux's format")
)]
fn line(line: &str) -> Option<(u32, std::net::Ipv6Addr, Flags)> {
    let mut words = line.split_ascii_whitespace();
    let mut hex = || u128::from_str_radix(words.next()?, 16).ok();
    let (ip, index, _length, _scope, flags) = (hex()?, hex()?, hex()?, hex()?, hex()?);
    let flags = Flags {
        temporary: flags & 0x01 != 0,
        deprecated: flags & 0x20 != 0,
        // Tentative, or found to be another's.
        tentative: flags & (0x40 | 0x08) != 0,
    };
    Some((u32::try_from(index).ok()?, ip.into(), flags))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn linux_says_which_addresses_are_temporary_deprecated_and_tentative() {
        let read = |text: &str| line(text).expect("a line");
        let (index, ip, flags) = read("fd090000000000000000000000000001 02 40 00 80   veth0");
        assert_eq!((index, ip, flags), (2, "fd09::1".parse().unwrap(), Flags::default()));
        let (index, _, flags) = read("20010db8000000000000000000000001 1f 40 00 21 wlp0s20f3");
        assert_eq!(index, 31);
        assert_eq!(flags, Flags { temporary: true, deprecated: true, tentative: false });
        assert!(read("fe800000000000000000000000000001 02 40 20 c0 eth0").2.tentative);
        assert!(read("fe800000000000000000000000000001 02 40 20 08 eth0").2.tentative);
        for text in ["", "zz 02 40 00 80 eth0", "fd09 02 40 00", "1 100000000 40 00 80 eth0"] {
            assert!(line(text).is_none(), "{text:?}");
        }
    }

    #[test]
    fn flags_that_cannot_be_read_for_once_are_an_error_and_those_of_a_system_without_are_not_known() {
        let no_descriptors = || io::Error::from_raw_os_error(24);
        assert!(flags_in(Err(no_descriptors())).is_err());
        for kind in [io::ErrorKind::NotFound, io::ErrorKind::PermissionDenied] {
            assert_eq!(flags_in(Err(kind.into())).unwrap(), []);
        }
    }

    #[test]
    fn this_machine_has_a_loopback_interface() {
        let listed = list().expect("a list");
        assert!(listed.iter().any(|listed| listed.ip.is_loopback() && listed.up), "{listed:?}");
    }
}
