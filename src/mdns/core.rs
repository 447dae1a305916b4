//! The questions that are asked and the answers that are given, without I/O.

use std::collections::{HashMap, VecDeque};
use std::net::{IpAddr, SocketAddr};
use std::time::{Duration, Instant};

use super::message::{self, Message, Question, To};
use super::names::Names;

/// The port of mDNS (RFC 6762 §3).
pub(super) const PORT: u16 = 5353;

/// How long a name is asked for. Browsers on the same link answer within milliseconds.
pub(super) const PATIENCE: Duration = Duration::from_secs(3);

/// A question is repeated after that (RFC 6762 §5.2: one second at the least).
const ASK_AGAIN: Duration = Duration::from_secs(1);

/// An answer is not given to everybody on a link more often (RFC 6762 §6).
const ANSWER_AGAIN: Duration = Duration::from_secs(1);

/// How long an address is remembered, for the next connection with the same peer.
const REMEMBERED: Duration = Duration::from_secs(10);

/// Names asked for at once; more have no address.
const MAX_QUERIES: usize = 128;

/// Addresses remembered; the one that would be forgotten first makes room.
const MAX_REMEMBERED: usize = 256;

/// Datagrams that wait to be sent; more are lost.
const MAX_OUT: usize = 512;

/// Where a datagram goes.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Target {
    /// Everybody on every link.
    Everywhere,
    /// Everybody on one link.
    Link(usize),
    /// One host on it.
    Host(usize, SocketAddr),
}

#[derive(Default)]
pub(super) struct Core {
    queries: HashMap<String, Query>,
    remembered: HashMap<String, (IpAddr, Instant)>,
    /// When each link last had the answer of each name.
    answered: HashMap<Answered, Instant>,
    /// Answers that are due, as the last one was a moment ago.
    late: Vec<Late>,
    out: VecDeque<(Target, Vec<u8>)>,
    found: VecDeque<(String, Option<IpAddr>)>,
}

struct Query {
    again: Instant,
    until: Instant,
}

/// A link, a name, and whether it was told its address, or that it has none of the family that was asked for.
type Answered = (usize, String, bool);

struct Late {
    at: Instant,
    key: Answered,
    question: Question,
}

impl Core {
    /// Asks for the address of a name, in lower case. [`Self::poll_found`] tells it.
    pub(super) fn ask(&mut self, now: Instant, name: &str, ours: Option<IpAddr>) {
        if self.queries.contains_key(name) {
            return;
        }
        let remembered = self.remembered.get(name).filter(|(_, until)| *until > now).map(|(ip, _)| *ip);
        if let Some(ip) = ours.or(remembered) {
            self.found.push_back((name.to_owned(), Some(ip)));
        } else if self.queries.len() >= MAX_QUERIES {
            tracing::debug!(name, "too many names are being resolved");
            self.found.push_back((name.to_owned(), None));
        } else {
            self.queries.insert(name.to_owned(), Query { again: now + ASK_AGAIN, until: now + PATIENCE });
            message::queries(name).into_iter().for_each(|query| self.send(Target::Everywhere, query));
        }
    }

    /// Has no address for a name, without asking.
    pub(super) fn refuse(&mut self, name: String) {
        self.found.push_back((name, None));
    }

    /// Whether an answer is waited for.
    pub(super) fn is_asking(&self) -> bool {
        !self.queries.is_empty()
    }

    /// Takes a datagram that came in on a link, from an address of that link.
    pub(super) fn handle_input(
        &mut self,
        now: Instant,
        link: usize,
        from: SocketAddr,
        datagram: &[u8],
        names: &Names,
    ) {
        match message::read(datagram) {
            Some(Message::Query { id, questions, known }) => {
                for question in &questions {
                    let Some(ip) = names.ip_of(&question.name) else { continue };
                    // Who asks for both families at once is told of the one that there is.
                    let both = |other: &Question| other.name == question.name && other.asks_for(ip);
                    if !question.asks_for(ip) && questions.iter().any(both) {
                        continue;
                    }
                    // RFC 6762 §7.1.
                    let knows = known.iter().any(|record| {
                        record.name == question.name && record.ip == ip && record.ttl >= message::TTL / 2
                    });
                    if !knows {
                        self.answer(now, link, from, id, question.clone(), ip);
                    }
                }
            }
            // RFC 6762 §6: answers come from there, or are none.
            Some(Message::Response(records)) if from.port() == PORT => {
                for record in records.iter().filter(|record| record.ttl > 0) {
                    if self.queries.remove(&record.name).is_some() {
                        self.remember(now, &record.name, record.ip);
                        self.found.push_back((record.name.clone(), Some(record.ip)));
                    }
                }
            }
            _ => {}
        }
    }

    fn answer(
        &mut self,
        now: Instant,
        link: usize,
        from: SocketAddr,
        id: u16,
        question: Question,
        ip: IpAddr,
    ) {
        if from.port() != PORT {
            let answer = message::answer(&question.name, ip, &question, To::Legacy(id));
            return self.send(Target::Host(link, from), answer);
        }
        if question.unicast {
            let answer = message::answer(&question.name, ip, &question, To::Mdns);
            return self.send(Target::Host(link, from), answer);
        }
        let key = (link, question.name.clone(), question.asks_for(ip));
        match self.answered.get(&key).map(|at| *at + ANSWER_AGAIN).filter(|next| *next > now) {
            Some(_) if self.late.iter().any(|late| late.key == key) => {}
            Some(at) => self.late.push(Late { at, key, question }),
            None => {
                let answer = message::answer(&question.name, ip, &question, To::Mdns);
                self.answered.insert(key, now);
                self.send(Target::Link(link), answer);
            }
        }
    }

    pub(super) fn handle_timeout(&mut self, now: Instant, names: &Names) {
        self.answered.retain(|_, at| *at + ANSWER_AGAIN > now);
        let (due, late) = std::mem::take(&mut self.late).into_iter().partition(|late: &Late| late.at <= now);
        self.late = late;
        for Late { key, question, .. } in due {
            if let Some(ip) = names.ip_of(&question.name) {
                let answer = message::answer(&question.name, ip, &question, To::Mdns);
                self.send(Target::Link(key.0), answer);
                self.answered.insert(key, now);
            }
        }
        let mut repeated = Vec::new();
        self.queries.retain(|name, query| {
            let goes_on = query.until > now;
            if !goes_on {
                self.found.push_back((name.clone(), None));
            } else if query.again <= now {
                // Twice in the time that there is.
                query.again = query.until;
                repeated.extend(message::queries(name));
            }
            goes_on
        });
        for query in repeated {
            self.send(Target::Everywhere, query);
        }
    }

    pub(super) fn poll_timeout(&self) -> Option<Instant> {
        let queries = self.queries.values().map(|query| query.again.min(query.until));
        queries.chain(self.late.iter().map(|late| late.at)).min()
    }

    pub(super) fn poll_transmit(&mut self) -> Option<(Target, Vec<u8>)> {
        self.out.pop_front()
    }

    /// A name that was asked for, and its address if it has one.
    pub(super) fn poll_found(&mut self) -> Option<(String, Option<IpAddr>)> {
        self.found.pop_front()
    }

    /// The links are others than before.
    pub(super) fn links_changed(&mut self) {
        self.answered.clear();
        self.late.clear();
        self.out.clear();
        // Those that have just been asked nobody may have heard.
        for query in self.queries.keys().flat_map(|name| message::queries(name)) {
            self.out.push_back((Target::Everywhere, query));
        }
    }

    fn remember(&mut self, now: Instant, name: &str, ip: IpAddr) {
        self.remembered.retain(|_, (_, until)| *until > now);
        if self.remembered.len() >= MAX_REMEMBERED {
            let oldest = self.remembered.iter().min_by_key(|(_, (_, until))| *until);
            if let Some(oldest) = oldest.map(|(name, _)| name.clone()) {
                self.remembered.remove(&oldest);
            }
        }
        self.remembered.insert(name.to_owned(), (ip, now + REMEMBERED));
    }

    fn send(&mut self, target: Target, datagram: Vec<u8>) {
        if self.out.len() < MAX_OUT {
            self.out.push_back((target, datagram));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[expect(clippy::disallowed_methods, reason = "a test's base instant")]
    fn start() -> Instant {
        Instant::now()
    }

    fn peer(port: u16) -> SocketAddr {
        SocketAddr::from(([10, 0, 0, 9], port))
    }

    fn name(n: usize) -> String {
        format!("{n:08x}-0000-4000-8000-000000000000.local")
    }

    fn ip() -> IpAddr {
        "10.0.0.1".parse().unwrap()
    }

    fn owner_of(name: &str) -> Names {
        let mut names = Names::default();
        names.insert(ip(), name.to_owned());
        names
    }

    /// The answer of somebody who has the name.
    fn answer_to(query: &[u8], owner: &Names) -> Vec<u8> {
        let mut theirs = Core::default();
        theirs.handle_input(start(), 0, peer(PORT), query, owner);
        theirs.poll_transmit().expect("an answer").1
    }

    #[test]
    fn a_name_is_asked_for_twice_and_given_up_after_three_seconds() {
        let (mut core, mut now) = (Core::default(), start());
        core.ask(now, &name(1), None);
        core.ask(now, &name(1), None);
        let mut asked = Vec::new();
        let begun = now;
        while core.is_asking() {
            while let Some((target, bytes)) = core.poll_transmit() {
                assert_eq!(target, Target::Everywhere);
                assert!(message::queries(&name(1)).contains(&bytes));
                asked.push(now - begun);
            }
            now = core.poll_timeout().expect("something to wait for");
            core.handle_timeout(now, &Names::default());
        }
        assert_eq!(asked, [Duration::ZERO, Duration::ZERO, ASK_AGAIN, ASK_AGAIN]);
        assert_eq!(now - begun, PATIENCE);
        assert_eq!(core.poll_found(), Some((name(1), None)));
        assert_eq!((core.poll_found(), core.poll_timeout()), (None, None));
    }

    #[test]
    fn an_answer_is_taken_once_and_remembered_for_a_while() {
        let (mut core, now) = (Core::default(), start());
        core.ask(now, &name(1), None);
        let query = core.poll_transmit().unwrap().1;
        assert!(core.poll_transmit().is_some(), "the other family");
        let answer = answer_to(&query, &owner_of(&name(1)));
        core.handle_input(now, 0, peer(4000), &answer, &Names::default());
        assert_eq!(core.poll_found(), None, "not from port 5353");
        core.handle_input(now, 0, peer(PORT), &answer, &Names::default());
        core.handle_input(now, 0, peer(PORT), &answer, &Names::default());
        assert_eq!(core.poll_found(), Some((name(1), Some(ip()))));
        assert_eq!(core.poll_found(), None);
        core.ask(now + REMEMBERED / 2, &name(1), None);
        assert_eq!(core.poll_found(), Some((name(1), Some(ip()))));
        assert_eq!(core.poll_transmit(), None, "nothing is asked for that");
        core.ask(now + REMEMBERED, &name(1), None);
        assert!(core.is_asking(), "it is forgotten");
    }

    #[test]
    fn what_nobody_asked_for_is_not_remembered() {
        let (mut core, now) = (Core::default(), start());
        for n in 0..1_000 {
            let answer = answer_to(&message::queries(&name(n))[0], &owner_of(&name(n)));
            core.handle_input(now, 0, peer(PORT), &answer, &Names::default());
        }
        assert!(core.remembered.is_empty() && core.found.is_empty());
    }

    #[test]
    fn a_thousand_names_at_once_cost_a_limited_number_of_questions_and_all_get_their_end() {
        let (mut core, now) = (Core::default(), start());
        for n in 0..1_000 {
            core.ask(now, &name(n), None);
        }
        let mut sent = std::iter::from_fn(|| core.poll_transmit()).count();
        core.handle_timeout(now + ASK_AGAIN, &Names::default());
        sent += std::iter::from_fn(|| core.poll_transmit()).count();
        assert_eq!(sent, 2 * 2 * MAX_QUERIES);
        core.handle_timeout(now + PATIENCE, &Names::default());
        assert_eq!(std::iter::from_fn(|| core.poll_found()).filter(|(_, ip)| ip.is_none()).count(), 1_000);
        assert_eq!(core.poll_timeout(), None);
    }

    #[test]
    fn only_our_own_names_are_answered_and_only_once_a_second_on_a_link() {
        let (mut core, now) = (Core::default(), start());
        let names = owner_of(&name(1));
        core.handle_input(now, 0, peer(PORT), &message::queries(&name(2))[0], &names);
        assert_eq!(core.poll_transmit(), None);
        core.handle_input(now, 0, peer(PORT), &message::queries(&name(1))[0], &names);
        let (target, answer) = core.poll_transmit().expect("an answer");
        assert_eq!(target, Target::Link(0));
        assert!(matches!(message::read(&answer), Some(Message::Response(records)) if records[0].ip == ip()));
        for _ in 0..1_000 {
            core.handle_input(now, 0, peer(PORT), &message::queries(&name(1))[0], &names);
        }
        assert_eq!(core.poll_transmit(), None);
        core.handle_input(now, 1, peer(PORT), &message::queries(&name(1))[0], &names);
        assert_eq!(core.poll_transmit().map(|(target, _)| target), Some(Target::Link(1)));
        let due = core.poll_timeout().expect("late answers");
        assert_eq!(due, now + ANSWER_AGAIN);
        core.handle_timeout(due, &names);
        let late: Vec<_> = std::iter::from_fn(|| core.poll_transmit()).collect();
        assert_eq!(late.len(), 1, "for the thousand that came too soon");
        for (_, answer) in late {
            assert!(matches!(message::read(&answer), Some(Message::Response(records)) if records.len() == 1));
        }
        assert_eq!(core.poll_timeout(), None);
    }

    #[test]
    fn who_knows_the_answer_gets_none_and_a_plain_resolver_gets_one_of_its_own() {
        let (mut core, now) = (Core::default(), start());
        let names = owner_of(&name(1));
        // A query with the answer in it.
        let mut query = message::queries(&name(1))[0].clone();
        let known = answer_to(&query, &names);
        query[7] = 1;
        query.extend(&known[12..]);
        core.handle_input(now, 0, peer(PORT), &query, &names);
        assert_eq!(core.poll_transmit(), None);
        core.handle_input(now, 0, peer(4000), &message::queries(&name(1))[0], &names);
        assert_eq!(core.poll_transmit().map(|(target, _)| target), Some(Target::Host(0, peer(4000))));
    }

    #[test]
    fn a_name_of_ours_is_known_without_asking() {
        let (mut core, now) = (Core::default(), start());
        core.ask(now, &name(1), owner_of(&name(1)).ip_of(&name(1)));
        assert_eq!(core.poll_found(), Some((name(1), Some(ip()))));
        assert_eq!(core.poll_transmit(), None);
    }
}
