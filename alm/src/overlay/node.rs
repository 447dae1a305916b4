//! A node: its state, and the verbs.

use std::collections::{BTreeMap, VecDeque};
use std::time::{Duration, Instant};

use bytes::Bytes;
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};

use super::config::{Config, GroupKind, MAX_EVENTS};
use super::event::{Capabilities, Direction, Event, LinkId};
use super::link::Link;
use super::membership::Search;
use super::store::Store;
use super::tree::TreeEntry;
use crate::frame::{Control, Detach, Frame, FrameType, NodeId, Role, Sequence};

/// What happened so far; counts since `new`.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub struct Stats {
    /// Messages that came for the first time.
    pub received: u64,
    /// Messages that had come before.
    pub duplicates: u64,
    /// Messages of a live group that were skipped, by us or on the way.
    pub skipped: u64,
    /// Messages of a reliable group that are lost for this node ([`Event::Missed`]).
    pub missed: u64,
    /// Data from a child, from a standby, or ahead of what was to come.
    pub unexpected: u64,
    /// Frames that are none, of an unknown type, or whose body made no sense.
    pub malformed: u64,
    /// Control frames, joins and events that found a full queue.
    pub overflow: u64,
    /// Joins and asks that could not be placed or passed on.
    pub unplaced: u64,
    /// Cycles that were seen and cut.
    pub cycles: u64,
    /// Parents that fell silent, were lost, stalled, or sent us away.
    pub parents_lost: u64,
    /// Standbys that took over at once when a parent was lost.
    pub promotions: u64,
    /// Bytes of control frames sent.
    pub control_sent: u64,
    /// Bytes of multicast frames sent.
    pub data_sent: u64,
}

/// One member of one group. See [`crate::overlay`].
#[derive(Debug)]
pub struct Node {
    pub(super) id: NodeId,
    pub(super) config: Config,
    pub(super) kind: GroupKind,
    pub(super) is_owner: bool,
    pub(super) rng: StdRng,
    pub(super) start: Instant,
    pub(super) links: BTreeMap<LinkId, Link>,
    /// The upstream that delivers.
    pub(super) eager: Option<LinkId>,
    /// Root path, this node last; empty if it hangs in no tree.
    pub(super) path: Vec<NodeId>,
    pub(super) tick: u32,
    pub(super) tick_at: Instant,
    /// Since when nobody delivers.
    pub(super) orphan_since: Option<Instant>,
    /// The parent that died, if it was not the owner; who is below it is an orphan, too, until it says otherwise.
    pub(super) lost: Option<NodeId>,
    /// What the parents were told last of how many they are.
    pub(super) parents_told: u8,
    pub(super) group_size: u32,
    pub(super) search: Search,
    /// Children that may be, and until when: those that were there got too little.
    pub(super) slow: Option<(usize, Instant)>,

    pub(super) epoch: u32,
    /// The next message of the source; `None` before the first.
    pub(super) next: Option<Sequence>,
    pub(super) store: Store,
    /// Whom a gap was told by, and where it began: the standby is asked once.
    pub(super) gap: Option<Sequence>,
    /// The eager parent jumped ahead: ask it again for what is missing, with the next heartbeat.
    pub(super) resync: bool,
    /// Whether `publish` was refused and the owner waits for [`Event::Writable`].
    pub(super) full: bool,
    /// When the newest message came, and since when the eager parent is it.
    pub(super) last_data: Instant,
    pub(super) parent_since: Instant,
    /// Bytes of messages that the application has not taken.
    pub(super) untaken: u64,

    pub(super) next_beat: Instant,
    pub(super) beats: u32,
    pub(super) tree: BTreeMap<NodeId, TreeEntry>,
    pub(super) next_tree: Instant,
    /// Children came or went, or the parent's did: tell the children with the next heartbeat.
    pub(super) relatives_dirty: bool,
    pub(super) tree_told: bool,
    pub(super) asked_tree: Option<Instant>,
    pub(super) rate: (u64, Instant, u32),
    pub(super) events: VecDeque<Event>,
    /// Messages and gaps in their order, apart: an application that takes none must not hold up the rest.
    pub(super) messages: VecDeque<Event>,
    pub(super) stats: Stats,
}

impl Node {
    /// A node. The owner of the group is its root and its only source.
    ///
    /// `seed` is for jitter, random choices and the owner's epoch.
    pub fn new(config: Config, id: NodeId, is_owner: bool, now: Instant, seed: [u8; 32]) -> Self {
        let mut rng = StdRng::from_seed(seed);
        let phase = config.heartbeat.mul_f64(rng.random_range(0.0..1.0));
        Self {
            id,
            kind: config.kind,
            is_owner,
            start: now,
            links: BTreeMap::new(),
            eager: None,
            path: if is_owner { vec![id] } else { Vec::new() },
            tick: 0,
            tick_at: now,
            orphan_since: None,
            lost: None,
            parents_told: 0,
            group_size: 1,
            search: Search::new(now),
            slow: None,
            epoch: if is_owner { rng.random_range(1..=u32::MAX) } else { 0 },
            // 1 and not 0, which old nodes deliver as often as it comes.
            next: is_owner.then_some(Sequence(1)),
            store: Store::default(),
            gap: None,
            resync: false,
            full: false,
            last_data: now,
            parent_since: now,
            untaken: 0,
            next_beat: now + phase,
            beats: rng.random_range(0..4),
            tree: BTreeMap::new(),
            next_tree: now + config.tree_interval,
            relatives_dirty: false,
            tree_told: false,
            asked_tree: None,
            rate: (0, now, 0),
            events: VecDeque::new(),
            messages: VecDeque::new(),
            stats: Stats::default(),
            config,
            rng,
        }
    }

    /// Who this is.
    pub fn id(&self) -> NodeId {
        self.id
    }

    /// The root path, root first and this node last; empty if the node hangs in no tree.
    pub fn path(&self) -> &[NodeId] {
        &self.path
    }

    /// The upstream that delivers.
    pub fn parent(&self) -> Option<NodeId> {
        self.eager.and_then(|link| self.links.get(&link)).map(|link| link.peer)
    }

    /// The upstreams that stand by.
    pub fn standbys(&self) -> impl Iterator<Item = NodeId> {
        let eager = self.eager;
        self.links
            .iter()
            .filter(move |(id, link)| link.is_parent() && eager != Some(**id))
            .map(|(_, link)| link.peer)
    }

    /// The children, and what they want; `None` for one that has not said it yet.
    pub fn children(&self) -> impl Iterator<Item = (NodeId, Option<Role>)> {
        self.links.values().filter(|link| link.is_child()).map(|link| (link.peer, link.role))
    }

    /// Counters.
    pub fn stats(&self) -> &Stats {
        &self.stats
    }

    /// A link, that is a data channel, is up.
    pub fn link_up(
        &mut self,
        now: Instant,
        id: LinkId,
        peer: NodeId,
        direction: Direction,
        capabilities: Capabilities,
    ) {
        let ours = capabilities == Capabilities::Ours;
        let twin = self.links.iter().find(|(_, link)| link.peer == peer && !link.closing).map(|(id, _)| *id);
        if peer == self.id || self.links.contains_key(&id) {
            self.events.push_back(Event::CloseLink(id));
            return;
        }
        if let Some(twin) = twin {
            // A second link to the same node: the newer one is alive for sure.
            self.drop_link(now, twin, None);
        }
        self.links.insert(id, Link::new(now, peer, direction, ours));
        match direction {
            Direction::Down => self.child_up(now, id),
            Direction::Up => self.parent_up(now, id),
        }
        self.maintain(now);
    }

    /// A link is down, for whatever reason.
    pub fn link_down(&mut self, now: Instant, id: LinkId) {
        if let Some(link) = self.links.get(&id) {
            let closing = link.closing;
            if !closing {
                self.forget(now, id);
            }
            self.links.remove(&id);
            self.maintain(now);
        }
    }

    /// A frame came. What makes no sense is counted.
    pub fn handle_input(&mut self, now: Instant, id: LinkId, bytes: Bytes) {
        let Some(link) = self.links.get_mut(&id).filter(|link| !link.closing) else { return };
        link.last_heard = now;
        let Ok(frame) = Frame::parse(bytes) else {
            self.stats.malformed += 1;
            return;
        };
        match frame.frame_type() {
            FrameType::DATA | FrameType::TEXT => self.on_data(now, id, frame),
            FrameType::PING => {
                if frame.body().first() == Some(&0) {
                    let pong = Frame::new(FrameType::PING, Sequence(0), &[1]);
                    self.push(id, pong);
                }
            }
            FrameType::JOIN => self.on_join_frame(now, id, &frame),
            FrameType::GET_TREE_INFO => self.on_get_tree_info(now, id, &frame),
            FrameType::NOTIFY_TREE_INFO => self.on_tree_info(now, id, frame),
            _ => match Control::parse(frame.frame_type(), &frame.body()) {
                Ok(Some(control)) => self.on_control(now, id, control, frame),
                Ok(None) => self.stats.malformed += 1,
                Err(error) => {
                    self.stats.malformed += 1;
                    tracing::debug!(node = %self.id, %error, ?frame, "a control frame that makes no sense");
                }
            },
        }
    }

    fn on_control(&mut self, now: Instant, id: LinkId, control: Control, frame: Frame) {
        let Some(link) = self.links.get_mut(&id) else { return };
        // Who sends one of these is one of ours.
        link.ours = true;
        let down = link.direction == Direction::Down;
        match control {
            Control::Attach(attach) if down => self.on_attach(now, id, attach),
            Control::Credit(credit) if down => link.credit = link.credit.max(credit),
            Control::Path(info) if !down => self.on_path(now, id, info),
            Control::Gap { epoch, from, to } if !down => self.on_gap(now, id, epoch, from, to),
            Control::Heartbeat(beat) => self.on_heartbeat(now, id, &beat),
            Control::Route(route) => self.on_route(now, route),
            Control::Report(report) if down => self.on_report(now, id, report, frame),
            Control::Detach(reason) => {
                tracing::debug!(node = %self.id, peer = %link.peer, reason = reason.0, "detached");
                if down && reason == Detach::SLOW {
                    self.note_slowness(now, id);
                }
                let sent_away = self.eager == Some(id) && reason != Detach::LEAVING;
                self.drop_link(now, id, None);
                if sent_away {
                    // It lives on, and so do those below it.
                    self.lost = None;
                }
            }
            _ => self.stats.malformed += 1,
        }
        self.maintain(now);
    }

    /// Time has passed: heartbeats, silence, retries. Harmless at any time.
    pub fn handle_timeout(&mut self, now: Instant) {
        if now >= self.next_beat {
            // After a pause of the machine, one beat and not all that were missed.
            self.next_beat = now + self.config.heartbeat;
            self.beats = self.beats.wrapping_add(1);
            self.on_beat_due(now);
        }
        self.slow = self.slow.filter(|(_, until)| now < *until);
        self.check_silence(now);
        self.maintain(now);
    }

    /// When [`Node::handle_timeout`] wants to be called.
    pub fn poll_timeout(&self) -> Option<Instant> {
        let silence = self.eager.and_then(|id| self.links.get(&id)).filter(|link| link.ours);
        let silence = silence.map(|link| link.last_heard + self.silence());
        Some(silence.map_or(self.next_beat, |at| at.min(self.next_beat)))
    }

    /// Links that have something to send.
    pub fn poll_links(&self) -> impl Iterator<Item = LinkId> {
        self.links.iter().filter(|(_, link)| link.has_control() || self.has_data(link)).map(|(id, _)| *id)
    }

    /// The next frame for a link that can take one: control first. The channel's own buffer is the queue behind this; who
    /// keeps it short, as [`super::ChannelBudget`] does, keeps control frames fast.
    pub fn poll_transmit(&mut self, id: LinkId) -> Option<Bytes> {
        let frame = match self.links.get_mut(&id)?.pop() {
            Some(frame) => frame,
            None => self.next_data(id)?,
        };
        if frame.frame_type().is_multicast() {
            self.stats.data_sent += frame.len() as u64;
            self.grant();
        } else {
            self.stats.control_sent += frame.len() as u64;
        }
        Some(frame.into_bytes())
    }

    /// What happened: first what [`Node::poll_urgent`] has, then messages. Those that are not taken hold back a reliable
    /// group's sender.
    pub fn poll_event(&mut self) -> Option<Event> {
        if let Some(event) = self.poll_urgent() {
            return Some(event);
        }
        let event = self.messages.pop_front()?;
        if let Event::Message(_, message) = &event {
            self.untaken = self.untaken.saturating_sub(message.cost());
            self.grant();
        }
        Some(event)
    }

    /// What happened, but for [`Event::Message`] and [`Event::Missed`]: for an application that has no room for these now.
    pub fn poll_urgent(&mut self) -> Option<Event> {
        let event = self.events.pop_front()?;
        if event == Event::TreeUpdate {
            self.tree_told = false;
        }
        Some(event)
    }

    /// Leaves: neighbours are told, so that they heal at once. All links are to be closed.
    pub fn leave(&mut self, now: Instant) {
        self.search.stop();
        let links: Vec<_> = self.links.iter().filter(|(_, link)| !link.closing).map(|(id, _)| *id).collect();
        for id in links {
            self.drop_link(now, id, Some(Detach::LEAVING));
        }
    }

    /// Gives up a link: says why, if the peer does not know, and asks for it to be closed.
    pub(super) fn drop_link(&mut self, now: Instant, id: LinkId, reason: Option<Detach>) {
        let Some(link) = self.links.get_mut(&id).filter(|link| !link.closing) else { return };
        if let Some(reason) = reason.filter(|_| link.ours) {
            link.push(Control::Detach(reason).to_frame());
        }
        link.closing = true;
        self.events.push_back(Event::CloseLink(id));
        self.forget(now, id);
    }

    /// What a link's end changes, once.
    fn forget(&mut self, now: Instant, id: LinkId) {
        let Some(link) = self.links.get_mut(&id) else { return };
        link.closing = true;
        let was_child = link.direction == Direction::Down;
        if self.eager == Some(id) {
            self.eager = None;
            self.orphan_since = Some(now);
            self.lost = Some(link.peer).filter(|peer| Some(peer) != self.path.first());
            self.stats.parents_lost += 1;
            self.tell(Event::ParentChanged { parent: None });
        }
        if was_child {
            self.relatives_dirty = true;
            self.grant();
        }
    }

    pub(super) fn push(&mut self, id: LinkId, frame: Frame) {
        if let Some(link) = self.links.get_mut(&id)
            && !link.push(frame)
        {
            self.stats.overflow += 1;
        }
    }

    /// Tells something that may be lost when nobody listens.
    pub(super) fn tell(&mut self, event: Event) {
        if self.events.len() < MAX_EVENTS {
            self.events.push_back(event);
        } else {
            self.stats.overflow += 1;
        }
    }

    /// So long nothing is heard of a parent before it is dead.
    pub(super) fn silence(&self) -> Duration {
        self.config.heartbeat * self.config.missed_heartbeats
    }

    /// A time of up to half more or less.
    pub(super) fn jitter(&mut self, duration: Duration) -> Duration {
        duration.mul_f64(self.rng.random_range(0.5..1.5))
    }
}
