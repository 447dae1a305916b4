//! Casting without a network: what one side gives, the other takes; and what it does not take.

use std::path::Path;
use std::sync::Mutex;

use bytes::Bytes;
use clap::Parser;
use proptest::prelude::*;
use sinnet::{IceTcp, IceTransportPolicy};
use sinnet_alm::group::{Message, MulticastError};
use tokio::runtime::{Builder, Runtime};

use super::give::{Feed, Given, Group, give};
use super::take::{Happening, Out, Taken, Taker};
use super::wire::{Note, Piece};
use super::{address, options};
use crate::args::MemberArgs;
use crate::transfer::{Source, Watch};

/// What was sent.
#[derive(Default)]
struct Wire(Mutex<Vec<Message>>);

impl Group for Wire {
    async fn send(&self, message: Message) -> Result<(), MulticastError> {
        self.0.lock().unwrap().push(message);
        Ok(())
    }
}

struct Nobody;

impl Watch for Nobody {
    fn begin(&mut self, _name: &str, _size: u64) {}

    fn at(&mut self, _bytes: u64) {}
}

fn runtime() -> Runtime {
    Builder::new_current_thread().enable_all().build().unwrap()
}

async fn given(feed: Feed) -> (Given, Vec<Message>) {
    let wire = Wire::default();
    let mut feed = feed;
    let given = give(&wire, 7, &mut feed, &mut Nobody).await.unwrap();
    (given, wire.0.into_inner().unwrap())
}

/// All that is not just progress.
async fn take(taker: &mut Taker, messages: Vec<Message>) -> Vec<Happening> {
    let mut happened = Vec::new();
    for message in messages {
        match taker.take(message).await {
            Happening::At { .. } => {}
            other => happened.push(other),
        }
    }
    happened
}

fn failure(happened: &[Happening]) -> String {
    match happened.last() {
        Some(Happening::Failed { error, .. }) => error.to_string(),
        other => panic!("no failure but {other:?}"),
    }
}

#[tokio::test]
async fn what_is_given_is_taken_into_a_directory_or_a_file() {
    let directory = tempfile::tempdir().unwrap();
    for size in [0, 1, 65_524, 65_525, 3_000_000] {
        let (given, messages) = given(Feed::Source(Source::sample(size))).await;
        for message in &messages {
            let Message::Bytes(bytes) = message else { continue };
            assert!(bytes.len() <= 64 * 1024);
        }
        let named = directory.path().join("named");
        for out in [Out::Directory(directory.path().to_owned()), Out::File(named.clone()), Out::Nowhere] {
            let happened = take(&mut Taker::new(out.clone(), u64::MAX), messages.clone()).await;
            let [Happening::Begun { size: Some(announced), .. }, Happening::Done { taken, .. }] =
                &happened[..]
            else {
                panic!("{happened:?}")
            };
            assert_eq!((*announced, taken.size, &taken.sha256), (size, size, &given.sha256));
            match &taken.path {
                None => assert_eq!(out, Out::Nowhere),
                Some(path) => assert_eq!(std::fs::metadata(path).unwrap().len(), size),
            }
        }
        assert_eq!(std::fs::metadata(&named).unwrap().len(), size, "it is put over what was there");
    }
    let left: Vec<_> =
        directory.path().read_dir().unwrap().flatten().map(|entry| entry.file_name()).collect();
    assert!(left.iter().all(|name| !name.to_string_lossy().contains("part")), "{left:?}");
}

#[tokio::test]
async fn a_stream_has_no_size_before_its_end() {
    let from = Box::new(std::io::Cursor::new(vec![5; 200_000]));
    let (given, messages) = given(Feed::Stream { name: "live".into(), from }).await;
    let happened = take(&mut Taker::new(Out::Nowhere, u64::MAX), messages).await;
    let [Happening::Begun { size: None, name, .. }, Happening::Done { taken, .. }] = &happened[..] else {
        panic!("{happened:?}")
    };
    assert_eq!((name.as_str(), taken.size), ("live", 200_000));
    assert_eq!(taken.sha256, given.sha256);
}

#[tokio::test]
async fn what_is_wrong_with_a_file_is_found_and_nothing_is_left_of_it() {
    let directory = tempfile::tempdir().unwrap();
    let (_, good) = given(Feed::Source(Source::sample(200_000))).await;
    let changed = |at: usize, message: Message| {
        let mut messages = good.clone();
        messages[at] = message;
        messages
    };
    let without = |at: usize| {
        let mut messages = good.clone();
        messages.remove(at);
        messages
    };
    let end = good.len() - 1;
    let mut doubled = good.clone();
    doubled.insert(2, good[2].clone());
    let mut longer = good.clone();
    longer.insert(end, Piece::message(7, 200_000, b"more"));
    let mut damaged = good.clone();
    damaged[1] = Piece::message(7, 0, &[0; 65_524]);
    for (messages, wrong) in [
        (without(2), "a part of it is missing"),
        (doubled, "a part of it is missing"),
        (without(end - 1), "another size"),
        (longer, "more bytes came"),
        (damaged, "damaged"),
        (
            changed(end, Note::Stop { id: 7, error: "no \u{1b}[31m disk".into() }.message()),
            "no \\u{1b}[31m disk",
        ),
        (
            changed(0, Note::File { id: 7, name: "x".into(), size: Some(7_000_000) }.message()),
            "at most 1000000",
        ),
    ] {
        let mut taker = Taker::new(Out::Directory(directory.path().to_owned()), 1_000_000);
        let happened = take(&mut taker, messages).await;
        let failed: Vec<_> =
            happened.into_iter().filter(|happening| matches!(happening, Happening::Failed { .. })).collect();
        assert_eq!(failed.len(), 1, "{wrong}");
        assert!(failure(&failed).contains(wrong), "{} is not {wrong}", failure(&failed));
        assert_eq!(directory.path().read_dir().unwrap().count(), 0, "{wrong}");
    }
}

#[tokio::test]
async fn who_comes_too_late_ignores_the_rest_and_chat_is_chat() {
    let (_, mut messages) = given(Feed::Source(Source::sample(200_000))).await;
    messages.remove(0);
    messages.insert(1, Message::Text("{\"hello\":1}".into()));
    messages.push(Message::Bytes(Bytes::from_static(b"short")));
    let count = messages.len() as u64;
    let mut taker = Taker::new(Out::Nowhere, u64::MAX);
    let happened = take(&mut taker, messages).await;
    let chats: Vec<_> = happened
        .iter()
        .filter(|happening| matches!(happening, Happening::Chat(text) if text == "{\"hello\":1}"))
        .collect();
    assert_eq!((chats.len() as u64, taker.ignored()), (1, count - 1));
}

#[tokio::test]
async fn files_may_be_mixed_and_those_above_the_limit_are_left_out() {
    let mut taker = Taker::new(Out::Nowhere, u64::MAX);
    for id in 0..20 {
        let happening = taker.take(Note::File { id, name: "f".into(), size: None }.message()).await;
        assert_eq!(matches!(happening, Happening::Begun { .. }), id < 16);
    }
    let again = taker.take(Note::File { id: 3, name: "g".into(), size: Some(1) }.message()).await;
    assert!(matches!(again, Happening::Ignored), "an id that is under way can't begin again");
    for (id, offset) in [(1, 0), (2, 0), (1, 3), (2, 3)] {
        let at = taker.take(Piece::message(id, offset, b"abc")).await;
        assert!(matches!(at, Happening::At { bytes, .. } if bytes == offset + 3));
    }
    let given_up = taker.give_up("the group has gone");
    assert_eq!(given_up.len(), 16);
    assert!(failure(&given_up).contains("the group has gone"));
}

#[tokio::test]
async fn one_output_takes_one_file_at_a_time() {
    let directory = tempfile::tempdir().unwrap();
    let mut taker = Taker::new(Out::File(directory.path().join("one")), u64::MAX);
    let begin = |id| Note::File { id, name: "f".into(), size: None }.message();
    assert!(matches!(taker.take(begin(1)).await, Happening::Begun { .. }));
    assert!(matches!(taker.take(begin(2)).await, Happening::Ignored));
    assert!(matches!(taker.take(Piece::message(2, 0, b"abc")).await, Happening::Ignored));
    assert_eq!(taker.give_up("enough").len(), 1);
    assert!(matches!(taker.take(begin(3)).await, Happening::Begun { .. }), "the next one has its turn");
}

#[tokio::test]
async fn names_are_made_safe() {
    let directory = tempfile::tempdir().unwrap();
    let kept = directory.path().join("kept");
    std::fs::create_dir(&kept).unwrap();
    for name in ["../../evil", "/etc/passwd", "..", "a\0b", ".hidden"] {
        let mut taker = Taker::new(Out::Directory(kept.clone()), u64::MAX);
        let sha256 = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855".to_owned();
        let notes = [
            Note::File { id: 1, name: name.into(), size: None }.message(),
            Note::End { id: 1, size: 0, sha256 }.message(),
        ];
        let happened = take(&mut taker, notes.into()).await;
        let Some(Happening::Done { taken: Taken { path: Some(path), .. }, .. }) = happened.last() else {
            panic!("{happened:?}")
        };
        assert_eq!(path.parent(), Some(kept.as_path()), "{name}");
    }
    assert_eq!(directory.path().read_dir().unwrap().count(), 1);
    assert!(!Path::new("/etc/passwd (1)").exists());
}

#[test]
fn a_servers_address_may_be_the_pages_or_the_websockets() {
    for (given, token, url, local) in [
        ("http://127.0.0.1:8080", None, "ws://127.0.0.1:8080/alm", true),
        ("https://example.org/", None, "wss://example.org/alm", false),
        ("ws://localhost:1/ws", Some("T"), "ws://localhost:1/ws?token=T", true),
        ("wss://[::1]:9/alm?x=1", Some("T"), "wss://[::1]:9/alm?x=1&token=T", true),
        ("http://[2001:db8::1]", None, "ws://[2001:db8::1]/alm", false),
    ] {
        assert_eq!(address(given, token).unwrap(), (url.to_owned(), local));
    }
    for wrong in ["", "example.org", "ftp://example.org", "http://", "http:///x"] {
        assert!(address(wrong, None).unwrap_err().to_string().contains("http://HOST:PORT"), "{wrong}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    /// Whatever comes in whatever order: no panic, at most 16 files, and none is done that was not given so.
    #[test]
    fn no_messages_in_any_order_break_the_receiver(
        steps in prop::collection::vec((0..6usize, 0..20u32, 0..4u64), 0..80)
    ) {
        runtime().block_on(async {
            let mut taker = Taker::new(Out::Nowhere, 100);
            let mut begun = 0;
            for (what, id, number) in steps {
                let message = match what {
                    0 => Note::File { id, name: "f".into(), size: Some(number) }.message(),
                    1 => Note::File { id, name: "f".into(), size: None }.message(),
                    2 => Piece::message(id, number, b"a"),
                    3 => Piece::message(id, u64::MAX - number, &[0; 200]),
                    4 => Note::End { id, size: number, sha256: "00".repeat(32) }.message(),
                    _ => Note::Stop { id, error: String::new() }.message(),
                };
                match taker.take(message).await {
                    Happening::Begun { .. } => begun += 1,
                    Happening::Done { .. } => panic!("no such hash was given"),
                    _ => {}
                }
            }
            begun -= taker.give_up("over").len();
            assert!(begun < 80);
        });
    }
}

#[derive(Parser)]
struct Line {
    #[command(flatten)]
    member: MemberArgs,
}

#[test]
fn a_member_is_reached_the_ways_that_its_arguments_say() {
    let of = |line: &[&str]| {
        let line = Line::try_parse_from(["join", "group"].iter().chain(line)).unwrap();
        options(&line.member).unwrap().1
    };
    let server = "turn:192.0.2.1,alice,secret";
    let asked = of(&["--ice-tcp", "--bind", "127.0.0.1:7", "--ice-server", server, "--relay-only"]);
    assert_eq!(asked.bind.ice_tcp, IceTcp::ActiveAndPassive);
    assert_eq!(asked.bind.bind, ["127.0.0.1:7".parse().unwrap()]);
    assert_eq!(asked.bind.ice_servers.len(), 1);
    assert_eq!(asked.peer.ice_transport_policy, IceTransportPolicy::Relay);
    assert!(asked.bind.include_loopback, "the server is on this machine");
    let elsewhere = of(&["--server", "https://example.org"]);
    assert_eq!(elsewhere.bind.ice_tcp, IceTcp::default());
    assert!(!elsewhere.bind.include_loopback);
    assert!(of(&["--server", "https://example.org", "--loopback"]).bind.include_loopback);
}
