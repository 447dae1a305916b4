//! The retransmission timeout (RFC 9260 §6.3.1).

use std::time::Duration;

use crate::config::Config;

/// Settings below this would make a timer that runs out as it starts.
const FLOOR: Duration = Duration::from_millis(1);

/// Smoothed round-trip time and what follows from it. Back-off is the timer's business.
#[derive(Clone, Debug)]
pub(crate) struct RetransmissionTimeout {
    srtt: Option<Duration>,
    rttvar: Duration,
    rto: Duration,
    min: Duration,
    max: Duration,
}

impl RetransmissionTimeout {
    pub(crate) fn new(config: &Config) -> Self {
        Self {
            srtt: None,
            rttvar: Duration::ZERO,
            rto: config.rto_initial.max(FLOOR),
            min: config.rto_min.max(FLOOR),
            max: config.rto_max.max(config.rto_min).max(FLOOR),
        }
    }

    /// Rules C2 and C3: RTO.Alpha is 1/8, RTO.Beta 1/4.
    pub(crate) fn measured(&mut self, rtt: Duration) {
        let srtt = match self.srtt {
            None => {
                self.rttvar = rtt / 2;
                rtt
            }
            Some(srtt) => {
                self.rttvar = self.rttvar.saturating_mul(3) / 4 + srtt.abs_diff(rtt) / 4;
                srtt.saturating_mul(7) / 8 + rtt / 8
            }
        };
        self.srtt = Some(srtt);
        self.rto = srtt.saturating_add(self.rttvar.saturating_mul(4)).clamp(self.min, self.max);
    }

    pub(crate) fn rto(&self) -> Duration {
        self.rto
    }

    pub(crate) fn rttvar(&self) -> Duration {
        self.rttvar
    }

    pub(crate) fn srtt(&self) -> Option<Duration> {
        self.srtt
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_starts_at_the_initial_value_and_follows_the_measurements() {
        let config = Config { rto_min: Duration::from_millis(1), ..Config::default() };
        let mut rto = RetransmissionTimeout::new(&config);
        assert_eq!(rto.rto(), Duration::from_millis(500));
        rto.measured(Duration::from_millis(100));
        assert_eq!(rto.rto(), Duration::from_millis(300), "SRTT + 4 * RTT/2");
        for _ in 0..100 {
            rto.measured(Duration::from_millis(40));
        }
        assert!(rto.rto() < Duration::from_millis(45), "{:?}", rto.rto());
        rto.measured(Duration::from_secs(3600));
        assert_eq!(rto.rto(), config.rto_max);
    }

    #[test]
    fn settings_of_zero_do_not_make_a_busy_timer() {
        let zero = Duration::ZERO;
        let config = Config { rto_initial: zero, rto_min: zero, rto_max: zero, ..Config::default() };
        let mut rto = RetransmissionTimeout::new(&config);
        assert_eq!(rto.rto(), FLOOR);
        rto.measured(zero);
        assert_eq!(rto.rto(), FLOOR);
    }

    #[test]
    fn it_never_falls_below_the_minimum() {
        let mut rto = RetransmissionTimeout::new(&Config::default());
        rto.measured(Duration::ZERO);
        assert_eq!(rto.rto(), Duration::from_millis(400));
    }
}
