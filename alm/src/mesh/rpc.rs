//! JSON-RPC 2.0 both ways over one session: our calls and their answers, and the server's calls.

use std::collections::HashMap;
use std::time::Duration;

use serde_json::{Map, Value, json};
use sinnet_signaling::Session;
use tokio::sync::{mpsc, oneshot};
use tokio::time::timeout;

/// How long an answer may take. The server gives relays up after 15 s.
const PATIENCE: Duration = Duration::from_secs(20);

/// Calls of the server that wait for their turn; more are not read.
const QUEUE: usize = 64;

/// A call was not answered as it should be.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum CallError {
    /// The server, or the other user, says no.
    #[error("{method} was refused: {message}")]
    Refused {
        /// What was called.
        method: &'static str,
        /// Why not.
        message: String,
    },
    /// Nobody has answered in time.
    #[error("{0} was not answered")]
    TimedOut(&'static str),
    /// The signalling connection has ended.
    #[error("the signalling connection has ended")]
    Ended,
}

/// A call of the server's.
#[derive(Debug)]
pub(crate) struct Incoming {
    pub(crate) method: String,
    pub(crate) params: Vec<Value>,
    /// Missing if no answer is wanted.
    pub(crate) id: Option<Value>,
}

enum Command {
    Call { method: &'static str, params: Value, answer: oneshot::Sender<Result<Value, String>> },
    Answer { id: Value, result: Result<Value, &'static str> },
}

/// The way to the server. Cheap to clone; the session ends with the last one.
#[derive(Clone)]
pub(crate) struct Rpc(mpsc::Sender<Command>);

impl Rpc {
    /// Takes a session over; the server's calls come out of the receiver, which ends with the session.
    pub(crate) fn start(session: Session<String>) -> (Self, mpsc::Receiver<Incoming>) {
        let (commands, from_app) = mpsc::channel(QUEUE);
        let (to_app, incoming) = mpsc::channel(QUEUE);
        tokio::spawn(run(session, from_app, to_app));
        (Self(commands), incoming)
    }

    pub(crate) async fn call(&self, method: &'static str, params: Value) -> Result<Value, CallError> {
        let (answer, answered) = oneshot::channel();
        let call = async {
            self.0.send(Command::Call { method, params, answer }).await.map_err(|_| CallError::Ended)?;
            match answered.await {
                Ok(Ok(result)) => Ok(result),
                Ok(Err(message)) => Err(CallError::Refused { method, message }),
                Err(_) => Err(CallError::Ended),
            }
        };
        timeout(PATIENCE, call).await.unwrap_or(Err(CallError::TimedOut(method)))
    }

    pub(crate) async fn answer(&self, id: Option<Value>, result: Result<Value, &'static str>) {
        if let Some(id) = id {
            let _ = self.0.send(Command::Answer { id, result }).await;
        }
    }
}

async fn run(
    mut session: Session<String>,
    mut commands: mpsc::Receiver<Command>,
    to_app: mpsc::Sender<Incoming>,
) {
    let mut waiting: HashMap<String, oneshot::Sender<Result<Value, String>>> = HashMap::new();
    let mut next = 0_u64;
    loop {
        let text = tokio::select! {
            command = commands.recv() => {
                let message = match command {
                    None => return,
                    Some(Command::Call { method, params, answer }) => {
                        // Whoever has stopped waiting.
                        waiting.retain(|_, answer| !answer.is_closed());
                        let id = next.to_string();
                        next += 1;
                        waiting.insert(id.clone(), answer);
                        json!({"jsonrpc": "2.0", "id": id, "method": method, "params": params})
                    }
                    Some(Command::Answer { id, result: Ok(result) }) => {
                        json!({"jsonrpc": "2.0", "id": id, "result": result})
                    }
                    Some(Command::Answer { id, result: Err(message) }) => {
                        json!({"jsonrpc": "2.0", "id": id, "error": {"code": -32603, "message": message}})
                    }
                };
                if let Err(error) = session.send(&message.to_string()) {
                    tracing::debug!(%error, "signalling");
                }
                continue;
            }
            text = session.recv() => match text {
                Some(text) => text,
                None => return,
            },
        };
        let Ok(mut message) = serde_json::from_str::<Map<String, Value>>(&text) else {
            tracing::debug!("the server said something that is no JSON object");
            continue;
        };
        if message.contains_key("result") || message.contains_key("error") {
            let answer = message.get("id").and_then(Value::as_str).and_then(|id| waiting.remove(id));
            if let Some(answer) = answer {
                let _ = answer.send(outcome(&mut message));
            }
        } else if let Some(Value::String(method)) = message.remove("method") {
            let params = match message.remove("params") {
                Some(Value::Array(params)) => params,
                _ => Vec::new(),
            };
            let call = Incoming { method, params, id: message.remove("id") };
            if to_app.send(call).await.is_err() {
                return;
            }
        }
    }
}

fn outcome(message: &mut Map<String, Value>) -> Result<Value, String> {
    match message.remove("error").filter(|error| !error.is_null()) {
        Some(error) => {
            Err(error.get("message").and_then(Value::as_str).unwrap_or("no reason given").to_owned())
        }
        None => Ok(message.remove("result").unwrap_or(Value::Null)),
    }
}
