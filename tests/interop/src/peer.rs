//! `sinnet connect` as a child process in the peer's namespace.

use std::path::PathBuf;
use std::process::ExitStatus;
use std::time::Duration;

use serde_json::Value;
use tokio::sync::mpsc;

use crate::net::{Net, Side};
use crate::process::{Log, Process};

/// A running `sinnet connect`. Dropped while a test fails, it prints the end of its log.
#[derive(Debug)]
pub struct Peer {
    process: Process,
    /// Its standard error.
    pub log: Log,
}

/// The command under test: `SINNET_BIN`, or `release/sinnet` in the target directory that this test was built into.
#[must_use]
pub fn binary() -> PathBuf {
    std::env::var_os("SINNET_BIN").map_or_else(
        || {
            let test = std::env::current_exe().unwrap_or_default(); // <target>/<profile>/deps/<test>
            test.ancestors().nth(3).map(|target| target.join("release/sinnet")).unwrap_or_default()
        },
        PathBuf::from,
    )
}

/// The command line of `sinnet` with these arguments in the peer's namespace.
#[must_use]
pub fn command(net: &Net, arguments: &[&str]) -> Vec<String> {
    let mut command: Vec<String> = net.exec(Side::Peer).map(String::from).to_vec();
    command.push(binary().display().to_string());
    command.extend(arguments.iter().map(|&a| a.to_owned()));
    command
}

/// Starts `sinnet` with these arguments in the peer's namespace.
///
/// # Panics
///
/// When there is no such binary.
#[must_use]
pub fn spawn(net: &Net, arguments: &[&str]) -> Process {
    let binary = binary();
    assert!(
        binary.exists(),
        "no {}: build it with `cargo build --release -p sinnet-cli`, or set SINNET_BIN",
        binary.display()
    );
    let level = std::env::var("SINNET_INTEROP_LOG").unwrap_or_else(|_| "debug".into());
    let environment = [("RUST_LOG", level.as_str()), ("NO_COLOR", "1"), ("RUST_BACKTRACE", "1")];
    Process::spawn("sinnet", &command(net, arguments), &environment).unwrap_or_else(|e| panic!("{e}"))
}

impl Peer {
    /// Starts `sinnet connect` with these arguments.
    ///
    /// # Panics
    ///
    /// When it cannot be started.
    #[must_use]
    pub fn connect(net: &Net, arguments: &[&str]) -> Self {
        let mut all = vec!["connect"];
        all.extend(arguments);
        let process = spawn(net, &all);
        Self { log: process.stderr.clone(), process }
    }

    /// The lines of its standard output, once. A line that is not one of the three kinds fails the test.
    ///
    /// # Panics
    ///
    /// When called twice.
    pub fn take_lines(&mut self) -> mpsc::UnboundedReceiver<Value> {
        let mut raw = self.process.take_stdout().expect("lines are taken once");
        let (out, lines) = mpsc::unbounded_channel();
        let log = self.log.clone();
        tokio::spawn(async move {
            while let Some(line) = raw.recv().await {
                log.push(format!("stdout {line}"));
                // What is not JSON is passed on as `null`, and refused where it arrives.
                let _ = out.send(serde_json::from_str(&line).unwrap_or(Value::Null));
            }
        });
        lines
    }

    /// Where lines for its standard input are put.
    #[must_use]
    pub fn input(&self) -> mpsc::UnboundedSender<String> {
        self.process.stdin.clone()
    }

    /// Has it restart ICE.
    pub fn restart_ice(&self) {
        self.process.prompt();
    }

    /// Waits until it ends.
    ///
    /// # Panics
    ///
    /// When it still runs after `limit`.
    pub async fn wait(&mut self, limit: Duration) -> ExitStatus {
        self.process.wait(limit).await.unwrap_or_else(|e| panic!("sinnet connect: {e}"))
    }

    /// Whether it runs.
    pub fn running(&mut self) -> bool {
        self.process.ended().is_none()
    }
}

impl Drop for Peer {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("sinnet connect said:\n{}", self.log.tail(120));
        }
    }
}
