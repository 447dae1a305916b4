//! A child process: does as the conductor says until its standard input ends.

use std::io::{self, BufRead};

use super::app::{App, Meter};
use super::link::{Order, Report, report};
use super::usage;
use crate::peers::{PeerName, Setup};

/// Serves the conductor.
pub fn run(peer: PeerName, setup: Setup) {
    usage::allow_files();
    let meter = Meter::new();
    let mut stack = peer.start(setup);
    for line in io::stdin().lock().lines() {
        let Ok(line) = line else { break };
        let order = match serde_json::from_str(&line) {
            Ok(order) => order,
            Err(error) => return report(&Report::Failed(format!("not an order: {error}"))),
        };
        match order {
            Order::Offer { number, channel, work } => {
                stack.offer(channel, App::new(number, work, true, &meter))
            }
            Order::Accept { number, sdp, work } => stack.accept(sdp, App::new(number, work, false, &meter)),
            Order::Answer { number, sdp } => stack.answered(number, sdp),
            Order::Snapshot => report(&Report::Snapshot(meter.snapshot())),
            Order::Stop => meter.stop(),
            Order::Close { number } => stack.close(number),
        }
    }
    // Without destructors: some stacks wait for their peers in them.
    std::process::exit(0);
}
