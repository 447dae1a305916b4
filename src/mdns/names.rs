//! The names that hide our addresses.

use std::collections::{HashMap, VecDeque};
use std::net::IpAddr;

use rand::TryRng;
use rand::rngs::SysRng;

/// Addresses that have names; the oldest is answered for no more. Temporary addresses change once a day.
const MAX_NAMES: usize = 256;

/// One name an address, for the endpoint's life: connections of one endpoint have one owner.
#[derive(Default)]
pub(super) struct Names {
    by_ip: HashMap<IpAddr, String>,
    by_name: HashMap<String, IpAddr>,
    ages: VecDeque<IpAddr>,
}

impl Names {
    /// The name of an address, made when it is first needed. `None` without randomness: then the address has to stay unsaid.
    pub(super) fn name_of(&mut self, ip: IpAddr) -> Option<String> {
        if let Some(name) = self.by_ip.get(&ip) {
            return Some(name.clone());
        }
        let mut random = [0; 16];
        SysRng.try_fill_bytes(&mut random).ok()?;
        let name = format!("{}.local", uuid(u128::from_be_bytes(random)));
        self.insert(ip, name.clone());
        Some(name)
    }

    pub(super) fn insert(&mut self, ip: IpAddr, name: String) {
        if self.ages.len() >= MAX_NAMES
            && let Some(oldest) = self.ages.pop_front()
            && let Some(name) = self.by_ip.remove(&oldest)
        {
            self.by_name.remove(&name);
        }
        self.ages.push_back(ip);
        self.by_name.insert(name.clone(), ip);
        self.by_ip.insert(ip, name);
    }

    pub(super) fn ip_of(&self, name: &str) -> Option<IpAddr> {
        self.by_name.get(name).copied()
    }

    pub(super) fn is_empty(&self) -> bool {
        self.by_ip.is_empty()
    }
}

/// A version 4 UUID (RFC 9562 §5.4), as draft-ietf-mmusic-mdns-ice-candidates §3.1.1 wants.
fn uuid(random: u128) -> String {
    let bits = random & !(0xf << 76 | 0x3 << 62) | 0x4 << 76 | 0x2 << 62;
    let hex = format!("{bits:032x}");
    [&hex[..8], &hex[8..12], &hex[12..16], &hex[16..20], &hex[20..]].join("-")
}

/// Whether a name looks as one that hides an address: a UUID and `.local`. Others are those of printers and computers, and a peer has
/// no business in having us look for them.
pub(super) fn is_hiding(name: &str) -> bool {
    let Some((label, "local")) = name.split_once('.') else { return false };
    label.len() == 36
        && label.bytes().enumerate().all(|(i, c)| match i {
            8 | 13 | 18 | 23 => c == b'-',
            _ => c.is_ascii_hexdigit(),
        })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_keeps_its_name_and_the_name_is_a_uuid() {
        let mut names = Names::default();
        let ip = IpAddr::from([10, 0, 0, 1]);
        let name = names.name_of(ip).unwrap();
        assert_eq!(names.name_of(ip), Some(name.clone()));
        assert_eq!(names.ip_of(&name), Some(ip));
        assert_ne!(names.name_of(IpAddr::from([10, 0, 0, 2])).unwrap(), name);
        assert!(is_hiding(&name), "{name}");
        assert_eq!(uuid(0), "00000000-0000-4000-8000-000000000000");
        assert_eq!(uuid(u128::MAX), "ffffffff-ffff-4fff-bfff-ffffffffffff");
    }

    #[test]
    fn the_names_of_printers_and_computers_are_not_looked_for() {
        assert!(is_hiding("90d0c6a0-4209-41e1-81f2-b20684468535.local"));
        for name in [
            "printer.local",
            "90d0c6a0-4209-41e1-81f2-b20684468535",
            "90d0c6a0-4209-41e1-81f2-b20684468535.example",
            "90d0c6a0-4209-41e1-81f2-b20684468535.sub.local",
            "90d0c6a04-209-41e1-81f2-b20684468535.local",
            "90d0c6a0-4209-41e1-81f2-b2068446853g.local",
            ".local",
            "",
        ] {
            assert!(!is_hiding(name), "{name}");
        }
    }

    #[test]
    fn the_number_of_names_is_limited() {
        let mut names = Names::default();
        let ip = |n: u32| IpAddr::from(n.to_be_bytes());
        let first = names.name_of(ip(0)).unwrap();
        for n in 1..=MAX_NAMES as u32 {
            names.name_of(ip(n)).unwrap();
        }
        assert_eq!(
            (names.by_ip.len(), names.by_name.len(), names.ages.len()),
            (MAX_NAMES, MAX_NAMES, MAX_NAMES)
        );
        assert_eq!(names.ip_of(&first), None, "the oldest has made room");
    }
}
