//! Places: joins that go down the tree, asks and signals that are routed through it, children that come.

use std::collections::{BTreeMap, VecDeque};
use std::time::{Duration, Instant};

use bytes::Bytes;
use rand::RngExt;

use super::config::{MAX_ATTACHES, MAX_HOPS, MAX_WAITING};
use super::event::{Event, LinkId};
use super::link::Link;
use super::node::Node;
use super::tree::MAX_SIZE;
use crate::frame::{
    Ask, Attach, Control, Detach, Frame, FrameType, Join, MAX_SIGNAL, NodeId, Role, Route, Routed, Sequence,
};

/// Nodes whose root path is remembered, to answer their signals.
const MAX_CORRESPONDENTS: usize = 64;

/// A node whose children got too little takes so many no more for so long.
const SLOW: Duration = Duration::from_secs(60);

/// A child that came less than so long ago is not sent away: it may be about to lose the standby that it came from.
const MOVED: Duration = Duration::from_secs(3);

/// Whether a child can give up its place to a larger one.
fn movable(now: Instant, link: &Link) -> bool {
    link.parents > 1 && now.saturating_duration_since(link.eager_since) >= MOVED
}

/// A place that was promised.
#[derive(Debug)]
struct Place {
    role: Role,
    until: Instant,
    /// The smallest child leaves when the new one has come.
    displaces: bool,
}

/// What a node is looking for, and what it has promised.
#[derive(Debug)]
pub(crate) struct Search {
    /// Whether it wants to be in the tree at all.
    pub(super) active: bool,
    pub(super) ask: Option<(Role, Instant)>,
    pub(super) connecting: Option<(NodeId, Role, Instant)>,
    pub(super) next_ask: Instant,
    pub(super) asks: u32,
    pub(super) next_join: Instant,
    pub(super) joins: u32,
    pub(super) next_improvement: Instant,
    places: BTreeMap<NodeId, Place>,
    waiting: VecDeque<(Instant, Join)>,
    correspondents: VecDeque<(NodeId, Vec<NodeId>)>,
}

impl Search {
    pub(super) fn new(now: Instant) -> Self {
        Self {
            active: false,
            ask: None,
            connecting: None,
            next_ask: now,
            asks: 0,
            next_join: now,
            joins: 0,
            next_improvement: now,
            places: BTreeMap::new(),
            waiting: VecDeque::new(),
            correspondents: VecDeque::new(),
        }
    }

    pub(super) fn stop(&mut self) {
        self.active = false;
        self.ask = None;
        self.connecting = None;
        self.places.clear();
        self.waiting.clear();
    }

    /// Forgets what took too long. An ask that was not answered counts as refused.
    pub(super) fn expire(&mut self, now: Instant) {
        self.ask = self.ask.filter(|(_, until)| now < *until);
        self.connecting = self.connecting.filter(|(.., until)| now < *until);
        self.places.retain(|_, place| now < place.until);
        self.waiting.retain(|(until, _)| now < *until);
    }
}

/// Why a signal was not sent.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SignalError {
    /// The way to this node is not known: it is known of who was in an event of this node lately.
    #[error("the way to node {0} is not known")]
    UnknownPeer(NodeId),
    /// More than [`MAX_SIGNAL`] bytes.
    #[error("a signal has at most {MAX_SIGNAL} bytes")]
    TooLong,
}

impl Node {
    /// Looks for upstreams from now on, first by the server: [`Event::JoinByServer`].
    pub fn join(&mut self, now: Instant) {
        self.search.active = !self.is_owner;
        self.maintain(now);
    }

    /// The server forwarded a join to this node, the owner of the group.
    pub fn handle_join(&mut self, now: Instant, join: Join) {
        self.on_join(now, join);
    }

    /// Sends bytes to a node that is to become a neighbour, through the tree. They may get lost.
    ///
    /// # Errors
    ///
    /// See [`SignalError`].
    pub fn send_signal(&mut self, peer: NodeId, data: Bytes) -> Result<(), SignalError> {
        if data.len() > MAX_SIGNAL {
            return Err(SignalError::TooLong);
        }
        let to = self.search.correspondents.iter().find(|(id, _)| *id == peer).map(|(_, path)| path.clone());
        self.send_routed(to.ok_or(SignalError::UnknownPeer(peer))?, Routed::Signal(data));
        Ok(())
    }

    pub(super) fn on_join_frame(&mut self, now: Instant, id: LinkId, frame: &Frame) {
        let is_parent = self.links.get(&id).is_some_and(|link| link.is_parent());
        match Join::parse(&frame.body()) {
            Ok(join) if is_parent => self.on_join(now, join),
            Ok(_) => self.stats.unexpected += 1,
            Err(error) => {
                tracing::debug!(node = %self.id, %error, "a join that makes no sense");
                self.stats.malformed += 1;
            }
        }
    }

    /// Takes the joiner as a child if there is a place, and passes on the rest of what it wants.
    fn on_join(&mut self, now: Instant, mut join: Join) {
        let above = self.path.contains(&join.i) || join.i == self.id;
        let linked = self.links.values().any(|link| link.peer == join.i && !link.closing);
        let promised = self.search.places.contains_key(&join.i);
        if above {
            self.stats.unplaced += 1;
            return;
        }
        if !linked && !promised && !self.path.is_empty() && self.room_for_eager() {
            self.promise(now, join.i, Role::Eager, false);
            self.tell(Event::AcceptJoin(join.clone()));
            join.n -= 1;
        }
        if join.n > 0 {
            self.relay_join(now, join);
        }
    }

    /// To children chosen at random, so that the sum of what is wanted stays; the first of them is the one with the
    /// fewest nodes below it.
    fn relay_join(&mut self, now: Instant, join: Join) {
        let mut children: Vec<_> = self
            .fresh_children(now)
            .filter(|(_, link)| link.peer != join.i)
            .map(|(id, link)| (link.size, id))
            .collect();
        if children.is_empty() {
            if !self.search.places.is_empty() && self.search.waiting.len() < MAX_WAITING {
                self.search.waiting.push_back((now + self.config.ask_timeout, join));
            } else {
                self.stats.unplaced += 1;
            }
            return;
        }
        // The smallest first, the others in any order.
        for i in (1..children.len()).rev() {
            children.swap(i, self.rng.random_range(0..=i));
        }
        let smallest = children.iter().enumerate().min_by_key(|(_, (size, _))| *size).map_or(0, |(at, _)| at);
        children.swap(0, smallest);
        let parts = (join.n as usize).min(children.len());
        let (each, more) = (join.n / parts as u32, join.n as usize % parts);
        for (at, (_, id)) in children.into_iter().take(parts).enumerate() {
            let mut part = join.clone();
            part.n = each + u32::from(at < more);
            let Some(link) = self.links.get_mut(&id) else { continue };
            // Until its next heartbeat tells: the next join goes elsewhere.
            link.size = link.size.saturating_add(1);
            let body = if link.ours { part.write() } else { part.write_old() };
            self.push(id, Frame::new(FrameType::JOIN, Sequence(0), &body));
        }
    }

    fn promise(&mut self, now: Instant, peer: NodeId, role: Role, displaces: bool) {
        let until = now + self.config.ask_timeout;
        self.search.places.insert(peer, Place { role, until, displaces });
        if !displaces && self.taken() > self.config.max_down_streams {
            self.drop_warm_child(now);
        }
    }

    /// Children and promised places, those not counted that take the place of another.
    fn taken(&self) -> usize {
        let children = self.links.values().filter(|link| link.is_child()).count();
        children + self.search.places.values().filter(|place| !place.displaces).count()
    }

    fn warm_children(&self) -> usize {
        self.links.values().filter(|link| link.is_warm_child()).count()
    }

    /// A standby gives way to who wants data, and so does the place that one was promised.
    fn room_for_eager(&self) -> bool {
        let warm_places = self.search.places.values().filter(|place| place.role == Role::Warm).count();
        self.taken() - self.warm_children() - warm_places < self.degree()
    }

    /// Children that may be: fewer for a while if those that were there got too little.
    fn degree(&self) -> usize {
        self.slow.map_or(self.config.max_down_streams, |(degree, _)| degree)
    }

    /// Makes room for a child that wants data. A promise is broken first: who has a standby keeps it.
    fn drop_warm_child(&mut self, now: Instant) {
        let promised = self.search.places.iter().find(|(_, place)| place.role == Role::Warm);
        if let Some(peer) = promised.map(|(peer, _)| *peer) {
            self.search.places.remove(&peer);
            return;
        }
        let warm = self.links.iter().rev().find(|(_, link)| link.is_warm_child()).map(|(id, _)| *id);
        if let Some(id) = warm {
            self.drop_link(now, id, Some(Detach::PLACE_NEEDED));
        }
    }

    /// A child has left because it got too little. If none of the others gets what it could take either, the way out of
    /// here is too narrow for so many.
    pub(super) fn note_slowness(&mut self, now: Instant, id: LinkId) {
        let rest = || self.eager_children().filter(|(other, _)| *other != id);
        if rest().next().is_some() && rest().all(|(_, link)| self.has_data(link)) {
            self.slow = Some((rest().count(), now + SLOW));
        }
    }

    /// Children that were heard lately, if any were: who may be dead is not asked to pass something on.
    fn fresh_children(&self, now: Instant) -> impl Iterator<Item = (LinkId, &Link)> {
        let limit = self.silence() * 2;
        let fresh = move |link: &Link| !link.ours || now.saturating_duration_since(link.last_heard) < limit;
        let any = self.eager_children().any(|(_, link)| fresh(link));
        self.eager_children().filter(move |(_, link)| !any || fresh(link))
    }

    /// A child's link is up.
    pub(super) fn child_up(&mut self, now: Instant, id: LinkId) {
        let Some(link) = self.links.get_mut(&id) else { return };
        let place = self.search.places.remove(&link.peer);
        link.displaces = place.is_some_and(|place| place.displaces);
        let (displaces, ours) = (link.displaces, link.ours);
        if !ours {
            link.role = Some(Role::Eager);
            link.cursor = self.next;
        }
        if self.taken() > self.config.max_down_streams && !displaces {
            self.drop_warm_child(now);
        }
        if self.taken() > self.config.max_down_streams + usize::from(displaces) {
            return self.drop_link(now, id, Some(Detach::FULL));
        }
        self.relatives_dirty = true;
        if ours {
            self.send_path(id);
        } else {
            self.flush_waiting(now);
        }
    }

    /// A child says what it wants.
    pub(super) fn on_attach(&mut self, now: Instant, id: LinkId, attach: Attach) {
        let Some(link) = self.links.get_mut(&id).filter(|link| !link.closing) else { return };
        if link.attaches >= MAX_ATTACHES {
            // Each may ask for the whole store.
            self.stats.unexpected += 1;
            return;
        }
        link.attaches += 1;
        link.size = attach.size.max(1);
        if attach.role == Role::Eager && !link.is_eager_child() {
            link.eager_since = now;
        }
        let displaces = std::mem::take(&mut link.displaces);
        self.start_sending(id, &attach);
        if displaces && self.taken() > self.config.max_down_streams {
            let others = self.eager_children().filter(|(other, link)| *other != id && movable(now, link));
            let smallest = others.min_by_key(|(_, link)| link.size).map(|(id, _)| id);
            match smallest {
                _ if self.warm_children() > 0 => self.drop_warm_child(now),
                Some(smallest) if attach.role == Role::Eager => {
                    self.drop_link(now, smallest, Some(Detach::PLACE_NEEDED));
                }
                _ => self.drop_link(now, id, Some(Detach::FULL)),
            }
        }
        self.relatives_dirty = true;
        self.flush_waiting(now);
    }

    /// Joins that came before any child was there to take them.
    fn flush_waiting(&mut self, now: Instant) {
        for (_, join) in std::mem::take(&mut self.search.waiting) {
            self.on_join(now, join);
        }
    }

    /// Sends something along the tree to the end of a root path.
    pub(super) fn send_routed(&mut self, to: Vec<NodeId>, body: Routed) {
        let mut from = self.path.clone();
        if from.is_empty() {
            from.push(self.id);
        }
        self.forward(Route { hops: MAX_HOPS, to, from, body });
    }

    pub(super) fn on_route(&mut self, now: Instant, mut route: Route) {
        if route.to.last() == Some(&self.id) {
            return self.on_routed(now, route);
        }
        match route.hops.checked_sub(1) {
            Some(hops) => {
                route.hops = hops;
                self.forward(route);
            }
            None => self.stats.unplaced += 1,
        }
    }

    /// To the neighbour that is furthest along the receiver's root path; upwards if there is none on it.
    fn forward(&mut self, route: Route) {
        let neighbour = |peer: &NodeId| {
            self.links
                .iter()
                .find(|(_, link)| link.ours && !link.closing && link.peer == *peer)
                .map(|(id, _)| *id)
        };
        // Behind ourselves on the path, if we are on it: then it goes down, or nowhere.
        let own = route.to.iter().position(|id| *id == self.id);
        let ahead = &route.to[own.map_or(0, |at| at + 1)..];
        let next = ahead.iter().rev().find_map(neighbour);
        let upwards = || self.eager.or_else(|| self.best_standby());
        match next.or_else(|| if own.is_none() { upwards() } else { None }) {
            Some(id) if self.links.get(&id).is_some_and(|link| link.ours) => {
                self.push(id, Control::Route(route).to_frame());
            }
            _ => self.stats.unplaced += 1,
        }
    }

    fn on_routed(&mut self, now: Instant, route: Route) {
        let Some(peer) = route.from.last().copied().filter(|peer| *peer != self.id) else { return };
        match route.body {
            Routed::Ask(ask) => self.on_ask(now, peer, route.from, route.hops, ask),
            Routed::Accept(role) => {
                if self.search.ask.take_if(|(asked, _)| *asked == role).is_some() {
                    self.search.connecting = Some((peer, role, now + self.config.ask_timeout / 2));
                    self.remember(peer, route.from);
                    self.tell(Event::Connect { peer, role });
                }
            }
            Routed::Refuse => {
                if self.search.ask.take().is_some() {
                    self.back_off(now);
                }
            }
            Routed::Signal(data) => {
                self.remember(peer, route.from);
                self.tell(Event::Signal { from: peer, data });
            }
        }
    }

    fn remember(&mut self, peer: NodeId, path: Vec<NodeId>) {
        self.search.correspondents.retain(|(id, _)| *id != peer);
        if self.search.correspondents.len() >= MAX_CORRESPONDENTS {
            self.search.correspondents.pop_front();
        }
        self.search.correspondents.push_back((peer, path));
    }

    /// Somebody asks for a place: here, or with a child, or not at all.
    fn on_ask(&mut self, now: Instant, peer: NodeId, from: Vec<NodeId>, hops: u8, ask: Ask) {
        let avoided = ask.role == Role::Warm && ask.avoid != peer && self.path.contains(&ask.avoid);
        let possible = !self.path.is_empty()
            && !self.path.contains(&peer)
            && !avoided
            && self.path.len() < usize::from(ask.limit);
        if !possible {
            self.stats.unplaced += 1;
            return self.send_routed(from, Routed::Refuse);
        }
        let linked = self.links.values().any(|link| link.peer == peer && !link.closing);
        let room = match ask.role {
            Role::Eager => self.room_for_eager(),
            Role::Warm => self.taken() < self.degree(),
        };
        // A child with less than half of the asker's nodes below it moves down, into their place.
        let smaller = |size: u32| size.saturating_mul(2) < ask.size;
        let displaces = ask.role == Role::Eager
            && !room
            && self.search.places.values().all(|place| place.role == Role::Warm)
            && self.eager_children().any(|(_, link)| movable(now, link) && smaller(link.size));
        if !linked && (room || displaces) {
            self.promise(now, peer, ask.role, displaces);
            self.remember(peer, from.clone());
            self.tell(Event::Expect { peer });
            return self.send_routed(from, Routed::Accept(ask.role));
        }
        let children = self
            .fresh_children(now)
            .filter(|(_, link)| link.ours && link.peer != peer && link.peer != ask.avoid);
        let mut children: Vec<_> = children.map(|(id, link)| (link.size, link.peer, id)).collect();
        children.sort_unstable();
        let at = match ask.role {
            // Now and then the second one, if the first has no place that is high enough.
            Role::Eager => usize::from(self.rng.random_bool(0.2)).min(children.len().saturating_sub(1)),
            Role::Warm => self.rng.random_range(0..children.len().max(1)),
        };
        match (children.get(at), hops.checked_sub(1)) {
            (Some((_, child, id)), Some(hops)) => {
                if ask.role == Role::Eager
                    && let Some(link) = self.links.get_mut(id)
                {
                    // Until its next heartbeat tells: the next one goes elsewhere.
                    link.size = link.size.saturating_add(ask.size.max(1)).min(MAX_SIZE);
                }
                let to = self.path.iter().copied().chain([*child]).collect();
                self.forward(Route { hops, to, from, body: Routed::Ask(ask) });
            }
            _ => {
                self.stats.unplaced += 1;
                self.send_routed(from, Routed::Refuse);
            }
        }
    }

    pub(super) fn back_off(&mut self, now: Instant) {
        let pause = self.config.heartbeat * (1 << self.search.asks.min(5));
        self.search.asks = self.search.asks.saturating_add(1);
        self.search.next_ask = now + self.jitter(pause);
    }

    /// When the server may be asked again.
    pub(super) fn next_join_pause(&mut self) -> Duration {
        // Who had a place has a subtree that waits with it.
        let doublings = if self.orphan_since.is_some() { 3 } else { 5 };
        let pause = self.config.join_retry * (1 << self.search.joins.min(doublings));
        self.search.joins = self.search.joins.saturating_add(1);
        self.jitter(pause)
    }
}
