//! When each connection wants to be woken: one ordered set for the endpoint.

use std::collections::BTreeSet;
use std::time::Instant;

#[derive(Default)]
pub(crate) struct Timers {
    queue: BTreeSet<(Instant, usize)>,
}

impl Timers {
    /// Moves a connection's deadline from `old` to `new`.
    pub(crate) fn set(&mut self, peer: usize, old: Option<Instant>, new: Option<Instant>) {
        if old == new {
            return;
        }
        if let Some(old) = old {
            self.queue.remove(&(old, peer));
        }
        if let Some(new) = new {
            self.queue.insert((new, peer));
        }
    }

    pub(crate) fn len(&self) -> usize {
        self.queue.len()
    }

    /// The earliest deadline.
    pub(crate) fn next(&self) -> Option<Instant> {
        self.queue.first().map(|(at, _)| *at)
    }

    /// The connections whose deadlines have come, into `into`. They stay until `set`.
    pub(crate) fn take_due(&self, now: Instant, into: &mut Vec<usize>) {
        into.extend(self.queue.iter().take_while(|(at, _)| *at <= now).map(|(_, peer)| *peer));
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::shared::now;

    #[test]
    fn due_connections_come_in_order_and_moved_deadlines_leave_nothing_behind() {
        let start = now();
        let at = |ms| Some(start + Duration::from_millis(ms));
        let mut timers = Timers::default();
        timers.set(1, None, at(30));
        timers.set(2, None, at(10));
        timers.set(3, None, at(20));
        assert_eq!(timers.next(), at(10));
        timers.set(2, at(10), at(40));
        let mut due = Vec::new();
        timers.take_due(start + Duration::from_millis(30), &mut due);
        assert_eq!(due, [3, 1]);
        timers.set(1, at(30), None);
        timers.set(2, at(40), None);
        timers.set(3, at(20), None);
        assert_eq!(timers.next(), None);
    }
}
