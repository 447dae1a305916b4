//! WebSockets: `/peer`, where each becomes a session that is handed out, and those that a [`Backend`] serves.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::SystemTime;

use axum::extract::ws::{CloseFrame, Message, WebSocket, WebSocketUpgrade};
use axum::extract::{Extension, FromRequestParts, State};
use axum::http::request::Parts;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use futures_util::{SinkExt, StreamExt};
use tokio_tungstenite::tungstenite;
use tracing::debug;

use super::backend::Backend;
use super::config::MAX_GROUP_MESSAGE;
use super::metrics::Refusal;
use super::{Place, Shared, Visitor, http, origin, tokens};
use crate::hub::Access;
use crate::message::{MAX_FRAME, MAX_MESSAGE};
use crate::session::{Broken, CloseCode, Frame, Session, Terms, Wire, session};

/// A request for a WebSocket by somebody who may have one.
pub(super) struct Caller {
    shared: Arc<Shared>,
    remote: SocketAddr,
    place: Arc<Place>,
    access: Access,
    upgrade: WebSocketUpgrade,
}

impl FromRequestParts<Arc<Shared>> for Caller {
    type Rejection = Response;

    async fn from_request_parts(parts: &mut Parts, shared: &Arc<Shared>) -> Result<Self, Response> {
        let Extension(remote) = extension::<SocketAddr>(parts, shared).await?;
        let Extension(place) = extension::<Arc<Place>>(parts, shared).await?;
        let host = http::host(&parts.headers).unwrap_or_default();
        // More than one, or one that is not text, is as good as a foreign one.
        let mut origins = parts.headers.get_all(header::ORIGIN).iter();
        let origin = origins.next().map(|origin| origin.to_str().unwrap_or("null"));
        if origins.next().is_some()
            || !origin::origin_is_allowed(origin, host, &shared.config.allowed_origins)
        {
            debug!(%remote, origin, "refused a session from a foreign origin");
            shared.counters.refused(Refusal::Origin);
            let text = "Pages of this origin may not connect; allow it with --allow-origin.\n";
            return Err((StatusCode::FORBIDDEN, text).into_response());
        }
        let protocols =
            parts.headers.get(header::SEC_WEBSOCKET_PROTOCOL).and_then(|value| value.to_str().ok());
        let token = tokens::of_request(parts.uri.query(), protocols);
        let access = shared.config.tokens.access(date(), token);
        let upgrade = WebSocketUpgrade::from_request_parts(parts, shared)
            .await
            .map_err(IntoResponse::into_response)?
            // Browsers want one of those that they offered; never one with a token.
            .protocols(["sinnet"]);
        Ok(Self { shared: shared.clone(), remote, place, access, upgrade })
    }
}

#[expect(clippy::disallowed_methods, reason = "tokens expire by the calendar")]
fn date() -> SystemTime {
    SystemTime::now()
}

async fn extension<T: Clone + Send + Sync + 'static>(
    parts: &mut Parts,
    shared: &Arc<Shared>,
) -> Result<Extension<T>, Response> {
    Extension::from_request_parts(parts, shared).await.map_err(IntoResponse::into_response)
}

/// A session that the application gets.
pub(super) async fn visit(caller: Caller) -> Response {
    let (place, remote, access) = (caller.place.clone(), caller.remote, caller.access);
    caller.upgrade(MAX_MESSAGE, move |socket| async move {
        let (session, pump) = pumped(socket, &place);
        // The peer there takes and gives files. Who may not join any group may not do that, and is told why: a page sees no HTTP status.
        if let Err(why) = access.join {
            session.close(CloseCode::POLICY, why);
        } else if let Err(refused) = place.shared.visitors.try_send(Visitor { session, remote }) {
            let Visitor { session, .. } = refused.into_inner();
            session.close(CloseCode::TRY_AGAIN_LATER, "too many visitors at once");
        }
        pump.await;
    })
}

/// `/alm`, and `/ws`, which is where the original's server has it.
pub(super) async fn alm(State(shared): State<Arc<Shared>>, caller: Caller) -> Response {
    caller.join(shared.backends.alm.clone())
}

/// `/p2p`.
pub(super) async fn p2p(State(shared): State<Arc<Shared>>, caller: Caller) -> Response {
    caller.join(shared.backends.p2p.clone())
}

impl Caller {
    /// A socket of `backend`, to its end.
    fn join(self, backend: Arc<dyn Backend>) -> Response {
        let (place, access) = (self.place.clone(), self.access);
        let max_message = self.shared.config.max_message.min(MAX_GROUP_MESSAGE);
        self.upgrade(max_message, move |socket| async move {
            let (mut session, pump) = pumped::<String>(socket, &place);
            let serving = async {
                let id = backend.open(session.outgoing(), access, place.guest.address());
                while let Some(text) = session.recv().await {
                    backend.text(id, &text);
                }
                backend.close(id);
            };
            tokio::join!(serving, pump);
        })
    }

    fn upgrade<F>(self, max_message: usize, run: impl FnOnce(WebSocket) -> F + Send + 'static) -> Response
    where
        F: Future<Output = ()> + Send + 'static,
    {
        self.upgrade
            // Taken for each WebSocket for as long as it lasts.
            .read_buffer_size(2 * 1024)
            .write_buffer_size(0)
            .max_write_buffer_size(2 * MAX_FRAME)
            .max_frame_size(MAX_FRAME)
            .max_message_size(max_message)
            .on_upgrade(run)
    }
}

/// A session over the WebSocket, and what keeps it going.
fn pumped<M: Wire + 'static>(
    socket: WebSocket,
    place: &Arc<Place>,
) -> (Session<M>, impl Future<Output = ()> + Send + use<M>) {
    let shared = &place.shared;
    shared.counters.opened();
    let (sink, stream) = socket.split();
    let sink =
        Box::pin(sink.with(async |frame| Ok::<_, axum::Error>(into_message(frame))).sink_map_err(judge));
    let stream = stream.map(|message| message.map(from_message).map_err(judge));
    let terms =
        Terms { limits: shared.config.limits, house: Some(place.clone()), down: Some(shared.down.clone()) };
    session(sink, stream, terms)
}

fn into_message(frame: Frame) -> Message {
    match frame {
        Frame::Text(text) => Message::text(text),
        Frame::Binary => Message::binary(Vec::new()),
        Frame::Ping => Message::Ping(Default::default()),
        Frame::Pong => Message::Pong(Default::default()),
        Frame::Close(code, reason) => {
            Message::Close(code.map(|code| CloseFrame { code: code.0, reason: reason.into() }))
        }
    }
}

fn from_message(message: Message) -> Frame {
    match message {
        Message::Text(text) => Frame::Text(text.to_string()),
        Message::Binary(_) => Frame::Binary,
        Message::Ping(_) => Frame::Ping,
        Message::Pong(_) => Frame::Pong,
        Message::Close(None) => Frame::Close(None, String::new()),
        Message::Close(Some(frame)) => Frame::Close(Some(CloseCode(frame.code)), frame.reason.to_string()),
    }
}

fn judge(error: axum::Error) -> Broken {
    let error = error.into_inner();
    match error.downcast::<tungstenite::Error>() {
        Ok(error) => crate::client::judge(*error),
        Err(error) => Broken { code: None, text: error.to_string() },
    }
}
