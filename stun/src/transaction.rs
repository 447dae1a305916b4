//! A client transaction: when a request is sent, sent again, given up (RFC 8489 §6.2.1).
//!
//! ```text
//!  send 1 ─RTO─ send 2 ─2·RTO─ send 3 ─4·RTO─ … send Rc ─Rm·RTO─ expired
//! ```

use std::time::{Duration, Instant};

use crate::TransactionId;

/// The schedule of a transaction.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Retransmission {
    /// Time between the first and the second send; doubled after each.
    pub rto: Duration,
    /// Rc: sends in all. RFC 8489 says 7.
    pub max_sends: u8,
    /// Rm: how many times `rto` to wait after the last send. RFC 8489 says 16.
    pub last_wait: u32,
}

impl Default for Retransmission {
    /// RFC 8489 §6.2.1: 500 ms, 7 sends, 16 times.
    fn default() -> Self {
        Self { rto: Duration::from_millis(500), max_sends: 7, last_wait: 16 }
    }
}

/// One request under way. Says when, never sends.
#[derive(Clone, Debug)]
pub struct Transaction {
    id: TransactionId,
    schedule: Retransmission,
    sends: u8,
    first_sent: Instant,
    deadline: Instant,
    silent: bool,
}

impl Transaction {
    /// A transaction whose first send is `now`; the caller sends it.
    pub fn new(id: TransactionId, schedule: Retransmission, now: Instant) -> Self {
        let mut transaction = Self { id, schedule, sends: 1, first_sent: now, deadline: now, silent: false };
        transaction.deadline = transaction.after(now);
        transaction
    }

    /// When the send made at `now` is followed by the next thing to do.
    fn after(&self, now: Instant) -> Instant {
        let factor = if self.sends >= self.schedule.max_sends {
            self.schedule.last_wait
        } else {
            1 << u32::from(self.sends.saturating_sub(1)).min(16)
        };
        // A schedule of absurd length ends at once rather than never.
        self.schedule.rto.checked_mul(factor).and_then(|wait| now.checked_add(wait)).unwrap_or(now)
    }

    /// Which one.
    pub fn id(&self) -> TransactionId {
        self.id
    }

    /// When to call [`handle_timeout`](Self::handle_timeout).
    pub fn deadline(&self) -> Instant {
        self.deadline
    }

    /// When it was sent first.
    pub fn first_sent(&self) -> Instant {
        self.first_sent
    }

    /// Sends so far.
    pub fn sends(&self) -> u8 {
        self.sends
    }

    /// True when the request is to be sent once more now. However late the call, it is one send, and the next
    /// deadline is counted from now.
    pub fn handle_timeout(&mut self, now: Instant) -> bool {
        if now < self.deadline || self.silent || self.sends >= self.schedule.max_sends {
            return false;
        }
        self.sends += 1;
        self.deadline = self.after(now);
        true
    }

    /// Whether no answer is waited for any more.
    pub fn is_expired(&self, now: Instant) -> bool {
        now >= self.deadline && (self.silent || self.sends >= self.schedule.max_sends)
    }

    /// Sends no more, but still takes an answer for as long as it would have waited (RFC 8445 §7.3.1.4).
    pub fn stop_sending(&mut self, now: Instant) {
        if !self.silent {
            self.silent = true;
            let wait = self.schedule.rto.checked_mul(self.schedule.last_wait);
            self.deadline = wait.and_then(|wait| now.checked_add(wait)).unwrap_or(now);
        }
    }

    /// The round-trip time that an answer at `now` shows; nothing if the request was sent twice, because the
    /// answer may be to either (Karn).
    pub fn rtt(&self, now: Instant) -> Option<Duration> {
        (self.sends == 1).then(|| now.saturating_duration_since(self.first_sent))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[expect(clippy::disallowed_methods, reason = "one base instant for virtual time")]
    fn base() -> Instant {
        Instant::now()
    }

    const ID: TransactionId = TransactionId([1; 12]);

    #[test]
    fn the_schedule_is_that_of_the_rfc() {
        let t0 = base();
        let mut transaction = Transaction::new(ID, Retransmission::default(), t0);
        let mut sent = vec![0];
        while !transaction.is_expired(transaction.deadline()) {
            let at = transaction.deadline();
            assert!(!transaction.handle_timeout(at - Duration::from_millis(1)));
            assert!(transaction.handle_timeout(at));
            assert!(!transaction.handle_timeout(at), "once only");
            sent.push((at - t0).as_millis());
        }
        assert_eq!(sent, [0, 500, 1500, 3500, 7500, 15500, 31500]);
        assert_eq!((transaction.deadline() - t0).as_millis(), 39500);
    }

    #[test]
    fn a_late_call_sends_once_and_counts_from_there() {
        let t0 = base();
        let mut transaction = Transaction::new(ID, Retransmission::default(), t0);
        let late = t0 + Duration::from_secs(86_400);
        assert!(transaction.handle_timeout(late));
        assert!(!transaction.handle_timeout(late));
        assert_eq!(transaction.deadline(), late + Duration::from_secs(1));
    }

    #[test]
    fn a_stopped_transaction_waits_but_does_not_send() {
        let t0 = base();
        let mut transaction = Transaction::new(ID, Retransmission::default(), t0);
        transaction.stop_sending(t0);
        assert!(!transaction.handle_timeout(t0 + Duration::from_secs(1)));
        assert!(!transaction.is_expired(t0 + Duration::from_secs(7)));
        assert!(transaction.is_expired(t0 + Duration::from_secs(8)));
    }

    #[test]
    fn a_retransmitted_request_shows_no_rtt() {
        let t0 = base();
        let mut transaction = Transaction::new(ID, Retransmission::default(), t0);
        assert_eq!(transaction.rtt(t0 + Duration::from_millis(7)), Some(Duration::from_millis(7)));
        assert!(transaction.handle_timeout(transaction.deadline()));
        assert_eq!(transaction.rtt(t0 + Duration::from_secs(1)), None);
    }

    #[test]
    fn absurd_schedules_neither_panic_nor_last_for_ever() {
        let t0 = base();
        for rto in [Duration::ZERO, Duration::MAX] {
            for max_sends in [0, 1, 255] {
                let mut transaction =
                    Transaction::new(ID, Retransmission { rto, max_sends, last_wait: 16 }, t0);
                let mut sends = 0;
                while transaction.handle_timeout(transaction.deadline()) {
                    sends += 1;
                }
                assert!(sends <= 254 && transaction.is_expired(transaction.deadline()));
            }
        }
    }
}
