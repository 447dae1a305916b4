//! What the benchmarks of the layers share.
#![forbid(unsafe_code)]

pub mod sctp;
pub mod stack;
pub mod svg;

use std::time::Duration;

use nix::time::{ClockId, clock_gettime};

/// The processor time that this thread has had: what others do on the machine is not in it.
pub fn cpu_time() -> Duration {
    clock_gettime(ClockId::CLOCK_THREAD_CPUTIME_ID).expect("every Linux has this clock").into()
}
