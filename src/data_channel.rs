use std::sync::Arc;

use sinnet_peer::{ChannelKey, ChannelOptions, ChannelState, Dcmap, Limit, Message, Reliability};
use tokio::task::coop::consume_budget;

use crate::error::{Error, SendError, TrySendError};
use crate::peer_connection::PeerHandle;
use crate::shared::{ChannelSignals, now};

/// What a channel is opened with: W3C's `RTCDataChannelInit`.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct DataChannelOptions {
    /// Whether messages arrive in the order in which they were sent. True by default.
    pub ordered: bool,
    /// Whether messages may be given up. They may not by default.
    pub reliability: Reliability,
    /// A subprotocol's name, or empty.
    pub protocol: String,
    /// The stream id, when both sides open the channel by themselves.
    pub negotiated: Option<u16>,
    /// 128 below normal, 256 normal (the default), 512 high, 1024 extra high (RFC 8831 §6.4).
    pub priority: u16,
}

impl Default for DataChannelOptions {
    fn default() -> Self {
        Self {
            ordered: true,
            reliability: Reliability::Reliable,
            protocol: String::new(),
            negotiated: None,
            priority: 256,
        }
    }
}

impl From<&Dcmap> for DataChannelOptions {
    /// What `a=dcmap` says (RFC 8864 §5.1), but for the label.
    fn from(map: &Dcmap) -> Self {
        Self {
            ordered: map.ordered(),
            reliability: match map.limit() {
                Limit::None => Reliability::Reliable,
                Limit::MaxRetr(n) => Reliability::MaxRetransmits(n),
                Limit::MaxTime(ms) => Reliability::MaxPacketLifeTime(ms),
            },
            protocol: map.subprotocol().to_owned(),
            negotiated: Some(map.stream_id()),
            priority: map.priority(),
        }
    }
}

/// A channel of messages: W3C's `RTCDataChannel`.
///
/// Dropping the last handle closes the channel; what was accepted for sending is still delivered, what was not read is
/// dropped.
#[derive(Clone)]
pub struct DataChannel(Arc<ChannelHandle>);

struct ChannelHandle {
    peer: Arc<PeerHandle>,
    key: ChannelKey,
    options: ChannelOptions,
    signals: Arc<ChannelSignals>,
}

impl Drop for ChannelHandle {
    fn drop(&mut self) {
        {
            let mut core = self.peer.shared.lock();
            core.channels.remove(&self.key);
            core.peer.release_channel(now(), self.key);
        }
        self.peer.shared.touch();
    }
}

impl DataChannel {
    pub(crate) fn new(peer: Arc<PeerHandle>, key: ChannelKey) -> Self {
        let signals = Arc::<ChannelSignals>::default();
        let options = {
            let mut core = peer.shared.lock();
            core.channels.insert(key, signals.clone());
            core.peer.channel_options(key).cloned().unwrap_or_default()
        };
        Self(Arc::new(ChannelHandle { peer, key, options, signals }))
    }

    /// The name it was opened with.
    pub fn label(&self) -> &str {
        &self.0.options.label
    }

    /// The subprotocol it was opened with, or empty.
    pub fn protocol(&self) -> &str {
        &self.0.options.protocol
    }

    /// Whether messages arrive in order.
    pub fn ordered(&self) -> bool {
        self.0.options.ordered
    }

    /// Whether messages may be given up.
    pub fn reliability(&self) -> Reliability {
        self.0.options.reliability
    }

    /// The stream id, once the connection is up.
    pub fn id(&self) -> Option<u16> {
        self.0.peer.shared.lock().peer.channel_id(self.0.key)
    }

    /// What the peer's `a=dcsa` lines say of it (RFC 8864 §5.2), once it is open; empty if SDP has not opened it.
    pub fn remote_attributes(&self) -> Vec<String> {
        self.0.peer.shared.lock().peer.channel_attributes(self.0.key).to_vec()
    }

    /// The channel's state.
    pub fn ready_state(&self) -> ChannelState {
        self.0.peer.shared.lock().peer.channel_state(self.0.key)
    }

    /// Waits until messages can be sent.
    ///
    /// # Errors
    /// [`Error::Closed`] when the connection ended first, [`Error::ChannelClosed`] when only the channel did.
    pub async fn opened(&self) -> Result<(), Error> {
        loop {
            let notified = self.0.signals.state.notified();
            {
                let core = self.0.peer.shared.lock();
                match core.peer.channel_state(self.0.key) {
                    ChannelState::Open => return Ok(()),
                    ChannelState::Connecting => {}
                    _ => {
                        return Err(core.closed.clone().map_or(Error::ChannelClosed, Error::Closed));
                    }
                }
            }
            notified.await;
        }
    }

    /// Sends a message; waits until the channel is open and there is room for it.
    pub async fn send(&self, message: impl Into<Message>) -> Result<(), SendError> {
        let mut message = message.into();
        consume_budget().await;
        loop {
            message = match self.try_send(message) {
                Ok(()) => return Ok(()),
                Err(TrySendError::Never(error)) => return Err(error),
                Err(TrySendError::Full(message) | TrySendError::NotOpen(message)) => message,
            };
            let writable = self.0.signals.writable.notified();
            let state = self.0.signals.state.notified();
            message = match self.try_send(message) {
                Ok(()) => return Ok(()),
                Err(TrySendError::Never(error)) => return Err(error),
                Err(TrySendError::Full(message)) => {
                    writable.await;
                    message
                }
                Err(TrySendError::NotOpen(message)) => {
                    state.await;
                    message
                }
            };
        }
    }

    /// Sends a message if that can be done now.
    pub fn try_send(&self, message: impl Into<Message>) -> Result<(), TrySendError> {
        let message = message.into();
        {
            let mut core = self.0.peer.shared.lock();
            if core.peer.channel_state(self.0.key) == ChannelState::Connecting {
                return Err(TrySendError::NotOpen(message));
            }
            core.peer.try_send(now(), self.0.key, message).map_err(TrySendError::from_core)?;
        }
        self.0.peer.shared.touch();
        Ok(())
    }

    /// Waits for the next message; `None` when the channel is closed and all that had arrived is read.
    pub async fn recv(&self) -> Option<Message> {
        consume_budget().await;
        loop {
            let notified = self.0.signals.readable.notified();
            {
                let mut core = self.0.peer.shared.lock();
                if let Some(message) = core.peer.recv(self.0.key) {
                    drop(core);
                    // Reading opens the window; the driver tells the peer.
                    self.0.peer.shared.touch();
                    return Some(message);
                }
                let state = core.peer.channel_state(self.0.key);
                drop(core);
                if state != ChannelState::Open {
                    // Finding nothing may be what a close waited for; the driver carries it on.
                    self.0.peer.shared.touch();
                }
                if state == ChannelState::Closed {
                    return None;
                }
            }
            notified.await;
        }
    }

    /// Takes the next message if there is one.
    pub fn try_recv(&self) -> Option<Message> {
        let (message, state) = {
            let mut core = self.0.peer.shared.lock();
            (core.peer.recv(self.0.key), core.peer.channel_state(self.0.key))
        };
        // Reading opens the window, and finding nothing may be what a close waited for.
        if message.is_some() || state != ChannelState::Open {
            self.0.peer.shared.touch();
        }
        message
    }

    /// Bytes accepted for sending and not yet handed to the network.
    pub fn buffered_amount(&self) -> usize {
        self.0.peer.shared.lock().peer.buffered_amount(self.0.key)
    }

    /// The most that the channel may hold of the send buffer, in bytes that the peer has not acknowledged (and about 400
    /// for each message); [`PeerConfig::channel_send_buffer`](crate::PeerConfig::channel_send_buffer) at first. What it may hold
    /// in fact is its share, if that is less. One message may be larger when nothing else is unacknowledged.
    pub fn set_send_buffer(&self, bytes: usize) {
        self.0.peer.shared.lock().peer.set_channel_send_buffer(self.0.key, bytes);
        // There may be room now.
        self.0.peer.shared.touch();
    }

    /// What [`DataChannel::buffered_amount_low`] waits for; 0 by default.
    pub fn set_buffered_amount_low_threshold(&self, bytes: usize) {
        self.0.peer.shared.lock().peer.set_buffered_amount_low_threshold(self.0.key, bytes);
        // It may be low by the new measure, and then no event will come.
        self.0.signals.low.notify_waiters();
    }

    /// Waits until the buffered amount is at or below the threshold, or the channel is closed. With a threshold of 0
    /// that is: until everything has been handed to the network once.
    pub async fn buffered_amount_low(&self) {
        loop {
            let notified = self.0.signals.low.notified();
            {
                let core = self.0.peer.shared.lock();
                if core.peer.channel_state(self.0.key) == ChannelState::Closed
                    || core.peer.is_buffered_amount_low(self.0.key)
                {
                    return;
                }
            }
            notified.await;
        }
    }

    /// Closes in order: what was accepted is delivered first. [`DataChannel::closed`] waits for the end.
    pub fn close(&self) {
        self.0.peer.shared.lock().peer.close_channel(now(), self.0.key);
        self.0.peer.shared.touch();
    }

    /// Waits until the channel is closed, by whichever side. Unread messages keep the peer's close waiting only when
    /// they are more than the receive buffer.
    pub async fn closed(&self) {
        loop {
            let notified = self.0.signals.state.notified();
            if self.ready_state() == ChannelState::Closed {
                return;
            }
            notified.await;
        }
    }
}

impl std::fmt::Debug for DataChannel {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("DataChannel").field("label", &self.label()).finish_non_exhaustive()
    }
}
