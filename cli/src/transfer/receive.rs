//! The receiver of a file.

use std::fmt::Write as _;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use bytes::Bytes;
use ring::digest::{Context, SHA256};
use ring::rand::{SecureRandom, SystemRandom};
use sinnet::Message;
use tokio::fs::File;
use tokio::io::{AsyncWriteExt, BufWriter};

use super::name::{numbered, sanitise};
use super::{BLOCK, Header, Pipe, Trailer, TransferError, Verdict, Watch, hex, json};

/// Where received files go.
#[derive(Clone, Debug)]
pub(crate) struct Store {
    /// A directory that exists; `None` hashes files and drops them.
    pub(crate) directory: Option<PathBuf>,
    /// Largest file taken, bytes.
    pub(crate) max_size: u64,
}

/// A file that arrived as it was sent.
#[derive(Debug)]
pub(crate) struct Received {
    /// Its name, made safe.
    pub(crate) name: String,
    pub(crate) size: u64,
    pub(crate) sha256: String,
    /// Where it lies, if it was kept.
    pub(crate) path: Option<PathBuf>,
}

/// Takes one file and tells the sender how it went. The channel is the sender's to close.
pub(crate) async fn receive(
    pipe: &impl Pipe,
    store: &Store,
    watch: &mut impl Watch,
) -> Result<Received, TransferError> {
    let result = take(pipe, store, watch).await;
    let verdict = match &result {
        Ok(got) => {
            Verdict { ok: true, sha256: Some(got.sha256.clone()), size: Some(got.size), ..Default::default() }
        }
        // What this side's disk is called is not for the other side.
        Err(TransferError::File { source, .. }) => {
            Verdict { error: Some(format!("can't write the file: {}", source.kind())), ..Default::default() }
        }
        Err(error) => Verdict { error: Some(error.to_string()), ..Default::default() },
    };
    if !matches!(result, Err(TransferError::Closed)) {
        // If it can't be told, the channel is closed, and the sender sees that.
        let _ = pipe.send(json(&verdict)).await;
    }
    result
}

async fn take(pipe: &impl Pipe, store: &Store, watch: &mut impl Watch) -> Result<Received, TransferError> {
    let protocol = |what: &str| TransferError::Protocol(what.to_owned());
    let Header { name, size } = match pipe.recv().await.ok_or(TransferError::Closed)? {
        Message::Text(text) => {
            serde_json::from_str(&text).map_err(|_| protocol("the first message has no name and size"))?
        }
        Message::Binary(_) => return Err(protocol("bytes came before the name")),
    };
    let name = sanitise(&name);
    watch.begin(&name, size);
    if size > store.max_size {
        return Err(TransferError::TooLarge { size, limit: store.max_size });
    }
    let mut file = match &store.directory {
        Some(directory) => Some(Temporary::create(directory).await?),
        None => None,
    };

    let mut hash = Context::new(&SHA256);
    let mut received: u64 = 0;
    let announced = loop {
        match pipe.recv().await.ok_or(TransferError::Closed)? {
            Message::Binary(bytes) => {
                received = received.saturating_add(bytes.len() as u64);
                if received > size {
                    return Err(protocol("more bytes came than were announced"));
                }
                hash.update(&bytes);
                if let Some(file) = &mut file {
                    file.write(&bytes).await?;
                }
                watch.at(received);
            }
            Message::Text(text) => match serde_json::from_str::<Trailer>(&text) {
                Ok(Trailer { sha256 }) => break sha256,
                Err(_) => return Err(protocol("the message after the bytes has no sha256")),
            },
        }
    };
    if received < size {
        return Err(protocol("fewer bytes came than were announced"));
    }
    let sha256 = hex(hash.finish());
    if !announced.eq_ignore_ascii_case(&sha256) {
        let announced = announced.chars().take(64).collect::<String>().escape_debug().to_string();
        return Err(TransferError::Damaged { announced, actual: sha256 });
    }
    let path = match file {
        Some(file) => Some(file.keep_as(&name).await?),
        None => None,
    };
    Ok(Received { name, size, sha256, path })
}

/// A file that is removed unless it is kept.
#[derive(Debug)]
pub(crate) struct Temporary {
    directory: PathBuf,
    path: PathBuf,
    file: BufWriter<File>,
    kept: bool,
}

impl Temporary {
    pub(crate) async fn create(directory: &Path) -> Result<Self, TransferError> {
        let cannot = || format!("can't make a file in {}", directory.display());
        let mut random = [0; 8];
        SystemRandom::new().fill(&mut random).map_err(|_| {
            let source = io::Error::other("the system has no randomness to give");
            TransferError::File { what: cannot(), source }
        })?;
        let mut name = String::from(".sinnet-");
        for byte in random {
            let _ = write!(name, "{byte:02x}");
        }
        name.push_str(".part");
        let path = directory.join(name);
        let file = File::create_new(&path).await.map_err(TransferError::file(cannot()))?;
        let file = BufWriter::with_capacity(BLOCK, file);
        Ok(Self { directory: directory.to_owned(), path, file, kept: false })
    }

    pub(crate) async fn write(&mut self, bytes: &Bytes) -> Result<(), TransferError> {
        self.file
            .write_all(bytes)
            .await
            .map_err(TransferError::file(format!("can't write {}", self.path.display())))
    }

    /// Gives it its name, or the name with the first number that is free: nothing is ever overwritten.
    pub(crate) async fn keep_as(mut self, name: &str) -> Result<PathBuf, TransferError> {
        let cannot = || format!("can't write {}", self.path.display());
        self.file.flush().await.map_err(TransferError::file(cannot()))?;
        for number in 0..10_000 {
            let path = self.directory.join(numbered(name, number));
            // The empty file holds the name, so that no other transfer takes it before the rename.
            match fs::OpenOptions::new().write(true).create_new(true).open(&path) {
                Ok(_) => {}
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => continue,
                Err(error) => {
                    return Err(TransferError::file(format!("can't make {}", path.display()))(error));
                }
            }
            if let Err(error) = fs::rename(&self.path, &path) {
                let _ = fs::remove_file(&path);
                return Err(TransferError::file(format!("can't make {}", path.display()))(error));
            }
            self.kept = true;
            return Ok(path);
        }
        let source = io::Error::other("all of its numbers are taken");
        Err(TransferError::File { what: format!("can't make {name}"), source })
    }

    /// Puts it here, over whatever is there: the user has named the place.
    pub(crate) async fn keep_at(mut self, path: PathBuf) -> Result<PathBuf, TransferError> {
        let cannot = format!("can't write {}", path.display());
        self.file.flush().await.map_err(TransferError::file(cannot.clone()))?;
        fs::rename(&self.path, &path).map_err(TransferError::file(cannot))?;
        self.kept = true;
        Ok(path)
    }
}

impl Drop for Temporary {
    fn drop(&mut self) {
        if !self.kept {
            let _ = fs::remove_file(&self.path);
        }
    }
}
