//! Relays under load: restarts, servers that die, ways that close.

use std::time::Duration;

use sinnet::ConnectionState;
use sinnet_interop::coturn::Coturn;
use sinnet_interop::nat_lab::{Nat, NatLab, SERVER};

use crate::change::restart;
use crate::end::{End, Way, begin, settled, within};
use crate::flow::Flow;
use crate::run;
use crate::servers::{By, Over, Servers};

/// Two ends that are connected, behind these, with these servers.
async fn connected(lab: &NatLab, servers: &Servers, by: &[By], over: &[Over]) -> [End; 2] {
    let way = Way::asking(&["stun:198.51.100.1"]);
    let way = by.iter().fold(way, |way, by| way.and_turn(servers, *by, over));
    let mut ends = begin([lab.sites[0].host(), lab.sites[1].host()], [way.clone(), way]).await;
    settled(&mut ends).await;
    ends
}

fn lab(sites: [Nat; 2]) -> NatLab {
    NatLab::new(&sites.map(|nat| (nat, 1))).expect("a lab")
}

/// Waits until the path in use is relayed, or is not.
async fn uses_a_relay(ends: &[End; 2], relay: bool) {
    let change = async {
        while ends.iter().any(|end| end.is_relayed() != relay) {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    within(if relay { "a relayed path" } else { "a direct path" }, change).await;
}

#[test]
fn ice_restarts_lose_nothing_of_a_relayed_transfer() {
    run(async {
        let lab = lab([Nat::Random, Nat::Random]);
        let servers = Servers::start(&lab).await;
        let cell = async |by: By, over: Over| {
            let ends = connected(&lab, &servers, &[by], &[over]).await;
            let mut flow = Flow::begin(&ends[0], &ends[1]);
            for restarter in [0, 1] {
                flow.more(100).await;
                let (silence, ()) = tokio::join!(flow.more(300), restart(&ends, restarter));
                flow.more(100).await;
                println!("{by:?}, {over:?}, restarted by {restarter}: the longest silence was {silence:?}");
            }
            flow.end().await;
            uses_a_relay(&ends, true).await;
            for end in &ends {
                assert_eq!(end.states(), [ConnectionState::Connecting, ConnectionState::Connected]);
            }
        };
        tokio::join!(cell(By::Coturn, Over::Udp), cell(By::Ours, Over::Udp), cell(By::Ours, Over::Tls));
        assert_eq!(servers.ours.server.stats().wrong_credentials, 0);
    });
}

#[test]
fn a_server_that_dies_is_not_missed_by_a_direct_path() {
    run(async {
        let lab = lab([Nat::Preserving, Nat::Preserving]);
        let servers = Servers::start(&lab).await;
        let ends = connected(&lab, &servers, &[By::Coturn], &[Over::Udp, Over::Tcp]).await;
        uses_a_relay(&ends, false).await;
        let mut flow = Flow::begin(&ends[0], &ends[1]);
        flow.more(100).await;
        servers.coturn.kill().await;
        let silence = flow.more(2000).await;
        let _again = Coturn::start_in(&lab.public.place, SERVER.into(), &[]).await;
        println!("the longest silence was {silence:?}, and {:?} after the new start", flow.more(2000).await);
        flow.end().await;
        for end in &ends {
            assert!(!end.is_relayed());
            assert_eq!(end.states(), [ConnectionState::Connecting, ConnectionState::Connected]);
        }
    });
}

#[test]
fn of_two_servers_one_may_die() {
    run(async {
        let lab = lab([Nat::Random, Nat::Random]);
        let servers = Servers::start(&lab).await;
        let ends = connected(&lab, &servers, &[By::Coturn, By::Ours], &[Over::Udp]).await;
        uses_a_relay(&ends, true).await;
        let mut flow = Flow::begin(&ends[0], &ends[1]);
        flow.more(100).await;
        let path = ends[0].connection.selected_path().expect("a path");
        let Servers { coturn, ours, .. } = servers;
        let (_coturn, _ours) = if [path.local, path.remote].iter().any(|addr| addr.ip() == SERVER) {
            coturn.kill().await;
            (None, Some(ours))
        } else {
            drop(ours);
            (Some(coturn), None)
        };
        let silence = flow.more(500).await;
        println!("the longest silence was {silence:?}");
        flow.end().await;
    });
}

#[test]
fn a_transfer_goes_over_to_tcp_when_udp_is_blocked_and_comes_back() {
    run(async {
        let mut lab = lab([Nat::Preserving, Nat::Public]);
        let servers = Servers::start(&lab).await;
        let ends = connected(&lab, &servers, &[By::Ours], &[Over::Tcp]).await;
        uses_a_relay(&ends, false).await;
        let mut flow = Flow::begin(&ends[0], &ends[1]);
        flow.more(100).await;
        lab.sites[0].become_like(Nat::NoUdp);
        let silence = flow.more(500).await;
        uses_a_relay(&ends, true).await;
        lab.sites[0].become_like(Nat::Preserving);
        uses_a_relay(&ends, false).await;
        println!("the longest silence was {silence:?}, and on the way back {:?}", flow.more(500).await);
        flow.end().await;
    });
}
