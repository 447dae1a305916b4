//! Parents: which one delivers, when one is dead, who takes over, and where new ones are looked for.

use std::time::{Duration, Instant};

use rand::RngExt;

use super::event::{Event, LinkId};
use super::link::Link;
use super::node::Node;
use crate::frame::{Ask, Detach, MAX_PATH, NodeId, Role, Routed};

/// An orphan that knows an upstream, which hangs in no tree itself, keeps its root path for so long: if that one finds a place
/// soon, who is below need not move.
const GRACE: Duration = Duration::from_secs(2);

/// A parent that has messages, says so, and does not send them for so long while a standby has them, too.
const OWING: Duration = Duration::from_secs(1);

/// A parent has so long to bring what was missed before it, until its speed is compared with a standby's.
const SETTLED: Duration = Duration::from_secs(10);

/// How often a node that hangs too deep looks for a better place.
const IMPROVE: Duration = Duration::from_secs(1);

/// Levels below the best possible depth that are not worth a move.
const SLACK: usize = 1;

impl Node {
    /// A parent's link is up.
    pub(super) fn parent_up(&mut self, now: Instant, id: LinkId) {
        let Some(link) = self.links.get(&id) else { return };
        let (peer, ours) = (link.peer, link.ours);
        if self.is_owner {
            // The root has no parent; who thinks so is mistaken.
            return self.drop_link(now, id, Some(Detach::CYCLE));
        }
        if !ours && self.eager.is_none() {
            // An original node sends all it has at once, and says nothing about itself. If it is one of ours after all,
            // its path frame comes first.
            self.take_parent(now, id);
        }
        if !self.search.connecting.is_some_and(|(_, role, _)| role == Role::Eager) {
            self.search.connecting.take_if(|(expected, ..)| *expected == peer);
        }
    }

    /// The first word of a parent of ours: now it is known whether it is of use.
    pub(super) fn settle(&mut self, now: Instant, id: LinkId) {
        let Some(link) = self.links.get(&id) else { return };
        let (peer, depth, rooted) = (link.peer, link.peer_path().len(), !link.peer_path().is_empty());
        let moved = self.search.connecting.take_if(|(expected, ..)| *expected == peer);
        let wanted = moved.is_some_and(|(_, role, _)| role == Role::Eager);
        let current = self.eager.and_then(|eager| self.links.get(&eager)).map(|link| link.peer_path().len());
        let better = current.is_none_or(|current| wanted && depth < current);
        if rooted && (better || self.eager == Some(id)) {
            self.promote(now, id);
        } else {
            if self.eager == Some(id) {
                // It was taken for an original node, and hangs in no tree.
                self.eager = None;
                self.orphan_since = Some(now);
            }
            if let Some(frame) = self.attach_frame(id, Role::Warm) {
                self.push(id, frame);
            }
        }
    }

    /// This parent delivers from now on, beginning with what is missing; the one before it stands by.
    pub(super) fn promote(&mut self, now: Instant, id: LinkId) {
        let Some(link) = self.links.get(&id) else { return };
        let (epoch, was_warm) = (link.epoch, link.role == Some(Role::Warm));
        if let Some((reliable, epoch)) = link.path.as_ref().map(|info| (info.reliable, info.epoch)) {
            self.learn_kind(reliable, epoch);
        }
        let old = self.eager.filter(|old| *old != id);
        if let Some(old) = old
            && let Some(frame) = self.attach_frame(old, Role::Warm)
        {
            self.push(old, frame);
        }
        let orphan = self.orphan_since.is_some();
        self.stats.promotions += u64::from(orphan && was_warm);
        self.take_parent(now, id);
        self.adopt_epoch(epoch);
        if let Some(frame) = self.attach_frame(id, Role::Eager) {
            self.push(id, frame);
        }
        self.follow_parent();
    }

    /// The parent says that it hangs in no tree and knows nobody. Who has a standby elsewhere turns to it.
    pub(super) fn leave_orphan(&mut self, now: Instant, id: LinkId) -> bool {
        let Some(link) = self.links.get(&id).filter(|link| link.peer_path().is_empty()) else { return false };
        self.lost = Some(link.peer);
        let standby = self.best_standby();
        self.lost = None;
        if let Some(standby) = standby {
            self.promote(now, standby);
        }
        standby.is_some()
    }

    fn take_parent(&mut self, now: Instant, id: LinkId) {
        let Some(link) = self.links.get_mut(&id) else { return };
        link.ahead = None;
        let peer = link.peer;
        // A standby's ticks count from now on; give it the time to show the next one.
        link.tick_at = now;
        let tick = link.tick;
        if (tick.wrapping_sub(self.tick) as i32) > 0 {
            self.tick = tick;
        }
        self.tick_at = now;
        self.eager = Some(id);
        self.parent_since = now;
        self.orphan_since = None;
        self.lost = None;
        self.search.joins = 0;
        self.search.asks = 0;
        self.resync = false;
        self.tell(Event::ParentChanged { parent: Some(peer) });
    }

    /// A standby that can deliver at once: in the tree, neither below this node nor below a parent that died, as high up
    /// and near as possible.
    pub(super) fn best_standby(&self) -> Option<LinkId> {
        let usable = self.links.iter().filter(|(id, link)| {
            link.is_parent()
                && self.eager != Some(**id)
                && link.ours
                && !link.peer_path().is_empty()
                && !link.peer_path().contains(&self.id)
                && self.lost.is_none_or(|lost| !link.peer_path().contains(&lost))
        });
        usable.min_by_key(|(id, link)| (link.peer_path().len(), link.rtt, **id)).map(|(id, _)| *id)
    }

    /// Who is silent is dead. Who is heard but brings nothing is as good as dead, if somebody else does.
    pub(super) fn check_silence(&mut self, now: Instant) {
        let dead = self.links.iter().filter(|(_, link)| {
            !link.closing && now.saturating_duration_since(link.last_heard) >= self.allowed_silence(link)
        });
        for id in dead.map(|(id, _)| *id).collect::<Vec<_>>() {
            self.drop_link(now, id, Some(Detach::LEAVING));
        }
        let (Some(id), Some(standby)) = (self.eager, self.best_standby()) else { return };
        let (Some(eager), Some(warm)) = (self.links.get(&id), self.links.get(&standby)) else { return };
        let since = |at: Instant| now.saturating_duration_since(at);
        let stalled = eager.ours
            && since(eager.tick_at) >= self.config.stall
            && since(warm.tick_at) < self.config.stall;
        // What the standby had so long ago should be here, if not we are who holds the parent back.
        let limited = eager.granted <= eager.received;
        let behind = warm.ahead.map_or(Duration::ZERO, |(_, at)| since(at));
        let nothing = behind >= OWING && since(self.last_data) >= OWING && since(self.parent_since) >= OWING;
        let slow = behind >= OWING * 3 && since(self.parent_since) >= SETTLED;
        let owing = eager.ours && !limited && (nothing || slow);
        if stalled || owing {
            tracing::debug!(node = %self.id, parent = %eager.peer, stalled, owing, "the parent brings nothing");
            self.stats.parents_lost += 1;
            self.promote(now, standby);
            self.drop_link(now, id, Some(if owing { Detach::SLOW } else { Detach::LEAVING }));
        }
    }

    /// What the parent should have sent and has not.
    pub(super) fn resync_parent(&mut self) {
        if std::mem::take(&mut self.resync)
            && let Some(id) = self.eager
            && let Some(frame) = self.attach_frame(id, Role::Eager)
        {
            self.push(id, frame);
        }
    }

    /// Keeps the number and kind of parents right. Does nothing if all is well.
    pub(super) fn maintain(&mut self, now: Instant) {
        let asked = self.search.ask.is_some();
        self.search.expire(now);
        if asked && self.search.ask.is_none() {
            self.back_off(now);
        }
        if self.is_owner || !self.search.active {
            return;
        }
        self.drop_useless_parents(now);
        if self.eager.is_none() {
            if let Some(standby) = self.best_standby() {
                self.promote(now, standby);
            } else if self.links.values().all(|link| !link.is_parent())
                || self.orphan_since.is_some_and(|at| now.saturating_duration_since(at) >= GRACE)
            {
                self.set_path(Vec::new());
            }
        }
        self.tell_parents(now);
        let parents = self.links.values().filter(|link| link.is_parent()).count();
        self.look_for_server(now, parents);
        if self.eager.is_none() || self.search.ask.is_some() || self.search.connecting.is_some() {
            return;
        }
        if now >= self.search.next_improvement {
            let pause = self.jitter(IMPROVE);
            self.search.next_improvement = now + pause;
            if self.too_deep() {
                return self.ask_for_better(now);
            }
        }
        if self.parents_apart() < self.config.max_up_streams && now >= self.search.next_ask {
            self.ask_for_standby(now);
        }
    }

    /// A standby is of no use below this node; below the parent that it is to replace it is little use, but better than
    /// none until there is another; and two are enough.
    fn drop_useless_parents(&mut self, now: Instant) {
        let parent = self.parent().filter(|parent| Some(parent) != self.path.first());
        let own = self.id;
        let below = |link: &Link| link.peer_path().contains(&own);
        let useless = self
            .links
            .iter()
            .filter(|(id, link)| link.is_parent() && self.eager != Some(**id) && below(link));
        for id in useless.map(|(id, _)| *id).collect::<Vec<_>>() {
            self.drop_link(now, id, Some(Detach::CYCLE));
        }
        let parents = self.links.values().filter(|link| link.is_parent()).count();
        if parents > self.config.max_up_streams {
            let standbys =
                self.links.iter().filter(|(id, link)| link.is_parent() && self.eager != Some(**id));
            // One that has not said where it is may be the one that is waited for.
            let known = standbys.filter(|(_, link)| link.path.is_some() || !link.ours);
            let shares = |link: &Link| parent.is_some_and(|parent| link.peer_path().contains(&parent));
            let worst = known
                .max_by_key(|(id, link)| {
                    (link.peer_path().is_empty(), shares(link), link.peer_path().len(), **id)
                })
                .map(|(id, _)| *id);
            if let Some(worst) = worst {
                self.drop_link(now, worst, Some(Detach::LEAVING));
            }
        }
    }

    /// Upstreams that one death does not take together: the eager one, and those that do not hang below it. One that has
    /// not said where it is counts.
    fn parents_apart(&self) -> usize {
        let parent = self.parent().filter(|parent| Some(parent) != self.path.first());
        let apart = |path: &[NodeId]| !path.is_empty() && parent.is_none_or(|parent| !path.contains(&parent));
        let standbys = self.links.iter().filter(|(id, link)| {
            let known = link.path.as_ref();
            link.is_parent() && self.eager != Some(**id) && known.is_none_or(|info| apart(&info.path))
        });
        usize::from(self.eager.is_some()) + standbys.count()
    }

    /// Upstreams that hang in the tree: with more than one, a node can be sent away from its place.
    pub(super) fn rooted_parents(&self) -> u8 {
        let rooted = self.links.values().filter(|link| link.is_parent() && !link.peer_path().is_empty());
        rooted.count().min(255) as u8
    }

    /// The server is the last resort: for newcomers, orphans without a standby, and who is cut off with all its parents.
    fn look_for_server(&mut self, now: Instant, parents: usize) {
        let since = |at: Instant| now.saturating_duration_since(at);
        let orphan =
            self.eager.is_none() && self.orphan_since.is_none_or(|at| since(at) >= Duration::from_secs(1));
        let original = self.eager.and_then(|id| self.links.get(&id)).is_some_and(|link| !link.ours);
        let stale = !original && since(self.tick_at) >= self.config.stale;
        if !(parents == 0 || orphan || stale) || now < self.search.next_join {
            return;
        }
        let pause = self.next_join_pause();
        self.search.next_join = now + pause;
        let wanted = self.config.max_up_streams.saturating_sub(parents).max(1);
        let path = if self.path.is_empty() { vec![self.id] } else { self.path.clone() };
        self.tell(Event::JoinByServer { wanted: wanted as u32, path });
    }

    /// Deeper than a full tree of this many nodes needs, by more than it is worth a move.
    fn too_deep(&self) -> bool {
        let degree = self.config.max_down_streams.max(2) as u64;
        let (mut depth, mut level, mut nodes) = (0, 1_u64, 1_u64);
        while nodes < u64::from(self.group_size) {
            level *= degree;
            nodes += level;
            depth += 1;
        }
        // The path has one node more than the depth.
        self.path.len() + usize::from(self.height()) > depth + 1 + SLACK
    }

    fn ask_for_better(&mut self, now: Instant) {
        let Some(root) = self.path.first().copied().filter(|_| self.path.len() > 2) else { return };
        // Strictly above the parent of today.
        let limit = (self.path.len() - 1).min(MAX_PATH) as u8;
        self.ask(now, vec![root], Ask { role: Role::Eager, limit, size: self.size(), avoid: self.id });
    }

    /// Among the relatives: the grandparent, and who hangs below it beside the parent. What they can't give they pass
    /// down. The parent itself is kept off the standby's root path, so that one death doesn't take both.
    fn ask_for_standby(&mut self, now: Instant) {
        let Some(parent) = self.path.len().checked_sub(2) else { return self.back_off(now) };
        let root_is_parent = parent == 0;
        let above = &self.path[..if root_is_parent { 1 } else { parent }];
        let avoid = if root_is_parent { self.id } else { self.path[parent] };
        let relatives: Vec<NodeId> = match root_is_parent {
            true => self.siblings().to_vec(),
            false => self.uncles().to_vec(),
        };
        let relatives: Vec<_> = relatives.into_iter().filter(|id| *id != self.id && *id != avoid).collect();
        let mut to = above.to_vec();
        // After a few refusals, anywhere.
        if self.search.asks % 4 == 3 {
            to.truncate(1);
        } else if !relatives.is_empty() {
            to.push(relatives[self.rng.random_range(0..relatives.len())]);
        }
        self.ask(now, to, Ask { role: Role::Warm, limit: MAX_PATH as u8, size: self.size(), avoid });
    }

    /// The grandparent's other children.
    fn uncles(&self) -> &[NodeId] {
        let parent = self.eager.and_then(|id| self.links.get(&id));
        parent.and_then(|link| link.path.as_ref()).map(|info| info.uncles.as_slice()).unwrap_or_default()
    }

    fn ask(&mut self, now: Instant, to: Vec<NodeId>, ask: Ask) {
        self.search.ask = Some((ask.role, now + self.config.ask_timeout / 4));
        self.send_routed(to, Routed::Ask(ask));
    }
}
