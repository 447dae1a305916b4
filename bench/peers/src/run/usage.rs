//! What processes have used.

use std::fs;

use nix::sys::resource::{Resource, getrlimit, setrlimit};
use nix::time::{ClockId, clock_gettime};

/// CPU time of this process in user and kernel mode, all threads, seconds.
pub fn cpu_s() -> f64 {
    let time = clock_gettime(ClockId::CLOCK_PROCESS_CPUTIME_ID).expect("every Linux has this clock");
    time.tv_sec() as f64 + time.tv_nsec() as f64 * 1e-9
}

/// Memory in use (RSS), KiB.
pub fn rss_kib() -> u64 {
    let status = fs::read_to_string("/proc/self/status").expect("Linux");
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).expect("Linux");
    line.split_whitespace().next().and_then(|kib| kib.parse().ok()).expect("a number")
}

/// CPU time that the whole machine has spent on anything, seconds.
pub fn machine_busy_s() -> f64 {
    let stat = fs::read_to_string("/proc/stat").unwrap_or_default();
    // user nice system idle iowait irq softirq steal, in ticks of 10 ms
    let ticks: Vec<f64> = stat
        .lines()
        .next()
        .unwrap_or_default()
        .split_whitespace()
        .skip(1)
        .filter_map(|n| n.parse().ok())
        .collect();
    match ticks[..] {
        [user, nice, system, _, _, irq, softirq, ..] => (user + nice + system + irq + softirq) / 100.0,
        _ => 0.0,
    }
}

/// Takes as many open files as there may be.
pub fn allow_files() {
    if let Ok((_, hard)) = getrlimit(Resource::RLIMIT_NOFILE) {
        let _ = setrlimit(Resource::RLIMIT_NOFILE, hard, hard);
    }
}
