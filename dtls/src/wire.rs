//! A cursor over received bytes and helpers to write length-prefixed vectors (RFC 5246 §4).

/// Reads forward; every method gives `None` when the bytes run out, and nothing is consumed then.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Reader<'a>(&'a [u8]);

impl<'a> Reader<'a> {
    pub(crate) const fn new(bytes: &'a [u8]) -> Self {
        Self(bytes)
    }

    pub(crate) const fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub(crate) fn take(&mut self, len: usize) -> Option<&'a [u8]> {
        let (head, tail) = self.0.split_at_checked(len)?;
        self.0 = tail;
        Some(head)
    }

    pub(crate) fn array<const N: usize>(&mut self) -> Option<[u8; N]> {
        let (head, tail) = self.0.split_first_chunk::<N>()?;
        self.0 = tail;
        Some(*head)
    }

    pub(crate) fn u8(&mut self) -> Option<u8> {
        self.array::<1>().map(|[byte]| byte)
    }

    pub(crate) fn u16(&mut self) -> Option<u16> {
        self.array().map(u16::from_be_bytes)
    }

    pub(crate) fn u24(&mut self) -> Option<usize> {
        self.array().map(|[a, b, c]| usize::from(a) << 16 | usize::from(b) << 8 | usize::from(c))
    }

    /// A vector behind its 8-bit length.
    pub(crate) fn vec8(&mut self) -> Option<&'a [u8]> {
        let mut ahead = *self;
        let len = ahead.u8()?;
        let body = ahead.take(len.into())?;
        *self = ahead;
        Some(body)
    }

    /// A vector behind its 16-bit length.
    pub(crate) fn vec16(&mut self) -> Option<&'a [u8]> {
        let mut ahead = *self;
        let len = ahead.u16()?;
        let body = ahead.take(len.into())?;
        *self = ahead;
        Some(body)
    }

    /// A vector behind its 24-bit length.
    pub(crate) fn vec24(&mut self) -> Option<&'a [u8]> {
        let mut ahead = *self;
        let len = ahead.u24()?;
        let body = ahead.take(len)?;
        *self = ahead;
        Some(body)
    }

    /// `Some` only at the end: nothing may trail a structure.
    pub(crate) fn finish(self) -> Option<()> {
        self.is_empty().then_some(())
    }
}

/// All 16-bit values of a vector; `None` for an odd length.
pub(crate) fn u16_list(bytes: &[u8]) -> Option<Vec<u16>> {
    let mut reader = Reader::new(bytes);
    let mut list = Vec::with_capacity(bytes.len() / 2);
    while !reader.is_empty() {
        list.push(reader.u16()?);
    }
    Some(list)
}

/// The body of an extension that is one list of 16-bit values behind its 16-bit length.
pub(crate) fn u16_list_in_vec16(body: &[u8]) -> Option<Vec<u16>> {
    let mut reader = Reader::new(body);
    let list = reader.vec16()?;
    reader.finish()?;
    u16_list(list)
}

/// Such a body.
pub(crate) fn vec16_of_u16(values: impl Iterator<Item = u16>) -> Vec<u8> {
    let list: Vec<u8> = values.flat_map(u16::to_be_bytes).collect();
    let mut out = Vec::with_capacity(2 + list.len());
    put_vec16(&mut out, &list);
    out
}

/// The low 24 bits of a length.
pub(crate) const fn u24(value: usize) -> [u8; 3] {
    [(value >> 16) as u8, (value >> 8) as u8, value as u8]
}

/// Writes `body` behind its 8-bit length. What we write is far below the limit; more would be cut.
pub(crate) fn put_vec8(out: &mut Vec<u8>, body: &[u8]) {
    let body = body.get(..255).unwrap_or(body);
    out.push(body.len() as u8);
    out.extend_from_slice(body);
}

/// Writes `body` behind its 16-bit length. What we write is far below the limit; more would be cut.
pub(crate) fn put_vec16(out: &mut Vec<u8>, body: &[u8]) {
    let body = body.get(..0xffff).unwrap_or(body);
    out.extend_from_slice(&(body.len() as u16).to_be_bytes());
    out.extend_from_slice(body);
}

/// Writes `body` behind its 24-bit length. What we write is far below the limit; more would be cut.
pub(crate) fn put_vec24(out: &mut Vec<u8>, body: &[u8]) {
    let body = body.get(..0xff_ffff).unwrap_or(body);
    out.extend_from_slice(&u24(body.len()));
    out.extend_from_slice(body);
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn vectors_read_back(a in proptest::collection::vec(any::<u8>(), 0..256), b in proptest::collection::vec(any::<u8>(), 0..999)) {
            let mut out = Vec::new();
            put_vec8(&mut out, &a);
            put_vec16(&mut out, &b);
            put_vec24(&mut out, &b);
            let mut reader = Reader::new(&out);
            prop_assert_eq!(reader.vec8(), Some(&a[..]));
            prop_assert_eq!(reader.vec16(), Some(&b[..]));
            prop_assert_eq!(reader.vec24(), Some(&b[..]));
            prop_assert_eq!(reader.finish(), Some(()));
        }
    }

    #[test]
    fn a_length_beyond_the_end_consumes_nothing() {
        let mut reader = Reader::new(&[0, 3, 1, 2]);
        assert_eq!(reader.vec16(), None);
        assert_eq!(reader.u16(), Some(3));
        assert_eq!(reader.finish(), None);
    }
}
