//! A group: a connection with each member.

use std::collections::HashMap;
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};

use futures_util::future::join_all;
use serde_json::{Value, json};
use sinnet::{Endpoint, Message, PeerConfig};
use tokio::sync::{Semaphore, mpsc};

use super::link::{Link, Signal};
use super::rpc::Rpc;
use super::service::UserId;

/// Events that wait for [`Group::next_event`]. Messages beyond it stay with their senders.
const QUEUE: usize = 256;

/// Connections of one group, whatever the server says of its members.
const MAX_LINKS: usize = 256;

/// Ends of connections that wait for room among the events; more are not told.
const MAX_ENDS: usize = 256;

/// Candidates kept for a user whose offer has not come, and users they are kept for.
pub(crate) const MAX_EARLY: usize = 64;
const MAX_EARLY_USERS: usize = 64;

/// What members of a group may do.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Capability(pub u8);

impl Capability {
    /// The owner may send to all.
    pub const BROADCAST_OWNER: Self = Self(1);
    /// Everybody may send to all.
    pub const BROADCAST_EVERYONE: Self = Self(2);
    /// The owner may send to one.
    pub const UNICAST_OWNER: Self = Self(4);
    /// Everybody may send to one.
    pub const UNICAST_EVERYONE: Self = Self(8);

    /// Whether all of `other` is in it.
    pub fn has(self, other: Self) -> bool {
        self.0 & other.0 == other.0
    }
}

/// What happens in a group.
#[derive(Clone, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub enum GroupEvent {
    /// Messages can go to this member now, and come from it.
    Connected(UserId),
    /// A member's message.
    Message {
        /// Who sent it.
        from: UserId,
        /// What.
        message: Message,
    },
    /// The connection with this member has ended: it has left, or can't be reached any more.
    Disconnected(UserId),
    /// No connection came about.
    Unreachable {
        /// The member.
        user: UserId,
        /// Why.
        reason: String,
    },
}

/// A message was not sent.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SendError {
    /// There is no connection with this member.
    #[error("there is no connection with {0}")]
    NotConnected(UserId),
    /// The channel did not take it.
    #[error("{user}: {error}")]
    Channel {
        /// The member.
        user: UserId,
        /// Why not.
        error: sinnet::SendError,
    },
}

/// A group that we are a member of. Dropping it leaves it.
pub struct Group {
    shared: Arc<GroupShared>,
    events: tokio::sync::Mutex<mpsc::Receiver<GroupEvent>>,
}

/// What a group and its links share.
pub(crate) struct GroupShared {
    id: String,
    me: UserId,
    rpc: Rpc,
    endpoint: Endpoint,
    config: PeerConfig,
    events: mpsc::Sender<GroupEvent>,
    ends: Arc<Semaphore>,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    links: HashMap<UserId, Arc<Link>>,
    /// Candidates that came before their offer.
    early: HashMap<UserId, Vec<Value>>,
}

impl Group {
    pub(crate) fn new(id: String, me: UserId, rpc: Rpc, endpoint: Endpoint, config: PeerConfig) -> Self {
        let (to_app, events) = mpsc::channel(QUEUE);
        let state = Mutex::default();
        let ends = Arc::new(Semaphore::new(MAX_ENDS));
        let shared = Arc::new(GroupShared { id, me, rpc, endpoint, config, events: to_app, ends, state });
        Self { shared, events: tokio::sync::Mutex::new(events) }
    }

    pub(crate) fn shared(&self) -> &Arc<GroupShared> {
        &self.shared
    }

    /// The id, by which others join.
    pub fn id(&self) -> &str {
        &self.shared.id
    }

    /// What members may do: all may send to all, and to each.
    pub fn capability(&self) -> Capability {
        Capability(Capability::BROADCAST_EVERYONE.0 | Capability::UNICAST_EVERYONE.0)
    }

    /// The members that are connected with us.
    pub fn connected(&self) -> Vec<UserId> {
        let state = self.shared.state();
        state
            .links
            .iter()
            .filter(|(_, link)| link.channel().is_some())
            .map(|(user, _)| user.clone())
            .collect()
    }

    /// Waits for the next event. Cancel-safe. A group that is not asked for its events keeps its members' messages waiting with
    /// them.
    pub async fn next_event(&self) -> Option<GroupEvent> {
        self.events.lock().await.recv().await
    }

    /// Sends to all members that are connected, and waits until all have room for it. Returns what did not go out.
    pub async fn broadcast(&self, message: impl Into<Message>) -> Vec<SendError> {
        let message = message.into();
        let sends = self.connected().into_iter().map(|user| {
            let message = message.clone();
            async move { self.unicast(&user, message).await }
        });
        join_all(sends).await.into_iter().filter_map(Result::err).collect()
    }

    /// Sends to one member, and waits until there is room for it.
    ///
    /// # Errors
    /// [`SendError`].
    pub async fn unicast(&self, user: &UserId, message: impl Into<Message>) -> Result<(), SendError> {
        let channel = self.shared.state().links.get(user).and_then(|link| link.channel());
        let channel = channel.ok_or_else(|| SendError::NotConnected(user.clone()))?;
        let failed = |error| SendError::Channel { user: user.clone(), error };
        channel.send(message).await.map_err(failed)
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        let links = std::mem::take(&mut self.shared.state().links);
        links.values().for_each(|link| link.close());
        let (rpc, id) = (self.shared.rpc.clone(), self.shared.id.clone());
        if let Ok(runtime) = tokio::runtime::Handle::try_current() {
            runtime.spawn(async move { rpc.call("leave", json!([id])).await });
        }
    }
}

impl fmt::Debug for Group {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Group").field("id", &self.shared.id).finish_non_exhaustive()
    }
}

impl GroupShared {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Offers a connection to a member, in a task.
    pub(crate) fn offer_to(self: &Arc<Self>, user: UserId) {
        let link = match Link::offering(&self.endpoint, &self.config) {
            Ok((link, offer)) => {
                let link = Arc::new(link);
                let mut state = self.state();
                if state.links.contains_key(&user) || state.links.len() >= MAX_LINKS {
                    // Their offer was quicker, or the server's list is no list of members.
                    return;
                }
                state.links.insert(user.clone(), link.clone());
                drop(state);
                let (rpc, id, to) = (self.rpc.clone(), self.id.clone(), user.0.clone());
                let answering = link.clone();
                let group = Arc::downgrade(self);
                let asked = user.clone();
                tokio::spawn(async move {
                    let answer = rpc.call("relay", json!([id, to, offer])).await;
                    let taken = match answer {
                        Ok(answer) => answering.take_answer(&answer),
                        Err(error) => Err(error.to_string()),
                    };
                    if let (Err(reason), Some(group)) = (taken, group.upgrade()) {
                        group.lost(&asked, &answering, Some(reason));
                    }
                });
                link
            }
            Err(reason) => {
                let _ = self.events.try_send(GroupEvent::Unreachable { user, reason });
                return;
            }
        };
        self.drive(user, link);
    }

    /// What a member has to say to us by way of the server.
    pub(crate) fn relayed(self: &Arc<Self>, user: UserId, data: &Value) -> Result<Value, &'static str> {
        match Signal::read(data).ok_or("invalid relay message")? {
            Signal::Ice(candidate) => {
                let mut state = self.state();
                if let Some(link) = state.links.get(&user) {
                    link.add_candidate(candidate);
                } else {
                    let room = state.early.len() < MAX_EARLY_USERS;
                    let early = match state.early.get_mut(&user) {
                        Some(early) => early,
                        None if room => state.early.entry(user).or_default(),
                        None => return Ok(Value::Null),
                    };
                    if early.len() < MAX_EARLY {
                        early.push(candidate.clone());
                    }
                }
                Ok(Value::Null)
            }
            Signal::Offer(sdp) => {
                if self.state().links.get(&user).is_some_and(|link| link.is_offering()) && self.me < user {
                    return Err("our offers crossed, and mine goes before");
                }
                let is_full =
                    |state: &State| state.links.len() >= MAX_LINKS && !state.links.contains_key(&user);
                if is_full(&self.state()) {
                    return Err("this group has too many members");
                }
                let (link, answer) = Link::answering(&self.endpoint, &self.config, sdp)?;
                let link = Arc::new(link);
                let mut state = self.state();
                for candidate in state.early.remove(&user).unwrap_or_default() {
                    link.add_candidate(&candidate);
                }
                // A newer offer takes the place of whatever there was.
                let before = state.links.insert(user.clone(), link.clone());
                drop(state);
                if let Some(before) = before {
                    before.close();
                }
                self.drive(user, link);
                Ok(answer)
            }
        }
    }

    /// The server says that a member has gone.
    pub(crate) fn left(&self, user: &UserId) {
        let link = {
            let mut state = self.state();
            state.early.remove(user);
            state.links.get(user).cloned()
        };
        // What is up ends by itself, orderly or by silence: the member may only have lost the server.
        if let Some(link) = link.filter(|link| link.channel().is_none()) {
            self.lost(user, &link, Some("the member has left".to_owned()));
        }
    }

    /// Waits for the link's channel, then for its messages, then for its end.
    fn drive(self: &Arc<Self>, user: UserId, link: Arc<Link>) {
        let group = Arc::downgrade(self);
        let events = self.events.clone();
        tokio::spawn(async move {
            let reason = match link.open().await {
                Err(reason) => Some(reason),
                Ok(channel) => {
                    let _ = events.send(GroupEvent::Connected(user.clone())).await;
                    while let Some(message) = channel.recv().await {
                        let message = GroupEvent::Message { from: user.clone(), message };
                        if events.send(message).await.is_err() || Weak::strong_count(&group) == 0 {
                            return;
                        }
                    }
                    None
                }
            };
            if let Some(group) = group.upgrade() {
                group.lost(&user, &link, reason);
            }
        });
    }

    /// A link has ended; with a reason if it never was up. Told once, and not for one that another has replaced.
    fn lost(&self, user: &UserId, link: &Arc<Link>, reason: Option<String>) {
        {
            let mut state = self.state();
            if !state.links.get(user).is_some_and(|current| Arc::ptr_eq(current, link)) {
                return;
            }
            state.links.remove(user);
        }
        link.close();
        let event = match reason {
            Some(reason) => GroupEvent::Unreachable { user: user.clone(), reason },
            None => GroupEvent::Disconnected(user.clone()),
        };
        let Ok(place) = self.ends.clone().try_acquire_owned() else { return };
        let events = self.events.clone();
        tokio::spawn(async move {
            let _ = events.send(event).await;
            drop(place);
        });
    }
}
