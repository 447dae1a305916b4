//! Files over data channels of protocol `sinnet-file`, one file a channel.
//!
//! ```text
//!  sender                                        receiver
//!  text    {"name":"…","size":N}       ──────▶
//!  binary  N bytes, in order           ──────▶   into a temporary file
//!  text    {"sha256":"hex"}            ──────▶   compares; renames the file
//!                                      ◀──────   text {"ok":true,"sha256":"hex","size":N}
//!                                                or   {"ok":false,"error":"…"}, at any time
//!  close
//! ```
//!
//! Binary messages have [`MESSAGE`] bytes or what the peer accepts, whichever is less. Nothing is allocated or reserved
//! for the announced size; it only limits what may come.

mod name;
mod receive;
mod send;
mod source;
#[cfg(test)]
mod tests;

use std::fmt::Write as _;
use std::io;

use serde::{Deserialize, Serialize};
use sinnet::{DataChannel, Message, MessageKind, MessageWriter, SendError, WriteError};
use tokio::sync::Mutex;

pub(crate) use name::sanitise;
pub(crate) use receive::{Store, Temporary, receive};
pub(crate) use send::send;
pub(crate) use source::Source;

/// The data channel's subprotocol.
pub(crate) const PROTOCOL: &str = "sinnet-file";

/// Most bytes of a file in one message.
const MESSAGE: usize = 64 * 1024;

/// Bytes read, hashed or written at once.
const BLOCK: usize = 1024 * 1024;

#[derive(Serialize, Deserialize)]
struct Header {
    name: String,
    size: u64,
}

#[derive(Serialize, Deserialize)]
struct Trailer {
    sha256: String,
}

#[derive(Serialize, Deserialize, Default)]
struct Verdict {
    ok: bool,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    sha256: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    size: Option<u64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    error: Option<String>,
}

/// A file did not get through.
#[derive(Debug, thiserror::Error)]
pub(crate) enum TransferError {
    /// The file system's fault.
    #[error("{what}: {source}")]
    File { what: String, source: io::Error },
    /// The other side said so, in these words.
    #[error("the other side refused the file: {0}")]
    Refused(String),
    /// The other side does not follow the protocol.
    #[error("the other side broke the file protocol: {0}")]
    Protocol(String),
    /// What arrived is not what was sent.
    #[error("the file arrived damaged: its SHA-256 is {actual}, but {announced} was announced")]
    Damaged { announced: String, actual: String },
    /// It is larger than allowed here.
    #[error("the file has {size} bytes, but at most {limit} are taken; see --max-size")]
    TooLarge { size: u64, limit: u64 },
    /// The channel ended too early.
    #[error("the channel was closed before the file was through")]
    Closed,
    /// The peer takes no messages that anything could be sent with.
    #[error("the message was not taken: {0}")]
    Send(SendError),
}

impl TransferError {
    pub(crate) fn file(what: impl Into<String>) -> impl FnOnce(io::Error) -> Self {
        let what = what.into();
        move |source| TransferError::File { what, source }
    }
}

impl From<SendError> for TransferError {
    fn from(error: SendError) -> Self {
        match error {
            SendError::Closed => TransferError::Closed,
            other => TransferError::Send(other),
        }
    }
}

/// What a transfer needs of a data channel.
pub(crate) trait Pipe: Sync {
    fn send(&self, message: Message) -> impl Future<Output = Result<(), SendError>> + Send;
    fn recv(&self) -> impl Future<Output = Option<Message>> + Send;
}

impl Pipe for DataChannel {
    async fn send(&self, message: Message) -> Result<(), SendError> {
        DataChannel::send(self, message).await
    }

    async fn recv(&self) -> Option<Message> {
        DataChannel::recv(self).await
    }
}

/// A channel on which all bytes between two texts are one message, however many they are.
pub(crate) struct AsOne<'a> {
    channel: &'a DataChannel,
    message: Mutex<Option<MessageWriter>>,
}

impl<'a> AsOne<'a> {
    pub(crate) fn new(channel: &'a DataChannel) -> Self {
        Self { channel, message: Mutex::new(None) }
    }
}

impl Pipe for AsOne<'_> {
    async fn send(&self, message: Message) -> Result<(), SendError> {
        let mut open = self.message.lock().await;
        let result = match message {
            Message::Binary(bytes) => {
                if open.is_none() {
                    *open = Some(self.channel.send_stream(MessageKind::Binary).await.map_err(send_error)?);
                }
                match open.as_mut() {
                    Some(message) => message.write(bytes).await,
                    None => Ok(()),
                }
            }
            text => {
                if let Some(message) = open.take() {
                    message.finish().map_err(send_error)?;
                }
                return self.channel.send(text).await;
            }
        };
        result.map_err(send_error)
    }

    async fn recv(&self) -> Option<Message> {
        self.channel.recv().await
    }
}

fn send_error(error: WriteError) -> SendError {
    match error {
        WriteError::TooLarge { size, limit } => {
            SendError::TooLarge { size: usize::try_from(size).unwrap_or(usize::MAX), limit }
        }
        _ => SendError::Closed,
    }
}

/// Where a transfer stands, for who looks on.
pub(crate) trait Watch: Send {
    /// The name and the size are known.
    fn begin(&mut self, name: &str, size: u64);
    /// So many bytes are through.
    fn at(&mut self, bytes: u64);
}

fn json(value: &impl Serialize) -> Message {
    // Strings, numbers and fixed keys: there is nothing here that serde_json refuses.
    Message::Text(serde_json::to_string(value).unwrap_or_default())
}

pub(crate) fn hex(digest: ring::digest::Digest) -> String {
    digest.as_ref().iter().fold(String::with_capacity(64), |mut text, byte| {
        let _ = write!(text, "{byte:02x}");
        text
    })
}
