//! `sinnet connect`: one connection, signalled by lines of JSON on standard input and output.
//!
//! One loop owns the signalling and the connection's events; every channel has a task of its own, and what those find
//! out comes back as an [`Outcome`].
//!
//! ```text
//!   stdin ─▶ lines::read ─▶ ┌──────┐ ─▶ lines::write ─▶ stdout
//!             next_event ─▶ │ loop │ ─▶ a task per channel (modes)
//!          tasks' Outcome ─▶└──────┘ ─▶ the exit status
//! ```

mod chat;
mod lines;
mod modes;

use std::path::{Path, PathBuf};
use std::time::Duration;

use sinnet::{
    CloseReason, ConnectionState, DataChannel, DataChannelOptions, PeerConfig, PeerConnection, PeerEvent,
    SignalingState,
};
use sinnet_signaling::Signal;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio::time::timeout;
use tracing::{info, warn};

use crate::args::ConnectArgs;
use crate::channel_spec::{ChannelSpec, DcmapSpec};
use crate::failure::{Context, Failure};
use crate::inspect::{Inspection, statistics};
use crate::negotiation::{Incoming, candidate_signal, description_signal};
use crate::terminal::Screen;
use crate::transfer;
pub(crate) use modes::reflect;

/// How long an orderly close may take before the connection is aborted.
const CLOSING: Duration = Duration::from_secs(10);

/// How long tasks may take to finish after the end of the connection: writing the last block of a file, for example.
const FINISHING: Duration = Duration::from_secs(10);

/// What to do with the connection.
#[derive(Clone, Debug)]
enum Mode {
    Idle,
    Echo,
    Send(Vec<PathBuf>),
    Receive(transfer::Store),
    Chat,
}

/// What a channel's task found out.
#[derive(Debug)]
enum Outcome {
    /// Nothing that matters.
    Nothing,
    /// A file arrived, or did not.
    Received(Result<(), Failure>),
    /// All that there was to send is sent, or can't be.
    Done(Result<(), Failure>),
}

pub(crate) async fn run(args: ConnectArgs, screen: &Screen) -> Result<(), Failure> {
    let mode = mode(&args).await?;
    let inspection = Inspection::start(&args.inspect, screen)?;
    let endpoint = crate::endpoint(&args.bind, false).await?;
    let mut config = PeerConfig {
        congestion: args.congestion.into(),
        ice_transport_policy: args.bind.ice_transport_policy(),
        ..Default::default()
    };
    inspection.configure(&mut config);
    let peer = endpoint.peer_connection(config)?;
    inspection.watch(&peer);
    let reporter = args.stats.map(|seconds| tokio::spawn(report(peer.clone(), seconds, screen.clone())));
    let mut connection = Connection::new(peer.clone(), mode, screen.clone(), args.offer);
    connection.open_channels(&args)?;
    let result = connection.run(args.offer).await;
    // The last datagrams of the close are still to go.
    let _ = timeout(Duration::from_secs(2), endpoint.close()).await;
    inspection.end().await;
    if let Some(reporter) = reporter {
        reporter.abort();
        screen.say(statistics(&peer).to_string());
    }
    result
}

/// Tells the statistics every so many seconds.
async fn report(peer: PeerConnection, seconds: f64, screen: Screen) {
    let mut interval = tokio::time::interval(Duration::from_secs_f64(seconds));
    interval.tick().await;
    loop {
        interval.tick().await;
        screen.say(statistics(&peer).to_string());
    }
}

/// The mode, with all that can be wrong about it found before anything is started.
async fn mode(args: &ConnectArgs) -> Result<Mode, Failure> {
    let mode = &args.mode;
    if let Some(directory) = &mode.recv {
        check_directory(directory)?;
        let store = transfer::Store { directory: Some(directory.clone()), max_size: args.max_size };
        return Ok(Mode::Receive(store));
    }
    if !mode.send.is_empty() {
        for path in &mode.send {
            transfer::Source::file(path).await.map_err(|error| Failure::new(error.to_string()))?;
        }
        return Ok(Mode::Send(mode.send.clone()));
    }
    Ok(match (mode.echo, mode.chat) {
        (true, _) => Mode::Echo,
        (_, true) => Mode::Chat,
        _ => Mode::Idle,
    })
}

/// That `directory` is one.
pub(crate) fn check_directory(directory: &Path) -> Result<(), Failure> {
    match std::fs::metadata(directory) {
        Ok(metadata) if metadata.is_dir() => Ok(()),
        Ok(_) => Err(Failure::new(format!("{} is not a directory", directory.display()))),
        Err(error) => Err(Failure::new(format!("can't use the directory {}: {error}", directory.display()))),
    }
}

struct Connection {
    peer: PeerConnection,
    mode: Mode,
    screen: Screen,
    /// Whether the first offer was ours; a lost path is then for us to look for anew.
    offerer: bool,
    incoming: Incoming,
    tasks: JoinSet<Outcome>,
    /// For the chat: the lines to send, and the first channel, which they go to.
    chat: Option<mpsc::Receiver<String>>,
    /// Whether all files are sent and verified; `None` where there is nothing to send.
    sent: Option<bool>,
    /// The first thing that went wrong.
    failure: Option<Failure>,
    was_connected: bool,
    told_path: bool,
    interrupted: bool,
}

impl Connection {
    fn new(peer: PeerConnection, mode: Mode, screen: Screen, offerer: bool) -> Self {
        let sent = matches!(mode, Mode::Send(_)).then_some(false);
        Self {
            peer,
            mode,
            screen,
            offerer,
            incoming: Incoming::of(offerer),
            tasks: JoinSet::new(),
            chat: None,
            sent,
            failure: None,
            was_connected: false,
            told_path: false,
            interrupted: false,
        }
    }

    /// Opens what the arguments ask for, before the offer is made: so it has a section for data.
    fn open_channels(&mut self, args: &ConnectArgs) -> Result<(), Failure> {
        if let Some(fd) = args.chat_fd {
            self.chat = Some(chat::lines(fd)?);
        }
        let mut specs = args.channel.clone();
        if specs.is_empty() && args.dcmap.is_empty() && args.offer && !matches!(self.mode, Mode::Send(_)) {
            specs.push(ChannelSpec::plain("sinnet"));
        }
        for ChannelSpec { label, options } in specs {
            let channel = self.peer.create_data_channel(&label, options);
            let channel = channel.context(format_args!("can't open the channel {label:?}"))?;
            self.take(channel, true);
        }
        for DcmapSpec(map) in &args.dcmap {
            let channel = self.peer.offer_data_channel(map.label(), map.into(), &[]);
            self.take(channel.context(format_args!("can't open the channel {map}"))?, true);
        }
        if let Mode::Send(paths) = &self.mode {
            let mut files = Vec::new();
            for path in paths {
                let label = path.file_name().unwrap_or_default().to_string_lossy();
                let options =
                    DataChannelOptions { protocol: transfer::PROTOCOL.to_owned(), ..Default::default() };
                files.push((self.peer.create_data_channel(&label, options)?, path.clone()));
            }
            self.tasks.spawn(modes::send_files(files, args.as_one, self.screen.clone()));
        }
        Ok(())
    }

    /// Gives a channel its task. The task holds the channel open.
    fn take(&mut self, channel: DataChannel, ours: bool) {
        let screen = self.screen.clone();
        match &self.mode {
            Mode::Echo => self.tasks.spawn(modes::echo(channel)),
            Mode::Receive(store) if !ours && channel.protocol() == transfer::PROTOCOL => {
                self.tasks.spawn(modes::receive_file(channel, store.clone(), screen))
            }
            Mode::Chat => {
                if let Some(lines) = self.chat.take() {
                    self.tasks.spawn(chat::say(channel.clone(), lines));
                }
                self.tasks.spawn(chat::show(channel, screen))
            }
            _ => self.tasks.spawn(modes::count(channel)),
        };
    }

    async fn run(&mut self, offer: bool) -> Result<(), Failure> {
        let mut interrupt = signal(SignalKind::interrupt()).context("can't wait for Ctrl-C")?;
        let mut terminate = signal(SignalKind::terminate()).context("can't wait for SIGTERM")?;
        let mut restart = signal(SignalKind::user_defined1()).context("can't wait for SIGUSR1")?;
        let mut input = lines::read(tokio::io::stdin());
        let mut input_open = true;
        if offer {
            let offer = self.peer.create_offer()?;
            self.peer.set_local_description(offer.clone())?;
            lines::write(&description_signal(offer))?;
        }
        loop {
            tokio::select! {
                event = self.peer.next_event() => match event {
                    Some(PeerEvent::Closed(reason)) => return self.finish(reason).await,
                    Some(event) => self.event(event)?,
                    None => return Err(Failure::new("the connection has ended")),
                },
                signal = input.recv(), if input_open => match signal {
                    Some(signal) => self.signal(signal)?,
                    None => {
                        input_open = false;
                        if !self.incoming.described() {
                            let missing = if offer { "an answer" } else { "an offer" };
                            return Err(Failure::new(format!("standard input ended before {missing} came")));
                        }
                    }
                },
                Some(outcome) = self.tasks.join_next() => self.outcome(outcome.unwrap_or(Outcome::Nothing)),
                Some(()) = interrupt.recv() => self.interrupt()?,
                Some(()) = terminate.recv() => self.interrupt()?,
                Some(()) = restart.recv() => self.peer.restart_ice(),
            }
        }
    }

    fn signal(&mut self, signal: Result<Signal, Failure>) -> Result<(), Failure> {
        let applied = signal.and_then(|signal| {
            self.incoming.apply(&self.peer, signal).context("the peer's description can't be used")
        });
        match applied {
            Ok(Some(answer)) => lines::write(&answer),
            Ok(None) => Ok(()),
            // What is up stays up.
            Err(failure) if self.was_connected => {
                warn!(%failure, "skipped a signalling message");
                Ok(())
            }
            Err(failure) => Err(failure),
        }
    }

    fn event(&mut self, event: PeerEvent) -> Result<(), Failure> {
        match event {
            PeerEvent::IceCandidate(candidate) => lines::write(&candidate_signal(candidate))?,
            PeerEvent::IceCandidateError(error) => warn!("{error}"),
            PeerEvent::DataChannel(channel) => {
                info!(label = channel.label(), protocol = channel.protocol(), "the peer opened a channel");
                self.take(channel, false);
            }
            PeerEvent::ConnectionStateChange(state) => {
                info!(%state, "connection");
                self.was_connected |= state == ConnectionState::Connected;
                if state == ConnectionState::Disconnected && self.offerer {
                    self.peer.restart_ice();
                }
            }
            // The first offer is made by who was told to.
            PeerEvent::NegotiationNeeded
                if self.incoming.described() && self.peer.signaling_state() == SignalingState::Stable =>
            {
                let offer = self.peer.create_offer()?;
                self.peer.set_local_description(offer.clone())?;
                lines::write(&description_signal(offer))?;
            }
            PeerEvent::IceConnectionStateChange(state) => info!(?state, "ICE"),
            _ => {}
        }
        // The connection can be up before ICE has chosen for good.
        if self.was_connected
            && !self.told_path
            && let Some(path) = self.peer.selected_path()
        {
            self.told_path = true;
            self.screen.say(format!("connected: {} to {}", path.local, path.remote));
        }
        Ok(())
    }

    fn outcome(&mut self, outcome: Outcome) {
        match outcome {
            Outcome::Nothing | Outcome::Received(Ok(())) => {}
            Outcome::Received(Err(failure)) => {
                self.screen.say(format!("not received: {failure}"));
                self.failure.get_or_insert(failure);
            }
            Outcome::Done(result) => {
                match result {
                    Ok(()) => self.sent = Some(true),
                    Err(failure) => {
                        self.failure.get_or_insert(failure);
                    }
                }
                self.close();
            }
        }
    }

    /// Starts an orderly close; the event loop sees its end.
    fn close(&mut self) {
        let peer = self.peer.clone();
        self.tasks.spawn(async move {
            if timeout(CLOSING, peer.close()).await.is_err() {
                peer.abort("the close took too long").await;
            }
            Outcome::Nothing
        });
    }

    fn interrupt(&mut self) -> Result<(), Failure> {
        if self.interrupted || !self.was_connected {
            return Err(Failure::new("interrupted"));
        }
        self.interrupted = true;
        self.close();
        Ok(())
    }

    /// The connection has ended: what its channels' tasks still find out, and what it all comes to.
    async fn finish(&mut self, reason: CloseReason) -> Result<(), Failure> {
        let finishing = async {
            while let Some(outcome) = self.tasks.join_next().await {
                match outcome.unwrap_or(Outcome::Nothing) {
                    Outcome::Done(Ok(())) => self.sent = Some(true),
                    Outcome::Done(Err(failure)) | Outcome::Received(Err(failure)) => {
                        self.failure.get_or_insert(failure);
                    }
                    Outcome::Nothing | Outcome::Received(Ok(())) => {}
                }
            }
        };
        let _ = timeout(FINISHING, finishing).await;
        if !reason.is_orderly() {
            return Err(Failure::new(reason.to_string()));
        }
        match self.failure.take() {
            Some(failure) => Err(failure),
            None if self.sent == Some(false) && !self.interrupted => {
                Err(Failure::new("the peer closed the connection before the file was verified"))
            }
            None => {
                info!(%reason, "done");
                Ok(())
            }
        }
    }
}
