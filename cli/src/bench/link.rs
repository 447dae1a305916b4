//! What the conductor and its workers say to each other: lines of JSON over pipes.

use std::io::{self, Write};

use serde::{Deserialize, Serialize};
use sinnet_signaling::Signal;

use super::usage::Snapshot;

/// From the conductor to a worker.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(super) enum Order {
    /// The other worker's signalling, for the connection of this number.
    Signal(u32, Signal),
    /// Report a snapshot, now.
    Mark,
    /// Go on to the next part.
    Go,
    /// Close everything and end.
    Stop,
}

/// From a worker to the conductor.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(super) enum Report {
    /// For the other worker.
    Signal(u32, Signal),
    /// What was to be set up is set up: data flows, or the connections are there.
    Ready,
    /// The answer to [`Order::Mark`].
    Snapshot(Snapshot),
    /// The offerer's samples, summed up.
    Samples(Samples),
    /// It can't go on, and why.
    Failed(String),
}

/// A distribution of times, in seconds.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub(super) struct Samples {
    pub(super) count: usize,
    /// How long it took to take them all.
    pub(super) elapsed_s: f64,
    pub(super) p50_s: f64,
    pub(super) p95_s: f64,
    pub(super) p99_s: f64,
}

impl Samples {
    /// From times in nanoseconds; `None` without any.
    pub(super) fn new(mut nanos: Vec<u32>, elapsed_s: f64) -> Option<Self> {
        nanos.sort_unstable();
        let last = nanos.len().checked_sub(1)?;
        // The nearest rank.
        let at = |percent: usize| {
            f64::from(nanos[(nanos.len() * percent).div_ceil(100).clamp(1, last + 1) - 1]) * 1e-9
        };
        Some(Self { count: nanos.len(), elapsed_s, p50_s: at(50), p95_s: at(95), p99_s: at(99) })
    }
}

/// Writes a report to standard output, at once. A conductor that is gone is noticed at standard input.
pub(super) fn report(report: &Report) {
    if let Ok(line) = serde_json::to_string(report) {
        let mut output = io::stdout().lock();
        let _ = writeln!(output, "{line}").and_then(|()| output.flush());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percentiles_are_those_of_the_nearest_rank() {
        let samples = Samples::new((1..=100).rev().map(|n| n * 1000).collect(), 2.0).unwrap();
        assert_eq!((samples.count, samples.elapsed_s), (100, 2.0));
        for (value, micros) in [(samples.p50_s, 50.0), (samples.p95_s, 95.0), (samples.p99_s, 99.0)] {
            assert!((value * 1e6 - micros).abs() < 1e-6, "{value}");
        }
        let one = Samples::new(vec![7], 1.0).unwrap();
        assert_eq!((one.p50_s, one.p99_s), (one.p95_s, one.p50_s));
        assert!(Samples::new(Vec::new(), 1.0).is_none());
    }

    #[test]
    fn orders_and_reports_are_single_lines_that_read_back() {
        let signal = Signal::Offer { sdp: "v=0\r\no=-\r\n".into() };
        let line = serde_json::to_string(&Order::Signal(7, signal.clone())).unwrap();
        assert!(!line.contains('\n'));
        assert!(matches!(serde_json::from_str(&line).unwrap(), Order::Signal(7, read) if read == signal));
        for order in [r#""mark""#, r#""go""#, r#""stop""#] {
            assert!(serde_json::from_str::<Order>(order).is_ok(), "{order}");
        }
    }
}
