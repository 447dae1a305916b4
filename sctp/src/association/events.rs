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
    reset_requested: BTreeSet<StreamId>,
    incoming_reset_done: BTreeSet<StreamId>,
    incoming_reset_failed: BTreeSet<StreamId>,
    /// How many there are now, outgoing and incoming.
    streams: Option<(u16, u16)>,
    /// How many were refused.
    streams_refused: Option<(u16, u16)>,
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
        let milestone = self.milestones.pop_front();
        if self.milestones.is_empty() {
            self.milestones = VecDeque::new();
        }
        milestone
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

    pub(crate) fn reset_requested(&mut self, streams: &[StreamId]) {
        self.reset_requested.extend(streams);
    }

    pub(crate) fn incoming_reset_done(&mut self, streams: &[StreamId]) {
        self.incoming_reset_done.extend(streams);
    }

    pub(crate) fn incoming_reset_failed(&mut self, streams: &[StreamId]) {
        self.incoming_reset_failed.extend(streams);
    }

    pub(crate) fn streams_changed(&mut self, outbound: u16, inbound: u16) {
        self.streams = Some((outbound, inbound));
    }

    pub(crate) fn add_streams_failed(&mut self, outgoing: u16, incoming: u16) {
        let refused = self.streams_refused.get_or_insert((0, 0));
        *refused = (refused.0.saturating_add(outgoing), refused.1.saturating_add(incoming));
    }

    /// The end; the first reason counts.
    pub(crate) fn closed(&mut self, reason: CloseReason) {
        self.closed.get_or_insert(reason);
    }

    /// What comes after everything that streams have to say.
    pub(crate) fn next_late(&mut self) -> Option<Event> {
        // Asked for after every batch, and mostly there is nothing.
        let sets = [
            &self.reset_by_peer,
            &self.reset_requested,
            &self.reset_done,
            &self.reset_failed,
            &self.incoming_reset_done,
            &self.incoming_reset_failed,
        ];
        let others = self.streams.is_some() || self.streams_refused.is_some() || self.closed.is_some();
        if !others && sets.iter().all(|set| set.is_empty()) {
            return None;
        }
        self.take_late()
    }

    fn take_late(&mut self) -> Option<Event> {
        fn take(set: &mut BTreeSet<StreamId>) -> Option<Vec<StreamId>> {
            (!set.is_empty()).then(|| std::mem::take(set).into_iter().collect())
        }
        take(&mut self.reset_by_peer)
            .map(Event::StreamsResetByPeer)
            .or_else(|| take(&mut self.reset_requested).map(Event::ResetRequestedByPeer))
            .or_else(|| take(&mut self.reset_done).map(Event::StreamsResetDone))
            .or_else(|| take(&mut self.reset_failed).map(Event::StreamsResetFailed))
            .or_else(|| take(&mut self.incoming_reset_done).map(Event::IncomingResetDone))
            .or_else(|| take(&mut self.incoming_reset_failed).map(Event::IncomingResetFailed))
            .or_else(|| {
                let (outbound_streams, inbound_streams) = self.streams.take()?;
                Some(Event::StreamsChanged { outbound_streams, inbound_streams })
            })
            .or_else(|| {
                let (outgoing, incoming) = self.streams_refused.take()?;
                Some(Event::AddStreamsFailed { outgoing, incoming })
            })
            .or_else(|| self.closed.take().map(Event::Closed))
    }
}
