//! A certificate that is not the one which the signalling announced.

use std::time::Duration;

use serde_json::{Value, json};
use sinnet_interop::lab::Lab;
use sinnet_interop::session::{Cell, Session, Tampering};
use sinnet_interop::tab::plain_channels;

/// Changes one digit of the fingerprint in a description.
fn another_fingerprint(line: &mut Value) {
    const BEFORE: &str = "a=fingerprint:sha-256 ";
    let Some(sdp) = line["sdp"].as_str() else { return };
    let at = sdp.find(BEFORE).expect("a fingerprint") + BEFORE.len();
    let digit = if sdp[at..].starts_with('0') { "1" } else { "0" };
    line["sdp"] = format!("{}{digit}{}", &sdp[..at], &sdp[at + 1..]).into();
}

/// Connects with that tampering; both ends must fail, and nothing pass. Gives the session and stderr's last line.
async fn fails(lab: &mut Lab, cell: Cell, tampering: Tampering) -> (Session, String) {
    let channels = plain_channels(&["a"]);
    let arguments = ["--echo", "--channel", "c"];
    let mut session = Session::start_tampered(lab, cell, channels, &arguments, tampering).await;
    let status = session.ended(Duration::from_secs(30)).await;
    assert_eq!(status.code(), Some(1), "the peer's status");
    let page = session.ask("settled", json!([["failed", "closed"], 3000])).await;
    assert_eq!((&page["opened"], &page["received"]), (&json!(0), &json!(0)), "channels and messages: {page}");
    assert_ne!(page["connection"], "connected");
    let sentence = session.peer.log.text().lines().last().unwrap_or_default().to_owned();
    (session, sentence)
}

pub(crate) async fn a_wrong_fingerprint_from_the_browser_fails_the_connection(lab: &mut Lab, cell: Cell) {
    let tampering = Tampering { to_peer: another_fingerprint, ..Tampering::NONE };
    let (session, sentence) = fails(lab, cell, tampering).await;
    assert!(sentence.contains("fingerprint"), "the last line on stderr: {sentence}");
    session.tab.close().await;
}

pub(crate) async fn a_wrong_fingerprint_from_the_peer_fails_the_connection(lab: &mut Lab, cell: Cell) {
    // The browser refuses our certificate, and says so with an alert.
    let tampering = Tampering { to_browser: another_fingerprint, ..Tampering::NONE };
    let (session, sentence) = fails(lab, cell, tampering).await;
    assert!(!sentence.is_empty(), "a sentence on stderr");
    session.tab.close().await;
}
