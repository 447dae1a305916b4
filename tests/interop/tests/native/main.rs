//! The library itself against both browsers: what the native side sees, which `sinnet connect` does not print.

mod matrix;
mod relay;
mod side;
mod stats;

use serde_json::json;
use sinnet::{DataChannelOptions, DataChannelState, Message, Reliability, SendError};
use sinnet_interop::AT_ONCE;
use sinnet_interop::lab::Lab;
use sinnet_interop::session::Cell;
use sinnet_interop::tab::plain_channels;

use side::{start, within};
use stats::numbers_agree_with_the_browsers;

macro_rules! cell {
    ($name:ident, $kind:ident, $offers:ident) => {
        mod $name {
            use sinnet_interop::browser::{Kind, Privacy};
            use sinnet_interop::lab;
            use sinnet_interop::session::{Cell, Offers};

            const CELL: Cell = Cell { kind: Kind::$kind, privacy: Privacy::Default, offers: Offers::$offers };

            macro_rules! run {
                ($test:ident) => {
                    #[test]
                    fn $test() {
                        lab::run(async |lab| crate::$test(lab, CELL).await);
                    }
                };
            }

            run!(options_given_by_the_browser_are_seen);
            run!(types_of_messages_are_seen);
            run!(a_message_above_the_browsers_limit_is_refused_and_nothing_else_happens);
            run!(channels_closed_by_the_native_side_close_in_the_browser);
            run!(channels_closed_by_the_browser_end_after_their_last_message);
            run!(a_connection_closed_by_the_browser_ends_in_order);
            run!(a_connection_closed_by_the_native_side_closes_the_browsers_channels);
            run!(numbers_agree_with_the_browsers);

            #[test]
            fn every_kind_of_channel_keeps_its_promise_over_a_bad_network() {
                lab::run(async |lab| crate::matrix::converse(lab, CELL).await);
            }
        }
    };
}

mod chromium {
    cell!(browser_answers, Chromium, ThePeer);
    cell!(browser_offers, Chromium, TheBrowser);
}

mod firefox {
    cell!(browser_answers, Firefox, ThePeer);
    cell!(browser_offers, Firefox, TheBrowser);
}

async fn options_given_by_the_browser_are_seen(lab: &mut Lab, cell: Cell) {
    let list = json!([
        { "label": "unordered", "options": { "ordered": false } },
        { "label": "retransmits", "options": { "maxRetransmits": 3, "protocol": "proto-b" } },
        { "label": "none", "options": { "ordered": false, "maxRetransmits": 0 } },
        { "label": "lifetime", "options": { "maxPacketLifeTime": 500 } },
        { "label": "☃", "options": { "protocol": "☃" } },
    ]);
    let (tab, mut native) = start(lab, cell, list, &["ours"]).await;
    for (label, protocol, ordered, reliability) in [
        ("unordered", "", false, Reliability::Reliable),
        ("retransmits", "proto-b", true, Reliability::MaxRetransmits(3)),
        ("none", "", false, Reliability::MaxRetransmits(0)),
        ("lifetime", "", true, Reliability::MaxPacketLifeTime(500)),
        ("☃", "☃", true, Reliability::Reliable),
    ] {
        let channel = native.channel(label).await;
        let theirs = tab.ask("facts", json!([label])).await;
        assert_eq!(channel.protocol(), protocol);
        assert_eq!(channel.ordered(), ordered, "{label}");
        assert_eq!(channel.reliability(), reliability, "{label}");
        assert_eq!(channel.id().map(u64::from), theirs["id"].as_u64(), "{label}");
    }
    native.end(tab).await;
}

async fn types_of_messages_are_seen(lab: &mut Lab, cell: Cell) {
    let (tab, mut native) = start(lab, cell, plain_channels(&["theirs"]), &["ours"]).await;
    let channel = native.channel("theirs").await;
    let messages = [
        Message::from(""),
        Message::from(Vec::new()),
        Message::from("☃"),
        Message::from(vec![0_u8]),
        Message::from("x".repeat(262_144)),
        Message::from(vec![7_u8; 262_144]),
    ];
    for label in ["theirs", "ours"] {
        tab.ask("reflect", json!([label])).await;
    }
    for channel in [&channel, &native.ours[0]] {
        for message in &messages {
            within("sending", channel.send(message.clone())).await.expect("an open channel");
        }
        for message in &messages {
            let back = within("a message", channel.recv()).await;
            assert!(back.as_ref() == Some(message), "{} bytes on {}", message.len(), channel.label());
        }
    }
    native.end(tab).await;
}

async fn a_message_above_the_browsers_limit_is_refused_and_nothing_else_happens(lab: &mut Lab, cell: Cell) {
    let (tab, mut native) = start(lab, cell, plain_channels(&["theirs"]), &["ours"]).await;
    let channel = native.channel("theirs").await;
    // Chromium announces 262144. Firefox announces 1 GiB and more, which does not fit in here.
    if cell.kind == sinnet_interop::browser::Kind::Chromium {
        let refused = within("a refusal", channel.send(vec![0_u8; 262_145])).await;
        assert_eq!(refused, Err(SendError::TooLarge { size: 262_145, limit: 262_144 }));
    }
    tab.ask("reflect", json!(["theirs"])).await;
    within("sending", channel.send("after")).await.expect("an open channel");
    assert_eq!(within("a message", channel.recv()).await, Some(Message::from("after")));
    native.end(tab).await;
}

async fn channels_closed_by_the_native_side_close_in_the_browser(lab: &mut Lab, cell: Cell) {
    let (tab, mut native) = start(lab, cell, plain_channels(&["stays", "theirs"]), &["ours"]).await;
    let stays = native.channel("stays").await;
    tab.ask("reflect", json!(["stays"])).await;
    // Both a channel that the browser opened and one that we did, each ten times on streams used again.
    for round in 0..10 {
        let theirs = native.channel("theirs").await;
        let ours = if round == 0 {
            native.ours[0].clone()
        } else {
            native.open("ours", DataChannelOptions::default())
        };
        for channel in [theirs, ours] {
            let label = channel.label();
            within("the channel to open", channel.opened()).await.expect("a channel");
            tab.ask("opened", json!([label])).await;
            channel.close();
            within("the channel to close", channel.closed()).await;
            assert_eq!(channel.ready_state(), DataChannelState::Closed);
            assert_eq!(within("the end", channel.recv()).await, None);
            assert_eq!(channel.send("late").await, Err(SendError::Closed));
            let events = tab.ask("closed", json!([label])).await;
            assert!(!events.to_string().contains("error"), "{label}, round {round}: {events}");
        }
        within("sending", stays.send("still here")).await.expect("the other channel");
        assert_eq!(within("an echo", stays.recv()).await, Some(Message::from("still here")));
        tab.ask("open", json!(["theirs", {}])).await;
    }
    native.end(tab).await;
}

async fn channels_closed_by_the_browser_end_after_their_last_message(lab: &mut Lab, cell: Cell) {
    let (tab, mut native) = start(lab, cell, plain_channels(&["theirs"]), &["ours"]).await;
    let theirs = native.channel("theirs").await;
    for channel in [&theirs, &native.ours[0]] {
        let label = channel.label();
        within("the channel to open", channel.opened()).await.expect("a channel");
        tab.ask("say", json!([label, [{ "literal": "one" }, { "binary": 100_000 }, { "literal": "last" }]]))
            .await;
        tab.ask("close", json!([label])).await;
        tab.ask("closed", json!([label])).await;
        let mut got = Vec::new();
        while let Some(message) = within("a message or the end", channel.recv()).await {
            got.push(message.len());
        }
        assert_eq!(got, [3, 100_000, 4], "what was sent on {label} before it was closed");
        within("the channel to close", channel.closed()).await;
    }
    native.end(tab).await;
}

async fn a_connection_closed_by_the_browser_ends_in_order(lab: &mut Lab, cell: Cell) {
    let (tab, mut native) = start(lab, cell, plain_channels(&["theirs"]), &["ours"]).await;
    let theirs = native.channel("theirs").await;
    within("our channel to open", native.ours[0].opened()).await.expect("a channel");
    tab.ask("hangUp", json!([])).await;
    let reason = native.ended(AT_ONCE).await;
    assert!(reason.is_orderly(), "the reason: {reason}");
    for channel in [&theirs, &native.ours[0]] {
        within("the channel to close", channel.closed()).await;
        assert_eq!(within("the end", channel.recv()).await, None);
    }
    tab.close().await;
}

async fn a_connection_closed_by_the_native_side_closes_the_browsers_channels(lab: &mut Lab, cell: Cell) {
    let (tab, mut native) = start(lab, cell, plain_channels(&["theirs", "other"]), &["ours"]).await;
    let theirs = native.channel("theirs").await;
    tab.ask("opened", json!(["ours"])).await;
    within("sending", theirs.send("goodbye")).await.expect("an open channel");
    within("closing", native.connection.close()).await;
    assert!(native.ended(AT_ONCE).await.is_orderly());
    for label in ["theirs", "other", "ours"] {
        tab.ask("closed", json!([label])).await;
    }
    let page = tab.ask("settled", json!([["closed"], 0])).await;
    assert_eq!(page["received"], 1, "what was accepted before the close arrives: {page}");
    tab.close().await;
}
