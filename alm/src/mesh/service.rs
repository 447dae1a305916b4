//! The service: one user at one server, and the groups that it is in.

use std::collections::HashMap;
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};

use serde_json::{Value, json};
use sinnet::{Endpoint, PeerConfig};
use sinnet_signaling::Client;
use tokio::sync::mpsc;

use super::group::{Group, GroupShared};
use super::rpc::{CallError, Incoming, Rpc};

/// A user's id, as the server gave it. Known to the members of the user's groups.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct UserId(pub String);

impl fmt::Display for UserId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// What can go wrong with services and groups.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ServiceError {
    /// The server can't be reached.
    #[error(transparent)]
    Connect(#[from] sinnet_signaling::client::ConnectError),
    /// The server did not do what it was asked for.
    #[error(transparent)]
    Call(#[from] CallError),
    /// The server answered something else than its protocol says.
    #[error("the server's answer to {0} can't be understood")]
    Answer(&'static str),
}

/// One user at one server. Dropping the last handle leaves the server, but not the groups: their connections live for as
/// long as the [`Group`].
#[derive(Clone)]
pub struct Service(Arc<Inner>);

struct Inner {
    me: UserId,
    rpc: Rpc,
    endpoint: Endpoint,
    config: PeerConfig,
    groups: Mutex<HashMap<String, Weak<GroupShared>>>,
}

impl Service {
    /// Joins the service at this URL, such as `wss://example.org/p2p`. Connections are made by `endpoint`.
    ///
    /// # Errors
    /// [`ServiceError`].
    pub async fn join(endpoint: &Endpoint, url: &str) -> Result<Self, ServiceError> {
        Self::join_with(endpoint, url, &Client::default(), PeerConfig::default()).await
    }

    /// The same, with settings of one's own.
    ///
    /// # Errors
    /// [`ServiceError`].
    pub async fn join_with(
        endpoint: &Endpoint,
        url: &str,
        client: &Client,
        config: PeerConfig,
    ) -> Result<Self, ServiceError> {
        let (rpc, incoming) = Rpc::start(client.connect_as(url).await?);
        let me = UserId(string(rpc.call("init", json!([])).await?).ok_or(ServiceError::Answer("init"))?);
        let inner = Arc::new(Inner { me, rpc, endpoint: endpoint.clone(), config, groups: Mutex::default() });
        tokio::spawn(serve(Arc::downgrade(&inner), incoming));
        Ok(Self(inner))
    }

    /// Our user id.
    pub fn info(&self) -> &UserId {
        &self.0.me
    }

    /// Makes a group, and is its first member.
    ///
    /// # Errors
    /// [`ServiceError`].
    pub async fn create_group(&self) -> Result<Group, ServiceError> {
        let id = string(self.0.rpc.call("create", json!([])).await?).ok_or(ServiceError::Answer("create"))?;
        Ok(self.enter(id))
    }

    /// Joins a group and offers a connection to each member. Returns at once; [`Group::next_event`] tells who is connected.
    ///
    /// # Errors
    /// [`ServiceError`]. That a member can't be reached is none: it is told by [`GroupEvent::Unreachable`](super::GroupEvent).
    pub async fn join_group(&self, id: &str) -> Result<Group, ServiceError> {
        // Offers may come as soon as we are a member.
        let group = self.enter(id.to_owned());
        self.0.rpc.call("join", json!([id])).await?;
        let members = self.0.rpc.call("get_members", json!([id])).await?;
        let members: Vec<String> =
            serde_json::from_value(members).map_err(|_| ServiceError::Answer("get_members"))?;
        for member in members.into_iter().map(UserId).filter(|member| *member != self.0.me) {
            group.shared().offer_to(member);
        }
        Ok(group)
    }

    /// Leaves the server. Groups and their connections go on.
    pub fn close(self) {}

    fn enter(&self, id: String) -> Group {
        let Inner { me, rpc, endpoint, config, .. } = &*self.0;
        let group = Group::new(id.clone(), me.clone(), rpc.clone(), endpoint.clone(), config.clone());
        let mut groups = self.0.groups();
        groups.retain(|_, group| group.strong_count() > 0);
        groups.insert(id, Arc::downgrade(group.shared()));
        group
    }
}

impl fmt::Debug for Service {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Service").field("me", &self.0.me).finish_non_exhaustive()
    }
}

impl Inner {
    fn groups(&self) -> MutexGuard<'_, HashMap<String, Weak<GroupShared>>> {
        self.groups.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What the server calls us for, until the session ends.
async fn serve(inner: Weak<Inner>, mut incoming: mpsc::Receiver<Incoming>) {
    while let Some(Incoming { method, params, id }) = incoming.recv().await {
        let Some(inner) = inner.upgrade() else { return };
        let name = |at: usize| params.get(at).and_then(Value::as_str);
        let group = name(0).and_then(|group| inner.groups().get(group)?.upgrade());
        let user = name(1).map(|user| UserId(user.to_owned()));
        let (Some(group), Some(user)) = (group, user) else {
            inner.rpc.answer(id, Err("not joined group")).await;
            continue;
        };
        match method.as_str() {
            "relay" => {
                let data = params.get(2).cloned().unwrap_or(Value::Null);
                let result = group.relayed(user, &data);
                inner.rpc.answer(id, result).await;
            }
            "member_left" => group.left(&user),
            // They will offer.
            "member_joined" => {}
            _ => inner.rpc.answer(id, Err("there is no such method")).await,
        }
    }
}

fn string(value: Value) -> Option<String> {
    match value {
        Value::String(text) => Some(text),
        _ => None,
    }
}
