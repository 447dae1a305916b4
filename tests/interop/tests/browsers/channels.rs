//! Many channels at once, from both sides, and their options.

use futures_util::future::join_all;
use serde_json::{Value, json};
use sinnet_interop::lab::Lab;
use sinnet_interop::session::{Cell, Session};
use sinnet_interop::tab::plain_channels;

pub(crate) async fn twenty_channels_opened_from_both_sides_echo(lab: &mut Lab, cell: Cell) {
    let browsers: Vec<String> = (0..10).map(|i| format!("browser {i}")).collect();
    let peers: Vec<String> = (0..10).map(|i| format!("peer {i}")).collect();
    let mut arguments = vec!["--echo"];
    for label in &peers {
        arguments.extend(["--channel", label]);
    }
    let labels: Vec<&str> = browsers.iter().map(String::as_str).collect();
    let session = Session::start(lab, cell, plain_channels(&labels), &arguments).await;

    let mut ids = Vec::new();
    for (label, remote) in browsers.iter().map(|l| (l, false)).chain(peers.iter().map(|l| (l, true))) {
        let facts = session.ask("facts", json!([label])).await;
        assert_eq!((&facts["label"], &facts["remote"]), (&json!(label), &json!(remote)), "{facts}");
        ids.push(facts["id"].as_u64().expect("an id"));
    }
    // RFC 8832 §6: the DTLS client takes even streams, the server odd ones.
    let (ours, theirs) = ids.split_at(10);
    assert!(ours.iter().all(|id| id % 2 == ours[0] % 2), "streams of the browser's channels: {ours:?}");
    assert!(theirs.iter().all(|id| id % 2 != ours[0] % 2), "streams of the peer's channels: {theirs:?}");
    ids.sort_unstable();
    ids.dedup();
    assert_eq!(ids.len(), 20, "streams: {ids:?}");

    let messages =
        json!([{ "string": 12 }, { "binary": 70_000 }, { "string": 0 }, { "binary": 0 }, { "binary": 1 }]);
    let expected = json!([["string", 12], ["binary", 70_000], ["string", 0], ["binary", 0], ["binary", 1]]);
    let all = browsers.iter().chain(&peers);
    let bursts = join_all(all.map(|label| session.ask("burst", json!([label, messages])))).await;
    assert_eq!(bursts, vec![expected; 20]);
    session.hang_up().await;
}

pub(crate) async fn options_arrive_as_they_were_given(lab: &mut Lab, cell: Cell) {
    let ours = json!([
        { "label": "b unordered", "options": { "ordered": false } },
        { "label": "b retransmits", "options": { "maxRetransmits": 3, "protocol": "proto-b" } },
        { "label": "b lifetime", "options": { "ordered": false, "maxPacketLifeTime": 500 } },
        { "label": "b ☃", "options": { "protocol": "☃" } },
        { "label": "", "options": {} },
        { "label": "agreed", "options": { "negotiated": true, "id": 100 } },
    ]);
    let arguments = [
        ["--channel", "p unordered,unordered"],
        ["--channel", "p retransmits,maxRetransmits=3,protocol=proto-p"],
        ["--channel", "p lifetime,unordered,maxPacketLifeTime=500"],
        ["--channel", "p none,maxRetransmits=0"],
        ["--channel", "agreed,negotiated=100"],
    ]
    .concat();
    let session = Session::start(lab, cell, ours, &[&["--echo"], arguments.as_slice()].concat()).await;

    for (label, protocol, ordered, retransmits, lifetime) in [
        ("p unordered", "", false, None, None),
        ("p retransmits", "proto-p", true, Some(3), None),
        ("p lifetime", "", false, None, Some(500)),
        ("p none", "", true, Some(0), None),
    ] {
        let mut facts = session.ask("facts", json!([label])).await;
        facts["id"] = Value::Null;
        let expected = json!({
            "label": label, "protocol": protocol, "ordered": ordered, "negotiated": false, "id": null, "remote": true,
            "maxRetransmits": retransmits, "maxPacketLifeTime": lifetime,
        });
        assert_eq!(facts, expected);
    }
    let agreed = session.ask("facts", json!(["agreed"])).await;
    assert_eq!((&agreed["id"], &agreed["negotiated"]), (&json!(100), &json!(true)));

    for label in [
        "b unordered",
        "b retransmits",
        "b lifetime",
        "b ☃",
        "",
        "agreed",
        "p unordered",
        "p retransmits",
        "p lifetime",
        "p none",
    ] {
        let messages = json!([{ "string": 5 }, { "binary": 3000 }, { "string": 0 }]);
        let back = session.ask("echo", json!([label, messages])).await;
        assert_eq!(back, json!([["string", 5], ["binary", 3000], ["string", 0]]), "on {label:?}");
    }
    session.hang_up().await;
}
