//! ICE over TCP (RFC 6544): the browser's active candidates and our passive one, as if no UDP got through.

use std::io::{Read, Write};
use std::net::TcpListener;

use serde_json::{Value, json};
use sinnet_interop::lab::Lab;
use sinnet_interop::net::Side;
use sinnet_interop::pattern::{pattern, sha256};
use sinnet_interop::session::{Cell, Offers, Session, Tampering};
use sinnet_interop::tab::{Tab, plain_channels};

/// An address that nobody has.
const NOWHERE: &str = "192.0.2.9";

/// Has UDP candidates lead nowhere.
fn without_udp(line: &mut Value) {
    let elsewhere = |candidate: &str| -> String {
        let mut words: Vec<&str> = candidate.split(' ').collect();
        if words.get(2).is_some_and(|transport| transport.eq_ignore_ascii_case("udp")) {
            words[4] = NOWHERE;
        }
        words.join(" ")
    };
    if let Some(sdp) = line["sdp"].as_str() {
        let lines = sdp.split_inclusive("\r\n");
        line["sdp"] = lines
            .map(|line| if line.starts_with("a=candidate:") { elsewhere(line) } else { line.to_owned() })
            .collect::<String>()
            .into();
    }
    if let Some(candidate) = line["candidate"].as_str() {
        line["candidate"] = elsewhere(candidate).into();
    }
}

const NO_UDP: Tampering = Tampering { to_peer: without_udp, to_browser: without_udp };

/// Serves an empty page in the browser's namespace until the process ends: permissions are an origin's.
fn empty_page(lab: &Lab) -> String {
    let bound = lab.net.spawn(Side::Browser, || TcpListener::bind("127.0.0.1:0").unwrap());
    let listener = bound.join().unwrap();
    let origin = format!("http://127.0.0.1:{}", listener.local_addr().unwrap().port());
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let Ok(mut stream) = stream else { return };
            let _ = stream.read(&mut [0; 4096]);
            let page = "<!doctype html><title>empty</title>";
            let head = "HTTP/1.1 200 OK\r\ncontent-type: text/html\r\nconnection: close\r\ncontent-length";
            let _ = write!(stream, "{head}: {}\r\n\r\n{page}", page.len());
        }
    });
    origin
}

async fn session(lab: &mut Lab, cell: Cell, channels: Value, arguments: &[&str]) -> Session {
    let origin = empty_page(lab);
    let browser = lab.browser(cell.kind, cell.privacy).await;
    browser.allow_microphone(&origin).await.unwrap();
    let tab = Tab::open_at(browser, &origin).await;
    let arguments = [&["--ice-tcp"], arguments].concat();
    Session::start_in(tab, lab, cell, channels, &arguments, NO_UDP).await
}

pub(crate) async fn it_connects_over_tcp_where_no_udp_gets_through(lab: &mut Lab, cell: Cell) {
    assert_eq!(cell.offers, Offers::TheBrowser);
    let session = session(lab, cell, plain_channels(&["echo"]), &["--echo"]).await;
    let sizes = [0, 1, 1200, 16_384, 65_536, 262_144];
    let messages: Vec<_> = sizes.iter().map(|size| json!({ "binary": size })).collect();
    let expected: Vec<_> = sizes.iter().map(|size| json!(["binary", size])).collect();
    assert_eq!(session.ask("echo", json!(["echo", messages])).await, json!(expected));
    assert_eq!(session.ask("stats", json!([])).await["protocol"], "tcp");
    session.hang_up().await;
}

pub(crate) async fn it_takes_a_file_over_tcp(lab: &mut Lab, cell: Cell) {
    const SEED: u32 = 0x5eed_0003;
    const SIZE: usize = 20_000_000;
    assert_eq!(cell.offers, Offers::ThePeer);
    let path = lab.net.scratch().join("over-tcp.bin");
    let bytes = pattern(SEED, SIZE);
    std::fs::write(&path, &bytes).expect("the file to send");
    let from = path.display().to_string();
    let mut session = session(lab, cell, json!([]), &["--send", &from]).await;
    let got = session.ask("receiveFile", json!([120_000])).await;
    assert_eq!(got["sha256"], json!(sha256(&bytes)), "{got}");
    let status = session.ended(std::time::Duration::from_secs(60)).await;
    assert!(status.success(), "{status}");
    session.tab.close().await;
}
