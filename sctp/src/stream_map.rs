//! Per-stream state for up to 65,535 streams, made on use only.
//!
//! A lookup is two array reads: a page of 64 ids gives the slot, the slot gives the state. A page (128
//! bytes) exists once one of its ids is used, and 8 bytes for each one before it, so an association with a few
//! channels costs a few hundred bytes, whatever was negotiated.

use crate::types::StreamId;

const NO_SLOT: u16 = u16::MAX;

const PAGE: usize = 64;

type Page = Box<[u16; PAGE]>;

/// The page of an id, and where it is there.
fn place(id: StreamId) -> (usize, usize) {
    let id = usize::from(id.0);
    (id / PAGE, id % PAGE)
}

/// A map from stream ids to `T`.
#[derive(Debug)]
pub(crate) struct StreamMap<T> {
    pages: Vec<Option<Page>>,
    slots: Vec<Option<T>>,
    free: Vec<u16>,
}

impl<T> StreamMap<T> {
    pub(crate) fn new() -> Self {
        Self { pages: Vec::new(), slots: Vec::new(), free: Vec::new() }
    }

    /// The slot of a stream, good until it is removed.
    pub(crate) fn slot(&self, id: StreamId) -> Option<u16> {
        let (page, index) = place(id);
        let slot = *self.pages.get(page)?.as_ref()?.get(index)?;
        (slot != NO_SLOT).then_some(slot)
    }

    pub(crate) fn get(&self, id: StreamId) -> Option<&T> {
        self.slots.get(usize::from(self.slot(id)?))?.as_ref()
    }

    pub(crate) fn get_mut(&mut self, id: StreamId) -> Option<&mut T> {
        let slot = self.slot(id)?;
        self.at_mut(slot)
    }

    pub(crate) fn at(&self, slot: u16) -> Option<&T> {
        self.slots.get(usize::from(slot))?.as_ref()
    }

    pub(crate) fn at_mut(&mut self, slot: u16) -> Option<&mut T> {
        self.slots.get_mut(usize::from(slot))?.as_mut()
    }

    /// The slot of a stream, made with `make` if there is none; `None` when all 65,535 slots are taken.
    pub(crate) fn slot_or_insert_with(&mut self, id: StreamId, make: impl FnOnce() -> T) -> Option<u16> {
        if let Some(slot) = self.slot(id) {
            return Some(slot);
        }
        let slot = match self.free.pop() {
            Some(slot) => slot,
            None => {
                let slot = u16::try_from(self.slots.len()).ok().filter(|&slot| slot != NO_SLOT)?;
                if self.slots.is_empty() {
                    // Many associations have one stream; a vector would begin with four.
                    self.slots.reserve_exact(1);
                }
                self.slots.push(None);
                slot
            }
        };
        *self.slots.get_mut(usize::from(slot))? = Some(make());
        let (page, index) = place(id);
        if self.pages.len() <= page {
            self.pages.resize_with(page + 1, || None);
        }
        let page = self.pages.get_mut(page)?.get_or_insert_with(|| Box::new([NO_SLOT; PAGE]));
        *page.get_mut(index)? = slot;
        Some(slot)
    }

    pub(crate) fn get_or_insert_with(&mut self, id: StreamId, make: impl FnOnce() -> T) -> Option<&mut T> {
        let slot = self.slot_or_insert_with(id, make)?;
        self.at_mut(slot)
    }

    pub(crate) fn remove(&mut self, id: StreamId) -> Option<T> {
        let slot = self.slot(id)?;
        let (page, index) = place(id);
        *self.pages.get_mut(page)?.as_mut()?.get_mut(index)? = NO_SLOT;
        self.free.push(slot);
        self.slots.get_mut(usize::from(slot))?.take()
    }

    /// Pages, and streams with state.
    #[cfg(test)]
    pub(crate) fn memory_for_tests(&self) -> (usize, usize) {
        (self.pages.iter().flatten().count(), self.iter().count())
    }

    /// All of them, in no particular order.
    pub(crate) fn iter(&self) -> impl Iterator<Item = &T> {
        self.slots.iter().flatten()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_id_can_be_used_and_forgotten() {
        let mut map = StreamMap::new();
        for id in 0..u16::MAX {
            assert_eq!(map.slot_or_insert_with(StreamId(id), || id), Some(id));
        }
        assert_eq!(map.slot_or_insert_with(StreamId(u16::MAX), || 0), None);
        for id in 0..u16::MAX {
            assert_eq!(map.remove(StreamId(id)), Some(id));
            assert_eq!(map.get(StreamId(id)), None);
        }
        assert_eq!(map.iter().count(), 0);
    }

    #[test]
    fn a_slot_is_used_again_by_another_stream() {
        let mut map = StreamMap::new();
        let first = map.slot_or_insert_with(StreamId(7), || 'a');
        map.remove(StreamId(7));
        assert_eq!(map.slot_or_insert_with(StreamId(9), || 'b'), first);
        assert_eq!(map.get(StreamId(7)), None);
        assert_eq!(map.get(StreamId(9)), Some(&'b'));
    }
}
