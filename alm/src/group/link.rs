//! One connection with another node: its descriptions, its channel, and the task that reads it.

use futures_util::future::OptionFuture;
use sinnet::{
    DataChannel, DataChannelOptions, Endpoint, IceCandidate, Message, PeerConfig, PeerConnection, PeerEvent,
    SessionDescription,
};
use tokio::sync::mpsc;

use super::driver::Input;
use super::signal::Signal;
use crate::overlay::LinkId;

/// What the original's channels are called.
const LABEL: &str = "label";

/// Candidates that are kept until their description comes.
const MAX_EARLY: usize = 64;

/// What comes from a connection.
#[derive(Debug)]
pub(crate) enum LinkEvent {
    /// To be told to the peer.
    Candidate(IceCandidate),
    /// Messages can go.
    Open(DataChannel),
    /// A message of the channel.
    Message(Message),
    /// The end.
    Closed(String),
}

/// The negotiation of one connection. It is to be ended with [`Connection::close`]: its task has a handle, too, until the
/// channel is open.
#[derive(Debug)]
pub(crate) struct Connection {
    peer: PeerConnection,
    /// Our description as it was sent: candidates in it need not be sent again.
    sent: String,
    described: bool,
    early: Vec<IceCandidate>,
}

impl Connection {
    /// Makes an offer, and a task that reports as `id`.
    pub(crate) fn offering(
        endpoint: &Endpoint,
        config: &PeerConfig,
        id: LinkId,
        inputs: mpsc::Sender<Input>,
    ) -> Result<(Self, Signal), sinnet::Error> {
        let peer = endpoint.peer_connection(config.clone())?;
        let channel = peer.create_data_channel(LABEL, DataChannelOptions::default())?;
        peer.set_local_description(peer.create_offer()?)?;
        let sent = peer.local_description().unwrap_or_else(|| SessionDescription::offer("")).sdp;
        tokio::spawn(run(id, peer.clone(), Some(channel), inputs));
        let signal = Signal::Offer(sent.clone());
        Ok((Self { peer, sent, described: false, early: Vec::new() }, signal))
    }

    /// Answers an offer.
    pub(crate) fn answering(
        endpoint: &Endpoint,
        config: &PeerConfig,
        offer: String,
        id: LinkId,
        inputs: mpsc::Sender<Input>,
    ) -> Result<(Self, Signal), sinnet::Error> {
        let peer = endpoint.peer_connection(config.clone())?;
        peer.set_remote_description(SessionDescription::offer(offer))?;
        peer.set_local_description(peer.create_answer()?)?;
        let sent = peer.local_description().unwrap_or_else(|| SessionDescription::answer("")).sdp;
        tokio::spawn(run(id, peer.clone(), None, inputs));
        let signal = Signal::Answer(sent.clone());
        Ok((Self { peer, sent, described: true, early: Vec::new() }, signal))
    }

    /// The answer to our offer has come. A second one is ignored.
    pub(crate) fn take_answer(&mut self, answer: String) -> Result<(), sinnet::Error> {
        if self.described {
            return Ok(());
        }
        self.peer.set_remote_description(SessionDescription::answer(answer))?;
        self.described = true;
        std::mem::take(&mut self.early).into_iter().for_each(|candidate| self.use_candidate(candidate));
        Ok(())
    }

    /// A candidate of the peer's, at any time.
    pub(crate) fn take_candidate(&mut self, candidate: IceCandidate) {
        if self.described {
            self.use_candidate(candidate);
        } else if self.early.len() < MAX_EARLY {
            self.early.push(candidate);
        }
    }

    fn use_candidate(&self, candidate: IceCandidate) {
        if let Err(error) = self.peer.add_ice_candidate(candidate) {
            tracing::debug!(%error, "skipped a candidate");
        }
    }

    /// Whether the peer has to be told of it.
    pub(crate) fn is_news(&self, candidate: &IceCandidate) -> bool {
        !self.sent.contains(&candidate.candidate)
    }

    /// Whether both descriptions are there: nothing more has to be said.
    pub(crate) fn is_described(&self) -> bool {
        self.described
    }

    /// Ends it in order, in a task: what was accepted for sending is delivered first.
    pub(crate) fn close(self) -> tokio::task::JoinHandle<()> {
        tokio::spawn(async move { self.peer.close().await })
    }
}

/// Waits for the channel, then for its messages, then for its end.
async fn run(id: LinkId, peer: PeerConnection, ours: Option<DataChannel>, inputs: mpsc::Sender<Input>) {
    let tell = async |event| inputs.send(Input::Link(id, event)).await.is_ok();
    let channel = loop {
        let opened: OptionFuture<_> = ours.as_ref().map(|channel| channel.opened()).into();
        tokio::select! {
            // Nobody wants to hear of it any more.
            () = inputs.closed() => return,
            Some(opened) = opened => match (opened, &ours) {
                (Ok(()), Some(channel)) => break channel.clone(),
                (Err(error), _) => {
                    tell(LinkEvent::Closed(error.to_string())).await;
                    return;
                }
                (Ok(()), None) => {}
            },
            event = peer.next_event() => match event {
                Some(PeerEvent::IceCandidate(Some(candidate))) => {
                    if !tell(LinkEvent::Candidate(candidate)).await {
                        return;
                    }
                }
                // Whatever its label: the document and the programs differ there.
                Some(PeerEvent::DataChannel(channel)) if ours.is_none() => break channel,
                Some(PeerEvent::Closed(reason)) => {
                    tell(LinkEvent::Closed(reason.to_string())).await;
                    return;
                }
                Some(_) => {}
                None => {
                    tell(LinkEvent::Closed("the connection has ended".to_owned())).await;
                    return;
                }
            },
        }
    };
    // The driver and the channel hold the connection from here on; with fewer handles its end is noticed.
    drop((peer, ours));
    if !tell(LinkEvent::Open(channel.clone())).await {
        return;
    }
    while let Some(message) = channel.recv().await {
        if !tell(LinkEvent::Message(message)).await {
            return;
        }
    }
    tell(LinkEvent::Closed("the channel was closed".to_owned())).await;
}
