//! For the tests of hubs: one with sockets that say and hear JSON, in virtual time.

use std::collections::HashSet;
use std::time::Instant;

use serde_json::{Value, json};

use crate::hub::{Access, Address, Hub, Output, SocketId};

pub(crate) struct Room<H> {
    pub(crate) hub: H,
    pub(crate) now: Instant,
    /// Those for which much waits.
    pub(crate) crowded: HashSet<SocketId>,
    next: u64,
}

impl<H: Hub> Room<H> {
    pub(crate) fn with(hub: H) -> Self {
        #[expect(clippy::disallowed_methods, reason = "one base instant; all others are computed from it")]
        let now = Instant::now();
        Self { hub, now, crowded: HashSet::new(), next: 0 }
    }

    pub(crate) fn open(&mut self) -> SocketId {
        self.open_as(Access::FULL)
    }

    pub(crate) fn open_as(&mut self, access: Access) -> SocketId {
        self.open_from(access, None)
    }

    pub(crate) fn open_from(&mut self, access: Access, from: Option<Address>) -> SocketId {
        self.next += 1;
        self.hub.open(self.now, SocketId(self.next), access, from);
        SocketId(self.next)
    }

    pub(crate) fn close(&mut self, socket: SocketId) {
        self.hub.close(self.now, socket);
    }

    pub(crate) fn say(&mut self, socket: SocketId, message: Value) {
        self.say_text(socket, &message.to_string());
    }

    pub(crate) fn say_text(&mut self, socket: SocketId, text: &str) {
        let crowded = &self.crowded;
        self.hub.handle_text(self.now, socket, text, &|other| crowded.contains(&other));
    }

    /// What goes out, in order; the end of a socket is `{"closed": reason}`.
    pub(crate) fn out(&mut self) -> Vec<(SocketId, Value)> {
        std::iter::from_fn(|| self.hub.poll_output())
            .map(|output| match output {
                Output::Send(socket, text) => (socket, serde_json::from_str(&text).unwrap()),
                Output::Close(socket, reason) => (socket, json!({ "closed": reason })),
            })
            .collect()
    }

    /// The one thing that goes out.
    pub(crate) fn only(&mut self) -> (SocketId, Value) {
        let mut out = self.out();
        assert_eq!(out.len(), 1, "{out:?}");
        out.remove(0)
    }
}
