//! Server-reflexive addresses: how STUN servers see a socket (RFC 8445 §5.1.1.2).
//!
//! A [`Gatherer`] asks each server about each socket, and asks again every now and then, which keeps the translator's mapping
//! open until checks do (§5.1.1.4), shows when it has changed, and finds a server that was not there at first. It knows no agent: one can serve all agents that share
//! a socket. What it finds goes into each by [`Agent::add_server_reflexive`](crate::Agent::add_server_reflexive).

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use sinnet_stun::{Builder, Class, Message, Method, Retransmission, Transaction, TransactionId, Verdict};
use tracing::debug;

use crate::candidate::{is_sendable, normal};
use crate::event::{Path, Transmit};

/// Sockets times servers; more are refused.
const MAX_QUERIES: usize = 128;

/// Times of a [`Gatherer`].
#[derive(Clone, Debug)]
pub struct GatherConfig {
    /// Between the first requests of two queries (RFC 8445 §14.2, Ta): 5 ms at least; 50 ms by default.
    pub ta: Duration,
    /// First retransmission interval, doubled after a send; after three sends a new transaction begins: 250 ms.
    pub rto: Duration,
    /// A query without an answer fails so long after [`Gatherer::ask`]: 5 s.
    pub timeout: Duration,
    /// A query is repeated after this: 15 s, half of what the most impatient translators allow. `None` never does.
    pub keepalive: Option<Duration>,
}

impl Default for GatherConfig {
    fn default() -> Self {
        Self {
            ta: Duration::from_millis(50),
            rto: Duration::from_millis(250),
            timeout: Duration::from_secs(5),
            keepalive: Some(Duration::from_secs(15)),
        }
    }
}

/// What a server said, or didn't.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub enum GatherEvent {
    /// The server sees the socket at `mapped`. Comes again only when that has changed.
    Mapped {
        /// Our socket, and the server.
        path: Path,
        /// Where the server sees it; the same as `path.local` where nothing translates.
        mapped: SocketAddr,
    },
    /// The server gave no address. Comes again only after it has given one.
    Failed {
        /// Our socket, and the server.
        path: Path,
        /// Why.
        error: GatherError,
    },
}

/// Why a server gave no address.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum GatherError {
    /// Nothing came in time.
    #[error("the STUN server did not answer")]
    NoAnswer,
    /// It answered a Binding request with an error.
    #[error("the STUN server refused the Binding request with code {0}")]
    Refused(u16),
    /// Its answer has no address, or one that no host can have.
    #[error("the STUN server's answer to the Binding request has no usable address")]
    NoAddress,
}

#[derive(Debug)]
struct Query {
    path: Path,
    step: Step,
    /// When the first answer is given up.
    first_end: Instant,
    mapped: Option<SocketAddr>,
    /// The last round came to nothing.
    failed: bool,
}

impl Query {
    /// Whether it has been answered or given up once.
    fn is_settled(&self) -> bool {
        self.failed || self.mapped.is_some()
    }

    /// A round has ended. Returns what is news of it.
    fn end_round(
        &mut self,
        now: Instant,
        keepalive: Option<Duration>,
        result: Result<SocketAddr, GatherError>,
    ) -> Option<GatherEvent> {
        self.step = keepalive.map_or(Step::Over, |interval| Step::Waits(now + interval));
        let path = self.path;
        match result {
            Ok(mapped) => {
                self.failed = false;
                (self.mapped.replace(mapped) != Some(mapped)).then_some(GatherEvent::Mapped { path, mapped })
            }
            Err(error) => {
                // It may be seen elsewhere by now, or not at all.
                self.mapped = None;
                (!std::mem::replace(&mut self.failed, true)).then_some(GatherEvent::Failed { path, error })
            }
        }
    }
}

#[derive(Debug)]
enum Step {
    /// Begins at this time.
    Waits(Instant),
    /// Asked; the second is when it is given up, the third whether a send is due.
    Asks(Transaction, Instant, bool),
    /// There is nothing to do any more.
    Over,
}

/// Asks STUN servers. Never sends by itself: see the five verbs.
#[derive(Debug)]
pub struct Gatherer {
    config: GatherConfig,
    rng: StdRng,
    queries: Vec<Query>,
    next_start: Instant,
    events: VecDeque<GatherEvent>,
}

impl Gatherer {
    /// Without anything to ask yet. `seed` must come from the system's random source in production: the transaction ids
    /// are made from it, and who guesses these can answer in a server's place.
    pub fn new(config: GatherConfig, now: Instant, seed: [u8; 32]) -> Self {
        let rng = StdRng::from_seed(seed);
        Self { config, rng, queries: Vec::new(), next_start: now, events: VecDeque::new() }
    }

    /// Will ask `server` how it sees `base`. False if it is asked already, can't be (another address family, loopback and
    /// elsewhere, an address that no host has), or 128 queries are there.
    pub fn ask(&mut self, now: Instant, base: SocketAddr, server: SocketAddr) -> bool {
        let path = Path::udp(normal(base), normal(server));
        if self.queries.len() >= MAX_QUERIES
            || path.local.is_ipv4() != path.remote.is_ipv4()
            || path.local.ip().is_loopback() != path.remote.ip().is_loopback()
            || !is_sendable(path.remote)
            || !is_sendable(path.local)
            || self.queries.iter().any(|query| query.path == path)
        {
            return false;
        }
        let at = self.next_start.max(now);
        self.next_start = at + self.config.ta.max(Duration::from_millis(5));
        let first_end = now + self.config.timeout;
        self.queries.push(Query { path, step: Step::Waits(at), first_end, mapped: None, failed: false });
        true
    }

    /// Asks no more from an address that has gone, and forgets what was said of it.
    pub fn forget(&mut self, base: SocketAddr) {
        let base = normal(base);
        self.queries.retain(|query| query.path.local != base);
        let of = |event: &GatherEvent| match event {
            GatherEvent::Mapped { path, .. } | GatherEvent::Failed { path, .. } => path.local,
        };
        self.events.retain(|event| of(event) != base);
    }

    /// Asks no more, and forgets what was said.
    pub fn clear(&mut self) {
        self.queries.clear();
        self.events.clear();
    }

    /// Whether every query has been answered or given up.
    pub fn is_done(&self) -> bool {
        self.queries.iter().all(Query::is_settled)
    }

    /// What the servers said last: our socket and the server, and where that sees it.
    pub fn mapped(&self) -> impl Iterator<Item = (Path, SocketAddr)> {
        self.queries.iter().filter_map(|query| Some((query.path, query.mapped?)))
    }

    /// Takes a datagram. True if it answers one of the queries; anything else changes nothing.
    pub fn handle_input(&mut self, now: Instant, path: Path, datagram: &[u8]) -> bool {
        let path = Path::udp(normal(path.local), normal(path.remote));
        let Ok(message) = Message::parse(datagram) else { return false };
        let ours = |query: &&mut Query| match &query.step {
            Step::Asks(transaction, ..) => query.path == path && transaction.id() == message.transaction_id(),
            _ => false,
        };
        let Some(query) = self.queries.iter_mut().find(ours) else { return false };
        if message.method() != Method::BINDING || message.verify_fingerprint() == Verdict::Invalid {
            return false;
        }
        let result = match message.class() {
            Class::SuccessResponse => message
                .xor_mapped_address()
                .or_else(|| message.mapped_address())
                .map(normal)
                .filter(|addr| is_sendable(*addr) && addr.is_ipv4() == path.local.is_ipv4())
                .ok_or(GatherError::NoAddress),
            Class::ErrorResponse => Err(GatherError::Refused(message.error_code().unwrap_or(0))),
            Class::Request | Class::Indication => return false,
        };
        let news = query.end_round(now, self.config.keepalive, result);
        self.tell(news);
        true
    }

    /// Does what is due at `now`. Early, late and repeated calls are harmless.
    pub fn handle_timeout(&mut self, now: Instant) {
        // A lossy path wants many requests; one that was answered late wants its id kept for a while.
        let schedule = Retransmission { rto: self.config.rto, max_sends: 3, last_wait: 4 };
        let mut news = Vec::new();
        for query in &mut self.queries {
            let first = !query.is_settled();
            match &mut query.step {
                Step::Waits(_) if first && now >= query.first_end => {
                    news.extend(query.end_round(now, self.config.keepalive, Err(GatherError::NoAnswer)));
                }
                Step::Waits(at) if *at <= now => {
                    let id = TransactionId(self.rng.random());
                    let end = if first { query.first_end } else { now + self.config.timeout };
                    query.step = Step::Asks(Transaction::new(id, schedule, now), end, true);
                }
                Step::Asks(transaction, end, due) => {
                    if now >= *end {
                        news.extend(query.end_round(now, self.config.keepalive, Err(GatherError::NoAnswer)));
                    } else if transaction.is_expired(now) {
                        *transaction = Transaction::new(TransactionId(self.rng.random()), schedule, now);
                        *due = true;
                    } else if transaction.handle_timeout(now) {
                        *due = true;
                    }
                }
                Step::Waits(_) | Step::Over => {}
            }
        }
        news.into_iter().for_each(|event| self.tell(Some(event)));
    }

    /// Writes one request into `out`, at most 28 bytes, and says where it goes; `None` if there is none.
    pub fn poll_transmit(&mut self, now: Instant, out: &mut [u8]) -> Option<Transmit> {
        self.handle_timeout(now);
        for query in &mut self.queries {
            let Step::Asks(transaction, _, due @ true) = &mut query.step else { continue };
            *due = false;
            let mut builder = Builder::new(out, Class::Request, Method::BINDING, transaction.id());
            builder.fingerprint();
            // A buffer that is too small is a loss.
            if let Ok(len) = builder.finish() {
                return Some(Transmit { path: query.path, len });
            }
        }
        None
    }

    /// When to call [`handle_timeout`](Self::handle_timeout); `None` if nothing is waited for.
    pub fn poll_timeout(&self) -> Option<Instant> {
        let due = |query: &Query| match &query.step {
            Step::Waits(at) if query.is_settled() => Some(*at),
            Step::Waits(at) => Some((*at).min(query.first_end)),
            Step::Asks(transaction, end, _) => Some(transaction.deadline().min(*end)),
            Step::Over => None,
        };
        self.queries.iter().filter_map(due).min()
    }

    /// The next event.
    pub fn poll_event(&mut self) -> Option<GatherEvent> {
        self.events.pop_front()
    }

    fn tell(&mut self, event: Option<GatherEvent>) {
        let Some(event) = event else { return };
        debug!(?event, "gathering");
        // A mapping that changes with every answer, and an owner that never looks.
        if self.events.len() >= 2 * MAX_QUERIES {
            self.events.pop_front();
        }
        self.events.push_back(event);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tests::harness::{addr, base, ms};

    const BASE: &str = "192.168.1.2:5000";
    const SERVER: &str = "198.51.100.1:3478";

    #[test]
    fn an_address_that_has_gone_is_asked_about_no_more_and_anew_when_it_comes_back() {
        let now = base();
        let mut gatherer = gatherer(now);
        assert!(gatherer.ask(now, addr("192.168.1.3:5000"), addr(SERVER)));
        gatherer.forget(addr(BASE));
        let mut out = [0; 64];
        let sent: Vec<_> = std::iter::from_fn(|| gatherer.poll_transmit(now + ms(500), &mut out))
            .map(|sent| sent.path.local)
            .collect();
        assert_eq!(sent, [addr("192.168.1.3:5000")]);
        gatherer.handle_timeout(now + ms(60_000));
        gatherer.forget(addr("192.168.1.3:5000"));
        assert_eq!((gatherer.poll_event(), gatherer.poll_timeout()), (None, None));
        assert!(gatherer.ask(now, addr(BASE), addr(SERVER)));
    }

    fn gatherer(now: Instant) -> Gatherer {
        let mut gatherer = Gatherer::new(GatherConfig::default(), now, [7; 32]);
        assert!(gatherer.ask(now, addr(BASE), addr(SERVER)));
        gatherer
    }

    /// The request that is due, if any.
    fn request(gatherer: &mut Gatherer, now: Instant) -> Option<TransactionId> {
        let mut out = [0; 64];
        let transmit = gatherer.poll_transmit(now, &mut out)?;
        assert_eq!((transmit.path.local, transmit.path.remote), (addr(BASE), addr(SERVER)));
        let message = Message::parse(&out[..transmit.len]).unwrap();
        assert_eq!((message.class(), message.method()), (Class::Request, Method::BINDING));
        assert_eq!(message.verify_fingerprint(), Verdict::Valid);
        Some(message.transaction_id())
    }

    fn answer(id: TransactionId, class: Class, fill: impl FnOnce(&mut Builder<'_>)) -> Vec<u8> {
        let mut out = [0; 200];
        let mut builder = Builder::new(&mut out, class, Method::BINDING, id);
        fill(&mut builder);
        let len = builder.finish().unwrap();
        out[..len].to_vec()
    }

    fn success(id: TransactionId, mapped: SocketAddr) -> Vec<u8> {
        answer(id, Class::SuccessResponse, |builder| {
            builder.xor_mapped_address(mapped).fingerprint();
        })
    }

    fn path() -> Path {
        Path::udp(addr(BASE), addr(SERVER))
    }

    #[test]
    fn an_answer_gives_the_address_and_is_asked_for_again_to_keep_the_mapping() {
        let now = base();
        let mut gatherer = gatherer(now);
        for (round, seen) in ["203.0.113.1:7", "203.0.113.1:7", "203.0.113.1:8"].into_iter().enumerate() {
            let now = now + Duration::from_secs(15) * round as u32;
            assert_eq!(gatherer.poll_timeout(), Some(now));
            let id = request(&mut gatherer, now).unwrap();
            assert_eq!(request(&mut gatherer, now), None, "once");
            let mapped = addr(seen);
            let bytes = success(id, mapped);
            assert!(gatherer.handle_input(now, path(), &bytes));
            assert!(!gatherer.handle_input(now, path(), &bytes), "it has been answered");
            let event = (round != 1).then_some(GatherEvent::Mapped { path: path(), mapped });
            assert_eq!(gatherer.poll_event(), event, "only news is told");
            assert!(gatherer.is_done());
            assert_eq!(gatherer.mapped().collect::<Vec<_>>(), [(path(), mapped)]);
        }
    }

    #[test]
    fn silence_ends_in_time_after_some_requests() {
        let now = base();
        let mut gatherer = gatherer(now);
        let mut sent = Vec::new();
        let mut failed = Vec::new();
        while let Some(at) = gatherer.poll_timeout().filter(|at| *at < now + Duration::from_secs(30)) {
            gatherer.handle_timeout(at);
            if request(&mut gatherer, at).is_some() {
                sent.push((at - now).as_millis());
            }
            assert!(gatherer.poll_timeout().is_none_or(|next| next > at));
            if let Some(event) = gatherer.poll_event() {
                assert_eq!(event, GatherEvent::Failed { path: path(), error: GatherError::NoAnswer });
                failed.push(at - now);
            }
            assert_eq!(gatherer.is_done(), !failed.is_empty());
        }
        let round = [0, 250, 750, 1750, 2000, 2500, 3500, 3750, 4250];
        assert_eq!(sent[..9], round);
        assert_eq!(sent[9..], round.map(|at| 20_000 + at), "it may come back");
        assert_eq!(failed, [GatherConfig::default().timeout], "told once");
        assert!(gatherer.mapped().next().is_none());
        let id = request(&mut gatherer, now + Duration::from_secs(40)).unwrap();
        assert!(gatherer.handle_input(
            now + Duration::from_secs(40),
            path(),
            &success(id, addr("203.0.113.1:7"))
        ));
        assert!(matches!(gatherer.poll_event(), Some(GatherEvent::Mapped { .. })));
    }

    #[test]
    fn an_address_that_is_not_confirmed_is_no_longer_given_out() {
        let now = base();
        let mut gatherer = gatherer(now);
        let id = request(&mut gatherer, now).unwrap();
        gatherer.handle_input(now, path(), &success(id, addr("203.0.113.1:7")));
        while gatherer.poll_event().is_some() {}
        for seconds in 15..=20 {
            gatherer.handle_timeout(now + Duration::from_secs(seconds));
        }
        assert!(matches!(gatherer.poll_event(), Some(GatherEvent::Failed { .. })));
        assert!(gatherer.is_done() && gatherer.mapped().next().is_none());
    }

    #[test]
    fn answers_that_are_none_change_nothing_and_useless_ones_are_errors() {
        let now = base();
        let mapped = addr("203.0.113.1:7");
        let fresh = || {
            let mut gatherer = gatherer(now);
            let id = request(&mut gatherer, now).unwrap();
            (gatherer, id)
        };
        let (mut asked, id) = fresh();
        let good = success(id, mapped);
        let elsewhere = Path { remote: addr("198.51.100.2:3478"), ..path() };
        assert!(!asked.handle_input(now, elsewhere, &good), "from another address");
        let other = success(TransactionId([9; 12]), mapped);
        assert!(!asked.handle_input(now, path(), &other), "another transaction");
        assert!(!asked.handle_input(now, path(), &answer(id, Class::Request, |_| {})));
        for cut in 0..good.len() {
            assert!(!asked.handle_input(now, path(), &good[..cut]));
        }
        let mut broken = success(id, mapped);
        *broken.last_mut().unwrap() ^= 1;
        assert!(!asked.handle_input(now, path(), &broken), "a wrong FINGERPRINT");
        assert_eq!(asked.poll_event(), None);
        assert!(asked.handle_input(now, path(), &good), "the right one still counts");

        let useless = [
            (Class::SuccessResponse, None, GatherError::NoAddress),
            (Class::SuccessResponse, Some(addr("0.0.0.0:7")), GatherError::NoAddress),
            (Class::SuccessResponse, Some(addr("203.0.113.1:0")), GatherError::NoAddress),
            (Class::SuccessResponse, Some(addr("[2001:db8::1]:7")), GatherError::NoAddress),
            (Class::ErrorResponse, None, GatherError::Refused(420)),
        ];
        for (class, mapped, error) in useless {
            let (mut asked, id) = fresh();
            let bytes = answer(id, class, |b| {
                if let Some(mapped) = mapped {
                    b.xor_mapped_address(mapped);
                }
                if class == Class::ErrorResponse {
                    b.error_code(420);
                }
            });
            assert!(asked.handle_input(now, path(), &bytes));
            assert_eq!(asked.poll_event(), Some(GatherEvent::Failed { path: path(), error }));
            assert!(asked.is_done() && asked.mapped().next().is_none());
        }
    }

    #[test]
    fn queries_are_spaced_limited_and_asked_once() {
        let now = base();
        let mut gatherer = gatherer(now);
        assert!(!gatherer.ask(now, addr(BASE), addr(SERVER)), "asked already");
        for (from, to) in [
            (BASE, "[2001:db8::1]:3478"),
            (BASE, "127.0.0.1:3478"),
            (BASE, "224.0.0.1:3478"),
            (BASE, "198.51.100.1:0"),
            ("0.0.0.0:5000", SERVER),
        ] {
            assert!(!gatherer.ask(now, addr(from), addr(to)), "{from} {to}");
        }
        let mut out = [0; 64];
        for port in 1..2000 {
            gatherer.ask(now, addr(BASE), SocketAddr::new(addr(SERVER).ip(), port));
        }
        assert_eq!(gatherer.queries.len(), MAX_QUERIES);
        assert!(gatherer.poll_transmit(now, &mut out).is_some());
        assert!(gatherer.poll_transmit(now + ms(49), &mut out).is_none());
        assert!(gatherer.poll_transmit(now + ms(50), &mut out).is_some());
        gatherer.clear();
        assert_eq!((gatherer.poll_timeout(), gatherer.is_done()), (None, true));
    }
}
