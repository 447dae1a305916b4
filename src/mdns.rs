//! Names in place of addresses (draft-ietf-mmusic-mdns-ice-candidates): those of peers are looked up, and ours hide behind some.
//!
//! One task an endpoint owns the sockets, and has them open only while a name is looked up or one of ours may be asked for.

mod core;
mod links;
mod message;
mod names;

use std::collections::HashMap;
use std::future::poll_fn;
use std::net::IpAddr;
use std::pin::pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::task::Poll;
use std::time::{Duration, Instant};

use tokio::sync::Notify;

use self::core::Core;
use self::links::Links;
use self::names::{Names, is_hiding};
use crate::shared::{EndpointShared, PeerShared, now};

/// What is done with names in place of addresses, which browsers give out by default: `….local`, which only hosts on the same link
/// can resolve, by multicast DNS.
///
/// A name is looked up only if it is a UUID and `.local`, on the interfaces that [`HostFilter`](crate::HostFilter) lets pass, for three
/// seconds at the most, and never by any other kind of DNS. It isn't needed to reach a browser that can reach us: its checks
/// show us its address. It is needed where both sides hide.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Default, Debug)]
#[non_exhaustive]
pub enum Mdns {
    /// Candidates with names are ignored. The default, as looking names up is multicast to everybody on the link.
    #[default]
    Off,
    /// Those of peers are looked up.
    Resolve,
    /// They are looked up, and our own host candidates get names, too, which stay the same as long as the endpoint lives. Other
    /// candidates don't say which of our addresses they belong to. Only peers that are on the same link and can resolve names can
    /// use our host candidates.
    ResolveAndHide,
}

/// Interfaces are looked at again after so long, when a name is wanted.
const LOOK_AGAIN: Duration = Duration::from_secs(1);

/// What handles and the driver share with the task.
#[derive(Default)]
pub(crate) struct MdnsShared {
    names: Mutex<Names>,
    wanted: Mutex<Vec<(String, Weak<PeerShared>)>>,
    wake: Notify,
    look: AtomicBool,
}

impl MdnsShared {
    /// The name behind which an address of ours hides; `None` if it can't have one, and so can't be told to anybody.
    pub(crate) fn name_of(&self, ip: IpAddr) -> Option<String> {
        let name = self.names.lock().unwrap_or_else(PoisonError::into_inner).name_of(ip);
        self.wake.notify_one();
        name
    }

    /// The machine's addresses have changed.
    pub(crate) fn look(&self) {
        self.look.store(true, Ordering::Relaxed);
        self.wake.notify_one();
    }

    /// Has the address of a name told to this connection's core. The number is limited there.
    pub(crate) fn resolve(&self, name: String, peer: &Arc<PeerShared>) {
        self.wanted.lock().unwrap_or_else(PoisonError::into_inner).push((name, Arc::downgrade(peer)));
        self.wake.notify_one();
    }
}

/// Starts the task on the current tokio runtime, if it is wanted. It ends with the driver.
pub(crate) fn spawn(shared: &Arc<EndpointShared>) {
    if shared.config.mdns != Mdns::Off {
        tokio::spawn(Task::new(shared.clone()).run());
    }
}

struct Task {
    shared: Arc<EndpointShared>,
    core: Core,
    links: Links,
    /// Who wants to know.
    waiting: HashMap<String, Vec<Weak<PeerShared>>>,
    looked: Option<Instant>,
}

impl Task {
    fn new(shared: Arc<EndpointShared>) -> Self {
        Self { shared, core: Core::default(), links: Links::default(), waiting: HashMap::new(), looked: None }
    }

    async fn run(mut self) {
        let shared = self.shared.clone();
        let mut end = pin!(shared.finished.wait());
        loop {
            self.turn();
            let sleep = tokio::time::sleep_until(
                self.core.poll_timeout().unwrap_or_else(|| now() + Duration::from_secs(3_600)).into(),
            );
            tokio::select! {
                () = &mut end => return,
                () = shared.mdns.wake.notified() => {}
                () = self.input() => {}
                () = sleep => {}
            }
        }
    }

    /// Waits for datagrams, and takes them.
    async fn input(&mut self) {
        let Self { shared, core, links, .. } = self;
        poll_fn(|cx| {
            let names = shared.mdns.names.lock().unwrap_or_else(PoisonError::into_inner);
            let now = now();
            match links
                .poll_input(cx, |link, from, datagram| core.handle_input(now, link, from, datagram, &names))
            {
                Poll::Ready(()) => Poll::Ready(()),
                Poll::Pending => Poll::Pending,
            }
        })
        .await;
    }

    fn turn(&mut self) {
        let now = now();
        let wanted =
            std::mem::take(&mut *self.shared.mdns.wanted.lock().unwrap_or_else(PoisonError::into_inner));
        {
            let names = self.shared.mdns.names.lock().unwrap_or_else(PoisonError::into_inner);
            for (name, peer) in wanted {
                let hiding = is_hiding(&name);
                self.waiting.entry(name.clone()).or_default().push(peer);
                if hiding {
                    self.core.ask(now, &name, names.ip_of(&name));
                } else {
                    tracing::debug!(name, "not a name that hides an address, so not looked up");
                    self.core.refuse(name);
                }
            }
            self.core.handle_timeout(now, &names);
            if self.core.is_asking() || !names.is_empty() {
                let look = self.shared.mdns.look.swap(false, Ordering::Relaxed);
                if look || self.looked.is_none_or(|at| now.saturating_duration_since(at) >= LOOK_AGAIN) {
                    self.looked = Some(now);
                    if self.links.update(&self.shared.config) {
                        self.core.links_changed();
                    }
                }
            } else if self.looked.take().is_some() {
                self.links.close();
            }
        }
        while let Some((target, datagram)) = self.core.poll_transmit() {
            self.links.send(target, &datagram);
        }
        while let Some((name, ip)) = self.core.poll_found() {
            tracing::debug!(name, ?ip, "name resolved");
            for peer in self.waiting.remove(&name).into_iter().flatten().filter_map(|peer| peer.upgrade()) {
                peer.lock().peer.name_resolved(now, &name, ip);
                peer.touch();
            }
        }
    }
}

#[cfg(test)]
mod tests;
