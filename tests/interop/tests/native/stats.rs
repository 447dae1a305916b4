//! That our statistics and the browser's `getStats` tell of the same connection.

use std::time::Duration;

use serde_json::{Value, json};
use sinnet::DataChannel;
use sinnet_interop::browser::Kind;
use sinnet_interop::lab::Lab;
use sinnet_interop::session::Cell;
use sinnet_interop::tab::{Tab, plain_channels};

use crate::side::{Native, start, within};

/// The browser's entries of a type.
fn of_type<'a>(report: &'a Value, kind: &str) -> Vec<&'a Value> {
    report.as_array().expect("a list").iter().filter(|entry| entry["type"] == kind).collect()
}

fn same_messages(report: &Value, channel: &DataChannel) {
    let channels = of_type(report, "data-channel");
    let theirs = channels.iter().find(|entry| entry["label"] == channel.label()).expect("the channel");
    let ours = channel.stats();
    for (field, ours) in [
        ("dataChannelIdentifier", ours.data_channel_identifier.map(u64::from)),
        ("messagesReceived", Some(ours.messages_sent)),
        ("bytesReceived", Some(ours.bytes_sent)),
        ("messagesSent", Some(ours.messages_received)),
        ("bytesSent", Some(ours.bytes_received)),
    ] {
        assert_eq!(theirs[field].as_u64(), ours, "{field} of {theirs}");
    }
    assert_eq!(theirs["state"], ours.state.to_string());
}

/// The browser's report when nothing is under way any more, as acknowledgements may be: nothing has changed on either side.
async fn report_at_rest(tab: &Tab, native: &Native) -> Value {
    let mut last = Vec::new();
    for _ in 0..60 {
        let report = tab.ask("report", json!([])).await;
        let mut counts = vec![native.connection.stats().transport.traffic.packets_sent.into()];
        for entry in of_type(&report, "data-channel").into_iter().chain(of_type(&report, "transport")) {
            counts.extend(
                ["bytesReceived", "messagesReceived", "packetsSent"].map(|field| entry[field].clone()),
            );
        }
        // Chromium says of a pair in use that it is in progress while a check of it is not answered yet.
        let checked = of_type(&report, "candidate-pair")
            .iter()
            .all(|pair| pair["nominated"] != true || pair["state"] != "in-progress");
        if std::mem::replace(&mut last, counts.clone()) == counts && checked {
            return report;
        }
        tokio::time::sleep(Duration::from_millis(500)).await;
    }
    panic!("no rest: {last:?}");
}

pub(crate) async fn numbers_agree_with_the_browsers(lab: &mut Lab, cell: Cell) {
    let (tab, mut native) = start(lab, cell, plain_channels(&["theirs"]), &["ours"]).await;
    let theirs = native.channel("theirs").await;
    let channels = [&theirs, &native.ours[0]];
    for channel in channels {
        tab.ask("reflect", json!([channel.label()])).await;
        for i in 0..50_usize {
            within("sending", channel.send(vec![7; i * 113])).await.expect("an open channel");
        }
        for _ in 0..50 {
            within("a message", channel.recv()).await.expect("an open channel");
        }
    }
    let report = report_at_rest(&tab, &native).await;
    for channel in channels {
        same_messages(&report, channel);
    }
    let stats = native.connection.stats();
    assert_eq!((stats.connection.data_channels_opened, stats.connection.data_channels_closed), (2, 0));

    let transports = of_type(&report, "transport");
    let transport = transports.first().expect("a transport");
    assert_eq!(transport["dtlsState"], stats.transport.dtls_state.to_string());
    let version = stats.transport.tls_version.map(|version| format!("{:04X}", version.0));
    assert_eq!(transport["tlsVersion"].as_str(), version.as_deref());
    let suite = stats.transport.dtls_cipher.map(|suite| suite.to_string());
    assert_eq!(transport["dtlsCipher"].as_str(), suite.as_deref());

    // Firefox tells of neither certificates nor bytes here.
    let certificates = of_type(&report, "certificate");
    assert!(cell.kind == Kind::Firefox || certificates.len() == 2, "{certificates:?}");
    for ours in [native.connection.local_certificate_stats(), native.connection.remote_certificate_stats()] {
        let ours = ours.expect("a certificate").to_string();
        let listed = certificates.iter().any(|entry| entry["fingerprint"] == ours.as_str());
        assert!(listed || certificates.is_empty(), "{ours}: {certificates:?}");
    }
    let traffic = stats.transport.traffic;
    if cell.kind == Kind::Chromium {
        // A hello may come before ICE lets it in, and something may come between the two reports.
        let count = |field: &str| transport[field].as_u64().expect("a count");
        assert!(count("packetsSent").abs_diff(traffic.packets_received) <= 3, "{traffic:?} {transport}");
        assert!(count("bytesSent").abs_diff(traffic.bytes_received) <= 3 * 1500, "{traffic:?} {transport}");
        // Size probes get lost on the way, and more where Chromium gets no time to read.
        assert!(transport["bytesReceived"].as_u64() <= Some(traffic.bytes_sent), "{transport}");
        assert!(
            transport["bytesReceived"].as_u64() > Some(traffic.bytes_sent / 2),
            "{traffic:?} {transport}"
        );
    }

    let pairs = native.connection.candidate_pairs();
    let ours = pairs.iter().find(|pair| pair.ice.selected).expect("a selected pair");
    let pairs = of_type(&report, "candidate-pair");
    let selected =
        |entry: &&&Value| transport["selectedCandidatePairId"] == entry["id"] || entry["selected"] == true;
    let theirs = pairs.iter().find(selected).expect("a selected pair");
    assert_eq!((&theirs["state"], &theirs["nominated"]), (&ours.ice.state.to_string().into(), &true.into()));
    for (field, bytes) in
        [("bytesSent", ours.traffic.bytes_received), ("bytesReceived", ours.traffic.bytes_sent)]
    {
        let theirs = theirs[field].as_u64().expect("a count");
        assert!(theirs.abs_diff(bytes) * 10 <= bytes.max(20_000), "{field}: {theirs} and {bytes}");
    }
    native.end(tab).await;
}
