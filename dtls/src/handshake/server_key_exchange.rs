//! ServerKeyExchange for ECDHE (RFC 8422 §5.4): the server's ephemeral key and a signature over it.

use crate::types::{HandshakeType, NamedGroup, SignatureScheme};
use crate::wire::{Reader, put_vec8, put_vec16};

/// The message's type.
pub(crate) const TYPE: HandshakeType = HandshakeType::SERVER_KEY_EXCHANGE;

/// `ECCurveType.named_curve`; the others are gone (RFC 8422 §5.4).
const NAMED_CURVE: u8 = 3;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct ServerKeyExchange<'a> {
    pub(crate) group: NamedGroup,
    pub(crate) public_key: &'a [u8],
    /// The bytes of `ServerECDHParams`, which are signed.
    pub(crate) params: &'a [u8],
    pub(crate) scheme: SignatureScheme,
    pub(crate) signature: &'a [u8],
}

impl<'a> ServerKeyExchange<'a> {
    pub(crate) fn parse(body: &'a [u8]) -> Option<Self> {
        let mut reader = Reader::new(body);
        if reader.u8()? != NAMED_CURVE {
            return None;
        }
        let group = NamedGroup(reader.u16()?);
        let public_key = reader.vec8().filter(|key| !key.is_empty())?;
        let params = body.get(..4 + public_key.len())?;
        let scheme = SignatureScheme(reader.u16()?);
        let signature = reader.vec16()?;
        reader.finish()?;
        Some(Self { group, public_key, params, scheme, signature })
    }
}

/// `ServerECDHParams` on the wire.
pub(crate) fn params(group: NamedGroup, public_key: &[u8]) -> Vec<u8> {
    let [g0, g1] = group.0.to_be_bytes();
    let mut out = vec![NAMED_CURVE, g0, g1];
    put_vec8(&mut out, public_key);
    out
}

/// What is signed (RFC 8422 §5.4): both randoms and the parameters.
pub(crate) fn signed_content(client_random: &[u8; 32], server_random: &[u8; 32], params: &[u8]) -> Vec<u8> {
    [&client_random[..], &server_random[..], params].concat()
}

pub(crate) fn to_bytes(params: &[u8], scheme: SignatureScheme, signature: &[u8]) -> Vec<u8> {
    let mut out = params.to_vec();
    out.extend_from_slice(&scheme.0.to_be_bytes());
    put_vec16(&mut out, signature);
    out
}
