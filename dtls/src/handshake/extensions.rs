//! Hello extensions (RFC 5246 §7.4.1.4): a list of types with opaque bodies.

use crate::types::ExtensionType;
use crate::wire::{Reader, put_vec16};
use std::borrow::Cow;

/// More extensions than this are a decode error; browsers send about fifteen.
const MAX_EXTENSIONS: usize = 128;

/// The extensions of a hello, in their order.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Extensions<'a>(Vec<(ExtensionType, Cow<'a, [u8]>)>);

impl<'a> Extensions<'a> {
    /// The rest of a hello: nothing at all, or one vector. A type may come once (RFC 5246 §7.4.1.4).
    pub(crate) fn parse(mut reader: Reader<'a>) -> Option<Self> {
        let mut list = Vec::new();
        if reader.is_empty() {
            return Some(Self(list));
        }
        let mut body = Reader::new(reader.vec16()?);
        reader.finish()?;
        while !body.is_empty() {
            let kind = ExtensionType(body.u16()?);
            let data = body.vec16()?;
            if list.len() == MAX_EXTENSIONS || list.iter().any(|(known, _)| *known == kind) {
                return None;
            }
            list.push((kind, Cow::Borrowed(data)));
        }
        Some(Self(list))
    }

    pub(crate) fn push(&mut self, kind: ExtensionType, data: impl Into<Cow<'a, [u8]>>) {
        self.0.push((kind, data.into()));
    }

    pub(crate) fn get(&self, kind: ExtensionType) -> Option<&[u8]> {
        self.0.iter().find(|(known, _)| *known == kind).map(|(_, data)| &data[..])
    }

    pub(crate) fn kinds(&self) -> impl Iterator<Item = ExtensionType> {
        self.0.iter().map(|(kind, _)| *kind)
    }

    pub(crate) fn write(&self, out: &mut Vec<u8>) {
        let mut body = Vec::new();
        for (kind, data) in &self.0 {
            body.extend_from_slice(&kind.0.to_be_bytes());
            put_vec16(&mut body, data);
        }
        put_vec16(out, &body);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_extension_may_come_once() {
        let once = [0, 4, 0, 23, 0, 0];
        assert!(Extensions::parse(Reader::new(&once)).is_some());
        let twice = [0, 8, 0, 23, 0, 0, 0, 23, 0, 0];
        assert_eq!(Extensions::parse(Reader::new(&twice)), None);
    }

    #[test]
    fn no_vector_at_all_is_an_empty_list_and_trailing_bytes_are_not() {
        assert_eq!(Extensions::parse(Reader::new(&[])), Some(Extensions::default()));
        assert_eq!(Extensions::parse(Reader::new(&[0, 0, 0])), None);
    }
}
