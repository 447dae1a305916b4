//! Without relays: host and server-reflexive candidates, and what checks show.

use std::time::Duration;

use sinnet::ConnectionState;
use sinnet_interop::coturn::Coturn;
use sinnet_interop::nat_lab::{NOBODY, Nat, NatLab, SERVER};

use crate::end::{PATIENCE, Way, begin, now, settled, transfer, within};
use crate::run;

const STUN: &str = "stun:198.51.100.1";

/// A lab with these sites and a server.
async fn lab(sites: &[(Nat, usize)]) -> (NatLab, Coturn) {
    let lab = NatLab::new(sites).expect("a lab");
    let coturn = Coturn::start_in(&lab.public.place, SERVER.into(), &[]).await;
    (lab, coturn)
}

#[test]
fn two_hosts_behind_one_translator_connect_without_it() {
    run(async {
        let (lab, _coturn) = lab(&[(Nat::Random, 2)]).await;
        let hosts = &lab.sites[0].hosts;
        let mut ends = begin([&hosts[0], &hosts[1]], [Way::asking(&[STUN]), Way::asking(&[STUN])]).await;
        settled(&mut ends).await;
        for end in &ends {
            let path = end.connection.selected_path().expect("a path");
            assert!(
                [path.local, path.remote].iter().all(|addr| addr.ip().to_string().starts_with("192.168.1.")),
                "{path:?}"
            );
        }
        transfer(&ends[0], &ends[1], 100).await;
    });
}

#[test]
fn loss_while_gathering_and_checking_only_delays() {
    run(async {
        let (lab, _coturn) = lab(&[(Nat::Preserving, 1), (Nat::Preserving, 1)]).await;
        let lose = |per_mille| lab.sites.iter().for_each(|site| site.lose(per_mille));
        // Of each direction at each gateway: of four checks two get no answer.
        lose(150);
        let attempt = async || {
            let hosts = [lab.sites[0].host(), lab.sites[1].host()];
            let mut ends = begin(hosts, [Way::asking(&[STUN]), Way::asking(&[STUN])]).await;
            settled(&mut ends).await;
            ends
        };
        let all = tokio::join!(attempt(), attempt(), attempt(), attempt());
        lose(0);
        for [a, b] in [all.0, all.1, all.2, all.3] {
            transfer(&a, &b, 10).await;
            transfer(&b, &a, 10).await;
        }
    });
}

#[test]
fn servers_that_cannot_be_reached_hold_up_nobody_and_are_named() {
    run(async {
        let (lab, _coturn) = lab(&[(Nat::Preserving, 1), (Nat::Preserving, 1)]).await;
        lab.public.place.shell("nft add table ip t; nft add chain ip t in '{ type filter hook input priority 0; }'; nft add rule ip t in udp dport 9 drop").expect("a rule");
        let (silent, closed, nobody) =
            ("stun:198.51.100.1:9", "stun:198.51.100.1:10", format!("stun:{NOBODY}"));
        let mut way = Way::asking(&[silent, closed, &nobody, STUN]);
        way.endpoint.gather_timeout = Duration::from_secs(3);
        let began = now();
        let hosts = [lab.sites[0].host(), lab.sites[1].host()];
        let mut ends = begin(hosts, [way.clone(), way]).await;
        settled(&mut ends).await;
        transfer(&ends[0], &ends[1], 10).await;
        for end in &ends {
            within("the end of gathering", end.gathered()).await;
            let errors = end.errors();
            for server in [silent, closed, &nobody] {
                assert_eq!(
                    errors.iter().filter(|error| error.url == server).count(),
                    1,
                    "{server}: {errors:?}"
                );
            }
            assert_eq!(errors.len(), 3, "{errors:?}");
        }
        assert!(began.elapsed() < PATIENCE);
    });
}

#[test]
fn mappings_are_kept_open_while_nothing_is_said() {
    run(async {
        let (lab, _coturn) = lab(&[(Nat::Random, 1), (Nat::Public, 1), (Nat::Random, 1)]).await;
        // Consent is asked for after 6 s at the latest (RFC 7675 §5.1), and servers after 15 s.
        lab.sites[0].forget_after(9);
        lab.sites[2].forget_after(18);
        let idle = async {
            let hosts = [lab.sites[0].host(), lab.sites[1].host()];
            let mut ends = begin(hosts, [Way::asking(&[STUN]), Way::asking(&[STUN])]).await;
            settled(&mut ends).await;
            transfer(&ends[0], &ends[1], 10).await;
            let before = ends[1].connection.selected_path();
            tokio::time::sleep(Duration::from_secs(40)).await;
            // The public one speaks first: its data finds the old mapping or nobody.
            transfer(&ends[1], &ends[0], 10).await;
            assert_eq!(ends[1].connection.selected_path(), before, "a new mapping would have another port");
            for end in &ends {
                assert_eq!(end.states(), [ConnectionState::Connecting, ConnectionState::Connected]);
            }
        };
        let unanswered = async {
            let mut way = Way::asking(&[STUN]);
            way.offer_delay = Duration::from_secs(40);
            let hosts = [lab.sites[2].host(), lab.sites[1].host()];
            let mut ends = begin(hosts, [way.clone(), way]).await;
            settled(&mut ends).await;
            // A new mapping would have another port, which the next answer would show.
            let reflexive = ends[0].candidates().into_iter().filter(|line| line.contains("typ srflx"));
            let ports: Vec<String> =
                reflexive.filter_map(|line| line.split(' ').nth(5).map(str::to_owned)).collect();
            assert_eq!(ports.len(), 1, "{ports:?}");
            let mappings = lab.sites[2].mappings();
            let kept = format!("src={SERVER} dst={} sport=3478 dport={}", lab.sites[2].external, ports[0]);
            assert!(mappings.contains(&kept), "{kept}: {mappings}");
        };
        tokio::join!(idle, unanswered);
    });
}
