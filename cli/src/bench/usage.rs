//! What this process has used.

use std::fs;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

use nix::sys::resource::{UsageWho, getrusage};
use nix::sys::time::TimeValLike;
use serde::{Deserialize, Serialize};

use crate::failure::{Context, Failure};
use crate::open_files;

/// A process's counters at one moment.
#[derive(Clone, Copy, Debug, Default, Serialize, Deserialize)]
pub(super) struct Snapshot {
    /// Seconds since the worker started, by its own clock.
    pub(super) at_s: f64,
    /// CPU time in user and kernel mode, all threads.
    pub(super) cpu_s: f64,
    /// Payload received, bytes.
    pub(super) received: u64,
    /// Memory in use (RSS), KiB.
    pub(super) rss_kib: u64,
}

impl Snapshot {
    pub(super) fn take(started: Instant, received: &AtomicU64) -> Result<Self, Failure> {
        let usage = getrusage(UsageWho::RUSAGE_SELF).context("can't read the CPU time")?;
        let micros = usage.user_time().num_microseconds() + usage.system_time().num_microseconds();
        Ok(Self {
            at_s: started.elapsed().as_secs_f64(),
            cpu_s: micros as f64 * 1e-6,
            received: received.load(Ordering::Relaxed),
            rss_kib: rss_kib()?,
        })
    }
}

/// From /proc, so on Linux only.
fn rss_kib() -> Result<u64, Failure> {
    let status = fs::read_to_string("/proc/self/status").context("can't read /proc/self/status")?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    line.and_then(|rest| rest.trim().strip_suffix("kB"))
        .and_then(|number| number.trim().parse().ok())
        .ok_or_else(|| Failure::new("/proc/self/status has no VmRSS"))
}

/// Makes room for so many open files.
pub(super) fn allow_files(count: u64) -> Result<(), Failure> {
    let allowed = open_files::allow(count)?;
    if allowed < count {
        let text = format!(
            "{count} open files are needed, but {allowed} are allowed; raise `ulimit -Hn` or take a smaller --count"
        );
        return Err(Failure::new(text));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::terminal::now;

    #[test]
    fn a_snapshot_sees_time_and_work_pass() {
        let (started, received) = (now(), AtomicU64::new(0));
        let before = Snapshot::take(started, &received).unwrap();
        received.fetch_add(5, Ordering::Relaxed);
        let mut x = 1_u64;
        while started.elapsed().as_millis() < 30 {
            x = std::hint::black_box(x.wrapping_mul(3));
        }
        let after = Snapshot::take(started, &received).unwrap();
        assert!(after.at_s > before.at_s && after.cpu_s > before.cpu_s && after.rss_kib > 100);
        assert_eq!(after.received, 5);
    }
}
