//! A child process whose output is read line by line, and which does not outlive its handle.

use std::collections::VecDeque;
use std::process::{ExitStatus, Stdio};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use nix::sys::signal::Signal;
use nix::unistd::Pid;
use tokio::io::{AsyncBufReadExt as _, AsyncRead, AsyncWriteExt as _, BufReader};
use tokio::process::{Child, ChildStdin, Command};
use tokio::sync::mpsc;

/// The last lines of something that logs. Clones share the lines.
#[derive(Debug, Clone)]
pub struct Log {
    name: String,
    lines: Arc<Mutex<VecDeque<String>>>,
}

/// Lines kept by a [`Log`].
const LOG_LINES: usize = 4000;

impl Log {
    /// An empty log; `name` is printed before its lines.
    #[must_use]
    pub fn new(name: &str) -> Self {
        Self { name: name.to_owned(), lines: Arc::default() }
    }

    /// Adds a line, and forgets the oldest of more than 4000.
    pub fn push(&self, line: String) {
        if std::env::var_os("SINNET_INTEROP_VERBOSE").is_some() {
            eprintln!("[{}] {line}", self.name);
        }
        let mut lines = self.lines.lock().unwrap_or_else(PoisonError::into_inner);
        if lines.len() == LOG_LINES {
            lines.pop_front();
        }
        lines.push_back(line);
    }

    /// The last `count` lines, each with the log's name.
    #[must_use]
    pub fn tail(&self, count: usize) -> String {
        let lines = self.lines.lock().unwrap_or_else(PoisonError::into_inner);
        let skip = lines.len().saturating_sub(count);
        lines.iter().skip(skip).map(|line| format!("  [{}] {line}\n", self.name)).collect()
    }

    /// All lines kept, one string.
    #[must_use]
    pub fn text(&self) -> String {
        let lines = self.lines.lock().unwrap_or_else(PoisonError::into_inner);
        lines.iter().fold(String::new(), |all, line| all + line + "\n")
    }
}

/// A running child. Dropped, it is killed.
#[derive(Debug)]
pub struct Process {
    child: Child,
    /// Lines put in here are written to its standard input, which closes when the last sender is gone.
    pub stdin: mpsc::UnboundedSender<String>,
    /// Its standard error.
    pub stderr: Log,
    stdout: Option<mpsc::UnboundedReceiver<String>>,
    reader: tokio::task::JoinHandle<()>,
}

impl Process {
    /// Starts `command[0]` with the rest as arguments.
    ///
    /// # Errors
    ///
    /// The program that could not be started, and why.
    pub fn spawn(name: &str, command: &[String], environment: &[(&str, &str)]) -> Result<Self, String> {
        let (program, arguments) = command.split_first().ok_or("an empty command line")?;
        let mut child = Command::new(program)
            .args(arguments)
            .envs(environment.iter().copied())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .map_err(|e| format!("{}: {e}", command.join(" ")))?;
        let stderr = Log::new(name);
        let (lines, stdout) = mpsc::unbounded_channel();
        if let Some(pipe) = child.stdout.take() {
            tokio::spawn(read_lines(pipe, move |line| drop(lines.send(line))));
        }
        let pipe = child.stderr.take().ok_or("no pipe for stderr")?;
        let log = stderr.clone();
        let reader = tokio::spawn(read_lines(pipe, move |line| log.push(line)));
        let pipe = child.stdin.take().ok_or("no pipe for stdin")?;
        let (stdin, input) = mpsc::unbounded_channel();
        tokio::spawn(write_lines(pipe, input));
        Ok(Self { child, stdin, stderr, stdout: Some(stdout), reader })
    }

    /// Asks it to end, by SIGTERM.
    pub fn terminate(&self) {
        self.signal(Signal::SIGTERM);
    }

    /// Sends it SIGUSR1.
    pub fn prompt(&self) {
        self.signal(Signal::SIGUSR1);
    }

    /// Ends it, by SIGKILL.
    pub fn kill(&self) {
        self.signal(Signal::SIGKILL);
    }

    fn signal(&self, signal: Signal) {
        if let Some(id) = self.child.id().and_then(|id| i32::try_from(id).ok()) {
            let _ = nix::sys::signal::kill(Pid::from_raw(id), signal);
        }
    }

    /// The lines of its standard output, once.
    pub fn take_stdout(&mut self) -> Option<mpsc::UnboundedReceiver<String>> {
        self.stdout.take()
    }

    /// Whether it has ended, and how.
    pub fn ended(&mut self) -> Option<ExitStatus> {
        self.child.try_wait().ok().flatten()
    }

    /// Waits for its end, and for the last line of its standard error.
    ///
    /// # Errors
    ///
    /// It still runs after `limit`.
    pub async fn wait(&mut self, limit: Duration) -> Result<ExitStatus, String> {
        match tokio::time::timeout(limit, self.child.wait()).await {
            Ok(status) => {
                if !self.reader.is_finished() {
                    let _ = tokio::time::timeout(Duration::from_secs(1), &mut self.reader).await;
                }
                status.map_err(|e| e.to_string())
            }
            Err(_) => Err(format!("still running after {} s", limit.as_secs())),
        }
    }
}

/// Writes lines until the child does not read any more.
async fn write_lines(mut pipe: ChildStdin, mut lines: mpsc::UnboundedReceiver<String>) {
    while let Some(line) = lines.recv().await {
        if pipe.write_all((line + "\n").as_bytes()).await.is_err() || pipe.flush().await.is_err() {
            return;
        }
    }
}

async fn read_lines(pipe: impl AsyncRead + Unpin, mut each: impl FnMut(String)) {
    let mut lines = BufReader::new(pipe).lines();
    while let Ok(Some(line)) = lines.next_line().await {
        each(line);
    }
}
