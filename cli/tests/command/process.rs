//! A running `sinnet`.

use std::process::{ExitStatus, Stdio};
use std::time::Duration;

use sinnet::{Endpoint, PeerConnection};
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::process::{Child, ChildStdin, Command};
use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use tokio::time::timeout;

pub(crate) const SOON: Duration = Duration::from_secs(60);

pub(crate) struct Sinnet {
    child: Child,
    input: Option<ChildStdin>,
    /// Lines of standard output.
    pub(crate) lines: mpsc::UnboundedReceiver<String>,
    errors: JoinHandle<String>,
}

/// What it said at its end.
pub(crate) struct Ended {
    pub(crate) status: ExitStatus,
    pub(crate) stderr: String,
}

impl Ended {
    pub(crate) fn last_line(&self) -> &str {
        self.stderr.lines().last().unwrap_or_default()
    }

    pub(crate) fn expect_success(&self) {
        assert!(self.status.success(), "{}: {}", self.status, self.stderr);
    }

    pub(crate) fn expect_failure(&self, word: &str) {
        assert_eq!(self.status.code(), Some(1), "{}", self.stderr);
        assert!(self.last_line().contains(word), "{word:?} is not in the last line of: {}", self.stderr);
    }
}

pub(crate) fn command(arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_sinnet"));
    command.args(arguments);
    command
}

impl Sinnet {
    pub(crate) fn start(arguments: &[&str]) -> Self {
        Self::spawn(command(arguments))
    }

    /// `sinnet connect` on 127.0.0.1.
    pub(crate) fn connect(arguments: &[&str]) -> Self {
        Self::start(&[&["connect", "--bind", "127.0.0.1"], arguments].concat())
    }

    pub(crate) fn spawn(mut command: Command) -> Self {
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).kill_on_drop(true);
        command.env_remove("RUST_LOG");
        let mut child = command.spawn().unwrap();
        let (found, lines) = mpsc::unbounded_channel();
        let mut output = BufReader::new(child.stdout.take().unwrap()).lines();
        tokio::spawn(async move {
            while let Ok(Some(line)) = output.next_line().await {
                let _ = found.send(line);
            }
        });
        let mut stderr = child.stderr.take().unwrap();
        let errors = tokio::spawn(async move {
            let mut text = String::new();
            let _ = stderr.read_to_string(&mut text).await;
            text
        });
        Self { input: child.stdin.take(), child, lines, errors }
    }

    pub(crate) async fn line(&mut self) -> String {
        timeout(SOON, self.lines.recv()).await.expect("a line comes soon").expect("it still runs")
    }

    pub(crate) async fn say(&mut self, line: &str) {
        let input = self.input.as_mut().expect("standard input is open");
        // It may have ended already; what it says then is what counts.
        let _ = input.write_all(format!("{line}\n").as_bytes()).await;
    }

    pub(crate) fn end_input(&mut self) {
        self.input = None;
    }

    pub(crate) fn take_input(&mut self) -> ChildStdin {
        self.input.take().expect("standard input is open")
    }

    pub(crate) fn id(&self) -> u32 {
        self.child.id().expect("it runs")
    }

    pub(crate) async fn ended(mut self) -> Ended {
        let status = timeout(SOON, self.child.wait()).await.expect("it ends soon").unwrap();
        Ended { status, stderr: self.errors.await.unwrap() }
    }
}

/// A connection of the library's, in this process, for the other end.
pub(crate) async fn library_peer() -> (Endpoint, PeerConnection) {
    let endpoint = Endpoint::bind("127.0.0.1:0").await.unwrap();
    let peer = endpoint.peer_connection(Default::default()).unwrap();
    (endpoint, peer)
}

/// The next channel that the other side opens.
pub(crate) async fn next_channel(peer: &PeerConnection) -> sinnet::DataChannel {
    let next = async {
        loop {
            match peer.next_event().await {
                Some(sinnet::PeerEvent::DataChannel(channel)) => return channel,
                Some(sinnet::PeerEvent::Closed(reason)) => panic!("{reason}"),
                Some(_) => {}
                None => panic!("the connection is over"),
            }
        }
    };
    timeout(SOON, next).await.expect("a channel comes soon")
}
