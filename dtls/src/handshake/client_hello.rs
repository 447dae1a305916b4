//! ClientHello (RFC 6347 §4.2.1).

use super::extensions::Extensions;
use crate::types::{CipherSuite, HandshakeType, ProtocolVersion};
use crate::wire::{Reader, put_vec8, put_vec16, u16_list};

/// The message's type.
pub(crate) const TYPE: HandshakeType = HandshakeType::CLIENT_HELLO;

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct ClientHello<'a> {
    pub(crate) client_version: ProtocolVersion,
    pub(crate) random: [u8; 32],
    pub(crate) session_id: &'a [u8],
    pub(crate) cookie: &'a [u8],
    pub(crate) cipher_suites: Vec<CipherSuite>,
    pub(crate) compression_methods: &'a [u8],
    pub(crate) extensions: Extensions<'a>,
}

impl<'a> ClientHello<'a> {
    pub(crate) fn parse(body: &'a [u8]) -> Option<Self> {
        let mut reader = Reader::new(body);
        let client_version = ProtocolVersion(reader.u16()?);
        let random = reader.array()?;
        let session_id = reader.vec8().filter(|id| id.len() <= 32)?;
        let cookie = reader.vec8()?;
        let cipher_suites = u16_list(reader.vec16()?)?.into_iter().map(CipherSuite).collect();
        let compression_methods = reader.vec8().filter(|methods| !methods.is_empty())?;
        let extensions = Extensions::parse(reader)?;
        Some(Self {
            client_version,
            random,
            session_id,
            cookie,
            cipher_suites,
            compression_methods,
            extensions,
        })
    }

    pub(crate) fn to_bytes(&self) -> Vec<u8> {
        let mut out = Vec::with_capacity(256);
        out.extend_from_slice(&self.client_version.0.to_be_bytes());
        out.extend_from_slice(&self.random);
        put_vec8(&mut out, self.session_id);
        put_vec8(&mut out, self.cookie);
        let suites: Vec<u8> = self.cipher_suites.iter().flat_map(|suite| suite.0.to_be_bytes()).collect();
        put_vec16(&mut out, &suites);
        put_vec8(&mut out, self.compression_methods);
        self.extensions.write(&mut out);
        out
    }
}
