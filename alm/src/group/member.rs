//! The handle of a member.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use rand::TryRng;
use rand::rngs::SysRng;
use serde_json::{Map, Value};
use sinnet::Endpoint;
use tokio::sync::{mpsc, oneshot};

use super::driver::{Command, Driver, INPUTS, Inlets, Input, Publish, Start, now};
use super::event::GroupEvent;
use super::options::{MulticastError, Options, StartError, Status};
use super::places::{Control, Joining, join, outcome};
use super::queue::Queue;
use super::socket::{Socket, SocketEvent, SocketId};
use crate::frame::{NodeId, Sequence};
use crate::overlay::{GroupKind, Message, TreeEntry};

/// Messages that wait for the driver; callers of `multicast` wait beyond that.
const PUBLISHES: usize = 16;

/// One member of a multicast group, by the names of WebRTC_ALM. Cheap to clone; the membership ends in order with
/// [`WebRtcAlm::leave`] or the last handle.
#[derive(Clone)]
pub struct WebRtcAlm(Arc<Inner>);

struct Inner {
    url: String,
    options: Options,
    queue: Arc<Queue>,
    state: Mutex<State>,
}

enum State {
    Idle,
    /// `create` or `join` is under way.
    Starting,
    Member(Running),
}

#[derive(Clone)]
struct Running {
    id: NodeId,
    name: String,
    description: String,
    publishes: mpsc::Sender<Publish>,
    commands: mpsc::Sender<Command>,
}

/// What [`WebRtcAlm::create`] or [`WebRtcAlm::join`] has found out.
struct Admitted {
    id: NodeId,
    name: String,
    description: String,
    control: Option<Control>,
    joining: Option<Joining>,
    proof: Value,
    inputs: mpsc::Receiver<Input>,
    to_driver: mpsc::Sender<Input>,
}

/// Puts the state back if `create` or `join` fails, or its future is dropped.
struct Starting<'a>(&'a Inner);

impl Drop for Starting<'_> {
    fn drop(&mut self) {
        let mut state = self.0.state();
        if matches!(*state, State::Starting) {
            *state = State::Idle;
        }
    }
}

impl WebRtcAlm {
    /// A member to be, of a group at this server, such as `wss://example.org/alm`. Nothing happens before
    /// [`WebRtcAlm::create`] or [`WebRtcAlm::join`].
    ///
    /// `kind` is what the group promises, if it is created here; a member is told by its parents. (In the original the first
    /// argument is ignored.)
    pub fn new(kind: GroupKind, server_url: &str, options: Options) -> Self {
        let mut options = options;
        options.tree.kind = kind;
        let (url, queue, state) = (server_url.to_owned(), Arc::default(), Mutex::new(State::Idle));
        Self(Arc::new(Inner { url, options, queue, state }))
    }

    /// Makes a group and owns it: this node is the root of the tree, and the one that sends. Returns when the server has it. Must
    /// be called within a tokio runtime.
    ///
    /// If the server goes away later the tree goes on, and the group is created there again when it is back.
    ///
    /// # Errors
    /// [`StartError`]; after all but [`StartError::Used`] it can be tried again.
    pub async fn create(&self, group_name: &str, group_description: &str) -> Result<(), StartError> {
        let _starting = self.begin()?;
        let secret: String = seed()?.iter().take(16).map(|byte| format!("{byte:02x}")).collect();
        let mut control = Control::new(group_name, group_description, secret);
        let (to_driver, mut inputs) = mpsc::channel(INPUTS);
        let socket = self.ask(&control.create(), "create", &to_driver, &mut inputs).await?.0;
        control.socket = Some(socket);
        control.up();
        let admitted = Admitted {
            id: NodeId(0),
            name: group_name.to_owned(),
            description: group_description.to_owned(),
            control: Some(control),
            joining: None,
            proof: Value::Null,
            inputs,
            to_driver,
        };
        self.start(admitted).await
    }

    /// Joins a group by its name (or its number at the server, as the original's programs do). Returns when the server has
    /// taken the join; [`GroupEvent::ParentChange`] tells when there is a parent, and messages follow. Must be called within a
    /// tokio runtime.
    ///
    /// # Errors
    /// [`StartError`]; after all but [`StartError::Used`] it can be tried again.
    pub async fn join(&self, group_name: &str) -> Result<(), StartError> {
        let _starting = self.begin()?;
        let (to_driver, mut inputs) = mpsc::channel(INPUTS);
        let wanted = self.0.options.tree.max_up_streams.clamp(1, 16) as u32;
        let message = join(group_name, wanted, None, &[]);
        let (socket, answer) = self.ask(&message, "join", &to_driver, &mut inputs).await?;
        let id = answer.get("i").and_then(|id| u32::try_from(id.as_u64()?).ok()).filter(|id| *id != 0);
        let id = NodeId(id.ok_or_else(|| StartError::Answer("it gave this node no number".to_owned()))?);
        let text = |key: &str| answer.get(key).and_then(Value::as_str).unwrap_or_default().to_owned();
        let since = now();
        let admitted = Admitted {
            id,
            name: group_name.to_owned(),
            description: text("d"),
            control: None,
            joining: Some(Joining { socket, since, last: since, wanted, got: 0 }),
            proof: answer.get("t").cloned().unwrap_or(Value::Null),
            inputs,
            to_driver,
        };
        self.start(admitted).await
    }

    /// Leaves: the neighbours are told and heal at once. If this is the owner, the group's name is free again, and nothing
    /// more is sent; wait for [`WebRtcAlm::flush`] first. Returns when that is done; the last event is
    /// [`GroupEvent::Closed`]. Does nothing if this is no member.
    pub async fn leave(&self) {
        if let Some(running) = self.running() {
            let _ = running.commands.send(Command::Leave).await;
            running.commands.closed().await;
        }
    }

    /// Sends text or bytes to all members. Returns the message's number when it is in the store from which the children are
    /// served: in a reliable group that waits as long as the slowest child that keeps up has a window of messages to take; in a
    /// live group it never waits.
    ///
    /// Cancel safe: a future that is dropped has sent the message or not.
    ///
    /// # Errors
    /// [`MulticastError`].
    pub async fn multicast(&self, message: impl Into<Message>) -> Result<Sequence, MulticastError> {
        let running = self.running().filter(|running| !running.publishes.is_closed());
        let running = running.ok_or(MulticastError::NotMember)?;
        if running.id != NodeId(0) {
            return Err(MulticastError::NotOwner);
        }
        let (done, sent) = oneshot::channel();
        let gone = |_| MulticastError::NotMember;
        running.publishes.send((message.into(), done)).await.map_err(gone)?;
        sent.await.unwrap_or(Err(MulticastError::NotMember))
    }

    /// Waits until the children, those that came late included, have been sent everything, and nothing waits here. What is below
    /// them may lag still: [`WebRtcAlm::tree`] shows it.
    ///
    /// A child that lives on but takes nothing keeps this waiting for as long: bound it with a time-out.
    ///
    /// # Errors
    /// [`MulticastError::NotMember`].
    pub async fn flush(&self) -> Result<(), MulticastError> {
        self.command(Command::Flush).await.ok_or(MulticastError::NotMember)
    }

    /// Does nothing: the original had to be called every second, here a task keeps the time. It is kept for the name.
    pub fn timer(&self) {}

    /// Waits for the next event; `None` after [`GroupEvent::Closed`], and never before there is a group. Each event comes out
    /// once, whichever handle asks. Who takes no messages holds back the sender of a reliable group.
    ///
    /// Cancel safe: a future that is dropped before it is ready has taken no event.
    pub async fn next_event(&self) -> Option<GroupEvent> {
        self.0.queue.next().await
    }

    /// How this member stands now; `None` if it is none.
    pub async fn status(&self) -> Option<Status> {
        self.command(Command::Status).await
    }

    /// The owner's view of the tree: who is linked to whom, with round trip, rate and lag. It is asked for every
    /// [`tree_interval`](crate::overlay::Config::tree_interval). Empty for others.
    pub async fn tree(&self) -> BTreeMap<NodeId, TreeEntry> {
        self.command(Command::Tree).await.unwrap_or_default()
    }

    /// The number of this node in its group: 0 is the owner. `None` before there is a group.
    pub fn id(&self) -> Option<NodeId> {
        self.running().map(|running| running.id)
    }

    /// Whether the group is ours.
    pub fn is_group_owner(&self) -> bool {
        self.id() == Some(NodeId(0))
    }

    /// The group's name, as it was given to [`WebRtcAlm::create`] or [`WebRtcAlm::join`].
    pub fn group_name(&self) -> Option<String> {
        self.running().map(|running| running.name)
    }

    /// What the owner says of the group.
    pub fn group_description(&self) -> Option<String> {
        self.running().map(|running| running.description)
    }

    fn begin(&self) -> Result<Starting<'_>, StartError> {
        let mut state = self.0.state();
        match *state {
            State::Idle => {
                *state = State::Starting;
                Ok(Starting(&self.0))
            }
            State::Starting | State::Member(_) => Err(StartError::Used),
        }
    }

    /// Opens a WebSocket, says what is to be said, and waits for the answer.
    async fn ask(
        &self,
        message: &Value,
        method: &str,
        to_driver: &mpsc::Sender<Input>,
        inputs: &mut mpsc::Receiver<Input>,
    ) -> Result<(Socket, Map<String, Value>), StartError> {
        let socket = Socket::open(SocketId(0), &self.0.url, &self.0.options.client, to_driver.clone());
        socket.say(message);
        let patience = self.0.options.client.connect_timeout + self.0.options.patience;
        let answer = async {
            loop {
                match inputs.recv().await {
                    Some(Input::Socket(_, SocketEvent::Message(answer))) => {
                        // A mistake that the server can't assign has no method.
                        let said = answer.get("m").and_then(Value::as_str);
                        if said == Some(method) || said.is_none() && answer.contains_key("r") {
                            return outcome(&answer).map(|()| answer).map_err(StartError::Refused);
                        }
                    }
                    Some(Input::Socket(_, SocketEvent::Failed(error))) => return Err(error.into()),
                    Some(Input::Socket(_, SocketEvent::Closed(reason))) => {
                        return Err(StartError::Answer(reason));
                    }
                    Some(Input::Link(..)) | None => {}
                }
            }
        };
        let late = |_| StartError::Answer("the server does not answer".to_owned());
        let answer = tokio::time::timeout(patience, answer).await.map_err(late)??;
        Ok((socket, answer))
    }

    async fn start(&self, admitted: Admitted) -> Result<(), StartError> {
        let options = self.0.options.clone();
        let endpoint = match &options.endpoint {
            Some(endpoint) => endpoint.clone(),
            None => Endpoint::new(options.bind.clone()).await?,
        };
        let Admitted { id, name, description, control, joining, proof, inputs, to_driver } = admitted;
        let (publishes, from_app) = mpsc::channel(PUBLISHES);
        let (commands, from_handles) = mpsc::channel(PUBLISHES);
        let inlets = Inlets { inputs, publishes: from_app, commands: from_handles };
        let start = Start {
            node: id,
            control,
            joining,
            group: name.clone(),
            proof,
            url: self.0.url.clone(),
            options,
            endpoint,
            queue: self.0.queue.clone(),
            inputs: to_driver,
            seed: seed()?,
        };
        tokio::spawn(Driver::new(start).run(inlets));
        *self.0.state() = State::Member(Running { id, name, description, publishes, commands });
        Ok(())
    }

    fn running(&self) -> Option<Running> {
        match &*self.0.state() {
            State::Member(running) => Some(running.clone()),
            State::Idle | State::Starting => None,
        }
    }

    async fn command<T>(&self, make: impl FnOnce(oneshot::Sender<T>) -> Command) -> Option<T> {
        let (to_us, answer) = oneshot::channel();
        self.running()?.commands.send(make(to_us)).await.ok()?;
        answer.await.ok()
    }
}

impl Inner {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl fmt::Debug for WebRtcAlm {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("WebRtcAlm")
            .field("id", &self.id())
            .field("group", &self.group_name())
            .finish_non_exhaustive()
    }
}

fn seed() -> Result<[u8; 32], StartError> {
    let mut seed = [0; 32];
    SysRng.try_fill_bytes(&mut seed).map_err(|_| StartError::Endpoint(sinnet::Error::Randomness))?;
    Ok(seed)
}
