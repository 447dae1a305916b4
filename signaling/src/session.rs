//! One signalling connection: what both ends of a WebSocket have in common.
//!
//! A task pumps the socket; the [`Session`] talks to it through two bounded queues, so that neither a peer that never
//! reads nor one that never stops can cost more than [`QUEUE`] messages each way, and [`QUEUE_BYTES`] on its way out.
//!
//! ```text
//! Session::send ──▶ queue ──▶ ┌──────┐ ──▶ socket     within Limits::send_timeout, or the peer is gone
//! Session::recv ◀── queue ◀── │ pump │ ◀── socket     a token a message and a ping; none left: 1008
//!                             └──────┘ ◀── ticks      ping; two ticks without a sign of life: the peer is gone
//! ```

use std::fmt;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

use futures_util::{Sink, SinkExt, Stream, StreamExt};
use tokio::sync::{Notify, mpsc, watch};
use tokio::time::{MissedTickBehavior, interval, timeout};
use tracing::debug;

use crate::message::{MAX_FRAME, ParseError, Signal};
use crate::rate::Bucket;

/// Most messages that wait on either side of a session's task.
pub const QUEUE: usize = 256;

/// Most bytes that wait to be sent.
pub const QUEUE_BYTES: usize = 1024 * 1024;

/// How long the last words to a peer may take.
const GOODBYE: Duration = Duration::from_secs(1);

#[expect(
    clippy::disallowed_methods,
    reason = "a session runs in real time; tokio's clock can be paused in tests"
)]
fn now() -> Instant {
    tokio::time::Instant::now().into_std()
}

/// What a peer of a session may do.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub struct Limits {
    /// A ping is sent this often; who has not been heard of for two of them is disconnected. 20 s by default.
    pub ping_interval: Duration,
    /// How long the peer may take to take a message, before it is disconnected. 10 s by default.
    pub send_timeout: Duration,
    /// Messages and pings that a peer may send at once. 256 by default.
    pub burst: u32,
    /// Messages and pings that a peer may send per second in the long run. 50 by default.
    pub per_second: u32,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            ping_interval: Duration::from_secs(20),
            send_timeout: Duration::from_secs(10),
            burst: 256,
            per_second: 50,
        }
    }
}

/// A WebSocket close code (RFC 6455 §7.4.1).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct CloseCode(pub u16);

impl CloseCode {
    /// The purpose is fulfilled.
    pub const NORMAL: Self = Self(1000);
    /// The server goes down, or the page is left.
    pub const GOING_AWAY: Self = Self(1001);
    /// The peer broke the WebSocket protocol.
    pub const PROTOCOL: Self = Self(1002);
    /// A kind of data that is not taken, such as binary messages here.
    pub const UNSUPPORTED: Self = Self(1003);
    /// A text message that is not UTF-8.
    pub const INVALID_DATA: Self = Self(1007);
    /// The peer broke a rule of ours: a malformed message, too many messages.
    pub const POLICY: Self = Self(1008);
    /// A frame or message above the limit.
    pub const TOO_BIG: Self = Self(1009);
    /// Something is wrong on this side, or there is no room for one more.
    pub const TRY_AGAIN_LATER: Self = Self(1013);
}

/// How a session ended. `Display` is one plain sentence.
#[derive(Clone, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub enum Ended {
    /// This side closed it.
    Local,
    /// The peer closed it, with a code and a text if it gave one.
    Peer(Option<CloseCode>, String),
    /// The peer broke a rule and was disconnected.
    Refused(CloseCode, String),
    /// The peer was not heard of for too long.
    TimedOut,
    /// The peer did not read what was sent to it.
    Unread,
    /// The WebSocket broke.
    Broken(String),
}

impl fmt::Display for Ended {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Ended::Local => f.write_str("signalling was closed by this side"),
            Ended::Peer(_, text) if !text.is_empty() => {
                write!(f, "signalling was closed by the peer: {text}")
            }
            Ended::Peer(Some(code), _) if *code != CloseCode::NORMAL => {
                write!(f, "signalling was closed by the peer with code {}", code.0)
            }
            Ended::Peer(..) => f.write_str("signalling was closed by the peer"),
            Ended::Refused(code, text) => write!(f, "the signalling peer broke a rule ({}): {text}", code.0),
            Ended::TimedOut => f.write_str("the signalling peer does not answer any more"),
            Ended::Unread => f.write_str("the signalling peer does not read what is sent to it"),
            Ended::Broken(text) => write!(f, "the signalling connection broke: {text}"),
        }
    }
}

/// [`Session::send`] did not take the message.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SendError {
    /// [`QUEUE`] messages or [`QUEUE_BYTES`] wait already: the peer does not read.
    #[error("the signalling peer does not read, and enough waits for it already")]
    Full,
    /// The message would not fit a frame of [`MAX_FRAME`].
    #[error("the message has {0} bytes, but a frame holds at most {MAX_FRAME}")]
    TooLarge(usize),
    /// The session has ended; [`Session::ended`] says how.
    #[error("the signalling session has ended")]
    Ended,
}

/// What a session's messages are made of.
pub trait Wire: Sized + Send {
    /// Reads a text message.
    ///
    /// # Errors
    ///
    /// [`ParseError`]; [`ParseError::UnknownType`] is skipped, the others end the session.
    fn parse(text: &str) -> Result<Self, ParseError>;

    /// Writes it.
    fn to_text(&self) -> String;
}

impl Wire for Signal {
    fn parse(text: &str) -> Result<Self, ParseError> {
        Signal::parse(text)
    }

    fn to_text(&self) -> String {
        self.to_json()
    }
}

/// Texts as they are, for protocols that answer what is wrong.
impl Wire for String {
    fn parse(text: &str) -> Result<Self, ParseError> {
        Ok(text.to_owned())
    }

    fn to_text(&self) -> String {
        self.clone()
    }
}

/// One signalling connection. Dropping it closes the WebSocket; what was sent is delivered first.
#[derive(Debug)]
pub struct Session<M = Signal> {
    incoming: mpsc::Receiver<M>,
    outgoing: Outgoing,
    ended: Arc<OnceLock<Ended>>,
}

/// A session's way out, for whoever sends to it without reading from it.
#[derive(Clone, Debug)]
pub struct Outgoing {
    commands: mpsc::Sender<Command>,
    backlog: Arc<Backlog>,
}

/// What waits in a session's queue.
#[derive(Default, Debug)]
struct Backlog {
    bytes: AtomicUsize,
    cut: Notify,
}

impl Outgoing {
    /// Sends a text, without waiting.
    ///
    /// # Errors
    ///
    /// [`SendError`].
    pub fn send(&self, text: String) -> Result<(), SendError> {
        let length = text.len();
        if length > MAX_FRAME {
            return Err(SendError::TooLarge(length));
        }
        if self.backlog.bytes.fetch_add(length, Ordering::Relaxed) + length > QUEUE_BYTES {
            self.backlog.bytes.fetch_sub(length, Ordering::Relaxed);
            return Err(SendError::Full);
        }
        self.commands.try_send(Command::Send(text)).map_err(|error| {
            self.backlog.bytes.fetch_sub(length, Ordering::Relaxed);
            match error {
                mpsc::error::TrySendError::Full(_) => SendError::Full,
                mpsc::error::TrySendError::Closed(_) => SendError::Ended,
            }
        })
    }

    /// Whether half of what may wait does so already: others had better wait, too.
    #[must_use]
    pub fn is_crowded(&self) -> bool {
        self.commands.capacity() <= QUEUE / 2 || self.backlog.bytes.load(Ordering::Relaxed) > QUEUE_BYTES / 2
    }

    /// Closes the session behind what was sent. Of `reason` the peer gets at most 123 bytes (RFC 6455 §5.5).
    pub fn close(&self, code: CloseCode, reason: &str) {
        // A full queue belongs to a peer that does not read.
        if self.commands.try_send(Command::Close(code, reason.to_owned())).is_err() {
            self.cut();
        }
    }

    /// Ends the session at once, as that of a peer that does not read. What was sent is lost.
    pub fn cut(&self) {
        self.backlog.cut.notify_one();
    }
}

/// As much of a reason as a close frame takes (RFC 6455 §5.5).
fn shortened(reason: &str) -> String {
    let mut end = reason.len().min(123);
    while !reason.is_char_boundary(end) {
        end -= 1;
    }
    reason[..end].to_owned()
}

#[derive(Debug)]
enum Command {
    Send(String),
    Close(CloseCode, String),
}

impl<M: Wire> Session<M> {
    /// Waits for the peer's next message; `None` when the session has ended and all that had arrived is read.
    pub async fn recv(&mut self) -> Option<M> {
        self.incoming.recv().await
    }

    /// Sends a message, without waiting.
    ///
    /// # Errors
    ///
    /// [`SendError`]: the queue is full, the message is too large, or the session has ended.
    pub fn send(&self, message: &M) -> Result<(), SendError> {
        self.outgoing.send(message.to_text())
    }

    /// The way out by itself. The session is closed when neither it nor any of these is left.
    #[must_use]
    pub fn outgoing(&self) -> Outgoing {
        self.outgoing.clone()
    }

    /// Closes the session. Of `reason` the peer gets at most 123 bytes (RFC 6455 §5.5).
    pub fn close(self, code: CloseCode, reason: &str) {
        self.outgoing.close(code, reason);
    }

    /// How the session ended, once it has.
    #[must_use]
    pub fn ended(&self) -> Option<&Ended> {
        self.ended.get()
    }
}

/// What the pump knows of a WebSocket message, of whichever library.
#[derive(Debug)]
pub(crate) enum Frame {
    Text(String),
    Binary,
    Ping,
    Pong,
    Close(Option<CloseCode>, String),
}

/// A WebSocket error, already judged.
#[derive(Debug)]
pub(crate) struct Broken {
    /// What to tell the peer, when it is to blame.
    pub(crate) code: Option<CloseCode>,
    pub(crate) text: String,
}

/// What a session's server has to do with it.
pub(crate) trait House: Send + Sync + 'static {
    /// A message or a ping has come; whether it may.
    fn receives(&self) -> bool;
    /// A message goes out.
    fn sends(&self);
    /// The session has ended.
    fn ends(&self, ended: &Ended);
}

/// What a session is pumped under.
#[derive(Default)]
pub(crate) struct Terms {
    pub(crate) limits: Limits,
    pub(crate) house: Option<Arc<dyn House>>,
    /// Becomes true when the server goes down.
    pub(crate) down: Option<watch::Receiver<bool>>,
}

impl Terms {
    /// Waits until the server goes down; for ever, if there is none or it is dropped instead.
    pub(crate) async fn going_down(&mut self) {
        let told = match &mut self.down {
            Some(down) => down.wait_for(|down| *down).await.is_ok(),
            None => false,
        };
        if !told {
            std::future::pending::<()>().await;
        }
    }
}

/// A session and the task that pumps it. The task ends with the WebSocket, or with the session.
pub(crate) fn session<M, W, R>(
    sink: W,
    stream: R,
    terms: Terms,
) -> (Session<M>, impl Future<Output = ()> + Send)
where
    M: Wire,
    W: Sink<Frame, Error = Broken> + Send + Unpin,
    R: Stream<Item = Result<Frame, Broken>> + Send + Unpin,
{
    let (to_app, incoming) = mpsc::channel(QUEUE);
    let (outgoing, from_app) = mpsc::channel(QUEUE);
    let ended = Arc::<OnceLock<Ended>>::default();
    let backlog = Arc::<Backlog>::default();
    let outgoing = Outgoing { commands: outgoing, backlog: backlog.clone() };
    let session = Session { incoming, outgoing, ended: ended.clone() };
    let pump = async move {
        let mut pump = Pump { sink, stream, terms, backlog };
        let end = pump.run(&to_app, from_app).await;
        debug!(%end, "signalling session over");
        if let Some(house) = &pump.terms.house {
            house.ends(&end);
        }
        let goodbye = match &end {
            Ended::Refused(code, text) => Some((*code, text.clone())),
            Ended::Local => Some((CloseCode::NORMAL, String::new())),
            // They may be there after all, and would like to know.
            Ended::TimedOut => Some((CloseCode::POLICY, "nothing was heard for too long".to_owned())),
            Ended::Unread => Some((CloseCode::POLICY, "what was sent to you was not read".to_owned())),
            Ended::Peer(..) | Ended::Broken(_) => None,
        };
        // Set before `to_app` goes: whoever sees the end of `recv` can ask why.
        let _ = ended.set(end);
        drop(to_app);
        if let Some((code, text)) = goodbye {
            let _ = timeout(GOODBYE, pump.sink.send(Frame::Close(Some(code), shortened(&text)))).await;
        }
        let _ = timeout(GOODBYE, pump.sink.close()).await;
        // Until the peer has seen the close frame, so that a reset does not overtake it (RFC 6455 §7.1.1).
        let _ = timeout(GOODBYE, async { while let Some(Ok(_)) = pump.stream.next().await {} }).await;
    };
    (session, pump)
}

struct Pump<W, R> {
    sink: W,
    stream: R,
    terms: Terms,
    backlog: Arc<Backlog>,
}

impl<W, R> Pump<W, R>
where
    W: Sink<Frame, Error = Broken> + Send + Unpin,
    R: Stream<Item = Result<Frame, Broken>> + Send + Unpin,
{
    async fn run<M: Wire>(
        &mut self,
        to_app: &mpsc::Sender<M>,
        mut from_app: mpsc::Receiver<Command>,
    ) -> Ended {
        let Limits { burst, per_second, ping_interval, .. } = self.terms.limits;
        let mut tokens = Bucket::full(now(), burst);
        let mut silent_ticks = 0;
        let mut ping = interval(ping_interval.max(Duration::from_millis(1)));
        ping.set_missed_tick_behavior(MissedTickBehavior::Delay);
        ping.tick().await; // The first tick is at once.

        loop {
            tokio::select! {
                biased;
                () = self.backlog.cut.notified() => return Ended::Unread,
                _ = ping.tick() => {
                    if silent_ticks == 2 {
                        return Ended::TimedOut;
                    }
                    silent_ticks += 1;
                    if let Err(end) = self.send(Frame::Ping).await {
                        return end;
                    }
                }
                command = from_app.recv() => {
                    let frame = match command {
                        None => return Ended::Local,
                        Some(Command::Send(text)) => {
                            self.backlog.bytes.fetch_sub(text.len(), Ordering::Relaxed);
                            if let Some(house) = &self.terms.house {
                                house.sends();
                            }
                            Frame::Text(text)
                        }
                        Some(Command::Close(code, text)) => Frame::Close(Some(code), shortened(&text)),
                    };
                    let last = matches!(frame, Frame::Close(..));
                    match self.send(frame).await {
                        Err(end) => return end,
                        Ok(()) if last => return Ended::Local,
                        Ok(()) => {}
                    }
                }
                // Behind what was sent, and before anything more is taken.
                () = self.terms.going_down() => {
                    let goodbye = Frame::Close(Some(CloseCode::GOING_AWAY), "the server goes down".to_owned());
                    return self.send(goodbye).await.err().unwrap_or(Ended::Local);
                }
                frame = self.stream.next() => {
                    silent_ticks = 0;
                    let frame = match frame {
                        None => return Ended::Peer(None, String::new()),
                        Some(Err(Broken { code: Some(code), text })) => return Ended::Refused(code, text),
                        Some(Err(Broken { code: None, text })) => return Ended::Broken(text),
                        Some(Ok(frame)) => frame,
                    };
                    if let Frame::Close(code, text) = frame {
                        return Ended::Peer(code, text);
                    }
                    if !tokens.take(now(), per_second, burst) {
                        return Ended::Refused(CloseCode::POLICY, "too many messages".into());
                    }
                    if !self.terms.house.as_ref().is_none_or(|house| house.receives()) {
                        let reason = "too many messages from your address";
                        return Ended::Refused(CloseCode::POLICY, reason.into());
                    }
                    if let Err(end) = receive(frame, to_app) {
                        return end;
                    }
                }
            }
        }
    }

    async fn send(&mut self, frame: Frame) -> Result<(), Ended> {
        tokio::select! {
            biased;
            sent = timeout(self.terms.limits.send_timeout, self.sink.send(frame)) => match sent {
                Ok(Ok(())) => Ok(()),
                Ok(Err(broken)) => Err(Ended::Broken(broken.text)),
                Err(_) => Err(Ended::Unread),
            },
            () = self.backlog.cut.notified() => Err(Ended::Unread),
        }
    }
}

fn receive<M: Wire>(frame: Frame, to_app: &mpsc::Sender<M>) -> Result<(), Ended> {
    let text = match frame {
        Frame::Text(text) => text,
        Frame::Binary => {
            return Err(Ended::Refused(CloseCode::UNSUPPORTED, "binary messages are not taken".into()));
        }
        Frame::Ping | Frame::Pong | Frame::Close(..) => return Ok(()),
    };
    let message = match M::parse(&text) {
        Ok(message) => message,
        Err(ParseError::UnknownType(kind)) => {
            debug!(kind, "skipped a signalling message of unknown type");
            return Ok(());
        }
        Err(error) => return Err(Ended::Refused(CloseCode::POLICY, error.to_string())),
    };
    match to_app.try_send(message) {
        Ok(()) => Ok(()),
        Err(mpsc::error::TrySendError::Full(_)) => {
            Err(Ended::Refused(CloseCode::POLICY, "more messages than are read".into()))
        }
        Err(mpsc::error::TrySendError::Closed(_)) => Err(Ended::Local),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_end_is_one_sentence() {
        let ends = [
            Ended::Local,
            Ended::Peer(None, String::new()),
            Ended::Peer(Some(CloseCode::GOING_AWAY), String::new()),
            Ended::Peer(Some(CloseCode::POLICY), "no offer came".into()),
            Ended::Refused(CloseCode::TOO_BIG, "a frame of 1 MiB".into()),
            Ended::TimedOut,
            Ended::Unread,
            Ended::Broken("reset".into()),
        ];
        for end in ends {
            let text = end.to_string();
            assert!(text.contains("signalling") && !text.contains('\n') && !text.ends_with('.'), "{text}");
        }
    }

    /// A peer in memory: what it gets, and what it says.
    type Wire = (mpsc::Receiver<Frame>, mpsc::Sender<Result<Frame, Broken>>);

    fn wired(limits: Limits, capacity: usize) -> (Session, Wire) {
        let (to_peer, peer_gets) = mpsc::channel(capacity);
        let (peer_says, from_peer) = mpsc::channel(1024);
        let sink = futures_util::sink::unfold(to_peer, |to_peer: mpsc::Sender<Frame>, frame| async move {
            let broken = |_| Broken { code: None, text: "gone".into() };
            to_peer.send(frame).await.map_err(broken)?;
            Ok(to_peer)
        });
        let stream = futures_util::stream::unfold(from_peer, |mut from_peer: mpsc::Receiver<_>| async move {
            Some((from_peer.recv().await?, from_peer))
        });
        let (session, pump) = session(Box::pin(sink), Box::pin(stream), Terms { limits, ..Terms::default() });
        tokio::spawn(pump);
        (session, (peer_gets, peer_says))
    }

    fn text(signal: &Signal) -> Result<Frame, Broken> {
        Ok(Frame::Text(signal.to_json()))
    }

    #[tokio::test(start_paused = true)]
    async fn messages_pass_both_ways_and_dropping_closes() {
        let (mut session, (mut gets, says)) = wired(Limits::default(), 16);
        says.send(text(&Signal::EndOfCandidates)).await.unwrap();
        assert_eq!(session.recv().await, Some(Signal::EndOfCandidates));
        session.send(&Signal::Offer { sdp: "x".into() }).unwrap();
        drop(session);
        assert!(matches!(gets.recv().await, Some(Frame::Text(t)) if t.contains("offer")));
        assert!(matches!(gets.recv().await, Some(Frame::Close(Some(CloseCode::NORMAL), _))));
    }

    #[tokio::test(start_paused = true)]
    async fn a_silent_peer_is_disconnected_and_one_that_answers_pings_is_not() {
        let (mut session, (mut gets, says)) = wired(Limits::default(), 16);
        for _ in 0..10 {
            assert!(matches!(gets.recv().await, Some(Frame::Ping)));
            says.send(Ok(Frame::Pong)).await.unwrap();
        }
        assert_eq!(session.ended(), None);
        assert_eq!(session.recv().await, None, "nobody answers from here on");
        assert_eq!(session.ended(), Some(&Ended::TimedOut));
    }

    #[tokio::test(start_paused = true)]
    async fn a_peer_that_never_reads_is_disconnected() {
        let (mut session, (_gets, _says)) = wired(Limits::default(), 1);
        let refused = (0..2 * QUEUE).find_map(|_| session.send(&Signal::EndOfCandidates).err());
        assert_eq!(refused, Some(SendError::Full));
        assert_eq!(session.recv().await, None);
        assert_eq!(session.ended(), Some(&Ended::Unread));
        assert_eq!(session.send(&Signal::EndOfCandidates), Err(SendError::Ended));
    }

    #[tokio::test(start_paused = true)]
    async fn few_large_messages_fill_the_queue_as_many_small_ones_do() {
        let (mut session, (mut gets, _says)) = wired(Limits::default(), 1);
        let large = Signal::Offer { sdp: "x".repeat(60_000) };
        let taken = (0..QUEUE).take_while(|_| session.send(&large).is_ok()).count();
        assert_eq!(taken, QUEUE_BYTES / 60_000);
        // What was read makes room again.
        assert!(matches!(gets.recv().await, Some(Frame::Text(_))));
        tokio::task::yield_now().await;
        assert_eq!(session.send(&large), Ok(()));
        session.outgoing().cut();
        assert_eq!(session.recv().await, None);
        assert_eq!(session.ended(), Some(&Ended::Unread));
        let told = async {
            loop {
                if let Some(Frame::Close(code, reason)) = gets.recv().await {
                    return (code, reason);
                }
            }
        };
        assert_eq!(told.await, (Some(CloseCode::POLICY), "what was sent to you was not read".to_owned()));
    }

    #[tokio::test(start_paused = true)]
    async fn a_flood_of_pings_or_messages_is_cut_off() {
        let limits = Limits { burst: 10, per_second: 5, ..Limits::default() };
        for frame in [|| Ok(Frame::Ping), || text(&Signal::EndOfCandidates)] {
            let (mut session, (_gets, says)) = wired(limits, 16);
            for _ in 0..1000 {
                let _ = says.try_send(frame());
            }
            let mut received = 0;
            while session.recv().await.is_some() {
                received += 1;
            }
            assert!(received <= 10);
            assert!(matches!(session.ended(), Some(Ended::Refused(CloseCode::POLICY, _))));
        }
    }

    #[tokio::test(start_paused = true)]
    async fn the_allowed_rate_can_be_kept_up() {
        let limits = Limits { burst: 10, per_second: 5, ..Limits::default() };
        let (mut session, (_gets, says)) = wired(limits, 16);
        for _ in 0..20 {
            for _ in 0..5 {
                says.send(text(&Signal::EndOfCandidates)).await.unwrap();
                assert!(session.recv().await.is_some());
            }
            tokio::time::sleep(Duration::from_millis(1100)).await;
        }
    }

    #[tokio::test(start_paused = true)]
    async fn malformed_and_binary_messages_end_the_session_and_unknown_types_do_not() {
        let (mut session, (mut gets, says)) = wired(Limits::default(), 16);
        says.send(Ok(Frame::Text(r#"{"type":"later"}"#.into()))).await.unwrap();
        says.send(text(&Signal::EndOfCandidates)).await.unwrap();
        assert_eq!(session.recv().await, Some(Signal::EndOfCandidates));
        says.send(Ok(Frame::Text("offer, please".into()))).await.unwrap();
        assert_eq!(session.recv().await, None);
        assert!(matches!(gets.recv().await, Some(Frame::Close(Some(CloseCode::POLICY), _))));

        let (mut session, (mut gets, says)) = wired(Limits::default(), 16);
        says.send(Ok(Frame::Binary)).await.unwrap();
        assert_eq!(session.recv().await, None);
        assert!(matches!(gets.recv().await, Some(Frame::Close(Some(CloseCode::UNSUPPORTED), _))));
    }

    #[tokio::test(start_paused = true)]
    async fn a_close_reason_is_cut_at_a_character_within_the_frame() {
        let (session, (mut gets, _says)) = wired(Limits::default(), 16);
        session.close(CloseCode::POLICY, &"ö".repeat(200));
        let Some(Frame::Close(Some(CloseCode::POLICY), reason)) = gets.recv().await else {
            panic!("a close frame")
        };
        assert_eq!(reason, "ö".repeat(61));
    }

    #[test]
    fn an_oversized_message_is_not_sent() {
        let outgoing = Outgoing { commands: mpsc::channel(1).0, backlog: Arc::default() };
        let incoming = mpsc::channel(1).1;
        let session: Session = Session { incoming, outgoing, ended: Arc::default() };
        let sdp = "x".repeat(MAX_FRAME);
        assert!(matches!(session.send(&Signal::Offer { sdp }), Err(SendError::TooLarge(_))));
    }
}
