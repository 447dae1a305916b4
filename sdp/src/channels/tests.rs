//! Offer and answer of channels between two sides, without the rest of SDP.

use proptest::prelude::*;

use super::*;
use crate::Limit;

fn described(text: &str) -> ChannelDescription {
    ChannelDescription { map: text.parse().unwrap(), attributes: vec![] }
}

fn drain(channels: &mut Channels) -> Vec<String> {
    std::iter::from_fn(|| channels.next_change())
        .map(|change| match change {
            ChannelChange::Closed { stream_id } => format!("closed {stream_id}"),
            ChannelChange::Opened(channel) => {
                format!("{} {}", if channel.ours { "opened" } else { "accepted" }, channel.map)
            }
            ChannelChange::Refused { stream_id, reason } => format!("refused {stream_id} {reason:?}"),
        })
        .collect()
}

const NOTHING: [String; 0] = [];

/// The offerer is the DTLS server here, as RFC 8842 §5.3 would have it: its ids are odd.
struct Pair {
    a: Channels,
    z: Channels,
}

impl Pair {
    fn new() -> Self {
        Self { a: Channels::default(), z: Channels::default() }
    }

    /// `a` offers, `z` answers.
    fn exchange(&mut self) -> (Vec<String>, Vec<String>) {
        exchange(&mut self.a, &mut self.z, DtlsRole::Server, |_| {})
    }

    /// `z` offers, `a` answers.
    fn back(&mut self) -> (Vec<String>, Vec<String>) {
        let (z, a) = exchange(&mut self.z, &mut self.a, DtlsRole::Client, |_| {});
        (a, z)
    }

    fn in_force(&self) -> Vec<u16> {
        let ids = |channels: &Channels| channels.in_force().map(|c| c.map.stream_id()).collect::<Vec<_>>();
        assert_eq!(ids(&self.a), ids(&self.z));
        ids(&self.a)
    }
}

fn listed(channels: &[ChannelDescription]) -> Listed {
    Listed { channels: channels.to_vec(), unusable: vec![] }
}

fn exchange(
    offerer: &mut Channels,
    answerer: &mut Channels,
    role: DtlsRole,
    judge: impl Fn(&mut Channels),
) -> (Vec<String>, Vec<String>) {
    let offer = offerer.offer();
    answerer.receive_offer(&listed(&offer));
    judge(answerer);
    let answer = answerer.answer(&listed(&offer), role.peer());
    answerer.answer_sent(&listed(&offer), &answer, role.peer());
    offerer.answered(&offer, &listed(&answer), role);
    (drain(offerer), drain(answerer))
}

#[test]
fn figure_1_a_peer_that_knows_no_dcmap_refuses_all() {
    let mut a = Channels::default();
    a.propose(described(r#"0 subprotocol="bfcp";label="bfcp""#), None).unwrap();
    let offer = a.offer();
    a.answered(&offer, &Listed::default(), DtlsRole::Client);
    assert_eq!(drain(&mut a), ["refused 0 LeftOut"]);
    assert!(!a.needs_offer() && !a.is_known(0), "the id is free for DCEP");
}

/// And figure 3, which goes on from there.
#[test]
fn figure_2_one_channel_is_refused_and_one_accepted_and_figure_3_swaps_it_for_another() {
    let (mut a, mut z) = (Channels::default(), Channels::default());
    a.propose(described(r#"0 subprotocol="bfcp";label="bfcp""#), None).unwrap();
    let mut msrp = described(r#"2 subprotocol="msrp";label="msrp""#);
    msrp.attributes = vec!["accept-types:message/cpim text/plain".into(), "path:msrp://alice".into()];
    a.propose(msrp.clone(), None).unwrap();
    let judge = |z: &mut Channels| {
        z.reject(0).unwrap();
        z.set_answer_attributes(2, vec!["path:msrp://bob".into()]).unwrap();
        assert_eq!(z.role_that_fits(), Some(DtlsRole::Server));
    };
    let (at_a, at_z) = exchange(&mut a, &mut z, DtlsRole::Client, judge);
    assert_eq!(at_a, ["refused 0 LeftOut", r#"opened 2 subprotocol="msrp";label="msrp""#]);
    assert_eq!(at_z, [r#"accepted 2 subprotocol="msrp";label="msrp""#]);
    assert_eq!(a.get(2).unwrap().remote_attributes, ["path:msrp://bob"]);
    assert_eq!(z.get(2).unwrap().remote_attributes, msrp.attributes);

    a.closed(2, true);
    a.propose(described(r#"4 subprotocol="msrp";label="msrp""#), Some(DtlsRole::Client)).unwrap();
    let (at_a, at_z) = exchange(&mut a, &mut z, DtlsRole::Client, |_| {});
    assert_eq!(at_a, [r#"opened 4 subprotocol="msrp";label="msrp""#, "closed 2"]);
    assert_eq!(at_z, [r#"accepted 4 subprotocol="msrp";label="msrp""#, "closed 2"]);
    assert!(!a.is_known(2) && !z.is_known(2));
}

#[test]
fn later_offers_list_what_is_in_force_and_both_sides_may_open_and_close() {
    let mut pair = Pair::new();
    pair.a.propose(described("1 label=\"a\""), None).unwrap();
    assert_eq!(pair.exchange().0, ["opened 1 label=\"a\""]);
    pair.z.propose(described("2"), Some(DtlsRole::Client)).unwrap();
    let (at_a, at_z) = pair.back();
    assert_eq!((at_a, at_z), (vec!["accepted 2".to_owned()], vec!["opened 2".to_owned()]));
    assert_eq!(pair.a.offer().len(), 2);
    assert_eq!(pair.exchange(), (vec![], vec![]), "nothing changes by saying it again");
    assert_eq!(pair.in_force(), [1, 2]);
    // The side that did not open it closes it.
    pair.z.closed(1, true);
    assert!(pair.z.needs_offer() && !pair.a.needs_offer());
    assert_eq!(pair.back(), (vec!["closed 1".to_owned()], vec!["closed 1".to_owned()]));
    assert_eq!(pair.in_force(), [2]);
    assert!(!pair.z.needs_offer());
}

#[test]
fn a_channel_that_the_answerer_has_closed_is_left_out_of_its_answer() {
    let mut pair = Pair::new();
    pair.a.propose(described("1"), None).unwrap();
    pair.exchange();
    pair.z.closed(1, true);
    assert_eq!(pair.exchange(), (vec!["closed 1".to_owned()], vec!["closed 1".to_owned()]));
    assert!(!pair.z.needs_offer(), "the answer has said it");
}

#[test]
fn an_id_is_used_again_by_another_value_only_and_after_its_channel_is_closed() {
    let mut pair = Pair::new();
    pair.a.propose(described("1 label=\"old\""), None).unwrap();
    pair.exchange();
    let role = Some(DtlsRole::Server);
    assert_eq!(pair.a.propose(described("1 label=\"new\""), role), Err(ChannelError::InUse(1)));
    pair.a.closed(1, true);
    pair.z.closed(1, false);
    assert_eq!(pair.a.propose(described("1 label=\"old\""), role), Err(ChannelError::SameAsBefore(1)));
    pair.a.propose(described("1 label=\"new\""), role).unwrap();
    let (at_a, at_z) = pair.exchange();
    assert_eq!(at_a, ["closed 1", "opened 1 label=\"new\""]);
    assert_eq!(at_z, ["closed 1", "accepted 1 label=\"new\""]);
    assert_eq!(pair.exchange(), (vec![], vec![]));
}

#[test]
fn ids_of_the_wrong_parity_are_refused_wherever_they_come_from() {
    let mut a = Channels::default();
    assert_eq!(a.propose(described("2"), Some(DtlsRole::Server)), Err(ChannelError::Parity(2)));
    a.propose(described("1"), None).unwrap();
    assert_eq!(a.propose(described("2"), None), Err(ChannelError::Parity(2)), "no role makes both right");

    // The peer offers ours.
    let mut z = Channels::default();
    let offer = listed(&[described("1"), described("2")]);
    z.receive_offer(&offer);
    assert_eq!(z.role_that_fits(), None);
    let answer = z.answer(&offer, DtlsRole::Client);
    assert_eq!(answer, [described("1")]);

    // The peer accepts, and takes the role that makes ours wrong.
    let offer = a.offer();
    a.answered(&offer, &listed(&offer), DtlsRole::Client);
    assert_eq!(drain(&mut a), ["refused 1 Parity"]);
    assert!(a.needs_offer(), "the peer may have it open; an offer without it closes it");
    assert_eq!(a.offer(), []);
    // And is not made by the peer's listing it.
    a.receive_offer(&listed(&offer));
    assert_eq!(a.answer(&listed(&offer), DtlsRole::Client), []);
}

#[test]
fn what_was_wanted_before_the_roles_came_out_otherwise_is_refused() {
    let mut a = Channels::default();
    a.propose(described("1"), None).unwrap();
    a.receive_offer(&Listed::default());
    a.answer_sent(&Listed::default(), &[], DtlsRole::Client);
    assert_eq!(drain(&mut a), ["refused 1 Parity"]);
}

#[test]
fn an_answer_with_another_limit_or_a_value_that_can_not_be_ends_the_channel() {
    for (answer, unusable) in
        [(vec![described("1 max-time=3")], vec![]), (vec![described("1")], vec![]), (vec![], vec![1])]
    {
        let mut a = Channels::default();
        a.propose(described("1 max-retr=3"), None).unwrap();
        let offer = a.offer();
        a.answered(&offer, &Listed { channels: answer, unusable }, DtlsRole::Server);
        assert_eq!(drain(&mut a), ["refused 1 Limit"]);
        assert!(a.needs_offer() && a.offer().is_empty());
    }
    // What else may differ (§6.4) does not matter.
    let mut a = Channels::default();
    a.propose(described("1 max-retr=3;priority=1"), None).unwrap();
    let offer = a.offer();
    a.answered(&offer, &listed(&[described("1 x=y;max-retr=3")]), DtlsRole::Server);
    assert_eq!(drain(&mut a), ["opened 1 max-retr=3;priority=1"]);
    assert_eq!(a.get(1).unwrap().map.limit(), Limit::MaxRetr(3));
}

#[test]
fn a_rollback_keeps_what_was_wanted_and_forgets_what_was_offered() {
    let mut pair = Pair::new();
    pair.a.propose(described("1"), None).unwrap();
    let _ = pair.a.offer();
    assert_eq!(pair.a.offer(), [described("1")], "it was never taken back");
    pair.z.receive_offer(&listed(&pair.a.offer()));
    assert_eq!(pair.z.offered().count(), 1);
    pair.z.forget_offer();
    assert_eq!((pair.z.offered().count(), pair.z.is_known(1)), (0, false));
    assert_eq!(pair.z.reject(1), Err(ChannelError::NotOffered(1)));
    assert_eq!(drain(&mut pair.z), NOTHING);
    assert_eq!(pair.exchange().1, ["accepted 1"]);
}

#[test]
fn a_channel_that_is_withdrawn_while_its_offer_is_out_opens_for_its_owner_to_close() {
    let mut pair = Pair::new();
    pair.a.propose(described("1"), None).unwrap();
    let offer = pair.a.offer();
    pair.a.withdraw(1);
    pair.a.answered(&offer, &listed(&offer), DtlsRole::Server);
    assert_eq!(drain(&mut pair.a), ["opened 1"]);
    pair.a.closed(1, true);
    assert_eq!(pair.a.offer(), []);
}

#[test]
fn a_session_of_the_old_form_refuses_what_is_wanted() {
    let mut a = Channels::default();
    a.propose(described("1"), None).unwrap();
    a.refuse_all();
    assert_eq!(drain(&mut a), ["refused 1 LeftOut"]);
    assert!(!a.needs_offer());
}

#[test]
fn attributes_and_counts_are_checked_when_they_come_in() {
    let mut a = Channels::default();
    let mut evil = described("1");
    evil.attributes.push("x:y\r\na=setup:active".into());
    assert!(matches!(a.propose(evil, None), Err(ChannelError::Attribute(_))));
    for i in 0..MAX_CHANNELS as u16 {
        a.propose(ChannelDescription { map: Dcmap::new(2 * i).unwrap(), attributes: vec![] }, None).unwrap();
    }
    assert_eq!(a.propose(described("65534"), None), Err(ChannelError::TooMany));
}

proptest! {
    /// Whatever either side wants, closes and refuses: after an exchange both have the same in force, and after one more
    /// each way nothing is left to be told.
    #[test]
    fn after_an_exchange_both_sides_have_the_same_in_force(
        steps in proptest::collection::vec((0..6u8, 0..4u16), 0..40),
    ) {
        let mut pair = Pair::new();
        let mut labels = 0..;
        for (step, n) in steps {
            let (side, role, id) =
                if step % 2 == 0 { (&mut pair.a, DtlsRole::Server, 2 * n + 1) } else { (&mut pair.z, DtlsRole::Client, 2 * n) };
            match step {
                0 | 1 => {
                    let label: u32 = labels.next().unwrap();
                    let _ = side.propose(described(&format!("{id} label=\"{label}\"")), Some(role));
                }
                2 | 3 => side.closed(n, true),
                _ => {
                    let (a, z) = (&mut pair.a, &mut pair.z);
                    let judge = |answerer: &mut Channels| drop(answerer.reject(n));
                    if step == 4 { exchange(a, z, DtlsRole::Server, judge) } else { exchange(z, a, DtlsRole::Client, judge) };
                    pair.in_force();
                }
            }
        }
        pair.exchange();
        pair.back();
        pair.in_force();
        prop_assert!(!pair.a.needs_offer() && !pair.z.needs_offer());
        prop_assert_eq!(pair.exchange(), (vec![], vec![]));
    }
}
