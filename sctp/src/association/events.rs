//! Events that wait for the owner. Those that can repeat are kept as sets, so their number is bounded by the
//! number of streams.

use std::collections::{BTreeSet, VecDeque};

use crate::event::{CloseReason, Event};
use crate::types::StreamId;

#[derive(Debug, Default)]
pub(crate) struct Events {
    /// `Connected` and `Restarted`.
    milestones: VecDeque<Event>,
    reset_by_peer: BTreeSet<StreamId>,
    reset_done: BTreeSet<StreamId>,
    reset_failed: BTreeSet<StreamId>,
    closed: Option<CloseReason>,
}

impl Events {
    /// `Connected` or `Restarted`; not said again while the same is waiting as the last.
    pub(crate) fn milestone(&mut self, event: Event) {
        if self.milestones.back() != Some(&event) && self.milestones.len() < 4 {
            self.milestones.push_back(event);
        }
    }

    pub(crate) fn next_milestone(&mut self) -> Option<Event> {
        self.milestones.pop_front()
    }

    pub(crate) fn reset_by_peer(&mut self, stream: StreamId) {
        self.reset_by_peer.insert(stream);
    }

    pub(crate) fn reset_done(&mut self, streams: &[StreamId]) {
        self.reset_done.extend(streams);
    }

    pub(crate) fn reset_failed(&mut self, streams: &[StreamId]) {
        self.reset_failed.extend(streams);
    }

    /// The end; the first reason counts.
    pub(crate) fn closed(&mut self, reason: CloseReason) {
        self.closed.get_or_insert(reason);
    }

    /// What comes after everything that streams have to say.
    pub(crate) fn next_late(&mut self) -> Option<Event> {
        fn take(set: &mut BTreeSet<StreamId>) -> Option<Vec<StreamId>> {
            (!set.is_empty()).then(|| std::mem::take(set).into_iter().collect())
        }
        take(&mut self.reset_by_peer)
            .map(Event::StreamsResetByPeer)
            .or_else(|| take(&mut self.reset_done).map(Event::StreamsResetDone))
            .or_else(|| take(&mut self.reset_failed).map(Event::StreamsResetFailed))
            .or_else(|| self.closed.take().map(Event::Closed))
    }
}
