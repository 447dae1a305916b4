//! Numbered JSON commands over a WebSocket: Chromium's DevTools protocol and WebDriver BiDi have this in common.
//!
//! A command is `{id, method, params}`, with `sessionId` where the DevTools protocol wants one. The answer has the
//! same `id` and a `result` or an `error`. Events, which have no `id`, are not used.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use futures_util::{SinkExt as _, StreamExt as _};
use serde_json::{Value, json};
use tokio::sync::{mpsc, oneshot};
use tokio_tungstenite::tungstenite::Message;

use crate::namespace::Namespace;

type Waiting = Arc<Mutex<HashMap<u64, oneshot::Sender<Value>>>>;

/// A connection to a browser. Clones share it.
#[derive(Debug, Clone)]
pub struct Rpc {
    out: mpsc::UnboundedSender<Message>,
    waiting: Waiting,
    next: Arc<AtomicU64>,
}

impl Rpc {
    /// Connects to `url` (`ws://address:port/path`) in that namespace.
    ///
    /// # Errors
    ///
    /// What did not work, as text.
    pub async fn connect(place: &Namespace, url: &str) -> Result<Self, String> {
        let host = url.strip_prefix("ws://").and_then(|rest| rest.split('/').next()).unwrap_or_default();
        let address: SocketAddr = host.parse().map_err(|e| format!("{url}: {e}"))?;
        let stream = place.connect(address)?;
        let stream = tokio::net::TcpStream::from_std(stream).map_err(|e| e.to_string())?;
        let opening = tokio_tungstenite::client_async(url, stream);
        let (socket, _) = tokio::time::timeout(Duration::from_secs(30), opening)
            .await
            .map_err(|_| format!("{url}: no WebSocket within 30 s"))?
            .map_err(|e| format!("{url}: {e}"))?;
        let (mut sink, mut source) = socket.split();
        let (out, mut queue) = mpsc::unbounded_channel();
        let waiting = Waiting::default();
        tokio::spawn(async move {
            while let Some(message) = queue.recv().await {
                if sink.send(message).await.is_err() {
                    break;
                }
            }
        });
        let answered = Arc::clone(&waiting);
        tokio::spawn(async move {
            while let Some(Ok(message)) = source.next().await {
                let Message::Text(text) = message else { continue };
                let Ok(answer) = serde_json::from_str::<Value>(&text) else { continue };
                let Some(id) = answer["id"].as_u64() else { continue };
                if let Some(asked) = answered.lock().unwrap_or_else(PoisonError::into_inner).remove(&id) {
                    let _ = asked.send(answer);
                }
            }
            answered.lock().unwrap_or_else(PoisonError::into_inner).clear();
        });
        Ok(Self { out, waiting, next: Arc::new(AtomicU64::new(1)) })
    }

    /// Sends a command and waits for its result.
    ///
    /// # Errors
    ///
    /// The browser's error, a lost connection, or no answer within `limit`.
    pub async fn call(
        &self,
        session: Option<&str>,
        method: &str,
        params: Value,
        limit: Duration,
    ) -> Result<Value, String> {
        let id = self.next.fetch_add(1, Ordering::Relaxed);
        let mut command = json!({ "id": id, "method": method, "params": params });
        if let Some(session) = session {
            command["sessionId"] = session.into();
        }
        let (asked, answer) = oneshot::channel();
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner).insert(id, asked);
        let gone = || format!("{method}: the browser's connection is gone");
        self.out.send(Message::text(command.to_string())).map_err(|_| gone())?;
        let Ok(answer) = tokio::time::timeout(limit, answer).await else {
            self.waiting.lock().unwrap_or_else(PoisonError::into_inner).remove(&id);
            return Err(format!("{method}: no answer within {} s", limit.as_secs()));
        };
        let mut answer = answer.map_err(|_| gone())?;
        match answer.get("error") {
            None => Ok(answer["result"].take()),
            Some(error) => {
                Err(format!("{method}: {error} {}", answer["message"].as_str().unwrap_or_default()))
            }
        }
    }
}
