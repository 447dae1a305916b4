//! The harness itself, without the peer under test: when these fail, look no further.

use serde_json::json;
use sinnet_interop::browser::{Browser, Kind, Privacy};
use sinnet_interop::lab;
use sinnet_interop::net::Side;
use sinnet_interop::pattern::{pattern, sha256};
use sinnet_interop::session::relay;
use sinnet_interop::tab::{Tab, plain_channels};

#[test]
fn the_page_and_the_tests_make_the_same_bytes_and_the_same_hash() {
    lab::run(async |lab| {
        let tab = Tab::open(lab.browser(Kind::Chromium, Privacy::Plain).await).await;
        for (seed, length) in [(1, 0), (1, 1), (7, 63), (7, 64), (99, 1_000_001)] {
            let theirs = tab.ask("sha256", json!([seed, length])).await;
            assert_eq!(theirs, json!(sha256(&pattern(seed, length))), "seed {seed}, {length} bytes");
        }
        tab.close().await;
    });
}

#[test]
fn chromium_and_firefox_talk_through_the_harness_either_way() {
    lab::run(async |lab| {
        let firefox = Browser::start(lab.net.place(Side::Peer), Kind::Firefox, Privacy::Default)
            .await
            .expect("firefox");
        let chromium = lab.browser(Kind::Chromium, Privacy::Plain).await;
        for chromium_offers in [true, false] {
            let mut a = Tab::open(chromium).await;
            let mut b = Tab::open(&firefox).await;
            relay(a.take_lines().expect("once"), b.input());
            relay(b.take_lines().expect("once"), a.input());
            let (offerer, answerer) = if chromium_offers { (&a, &b) } else { (&b, &a) };
            answerer.ask("start", json!([{ "offer": false, "open": [] }])).await;
            offerer.ask("start", json!([{ "offer": true, "open": plain_channels(&["x"]) }])).await;
            answerer.ask("reflect", json!(["x"])).await;
            let list = json!([{ "string": 0 }, { "binary": 0 }, { "string": 5 }, { "binary": 262_144 }]);
            let back = offerer.ask("echo", json!(["x", list])).await;
            assert_eq!(back, json!([["string", 0], ["binary", 0], ["string", 5], ["binary", 262_144]]));
            offerer.ask("hangUp", json!([])).await;
            answerer.ask("closed", json!(["x"])).await;
            a.close().await;
            b.close().await;
        }
    });
}
