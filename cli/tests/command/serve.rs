//! `sinnet serve`, with the library in the place of the browser.

use std::process::Stdio;

use serde_json::{Value, json};
use sinnet::{DataChannel, DataChannelOptions, Message, PeerConnection, SessionDescription};
use sinnet_signaling::{Client, Session, Signal};
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader, Lines};
use tokio::net::TcpStream;
use tokio::process::{Child, ChildStdout};
use tokio::time::timeout;

use crate::process::{SOON, command, library_peer, next_channel};

struct Served {
    _child: Child,
    host: String,
}

async fn serve(arguments: &[&str]) -> Served {
    let mut command = command(&[&["serve", "--port", "0", "--bind", "127.0.0.1"], arguments].concat());
    let mut child = command.stderr(std::process::Stdio::piped()).kill_on_drop(true).spawn().unwrap();
    let mut lines = BufReader::new(child.stderr.take().unwrap()).lines();
    let line = timeout(SOON, lines.next_line()).await.unwrap().unwrap().unwrap();
    let host = line.split_once("http://").expect("the line has a URL").1;
    let host = host.split(' ').next().unwrap().to_owned();
    // It goes on talking.
    tokio::spawn(async move { while let Ok(Some(_)) = lines.next_line().await {} });
    Served { _child: child, host }
}

fn channel(peer: &PeerConnection, label: &str, protocol: &str) -> DataChannel {
    let options = DataChannelOptions { protocol: protocol.into(), ..Default::default() };
    peer.create_data_channel(label, options).unwrap()
}

/// What the page does. The session is kept, as the page does, until the end.
async fn join(served: &Served, peer: &PeerConnection) -> Session {
    let mut session = Client::default().connect(&format!("ws://{}/peer", served.host)).await.unwrap();
    peer.set_local_description(peer.create_offer().unwrap()).unwrap();
    session.send(&Signal::Offer { sdp: peer.local_description().unwrap().sdp }).unwrap();
    while let Some(signal) = timeout(SOON, session.recv()).await.expect("a signal comes soon") {
        match signal {
            Signal::Answer { sdp } => peer.set_remote_description(SessionDescription::answer(sdp)).unwrap(),
            Signal::Candidate { candidate, sdp_mid, sdp_m_line_index } => {
                peer.add_ice_candidate(sinnet::IceCandidate { candidate, sdp_mid, sdp_m_line_index })
                    .unwrap();
            }
            Signal::EndOfCandidates => break,
            other => panic!("{other:?}"),
        }
    }
    timeout(SOON, peer.connected()).await.expect("it connects soon").unwrap();
    session
}

async fn text(channel: &DataChannel) -> Value {
    match timeout(SOON, channel.recv()).await.expect("a message comes soon") {
        Some(Message::Text(text)) => serde_json::from_str(&text).unwrap(),
        other => panic!("{other:?}"),
    }
}

/// Takes a file as the page does; its announcement and its length.
async fn take_file(channel: &DataChannel) -> (Value, usize) {
    let header = text(channel).await;
    let mut size = 0;
    let trailer = loop {
        match timeout(SOON, channel.recv()).await.unwrap().unwrap() {
            Message::Binary(bytes) => size += bytes.len(),
            Message::Text(text) => break serde_json::from_str::<Value>(&text).unwrap(),
        }
    };
    let verdict = json!({ "ok": true, "sha256": trailer["sha256"], "size": size });
    channel.send(verdict.to_string()).await.unwrap();
    assert!(timeout(SOON, channel.recv()).await.unwrap().is_none(), "the sender closes");
    (header, size)
}

#[tokio::test]
async fn the_page_is_there() {
    let served = serve(&[]).await;
    let mut stream = TcpStream::connect(&served.host).await.unwrap();
    let request = format!("GET / HTTP/1.1\r\nHost: {}\r\nConnection: close\r\n\r\n", served.host);
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut page = String::new();
    stream.read_to_string(&mut page).await.unwrap();
    assert!(page.starts_with("HTTP/1.1 200") && page.contains("id=\"groups\""), "{page}");
}

#[tokio::test]
async fn a_visitor_gets_echoes_and_files_and_leaves_files() {
    let directory = tempfile::tempdir().unwrap();
    let (files, save) = (directory.path().join("files"), directory.path().join("save"));
    std::fs::create_dir(&files).unwrap();
    std::fs::create_dir(&save).unwrap();
    std::fs::write(files.join("offered.txt"), "x".repeat(100_000)).unwrap();
    let served =
        serve(&["--files", &files.display().to_string(), "--save", &save.display().to_string()]).await;

    let (_endpoint, peer) = library_peer().await;
    let echo = channel(&peer, "echo", "");
    let control = channel(&peer, "control", "sinnet-control");
    let _session = join(&served, &peer).await;

    echo.send("hello").await.unwrap();
    assert_eq!(timeout(SOON, echo.recv()).await.unwrap(), Some("hello".into()));

    let listing = text(&control).await;
    assert_eq!(listing, json!({ "files": [{ "name": "offered.txt", "size": 100_000 }], "saves": true }));
    control.send(json!({ "get": "offered.txt" }).to_string()).await.unwrap();
    let (header, size) = take_file(&next_channel(&peer).await).await;
    assert_eq!((&header["name"], &header["size"], size), (&json!("offered.txt"), &json!(100_000), 100_000));
    control.send(json!({ "sample": 3_000_001 }).to_string()).await.unwrap();
    let (header, size) = take_file(&next_channel(&peer).await).await;
    assert_eq!((&header["size"], size), (&json!(3_000_001), 3_000_001));
    for wrong in [r#"{"get":"../save"}"#, r#"{"sample":99999999999}"#, "please"] {
        control.send(wrong).await.unwrap();
        assert!(text(&control).await["error"].is_string(), "{wrong}");
    }

    let upload = channel(&peer, "file", "sinnet-file");
    upload.send(json!({ "name": "../left.txt", "size": 3 }).to_string()).await.unwrap();
    upload.send(b"abc".as_slice()).await.unwrap();
    let sha256 = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";
    upload.send(json!({ "sha256": sha256 }).to_string()).await.unwrap();
    assert_eq!(text(&upload).await, json!({ "ok": true, "sha256": sha256, "size": 3 }));
    assert_eq!(std::fs::read(save.join("left.txt")).unwrap(), b"abc");
    peer.close().await;
}

#[tokio::test]
async fn a_visitor_that_offers_nonsense_is_told_why_and_others_are_served() {
    let served = serve(&[]).await;
    let mut session = Client::default().connect(&format!("ws://{}/peer", served.host)).await.unwrap();
    session.send(&Signal::Offer { sdp: "nonsense".into() }).unwrap();
    assert_eq!(timeout(SOON, session.recv()).await.unwrap(), None);
    let end = session.ended().unwrap().to_string();
    assert!(end.contains("closed by the peer:"), "{end}");

    let (_endpoint, peer) = library_peer().await;
    let _echo = channel(&peer, "echo", "");
    join(&served, &peer).await;
    peer.close().await;
}

#[tokio::test]
async fn a_port_that_is_taken_is_said_with_what_to_do() {
    let served = serve(&[]).await;
    let port = served.host.rsplit(':').next().unwrap();
    let second = command(&["serve", "--port", port]).output().await.unwrap();
    assert_eq!(second.status.code(), Some(1));
    let sentence = String::from_utf8_lossy(&second.stderr).into_owned();
    assert!(sentence.contains(port) && sentence.contains("--port"), "{sentence}");
}

/// The lines of standard output, as they come.
fn stdout(child: &mut Child) -> Lines<BufReader<ChildStdout>> {
    BufReader::new(child.stdout.take().unwrap()).lines()
}

#[tokio::test]
async fn it_says_where_it_listens_and_ends_in_order_at_a_signal() {
    let mut command = command(&["serve", "--listen", "127.0.0.1:0", "--bind", "127.0.0.1"]);
    command.stdout(Stdio::piped()).stderr(Stdio::null()).kill_on_drop(true);
    let mut child = command.spawn().unwrap();
    let line = timeout(SOON, stdout(&mut child).next_line()).await.unwrap().unwrap().unwrap();
    let url = line.strip_prefix("listening on http://").expect("a line for programs");
    let mut session = Client::default().connect_as::<String>(&format!("ws://{url}/alm")).await.unwrap();
    session.send(&json!({"m": "create", "g": "room"}).to_string()).unwrap();
    assert!(timeout(SOON, session.recv()).await.unwrap().unwrap().contains("\"ok\""));
    let pid = nix::unistd::Pid::from_raw(child.id().unwrap().try_into().unwrap());
    nix::sys::signal::kill(pid, nix::sys::signal::Signal::SIGTERM).unwrap();
    assert_eq!(timeout(SOON, session.recv()).await.unwrap(), None);
    let end = session.ended().unwrap().to_string();
    assert!(end.contains("the server goes down"), "{end}");
    drop(session);
    assert!(timeout(SOON, child.wait()).await.unwrap().unwrap().success());
}

#[tokio::test]
async fn settings_come_from_a_file_and_the_environment() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("sinnet.toml");
    let key = "00112233445566778899aabbccddeeff";
    std::fs::write(&path, format!("port = 0\ntls = \"self-signed\"\ntoken-key = \"{key}\"\n")).unwrap();
    let mut serving = command(&["serve", "--bind", "127.0.0.1"]);
    serving.env("SINNET_CONFIG", &path).env("SINNET_METRICS", "nobody");
    serving.stdout(Stdio::piped()).stderr(Stdio::piped()).kill_on_drop(true);
    let mut child = serving.spawn().unwrap();
    let line = timeout(SOON, stdout(&mut child).next_line()).await.unwrap().unwrap().unwrap();
    assert!(line.starts_with("listening on https://127.0.0.1:"), "{line}");
    let mut said = BufReader::new(child.stderr.take().unwrap()).lines();
    let fingerprint = async {
        while let Some(line) = said.next_line().await.unwrap() {
            if let Some((_, digits)) = line.split_once("SHA-256 is ") {
                return digits.split(':').count();
            }
        }
        0
    };
    assert_eq!(timeout(SOON, fingerprint).await.unwrap(), 32);

    std::fs::write(&path, "port = 0\nprot = 1\n").unwrap();
    let wrong = command(&["serve", "--config", &path.display().to_string()]).output().await.unwrap();
    let sentence = String::from_utf8_lossy(&wrong.stderr).into_owned();
    assert!(
        !wrong.status.success() && sentence.contains("line 2") && sentence.contains("`prot`"),
        "{sentence}"
    );

    let made = command(&["token", "--right", "join"]).env("SINNET_TOKEN_KEY", key).output().await.unwrap();
    let token = String::from_utf8(made.stdout).unwrap();
    assert!(made.status.success() && token.starts_with("join.") && token.trim().len() > 64, "{token}");
}

#[tokio::test]
async fn with_turn_it_answers_stun_and_relays_for_its_users_only() {
    let arguments = ["serve", "--port", "0", "--bind", "127.0.0.1", "--turn", "127.0.0.1:0"];
    let mut refused = command(&arguments);
    let output = timeout(SOON, refused.output()).await.unwrap().unwrap();
    let error = String::from_utf8_lossy(&output.stderr);
    assert!(!output.status.success() && error.contains("--turn-secret"), "{error}");

    let mut served = command(&[&arguments[..], &["--turn-user", "alice:wonderland"]].concat());
    let mut child = served.stdout(Stdio::piped()).kill_on_drop(true).spawn().unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
    let mut line = async || timeout(SOON, lines.next_line()).await.unwrap().unwrap().unwrap();
    assert!(line().await.starts_with("listening on http://"));
    let server = line().await;
    let config = sinnet::EndpointConfig {
        ice_servers: vec![sinnet::IceServer {
            urls: vec![server.parse().unwrap()],
            username: "alice".to_owned(),
            credential: "wonderland".to_owned(),
        }],
        gather_timeout: SOON,
        ..sinnet::EndpointConfig::bind("127.0.0.1:0".parse().unwrap())
    };
    let endpoint = sinnet::Endpoint::new(config).await.unwrap();
    let peer = endpoint.peer_connection(Default::default()).unwrap();
    channel(&peer, "any", "");
    peer.set_local_description(peer.create_offer().unwrap()).unwrap();
    loop {
        match timeout(SOON, peer.next_event()).await.expect("it answers").unwrap() {
            sinnet::PeerEvent::IceCandidateError(error) => panic!("{error}"),
            sinnet::PeerEvent::IceCandidate(None) => break,
            _ => {}
        }
    }
}
