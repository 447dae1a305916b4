//! The table of channels: by key, by stream, and what is kept for streams that have no channel.

use std::collections::{HashMap, HashSet};

use sinnet_sctp::StreamId;

use crate::channel::{Channel, ChannelKey};
use crate::channel_map::StreamTable;
use crate::message::Message;

/// Bytes kept of messages on streams that no channel has yet: a negotiated channel's messages may come before our
/// side has opened it. More is dropped and counted.
pub const ORPHAN_BYTES: usize = 64 * 1024;

/// Bytes of labels and protocols over all channels that the peer has opened: one may have 131,070. A channel beyond it is
/// closed at once, as one beyond [`Config::max_channels`](crate::Config::max_channels) is.
pub const LABEL_BYTES: usize = 1024 * 1024;

/// The id that SCTP can't use as a stream (RFC 8832 §6).
pub(crate) const RESERVED_STREAM: u16 = 65535;

/// The channels of one peer.
pub(crate) struct Channels {
    slots: Vec<Slot>,
    free: Vec<u32>,
    pub(crate) by_stream: StreamTable<ChannelKey>,
    /// Ids that can't be used again, because the peer refused a reset.
    pub(crate) burnt: HashSet<u16>,
    pub(crate) orphans: Vec<(u16, Message)>,
    pub(crate) orphan_bytes: usize,
    /// Bytes in the inboxes of all channels.
    pub(crate) inbox_bytes: usize,
    /// Bytes of labels and protocols of the peer's channels.
    pub(crate) label_bytes: usize,
    /// Entries in the table, closed ones that the application still holds included.
    count: usize,
    pub(crate) max: usize,
    /// Streams the peer accepts from us; unknown before the association is up.
    pub(crate) stream_limit: Option<u16>,
    /// Streams whose channel has closed with the next one's OPEN waiting behind it, and whether that one is reset, too.
    pub(crate) revisit: Vec<(StreamId, bool)>,
    /// The channels that SDP opens, by id, closed ones included until an exchange has taken them out.
    pub(crate) by_sdp: HashMap<u16, ChannelKey>,
    /// Wanted by SDP, with an id that the next offer will choose.
    pub(crate) unnamed: Vec<ChannelKey>,
    /// Offered or agreed on by SDP, and closed by us before its stream was used: the peer is to be told by a reset, and
    /// the id is not free until that is done. True when the reset is under way.
    pub(crate) to_reset: HashMap<u16, bool>,
    /// Agreed on by SDP, on a stream whose channel has yet to close.
    pub(crate) successors: HashMap<u16, ChannelKey>,
}

struct Slot {
    generation: u32,
    channel: Option<Channel>,
}

impl Channels {
    pub(crate) fn new(max: usize) -> Self {
        Self {
            slots: Vec::new(),
            free: Vec::new(),
            by_stream: StreamTable::default(),
            burnt: HashSet::new(),
            orphans: Vec::new(),
            orphan_bytes: 0,
            inbox_bytes: 0,
            label_bytes: 0,
            count: 0,
            max,
            stream_limit: None,
            revisit: Vec::new(),
            by_sdp: HashMap::new(),
            unnamed: Vec::new(),
            to_reset: HashMap::new(),
            successors: HashMap::new(),
        }
    }

    pub(crate) fn insert(&mut self, channel: Channel) -> ChannelKey {
        self.count += 1;
        self.label_bytes += channel.label_bytes;
        let slot = self.free.pop().unwrap_or_else(|| {
            if self.slots.is_empty() {
                // Many connections have one channel; a vector would begin with four.
                self.slots.reserve_exact(1);
            }
            self.slots.push(Slot { generation: 0, channel: None });
            (self.slots.len() - 1) as u32
        });
        let entry = &mut self.slots[slot as usize];
        entry.generation = entry.generation.wrapping_add(1);
        let key = ChannelKey { slot, generation: entry.generation };
        if let Some(stream) = channel.stream {
            self.by_stream.insert(stream.0, key);
        }
        entry.channel = Some(channel);
        key
    }

    pub(crate) fn get(&self, key: ChannelKey) -> Option<&Channel> {
        let slot = self.slots.get(key.slot as usize)?;
        if slot.generation == key.generation { slot.channel.as_ref() } else { None }
    }

    pub(crate) fn get_mut(&mut self, key: ChannelKey) -> Option<&mut Channel> {
        let slot = self.slots.get_mut(key.slot as usize)?;
        if slot.generation == key.generation { slot.channel.as_mut() } else { None }
    }

    pub(crate) fn remove(&mut self, key: ChannelKey) {
        let slot = self.slots.get_mut(key.slot as usize).filter(|slot| slot.generation == key.generation);
        if let Some(channel) = slot.and_then(|slot| slot.channel.take()) {
            self.inbox_bytes -= channel.inbox_bytes;
            self.label_bytes -= channel.label_bytes;
            self.count -= 1;
            self.free.push(key.slot);
        }
    }

    pub(crate) fn of_stream(&self, stream: StreamId) -> Option<ChannelKey> {
        self.by_stream.get(&stream.0).copied()
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = (ChannelKey, &Channel)> {
        self.slots.iter().enumerate().filter_map(|(i, slot)| {
            let key = ChannelKey { slot: i as u32, generation: slot.generation };
            slot.channel.as_ref().map(|channel| (key, channel))
        })
    }

    pub(crate) fn keys(&self) -> Vec<ChannelKey> {
        self.iter().map(|(key, _)| key).collect()
    }

    /// The lowest free id of our parity (RFC 8832 §6) that the peer accepts.
    pub(crate) fn free_stream(
        &self,
        dtls_client: bool,
        known_to_sdp: impl Fn(u16) -> bool,
    ) -> Option<StreamId> {
        let limit = self.stream_limit.unwrap_or(0);
        let first = if dtls_client { 0 } else { 1 };
        (first..limit).step_by(2).find(|id| self.is_free(*id) && !known_to_sdp(*id)).map(StreamId)
    }

    /// Whether no channel has the stream, and one can have it.
    pub(crate) fn is_free(&self, id: u16) -> bool {
        !self.by_stream.contains_key(&id)
            && !self.burnt.contains(&id)
            && !self.successors.contains_key(&id)
            && !self.to_reset.contains_key(&id)
    }

    /// Most streams that can be had now.
    pub(crate) fn stream_limit(&self) -> u16 {
        self.stream_limit.unwrap_or(RESERVED_STREAM)
    }

    pub(crate) fn is_full(&self) -> bool {
        self.count >= self.max
    }

    /// Channels that can still be opened.
    pub(crate) fn room(&self) -> usize {
        self.max.saturating_sub(self.count)
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.count == 0
    }

    /// Gives a channel its stream, or takes it.
    pub(crate) fn set_stream(&mut self, key: ChannelKey, id: Option<u16>) {
        let Some(channel) = self.get_mut(key) else { return };
        let before = std::mem::replace(&mut channel.stream, id.map(StreamId));
        channel.options.negotiated = id;
        if let Some(before) = before {
            self.by_stream.remove(&before.0);
        }
        if let Some(id) = id {
            self.by_stream.insert(id, key);
        }
    }

    pub(crate) fn label_room(&self) -> usize {
        LABEL_BYTES - self.label_bytes
    }

    pub(crate) fn keep_orphan(&mut self, stream: StreamId, message: Message) -> bool {
        let bytes = message.len() + std::mem::size_of::<Message>();
        if self.orphan_bytes + bytes > ORPHAN_BYTES {
            return false;
        }
        self.orphan_bytes += bytes;
        self.orphans.push((stream.0, message));
        true
    }

    pub(crate) fn take_orphans(&mut self, stream: StreamId) -> Vec<Message> {
        let (ours, others): (Vec<_>, Vec<_>) =
            std::mem::take(&mut self.orphans).into_iter().partition(|(id, _)| *id == stream.0);
        self.orphans = others;
        self.orphan_bytes =
            self.orphans.iter().map(|(_, message)| message.len() + std::mem::size_of::<Message>()).sum();
        ours.into_iter().map(|(_, message)| message).collect()
    }
}
