//! What all handles of a channel are made of: one shared [`ChannelHandle`], and [`Polls`] by which a future or adapter asks
//! for one thing or another and waits for it.

use std::ops::Deref;
use std::sync::{Arc, MutexGuard};
use std::task::{Context, Poll, Waker, ready};
use std::time::Instant;

use bytes::Bytes;
use sinnet_peer::{
    ChannelKey, ChannelOptions, ChannelState, Message, MessageKind, Peer, Piece, PieceError, Reliability,
};
use tokio::task::coop::poll_proceed;

use crate::error::{ReadError, SendError, TrySendError, WriteError};
use crate::peer_connection::PeerHandle;
use crate::shared::{PeerCore, now};
use crate::waiters::{WANTS, Want, wake_for_room};

/// The end of it closes the channel.
pub(crate) struct ChannelHandle {
    pub(crate) peer: Arc<PeerHandle>,
    pub(crate) key: ChannelKey,
    pub(crate) options: ChannelOptions,
}

impl ChannelHandle {
    pub(crate) fn new(peer: Arc<PeerHandle>, key: ChannelKey) -> Self {
        let options = {
            let mut core = peer.shared.lock();
            core.channels.insert(key, Box::default());
            core.peer.channel_options(key).cloned().unwrap_or_default()
        };
        Self { peer, key, options }
    }

    pub(crate) fn lock(&self) -> MutexGuard<'_, PeerCore> {
        self.peer.shared.lock()
    }

    /// The time for a message: by the clock where its lifetime begins now, else what the core knows.
    fn time(&self, core: &PeerCore) -> Instant {
        match self.options.reliability {
            Reliability::MaxPacketLifeTime(_) => now(),
            _ => core.peer.latest_time(),
        }
    }

    /// Has the driver look at the connection.
    pub(crate) fn touch(&self) {
        self.peer.shared.touch();
    }

    pub(crate) fn state(&self) -> ChannelState {
        self.lock().peer.channel_state(self.key)
    }

    /// Sends a message if that can be done now.
    pub(crate) fn try_send(&self, message: Message) -> Result<(), TrySendError> {
        self.send_by(message, Peer::try_send)
    }

    /// Sends a message, whether there is room or not; unless another handle is just giving one in pieces.
    pub(crate) fn send_over_budget(&self, message: Message) -> Result<(), TrySendError> {
        self.send_by(message, Peer::send_over_budget)
    }

    fn send_by(
        &self,
        message: Message,
        send: impl FnOnce(&mut Peer, Instant, ChannelKey, Message) -> Result<(), sinnet_peer::TrySendError>,
    ) -> Result<(), TrySendError> {
        {
            let mut core = self.lock();
            if core.peer.channel_state(self.key) == ChannelState::Connecting {
                return Err(TrySendError::NotOpen(message));
            }
            let now = self.time(&core);
            send(&mut core.peer, now, self.key, message).map_err(TrySendError::from_core)?;
        }
        self.touch();
        Ok(())
    }

    /// Takes the next message if there is one.
    pub(crate) fn try_recv(&self) -> Option<Message> {
        let (message, state) = {
            let mut core = self.lock();
            (core.peer.recv(self.key), core.peer.channel_state(self.key))
        };
        // Reading opens the window, and finding nothing may be what a close waited for.
        if message.is_some() || state != ChannelState::Open {
            self.touch();
        }
        message
    }

    pub(crate) fn close(&self) {
        self.lock().peer.close_channel(now(), self.key);
        self.touch();
    }
}

impl Drop for ChannelHandle {
    fn drop(&mut self) {
        let waiters = {
            let mut core = self.lock();
            core.peer.release_channel(now(), self.key);
            core.channels.remove(&self.key)
        };
        drop(waiters);
        self.touch();
    }
}

/// One future's or adapter's way to a channel: it asks, and while it waits it has a place in line. Dropped, it leaves the
/// line.
pub(crate) struct Polls<H: Deref<Target = ChannelHandle>> {
    handle: H,
    tickets: [Option<u64>; WANTS],
}

impl<H: Deref<Target = ChannelHandle>> Polls<H> {
    pub(crate) fn new(handle: H) -> Self {
        Self { handle, tickets: [None; WANTS] }
    }

    pub(crate) fn handle(&self) -> &H {
        &self.handle
    }

    /// The next message; `None` when the channel is closed and all that had arrived is read.
    pub(crate) fn poll_recv(&mut self, cx: &mut Context<'_>) -> Poll<Option<Message>> {
        let coop = ready!(poll_proceed(cx));
        let mut core = self.handle.lock();
        let message = core.peer.recv(self.handle.key);
        let state = core.peer.channel_state(self.handle.key);
        // A message that is read in pieces keeps the others waiting.
        let is_over = state == ChannelState::Closed && !core.peer.is_reading(self.handle.key);
        let is_ready = message.is_some() || is_over;
        let unneeded = match is_ready {
            true => leave(&mut core, self.handle.key, Want::Message, &mut self.tickets),
            false => enter(&mut core, self.handle.key, Want::Message, &mut self.tickets, 0, cx),
        };
        drop(core);
        drop(unneeded);
        if message.is_some() || state != ChannelState::Open {
            // Reading opens the window, and finding nothing may be what a close waited for; the driver sees to both.
            self.handle.touch();
        }
        if !is_ready {
            return Poll::Pending;
        }
        coop.made_progress();
        Poll::Ready(message)
    }

    /// Sends the message, which is gone when this is ready, and still there as long as it is not.
    pub(crate) fn poll_send(
        &mut self,
        cx: &mut Context<'_>,
        message: &mut Option<Message>,
    ) -> Poll<Result<(), SendError>> {
        let coop = ready!(poll_proceed(cx));
        let Some(taken) = message.take() else { return Poll::Ready(Ok(())) };
        let len = taken.len();
        let mut core = self.handle.lock();
        let now = self.handle.time(&core);
        let result = match self.is_their_turn(&core) {
            true => Err(TrySendError::Full(taken)),
            false => core.peer.try_send(now, self.handle.key, taken).map_err(TrySendError::from_core),
        };
        let result = match result {
            Ok(()) => Ok(()),
            Err(TrySendError::Never(error)) => Err(error),
            Err(TrySendError::Full(refused) | TrySendError::NotOpen(refused)) => {
                *message = Some(refused);
                let unneeded = enter(&mut core, self.handle.key, Want::Room, &mut self.tickets, len, cx);
                drop(core);
                drop(unneeded);
                return Poll::Pending;
            }
        };
        let unneeded = leave(&mut core, self.handle.key, Want::Room, &mut self.tickets);
        drop(core);
        drop(unneeded);
        self.handle.touch();
        coop.made_progress();
        Poll::Ready(result)
    }

    /// Waits until the channel is open and there is room for so many bytes.
    pub(crate) fn poll_room(&mut self, cx: &mut Context<'_>, len: usize) -> Poll<Result<(), SendError>> {
        let coop = ready!(poll_proceed(cx));
        let key = self.handle.key;
        let mut core = self.handle.lock();
        let is_connecting = core.peer.channel_state(key) == ChannelState::Connecting;
        let result = match is_connecting || core.peer.takes_messages(key) {
            true if self.is_their_turn(&core) || !core.peer.has_room_for(key, len) => None,
            true => Some(Ok(())),
            false => Some(Err(SendError::Closed)),
        };
        let unneeded = match result {
            Some(_) => leave(&mut core, key, Want::Room, &mut self.tickets),
            None => enter(&mut core, key, Want::Room, &mut self.tickets, len, cx),
        };
        drop(core);
        drop(unneeded);
        let Some(result) = result else { return Poll::Pending };
        coop.made_progress();
        Poll::Ready(result)
    }

    /// Begins a message in pieces, when it is its turn among those that want to send.
    pub(crate) fn poll_begin(
        &mut self,
        cx: &mut Context<'_>,
        kind: MessageKind,
    ) -> Poll<Result<(), WriteError>> {
        let coop = ready!(poll_proceed(cx));
        let key = self.handle.key;
        let mut core = self.handle.lock();
        let result = match self.is_their_turn(&core) {
            true => Err(PieceError::Busy),
            false => core.peer.begin_message(now(), key, kind),
        };
        let waits = matches!(result, Err(PieceError::Busy | PieceError::NotOpen));
        let unneeded = match waits {
            true => enter(&mut core, key, Want::Room, &mut self.tickets, 1, cx),
            false => leave(&mut core, key, Want::Room, &mut self.tickets),
        };
        drop(core);
        drop(unneeded);
        if waits {
            return Poll::Pending;
        }
        coop.made_progress();
        Poll::Ready(result.map_err(WriteError::from_core))
    }

    /// Gives the next piece, which is gone when this is ready, and still there as long as it is not.
    pub(crate) fn poll_piece(
        &mut self,
        cx: &mut Context<'_>,
        piece: &mut Option<Bytes>,
    ) -> Poll<Result<(), WriteError>> {
        let coop = ready!(poll_proceed(cx));
        let result = ready!(self.poll_until(cx, Want::Piece, |core, key| {
            let Some(taken) = piece.take() else { return Some(Ok(())) };
            match core.peer.append_to_message(now(), key, taken) {
                Err(PieceError::Full(refused)) => {
                    *piece = Some(refused);
                    None
                }
                result => Some(result.map_err(WriteError::from_core)),
            }
        }));
        self.handle.touch();
        coop.made_progress();
        Poll::Ready(result)
    }

    /// Begins to read the next message in pieces; `None` when the channel is closed and all that had arrived is read.
    pub(crate) fn poll_begin_recv(&mut self, cx: &mut Context<'_>) -> Poll<Option<MessageKind>> {
        let coop = ready!(poll_proceed(cx));
        let found = self.poll_until(cx, Want::Message, |core, key| {
            let kind = core.peer.begin_recv(key);
            let is_over = core.peer.channel_state(key) == ChannelState::Closed && !core.peer.is_reading(key);
            (kind.is_some() || is_over).then_some(kind)
        });
        // Finding nothing may be what a close waited for.
        self.handle.touch();
        let kind = ready!(found);
        coop.made_progress();
        Poll::Ready(kind)
    }

    /// The next bytes of the message that is read; `None` at its end.
    pub(crate) fn poll_next(&mut self, cx: &mut Context<'_>) -> Poll<Result<Option<Bytes>, ReadError>> {
        let coop = ready!(poll_proceed(cx));
        let result = ready!(self.poll_until(cx, Want::Message, |core, key| {
            let result = match core.peer.recv_piece(key) {
                Piece::Pending => return None,
                Piece::Bytes(piece) => return Some(Ok(Some(piece))),
                Piece::End | Piece::NotBegun => Ok(None),
                Piece::Aborted if core.peer.channel_state(key) == ChannelState::Closed => {
                    Err(ReadError::Closed)
                }
                Piece::Aborted => Err(ReadError::Aborted),
            };
            // Others may have waited for the end.
            core.wake(key, Want::Message);
            Some(result)
        }));
        // Reading opens the window.
        self.handle.touch();
        coop.made_progress();
        Poll::Ready(result)
    }

    /// Whether the channel is not open yet, or others stand in line to send, and we have come later.
    fn is_their_turn(&self, core: &PeerCore) -> bool {
        let key = self.handle.key;
        core.peer.channel_state(key) == ChannelState::Connecting
            || (self.tickets[Want::Room as usize].is_none()
                && core.channels.get(&key).is_some_and(|waiters| waiters.anybody(Want::Room)))
    }

    /// Waits until `check` finds what it looks for. It is asked again whenever what is wanted may have come.
    pub(crate) fn poll_until<T>(
        &mut self,
        cx: &mut Context<'_>,
        want: Want,
        check: impl FnOnce(&mut PeerCore, ChannelKey) -> Option<T>,
    ) -> Poll<T> {
        let key = self.handle.key;
        let mut core = self.handle.lock();
        let found = check(&mut core, key);
        let unneeded = match found {
            Some(_) => leave(&mut core, key, want, &mut self.tickets),
            None => enter(&mut core, key, want, &mut self.tickets, 0, cx),
        };
        drop(core);
        drop(unneeded);
        found.map_or(Poll::Pending, Poll::Ready)
    }

    /// Waits until everything has been handed to the network once.
    pub(crate) fn poll_flush(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), SendError>> {
        self.poll_until(cx, Want::Flush, |core, key| match core.peer.channel_state(key) {
            // An orderly end has delivered everything.
            ChannelState::Closed => match core.lost().is_some() {
                true => Some(Err(SendError::Closed)),
                false => Some(Ok(())),
            },
            _ => core.peer.is_flushed(key).then_some(Ok(())),
        })
    }

    /// Waits until the channel is closed.
    pub(crate) fn poll_closed(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        self.poll_until(cx, Want::State, |core, key| {
            (core.peer.channel_state(key) == ChannelState::Closed).then_some(())
        })
    }

    /// Closes the channel, and waits until that is done: what was accepted is delivered then.
    pub(crate) fn poll_close(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), SendError>> {
        if matches!(self.handle.state(), ChannelState::Connecting | ChannelState::Open) {
            self.handle.close();
        }
        ready!(self.poll_closed(cx));
        self.poll_flush(cx)
    }
}

fn enter(
    core: &mut PeerCore,
    key: ChannelKey,
    want: Want,
    tickets: &mut [Option<u64>; WANTS],
    len: usize,
    cx: &Context<'_>,
) -> Option<Waker> {
    core.channels.entry(key).or_default().enter(want, &mut tickets[want as usize], len, cx.waker())
}

fn leave(
    core: &mut PeerCore,
    key: ChannelKey,
    want: Want,
    tickets: &mut [Option<u64>; WANTS],
) -> Option<Waker> {
    let ticket = tickets[want as usize].take()?;
    core.channels.get_mut(&key)?.leave(want, ticket)
}

impl<H: Deref<Target = ChannelHandle>> Drop for Polls<H> {
    fn drop(&mut self) {
        if self.tickets.iter().all(Option::is_none) {
            return;
        }
        let key = self.handle.key;
        let mut core = self.handle.lock();
        let mut unneeded = [const { None }; WANTS];
        let waited_for_room = self.tickets[Want::Room as usize].is_some();
        for (want, unneeded) in [Want::Message, Want::Room, Want::Piece, Want::Flush, Want::Low, Want::State]
            .into_iter()
            .zip(&mut unneeded)
        {
            *unneeded = leave(&mut core, key, want, &mut self.tickets);
        }
        if waited_for_room {
            // It may have been woken for room that it does not take.
            let PeerCore { peer, channels, .. } = &mut *core;
            wake_for_room(channels, peer, key);
        }
        drop(core);
        drop(unneeded);
    }
}
