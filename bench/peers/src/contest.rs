//! Pieces of work against each other in one thread, by turns, so that a busy machine is busy for all; in processor time.

use std::time::Duration;

use nix::time::{ClockId, clock_gettime};

/// Turns; the middle one counts.
const TURNS: usize = 9;

/// A thing to measure: its name, and what does it so many times.
pub type Contestant<'a> = (&'a str, Box<dyn FnMut(u32) + 'a>);

/// Measures all, prints a table with what each takes of the first, and returns the medians in nanoseconds.
pub fn contest(title: &str, count: u32, mut contestants: Vec<Contestant<'_>>) -> Vec<f64> {
    let mut times = vec![Vec::new(); contestants.len()];
    for turn in 0..=TURNS {
        for (index, (_, run)) in contestants.iter_mut().enumerate() {
            let begin = processor_time();
            run(count);
            // The first turn warms up.
            if turn > 0 {
                times[index].push((processor_time() - begin).as_nanos() as f64 / f64::from(count));
            }
        }
    }
    let median = |times: &mut Vec<f64>| {
        times.sort_by(f64::total_cmp);
        times[times.len() / 2]
    };
    let medians: Vec<f64> = times.iter_mut().map(median).collect();
    println!("{title}");
    for ((name, _), time) in contestants.iter().zip(&medians) {
        println!("  {name:24} {:>12} ns   {:6.2} of the first", format!("{time:.0}"), time / medians[0]);
    }
    medians
}

/// What this thread has had of a processor.
fn processor_time() -> Duration {
    clock_gettime(ClockId::CLOCK_THREAD_CPUTIME_ID).expect("every Linux has this clock").into()
}
