//! A channel as a stream of bytes.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use bytes::{Buf, Bytes};
use sinnet_peer::{ChannelState, Message};
use tokio::io::{AsyncBufRead, AsyncRead, AsyncWrite, ReadBuf};

use crate::channel_handle::{ChannelHandle, Polls};
use crate::data_channel::DataChannel;
use crate::error::{Error, SendError, TrySendError};

/// What a write sends in one message, unless [`ByteStream::set_write_size`] says otherwise: small enough to let others go
/// between where the peer does not interleave, and not so small that it costs.
const WRITE_SIZE: usize = 32 * 1024;

/// A [`DataChannel`] as a stream of bytes: tokio's [`AsyncRead`] (and [`AsyncBufRead`]) and [`AsyncWrite`].
///
/// - **A write** becomes one binary message of at most 32 KiB ([`ByteStream::set_write_size`]) and what the peer accepts. It
///   waits until there is room. Nothing is kept back, so `flush` has nothing to do; use a
///   [`BufWriter`](tokio::io::BufWriter) if writes are small.
/// - **A read** gives the bytes of one message after the other, whatever their sizes. Text is taken as its UTF-8 bytes, and
///   empty messages as nothing.
/// - **The end** of the channel is the end of the stream. When the connection was lost or aborted (as a browser's
///   `pc.close()` does) while the channel was open, it is an error ([`io::ErrorKind::ConnectionReset`]), so that nobody takes half a file for
///   a whole one.
/// - **`shutdown`** closes the channel in order and is done when everything has been delivered. A data channel closes in
///   both directions: what the peer has sent by then can still be read, but it can't go on.
///
/// ```
/// # use sinnet::PeerEvent;
/// use tokio::io::{AsyncReadExt, AsyncWriteExt};
///
/// # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// # let (here, there) = (sinnet::Endpoint::bind("127.0.0.1:0").await?, sinnet::Endpoint::bind("127.0.0.1:0").await?);
/// # let (a, b) = (here.peer_connection(Default::default())?, there.peer_connection(Default::default())?);
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
///     let mut file = &[7u8; 300_000][..];
///     let mut stream = channel.into_byte_stream().expect("ordered and reliable");
///     tokio::io::copy(&mut file, &mut stream).await?;
///     stream.shutdown().await
/// });
/// let mut got = Vec::new();
/// their.into_byte_stream().expect("ordered and reliable").read_to_end(&mut got).await?;
/// assert_eq!(got.len(), 300_000);
/// sending.await??;
/// # Ok(()) }
/// ```
pub struct ByteStream {
    polls: Polls<Arc<ChannelHandle>>,
    /// The rest of the message that is being read.
    unread: Bytes,
    write_size: usize,
}

impl ByteStream {
    pub(crate) fn new(handle: Arc<ChannelHandle>) -> Self {
        Self { polls: Polls::new(handle), unread: Bytes::new(), write_size: WRITE_SIZE }
    }

    /// The most that one write sends in one message, in bytes; 32 KiB at first, at least 1. If the peer accepts less, it
    /// is that.
    pub fn set_write_size(&mut self, bytes: usize) {
        self.write_size = bytes.max(1);
    }

    /// The channel under it. What of the last message was not read yet is not read by it.
    pub fn channel(&self) -> DataChannel {
        DataChannel(self.polls.handle().clone())
    }

    /// The size of the next message, if so many bytes are there to write.
    fn next_write(&self, len: usize) -> usize {
        let accepted = self.polls.handle().lock().peer.peer_max_message_size();
        let accepted = accepted.and_then(|accepted| usize::try_from(accepted).ok()).unwrap_or(usize::MAX);
        len.min(self.write_size).min(accepted)
    }
}

impl AsyncBufRead for ByteStream {
    fn poll_fill_buf(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<&[u8]>> {
        let this = self.get_mut();
        while this.unread.is_empty() {
            match ready!(this.polls.poll_recv(cx)) {
                Some(Message::Binary(bytes)) => this.unread = bytes,
                Some(Message::Text(text)) => this.unread = Bytes::from(text),
                None => {
                    let core = this.polls.handle().lock();
                    let Some(reason) = core.lost().cloned() else { return Poll::Ready(Ok(&[])) };
                    let error = Error::Closed(reason);
                    return Poll::Ready(Err(io::Error::new(io::ErrorKind::ConnectionReset, error)));
                }
            }
        }
        Poll::Ready(Ok(&this.unread))
    }

    fn consume(mut self: Pin<&mut Self>, amount: usize) {
        let amount = amount.min(self.unread.len());
        self.unread.advance(amount);
    }
}

impl AsyncRead for ByteStream {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        if buf.remaining() == 0 {
            return Poll::Ready(Ok(()));
        }
        let unread = ready!(self.as_mut().poll_fill_buf(cx))?;
        let len = unread.len().min(buf.remaining());
        buf.put_slice(&unread[..len]);
        self.consume(len);
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for ByteStream {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        if buf.is_empty() {
            return Poll::Ready(Ok(0));
        }
        loop {
            let len = self.next_write(buf.len());
            ready!(self.polls.poll_room(cx, len)).map_err(broken)?;
            // The peer's limit may have come with the opening.
            let len = self.next_write(len);
            let message = Bytes::copy_from_slice(&buf[..len]);
            match self.polls.handle().send_over_budget(message.into()) {
                Ok(()) => return Poll::Ready(Ok(len)),
                Err(TrySendError::Never(error)) => return Poll::Ready(Err(broken(error))),
                // Another handle has just begun to give a message in pieces.
                Err(TrySendError::Full(_) | TrySendError::NotOpen(_)) => {}
            }
        }
    }

    /// Nothing is kept back, so there is nothing to flush.
    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.polls.handle().state() {
            ChannelState::Closed if self.polls.handle().lock().lost().is_some() => {
                Poll::Ready(Err(broken(SendError::Closed)))
            }
            _ => Poll::Ready(Ok(())),
        }
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.polls.poll_close(cx).map_err(broken)
    }
}

fn broken(error: SendError) -> io::Error {
    io::Error::new(io::ErrorKind::BrokenPipe, error)
}

impl std::fmt::Debug for ByteStream {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ByteStream")
            .field("label", &self.polls.handle().options.label)
            .finish_non_exhaustive()
    }
}
