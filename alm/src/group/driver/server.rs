//! What a member and the server say to each other: the owner's control socket, our joins, and those that we accept.

use std::time::Instant;

use rand::RngExt;
use serde_json::{Map, Value};

use super::Driver;
use crate::frame::{Join, NodeId};
use crate::group::event::GroupEvent;
use crate::group::links::Via;
use crate::group::places::{Accepting, JOIN_SETTLES, Joining, join, outcome};
use crate::group::signal::Signal;
use crate::group::socket::{Socket, SocketEvent, SocketId};
use crate::overlay::Capabilities;

impl Driver {
    pub(super) fn open_socket(&mut self) -> Socket {
        let id = SocketId(self.next_socket);
        self.next_socket += 1;
        Socket::open(id, &self.url, &self.options.client, self.inputs.clone())
    }

    pub(super) fn on_socket(&mut self, now: Instant, id: SocketId, event: SocketEvent) {
        let is_control =
            self.control.as_ref().and_then(|control| control.socket.as_ref()).is_some_and(|s| s.id == id);
        if is_control {
            match event {
                SocketEvent::Message(message) => self.on_control(now, message),
                SocketEvent::Failed(error) => self.control_lost(now, error.to_string()),
                SocketEvent::Closed(reason) => self.control_lost(now, reason),
            }
        } else if self.joining.as_ref().is_some_and(|joining| joining.socket.id == id) {
            match event {
                SocketEvent::Message(message) => self.on_joining(now, id, &message),
                SocketEvent::Failed(error) => {
                    self.joining = None;
                    self.lose_server(error.to_string());
                }
                SocketEvent::Closed(_) => self.end_join(now),
            }
        } else if let Some(at) = self.accepting.iter().position(|accepting| accepting.id() == id) {
            match event {
                SocketEvent::Message(message) => self.on_accepting(now, at, &message),
                // A link that has its descriptions goes on without it: the joiner closes when it is up.
                SocketEvent::Failed(_) | SocketEvent::Closed(_) => drop(self.accepting.swap_remove(at)),
            }
        }
    }

    fn lose_server(&mut self, reason: String) {
        if !std::mem::replace(&mut self.server_lost, true) {
            self.queue.push(GroupEvent::ServerLost { reason });
        }
    }

    fn regain_server(&mut self) {
        if std::mem::replace(&mut self.server_lost, false) {
            self.queue.push(GroupEvent::ServerRegained);
        }
    }

    fn control_lost(&mut self, now: Instant, reason: String) {
        let spread = self.rng.random_range(0.5..1.5);
        if let Some(control) = &mut self.control {
            control.down(now, spread);
        }
        self.lose_server(reason);
    }

    /// A message on the owner's socket: the answer to its create, or somebody's join.
    fn on_control(&mut self, now: Instant, mut message: Map<String, Value>) {
        let Some(control) = &mut self.control else { return };
        match message.get("m").and_then(Value::as_str) {
            Some("create") => match outcome(&message) {
                Ok(()) => {
                    control.up();
                    self.regain_server();
                }
                Err(reason) => self.control_lost(now, reason),
            },
            Some("join") => {
                message.entry("n").or_insert_with(|| 1.into());
                match Join::from_object(message) {
                    Ok(join) => {
                        control.note(join.i);
                        self.node.handle_join(now, join);
                    }
                    Err(error) => tracing::debug!(%error, "the server's join makes no sense"),
                }
            }
            _ => tracing::debug!("the server says something that is not known"),
        }
    }

    /// Asks the server for upstreams, unless an earlier join is still good.
    pub(super) fn join_by_server(&mut self, now: Instant, wanted: u32, path: &[NodeId]) {
        if let Some(joining) = &self.joining {
            let since = |at: Instant| now.saturating_duration_since(at);
            let connecting = self.links.connecting().any(|(_, link)| matches!(link.via, Via::Join(..)));
            // The node asks again after half a second at the earliest; the server and a busy machine may need more.
            if connecting && since(joining.last) < self.options.patience
                || since(joining.since) < JOIN_SETTLES
            {
                return;
            }
        }
        self.end_join(now);
        let socket = self.open_socket();
        socket.say(&join(&self.group, wanted, Some((self.node.id(), &self.proof)), path));
        self.joining = Some(Joining { socket, since: now, last: now, wanted, got: 0 });
    }

    /// The join is over: its socket is closed, and connections that have not got their answer are given up.
    pub(super) fn end_join(&mut self, now: Instant) {
        let Some(joining) = self.joining.take() else { return };
        let unanswered = self.links.connecting().filter(|(_, link)| {
            matches!(link.via, Via::Join(socket, _) if socket == joining.socket.id)
                && !link.connection.is_described()
        });
        for id in unanswered.map(|(id, _)| id).collect::<Vec<_>>() {
            self.lost(now, id, "the join ended before its answer came");
        }
    }

    /// A message on our join's socket.
    fn on_joining(&mut self, now: Instant, socket: SocketId, message: &Map<String, Value>) {
        let key = message.get("k").and_then(Value::as_u64);
        match (message.get("m").and_then(Value::as_str), key) {
            (Some("join"), _) => {
                self.regain_server();
                let own = Some(u64::from(self.node.id().0));
                match outcome(message) {
                    Ok(()) if message.get("i").and_then(Value::as_u64) == own => {
                        self.refused = None;
                        self.proof = message.get("t").cloned().unwrap_or(Value::Null);
                    }
                    Ok(()) => {
                        let reason = "the server has given this node another number".to_owned();
                        self.refused.get_or_insert((now, reason.clone()));
                        self.refuse(now, reason);
                    }
                    Err(reason) => self.refuse(now, reason),
                }
            }
            (Some("join_res"), Some(key)) => {
                let peer = message.get("i").and_then(|i| u32::try_from(i.as_u64()?).ok()).map(NodeId);
                let Some(peer) = peer.filter(|peer| *peer != self.node.id()) else { return };
                let via = Via::Join(socket, key);
                let joined =
                    self.links.connecting().filter(|(_, link)| matches!(link.via, Via::Join(..))).count();
                if joined > self.options.tree.max_up_streams || self.links.by_socket(via).is_some() {
                    return;
                }
                if let Some(joining) = &mut self.joining {
                    joining.last = now;
                }
                self.offer(now, peer, Capabilities::Original, via);
            }
            (Some("answer" | "ice"), Some(key)) => {
                let Some((id, link)) = self.links.by_socket(Via::Join(socket, key)) else { return };
                match Signal::read(message) {
                    Some(Signal::Answer(answer)) => {
                        if let Err(error) = link.connection.take_answer(answer) {
                            self.lost(now, id, &error.to_string());
                        }
                    }
                    Some(Signal::Candidate(candidate)) => link.connection.take_candidate(candidate),
                    _ => tracing::debug!("an answer or candidate that makes no sense"),
                }
            }
            _ => tracing::debug!("the server says something that is not known"),
        }
    }

    /// The server does not let us in. A group that it does not know may be gone for good; a server that is busy, for example,
    /// will take another join.
    fn refuse(&mut self, now: Instant, reason: String) {
        tracing::debug!(node = %self.node.id(), reason, "a join was refused");
        if reason.starts_with("unknown group") {
            self.refused.get_or_insert((now, reason));
        }
        self.end_join(now);
    }

    /// Somebody is to become a child.
    pub(super) fn accept(&mut self, now: Instant, join: Join) {
        let socket = self.open_socket();
        let deadline = now + self.options.patience;
        self.accepting.push(Accepting::new(socket, join, self.node.id(), deadline));
    }

    /// A message on an acceptor's socket.
    fn on_accepting(&mut self, now: Instant, at: usize, message: &Map<String, Value>) {
        let Some(accepting) = self.accepting.get(at) else { return };
        let (peer, via) = (accepting.join.i, Via::Accept(accepting.id()));
        let ours = accepting.join.x.as_ref().is_some_and(|x| x.v >= 1);
        let capabilities = if ours { Capabilities::Ours } else { Capabilities::Original };
        match Signal::read(message) {
            Some(Signal::Offer(offer)) if self.links.by_socket(via).is_none() => {
                self.take_offer(now, peer, capabilities, via, offer);
            }
            Some(Signal::Candidate(candidate)) => match self.links.by_socket(via) {
                Some((_, link)) => link.connection.take_candidate(candidate),
                None => tracing::debug!("a candidate before its offer"),
            },
            Some(_) => tracing::debug!("the joiner says something out of turn"),
            None if message.contains_key("r") => {
                // The joiner has gone, or has enough.
                self.accepting.swap_remove(at);
            }
            None => tracing::debug!("the joiner says something that makes no sense"),
        }
    }
}
