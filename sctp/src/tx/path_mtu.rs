//! How large packets may be: the search of RFC 8899 (DPLPMTUD), with HEARTBEAT and PAD as probes (§6.2).
//!
//! ```text
//!                base probe acked, or a packet of its size                 nothing left to try
//!  start ─► Base ─────────────────────────────────────────► Searching ────────────────────────► Complete
//!            │ ▲                                             ▲  │ ▲                              │  │
//!   not even │ └──────────── black hole: back to base ───────┼──┴─┼──────────────────────────────┼──┘
//!   this size│                 base probe acked              │    └── 600 s later, with new data ┘
//!   arrives  └──────────► Error ─────────────────────────────┘
//! ```
//!
//! - Sizes are those of common links ([`LINKS`]), Ethernet's first, then the largest allowed, then by halves
//!   between what passed and what did not. A size is given up after [`MAX_PROBES`] lost probes; a probe is
//!   lost when nothing has come back for a second or an RTO. Its loss says nothing about congestion.
//! - Probes go out one at a time, right after the handshake and later only along with data: no timer runs in
//!   `Complete`, and the raise timer is a time that is looked at when data is sent.
//! - **A chunk that was cut can't be cut again** (RFC 9260 §6.9), and below us nothing can be fragmented:
//!   the datagrams of DTLS have DF set. So chunks are never cut longer than what the base size has room
//!   for; a larger packet carries several. Whatever becomes of the path, all that is outstanding can be
//!   sent again in packets of the base size. That costs a chunk header a kilobyte, one percent. Until the base
//!   size itself has been seen to arrive, chunks are cut for the smallest size.
//! - **Black hole** (§4.3): packets above the base size no longer arrive. The evidence is T3 with such packets in
//!   flight, or [`MAX_LARGE_LOST`] of them lost in a row while something smaller arrived. The size falls to
//!   the base at once; as soon as the peer acknowledges anything, the size from before is probed first, so that
//!   an outage that was none of the size's fault costs a round trip at the base size, and then what is below it.

use std::time::{Duration, Instant};

use crate::config::Config;
use crate::stats::Stats;
use crate::wire::packet::HEADER_LEN;

/// Largest IP packets of common links: tunnels, WireGuard (1420), PPPoE (1492), Ethernet, and large frames.
const LINKS: [usize; 12] = [1350, 1380, 1400, 1420, 1440, 1460, 1480, 1492, ETHERNET, 4000, 8000, 9000];

/// What most paths have.
const ETHERNET: usize = 1500;

/// What goes around an SCTP packet at most: IPv6, UDP, and a DTLS record with its nonce and tag.
const AROUND: usize = 40 + 8 + 13 + 8 + 16;

/// A size must be this many percent of the base to be worth the chunk header that a second chunk costs.
const MIN_GAIN: usize = 105;

/// Probes of one size before it is taken for too large (RFC 8899 §5.1.2).
const MAX_PROBES: u8 = 3;

/// A probe's answer is waited for as long at least (RFC 8899 §5.1.1: not below one second).
const PROBE_TIMER: Duration = Duration::from_secs(1);

/// How long a size is kept before larger ones are tried again (RFC 8899 §5.1.1).
const PMTU_RAISE_TIMER: Duration = Duration::from_secs(600);

/// Packets above the base size that may be lost in a row while smaller ones arrive.
pub(crate) const MAX_LARGE_LOST: u32 = 3;

/// RFC 8899 §5.2.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum State {
    /// Off, or not connected yet: the size is the base.
    Disabled,
    /// The base size is used, and a probe of it is under way or was not answered.
    Base,
    Searching,
    Complete,
    /// Not even the base size arrives: the smallest is used.
    Error,
}

/// A size that is being probed.
#[derive(Clone, Copy, Debug)]
struct Probe {
    size: usize,
    /// What all probes of this size say, so that a late answer counts, too.
    nonce: u64,
    /// Probes sent, and when the last was.
    sent: u8,
    last_sent: Option<Instant>,
    /// Until then an answer is waited for; `None` when the next one is to be sent.
    deadline: Option<Instant>,
}

/// What [`PathMtu::on_ack`] found.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum ProbeAck {
    /// It answers no probe that is out.
    Unknown,
    /// It does. With the round trip, if it is clear which probe it answers.
    Passed(Option<Duration>),
}

/// The search on one path. Sizes are those of SCTP packets, in bytes, multiples of four.
#[derive(Clone, Debug)]
pub(crate) struct PathMtu {
    min: usize,
    base: usize,
    max: usize,
    state: State,
    /// The size in use (PLPMTU).
    size: usize,
    /// The base size has been seen to arrive.
    confirmed: bool,
    /// The smallest size that was found too large.
    too_large: usize,
    probe: Option<Probe>,
    /// The size before a black hole: to be probed first.
    before: Option<usize>,
    /// The next probe waits until the peer has acknowledged something.
    awaits_progress: bool,
    raise_at: Option<Instant>,
    probes_sent: u64,
    probes_lost: u64,
    black_holes: u64,
}

impl PathMtu {
    pub(crate) fn new(config: &Config) -> Self {
        let base = config.mtu & !3;
        Self {
            min: config.min_mtu.min(base) & !3,
            base,
            max: config.max_mtu.max(base) & !3,
            state: State::Disabled,
            size: base,
            confirmed: true,
            too_large: usize::MAX,
            probe: None,
            before: None,
            awaits_progress: false,
            raise_at: None,
            probes_sent: 0,
            probes_lost: 0,
            black_holes: 0,
        }
    }

    /// The largest packet to be made now.
    #[inline]
    pub(crate) fn size(&self) -> usize {
        self.size
    }

    /// The size that packets are taken to arrive with, come what may.
    #[inline]
    pub(crate) fn floor(&self) -> usize {
        if self.confirmed { self.base } else { self.min }
    }

    /// The longest chunk to be cut now, header included.
    #[inline]
    pub(crate) fn longest_chunk(&self) -> usize {
        self.floor().saturating_sub(HEADER_LEN)
    }

    /// The base size, which all chunks fit.
    pub(crate) fn base(&self) -> usize {
        self.base
    }

    /// Whether the path is probed at all.
    fn is_on(&self) -> bool {
        self.max > self.base
    }

    /// The handshake is done, or the path is another one: everything has to be found out.
    pub(crate) fn start(&mut self) {
        if !self.is_on() {
            return;
        }
        self.state = State::Base;
        self.size = self.base;
        self.confirmed = self.min == self.base;
        self.too_large = usize::MAX;
        self.before = None;
        self.awaits_progress = false;
        self.raise_at = None;
        self.probe = Some(Probe::of(self.base));
    }

    /// The path is another one. What is outstanding was cut for the base size, if that was known to arrive, and can't be cut
    /// again: the base stays the least, or nothing of it could be sent.
    pub(crate) fn start_over(&mut self) {
        let confirmed = self.confirmed && self.state != State::Disabled;
        self.start();
        self.confirmed |= confirmed;
    }

    /// The end.
    pub(crate) fn stop(&mut self) {
        self.state = State::Disabled;
        self.probe = None;
        self.raise_at = None;
    }

    /// The size of the probe that is to be sent now.
    #[inline]
    pub(crate) fn due(&self) -> Option<usize> {
        self.probe.filter(|probe| probe.deadline.is_none()).map(|probe| probe.size)
    }

    /// What the probe that is due says: its nonce, which is `fresh` for the first of its size. It is being sent.
    pub(crate) fn send(&mut self, now: Instant, rto: Duration, fresh: u64) -> u64 {
        let Some(probe) = &mut self.probe else { return fresh };
        if probe.sent == 0 {
            probe.nonce = fresh;
        }
        probe.sent += 1;
        probe.last_sent = Some(now);
        probe.deadline = Some(now + PROBE_TIMER.max(rto));
        self.probes_sent += 1;
        probe.nonce
    }

    /// When [`on_timeout`](Self::on_timeout) has something to do. None in `Complete`.
    pub(crate) fn deadline(&self) -> Option<Instant> {
        self.probe?.deadline
    }

    /// The probe timer.
    pub(crate) fn on_timeout(&mut self, now: Instant) {
        let Some(probe) = &mut self.probe else { return };
        if probe.deadline.is_none_or(|deadline| deadline > now) {
            return;
        }
        probe.deadline = None;
        self.probes_lost += 1;
        if probe.sent >= MAX_PROBES {
            let size = probe.size;
            self.give_up(now, size);
        }
    }

    /// This size does not pass.
    fn give_up(&mut self, now: Instant, size: usize) {
        tracing::debug!(size, "packets of this size get no answer");
        self.probe = None;
        match self.state {
            State::Searching => {
                self.too_large = self.too_large.min(size);
                self.search(now);
            }
            // The base size may pass for all that: the peer may not answer HEARTBEATs. Nothing larger is tried
            // for a while.
            State::Base if self.confirmed => self.complete(now),
            _ => self.raise_at = now.checked_add(PMTU_RAISE_TIMER),
        }
    }

    /// A HEARTBEAT ACK with this nonce and size.
    pub(crate) fn on_ack(&mut self, now: Instant, nonce: u64, size: usize) -> ProbeAck {
        let Some(probe) = self.probe.filter(|probe| probe.sent > 0) else { return ProbeAck::Unknown };
        if probe.nonce != nonce || probe.size != size {
            return ProbeAck::Unknown;
        }
        tracing::debug!(size, "packets of this size arrive");
        self.probe = None;
        self.confirmed = true;
        self.size = self.size.max(size);
        self.search(now);
        // Of several probes it may be the answer to any.
        let sent = probe.last_sent.filter(|_| probe.sent == 1);
        ProbeAck::Passed(sent.map(|sent| now.saturating_duration_since(sent)))
    }

    /// The next size to try, or the end of the search.
    fn search(&mut self, now: Instant) {
        match self.next_size() {
            Some(size) => {
                self.state = State::Searching;
                self.probe = Some(Probe::of(size));
            }
            None => self.complete(now),
        }
    }

    fn complete(&mut self, now: Instant) {
        self.state = State::Complete;
        let more = self.size < self.max;
        self.raise_at = if more { now.checked_add(PMTU_RAISE_TIMER) } else { None };
    }

    fn next_size(&mut self) -> Option<usize> {
        let worth_it = self.size.max(self.base * MIN_GAIN / 100);
        let fits = |&size: &usize| size > worth_it && size < self.too_large && size <= self.max;
        if let Some(before) = self.before.take().filter(fits) {
            return Some(before);
        }
        let packet = |link: usize| link.saturating_sub(AROUND) & !3;
        if self.too_large == usize::MAX {
            return Some(packet(ETHERNET)).filter(fits).or(Some(self.max).filter(fits));
        }
        // The largest allowed is no link's: it comes after all of them.
        let sizes =
            || LINKS.into_iter().map(packet).filter(|&size| size < self.max).chain([self.max]).filter(fits);
        sizes().nth(sizes().count().checked_sub(1)? / 2)
    }

    /// Data is being sent: the occasion to try again what was too large long ago.
    #[inline]
    pub(crate) fn on_data_sent(&mut self, now: Instant) {
        if self.raise_at.is_some_and(|at| at <= now) {
            self.raise_at = None;
            self.too_large = usize::MAX;
            match self.state {
                State::Base | State::Error => self.probe = Some(Probe::of(self.base)),
                State::Complete => self.search(now),
                State::Disabled | State::Searching => {}
            }
        }
    }

    /// The peer has acknowledged data.
    #[inline]
    pub(crate) fn on_progress(&mut self, now: Instant) {
        if !std::mem::take(&mut self.awaits_progress) {
            return;
        }
        match self.state {
            State::Base => self.search(now),
            State::Error => self.probe = Some(Probe::of(self.base)),
            State::Disabled | State::Searching | State::Complete => {}
        }
    }

    /// A packet larger than the floor has arrived.
    #[inline]
    pub(crate) fn on_large_acked(&mut self) {
        self.confirmed = true;
    }

    /// Packets larger than the floor don't arrive any more.
    pub(crate) fn on_black_hole(&mut self) {
        let floor = self.floor();
        if self.state == State::Disabled || self.size <= floor {
            return;
        }
        tracing::debug!(size = self.size, floor, "black hole: packets above the base size don't arrive");
        self.black_holes += 1;
        if self.confirmed {
            self.state = State::Base;
            self.before = Some(self.size);
        } else {
            self.state = State::Error;
        }
        self.size = floor;
        self.too_large = usize::MAX;
        self.probe = None;
        self.raise_at = None;
        self.awaits_progress = true;
    }

    /// The system refuses to send packets of this size: the first link is too small for them.
    pub(crate) fn on_refused(&mut self, now: Instant, size: usize) {
        if self.probe.is_some_and(|probe| probe.size == size && probe.deadline.is_some()) {
            self.probes_lost += 1;
            self.give_up(now, size);
        } else if size <= self.size {
            let was = self.size;
            self.on_black_hole();
            if self.size < was {
                self.too_large = size;
            }
        }
    }

    /// Whether the search has come to a stop without an end: what must never be.
    pub(crate) fn is_stalled(&self) -> bool {
        self.state == State::Searching && self.probe.is_none()
    }

    /// Puts the size and the counters into the statistics.
    pub(crate) fn fill_stats(&self, stats: &mut Stats) {
        stats.packet_size = self.size;
        stats.size_probes_sent = self.probes_sent;
        stats.size_probes_lost = self.probes_lost;
        stats.black_holes = self.black_holes;
    }
}

impl Probe {
    fn of(size: usize) -> Self {
        Self { size, nonce: 0, sent: 0, last_sent: None, deadline: None }
    }
}
