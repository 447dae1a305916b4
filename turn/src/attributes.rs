//! The attributes of TURN (RFC 8656 §18) that are more than bytes, text or an address.

use std::net::IpAddr;
use std::time::Duration;

use sinnet_stun::{AttributeType, Builder, Message};

/// An address family as TURN writes it (RFC 8656 §18.6). Any value can be one.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct AddressFamily(pub u8);

impl AddressFamily {
    /// IPv4.
    pub const IPV4: Self = Self(1);
    /// IPv6.
    pub const IPV6: Self = Self(2);

    /// That of an address. An IPv4 address mapped into IPv6 is IPv4.
    pub fn of(ip: IpAddr) -> Self {
        if ip.to_canonical().is_ipv4() { Self::IPV4 } else { Self::IPV6 }
    }
}

/// The protocol between server and peers (RFC 8656 §18.8): UDP's number in the IP header, the only one there is.
pub(crate) const UDP: u8 = 17;

fn four(message: &Message<'_>, typ: AttributeType) -> Option<[u8; 4]> {
    message.attribute(typ)?.try_into().ok()
}

/// LIFETIME (RFC 8656 §18.2).
pub(crate) fn lifetime(message: &Message<'_>) -> Option<Duration> {
    four(message, AttributeType::LIFETIME).map(|v| Duration::from_secs(u32::from_be_bytes(v).into()))
}

/// The protocol in REQUESTED-TRANSPORT (RFC 8656 §18.8).
pub(crate) fn requested_transport(message: &Message<'_>) -> Option<u8> {
    four(message, AttributeType::REQUESTED_TRANSPORT).map(|[protocol, ..]| protocol)
}

/// REQUESTED-ADDRESS-FAMILY or ADDITIONAL-ADDRESS-FAMILY (RFC 8656 §18.6, §18.11): absent, or malformed, or there.
pub(crate) fn family(message: &Message<'_>, typ: AttributeType) -> Option<Result<AddressFamily, ()>> {
    message.attribute(typ)?;
    Some(four(message, typ).map(|[family, ..]| AddressFamily(family)).ok_or(()))
}

/// CHANNEL-NUMBER (RFC 8656 §18.1).
pub(crate) fn channel_number(message: &Message<'_>) -> Option<u16> {
    four(message, AttributeType::CHANNEL_NUMBER).map(|[high, low, ..]| u16::from_be_bytes([high, low]))
}

/// ADDRESS-ERROR-CODE (RFC 8656 §18.12): which family was refused, and by which code.
pub(crate) fn address_error_code(message: &Message<'_>) -> Option<(AddressFamily, u16)> {
    let [family, _, class, number, ..] = message.attribute(AttributeType::ADDRESS_ERROR_CODE)? else {
        return None;
    };
    Some((AddressFamily(*family), u16::from(class & 7) * 100 + u16::from(*number)))
}

/// ICMP (RFC 8656 §18.13): type, code, and the MTU of the next hop where there is one.
pub(crate) fn icmp(message: &Message<'_>) -> Option<(u8, u8, u32)> {
    let [_, _, typ, code, data @ ..] = message.attribute(AttributeType::ICMP)? else { return None };
    Some((*typ, *code, u32::from_be_bytes(data.try_into().ok()?)))
}

/// What the builder doesn't know by itself.
pub(crate) trait Write {
    fn lifetime(&mut self, lifetime: Duration) -> &mut Self;
    fn requested_transport(&mut self) -> &mut Self;
    fn family(&mut self, typ: AttributeType, family: AddressFamily) -> &mut Self;
    fn channel_number(&mut self, number: u16) -> &mut Self;
    fn address_error_code(&mut self, family: AddressFamily, code: u16) -> &mut Self;
}

impl Write for Builder<'_> {
    fn lifetime(&mut self, lifetime: Duration) -> &mut Self {
        let seconds = u32::try_from(lifetime.as_secs()).unwrap_or(u32::MAX);
        self.attribute(AttributeType::LIFETIME, &seconds.to_be_bytes())
    }

    fn requested_transport(&mut self) -> &mut Self {
        self.attribute(AttributeType::REQUESTED_TRANSPORT, &[UDP, 0, 0, 0])
    }

    fn family(&mut self, typ: AttributeType, family: AddressFamily) -> &mut Self {
        self.attribute(typ, &[family.0, 0, 0, 0])
    }

    fn channel_number(&mut self, number: u16) -> &mut Self {
        let [high, low] = number.to_be_bytes();
        self.attribute(AttributeType::CHANNEL_NUMBER, &[high, low, 0, 0])
    }

    fn address_error_code(&mut self, family: AddressFamily, code: u16) -> &mut Self {
        let [_, class] = ((code / 100) & 7).to_be_bytes();
        let [_, number] = (code % 100).to_be_bytes();
        self.attribute(AttributeType::ADDRESS_ERROR_CODE, &[family.0, 0, class, number])
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use sinnet_stun::{Class, Method, TransactionId};

    fn message(write: impl FnOnce(&mut Builder<'_>), check: impl FnOnce(&Message<'_>)) {
        let mut out = [0; 256];
        let mut b = Builder::new(&mut out, Class::Request, Method::ALLOCATE, TransactionId([1; 12]));
        write(&mut b);
        let len = b.finish().unwrap();
        check(&Message::parse(&out[..len]).unwrap());
    }

    #[test]
    fn what_is_written_reads_back() {
        let v6 = AddressFamily::IPV6;
        message(
            |b| {
                b.lifetime(Duration::from_secs(600)).requested_transport().channel_number(0x4001);
                b.family(AttributeType::REQUESTED_ADDRESS_FAMILY, v6).address_error_code(v6, 440);
            },
            |m| {
                assert_eq!(lifetime(m), Some(Duration::from_secs(600)));
                assert_eq!(requested_transport(m), Some(UDP));
                assert_eq!(channel_number(m), Some(0x4001));
                assert_eq!(family(m, AttributeType::REQUESTED_ADDRESS_FAMILY), Some(Ok(v6)));
                assert_eq!(family(m, AttributeType::ADDITIONAL_ADDRESS_FAMILY), None);
                assert_eq!(address_error_code(m), Some((v6, 440)));
            },
        );
    }

    #[test]
    fn wrong_lengths_are_no_values() {
        for len in (0..4).chain(5..12) {
            let value = vec![1; len];
            message(
                |b| {
                    b.attribute(AttributeType::LIFETIME, &value)
                        .attribute(AttributeType::REQUESTED_TRANSPORT, &value);
                    b.attribute(AttributeType::CHANNEL_NUMBER, &value);
                    b.attribute(AttributeType::REQUESTED_ADDRESS_FAMILY, &value);
                },
                |m| {
                    assert_eq!((lifetime(m), requested_transport(m), channel_number(m)), (None, None, None));
                    assert_eq!(family(m, AttributeType::REQUESTED_ADDRESS_FAMILY), Some(Err(())));
                },
            );
        }
        for len in 0..12 {
            let value = vec![1; len];
            message(
                |b| {
                    b.attribute(AttributeType::ADDRESS_ERROR_CODE, &value)
                        .attribute(AttributeType::ICMP, &value);
                },
                |m| {
                    assert_eq!(address_error_code(m).is_some(), len >= 4);
                    assert_eq!(icmp(m), (len == 8).then_some((1, 1, 0x0101_0101)));
                },
            );
        }
    }
}
