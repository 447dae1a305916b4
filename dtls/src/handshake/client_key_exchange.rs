//! ClientKeyExchange for ECDHE (RFC 8422 §5.7): the client's ephemeral key.

use crate::types::HandshakeType;
use crate::wire::{Reader, put_vec8};

/// The message's type.
pub(crate) const TYPE: HandshakeType = HandshakeType::CLIENT_KEY_EXCHANGE;

/// The public value.
pub(crate) fn parse(body: &[u8]) -> Option<&[u8]> {
    let mut reader = Reader::new(body);
    let public_key = reader.vec8().filter(|key| !key.is_empty())?;
    reader.finish()?;
    Some(public_key)
}

pub(crate) fn to_bytes(public_key: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(1 + public_key.len());
    put_vec8(&mut out, public_key);
    out
}
