//! Which TSNs have arrived (RFC 9260 §6.2): the cumulative point, and the intervals beyond it.
//!
//! Limits: [`MAX_INTERVALS`] intervals, TSNs up to [`WINDOW`] ahead, [`MAX_DUPLICATES`] duplicates to report.
//! What lies outside is refused, which means not acknowledged: the peer sends it again.

use crate::types::Tsn;

/// How far ahead of the cumulative point a TSN may be: gap ack blocks have 16-bit offsets.
const WINDOW: u64 = 65_535;

/// Intervals remembered, 128 KiB of them. A packet of 1160 bytes reports 283, the lowest, but what is refused has to
/// be sent again: when slow start overruns the queue of a fast and long path, every second of many thousand packets
/// is missing.
const MAX_INTERVALS: usize = 8192;

/// Duplicate TSNs reported in one SACK; more are counted and not reported.
const MAX_DUPLICATES: usize = 16;

/// What a TSN turned out to be.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Arrival {
    /// The next expected.
    Next,
    /// New, beyond a gap.
    Ahead,
    /// Arrived before.
    Duplicate,
    /// Too far ahead, or one interval too many.
    Refused,
}

/// The tracker.
#[derive(Debug)]
pub(crate) struct TsnTracker {
    cumulative: u64,
    /// Inclusive, sorted, not adjacent, all beyond `cumulative + 1`.
    intervals: Vec<(u64, u64)>,
    duplicates: Vec<Tsn>,
}

impl TsnTracker {
    pub(crate) fn new(initial_tsn: Tsn) -> Self {
        Self { cumulative: initial_tsn.unwrap_first() - 1, intervals: Vec::new(), duplicates: Vec::new() }
    }

    pub(crate) fn cumulative(&self) -> u64 {
        self.cumulative
    }

    /// The highest TSN that has arrived.
    pub(crate) fn highest(&self) -> u64 {
        self.intervals.last().map_or(self.cumulative, |&(_, end)| end)
    }

    pub(crate) fn has_gaps(&self) -> bool {
        !self.intervals.is_empty()
    }

    /// Looks a TSN up, without recording it.
    #[inline]
    pub(crate) fn classify(&self, tsn: u64) -> Arrival {
        if tsn == self.cumulative + 1 {
            return Arrival::Next;
        }
        if tsn <= self.cumulative {
            return Arrival::Duplicate;
        }
        if tsn - self.cumulative > WINDOW {
            return Arrival::Refused;
        }
        let at = self.position(tsn);
        let inside = self.intervals.get(at).is_some_and(|&(start, _)| start <= tsn);
        if inside {
            return Arrival::Duplicate;
        }
        let touches = self.intervals.get(at).is_some_and(|&(start, _)| start == tsn + 1)
            || at.checked_sub(1).and_then(|i| self.intervals.get(i)).is_some_and(|&(_, end)| end + 1 == tsn);
        if !touches && self.intervals.len() >= MAX_INTERVALS {
            return Arrival::Refused;
        }
        Arrival::Ahead
    }

    /// The first interval that does not end before `tsn`.
    fn position(&self, tsn: u64) -> usize {
        match self.intervals.last() {
            // The common case: beyond everything.
            Some(&(_, end)) if end < tsn => self.intervals.len(),
            _ => self.intervals.partition_point(|&(_, end)| end < tsn),
        }
    }

    /// Records a TSN that [`classify`](Self::classify) called `Next` or `Ahead`.
    #[inline]
    pub(crate) fn record(&mut self, tsn: u64) {
        if tsn == self.cumulative + 1 {
            self.cumulative = tsn;
            self.join_first();
            return;
        }
        let at = self.position(tsn);
        let joins_next = self.intervals.get(at).is_some_and(|&(start, _)| start == tsn + 1);
        let before =
            at.checked_sub(1).and_then(|i| self.intervals.get(i)).filter(|&&(_, end)| end + 1 == tsn);
        match (before.is_some(), joins_next) {
            (true, true) => {
                let (_, end) = self.intervals.remove(at);
                if let Some(interval) = self.intervals.get_mut(at - 1) {
                    interval.1 = end;
                }
            }
            (true, false) => {
                if let Some(interval) = self.intervals.get_mut(at - 1) {
                    interval.1 = tsn;
                }
            }
            (false, true) => {
                if let Some(interval) = self.intervals.get_mut(at) {
                    interval.0 = tsn;
                }
            }
            (false, false) => self.intervals.insert(at, (tsn, tsn)),
        }
    }

    /// Moves the cumulative point (RFC 3758 §3.6), which must be ahead.
    pub(crate) fn skip_to(&mut self, tsn: u64) {
        self.cumulative = self.cumulative.max(tsn);
        let cumulative = self.cumulative;
        self.intervals.retain_mut(|range| {
            range.0 = range.0.max(cumulative + 1);
            range.0 <= range.1
        });
        self.join_first();
    }

    fn join_first(&mut self) {
        if let Some(&(start, end)) = self.intervals.first()
            && start == self.cumulative + 1
        {
            self.cumulative = end;
            self.intervals.remove(0);
        }
    }

    /// A TSN arrived again.
    pub(crate) fn note_duplicate(&mut self, tsn: Tsn) {
        if self.duplicates.len() < MAX_DUPLICATES {
            self.duplicates.push(tsn);
        }
    }

    pub(crate) fn duplicates(&self) -> &[Tsn] {
        &self.duplicates
    }

    pub(crate) fn clear_duplicates(&mut self) {
        self.duplicates.clear();
    }

    /// The lowest gap ack blocks, as offsets from the cumulative point.
    pub(crate) fn gap_ack_blocks(&self, max: usize) -> impl Iterator<Item = (u16, u16)> + '_ {
        // All lie within WINDOW, so the offsets fit.
        let offset = |tsn: u64| u16::try_from(tsn - self.cumulative).unwrap_or(u16::MAX);
        self.intervals.iter().take(max).map(move |&(start, end)| (offset(start), offset(end)))
    }

    pub(crate) fn gap_count(&self) -> usize {
        self.intervals.len()
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use proptest::prelude::*;

    use super::*;

    #[test]
    fn in_order_arrival_only_moves_the_cumulative_point() {
        let mut tracker = TsnTracker::new(Tsn(10));
        let first = Tsn(10).unwrap_first();
        for tsn in first..first + 100 {
            assert_eq!(tracker.classify(tsn), Arrival::Next);
            tracker.record(tsn);
        }
        assert_eq!(tracker.cumulative(), first + 99);
        assert!(!tracker.has_gaps());
    }

    #[test]
    fn too_far_ahead_and_too_many_gaps_are_refused() {
        let mut tracker = TsnTracker::new(Tsn(0));
        let cumulative = tracker.cumulative();
        assert_eq!(tracker.classify(cumulative + WINDOW), Arrival::Ahead);
        assert_eq!(tracker.classify(cumulative + WINDOW + 1), Arrival::Refused);
        for i in 0..MAX_INTERVALS as u64 {
            tracker.record(cumulative + 3 + 2 * i);
        }
        let beyond = cumulative + 3 + 2 * MAX_INTERVALS as u64;
        assert_eq!(tracker.classify(beyond), Arrival::Refused);
        assert_eq!(tracker.classify(beyond - 1), Arrival::Ahead, "extends an interval");
        assert_eq!(tracker.classify(cumulative + 1), Arrival::Next);
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 64, failure_persistence: None, ..ProptestConfig::default() })]

        #[test]
        fn it_agrees_with_a_set(order in proptest::collection::vec(0u64..60, 1..200)) {
            let initial = Tsn(u32::MAX - 20);
            let base = initial.unwrap_first();
            let mut tracker = TsnTracker::new(initial);
            let mut seen = BTreeSet::new();
            for n in order {
                let new = !matches!(tracker.classify(base + n), Arrival::Duplicate);
                prop_assert_eq!(new, seen.insert(n));
                if new {
                    tracker.record(base + n);
                }
                let cumulative = (0..).take_while(|n| seen.contains(n)).count() as u64;
                prop_assert_eq!(tracker.cumulative() + 1, base + cumulative);
                let mut covered: BTreeSet<u64> = (0..cumulative).collect();
                let mut floor = 1;
                for (start, end) in tracker.gap_ack_blocks(usize::MAX) {
                    prop_assert!(start > floor && end >= start, "sorted, apart from each other");
                    floor = end + 1;
                    covered.extend((start..=end).map(|o| cumulative + u64::from(o) - 1));
                }
                prop_assert_eq!(&covered, &seen);
            }
        }
    }
}
