//! Relays whose servers never answer, at times that the test makes.

use sinnet_peer::{Certificate, Config, Peer};
use tokio::net::{TcpListener, UdpSocket};

use super::*;
use crate::config::EndpointConfig;
use crate::driver::links::Link;
use crate::driver::{Driver, TcpListeners, open_sockets};
use crate::ice_server::IceTransportPolicy;
use crate::shared::{Queued, now};

fn driver() -> Driver {
    let endpoint = EndpointConfig::bind("127.0.0.1:0".parse().unwrap());
    let sockets = open_sockets(&endpoint).unwrap();
    let bound = sockets[0].bound();
    let shared = Arc::new(EndpointShared::new(endpoint, vec![bound], Vec::new()));
    Driver::new(shared, sockets, TcpListeners::default())
}

/// A connection that may use relays; it counts as one that lives.
fn user(driver: &mut Driver, index: usize, now: Instant) -> Arc<PeerShared> {
    let config = Arc::new(Config::new(Arc::new(Certificate::generate(1_800_000_000).unwrap())));
    let peer = Peer::new(config, now, [1; 32]);
    let peer = Arc::new(PeerShared::new(driver.shared.clone(), peer, IceTransportPolicy::All));
    driver.live += 1;
    driver.relays.want(&driver.shared, &driver.sockets, now, index, &peer);
    peer
}

fn server(url: &str, addresses: &[SocketAddr]) -> Resolved {
    let credentials = Credentials { username: "alice".to_owned(), password: "wonderland".to_owned() };
    Resolved { credentials, url: url.parse().unwrap(), addresses: Ok(addresses.to_vec()) }
}

fn resolved(driver: &mut Driver, now: Instant, servers: &[Resolved]) {
    driver.relays.resolved(&driver.shared, &driver.sockets, now, servers);
}

/// The errors that a connection has been told.
fn errors(peer: &PeerShared) -> Vec<String> {
    let queue = &mut peer.lock().queue;
    let errors = queue.drain(..).filter_map(|event| match event {
        Queued::CandidateError(error) => Some(error.error_text),
        _ => None,
    });
    errors.collect()
}

#[tokio::test]
async fn no_deadline_stays_while_a_server_does_not_take_the_connection() {
    let silent = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();
    let (mut driver, start) = (driver(), now());
    let peer = user(&mut driver, 0, start);
    let other = SocketAddr::new([127, 0, 0, 2].into(), silent.port());
    resolved(&mut driver, start, &[server("turn:a.example?transport=tcp", &[silent, other])]);
    let (timeout, mut at) = (driver.shared.config.gather_timeout, start);
    assert!(!driver.relays.is_settled(start));
    // Half the time is over, and the second address is asked.
    driver.relays.slots[0].state = State::Waiting { until: start + timeout / 2 };
    while at < start + 3 * timeout {
        driver.drive_relays(at);
        let next = driver.relays.poll_timeout().expect("something is to come");
        assert!(next > at, "{:?} after {:?} is still due", next - start, at - start);
        assert_eq!(driver.relays.is_settled(at), at >= start + timeout);
        at = next;
    }
    assert!(errors(&peer)[0].contains("did not take the connection in time"));
}

#[tokio::test]
async fn a_server_that_stays_away_is_an_error_once_and_again_for_the_next_who_gathers() {
    let silent = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    let (mut driver, mut at) = (driver(), now());
    let peer = user(&mut driver, 0, at);
    resolved(&mut driver, at, &[server("turn:a.example", &[silent.local_addr().unwrap()])]);
    for _ in 0..1000 {
        driver.drive_relays(at);
        driver.flush_relays(at);
        at = driver.relays.poll_timeout().expect("it is tried again").max(at);
    }
    assert_eq!(errors(&peer).len(), 1);
    // Long after the last try: the next one is not waited for, and nobody hears of it but who has come.
    driver.relays.slots[0].state = State::Waiting { until: at + LAST_BACK_OFF };
    let other = user(&mut driver, 1, at);
    assert!(driver.relays.is_settled(at));
    assert_eq!((errors(&peer).len(), errors(&other).len()), (0, 1));
    // The next try is near, so it is waited for.
    driver.relays.slots[0].state = State::Waiting { until: at };
    let third = user(&mut driver, 2, at);
    assert!(!driver.relays.is_settled(at));
    driver.drive_relays(at);
    driver.drive_relays(at + driver.shared.config.gather_timeout);
    assert!(driver.relays.is_settled(at + driver.shared.config.gather_timeout));
    assert!(!errors(&third).is_empty());
}

#[tokio::test]
async fn an_allocation_that_is_given_back_is_waited_for_and_its_slot_stays_for_the_next() {
    let silent = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    let (mut driver, start) = (driver(), now());
    // One that lives and does not gather.
    driver.live += 1;
    user(&mut driver, 0, start);
    resolved(&mut driver, start, &[server("turn:a.example", &[silent.local_addr().unwrap()])]);
    let slot = &mut driver.relays.slots[0];
    slot.pending_until = None;
    let State::Open(relay) = &mut slot.state else { panic!("it is asked") };
    // As if it had been allocated, and the server were slow.
    (relay.allocated_at, relay.closing_until) = (Some(start), Some(start + RELEASE));
    driver.relays.users.clear();
    assert!(driver.relays.is_settled(start));
    user(&mut driver, 1, start);
    assert!(!driver.relays.is_settled(start), "it is asked again when it is free");
    driver.drive_relays(start + RELEASE);
    let State::Open(relay) = &driver.relays.slots[0].state else { panic!("it is asked again") };
    assert!(relay.closing_until.is_none() && !driver.relays.is_settled(start + RELEASE));

    driver.relays.leave(start, 1);
    driver.live -= 1;
    driver.drive_relays(start + 2 * RELEASE);
    assert!(driver.relays.is_idle());
    user(&mut driver, 2, start);
    assert!(!driver.relays.is_idle(), "asked without another look-up");
}

#[tokio::test]
async fn errors_that_nobody_takes_are_forgotten_beyond_a_limit() {
    let (mut driver, start) = (driver(), now());
    let peer = user(&mut driver, 0, start);
    resolved(&mut driver, start, &[server("turn:a.example", &["127.0.0.1:9".parse().unwrap()])]);
    let error = driver.relays.slots[0].unreachable("nobody there".to_owned());
    let held = |count: usize| {
        (0..count).for_each(|_| events::tell_error(&peer, &error));
        peer.lock().queue.len()
    };
    let limit = held(10_000);
    assert!(limit < 10_000);
    assert_eq!(held(10_000), limit);
}

#[tokio::test]
async fn one_server_is_not_asked_twice_from_one_socket() {
    let silent =
        [UdpSocket::bind("127.0.0.1:0").await.unwrap(), UdpSocket::bind("127.0.0.1:0").await.unwrap()];
    let [first, second] = silent.map(|socket| socket.local_addr().unwrap());
    let (mut driver, start) = (driver(), now());
    let peer = user(&mut driver, 0, start);
    let both = [server("turn:a.example", &[first]), server("turn:b.example", &[second, first])];
    resolved(&mut driver, start, &both);
    assert_eq!(driver.relays.relays().count(), 2);
    // The second name's next address is the first one's server.
    (driver.relays.slots[1].state, driver.relays.slots[1].next_address) =
        (State::Waiting { until: start }, 1);
    driver.drive_relays(start);
    assert_eq!(driver.relays.relays().count(), 1);
    assert!(errors(&peer)[0].contains("another relay uses this server"));
    driver.relays.slots[0].state = State::Idle;
    (driver.relays.slots[1].state, driver.relays.slots[1].next_address) =
        (State::Waiting { until: start }, 1);
    driver.drive_relays(start);
    assert_eq!(driver.relays.relays().count(), 1, "it is free");
}

#[tokio::test]
async fn a_peer_that_moves_from_address_to_address_never_runs_out_of_permissions() {
    let (mut driver, start) = (driver(), now());
    let _peer = user(&mut driver, 0, start);
    resolved(&mut driver, start, &[server("turn:a.example", &["127.0.0.1:9".parse().unwrap()])]);
    let id = driver.relays.relays().next().unwrap().id;
    let link = Link::Relay(id);
    // By checks that are sent, and by checks that come.
    for makes_room in [true, false] {
        for i in 0..2000_u32 {
            let ip = IpAddr::from((0xCB00_0000 + i).to_be_bytes());
            driver.claim(link, SocketAddr::new(ip, 9), 0, start);
            if makes_room {
                driver.make_room(id, ip, 0, start);
                assert!(driver.routes.ips_on(link, 0) <= 32);
            }
            assert!(!driver.routes.of_remote(link, SocketAddr::new(ip, 9)).is_empty());
            let relay = driver.relays.get_mut(id).unwrap();
            assert_eq!(relay.client.permit(start, ip), Ok(()), "{i}");
        }
    }
}
