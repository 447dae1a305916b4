//! A [`Backend`] in this process: a [`Hub`] behind a mutex.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use tracing::debug;

use super::backend::Backend;
use super::now;
use crate::hub::{Access, Address, Figure, Hub, ListedGroup, Output, SocketId};
use crate::session::{CloseCode, Outgoing, SendError};

/// Everything about one protocol in this process's memory. The mutex is held for one message at a time, and never while
/// anything waits.
#[derive(Debug)]
pub struct Local<H>(Mutex<State<H>>);

#[derive(Debug)]
struct State<H> {
    hub: H,
    sockets: HashMap<SocketId, Outgoing>,
    next: u64,
}

impl<H: Hub> Local<H> {
    /// A back end without sockets.
    #[must_use]
    pub fn new(hub: H) -> Self {
        Self(Mutex::new(State { hub, sockets: HashMap::new(), next: 0 }))
    }

    fn lock(&self) -> MutexGuard<'_, State<H>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<H: Hub + Send + 'static> Backend for Local<H> {
    fn open(&self, out: Outgoing, access: Access, from: Option<Address>) -> SocketId {
        let mut state = self.lock();
        let id = SocketId(state.next);
        state.next += 1;
        state.sockets.insert(id, out);
        state.hub.open(now(), id, access, from);
        state.deliver();
        id
    }

    fn text(&self, socket: SocketId, text: &str) {
        let mut guard = self.lock();
        let State { hub, sockets, .. } = &mut *guard;
        let crowded = |other| sockets.get(&other).is_some_and(Outgoing::is_crowded);
        hub.handle_text(now(), socket, text, &crowded);
        guard.deliver();
    }

    fn close(&self, socket: SocketId) {
        let mut state = self.lock();
        state.sockets.remove(&socket);
        state.hub.close(now(), socket);
        state.deliver();
    }

    fn tick(&self) {
        let mut state = self.lock();
        let now = now();
        if state.hub.poll_timeout().is_some_and(|deadline| deadline <= now) {
            state.hub.handle_timeout(now);
            state.deliver();
        }
    }

    fn groups(&self) -> Vec<ListedGroup> {
        self.lock().hub.groups()
    }

    fn figures(&self) -> Vec<Figure> {
        self.lock().hub.figures()
    }
}

impl<H: Hub> State<H> {
    /// Never waits: who does not read is disconnected, and nobody else notices.
    fn deliver(&mut self) {
        while let Some(output) = self.hub.poll_output() {
            match output {
                Output::Send(id, text) => {
                    let Some(socket) = self.sockets.get(&id) else { continue };
                    match socket.send(text) {
                        Ok(()) | Err(SendError::Ended) => {}
                        Err(error @ SendError::TooLarge(_)) => {
                            // Hubs refuse what grows this large. What slips through is not its reader's fault.
                            debug!(socket = id.0, %error, "dropped a message");
                        }
                        Err(error) => {
                            // Who misses one message of these protocols can't go on.
                            debug!(socket = id.0, %error, "dropped a message, and its socket");
                            socket.cut();
                        }
                    }
                }
                Output::Close(id, reason) => {
                    if let Some(socket) = self.sockets.get(&id) {
                        socket.close(CloseCode::POLICY, reason);
                    }
                }
            }
        }
    }
}
