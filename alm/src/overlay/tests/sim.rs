//! Many nodes, and links as a data channel shows them: reliable, in order, with the delay that loss costs, and a buffer
//! that fills. Each node has a place on a plane (the delay between two is their distance) and an upload rate.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet, BinaryHeap, VecDeque};
use std::time::{Duration, Instant};

use bytes::Bytes;
use rand::rngs::Xoshiro256PlusPlus;
use rand::{RngExt, SeedableRng};
use serde_json::json;

use super::super::{Capabilities, ChannelBudget, Config, Direction, Event, GroupKind, LinkId, Message, Node};
use crate::frame::{Join, NodeId, Role, Sequence};

/// From a node to the server, one way.
const TO_SERVER: Duration = Duration::from_millis(30);

#[derive(Debug)]
pub(super) struct Member {
    pub(super) node: Node,
    pub(super) alive: bool,
    joined: Instant,
    place: (f64, f64),
    /// Bytes a second.
    upload: f64,
    busy_until: Instant,
    /// What has not left by then, is lost: it died.
    sends_until: Option<Instant>,
    timer: Option<Instant>,
    /// The next message that the application expects; `None` before the first.
    pub(super) next: Option<Sequence>,
    pub(super) first: Option<Sequence>,
    pub(super) got: u64,
    pub(super) missed: u64,
    /// Out of order or a second time.
    pub(super) wrong: u64,
    last_message: Option<Instant>,
    /// The parent that was told last.
    parent: Option<NodeId>,
    lost_parent: Option<Instant>,
    /// What the new parent had when the node turned to it.
    target: Option<Sequence>,
}

/// Half a channel: from one end to the other.
#[derive(Debug)]
struct Half {
    to: usize,
    budget: ChannelBudget,
    /// When what waits leaves, and its bytes.
    waiting: VecDeque<(Instant, usize)>,
    waiting_bytes: usize,
    /// The node is told when the first of it has left.
    woken: bool,
    last_arrival: Instant,
}

impl Half {
    fn new(now: Instant, to: usize) -> Self {
        Self {
            to,
            budget: ChannelBudget::new(now),
            waiting: VecDeque::new(),
            waiting_bytes: 0,
            woken: false,
            last_arrival: now,
        }
    }

    /// Whether a frame may go in; if not, when to ask again.
    fn room(&mut self, now: Instant) -> Result<(), Instant> {
        while let Some((_, bytes)) = self.waiting.pop_front_if(|(leaves, _)| *leaves <= now) {
            self.waiting_bytes -= bytes;
        }
        let limit = self.budget.limit(now, self.waiting_bytes);
        match self.waiting.front() {
            Some((leaves, _)) if self.waiting_bytes >= limit => Err(*leaves),
            _ => Ok(()),
        }
    }
}

#[derive(Debug)]
enum Happening {
    Frame { from: usize, to: usize, link: LinkId, leaves: Instant, bytes: Bytes },
    LinkDown { at: usize, link: LinkId },
    LinkUp { child: usize, parent: usize, capabilities: Capabilities },
    Timer { at: usize },
    Room { at: usize, link: LinkId },
    AtRoot(Join),
}

pub(super) struct Sim {
    pub(super) now: Instant,
    rng: Xoshiro256PlusPlus,
    config: Config,
    loss: f64,
    pub(super) members: Vec<Member>,
    halves: BTreeMap<(usize, LinkId), Half>,
    queue: BinaryHeap<Reverse<(Instant, u64)>>,
    happenings: BTreeMap<(Instant, u64), Happening>,
    order: u64,
    links: u64,
    pub(super) server_up: bool,
    /// Who can't reach the others, the root and the server.
    pub(super) cut: BTreeSet<usize>,
    /// Round trips to the new parent, from knowing of the old one's loss until nothing is missing.
    pub(super) repairs: Vec<f64>,
    /// Milliseconds between the death of a node and a child's knowing.
    pub(super) detections: Vec<f64>,
    died: BTreeMap<NodeId, Instant>,
    /// When a cycle closed that is still there.
    cycle_since: Option<Instant>,
    pub(super) cycles: u64,
    pub(super) longest_cycle: Duration,
    pub(super) server_joins: u64,
    /// Of nodes that are gone.
    pub(super) past_control: u64,
    node_seconds: f64,
    /// What follows the newest message.
    published: Option<Sequence>,
}

impl Sim {
    #[expect(clippy::disallowed_methods, reason = "one base instant; all others are computed from it")]
    pub(super) fn new(seed: u64, config: Config, loss: f64) -> Self {
        let mut sim = Self {
            now: Instant::now(),
            rng: Xoshiro256PlusPlus::seed_from_u64(seed),
            config,
            loss,
            members: Vec::new(),
            halves: BTreeMap::new(),
            queue: BinaryHeap::new(),
            happenings: BTreeMap::new(),
            order: 0,
            links: 0,
            server_up: true,
            cut: BTreeSet::new(),
            repairs: Vec::new(),
            detections: Vec::new(),
            died: BTreeMap::new(),
            cycle_since: None,
            cycles: 0,
            longest_cycle: Duration::ZERO,
            server_joins: 0,
            past_control: 0,
            node_seconds: 0.0,
            published: None,
        };
        sim.add(10e6);
        sim
    }

    /// A new node joins; it can send so many bytes a second.
    pub(super) fn add(&mut self, upload: f64) -> usize {
        let at = self.members.len();
        let mut seed = [0; 32];
        self.rng.fill(&mut seed);
        let mut node = Node::new(self.config.clone(), NodeId(at as u32), at == 0, self.now, seed);
        node.join(self.now);
        let place = (self.rng.random_range(0.0..1.0), self.rng.random_range(0.0..1.0));
        self.members.push(Member {
            node,
            alive: true,
            joined: self.now,
            place,
            upload,
            busy_until: self.now,
            sends_until: None,
            timer: None,
            next: None,
            first: None,
            got: 0,
            missed: 0,
            wrong: 0,
            last_message: None,
            parent: None,
            lost_parent: None,
            target: None,
        });
        self.touch(at);
        at
    }

    /// One way, 5 to 60 ms.
    pub(super) fn delay(&self, a: usize, b: usize) -> Duration {
        let ((ax, ay), (bx, by)) = (self.members[a].place, self.members[b].place);
        Duration::from_secs_f64(0.005 + 0.039 * ((ax - bx).powi(2) + (ay - by).powi(2)).sqrt())
    }

    fn at(&mut self, at: Instant, happening: Happening) {
        self.order += 1;
        self.queue.push(Reverse((at, self.order)));
        self.happenings.insert((at, self.order), happening);
    }

    fn apart(&self, a: usize, b: usize) -> bool {
        self.cut.contains(&a) != self.cut.contains(&b)
    }

    pub(super) fn run(&mut self, duration: Duration) {
        let end = self.now + duration;
        self.node_seconds += self.members.iter().filter(|m| m.alive).count() as f64 * duration.as_secs_f64();
        while let Some(Reverse(key)) = self.queue.peek().copied() {
            if key.0 > end {
                break;
            }
            self.queue.pop();
            self.now = key.0;
            if let Some(happening) = self.happenings.remove(&key) {
                self.happen(happening);
            }
        }
        self.now = end;
        self.look_for_cycles();
    }

    fn happen(&mut self, happening: Happening) {
        let now = self.now;
        match happening {
            Happening::Frame { from, to, link, leaves, bytes } => {
                let sent = self.members[from].sends_until.is_none_or(|until| leaves <= until);
                if sent && self.members[to].alive {
                    self.members[to].node.handle_input(now, link, bytes);
                    self.touch(to);
                }
            }
            Happening::LinkDown { at, link } => {
                if self.members[at].alive {
                    self.members[at].node.link_down(now, link);
                    self.touch(at);
                }
            }
            Happening::LinkUp { child, parent, capabilities } => {
                if !self.members[child].alive || !self.members[parent].alive || self.apart(child, parent) {
                    return;
                }
                self.links += 1;
                let link = LinkId(self.links);
                for (from, to) in [(child, parent), (parent, child)] {
                    self.halves.insert((from, link), Half::new(now, to));
                }
                let (up, down) = (NodeId(parent as u32), NodeId(child as u32));
                self.members[parent].node.link_up(now, link, down, Direction::Down, Capabilities::Ours);
                self.members[child].node.link_up(now, link, up, Direction::Up, capabilities);
                self.touch(parent);
                self.touch(child);
            }
            Happening::Timer { at } => {
                let member = &mut self.members[at];
                if member.alive && member.timer == Some(now) {
                    member.timer = None;
                    member.node.handle_timeout(now);
                    assert!(member.node.poll_timeout().is_none_or(|at| at > now), "a deadline stayed");
                    self.touch(at);
                }
            }
            Happening::Room { at, link } => {
                if let Some(half) = self.halves.get_mut(&(at, link)) {
                    half.woken = false;
                    self.touch(at);
                }
            }
            Happening::AtRoot(join) => {
                if self.members[0].alive && self.server_up {
                    self.members[0].node.handle_join(now, join);
                    self.touch(0);
                }
            }
        }
    }

    /// Drains a node that something was done to.
    fn touch(&mut self, at: usize) {
        while let Some(event) = self.members[at].node.poll_event() {
            self.on_event(at, event);
        }
        let links: Vec<_> = self.members[at].node.poll_links().collect();
        for link in links {
            self.transmit(at, link, false);
        }
        let children: Vec<_> = self.members[at].node.children().collect();
        let eager = children.iter().filter(|(_, role)| *role == Some(Role::Eager)).count();
        let max = self.config.max_down_streams;
        assert!(eager <= max && children.len() <= max + 1, "node {at} has {children:?}");
        let timer = self.members[at].node.poll_timeout();
        if let Some(timer) = timer.filter(|timer| self.members[at].timer.is_none_or(|set| *timer < set)) {
            let timer = timer.max(self.now);
            self.members[at].timer = Some(timer);
            self.at(timer, Happening::Timer { at });
        }
    }

    fn transmit(&mut self, at: usize, link: LinkId, all: bool) {
        let now = self.now;
        loop {
            let Some(half) = self.halves.get_mut(&(at, link)) else { return };
            let (to, before) = (half.to, half.last_arrival);
            if let Err(then) = half.room(now)
                && !all
            {
                if !std::mem::replace(&mut half.woken, true) {
                    self.at(then, Happening::Room { at, link });
                }
                return;
            }
            let Some(bytes) = self.members[at].node.poll_transmit(link) else { return };
            let member = &mut self.members[at];
            member.busy_until =
                member.busy_until.max(now) + Duration::from_secs_f64(bytes.len() as f64 / member.upload);
            let delay = self.delay(at, to);
            let leaves = self.members[at].busy_until;
            let mut arrival = leaves + delay;
            while self.rng.random_bool(self.loss) {
                // Noticed by what comes after it, or by a probe.
                arrival += delay * 3 + Duration::from_millis(10);
            }
            arrival = arrival.max(before);
            let lost = self.apart(at, to);
            if let Some(half) = self.halves.get_mut(&(at, link)) {
                half.last_arrival = arrival;
                half.budget.put(bytes.len());
                half.waiting.push_back((leaves, bytes.len()));
                half.waiting_bytes += bytes.len();
            }
            if !lost {
                self.at(arrival, Happening::Frame { from: at, to, link, leaves, bytes });
            }
        }
    }

    fn on_event(&mut self, at: usize, event: Event) {
        let now = self.now;
        match event {
            Event::Message(sequence, _) => {
                let member = &mut self.members[at];
                let in_order = match (self.config.kind, member.next) {
                    (_, None) => true,
                    (GroupKind::Reliable, Some(next)) => sequence == next,
                    (GroupKind::Live, Some(next)) => !sequence.less_than(next),
                };
                member.wrong += u64::from(!in_order);
                member.got += 1;
                member.first.get_or_insert(sequence);
                member.next = Some(sequence.plus(1));
                member.last_message = Some(now);
                if member.target.take_if(|target| sequence.less_than(target.plus(u64::MAX))).is_none() {
                    self.repaired(at, Duration::ZERO);
                }
            }
            Event::Missed { from, to } => {
                self.members[at].missed += to.distance_from(from).unsigned_abs();
                self.members[at].next = Some(to);
            }
            Event::JoinByServer { wanted, path } => {
                self.server_joins += 1;
                if self.server_up && !self.cut.contains(&at) {
                    let join = Join::new(json!("group"), json!(at), NodeId(at as u32), wanted, &path);
                    self.at(now + 2 * TO_SERVER, Happening::AtRoot(join));
                }
            }
            Event::AcceptJoin(join) => {
                let child = join.i.0 as usize;
                // join_res, offer, answer by the server; then checks, handshakes, the channel.
                let setup = 6 * TO_SERVER + 8 * self.delay(at, child);
                if self.server_up && !self.cut.contains(&at) {
                    let capabilities = Capabilities::Original;
                    self.at(now + setup, Happening::LinkUp { child, parent: at, capabilities });
                }
            }
            Event::Connect { peer, .. } => {
                self.members[at].node.send_signal(peer, Bytes::from_static(b"offer")).unwrap();
            }
            Event::Signal { from, data } if data == "offer" => {
                self.members[at].node.send_signal(from, Bytes::from_static(b"answer")).unwrap();
            }
            Event::Signal { from, .. } => {
                let parent = from.0 as usize;
                let setup = 8 * self.delay(at, parent);
                let capabilities = Capabilities::Ours;
                self.at(now + setup, Happening::LinkUp { child: at, parent, capabilities });
            }
            Event::Expect { .. } | Event::Writable | Event::TreeUpdate => {}
            Event::CloseLink(link) => {
                self.transmit(at, link, true);
                self.members[at].node.link_down(now, link);
                self.close_other_end(at, link);
            }
            Event::ParentChanged { parent } => {
                let cut = self.cut.contains(&at);
                let member = &mut self.members[at];
                let before = std::mem::replace(&mut member.parent, parent);
                let streaming =
                    member.last_message.is_some_and(|at| now.duration_since(at) < Duration::from_secs(2));
                if parent.is_none() && streaming && !cut {
                    member.lost_parent.get_or_insert(now);
                    if let Some(died) = before.and_then(|before| self.died.get(&before)) {
                        self.detections.push(now.duration_since(*died).as_secs_f64() * 1e3);
                    }
                }
                self.turned_to(at, parent);
                self.look_for_cycles_from(at);
            }
        }
    }

    fn turned_to(&mut self, at: usize, parent: Option<NodeId>) {
        let Some(parent) = parent.filter(|_| self.members[at].lost_parent.is_some()) else { return };
        let parent = parent.0 as usize;
        let target = if parent == 0 { self.published } else { self.members[parent].next };
        self.members[at].target =
            target.filter(|target| self.members[at].next.is_some_and(|next| next.less_than(*target)));
        if self.members[at].target.is_none() {
            // Nothing is missing: it takes as long as it would if something were.
            self.repaired(at, self.delay(at, parent) * 2);
        }
    }

    /// The node has all that its new parent had when the node turned to it.
    fn repaired(&mut self, at: usize, more: Duration) {
        let member = &mut self.members[at];
        if let Some(parent) = member.node.parent()
            && let Some(since) = member.lost_parent.take()
        {
            let rtt = self.delay(at, parent.0 as usize) * 2;
            let took = self.now.duration_since(since) + more;
            self.repairs.push(took.as_secs_f64() / rtt.as_secs_f64());
        }
    }

    /// The other end hears of the close after what was sent before it, but a dead node repeats nothing that was lost.
    fn close_other_end(&mut self, at: usize, link: LinkId) {
        if let Some(half) = self.halves.remove(&(at, link))
            && !self.apart(at, half.to)
        {
            let soonest = self.now + self.delay(at, half.to);
            let dead = self.members[at].sends_until.is_some();
            let when = if dead { soonest } else { half.last_arrival.max(soonest) };
            self.at(when, Happening::LinkDown { at: half.to, link });
        }
    }

    /// A node is gone, and what it had not sent yet. Its neighbours are told, or they are not.
    pub(super) fn kill(&mut self, at: usize, silently: bool) {
        self.members[at].sends_until = Some(self.now);
        self.end(at, silently);
    }

    fn end(&mut self, at: usize, silently: bool) {
        let now = self.now;
        self.members[at].alive = false;
        self.past_control += self.members[at].node.stats().control_sent;
        self.died.insert(NodeId(at as u32), now);
        let links: Vec<_> =
            self.halves.range((at, LinkId(0))..(at + 1, LinkId(0))).map(|(key, _)| *key).collect();
        for (_, link) in links {
            if silently {
                self.halves.remove(&(at, link));
            } else {
                self.close_other_end(at, link);
            }
        }
    }

    /// A node leaves with a word.
    pub(super) fn leave(&mut self, at: usize) {
        self.members[at].node.leave(self.now);
        self.touch(at);
        self.end(at, false);
    }

    pub(super) fn publish(&mut self, size: usize) -> Option<Sequence> {
        let published = self.members[0].node.publish(Message::Bytes(Bytes::from(vec![7; size])));
        self.published = published.ok().map(|sequence| sequence.plus(1)).or(self.published);
        self.touch(0);
        published.ok()
    }

    pub(super) fn parent(&self, at: usize) -> Option<usize> {
        self.members[at].node.parent().map(|parent| parent.0 as usize)
    }

    fn is_on_cycle(&self, at: usize) -> bool {
        let mut above = self.parent(at);
        for _ in 0..self.members.len() {
            match above {
                Some(node) if node == at => return true,
                Some(node) if self.members[node].alive => above = self.parent(node),
                _ => return false,
            }
        }
        false
    }

    fn look_for_cycles_from(&mut self, at: usize) {
        if self.is_on_cycle(at) && self.cycle_since.is_none() {
            self.cycle_since = Some(self.now);
            self.cycles += 1;
        }
        if self.cycle_since.is_some() {
            self.look_for_cycles();
        }
    }

    fn look_for_cycles(&mut self) {
        let there = (0..self.members.len()).any(|at| self.members[at].alive && self.is_on_cycle(at));
        match self.cycle_since {
            Some(since) => {
                self.longest_cycle = self.longest_cycle.max(self.now.duration_since(since));
                self.cycle_since = there.then_some(since);
            }
            None => assert!(!there, "a cycle that closed without a change of parents"),
        }
    }

    pub(super) fn living(&self) -> impl Iterator<Item = usize> {
        (0..self.members.len()).filter(|at| self.members[*at].alive)
    }

    /// A living node, not the root.
    pub(super) fn any_living(&mut self) -> usize {
        loop {
            let at = self.rng.random_range(1..self.members.len());
            if self.members[at].alive {
                return at;
            }
        }
    }

    pub(super) fn chance(&mut self, p: f64) -> bool {
        self.rng.random_bool(p)
    }

    /// Levels from the root; `None` if the root is not above.
    pub(super) fn depth(&self, at: usize) -> Option<usize> {
        let mut above = at;
        for depth in 0..=self.members.len() {
            if above == 0 {
                return Some(depth);
            }
            above = self.parent(above)?;
        }
        None
    }

    /// The delay from the root along the tree, as a multiple of the direct one.
    pub(super) fn stretch(&self, at: usize) -> Option<f64> {
        let (mut below, mut along) = (at, Duration::ZERO);
        self.depth(at)?;
        while below != 0 {
            let above = self.parent(below)?;
            along += self.delay(above, below);
            below = above;
        }
        Some(along.as_secs_f64() / self.delay(0, at).as_secs_f64())
    }

    pub(super) fn control_rate(&self) -> f64 {
        let living: u64 = self.living().map(|at| self.members[at].node.stats().control_sent).sum();
        (self.past_control + living) as f64 / self.node_seconds
    }

    pub(super) fn age(&self, at: usize) -> Duration {
        self.now.duration_since(self.members[at].joined)
    }
}
