//! Messages: published, received once and in order, kept, and sent on to children at the pace of each.

use std::time::Instant;

use super::config::{GroupKind, MAX_MESSAGE};
use super::event::{Event, LinkId, Message};
use super::link::Link;
use super::node::Node;
use crate::frame::{
    Attach, Control, Detach, Frame, FrameType, HEADER, Role, Sequence, read_text, write_text,
};

/// An old parent that goes back further than this has begun anew.
const OLD_RESTART: i64 = 1024;

/// Why a message was not published.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum PublishError {
    /// Only the owner of a group publishes.
    #[error("only the owner of the group publishes")]
    NotOwner,
    /// A window of messages waits for a child of this reliable group. [`Event::Writable`] tells when to go on.
    #[error("the children have not taken the messages before it")]
    Full,
    /// More than [`MAX_MESSAGE`] bytes on the wire. Text has two bytes and more a character there.
    #[error("the message is larger than {MAX_MESSAGE} bytes")]
    TooLong,
}

impl Node {
    /// Sends a message to all members. Returns its number.
    ///
    /// # Errors
    ///
    /// See [`PublishError`].
    pub fn publish(&mut self, message: Message) -> Result<Sequence, PublishError> {
        let Some(sequence) = self.next.filter(|_| self.is_owner) else { return Err(PublishError::NotOwner) };
        if self.kind == GroupKind::Reliable && self.held() >= self.config.window as u64 {
            self.full = true;
            return Err(PublishError::Full);
        }
        let (frame_type, body) = match message {
            Message::Bytes(bytes) => (FrameType::DATA, bytes),
            Message::Text(text) if text.len() > MAX_MESSAGE => return Err(PublishError::TooLong),
            Message::Text(text) => (FrameType::TEXT, write_text(&text)),
        };
        if body.len() > MAX_MESSAGE {
            return Err(PublishError::TooLong);
        }
        self.next = Some(sequence.plus(1));
        self.keep(Frame::new(frame_type, sequence, &body));
        Ok(sequence)
    }

    fn keep(&mut self, frame: Frame) {
        self.store.push(frame);
        self.store.trim(self.config.store_bytes, self.config.store_messages);
    }

    /// A message from a link.
    pub(super) fn on_data(&mut self, now: Instant, id: LinkId, frame: Frame) {
        let Some(link) = self.links.get_mut(&id).filter(|link| link.is_parent()) else {
            self.stats.unexpected += 1;
            return;
        };
        let (ours, epoch) = (link.ours, link.epoch);
        link.received += frame.len() as u64;
        let reliable = ours && self.kind == GroupKind::Reliable;
        if frame.len() > MAX_MESSAGE + HEADER
            || reliable && link.received > link.granted.saturating_add(2 * MAX_MESSAGE as u64)
        {
            // It does not keep to what it was granted; nobody may fill our memory.
            self.stats.unexpected += 1;
            self.drop_link(now, id, Some(Detach::LEAVING));
            return self.maintain(now);
        }
        if ours && epoch != self.epoch {
            self.stats.unexpected += 1;
            return;
        }
        let sequence = frame.sequence();
        let distance = self.next.map_or(0, |next| sequence.distance_from(next));
        if distance < 0 && (ours || distance > -OLD_RESTART) {
            self.stats.duplicates += 1;
            return;
        }
        if distance > 0 && reliable {
            self.stats.unexpected += 1;
            self.resync |= self.eager == Some(id);
            return;
        }
        if distance < 0 {
            self.store.clear();
            self.links.values_mut().for_each(|link| link.cursor = link.cursor.and(Some(sequence)));
        }
        if self.next.is_none() {
            self.links.values_mut().for_each(|link| link.cursor = Some(sequence));
        }
        self.stats.skipped += u64::try_from(distance).unwrap_or_default();
        self.stats.received += 1;
        self.rate.0 += frame.len() as u64;
        self.next = Some(sequence.plus(1));
        self.last_data = now;
        self.links.values_mut().for_each(|link| {
            link.ahead = link.ahead.filter(|(mark, _)| sequence.less_than(mark.plus(u64::MAX)));
        });
        let message = match frame.frame_type() {
            FrameType::TEXT => Message::Text(read_text(&frame.body())),
            _ => Message::Bytes(frame.body()),
        };
        self.keep(frame);
        self.deliver(sequence, message, reliable);
        self.grant();
    }

    /// Gives a message to the application. One that takes nothing holds back a reliable group, and skips in a live one.
    fn deliver(&mut self, sequence: Sequence, message: Message, reliable: bool) {
        self.untaken += message.cost();
        self.messages.push_back(Event::Message(sequence, message));
        while !reliable && self.untaken > self.config.window as u64 {
            match self.messages.pop_front() {
                Some(Event::Message(_, message)) => {
                    self.untaken = self.untaken.saturating_sub(message.cost());
                    self.stats.skipped += 1;
                }
                Some(_) => {}
                None => return,
            }
        }
    }

    /// The parent has not got what is missing. Another one is asked, once; then the promise is broken and said so.
    pub(super) fn on_gap(&mut self, now: Instant, id: LinkId, epoch: u32, from: Sequence, to: Sequence) {
        let missing = to.distance_from(from);
        if self.eager != Some(id) || epoch != self.epoch || self.next != Some(from) || missing <= 0 {
            self.stats.unexpected += 1;
            return;
        }
        if self.gap != Some(from) {
            self.gap = Some(from);
            if let Some(other) = self.best_standby() {
                return self.promote(now, other);
            }
        }
        self.stats.missed += missing.unsigned_abs();
        self.next = Some(to);
        // Gaps without a message between them are one: there are never more of them than messages.
        if let Some(Event::Missed { to: end, .. }) =
            self.messages.back_mut().filter(|last| matches!(last, Event::Missed { to, .. } if *to == from))
        {
            *end = to;
        } else {
            self.messages.push_back(Event::Missed { from, to });
        }
    }

    /// What the child wants now. It may say so again, but that gives it no more time to keep up, nor does it get on by being
    /// sent the same once more.
    pub(super) fn start_sending(&mut self, id: LinkId, attach: &Attach) {
        let newcomer = attach.epoch == 0 || attach.epoch != self.epoch;
        let past = || self.store.history(self.config.history).or(self.next);
        let cursor = if newcomer { past() } else { Some(attach.next) };
        let lag_from = |cursor: Option<Sequence>| cursor.map_or(0, |cursor| self.store.bytes_from(cursor));
        let (lag, window) = (lag_from(cursor), self.config.window as u64);
        let goes_back =
            self.links.get(&id).is_some_and(|link| link.cursor.is_some() && lag_from(link.cursor) < lag);
        let Some(link) = self.links.get_mut(&id) else { return };
        link.role = Some(attach.role);
        link.cursor = cursor;
        link.credit = attach.credit;
        link.sent = 0;
        // Who comes for the past does not hold back the present.
        link.straggler = lag > window || lag >= window / 2 && (link.straggler || goes_back);
    }

    /// Whether [`Node::next_data`] has something for the link.
    pub(super) fn has_data(&self, link: &Link) -> bool {
        if !link.is_eager_child() || self.needs_credit(link) && link.sent >= link.credit {
            return false;
        }
        link.cursor.is_some_and(|cursor| self.store.at_or_after(cursor).is_some())
    }

    fn needs_credit(&self, link: &Link) -> bool {
        link.ours && self.kind == GroupKind::Reliable
    }

    /// The next message for a child, or word of a gap.
    pub(super) fn next_data(&mut self, id: LinkId) -> Option<Frame> {
        let link = self.links.get(&id)?;
        if !self.has_data(link) {
            return None;
        }
        let window = self.config.window as u64;
        let mut cursor = link.cursor?;
        if self.kind == GroupKind::Live && self.store.bytes_from(cursor) > window {
            let newest = self.store.newest_within(window / 2)?;
            self.stats.skipped += newest.distance_from(cursor).unsigned_abs();
            cursor = newest;
        }
        let frame = self.store.at_or_after(cursor)?.clone();
        let (sequence, reliable) = (frame.sequence(), self.needs_credit(link));
        let link = self.links.get_mut(&id)?;
        if reliable && sequence != cursor {
            link.cursor = Some(sequence);
            return Some(Control::Gap { epoch: self.epoch, from: cursor, to: sequence }.to_frame());
        }
        link.cursor = Some(sequence.plus(1));
        link.sent += frame.len() as u64;
        Some(frame)
    }

    /// Bytes that wait here for the slowest child that keeps up, or for the application.
    pub fn held(&self) -> u64 {
        let children = self.links.values().filter(|link| link.is_eager_child() && !link.straggler);
        let lag = children.filter_map(|link| link.cursor).map(|cursor| self.store.bytes_from(cursor));
        lag.max().unwrap_or(0).max(self.untaken)
    }

    /// Bytes that wait here for the slowest child of all, those included that live off the store; or for the application.
    pub fn unsent(&self) -> u64 {
        let lag = self.eager_children().filter_map(|(_, link)| link.cursor);
        lag.map(|cursor| self.store.bytes_from(cursor)).max().unwrap_or(0).max(self.untaken)
    }

    /// What the group promises, as a parent says. Who has not found its tree (epoch 0) does not know. Returns whether that is
    /// new: then the parent that delivers is to be told what it may send.
    pub(super) fn learn_kind(&mut self, reliable: bool, epoch: u32) -> bool {
        let kind = if reliable { GroupKind::Reliable } else { GroupKind::Live };
        if kind == self.kind || epoch == 0 && self.epoch != 0 {
            return false;
        }
        self.kind = kind;
        if kind == GroupKind::Reliable {
            // In a live group they might send all they like.
            let window = self.config.window as u64;
            for link in self.links.values_mut().filter(|link| link.is_parent()) {
                link.granted = link.granted.min(link.received.saturating_add(window));
            }
        }
        true
    }

    /// Lets the parent, or the application, send more if there is room for a quarter of a window.
    pub(super) fn grant(&mut self) {
        if self.kind == GroupKind::Live {
            return;
        }
        let window = self.config.window as u64;
        if self.is_owner {
            if self.full && self.held() <= window / 2 {
                self.full = false;
                self.tell(Event::Writable);
            }
            return;
        }
        let Some(id) = self.eager else { return };
        let Some(link) = self.links.get(&id).filter(|link| link.ours) else { return };
        if link.granted.saturating_sub(link.received) > window / 4 * 3 {
            return;
        }
        let room = window.saturating_sub(self.held());
        let target = link.received.saturating_add(room);
        if room >= window / 4 && target >= link.granted.saturating_add(window / 4) {
            if let Some(link) = self.links.get_mut(&id) {
                link.granted = target;
            }
            self.push(id, Control::Credit(target).to_frame());
        }
    }

    /// Children that lag and take nothing for too long, or next to nothing while others could take more, stop holding back the
    /// others, until they have caught up. Half a window is where `publish` and credit may stop for them; one that lags and
    /// takes its share is what back-pressure is for. Of one that is silent, too, nothing is to be expected: it is dead, and will
    /// be given up soon.
    pub(super) fn judge_children(&mut self, now: Instant) {
        let window = self.config.window as u64;
        let lag = |link: &Link| link.cursor.map_or(0, |cursor| self.store.bytes_from(cursor));
        let position = |link: &Link| link.cursor.map_or(0, |cursor| self.store.position(cursor));
        let silence = self.silence() * 2;
        let hungry = self.eager_children().any(|(_, link)| lag(link) < window / 2);
        for link in self.links.values_mut().filter(|link| link.is_eager_child()) {
            if lag(link) < window / 2 {
                link.behind = None;
                link.straggler = false;
                continue;
            }
            link.straggler |= link.ours && now.saturating_duration_since(link.last_heard) >= silence;
            let here = position(link);
            let (since, was) = *link.behind.get_or_insert((now, here));
            if now.saturating_duration_since(since) >= self.config.patience {
                let taken = here.saturating_sub(was);
                link.straggler |= taken == 0 || hungry && taken < window / 8;
                link.behind = Some((now, here));
            }
        }
        self.grant();
    }

    /// Another life of the source: numbers begin anew.
    pub(super) fn adopt_epoch(&mut self, epoch: u32) {
        if epoch == 0 || epoch == self.epoch || self.is_owner {
            return;
        }
        if self.epoch != 0 {
            self.store.clear();
            self.next = None;
            self.gap = None;
            self.links.values_mut().for_each(|link| link.cursor = None);
        }
        self.epoch = epoch;
        // The children learn it before the first message, because it goes first on each link.
        self.broadcast_path();
    }

    /// The attach that says what this node wants from a parent.
    pub(super) fn attach_frame(&mut self, id: LinkId, role: Role) -> Option<Frame> {
        let credit = match self.kind {
            GroupKind::Reliable => (self.config.window as u64).saturating_sub(self.held()),
            GroupKind::Live => u64::MAX,
        };
        let size = self.size();
        let (epoch, next) = match self.next {
            Some(next) => (self.epoch, next),
            None => (0, Sequence::default()),
        };
        let link = self.links.get_mut(&id)?;
        link.role = Some(role);
        link.received = 0;
        link.granted = credit;
        Some(Control::Attach(Attach { role, epoch, next, credit, size }).to_frame())
    }
}
