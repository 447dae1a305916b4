//! Messages of both types and every size, there and back.

use serde_json::{Value, json};
use sinnet_interop::lab::Lab;
use sinnet_interop::session::{Cell, Offers, Session};
use sinnet_interop::tab::plain_channels;

/// A session with one channel `echo`, made by the offerer, and the peer echoing.
pub(crate) async fn echoing(lab: &mut Lab, cell: Cell) -> Session {
    match cell.offers {
        Offers::TheBrowser => Session::start(lab, cell, plain_channels(&["echo"]), &["--echo"]).await,
        Offers::ThePeer => Session::start(lab, cell, json!([]), &["--channel", "echo", "--echo"]).await,
    }
}

/// Around the sizes where something changes: nothing, one byte, one datagram, one record, 64 KiB, 256 KiB.
const SIZES: [usize; 24] = [
    0, 1, 2, 3, 4, 5, 100, 1023, 1151, 1152, 1159, 1160, 1161, 1172, 1173, 2320, 16_383, 16_384, 16_385,
    65_535, 65_536, 65_537, 262_143, 262_144,
];

pub(crate) async fn strings_and_bytes_of_every_size_come_back_as_they_were(lab: &mut Lab, cell: Cell) {
    let session = echoing(lab, cell).await;
    let up = session.ask("connected", json!([])).await;
    let limit = up["maxMessageSize"].as_u64();
    assert!(limit >= Some(262_144), "the peer takes messages of {limit:?} bytes only");

    let stats = session.ask("stats", json!([])).await;
    assert_eq!(stats["tlsVersion"], "FEFD", "DTLS 1.2, as the browser sees it: {stats}");
    assert!(
        stats["dtlsCipher"].as_str().is_some_and(|suite| suite.starts_with("TLS_ECDHE_ECDSA_")),
        "{stats}"
    );

    let mut messages = Vec::new();
    let mut expected = Vec::new();
    for size in SIZES {
        messages.extend([json!({ "string": size }), json!({ "binary": size })]);
        expected.extend([json!(["string", size]), json!(["binary", size])]);
    }
    let snowmen = "☃🦀é\u{0}".repeat(26_000);
    for text in ["\u{0}", "☃", "🦀 žluťoučký kůň", snowmen.as_str()] {
        messages.push(json!({ "literal": text }));
        expected.push(json!(["string", text.len()]));
    }
    let back = session.ask("echo", json!(["echo", messages])).await;
    assert_eq!(back, Value::from(expected));
    session.hang_up().await;
}

pub(crate) async fn a_burst_of_messages_comes_back_in_order(lab: &mut Lab, cell: Cell) {
    let session = echoing(lab, cell).await;
    let mut messages = Vec::new();
    let mut expected = Vec::new();
    for i in 0..1000_usize {
        let size = (i * 7919) % 3000;
        let kind = if i % 3 == 0 { "string" } else { "binary" };
        messages.push(json!({ kind: size }));
        expected.push(json!([kind, size]));
    }
    let back = session.ask("burst", json!(["echo", messages])).await;
    assert_eq!(back, Value::from(expected));
    session.hang_up().await;
}
