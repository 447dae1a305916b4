//! The conversation matrix with a browser: {ordered, unordered} × {reliable, maxRetransmits 0, maxPacketLifeTime 100} ×
//! {DCEP, agreed id}, all at once over one connection, 5,000 messages each way on each channel, over a network that
//! loses, doubles and reorders. The offerer opens the channels. What may come of it is in
//! `sinnet_stack_tests::conversation`; the same between two of ours is in `tests/stack/tests/matrix.rs`.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use serde_json::{Value, json};
use sinnet::{DataChannel, DataChannelOptions, Reliability};
use sinnet_interop::lab::Lab;
use sinnet_interop::session::{Cell, Offers};
use sinnet_netsim::seed;
use sinnet_stack_tests::conversation::{Ear, Script};

use crate::relay::BadNetwork;
use crate::side::{start_with, within};

const MESSAGES: u32 = 5000;

/// What both sides announce, Firefox a little more.
const LARGEST: usize = 262_144;

/// One channel of the matrix.
struct Kind {
    label: String,
    options: DataChannelOptions,
    /// The options as the page has them.
    theirs: Value,
    browser_says: Script,
    we_say: Script,
}

fn kinds(seed: u32) -> Vec<Kind> {
    let mut kinds = Vec::new();
    for ordered in [true, false] {
        for (reliability, limit) in [
            (Reliability::Reliable, None),
            (Reliability::MaxRetransmits(0), Some(("maxRetransmits", 0))),
            (Reliability::MaxPacketLifeTime(100), Some(("maxPacketLifeTime", 100))),
        ] {
            for agreed in [false, true] {
                let number = kinds.len() as u16;
                let negotiated = agreed.then_some(100 + number);
                let options =
                    DataChannelOptions { ordered, reliability, negotiated, ..DataChannelOptions::default() };
                let mut theirs = json!({ "ordered": ordered, "negotiated": agreed });
                if let Some((name, value)) = limit {
                    theirs[name] = value.into();
                }
                if let Some(id) = negotiated {
                    theirs["id"] = id.into();
                }
                let script = |which| {
                    let seed = seed.wrapping_add(2 * u32::from(number) + which) | 0x1000;
                    Script { seed, count: MESSAGES, largest: LARGEST }
                };
                let label = format!("{number} ordered {ordered} {reliability:?} agreed {agreed}");
                kinds.push(Kind { label, options, theirs, browser_says: script(0), we_say: script(1) });
            }
        }
    }
    kinds
}

fn in_page(script: Script) -> Value {
    json!({ "seed": script.seed, "count": script.count, "largest": script.largest })
}

async fn speak(channel: DataChannel, script: Script) {
    channel.set_buffered_amount_low_threshold(8 * 1024);
    for number in 0..script.count {
        if channel.buffered_amount() > 16 * 1024 {
            channel.buffered_amount_low().await;
        }
        channel.send(script.message(number)).await.expect("an open channel");
    }
}

async fn hear(channel: DataChannel, mut ear: Ear, count: Arc<AtomicU32>) {
    while let Some(message) = channel.recv().await {
        ear.take(&message);
        count.store(ear.received, Ordering::Relaxed);
    }
}

pub(crate) async fn converse(lab: &mut Lab, cell: Cell) {
    let seed = seed(0x7a1c) as u32;
    let kinds = kinds(seed);
    let browser_opens = cell.offers == Offers::TheBrowser;
    let theirs: Vec<Value> = kinds
        .iter()
        .filter(|kind| browser_opens || kind.options.negotiated.is_some())
        .map(|kind| json!({ "label": kind.label, "options": kind.theirs }))
        .collect();
    let ours = kinds
        .iter()
        .filter(|kind| !browser_opens || kind.options.negotiated.is_some())
        .map(|kind| (kind.label.clone(), kind.options.clone()))
        .collect();
    let bad = BadNetwork { seed: seed | 1, per_mille: 10 };
    let (tab, mut native) = start_with(lab, cell, json!(theirs), ours, Some(bad)).await;

    let list: Vec<Value> = kinds
        .iter()
        .map(|kind| {
            json!({
                "label": kind.label, "speak": in_page(kind.browser_says), "hear": in_page(kind.we_say),
                "ordered": kind.options.ordered, "reliable": kind.options.reliability == Reliability::Reliable,
            })
        })
        .collect();
    let mut channels = Vec::new();
    for kind in &kinds {
        let channel = match native.ours.iter().find(|channel| channel.label() == kind.label) {
            Some(channel) => channel.clone(),
            None => native.channel(&kind.label).await,
        };
        within(&kind.label, channel.opened()).await.expect("a channel");
        assert_eq!(
            (channel.ordered(), channel.reliability()),
            (kind.options.ordered, kind.options.reliability)
        );
        channels.push(channel);
    }
    tab.ask("converse", json!([list])).await;
    let (mut speaking, mut hearing, mut counts) = (Vec::new(), Vec::new(), Vec::new());
    for (kind, channel) in kinds.iter().zip(&channels) {
        let reliable = kind.options.reliability == Reliability::Reliable;
        let ear = Ear::new(kind.browser_says, kind.options.ordered, reliable);
        let count = Arc::new(AtomicU32::new(0));
        counts.push(count.clone());
        hearing.push(tokio::spawn(hear(channel.clone(), ear, count)));
        speaking.push(tokio::spawn(speak(channel.clone(), kind.we_say)));
    }
    for task in speaking {
        let spoken = tokio::time::timeout(Duration::from_secs(160), task).await;
        spoken.expect("all is said in time").expect("nothing goes wrong");
    }
    let page = tab.ask("conversed", json!([80_000])).await;
    for (kind, count) in kinds.iter().zip(&counts) {
        let complete = async {
            while kind.options.reliability == Reliability::Reliable
                && count.load(Ordering::Relaxed) < MESSAGES
                && hearing.iter().all(|task| !task.is_finished())
            {
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        };
        within(&kind.label, complete).await;
    }
    // What may still be on its way on the channels that may lose something.
    let mut late = page.clone();
    loop {
        tokio::time::sleep(Duration::from_secs(1)).await;
        let now = tab.ask("conversed", json!([0])).await;
        if std::mem::replace(&mut late, now.clone()) == now {
            break;
        }
    }
    let stats = native.connection.stats().sctp;
    for (kind, count) in kinds.iter().zip(&counts) {
        let (here, there) = (count.load(Ordering::Relaxed), &late[&kind.label]);
        println!("{:60} {here:5} heard here, {:5} in the page", kind.label, there["received"]);
        assert_eq!((&there["problem"], &there["spoken"]), (&Value::Null, &json!(true)), "{}", kind.label);
        let there = there["received"].as_u64().expect("a number") as u32;
        match kind.options.reliability {
            Reliability::Reliable => assert_eq!((here, there), (MESSAGES, MESSAGES), "{page}"),
            Reliability::MaxRetransmits(_) => {
                assert!(here > MESSAGES / 2 && there > MESSAGES / 2, "{}: {here} and {there}", kind.label);
            }
            // On a busy machine most may be too old before they are sent.
            Reliability::MaxPacketLifeTime(_) => {
                assert!(here > 0 && there > 0, "{}: {here} and {there}", kind.label);
            }
        }
    }
    println!("{} given up here, {} retransmitted", stats.messages_abandoned, stats.retransmissions);
    assert!(stats.messages_abandoned > 0 && stats.retransmissions > 0, "the network is bad");
    native.end(tab).await;
    for task in hearing {
        within("the end of a channel", task).await.expect("nothing but what is promised");
    }
}
