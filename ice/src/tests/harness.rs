//! The network of the tests: links with delay, loss and reordering, and one clock.

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};

use crate::{Agent, Candidate, Config, Event, Path, Protocol, Role, State};

#[expect(clippy::disallowed_methods, reason = "one base instant for virtual time")]
pub(crate) fn base() -> Instant {
    Instant::now()
}

pub(crate) fn ms(n: u64) -> Duration {
    Duration::from_millis(n)
}

pub(crate) fn addr(text: &str) -> SocketAddr {
    text.parse().unwrap()
}

pub(crate) struct End {
    pub(crate) agent: Agent,
    pub(crate) events: Vec<Event>,
    /// Datagrams this end has put on the wire.
    pub(crate) sent: Vec<(Instant, Path, Vec<u8>)>,
}

impl End {
    pub(crate) fn new(role: Role, now: Instant, seed: u8) -> Self {
        Self::with(Config::default(), role, now, seed)
    }

    pub(crate) fn with(config: Config, role: Role, now: Instant, seed: u8) -> Self {
        let agent = Agent::new(Arc::new(config), role, now, [seed; 32]);
        Self { agent, events: Vec::new(), sent: Vec::new() }
    }
}

struct InFlight {
    at: Instant,
    to: usize,
    path: Path,
    bytes: Vec<u8>,
}

/// Decides the fate of a datagram from end `.0` to end `.1`'s path: true drops it.
type Filter = Box<dyn FnMut(usize, Path, &[u8]) -> bool>;

/// The port that a connection from an active candidate gets.
const EPHEMERAL: u16 = 50_000;

/// A datagram's path as its receiver has it.
fn arrival(path: Path) -> Path {
    let swap = |addr: SocketAddr| match (path.protocol, addr.port()) {
        (Protocol::Tcp, 9) => SocketAddr::new(addr.ip(), EPHEMERAL),
        (Protocol::Tcp, EPHEMERAL) => SocketAddr::new(addr.ip(), 9),
        _ => addr,
    };
    Path { protocol: path.protocol, local: swap(path.remote), remote: swap(path.local) }
}

/// Two ends and what is between them.
pub(crate) struct Net {
    pub(crate) start: Instant,
    pub(crate) now: Instant,
    pub(crate) ends: [End; 2],
    pub(crate) delay: Duration,
    pub(crate) jitter: Duration,
    pub(crate) loss: f64,
    pub(crate) drop: Filter,
    /// Addresses from which nothing gets out.
    pub(crate) down: Vec<SocketAddr>,
    flying: Vec<InFlight>,
    rng: StdRng,
}

/// The seed of random losses; `SINNET_SEED` sets it.
fn seed() -> u64 {
    std::env::var("SINNET_SEED").ok().and_then(|text| text.parse().ok()).unwrap_or(1)
}

impl Net {
    pub(crate) fn new(roles: [Role; 2]) -> Self {
        Self::with([Config::default(), Config::default()], roles)
    }

    pub(crate) fn with([a, b]: [Config; 2], roles: [Role; 2]) -> Self {
        Self::seeded([a, b], roles, seed())
    }

    pub(crate) fn seeded([a, b]: [Config; 2], roles: [Role; 2], seed: u64) -> Self {
        println!("SINNET_SEED={seed}");
        let start = base();
        let small = (seed % 100) as u8;
        Self {
            start,
            now: start,
            ends: [End::with(a, roles[0], start, small), End::with(b, roles[1], start, small + 100)],
            delay: ms(1),
            jitter: Duration::ZERO,
            loss: 0.0,
            drop: Box::new(|_, _, _| false),
            down: Vec::new(),
            flying: Vec::new(),
            rng: StdRng::seed_from_u64(seed),
        }
    }

    /// Controlling A at 10.0.0.1 and controlled B at 10.0.0.2, all exchanged before anything flies.
    pub(crate) fn ready() -> Self {
        let mut net = Self::new([Role::Controlling, Role::Controlled]);
        let a = net.host(0, "10.0.0.1:1000");
        let b = net.host(1, "10.0.0.2:2000");
        net.tell(0, &b);
        net.tell(1, &a);
        net.credentials();
        net
    }

    /// The same after all has settled.
    pub(crate) fn connected() -> Self {
        let mut net = Self::ready();
        net.run(ms(200));
        assert_eq!(net.states(), [State::Completed; 2]);
        net
    }

    pub(crate) fn host(&mut self, end: usize, base: &str) -> Candidate {
        let now = self.now;
        self.ends[end].agent.add_local_host(now, addr(base)).unwrap()
    }

    pub(crate) fn tell(&mut self, end: usize, candidate: &Candidate) {
        let now = self.now;
        self.ends[end].agent.add_remote_candidate(now, candidate).unwrap();
    }

    /// Gives end `end` the credentials of the other.
    pub(crate) fn credentials_to(&mut self, end: usize) {
        let c = self.ends[1 - end].agent.local_credentials().clone();
        let now = self.now;
        self.ends[end].agent.set_remote_credentials(now, c).unwrap();
    }

    pub(crate) fn credentials(&mut self) {
        self.credentials_to(0);
        self.credentials_to(1);
    }

    pub(crate) fn states(&self) -> [State; 2] {
        [self.ends[0].agent.state(), self.ends[1].agent.state()]
    }

    pub(crate) fn elapsed(&self) -> Duration {
        self.now - self.start
    }

    fn drain(&mut self, end: usize) {
        let mut out = [0; 1200];
        loop {
            let transmit = self.ends[end].agent.poll_transmit(self.now, &mut out);
            let Some(transmit) = transmit else { break };
            let bytes = out[..transmit.len].to_vec();
            self.ends[end].sent.push((self.now, transmit.path, bytes.clone()));
            let lost = self.loss > 0.0 && self.rng.random_bool(self.loss);
            let path = arrival(transmit.path);
            let reachable = self.ends[1 - end].agent.local_of(path).is_some()
                && !self.down.contains(&transmit.path.local);
            if (self.drop)(end, transmit.path, &bytes) || lost || !reachable {
                continue;
            }
            let extra = self.jitter.mul_f64(self.rng.random::<f64>());
            self.flying.push(InFlight { at: self.now + self.delay + extra, to: 1 - end, path, bytes });
        }
        while let Some(event) = self.ends[end].agent.poll_event() {
            self.ends[end].events.push(event);
        }
    }

    /// Lets `time` pass, event by event.
    pub(crate) fn run(&mut self, time: Duration) {
        let until = self.now + time;
        self.run_while(until, |_| true);
        self.now = until;
    }

    /// Runs until both ends are in that state; fails after a minute.
    pub(crate) fn run_until(&mut self, state: State) {
        let until = self.now + Duration::from_secs(60);
        self.run_while(until, |net| net.states() != [state; 2]);
        assert_eq!(self.states(), [state; 2], "after {:?}", self.elapsed());
    }

    fn run_while(&mut self, until: Instant, goes_on: impl Fn(&Self) -> bool) {
        let mut turns = 0;
        loop {
            self.drain(0);
            self.drain(1);
            if !goes_on(self) {
                return;
            }
            turns += 1;
            assert!(turns < 100_000, "a busy loop");
            let timers = self.ends.iter().filter_map(|e| e.agent.poll_timeout());
            let next = timers.chain(self.flying.iter().map(|f| f.at)).min();
            let Some(next) = next.filter(|at| *at <= until) else { return };
            self.now = self.now.max(next);
            let now = self.now;
            for end in &mut self.ends {
                end.agent.handle_timeout(now);
                assert!(end.agent.poll_timeout().is_none_or(|at| at > now), "a deadline was left in place");
            }
            let (due, flying) =
                std::mem::take(&mut self.flying).into_iter().partition::<VecDeque<_>, _>(|f| f.at <= now);
            self.flying = flying.into();
            for datagram in due {
                self.ends[datagram.to].agent.handle_input(now, datagram.path, &datagram.bytes);
            }
        }
    }
}
