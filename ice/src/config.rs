//! Timers and limits of one agent.

use std::time::Duration;

/// The longest time that means anything here.
const DAY: Duration = Duration::from_secs(86_400);

/// Timers and limits of one [`Agent`](crate::Agent). The defaults suit data channels between browsers and
/// servers; every value can be set freely: times over a day count as a day, and other clamps are named at the field.
#[derive(Clone, Debug)]
pub struct Config {
    /// Time between two new ordinary checks (RFC 8445 §14.2, Ta): 50 ms; values under 5 ms count as 5 ms.
    pub ta: Duration,
    /// How many triggered or nominating checks may go out at once when the agent has been quiet; one more is
    /// earned every [`ta`](Self::ta). They answer someone who has just proved knowledge of our password from
    /// that very address, so they don't wait behind the ordinary checks: 4.
    pub triggered_burst: u32,
    /// First retransmission interval of a check: 100 ms, doubled after each send. RFC 8445 §14.3 suggests
    /// 500 ms; browsers use 50 to 100 ms. It grows with the checks in progress so that retransmissions keep
    /// below one per [`ta`](Self::ta).
    pub rto: Duration,
    /// Sends of one check, the first included (RFC 8489 §6.2.1, Rc): 7; clamped to 1..=7.
    pub max_sends: u8,
    /// Basic period of consent checks (RFC 7675 §5.1): 5 s; each interval is 0.8 to 1.2 times this.
    pub consent_interval: Duration,
    /// Consent ends this long after the sending of the last answered check (RFC 7675 §5.1): 30 s.
    pub consent_timeout: Duration,
    /// [`State::Disconnected`](crate::State::Disconnected) after this long without an answer: 12.5 s, a
    /// little more than what one lost consent check can make.
    pub disconnect_after: Duration,
    /// No failure for want of pairs before this much time has passed since the remote credentials were set
    /// (RFC 8863 §4): 30 s. A peer whose candidates can't be resolved may still reach us.
    pub patience: Duration,
    /// How long the controlling side waits for better pairs that are still being checked, counted from the
    /// first valid pair: 50 ms. With nothing better outstanding it nominates at once.
    pub nomination_settle: Duration,
    /// Pairs beside the selected one that are kept fresh, so that one can take over at once: 3.
    pub reserve: usize,
    /// Time between two checks of such a pair: 15 s (RFC 8445 §11, Tr), and 0.8 to 1.2 times that; under 1 s counts as 1 s.
    pub reserve_interval: Duration,
    /// A lite agent (RFC 8445 §2.5), for servers with a public address: host candidates only, it answers checks and makes none. False.
    pub lite: bool,
    /// Only relayed candidates: the agent takes no other of ours, shows no address in `raddr`, and answers nothing that comes
    /// another way. `iceTransportPolicy: "relay"` in browsers. False.
    pub relay_only: bool,
    /// No `raddr` shows an address of ours, not even before one of ours was signalled as a name. False.
    pub hide_addresses: bool,
    /// The owner resolves `.local` names of the peer's candidates ([`Agent::poll_name`](crate::Agent::poll_name)); without that they are
    /// ignored. False.
    pub resolve_names: bool,
    /// Local candidates that are bases, of each sort: UDP, TCP that connects, TCP that listens, relayed: 32.
    pub max_local_candidates: usize,
    /// Remote candidates taken from signalling: 64. More are refused.
    pub max_remote_candidates: usize,
    /// Remote candidates learned from checks: 32. The oldest idle one makes room for a new one.
    pub max_prflx_candidates: usize,
    /// Candidate pairs (RFC 8445 §6.1.2.5): 100. Those that have failed give way, and then the pair of lowest priority.
    pub max_pairs: usize,
    /// Authenticated checks remembered until our side can answer with a check of its own: 16.
    pub max_early_checks: usize,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            ta: Duration::from_millis(50),
            triggered_burst: 4,
            rto: Duration::from_millis(100),
            max_sends: 7,
            consent_interval: Duration::from_secs(5),
            consent_timeout: Duration::from_secs(30),
            disconnect_after: Duration::from_millis(12_500),
            patience: Duration::from_secs(30),
            nomination_settle: Duration::from_millis(50),
            reserve: 3,
            reserve_interval: Duration::from_secs(15),
            lite: false,
            relay_only: false,
            hide_addresses: false,
            resolve_names: false,
            max_local_candidates: 32,
            max_remote_candidates: 64,
            max_prflx_candidates: 32,
            max_pairs: 100,
            max_early_checks: 16,
        }
    }
}

impl Config {
    /// Whether no time is longer than a day, so that sums of times can't overflow.
    pub(crate) fn is_usable(&self) -> bool {
        [self.ta, self.rto, self.consent_interval, self.consent_timeout, self.disconnect_after, self.patience]
            .into_iter()
            .chain([self.nomination_settle, self.reserve_interval])
            .all(|time| time <= DAY)
    }

    /// With every time at most a day.
    pub(crate) fn clamped(&self) -> Self {
        Self {
            ta: self.ta.min(DAY),
            rto: self.rto.min(DAY),
            consent_interval: self.consent_interval.min(DAY),
            consent_timeout: self.consent_timeout.min(DAY),
            disconnect_after: self.disconnect_after.min(DAY),
            patience: self.patience.min(DAY),
            nomination_settle: self.nomination_settle.min(DAY),
            reserve_interval: self.reserve_interval.min(DAY),
            ..self.clone()
        }
    }

    /// Ta as used: never under 5 ms (RFC 8445 §14.2).
    pub(crate) fn pacing(&self) -> Duration {
        self.ta.max(Duration::from_millis(5))
    }
}
