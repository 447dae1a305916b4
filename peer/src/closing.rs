//! The end of data channels, by stream resets (RFC 8831 §6.7).
//!
//! A channel closes when both directions of its stream are reset. Only then may the id be used again, so a message of
//! an old channel can't turn up in a new one.

use sinnet_sctp::{ResetError, StreamId};

use crate::channel::{Channel, ChannelKey, ChannelState, Closing};
use crate::event::Event;
use crate::peer::Peer;

impl Peer {
    pub(crate) fn streams_reset_by_peer(&mut self, streams: &[StreamId]) {
        for &stream in streams {
            self.channels.take_orphans(stream);
            if let Some(key) = self.channels.of_stream(stream) {
                self.note_closed_by_sdp(key, false);
                if self.channels.successors.contains_key(&stream.0) || self.is_closed_first_by_us(key) {
                    // From here on, what comes is the successor's.
                    self.take_unread(key, usize::MAX);
                }
            }
            if let Some(key) = self.channels.of_stream(stream)
                && let Some(channel) = self.channels.get_mut(key)
            {
                channel.closing.requested = true;
                channel.closing.next_reset = channel.closing.peer_reset;
                channel.closing.peer_reset = true;
                self.progress_close(key);
            }
        }
    }

    /// Whether our reset of a channel whose id both sides know is on its way, and the peer's has not come.
    fn is_closed_first_by_us(&self, key: ChannelKey) -> bool {
        self.channels.get(key).is_some_and(|Channel { options, closing, .. }| {
            options.negotiated.is_some() && closing.reset_sent && !closing.peer_reset
        })
    }

    /// The peer wants our side of these streams reset, which is its way of closing their channels (RFC 6525 §5.2.3).
    pub(crate) fn close_streams(&mut self, streams: &[StreamId]) {
        for &stream in streams {
            if let Some(key) = self.channels.of_stream(stream)
                && let Some(channel) = self.channels.get_mut(key)
            {
                channel.closing.requested = true;
                self.progress_close(key);
            }
        }
    }

    pub(crate) fn streams_reset_done(&mut self, streams: &[StreamId]) {
        for &stream in streams {
            self.channels.to_reset.remove(&stream.0);
            if let Some(key) = self.channels.of_stream(stream)
                && let Some(channel) = self.channels.get_mut(key)
                && channel.closing.reset_sent
            {
                channel.closing.reset_done = true;
                self.progress_close(key);
            }
        }
    }

    /// The peer denied a reset: the channel is over, but its id must not come back.
    pub(crate) fn streams_reset_failed(&mut self, streams: &[StreamId]) {
        for &stream in streams {
            if self.channels.to_reset.remove(&stream.0).is_some() {
                self.channels.burnt.insert(stream.0);
            }
            if let Some(key) = self.channels.of_stream(stream) {
                self.close_without_reset(key);
            }
        }
    }

    /// The stream can't be reset: nothing more is waited for than that what has come is read.
    fn close_without_reset(&mut self, key: ChannelKey) {
        let Some(channel) = self.channels.get_mut(key) else { return };
        channel.closing = Closing {
            requested: true,
            reset_sent: true,
            reset_done: true,
            peer_reset: true,
            next_reset: false,
        };
        if let Some(stream) = channel.stream {
            self.channels.burnt.insert(stream.0);
        }
        self.progress_close(key);
    }

    /// Takes the next step of a close, if there is one to take.
    pub(crate) fn progress_close(&mut self, key: ChannelKey) {
        let Some(channel) = self.channels.get_mut(key) else { return };
        if !channel.closing.requested {
            return;
        }
        let Some(stream) = channel.stream.filter(|_| channel.state != ChannelState::Connecting) else {
            return self.set_closed(key);
        };
        if channel.state == ChannelState::Open {
            channel.state = ChannelState::Closing;
            self.counters.connection.data_channels_closed += 1;
            self.events.push_back(Event::ChannelState(key, ChannelState::Closing));
        }
        if channel.closing.peer_reset && !self.take_unread(key, self.config.receive_buffer) {
            // The application has more to read than may be kept beside the window; `recv` comes back here.
            return;
        }
        let (Some(channel), Some(transport)) = (self.channels.get_mut(key), &mut self.transport) else {
            return;
        };
        if !channel.closing.reset_sent {
            channel.closing.reset_sent = true;
            match transport.sctp.reset_stream(self.now, stream) {
                Ok(()) => {}
                // The association's end will close the channel.
                Err(ResetError::Closed) => channel.closing.reset_done = true,
                Err(error) => {
                    tracing::debug!(stream = stream.0, %error, "stream not reset");
                    return self.close_without_reset(key);
                }
            }
        }
        if channel.closing.reset_done && channel.closing.peer_reset {
            self.set_closed(key);
        }
    }

    /// Moves what is unread from SCTP to the channel's inbox, so that the stream can be used again. False when that
    /// would keep more than `limit` bytes over all channels.
    pub(crate) fn take_unread(&mut self, key: ChannelKey, limit: usize) -> bool {
        let Some(stream) = self.channels.get(key).and_then(|channel| channel.stream) else { return true };
        self.keep_pieces(key);
        loop {
            if self.channels.inbox_bytes >= limit {
                return !self.has_message(stream);
            }
            let next = self.next_message(stream).or_else(|| self.next_large(stream));
            let Some(message) = next else { return true };
            let Some(channel) = self.channels.get_mut(key) else { return true };
            if !channel.released {
                let bytes = message.len();
                channel.push_inbox(message);
                self.channels.inbox_bytes += bytes;
            }
        }
    }

    /// At the connection's end: what has arrived stays readable, all of it, as nothing can come any more.
    pub(crate) fn collect_unread(&mut self) {
        for key in self.channels.keys() {
            self.take_unread(key, usize::MAX);
        }
    }

    pub(crate) fn close_all_channels(&mut self) {
        for key in self.channels.keys() {
            self.set_closed(key);
        }
    }

    /// The peer restarted the association: stream numbers start anew, so no channel of the old one can go on, and
    /// nothing that was known of its streams holds any more.
    pub(crate) fn restart_channels(&mut self) {
        for key in self.channels.keys() {
            self.note_closed_by_sdp(key, true);
        }
        self.close_all_channels();
        self.channels.successors.clear();
        self.channels.to_reset.clear();
        self.channels.orphans.clear();
        self.channels.orphan_bytes = 0;
        self.channels.burnt.clear();
        self.channels.revisit.clear();
    }

    pub(crate) fn set_closed(&mut self, key: ChannelKey) {
        self.keep_pieces(key);
        let Some(channel) = self.channels.get_mut(key) else { return };
        if channel.state == ChannelState::Closed {
            return;
        }
        self.counters.connection.data_channels_closed += u64::from(channel.state == ChannelState::Open);
        channel.state = ChannelState::Closed;
        channel.writing = None;
        let untold = channel.take_theirs();
        let (released, next_reset) = (channel.released || untold, channel.closing.next_reset);
        let stream = channel.stream.take();
        if let Some(stream) = stream {
            let next = !self.channels.successors.contains_key(&stream.0) && self.is_next_channels(stream);
            self.channels.by_stream.remove(&stream.0);
            if next {
                self.channels.revisit.push((stream, next_reset));
            }
        }
        if !untold {
            self.events.push_back(Event::ChannelState(key, ChannelState::Closed));
        }
        if released {
            self.channels.remove(key);
        }
        if let Some(stream) = stream {
            self.start_successor(stream);
        }
    }
}
