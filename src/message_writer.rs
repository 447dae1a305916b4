//! One message, given in pieces.

use std::future::poll_fn;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use sinnet_peer::MessageKind;
use tokio::io::AsyncWrite;

use crate::channel_handle::{ChannelHandle, Polls};
use crate::error::WriteError;
use crate::shared::now;
use crate::utf8::Utf8;

/// The most that [`AsyncWrite`] copies at a time.
const COPIED: usize = 64 * 1024;

/// One message that is given in pieces, by [`DataChannel::send_stream`](crate::DataChannel::send_stream).
///
/// What is given is sent at once, but for the last 1024 bytes, which wait for more or for the end. It counts in the
/// channel's send buffer as messages do.
///
/// **The peer sees the message whole or not at all**: dropped before [`finish`](MessageWriter::finish), or after an error,
/// it is given up, and the peer is told to forget what it has. So is one that is open when its channel closes.
///
/// It is an [`AsyncWrite`], too: then `flush` does nothing, and `shutdown` finishes the message.
///
/// ```
/// # use sinnet::{MessageKind, PeerConfig, PeerEvent};
/// # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// # let (here, there) = (sinnet::Endpoint::bind("127.0.0.1:0").await?, sinnet::Endpoint::bind("127.0.0.1:0").await?);
/// // Messages of up to 1 GiB may come to `b`, if they are read in pieces.
/// let mut config = PeerConfig::default();
/// config.max_message_size_in_pieces = 1 << 30;
/// # let a = here.peer_connection(Default::default())?;
/// let b = there.peer_connection(config)?;
/// # let channel = a.create_data_channel("file", Default::default())?;
/// # a.set_local_description(a.create_offer()?)?;
/// # b.set_remote_description(a.local_description().unwrap())?;
/// # b.set_local_description(b.create_answer()?)?;
/// # a.set_remote_description(b.local_description().unwrap())?;
/// # let their = loop {
/// #     if let Some(PeerEvent::DataChannel(channel)) = b.next_event().await { break channel }
/// # };
/// // `channel` and `their` are the two ends of a data channel.
/// let sending = tokio::spawn(async move {
///     let mut message = channel.send_stream(MessageKind::Binary).await?;
///     for piece in 0..100 {
///         message.write(vec![piece; 20_000]).await?;
///     }
///     message.finish()?;
///     channel.flush().await.map_err(|_| sinnet::WriteError::Closed)?;
///     // Closed only when it has been delivered.
///     Ok::<_, sinnet::WriteError>(channel)
/// });
/// let mut message = their.recv_stream().await.expect("a message");
/// let mut size = 0;
/// while let Some(piece) = message.next().await? {
///     size += piece.len();
/// }
/// assert_eq!((message.kind(), size), (MessageKind::Binary, 2_000_000));
/// # sending.await??;
/// # Ok(()) }
/// ```
#[must_use = "dropped without `finish`, the message is given up"]
pub struct MessageWriter {
    polls: Polls<Arc<ChannelHandle>>,
    /// What has been checked, if it is text.
    text: Option<Utf8>,
    open: bool,
}

impl MessageWriter {
    pub(crate) fn new(handle: Arc<ChannelHandle>, kind: MessageKind) -> Self {
        let text = (kind == MessageKind::Text).then(Utf8::default);
        Self { polls: Polls::new(handle), text, open: true }
    }

    /// Gives the next piece; waits until there is room for it. It is not copied, except for its first and last 1024
    /// bytes. A text may be cut anywhere, within a character too.
    ///
    /// Cancel safe: of a future that is dropped before it is ready, nothing was taken.
    ///
    /// # Errors
    /// See [`WriteError`]; the message is given up then, and every further call fails.
    pub async fn write(&mut self, piece: impl Into<Bytes>) -> Result<(), WriteError> {
        let mut piece = Some(piece.into());
        poll_fn(|cx| self.poll_piece(cx, &mut piece)).await
    }

    fn poll_piece(
        &mut self,
        cx: &mut Context<'_>,
        piece: &mut Option<Bytes>,
    ) -> Poll<Result<(), WriteError>> {
        if !self.open {
            return Poll::Ready(Err(WriteError::Closed));
        }
        let mut text = self.text;
        if let (Some(text), Some(piece)) = (&mut text, &piece)
            && !text.feed(piece)
        {
            self.give_up();
            return Poll::Ready(Err(WriteError::NotUtf8));
        }
        let result = ready!(self.polls.poll_piece(cx, piece));
        match result {
            Ok(()) => self.text = text,
            Err(_) => self.give_up(),
        }
        Poll::Ready(result)
    }

    /// Ends the message. There is nothing to wait for: what was given is sent, and arrives if the channel is reliable. A
    /// message of which nothing was given is empty.
    ///
    /// # Errors
    /// [`WriteError::NotUtf8`] when a text ends within a character, [`WriteError::Abandoned`], [`WriteError::Closed`]: the
    /// peer sees nothing of the message.
    pub fn finish(mut self) -> Result<(), WriteError> {
        self.end()
    }

    fn end(&mut self) -> Result<(), WriteError> {
        if !self.open {
            return Err(WriteError::Closed);
        }
        if self.text.is_some_and(|text| !text.begun().is_empty()) {
            self.give_up();
            return Err(WriteError::NotUtf8);
        }
        self.open = false;
        let handle = self.polls.handle();
        let result = handle.lock().peer.finish_message(now(), handle.key).map_err(WriteError::from_core);
        handle.touch();
        result
    }

    /// Gives the message up: the peer sees nothing of it. Dropping does the same.
    pub fn abort(self) {}

    fn give_up(&mut self) {
        if std::mem::take(&mut self.open) {
            let handle = self.polls.handle();
            handle.lock().peer.abandon_message(now(), handle.key);
            handle.touch();
        }
    }
}

impl Drop for MessageWriter {
    fn drop(&mut self) {
        self.give_up();
    }
}

impl AsyncWrite for MessageWriter {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        let part = bytes.get(..bytes.len().min(COPIED)).unwrap_or_default();
        // Copied again if it is refused now: the caller may come with other bytes.
        let mut piece = Some(Bytes::copy_from_slice(part));
        Poll::Ready(ready!(this.poll_piece(cx, &mut piece)).map(|()| part.len()).map_err(io_error))
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(self.get_mut().end().map_err(io_error))
    }
}

fn io_error(error: WriteError) -> io::Error {
    let kind = match error {
        WriteError::NotUtf8 => io::ErrorKind::InvalidData,
        WriteError::TooLarge { .. } => io::ErrorKind::InvalidInput,
        WriteError::NotSupported => io::ErrorKind::Unsupported,
        _ => io::ErrorKind::BrokenPipe,
    };
    io::Error::new(kind, error)
}

impl std::fmt::Debug for MessageWriter {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("MessageWriter").field("open", &self.open).finish_non_exhaustive()
    }
}
