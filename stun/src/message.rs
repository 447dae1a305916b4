//! A received message: header, attributes, typed accessors (RFC 8489 §5 and §14).
//!
//! ```text
//!   0                   1                   2                   3
//!  |0 0|     STUN Message Type     |         Message Length        |
//!  |                         Magic Cookie                          |
//!  |                     Transaction ID (96 bits)                  |
//!  | attributes: type (16) · length (16) · value, padded to 4 … |
//! ```

use std::fmt;
use std::net::SocketAddr;

use crate::attribute::{Attribute, AttributeType};
use crate::integrity::{self, IntegrityKey, Verdict};
use crate::long_term::{PasswordAlgorithm, PasswordAlgorithms};
use crate::{HEADER_LEN, MAGIC_COOKIE, xor_addr};

/// The class of a message (RFC 8489 §5).
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Class {
    /// Wants an answer.
    Request,
    /// Wants none.
    Indication,
    /// The answer.
    SuccessResponse,
    /// The refusal.
    ErrorResponse,
}

/// The method of a message, 12 bits (RFC 8489 §18.2).
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct Method(pub u16);

impl Method {
    /// Binding: the only one ICE uses.
    pub const BINDING: Self = Self(0x001);
    /// Allocate (RFC 8656 §17).
    pub const ALLOCATE: Self = Self(0x003);
    /// Refresh (RFC 8656 §17).
    pub const REFRESH: Self = Self(0x004);
    /// Send, an indication (RFC 8656 §17).
    pub const SEND: Self = Self(0x006);
    /// Data, an indication (RFC 8656 §17).
    pub const DATA: Self = Self(0x007);
    /// CreatePermission (RFC 8656 §17).
    pub const CREATE_PERMISSION: Self = Self(0x008);
    /// ChannelBind (RFC 8656 §17).
    pub const CHANNEL_BIND: Self = Self(0x009);
}

/// 96 bits that tie a response to its request. Must come from a CSPRNG (RFC 8489 §5).
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct TransactionId(pub [u8; 12]);

impl fmt::Debug for TransactionId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

/// Why bytes aren't a STUN message.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ParseError {
    /// Fewer than 20 bytes.
    #[error("shorter than a STUN header")]
    TooShort,
    /// The first two bits aren't 0 or the magic cookie is wrong: another protocol.
    #[error("not a STUN message")]
    NotStun,
    /// The length field isn't a multiple of 4, or isn't the length of the datagram.
    #[error("the length field does not match the datagram")]
    Length,
    /// An attribute ends outside the message, or is longer or shorter than its type allows at this place.
    #[error("attribute {0:?} has a wrong length")]
    Attribute(AttributeType),
    /// Something follows FINGERPRINT, which must be last (RFC 8489 §14.7).
    #[error("FINGERPRINT is not the last attribute")]
    AfterFingerprint,
}

/// Whether these bytes claim to be STUN: long enough, first two bits 0, magic cookie (RFC 7983 §7). Cheap.
pub fn is_stun(datagram: &[u8]) -> bool {
    matches!(datagram, [0..=3, _, _, _, a, b, c, d, ..] if u32::from_be_bytes([*a, *b, *c, *d]) == MAGIC_COOKIE)
        && datagram.len() >= HEADER_LEN
}

/// A view over one datagram whose every length has been checked.
#[derive(Clone, Copy)]
pub struct Message<'a> {
    bytes: &'a [u8],
    message_type: u16,
    transaction_id: TransactionId,
    /// Where the attributes end that a reader may use: what follows MESSAGE-INTEGRITY isn't covered by it.
    attributes_end: usize,
    /// Offsets of the values of the three closing attributes.
    integrity: Option<usize>,
    integrity_sha256: Option<(usize, usize)>,
    fingerprint: Option<usize>,
}

impl<'a> Message<'a> {
    /// Reads one datagram, which must be exactly one message.
    ///
    /// # Errors
    /// See [`ParseError`]. Unknown types and attributes are no error.
    pub fn parse(bytes: &'a [u8]) -> Result<Self, ParseError> {
        let Some((header, _)) = bytes.split_first_chunk::<HEADER_LEN>() else {
            return Err(ParseError::TooShort);
        };
        let [t0, t1, l0, l1, c0, c1, c2, c3, id @ ..] = *header;
        if t0 & 0xC0 != 0 || u32::from_be_bytes([c0, c1, c2, c3]) != MAGIC_COOKIE {
            return Err(ParseError::NotStun);
        }
        let length = usize::from(u16::from_be_bytes([l0, l1]));
        if length % 4 != 0 || HEADER_LEN + length != bytes.len() {
            return Err(ParseError::Length);
        }
        let mut message = Self {
            bytes,
            message_type: u16::from_be_bytes([t0, t1]),
            transaction_id: TransactionId(id),
            attributes_end: bytes.len(),
            integrity: None,
            integrity_sha256: None,
            fingerprint: None,
        };
        message.walk()?;
        Ok(message)
    }

    /// Checks every attribute's length and finds the closing ones. Each turn consumes at least 4 bytes.
    fn walk(&mut self) -> Result<(), ParseError> {
        let mut at = HEADER_LEN;
        while let Some([t0, t1, l0, l1]) = self.bytes.get(at..).and_then(<[u8]>::first_chunk::<4>) {
            let typ = AttributeType(u16::from_be_bytes([*t0, *t1]));
            let len = usize::from(u16::from_be_bytes([*l0, *l1]));
            if self.fingerprint.is_some() {
                return Err(ParseError::AfterFingerprint);
            }
            let value = at + 4;
            let end = value + len.next_multiple_of(4);
            if end > self.bytes.len() {
                return Err(ParseError::Attribute(typ));
            }
            let closing = match typ {
                AttributeType::MESSAGE_INTEGRITY if len == integrity::SHA1_LEN => {
                    // After MESSAGE-INTEGRITY only its SHA256 sister and FINGERPRINT count (RFC 8489 §14.5).
                    if self.integrity.is_none() && self.integrity_sha256.is_none() {
                        self.integrity = Some(value);
                    }
                    true
                }
                // RFC 8489 §14.6: 16 to 32 bytes, a multiple of 4.
                AttributeType::MESSAGE_INTEGRITY_SHA256 if (16..=32).contains(&len) && len % 4 == 0 => {
                    self.integrity_sha256.get_or_insert((value, len));
                    true
                }
                AttributeType::FINGERPRINT if len == 4 => {
                    self.fingerprint = Some(value);
                    true
                }
                AttributeType::MESSAGE_INTEGRITY
                | AttributeType::MESSAGE_INTEGRITY_SHA256
                | AttributeType::FINGERPRINT => return Err(ParseError::Attribute(typ)),
                _ => false,
            };
            if closing {
                self.attributes_end = self.attributes_end.min(at);
            }
            at = end;
        }
        Ok(())
    }

    /// Request, indication or response: bits 4 and 8 of the type.
    pub fn class(&self) -> Class {
        match self.message_type & 0x0110 {
            0x0000 => Class::Request,
            0x0010 => Class::Indication,
            0x0100 => Class::SuccessResponse,
            _ => Class::ErrorResponse,
        }
    }

    /// The 12 bits of the type around the class.
    pub fn method(&self) -> Method {
        let t = self.message_type;
        Method(t & 0x000F | (t & 0x00E0) >> 1 | (t & 0x3E00) >> 2)
    }

    /// The transaction.
    pub fn transaction_id(&self) -> TransactionId {
        self.transaction_id
    }

    /// The attributes in order, up to the first of MESSAGE-INTEGRITY, MESSAGE-INTEGRITY-SHA256 and
    /// FINGERPRINT; what follows those isn't protected and mustn't be used (RFC 8489 §14.5).
    pub fn attributes(&self) -> Attributes<'a> {
        Attributes { rest: self.bytes.get(HEADER_LEN..self.attributes_end).unwrap_or_default() }
    }

    /// The value of the first attribute of this type; later ones are ignored (RFC 8489 §14).
    pub fn attribute(&self, typ: AttributeType) -> Option<&'a [u8]> {
        self.attributes().find(|a| a.typ == typ).map(|a| a.value)
    }

    fn text(&self, typ: AttributeType, limit: usize) -> Option<&'a str> {
        let value = self.attribute(typ)?;
        if value.len() > limit { None } else { std::str::from_utf8(value).ok() }
    }

    /// USERNAME (RFC 8489 §14.3), if it is UTF-8 of at most 513 bytes.
    pub fn username(&self) -> Option<&'a str> {
        self.text(AttributeType::USERNAME, 513)
    }

    /// REALM (RFC 8489 §14.9), if it is UTF-8 of at most 763 bytes.
    pub fn realm(&self) -> Option<&'a str> {
        self.text(AttributeType::REALM, 763)
    }

    /// NONCE (RFC 8489 §14.10), if it is UTF-8 of at most 763 bytes.
    pub fn nonce(&self) -> Option<&'a str> {
        self.text(AttributeType::NONCE, 763)
    }

    /// ALTERNATE-DOMAIN (RFC 8489 §14.16), if it is UTF-8 of at most 255 bytes.
    pub fn alternate_domain(&self) -> Option<&'a str> {
        self.text(AttributeType::ALTERNATE_DOMAIN, 255)
    }

    /// USERHASH (RFC 8489 §14.4).
    pub fn userhash(&self) -> Option<[u8; 32]> {
        self.attribute(AttributeType::USERHASH)?.try_into().ok()
    }

    /// The list in PASSWORD-ALGORITHMS (RFC 8489 §14.11), as far as it is well-formed.
    pub fn password_algorithms(&self) -> PasswordAlgorithms<'a> {
        PasswordAlgorithms::new(self.attribute(AttributeType::PASSWORD_ALGORITHMS).unwrap_or_default())
    }

    /// PASSWORD-ALGORITHM (RFC 8489 §14.12), which is exactly one entry.
    pub fn password_algorithm(&self) -> Option<PasswordAlgorithm> {
        let mut list = PasswordAlgorithms::new(self.attribute(AttributeType::PASSWORD_ALGORITHM)?);
        let only = list.next();
        only.filter(|_| list.next().is_none())
    }

    /// SOFTWARE (RFC 8489 §14.14), if it is UTF-8 of at most 763 bytes.
    pub fn software(&self) -> Option<&'a str> {
        self.text(AttributeType::SOFTWARE, 763)
    }

    /// PRIORITY (RFC 8445 §7.1.1).
    pub fn priority(&self) -> Option<u32> {
        Some(u32::from_be_bytes(self.attribute(AttributeType::PRIORITY)?.try_into().ok()?))
    }

    /// USE-CANDIDATE (RFC 8445 §7.1.2): there or not.
    pub fn use_candidate(&self) -> bool {
        self.attribute(AttributeType::USE_CANDIDATE).is_some()
    }

    /// The number in NOMINATION (draft-thatcher-ice-renomination).
    pub fn nomination(&self) -> Option<u32> {
        Some(u32::from_be_bytes(self.attribute(AttributeType::NOMINATION)?.try_into().ok()?))
    }

    /// The tie-breaker in ICE-CONTROLLING (RFC 8445 §7.1.3).
    pub fn ice_controlling(&self) -> Option<u64> {
        Some(u64::from_be_bytes(self.attribute(AttributeType::ICE_CONTROLLING)?.try_into().ok()?))
    }

    /// The tie-breaker in ICE-CONTROLLED (RFC 8445 §7.1.3).
    pub fn ice_controlled(&self) -> Option<u64> {
        Some(u64::from_be_bytes(self.attribute(AttributeType::ICE_CONTROLLED)?.try_into().ok()?))
    }

    /// XOR-MAPPED-ADDRESS (RFC 8489 §14.2).
    pub fn xor_mapped_address(&self) -> Option<SocketAddr> {
        xor_addr::read_xor(self.attribute(AttributeType::XOR_MAPPED_ADDRESS)?, self.transaction_id)
    }

    /// The addresses in all attributes of this type, which have the form of XOR-MAPPED-ADDRESS (RFC 8656 §18.3 and
    /// §18.5). `None` for one that is malformed.
    pub fn xor_addresses(&self, typ: AttributeType) -> impl Iterator<Item = Option<SocketAddr>> + use<'a> {
        let id = self.transaction_id;
        self.attributes().filter(move |a| a.typ == typ).map(move |a| xor_addr::read_xor(a.value, id))
    }

    /// The addresses in all ALTERNATE-SERVER attributes (RFC 8489 §14.15) that are well-formed.
    pub fn alternate_servers(&self) -> impl Iterator<Item = SocketAddr> + use<'a> {
        let of_type = self.attributes().filter(|a| a.typ == AttributeType::ALTERNATE_SERVER);
        of_type.filter_map(|a| xor_addr::read_plain(a.value))
    }

    /// MAPPED-ADDRESS (RFC 8489 §14.1).
    pub fn mapped_address(&self) -> Option<SocketAddr> {
        xor_addr::read_plain(self.attribute(AttributeType::MAPPED_ADDRESS)?)
    }

    /// The number of ERROR-CODE, 300 to 699 (RFC 8489 §14.8). The phrase is for people and not read.
    pub fn error_code(&self) -> Option<u16> {
        match self.attribute(AttributeType::ERROR_CODE)? {
            [_, _, class, number, ..] => {
                let (class, number) = (u16::from(class & 7), u16::from(*number));
                ((3..=6).contains(&class) && number < 100).then_some(class * 100 + number)
            }
            _ => None,
        }
    }

    /// The types listed in UNKNOWN-ATTRIBUTES (RFC 8489 §14.13).
    pub fn unknown_attributes(&self) -> impl Iterator<Item = AttributeType> + 'a {
        let value = self.attribute(AttributeType::UNKNOWN_ATTRIBUTES).unwrap_or_default();
        value
            .chunks_exact(2)
            .map(|pair| AttributeType(pair.iter().fold(0, |n, &byte| n << 8 | u16::from(byte))))
    }

    /// The comprehension-required attributes that aren't in `known` (RFC 8489 §6.3.1).
    pub fn not_understood<'k>(
        &self,
        known: &'k [AttributeType],
    ) -> impl Iterator<Item = AttributeType> + use<'a, 'k> {
        self.attributes().map(|a| a.typ).filter(|t| t.is_comprehension_required() && !known.contains(t))
    }

    /// Checks FINGERPRINT (RFC 8489 §14.7).
    pub fn verify_fingerprint(&self) -> Verdict {
        let Some(value) = self.fingerprint else {
            return Verdict::Absent;
        };
        let received = self.bytes.get(value..).and_then(<[u8]>::first_chunk::<4>);
        let covered = self.bytes.get(..value - 4).unwrap_or_default();
        Verdict::of(received.is_some_and(|crc| u32::from_be_bytes(*crc) == integrity::fingerprint(covered)))
    }

    /// Whether MESSAGE-INTEGRITY is there, right or wrong.
    pub fn has_integrity(&self) -> bool {
        self.integrity.is_some()
    }

    /// Whether MESSAGE-INTEGRITY-SHA256 is there, right or wrong.
    pub fn has_integrity_sha256(&self) -> bool {
        self.integrity_sha256.is_some()
    }

    /// Checks MESSAGE-INTEGRITY (RFC 8489 §14.5), in constant time.
    pub fn verify_integrity(&self, key: &IntegrityKey) -> Verdict {
        let Some(value) = self.integrity else {
            return Verdict::Absent;
        };
        let covered = self.bytes.get(..value - 4).unwrap_or_default();
        let received = self.bytes.get(value..value + integrity::SHA1_LEN).unwrap_or_default();
        Verdict::of(integrity::equal(key.sha1(covered).as_ref(), received))
    }

    /// Checks MESSAGE-INTEGRITY-SHA256 (RFC 8489 §14.6), in constant time; a truncated value is compared as
    /// far as it goes, 16 bytes at least.
    pub fn verify_integrity_sha256(&self, key: &IntegrityKey) -> Verdict {
        let Some((value, len)) = self.integrity_sha256 else {
            return Verdict::Absent;
        };
        let covered = self.bytes.get(..value - 4).unwrap_or_default();
        let received = self.bytes.get(value..value + len).unwrap_or_default();
        let tag = key.sha256(covered, len);
        Verdict::of(integrity::equal(tag.as_ref().get(..len).unwrap_or_default(), received))
    }
}

impl fmt::Debug for Message<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Message")
            .field("class", &self.class())
            .field("method", &self.method())
            .field("transaction_id", &self.transaction_id)
            .field("attributes", &self.attributes().map(|a| a.typ).collect::<Vec<_>>())
            .finish_non_exhaustive()
    }
}

/// The attributes of a [`Message`], see [`Message::attributes`].
#[derive(Clone, Debug)]
pub struct Attributes<'a> {
    rest: &'a [u8],
}

impl<'a> Iterator for Attributes<'a> {
    type Item = Attribute<'a>;

    fn next(&mut self) -> Option<Attribute<'a>> {
        let ([t0, t1, l0, l1], after) = self.rest.split_first_chunk::<4>()?;
        let len = usize::from(u16::from_be_bytes([*l0, *l1]));
        let value = after.get(..len)?;
        self.rest = after.get(len.next_multiple_of(4)..).unwrap_or_default();
        Some(Attribute { typ: AttributeType(u16::from_be_bytes([*t0, *t1])), value })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Builder;
    use proptest::prelude::*;

    const ID: TransactionId = TransactionId([9; 12]);

    fn raw(attributes: &[(u16, &[u8])]) -> Vec<u8> {
        let mut body = Vec::new();
        for (typ, value) in attributes {
            body.extend(typ.to_be_bytes());
            body.extend(u16::try_from(value.len()).unwrap().to_be_bytes());
            body.extend(*value);
            body.resize(body.len().next_multiple_of(4), 0xAA);
        }
        let mut bytes = vec![0x00, 0x01];
        bytes.extend(u16::try_from(body.len()).unwrap().to_be_bytes());
        bytes.extend(MAGIC_COOKIE.to_be_bytes());
        bytes.extend(ID.0);
        bytes.extend(body);
        bytes
    }

    fn touch_everything(message: &Message<'_>) {
        let key = IntegrityKey::short_term("p");
        let _ = (message.class(), message.method(), message.username(), message.realm(), message.nonce());
        let _ = (message.software(), message.priority(), message.use_candidate(), message.error_code());
        let _ = (message.ice_controlling(), message.ice_controlled(), message.xor_mapped_address());
        let _ = (message.alternate_domain(), message.userhash(), message.password_algorithm());
        let _ = (message.password_algorithms().count(), message.alternate_servers().count());
        let _ = message.xor_addresses(AttributeType::XOR_PEER_ADDRESS).count();
        let _ = (
            message.mapped_address(),
            message.unknown_attributes().count(),
            message.not_understood(&[]).count(),
        );
        let _ = (
            message.verify_fingerprint(),
            message.verify_integrity(&key),
            message.verify_integrity_sha256(&key),
        );
        let _ = format!("{message:?}");
    }

    #[test]
    fn every_attribute_at_every_length_is_an_error_or_a_value_and_never_a_panic() {
        for typ in (0..0x30).chain(0x8020..0x8030).chain([0xC057, 0xFFFF]) {
            for len in 0..=64 {
                let value = vec![0x01; len];
                if let Ok(message) = Message::parse(&raw(&[(typ, &value)])) {
                    touch_everything(&message);
                }
            }
        }
        for len in (0..8).chain(9..20) {
            let bytes = raw(&[(0x0020, &vec![1; len])]);
            assert_eq!(Message::parse(&bytes).unwrap().xor_mapped_address(), None, "{len} bytes");
        }
    }

    #[test]
    fn lengths_that_lie_are_errors() {
        let good = raw(&[(0x0024, &[0, 0, 0, 1])]);
        assert!(Message::parse(&good).is_ok());
        for cut in 0..good.len() {
            assert!(Message::parse(&good[..cut]).is_err(), "cut to {cut}");
        }
        let mut longer = good.clone();
        longer.push(0);
        assert_eq!(Message::parse(&longer).unwrap_err(), ParseError::Length);
        let mut inner = good.clone();
        inner[23] = 5;
        assert_eq!(Message::parse(&inner).unwrap_err(), ParseError::Attribute(AttributeType::PRIORITY));
        inner[22] = 0xFF;
        assert_eq!(Message::parse(&inner).unwrap_err(), ParseError::Attribute(AttributeType::PRIORITY));
    }

    #[test]
    fn other_protocols_are_not_stun() {
        let good = raw(&[]);
        assert!(is_stun(&good));
        for first in 4..=255u8 {
            let mut bytes = good.clone();
            bytes[0] = first;
            assert!(!is_stun(&bytes));
            assert_eq!(
                Message::parse(&bytes).is_ok(),
                first < 0x40,
                "{first}: the 14 bits of the type are free"
            );
        }
        let mut bytes = good;
        bytes[4] = 0;
        assert!(!is_stun(&bytes));
        assert_eq!(Message::parse(&bytes).unwrap_err(), ParseError::NotStun);
    }

    #[test]
    fn what_follows_the_integrity_is_not_read() {
        let bytes = raw(&[(0x0006, b"ab:c"), (0x0008, &[0; 20]), (0x0025, &[]), (0x0024, &[0, 0, 0, 1])]);
        let message = Message::parse(&bytes).unwrap();
        assert_eq!(message.username(), Some("ab:c"));
        assert!(!message.use_candidate());
        assert_eq!(message.priority(), None);
        let bytes = raw(&[(0x8028, &[0; 4]), (0x0025, &[])]);
        assert_eq!(Message::parse(&bytes).unwrap_err(), ParseError::AfterFingerprint);
    }

    #[test]
    fn the_first_of_two_equal_attributes_counts() {
        let bytes = raw(&[(0x0024, &[0, 0, 0, 1]), (0x0024, &[0, 0, 0, 2])]);
        assert_eq!(Message::parse(&bytes).unwrap().priority(), Some(1));
    }

    #[test]
    fn unknown_required_attributes_are_found_and_optional_ones_are_not() {
        let bytes = raw(&[(0x0006, b"ab:c"), (0x0030, &[]), (0xC057, &[0, 0, 3, 0xE7]), (0x7FFF, b"x")]);
        let message = Message::parse(&bytes).unwrap();
        let found: Vec<_> = message.not_understood(&[AttributeType::USERNAME]).collect();
        assert_eq!(found, [AttributeType(0x0030), AttributeType(0x7FFF)]);
    }

    #[test]
    fn class_and_method_are_read_from_their_scattered_bits() {
        for method in [0x000, 0x001, 0x00F, 0x010, 0x080, 0xFFF] {
            for class in [Class::Request, Class::Indication, Class::SuccessResponse, Class::ErrorResponse] {
                let mut out = [0; 20];
                let len = Builder::new(&mut out, class, Method(method), ID).finish().unwrap();
                let message = Message::parse(&out[..len]).unwrap();
                assert_eq!((message.class(), message.method()), (class, Method(method)));
            }
        }
    }

    proptest! {
        #[test]
        fn arbitrary_bytes_never_panic(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            if let Ok(message) = Message::parse(&bytes) {
                touch_everything(&message);
            }
        }

        #[test]
        fn arbitrary_attributes_never_panic(
            attributes in proptest::collection::vec((0u16..0x30, proptest::collection::vec(any::<u8>(), 0..40)), 0..8),
            flip in any::<(usize, u8)>(),
        ) {
            let list: Vec<_> = attributes.iter().map(|(t, v)| (*t, v.as_slice())).collect();
            let mut bytes = raw(&list);
            let at = flip.0 % bytes.len();
            bytes[at] ^= flip.1;
            if let Ok(message) = Message::parse(&bytes) {
                touch_everything(&message);
            }
        }
    }
}
