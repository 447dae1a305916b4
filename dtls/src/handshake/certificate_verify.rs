//! CertificateVerify (RFC 5246 §7.4.8): a signature over the handshake so far.

use crate::types::{HandshakeType, SignatureScheme};
use crate::wire::{Reader, put_vec16};

/// The message's type.
pub(crate) const TYPE: HandshakeType = HandshakeType::CERTIFICATE_VERIFY;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct CertificateVerify<'a> {
    pub(crate) scheme: SignatureScheme,
    pub(crate) signature: &'a [u8],
}

impl<'a> CertificateVerify<'a> {
    pub(crate) fn parse(body: &'a [u8]) -> Option<Self> {
        let mut reader = Reader::new(body);
        let scheme = SignatureScheme(reader.u16()?);
        let signature = reader.vec16()?;
        reader.finish()?;
        Some(Self { scheme, signature })
    }

    pub(crate) fn to_bytes(self) -> Vec<u8> {
        let mut out = self.scheme.0.to_be_bytes().to_vec();
        put_vec16(&mut out, self.signature);
        out
    }
}
