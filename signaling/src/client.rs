//! The client's end of a signalling WebSocket: `ws://`, or `wss://` by rustls with the system's certificate authorities.

use std::sync::{Arc, OnceLock};
use std::time::Duration;

use futures_util::{SinkExt, StreamExt};
use tokio::time::timeout;
use tokio_tungstenite::tungstenite::protocol::frame::coding::CloseCode as WsCloseCode;
use tokio_tungstenite::tungstenite::protocol::{CloseFrame, WebSocketConfig};
use tokio_tungstenite::tungstenite::{self, Message};
use tokio_tungstenite::{Connector, connect_async_tls_with_config};

use crate::message::{MAX_FRAME, MAX_MESSAGE};
use crate::session::{Broken, CloseCode, Frame, Limits, Session, Terms, Wire, session};

/// How to reach a server.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Client {
    /// How long the whole of TCP, TLS and WebSocket handshake may take. 10 s by default.
    pub connect_timeout: Duration,
    /// What the server may do.
    pub limits: Limits,
    /// For `wss`, instead of TLS 1.2 and 1.3 with the system's certificate authorities.
    pub tls: Option<Arc<rustls::ClientConfig>>,
}

impl Default for Client {
    fn default() -> Self {
        Self { connect_timeout: Duration::from_secs(10), limits: Limits::default(), tls: None }
    }
}

/// No session came about.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ConnectError {
    /// It took longer than [`Client::connect_timeout`].
    #[error("{0} does not answer")]
    TimedOut(String),
    /// TLS can't be set up: no certificate authorities on this system, for example.
    #[error("TLS can't be used: {0}")]
    Tls(String),
    /// The server refused, or it can't be reached.
    #[error("can't connect to {url}: {reason}")]
    Refused {
        /// Where to.
        url: String,
        /// What happened, with the HTTP status if there was one.
        reason: String,
    },
}

impl Client {
    /// Connects, and pumps the session in a task of the current tokio runtime. Must be called within one.
    ///
    /// # Errors
    ///
    /// [`ConnectError`].
    pub async fn connect(&self, url: &str) -> Result<Session, ConnectError> {
        self.connect_as(url).await
    }

    /// The same, with another kind of messages: `String` for texts as they are.
    ///
    /// # Errors
    ///
    /// [`ConnectError`].
    pub async fn connect_as<M: Wire + 'static>(&self, url: &str) -> Result<Session<M>, ConnectError> {
        let connector = match (&self.tls, url.starts_with("wss:")) {
            (_, false) => Connector::Plain,
            (Some(config), true) => Connector::Rustls(config.clone()),
            (None, true) => Connector::Rustls(system_tls().await?),
        };
        let config = WebSocketConfig::default()
            .read_buffer_size(8 * 1024)
            .max_write_buffer_size(2 * MAX_FRAME)
            .write_buffer_size(0)
            .max_frame_size(Some(MAX_FRAME))
            .max_message_size(Some(MAX_MESSAGE));
        let connecting = connect_async_tls_with_config(url, Some(config), true, Some(connector));
        let (socket, _response) = timeout(self.connect_timeout, connecting)
            .await
            .map_err(|_| ConnectError::TimedOut(shown(url).to_owned()))?
            .map_err(|error| refused(url, &error.to_string()))?;

        let (sink, stream) = socket.split();
        let sink = sink.with(async |frame| Ok::<_, tungstenite::Error>(into_message(frame)));
        let sink = Box::pin(sink.sink_map_err(judge));
        let stream = stream.map(|message| message.map(from_message).map_err(judge));
        let (session, pump) = session(sink, stream, Terms { limits: self.limits, ..Terms::default() });
        tokio::spawn(pump);
        Ok(session)
    }
}

/// An address as errors show it: without its parameters, as a token may be among them.
fn shown(url: &str) -> &str {
    url.split(['?', '#']).next().unwrap_or_default()
}

fn refused(url: &str, reason: &str) -> ConnectError {
    let hidden = &url[shown(url).len()..];
    let reason = if hidden.is_empty() { reason.to_owned() } else { reason.replace(hidden, "") };
    ConnectError::Refused { url: shown(url).to_owned(), reason }
}

/// With the system's certificate authorities, which are read once: they are hundreds of kilobytes.
async fn system_tls() -> Result<Arc<rustls::ClientConfig>, ConnectError> {
    static SYSTEM: OnceLock<Arc<rustls::ClientConfig>> = OnceLock::new();
    if let Some(config) = SYSTEM.get() {
        return Ok(config.clone());
    }
    let read = tokio::task::spawn_blocking(read_system_tls);
    let config = read.await.map_err(|error| ConnectError::Tls(error.to_string()))??;
    Ok(SYSTEM.get_or_init(|| config).clone())
}

fn read_system_tls() -> Result<Arc<rustls::ClientConfig>, ConnectError> {
    let mut roots = rustls::RootCertStore::empty();
    let found = rustls_native_certs::load_native_certs();
    let (added, _unusable) = roots.add_parsable_certificates(found.certs);
    if added == 0 {
        let reason = found.errors.first().map_or_else(
            || "this system has no certificate authorities; install ca-certificates".to_owned(),
            ToString::to_string,
        );
        return Err(ConnectError::Tls(reason));
    }
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = rustls::ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(|error| ConnectError::Tls(error.to_string()))?
        .with_root_certificates(roots)
        .with_no_client_auth();
    Ok(Arc::new(config))
}

fn into_message(frame: Frame) -> Message {
    match frame {
        Frame::Text(text) => Message::text(text),
        Frame::Binary => Message::binary(Vec::new()),
        Frame::Ping => Message::Ping(Default::default()),
        Frame::Pong => Message::Pong(Default::default()),
        Frame::Close(code, reason) => Message::Close(
            code.map(|code| CloseFrame { code: WsCloseCode::from(code.0), reason: reason.into() }),
        ),
    }
}

fn from_message(message: Message) -> Frame {
    match message {
        Message::Text(text) => Frame::Text(text.to_string()),
        Message::Binary(_) | Message::Frame(_) => Frame::Binary,
        Message::Ping(_) => Frame::Ping,
        Message::Pong(_) => Frame::Pong,
        Message::Close(None) => Frame::Close(None, String::new()),
        Message::Close(Some(frame)) => {
            Frame::Close(Some(CloseCode(frame.code.into())), frame.reason.to_string())
        }
    }
}

/// Whose fault it is.
pub(crate) fn judge(error: tungstenite::Error) -> Broken {
    use tungstenite::Error;
    let code = match &error {
        Error::Capacity(_) => Some(CloseCode::TOO_BIG),
        Error::Protocol(tungstenite::error::ProtocolError::ResetWithoutClosingHandshake) => None,
        Error::Protocol(_) => Some(CloseCode::PROTOCOL),
        Error::Utf8(_) => Some(CloseCode::INVALID_DATA),
        _ => None,
    };
    Broken { code, text: error.to_string() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn errors_do_not_show_a_token() {
        // Nobody listens there; and nobody answers there.
        let deaf = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let deaf = format!("ws://{}/alm", deaf.local_addr().unwrap());
        let client = Client { connect_timeout: Duration::from_millis(100), ..Client::default() };
        for url in ["ws://127.0.0.1:1/alm", "ws://[/alm", "ftp://127.0.0.1/alm", deaf.as_str()] {
            for query in ["?token=sesame", "?x=1&token=sesame", "#token=sesame"] {
                let error = client.connect(&format!("{url}{query}")).await.unwrap_err();
                assert!(!format!("{error} {error:?}").contains("sesame"), "{error:?}");
            }
        }
        let error = refused("ws://a/alm?token=sesame", "can't reach ws://a/alm?token=sesame");
        assert_eq!(error.to_string(), "can't connect to ws://a/alm: can't reach ws://a/alm");
    }
}
