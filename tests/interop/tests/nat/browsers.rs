//! Browsers behind translators, with one of ours behind another.

use std::time::Duration;

use serde_json::{Value, json};
use sinnet_interop::browser::{Browser, Kind, Privacy};
use sinnet_interop::coturn::{Coturn, PASSWORD, USER};
use sinnet_interop::nat_lab::{Nat, NatLab, SERVER};
use sinnet_interop::tab::Tab;
use tokio::time::{sleep, timeout};

use crate::end::{End, PATIENCE, Way, begin_with_page, echo, now, within};
use crate::run;

/// What is between the browser and the public network, between us and it, and whether a relay is needed.
const CELLS: [(Nat, Nat, bool); 4] = [
    (Nat::Preserving, Nat::Preserving, false),
    (Nat::Random, Nat::Open, false),
    (Nat::Random, Nat::Random, true),
    (Nat::NoUdp, Nat::Random, true),
];

/// Candidates of the pair that the page says it uses: ours and the peer's.
async fn kinds(tab: &Tab) -> [String; 2] {
    let stats = tab.ask("stats", json!([])).await;
    ["local", "remote"].map(|field| stats[field].as_str().unwrap_or_default().to_owned())
}

async fn connect(
    browser: &Browser,
    lab: &NatLab,
    ours: usize,
    config: &Value,
    page_offers: bool,
) -> (Tab, End) {
    let mut tab = Tab::open(browser).await;
    let open = json!([{ "label": "data", "options": { "negotiated": true, "id": 0 } }]);
    tab.ask("start", json!([{ "offer": page_offers, "open": open, "config": config }])).await;
    let way = Way::asking(&["stun:198.51.100.1"]);
    let mut end = begin_with_page(&mut tab, lab.sites[ours].host(), way, page_offers).await;
    let up = end.connected().await;
    assert!(up.is_some(), "{}", end.describe());
    within("a path", end.selected()).await;
    (tab, end)
}

fn through(kind: Kind) {
    run(async {
        let mut lab =
            NatLab::new(&[(Nat::Preserving, 1), (Nat::Preserving, 1), (Nat::Open, 1), (Nat::Random, 1)])
                .expect("a lab");
        let _coturn = Coturn::start_in(&lab.public.place, SERVER.into(), &[]).await;
        let place = lab.sites[0].host().place.clone();
        let browser = Browser::start(&place, kind, Privacy::Default).await.expect("a browser");
        for (theirs, ours, needs_relay) in CELLS {
            lab.sites[0].become_like(theirs);
            let site = lab.sites.iter().skip(1).position(|site| site.nat == ours).expect("a site") + 1;
            for page_offers in [true, false] {
                let urls = [format!("turn:{SERVER}"), format!("turn:{SERVER}?transport=tcp")];
                let config =
                    json!({ "iceServers": [{ "urls": urls, "username": USER, "credential": PASSWORD }] });
                let began = now();
                let (tab, end) = connect(&browser, &lab, site, &config, page_offers).await;
                println!(
                    "{kind:?} behind {theirs:?}, ours behind {ours:?}, page offers: {page_offers}: {:?}",
                    began.elapsed()
                );
                tab.ask("reflect", json!(["data"])).await;
                echo(&end, 60).await;
                if needs_relay {
                    assert!(end.is_relayed(), "{}", end.describe());
                    assert_eq!(kinds(&tab).await[0], "relay");
                } else {
                    // A relay may be found first. Then the direct path is gone over to when it is there.
                    let direct = async {
                        while end.is_relayed() || kinds(&tab).await[0] == "relay" {
                            sleep(Duration::from_millis(50)).await;
                        }
                    };
                    if timeout(PATIENCE, direct).await.is_err() {
                        panic!("no direct path for the page's {:?}: {}", kinds(&tab).await, end.describe());
                    }
                }
                tab.ask("hangUp", json!([])).await;
                tab.close().await;
            }
        }
    });
}

#[test]
fn chromium_gets_through() {
    through(Kind::Chromium);
}

#[test]
fn firefox_gets_through() {
    through(Kind::Firefox);
}
