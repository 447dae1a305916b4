//! The body of the extension `application_layer_protocol_negotiation` (RFC 7301 §3.1): names, the client's best first.

use crate::wire::{Reader, put_vec8, put_vec16};

/// The names. There must be one, and none may be empty.
pub(crate) fn parse(body: &[u8]) -> Option<Vec<&[u8]>> {
    let mut reader = Reader::new(body);
    let mut list = Reader::new(reader.vec16().filter(|list| !list.is_empty())?);
    reader.finish()?;
    let mut names = Vec::new();
    while !list.is_empty() {
        names.push(list.vec8().filter(|name| !name.is_empty())?);
    }
    Some(names)
}

pub(crate) fn to_bytes(names: &[Vec<u8>]) -> Vec<u8> {
    let mut list = Vec::new();
    for name in names {
        put_vec8(&mut list, name);
    }
    let mut out = Vec::with_capacity(2 + list.len());
    put_vec16(&mut out, &list);
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_read_back_and_empty_ones_are_refused() {
        let names = [b"webrtc".to_vec(), b"c-webrtc".to_vec()];
        let body = to_bytes(&names);
        assert_eq!(parse(&body), Some(names.iter().map(Vec::as_slice).collect()));
        for cut in 0..body.len() {
            assert_eq!(parse(&body[..cut]), None);
        }
        assert_eq!(parse(&[0, 0]), None);
        assert_eq!(parse(&[0, 1, 0]), None);
        assert_eq!(parse(&[0, 2, 1, b'x', 0]), None);
    }
}
