//! Stacks side by side: two processes on loopback, the same work, in the same run.
//!
//! ```text
//!                conductor            lines of JSON over pipes: orders down, reports up
//!               ╱         ╲
//!    offerer's process ═══ answerer's process       UDP over 127.0.0.1, or by the relay's process
//! ```
//!
//! The conductor carries offer and answer from one to the other; both are complete, with one host candidate. The applications
//! are the same for all ([`app`]); how a stack is used and tuned is in its file of [`crate::peers`]. Everybody has a turn in
//! each round, and the medians of the rounds are what is shown.

pub mod app;
mod child;
pub mod link;
mod plot;
mod relay;
mod results;
mod table;
mod usage;
mod worker;
mod works;

use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, ValueEnum};

pub use self::relay::run as relay;
use self::results::Results;
pub use self::worker::run as worker;
use self::works::{ALL, Extent, Task};
use crate::peers::PeerName;

/// What to run.
#[derive(Args)]
pub struct RunArguments {
    /// Only these works, by the beginnings of their names, with commas between them: bulk-1k bulk-16k bulk-64k bulk-256k
    /// ping small setup memory pairs path-20ms-0 path-20ms-1 path-100ms-0 path-100ms-1 crowd
    #[arg(long, value_delimiter = ',')]
    only: Vec<String>,
    /// Only these stacks and floor programs
    #[arg(long, value_delimiter = ',')]
    peers: Vec<PeerName>,
    /// Rounds; the medians count
    #[arg(long, default_value_t = 3)]
    rounds: u32,
    /// Length of a measured window
    #[arg(long, default_value_t = 4.0)]
    seconds: f64,
    /// Idle connections of `crowd`
    #[arg(long, default_value_t = 10_000)]
    crowd: u32,
    /// How long `crowd` is held, seconds
    #[arg(long, default_value_t = 60.0)]
    hold: f64,
    /// Where results.json, results.csv, results.md and the plots go
    #[arg(long, default_value = "target/bench-peers")]
    out: PathBuf,
    /// Make the tables anew from results.json in --out, and run nothing
    #[arg(long)]
    again: bool,
    /// Put the tables into docs/perf.md, between its markers, and the plots beside it
    #[arg(long)]
    write: bool,
}

impl RunArguments {
    fn tasks(&self) -> Result<Vec<Task>, String> {
        let chosen =
            |task: &Task| self.only.is_empty() || self.only.iter().any(|part| task.name().starts_with(part));
        for part in &self.only {
            if !ALL.iter().any(|task| task.name().starts_with(part)) {
                return Err(format!("no work begins with {part:?}; see --help"));
            }
        }
        Ok(ALL.into_iter().filter(chosen).collect())
    }

    fn peers(&self) -> Vec<PeerName> {
        match self.peers.is_empty() {
            true => PeerName::value_variants().to_vec(),
            false => self.peers.clone(),
        }
    }
}

/// Runs everything and shows what came out.
pub fn run(arguments: &RunArguments) -> Result<(), String> {
    let mut results = match arguments.again {
        true => Results::load(&arguments.out)?,
        false => Results::new(arguments.rounds, arguments.seconds),
    };
    if !arguments.again {
        let (tasks, peers) = (arguments.tasks()?, arguments.peers());
        let extent = Extent {
            window: Duration::from_secs_f64(arguments.seconds),
            crowd: arguments.crowd,
            hold: Duration::from_secs_f64(arguments.hold),
        };
        let all: Vec<(Task, PeerName)> = tasks
            .iter()
            .flat_map(|&task| peers.iter().map(move |&peer| (task, peer)))
            .filter(|(task, peer)| task.is_for(*peer))
            .collect();
        let total = all.len() * arguments.rounds as usize;
        for round in 0..arguments.rounds {
            for (index, &(task, peer)) in all.iter().enumerate() {
                let done = round as usize * all.len() + index + 1;
                eprint!("[{done:>3}/{total}] round {}, {}, {}: ", round + 1, task.name(), peer.name());
                match task.run(peer, extent) {
                    Ok(metrics) => {
                        eprintln!("{}", table::brief(&metrics));
                        results.add(task.name(), peer, round, metrics);
                    }
                    Err(why) => {
                        eprintln!("failed: {why}");
                        results.fail(task.name(), peer, round, why);
                    }
                }
                // After each, so that a run that is stopped leaves what it has.
                results.save(&arguments.out)?;
            }
        }
    }
    let markdown = table::markdown(&results);
    println!("{markdown}");
    results.save(&arguments.out)?;
    results::write(&arguments.out.join("results.md"), &markdown)?;
    plot::all(&results, &arguments.out)?;
    println!("Figures and plots are in {}.", arguments.out.display());
    if arguments.write {
        table::write_into_docs(&markdown)?;
        plot::all(&results, &table::docs().join("perf"))?;
    }
    Ok(())
}
