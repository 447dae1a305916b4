//! The `sinnet` command.
//!
//! | file | what |
//! |---|---|
//! | `args.rs`, `channel_spec.rs` | the command line |
//! | `serve/` | `sinnet serve`: the web server's side of the page |
//! | `connect/` | `sinnet connect`: one connection, signalled by lines |
//! | `group/` | `sinnet create`, `join`, `cast`, `demo`: members of multicast groups |
//! | `load.rs` | `sinnet load`: the signalling server measured |
//! | `bench/` | `sinnet bench`: two processes measured against each other |
//! | `token.rs` | `sinnet token` |
//! | `transfer/` | files over data channels |
//! | `inspect.rs` | `--keylog`, `--pcap`, `--stats` |
//! | `open_files.rs` | the limit of open files |
//! | `negotiation.rs` | signalling messages applied to a connection |
//! | `terminal.rs`, `failure.rs` | what the user sees |
#![forbid(unsafe_code)]

mod args;
mod bench;
mod channel_spec;
mod connect;
mod failure;
mod group;
mod ice;
mod inspect;
mod load;
mod negotiation;
mod network;
mod open_files;
mod serve;
mod terminal;
mod token;
mod transfer;

use std::process::ExitCode;

use clap::Parser;
use tokio::runtime::{Builder, Runtime};

use crate::args::{BindArgs, Cli, Command};
use crate::failure::{Context, Failure};
use crate::terminal::Screen;

fn main() -> ExitCode {
    let cli = Cli::parse();
    let screen = Screen::new();
    screen.start_logging(cli.verbose);
    match run(cli.command, &screen) {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            screen.say(format!("sinnet: {failure}"));
            ExitCode::FAILURE
        }
    }
}

fn run(command: Command, screen: &Screen) -> Result<(), Failure> {
    let threads = match &command {
        Command::BenchWorker(worker) => worker.bench.threads,
        Command::Serve(_) | Command::Demo(_) | Command::Load(_) => 2,
        Command::Create(_) | Command::Join(_) | Command::Cast(_) => 1,
        Command::Connect(_) | Command::Bench(_) | Command::Token(_) => 1,
    };
    let runtime = runtime(threads)?;
    let result = runtime.block_on(async {
        match command {
            Command::Serve(args) => serve::run(*args, screen).await,
            Command::Connect(args) => connect::run(args, screen).await,
            Command::Bench(args) => bench::run(args, screen).await,
            Command::Create(args) => group::create(args, screen).await,
            Command::Join(args) => group::join(args, screen).await,
            Command::Cast(args) => group::cast(args, screen).await,
            Command::Demo(args) => group::demo(args, screen).await,
            Command::Load(args) => load::run(&args, screen).await,
            Command::Token(args) => token::run(&args),
            Command::BenchWorker(args) => bench::worker(args).await,
        }
    });
    // A thread may be reading standard input, which has no end.
    runtime.shutdown_background();
    result
}

/// One thread means this one: no hops between threads.
fn runtime(threads: u16) -> Result<Runtime, Failure> {
    let mut builder = if threads == 1 { Builder::new_current_thread() } else { Builder::new_multi_thread() };
    builder.worker_threads(usize::from(threads)).enable_all().build().context("can't start the runtime")
}

/// The endpoint that the arguments ask for.
async fn endpoint(args: &BindArgs, include_loopback: bool) -> Result<sinnet::Endpoint, Failure> {
    let mut config = sinnet::EndpointConfig::default();
    args.configure(&mut config, include_loopback);
    Ok(sinnet::Endpoint::new(config).await?)
}
