//! Where the node is: root paths, heartbeats, and the owner's view of the whole.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use super::config::{GroupKind, MAX_TREE};
use super::event::{Event, LinkId};
use super::link::Link;
use super::node::Node;
use crate::frame::{
    Control, Detach, Frame, FrameType, Heartbeat, MAX_PATH, MAX_RELATIVES, NodeId, PathInfo, Report, Role,
    Sequence, TreeInfo,
};

/// Largest subtree that a child is believed to have.
pub(super) const MAX_SIZE: u32 = 1 << 20;

/// An old neighbour is pinged after so long, and given up after one and a half times that (as the originals do).
const OLD_PING: Duration = Duration::from_secs(10);

/// A node in the owner's view.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct TreeEntry {
    /// What it says.
    pub report: Report,
    /// When that came.
    pub at: Instant,
}

impl Node {
    /// Owner: who is linked to whom, as far as the nodes said so in the last three rounds. Each speaks for itself and
    /// nothing is signed.
    pub fn tree(&self) -> &BTreeMap<NodeId, TreeEntry> {
        &self.tree
    }

    /// Nodes in the subtree, this one included, as far as children say.
    pub(super) fn size(&self) -> u32 {
        let children = self.links.values().filter(|link| link.is_eager_child());
        children.fold(1, |size, link| (size + link.size).min(MAX_SIZE))
    }

    /// Levels below this node.
    pub(super) fn height(&self) -> u8 {
        let children = self.links.values().filter(|link| link.is_eager_child());
        children.map(|link| link.height.saturating_add(1)).max().unwrap_or(0).min(MAX_PATH as u8)
    }

    pub(super) fn eager_children(&self) -> impl Iterator<Item = (LinkId, &Link)> {
        self.links.iter().filter(|(_, link)| link.is_eager_child()).map(|(id, link)| (*id, link))
    }

    /// A parent says where it is.
    pub(super) fn on_path(&mut self, now: Instant, id: LinkId, info: PathInfo) {
        let own = self.id;
        let Some(link) = self.links.get_mut(&id).filter(|link| link.is_parent()) else { return };
        let cycle = info.path.contains(&own) || info.path.len() >= MAX_PATH;
        // A path that does not end with the peer is a lie about the peer itself.
        let honest = info.path.last().is_none_or(|last| *last == link.peer);
        if cycle || !honest {
            self.stats.cycles += u64::from(cycle);
            return self.drop_link(now, id, Some(Detach::CYCLE));
        }
        let (epoch, reliable) = (info.epoch, info.reliable);
        let contradicts = |last: &PathInfo| epoch != 0 && last.epoch == epoch && last.reliable != reliable;
        if link.path.as_ref().is_some_and(contradicts) {
            // A source's promise lasts as long as its life. Others may know better which one it is.
            self.stats.unexpected += 1;
            return self.drop_link(now, id, Some(Detach::LEAVING));
        }
        link.epoch = epoch;
        link.peer_next = info.next;
        let first = link.path.replace(info).is_none();
        let counts = self.eager.is_none() || self.eager == Some(id);
        let is_news = counts && self.learn_kind(reliable, epoch);
        if first {
            self.settle(now, id);
        } else if self.eager == Some(id) && !self.leave_orphan(now, id) {
            self.adopt_epoch(epoch);
            if is_news && let Some(frame) = self.attach_frame(id, Role::Eager) {
                self.push(id, frame);
            }
            self.follow_parent();
        }
    }

    /// The own path is the parent's, and one more.
    pub(super) fn follow_parent(&mut self) {
        let Some(parent) = self.eager.and_then(|id| self.links.get(&id)) else { return };
        let mut path = parent.peer_path().to_vec();
        if !path.is_empty() {
            path.push(self.id);
        }
        self.relatives_dirty |= self.path == path;
        self.set_path(path);
    }

    pub(super) fn set_path(&mut self, path: Vec<NodeId>) {
        if self.path != path {
            self.path = path;
            self.broadcast_path();
        }
    }

    pub(super) fn broadcast_path(&mut self) {
        self.relatives_dirty = false;
        let children: Vec<_> =
            self.links.iter().filter(|(_, link)| link.is_child() && link.ours).map(|(id, _)| *id).collect();
        for id in children {
            self.send_path(id);
        }
    }

    pub(super) fn send_path(&mut self, id: LinkId) {
        let peer = self.links.get(&id).map(|link| link.peer);
        let siblings = self.eager_children().map(|(_, link)| link.peer).filter(|id| Some(*id) != peer);
        let info = PathInfo {
            reliable: self.kind == GroupKind::Reliable,
            epoch: self.epoch,
            next: self.next.unwrap_or_default(),
            path: self.path.clone(),
            siblings: siblings.take(MAX_RELATIVES).collect(),
            uncles: self.siblings().to_vec(),
        };
        self.push(id, Control::Path(info).to_frame());
    }

    /// The parent's other children.
    pub(super) fn siblings(&self) -> &[NodeId] {
        let parent = self.eager.and_then(|id| self.links.get(&id));
        parent.and_then(|link| link.path.as_ref()).map(|info| info.siblings.as_slice()).unwrap_or_default()
    }

    pub(super) fn on_heartbeat(&mut self, now: Instant, id: LinkId, beat: &Heartbeat) {
        let (start, next) = (self.start, self.next.unwrap_or_default());
        let is_eager = self.eager == Some(id);
        let Some(link) = self.links.get_mut(&id) else { return };
        link.on_beat(now, start, beat);
        if link.is_child() {
            link.parents = beat.parents;
            (link.size, link.height) = (beat.size.clamp(1, MAX_SIZE), beat.height.min(MAX_PATH as u8));
            return;
        }
        if link.tick == 0 || (beat.tick.wrapping_sub(link.tick) as i32) > 0 {
            (link.tick, link.tick_at) = (beat.tick, now);
        }
        if beat.epoch == self.epoch && beat.next.distance_from(next) > 0 {
            link.ahead.get_or_insert((beat.next, now));
        } else {
            link.ahead = None;
        }
        if is_eager {
            if (link.tick.wrapping_sub(self.tick) as i32) > 0 || self.tick == 0 {
                (self.tick, self.tick_at) = (link.tick, now);
            }
            self.group_size = beat.size.clamp(1, MAX_SIZE);
            self.adopt_epoch(beat.epoch);
        }
    }

    /// The regular work, each heartbeat.
    pub(super) fn on_beat_due(&mut self, now: Instant) {
        if self.is_owner {
            self.tick = self.tick.wrapping_add(1).max(1);
            self.tick_at = now;
            self.group_size = self.size();
            self.ask_for_tree(now);
        }
        if self.relatives_dirty {
            self.broadcast_path();
        }
        let (down, up) = (self.beat_down(), self.beat_up());
        let (start, upwards) = (self.start, self.beats.is_multiple_of(4));
        let mut overflow = 0;
        for link in self.links.values_mut().filter(|link| link.ours && !link.closing) {
            link.attaches = link.attaches.saturating_sub(1);
            let sent = match link.is_child() {
                true => link.beat(now, start, down),
                false => !upwards || link.beat(now, start, up),
            };
            overflow += u64::from(!sent);
        }
        self.stats.overflow += overflow;
        self.ping_old(now);
        self.judge_children(now);
        self.measure_rate(now);
        self.resync_parent();
    }

    fn beat_down(&self) -> Heartbeat {
        let next = self.next.unwrap_or_default();
        Heartbeat { tick: self.tick, epoch: self.epoch, next, size: self.group_size, ..Heartbeat::default() }
    }

    fn beat_up(&self) -> Heartbeat {
        let (size, height, parents) = (self.size(), self.height(), self.rooted_parents());
        Heartbeat { size, height, parents, ..self.beat_down() }
    }

    /// Parents hear at once whether there is another one: who has none is not sent away.
    pub(super) fn tell_parents(&mut self, now: Instant) {
        let parents = self.rooted_parents();
        if parents == std::mem::replace(&mut self.parents_told, parents) {
            return;
        }
        let (start, beat) = (self.start, self.beat_up());
        for link in self.links.values_mut().filter(|link| link.ours && link.is_parent()) {
            link.beat(now, start, beat);
        }
    }

    fn ping_old(&mut self, now: Instant) {
        for link in self.links.values_mut().filter(|link| !link.ours && !link.closing) {
            let silent = now.saturating_duration_since(link.last_heard);
            // Beats come four times a second: one ping in about a second is enough.
            if silent > OLD_PING && self.beats.is_multiple_of(4) {
                link.push(Frame::new(FrameType::PING, Sequence(0), &[0]));
            }
        }
    }

    /// How long this neighbour may be silent.
    pub(super) fn allowed_silence(&self, link: &Link) -> Duration {
        match (link.ours, link.is_child()) {
            (false, _) => OLD_PING * 3 / 2,
            (true, false) => self.silence(),
            // Heartbeats go up four times less often.
            (true, true) => self.silence() * 4,
        }
    }

    fn measure_rate(&mut self, now: Instant) {
        let (bytes, since, _) = self.rate;
        let elapsed = now.saturating_duration_since(since);
        if elapsed >= Duration::from_secs(1) {
            // The cast saturates.
            self.rate = (0, now, (bytes as f64 / elapsed.as_secs_f64()) as u32);
        }
    }

    fn ask_for_tree(&mut self, now: Instant) {
        if now < self.next_tree {
            return;
        }
        self.next_tree = now + self.config.tree_interval;
        let oldest = self.config.tree_interval * 3;
        self.tree.retain(|_, entry| now.saturating_duration_since(entry.at) < oldest);
        let report = self.report();
        self.note(now, report);
        self.pass_on_get_tree_info(Frame::new(FrameType::GET_TREE_INFO, Sequence(0), &[]));
    }

    fn pass_on_get_tree_info(&mut self, frame: Frame) {
        let children: Vec<_> = self.eager_children().map(|(id, _)| id).collect();
        for id in children {
            if let Some(link) = self.links.get_mut(&id) {
                link.reports = 0;
            }
            self.push(id, frame.clone());
        }
    }

    /// The owner asks: the children are asked, and the answer goes up. At most once a second, whoever asks.
    pub(super) fn on_get_tree_info(&mut self, now: Instant, id: LinkId, frame: &Frame) {
        let lately = |at: Instant| {
            now.saturating_duration_since(at) < Duration::from_secs(1).min(self.config.tree_interval)
        };
        if self.eager != Some(id) || self.asked_tree.is_some_and(lately) {
            self.stats.unexpected += 1;
            return;
        }
        self.asked_tree = Some(now);
        self.pass_on_get_tree_info(frame.clone());
        let report = self.report();
        self.send_up(&report, None);
    }

    fn report(&self) -> Report {
        let parent = self.eager.and_then(|id| self.links.get(&id));
        let upstreams = parent.map(|link| link.peer).into_iter().chain(self.standbys()).collect();
        let downstreams = self.children().map(|(id, _)| id).collect();
        let lag = parent.map_or(0, |link| link.peer_next.distance_from(self.next.unwrap_or_default()));
        Report {
            links: TreeInfo { id: self.id, upstreams, downstreams },
            rtt: parent.and_then(|link| link.rtt).unwrap_or_default(),
            rate: self.rate.2,
            lag: u64::try_from(lag).unwrap_or(0),
        }
    }

    fn send_up(&mut self, report: &Report, frame: Option<Frame>) {
        let Some(id) = self.eager else { return };
        let ours = self.links.get(&id).is_some_and(|link| link.ours);
        let frame = match frame {
            Some(frame) if ours => frame,
            _ if ours => Control::Report(report.clone()).to_frame(),
            _ => Frame::new(FrameType::NOTIFY_TREE_INFO, Sequence(0), &report.links.write()),
        };
        self.push(id, frame);
    }

    /// A child's report, or one from below it.
    pub(super) fn on_report(&mut self, now: Instant, id: LinkId, report: Report, frame: Frame) {
        if let Some(link) = self.links.get_mut(&id) {
            link.reports += 1;
            if link.reports > MAX_TREE {
                self.stats.overflow += 1;
                return;
            }
        }
        if self.is_owner {
            self.note(now, report);
        } else {
            self.send_up(&report, Some(frame));
        }
    }

    /// The same from an old node.
    pub(super) fn on_tree_info(&mut self, now: Instant, id: LinkId, frame: Frame) {
        let is_child = self.links.get(&id).is_some_and(Link::is_child);
        match TreeInfo::parse(&frame.body()) {
            Ok(links) if is_child => {
                let report = Report { links, rtt: Duration::ZERO, rate: 0, lag: 0 };
                let frame = Control::Report(report.clone()).to_frame();
                self.on_report(now, id, report, frame);
            }
            _ => self.stats.malformed += 1,
        }
    }

    fn note(&mut self, now: Instant, report: Report) {
        let id = report.links.id;
        if self.tree.len() >= MAX_TREE && !self.tree.contains_key(&id) {
            self.stats.overflow += 1;
            return;
        }
        self.tree.insert(id, TreeEntry { report, at: now });
        if !self.tree_told {
            self.tree_told = true;
            self.tell(Event::TreeUpdate);
        }
    }
}
