//! One message, read in pieces.

use std::future::poll_fn;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use bytes::{Buf, Bytes, BytesMut};
use sinnet_peer::MessageKind;
use tokio::io::{AsyncRead, ReadBuf};

use crate::channel_handle::{ChannelHandle, Polls};
use crate::error::ReadError;
use crate::shared::now;
use crate::utf8::Utf8;
use crate::waiters::Want;

/// One message that is read in pieces as they come, by [`DataChannel::recv_stream`](crate::DataChannel::recv_stream). An
/// example is with [`MessageWriter`](crate::MessageWriter).
///
/// A message that the sender gives up half way ends with an error, and never looks complete. Dropped before the end, the
/// reader refuses the rest, which takes no room any more.
///
/// It is an [`AsyncRead`], too, that ends with the message.
pub struct MessageReader {
    polls: Polls<Arc<ChannelHandle>>,
    kind: MessageKind,
    /// Of the last piece: the beginning of a character, if it is text.
    text: Option<Utf8>,
    /// The rest of a piece, for [`AsyncRead`].
    unread: Bytes,
    /// How it has ended.
    ended: Option<Result<(), ReadError>>,
}

impl MessageReader {
    pub(crate) fn new(handle: Arc<ChannelHandle>, kind: MessageKind) -> Self {
        let text = (kind == MessageKind::Text).then(Utf8::default);
        Self { polls: Polls::new(handle), kind, text, unread: Bytes::new(), ended: None }
    }

    /// Text or binary.
    pub fn kind(&self) -> MessageKind {
        self.kind
    }

    /// Waits for the next bytes of the message; `None` at its end. Pieces have whatever sizes, but are never empty. They
    /// are not those that the sender gave. Each piece of a text has whole characters only and is UTF-8 by itself.
    ///
    /// Cancel safe: a future that is dropped before it is ready has taken nothing.
    ///
    /// # Errors
    /// See [`ReadError`]: what was read so far is not a message. Every further call says the same.
    pub async fn next(&mut self) -> Result<Option<Bytes>, ReadError> {
        poll_fn(|cx| self.poll_next(cx)).await
    }

    fn poll_next(&mut self, cx: &mut Context<'_>) -> Poll<Result<Option<Bytes>, ReadError>> {
        if !self.unread.is_empty() {
            return Poll::Ready(Ok(Some(std::mem::take(&mut self.unread))));
        }
        loop {
            if let Some(ended) = self.ended {
                return Poll::Ready(ended.map(|()| None));
            }
            match ready!(self.polls.poll_next(cx)) {
                Ok(Some(piece)) => match self.characters(piece) {
                    Some(piece) if piece.is_empty() => {}
                    Some(piece) => return Poll::Ready(Ok(Some(piece))),
                    None => self.refuse(ReadError::NotUtf8),
                },
                Ok(None) => {
                    let is_whole = self.text.is_none_or(|text| text.begun().is_empty());
                    self.ended = Some(if is_whole { Ok(()) } else { Err(ReadError::NotUtf8) });
                }
                Err(error) => self.ended = Some(Err(error)),
            }
        }
    }

    /// The whole characters of what has come, if it is text; `None` if it is not UTF-8.
    fn characters(&mut self, mut piece: Bytes) -> Option<Bytes> {
        let Some(text) = &mut self.text else { return Some(piece) };
        let before = *text;
        if !text.feed(&piece) {
            return None;
        }
        if before.begun().is_empty() {
            piece.truncate(piece.len() - text.begun().len());
            return Some(piece);
        }
        let mut whole = BytesMut::with_capacity(before.begun().len() + piece.len());
        whole.extend_from_slice(before.begun());
        whole.extend_from_slice(&piece);
        whole.truncate(whole.len() - text.begun().len());
        Some(whole.freeze())
    }

    /// The rest is dropped as it comes.
    fn refuse(&mut self, error: ReadError) {
        if self.ended.is_some() {
            return;
        }
        self.ended = Some(Err(error));
        let handle = self.polls.handle();
        let mut core = handle.lock();
        core.peer.stop_recv(now(), handle.key);
        // Others may have waited for the end.
        core.wake(handle.key, Want::Message);
        drop(core);
        handle.touch();
    }
}

impl Drop for MessageReader {
    fn drop(&mut self) {
        self.refuse(ReadError::Aborted);
    }
}

impl AsyncRead for MessageReader {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        let piece = ready!(this.poll_next(cx)).map_err(|error| {
            let kind = match error {
                ReadError::NotUtf8 => io::ErrorKind::InvalidData,
                ReadError::Aborted => io::ErrorKind::ConnectionAborted,
                ReadError::Closed => io::ErrorKind::ConnectionReset,
            };
            io::Error::new(kind, error)
        })?;
        if let Some(mut piece) = piece {
            let len = piece.len().min(buf.remaining());
            buf.put_slice(piece.get(..len).unwrap_or_default());
            piece.advance(len);
            this.unread = piece;
        }
        Poll::Ready(Ok(()))
    }
}

impl std::fmt::Debug for MessageReader {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("MessageReader")
            .field("kind", &self.kind)
            .field("ended", &self.ended)
            .finish_non_exhaustive()
    }
}
