//! A channel's two halves: one to send with, which is a [`Sink`], and one to receive with, which is a [`Stream`].

use std::future::poll_fn;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use futures_util::{Sink, Stream};
use sinnet_peer::Message;

use crate::channel_handle::{ChannelHandle, Polls};
use crate::data_channel::DataChannel;
use crate::error::{SendError, TrySendError};

/// The half of a [`DataChannel`] to send with.
///
/// As a [`Sink`], it is ready when there is room, flushed when everything has been handed to the network once, and closed
/// when everything has been delivered and the channel is closed. A message that it takes when it is ready is queued at
/// once, whatever its size, and dropping the sink takes nothing back; unless another handle has begun to give a message in
/// pieces ([`DataChannel::send_stream`]) since the sink was ready: then it is queued when the sink is polled next.
///
/// ```
/// use futures_util::{SinkExt, StreamExt, stream};
/// use sinnet::{DataReceiver, DataSender, Message};
///
/// # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// # let (here, there) = (sinnet::Endpoint::bind("127.0.0.1:0").await?, sinnet::Endpoint::bind("127.0.0.1:0").await?);
/// # let (a, b) = (here.peer_connection(Default::default())?, there.peer_connection(Default::default())?);
/// # let channel = a.create_data_channel("lines", Default::default())?;
/// # a.set_local_description(a.create_offer()?)?;
/// # b.set_remote_description(a.local_description().unwrap())?;
/// # b.set_local_description(b.create_answer()?)?;
/// # a.set_remote_description(b.local_description().unwrap())?;
/// # let their = loop {
/// #     if let Some(sinnet::PeerEvent::DataChannel(channel)) = b.next_event().await { break channel }
/// # };
/// // `channel` and `their` are the two ends of a data channel. One side sends all of a stream, then closes …
/// let (sender, _receiver) = channel.split();
/// let lines = stream::iter(["one", "two", "three"]).map(|line| Ok(Message::from(line)));
/// let sending = tokio::spawn(lines.forward(sender));
///
/// // … and the other one collects it.
/// let (_sender, receiver): (DataSender, DataReceiver) = their.split();
/// let got: Vec<Message> = receiver.collect().await;
/// assert_eq!(got, ["one".into(), "two".into(), "three".into()]);
/// sending.await??;
/// # Ok(()) }
/// ```
pub struct DataSender {
    polls: Polls<Arc<ChannelHandle>>,
    /// What the sink took when it was ready, and the channel did not take any more: another handle had begun to give a
    /// message in pieces.
    pending: Option<Message>,
}

impl DataSender {
    pub(crate) fn new(handle: Arc<ChannelHandle>) -> Self {
        Self { polls: Polls::new(handle), pending: None }
    }

    /// The whole channel.
    pub fn channel(&self) -> DataChannel {
        DataChannel(self.polls.handle().clone())
    }

    /// As [`DataChannel::send`].
    pub async fn send(&self, message: impl Into<Message>) -> Result<(), SendError> {
        let mut message = Some(message.into());
        let mut polls: Polls<&ChannelHandle> = Polls::new(self.polls.handle());
        poll_fn(|cx| polls.poll_send(cx, &mut message)).await
    }

    /// As [`DataChannel::try_send`].
    pub fn try_send(&self, message: impl Into<Message>) -> Result<(), TrySendError> {
        self.polls.handle().try_send(message.into())
    }
}

impl DataSender {
    fn poll_pending(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), SendError>> {
        match self.pending {
            Some(_) => self.polls.poll_send(cx, &mut self.pending),
            None => Poll::Ready(Ok(())),
        }
    }
}

impl Clone for DataSender {
    fn clone(&self) -> Self {
        Self::new(self.polls.handle().clone())
    }
}

impl<M: Into<Message>> Sink<M> for DataSender {
    type Error = SendError;

    fn poll_ready(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<(), SendError>> {
        ready!(self.poll_pending(cx))?;
        self.polls.poll_room(cx, 1)
    }

    fn start_send(mut self: Pin<&mut Self>, message: M) -> Result<(), SendError> {
        if self.pending.is_some() {
            return Err(SendError::NotReady);
        }
        match self.polls.handle().send_over_budget(message.into()) {
            Ok(()) => Ok(()),
            Err(TrySendError::Never(error)) => Err(error),
            Err(TrySendError::Full(message) | TrySendError::NotOpen(message)) => {
                self.pending = Some(message);
                Ok(())
            }
        }
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<(), SendError>> {
        ready!(self.poll_pending(cx))?;
        self.polls.poll_flush(cx)
    }

    fn poll_close(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<(), SendError>> {
        ready!(self.poll_pending(cx))?;
        self.polls.poll_close(cx)
    }
}

impl std::fmt::Debug for DataSender {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("DataSender")
            .field("label", &self.polls.handle().options.label)
            .finish_non_exhaustive()
    }
}

/// The half of a [`DataChannel`] to receive with.
///
/// As a [`Stream`], it ends when the channel is closed and all that had arrived is read;
/// [`PeerConnection::close_reason`](crate::PeerConnection::close_reason) tells whether somebody wanted that.
pub struct DataReceiver {
    polls: Polls<Arc<ChannelHandle>>,
}

impl DataReceiver {
    pub(crate) fn new(handle: Arc<ChannelHandle>) -> Self {
        Self { polls: Polls::new(handle) }
    }

    /// The whole channel.
    pub fn channel(&self) -> DataChannel {
        DataChannel(self.polls.handle().clone())
    }

    /// As [`DataChannel::recv`]. Cancel safe.
    pub async fn recv(&mut self) -> Option<Message> {
        poll_fn(|cx| self.polls.poll_recv(cx)).await
    }

    /// As [`DataChannel::try_recv`].
    pub fn try_recv(&mut self) -> Option<Message> {
        self.polls.handle().try_recv()
    }
}

impl Stream for DataReceiver {
    type Item = Message;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Message>> {
        self.polls.poll_recv(cx)
    }
}

impl std::fmt::Debug for DataReceiver {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("DataReceiver")
            .field("label", &self.polls.handle().options.label)
            .finish_non_exhaustive()
    }
}
