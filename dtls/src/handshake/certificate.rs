//! Certificate (RFC 5246 §7.4.2): a chain in DER, the owner's own first. An empty chain is a client's way to say
//! that it has none (§7.4.6).

use crate::types::HandshakeType;
use crate::wire::{Reader, put_vec24};

/// The message's type.
pub(crate) const TYPE: HandshakeType = HandshakeType::CERTIFICATE;

/// The chain. Only its first certificate matters to us: trust is a fingerprint.
pub(crate) fn parse(body: &[u8]) -> Option<Vec<&[u8]>> {
    let mut reader = Reader::new(body);
    let mut list = Reader::new(reader.vec24()?);
    reader.finish()?;
    let mut chain = Vec::new();
    while !list.is_empty() {
        chain.push(list.vec24().filter(|der| !der.is_empty())?);
    }
    Some(chain)
}

pub(crate) fn to_bytes(chain: &[impl AsRef<[u8]>]) -> Vec<u8> {
    let mut list = Vec::new();
    for der in chain {
        put_vec24(&mut list, der.as_ref());
    }
    let mut out = Vec::with_capacity(3 + list.len());
    put_vec24(&mut out, &list);
    out
}
