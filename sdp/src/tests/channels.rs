//! Channels in whole descriptions (RFC 8864): what is written, read, agreed on and refused.

use super::transport;
use crate::{
    ChannelChange, ChannelDescription, DcmapError, DtlsRole, Error, MAX_CHANNELS, Negotiator, Offered,
    Politeness, Refusal, SdpType, SignalingState,
};

fn channel(map: &str, attributes: &[&str]) -> ChannelDescription {
    ChannelDescription {
        map: map.parse().unwrap(),
        attributes: attributes.iter().map(|&text| text.to_owned()).collect(),
    }
}

/// A whole exchange between `a` and `z`; returns the offer and the answer.
fn exchange(a: &mut Negotiator, z: &mut Negotiator) -> (String, String) {
    exchange_as(a, z, ['a', 'z'])
}

fn exchange_as(a: &mut Negotiator, z: &mut Negotiator, letters: [char; 2]) -> (String, String) {
    let offer = a.create_offer(&transport(letters[0])).unwrap();
    a.set_local(SdpType::Offer, &offer).unwrap();
    z.set_remote(SdpType::Offer, &offer).unwrap();
    let answer = z.create_answer(&transport(letters[1])).unwrap();
    z.set_local(SdpType::Answer, &answer).unwrap();
    a.set_remote(SdpType::Answer, &answer).unwrap();
    (offer, answer)
}

fn changes(n: &mut Negotiator) -> Vec<(u16, &'static str)> {
    std::iter::from_fn(|| n.poll_channel_change())
        .map(|change| match change {
            ChannelChange::Closed { stream_id } => (stream_id, "closed"),
            ChannelChange::Opened(channel) => {
                (channel.map.stream_id(), if channel.ours { "ours" } else { "theirs" })
            }
            ChannelChange::Refused { stream_id, .. } => (stream_id, "refused"),
        })
        .collect()
}

fn lines(sdp: &str) -> Vec<&str> {
    sdp.lines().filter(|line| line.starts_with("a=dc")).collect()
}

/// An offer with these lines, from a peer that does not check them.
fn offer_with(more: &str) -> String {
    Negotiator::new(9).create_offer(&transport('p')).unwrap() + more
}

#[test]
fn channels_are_opened_added_and_closed_by_description_alone() {
    let (mut a, mut z) = (Negotiator::new(1), Negotiator::new(2));
    a.open_channel(channel(r#"1 subprotocol="msrp";label="m""#, &["accept-types:text/plain"])).unwrap();
    a.open_channel(channel("3", &[])).unwrap();
    let (offer, answer) = exchange(&mut a, &mut z);
    assert_eq!(
        lines(&offer),
        [r#"a=dcmap:1 subprotocol="msrp";label="m""#, "a=dcsa:1 accept-types:text/plain", "a=dcmap:3"]
    );
    assert_eq!(lines(&answer), [r#"a=dcmap:1 subprotocol="msrp";label="m""#, "a=dcmap:3"]);
    assert_eq!(changes(&mut a), [(1, "ours"), (3, "ours")]);
    assert_eq!(changes(&mut z), [(1, "theirs"), (3, "theirs")]);
    assert_eq!(z.channel(1).unwrap().remote_attributes, ["accept-types:text/plain"]);

    z.open_channel(channel("2 ordered=false", &[])).unwrap();
    z.channel_closed(1, true);
    assert!(z.needs_offer() && !a.needs_offer());
    let (offer, answer) = exchange_as(&mut z, &mut a, ['z', 'a']);
    assert_eq!(
        (lines(&offer), lines(&answer)),
        (vec!["a=dcmap:3", "a=dcmap:2 ordered=false"], vec!["a=dcmap:3", "a=dcmap:2 ordered=false"])
    );
    assert_eq!(changes(&mut z), [(2, "ours"), (1, "closed")]);
    assert_eq!(changes(&mut a), [(2, "theirs"), (1, "closed")]);
    assert!(!z.needs_offer());
}

#[test]
fn the_answer_takes_the_role_by_which_the_offered_ids_are_right() {
    for (id, role) in [("0", DtlsRole::Server), ("1", DtlsRole::Client)] {
        for preferred in [DtlsRole::Client, DtlsRole::Server] {
            let (mut a, mut z) = (Negotiator::new(1), Negotiator::new(2));
            z.prefer_role(preferred);
            a.open_channel(channel(id, &[])).unwrap();
            exchange(&mut a, &mut z);
            assert_eq!(z.dtls_role(), Some(role));
            assert_eq!(changes(&mut a).len(), 1);
        }
    }
    // With both parities the preference decides, and the rest is left out.
    let mut z = Negotiator::new(2);
    z.set_remote(SdpType::Offer, &offer_with("a=dcmap:0\r\na=dcmap:1\r\n")).unwrap();
    assert_eq!(lines(&z.create_answer(&transport('z')).unwrap()), ["a=dcmap:1"]);
    // Once there is a role it stays.
    let (mut a, mut z) = (Negotiator::new(1), Negotiator::new(2));
    exchange(&mut a, &mut z);
    let offer = a.create_offer(&transport('a')).unwrap() + "a=dcmap:0\r\n";
    z.set_remote(SdpType::Offer, &offer).unwrap();
    assert_eq!(lines(&z.create_answer(&transport('z')).unwrap()), [""; 0]);
}

#[test]
fn rejected_channels_and_peers_without_dcmap_refuse() {
    let (mut a, mut z) = (Negotiator::new(1), Negotiator::new(2));
    a.open_channel(channel("1", &[])).unwrap();
    let offer = a.create_offer(&transport('a')).unwrap();
    a.set_local(SdpType::Offer, &offer).unwrap();
    z.set_remote(SdpType::Offer, &offer).unwrap();
    assert_eq!(z.offered_channels().next().unwrap().channel, channel("1", &[]));
    let stale = z.create_answer(&transport('z')).unwrap();
    z.reject_channel(1).unwrap();
    assert_eq!(z.set_local(SdpType::Answer, &stale), Err(Error::NotCreatedHere), "made before the rejection");
    let answer = z.create_answer(&transport('z')).unwrap();
    z.set_local(SdpType::Answer, &answer).unwrap();
    a.set_remote(SdpType::Answer, &answer).unwrap();
    assert_eq!(
        a.poll_channel_change(),
        Some(ChannelChange::Refused { stream_id: 1, reason: Refusal::LeftOut })
    );
    assert_eq!(z.poll_channel_change(), None);
    assert!(z.reject_channel(1).is_err());
}

#[test]
fn a_rollback_takes_no_channel_with_it() {
    let (mut a, mut z) = (Negotiator::new(1), Negotiator::new(2));
    exchange(&mut a, &mut z);
    a.open_channel(channel("1", &[])).unwrap();
    z.open_channel(channel("2", &[])).unwrap();
    let (from_a, from_z) =
        (a.create_offer(&transport('a')).unwrap(), z.create_offer(&transport('z')).unwrap());
    a.set_local(SdpType::Offer, &from_a).unwrap();
    z.set_local(SdpType::Offer, &from_z).unwrap();
    // Glare: `a` is polite.
    assert_eq!(z.judge_offer(Politeness::Impolite), Offered::Ignore);
    assert_eq!(a.judge_offer(Politeness::Polite), Offered::RollBackAndTake);
    a.rollback().unwrap();
    assert_eq!(a.judge_offer(Politeness::Polite), Offered::Take);
    a.set_remote(SdpType::Offer, &from_z).unwrap();
    let answer = a.create_answer(&transport('a')).unwrap();
    a.set_local(SdpType::Answer, &answer).unwrap();
    z.set_remote(SdpType::Answer, &answer).unwrap();
    assert_eq!((changes(&mut a), changes(&mut z)), (vec![(2, "theirs")], vec![(2, "ours")]));
    assert!(a.needs_offer(), "its channel is still wanted");
    exchange(&mut a, &mut z);
    assert_eq!((changes(&mut a), changes(&mut z)), (vec![(1, "ours")], vec![(1, "theirs")]));
}

#[test]
fn lines_that_break_the_rules_refuse_the_description_and_change_nothing() {
    let refused = |lines: &str| {
        let mut z = Negotiator::new(1);
        let error = z.set_remote(SdpType::Offer, &offer_with(lines)).map(|_| ()).expect_err(lines);
        assert_eq!(z.signaling_state(), SignalingState::Stable);
        assert_eq!(z.offered_channels().count(), 0);
        error
    };
    assert_eq!(refused("a=dcmap:1\r\na=dcmap:1 label=\"x\"\r\n"), Error::DuplicateChannel(1));
    assert_eq!(refused("a=dcmap:1\r\na=dcmap:00001 priority=x\r\n"), Error::DuplicateChannel(1));
    assert_eq!(refused("a=dcmap:1 max-retr=1;max-time=1\r\n"), Error::Channel(DcmapError::BothLimits));
    assert_eq!(refused("a=dcmap:1 label=\"%fe\"\r\n"), Error::Channel(DcmapError::NotUtf8("label")));
    assert!(matches!(refused("a=dcmap:65535\r\n"), Error::Channel(DcmapError::StreamId(_))));
    assert!(matches!(refused("a=dcmap:1 label=x\r\n"), Error::Channel(DcmapError::Quoting(_))));
    assert!(matches!(refused("a=dcmap:1 label=\"\u{0}\"\r\n"), Error::InvalidCharacter { .. }));
    assert!(matches!(refused("a=dcmap:1 label=\"a\rb\"\r\n"), Error::InvalidCharacter { .. }));
    assert!(matches!(refused("a=dcmap:1 label=\"a\nb\"\r\n"), Error::Channel(_) | Error::Syntax(_)));
    assert!(matches!(refused("a=dcmap:1\r\na=dcsa:1\r\n"), Error::Channel(DcmapError::Attribute(_))));
    let many: String = (0..=MAX_CHANNELS).map(|id| format!("a=dcmap:{id}\r\n")).collect();
    assert!(matches!(refused(&many), Error::TooLarge { .. }));
    // A label as long as DCEP allows does not fit into a description.
    let long = "x".repeat(65_535);
    assert!(matches!(refused(&format!("a=dcmap:1 label=\"{long}\"\r\n")), Error::TooLarge { .. }));
    let mut a = Negotiator::new(1);
    let map = crate::Dcmap::new(1).unwrap().with_label(&long).unwrap();
    a.open_channel(ChannelDescription { map, attributes: vec![] }).unwrap();
    assert!(matches!(a.create_offer(&transport('a')), Err(Error::TooLarge { .. })));
}

#[test]
fn a_value_that_can_not_be_ends_its_channel_only_and_stray_attributes_are_discarded() {
    let mut z = Negotiator::new(1);
    let lines_in = "a=dcmap:1 priority=65536\r\na=dcmap:3 ordered=x;new=1\r\na=dcsa:3 a:b\r\na=dcsa:5 c:d\r\na=dcsa:1 e\r\n";
    z.set_remote(SdpType::Offer, &offer_with(lines_in)).unwrap();
    let offered: Vec<_> = z.offered_channels().map(|offered| offered.channel).collect();
    assert_eq!(offered, [channel("3 ordered=x;new=1", &["a:b"])]);
    assert_eq!(lines(&z.create_answer(&transport('z')).unwrap()), ["a=dcmap:3"]);
    // §6.7: only dcsa lines.
    let mut z = Negotiator::new(1);
    z.set_remote(SdpType::Offer, &offer_with("a=dcsa:1 a:b\r\n")).unwrap();
    assert_eq!(z.offered_channels().count(), 0);
}

#[test]
fn an_answer_with_channels_that_were_not_offered_opens_none() {
    let mut a = Negotiator::new(1);
    a.create_offer(&transport('a')).unwrap();
    a.set_local(SdpType::Offer, "").unwrap();
    let answer = offer_with("a=dcmap:2\r\n").replace("actpass", "active");
    a.set_remote(SdpType::Answer, &answer).unwrap();
    assert_eq!((a.poll_channel_change(), a.channels().count()), (None, 0));
}

#[test]
fn an_ice_restart_must_be_answered_by_new_credentials() {
    let (mut a, mut z) = (Negotiator::new(1), Negotiator::new(2));
    exchange(&mut a, &mut z);
    let mut restart = transport('r');
    restart.fingerprints = transport('a').fingerprints;
    let offer = a.create_offer(&restart).unwrap();
    a.set_local(SdpType::Offer, &offer).unwrap();
    assert!(z.set_remote(SdpType::Offer, &offer).unwrap().ice_restart);
    assert_eq!(z.create_answer(&transport('z')), Err(Error::IceRestartUnanswered));
    let old = a.local_description_with(&[], false).unwrap().1;
    assert!(old.contains("rrrrrrrr"));
    let mut anew = transport('s');
    anew.fingerprints = transport('z').fingerprints;
    let answer = z.create_answer(&anew).unwrap();
    z.set_local(SdpType::Answer, &answer).unwrap();
    let stale = answer.replace("ssssssss", "zzzzzzzz").replace(&"s".repeat(24), &"z".repeat(24));
    assert_eq!(a.set_remote(SdpType::Answer, &stale), Err(Error::IceRestartUnanswered));
    assert_eq!(a.signaling_state(), SignalingState::HaveLocalOffer);
    assert!(a.set_remote(SdpType::Answer, &answer).unwrap().ice_restart);
}

#[test]
fn the_answer_to_a_restart_may_name_the_other_role_and_changes_none() {
    let (mut a, mut z) = (Negotiator::new(1), Negotiator::new(2));
    exchange(&mut a, &mut z);
    let role = a.dtls_role();
    // As Firefox has it: the offerer was the client, and the answer says `active`.
    let swapped = if role == Some(DtlsRole::Client) { "active" } else { "passive" };
    for (ufrag, taken) in [('r', true), ('a', false)] {
        let (mut a, mut z) = (a.clone(), z.clone());
        let mut offered = transport(ufrag);
        offered.fingerprints = transport('a').fingerprints;
        let offer = a.create_offer(&offered).unwrap();
        a.set_local(SdpType::Offer, &offer).unwrap();
        z.set_remote(SdpType::Offer, &offer).unwrap();
        let mut answered = transport(if taken { 's' } else { 'z' });
        answered.fingerprints = transport('z').fingerprints;
        let answer = z.create_answer(&answered).unwrap();
        let (_, setup) = answer.split_once("a=setup:").unwrap();
        let setup = setup.lines().next().unwrap();
        let answer = answer.replace(&format!("a=setup:{setup}"), &format!("a=setup:{swapped}"));
        let result = a.set_remote(SdpType::Answer, &answer).map(drop);
        assert_eq!(result, if taken { Ok(()) } else { Err(Error::RoleChanged) });
        assert_eq!(a.dtls_role(), role);
    }
}

#[test]
fn an_answer_may_not_restart_ice_by_itself() {
    let (mut a, mut z) = (Negotiator::new(1), Negotiator::new(2));
    exchange(&mut a, &mut z);
    a.create_offer(&transport('a')).unwrap();
    a.set_local(SdpType::Offer, "").unwrap();
    z.set_remote(SdpType::Offer, &a.local_description_with(&[], false).unwrap().1).unwrap();
    let answer = z.create_answer(&transport('z')).unwrap();
    let restart = answer.replace("zzzzzzzz", "ssssssss");
    assert_eq!(a.set_remote(SdpType::Answer, &restart), Err(Error::IceRestartNotOffered));
    assert_eq!(a.signaling_state(), SignalingState::HaveLocalOffer);
    a.set_remote(SdpType::Answer, &answer).unwrap();
}
