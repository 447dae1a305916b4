//! A [`Hub`] with WebSockets: what comes in is given to it, and what it has to say is sent.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use tokio::time::{MissedTickBehavior, interval};
use tracing::debug;

use crate::hub::{Hub, Output, SocketId};
use crate::session::{CloseCode, Outgoing, SendError, Session};

/// How late a hub's deadlines may be seen.
const TICK: Duration = Duration::from_millis(500);

#[expect(clippy::disallowed_methods, reason = "this is where time enters")]
fn now() -> Instant {
    Instant::now()
}

pub(super) struct Hosted<H>(Mutex<State<H>>);

struct State<H> {
    hub: H,
    sockets: HashMap<SocketId, Outgoing>,
    next: u64,
}

impl<H: Hub> Hosted<H> {
    pub(super) fn new(hub: H) -> Self {
        Self(Mutex::new(State { hub, sockets: HashMap::new(), next: 0 }))
    }

    /// One socket, to its end.
    pub(super) async fn serve(&self, mut session: Session<String>) {
        let id = {
            let mut state = self.lock();
            let id = SocketId(state.next);
            state.next += 1;
            state.sockets.insert(id, session.outgoing());
            state.hub.open(now(), id);
            id
        };
        while let Some(text) = session.recv().await {
            let mut state = self.lock();
            state.hub.handle_text(now(), id, &text);
            state.deliver();
        }
        let mut state = self.lock();
        state.sockets.remove(&id);
        state.hub.close(now(), id);
        state.deliver();
    }

    /// Time passes, for as long as the server runs.
    pub(super) async fn keep_time(&self) {
        let mut ticks = interval(TICK);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            ticks.tick().await;
            let mut state = self.lock();
            let now = now();
            if state.hub.poll_timeout().is_some_and(|deadline| deadline <= now) {
                state.hub.handle_timeout(now);
                state.deliver();
            }
        }
    }

    /// Looks into the hub.
    pub(super) fn with<T>(&self, look: impl FnOnce(&H) -> T) -> T {
        look(&self.lock().hub)
    }

    fn lock(&self) -> MutexGuard<'_, State<H>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
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
                        // Its session ends by the time limit for sending.
                        Err(error) => debug!(socket = id.0, %error, "dropped a message"),
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
