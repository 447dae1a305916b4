//! One direction between two addresses: what happens to a datagram on it, and when it comes out.
//!
//! In order: too big for the MTU → dropped; no room in the queue → dropped; it takes its time at the bottleneck (so
//! lost datagrams have used it, too); lost → dropped; corrupted; delayed; maybe twice.

use std::time::{Duration, Instant};

use rand::rngs::Xoshiro256PlusPlus;
use rand::{RngExt, SeedableRng};

/// Bytes that UDP and IPv4 add to a payload; they count for rate and queue.
pub const HEADERS: usize = 28;

/// How a direction behaves. The default is a perfect wire: no delay, no limit, no loss.
///
/// Probabilities are from 0 to 1; what is outside is taken as the nearer end.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct LinkConfig {
    /// Time from end to end, without queueing.
    pub delay: Duration,
    /// Up to so much more, evenly spread. It does not reorder: a datagram waits for the one before it.
    pub jitter: Duration,
    /// Bottleneck in bits a second; `None` is without limit. 0 lets nothing through.
    pub rate: Option<u64>,
    /// Bytes that may wait for the bottleneck, headers included; what comes then is dropped (tail drop). Without a rate
    /// nothing waits.
    pub queue: usize,
    /// Which datagrams get lost.
    pub loss: Loss,
    /// Probability that a datagram is held back by [`LinkConfig::reorder_delay`], so that later ones overtake it.
    pub reorder: f64,
    /// How long such a datagram is held back.
    pub reorder_delay: Duration,
    /// Probability that a datagram comes twice.
    pub duplicate: f64,
    /// Probability that one bit of a datagram is flipped.
    pub corrupt: f64,
    /// Largest datagram, headers included, that passes; larger ones disappear without a word.
    pub mtu: usize,
}

impl Default for LinkConfig {
    fn default() -> Self {
        Self {
            delay: Duration::ZERO,
            jitter: Duration::ZERO,
            rate: None,
            queue: usize::MAX,
            loss: Loss::None,
            reorder: 0.0,
            reorder_delay: Duration::ZERO,
            duplicate: 0.0,
            corrupt: 0.0,
            mtu: usize::MAX,
        }
    }
}

impl LinkConfig {
    /// With a queue of so many bandwidth-delay products (rate × twice the delay). Without a rate nothing changes.
    pub fn with_queue_of_bdp(mut self, factor: f64) -> Self {
        if let Some(rate) = self.rate {
            // The cast saturates.
            self.queue = (rate as f64 / 8.0 * 2.0 * self.delay.as_secs_f64() * factor) as usize;
        }
        self
    }
}

/// Which datagrams get lost.
#[derive(Clone, Copy, PartialEq, Debug)]
pub enum Loss {
    /// None.
    None,
    /// Each with this probability, whatever happened to others. 1.0 is a black hole.
    Bernoulli(f64),
    /// In bursts (Gilbert's model): while the link is bad, all get lost. On average a burst has `1 / leave` datagrams
    /// and the share of lost ones is `enter / (enter + leave)`.
    Burst {
        /// Probability, at each datagram, that a good link turns bad.
        enter: f64,
        /// Probability, at each datagram, that a bad link turns good.
        leave: f64,
    },
}

/// What happened on a direction so far, in datagrams if not said otherwise.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub struct LinkStats {
    /// Handed to the link.
    pub sent: u64,
    /// Bytes of them, without headers.
    pub sent_bytes: u64,
    /// Taken out at the other end, second copies included.
    pub delivered: u64,
    /// Bytes of them, without headers.
    pub delivered_bytes: u64,
    /// Lost by [`LinkConfig::loss`].
    pub lost: u64,
    /// Dropped by the filter of the network.
    pub filtered: u64,
    /// Dropped because the queue was full.
    pub queue_full: u64,
    /// Dropped because of the MTU.
    pub too_big: u64,
    /// Held back to be overtaken.
    pub reordered: u64,
    /// Doubled.
    pub duplicated: u64,
    /// Delivered with a bit flipped.
    pub corrupted: u64,
}

/// A direction and its state.
#[derive(Debug)]
pub(crate) struct Link {
    pub(crate) config: LinkConfig,
    pub(crate) stats: LinkStats,
    rng: Xoshiro256PlusPlus,
    /// When the bottleneck has sent all that waits.
    busy_until: Instant,
    /// Before this no datagram that keeps its order arrives.
    last_arrival: Instant,
    bad: bool,
}

/// What becomes of a datagram that gets through.
#[derive(Debug)]
pub(crate) struct Passage {
    pub(crate) at: Instant,
    /// When the second copy comes, if there is one.
    pub(crate) copy: Option<Instant>,
    /// Which bit is flipped.
    pub(crate) flip: Option<usize>,
}

impl Link {
    pub(crate) fn new(config: LinkConfig, seed: u64, start: Instant) -> Self {
        let rng = Xoshiro256PlusPlus::seed_from_u64(seed);
        let stats = LinkStats::default();
        Self { config, stats, rng, busy_until: start, last_arrival: start, bad: false }
    }

    /// Takes a datagram of so many bytes; `None` if it does not arrive.
    pub(crate) fn pass(&mut self, now: Instant, size: usize) -> Option<Passage> {
        self.stats.sent += 1;
        self.stats.sent_bytes += size as u64;
        let wire = size.saturating_add(HEADERS);
        if wire > self.config.mtu {
            self.stats.too_big += 1;
            return None;
        }
        let Some(departure) = self.enqueue(now, wire) else {
            self.stats.queue_full += 1;
            return None;
        };
        if self.loses() {
            self.stats.lost += 1;
            return None;
        }
        let flip = (self.chance(self.config.corrupt) && size > 0).then(|| {
            self.stats.corrupted += 1;
            self.rng.random_range(0..size * 8)
        });
        let at = self.arrival(departure);
        let copy = self.chance(self.config.duplicate).then(|| {
            self.stats.duplicated += 1;
            self.arrival(departure)
        });
        Some(Passage { at, copy, flip })
    }

    /// When the datagram has left the bottleneck; `None` if there is no room for it to wait.
    fn enqueue(&mut self, now: Instant, wire: usize) -> Option<Instant> {
        let Some(rate) = self.config.rate else { return Some(now) };
        if rate == 0 {
            return None;
        }
        let rate = rate as f64;
        let waits = self.backlog(now);
        let waiting = waits.as_secs_f64() * rate / 8.0;
        // An idle bottleneck takes a datagram whatever the queue is: that one does not wait.
        if !waits.is_zero() && waiting + wire as f64 > self.config.queue as f64 {
            return None;
        }
        let takes = Duration::from_secs_f64(wire as f64 * 8.0 / rate);
        self.busy_until = now + waits + takes;
        Some(self.busy_until)
    }

    /// How long what waits takes to pass.
    pub(crate) fn backlog(&self, now: Instant) -> Duration {
        self.busy_until.saturating_duration_since(now)
    }

    fn loses(&mut self) -> bool {
        match self.config.loss {
            Loss::None => false,
            Loss::Bernoulli(p) => self.chance(p),
            Loss::Burst { enter, leave } => {
                if self.chance(if self.bad { leave } else { enter }) {
                    self.bad = !self.bad;
                }
                self.bad
            }
        }
    }

    fn arrival(&mut self, departure: Instant) -> Instant {
        let jitter = self.config.jitter.mul_f64(self.rng.random::<f64>());
        let at = (departure + self.config.delay + jitter).max(self.last_arrival);
        if self.chance(self.config.reorder) {
            self.stats.reordered += 1;
            return at + self.config.reorder_delay;
        }
        self.last_arrival = at;
        at
    }

    fn chance(&mut self, p: f64) -> bool {
        // One draw whatever `p` is, so that a change of one setting leaves the others' dice alone.
        self.rng.random::<f64>() < p
    }
}
