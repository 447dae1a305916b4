//! The network: which link a datagram takes, and what is on its way.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BinaryHeap};
use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::time::{Duration, Instant};

use crate::link::{Link, LinkConfig, LinkStats};
use crate::nat::{Nat, NatConfig, NatStats, Nats};
use crate::payload::Payload;

/// A datagram that arrived.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Datagram<P = Vec<u8>> {
    /// Where it was sent from.
    pub src: SocketAddr,
    /// Where it is.
    pub dst: SocketAddr,
    /// What it carries.
    pub payload: P,
}

type Filter<P> = Box<dyn FnMut(Instant, &Datagram<P>) -> bool>;

/// A network of links between IP addresses. Ports are carried and not looked at.
pub struct Net<P = Vec<u8>> {
    seed: u64,
    start: Instant,
    default_link: LinkConfig,
    links: BTreeMap<(IpAddr, IpAddr), Link>,
    in_flight: BinaryHeap<Reverse<InFlight<P>>>,
    /// Datagrams sent so far: among those that arrive at one instant, the one sent first comes first.
    order: u64,
    filter: Option<Filter<P>>,
    nats: Nats,
}

struct InFlight<P> {
    at: Instant,
    order: u64,
    datagram: Datagram<P>,
}

impl<P> PartialEq for InFlight<P> {
    fn eq(&self, other: &Self) -> bool {
        (self.at, self.order) == (other.at, other.order)
    }
}

impl<P> Eq for InFlight<P> {}

impl<P> PartialOrd for InFlight<P> {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl<P> Ord for InFlight<P> {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        (self.at, self.order).cmp(&(other.at, other.order))
    }
}

impl<P> fmt::Debug for Net<P> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Net")
            .field("seed", &self.seed)
            .field("links", &self.links.len())
            .field("in_flight", &self.in_flight.len())
            .finish_non_exhaustive()
    }
}

impl<P: Payload> Net<P> {
    /// A network in which every two addresses reach each other over a perfect wire, until something else is set.
    /// `start` is the instant before which nothing is sent.
    pub fn new(seed: u64, start: Instant) -> Self {
        Self {
            seed,
            start,
            default_link: LinkConfig::default(),
            links: BTreeMap::new(),
            in_flight: BinaryHeap::new(),
            order: 0,
            filter: None,
            nats: Nats::default(),
        }
    }

    /// Puts addresses behind a translator. From then on their datagrams travel under its outer address: links are those
    /// between the outermost addresses, and what arrives has passed the filter at that moment.
    pub fn add_nat(&mut self, config: NatConfig) {
        let seed = link_seed(self.seed, config.external, config.external);
        self.nats.add(Nat::new(config, seed));
    }

    /// The translator with this outer address forgets all mappings, as one does that is switched off and on.
    pub fn forget_mappings(&mut self, external: IpAddr) {
        self.nats.forget_mappings(external);
    }

    /// Counters of the translator with this outer address.
    pub fn nat_stats(&self, external: IpAddr) -> NatStats {
        self.nats.stats(external)
    }

    /// What links are like that nobody set and nobody has used yet.
    pub fn set_default_link(&mut self, config: LinkConfig) {
        self.default_link = config;
    }

    /// Sets both directions between two addresses. They are two links: a queue in one does not fill the other.
    pub fn set_link(&mut self, a: IpAddr, b: IpAddr, config: LinkConfig) {
        self.set_one_way(a, b, config);
        self.set_one_way(b, a, config);
    }

    /// Sets the direction from `src` to `dst`. What is queued or on its way stays so.
    pub fn set_one_way(&mut self, src: IpAddr, dst: IpAddr, config: LinkConfig) {
        self.link(src, dst).config = config;
    }

    /// Asks `keep` about every datagram before it gets onto its link: with `false` it disappears. For scripted loss:
    /// "the second DATA chunk". It replaces the filter set before.
    pub fn set_filter(&mut self, keep: impl FnMut(Instant, &Datagram<P>) -> bool + 'static) {
        self.filter = Some(Box::new(keep));
    }

    /// Lets every datagram onto its link again.
    pub fn clear_filter(&mut self) {
        self.filter = None;
    }

    /// Sends a datagram. Calls come in the order of `now`.
    pub fn send(&mut self, now: Instant, src: SocketAddr, dst: SocketAddr, payload: P) {
        let Some((src, dst)) = self.nats.leave(now, src, dst) else { return };
        let mut datagram = Datagram { src, dst, payload };
        if self.filter.as_mut().is_some_and(|keep| !keep(now, &datagram)) {
            self.link(src.ip(), dst.ip()).stats.filtered += 1;
            return;
        }
        let size = datagram.payload.size();
        let Some(passage) = self.link(src.ip(), dst.ip()).pass(now, size) else { return };
        if let Some(bit) = passage.flip {
            datagram.payload.flip(bit);
        }
        if let Some(at) = passage.copy {
            self.put(at, datagram.clone());
        }
        self.put(passage.at, datagram);
    }

    fn put(&mut self, at: Instant, datagram: Datagram<P>) {
        self.order += 1;
        self.in_flight.push(Reverse(InFlight { at, order: self.order, datagram }));
    }

    /// When the next datagram arrives, if any is on its way. A translator may refuse it then.
    pub fn next_arrival(&self) -> Option<Instant> {
        self.in_flight.peek().map(|Reverse(next)| next.at)
    }

    /// The next datagram that has arrived by `now`.
    pub fn recv(&mut self, now: Instant) -> Option<Datagram<P>> {
        while self.in_flight.peek().is_some_and(|Reverse(next)| next.at <= now) {
            let Reverse(InFlight { at, mut datagram, .. }) = self.in_flight.pop()?;
            let link = (datagram.src.ip(), datagram.dst.ip());
            let Some(dst) = self.nats.arrive(at, datagram.src, datagram.dst) else { continue };
            datagram.dst = dst;
            let stats = &mut self.link(link.0, link.1).stats;
            stats.delivered += 1;
            stats.delivered_bytes += datagram.payload.size() as u64;
            return Some(datagram);
        }
        None
    }

    /// Counters of one direction.
    pub fn stats(&self, src: IpAddr, dst: IpAddr) -> LinkStats {
        self.links.get(&(src, dst)).map(|link| link.stats).unwrap_or_default()
    }

    /// How long a datagram that was sent now would wait for the bottleneck of a direction.
    pub fn backlog(&self, now: Instant, src: IpAddr, dst: IpAddr) -> Duration {
        self.links.get(&(src, dst)).map(|link| link.backlog(now)).unwrap_or_default()
    }

    /// Datagrams on their way, in all directions.
    pub fn in_flight(&self) -> usize {
        self.in_flight.len()
    }

    fn link(&mut self, src: IpAddr, dst: IpAddr) -> &mut Link {
        let (seed, start, config) = (self.seed, self.start, self.default_link);
        self.links.entry((src, dst)).or_insert_with(|| Link::new(config, link_seed(seed, src, dst), start))
    }
}

/// FNV-1a of the two addresses, on top of the network's seed.
fn link_seed(seed: u64, src: IpAddr, dst: IpAddr) -> u64 {
    let octets = |ip: IpAddr| match ip {
        IpAddr::V4(ip) => ip.to_ipv6_mapped().octets(),
        IpAddr::V6(ip) => ip.octets(),
    };
    let hash = |hash: u64, byte: u8| (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3);
    octets(src).into_iter().chain(octets(dst)).fold(seed ^ 0xcbf2_9ce4_8422_2325, hash)
}

#[cfg(test)]
mod tests {
    #![expect(
        clippy::disallowed_methods,
        reason = "one base instant a test; all others are computed from it"
    )]

    use super::*;
    use crate::{HEADERS, Loss};

    const MS: Duration = Duration::from_millis(1);

    fn addresses() -> (SocketAddr, SocketAddr) {
        ("10.0.0.1:1000".parse().unwrap(), "[fd09::2]:2000".parse().unwrap())
    }

    /// Sends `count` numbered datagrams, one each `gap`, and returns numbers and arrival times after the start.
    fn run(seed: u64, config: LinkConfig, count: u32, gap: Duration) -> (Vec<(u32, Duration)>, LinkStats) {
        let start = Instant::now();
        let (a, z) = addresses();
        let mut net = Net::new(seed, start);
        net.set_link(a.ip(), z.ip(), config);
        for n in 0..count {
            let mut payload = n.to_be_bytes().to_vec();
            payload.resize(1000 - HEADERS, 0);
            net.send(start + gap * n, a, z, payload);
        }
        let mut trace = Vec::new();
        while let Some(at) = net.next_arrival() {
            let datagram = net.recv(at).unwrap();
            assert_eq!((datagram.src, datagram.dst), (a, z));
            trace.push((u32::from_be_bytes(datagram.payload[..4].try_into().unwrap()), at - start));
        }
        (trace, net.stats(a.ip(), z.ip()))
    }

    #[test]
    fn the_backlog_is_what_the_next_datagram_waits() {
        let start = Instant::now();
        let (a, z) = addresses();
        let mut net = Net::new(1, start);
        assert_eq!(net.backlog(start, a.ip(), z.ip()), Duration::ZERO);
        net.set_link(a.ip(), z.ip(), LinkConfig { rate: Some(1_000_000), ..LinkConfig::default() });
        for _ in 0..3 {
            net.send(start, a, z, vec![0; 1000 - HEADERS]);
        }
        assert_eq!(net.backlog(start, a.ip(), z.ip()), 24 * MS);
        assert_eq!(net.backlog(start + 20 * MS, a.ip(), z.ip()), 4 * MS);
        assert_eq!(net.backlog(start, z.ip(), a.ip()), Duration::ZERO);
        assert_eq!(net.backlog(start + 30 * MS, a.ip(), z.ip()), Duration::ZERO);
    }

    const ROUGH: LinkConfig = LinkConfig {
        delay: Duration::from_millis(30),
        jitter: Duration::from_millis(10),
        rate: Some(4_000_000),
        queue: 20_000,
        loss: Loss::Burst { enter: 0.02, leave: 0.3 },
        reorder: 0.05,
        reorder_delay: Duration::from_millis(7),
        duplicate: 0.03,
        corrupt: 0.02,
        mtu: 1500,
    };

    #[test]
    fn the_same_seed_gives_the_same_trace_and_another_seed_another() {
        let seed = crate::seed(5);
        assert_eq!(run(seed, ROUGH, 2000, MS), run(seed, ROUGH, 2000, MS));
        assert_ne!(run(seed, ROUGH, 2000, MS).0, run(seed.wrapping_add(1), ROUGH, 2000, MS).0);
    }

    #[test]
    fn traffic_on_one_link_does_not_change_what_happens_on_another() {
        let start = Instant::now();
        let (a, z) = addresses();
        let other: SocketAddr = "10.0.0.3:1".parse().unwrap();
        let trace = |with_other: bool| {
            let mut net = Net::new(5, start);
            net.set_default_link(ROUGH);
            for n in 0..500 {
                net.send(start + MS * n, a, z, n.to_be_bytes().to_vec());
                if with_other {
                    net.send(start + MS * n, a, other, vec![0; 100]);
                }
            }
            let all = std::iter::from_fn(|| net.next_arrival().and_then(|at| Some((at, net.recv(at)?))));
            all.filter(|(_, datagram)| datagram.dst == z).collect::<Vec<_>>()
        };
        assert_eq!(trace(false), trace(true));
    }

    #[test]
    fn every_datagram_is_accounted_for() {
        for seed in 0..20 {
            let (trace, stats) = run(seed, ROUGH, 1000, MS);
            assert_eq!(stats.sent, 1000);
            let dropped = stats.lost + stats.queue_full + stats.too_big + stats.filtered;
            assert_eq!(stats.delivered, stats.sent - dropped + stats.duplicated, "{stats:?}");
            assert_eq!(stats.delivered, trace.len() as u64);
            assert_eq!(stats.delivered_bytes, stats.delivered * 972);
        }
    }

    #[test]
    fn a_perfect_wire_delivers_at_once_and_in_order() {
        let (trace, stats) = run(1, LinkConfig::default(), 100, MS);
        assert_eq!(trace, (0..100).map(|n| (n, MS * n)).collect::<Vec<_>>());
        assert_eq!(stats.lost + stats.queue_full + stats.corrupted, 0);
    }

    #[test]
    fn nothing_arrives_before_its_time() {
        let start = Instant::now();
        let (a, z) = addresses();
        let mut net = Net::new(1, start);
        net.set_default_link(LinkConfig { delay: 20 * MS, ..LinkConfig::default() });
        net.send(start, a, z, vec![1]);
        assert_eq!(net.next_arrival(), Some(start + 20 * MS));
        assert_eq!(net.recv(start + 19 * MS), None);
        assert_eq!(net.in_flight(), 1);
        assert_eq!(net.recv(start + 20 * MS).map(|d| d.payload), Some(vec![1]));
        assert_eq!(net.next_arrival(), None);
    }

    #[test]
    fn a_rate_spaces_datagrams_and_the_queue_drops_the_tail() {
        // 1000 bytes on 8 Mbit/s are 1 ms each; ten wait or are being sent, the others find no room.
        let config =
            LinkConfig { rate: Some(8_000_000), queue: 10_000, delay: 5 * MS, ..LinkConfig::default() };
        let (trace, stats) = run(1, config, 30, Duration::ZERO);
        assert_eq!(trace, (0..10).map(|n| (n, MS * (n + 1) + 5 * MS)).collect::<Vec<_>>());
        assert_eq!(stats.queue_full, 20);
        // Paced at the rate all get through.
        assert_eq!(run(1, config, 30, MS).1.queue_full, 0);
        assert_eq!(config.with_queue_of_bdp(1.0).queue, 10_000);
        // A queue of nothing still lets one at a time through, a rate of nothing none.
        assert_eq!(run(1, LinkConfig { queue: 0, ..config }, 30, MS).1.delivered, 30);
        assert_eq!(run(1, LinkConfig { rate: Some(0), ..config }, 30, MS).1.queue_full, 30);
    }

    #[test]
    fn loss_comes_as_often_and_in_such_bursts_as_configured() {
        let seed = crate::seed(3);
        let of = |loss| run(seed, LinkConfig { loss, ..LinkConfig::default() }, 20_000, MS);
        let (_, even) = of(Loss::Bernoulli(0.1));
        assert!((1_800..2_200).contains(&even.lost), "{even:?}");
        let (trace, bursty) = of(Loss::Burst { enter: 0.01, leave: 0.2 });
        let bursts = trace.windows(2).filter(|pair| pair[1].0 != pair[0].0 + 1).count() as f64;
        let length = bursty.lost as f64 / bursts;
        assert!((700..1_200).contains(&bursty.lost) && (4.0..6.0).contains(&length), "{bursty:?} {length}");
        assert_eq!(of(Loss::Bernoulli(1.0)).1.delivered, 0);
        assert_eq!(of(Loss::Bernoulli(7.0)).1.delivered, 0);
    }

    #[test]
    fn jitter_keeps_the_order_and_reordering_breaks_it() {
        let jitter = LinkConfig { jitter: 50 * MS, ..LinkConfig::default() };
        let (trace, _) = run(1, jitter, 1000, MS);
        assert!(trace.is_sorted_by_key(|(n, _)| *n) && trace.is_sorted_by_key(|(_, at)| *at));
        assert!(trace.iter().all(|(n, at)| *at >= MS * *n && *at <= MS * (n + 50)));
        let reorder = LinkConfig { reorder: 0.1, reorder_delay: 3 * MS, ..LinkConfig::default() };
        let (trace, stats) = run(1, reorder, 1000, MS);
        let late = trace.windows(2).filter(|pair| pair[1].0 < pair[0].0).count();
        assert!(stats.reordered > 70 && late > 50, "{late} {stats:?}");
    }

    #[test]
    fn duplicates_come_twice_and_corruption_flips_one_bit() {
        let twice = LinkConfig { duplicate: 1.0, ..LinkConfig::default() };
        let (trace, stats) = run(1, twice, 10, MS);
        assert_eq!((trace.len(), stats.duplicated), (20, 10));

        let start = Instant::now();
        let (a, z) = addresses();
        let mut net = Net::new(crate::seed(1), start);
        net.set_default_link(LinkConfig { corrupt: 1.0, ..LinkConfig::default() });
        for _ in 0..50 {
            net.send(start, a, z, vec![0; 20]);
            let bytes = net.recv(start).unwrap().payload;
            assert_eq!(bytes.iter().map(|b| b.count_ones()).sum::<u32>(), 1);
        }
        net.send(start, a, z, vec![]);
        assert_eq!(net.recv(start).unwrap().payload, Vec::<u8>::new());
        assert_eq!(net.stats(a.ip(), z.ip()).corrupted, 50);
    }

    #[test]
    fn datagrams_above_the_mtu_disappear() {
        let at = LinkConfig { mtu: 1000, ..LinkConfig::default() };
        assert_eq!(run(1, at, 10, MS).1.delivered, 10);
        assert_eq!(run(1, LinkConfig { mtu: 999, ..at }, 10, MS).1.too_big, 10);
    }

    #[test]
    fn a_filter_drops_the_datagram_that_a_test_names_in_one_direction() {
        let start = Instant::now();
        let (a, z) = addresses();
        let mut net = Net::new(1, start);
        let mut seen = 0;
        net.set_filter(move |_, datagram: &Datagram| {
            seen += usize::from(datagram.src == a);
            datagram.src != a || seen != 2
        });
        for n in 0..4 {
            net.send(start, a, z, vec![n]);
            net.send(start, z, a, vec![n]);
        }
        net.clear_filter();
        let arrived: Vec<_> = std::iter::from_fn(|| net.recv(start)).collect();
        let to = |dst| arrived.iter().filter(|d| d.dst == dst).map(|d| d.payload[0]).collect::<Vec<_>>();
        assert_eq!((to(z), to(a)), (vec![0, 2, 3], vec![0, 1, 2, 3]));
        assert_eq!(net.stats(a.ip(), z.ip()).filtered, 1);
    }

    #[test]
    fn a_link_can_be_cut_and_mended_while_datagrams_are_on_it() {
        let start = Instant::now();
        let (a, z) = addresses();
        let good = LinkConfig { delay: 10 * MS, ..LinkConfig::default() };
        let mut net = Net::new(1, start);
        net.set_link(a.ip(), z.ip(), good);
        net.send(start, a, z, vec![1]);
        net.set_one_way(a.ip(), z.ip(), LinkConfig { loss: Loss::Bernoulli(1.0), ..good });
        net.send(start, a, z, vec![2]);
        net.send(start, z, a, vec![3]);
        net.set_link(a.ip(), z.ip(), good);
        net.send(start, a, z, vec![4]);
        let arrived: Vec<_> =
            std::iter::from_fn(|| net.recv(start + 10 * MS)).map(|d| d.payload[0]).collect();
        assert_eq!(arrived, [1, 3, 4]);
    }
}
