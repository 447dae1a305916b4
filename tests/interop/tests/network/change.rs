//! Interfaces go and come while two of ours send to each other.

use std::net::SocketAddr;
use std::time::Duration;

use sinnet::EndpointConfig;

use crate::end::{End, finish, now, pair};
use crate::two_ways::{Interface, TwoWays};

fn ipv4() -> EndpointConfig {
    EndpointConfig { bind: vec!["0.0.0.0:0".parse().expect("an address")], ..Default::default() }
}

fn ipv6() -> EndpointConfig {
    EndpointConfig { bind: vec!["[::]:0".parse().expect("an address")], ..Default::default() }
}

/// What happens to the interface in use.
#[derive(Clone, Copy, Debug)]
enum Loss {
    Down,
    Addresses,
}

fn lose(world: &TwoWays, host: usize, interface: Interface, loss: Loss) {
    match loss {
        Loss::Down => world.down(host, interface),
        Loss::Addresses => world.take_addresses(host, interface),
    }
}

/// Both ends get messages again, after how long at the most.
async fn goes_on(ends: &mut [End; 2]) -> Duration {
    let [a, b] = ends;
    let (at_a, at_b) = tokio::join!(a.more(200), b.more(200));
    at_a.max(at_b)
}

fn has_host(end: &End, interface: Interface) -> bool {
    end.connection.local_candidates().iter().any(|c| Interface::of(c.address.ip()) == interface)
}

/// The interface in use of one host is lost, comes back, and then the other one is lost.
async fn survives(host: usize, loss: Loss, config: EndpointConfig) {
    let world = TwoWays::new();
    let mut ends = pair(&world, &config).await;
    goes_on(&mut ends).await;
    let mut used = ends[host].interface().await;
    for round in 0..2 {
        lose(&world, host, used, loss);
        let began = now();
        let silence = goes_on(&mut ends).await;
        println!(
            "host {host}, {loss:?}, round {round}: silence of {silence:?}, 200 messages each way after {:?}",
            began.elapsed()
        );
        ends[host]
            .until("the other interface", |connection| {
                connection.selected_path().is_some_and(|path| Interface::of(path.local.ip()) == used.other())
            })
            .await;
        assert!(!has_host(&ends[host], used), "{}", ends[host].describe());
        // Far from the half minute after which the connection would have been given up.
        assert!(silence < Duration::from_secs(15), "{silence:?}\n{}", ends[1 - host].describe());
        if round == 0 {
            world.up(host, used);
            ends[host]
                .until("the interface is back", |connection| {
                    connection.local_candidates().iter().any(|c| Interface::of(c.address.ip()) == used)
                })
                .await;
            let known = |remote: &SocketAddr| Interface::of(remote.ip()) == used;
            ends[1 - host]
                .until("the other side knows", |c| c.remote_candidates().iter().any(|c| known(&c.address)))
                .await;
            goes_on(&mut ends).await;
            used = ends[host].interface().await;
        }
    }
    finish(ends).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_controlling_side_loses_its_interface() {
    survives(0, Loss::Down, ipv4()).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_controlled_side_loses_its_interface() {
    survives(1, Loss::Down, ipv4()).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn either_side_loses_the_addresses_of_its_interface() {
    survives(0, Loss::Addresses, ipv4()).await;
    survives(1, Loss::Addresses, ipv4()).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn either_side_loses_its_interface_over_ipv6() {
    survives(0, Loss::Down, ipv6()).await;
    survives(1, Loss::Down, ipv6()).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_interface_that_comes_when_none_is_left_saves_the_connection() {
    for host in [0, 1] {
        let world = TwoWays::new();
        world.down(host, Interface::Two);
        let mut ends = pair(&world, &ipv4()).await;
        goes_on(&mut ends).await;
        assert_eq!(ends[host].interface().await, Interface::One);
        world.down(host, Interface::One);
        ends[host].until("no candidate is left", |c| c.local_candidates().is_empty()).await;
        tokio::time::sleep(Duration::from_secs(2)).await;
        world.up(host, Interface::Two);
        let began = now();
        let silence = goes_on(&mut ends).await;
        println!(
            "host {host}: silence of {silence:?}, 200 messages each way {:?} after the new one",
            began.elapsed()
        );
        assert_eq!(ends[host].interface().await, Interface::Two);
        finish(ends).await;
    }
}
