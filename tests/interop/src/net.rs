//! Two network namespaces joined by a veth pair, and nothing else: no packet leaves the machine.
//!
//! Both browsers need a default route to gather a candidate at all, so each end has one, towards the other end.

use std::io::Write as _;
use std::net::{SocketAddr, TcpStream};
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::time::Duration;

use nix::sched::{CloneFlags, setns};

/// Address of the browser's end.
pub const BROWSER_ADDRESS: &str = "10.9.0.1";
/// Address of the peer's end.
pub const PEER_ADDRESS: &str = "10.9.0.2";

/// One end of the cable.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Side {
    /// Where browsers run: [`BROWSER_ADDRESS`], and fd09::1 if the kernel has IPv6.
    Browser,
    /// Where the peer under test runs: [`PEER_ADDRESS`], and fd09::2.
    Peer,
}

/// The two namespaces. They end with the process, see [`Net::new`].
#[derive(Debug)]
pub struct Net {
    names: [String; 2],
    scratch: PathBuf,
    /// Open as long as this process lives; its end is the janitor's signal.
    _leash: ChildStdin,
    _janitor: Child,
}

impl Net {
    /// Makes the namespaces `sn<pid>a` and `sn<pid>b`, and an empty directory for the tests' files.
    ///
    /// A janitor process reads from a pipe that nobody writes to. When this process ends, in whatever way, the pipe
    /// closes, and the janitor kills what still runs inside of the two namespaces, and removes them and the directory.
    ///
    /// # Errors
    ///
    /// The command that failed and what it said; without root all of them do.
    pub fn new() -> Result<Self, String> {
        let id = std::process::id();
        let names = [format!("sn{id}a"), format!("sn{id}b")];
        let [a, b] = &names;
        let scratch = std::env::temp_dir().join(format!("sinnet-interop-{id}"));
        std::fs::create_dir_all(&scratch).map_err(|e| format!("{}: {e}", scratch.display()))?;
        let clean = format!(
            "cat >/dev/null
             for n in {a} {b}; do ip netns pids $n | xargs -r kill -9; ip netns del $n; done
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
        let setup = format!(
            "set -e
             v6=/proc/sys/net/ipv6
             ip netns add {a}
             ip netns add {b}
             ip link add {a} netns {a} type veth peer name {b} netns {b}
             ip -n {a} addr add {BROWSER_ADDRESS}/24 dev {a}
             ip -n {b} addr add {PEER_ADDRESS}/24 dev {b}
             for n in {a} {b}; do
                 ip -n $n link set lo up
                 ip netns exec $n sh -c \"! test -d $v6 || echo 0 > $v6/conf/$n/accept_dad\"
                 ip -n $n link set $n up
             done
             ip -n {a} route add default via {PEER_ADDRESS}
             ip -n {b} route add default via {BROWSER_ADDRESS}
             test -d $v6 || exit 0
             ip -n {a} addr add fd09::1/64 dev {a} nodad
             ip -n {b} addr add fd09::2/64 dev {b} nodad
             ip -n {a} -6 route add default via fd09::2
             ip -n {b} -6 route add default via fd09::1"
        );
        let mut shell = Command::new("sh")
            .arg("-e")
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .map_err(|e| format!("sh: {e}"))?;
        if let Some(mut stdin) = shell.stdin.take() {
            stdin.write_all(setup.as_bytes()).map_err(|e| e.to_string())?;
        }
        let done = shell.wait_with_output().map_err(|e| e.to_string())?;
        if !done.status.success() {
            return Err(format!(
                "cannot make network namespaces (the interoperability tests need root and iproute2): {}",
                String::from_utf8_lossy(&done.stderr).trim()
            ));
        }
        Ok(Self { names, scratch, _leash: leash, _janitor: janitor })
    }

    /// A directory for profiles and files; it ends with the namespaces.
    #[must_use]
    pub fn scratch(&self) -> &Path {
        &self.scratch
    }

    /// Name of a side's namespace.
    #[must_use]
    pub fn name(&self, side: Side) -> &str {
        match side {
            Side::Browser => &self.names[0],
            Side::Peer => &self.names[1],
        }
    }

    /// The start of a command line that runs its rest in that namespace.
    #[must_use]
    pub fn exec(&self, side: Side) -> [&str; 4] {
        ["ip", "netns", "exec", self.name(side)]
    }

    /// Runs `work` on a thread inside of a namespace: the sockets that it makes belong there.
    ///
    /// # Panics
    ///
    /// On that thread, when it cannot enter the namespace.
    pub fn spawn<T: Send + 'static>(
        &self,
        side: Side,
        work: impl FnOnce() -> T + Send + 'static,
    ) -> std::thread::JoinHandle<T> {
        let path = format!("/var/run/netns/{}", self.name(side));
        std::thread::spawn(move || {
            let file = std::fs::File::open(&path).unwrap_or_else(|e| panic!("{path}: {e}"));
            setns(file, CloneFlags::CLONE_NEWNET).unwrap_or_else(|e| panic!("setns {path}: {e}"));
            work()
        })
    }

    /// Connects to an address inside of a namespace.
    ///
    /// # Errors
    ///
    /// What did not work, as text.
    pub fn connect(&self, side: Side, to: SocketAddr) -> Result<TcpStream, String> {
        let connecting = self.spawn(side, move || {
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
