//! The pair: two connections, a virtual clock, and a link that a test can interfere with.

use crate::*;
use std::collections::VecDeque;
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

/// One way over the link.
pub(super) const DELAY: Duration = Duration::from_millis(5);

/// One identity for the whole test run; making them is slow.
pub(super) fn identity(index: usize) -> Arc<Certificate> {
    static IDENTITIES: OnceLock<[Arc<Certificate>; 3]> = OnceLock::new();
    let all = IDENTITIES
        .get_or_init(|| std::array::from_fn(|_| Arc::new(Certificate::generate(1_795_000_000).unwrap())));
    Arc::clone(&all[index])
}

/// The one RSA identity: 2048 bits, from OpenSSL.
pub(super) fn rsa() -> Arc<Certificate> {
    static RSA: OnceLock<Arc<Certificate>> = OnceLock::new();
    let (certificate, key) =
        (include_str!("identities/rsa-2048.crt"), include_str!("identities/rsa-2048.key"));
    Arc::clone(RSA.get_or_init(|| Arc::new(Certificate::from_pem(certificate, key).unwrap())))
}

pub(super) fn config(index: usize) -> Config {
    let mut config = Config::new(identity(index));
    // As on a path that ICE has measured.
    config.retransmit.initial = Duration::from_millis(50);
    config
}

#[expect(clippy::disallowed_methods, reason = "one base instant; time is an argument from there on")]
pub(super) fn base() -> Instant {
    Instant::now()
}

pub(super) struct End {
    pub(super) connection: Connection,
    /// Datagrams under way to this end: when they arrive, and what.
    pub(super) inbox: VecDeque<(Instant, Vec<u8>)>,
    pub(super) events: Vec<Event>,
    pub(super) received: Vec<Vec<u8>>,
    pub(super) error: Option<Error>,
}

impl End {
    fn new(connection: Connection) -> Self {
        Self { connection, inbox: VecDeque::new(), events: vec![], received: vec![], error: None }
    }

    pub(super) fn input(&mut self, now: Instant, datagram: &[u8]) {
        let mut datagram = datagram.to_vec();
        let received = &mut self.received;
        if let Err(error) =
            self.connection.handle_input(now, &mut datagram, |plaintext| received.push(plaintext.to_vec()))
        {
            self.error = Some(error);
        }
    }

    pub(super) fn drain_events(&mut self) {
        while let Some(event) = self.connection.poll_event() {
            self.events.push(event);
        }
    }

    /// Everything to send now.
    pub(super) fn output(&mut self, now: Instant) -> Vec<Vec<u8>> {
        let mut all = Vec::new();
        let mut out = [0; 2048];
        while let Some(len) = self.connection.poll_transmit(now, &mut out) {
            all.push(out[..len].to_vec());
            assert!(all.len() < 5000, "an end that never stops sending");
        }
        all
    }

    pub(super) fn seal(&mut self, data: &[u8]) -> Vec<u8> {
        let start = self.connection.header_len();
        let mut slot = vec![0; start + data.len() + self.connection.tag_len()];
        slot[start..start + data.len()].copy_from_slice(data);
        let len = self.connection.seal(&mut slot, data.len()).unwrap();
        assert_eq!(len, slot.len());
        slot
    }
}

pub(super) struct Pair {
    pub(super) now: Instant,
    pub(super) client: End,
    pub(super) server: End,
    /// Datagrams sent so far, by the client and by the server.
    pub(super) sent: [usize; 2],
    pub(super) log: Vec<(bool, Vec<u8>)>,
}

/// What a link does: for a datagram (from the client?, its index in that direction, its bytes) the datagrams that
/// arrive, each with an extra delay.
pub(super) type Fate = Vec<(Duration, Vec<u8>)>;

pub(super) fn fine(_: bool, _: usize, datagram: Vec<u8>) -> Fate {
    vec![(Duration::ZERO, datagram)]
}

impl Pair {
    pub(super) fn new(client: Config, server: Config) -> Self {
        let prints = |config: &Config| {
            config
                .certificate
                .iter()
                .map(|certificate| certificate.fingerprint(HashAlgorithm::Sha256))
                .collect()
        };
        let (for_client, for_server) = (prints(&server), prints(&client));
        Self::with_fingerprints(client, server, for_client, for_server)
    }

    pub(super) fn with_fingerprints(
        client: Config,
        server: Config,
        for_client: Vec<Fingerprint>,
        for_server: Vec<Fingerprint>,
    ) -> Self {
        let now = base();
        let client = Connection::new(Arc::new(client), Role::Client, for_client, now, [1; 32]);
        let server = Connection::new(Arc::new(server), Role::Server, for_server, now, [2; 32]);
        Self { now, client: End::new(client), server: End::new(server), sent: [0, 0], log: vec![] }
    }

    pub(super) fn ends(&mut self, from_client: bool) -> (&mut End, &mut End) {
        if from_client { (&mut self.client, &mut self.server) } else { (&mut self.server, &mut self.client) }
    }

    /// Moves what both ends have to send onto the link.
    pub(super) fn flush(&mut self, link: &mut impl FnMut(bool, usize, Vec<u8>) -> Fate) {
        let now = self.now;
        for from_client in [true, false] {
            let datagrams = self.ends(from_client).0.output(now);
            for datagram in datagrams {
                let index = self.sent[usize::from(!from_client)];
                self.sent[usize::from(!from_client)] += 1;
                self.log.push((from_client, datagram.clone()));
                for (extra, datagram) in link(from_client, index, datagram) {
                    let inbox = &mut self.ends(from_client).1.inbox;
                    inbox.push_back((now + DELAY + extra, datagram));
                    inbox.make_contiguous().sort_by_key(|entry| entry.0);
                }
            }
        }
        self.client.drain_events();
        self.server.drain_events();
    }

    /// Runs until nothing is under way and no timer is left, or for `limit` of virtual time.
    pub(super) fn run(&mut self, limit: Duration, mut link: impl FnMut(bool, usize, Vec<u8>) -> Fate) {
        let end = self.now + limit;
        for _ in 0..100_000 {
            self.flush(&mut link);
            let next = [&self.client, &self.server]
                .into_iter()
                .flat_map(|end| [end.inbox.front().map(|entry| entry.0), end.connection.poll_timeout()])
                .flatten()
                .min();
            let Some(next) = next.filter(|next| *next <= end) else { return };
            self.now = self.now.max(next);
            let now = self.now;
            for from_client in [true, false] {
                let (_, end) = self.ends(from_client);
                while end.inbox.front().is_some_and(|entry| entry.0 <= now) {
                    let (_, datagram) = end.inbox.pop_front().unwrap();
                    end.input(now, &datagram);
                }
                if end.connection.poll_timeout().is_some_and(|deadline| deadline <= now) {
                    if let Err(error) = end.connection.handle_timeout(now) {
                        end.error = Some(error);
                    }
                    let still = end.connection.poll_timeout().is_some_and(|deadline| deadline <= now);
                    assert!(!still, "a deadline that handling it leaves in place");
                }
            }
        }
        panic!("the pair does not come to rest");
    }

    #[track_caller]
    pub(super) fn assert_connected(&mut self) {
        assert_eq!((&self.client.error, &self.server.error), (&None, &None));
        assert_eq!(self.client.events, [Event::Connected]);
        assert_eq!(self.server.events, [Event::Connected]);
        let agreed = |end: &End| Negotiated {
            peer_signature_scheme: None,
            ..end.connection.negotiated().unwrap().clone()
        };
        assert_eq!(agreed(&self.client), agreed(&self.server));
        for from_client in [true, false] {
            let now = self.now;
            let (from, to) = self.ends(from_client);
            let record = from.seal(b"are you there?");
            let before = to.received.len();
            to.input(now, &record);
            assert_eq!(to.received[before..], [b"are you there?".to_vec()]);
        }
    }
}

#[test]
fn a_pair_connects() {
    let mut pair = Pair::new(config(0), config(1));
    pair.run(Duration::from_secs(1), fine);
    pair.assert_connected();
    assert_eq!(pair.sent, [2, 2]);
}
