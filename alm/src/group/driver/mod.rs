//! The task of a member: what comes from handles, sockets and connections goes into its [`Node`], and what the node wants is
//! done.

mod server;

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::time::{Duration, Instant};

use futures_util::StreamExt;
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use serde_json::{Map, Value};
use sinnet::{Endpoint, IceCandidate};
use tokio::sync::{mpsc, oneshot};

use crate::frame::{NodeId, Sequence};
use crate::group::event::{Ended, GroupEvent, LinkState};
use crate::group::link::{Connection, LinkEvent};
use crate::group::links::{Link, Links, Via};
use crate::group::options::{MulticastError, Options, Status};
use crate::group::places::{Accepting, Control, JOIN_LINGERS, Joining};
use crate::group::queue::Queue;
use crate::group::signal::Signal;
use crate::group::socket::{SocketEvent, SocketId};
use crate::overlay::{Capabilities, Direction, Event, LinkId, Message, Node, PublishError, TreeEntry};

/// What sockets and connections have to say waits in a queue of this many.
pub(crate) const INPUTS: usize = 256;

/// Inputs and messages handled at once, before anything is sent.
const BATCH: usize = 64;

/// Connections that are being made beside those that the node has places for.
const SPARE: usize = 8;

/// Candidates kept for offers along the tree that have not come.
const MAX_EARLY: usize = 32;

/// How often what has taken too long is looked for.
const TICK: Duration = Duration::from_millis(250);

/// How long the last words to neighbours may take.
const GOODBYE: Duration = Duration::from_secs(2);

/// From a task of the driver's.
#[derive(Debug)]
pub(crate) enum Input {
    Socket(SocketId, SocketEvent),
    Link(LinkId, LinkEvent),
}

/// A message to send, and where to say that it is on its way.
pub(crate) type Publish = (Message, oneshot::Sender<Result<Sequence, MulticastError>>);

/// What else a handle wants.
#[derive(Debug)]
pub(crate) enum Command {
    Status(oneshot::Sender<Status>),
    Tree(oneshot::Sender<BTreeMap<NodeId, TreeEntry>>),
    /// Answered when nothing waits here any more.
    Flush(oneshot::Sender<()>),
    Leave,
}

/// The ends of a driver's queues.
pub(crate) struct Inlets {
    pub(crate) inputs: mpsc::Receiver<Input>,
    pub(crate) publishes: mpsc::Receiver<Publish>,
    pub(crate) commands: mpsc::Receiver<Command>,
}

/// What a member is made of.
pub(crate) struct Start {
    pub(crate) node: NodeId,
    /// The owner's.
    pub(crate) control: Option<Control>,
    /// A member's first join, answered by the server.
    pub(crate) joining: Option<Joining>,
    pub(crate) group: String,
    pub(crate) proof: Value,
    pub(crate) url: String,
    pub(crate) options: Options,
    pub(crate) endpoint: Endpoint,
    pub(crate) queue: Arc<Queue>,
    pub(crate) inputs: mpsc::Sender<Input>,
    pub(crate) seed: [u8; 32],
}

pub(crate) struct Driver {
    node: Node,
    links: Links,
    control: Option<Control>,
    joining: Option<Joining>,
    accepting: Vec<Accepting>,
    /// Who was promised a place along the tree, and until when its offer is answered.
    expected: BTreeMap<NodeId, Instant>,
    early: VecDeque<(NodeId, u32, IceCandidate)>,
    group: String,
    proof: Value,
    url: String,
    options: Options,
    endpoint: Endpoint,
    queue: Arc<Queue>,
    inputs: mpsc::Sender<Input>,
    rng: StdRng,
    next_link: u64,
    next_socket: u64,
    /// Waits until the node takes messages again.
    unpublished: Option<Publish>,
    writable: bool,
    flushes: Vec<oneshot::Sender<()>>,
    server_lost: bool,
    /// Since when the server knows no such group, or not this node, and its words.
    refused: Option<(Instant, String)>,
    next_tick: Instant,
}

/// The time: tokio's, which tests can stop.
#[expect(clippy::disallowed_methods, reason = "the driver gives the time to the core")]
pub(crate) fn now() -> Instant {
    tokio::time::Instant::now().into_std()
}

/// Ends the queue whatever becomes of the driver: who waits for events waits for no more.
struct EndsQueue(Arc<Queue>);

impl Drop for EndsQueue {
    fn drop(&mut self) {
        self.0.end(GroupEvent::Closed(Ended::Stopped));
    }
}

impl Driver {
    pub(crate) fn new(start: Start) -> Self {
        let Start { node, control, joining, group, proof, url, options, endpoint, queue, inputs, seed } =
            start;
        let mut rng = StdRng::from_seed(seed);
        let now = now();
        let mut node = Node::new(options.tree.clone(), node, control.is_some(), now, rng.random());
        node.join(now);
        Self {
            node,
            links: Links::default(),
            control,
            joining,
            accepting: Vec::new(),
            expected: BTreeMap::new(),
            early: VecDeque::new(),
            group,
            proof,
            url,
            options,
            endpoint,
            queue,
            inputs,
            rng,
            next_link: 0,
            // The first one was opened before.
            next_socket: 1,
            unpublished: None,
            writable: false,
            flushes: Vec::new(),
            server_lost: false,
            refused: None,
            next_tick: now,
        }
    }

    /// Runs until the member leaves, all handles are gone, or the group is.
    pub(crate) async fn run(mut self, mut inlets: Inlets) {
        let _end = EndsQueue(self.queue.clone());
        let ended = loop {
            let now = now();
            if now >= self.next_tick {
                self.next_tick = now + TICK;
                if let Some(ended) = self.tick(now) {
                    break ended;
                }
            }
            self.turn(now);
            let wake = self.node.poll_timeout().map_or(self.next_tick, |at| at.min(self.next_tick));
            let may_publish = self.unpublished.is_none();
            // In no fixed order, so that a flood of one kind does not keep out the others.
            tokio::select! {
                command = inlets.commands.recv() => match command {
                    Some(Command::Leave) | None => break Ended::Left,
                    Some(command) => self.answer(command),
                },
                Some(input) = inlets.inputs.recv() => {
                    let now = self::now();
                    self.handle(now, input);
                    for _ in 1..BATCH {
                        let Ok(input) = inlets.inputs.try_recv() else { break };
                        self.handle(now, input);
                    }
                }
                Some(id) = self.links.rooms.next(), if !self.links.rooms.is_empty() => self.links.has_room(id),
                Some(publish) = inlets.publishes.recv(), if may_publish => {
                    self.publish(publish);
                    for _ in 1..BATCH {
                        if self.unpublished.is_some() {
                            break;
                        }
                        let Ok(publish) = inlets.publishes.try_recv() else { break };
                        self.publish(publish);
                    }
                }
                () = self.queue.room() => {}
                () = tokio::time::sleep_until(wake.into()) => {}
            }
            let now = self::now();
            if self.node.poll_timeout().is_some_and(|at| at <= now) {
                self.node.handle_timeout(now);
            }
        };
        self.leave().await;
        self.queue.end(GroupEvent::Closed(ended));
    }

    /// Events and frames, until there are no more.
    fn turn(&mut self, now: Instant) {
        loop {
            while let Some(event) = self.node.poll_urgent() {
                self.on_event(now, event);
            }
            while self.queue.has_room()
                && let Some(event) = self.node.poll_event()
            {
                self.on_event(now, event);
            }
            if std::mem::take(&mut self.writable)
                && let Some(publish) = self.unpublished.take()
            {
                self.publish(publish);
            }
            self.links.pump(&mut self.node, now);
            // What was sent or taken may have made room.
            match self.node.poll_urgent() {
                Some(event) => self.on_event(now, event),
                None => break,
            }
        }
        if !self.flushes.is_empty() && self.is_flushed() {
            for done in self.flushes.drain(..) {
                let _ = done.send(());
            }
        }
    }

    fn is_flushed(&self) -> bool {
        self.unpublished.is_none() && self.node.unsent() == 0 && self.links.is_flushed()
    }

    fn on_event(&mut self, now: Instant, event: Event) {
        match event {
            Event::Message(sequence, message) => {
                let bytes = match &message {
                    Message::Bytes(bytes) => bytes.len(),
                    Message::Text(text) => text.len(),
                };
                self.queue.push_message(GroupEvent::Message { sequence, message }, bytes);
            }
            Event::Missed { from, to } => self.queue.push_message(GroupEvent::Missed { from, to }, 0),
            Event::JoinByServer { wanted, path } => self.join_by_server(now, wanted, &path),
            Event::AcceptJoin(join) => self.accept(now, join),
            Event::Connect { peer, .. } => {
                let via = Via::Tree(self.rng.random());
                self.offer(now, peer, Capabilities::Ours, via);
            }
            Event::Expect { peer } => {
                // As many as the node has promised places for.
                self.expected.insert(peer, now + self.options.patience);
            }
            Event::Signal { from, data } => self.on_signal(now, from, &data),
            Event::CloseLink(id) => self.close_link(now, id),
            Event::ParentChanged { parent } => self.queue.push(GroupEvent::ParentChange(parent)),
            Event::Writable => self.writable = true,
            Event::TreeUpdate => self.queue.push(GroupEvent::TreeUpdate),
        }
    }

    fn publish(&mut self, (message, done): Publish) {
        if done.is_closed() {
            // Nobody waits for it any more: it was taken back.
            return;
        }
        let result = match self.node.publish(message.clone()) {
            Ok(sequence) => Ok(sequence),
            Err(PublishError::Full) => {
                self.unpublished = Some((message, done));
                return;
            }
            Err(PublishError::TooLong) => Err(MulticastError::TooLarge),
            Err(PublishError::NotOwner) => Err(MulticastError::NotOwner),
        };
        let _ = done.send(result);
    }

    fn answer(&mut self, command: Command) {
        match command {
            Command::Status(to) => drop(to.send(self.status())),
            Command::Tree(to) => drop(to.send(self.node.tree().clone())),
            Command::Flush(done) => self.flushes.push(done),
            Command::Leave => {}
        }
    }

    fn status(&self) -> Status {
        Status {
            id: self.node.id(),
            path: self.node.path().to_vec(),
            parent: self.node.parent(),
            standbys: self.node.standbys().collect(),
            children: self.node.children().collect(),
            held: self.node.held(),
            server: !self.server_lost,
            dropped_events: self.queue.dropped(),
            unsendable: self.links.unsendable,
            stats: *self.node.stats(),
        }
    }

    fn handle(&mut self, now: Instant, input: Input) {
        match input {
            Input::Link(id, event) => self.on_link(now, id, event),
            Input::Socket(id, event) => self.on_socket(now, id, event),
        }
    }

    // ---- connections ----

    /// Whether one more connection may be made now.
    fn may_connect(&self) -> bool {
        let tree = &self.options.tree;
        self.links.all.len() < tree.max_up_streams + tree.max_down_streams + SPARE
    }

    fn next_link(&mut self) -> LinkId {
        self.next_link += 1;
        LinkId(self.next_link)
    }

    /// Two connections between the same sockets can't be told apart, so of two nodes that want to be each other's child at
    /// the same time one gives way. The parent is the one with the lower number if the sum of both is odd, otherwise the other:
    /// so nobody is the parent of all. Returns whether a connection in this direction may be made; one in the other direction
    /// that is being made ends then.
    fn yields(&mut self, now: Instant, peer: NodeId, direction: Direction) -> bool {
        let other = |link: &Link| link.peer == peer && link.direction != direction;
        let Some(id) = self.links.connecting().find(|(_, link)| other(link)).map(|(id, _)| id) else {
            return true;
        };
        let own = self.node.id();
        let is_parent = (own < peer) == ((own.0 ^ peer.0) & 1 == 1);
        let is_right = (direction == Direction::Down) == is_parent;
        if is_right {
            self.lost(now, id, "both want to be the other's child");
        }
        is_right
    }

    /// Offers a connection to a parent.
    fn offer(&mut self, now: Instant, peer: NodeId, capabilities: Capabilities, via: Via) {
        if !self.may_connect() || !self.yields(now, peer, Direction::Up) {
            return;
        }
        let id = self.next_link();
        let made = Connection::offering(&self.endpoint, &self.options.peer, id, self.inputs.clone());
        self.begin(now, id, peer, Direction::Up, capabilities, via, made);
    }

    /// Answers a child's offer.
    fn take_offer(
        &mut self,
        now: Instant,
        peer: NodeId,
        capabilities: Capabilities,
        via: Via,
        offer: String,
    ) -> Option<LinkId> {
        if !self.may_connect() || !self.yields(now, peer, Direction::Down) {
            return None;
        }
        let id = self.next_link();
        let made = Connection::answering(&self.endpoint, &self.options.peer, offer, id, self.inputs.clone());
        self.begin(now, id, peer, Direction::Down, capabilities, via, made);
        Some(id)
    }

    #[expect(clippy::too_many_arguments, reason = "the parts of a link")]
    fn begin(
        &mut self,
        now: Instant,
        id: LinkId,
        peer: NodeId,
        direction: Direction,
        capabilities: Capabilities,
        via: Via,
        made: Result<(Connection, Signal), sinnet::Error>,
    ) {
        self.tell_state(peer, direction, LinkState::Connecting);
        match made {
            Ok((connection, signal)) => {
                let deadline = now + self.options.patience;
                let link = Link::new(peer, direction, capabilities, via, connection, deadline);
                self.links.all.insert(id, link);
                self.send_signal(peer, via, &signal);
            }
            Err(error) => {
                tracing::debug!(%peer, %error, "no connection could be begun");
                self.tell_state(peer, direction, LinkState::Failed);
            }
        }
    }

    /// Says something to the other end of a link that is being made.
    fn send_signal(&mut self, peer: NodeId, via: Via, signal: &Signal) {
        let mut message = signal.write();
        match via {
            Via::Join(socket, key) => {
                message.insert("k".to_owned(), key.into());
                message.insert("i".to_owned(), self.node.id().0.into());
                if let Some(joining) = self.joining.as_ref().filter(|joining| joining.socket.id == socket) {
                    joining.socket.say(&Value::Object(message));
                }
            }
            Via::Accept(socket) => {
                message.insert("i".to_owned(), self.node.id().0.into());
                if let Some(accepting) = self.accepting.iter().find(|accepting| accepting.id() == socket) {
                    accepting.socket.say(&Value::Object(message));
                }
            }
            Via::Tree(key) => {
                message.insert("k".to_owned(), key.into());
                let data = Value::Object(message).to_string();
                if let Err(error) = self.node.send_signal(peer, data.into()) {
                    tracing::debug!(%peer, %error, "a signal was not sent");
                }
            }
        }
    }

    /// Something that came along the tree.
    fn on_signal(&mut self, now: Instant, from: NodeId, data: &[u8]) {
        let message: Option<Map<String, Value>> = serde_json::from_slice(data).ok();
        let parsed = message.and_then(|message| {
            let key = u32::try_from(message.get("k")?.as_u64()?).ok()?;
            Some((key, Signal::read(&message)?))
        });
        let Some((key, signal)) = parsed else {
            tracing::debug!(%from, "a signal that makes no sense");
            return;
        };
        match signal {
            Signal::Offer(offer) => {
                if self.expected.remove(&from).is_none() {
                    tracing::debug!(%from, "an offer that nobody expects");
                    return;
                }
                let link = self.take_offer(now, from, Capabilities::Ours, Via::Tree(key), offer);
                let early = std::mem::take(&mut self.early);
                for (node, attempt, candidate) in early {
                    if (node, attempt) != (from, key) {
                        self.early.push_back((node, attempt, candidate));
                    } else if let Some(link) = link.and_then(|id| self.links.get_mut(id)) {
                        link.connection.take_candidate(candidate);
                    }
                }
            }
            Signal::Answer(answer) => {
                if let Some((id, link)) = self.links.by_attempt(from, key)
                    && let Err(error) = link.connection.take_answer(answer)
                {
                    self.lost(now, id, &error.to_string());
                }
            }
            Signal::Candidate(candidate) => match self.links.by_attempt(from, key) {
                Some((_, link)) => link.connection.take_candidate(candidate),
                None => {
                    if self.early.len() >= MAX_EARLY {
                        self.early.pop_front();
                    }
                    self.early.push_back((from, key, candidate));
                }
            },
        }
    }

    fn on_link(&mut self, now: Instant, id: LinkId, event: LinkEvent) {
        // The last words of one that is closed already.
        let Some(link) = self.links.get_mut(id) else { return };
        match event {
            LinkEvent::Candidate(candidate) => {
                if link.is_connecting() && link.connection.is_news(&candidate) {
                    let (peer, via) = (link.peer, link.via);
                    self.send_signal(peer, via, &Signal::Candidate(candidate));
                }
            }
            LinkEvent::Open(channel) => {
                let Some(link) = self.links.open(id, channel, now) else { return };
                let (peer, direction, capabilities, via) =
                    (link.peer, link.direction, link.capabilities, link.via);
                self.tell_state(peer, direction, LinkState::Connected);
                match via {
                    Via::Accept(socket) => self.accepting.retain(|accepting| accepting.id() != socket),
                    Via::Join(..) => {
                        if let Some(joining) = &mut self.joining {
                            joining.got += 1;
                        }
                    }
                    Via::Tree(_) => {}
                }
                self.node.link_up(now, id, peer, direction, capabilities);
            }
            LinkEvent::Message(message) => match link.read(message) {
                Some(bytes) => self.node.handle_input(now, id, bytes),
                None => tracing::debug!(peer = %link.peer, "a text that is no frame"),
            },
            LinkEvent::Closed(reason) => self.lost(now, id, &reason),
        }
    }

    /// A connection has ended by itself, or never will be.
    fn lost(&mut self, now: Instant, id: LinkId, reason: &str) {
        let Some(link) = self.links.all.remove(&id) else { return };
        tracing::debug!(node = %self.node.id(), peer = %link.peer, reason, "a connection is lost");
        if let Via::Accept(socket) = link.via {
            self.accepting.retain(|accepting| accepting.id() != socket);
        }
        self.tell_state(link.peer, link.direction, link.last_state());
        self.node.link_down(now, id);
        // One that has never been up would wait for ever: nothing ends it but this.
        drop(link.connection.close());
    }

    /// The node has given a link up: its last words, then the end.
    fn close_link(&mut self, now: Instant, id: LinkId) {
        drop(self.part_with(now, id));
    }

    fn part_with(&mut self, now: Instant, id: LinkId) -> Option<tokio::task::JoinHandle<()>> {
        // What is in the node for it goes out at once, whatever waits in the channel.
        self.links.flush_control(id, &mut self.node);
        let link = self.links.all.remove(&id)?;
        if let Some(channel) = &link.channel {
            channel.close();
        }
        self.tell_state(link.peer, link.direction, link.last_state());
        self.node.link_down(now, id);
        Some(link.connection.close())
    }

    fn tell_state(&self, id: NodeId, direction: Direction, state: LinkState) {
        self.queue.push(GroupEvent::StateChange { id, direction, state });
    }

    // ---- time ----

    /// What has taken too long, and what is to be tried again.
    fn tick(&mut self, now: Instant) -> Option<Ended> {
        let late = self.links.connecting().filter(|(_, link)| now >= link.deadline);
        for id in late.map(|(id, _)| id).collect::<Vec<_>>() {
            self.lost(now, id, "this took too long");
        }
        self.accepting.retain(|accepting| now < accepting.deadline);
        self.expected.retain(|_, until| now < *until);
        if let Some(joining) = &self.joining {
            let connecting = self.links.connecting().any(|(_, link)| matches!(link.via, Via::Join(..)));
            let lingers = now.saturating_duration_since(joining.last) < JOIN_LINGERS;
            if !connecting && (joining.got >= joining.wanted || !lingers) {
                self.end_join(now);
            }
        }
        if self.control.as_ref().is_some_and(|control| control.retry_at.is_some_and(|at| now >= at)) {
            let socket = self.open_socket();
            if let Some(control) = &mut self.control {
                control.retry_at = None;
                socket.say(&control.create());
                control.socket = Some(socket);
            }
        }
        let lost = self.node.path().is_empty();
        match &self.refused {
            Some((since, reason))
                if lost && now.saturating_duration_since(*since) >= self.options.give_up =>
            {
                Some(Ended::GroupGone(reason.clone()))
            }
            Some(_) if !lost => {
                self.refused = None;
                None
            }
            _ => None,
        }
    }

    /// Tells the neighbours and waits for a moment until they have heard it.
    async fn leave(&mut self) {
        let now = now();
        self.control = None;
        self.joining = None;
        self.accepting.clear();
        self.node.leave(now);
        let mut closing = Vec::new();
        let open: Vec<_> = self.links.all.keys().copied().collect();
        for id in open {
            closing.extend(self.part_with(now, id));
        }
        let _ = tokio::time::timeout(GOODBYE, futures_util::future::join_all(closing)).await;
    }
}
