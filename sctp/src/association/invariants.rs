//! The rules by which nothing ever stalls, as a check for simulators.
//!
//! | as long as | there is |
//! |---|---|
//! | data is in flight, or waits to be sent | T3, which sends it again, or probes a closed window |
//! | both windows are open and there is data | nothing: it has been sent |
//! | the handshake, the shutdown, a stream reset is not answered | T1, T2, the timer of the reset |
//! | the association is up | the heartbeat timer, if the settings want heartbeats |
//! | a larger packet size is looked for | a probe that is out, and its timer |
//! | the peer does not know that the receive window has opened | a SACK on its way out |
//! | nothing is left to send | nothing in the send buffer |
//! | a stream waits for room in the send buffer | something of its own there, whose end will make room |

use std::time::Instant;

use super::Association;
use super::state::State;

impl Association {
    /// The first rule against stalling that is broken, `None` when all hold. They hold whenever the owner has
    /// drained [`poll_transmit`](Self::poll_transmit) into buffers of the largest packet size.
    #[doc(hidden)]
    pub fn broken_rule(&self, now: Instant) -> Option<&'static str> {
        if self.state == State::Ended {
            return self.poll_timeout().map(|_| "a deadline after the end");
        }
        let t3 = self.tx.t3.deadline().is_some();
        let rules = [
            (self.tx.outstanding.flight() == 0 || t3, "data in flight and no timer"),
            (!self.tx.is_drained() || self.tx.unacked() == 0, "all is sent and the send buffer is not empty"),
            (self.tx.queue.waits_end(), "a stream waits for room that will never come"),
            (self.tx.congestion.ssthresh() > 0, "a slow-start threshold of zero"),
        ];
        first_broken(&rules).or_else(|| match self.state {
            State::CookieWait | State::CookieEchoed => {
                first_broken(&[(self.handshake.t1.deadline().is_some(), "a handshake without a timer")])
            }
            state if state.has_peer() => self.broken_with_peer(now, t3),
            _ => None,
        })
    }

    fn broken_with_peer(&self, now: Instant, t3: bool) -> Option<&'static str> {
        let sends = self.state.sends_data();
        let shutting = matches!(self.state, State::ShutdownSent | State::ShutdownAckSent);
        let heartbeats = !self.config.heartbeat_interval.is_zero();
        let resets = self.reconfig.is_waiting() && self.state == State::Established;
        first_broken(&[
            (!sends || !self.tx.has_sendable(), "the windows are open, and data waits"),
            (!sends || self.tx.is_idle() || t3, "data to send and nothing that will send it"),
            (!shutting || self.t2.deadline().is_some(), "a shutdown without a timer"),
            (!resets || self.reconfig.deadline().is_some(), "a stream reset without a timer"),
            (
                !self.reconfig.is_due(self.tx.outstanding.cumulative_tsn_ack()),
                "a stream reset is due and not sent",
            ),
            (
                !self.reconfig.is_held_up() || self.state != State::Established,
                "a re-configuration waits for nothing",
            ),
            (!heartbeats || self.heartbeat.deadline().is_some(), "no heartbeat timer"),
            (!self.tx.size_search_is_stalled(), "a search for a larger packet size without a probe"),
            (
                self.state != State::Established || self.tx.size_probe_due().is_none(),
                "a probe of a larger packet size is due and not sent",
            ),
            (!self.rx.sack.is_due(), "a SACK is due and not sent"),
            (!self.rx.owes_window_update(), "the window has opened, and the peer is not told"),
            (self.rx.sack.deadline().is_none_or(|at| at <= now + self.config.sack_delay), "a late SACK"),
        ])
    }
}

fn first_broken(rules: &[(bool, &'static str)]) -> Option<&'static str> {
    rules.iter().find(|(holds, _)| !holds).map(|&(_, rule)| rule)
}

#[cfg(test)]
mod tests {
    use crate::Config;
    use crate::tests::{A, Pair, Z, pattern};

    #[test]
    fn a_timer_that_is_missing_is_noticed() {
        let mut pair = Pair::connected(Config::default());
        let now = pair.now;
        pair.send(A, 0, &pattern(10));
        let mut out = [0; 1200];
        assert_eq!(pair.ends[A].broken_rule(now), Some("the windows are open, and data waits"));
        assert!(pair.ends[A].poll_transmit(now, &mut out).is_some());
        assert_eq!(pair.ends[A].broken_rule(now), None);
        pair.ends[A].tx.t3.stop();
        assert_eq!(pair.ends[A].broken_rule(now), Some("data in flight and no timer"));

        pair.ends[Z].rx.sack.request();
        assert_eq!(pair.ends[Z].broken_rule(now), Some("a SACK is due and not sent"));
        while pair.ends[Z].poll_transmit(now, &mut out).is_some() {}
        assert_eq!(pair.ends[Z].broken_rule(now), None);
        pair.ends[Z].heartbeat.stop();
        assert_eq!(pair.ends[Z].broken_rule(now), Some("no heartbeat timer"));
    }
}
