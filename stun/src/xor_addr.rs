//! MAPPED-ADDRESS and XOR-MAPPED-ADDRESS (RFC 8489 §14.1, §14.2):
//!
//! ```text
//!  |0 0 0 0 0 0 0 0|    Family     |             Port              |
//!  |              Address: 32 bits (family 1) or 128 (family 2)    |
//! ```
//! In the XOR form the port is combined with the cookie's first half, the address with the cookie and, for
//! IPv6, the transaction id.

use std::net::{IpAddr, SocketAddr};

use crate::{MAGIC_COOKIE, TransactionId};

const IPV4: u8 = 1;
const IPV6: u8 = 2;

/// The mask of an address: the cookie, then the transaction id.
fn mask(id: TransactionId) -> [u8; 16] {
    let mut mask = [0; 16];
    let (cookie, rest) = mask.split_at_mut(4);
    cookie.copy_from_slice(&MAGIC_COOKIE.to_be_bytes());
    rest.copy_from_slice(&id.0);
    mask
}

fn read(value: &[u8], mask: [u8; 16]) -> Option<SocketAddr> {
    let [_, family, p0, p1, address @ ..] = value else {
        return None;
    };
    let [m0, m1, ..] = mask;
    let port = u16::from_be_bytes([p0 ^ m0, p1 ^ m1]);
    let ip = match *family {
        IPV4 => {
            let mut octets: [u8; 4] = address.try_into().ok()?;
            octets.iter_mut().zip(mask).for_each(|(byte, m)| *byte ^= m);
            IpAddr::from(octets)
        }
        IPV6 => {
            let mut octets: [u8; 16] = address.try_into().ok()?;
            octets.iter_mut().zip(mask).for_each(|(byte, m)| *byte ^= m);
            IpAddr::from(octets)
        }
        _ => return None,
    };
    Some(SocketAddr::new(ip, port))
}

pub(crate) fn read_plain(value: &[u8]) -> Option<SocketAddr> {
    read(value, [0; 16])
}

pub(crate) fn read_xor(value: &[u8], id: TransactionId) -> Option<SocketAddr> {
    read(value, mask(id))
}

/// The value in XOR form and its length, 8 or 20. An IPv4-mapped IPv6 address is written as IPv4.
pub(crate) fn write_xor(addr: SocketAddr, id: TransactionId) -> ([u8; 20], usize) {
    write(addr, mask(id))
}

/// The same in the plain form of MAPPED-ADDRESS.
pub(crate) fn write_plain(addr: SocketAddr) -> ([u8; 20], usize) {
    write(addr, [0; 16])
}

fn write(addr: SocketAddr, mask: [u8; 16]) -> ([u8; 20], usize) {
    let mut out = [0; 20];
    let port = addr.port().to_be_bytes();
    out[2] = port[0] ^ mask[0];
    out[3] = port[1] ^ mask[1];
    let mut put = |family, octets: &[u8]| {
        out[1] = family;
        for ((to, byte), m) in out.iter_mut().skip(4).zip(octets).zip(mask) {
            *to = byte ^ m;
        }
        4 + octets.len()
    };
    let len = match addr.ip().to_canonical() {
        IpAddr::V4(v4) => put(IPV4, &v4.octets()),
        IpAddr::V6(v6) => put(IPV6, &v6.octets()),
    };
    (out, len)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn an_address_reads_back_as_it_was_written(ip in any::<IpAddr>(), port in any::<u16>(), id in any::<[u8; 12]>()) {
            let id = TransactionId(id);
            let (value, len) = write_xor(SocketAddr::new(ip, port), id);
            prop_assert_eq!(read_xor(&value[..len], id), Some(SocketAddr::new(ip.to_canonical(), port)));
            let (value, len) = write_plain(SocketAddr::new(ip, port));
            prop_assert_eq!(read_plain(&value[..len]), Some(SocketAddr::new(ip.to_canonical(), port)));
        }

        #[test]
        fn any_bytes_are_an_address_or_nothing(value in proptest::collection::vec(any::<u8>(), 0..24)) {
            let read = read_plain(&value);
            let whole = matches!((value.len(), value.get(1)), (8, Some(1)) | (20, Some(2)));
            prop_assert_eq!(read.is_some(), whole);
        }
    }
}
