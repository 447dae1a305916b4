//! Our stack and its layers beside others', in one run. `cargo run --release -- --help` tells what there is.

mod contest;
mod dtls;
mod peers;
mod run;
mod stun;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

use self::peers::{Layout, PeerName, Setup};
use self::run::RunArguments;

/// Our stack and its layers beside others', in one run on the same machine.
#[derive(Parser)]
#[command(version, max_term_width = 100)]
struct Arguments {
    #[command(subcommand)]
    what: What,
}

#[derive(Subcommand)]
enum What {
    /// Whole stacks: bulk, latency, small messages, set-up, memory, many pairs, long and lossy paths
    Run(RunArguments),
    /// DTLS 1.2 beside dimpl and OpenSSL, in memory: handshakes and records
    Dtls {
        /// Only this one's handshakes, for a profiler
        #[arg(long, requires = "count", value_parser = ["sinnet-dtls", "dimpl", "openssl"])]
        only: Option<String>,
        /// How many of them
        #[arg(long, requires = "only")]
        count: Option<u32>,
    },
    /// STUN messages beside the `stun` crate of webrtc-rs, in memory
    Stun,
    #[command(hide = true)]
    Child {
        #[arg(long)]
        peer: PeerName,
        #[arg(long)]
        layout: Layout,
        #[arg(long)]
        delayed: bool,
    },
    #[command(hide = true)]
    Relay {
        #[arg(long)]
        rtt_ms: u32,
        #[arg(long)]
        loss_percent: f64,
    },
}

fn main() -> ExitCode {
    match Arguments::parse().what {
        What::Run(arguments) => {
            if let Err(why) = run::run(&arguments) {
                eprintln!("{why}");
                return ExitCode::FAILURE;
            }
        }
        What::Dtls { only: Some(name), count: Some(count) } => dtls::only(&name, count),
        What::Dtls { .. } => dtls::run(),
        What::Stun => stun::run(),
        What::Child { peer, layout, delayed } => run::worker(peer, Setup { layout, is_delayed: delayed }),
        What::Relay { rtt_ms, loss_percent } => run::relay(rtt_ms, loss_percent),
    }
    ExitCode::SUCCESS
}
