//! Server-reflexive candidates, gathered once for all connections of an endpoint.
//!
//! The first connection that gathers has the servers' names resolved and each of them asked about each of our addresses;
//! those that come later get what is known. As long as there are connections, the questions are repeated now and then,
//! which keeps the translators' mappings open.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use rand::TryRng;
use rand::rngs::SysRng;
use sinnet_peer::{GatherConfig, GatherError, GatherEvent, Gatherer, Path};
use sinnet_turn::{Credentials, Host, ServerUri, UriTransport};
use tokio::net::lookup_host;

use crate::description::IceCandidateError;
use crate::ice_server::IceServer;
use crate::shared::{EndpointShared, PeerCore, PeerShared, Queued};
use crate::watch::NetworkChange;

/// The addresses of one server, or why there are none.
pub(crate) struct Resolved {
    /// Who we are to it.
    pub(super) credentials: Credentials,
    pub(super) url: ServerUri,
    pub(super) addresses: Result<Vec<SocketAddr>, String>,
}

/// Addresses of one server that are asked.
const ADDRESSES_PER_SERVER: usize = 4;

/// How long gathering takes at the most, by default.
pub(crate) const GATHER_TIMEOUT: Duration = Duration::from_secs(5);

/// A connection that waits for candidates, and its own addresses.
pub(crate) struct Wanted {
    pub(crate) peer: Arc<PeerShared>,
    pub(crate) bases: Vec<SocketAddr>,
}

#[derive(Default)]
pub(super) struct Gathering {
    servers: Servers,
    gatherer: Option<Gatherer>,
    /// Connections whose gathering goes on.
    waiting: Vec<Wanted>,
    /// Servers that are of no use at present, and where they were asked, if that was possible.
    errors: Vec<(Option<Path>, IceCandidateError)>,
    /// When a name was not resolved.
    unresolved: Option<Instant>,
    /// Servers that have answered and do so no more, and from where they were asked.
    silent: Vec<Path>,
    /// What servers see now and did not see before, for the connections that don't gather any more.
    news: Vec<(Path, SocketAddr)>,
    /// Who has answered.
    answered: Vec<Path>,
    /// TURN servers have not answered yet.
    relays_pending: bool,
}

/// After so long names that were not resolved are looked up again, for the next connection.
const LOOK_UP_AGAIN: Duration = Duration::from_secs(15);

#[derive(Default)]
enum Servers {
    #[default]
    Unknown,
    BeingResolved,
    /// The same, but meanwhile others have been named.
    Outdated,
    At(Vec<(ServerUri, SocketAddr)>),
}

/// Looks the names up, each within `timeout`, and leaves the result for the driver.
fn resolve(shared: Arc<EndpointShared>) {
    tokio::spawn(async move {
        let timeout = shared.config.gather_timeout;
        let servers = shared.ice_servers();
        let urls = servers.iter().flat_map(|server| server.urls.iter().map(move |url| (server, url.clone())));
        let lookups = urls.map(|(server, url)| async move {
            let IceServer { username, credential, .. } = server.clone();
            let credentials = Credentials { username, password: credential };
            let host = match &url.host {
                Host::Ip(ip) => ip.to_string(),
                Host::Name(name) => name.clone(),
            };
            if let Err(error) = check(&url) {
                return Resolved { credentials, url, addresses: Err(error.to_owned()) };
            }
            let port = url.port_or_default();
            let found = tokio::time::timeout(timeout, lookup_host((host, port))).await;
            let addresses = match found {
                Ok(Ok(addrs)) => Ok(addrs.take(ADDRESSES_PER_SERVER).collect()),
                Ok(Err(error)) => Err(format!("its name was not resolved: {error}")),
                Err(_) => Err("its name was not resolved in time".to_owned()),
            };
            Resolved { credentials, url, addresses }
        });
        let resolved = futures_util::future::join_all(lookups).await;
        shared.commands().resolved = Some(resolved);
        shared.wake_driver();
    });
}

/// What is not spoken.
fn check(url: &ServerUri) -> Result<(), &'static str> {
    match (url.scheme.is_turn(), url.scheme.is_secure(), url.transport_or_default()) {
        (false, true, _) => Err("STUN servers are asked over UDP only"),
        (true, true, UriTransport::Udp) => Err("DTLS to TURN servers is not supported"),
        _ => Ok(()),
    }
}

/// Whether a server is asked how it sees our sockets.
fn is_asked(url: &ServerUri) -> bool {
    !url.scheme.is_secure() && url.transport_or_default() == UriTransport::Udp
}

impl Gathering {
    /// Whether TURN servers have answered, or had their time. Gathering ends with that.
    pub(super) fn relays_settled(&mut self, now: Instant, settled: bool) {
        if self.relays_pending == settled {
            self.relays_pending = !settled;
            self.settle(now);
        }
    }

    /// A connection wants candidates.
    pub(super) fn want(&mut self, shared: &Arc<EndpointShared>, now: Instant, wanted: Wanted) {
        if self.unresolved.is_some_and(|at| now.saturating_duration_since(at) >= LOOK_UP_AGAIN) {
            self.unresolved = None;
            self.errors.retain(|(path, _)| path.is_some());
            self.servers = Servers::Unknown;
        }
        match &self.servers {
            Servers::Unknown => {
                self.servers = Servers::BeingResolved;
                resolve(shared.clone());
            }
            Servers::BeingResolved | Servers::Outdated => {}
            Servers::At(_) => self.ask(shared, now, &wanted.bases),
        }
        let mut core = wanted.peer.lock();
        for (path, mapped) in self.gatherer.iter().flat_map(Gatherer::mapped) {
            tell(&wanted.peer, &mut core, now, path, mapped);
        }
        for (_, error) in &self.errors {
            wanted.peer.enqueue(&mut core, Queued::CandidateError(error.clone()));
        }
        drop(core);
        self.waiting.push(wanted);
        self.settle(now);
    }

    /// Names have been resolved. False if they are those of servers that are no more: then the others' are looked up.
    pub(super) fn is_up_to_date(&mut self, shared: &Arc<EndpointShared>) -> bool {
        let outdated = matches!(self.servers, Servers::Outdated);
        if outdated {
            self.servers = Servers::BeingResolved;
            resolve(shared.clone());
        }
        !outdated
    }

    /// The servers' names have been resolved.
    pub(super) fn resolved(&mut self, shared: &Arc<EndpointShared>, now: Instant, resolved: Vec<Resolved>) {
        let mut servers = Vec::new();
        for Resolved { url, addresses, .. } in resolved {
            match addresses {
                Ok(addrs) if is_asked(&url) => {
                    servers.extend(addrs.into_iter().map(|addr| (url.clone(), addr)));
                }
                Ok(_) => {}
                Err(error) => {
                    self.unresolved = Some(now);
                    let error = IceCandidateError {
                        url: url.to_string(),
                        address: None,
                        error_code: IceCandidateError::UNREACHABLE,
                        error_text: error,
                    };
                    self.fail(None, error);
                }
            }
        }
        self.servers = Servers::At(servers);
        let bases: Vec<_> = self.waiting.iter().flat_map(|wanted| wanted.bases.iter().copied()).collect();
        self.ask(shared, now, &bases);
        self.settle(now);
    }

    /// Asks no more from addresses that have gone.
    pub(super) fn forget_gone(&mut self, change: &NetworkChange) {
        for base in change.gone() {
            self.errors.retain(|(path, _)| path.is_none_or(|path| path.local != *base));
            if let Some(gatherer) = &mut self.gatherer {
                gatherer.forget(*base);
            }
        }
    }

    fn ask(&mut self, shared: &EndpointShared, now: Instant, bases: &[SocketAddr]) {
        let Servers::At(servers) = &self.servers else { return };
        if self.gatherer.is_none() {
            let mut seed = [0; 32];
            if let Err(error) = SysRng.try_fill_bytes(&mut seed) {
                tracing::warn!(%error, "no randomness, so STUN servers aren't asked");
                return;
            }
            let timeout = shared.config.gather_timeout;
            let config = GatherConfig { timeout, ..GatherConfig::default() };
            self.gatherer = Some(Gatherer::new(config, now, seed));
        }
        let Some(gatherer) = &mut self.gatherer else { return };
        for (_, server) in servers {
            for base in bases {
                gatherer.ask(now, *base, *server);
            }
        }
    }

    /// Whether a datagram was an answer of a server.
    pub(super) fn handle_input(&mut self, now: Instant, path: Path, datagram: &[u8]) -> bool {
        let ours = self.gatherer.as_mut().is_some_and(|gatherer| gatherer.handle_input(now, path, datagram));
        if ours {
            self.settle(now);
        }
        ours
    }

    pub(super) fn handle_timeout(&mut self, now: Instant) {
        if let Some(gatherer) = &mut self.gatherer {
            gatherer.handle_timeout(now);
            self.settle(now);
        }
    }

    pub(super) fn poll_transmit(&mut self, now: Instant, out: &mut [u8]) -> Option<(Path, usize)> {
        let sent = self.gatherer.as_mut()?.poll_transmit(now, out)?;
        Some((sent.path, sent.len))
    }

    pub(super) fn poll_timeout(&self) -> Option<Instant> {
        self.gatherer.as_ref()?.poll_timeout()
    }

    /// There are other servers than before: the next connection has their names resolved.
    pub(super) fn servers_changed(&mut self) {
        self.errors.clear();
        self.unresolved = None;
        self.servers = match self.servers {
            // What is on its way is of those before, and is asked again.
            Servers::BeingResolved | Servers::Outdated => Servers::Outdated,
            _ => Servers::Unknown,
        };
    }

    /// Servers that have fallen silent since the last call.
    pub(super) fn take_silent(&mut self) -> Vec<Path> {
        std::mem::take(&mut self.silent)
    }

    /// What servers see anew since the last call: a translator has given us another address, so all connections have to say so.
    pub(super) fn take_news(&mut self) -> Vec<(Path, SocketAddr)> {
        std::mem::take(&mut self.news)
    }

    /// No connection is left: nothing is kept open, and the next one begins anew.
    pub(super) fn clear(&mut self) {
        *self = Self::default();
    }

    /// Tells the connections what has been found, and whether that was all.
    fn settle(&mut self, now: Instant) {
        while let Some(event) = self.gatherer.as_mut().and_then(Gatherer::poll_event) {
            match event {
                GatherEvent::Mapped { path, mapped } => {
                    self.errors.retain(|(failed, _)| *failed != Some(path));
                    if !self.answered.contains(&path) {
                        self.answered.push(path);
                    }
                    for wanted in &self.waiting {
                        tell(&wanted.peer, &mut wanted.peer.lock(), now, path, mapped);
                        wanted.peer.touch();
                    }
                    self.news.push((path, mapped));
                }
                GatherEvent::Failed { path, error } => {
                    if let Some(at) = self.answered.iter().position(|answered| *answered == path) {
                        self.answered.swap_remove(at);
                        self.silent.push(path);
                    }
                    let error_code = match error {
                        GatherError::Refused(code) => code,
                        _ => IceCandidateError::UNREACHABLE,
                    };
                    let error = IceCandidateError {
                        url: self.server_at(path.remote),
                        address: Some(path.local),
                        error_code,
                        error_text: format!("asked from {} at {}: {error}", path.local, path.remote),
                    };
                    self.fail(Some(path), error);
                }
                // Events to come.
                _ => {}
            }
        }
        let all_asked = match &self.servers {
            Servers::At(_) if self.relays_pending => false,
            Servers::At(_) => self.gatherer.as_ref().is_none_or(Gatherer::is_done),
            Servers::Unknown | Servers::BeingResolved | Servers::Outdated => false,
        };
        if all_asked {
            for Wanted { peer, .. } in self.waiting.drain(..) {
                let mut core = peer.lock();
                if core.peer.end_of_local_candidates(now) {
                    peer.enqueue(&mut core, Queued::Candidate(None));
                }
                drop(core);
                peer.touch();
            }
        }
    }

    fn fail(&mut self, path: Option<Path>, error: IceCandidateError) {
        tracing::debug!(server = %error.url, error = %error.error_text, "no candidate");
        for wanted in &self.waiting {
            wanted.peer.enqueue(&mut wanted.peer.lock(), Queued::CandidateError(error.clone()));
        }
        self.errors.push((path, error));
    }

    fn server_at(&self, addr: SocketAddr) -> String {
        let Servers::At(servers) = &self.servers else { return addr.to_string() };
        servers
            .iter()
            .find(|(_, at)| *at == addr)
            .map_or_else(|| addr.to_string(), |(uri, _)| uri.to_string())
    }
}

/// A connection learns how a server sees one of its addresses. What it knows already changes nothing.
pub(super) fn tell(peer: &PeerShared, core: &mut PeerCore, now: Instant, path: Path, mapped: SocketAddr) {
    if let Some(line) = core.peer.add_server_reflexive(now, path.local, mapped, path.remote.ip()) {
        let candidate = core.candidate(line);
        peer.enqueue(core, Queued::Candidate(Some(candidate)));
    }
}
