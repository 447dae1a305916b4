//! HelloVerifyRequest (RFC 6347 §4.2.1). Its version says nothing: servers of DTLS 1.2 put 1.0 there.

use crate::types::{HandshakeType, ProtocolVersion};
use crate::wire::{Reader, put_vec8};

/// The message's type.
pub(crate) const TYPE: HandshakeType = HandshakeType::HELLO_VERIFY_REQUEST;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct HelloVerifyRequest<'a> {
    pub(crate) cookie: &'a [u8],
}

impl<'a> HelloVerifyRequest<'a> {
    pub(crate) fn parse(body: &'a [u8]) -> Option<Self> {
        let mut reader = Reader::new(body);
        let _server_version = reader.u16()?;
        let cookie = reader.vec8()?;
        reader.finish()?;
        Some(Self { cookie })
    }

    /// RFC 6347 §4.2.1: the version should be 1.0 whatever will be agreed.
    pub(crate) fn to_bytes(self) -> Vec<u8> {
        let mut out = ProtocolVersion::DTLS_1_0.0.to_be_bytes().to_vec();
        put_vec8(&mut out, self.cookie);
        out
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cookie_longer_than_the_message_is_refused() {
        let body = [0xfe, 0xff, 2, 7, 8];
        assert_eq!(HelloVerifyRequest::parse(&body), Some(HelloVerifyRequest { cookie: &[7, 8] }));
        assert_eq!(HelloVerifyRequest { cookie: &[7, 8] }.to_bytes(), body);
        for cut in 0..body.len() {
            assert_eq!(HelloVerifyRequest::parse(&body[..cut]), None);
        }
        assert_eq!(HelloVerifyRequest::parse(&[0xfe, 0xff, 1, 7, 8]), None);
    }
}
