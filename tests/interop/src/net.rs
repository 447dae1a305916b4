//! Two network namespaces joined by a veth pair, and nothing else: no packet leaves the machine.
//!
//! Both browsers need a default route to gather a candidate at all, so each end has one, towards the other end.

use std::path::Path;

use crate::namespace::{Namespace, Namespaces, script};

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

/// The two namespaces, and an empty directory for the tests' files. They end with the process, see [`Namespaces::new`].
#[derive(Debug)]
pub struct Net(Namespaces);

impl Net {
    /// Makes the two namespaces and the cable.
    ///
    /// # Errors
    ///
    /// The command that failed and what it said; without root all of them do.
    pub fn new() -> Result<Self, String> {
        let namespaces = Namespaces::new(&["a", "b"])?;
        let [a, b] = [0, 1].map(|index| namespaces.place(index).name());
        script(&format!(
            "v6=/proc/sys/net/ipv6
             ip link add cable netns {a} type veth peer name cable netns {b}
             ip -n {a} addr add {BROWSER_ADDRESS}/24 dev cable
             ip -n {b} addr add {PEER_ADDRESS}/24 dev cable
             for n in {a} {b}; do
                 ip netns exec $n sh -c \"! test -d $v6 || echo 0 > $v6/conf/cable/accept_dad\"
                 ip -n $n link set cable up
             done
             ip -n {a} route add default via {PEER_ADDRESS}
             ip -n {b} route add default via {BROWSER_ADDRESS}
             test -d $v6 || exit 0
             ip -n {a} addr add fd09::1/64 dev cable nodad
             ip -n {b} addr add fd09::2/64 dev cable nodad
             ip -n {a} -6 route add default via fd09::2
             ip -n {b} -6 route add default via fd09::1"
        ))?;
        Ok(Self(namespaces))
    }

    /// A directory for profiles and files; it ends with the namespaces.
    #[must_use]
    pub fn scratch(&self) -> &Path {
        self.0.place(0).scratch()
    }

    /// A side's namespace.
    #[must_use]
    pub fn place(&self, side: Side) -> &Namespace {
        self.0.place(match side {
            Side::Browser => 0,
            Side::Peer => 1,
        })
    }

    /// The start of a command line that runs its rest in that namespace.
    #[must_use]
    pub fn exec(&self, side: Side) -> [&str; 4] {
        self.place(side).exec()
    }

    /// Runs `work` on a thread inside of a namespace: the sockets that it makes belong there.
    pub fn spawn<T: Send + 'static>(
        &self,
        side: Side,
        work: impl FnOnce() -> T + Send + 'static,
    ) -> std::thread::JoinHandle<T> {
        self.place(side).spawn(work)
    }
}
