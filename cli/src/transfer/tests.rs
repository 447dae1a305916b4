//! Both ends of a transfer over a pair in memory.

use std::path::Path;

use ring::digest::{SHA256, digest};
use sinnet::{Message, SendError};
use tokio::sync::{Mutex, mpsc};

use super::receive::Received;
use super::send::Sent;
use super::*;

struct End {
    out: mpsc::Sender<Message>,
    inn: Mutex<mpsc::Receiver<Message>>,
    limit: u64,
}

/// Two ends. `limit` is the largest message of the first.
fn pair(limit: u64) -> (End, End) {
    let (a, from_a) = mpsc::channel(4);
    let (b, from_b) = mpsc::channel(4);
    let end = |out, inn, limit| End { out, inn: Mutex::new(inn), limit };
    (end(a, from_b, limit), end(b, from_a, 1 << 20))
}

impl Pipe for End {
    async fn send(&self, message: Message) -> Result<(), SendError> {
        if message.len() as u64 > self.limit {
            return Err(SendError::TooLarge { size: message.len(), limit: self.limit });
        }
        self.out.send(message).await.map_err(|_| SendError::Closed)
    }

    async fn recv(&self) -> Option<Message> {
        self.inn.lock().await.recv().await
    }
}

#[derive(Default)]
struct Seen {
    name: String,
    size: u64,
    at: u64,
}

impl Watch for Seen {
    fn begin(&mut self, name: &str, size: u64) {
        (self.name, self.size) = (name.to_owned(), size);
    }

    fn at(&mut self, bytes: u64) {
        assert!(bytes > self.at && bytes <= self.size);
        self.at = bytes;
    }
}

fn keep(directory: &Path) -> Store {
    Store { directory: Some(directory.to_owned()), max_size: u64::MAX }
}

fn names(directory: &Path) -> Vec<String> {
    let entries = std::fs::read_dir(directory).unwrap();
    let mut names: Vec<_> = entries.map(|e| e.unwrap().file_name().to_string_lossy().into_owned()).collect();
    names.sort();
    names
}

async fn transfer(
    source: Source,
    store: &Store,
    limit: u64,
) -> (Result<Sent, TransferError>, Result<Received, TransferError>) {
    let (a, b) = pair(limit);
    let (mut out, mut inn) = (Seen::default(), Seen::default());
    let both = tokio::join!(send(&a, source, &mut out), receive(&b, store, &mut inn));
    if both.0.is_ok() {
        assert_eq!((out.at, inn.at), (out.size, inn.size));
    }
    both
}

#[tokio::test]
async fn files_of_all_sizes_arrive_as_they_were() {
    let (from, to) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    for size in [0, 1, MESSAGE - 1, MESSAGE, MESSAGE + 1, BLOCK, BLOCK + 1, 3 * BLOCK + 12_345] {
        let content: Vec<u8> = (0..size).map(|i| (i * 7 / 3) as u8).collect();
        let path = from.path().join(format!("of {size}.bin"));
        std::fs::write(&path, &content).unwrap();
        let source = Source::file(&path).await.unwrap();
        let (sent, received) = transfer(source, &keep(to.path()), 1 << 20).await;
        let (sent, received) = (sent.unwrap(), received.unwrap());
        assert_eq!(sent.sha256, hex(digest(&SHA256, &content)));
        assert_eq!((sent.sha256, size as u64), (received.sha256, received.size));
        assert_eq!(received.name, format!("of {size}.bin"));
        assert!(std::fs::read(received.path.unwrap()).unwrap() == content);
    }
    assert_eq!(names(to.path()).len(), 8);
}

#[tokio::test]
async fn messages_are_never_larger_than_the_peer_accepts() {
    let store = Store { directory: None, max_size: u64::MAX };
    for limit in [200, 1000, 16 * 1024] {
        let (sent, received) = transfer(Source::sample(300_001), &store, limit).await;
        assert_eq!(sent.unwrap().sha256, received.unwrap().sha256);
    }
}

#[tokio::test]
async fn nothing_is_overwritten() {
    let to = tempfile::tempdir().unwrap();
    for _ in 0..3 {
        transfer(Source::sample(10), &keep(to.path()), 1 << 20).await.1.unwrap();
    }
    assert_eq!(names(to.path()), ["sample-10 (1).bin", "sample-10 (2).bin", "sample-10.bin"]);
}

#[tokio::test]
async fn a_file_above_the_limit_is_refused_before_its_bytes_come() {
    let to = tempfile::tempdir().unwrap();
    let store = Store { max_size: 1000, ..keep(to.path()) };
    let (sent, received) = transfer(Source::sample(u64::MAX), &store, 1 << 20).await;
    assert!(matches!(sent, Err(TransferError::Refused(text)) if text.contains("1000")));
    assert!(matches!(received, Err(TransferError::TooLarge { limit: 1000, .. })));
    assert!(names(to.path()).is_empty());
}

/// Plays these messages to a receiver; its result, its answer, and what it left in the directory.
async fn play(messages: Vec<Message>) -> (Result<Received, TransferError>, Option<Message>, Vec<String>) {
    let to = tempfile::tempdir().unwrap();
    let (a, b) = pair(1 << 20);
    let talk = async {
        for message in messages {
            if a.send(message).await.is_err() {
                break;
            }
        }
        let End { out, inn, .. } = a;
        drop(out);
        inn.into_inner().recv().await
    };
    let (store, mut seen) = (keep(to.path()), Seen::default());
    let listen = async {
        let result = receive(&b, &store, &mut seen).await;
        drop(b);
        result
    };
    let (answer, result) = tokio::join!(talk, listen);
    (result, answer, names(to.path()))
}

fn header(name: &str, size: u64) -> Message {
    json(&Header { name: name.into(), size })
}

fn bytes(n: usize) -> Message {
    Message::Binary(vec![7; n].into())
}

fn trailer(n: usize) -> Message {
    json(&Trailer { sha256: hex(digest(&SHA256, &vec![7; n])) })
}

#[tokio::test]
async fn a_path_in_the_name_is_ignored() {
    let (result, _, names) = play(vec![header("../../x/../evil", 3), bytes(3), trailer(3)]).await;
    assert_eq!(result.unwrap().name, "evil");
    assert_eq!(names, ["evil"]);
}

#[tokio::test]
async fn whatever_goes_wrong_is_answered_and_leaves_nothing_behind() {
    let wrong: Vec<(&str, Vec<Message>)> = vec![
        ("no header", vec![bytes(3)]),
        ("no JSON", vec!["name".into()]),
        ("no size", vec![r#"{"name":"a"}"#.into()]),
        ("a negative size", vec![r#"{"name":"a","size":-1}"#.into()]),
        ("too many bytes", vec![header("a", 2), bytes(3)]),
        ("too few bytes", vec![header("a", 3), bytes(2), trailer(2)]),
        ("no trailer", vec![header("a", 3), bytes(3), "done".into()]),
        ("another hash", vec![header("a", 3), bytes(3), trailer(4)]),
    ];
    for (what, messages) in wrong {
        let (result, answer, names) = play(messages).await;
        assert!(result.is_err(), "{what}");
        let Some(Message::Text(text)) = answer else { panic!("{what}: no answer") };
        let verdict: Verdict = serde_json::from_str(&text).unwrap();
        assert!(!verdict.ok && verdict.error.is_some(), "{what}: {text}");
        assert!(names.is_empty(), "{what}: {names:?}");
    }
}

#[tokio::test]
async fn a_channel_that_closes_in_the_middle_leaves_nothing_behind() {
    for messages in [vec![], vec![header("a", 3)], vec![header("a", 3), bytes(3)]] {
        let (result, answer, names) = play(messages).await;
        assert!(matches!(result, Err(TransferError::Closed)));
        assert!(answer.is_none() && names.is_empty());
    }
}

/// A receiver that answers this after the first message, then closes.
async fn answered_with(answer: Option<Message>) -> TransferError {
    let (a, b) = pair(1 << 20);
    let mut seen = Seen::default();
    let answering = async {
        b.recv().await;
        if let Some(answer) = answer {
            b.send(answer).await.unwrap();
        }
        drop(b);
    };
    tokio::join!(send(&a, Source::sample(100 << 20), &mut seen), answering).0.unwrap_err()
}

#[tokio::test]
async fn the_sender_stops_when_the_receiver_says_no_or_goes() {
    let no = answered_with(Some(r#"{"ok":false,"error":"disk\u001bfull"}"#.into())).await;
    assert!(matches!(&no, TransferError::Refused(text) if text == r"disk\u{1b}full"), "{no}");
    assert!(matches!(answered_with(Some(r#"{"ok":true}"#.into())).await, TransferError::Protocol(_)));
    assert!(matches!(answered_with(Some("yes".into())).await, TransferError::Protocol(_)));
    assert!(matches!(answered_with(None).await, TransferError::Closed));
}

#[tokio::test]
async fn only_files_can_be_sent() {
    let directory = tempfile::tempdir().unwrap();
    let error = Source::file(directory.path()).await.unwrap_err();
    assert!(error.to_string().contains("not a regular file"), "{error}");
    let error = Source::file(&directory.path().join("none")).await.unwrap_err();
    assert!(error.to_string().contains("none"), "{error}");
}
