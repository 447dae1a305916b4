//! The end of a channel and of a connection, seen from the other side.

use std::time::Duration;

use serde_json::json;
use sinnet_interop::AT_ONCE;
use sinnet_interop::lab::Lab;
use sinnet_interop::pattern::pattern;
use sinnet_interop::session::{Cell, Session};
use sinnet_interop::tab::plain_channels;

use crate::messages::echoing;

pub(crate) async fn a_channel_closed_by_the_browser_closes_at_the_peer(lab: &mut Lab, cell: Cell) {
    let session = Session::start(lab, cell, plain_channels(&["stays", "goes"]), &["--echo"]).await;
    let messages = json!([{ "string": 5 }, { "binary": 20_000 }]);
    let expected = json!([["string", 5], ["binary", 20_000]]);
    // The stream numbers are used again only after both directions are reset, so ten rounds close ten channels.
    for round in 0..10 {
        let back = session.ask("echo", json!(["goes", messages])).await;
        assert_eq!(back, expected, "round {round}");
        session.ask("close", json!(["goes"])).await;
        // The browser's `close` event waits until the peer has reset its own direction of the stream.
        let events = session.ask("closed", json!(["goes"])).await;
        let errors =
            events.as_array().into_iter().flatten().filter(|e| e.as_str().unwrap_or("").starts_with("error"));
        assert_eq!(errors.count(), 0, "round {round}: {events}");
        assert_eq!(
            session.ask("echo", json!(["stays", messages])).await,
            expected,
            "the other channel, round {round}"
        );
        session.ask("open", json!(["goes", {}])).await;
    }
    session.hang_up().await;
}

pub(crate) async fn a_connection_closed_by_the_browser_ends_the_peer_with_status_0(
    lab: &mut Lab,
    cell: Cell,
) {
    let mut session =
        Session::start(lab, cell, plain_channels(&["a", "b"]), &["--echo", "--channel", "c"]).await;
    for label in ["a", "b", "c"] {
        let back = session.ask("echo", json!([label, [{ "binary": 10 }]])).await;
        assert_eq!(back, json!([["binary", 10]]));
    }
    assert!(session.peer.running(), "the peer stays while the connection is there");
    session.ask("hangUp", json!([])).await;
    let status = session.ended(AT_ONCE).await;
    assert_eq!(status.code(), Some(0), "the peer's status");
    session.tab.close().await;
}

pub(crate) async fn a_connection_closed_by_the_peer_closes_the_browsers_channels(lab: &mut Lab, cell: Cell) {
    let path = lab.net.scratch().join("small");
    std::fs::write(&path, pattern(7, 1000)).expect("the file to send");
    let from = path.display().to_string();
    // The peer hangs up when its file has been taken.
    let mut session = Session::start(lab, cell, plain_channels(&["a", "b"]), &["--send", &from]).await;
    for label in ["a", "b"] {
        session.ask("opened", json!([label])).await;
    }
    let got = session.ask("receiveFile", json!([30_000])).await;
    assert_eq!(got["size"], 1000);
    for label in [&json!("a"), &json!("b"), &got["label"]] {
        session.ask("closed", json!([label])).await;
    }
    let status = session.ended(AT_ONCE).await;
    assert_eq!(status.code(), Some(0), "the peer's status");
    session.tab.close().await;
}

pub(crate) async fn a_browser_that_is_killed_fails_the_connection_when_its_consent_runs_out(
    lab: &mut Lab,
    cell: Cell,
) {
    let mut session = echoing(lab, cell).await;
    let back = session.ask("echo", json!(["echo", [{ "binary": 10 }]])).await;
    assert_eq!(back, json!([["binary", 10]]));
    // Until the echo is acknowledged: with data on its way, SCTP may give up first (RFC 9260 §8.1).
    tokio::time::sleep(Duration::from_secs(1)).await;
    lab.kill_browser();
    // RFC 7675 §5.1: consent ends 30 seconds after the last answer to a check.
    let status = session.ended(Duration::from_secs(45)).await;
    assert_eq!(status.code(), Some(1), "the peer's status");
    let sentence = session.peer.log.text().lines().last().unwrap_or_default().to_owned();
    assert!(sentence.contains("ICE"), "the last line on stderr: {sentence}");
}
