//! What changes under way: ICE restarts, and translators that forget.

use std::time::Duration;

use sinnet::ConnectionState;
use sinnet_interop::coturn::Coturn;
use sinnet_interop::nat_lab::{Nat, NatLab, SERVER};

use crate::end::{End, PATIENCE, Way, begin, settled};
use crate::flow::Flow;
use crate::run;

/// Restarts ICE, and waits until both sides use what that has found.
pub(crate) async fn restart(ends: &[End; 2], restarter: usize) {
    let restarts = || ends.each_ref().map(|end| end.connection.stats().ice_restarts);
    let wanted = restarts().map(|count| count + 1);
    ends[restarter].connection.restart_ice();
    let done = async {
        while restarts() != wanted {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    if tokio::time::timeout(PATIENCE, done).await.is_err() {
        panic!("no restart:\n{}\n{}", ends[0].describe(), ends[1].describe());
    }
}

#[test]
fn ice_restarts_by_either_side_lose_nothing_of_a_transfer() {
    run(async {
        let lab = NatLab::new(&[(Nat::Preserving, 1), (Nat::Double, 1)]).expect("a lab");
        let _coturn = Coturn::start_in(&lab.public.place, SERVER.into(), &[]).await;
        let way = Way::asking(&["stun:198.51.100.1"]);
        let mut ends = begin([lab.sites[0].host(), lab.sites[1].host()], [way.clone(), way]).await;
        settled(&mut ends).await;
        let mut flow = Flow::begin(&ends[0], &ends[1]);
        for restarter in [0, 1, 0] {
            flow.more(300).await;
            let (silence, ()) = tokio::join!(flow.more(1000), restart(&ends, restarter));
            flow.more(100).await;
            println!("restarted by {restarter}: the longest silence was {silence:?}");
        }
        flow.end().await;
        for end in &ends {
            assert_eq!(end.states(), [ConnectionState::Connecting, ConnectionState::Connected]);
        }
    });
}

#[test]
fn a_translator_that_forgets_and_has_another_address_then_loses_nothing() {
    run(async {
        let cell = async |from: usize, to: usize| {
            let mut lab = NatLab::new(&[(Nat::Random, 1), (Nat::Public, 1)]).expect("a lab");
            let _coturn = Coturn::start_in(&lab.public.place, SERVER.into(), &[]).await;
            for offers in [[0, 1], [1, 0]] {
                let way = Way::asking(&["stun:198.51.100.1"]);
                let hosts = offers.map(|site| lab.sites[site].host());
                let mut ends = begin(hosts, [way.clone(), way]).await;
                settled(&mut ends).await;
                let mut flow = Flow::begin(&ends[from], &ends[to]);
                flow.more(100).await;
                lab.sites[0].renumber(15 + u8::try_from(offers[0]).unwrap_or_default());
                // The next check of consent comes from the new address.
                let silence = flow.more(1000).await;
                println!(
                    "offered by {:?}, sent by {from}: the longest silence was {silence:?}",
                    lab.sites[offers[0]].nat
                );
                flow.end().await;
            }
        };
        tokio::join!(cell(0, 1), cell(1, 0));
    });
}
