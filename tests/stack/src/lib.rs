//! Two whole peers and a network between them, in virtual time.
//!
//! A [`World`] moves from one thing that happens to the next: a datagram arrives, a deadline comes. After each step it
//! checks what must always hold:
//!
//! - a batch has segments of one size, only the last may be shorter (what UDP_SEGMENT demands);
//! - no deadline stays due after it was handled, and the world does not spin at one instant.
#![forbid(unsafe_code)]

pub mod conversation;

use std::net::SocketAddr;
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use sinnet_netsim::{LinkConfig, Net, RelayClient, RelayServer};
use sinnet_peer::{
    Certificate, ChannelKey, ChannelOptions, ChannelState, CloseReason, Config, ConnectionState, Event, Path,
    Peer, RelayProtocol, SdpType,
};

/// What the world gives the driver's place: as many segments as a real one asks for.
const MAX_SEGMENTS: usize = 40;

/// Steps without progress of the clock before the world is said to spin.
const STEPS_PER_INSTANT: usize = 100_000;

/// One peer with its address.
pub struct End {
    /// The peer.
    pub peer: Peer,
    /// Its address.
    pub addr: SocketAddr,
    /// More of them, after its network has changed.
    pub more_addrs: Vec<SocketAddr>,
    /// A client of the world's relay, and the address it has there.
    relayed: Option<(RelayClient, SocketAddr)>,
    /// Events not yet asked for by a test.
    pub events: Vec<Event>,
    buf: Vec<u8>,
}

/// Two peers, a network and a clock.
pub struct World {
    /// The network between the two.
    pub net: Net,
    /// The time.
    pub now: Instant,
    /// When it all began.
    pub start: Instant,
    /// A relay, after [`World::allocate`].
    relay: Option<RelayServer>,
    /// `a` offers, `b` answers.
    pub a: End,
    /// The answerer.
    pub b: End,
    same_instant: usize,
}

/// The one real instant; all others are computed from it.
#[expect(clippy::disallowed_methods, reason = "one base instant; all others are computed from it")]
fn base() -> Instant {
    Instant::now()
}

/// A certificate is the slow part of a test, so there are two for all.
fn certificate(which: usize) -> Arc<Certificate> {
    static CERTIFICATES: OnceLock<[Arc<Certificate>; 2]> = OnceLock::new();
    CERTIFICATES.get_or_init(|| {
        [(); 2].map(|()| Arc::new(Certificate::generate(1_800_000_000).expect("a key can be made")))
    })[which]
        .clone()
}

impl End {
    fn new(which: usize, addr: &str, now: Instant, rng: &mut StdRng, tune: impl Fn(&mut Config)) -> Self {
        let mut config = Config::new(certificate(which));
        tune(&mut config);
        Self {
            peer: Peer::new(Arc::new(config), now, rng.random()),
            addr: addr.parse().expect("an address"),
            more_addrs: Vec::new(),
            relayed: None,
            events: Vec::new(),
            buf: vec![0; MAX_SEGMENTS * 1500],
        }
    }

    /// The address on the relay.
    pub fn relayed(&self) -> Option<SocketAddr> {
        self.relayed.as_ref().map(|(_, relayed)| *relayed)
    }

    fn has(&self, addr: SocketAddr) -> bool {
        self.addr == addr || self.more_addrs.contains(&addr)
    }

    /// Whether an event of this kind has come; it is taken.
    pub fn take(&mut self, wanted: impl Fn(&Event) -> bool) -> Option<Event> {
        let at = self.events.iter().position(wanted)?;
        Some(self.events.remove(at))
    }

    /// The next channel the peer opened.
    pub fn incoming(&mut self) -> Option<ChannelKey> {
        match self.take(|event| matches!(event, Event::ChannelOpened(_)))? {
            Event::ChannelOpened(key) => Some(key),
            _ => None,
        }
    }

    /// Why the connection ended, if it has.
    pub fn closed(&self) -> Option<&CloseReason> {
        self.events.iter().find_map(|event| match event {
            Event::Closed(reason) => Some(reason),
            _ => None,
        })
    }
}

impl World {
    /// Two peers that know nothing of each other, with a link as given both ways.
    pub fn new(seed: u64, link: LinkConfig) -> Self {
        Self::with_config(seed, link, |_| {})
    }

    /// The same, with the peers' settings changed by `tune`.
    pub fn with_config(seed: u64, link: LinkConfig, tune: impl Fn(&mut Config)) -> Self {
        let start = base();
        let mut rng = StdRng::seed_from_u64(seed);
        let mut net = Net::new(rng.random(), start);
        net.set_default_link(link);
        Self {
            a: End::new(0, "10.0.0.1:5001", start, &mut rng, &tune),
            b: End::new(1, "10.0.0.2:5002", start, &mut rng, &tune),
            net,
            relay: None,
            now: start,
            start,
            same_instant: 0,
        }
    }

    /// Puts up a relay, has both ends get an address on it, and makes candidates of these.
    ///
    /// # Panics
    /// If the network lets nothing through.
    pub fn allocate(&mut self) {
        let server: SocketAddr = "198.51.100.7:3478".parse().expect("an address");
        let mut relay = RelayServer::new(vec![server]);
        for end in [&mut self.a, &mut self.b] {
            let socket = SocketAddr::new(end.addr.ip(), 7000);
            let mut client = RelayClient::new(socket, server, 2);
            let (relayed, mapped) = loop {
                client.ask(self.now, &mut self.net);
                if let Some(given) = client.given {
                    break given;
                }
                self.now = self.net.next_arrival().expect("the relay answers");
                while let Some(datagram) = self.net.recv(self.now) {
                    if !relay.handle(self.now, &mut self.net, &datagram) {
                        client.take(&datagram);
                    }
                }
            };
            let by = RelayProtocol::Udp;
            end.peer.add_relayed(self.now, relayed, mapped, server.ip(), by).expect("a candidate");
            end.relayed = Some((client, relayed));
        }
        self.relay = Some(relay);
    }

    /// Offer and answer, with all candidates in them.
    pub fn exchange(&mut self) {
        let now = self.now;
        let offer = self.a.peer.create_offer().expect("an offer");
        self.a.peer.set_local_description(now, SdpType::Offer, &offer).expect("our own offer");
        self.a.peer.add_local_host(now, self.a.addr);
        self.a.peer.end_of_local_candidates(now);
        let (kind, offer) = self.a.peer.local_description().expect("described");
        self.b.peer.set_remote_description(now, kind, &offer).expect("their offer");
        let answer = self.b.peer.create_answer().expect("an answer");
        self.b.peer.set_local_description(now, SdpType::Answer, &answer).expect("our own answer");
        self.b.peer.add_local_host(now, self.b.addr);
        self.b.peer.end_of_local_candidates(now);
        let (kind, answer) = self.b.peer.local_description().expect("described");
        self.a.peer.set_remote_description(now, kind, &answer).expect("their answer");
    }

    /// Time since the world began.
    pub fn elapsed(&self) -> Duration {
        self.now - self.start
    }

    /// Sends all there is to send and collects the events.
    pub fn flush(&mut self) {
        for end in [&mut self.a, &mut self.b] {
            while let Some(transmit) = end.peer.poll_transmit(self.now, MAX_SEGMENTS, &mut end.buf) {
                let datagrams = &end.buf[..transmit.size];
                let size = transmit.segment_size.unwrap_or(transmit.size);
                let count = datagrams.chunks(size).len();
                assert!(count <= MAX_SEGMENTS, "{count} segments");
                assert!(count > 1 || transmit.segment_size.is_none(), "one datagram is no batch");
                let relayed = end.relayed.as_ref().filter(|(_, relayed)| *relayed == transmit.path.local);
                if let Some((client, _)) = relayed {
                    for datagram in datagrams.chunks(size) {
                        client.send(self.now, &mut self.net, transmit.path.remote, datagram);
                    }
                    continue;
                }
                assert!(end.has(transmit.path.local), "an address that we don't have");
                for datagram in datagrams.chunks(size) {
                    self.net.send(self.now, transmit.path.local, transmit.path.remote, datagram.to_vec());
                }
            }
            while let Some(event) = end.peer.poll_event() {
                end.events.push(event);
            }
        }
    }

    /// The next thing happens. False when nothing ever will.
    pub fn step(&mut self) -> bool {
        self.flush();
        let deadlines = [self.net.next_arrival(), self.a.peer.poll_timeout(), self.b.peer.poll_timeout()];
        let Some(next) = deadlines.into_iter().flatten().min() else { return false };
        if next > self.now {
            self.now = next;
            self.same_instant = 0;
        } else {
            self.same_instant += 1;
            assert!(self.same_instant < STEPS_PER_INSTANT, "the world spins at {:?}", self.elapsed());
        }
        while let Some(mut datagram) = self.net.recv(self.now) {
            if self.relay.as_mut().is_some_and(|relay| relay.handle(self.now, &mut self.net, &datagram)) {
                continue;
            }
            let path = Path::udp(datagram.dst, datagram.src);
            for end in [&mut self.a, &mut self.b] {
                if let Some((client, relayed)) = &mut end.relayed
                    && let Some((peer, mut data)) = client.take(&datagram)
                {
                    end.peer.handle_datagram(self.now, Path::udp(*relayed, peer), &mut data);
                }
            }
            for end in [&mut self.a, &mut self.b] {
                if end.has(datagram.dst) {
                    end.peer.handle_datagram(self.now, path, &mut datagram.payload);
                }
            }
        }
        for end in [&mut self.a, &mut self.b] {
            if end.peer.poll_timeout().is_some_and(|at| at <= self.now) {
                end.peer.handle_timeout(self.now);
                let left = end.peer.poll_timeout();
                assert!(left.is_none_or(|at| at > self.now), "a deadline stays due");
            }
        }
        self.flush();
        true
    }

    /// Goes on until `done`, or `limit` from now has passed; tells which.
    pub fn run_until(&mut self, limit: Duration, mut done: impl FnMut(&mut Self) -> bool) -> bool {
        let deadline = self.now + limit;
        loop {
            self.flush();
            if done(self) {
                return true;
            }
            if !self.step() || self.now > deadline {
                return false;
            }
        }
    }

    /// Lets so much time pass.
    pub fn run_for(&mut self, time: Duration) {
        let end = self.now + time;
        self.run_until(time, |world| world.now >= end);
        self.now = self.now.max(end);
    }

    /// Offer, answer, and on until both are connected.
    ///
    /// # Panics
    /// If that takes more than a minute.
    pub fn connect(&mut self) {
        self.exchange();
        self.connect_again();
    }

    /// On until both are connected, when descriptions have been exchanged already.
    ///
    /// # Panics
    /// If that takes more than a minute.
    pub fn connect_again(&mut self) {
        let up = self.run_until(Duration::from_secs(60), |world| {
            world.a.peer.connection_state() == ConnectionState::Connected
                && world.b.peer.connection_state() == ConnectionState::Connected
        });
        assert!(up, "not connected: {:?} and {:?}", self.a.closed(), self.b.closed());
    }

    /// A channel opened by `a`, and its other end.
    ///
    /// # Panics
    /// If that takes more than a minute.
    pub fn channel(&mut self, options: ChannelOptions) -> (ChannelKey, ChannelKey) {
        let ours = self.a.peer.open_channel(self.now, options).expect("a channel");
        let mut theirs = None;
        let open = self.run_until(Duration::from_secs(60), |world| {
            theirs = theirs.or_else(|| world.b.incoming());
            theirs.is_some() && world.a.peer.channel_state(ours) == ChannelState::Open
        });
        assert!(open, "the channel did not open");
        (ours, theirs.expect("just seen"))
    }
}
