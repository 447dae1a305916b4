//! 50 MB each way, by the file protocol of the `sinnet` command, with the hash compared on both sides.

use std::time::Duration;

use serde_json::json;
use sinnet_interop::AT_ONCE;
use sinnet_interop::browser::Kind;
use sinnet_interop::lab::Lab;
use sinnet_interop::pattern::{pattern, sha256};
use sinnet_interop::session::{Cell, Offers, Session};
use sinnet_interop::tab::plain_channels;

const SIZE: usize = 50_000_000;

pub(crate) async fn the_peer_receives_50_mb_from_the_browser(lab: &mut Lab, cell: Cell) {
    const SEED: u32 = 0x5eed_0001;
    let directory = lab.net.scratch().join("received");
    let _ = std::fs::remove_dir_all(&directory);
    std::fs::create_dir(&directory).expect("a directory");
    let to = directory.display().to_string();

    let channel = json!([{ "label": "upload", "options": { "protocol": "sinnet-file" } }]);
    let session = Session::start(lab, cell, channel, &["--recv", &to]).await;
    let done = session.ask("sendFile", json!(["upload", "pattern.bin", SEED, SIZE])).await;

    let expected = sha256(&pattern(SEED, SIZE));
    assert_eq!(done["sha256"], json!(expected), "what the page made");
    assert_eq!(done["verdict"], json!({ "ok": true, "sha256": expected, "size": SIZE }));
    let file = std::fs::read(directory.join("pattern.bin")).expect("the received file under its name");
    assert_eq!(file.len(), SIZE);
    assert_eq!(sha256(&file), expected, "what lies on the disk");
    let names = std::fs::read_dir(&directory).expect("the directory").count();
    assert_eq!(names, 1, "files in the directory: nothing temporary is left");
    session.ask("close", json!(["upload"])).await;
    session.ask("closed", json!(["upload"])).await;
    session.hang_up().await;
}

/// What Chromium accepts at the most. Firefox announces 1 GiB, but of a message of 40 MB it closes its end of the
/// association half way (Firefox ESR; its SCTP aborts with "out of resource", which it does when nobody reads any more).
pub(crate) async fn the_browser_receives_a_file_in_one_message(lab: &mut Lab, cell: Cell) {
    const SEED: u32 = 0x5eed_0003;
    let size = if cell.kind == Kind::Firefox { 16 << 20 } else { 256 << 10 };
    let content = pattern(SEED, size);
    let expected = sha256(&content);
    let path = lab.net.scratch().join("one message.bin");
    std::fs::write(&path, content).expect("the file to send");
    let from = path.display().to_string();

    let channels = if cell.offers == Offers::TheBrowser { plain_channels(&["first"]) } else { json!([]) };
    let mut session = Session::start(lab, cell, channels, &["--send", &from, "--as-one"]).await;
    let got = session.ask("receiveFile", json!([80_000])).await;
    assert_eq!((&got["size"], &got["messages"]), (&json!(size), &json!(1)));
    assert_eq!(got["sha256"], json!(expected), "what arrived in the page");

    let status = session.ended(AT_ONCE).await;
    assert!(status.success(), "the sender ended with {status}");
    session.tab.close().await;
}

pub(crate) async fn the_browser_receives_50_mb_from_the_peer(lab: &mut Lab, cell: Cell) {
    const SEED: u32 = 0x5eed_0002;
    let content = pattern(SEED, SIZE);
    let expected = sha256(&content);
    let path = lab.net.scratch().join("to send.bin");
    std::fs::write(&path, content).expect("the file to send");
    let from = path.display().to_string();

    // An offer of the browser needs a channel, or it would have no section for data.
    let channels = if cell.offers == Offers::TheBrowser { plain_channels(&["first"]) } else { json!([]) };
    let mut session = Session::start(lab, cell, channels, &["--send", &from]).await;
    let got = session.ask("receiveFile", json!([80_000])).await;
    assert_eq!(got["name"], "to send.bin");
    assert_eq!(got["announced"], SIZE);
    assert_eq!(got["size"], SIZE);
    assert_eq!(got["sha256"], json!(expected), "what arrived in the page");
    assert_eq!(got["claimed"], json!(expected), "what the sender says");

    let status = session.ended(AT_ONCE).await;
    assert!(status.success(), "the sender ended with {status}");
    session.ask("closed", json!([got["label"]])).await;
    session.tab.close().await;
}

pub(crate) async fn a_file_that_the_browser_abandons_leaves_nothing(lab: &mut Lab, cell: Cell) {
    let directory = lab.net.scratch().join("abandoned");
    let _ = std::fs::remove_dir_all(&directory);
    std::fs::create_dir(&directory).expect("a directory");
    let to = directory.display().to_string();

    let channel = json!([{ "label": "upload", "options": { "protocol": "sinnet-file" } }]);
    let mut session = Session::start(lab, cell, channel, &["--recv", &to]).await;
    session.ask("opened", json!(["upload"])).await;
    let hang_up = async {
        tokio::time::sleep(Duration::from_millis(300)).await;
        session.ask("hangUp", json!([])).await;
    };
    let (sent, ()) =
        tokio::join!(session.tab.try_ask("sendFile", json!(["upload", "half.bin", 9, SIZE])), hang_up);
    assert!(sent.is_err(), "all of the file was sent before the end of the connection: {sent:?}");
    let status = session.ended(AT_ONCE).await;
    assert_eq!(status.code(), Some(1), "the peer's status: it has no whole file");
    assert_eq!(std::fs::read_dir(&directory).expect("the directory").count(), 0, "files that were left");
    session.tab.close().await;
}
