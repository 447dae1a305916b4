//! The tables of RFC 9260 as tables: what every chunk does in every state, and §5.2.4.

mod collisions;
mod states;

use super::Association;
use super::state::State;
use crate::Config;
use crate::tests::{A, Fate, Pair, pattern};
use crate::types::Tsn;
use crate::wire::chunk::ChunkType;

/// The tag and initial TSN of a peer that is not there.
const PEER_TAG: u32 = 0x5eed;
const PEER_TSN: u32 = 1000;

/// All states, in the order of the columns.
const STATES: [State; 9] = [
    State::Closed,
    State::CookieWait,
    State::CookieEchoed,
    State::Established,
    State::ShutdownPending,
    State::ShutdownSent,
    State::ShutdownReceived,
    State::ShutdownAckSent,
    State::Ended,
];

/// INIT and INIT ACK without parameters.
fn init(tag: u32, a_rwnd: u32, outbound: u16, inbound: u16, tsn: u32) -> Vec<u8> {
    let mut value = tag.to_be_bytes().to_vec();
    value.extend_from_slice(&a_rwnd.to_be_bytes());
    value.extend_from_slice(&outbound.to_be_bytes());
    value.extend_from_slice(&inbound.to_be_bytes());
    value.extend_from_slice(&tsn.to_be_bytes());
    value
}

/// An INIT ACK of the peer that is not there.
fn init_ack() -> Vec<u8> {
    let mut value = init(PEER_TAG, 100_000, 10, 10, PEER_TSN);
    value.extend_from_slice(&[0, 7, 0, 8, 1, 2, 3, 4]);
    value
}

/// A is in this state, has nothing to send just now, and what it sends goes nowhere.
fn in_state(state: State) -> Pair {
    let mut pair = if matches!(state, State::Closed | State::CookieWait | State::CookieEchoed) {
        Pair::new(Config::default())
    } else {
        Pair::connected(Config::default())
    };
    let now = pair.now;
    pair.script = Box::new(|_, _| Fate::Drop);
    match state {
        State::Closed | State::Established => {}
        State::CookieWait => pair.ends[A].connect(now),
        State::CookieEchoed => {
            pair.ends[A].connect(now);
            pair.drain();
            pair.inject(A, &[(ChunkType::INIT_ACK, 0, &init_ack())]);
        }
        State::ShutdownPending => {
            pair.send(A, 1, &pattern(10));
            pair.ends[A].shutdown(now);
        }
        State::ShutdownSent => pair.ends[A].shutdown(now),
        State::ShutdownReceived => {
            pair.send(A, 1, &pattern(10));
            let cumulative = pair.ends[A].local_initial_tsn.0.wrapping_sub(1);
            pair.drain();
            pair.inject(A, &[(ChunkType::SHUTDOWN, 0, &cumulative.to_be_bytes())]);
        }
        State::ShutdownAckSent => {
            let cumulative = pair.ends[A].local_initial_tsn.0.wrapping_sub(1);
            pair.inject(A, &[(ChunkType::SHUTDOWN, 0, &cumulative.to_be_bytes())]);
        }
        State::Ended => pair.ends[A].abort(now, "over"),
    }
    pair.drain();
    pair.forget();
    assert_eq!(pair.ends[A].state, state);
    pair
}

/// The TSN of the peer's next DATA.
fn peer_tsn(end: &Association) -> Tsn {
    Tsn::wrap(end.rx.tracker.cumulative() + 1)
}
