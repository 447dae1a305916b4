//! Writing a message into the caller's buffer.

use std::net::SocketAddr;

use crate::attribute::AttributeType;
use crate::integrity::{self, IntegrityKey};
use crate::long_term::PasswordAlgorithm;
use crate::message::{Class, Method, TransactionId};
use crate::{HEADER_LEN, MAGIC_COOKIE, xor_addr};

/// The buffer given to a [`Builder`] couldn't hold the message.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
#[error("the buffer is too small for the STUN message")]
pub struct BufferTooSmall;

/// Writes one message. Attributes appear in the order of the calls; [`integrity`](Self::integrity) and then
/// [`fingerprint`](Self::fingerprint) come last. Running out of room is reported once, by
/// [`finish`](Self::finish).
#[derive(Debug)]
pub struct Builder<'b> {
    out: &'b mut [u8],
    id: TransactionId,
    len: usize,
    overflow: bool,
}

impl<'b> Builder<'b> {
    /// Starts a message at the front of `out`. The header takes 20 bytes.
    pub fn new(out: &'b mut [u8], class: Class, method: Method, id: TransactionId) -> Self {
        let mut builder = Self { out, id, len: 0, overflow: false };
        let class = match class {
            Class::Request => 0x0000,
            Class::Indication => 0x0010,
            Class::SuccessResponse => 0x0100,
            Class::ErrorResponse => 0x0110,
        };
        let m = method.0;
        let message_type = class | m & 0x000F | (m & 0x0070) << 1 | (m & 0x0F80) << 2;
        builder.put(&message_type.to_be_bytes());
        builder.put(&[0, 0]);
        builder.put(&MAGIC_COOKIE.to_be_bytes());
        builder.put(&id.0);
        builder
    }

    fn put(&mut self, bytes: &[u8]) {
        match self.out.get_mut(self.len..).and_then(|rest| rest.get_mut(..bytes.len())) {
            Some(room) if !self.overflow => {
                room.copy_from_slice(bytes);
                self.len += bytes.len();
            }
            _ => self.overflow = true,
        }
    }

    fn written(&self) -> &[u8] {
        self.out.get(..self.len).unwrap_or_default()
    }

    /// Appends any attribute: type, length, value, zero padding (RFC 8489 §14).
    pub fn attribute(&mut self, typ: AttributeType, value: &[u8]) -> &mut Self {
        let Ok(len) = u16::try_from(value.len()) else {
            self.overflow = true;
            return self;
        };
        self.put(&typ.0.to_be_bytes());
        self.put(&len.to_be_bytes());
        self.put(value);
        let padding = value.len().next_multiple_of(4) - value.len();
        self.put([0; 3].get(..padding).unwrap_or_default());
        self
    }

    /// USERNAME (RFC 8489 §14.3).
    pub fn username(&mut self, name: &str) -> &mut Self {
        self.attribute(AttributeType::USERNAME, name.as_bytes())
    }

    /// USERNAME of a connectivity check, `first:second`, without joining the two first (RFC 8445 §7.2.2).
    pub fn username_pair(&mut self, first: &str, second: &str) -> &mut Self {
        let total = first.len() + 1 + second.len();
        let Ok(len) = u16::try_from(total) else {
            self.overflow = true;
            return self;
        };
        self.put(&AttributeType::USERNAME.0.to_be_bytes());
        self.put(&len.to_be_bytes());
        self.put(first.as_bytes());
        self.put(b":");
        self.put(second.as_bytes());
        self.put([0; 3].get(..total.next_multiple_of(4) - total).unwrap_or_default());
        self
    }

    /// USERHASH (RFC 8489 §14.4), see [`userhash`](crate::userhash).
    pub fn userhash(&mut self, hash: &[u8; 32]) -> &mut Self {
        self.attribute(AttributeType::USERHASH, hash)
    }

    /// REALM (RFC 8489 §14.9).
    pub fn realm(&mut self, realm: &str) -> &mut Self {
        self.attribute(AttributeType::REALM, realm.as_bytes())
    }

    /// NONCE (RFC 8489 §14.10).
    pub fn nonce(&mut self, nonce: &str) -> &mut Self {
        self.attribute(AttributeType::NONCE, nonce.as_bytes())
    }

    /// SOFTWARE (RFC 8489 §14.14).
    pub fn software(&mut self, software: &str) -> &mut Self {
        self.attribute(AttributeType::SOFTWARE, software.as_bytes())
    }

    /// PASSWORD-ALGORITHM without parameters, which is what both known ones have (RFC 8489 §14.12).
    pub fn password_algorithm(&mut self, algorithm: PasswordAlgorithm) -> &mut Self {
        let [high, low] = algorithm.0.to_be_bytes();
        self.attribute(AttributeType::PASSWORD_ALGORITHM, &[high, low, 0, 0])
    }

    /// PRIORITY (RFC 8445 §7.1.1).
    pub fn priority(&mut self, priority: u32) -> &mut Self {
        self.attribute(AttributeType::PRIORITY, &priority.to_be_bytes())
    }

    /// USE-CANDIDATE (RFC 8445 §7.1.2).
    pub fn use_candidate(&mut self) -> &mut Self {
        self.attribute(AttributeType::USE_CANDIDATE, &[])
    }

    /// NOMINATION (draft-thatcher-ice-renomination): the number of a nomination.
    pub fn nomination(&mut self, number: u32) -> &mut Self {
        self.attribute(AttributeType::NOMINATION, &number.to_be_bytes())
    }

    /// ICE-CONTROLLING (RFC 8445 §7.1.3).
    pub fn ice_controlling(&mut self, tie_breaker: u64) -> &mut Self {
        self.attribute(AttributeType::ICE_CONTROLLING, &tie_breaker.to_be_bytes())
    }

    /// ICE-CONTROLLED (RFC 8445 §7.1.3).
    pub fn ice_controlled(&mut self, tie_breaker: u64) -> &mut Self {
        self.attribute(AttributeType::ICE_CONTROLLED, &tie_breaker.to_be_bytes())
    }

    /// XOR-MAPPED-ADDRESS (RFC 8489 §14.2).
    pub fn xor_mapped_address(&mut self, addr: SocketAddr) -> &mut Self {
        self.xor_address(AttributeType::XOR_MAPPED_ADDRESS, addr)
    }

    /// Any attribute of the form of XOR-MAPPED-ADDRESS, as TURN has them (RFC 8656 §18.3 and §18.5).
    pub fn xor_address(&mut self, typ: AttributeType, addr: SocketAddr) -> &mut Self {
        let (value, len) = xor_addr::write_xor(addr, self.id);
        self.attribute(typ, value.get(..len).unwrap_or_default())
    }

    /// ALTERNATE-SERVER (RFC 8489 §14.15).
    pub fn alternate_server(&mut self, addr: SocketAddr) -> &mut Self {
        let (value, len) = xor_addr::write_plain(addr);
        self.attribute(AttributeType::ALTERNATE_SERVER, value.get(..len).unwrap_or_default())
    }

    /// ERROR-CODE with an empty phrase (RFC 8489 §14.8); `code` is 300 to 699.
    pub fn error_code(&mut self, code: u16) -> &mut Self {
        let [_, class] = ((code / 100) & 7).to_be_bytes();
        let [_, number] = (code % 100).to_be_bytes();
        self.attribute(AttributeType::ERROR_CODE, &[0, 0, class, number])
    }

    /// UNKNOWN-ATTRIBUTES (RFC 8489 §14.13): the first 16 of `types`.
    pub fn unknown_attributes(&mut self, types: &[AttributeType]) -> &mut Self {
        let mut value = [0; 32];
        let mut len = 0;
        for (to, typ) in value.chunks_exact_mut(2).zip(types) {
            to.copy_from_slice(&typ.0.to_be_bytes());
            len += 2;
        }
        self.attribute(AttributeType::UNKNOWN_ATTRIBUTES, value.get(..len).unwrap_or_default())
    }

    /// MESSAGE-INTEGRITY over all so far (RFC 8489 §14.5).
    pub fn integrity(&mut self, key: &IntegrityKey) -> &mut Self {
        let tag = key.sha1(self.written());
        self.attribute(AttributeType::MESSAGE_INTEGRITY, tag.as_ref())
    }

    /// MESSAGE-INTEGRITY-SHA256 over all so far, 32 bytes (RFC 8489 §14.6).
    pub fn integrity_sha256(&mut self, key: &IntegrityKey) -> &mut Self {
        let tag = key.sha256(self.written(), integrity::SHA256_LEN);
        self.attribute(AttributeType::MESSAGE_INTEGRITY_SHA256, tag.as_ref())
    }

    /// FINGERPRINT over all so far (RFC 8489 §14.7). Must be the last call.
    pub fn fingerprint(&mut self) -> &mut Self {
        let crc = integrity::fingerprint(self.written());
        self.attribute(AttributeType::FINGERPRINT, &crc.to_be_bytes())
    }

    /// Fills in the length field and returns the message's length in bytes.
    ///
    /// # Errors
    /// [`BufferTooSmall`] when the message, or one of its attributes, didn't fit.
    pub fn finish(self) -> Result<usize, BufferTooSmall> {
        let length = self.len.checked_sub(HEADER_LEN).and_then(|len| u16::try_from(len).ok());
        match (length, self.out.get_mut(2..4)) {
            (Some(length), Some(field)) if !self.overflow => {
                field.copy_from_slice(&length.to_be_bytes());
                Ok(self.len)
            }
            _ => Err(BufferTooSmall),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Message;
    use proptest::prelude::*;

    #[test]
    fn a_buffer_of_any_size_holds_the_message_or_says_so() {
        let key = IntegrityKey::short_term("p");
        let mut whole = None;
        for size in 0..160 {
            let mut out = vec![0; size];
            let mut b = Builder::new(&mut out, Class::Request, Method::BINDING, TransactionId([3; 12]));
            b.username_pair("abcd", "efghi").priority(7).use_candidate().ice_controlling(1);
            b.integrity(&key).fingerprint();
            match b.finish() {
                Ok(len) => {
                    assert_eq!(*whole.get_or_insert(size), len, "the first size that fits is the length")
                }
                Err(BufferTooSmall) => assert!(whole.is_none()),
            }
        }
        assert_eq!(whole, Some(20 + 16 + 8 + 4 + 12 + 24 + 8));
    }

    #[test]
    fn errors_carry_their_number_and_the_unknown_types() {
        let mut out = [0; 100];
        let types: Vec<_> = (0..20).map(AttributeType).collect();
        let mut b = Builder::new(&mut out, Class::ErrorResponse, Method::BINDING, TransactionId([3; 12]));
        b.error_code(420).unknown_attributes(&types);
        let len = b.finish().unwrap();
        let message = Message::parse(&out[..len]).unwrap();
        assert_eq!(message.error_code(), Some(420));
        assert_eq!(message.unknown_attributes().collect::<Vec<_>>(), types[..16]);
    }

    proptest! {
        #[test]
        fn what_is_built_reads_back_the_same(
            id in any::<[u8; 12]>(), user in "[ -~]{0,40}", peer in "[!-~]{0,40}", priority in any::<u32>(),
            tie in any::<u64>(), controlling in any::<bool>(), nominate in any::<bool>(),
            addr in any::<SocketAddr>(), extra in proptest::collection::vec(any::<u8>(), 0..30),
        ) {
            let key = IntegrityKey::short_term("0123456789012345678901");
            let addr = SocketAddr::new(addr.ip().to_canonical(), addr.port());
            let mut out = [0; 512];
            let mut b = Builder::new(&mut out, Class::Request, Method::BINDING, TransactionId(id));
            b.username_pair(&user, &peer).priority(priority).xor_mapped_address(addr);
            b.attribute(AttributeType(0xC0FF), &extra);
            if controlling { b.ice_controlling(tie) } else { b.ice_controlled(tie) };
            if nominate { b.use_candidate(); }
            b.integrity(&key).fingerprint();
            let len = b.finish().unwrap();
            let m = Message::parse(&out[..len]).unwrap();
            prop_assert_eq!(m.transaction_id(), TransactionId(id));
            let name = format!("{user}:{peer}");
            prop_assert_eq!(m.username(), Some(name.as_str()));
            prop_assert_eq!(m.priority(), Some(priority));
            prop_assert_eq!(m.ice_controlling(), controlling.then_some(tie));
            prop_assert_eq!(m.ice_controlled(), (!controlling).then_some(tie));
            prop_assert_eq!(m.use_candidate(), nominate);
            prop_assert_eq!(m.xor_mapped_address(), Some(addr));
            prop_assert_eq!(m.attribute(AttributeType(0xC0FF)), Some(extra.as_slice()));
            prop_assert!(m.verify_integrity(&key).is_valid() && m.verify_fingerprint().is_valid());
        }
    }
}
