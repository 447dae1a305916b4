//! One connection of a worker, numbered the same in both.

use sinnet::{DataChannel, Endpoint, PeerConfig, PeerConnection, PeerEvent};
use sinnet_signaling::Signal;
use tokio::sync::mpsc;

use super::link::{Report, report};
use crate::failure::Failure;
use crate::negotiation::{Incoming, candidate_signal, description_signal};

/// A connection whose signalling is taken care of by a task.
#[derive(Debug)]
pub(super) struct Connection {
    pub(super) peer: PeerConnection,
    /// Where the other side's signals go.
    pub(super) signals: mpsc::UnboundedSender<Signal>,
}

impl Connection {
    /// Starts it. `on_channel` gets the channels that the other side opens.
    pub(super) fn start(
        endpoint: &Endpoint,
        config: PeerConfig,
        number: u32,
        on_channel: impl FnMut(DataChannel) + Send + 'static,
    ) -> Result<Self, Failure> {
        let peer = endpoint.peer_connection(config)?;
        // Unbounded is fine: the other end is this same program.
        let (signals, incoming) = mpsc::unbounded_channel();
        let driven = drive(peer.clone(), number, incoming, on_channel);
        tokio::spawn(async move {
            if let Err(failure) = driven.await {
                report(&Report::Failed(failure.to_string()));
            }
        });
        Ok(Self { peer, signals })
    }

    /// Makes the offer.
    pub(super) fn offer(&self, number: u32) -> Result<(), Failure> {
        let offer = self.peer.create_offer()?;
        self.peer.set_local_description(offer.clone())?;
        report(&Report::Signal(number, description_signal(offer)));
        Ok(())
    }
}

async fn drive(
    peer: PeerConnection,
    number: u32,
    mut signals: mpsc::UnboundedReceiver<Signal>,
    mut on_channel: impl FnMut(DataChannel),
) -> Result<(), Failure> {
    let mut incoming = Incoming::default();
    loop {
        tokio::select! {
            event = peer.next_event() => match event {
                Some(PeerEvent::IceCandidate(candidate)) => {
                    report(&Report::Signal(number, candidate_signal(candidate)));
                }
                Some(PeerEvent::DataChannel(channel)) => on_channel(channel),
                Some(PeerEvent::Closed(reason)) if reason.is_orderly() => return Ok(()),
                Some(PeerEvent::Closed(reason)) => return Err(Failure::new(reason.to_string())),
                Some(_) => {}
                None => return Ok(()),
            },
            Some(signal) = signals.recv() => {
                if let Some(answer) = incoming.apply(&peer, signal)? {
                    report(&Report::Signal(number, answer));
                }
            }
        }
    }
}
