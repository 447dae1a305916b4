//! A network between clients and servers, with virtual time, delay and loss.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};

use crate::{
    AddressFamily, Client, ClientConfig, Credentials, Event, FiveTuple, RelayId, Server, ServerConfig,
    ServerEvent, StreamDecoder, Transport,
};

/// Seconds since 1970 when every run begins.
pub(super) const UNIX: u64 = 1_700_000_000;
pub(super) const USER: &str = "alice";
pub(super) const PASSWORD: &str = "wonderland";

#[expect(clippy::disallowed_methods, reason = "one base instant for virtual time")]
pub(super) fn base() -> Instant {
    Instant::now()
}

pub(super) fn ms(ms: u64) -> Duration {
    Duration::from_millis(ms)
}

pub(super) fn secs(secs: u64) -> Duration {
    Duration::from_secs(secs)
}

pub(super) fn addr(text: &str) -> SocketAddr {
    text.parse().unwrap()
}

/// The seed of random losses; `SINNET_SEED` sets it.
pub(super) fn seed() -> u64 {
    std::env::var("SINNET_SEED").ok().and_then(|text| text.parse().ok()).unwrap_or(1)
}

pub(super) fn client_config() -> ClientConfig {
    ClientConfig::new(Credentials { username: USER.to_owned(), password: PASSWORD.to_owned() })
}

pub(super) fn server_config() -> ServerConfig {
    let mut config = ServerConfig::new("example.org");
    config.users.insert(USER.to_owned(), PASSWORD.to_owned());
    config.own_addresses = vec![addr(SERVER).ip(), addr(SECOND).ip(), addr("[2001:db8:5::1]:1").ip()];
    config
}

pub(super) const SERVER: &str = "203.0.113.1:3478";
pub(super) const SECOND: &str = "203.0.113.2:3478";

pub(super) struct End {
    pub(super) client: Client,
    pub(super) addr: SocketAddr,
    transport: Transport,
    decoder: StreamDecoder,
    pub(super) events: Vec<Event>,
    pub(super) received: Vec<(SocketAddr, Vec<u8>)>,
}

pub(super) struct Machine {
    pub(super) server: Server,
    pub(super) addr: SocketAddr,
    pub(super) relays: HashMap<RelayId, SocketAddr>,
    decoders: HashMap<FiveTuple, StreamDecoder>,
    /// Whether relays can be opened.
    pub(super) opens: bool,
    next_port: u16,
}

enum Flight {
    ToServer(FiveTuple, Vec<u8>),
    ToClient(FiveTuple, Vec<u8>),
}

pub(super) struct Net {
    pub(super) start: Instant,
    pub(super) now: Instant,
    pub(super) ends: Vec<End>,
    pub(super) machines: Vec<Machine>,
    /// What went out of relayed addresses: from, to, what.
    pub(super) to_peers: Vec<(SocketAddr, SocketAddr, Vec<u8>)>,
    flying: Vec<(Instant, Flight)>,
    pub(super) delay: Duration,
    pub(super) loss: f64,
    /// Datagrams of clients that the servers got.
    pub(super) datagrams: usize,
    rng: StdRng,
}

impl Net {
    pub(super) fn new(config: ServerConfig) -> Self {
        Self::seeded(config, seed())
    }

    pub(super) fn seeded(config: ServerConfig, seed: u64) -> Self {
        println!("SINNET_SEED={seed}");
        let start = base();
        let mut net = Self {
            start,
            now: start,
            ends: Vec::new(),
            machines: Vec::new(),
            to_peers: Vec::new(),
            flying: Vec::new(),
            delay: ms(10),
            loss: 0.0,
            datagrams: 0,
            rng: StdRng::seed_from_u64(seed),
        };
        net.server(config, SERVER);
        net
    }

    pub(super) fn server(&mut self, config: ServerConfig, at: &str) {
        let elapsed = self.now - self.start;
        let server = Server::new(Arc::new(config), self.now, secs(UNIX) + elapsed, self.rng.random());
        let relays = HashMap::new();
        let decoders = HashMap::new();
        self.machines.push(Machine {
            server,
            addr: addr(at),
            relays,
            decoders,
            opens: true,
            next_port: 50_000,
        });
    }

    /// A client, and its number.
    pub(super) fn client(&mut self, config: ClientConfig, transport: Transport) -> usize {
        let number = self.ends.len();
        let seed = self.rng.random();
        let client = Client::new(Arc::new(config), transport, addr(SERVER), self.now, seed);
        let addr = SocketAddr::new([198, 51, 100, (number % 200 + 1) as u8].into(), 4000 + number as u16);
        let (decoder, events, received) = (StreamDecoder::new(), Vec::new(), Vec::new());
        self.ends.push(End { client, addr, transport, decoder, events, received });
        number
    }

    /// One server and one client that has an allocation.
    pub(super) fn ready(config: ServerConfig) -> Self {
        let mut net = Self::new(config);
        net.client(client_config(), Transport::Datagram);
        net.run(secs(1));
        assert!(!net.ends[0].client.relayed().is_empty(), "{:?}", net.ends[0].events);
        net
    }

    pub(super) fn permit(&mut self, end: usize, ip: &str) {
        let now = self.now;
        self.ends[end].client.permit(now, ip.parse().unwrap()).unwrap();
    }

    pub(super) fn bind(&mut self, end: usize, peer: &str) {
        let now = self.now;
        self.ends[end].client.bind_channel(now, addr(peer)).unwrap();
    }

    /// Sends to a peer; the length of what goes to the server.
    pub(super) fn send(
        &mut self,
        end: usize,
        peer: SocketAddr,
        data: &[u8],
    ) -> Result<usize, crate::SendError> {
        let mut out = vec![0; 70_000];
        let now = self.now;
        let len = self.ends[end].client.send(now, peer, data, &mut out)?;
        self.up(end, out[..len].to_vec());
        Ok(len)
    }

    /// A peer sends to a relayed address.
    pub(super) fn peer_sends(&mut self, from: SocketAddr, relayed: SocketAddr, data: &[u8]) {
        let mut out = vec![0; 70_000];
        let now = self.now;
        for at in 0..self.machines.len() {
            let machine = &mut self.machines[at];
            let Some((&relay, _)) = machine.relays.iter().find(|(_, a)| **a == relayed) else { continue };
            if let Some((tuple, len)) = machine.server.handle_relayed(now, relay, from, data, &mut out) {
                self.down(tuple, out[..len].to_vec());
            }
        }
    }

    pub(super) fn tuple(&self, end: usize) -> FiveTuple {
        let end = &self.ends[end];
        FiveTuple { client: end.addr, server: end.client.server(), transport: end.transport }
    }

    fn is_lost(&mut self, transport: Transport) -> bool {
        transport == Transport::Datagram && self.loss > 0.0 && self.rng.random_bool(self.loss)
    }

    fn up(&mut self, end: usize, bytes: Vec<u8>) {
        let tuple = self.tuple(end);
        if !self.is_lost(tuple.transport) {
            self.flying.push((self.now + self.delay, Flight::ToServer(tuple, bytes)));
        }
    }

    fn down(&mut self, tuple: FiveTuple, bytes: Vec<u8>) {
        if !self.is_lost(tuple.transport) {
            self.flying.push((self.now + self.delay, Flight::ToClient(tuple, bytes)));
        }
    }

    fn drain(&mut self) {
        let now = self.now;
        let mut out = vec![0; 4096];
        for at in 0..self.ends.len() {
            while let Some(event) = self.ends[at].client.poll_event() {
                if matches!(event, Event::Redirected { .. }) {
                    self.ends[at].client.connected(now);
                }
                self.ends[at].events.push(event);
            }
            while let Some(len) = self.ends[at].client.poll_transmit(now, &mut out) {
                self.up(at, out[..len].to_vec());
            }
        }
        for at in 0..self.machines.len() {
            let machine = &mut self.machines[at];
            while let Some(event) = machine.server.poll_event() {
                match event {
                    ServerEvent::OpenRelay { relay, .. } if !machine.opens => {
                        machine.server.relay_failed(now, relay)
                    }
                    ServerEvent::OpenRelay { relay, family, .. } => {
                        let ip = match family {
                            AddressFamily::IPV4 => machine.addr.ip(),
                            _ => addr("[2001:db8:5::1]:1").ip(),
                        };
                        let relayed = SocketAddr::new(ip, machine.next_port);
                        machine.next_port += 1;
                        machine.relays.insert(relay, relayed);
                        machine.server.relay_opened(now, relay, relayed);
                    }
                    ServerEvent::CloseRelay { relay } => {
                        machine.relays.remove(&relay);
                    }
                }
            }
            let mut answers = Vec::new();
            while let Some((tuple, len)) = self.machines[at].server.poll_transmit(now, &mut out) {
                answers.push((tuple, out[..len].to_vec()));
            }
            answers.into_iter().for_each(|(tuple, bytes)| self.down(tuple, bytes));
        }
    }

    fn deliver(&mut self, flight: Flight) {
        let now = self.now;
        match flight {
            Flight::ToServer(tuple, bytes) => {
                self.datagrams += 1;
                let Some(at) = self.machines.iter().position(|m| m.addr == tuple.server) else { return };
                let mut units = vec![bytes];
                if tuple.transport == Transport::Stream {
                    let decoder = self.machines[at].decoders.entry(tuple).or_default();
                    units = cut(decoder, &units[0]);
                }
                for unit in units {
                    let machine = &mut self.machines[at];
                    let Some(forward) = machine.server.handle_input(now, tuple, &unit) else { continue };
                    let (from, to) = (machine.relays[&forward.relay], forward.to);
                    let data = forward.data.to_vec();
                    self.peer_sends(from, to, &data);
                    self.to_peers.push((from, to, data));
                }
            }
            Flight::ToClient(tuple, bytes) => {
                let Some(end) = self.ends.iter_mut().find(|e| e.addr == tuple.client) else { return };
                let mut units = vec![bytes];
                if tuple.transport == Transport::Stream {
                    units = cut(&mut end.decoder, &units[0]);
                }
                for unit in units {
                    if let Some(received) = end.client.handle_input(now, tuple.server, &unit) {
                        end.received.push((received.peer, received.data.to_vec()));
                    }
                }
            }
        }
    }

    /// Lets `time` pass, event by event.
    pub(super) fn run(&mut self, time: Duration) {
        let until = self.now + time;
        for turns in 0.. {
            assert!(turns < 200_000, "a busy loop");
            self.drain();
            let clients = self.ends.iter().filter_map(|e| e.client.poll_timeout());
            let servers = self.machines.iter().filter_map(|m| m.server.poll_timeout());
            let flights = self.flying.iter().map(|(at, _)| *at);
            let Some(next) = clients.chain(servers).chain(flights).min().filter(|at| *at <= until) else {
                break;
            };
            self.now = self.now.max(next);
            let now = self.now;
            for end in &mut self.ends {
                end.client.handle_timeout(now);
                assert!(end.client.poll_timeout().is_none_or(|at| at > now), "a deadline was left in place");
            }
            for machine in &mut self.machines {
                machine.server.handle_timeout(now);
                assert!(
                    machine.server.poll_timeout().is_none_or(|at| at > now),
                    "a deadline was left in place"
                );
            }
            let (due, flying) = std::mem::take(&mut self.flying).into_iter().partition(|(at, _)| *at <= now);
            self.flying = flying;
            let due: Vec<_> = due;
            due.into_iter().for_each(|(_, flight)| self.deliver(flight));
        }
        self.now = until;
    }
}

/// A stream arrives in pieces of 100 bytes.
fn cut(decoder: &mut StreamDecoder, bytes: &[u8]) -> Vec<Vec<u8>> {
    let mut units = Vec::new();
    for piece in bytes.chunks(100) {
        decoder.push(piece);
        while let Some(unit) = decoder.poll().unwrap() {
            units.push(unit.to_vec());
        }
    }
    units
}
