//! The channel of protocol `sinnet-control`: which files there are, and which the page wants.
//!
//! ```text
//! server  {"files":[{"name":"…","size":N},…],"saves":true}      when it opens, and after {"list":true}
//! page    {"get":"name"}  {"sample":N}  {"list":true}           the file comes on a channel of its own
//! server  {"error":"…"}                                         to what can't be done
//! ```

use std::path::{Path, PathBuf};
use std::sync::Arc;

use serde::{Deserialize, Serialize};
use sinnet::{DataChannel, Message};
use tokio::sync::Semaphore;
use tokio::task::JoinSet;

use super::visit::{Visit, send};
use crate::transfer::Source;

/// The data channel's subprotocol.
pub(super) const PROTOCOL: &str = "sinnet-control";

/// Largest sample, bytes: what the page's field allows.
const MAX_SAMPLE: u64 = 4_096_000_000;

/// Files on their way to one browser at once.
const MAX_SENDING: usize = 8;

/// Files listed; a page is not made for more.
const MAX_LISTED: usize = 500;

/// What there is to be had.
pub(super) struct Shelf {
    /// Where the files lie.
    pub(super) directory: Option<PathBuf>,
    /// Whether what the browser sends is kept, for the page to say.
    pub(super) saves: bool,
}

#[derive(Serialize, Deserialize, Clone, PartialEq, Eq, Debug)]
struct Listed {
    name: String,
    size: u64,
}

#[derive(Serialize)]
struct Listing {
    files: Vec<Listed>,
    saves: bool,
}

#[derive(Deserialize, PartialEq, Eq, Debug)]
#[serde(rename_all = "lowercase")]
enum Request {
    List(bool),
    Get(String),
    Sample(u64),
}

impl Shelf {
    /// The regular files, by name. Read anew each time: they may change.
    fn list(&self) -> Vec<Listed> {
        let Some(entries) = self.directory.as_deref().and_then(|directory| directory.read_dir().ok()) else {
            return Vec::new();
        };
        let mut files: Vec<Listed> = entries
            .filter_map(|entry| {
                let entry = entry.ok()?;
                // Not followed: a link could lead anywhere.
                let metadata = entry.metadata().ok()?;
                let name = entry.file_name().into_string().ok()?;
                (metadata.is_file() && !name.starts_with('.')).then_some((name, metadata.len()))
            })
            .map(|(name, size)| Listed { name, size })
            .take(MAX_LISTED)
            .collect();
        files.sort_by(|a, b| a.name.cmp(&b.name));
        files
    }

    /// Where a listed file lies. A name is never used as a path unless it is listed.
    fn find(&self, name: &str) -> Option<PathBuf> {
        let listed = self.list().into_iter().find(|listed| listed.name == name)?;
        Some(self.directory.as_deref().map(Path::to_owned)?.join(listed.name))
    }

    fn listing(&self) -> Message {
        json(&Listing { files: self.list(), saves: self.saves })
    }
}

/// Answers requests until the channel closes.
pub(super) async fn serve(visit: &Visit, channel: &DataChannel) {
    let shelf = &visit.host.shelf;
    if channel.send(shelf.listing()).await.is_err() {
        return;
    }
    let places = Arc::new(Semaphore::new(MAX_SENDING));
    let mut sending = JoinSet::new();
    loop {
        let message = tokio::select! {
            message = channel.recv() => message,
            Some(_) = sending.join_next() => continue,
        };
        let Some(message) = message else { break };
        let answer = match serde_json::from_slice(message.as_bytes()) {
            Err(error) => Err(format!("not a request: {error}")),
            Ok(Request::List(_)) => Ok(Some(shelf.listing())),
            Ok(request) => match places.clone().try_acquire_owned() {
                Err(_) => Err(format!("{MAX_SENDING} files are on their way already")),
                Ok(place) => match find(shelf, request).await {
                    Err(error) => Err(error),
                    Ok(source) => {
                        let visit = visit.clone();
                        sending.spawn(async move {
                            send(&visit, source).await;
                            drop(place);
                        });
                        Ok(None)
                    }
                },
            },
        };
        let answer = match answer {
            Ok(None) => continue,
            Ok(Some(message)) => message,
            Err(error) => json(&serde_json::json!({ "error": error })),
        };
        if channel.send(answer).await.is_err() {
            break;
        }
    }
    while sending.join_next().await.is_some() {}
}

async fn find(shelf: &Shelf, request: Request) -> Result<Source, String> {
    match request {
        Request::Sample(size) if size <= MAX_SAMPLE => Ok(Source::sample(size)),
        Request::Sample(_) => Err(format!("a sample has at most {MAX_SAMPLE} bytes")),
        Request::Get(name) => {
            let path = shelf.find(&name).ok_or("there is no such file here")?;
            // Whatever is wrong with it, its path is not for the browser.
            Source::file(&path).await.map_err(|_| "the file can't be read".to_owned())
        }
        Request::List(_) => Err("a list is no file".to_owned()),
    }
}

fn json(value: &impl Serialize) -> Message {
    // Strings, numbers and fixed keys: there is nothing here that serde_json refuses.
    Message::Text(serde_json::to_string(value).unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn requests_are_read_as_documented() {
        let parse = |text| serde_json::from_str::<Request>(text);
        assert_eq!(parse(r#"{"get":"a b.txt"}"#).unwrap(), Request::Get("a b.txt".into()));
        assert_eq!(parse(r#"{"sample":50000000}"#).unwrap(), Request::Sample(50_000_000));
        assert_eq!(parse(r#"{"list":true}"#).unwrap(), Request::List(true));
        for wrong in ["", "{}", r#"{"sample":-1}"#, r#"{"sample":1.5}"#, r#"{"put":"x"}"#, "[]"] {
            assert!(parse(wrong).is_err(), "{wrong}");
        }
    }

    #[cfg(unix)]
    #[tokio::test]
    async fn only_what_is_listed_can_be_had() {
        let directory = tempfile::tempdir().unwrap();
        let shown = directory.path().join("shown");
        std::fs::create_dir_all(shown.join("below")).unwrap();
        std::fs::write(directory.path().join("secret"), "s").unwrap();
        std::fs::write(shown.join("below/deep"), "d").unwrap();
        std::fs::write(shown.join(".hidden"), "h").unwrap();
        std::fs::write(shown.join("b"), "bb").unwrap();
        std::fs::write(shown.join("a"), "a").unwrap();
        std::os::unix::fs::symlink(directory.path().join("secret"), shown.join("link")).unwrap();

        let shelf = Shelf { directory: Some(shown), saves: false };
        let names: Vec<_> = shelf.list().into_iter().map(|listed| (listed.name, listed.size)).collect();
        assert_eq!(names, [("a".to_owned(), 1), ("b".to_owned(), 2)]);
        for name in ["../secret", "link", ".hidden", "below", "below/deep", "/etc/passwd", ""] {
            assert!(find(&shelf, Request::Get(name.into())).await.is_err(), "{name}");
        }
        assert!(find(&shelf, Request::Get("a".into())).await.is_ok());
        assert!(find(&shelf, Request::Sample(MAX_SAMPLE + 1)).await.is_err());
        assert!(Shelf { directory: None, saves: false }.list().is_empty());
    }
}
