//! `sinnet connect`: with itself, and with the library at the other end.

use std::path::Path;

use serde_json::{Value, json};
use sinnet::{IceCandidate, Message, PeerConnection, SessionDescription};
use tokio::io::AsyncWriteExt;
use tokio::process::ChildStdin;
use tokio::sync::mpsc;
use tokio::time::timeout;

use crate::process::{SOON, Sinnet, command, library_peer, next_channel};

/// Carries the lines of each to the other, for as long as they run.
pub(crate) fn join(a: &mut Sinnet, b: &mut Sinnet) {
    let carry = |mut lines: mpsc::UnboundedReceiver<String>, mut input: ChildStdin| async move {
        while let Some(line) = lines.recv().await {
            serde_json::from_str::<Value>(&line).expect("nothing but JSON on standard output");
            if input.write_all(format!("{line}\n").as_bytes()).await.is_err() {
                return;
            }
        }
    };
    let none = || mpsc::unbounded_channel().1;
    let (from_a, from_b) = (std::mem::replace(&mut a.lines, none()), std::mem::replace(&mut b.lines, none()));
    tokio::spawn(carry(from_a, b.take_input()));
    tokio::spawn(carry(from_b, a.take_input()));
}

/// Lets the library answer what the command offers. Its candidates are in its description.
async fn answer(peer: &PeerConnection, offerer: &mut Sinnet) {
    loop {
        let line: Value = serde_json::from_str(&offerer.line().await).unwrap();
        match line["type"].as_str().unwrap() {
            "offer" => {
                let offer = SessionDescription::offer(line["sdp"].as_str().unwrap());
                peer.set_remote_description(offer).unwrap();
                peer.set_local_description(peer.create_answer().unwrap()).unwrap();
                let sdp = peer.local_description().unwrap().sdp;
                offerer.say(&json!({ "type": "answer", "sdp": sdp }).to_string()).await;
            }
            "candidate" => {
                let candidate = IceCandidate {
                    candidate: line["candidate"].as_str().unwrap().to_owned(),
                    sdp_mid: line["sdpMid"].as_str().map(str::to_owned),
                    sdp_m_line_index: line["sdpMLineIndex"].as_u64().map(|index| index as u16),
                };
                peer.add_ice_candidate(candidate).unwrap();
            }
            other => return assert_eq!(other, "end-of-candidates"),
        }
    }
}

/// The library offers; the command's answer is applied.
async fn offer(peer: &PeerConnection, answerer: &mut Sinnet, tamper: impl Fn(String) -> String) {
    peer.set_local_description(peer.create_offer().unwrap()).unwrap();
    let sdp = tamper(peer.local_description().unwrap().sdp);
    answerer.say(&json!({ "type": "offer", "sdp": sdp }).to_string()).await;
    let line: Value = serde_json::from_str(&answerer.line().await).unwrap();
    assert_eq!(line["type"], "answer");
    peer.set_remote_description(SessionDescription::answer(line["sdp"].as_str().unwrap())).unwrap();
    loop {
        let line: Value = serde_json::from_str(&answerer.line().await).unwrap();
        if line["type"] == "end-of-candidates" {
            return;
        }
        let candidate = line["candidate"].as_str().unwrap().to_owned();
        peer.add_ice_candidate(IceCandidate {
            candidate,
            sdp_mid: Some("0".into()),
            sdp_m_line_index: Some(0),
        })
        .unwrap();
    }
}

fn write_sample(path: &Path, size: usize) -> Vec<u8> {
    let content: Vec<u8> = (0..size).map(|i| (i * 31 / 7) as u8).collect();
    std::fs::write(path, &content).unwrap();
    content
}

#[tokio::test]
async fn a_file_goes_from_either_side_to_the_other_and_both_end_well() {
    for sender_offers in [true, false] {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("a file.bin");
        let content = write_sample(&path, 1_234_567);
        let into = directory.path().join("in");
        std::fs::create_dir(&into).unwrap();

        let (path, to) = (path.display().to_string(), into.display().to_string());
        let (mut send, mut recv) = (vec!["--send", path.as_str()], vec!["--recv", to.as_str()]);
        if sender_offers {
            send.push("--offer")
        } else {
            recv.push("--offer")
        }
        let (mut sender, mut receiver) = (Sinnet::connect(&send), Sinnet::connect(&recv));
        join(&mut sender, &mut receiver);
        sender.ended().await.expect_success();
        let received = receiver.ended().await;
        received.expect_success();
        assert!(received.stderr.contains("a file.bin") && received.stderr.contains("sha256"));
        assert!(std::fs::read(into.join("a file.bin")).unwrap() == content);
        assert_eq!(std::fs::read_dir(&into).unwrap().count(), 1);
    }
}

#[tokio::test]
async fn every_message_comes_back_as_it_was_on_channels_of_both_sides() {
    let mut echo = Sinnet::connect(&["--offer", "--echo", "--channel", "theirs,unordered,protocol=p"]);
    let (_endpoint, peer) = library_peer().await;
    answer(&peer, &mut echo).await;
    echo.end_input();
    let theirs = next_channel(&peer).await;
    assert_eq!((theirs.label(), theirs.protocol(), theirs.ordered()), ("theirs", "p", false));
    let ours = peer.create_data_channel("ours", Default::default()).unwrap();
    for channel in [&theirs, &ours] {
        let messages =
            ["text".into(), "".into(), Vec::new().into(), vec![0].into(), Message::from(vec![7; 200_000])];
        for message in messages {
            channel.send(message.clone()).await.unwrap();
            let back = timeout(SOON, channel.recv()).await.expect("an echo comes soon");
            assert!(back == Some(message));
        }
    }
    peer.close().await;
    echo.ended().await.expect_success();
}

#[tokio::test]
async fn channels_open_by_sdp_alone_from_either_side() {
    let mut echo = Sinnet::connect(&[
        "--offer",
        "--echo",
        "--dcmap",
        r#"a=dcmap:1 label="one, two";subprotocol="p""#,
        "--dcmap",
        "3 ordered=false",
    ]);
    let (_endpoint, peer) = library_peer().await;
    answer(&peer, &mut echo).await;
    let (one, three) = (next_channel(&peer).await, next_channel(&peer).await);
    assert_eq!((one.id(), one.label(), one.protocol()), (Some(1), "one, two", "p"));
    assert_eq!((three.id(), three.ordered()), (Some(3), false));
    for channel in [one, three] {
        channel.send("there and back").await.unwrap();
        assert_eq!(timeout(SOON, channel.recv()).await.unwrap(), Some("there and back".into()));
    }
    assert_eq!(peer.stats().dcep_errors, 0);
    peer.close().await;
    echo.ended().await.expect_success();

    // The answerer offers its own when the first exchange is over.
    let mut echo = Sinnet::connect(&["--echo", "--dcmap", r#"2 label="of the answerer""#]);
    let (_endpoint, peer) = library_peer().await;
    let _channel = peer.create_data_channel("c", Default::default()).unwrap();
    offer(&peer, &mut echo, |sdp| sdp).await;
    let line: Value = serde_json::from_str(&echo.line().await).unwrap();
    assert_eq!(line["type"], "offer");
    peer.set_remote_description(SessionDescription::offer(line["sdp"].as_str().unwrap())).unwrap();
    peer.set_local_description(peer.create_answer().unwrap()).unwrap();
    let sdp = peer.local_description().unwrap().sdp;
    echo.say(&json!({ "type": "answer", "sdp": sdp }).to_string()).await;
    let theirs = next_channel(&peer).await;
    assert_eq!((theirs.id(), theirs.label()), (Some(2), "of the answerer"));
    theirs.send("hello").await.unwrap();
    assert_eq!(timeout(SOON, theirs.recv()).await.unwrap(), Some("hello".into()));
    peer.close().await;
    echo.ended().await.expect_success();
}

#[tokio::test]
async fn a_wrong_fingerprint_ends_it_with_one_sentence_that_says_so() {
    let mut victim = Sinnet::connect(&["--echo"]);
    let (_endpoint, peer) = library_peer().await;
    let _channel = peer.create_data_channel("c", Default::default()).unwrap();
    let other = |sdp: String| {
        let at = sdp.find("a=fingerprint:sha-256 ").unwrap() + "a=fingerprint:sha-256 ".len();
        let digit = if sdp[at..].starts_with('0') { "1" } else { "0" };
        format!("{}{digit}{}", &sdp[..at], &sdp[at + 1..])
    };
    offer(&peer, &mut victim, other).await;
    victim.ended().await.expect_failure("fingerprint");
}

#[tokio::test]
async fn what_is_no_signalling_ends_it_with_the_line_that_was_wrong() {
    let mut confused = Sinnet::connect(&[]);
    confused.say("").await;
    confused.say(r#"{"type":"from the future"}"#).await;
    confused.say("GET / HTTP/1.1").await;
    confused.ended().await.expect_failure("line 3 of standard input");

    let mut refused = Sinnet::connect(&[]);
    refused.say(r#"{"type":"offer","sdp":"v=0"}"#).await;
    refused.ended().await.expect_failure("description");
}

#[tokio::test]
async fn input_that_ends_before_a_description_came_is_a_failure() {
    let mut lonely = Sinnet::connect(&[]);
    lonely.end_input();
    lonely.ended().await.expect_failure("before an offer came");
    let mut lonely = Sinnet::connect(&["--offer"]);
    lonely.end_input();
    lonely.ended().await.expect_failure("before an answer came");
}

#[tokio::test]
async fn a_peer_that_closes_in_the_middle_of_a_file_is_a_failure_on_both_ends() {
    let directory = tempfile::tempdir().unwrap();
    let to = directory.path().display().to_string();
    let mut receiver = Sinnet::connect(&["--recv", &to]);
    let (_endpoint, peer) = library_peer().await;
    let options = sinnet::DataChannelOptions { protocol: "sinnet-file".into(), ..Default::default() };
    let channel = peer.create_data_channel("f", options).unwrap();
    offer(&peer, &mut receiver, |sdp| sdp).await;
    channel.send(r#"{"name":"f","size":10}"#).await.unwrap();
    channel.send(vec![1, 2, 3]).await.unwrap();
    peer.close().await;
    receiver.ended().await.expect_failure("closed before the file was through");
    assert_eq!(std::fs::read_dir(directory.path()).unwrap().count(), 0);

    let path = directory.path().join("big");
    write_sample(&path, 20_000_000);
    let mut sender = Sinnet::connect(&["--offer", "--send", &path.display().to_string()]);
    let (_endpoint, peer) = library_peer().await;
    answer(&peer, &mut sender).await;
    let channel = next_channel(&peer).await;
    timeout(SOON, channel.recv()).await.unwrap().unwrap();
    peer.close().await;
    sender.ended().await.expect_failure("was not sent");
}

#[tokio::test]
async fn a_chat_sends_lines_shows_what_comes_and_closes_at_the_end_of_its_input() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("lines");
    std::fs::write(&path, "hello\n\nlast, without an end").unwrap();
    let mut shell = tokio::process::Command::new("sh");
    shell.arg("-c").arg(format!(
        "exec {:?} connect --bind 127.0.0.1 --offer --chat --chat-fd 3 3<{:?}",
        env!("CARGO_BIN_EXE_sinnet"),
        path
    ));
    let mut chat = Sinnet::spawn(shell);
    let (_endpoint, peer) = library_peer().await;
    answer(&peer, &mut chat).await;
    let channel = next_channel(&peer).await;
    assert_eq!(channel.label(), "sinnet");
    channel.send("hi\x1b[2J").await.unwrap();
    for line in ["hello", "", "last, without an end"] {
        assert_eq!(timeout(SOON, channel.recv()).await.unwrap(), Some(line.into()));
    }
    assert_eq!(timeout(SOON, channel.recv()).await.unwrap(), None);
    let ended = chat.ended().await;
    ended.expect_success();
    assert!(ended.stderr.contains("sinnet: hi\u{fffd}[2J"), "{}", ended.stderr);
}

#[tokio::test]
async fn ctrl_c_closes_in_order() {
    let mut echo = Sinnet::connect(&["--offer", "--echo"]);
    let (_endpoint, peer) = library_peer().await;
    answer(&peer, &mut echo).await;
    let channel = next_channel(&peer).await;
    channel.send("x").await.unwrap();
    timeout(SOON, channel.recv()).await.unwrap().unwrap();
    let kill = tokio::process::Command::new("sh").arg("-c").arg(format!("kill -INT {}", echo.id())).status();
    assert!(kill.await.unwrap().success());
    echo.ended().await.expect_success();
    assert_eq!(timeout(SOON, channel.recv()).await.unwrap(), None);
}

#[tokio::test]
async fn what_can_not_work_is_said_at_once() {
    let sinnet = Sinnet::connect(&["--recv", "/nowhere/at/all"]);
    sinnet.ended().await.expect_failure("/nowhere/at/all");
    let sinnet = Sinnet::connect(&["--offer", "--send", "/nowhere/file"]);
    sinnet.ended().await.expect_failure("/nowhere/file");
    let sinnet = Sinnet::connect(&["--offer", "--chat", "--chat-fd", "77"]);
    sinnet.ended().await.expect_failure("descriptor 77");
    let sinnet = Sinnet::start(&["connect", "--bind", "192.0.2.77"]);
    sinnet.ended().await.expect_failure("192.0.2.77");
    let misused = command(&["connect", "--echo", "--chat"]).output().await.unwrap();
    assert_eq!(misused.status.code(), Some(2));
}
