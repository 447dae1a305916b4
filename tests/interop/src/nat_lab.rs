//! Private networks behind real address translation: the kernel's, by nftables.
//!
//! ```text
//!   host 192.168.1.2 ── gateway 192.168.1.1 │ 198.51.100.10 ──┐
//!   host 192.168.1.2 ── gateway 192.168.1.1 │ 198.51.100.20 ──┼── 198.51.100.1 and .2: STUN and TURN servers
//!   host 192.168.1.2 ── home 192.168.1.1 │ 100.64.0.10        │
//!                         ── carrier 100.64.0.1 │ 198.51.100.30 ┤
//!   host 198.51.100.40 ───────────────────────────────────────┘
//! ```
//!
//! Every box is a namespace, and no packet leaves the machine. All homes use the same private addresses, as real ones do.
//!
//! The kernel translates a port to itself where it can, for every destination alike ([`Nat::Preserving`]), or to a random one
//! for each destination ([`Nat::Random`]); it lets in what comes from the very address and port that was sent to. Gateways
//! drop what nobody inside asked for, as those in homes do. Without that rule the kernel would take a check that comes too
//! early for its own, and translate the host's port to another one from then on.

use std::fmt::Write as _;
use std::future::Future;
use std::net::Ipv4Addr;

use tokio::runtime::{Builder, Handle};
use tokio::sync::oneshot;

use crate::namespace::{Namespace, Namespaces, script};

/// Address of the public place that servers listen at.
pub const SERVER: Ipv4Addr = Ipv4Addr::new(198, 51, 100, 1);
/// Another one.
pub const SECOND_SERVER: Ipv4Addr = Ipv4Addr::new(198, 51, 100, 2);
/// An address of the public network that nobody has.
pub const NOBODY: Ipv4Addr = Ipv4Addr::new(198, 51, 100, 3);

/// What is between a host and the public network. The words are those of RFC 4787.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Nat {
    /// Nothing: the host has a public address.
    Public,
    /// `masquerade persistent`, and all UDP ports are forwarded to the host: mapping and filtering do not ask for the
    /// destination.
    Open,
    /// `masquerade persistent`: one mapping for all destinations; filtering by address and port.
    Preserving,
    /// `masquerade fully-random`: a mapping for each destination address and port, and filtering by both.
    Random,
    /// [`Nat::Preserving`] at home, and again at the carrier.
    Double,
    /// [`Nat::Preserving`], and UDP does not pass.
    NoUdp,
}

impl Nat {
    /// All of them.
    pub const ALL: [Self; 6] =
        [Self::Public, Self::Open, Self::Preserving, Self::Random, Self::Double, Self::NoUdp];

    fn masquerade(self) -> &'static str {
        if self == Self::Random { "masquerade fully-random" } else { "masquerade persistent" }
    }
}

/// The public network and the sites around it.
#[derive(Debug)]
pub struct NatLab {
    /// Where servers run: [`SERVER`].
    pub public: Host,
    /// Another such place: [`SECOND_SERVER`].
    pub second: Host,
    /// In the order in which they were asked for.
    pub sites: Vec<Site>,
    // The last to be dropped: the threads of the hosts end before their namespaces.
    _namespaces: Namespaces,
}

/// A home with its gateway, or a host without one.
#[derive(Debug)]
pub struct Site {
    /// What is in between.
    pub nat: Nat,
    /// The hosts. Of [`Nat::Double`] each has a home of its own, and all share the carrier.
    pub hosts: Vec<Host>,
    /// The gateway to the public network; none for [`Nat::Public`].
    gateway: Option<Namespace>,
    /// Its address there, or the first host's.
    pub external: Ipv4Addr,
}

/// A namespace with a thread in it that runs futures.
#[derive(Debug)]
pub struct Host {
    /// Where it is.
    pub place: Namespace,
    runtime: Handle,
    _stop: oneshot::Sender<()>,
}

impl Host {
    fn new(place: &Namespace) -> Self {
        let (handle, runtime) = std::sync::mpsc::channel();
        let (stop, stopped) = oneshot::channel::<()>();
        place.spawn(move || {
            let runtime = Builder::new_current_thread().enable_all().build().expect("a runtime");
            let _ = handle.send(runtime.handle().clone());
            let _ = runtime.block_on(stopped);
        });
        let runtime = runtime.recv().expect("a thread in the namespace");
        Self { place: place.clone(), runtime, _stop: stop }
    }

    /// Runs a future on this host's thread: the sockets that it opens and the interfaces that it sees are the host's.
    ///
    /// # Panics
    ///
    /// When the future does.
    pub async fn run<T: Send + 'static>(&self, future: impl Future<Output = T> + Send + 'static) -> T {
        match self.runtime.spawn(future).await {
            Ok(output) => output,
            Err(error) => match error.try_into_panic() {
                Ok(panic) => std::panic::resume_unwind(panic),
                Err(error) => panic!("on {}: {error}", self.place.name()),
            },
        }
    }
}

/// A namespace to be, and what is done in it.
#[derive(Default)]
struct Plan {
    suffix: String,
    /// `ip -batch`, with `{name}` for the names of other namespaces: `{2}`.
    links: String,
    shell: String,
}

/// The plans of all namespaces. The first is the public network.
struct Plans(Vec<Plan>);

impl Plans {
    fn add(&mut self, suffix: &str) -> usize {
        self.0.push(Plan { suffix: suffix.to_owned(), ..Plan::default() });
        self.0.len() - 1
    }

    /// An interface `name` in `at` with this address, on a cable to a port of the bridge of `to`; packets for elsewhere go
    /// to `via`.
    fn attach(&mut self, at: usize, name: &str, address: Ipv4Addr, to: usize, bridge: &str, via: Ipv4Addr) {
        let _ = write!(
            self.0[at].links,
            "link add {name} type veth peer name to{at} netns {{{to}}}
             address add {address}/24 dev {name}
             link set {name} up
             route add default via {via}\n"
        );
        // After all links of that side are there, as the cable's end is made from here.
        let _ = write!(self.0[to].shell, "ip link set to{at} master {bridge}\nip link set to{at} up\n");
    }

    fn bridge(&mut self, at: usize, name: &str, addresses: &[Ipv4Addr]) {
        let links = &mut self.0[at].links;
        let _ = write!(links, "link add {name} type bridge\nlink set {name} up\n");
        for address in addresses {
            let _ = writeln!(links, "address add {address}/24 dev {name}");
        }
    }

    /// A gateway's bridge `lan` for its hosts, and its interface `wan`.
    fn gateway(
        &mut self,
        nat: Nat,
        suffix: &str,
        lan: Ipv4Addr,
        wan: Ipv4Addr,
        to: (usize, &str, Ipv4Addr),
    ) -> usize {
        let at = self.add(suffix);
        self.bridge(at, "lan", &[lan]);
        self.attach(at, "wan", wan, to.0, to.1, to.2);
        let masquerade = nat.masquerade();
        let forwarded = match nat {
            Nat::Open => format!("iifname wan meta l4proto udp dnat to {}", host(lan, 0)),
            _ => String::new(),
        };
        let forbidden = if nat == Nat::NoUdp { "meta l4proto udp drop" } else { "" };
        let _ = write!(
            self.0[at].shell,
            "echo 1 >/proc/sys/net/ipv4/ip_forward
             nft -f - <<'END'
             table ip translation {{
                 chain leaving {{
                     type nat hook postrouting priority srcnat
                     oifname wan {masquerade}
                 }}
                 chain arriving {{
                     type nat hook prerouting priority dstnat
                     {forwarded}
                 }}
             }}
             table ip wall {{
                 chain to_the_gateway {{
                     type filter hook input priority filter
                     iifname wan ct state new drop
                 }}
                 chain through {{
                     type filter hook forward priority filter
                     {forbidden}
                     ct status dnat accept
                     iifname wan ct state new drop
                 }}
             }}
             table ip weather {{
                 chain through {{
                     type filter hook forward priority -10
                 }}
             }}\nEND\n"
        );
        at
    }
}

/// The address of a network's `index`th host, given its gateway's.
fn host(gateway: Ipv4Addr, index: usize) -> Ipv4Addr {
    let [a, b, c, d] = gateway.octets();
    Ipv4Addr::new(a, b, c, d.saturating_add(u8::try_from(index).unwrap_or(u8::MAX)).saturating_add(1))
}

const HOME: Ipv4Addr = Ipv4Addr::new(192, 168, 1, 1);
const CARRIER: Ipv4Addr = Ipv4Addr::new(100, 64, 0, 1);

impl NatLab {
    /// A lab with a site for each of these, with so many hosts. At most 24 sites of at most 9 hosts.
    ///
    /// # Errors
    ///
    /// The command that failed and what it said; without root all of them do.
    pub fn new(wanted: &[(Nat, usize)]) -> Result<Self, String> {
        let mut plans = Plans(Vec::new());
        let public = plans.add("p");
        plans.bridge(public, "net", &[SERVER]);
        let second = plans.add("q");
        plans.attach(second, "eth", SECOND_SERVER, public, "net", SERVER);
        // What goes to private addresses is lost in silence, as in the real network: coturn closes an allocation when its
        // system knows no way to a peer.
        plans.0[public].links.push_str("route add default dev lo\n");
        let outside = (public, "net", SERVER);
        let mut sites = Vec::new();
        for (index, (nat, hosts)) in wanted.iter().copied().enumerate() {
            let number = u8::try_from(10 * (index + 1)).map_err(|_| "too many sites")?;
            let external = Ipv4Addr::new(198, 51, 100, number);
            let name = |what: &str, host: usize| format!("{index}{what}{host}");
            let mut inside = Vec::new();
            let gateway = match nat {
                Nat::Public => None,
                Nat::Double => Some(plans.gateway(nat, &name("c", 0), CARRIER, external, outside)),
                _ => Some(plans.gateway(nat, &name("g", 0), HOME, external, outside)),
            };
            for i in 0..hosts {
                let (address, to) = match (nat, gateway) {
                    (_, None) => (
                        Ipv4Addr::new(198, 51, 100, number.saturating_add(u8::try_from(i).unwrap_or(9))),
                        outside,
                    ),
                    (Nat::Double, Some(carrier)) => {
                        let wan = host(CARRIER, i);
                        let home = plans.gateway(nat, &name("g", i), HOME, wan, (carrier, "lan", CARRIER));
                        (host(HOME, 0), (home, "lan", HOME))
                    }
                    (_, Some(gateway)) => (host(HOME, i), (gateway, "lan", HOME)),
                };
                let at = plans.add(&name("h", i));
                plans.attach(at, "eth", address, to.0, to.1, to.2);
                inside.push(at);
            }
            sites.push((nat, inside, gateway, external));
        }
        let suffixes: Vec<&str> = plans.0.iter().map(|plan| plan.suffix.as_str()).collect();
        let namespaces = Namespaces::new(&suffixes)?;
        let mut all = String::new();
        for (at, Plan { links, .. }) in plans.0.iter().enumerate() {
            let mut links = links.clone();
            for to in 0..plans.0.len() {
                links = links.replace(&format!("{{{to}}}"), namespaces.place(to).name());
            }
            let _ = write!(all, "ip -n {} -batch - <<'END'\n{links}END\n", namespaces.place(at).name());
        }
        for (at, Plan { shell, .. }) in plans.0.iter().enumerate().filter(|(_, plan)| !plan.shell.is_empty())
        {
            let name = namespaces.place(at).name();
            let _ = write!(all, "ip netns exec {name} sh -e <<'PLACE'\n{shell}PLACE\n");
        }
        script(&all)?;
        let site = |(nat, inside, gateway, external): (Nat, Vec<usize>, Option<usize>, Ipv4Addr)| Site {
            nat,
            hosts: inside.into_iter().map(|at| Host::new(namespaces.place(at))).collect(),
            gateway: gateway.map(|at| namespaces.place(at).clone()),
            external,
        };
        let sites = sites.into_iter().map(site).collect();
        let [public, second] = [public, second].map(|at| Host::new(namespaces.place(at)));
        Ok(Self { public, second, sites, _namespaces: namespaces })
    }
}

impl Site {
    /// The first host.
    #[must_use]
    pub fn host(&self) -> &Host {
        &self.hosts[0]
    }

    /// Runs a script on the gateway to the public network.
    ///
    /// # Panics
    ///
    /// When there is none, or the script fails.
    pub fn on_gateway(&self, text: &str) {
        let gateway = self.gateway.as_ref().expect("a gateway");
        gateway.shell(text).unwrap_or_else(|e| panic!("{text}: {e}"));
    }

    /// From now on the gateway translates what is new in this way; what it has translated stays as it is. Not for
    /// [`Nat::Open`], [`Nat::Double`] and [`Nat::Public`], which are built otherwise.
    ///
    /// # Panics
    ///
    /// When there is no gateway.
    pub fn become_like(&mut self, nat: Nat) {
        let masquerade = nat.masquerade();
        let forbidden =
            if nat == Nat::NoUdp { "nft insert rule ip wall through meta l4proto udp drop" } else { "" };
        self.on_gateway(&format!(
            "nft flush chain ip translation leaving
             nft add rule ip translation leaving oifname wan {masquerade}
             nft flush chain ip wall through
             nft add rule ip wall through ct status dnat accept
             nft add rule ip wall through iifname wan ct state new drop
             {forbidden}"
        ));
        self.nat = nat;
    }

    /// From now on the gateway loses so many of a thousand packets in each direction.
    ///
    /// # Panics
    ///
    /// When there is no gateway.
    pub fn lose(&self, per_mille: u32) {
        let rule = match per_mille {
            0 => String::new(),
            _ => format!("nft add rule ip weather through numgen random mod 1000 '<' {per_mille} drop"),
        };
        self.on_gateway(&format!("nft flush chain ip weather through\n{rule}"));
    }

    /// The gateway forgets its mappings, as when it is started again, and has the external address that ends in `last` from
    /// now on.
    ///
    /// # Panics
    ///
    /// When there is no gateway.
    pub fn renumber(&mut self, last: u8) {
        let [a, b, c, _] = self.external.octets();
        let new = Ipv4Addr::new(a, b, c, last);
        // The kernel drops what it masqueraded when the address goes.
        self.on_gateway(&format!(
            "ip address del {}/24 dev wan
             ip address add {new}/24 dev wan
             ip route replace default via {SERVER}",
            self.external
        ));
        self.external = new;
    }

    /// How many seconds the gateway keeps a mapping that nothing passes.
    ///
    /// # Panics
    ///
    /// When there is no gateway.
    pub fn forget_after(&self, seconds: u32) {
        self.on_gateway(&format!(
            "cd /proc/sys/net/netfilter
             echo {seconds} >nf_conntrack_udp_timeout
             echo {seconds} >nf_conntrack_udp_timeout_stream"
        ));
    }

    /// The gateway's connections, as the kernel lists them.
    ///
    /// # Panics
    ///
    /// When there is no gateway.
    #[must_use]
    pub fn mappings(&self) -> String {
        let gateway = self.gateway.as_ref().expect("a gateway");
        let read = gateway.spawn(|| std::fs::read_to_string("/proc/thread-self/net/nf_conntrack"));
        read.join().expect("a thread").expect("/proc/net/nf_conntrack")
    }
}
