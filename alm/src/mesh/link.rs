//! One member's connection, from offer or answer to its channel.

use std::sync::{Mutex, MutexGuard, PoisonError};

use serde_json::{Value, json};
use sinnet::{
    DataChannel, DataChannelOptions, Endpoint, IceCandidate, PeerConfig, PeerConnection, PeerEvent,
    SessionDescription,
};

use super::group::MAX_EARLY;

/// What the original's channels are called.
const LABEL: &str = "simple";

/// What members relay to each other.
pub(crate) enum Signal<'a> {
    Offer(&'a str),
    Ice(&'a Value),
}

impl<'a> Signal<'a> {
    pub(crate) fn read(data: &'a Value) -> Option<Self> {
        if let Some(offer) = data.get("offer") {
            return Some(Signal::Offer(offer.get("sdp")?.as_str()?));
        }
        data.get("ice").map(Signal::Ice)
    }
}

pub(crate) struct Link {
    peer: PeerConnection,
    state: Mutex<State>,
}

struct State {
    /// Ours, if we have offered; the peer's once it has come.
    channel: Option<DataChannel>,
    is_open: bool,
    /// The peer's description has come.
    described: bool,
    offering: bool,
    early: Vec<Value>,
}

impl Link {
    /// A connection and what to relay.
    pub(crate) fn offering(endpoint: &Endpoint, config: &PeerConfig) -> Result<(Self, Value), String> {
        let say = |error: sinnet::Error| error.to_string();
        let peer = endpoint.peer_connection(config.clone()).map_err(say)?;
        let channel = peer.create_data_channel(LABEL, DataChannelOptions::default()).map_err(say)?;
        peer.set_local_description(peer.create_offer().map_err(say)?).map_err(say)?;
        let offer = peer.local_description().ok_or("there is no offer")?;
        let state = State {
            channel: Some(channel),
            is_open: false,
            described: false,
            offering: true,
            early: Vec::new(),
        };
        Ok((Self { peer, state: Mutex::new(state) }, json!({"offer": {"type": "offer", "sdp": offer.sdp}})))
    }

    /// A connection and the answer to an offer.
    pub(crate) fn answering(
        endpoint: &Endpoint,
        config: &PeerConfig,
        sdp: &str,
    ) -> Result<(Self, Value), &'static str> {
        let refused = |error: sinnet::Error| {
            tracing::debug!(%error, "an offer was refused");
            "the offer can't be used"
        };
        let peer = endpoint.peer_connection(config.clone()).map_err(refused)?;
        peer.set_remote_description(SessionDescription::offer(sdp)).map_err(refused)?;
        peer.set_local_description(peer.create_answer().map_err(refused)?).map_err(refused)?;
        let answer = peer.local_description().ok_or("there is no answer")?;
        let state =
            State { channel: None, is_open: false, described: true, offering: false, early: Vec::new() };
        Ok((
            Self { peer, state: Mutex::new(state) },
            json!({"answer": {"type": "answer", "sdp": answer.sdp}}),
        ))
    }

    /// Whether our offer waits for its answer.
    pub(crate) fn is_offering(&self) -> bool {
        self.state().offering
    }

    pub(crate) fn take_answer(&self, answer: &Value) -> Result<(), String> {
        let sdp = answer.get("answer").and_then(|answer| answer.get("sdp")).and_then(Value::as_str);
        let sdp = sdp.ok_or("the answer has no description")?;
        self.peer
            .set_remote_description(SessionDescription::answer(sdp))
            .map_err(|error| error.to_string())?;
        let mut state = self.state();
        state.offering = false;
        state.described = true;
        for candidate in std::mem::take(&mut state.early) {
            self.use_candidate(&candidate);
        }
        Ok(())
    }

    /// A candidate of the peer's, at any time.
    pub(crate) fn add_candidate(&self, candidate: &Value) {
        let mut state = self.state();
        if state.described {
            self.use_candidate(candidate);
        } else if state.early.len() < MAX_EARLY {
            state.early.push(candidate.clone());
        }
    }

    /// As browsers write them; null and an empty one are the end.
    fn use_candidate(&self, candidate: &Value) {
        let text = |name: &str| candidate.get(name).and_then(Value::as_str);
        let index = candidate.get("sdpMLineIndex").and_then(Value::as_u64);
        let candidate = IceCandidate {
            candidate: text("candidate").unwrap_or_default().to_owned(),
            sdp_mid: text("sdpMid").map(str::to_owned),
            sdp_m_line_index: index.and_then(|index| u16::try_from(index).ok()),
        };
        if let Err(error) = self.peer.add_ice_candidate(candidate) {
            tracing::debug!(%error, "skipped a candidate");
        }
    }

    /// Waits until messages can go.
    pub(crate) async fn open(&self) -> Result<DataChannel, String> {
        let ours = self.state().channel.clone();
        let channel = match ours {
            Some(channel) => {
                channel.opened().await.map_err(|error| error.to_string())?;
                channel
            }
            None => loop {
                match self.peer.next_event().await {
                    Some(PeerEvent::DataChannel(channel)) if channel.label() == LABEL => break channel,
                    Some(PeerEvent::Closed(reason)) => return Err(reason.to_string()),
                    Some(_) => {}
                    None => return Err("the connection has ended".to_owned()),
                }
            },
        };
        let mut state = self.state();
        state.channel = Some(channel.clone());
        state.is_open = true;
        Ok(channel)
    }

    /// The channel, once it is open.
    pub(crate) fn channel(&self) -> Option<DataChannel> {
        let state = self.state();
        state.channel.clone().filter(|_| state.is_open)
    }

    /// Ends the connection: what was accepted is delivered first, in a task.
    pub(crate) fn close(&self) {
        let peer = self.peer.clone();
        if let Ok(runtime) = tokio::runtime::Handle::try_current() {
            runtime.spawn(async move { peer.close().await });
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
