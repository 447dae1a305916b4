//! The receiver of what is cast in a group.

use std::collections::HashMap;
use std::path::PathBuf;

use ring::digest::{Context, SHA256};
use sinnet_alm::group::Message;
use tokio::io::AsyncWriteExt;

use super::wire::{Note, Piece};
use crate::transfer::{Temporary, TransferError, hex, sanitise};

/// Files under way at once; those above are left out.
const MAX_FILES: usize = 16;

/// Where files go.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) enum Out {
    /// They are hashed and dropped.
    Nowhere,
    /// Under their own names, and never over another file.
    Directory(PathBuf),
    /// Here, over whatever is there.
    File(PathBuf),
    /// Standard output, as they come.
    Stdout,
}

/// A file that has come whole.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Taken {
    /// Its name, made safe.
    pub(crate) name: String,
    pub(crate) size: u64,
    pub(crate) sha256: String,
    /// Where it lies, if it was kept.
    pub(crate) path: Option<PathBuf>,
}

/// What a message was.
#[derive(Debug)]
pub(crate) enum Happening {
    /// Text from somebody to everybody.
    Chat(String),
    /// A file has begun.
    Begun { id: u32, name: String, size: Option<u64> },
    /// So much of it is here.
    At { id: u32, bytes: u64 },
    /// All of it is here, as it was sent.
    Done { id: u32, taken: Taken },
    /// It will not come whole.
    Failed { id: u32, name: String, error: TransferError },
    /// Nothing that is known of; counted.
    Ignored,
}

struct File {
    name: String,
    size: Option<u64>,
    came: u64,
    hash: Context,
    kept: Kept,
}

enum Kept {
    Nothing,
    File(Box<Temporary>),
    Stdout,
}

/// All that comes in one group.
pub(crate) struct Taker {
    out: Out,
    max_size: u64,
    files: HashMap<u32, File>,
    ignored: u64,
}

impl Taker {
    /// Takes files of at most so many bytes.
    pub(crate) fn new(out: Out, max_size: u64) -> Self {
        Self { out, max_size, files: HashMap::new(), ignored: 0 }
    }

    /// Messages that belonged to no file: of one that had begun before, above all.
    pub(crate) fn ignored(&self) -> u64 {
        self.ignored
    }

    /// One message of the group.
    pub(crate) async fn take(&mut self, message: Message) -> Happening {
        match message {
            Message::Text(text) => match Note::parse(&text) {
                None => Happening::Chat(text),
                Some(Note::File { id, name, size }) => self.begin(id, &name, size).await,
                Some(Note::End { id, size, sha256 }) => match self.files.remove(&id) {
                    Some(file) => self.end(id, file, size, &sha256).await,
                    None => self.ignore(),
                },
                Some(Note::Stop { id, error }) => {
                    let error: String = error.chars().take(500).collect();
                    self.fail(id, TransferError::Refused(error.escape_debug().to_string()))
                }
            },
            Message::Bytes(bytes) => match Piece::parse(bytes) {
                Some(piece) => self.piece(piece).await,
                None => self.ignore(),
            },
        }
    }

    /// Nothing more comes, for this reason: what becomes of the files that are under way.
    pub(crate) fn give_up(&mut self, why: &str) -> Vec<Happening> {
        let ids: Vec<u32> = self.files.keys().copied().collect();
        ids.into_iter().map(|id| self.fail(id, protocol(why))).collect()
    }

    async fn begin(&mut self, id: u32, name: &str, size: Option<u64>) -> Happening {
        let name = sanitise(name);
        // Two files on one standard output would be neither.
        let alone = matches!(self.out, Out::Stdout | Out::File(_));
        if self.files.contains_key(&id) || self.files.len() >= if alone { 1 } else { MAX_FILES } {
            return self.ignore();
        }
        if let Some(size) = size.filter(|size| *size > self.max_size) {
            let error = TransferError::TooLarge { size, limit: self.max_size };
            return Happening::Failed { id, name, error };
        }
        let kept = match &self.out {
            Out::Nowhere => Ok(Kept::Nothing),
            Out::Stdout => Ok(Kept::Stdout),
            Out::Directory(directory) => {
                Temporary::create(directory).await.map(|file| Kept::File(Box::new(file)))
            }
            Out::File(path) => {
                let directory = path.parent().filter(|parent| !parent.as_os_str().is_empty());
                Temporary::create(directory.unwrap_or(".".as_ref()))
                    .await
                    .map(|file| Kept::File(Box::new(file)))
            }
        };
        match kept {
            Ok(kept) => {
                let file = File { name: name.clone(), size, came: 0, hash: Context::new(&SHA256), kept };
                self.files.insert(id, file);
                Happening::Begun { id, name, size }
            }
            Err(error) => Happening::Failed { id, name, error },
        }
    }

    async fn piece(&mut self, Piece { id, offset, data }: Piece) -> Happening {
        let limit = self.max_size;
        let Some(file) = self.files.get_mut(&id) else { return self.ignore() };
        let came = file.came.saturating_add(data.len() as u64);
        let written = if offset != file.came {
            Err(protocol("a part of it is missing"))
        } else if file.size.is_some_and(|size| came > size) {
            Err(protocol("more bytes came than were announced"))
        } else if came > limit {
            Err(TransferError::TooLarge { size: came, limit })
        } else {
            file.hash.update(&data);
            match &mut file.kept {
                Kept::Nothing => Ok(()),
                Kept::File(file) => file.write(&data).await,
                Kept::Stdout => {
                    let mut stdout = tokio::io::stdout();
                    let written = stdout.write_all(&data).await;
                    written.map_err(TransferError::file("can't write to standard output"))
                }
            }
        };
        match written {
            Ok(()) => {
                file.came = came;
                Happening::At { id, bytes: came }
            }
            Err(error) => self.fail(id, error),
        }
    }

    async fn end(&mut self, id: u32, file: File, size: u64, sha256: &str) -> Happening {
        let File { name, size: announced, came, hash, kept } = file;
        let actual = hex(hash.finish());
        let kept = if came != size || announced.is_some_and(|announced| announced != size) {
            Err(protocol("it ended with another size than was announced"))
        } else if !sha256.eq_ignore_ascii_case(&actual) {
            let announced = sha256.chars().take(64).collect::<String>().escape_debug().to_string();
            Err(TransferError::Damaged { announced, actual: actual.clone() })
        } else {
            match (kept, &self.out) {
                (Kept::File(file), Out::File(path)) => file.keep_at(path.clone()).await.map(Some),
                (Kept::File(file), _) => file.keep_as(&name).await.map(Some),
                (Kept::Stdout, _) => {
                    let flushed = tokio::io::stdout().flush().await;
                    flushed.map(|()| None).map_err(TransferError::file("can't write to standard output"))
                }
                (Kept::Nothing, _) => Ok(None),
            }
        };
        match kept {
            Ok(path) => Happening::Done { id, taken: Taken { name, size, sha256: actual, path } },
            Err(error) => Happening::Failed { id, name, error },
        }
    }

    fn fail(&mut self, id: u32, error: TransferError) -> Happening {
        match self.files.remove(&id) {
            Some(File { name, .. }) => Happening::Failed { id, name, error },
            None => self.ignore(),
        }
    }

    fn ignore(&mut self) -> Happening {
        self.ignored += 1;
        Happening::Ignored
    }
}

fn protocol(what: &str) -> TransferError {
    TransferError::Protocol(what.to_owned())
}
