//! ServerHello (RFC 5246 §7.4.1.3).

use super::extensions::Extensions;
use crate::types::{CipherSuite, HandshakeType, ProtocolVersion};
use crate::wire::{Reader, put_vec8};

/// The message's type.
pub(crate) const TYPE: HandshakeType = HandshakeType::SERVER_HELLO;

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct ServerHello<'a> {
    pub(crate) server_version: ProtocolVersion,
    pub(crate) random: [u8; 32],
    pub(crate) session_id: &'a [u8],
    pub(crate) cipher_suite: CipherSuite,
    pub(crate) compression_method: u8,
    pub(crate) extensions: Extensions<'a>,
}

impl<'a> ServerHello<'a> {
    pub(crate) fn parse(body: &'a [u8]) -> Option<Self> {
        let mut reader = Reader::new(body);
        Some(Self {
            server_version: ProtocolVersion(reader.u16()?),
            random: reader.array()?,
            session_id: reader.vec8().filter(|id| id.len() <= 32)?,
            cipher_suite: CipherSuite(reader.u16()?),
            compression_method: reader.u8()?,
            extensions: Extensions::parse(reader)?,
        })
    }

    pub(crate) fn to_bytes(&self) -> Vec<u8> {
        let mut out = Vec::with_capacity(96);
        out.extend_from_slice(&self.server_version.0.to_be_bytes());
        out.extend_from_slice(&self.random);
        put_vec8(&mut out, self.session_id);
        out.extend_from_slice(&self.cipher_suite.0.to_be_bytes());
        out.push(self.compression_method);
        self.extensions.write(&mut out);
        out
    }
}
