//! What is sent: a file, or bytes made for the purpose.

use std::path::Path;

use bytes::{Bytes, BytesMut};
use tokio::fs::File;
use tokio::io::AsyncReadExt;

use super::{BLOCK, TransferError};

/// The bytes of one transfer, and what they are called.
#[derive(Debug)]
pub(crate) struct Source {
    pub(super) name: String,
    pub(super) size: u64,
    left: u64,
    bytes: Kind,
}

#[derive(Debug)]
enum Kind {
    File(File),
    /// The state of the generator.
    Sample(u64),
}

impl Source {
    /// A file, as long as it is now.
    pub(crate) async fn file(path: &Path) -> Result<Self, TransferError> {
        let cannot = || format!("can't read {}", path.display());
        let file = File::open(path).await.map_err(TransferError::file(cannot()))?;
        let metadata = file.metadata().await.map_err(TransferError::file(cannot()))?;
        if !metadata.is_file() {
            let source = std::io::Error::other("it is not a regular file");
            return Err(TransferError::File { what: cannot(), source });
        }
        let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        Ok(Self { name, size: metadata.len(), left: metadata.len(), bytes: Kind::File(file) })
    }

    /// So many bytes that look random and are always the same.
    pub(crate) fn sample(size: u64) -> Self {
        let name = format!("sample-{size}.bin");
        Self { name, size, left: size, bytes: Kind::Sample(0) }
    }

    pub(crate) fn name(&self) -> &str {
        &self.name
    }

    pub(crate) fn size(&self) -> u64 {
        self.size
    }

    /// The next [`BLOCK`] bytes, or what is left; empty at the end.
    pub(crate) async fn next_block(&mut self) -> Result<Bytes, TransferError> {
        let want = usize::try_from(self.left).unwrap_or(BLOCK).min(BLOCK);
        let mut block = BytesMut::with_capacity(want);
        match &mut self.bytes {
            Kind::File(file) => {
                while block.len() < want {
                    let got = (&mut *file).take((want - block.len()) as u64).read_buf(&mut block).await;
                    if got.map_err(TransferError::file(format!("can't read {}", self.name)))? == 0 {
                        let source = std::io::Error::other("it became shorter while it was sent");
                        return Err(TransferError::File { what: self.name.clone(), source });
                    }
                }
            }
            Kind::Sample(state) => {
                while block.len() < want {
                    let word = splitmix(state).to_le_bytes();
                    block.extend_from_slice(&word[..word.len().min(want - block.len())]);
                }
            }
        }
        self.left -= block.len() as u64;
        Ok(block.freeze())
    }
}

/// SplitMix64: fast, and no compression on the way could make anything of it.
fn splitmix(state: &mut u64) -> u64 {
    *state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let mut z = *state;
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}
