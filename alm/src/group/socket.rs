//! A WebSocket to the server, pumped by a task.

use serde_json::{Map, Value};
use sinnet_signaling::Client;
use sinnet_signaling::client::ConnectError;
use tokio::sync::mpsc;

use super::driver::Input;

/// Messages that wait for the server.
const QUEUE: usize = 64;

/// A WebSocket, numbered by the driver. No number is used twice.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(crate) struct SocketId(pub(crate) u64);

/// What comes from it.
#[derive(Debug)]
pub(crate) enum SocketEvent {
    /// A JSON object.
    Message(Map<String, Value>),
    /// It never was.
    Failed(ConnectError),
    /// It was, and is no more.
    Closed(String),
}

/// Dropping it closes the WebSocket, behind what was said.
#[derive(Debug)]
pub(crate) struct Socket {
    pub(crate) id: SocketId,
    to_server: mpsc::Sender<String>,
}

impl Socket {
    /// Connects in a task. What is said meanwhile is sent then.
    pub(crate) fn open(id: SocketId, url: &str, client: &Client, inputs: mpsc::Sender<Input>) -> Self {
        let (to_server, from_driver) = mpsc::channel(QUEUE);
        tokio::spawn(run(id, url.to_owned(), client.clone(), from_driver, inputs));
        Self { id, to_server }
    }

    /// Sends a message. One that the server has no ear for is lost, and it will close the socket soon.
    pub(crate) fn say(&self, message: &Value) {
        if self.to_server.try_send(message.to_string()).is_err() {
            tracing::debug!("a message to the server is lost");
        }
    }
}

async fn run(
    id: SocketId,
    url: String,
    client: Client,
    mut from_driver: mpsc::Receiver<String>,
    inputs: mpsc::Sender<Input>,
) {
    let mut session = match client.connect_as::<String>(&url).await {
        Ok(session) => session,
        Err(error) => {
            let _ = inputs.send(Input::Socket(id, SocketEvent::Failed(error))).await;
            return;
        }
    };
    loop {
        tokio::select! {
            text = from_driver.recv() => match text {
                Some(text) => {
                    if let Err(error) = session.send(&text) {
                        tracing::debug!(%error, "signalling");
                    }
                }
                None => return,
            },
            text = session.recv() => {
                let Some(text) = text else { break };
                let Ok(message) = serde_json::from_str(&text) else {
                    tracing::debug!("the server said something that is no JSON object");
                    continue;
                };
                if inputs.send(Input::Socket(id, SocketEvent::Message(message))).await.is_err() {
                    return;
                }
            }
        }
    }
    let reason = session.ended().map_or_else(|| "it has ended".to_owned(), ToString::to_string);
    let _ = inputs.send(Input::Socket(id, SocketEvent::Closed(reason))).await;
}
