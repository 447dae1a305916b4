//! How large the receive buffer is, and what of it is advertised as `a_rwnd` (RFC 9260 §6.2).
//!
//! The buffer starts small and grows up to the cap of the settings, never shrinks, and grows for two reasons only:
//!
//! - **The application reads.** What comes and is read in a round trip is what the path delivers; twice that lets the
//!   sender go on while a loss is repaired. While it grows from round to round the sender is in slow start, and
//!   gets room for the next doubling, and the one after. An application that does not read keeps the buffer at
//!   its size.
//! - **What has arrived can't be read yet**: parts of messages, and messages that wait for an earlier one. That is
//!   not the application's doing, so the buffer is at least twice as large.
//!
//! The round trip is measured with HEARTBEATs, since who only receives measures nothing otherwise.
//!
//! The advertised window never goes back but by what has come in, and goes up in steps worth a packet (RFC 1122
//! §4.2.3.3), so that no silly window arises.
//!
//! What comes faster than we take it queues up in the socket's buffer. The round trip grows by that, and with it the buffer, though it helps
//! nobody. So the owner can say how much room there is ([`ReceiveWindow::set_queue`]), and no more is advertised.

use std::time::{Duration, Instant};

/// The share of the buffer that must have come in before the round trip is measured at all. Who receives less
/// never needs to know.
const MEASURED_FROM: usize = 32;

/// How long a measurement of the round trip is good.
const MEASUREMENT_LIFE: Duration = Duration::from_secs(1);

/// How long a measurement is waited for.
const MEASUREMENT_TIMEOUT: Duration = Duration::from_secs(3);

/// What is taken for the round trip of a peer that answers no HEARTBEAT: too long rather than too short.
const ASSUMED_RTT: Duration = Duration::from_millis(300);

/// The least room for what waits for us: two batches of datagrams.
const MIN_QUEUE: usize = 128 * 1024;

/// The receive buffer's size, and the window in it.
#[derive(Debug)]
pub(crate) struct ReceiveWindow {
    size: usize,
    cap: usize,
    mtu: usize,
    /// What the peer may still send by the last SACK.
    promised: usize,
    rtt: Option<Duration>,
    /// How much has room where it waits for us.
    queue: usize,
    /// When the round trip was last asked for, and whether there was an answer.
    asked: Option<(Instant, bool)>,
    /// What the application has read since the round trip was last asked for.
    read_since_asked: usize,
    round_began: Option<Instant>,
    /// What has come in this round, and what the application has read.
    arrived: usize,
    read: usize,
    /// The lesser of both in the best round before.
    best: usize,
}

impl ReceiveWindow {
    pub(crate) fn new(initial: usize, cap: usize, mtu: usize) -> Self {
        let size = initial.min(cap);
        Self {
            size,
            cap,
            mtu,
            promised: size,
            rtt: None,
            queue: usize::MAX,
            asked: None,
            read_since_asked: 0,
            round_began: None,
            arrived: 0,
            read: 0,
            best: 0,
        }
    }

    /// The buffer's size now.
    #[inline]
    pub(crate) fn size(&self) -> usize {
        self.size
    }

    /// What it can become.
    pub(crate) fn cap(&self) -> usize {
        self.cap
    }

    /// What may be advertised beside what is held.
    pub(crate) fn open(&self, held: usize) -> usize {
        self.free(held).min(self.queue)
    }

    /// The room beside what is held.
    pub(crate) fn free(&self, held: usize) -> usize {
        self.size.saturating_sub(held)
    }

    /// So much may wait for us before it is given to us, and no more is advertised.
    #[inline]
    pub(crate) fn set_queue(&mut self, bytes: usize) {
        self.queue = bytes.max(MIN_QUEUE);
    }

    /// The most that may be advertised.
    fn most(&self) -> usize {
        self.size.min(self.queue)
    }

    /// So much payload has come in, and takes about so much.
    #[inline]
    pub(crate) fn received(&mut self, payload: usize, charge: usize) {
        self.promised = self.promised.saturating_sub(payload);
        // At the cap nobody takes them back.
        self.arrived = self.arrived.saturating_add(charge);
    }

    /// The application has taken so much out of the buffer.
    #[inline]
    pub(crate) fn read(&mut self, bytes: usize) {
        self.read = self.read.saturating_add(bytes);
    }

    /// The value for a SACK that is being written.
    pub(crate) fn advertise(&mut self, held: usize) -> usize {
        let free = self.free(held);
        let step = self.mtu.min(self.size / 2);
        let open = self.open(held);
        if free < self.promised {
            self.promised = free;
        } else if open >= self.promised.saturating_add(step) {
            self.promised = open;
        }
        self.promised
    }

    /// Whether the window has opened so far since the peer last heard of it that it should hear again: by a
    /// quarter, or by a sixteenth and two packets when it was closed.
    pub(crate) fn owes_update(&self, held: usize) -> bool {
        let opened = self.open(held).saturating_sub(self.promised);
        let quarter = self.most() / 4;
        let enough = if self.promised < self.mtu {
            quarter.min((self.most() / 16).max(2 * self.mtu))
        } else {
            quarter
        };
        opened >= enough.max(1)
    }

    /// A packet has been taken in; `unreadable` is what the application could not read if it wanted to.
    #[inline]
    pub(crate) fn adjust(&mut self, now: Instant, unreadable: usize) {
        if self.size == self.cap {
            return;
        }
        self.grow(unreadable.saturating_mul(2));
        let (Some(rtt), Some(began)) = (self.rtt, self.round_began) else {
            self.round_began = Some(now);
            return;
        };
        if now.saturating_duration_since(began) < rtt {
            return;
        }
        self.round_began = Some(now);
        let read = std::mem::take(&mut self.read);
        self.read_since_asked = self.read_since_asked.saturating_add(read);
        // What was held up by a loss is read at once, and is no faster path.
        let read = read.min(std::mem::take(&mut self.arrived));
        if read > self.best {
            self.grow(read.saturating_mul(2).saturating_add((read - self.best).saturating_mul(4)));
            self.best = read;
        }
    }

    fn grow(&mut self, size: usize) {
        self.size = self.size.max(size.min(self.cap));
    }

    /// Whether to ask for the round trip now. Asking takes it back.
    #[inline]
    pub(crate) fn wants_rtt(&mut self, now: Instant) -> bool {
        if self.size == self.cap
            || self.read_since_asked.saturating_add(self.read) < self.size / MEASURED_FROM
        {
            return false;
        }
        let due = self.asked.is_none_or(|(at, answered)| {
            let life = if answered { MEASUREMENT_LIFE } else { MEASUREMENT_TIMEOUT };
            now.saturating_duration_since(at) >= life
        });
        if due {
            if self.asked.is_some() && self.rtt.is_none() {
                self.rtt = Some(ASSUMED_RTT);
            }
            self.asked = Some((now, false));
            self.read_since_asked = 0;
        }
        due
    }

    /// The round trip has been measured.
    pub(crate) fn measured(&mut self, rtt: Duration) {
        if self.rtt.is_none() {
            // What has been read before is of no known time.
            self.round_began = None;
            (self.read, self.arrived) = (0, 0);
        }
        self.rtt = Some(rtt);
        if let Some((_, answered)) = &mut self.asked {
            *answered = true;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tests::{base, ms};

    const KIB: usize = 1024;

    fn window(initial: usize, cap: usize) -> ReceiveWindow {
        ReceiveWindow::new(initial * KIB, cap * KIB, 1160)
    }

    /// Rounds of `rtt` in which so many KiB are read each.
    fn rounds(window: &mut ReceiveWindow, now: &mut Instant, rtt: Duration, reads: &[usize]) -> Vec<usize> {
        let mut sizes = Vec::new();
        for read in reads {
            window.received(0, 1000 * KIB);
            window.read(read * KIB);
            *now += rtt;
            window.adjust(*now, 0);
            sizes.push(window.size() / KIB);
        }
        sizes
    }

    #[test]
    fn the_buffer_keeps_ahead_of_slow_start_and_settles_at_twice_what_is_read_in_a_round_trip() {
        let (mut window, mut now) = (window(64, 100_000), base());
        window.measured(ms(100));
        window.adjust(now, 0);
        let sizes = rounds(&mut window, &mut now, ms(100), &[16, 32, 64, 128, 256, 256, 256]);
        for (size, read) in sizes.iter().zip([16, 32, 64, 128, 256]) {
            assert!(*size >= 4 * read, "two doublings are to come: {sizes:?}");
        }
        assert!(sizes[6] == sizes[4] && sizes[6] <= 8 * 256, "{sizes:?}");
        let mut steady = self::window(64, 100_000);
        steady.measured(ms(100));
        steady.adjust(now, 0);
        let sizes = rounds(&mut steady, &mut now, ms(100), &[100, 110, 100, 110]);
        assert_eq!(sizes, [600, 600, 600, 600], "the first round seems to begin at nothing");
    }

    #[test]
    fn reading_slowly_or_not_at_all_grows_nothing_and_what_can_not_be_read_does() {
        let (mut window, mut now) = (window(64, 1000), base());
        window.measured(ms(10));
        assert_eq!(rounds(&mut window, &mut now, ms(10), &[0, 0, 8, 8, 8, 0]), [64; 6]);
        window.adjust(now, 20 * KIB);
        assert_eq!(window.size(), 64 * KIB);
        window.adjust(now, 60 * KIB);
        assert_eq!(window.size(), 120 * KIB);
        window.adjust(now, 5000 * KIB);
        assert_eq!(window.size(), 1000 * KIB, "the cap");
        window.adjust(now, 0);
        assert_eq!(window.size(), 1000 * KIB, "and never less");
    }

    #[test]
    fn what_is_read_at_once_after_a_loss_counts_for_one_round() {
        let (mut window, mut now) = (window(64, 1000), base());
        window.measured(ms(10));
        window.adjust(now, 0);
        for read in [0, 300 * KIB] {
            window.received(10 * KIB, 10 * KIB);
            window.read(read);
            now += ms(10);
            window.adjust(now, 0);
        }
        assert_eq!(window.size(), 64 * KIB);
    }

    #[test]
    fn the_round_trip_is_asked_for_when_much_is_read_and_the_last_answer_is_old() {
        let (mut window, mut now) = (window(64, 1000), base());
        window.read(KIB);
        assert!(!window.wants_rtt(now));
        window.read(KIB);
        assert!(window.wants_rtt(now) && !window.wants_rtt(now));
        window.read(8 * KIB);
        now += ms(2999);
        assert!(!window.wants_rtt(now), "there may be an answer yet");
        now += ms(1);
        assert!(window.wants_rtt(now));
        assert_eq!(window.rtt, Some(ASSUMED_RTT));
        window.measured(ms(50));
        assert_eq!(window.rtt, Some(ms(50)));
        window.read(8 * KIB);
        now += ms(999);
        assert!(!window.wants_rtt(now));
        now += ms(1);
        assert!(window.wants_rtt(now));
        window.adjust(now, 1000 * KIB);
        now += ms(5000);
        window.read(1000 * KIB);
        assert!(!window.wants_rtt(now), "it can't grow any more");
    }

    #[test]
    fn no_more_is_advertised_than_has_room_before_us_and_what_was_promised_stays_so() {
        let mut window = window(1000, 1000);
        window.set_queue(400 * KIB);
        assert_eq!(window.advertise(0), 1000 * KIB, "promised");
        window.received(700 * KIB, 0);
        assert_eq!(window.advertise(700 * KIB), 300 * KIB);
        assert!(!window.owes_update(610 * KIB));
        assert!(window.owes_update(0), "a quarter of 400 KiB has become free");
        assert_eq!(window.advertise(0), 400 * KIB);
        assert_eq!(window.advertise(900 * KIB), 100 * KIB, "and no more than the buffer has room for");
        window.set_queue(usize::MAX);
        assert_eq!(window.advertise(0), 1000 * KIB);
        window.set_queue(0);
        window.received(1000 * KIB, 0);
        assert_eq!(window.advertise(0), MIN_QUEUE);
    }

    #[test]
    fn the_window_goes_up_by_packets_and_down_by_what_comes_only() {
        let mut window = window(64, 64);
        assert_eq!(window.advertise(0), 64 * KIB);
        window.received(1000, 0);
        assert_eq!(window.advertise(1000), 64 * KIB - 1000);
        assert_eq!(window.advertise(0), 64 * KIB - 1000, "1000 bytes are less than a packet");
        window.received(160, 0);
        assert_eq!(window.advertise(0), 64 * KIB);
        // What is kept takes more than its payload.
        window.received(1, 0);
        assert_eq!(window.advertise(200), 64 * KIB - 200);
    }

    #[test]
    fn the_peer_hears_of_a_quarter_and_of_less_when_it_was_shut_out() {
        let mut window = window(64, 64);
        window.received(32 * KIB, 0);
        assert_eq!(window.advertise(32 * KIB), 32 * KIB);
        assert!(!window.owes_update(17 * KIB) && window.owes_update(16 * KIB));
        window.received(32 * KIB, 0);
        assert_eq!(window.advertise(64 * KIB), 0);
        assert!(!window.owes_update(61 * KIB) && window.owes_update(60 * KIB));
    }
}
