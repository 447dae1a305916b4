//! COOKIE ECHO in every state: table 12 of RFC 9260 §5.2.4, and §5.1.5.

use super::states::outcome;
use super::*;
use crate::Event;
use crate::association::cookie::{Cookie, PeerParams};
use crate::tests::{forge, ms};

/// A tag in the cookie, beside that of the association.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Tag {
    /// Matches.
    M,
    /// Does not.
    X,
    /// The association does not know the peer's yet.
    Unknown,
}

/// The tie-tags in the cookie.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Ties {
    /// Both match.
    M,
    /// One does not.
    X,
    /// There was no association when the cookie was made.
    None,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Action {
    A,
    B,
    C,
    D,
    /// Not in the table: silently discarded.
    Discard,
}

/// Table 12, with every row that it does not show.
const TABLE_12: &[(Tag, Tag, Ties, Action)] = &[
    (Tag::X, Tag::X, Ties::M, Action::A),
    (Tag::X, Tag::X, Ties::X, Action::Discard),
    (Tag::X, Tag::X, Ties::None, Action::Discard),
    (Tag::M, Tag::X, Ties::M, Action::B),
    (Tag::M, Tag::X, Ties::X, Action::B),
    (Tag::M, Tag::X, Ties::None, Action::B),
    (Tag::M, Tag::Unknown, Ties::M, Action::B),
    (Tag::M, Tag::Unknown, Ties::X, Action::B),
    (Tag::M, Tag::Unknown, Ties::None, Action::B),
    (Tag::X, Tag::M, Ties::None, Action::C),
    (Tag::X, Tag::M, Ties::M, Action::Discard),
    (Tag::X, Tag::M, Ties::X, Action::Discard),
    (Tag::X, Tag::Unknown, Ties::X, Action::Discard),
    (Tag::X, Tag::Unknown, Ties::None, Action::Discard),
    (Tag::M, Tag::M, Ties::M, Action::D),
    (Tag::M, Tag::M, Ties::X, Action::D),
    (Tag::M, Tag::M, Ties::None, Action::D),
];

/// What an action is seen by, in each state that has a TCB.
fn expected(action: Action, state: State) -> &'static str {
    match (action, state) {
        // The RFC's exception.
        (Action::A, State::ShutdownAckSent) => "ERROR S-ACK",
        // The owner still wants to close, and has nothing to send after the restart.
        (Action::A, State::ShutdownPending) => "COOKIE-ACK SHUTDOWN >ShutdownSent",
        (Action::A, State::ShutdownSent) => "COOKIE-ACK SHUTDOWN",
        (Action::A | Action::B | Action::D, State::Established) => "COOKIE-ACK",
        (Action::A, _) => "COOKIE-ACK >Established",
        (Action::B | Action::D, State::CookieWait | State::CookieEchoed) => "COOKIE-ACK >Established",
        // The old tag has been used: the cookie is a late one.
        (Action::B, _) => "-",
        (Action::D, _) => "COOKIE-ACK",
        (Action::C | Action::Discard, _) => "-",
    }
}

/// A cookie of A's own making, in a COOKIE ECHO with its tag.
fn echo(end: &Association, local: Tag, peer: Tag, ties: Ties, created_ms: u64) -> Vec<u8> {
    let tag = |own: u32, tag| if tag == Tag::M { own } else { own ^ 0x0f0f_0f0f };
    let tie_tags = match ties {
        Ties::M => (end.local_tag, end.peer_tag),
        Ties::X => (end.local_tag, end.peer_tag ^ 1),
        Ties::None => (0, 0),
    };
    let cookie = Cookie {
        created_ms,
        local_tag: tag(end.local_tag, local),
        local_initial_tsn: if local == Tag::M { end.local_initial_tsn } else { Tsn(77) },
        peer: PeerParams {
            tag: tag(end.peer_tag, peer),
            initial_tsn: Tsn(PEER_TSN),
            a_rwnd: 50_000,
            outbound_streams: 10,
            inbound_streams: 10,
            capabilities: end.peer_capabilities,
        },
        tie_tags,
    };
    forge(cookie.local_tag, &[(ChunkType::COOKIE_ECHO, 0, &cookie.write(&end.cookie_key()))])
}

/// The states with a TCB.
fn states() -> impl Iterator<Item = State> {
    STATES.into_iter().filter(|state| !matches!(state, State::Closed | State::Ended))
}

#[test]
fn a_cookie_of_ours_does_what_table_12_says() {
    for &(local, peer, ties, action) in TABLE_12 {
        // Only in CookieWait is the peer's tag unknown, and it is known in all the others.
        for state in states().filter(|&state| (state == State::CookieWait) == (peer == Tag::Unknown)) {
            let mut pair = in_state(state);
            let tags = (pair.ends[A].local_tag, pair.ends[A].peer_tag);
            let packet = echo(&pair.ends[A], local, peer, ties, 0);
            let what = format!("{local:?} {peer:?} {ties:?}, action {action:?}, in {state:?}");
            assert_eq!(outcome(&mut pair, &packet), expected(action, state), "{what}");
            let end = &mut pair.ends[A];
            let taken = match action {
                Action::A => state != State::ShutdownAckSent,
                Action::B => matches!(state, State::CookieWait | State::CookieEchoed | State::Established),
                Action::C | Action::D | Action::Discard => false,
            };
            assert_eq!(((end.local_tag, end.peer_tag) == tags), !taken, "{what}");
            assert_eq!(
                end.rx.tracker.cumulative() as u32 == PEER_TSN - 1,
                taken || state == State::CookieEchoed,
                "{what}"
            );
            let restarted = std::iter::from_fn(|| end.poll_event()).any(|event| event == Event::Restarted);
            assert_eq!(restarted, action == Action::A && taken, "{what}");
        }
    }
}

#[test]
fn a_stale_cookie_is_an_error_unless_both_tags_match() {
    for &(local, peer, ties, action) in TABLE_12 {
        for state in states().filter(|&state| (state == State::CookieWait) == (peer == Tag::Unknown)) {
            let mut pair = in_state(state);
            pair.now += pair.ends[A].config.cookie_lifetime + ms(10_000);
            let packet = echo(&pair.ends[A], local, peer, ties, 0);
            let expected = if action == Action::D { expected(action, state) } else { "ERROR" };
            // What the time that has passed would have made it send is not in question.
            pair.ends[A].heartbeat.stop();
            pair.ends[A].start_heartbeat(pair.now);
            assert_eq!(outcome(&mut pair, &packet), expected, "{local:?} {peer:?} {ties:?} in {state:?}");
        }
    }
}

#[test]
fn without_an_association_a_cookie_sets_one_up_and_after_its_end_does_not() {
    for (state, stale, expected) in [
        (State::Closed, false, "COOKIE-ACK >Established"),
        (State::Closed, true, "ERROR"),
        (State::Ended, false, "ABORT"),
        (State::Ended, true, "ERROR"),
    ] {
        let mut pair = in_state(state);
        let age = if stale { pair.ends[A].config.cookie_lifetime + ms(1) } else { ms(0) };
        pair.now += age;
        let packet = echo(&pair.ends[A], Tag::M, Tag::X, Ties::None, 0);
        assert_eq!(outcome(&mut pair, &packet), expected, "{state:?}");
    }
    let mut pair = in_state(State::ShutdownAckSent);
    pair.inject(A, &[(ChunkType::SHUTDOWN_COMPLETE, 0, &[])]);
    let packet = echo(&pair.ends[A], Tag::M, Tag::X, Ties::None, 0);
    assert_eq!(outcome(&mut pair, &packet), "-", "it ended in order");
}

#[test]
fn a_late_cookie_with_another_tag_does_not_take_an_association_in_use() {
    let mut pair = in_state(State::Established);
    pair.send(A, 1, &pattern(10));
    pair.drain();
    let packet = echo(&pair.ends[A], Tag::M, Tag::X, Ties::None, 0);
    assert_eq!(outcome(&mut pair, &packet), "-");
    assert_eq!(pair.ends[A].stats.dropped_cookies, 1);
}

#[test]
fn a_cookie_under_another_tag_than_its_own_is_discarded_with_all_that_follows() {
    for state in STATES {
        let mut pair = in_state(state);
        let mut packet = echo(&pair.ends[A], Tag::M, Tag::M, Ties::M, 0);
        let value = packet[16..].to_vec();
        let heartbeat: &[u8] = &[0, 1, 0, 4];
        let tag = pair.ends[A].local_tag ^ 1;
        packet = forge(tag, &[(ChunkType::COOKIE_ECHO, 0, &value), (ChunkType::HEARTBEAT, 0, heartbeat)]);
        assert_eq!(outcome(&mut pair, &packet), "-", "{state:?}");
    }
}
