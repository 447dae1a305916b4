//! Browsers that hide their addresses, as they do by default, and ours that hides too; and browsers whose peer moves.

use std::process::Command;
use std::time::Duration;

use sinnet::{CandidateKind, EndpointConfig, Mdns};
use sinnet_interop::browser::{Kind, Privacy};
use sinnet_interop::lab::{self, Lab};
use sinnet_interop::net::{PEER_ADDRESS, Side};
use sinnet_interop::session::{Cell, Offers};

use crate::end::now;
use crate::page::{Passes, talk};

macro_rules! cell {
    ($name:ident, $kind:ident, $offers:ident) => {
        mod $name {
            use sinnet_interop::browser::{Kind, Privacy};
            use sinnet_interop::lab;
            use sinnet_interop::session::{Cell, Offers};

            use crate::page::Passes;

            const HIDDEN: Cell =
                Cell { kind: Kind::$kind, privacy: Privacy::Default, offers: Offers::$offers };

            #[test]
            fn both_hide_and_find_each_other() {
                lab::run(async |lab| crate::browsers::both_hide(lab, HIDDEN, Passes::All).await);
            }

            #[test]
            fn ours_finds_the_browsers_name_alone() {
                lab::run(async |lab| crate::browsers::both_hide(lab, HIDDEN, Passes::OnlyTheirs).await);
            }

            #[test]
            fn the_browser_finds_our_name_alone() {
                lab::run(async |lab| crate::browsers::both_hide(lab, HIDDEN, Passes::OnlyOurs).await);
            }
        }
    };
}

mod chromium {
    cell!(answers, Chromium, ThePeer);
    cell!(offers, Chromium, TheBrowser);
}

mod firefox {
    cell!(answers, Firefox, ThePeer);
    cell!(offers, Firefox, TheBrowser);
}

/// Neither side's address is ever signalled, and where only one side's names are, the other can't help.
async fn both_hide(lab: &mut Lab, cell: Cell, passes: Passes) {
    let config = EndpointConfig { mdns: Mdns::ResolveAndHide, ..Default::default() };
    let mut talk = talk(lab, cell, config, passes).await;
    talk.echoes().await;
    for line in talk.said.ours.iter().chain(&talk.said.theirs) {
        assert!(!line.contains("10.9.0.") && !line.contains("fd09:"), "{line}");
    }
    assert!(talk.said.ours.iter().any(|line| line.contains(".local ")), "{:?}", talk.said);
    assert!(talk.said.theirs.iter().any(|line| line.contains(".local ")), "{:?}", talk.said);
    let remote = talk.connection.remote_candidates();
    let resolved = remote.iter().any(|candidate| candidate.kind == CandidateKind::Host);
    // What a browser's checks show us is no host candidate, and may be faster than its name.
    if passes != Passes::All {
        assert_eq!(resolved, passes == Passes::OnlyTheirs, "{remote:?}");
    }
    talk.tab.close().await;
}

/// A second address of ours, which the browser reaches without the first.
const SECOND: &str = "10.8.0.2";

fn ip(namespace: &str, arguments: &str) {
    let done = Command::new("ip").args(["-n", namespace]).args(arguments.split(' ')).status().expect("ip");
    assert!(done.success(), "ip {arguments}");
}

/// Puts back what other tests need.
struct Moved(String);

impl Drop for Moved {
    fn drop(&mut self) {
        ip(&self.0, &format!("addr replace {PEER_ADDRESS}/24 dev cable"));
        ip(&self.0, "route replace default via 10.9.0.1");
        ip(&self.0, &format!("addr replace {SECOND}/32 dev cable"));
        ip(&self.0, &format!("addr del {SECOND}/32 dev cable"));
    }
}

/// Our address in use goes: the channel goes on over the other one, and the browser follows. (Firefox stays with the pair that was
/// nominated first, whoever controls: there an ICE restart is needed.)
async fn we_move(lab: &mut Lab, offers: Offers) {
    let ours = lab.net.place(Side::Peer).name().to_owned();
    let _moved = Moved(ours.clone());
    ip(&ours, &format!("addr replace {SECOND}/32 dev cable"));
    ip(lab.net.place(Side::Browser).name(), &format!("route replace {SECOND}/32 dev cable"));
    let bind = vec!["0.0.0.0:0".parse().expect("an address")];
    let config = EndpointConfig { bind, ..Default::default() };
    let cell = Cell { kind: Kind::Chromium, privacy: Privacy::Plain, offers };
    let mut talk = talk(lab, cell, config, Passes::All).await;
    talk.echoes().await;
    while talk.connection.selected_path().is_none() {
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    let used = talk.connection.selected_path().expect("a path").local.ip().to_string();
    let prefix = if used == SECOND { 32 } else { 24 };
    ip(&ours, &format!("addr del {used}/{prefix} dev cable"));
    let began = now();
    talk.echo().await;
    println!("Chromium follows after {:?}", began.elapsed());
    let path = talk.connection.selected_path().map(|path| path.local.ip().to_string());
    assert_ne!(path, Some(used), "another address");
    talk.tab.close().await;
}

#[test]
fn chromium_follows_when_the_controlling_side_loses_its_address() {
    lab::run(async |lab| we_move(lab, Offers::ThePeer).await);
}

#[test]
fn chromium_follows_when_the_controlled_side_loses_its_address() {
    lab::run(async |lab| we_move(lab, Offers::TheBrowser).await);
}
