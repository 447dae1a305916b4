//! The body of notify-tree-info: who is linked to whom.
//!
//! ```text
//!  0-3    own node id          (each a 32-bit little-endian number)
//!  4-7    number of upstreams
//!  8-11   number of downstreams
//!  12-    ids of the upstreams, then of the downstreams
//! ```

use bytes::{Buf, BufMut, Bytes, BytesMut};

use super::{NodeId, ParseError};

/// Most upstreams, and most downstreams, that are read or written.
pub const MAX_LINKS: usize = 64;

/// A node and its neighbours.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct TreeInfo {
    /// Who says so.
    pub id: NodeId,
    /// Its parents.
    pub upstreams: Vec<NodeId>,
    /// Its children.
    pub downstreams: Vec<NodeId>,
}

impl TreeInfo {
    /// Reads the body.
    ///
    /// # Errors
    ///
    /// [`ParseError::Truncated`], [`ParseError::TooLong`] above [`MAX_LINKS`] a side, [`ParseError::Length`].
    pub fn parse(mut body: &[u8]) -> Result<Self, ParseError> {
        if body.len() < 12 {
            return Err(ParseError::Truncated);
        }
        let id = NodeId(body.get_u32_le());
        let (ups, downs) = (body.get_u32_le() as usize, body.get_u32_le() as usize);
        if ups > MAX_LINKS || downs > MAX_LINKS {
            return Err(ParseError::TooLong);
        }
        if body.len() != (ups + downs) * 4 {
            return Err(ParseError::Length);
        }
        let mut ids = body.chunks_exact(4).map(|mut id| NodeId(id.get_u32_le()));
        Ok(Self { id, upstreams: ids.by_ref().take(ups).collect(), downstreams: ids.collect() })
    }

    /// Writes the body. Links above [`MAX_LINKS`] a side are left out.
    pub fn write(&self) -> Bytes {
        let ups = &self.upstreams[..self.upstreams.len().min(MAX_LINKS)];
        let downs = &self.downstreams[..self.downstreams.len().min(MAX_LINKS)];
        let mut body = BytesMut::with_capacity(12 + (ups.len() + downs.len()) * 4);
        body.put_u32_le(self.id.0);
        body.put_u32_le(ups.len() as u32);
        body.put_u32_le(downs.len() as u32);
        ups.iter().chain(downs).for_each(|id| body.put_u32_le(id.0));
        body.freeze()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn counts_that_lie_are_refused() {
        let info = TreeInfo { id: NodeId(7), upstreams: vec![NodeId(1)], downstreams: vec![NodeId(2)] };
        let body = info.write();
        assert_eq!(body[..], [7, 0, 0, 0, 1, 0, 0, 0, 1, 0, 0, 0, 1, 0, 0, 0, 2, 0, 0, 0]);
        assert_eq!(TreeInfo::parse(&body[..11]), Err(ParseError::Truncated));
        assert_eq!(TreeInfo::parse(&body[..19]), Err(ParseError::Length));
        let mut huge = body.to_vec();
        huge[4..8].fill(0xff);
        assert_eq!(TreeInfo::parse(&huge), Err(ParseError::TooLong));
    }

    proptest! {
        #[test]
        fn what_is_written_is_read_again(
            id: u32,
            ups in prop::collection::vec(any::<u32>(), 0..MAX_LINKS),
            downs in prop::collection::vec(any::<u32>(), 0..MAX_LINKS),
        ) {
            let ids = |ids: Vec<u32>| ids.into_iter().map(NodeId).collect();
            let info = TreeInfo { id: NodeId(id), upstreams: ids(ups), downstreams: ids(downs) };
            prop_assert_eq!(TreeInfo::parse(&info.write()).unwrap(), info);
        }
    }
}
