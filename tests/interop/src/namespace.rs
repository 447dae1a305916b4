//! Network namespaces that end with the process, however it ends.

use std::io::Write as _;
use std::net::{SocketAddr, TcpStream};
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use nix::sched::{CloneFlags, setns};

/// A namespace, and where what runs in it puts its files. Clones name the same one.
#[derive(Debug, Clone)]
pub struct Namespace {
    name: Arc<str>,
    scratch: Arc<Path>,
}

impl Namespace {
    /// Its name, for `ip -n`.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// A directory for profiles and files; it ends with the namespace.
    #[must_use]
    pub fn scratch(&self) -> &Path {
        &self.scratch
    }

    /// The start of a command line that runs its rest in here.
    #[must_use]
    pub fn exec(&self) -> [&str; 4] {
        ["ip", "netns", "exec", &self.name]
    }

    /// Runs `work` on a thread in here: the sockets that it makes belong to this namespace.
    ///
    /// # Panics
    ///
    /// On that thread, when it cannot enter the namespace.
    pub fn spawn<T: Send + 'static>(
        &self,
        work: impl FnOnce() -> T + Send + 'static,
    ) -> std::thread::JoinHandle<T> {
        let path = format!("/var/run/netns/{}", self.name);
        std::thread::spawn(move || {
            let file = std::fs::File::open(&path).unwrap_or_else(|e| panic!("{path}: {e}"));
            setns(file, CloneFlags::CLONE_NEWNET).unwrap_or_else(|e| panic!("setns {path}: {e}"));
            work()
        })
    }

    /// Runs a shell script in here.
    ///
    /// # Errors
    ///
    /// What it said, when it fails.
    pub fn shell(&self, script: &str) -> Result<(), String> {
        let mut command = Command::new("ip");
        command.args(["netns", "exec", &self.name, "sh", "-e"]);
        run_script(command, script)
    }

    /// Connects to an address in here.
    ///
    /// # Errors
    ///
    /// What did not work, as text.
    pub fn connect(&self, to: SocketAddr) -> Result<TcpStream, String> {
        let connecting = self.spawn(move || {
            let stream = TcpStream::connect_timeout(&to, Duration::from_secs(5))?;
            stream.set_nonblocking(true)?;
            stream.set_nodelay(true)?;
            Ok(stream)
        });
        match connecting.join() {
            Ok(done) => done.map_err(|e: std::io::Error| format!("{to}: {e}")),
            Err(_) => Err(format!("{to}: the connecting thread panicked")),
        }
    }
}

/// A set of namespaces and a directory for the files of the tests. They end with the process, see [`Namespaces::new`].
#[derive(Debug)]
pub struct Namespaces {
    places: Vec<Namespace>,
    /// Open as long as this lives; its end is the janitor's signal.
    _leash: ChildStdin,
    _janitor: Child,
}

impl Namespaces {
    /// Makes namespaces `sn<pid>-<count><suffix>`, one for each suffix, with nothing in them but a loopback interface that is
    /// up, and an empty directory.
    ///
    /// A janitor process reads from a pipe that nobody writes to. When this is dropped or the process ends, in whatever
    /// way, the pipe closes, and the janitor kills what still runs inside of the namespaces, and removes them and the
    /// directory.
    ///
    /// # Errors
    ///
    /// The command that failed and what it said; without root all of them do.
    pub fn new<S: AsRef<str>>(suffixes: &[S]) -> Result<Self, String> {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let id = format!("{}-{}", std::process::id(), COUNT.fetch_add(1, Ordering::Relaxed));
        let scratch: PathBuf = std::env::temp_dir().join(format!("sinnet-interop-{id}"));
        std::fs::create_dir_all(&scratch).map_err(|e| format!("{}: {e}", scratch.display()))?;
        let names: Vec<String> = suffixes.iter().map(|suffix| format!("sn{id}{}", suffix.as_ref())).collect();
        let all = names.join(" ");
        let clean = format!(
            "cat >/dev/null
             for n in {all}; do ip netns pids $n | xargs -r kill -9; ip netns del $n; done
             for i in 1 2 3 4 5; do rm -rf '{}' && break; sleep 1; done",
            scratch.display()
        );
        let mut janitor = Command::new("sh")
            .args(["-c", &clean])
            .process_group(0) // Ctrl-C in the terminal is for the tests, not for it
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .map_err(|e| format!("sh: {e}"))?;
        let leash = janitor.stdin.take().ok_or("no pipe to the janitor")?;
        run_script(shell(), &format!("for n in {all}; do ip netns add $n; ip -n $n link set lo up; done"))?;
        let scratch: Arc<Path> = scratch.into();
        let places =
            names.iter().map(|name| Namespace { name: name.as_str().into(), scratch: scratch.clone() });
        Ok(Self { places: places.collect(), _leash: leash, _janitor: janitor })
    }

    /// One of them, in the order of their suffixes.
    ///
    /// # Panics
    ///
    /// When there are not so many.
    #[must_use]
    pub fn place(&self, index: usize) -> &Namespace {
        &self.places[index]
    }
}

fn shell() -> Command {
    let mut command = Command::new("sh");
    command.arg("-e");
    command
}

/// Runs a shell script as root outside of the namespaces.
///
/// # Errors
///
/// What it said, when it fails.
pub fn script(text: &str) -> Result<(), String> {
    run_script(shell(), text)
}

fn run_script(mut command: Command, text: &str) -> Result<(), String> {
    let mut shell = command
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .map_err(|e| format!("{command:?}: {e}"))?;
    if let Some(mut stdin) = shell.stdin.take() {
        stdin.write_all(text.as_bytes()).map_err(|e| e.to_string())?;
    }
    let done = shell.wait_with_output().map_err(|e| e.to_string())?;
    if done.status.success() {
        return Ok(());
    }
    Err(format!(
        "a network of namespaces cannot be made (the interoperability tests need root, iproute2 and nftables): {}",
        String::from_utf8_lossy(&done.stderr).trim()
    ))
}
