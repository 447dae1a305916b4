//! Times and limits, with real sockets and a clock that jumps.

use std::net::{Ipv4Addr, SocketAddr, TcpStream};

use super::*;
use crate::EndpointConfig;
use crate::driver::open_sockets;
use crate::shared::now;

/// What listens on one address.
fn listening() -> (Tcp, SocketAddr) {
    let bind = EndpointConfig::bind((Ipv4Addr::LOCALHOST, 0).into());
    let config = EndpointConfig { ice_tcp: crate::IceTcp::ActiveAndPassive, ..bind };
    let sockets = open_sockets(&config).unwrap();
    let listeners = open_listeners(&config, &sockets).unwrap();
    let bound = listeners.bound();
    let shared = Arc::new(EndpointShared::new(config, vec![sockets[0].bound()], bound.clone()));
    (Tcp::new(shared, listeners), bound[0])
}

/// Clients that connect, until all of them have been accepted or refused.
async fn crowd(tcp: &mut Tcp, to: SocketAddr, now: Instant, count: u64) -> Vec<TcpStream> {
    let seen = |tcp: &Tcp| {
        let stats = tcp.shared.tcp_stats.lock().unwrap();
        stats.accepted + stats.refused
    };
    let before = seen(tcp);
    let clients = (0..count).map(|_| TcpStream::connect(to).unwrap()).collect();
    while seen(tcp) < before + count {
        tcp.accept(0, now);
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    clients
}

#[tokio::test]
async fn strangers_have_five_seconds_and_those_of_one_host_are_limited() {
    let ((mut tcp, to), start) = (listening(), now());
    let _clients = crowd(&mut tcp, to, start, 70).await;
    assert_eq!((tcp.len(), tcp.strangers.len()), (MAX_STRANGERS_PER_HOST, MAX_STRANGERS_PER_HOST));
    assert_eq!(tcp.shared.tcp_stats.lock().unwrap().refused, 70 - MAX_STRANGERS_PER_HOST as u64);
    assert_eq!(tcp.poll_timeout(), Some(start + SWEEP_EVERY));
    assert!(tcp.overdue(start + Duration::from_millis(4_999)).is_empty());
    let overdue = tcp.overdue(start + STRANGER_FOR);
    assert_eq!(overdue.len(), MAX_STRANGERS_PER_HOST);
    for key in overdue {
        assert_eq!(tcp.remove(key).map(|stream| stream.owner), Some(Owner::Nobody));
    }
    assert!(tcp.strangers.is_empty() && tcp.strangers_by_host.is_empty() && tcp.len() == 0);
    // Their places are used again.
    let _more = crowd(&mut tcp, to, start, 10).await;
    assert_eq!((tcp.len(), tcp.streams.len()), (10, MAX_STRANGERS_PER_HOST));
}

#[tokio::test]
async fn a_peer_has_so_many_connections_and_idle_ones_are_closed() {
    let ((mut tcp, to), start) = (listening(), now());
    let _clients = crowd(&mut tcp, to, start, MAX_PER_PEER as u64 + 1).await;
    let keys = tcp.strangers.clone();
    let (last, first) = keys.split_last().unwrap();
    assert!(first.iter().all(|key| tcp.own(*key, 7)));
    assert!(!tcp.own(*last, 7), "one more than it may have");
    assert_eq!(tcp.strangers, [*last]);
    // The one that is nobody's is overdue all the time.
    let minute = start + IDLE_FOR;
    assert_eq!(tcp.overdue(minute - Duration::from_millis(1)), [*last]);
    tcp.send(first[0], b"a datagram", 10, start + Duration::from_secs(1));
    let path = tcp.stream(first[0]).unwrap().path;
    assert_eq!(tcp.link_of(7, path, start), Some(first[0]));
    assert_eq!(tcp.link_of(8, path, start), None, "another peer's path is no way for this one");
    let overdue = tcp.overdue(minute);
    assert!(!overdue.contains(&first[0]), "it was used");
    assert_eq!(overdue.len(), MAX_PER_PEER);
    for key in overdue {
        tcp.remove(key);
    }
    assert_eq!(tcp.by_peer[&7], [first[0]]);
    // Its peer has ended: the last words have a second.
    tcp.forget(7, minute);
    assert!(tcp.by_peer.is_empty() && tcp.has_last_words());
    assert!(tcp.overdue(minute + Duration::from_millis(999)).is_empty());
    assert_eq!(tcp.overdue(minute + ENDING_FOR), [first[0]]);
    tcp.remove(first[0]);
    assert!(tcp.len() == 0 && !tcp.has_last_words());
}

#[tokio::test]
async fn what_is_opened_is_limited_by_peer_and_port() {
    let ((mut tcp, to), start) = (listening(), now());
    let from = SocketAddr::from((Ipv4Addr::LOCALHOST, DISCARD));
    for port in [1, 22, 1023] {
        let path = Path::tcp(from, SocketAddr::new(to.ip(), port));
        assert_eq!(tcp.link_of(7, path, start), None, "port {port}");
    }
    assert_eq!(tcp.shared.tcp_stats.lock().unwrap().not_opened, 3);
    let path = Path::tcp(from, to);
    let key = tcp.link_of(7, path, start).unwrap();
    assert_eq!(tcp.link_of(7, path, start), Some(key), "it is there");
    let other = tcp.link_of(8, path, start).unwrap();
    assert_ne!(other, key, "each peer has its own");
    assert_eq!(tcp.connecting, 2);
    assert_eq!(tcp.overdue(start + CONNECTING_FOR).len(), 2);
    tcp.forget(7, start);
    tcp.remove(other);
    assert_eq!((tcp.connecting, tcp.len()), (0, 0));
    // Before it is there, little waits for it.
    let key = tcp.link_of(7, path, start).unwrap();
    tcp.send(key, &[0; 20_000], 1000, start);
    assert_eq!(tcp.shared.tcp_stats.lock().unwrap().datagrams_lost, 12);
    let last = to.port().wrapping_add(1).max(1024);
    let paths = (0..MAX_PER_PEER as u16).map(|i| SocketAddr::new(to.ip(), last.saturating_sub(i).max(1024)));
    let opened = paths.filter(|remote| tcp.link_of(9, Path::tcp(from, *remote), start).is_some()).count();
    assert_eq!(opened, MAX_PER_PEER);
    let one_more = SocketAddr::new(to.ip(), 80);
    assert_eq!(tcp.link_of(9, Path::tcp(from, one_more), start), None);
}
