//! Candidates of the peer that are names: `….local`, behind which browsers hide their addresses (draft-ietf-mmusic-mdns-ice-candidates §3.2).
//!
//! The agent resolves nothing. With [`Config::resolve_names`](crate::Config::resolve_names) its owner is asked to, by multicast DNS, and the
//! agent is patient meanwhile. A peer could make us ask the whole network for a thousand names, so there are limits: 16 at a time, 32 in
//! the life of an agent, ten seconds each. Names of another form than `label.local` are never asked for.

use std::net::{IpAddr, SocketAddr};
use std::time::{Duration, Instant};

use tracing::debug;

use crate::agent::Agent;
use crate::candidate::{Address, Candidate};
use crate::local::is_local_name;

/// Names being resolved.
const MAX_PENDING: usize = 16;
/// Names asked for in the life of an agent.
const MAX_NAMES: u32 = 32;
/// An mDNS query is answered within a second or not at all (RFC 6762 §6); the owner may ask more than once.
const TIMEOUT: Duration = Duration::from_secs(10);

/// A candidate whose name isn't resolved yet.
#[derive(Clone, Debug)]
pub(crate) struct Pending {
    candidate: Candidate,
    until: Instant,
    /// Its owner has been asked.
    asked: bool,
}

impl Pending {
    fn is_for(&self, name: &str) -> bool {
        matches!(&self.candidate.address, Address::Name { host, .. } if host.eq_ignore_ascii_case(name))
    }
}

impl Agent {
    /// A name that the owner is asked to resolve: each once. Only with [`Config::resolve_names`](crate::Config::resolve_names).
    pub fn poll_name(&mut self) -> Option<String> {
        let next = self.names.iter_mut().find(|pending| !pending.asked)?;
        let Address::Name { host, .. } = &next.candidate.address else { return None };
        let host = host.clone();
        self.names
            .iter_mut()
            .filter(|pending| pending.is_for(&host))
            .for_each(|pending| pending.asked = true);
        Some(host)
    }

    /// Says what a name has been resolved to; `None` if it couldn't be. Names that weren't asked for are ignored.
    pub fn name_resolved(&mut self, now: Instant, name: &str, ip: Option<IpAddr>) {
        let (resolved, names) = std::mem::take(&mut self.names)
            .into_iter()
            .partition::<Vec<_>, _>(|pending| pending.is_for(name));
        self.names = names;
        for Pending { mut candidate, .. } in resolved {
            let Address::Name { port, .. } = candidate.address else { continue };
            let Some(ip) = ip else {
                self.stats.candidates_ignored += 1;
                debug!(name, "a candidate's name can't be resolved");
                continue;
            };
            candidate.address = Address::Ip(SocketAddr::new(ip, port));
            if let Err(error) = self.add_remote_candidate(now, &candidate) {
                debug!(%error, name, "a candidate's name leads nowhere");
            }
        }
        self.settle(now);
    }

    /// Keeps a candidate until its name is resolved. False if it won't be.
    pub(crate) fn wait_for_name(&mut self, now: Instant, candidate: &Candidate) -> bool {
        let Address::Name { host, .. } = &candidate.address else { return false };
        if !self.config.resolve_names
            || !is_local_name(host)
            || self.names.len() >= MAX_PENDING
            || self.names_taken >= MAX_NAMES
        {
            return false;
        }
        // One name may have several ports, and is asked for once.
        let asked = self.names.iter().any(|pending| pending.asked && pending.is_for(host));
        self.names_taken += 1;
        self.names.push(Pending { candidate: candidate.clone(), until: now + TIMEOUT, asked });
        self.last_remote_at = Some(now);
        true
    }

    /// Gives up names that nobody has resolved in time.
    pub(crate) fn expire_names(&mut self, now: Instant) {
        let before = self.names.len();
        self.names.retain(|pending| pending.until > now);
        self.stats.candidates_ignored += u64::try_from(before - self.names.len()).unwrap_or(u64::MAX);
    }

    /// When [`expire_names`](Self::expire_names) has something to do.
    pub(crate) fn names_due(&self) -> Option<Instant> {
        self.names.iter().map(|pending| pending.until).min()
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use crate::tests::harness::{Net, addr, ms};
    use crate::{Config, Event, FailReason, Role, State};

    const NAME: &str = "90d0c6a0-4209-41e1-81f2-b20684468535.local";

    fn line(name: &str, port: u16) -> crate::Candidate {
        format!("candidate:1 1 udp 2113937151 {name} {port} typ host").parse().unwrap()
    }

    /// Both ends can answer only what comes from where they know somebody: A is hidden, and sends nothing before B's check.
    fn resolving() -> Net {
        let config = Config { resolve_names: true, ..Config::default() };
        let mut net = Net::with([Config::default(), config], [Role::Controlling, Role::Controlled]);
        net.host(0, "10.0.0.1:1000");
        net.host(1, "10.0.0.2:2000");
        net
    }

    #[test]
    fn a_resolved_name_is_a_candidate_like_any_other() {
        let mut net = resolving();
        net.tell(1, &line(NAME, 1000));
        net.tell(1, &line(&NAME.to_uppercase(), 1001));
        net.credentials();
        net.run(ms(200));
        let now = net.now;
        let agent = &mut net.ends[1].agent;
        assert_eq!(agent.poll_name().as_deref(), Some(NAME));
        assert_eq!(agent.poll_name(), None, "each once");
        agent.name_resolved(now, "another.local", Some(addr("10.0.0.9:1").ip()));
        assert_eq!(agent.stats().pairs, 0);
        agent.name_resolved(now, NAME, Some(addr("10.0.0.1:1").ip()));
        assert_eq!(agent.stats().pairs, 2);
        net.run_until(State::Completed);
        assert_eq!(net.ends[1].agent.selected_path().unwrap().remote, addr("10.0.0.1:1000"));
    }

    #[test]
    fn a_name_puts_failure_off_while_it_is_resolved_and_no_longer() {
        for answered in [false, true] {
            let mut net = resolving();
            net.credentials();
            let now = net.now;
            net.ends[1].agent.end_of_local_candidates(now);
            net.run(Duration::from_secs(25));
            net.tell(1, &line(NAME, 1000));
            let now = net.now;
            net.ends[1].agent.end_of_remote_candidates(now);
            assert!(net.ends[1].agent.poll_name().is_some());
            net.run(Duration::from_secs(9));
            assert_eq!(net.states()[1], State::Checking, "patience alone was over at 30 s");
            if answered {
                let now = net.now;
                net.ends[1].agent.name_resolved(now, NAME, None);
            } else {
                net.run(Duration::from_secs(2));
            }
            assert_eq!(net.states()[1], State::Failed);
            net.run(ms(1));
            let reason = FailReason::NoUsableRemoteCandidates { ignored: 1 };
            assert!(net.ends[1].events.contains(&Event::Failed(reason)));
        }
    }

    #[test]
    fn i13_a_thousand_names_are_sixteen_questions_at_a_time_and_32_in_all() {
        let mut net = resolving();
        net.credentials();
        for n in 0..1000 {
            net.tell(1, &line(&format!("name-{n}.local"), 1));
        }
        for name in
            ["printer.example", "a.b.local", "local", &format!("{}.local", "x".repeat(64)), "a_b.local"]
        {
            net.tell(1, &line(name, 1));
        }
        let now = net.now;
        let agent = &mut net.ends[1].agent;
        let asked: Vec<_> = std::iter::from_fn(|| agent.poll_name()).collect();
        assert_eq!((asked.len(), agent.stats().candidates_ignored), (16, 984 + 5));
        asked.iter().for_each(|name| agent.name_resolved(now, name, None));
        for n in 0..1000 {
            net.tell(1, &line(&format!("name-{n}.local"), 1));
        }
        let agent = &mut net.ends[1].agent;
        let again: Vec<_> = std::iter::from_fn(|| agent.poll_name()).collect();
        assert_eq!(again.len(), 16);
        again.iter().for_each(|name| agent.name_resolved(now, name, None));
        net.tell(1, &line(NAME, 1));
        assert_eq!(net.ends[1].agent.poll_name(), None);
        let mut net = Net::connected();
        net.tell(1, &line(NAME, 1));
        assert_eq!(net.ends[1].agent.poll_name(), None, "nobody is asked unless wanted");
    }

    #[test]
    fn what_a_name_resolves_to_is_judged_like_a_signalled_address() {
        let mut net = resolving();
        net.credentials();
        for (n, ip) in ["0.0.0.0", "224.0.0.251", "255.255.255.255"].into_iter().enumerate() {
            let name = format!("name-{n}.local");
            net.tell(1, &line(&name, 1));
            let now = net.now;
            net.ends[1].agent.name_resolved(now, &name, Some(ip.parse().unwrap()));
        }
        net.tell(1, &line(NAME, 0));
        let now = net.now;
        net.ends[1].agent.name_resolved(now, NAME, Some("10.0.0.1".parse().unwrap()));
        assert_eq!(net.ends[1].agent.stats().pairs, 0);
    }
}
