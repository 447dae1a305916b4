//! Events on their way to the application.

use std::collections::VecDeque;
use std::sync::{Mutex, MutexGuard, PoisonError};

use tokio::sync::Notify;

use super::event::GroupEvent;

/// Bytes of messages that wait here. What is more stays in the node, which counts it.
const MAX_BYTES: u64 = 256 * 1024;

/// Events beside messages that wait here.
const MAX_EVENTS: usize = 1024;

/// What a message counts for beside its bytes: an empty one has its place, too.
const OVERHEAD: u64 = 64;

#[derive(Default)]
pub(crate) struct Queue {
    state: Mutex<State>,
    /// There is something to take, or the end.
    ready: Notify,
    /// There is room for messages again.
    room: Notify,
}

#[derive(Default)]
struct State {
    events: VecDeque<(GroupEvent, u64)>,
    bytes: u64,
    others: usize,
    /// A [`GroupEvent::TreeUpdate`] waits: another would say nothing new.
    tree_update: bool,
    dropped: u64,
    ended: bool,
}

impl Queue {
    /// Whether there is room for a message.
    pub(crate) fn has_room(&self) -> bool {
        self.state().bytes < MAX_BYTES
    }

    /// Waits until there may be room again. One waiter only.
    pub(crate) async fn room(&self) {
        self.room.notified().await;
    }

    /// A message, and its bytes. Whether there is room is the caller's to ask.
    pub(crate) fn push_message(&self, event: GroupEvent, bytes: usize) {
        let cost = bytes as u64 + OVERHEAD;
        let mut state = self.state();
        state.bytes += cost;
        state.events.push_back((event, cost));
        drop(state);
        self.ready.notify_one();
    }

    /// Anything else; dropped if nobody has taken a thousand of them.
    pub(crate) fn push(&self, event: GroupEvent) {
        let mut state = self.state();
        if event == GroupEvent::TreeUpdate && std::mem::replace(&mut state.tree_update, true) {
            return;
        }
        if state.others >= MAX_EVENTS {
            state.tree_update &= event != GroupEvent::TreeUpdate;
            state.dropped += 1;
            return;
        }
        state.others += 1;
        state.events.push_back((event, 0));
        drop(state);
        self.ready.notify_one();
    }

    /// The last event.
    pub(crate) fn end(&self, event: GroupEvent) {
        let mut state = self.state();
        if !state.ended {
            state.ended = true;
            state.others += 1;
            state.events.push_back((event, 0));
        }
        drop(state);
        self.ready.notify_waiters();
        self.ready.notify_one();
    }

    pub(crate) fn dropped(&self) -> u64 {
        self.state().dropped
    }

    /// Waits for the next event; `None` after the last. Cancel safe.
    pub(crate) async fn next(&self) -> Option<GroupEvent> {
        loop {
            let ready = self.ready.notified();
            {
                let mut state = self.state();
                if let Some((event, cost)) = state.events.pop_front() {
                    let was_full = state.bytes >= MAX_BYTES;
                    state.bytes -= cost;
                    state.others -= usize::from(cost == 0);
                    state.tree_update &= event != GroupEvent::TreeUpdate;
                    if was_full && state.bytes < MAX_BYTES {
                        self.room.notify_one();
                    }
                    return Some(event);
                }
                if state.ended {
                    return None;
                }
            }
            ready.await;
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::*;
    use crate::frame::Sequence;
    use crate::group::Ended;
    use crate::overlay::Message;

    fn message(n: u64) -> GroupEvent {
        GroupEvent::Message { sequence: Sequence(n), message: Message::Bytes(Bytes::new()) }
    }

    #[tokio::test]
    async fn empty_messages_fill_the_queue_too_and_the_order_is_kept() {
        let queue = Queue::default();
        let mut pushed = 0;
        while queue.has_room() {
            queue.push_message(message(pushed), 0);
            pushed += 1;
        }
        assert_eq!(pushed, MAX_BYTES / OVERHEAD);
        for n in 0..pushed {
            assert_eq!(queue.next().await, Some(message(n)));
        }
        assert!(queue.has_room());
    }

    #[tokio::test]
    async fn what_nobody_takes_is_dropped_and_the_end_is_told_all_the_same() {
        let queue = Queue::default();
        for _ in 0..MAX_EVENTS + 10 {
            queue.push(GroupEvent::ServerRegained);
        }
        queue.end(GroupEvent::Closed(Ended::Left));
        assert_eq!(queue.dropped(), 10);
        for _ in 0..MAX_EVENTS {
            assert_eq!(queue.next().await, Some(GroupEvent::ServerRegained));
        }
        assert_eq!(queue.next().await, Some(GroupEvent::Closed(Ended::Left)));
        assert_eq!((queue.next().await, queue.next().await), (None, None));
    }

    #[tokio::test]
    async fn news_of_the_tree_waits_once() {
        let queue = Queue::default();
        for _ in 0..2 {
            queue.push(GroupEvent::TreeUpdate);
            queue.push(GroupEvent::TreeUpdate);
            queue.push(GroupEvent::ServerRegained);
            assert_eq!(queue.next().await, Some(GroupEvent::TreeUpdate));
            assert_eq!(queue.next().await, Some(GroupEvent::ServerRegained));
        }
    }

    #[tokio::test]
    async fn who_waits_hears_of_room_and_of_the_end() {
        let queue = Queue::default();
        while queue.has_room() {
            queue.push_message(message(0), 1024);
        }
        tokio::join!(queue.room(), async { queue.next().await });
        while queue.state().bytes > 0 {
            queue.next().await;
        }
        let end = async { queue.end(GroupEvent::Closed(Ended::Left)) };
        let (first, second, ()) = tokio::join!(queue.next(), queue.next(), end);
        assert!(first.is_some() != second.is_some(), "one gets the event, both are woken");
    }
}
