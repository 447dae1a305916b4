//! The sender of a file, or of standard input, to a group.

use bytes::{Bytes, BytesMut};
use ring::digest::{Context, SHA256};
use sinnet_alm::group::{Message, MulticastError, WebRtcAlm};
use tokio::io::{AsyncRead, AsyncReadExt};

use super::wire::{MAX_DATA, Note, Piece};
use crate::transfer::{Source, TransferError, Watch, hex};

/// What is cast.
pub(crate) enum Feed {
    /// A file, or a made one.
    Source(Source),
    /// Whatever comes, until it ends.
    Stream { name: String, from: Box<dyn AsyncRead + Send + Unpin> },
}

/// What all were sent.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Given {
    pub(crate) name: String,
    pub(crate) size: u64,
    pub(crate) sha256: String,
}

/// A file was not cast.
#[derive(Debug, thiserror::Error)]
pub(crate) enum GiveError {
    /// It can't be read. The members were told so.
    #[error(transparent)]
    Read(#[from] TransferError),
    /// The group takes nothing more.
    #[error(transparent)]
    Multicast(#[from] MulticastError),
}

/// Where the messages go: a group's owner, or a test.
pub(crate) trait Group {
    async fn send(&self, message: Message) -> Result<(), MulticastError>;
}

impl Group for WebRtcAlm {
    async fn send(&self, message: Message) -> Result<(), MulticastError> {
        self.multicast(message).await.map(drop)
    }
}

impl Feed {
    fn name(&self) -> &str {
        match self {
            Self::Source(source) => source.name(),
            Self::Stream { name, .. } => name,
        }
    }

    fn size(&self) -> Option<u64> {
        match self {
            Self::Source(source) => Some(source.size()),
            Self::Stream { .. } => None,
        }
    }

    /// The next bytes; none at the end.
    async fn next(&mut self) -> Result<Bytes, TransferError> {
        match self {
            Self::Source(source) => source.next_block().await,
            Self::Stream { name, from } => {
                let mut block = BytesMut::with_capacity(MAX_DATA);
                let read = from.read_buf(&mut block).await;
                read.map_err(TransferError::file(format!("can't read {name}")))?;
                Ok(block.freeze())
            }
        }
    }
}

/// Casts all of it. In a reliable group that takes as long as the slowest child that keeps up.
pub(crate) async fn give(
    group: &impl Group,
    id: u32,
    feed: &mut Feed,
    watch: &mut impl Watch,
) -> Result<Given, GiveError> {
    let (name, size) = (feed.name().to_owned(), feed.size());
    watch.begin(&name, size.unwrap_or(0));
    group.send(Note::File { id, name: name.clone(), size }.message()).await?;
    let mut hash = Context::new(&SHA256);
    let mut sent: u64 = 0;
    loop {
        let block = match feed.next().await {
            Ok(block) => block,
            Err(error) => {
                // What this side's disk is called is not for the others.
                let stop = Note::Stop { id, error: "the sender can't read it".to_owned() };
                group.send(stop.message()).await?;
                return Err(error.into());
            }
        };
        if block.is_empty() {
            break;
        }
        hash.update(&block);
        for data in block.chunks(MAX_DATA) {
            group.send(Piece::message(id, sent, data)).await?;
            sent += data.len() as u64;
            watch.at(sent);
        }
    }
    let sha256 = hex(hash.finish());
    group.send(Note::End { id, size: sent, sha256: sha256.clone() }.message()).await?;
    Ok(Given { name, size: sent, sha256 })
}
