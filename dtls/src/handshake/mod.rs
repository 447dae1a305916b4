//! Handshake messages (RFC 6347 §4.2.2, RFC 5246 §7.4), one a file. Parsing borrows and never fails half-way:
//! `None` is a decode error. Nothing here knows a state or a version's rules.
//!
//! ```text
//!  msg_type(1) length(3) message_seq(2) fragment_offset(3) fragment_length(3) | fragment
//! ```

pub(crate) mod alpn;
pub(crate) mod certificate;
pub(crate) mod certificate_request;
pub(crate) mod certificate_verify;
pub(crate) mod client_hello;
pub(crate) mod client_key_exchange;
pub(crate) mod extensions;
pub(crate) mod hello_verify_request;
pub(crate) mod server_hello;
pub(crate) mod server_key_exchange;
pub(crate) mod use_srtp;

use crate::types::HandshakeType;
use crate::wire::{Reader, u24};

/// Bytes of a fragment's header.
pub(crate) const HEADER_LEN: usize = 12;

/// The header of a fragment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct FragmentHeader {
    pub(crate) msg_type: HandshakeType,
    /// Of the whole message.
    pub(crate) length: usize,
    pub(crate) message_seq: u16,
    pub(crate) fragment_offset: usize,
    pub(crate) fragment_length: usize,
}

impl FragmentHeader {
    /// The header and its fragment, which lies inside the message.
    pub(crate) fn parse<'a>(reader: &mut Reader<'a>) -> Option<(Self, &'a [u8])> {
        let header = Self {
            msg_type: HandshakeType(reader.u8()?),
            length: reader.u24()?,
            message_seq: reader.u16()?,
            fragment_offset: reader.u24()?,
            fragment_length: reader.u24()?,
        };
        let fragment = reader.take(header.fragment_length)?;
        (header.fragment_offset.checked_add(header.fragment_length)? <= header.length)
            .then_some((header, fragment))
    }

    pub(crate) fn to_bytes(self) -> [u8; HEADER_LEN] {
        let [l0, l1, l2] = u24(self.length);
        let [m0, m1] = self.message_seq.to_be_bytes();
        let [o0, o1, o2] = u24(self.fragment_offset);
        let [f0, f1, f2] = u24(self.fragment_length);
        [self.msg_type.0, l0, l1, l2, m0, m1, o0, o1, o2, f0, f1, f2]
    }

    /// Whether this is the last piece of its message.
    pub(crate) fn is_end(&self) -> bool {
        self.fragment_offset + self.fragment_length == self.length
    }
}

/// A whole message, as received or as sent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Message {
    pub(crate) msg_type: HandshakeType,
    pub(crate) message_seq: u16,
    /// The epoch of the records that it travels in.
    pub(crate) epoch: u16,
    pub(crate) body: Vec<u8>,
}

impl Message {
    /// The header that the message would have unfragmented, which is how it is hashed (RFC 6347 §4.2.6).
    pub(crate) fn whole_header(&self) -> FragmentHeader {
        FragmentHeader {
            msg_type: self.msg_type,
            length: self.body.len(),
            message_seq: self.message_seq,
            fragment_offset: 0,
            fragment_length: self.body.len(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::certificate_request::CertificateRequest;
    use super::certificate_verify::CertificateVerify;
    use super::client_hello::ClientHello;
    use super::extensions::Extensions;
    use super::hello_verify_request::HelloVerifyRequest;
    use super::server_hello::ServerHello;
    use super::server_key_exchange::ServerKeyExchange;
    use super::*;
    use crate::types::{CipherSuite, ExtensionType, NamedGroup, ProtocolVersion, SignatureScheme};
    use proptest::collection::vec;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn no_bytes_make_a_parser_panic(bytes in vec(any::<u8>(), 0..200)) {
            let _ = FragmentHeader::parse(&mut Reader::new(&bytes));
            let _ = ClientHello::parse(&bytes);
            let _ = ServerHello::parse(&bytes);
            let _ = HelloVerifyRequest::parse(&bytes);
            let _ = certificate::parse(&bytes);
            let _ = ServerKeyExchange::parse(&bytes);
            let _ = CertificateRequest::parse(&bytes);
            let _ = client_key_exchange::parse(&bytes);
            let _ = CertificateVerify::parse(&bytes);
        }

        #[test]
        fn a_client_hello_reads_back(
            random: [u8; 32], session_id in vec(any::<u8>(), 0..=32), cookie in vec(any::<u8>(), 0..256),
            suites in vec(any::<u16>(), 1..30), body in vec(any::<u8>(), 0..50),
        ) {
            let mut extensions = Extensions::default();
            extensions.push(ExtensionType::EXTENDED_MASTER_SECRET, &[]);
            extensions.push(ExtensionType(0x1a1a), &body);
            let hello = ClientHello {
                client_version: ProtocolVersion::DTLS_1_2, random, session_id: &session_id, cookie: &cookie,
                cipher_suites: suites.into_iter().map(CipherSuite).collect(), compression_methods: &[0], extensions,
            };
            let bytes = hello.to_bytes();
            prop_assert_eq!(ClientHello::parse(&bytes), Some(hello));
        }

        #[test]
        fn a_server_hello_reads_back(random: [u8; 32], session_id in vec(any::<u8>(), 0..=32), suite: u16, body in vec(any::<u8>(), 0..50)) {
            let mut extensions = Extensions::default();
            extensions.push(ExtensionType::RENEGOTIATION_INFO, &body);
            let hello = ServerHello {
                server_version: ProtocolVersion::DTLS_1_2, random, session_id: &session_id,
                cipher_suite: CipherSuite(suite), compression_method: 0, extensions,
            };
            let bytes = hello.to_bytes();
            prop_assert_eq!(ServerHello::parse(&bytes), Some(hello));
        }

        #[test]
        fn a_server_key_exchange_reads_back(group: u16, key in vec(any::<u8>(), 1..=255), signature in vec(any::<u8>(), 0..100)) {
            let params = server_key_exchange::params(NamedGroup(group), &key);
            let bytes = server_key_exchange::to_bytes(&params, SignatureScheme::ECDSA_SHA256, &signature);
            let parsed = ServerKeyExchange::parse(&bytes).unwrap();
            prop_assert_eq!(parsed.group, NamedGroup(group));
            prop_assert_eq!(parsed.public_key, &key[..]);
            prop_assert_eq!(parsed.params, &params[..]);
            prop_assert_eq!(parsed.signature, &signature[..]);
        }

        #[test]
        fn the_small_messages_read_back(bytes in vec(any::<u8>(), 1..=255), schemes in vec(any::<u16>(), 1..20)) {
            let written = certificate::to_bytes(&[&bytes[..], &[1]]);
            prop_assert_eq!(certificate::parse(&written), Some(vec![&bytes[..], &[1]]));
            let written = client_key_exchange::to_bytes(&bytes);
            prop_assert_eq!(client_key_exchange::parse(&written), Some(&bytes[..]));
            let verify = CertificateVerify { scheme: SignatureScheme::ECDSA_SHA256, signature: &bytes };
            let written = verify.to_bytes();
            prop_assert_eq!(CertificateVerify::parse(&written), Some(verify));
            let request = CertificateRequest {
                certificate_types: &bytes,
                schemes: schemes.into_iter().map(SignatureScheme).collect(),
            };
            let written = request.to_bytes();
            prop_assert_eq!(CertificateRequest::parse(&written), Some(request));
        }
    }

    #[test]
    fn a_fragment_beyond_its_message_is_refused() {
        let header = FragmentHeader {
            msg_type: HandshakeType::FINISHED,
            length: 4,
            message_seq: 1,
            fragment_offset: 3,
            fragment_length: 2,
        };
        let mut bytes = header.to_bytes().to_vec();
        bytes.extend([0, 0]);
        assert_eq!(FragmentHeader::parse(&mut Reader::new(&bytes)), None);
    }
}
