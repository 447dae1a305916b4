//! Changes of the network while connections live: continual gathering.
//!
//! One task an endpoint looks at the machine's addresses every second while there are connections, and at once, but ten times a
//! second at the most, when the system refuses to send from one. What has changed goes to the driver, which takes away
//! what has gone and offers what is new.
//!
//! Looking is a few system calls without any rights (0.1 ms with a dozen addresses). The system's own notices would come sooner, but differ
//! on every system and need a crate for each; an address that goes shows by the first datagram that can't be sent.

use std::io;
use std::net::SocketAddr;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use sinnet_peer::Protocol;
use tokio::sync::Notify;

use crate::gather::{HostOffer, Hosts, add_hosts, offers, tcp_bases};
use crate::shared::{EndpointShared, PeerShared};

/// How often to look.
const INTERVAL: Duration = Duration::from_secs(1);

/// How often to look when datagrams can't be sent.
const HURRY: Duration = Duration::from_millis(100);

/// What the driver tells the task.
#[derive(Default)]
pub(crate) struct Watch {
    connections: AtomicUsize,
    wake: Notify,
    refused: Notify,
    /// A connection has done without the addresses of interfaces.
    missed: AtomicBool,
}

impl Watch {
    /// How many connections there are.
    pub(crate) fn set_connections(&self, count: usize) {
        if self.connections.swap(count, Ordering::Relaxed) == 0 && count > 0 {
            self.wake.notify_one();
        }
    }

    /// The system can't send from an address.
    pub(crate) fn look(&self) {
        self.refused.notify_one();
    }

    /// A connection has not got the addresses of interfaces, as they couldn't be listed. It gets them once they can.
    pub(crate) fn missed(&self, error: &io::Error) {
        if !self.missed.swap(true, Ordering::Relaxed) {
            tracing::warn!(%error, "can't list the network interfaces; no host candidates of them");
        }
    }
}

/// What is known of the machine's addresses.
#[derive(Default)]
struct Looks {
    known: Hosts,
    /// The last look has failed.
    failed: bool,
}

impl Looks {
    /// What was found. Gives the addresses that have gone, if connections are to hear of something. They do, too, when one of them
    /// has `missed` a list.
    fn take(&mut self, found: io::Result<Hosts>, missed: &AtomicBool) -> Option<Vec<SocketAddr>> {
        match found {
            Ok(hosts) => {
                self.failed = false;
                if !missed.swap(false, Ordering::Relaxed) && hosts == self.known {
                    return None;
                }
                let before = self.known.preferred.iter().chain(&self.known.kept);
                let gone = before.filter(|base| hosts.lacks(**base)).copied().collect();
                self.known = hosts;
                Some(gone)
            }
            Err(error) => {
                if !std::mem::replace(&mut self.failed, true) {
                    tracing::warn!(%error, "can't list the network interfaces; changes of the network aren't seen");
                }
                None
            }
        }
    }
}

/// The addresses as they are now, for the driver.
pub(crate) struct NetworkChange {
    hosts: Hosts,
    offers: Vec<HostOffer>,
    /// Of those before.
    gone: Vec<SocketAddr>,
}

/// Starts the task on the current tokio runtime, if there is something to watch. It ends with the driver.
pub(crate) fn spawn(shared: &Arc<EndpointShared>) {
    if shared.config.watch_network && shared.bound.iter().any(|bound| bound.ip().is_unspecified()) {
        tokio::spawn(watch(shared.clone()));
    }
}

async fn watch(shared: Arc<EndpointShared>) {
    let mut end = pin!(shared.finished.wait());
    let watch = &shared.watch;
    let mut looks = Looks::default();
    loop {
        if watch.connections.load(Ordering::Relaxed) == 0 {
            tokio::select! {
                () = &mut end => return,
                () = watch.wake.notified() => {}
            }
        }
        let found = Hosts::now(&shared.config, &shared.bound);
        if let Some(mut gone) = looks.take(found, &watch.missed) {
            let hosts = looks.known.clone();
            tracing::debug!(addresses = ?hosts.preferred, "the network");
            let offers = offers(&shared, &hosts.preferred);
            {
                let mut commands = shared.commands();
                // The driver may not have come to the last one.
                gone.extend(commands.network.take().into_iter().flat_map(|before| before.gone));
                commands.network = Some(NetworkChange { hosts, offers, gone });
            }
            shared.wake_driver();
            shared.mdns.look();
        }
        let hurry = async {
            tokio::time::sleep(HURRY).await;
            watch.refused.notified().await;
        };
        tokio::select! {
            () = &mut end => return,
            () = tokio::time::sleep(INTERVAL) => {}
            () = hurry => {}
        }
    }
}

impl NetworkChange {
    /// Addresses that are no more.
    pub(crate) fn gone(&self) -> &[SocketAddr] {
        &self.gone
    }

    /// Takes the host candidates that have gone from a connection, and offers the new ones. Returns the latter.
    pub(crate) fn apply(&self, peer: &Arc<PeerShared>, now: Instant) -> Vec<SocketAddr> {
        let mut core = peer.lock();
        // Nothing has been gathered yet, or nothing is to be.
        let Some(known) = core.hosts.clone() else { return Vec::new() };
        for gone in known.iter().filter(|base| self.hosts.lacks(**base)) {
            tracing::debug!(%gone, "an address has gone");
            core.peer.remove_local(now, Protocol::Udp, *gone);
            for (base, _) in tcp_bases(&peer.endpoint, gone.ip()) {
                core.peer.remove_local(now, Protocol::Tcp, base);
            }
        }
        core.hosts.get_or_insert_default().retain(|base| !self.hosts.lacks(*base));
        let new: Vec<HostOffer> =
            self.offers.iter().filter(|offer| !known.contains(&offer.base)).cloned().collect();
        add_hosts(peer, &mut core, now, &new);
        new.into_iter().map(|offer| offer.base).collect()
    }
}

/// Whether the system refused to send for want of an address, an interface or a route.
pub(crate) fn is_lost_address(error: &std::io::Error) -> bool {
    use std::io::ErrorKind;
    matches!(
        error.kind(),
        ErrorKind::AddrNotAvailable
            | ErrorKind::NetworkUnreachable
            | ErrorKind::HostUnreachable
            | ErrorKind::NetworkDown
            | ErrorKind::InvalidInput
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::shared::Queued;
    use crate::{Endpoint, EndpointConfig};

    fn change(endpoint: &Endpoint, addrs: &[&str]) -> NetworkChange {
        let preferred: Vec<SocketAddr> = addrs.iter().map(|addr| addr.parse().unwrap()).collect();
        let offers = offers(&endpoint.0.shared, &preferred);
        NetworkChange {
            hosts: Hosts { preferred, kept: vec!["10.0.0.9:1".parse().unwrap()] },
            offers,
            gone: Vec::new(),
        }
    }

    #[tokio::test]
    async fn new_addresses_are_offered_and_those_that_have_gone_are_taken_away() {
        let config =
            EndpointConfig { watch_network: false, ..EndpointConfig::bind("127.0.0.1:0".parse().unwrap()) };
        let endpoint = Endpoint::new(config).await.unwrap();
        let peer = endpoint.peer_connection(Default::default()).unwrap();
        let shared = peer.shared();
        let now = crate::shared::now();
        let first = change(&endpoint, &["10.0.0.1:1", "10.0.0.2:1"]);
        assert!(first.apply(shared, now).is_empty(), "nothing is offered before we have described ourselves");
        shared.lock().hosts = Some(Vec::new());
        assert_eq!(first.apply(shared, now).len(), 2);
        assert_eq!(first.apply(shared, now).len(), 0, "once");
        let candidates = |peer: &PeerShared| {
            let queue = &peer.lock().queue;
            queue.iter().filter(|event| matches!(event, Queued::Candidate(Some(_)))).count()
        };
        // Of UDP and of TCP.
        assert_eq!(candidates(shared), 4);
        let kept = change(&endpoint, &["10.0.0.2:1", "10.0.0.9:1"]);
        assert_eq!(kept.apply(shared, now).len(), 1);
        let second = change(&endpoint, &["10.0.0.3:1"]);
        assert_eq!(second.apply(shared, now), ["10.0.0.3:1".parse().unwrap()]);
        let local: Vec<_> = peer.local_candidates().iter().map(|c| c.address.to_string()).collect();
        let expected = ["10.0.0.9:1", "10.0.0.9:9", "10.0.0.3:1", "10.0.0.3:9"];
        assert_eq!(local, expected, "a deprecated one stays with who uses it");
        assert_eq!(candidates(shared), 8);
        let none = change(&endpoint, &[]);
        assert!(none.apply(shared, now).is_empty());
        assert_eq!(first.apply(shared, now).len(), 2, "an address that has come back is new");
    }

    fn hosts(preferred: &[&str], kept: &[&str]) -> Hosts {
        let parsed = |addrs: &[&str]| addrs.iter().map(|addr| addr.parse().unwrap()).collect();
        Hosts { preferred: parsed(preferred), kept: parsed(kept) }
    }

    #[test]
    fn an_address_that_was_deprecated_before_it_went_has_gone_too() {
        let (mut looks, missed) = (Looks::default(), AtomicBool::new(false));
        let [old, new] = ["[2001:db8::aaaa]:1", "[2001:db8::bbbb]:1"];
        assert_eq!(looks.take(Ok(hosts(&[old], &[])), &missed), Some(vec![]));
        assert_eq!(looks.take(Ok(hosts(&[new], &[old])), &missed), Some(vec![]));
        assert_eq!(looks.take(Ok(hosts(&[new], &[])), &missed), Some(vec![old.parse().unwrap()]));
        assert_eq!(looks.take(Ok(hosts(&[new], &[])), &missed), None);
    }

    #[test]
    fn a_list_that_fails_takes_nothing_away_and_who_missed_it_gets_the_next() {
        let (mut looks, missed) = (Looks::default(), AtomicBool::new(false));
        let there = hosts(&["10.0.0.1:1"], &[]);
        let no_descriptors = || Err(io::Error::from_raw_os_error(24));
        assert_eq!(looks.take(Ok(there.clone()), &missed), Some(vec![]));
        assert_eq!(looks.take(no_descriptors(), &missed), None);
        assert_eq!(looks.known, there);
        assert_eq!(looks.take(Ok(there.clone()), &missed), None);
        missed.store(true, Ordering::Relaxed);
        assert_eq!(looks.take(no_descriptors(), &missed), None);
        assert_eq!(looks.take(Ok(there.clone()), &missed), Some(vec![]));
        assert_eq!(looks.take(Ok(there), &missed), None, "once");
    }

    #[test]
    fn what_may_mean_that_an_address_has_gone() {
        #[cfg(target_os = "linux")]
        for (code, lost) in [
            (22, true),
            (99, true),
            (100, true),
            (101, true),
            (113, true),
            (11, false),
            (90, false),
            (111, false),
        ] {
            assert_eq!(is_lost_address(&std::io::Error::from_raw_os_error(code)), lost, "{code}");
        }
    }
}
