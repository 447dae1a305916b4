//! The driver's links: which connection is whose, and frames out of the node into channels that have room.

use std::collections::BTreeMap;
use std::future::Future;
use std::pin::Pin;
use std::time::Instant;

use bytes::Bytes;
use futures_util::stream::FuturesUnordered;
use sinnet::{DataChannel, Message, TrySendError};

use super::event::LinkState;
use super::link::Connection;
use super::socket::SocketId;
use crate::frame::{Frame, NodeId};
use crate::overlay::{Capabilities, ChannelBudget, Direction, LinkId, Node};

/// How the two ends of a link talk until its channel is up.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Via {
    /// We join by the server, and this is the acceptor's relay key.
    Join(SocketId, u64),
    /// We accept, on a WebSocket of its own.
    Accept(SocketId),
    /// Along the tree; the attempt's number.
    Tree(u32),
}

/// A connection that is being made, or is up.
#[derive(Debug)]
pub(crate) struct Link {
    pub(crate) peer: NodeId,
    pub(crate) direction: Direction,
    pub(crate) capabilities: Capabilities,
    pub(crate) via: Via,
    pub(crate) connection: Connection,
    /// When it is given up unless it is up.
    pub(crate) deadline: Instant,
    pub(crate) channel: Option<DataChannel>,
    /// Frames go as the strings of 2013, since one came so.
    strings: bool,
    /// What the channel had no room for.
    pending: Option<Message>,
    /// Whether somebody waits for room.
    waits: bool,
    budget: ChannelBudget,
}

impl Link {
    pub(crate) fn new(
        peer: NodeId,
        direction: Direction,
        capabilities: Capabilities,
        via: Via,
        connection: Connection,
        deadline: Instant,
    ) -> Self {
        Self {
            peer,
            direction,
            capabilities,
            via,
            connection,
            deadline,
            channel: None,
            strings: false,
            pending: None,
            waits: false,
            budget: ChannelBudget::new(deadline),
        }
    }

    pub(crate) fn is_connecting(&self) -> bool {
        self.channel.is_none()
    }

    /// What its end is called.
    pub(crate) fn last_state(&self) -> LinkState {
        if self.is_connecting() { LinkState::Failed } else { LinkState::Closed }
    }

    /// The frame in a message. `None` for a string that is none.
    pub(crate) fn read(&mut self, message: Message) -> Option<Bytes> {
        match message {
            Message::Binary(bytes) => Some(bytes),
            Message::Text(text) => {
                let frame = Frame::from_old_string(&text).ok()?;
                self.strings = true;
                Some(frame.into_bytes())
            }
        }
    }

    fn write(&self, bytes: Bytes) -> Message {
        if self.strings
            && let Ok(frame) = Frame::parse(bytes.clone())
        {
            return Message::Text(frame.to_old_string());
        }
        Message::Binary(bytes)
    }
}

/// A wait for room in a channel; whose it is comes out.
type Room = Pin<Box<dyn Future<Output = LinkId> + Send>>;

/// All links of a node.
#[derive(Default)]
pub(crate) struct Links {
    pub(crate) all: BTreeMap<LinkId, Link>,
    pub(crate) rooms: FuturesUnordered<Room>,
    /// Frames that were too large for the other end.
    pub(crate) unsendable: u64,
    ready: Vec<LinkId>,
}

impl Links {
    pub(crate) fn get_mut(&mut self, id: LinkId) -> Option<&mut Link> {
        self.all.get_mut(&id)
    }

    /// The channel is open.
    pub(crate) fn open(&mut self, id: LinkId, channel: DataChannel, now: Instant) -> Option<&Link> {
        let link = self.all.get_mut(&id).filter(|link| link.is_connecting())?;
        link.channel = Some(channel);
        link.budget = ChannelBudget::new(now);
        Some(link)
    }

    /// Links that are being made.
    pub(crate) fn connecting(&self) -> impl Iterator<Item = (LinkId, &Link)> {
        self.all.iter().filter(|(_, link)| link.is_connecting()).map(|(id, link)| (*id, link))
    }

    /// The link that a signal along the tree is for.
    pub(crate) fn by_attempt(&mut self, peer: NodeId, key: u32) -> Option<(LinkId, &mut Link)> {
        let of = |link: &Link| link.peer == peer && link.via == Via::Tree(key);
        self.all.iter_mut().find(|(_, link)| of(link)).map(|(id, link)| (*id, link))
    }

    /// The link that a message of a WebSocket is for.
    pub(crate) fn by_socket(&mut self, via: Via) -> Option<(LinkId, &mut Link)> {
        self.all.iter_mut().find(|(_, link)| link.via == via).map(|(id, link)| (*id, link))
    }

    /// There is room again.
    pub(crate) fn has_room(&mut self, id: LinkId) {
        if let Some(link) = self.all.get_mut(&id) {
            link.waits = false;
        }
    }

    /// Sends what the node has, as far as there is room. A channel without room waits for it; the others don't.
    pub(crate) fn pump(&mut self, node: &mut Node, now: Instant) {
        let mut ready = std::mem::take(&mut self.ready);
        loop {
            ready.clear();
            let can_send = |link: &Link| link.channel.is_some() && !link.waits;
            ready.extend(node.poll_links().filter(|id| self.all.get(id).is_some_and(can_send)));
            // What one sends may let another one send: credit, for example.
            let mut sent = false;
            for id in &ready {
                sent |= self.pump_one(*id, node, now);
            }
            if !sent {
                break;
            }
        }
        self.ready = ready;
    }

    /// Gives a link that is about to be closed the node's last words, if the channel takes them at all.
    pub(crate) fn flush_control(&mut self, id: LinkId, node: &mut Node) {
        let Some(link) = self.all.get_mut(&id) else { return };
        let Some(channel) = link.channel.clone().filter(|_| link.pending.is_none()) else { return };
        while let Some(bytes) = node.poll_transmit(id) {
            if channel.try_send(link.write(bytes)).is_err() {
                return;
            }
        }
    }

    /// Returns whether something was sent.
    fn pump_one(&mut self, id: LinkId, node: &mut Node, now: Instant) -> bool {
        let Some(link) = self.all.get_mut(&id) else { return false };
        let Some(channel) = link.channel.clone() else { return false };
        let mut sent = false;
        loop {
            let waiting = channel.buffered_amount();
            let limit = link.budget.limit(now, waiting);
            if link.pending.is_none() && waiting >= limit {
                // Woken with half of it left, the channel does not run dry.
                channel.set_buffered_amount_low_threshold(limit / 2);
                let channel = channel.clone();
                self.rooms.push(Box::pin(async move {
                    channel.buffered_amount_low().await;
                    id
                }));
                link.waits = true;
                return sent;
            }
            let message = match link.pending.take() {
                Some(message) => message,
                None => match node.poll_transmit(id) {
                    Some(bytes) => link.write(bytes),
                    None => return sent,
                },
            };
            let len = message.len();
            match channel.try_send(message) {
                Ok(()) => {
                    link.budget.put(len);
                    sent = true;
                }
                Err(TrySendError::Full(message) | TrySendError::NotOpen(message)) => {
                    link.pending = Some(message);
                    link.waits = true;
                    let channel = channel.clone();
                    self.rooms.push(Box::pin(async move {
                        let _ = channel.writable(len).await;
                        id
                    }));
                    return sent;
                }
                Err(TrySendError::Never(sinnet::SendError::TooLarge { size, limit })) => {
                    tracing::debug!(peer = %link.peer, size, limit, "a frame is too large for the other end");
                    self.unsendable += 1;
                }
                // Its task tells of the end.
                Err(_) => {
                    link.waits = true;
                    return sent;
                }
            }
        }
    }

    /// Whether all that the channels were given is on its way.
    pub(crate) fn is_flushed(&self) -> bool {
        let mut open = self.all.values().filter_map(|link| Some((link, link.channel.as_ref()?)));
        open.all(|(link, channel)| link.pending.is_none() && channel.buffered_amount() == 0)
    }
}
