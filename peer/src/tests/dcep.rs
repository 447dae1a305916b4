//! An SCTP peer that says what it likes: DCEP, PPIDs and messages that no data channel of ours would send. What becomes
//! of each is listed in `docs/data-channels.md`.

use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use sinnet_dcep::{ACK, ChannelType, Open, ppid};
use sinnet_sctp::{Association, Event as SctpEvent, Ppid, SendOptions, StreamId};

use super::{base, negotiated};
use crate::{
    ChannelKey, ChannelOptions, ChannelState, CloseReason, Config, Event, LABEL_BYTES, Message, ORPHAN_BYTES,
    OpenError, Peer,
};

/// A peer of ours, which is the DTLS server and so opens odd streams, and a bare association on the other side. Packets
/// go from one to the other without ICE and DTLS.
pub(super) struct Hostile {
    pub(super) a: Peer,
    pub(super) z: Association,
    pub(super) now: Instant,
    /// What `a` said.
    pub(super) events: Vec<Event>,
    /// Streams that `a` has reset, once each time.
    resets: Vec<u16>,
}

impl Hostile {
    pub(super) fn new() -> Self {
        Self::with(|_| {})
    }

    fn with(tune: impl Fn(&mut Config)) -> Self {
        let now = base();
        Self::between(now, negotiated(now, tune).0)
    }

    /// One whose `a` begins with so few streams.
    pub(super) fn with_streams(outbound: u16) -> Self {
        let now = base();
        let (mut a, _) = negotiated(now, |_| {});
        let mut config = sinnet_sctp::Config::default();
        (config.local_port, config.remote_port, config.outbound_streams) = (5000, 5000, outbound);
        a.transport.as_mut().unwrap().sctp = Association::new(Arc::new(config), now, [8; 32]);
        Self::between(now, a)
    }

    fn between(now: Instant, mut a: Peer) -> Self {
        let mut config = sinnet_sctp::Config::default();
        (config.local_port, config.remote_port) = (5000, 5000);
        let mut z = Association::new(Arc::new(config), now, [9; 32]);
        a.transport.as_mut().unwrap().sctp.connect(now);
        z.connect(now);
        let mut pair = Self { a, z, now, events: Vec::new(), resets: Vec::new() };
        pair.settle();
        assert!(pair.z.is_established());
        pair
    }

    /// Carries packets until there are none.
    fn pump(&mut self) {
        let mut packet = [0; 2000];
        for _ in 0..100_000 {
            let mut quiet = true;
            while let Some(size) =
                self.a.transport.as_mut().unwrap().sctp.poll_transmit(self.now, &mut packet)
            {
                self.z.handle_input(self.now, &packet[..size]);
                quiet = false;
            }
            while let Some(event) = self.z.poll_event() {
                if let SctpEvent::StreamsResetByPeer(streams) = event {
                    for stream in streams {
                        self.resets.push(stream.0);
                        // That much it obeys: a channel is closed when both directions are.
                        let _ = self.z.reset_stream(self.now, stream);
                    }
                }
            }
            while let Some(size) = self.z.poll_transmit(self.now, &mut packet) {
                self.a.transport.as_mut().unwrap().sctp.handle_input(self.now, &packet[..size]);
                quiet = false;
            }
            self.a.now = self.now;
            self.events.extend(std::iter::from_fn(|| self.a.poll_event()));
            if quiet {
                return;
            }
        }
        panic!("the two never end");
    }

    /// Lets two seconds pass: all that is delayed or repeated has come.
    pub(super) fn settle(&mut self) {
        for _ in 0..40 {
            self.pump();
            self.now += Duration::from_millis(50);
            let sctp = &mut self.a.transport.as_mut().unwrap().sctp;
            sctp.handle_timeout(self.now);
            self.z.handle_timeout(self.now);
        }
        self.pump();
    }

    fn say(&mut self, stream: u16, ppid: u32, payload: impl Into<Bytes>) {
        self.z
            .send(self.now, StreamId(stream), Ppid(ppid), payload.into(), SendOptions::default())
            .expect("SCTP takes it");
    }

    /// What has come on a stream of z's, by PPID.
    pub(super) fn heard(&mut self, stream: u16) -> Vec<(u32, Bytes)> {
        std::iter::from_fn(|| self.z.recv(StreamId(stream))).map(|m| (m.ppid.0, m.payload)).collect()
    }

    fn opened(&mut self) -> Vec<ChannelKey> {
        let opened = self.events.iter().filter_map(|event| match event {
            Event::ChannelOpened(key) => Some(*key),
            _ => None,
        });
        let opened = opened.collect();
        self.events.retain(|event| !matches!(event, Event::ChannelOpened(_)));
        opened
    }

    /// A channel that z opens as it should, and which must go on whatever happens to others.
    pub(super) fn witness(&mut self) -> ChannelKey {
        self.say(1000, ppid::DCEP, open("witness"));
        self.settle();
        assert_eq!(self.heard(1000), [(ppid::DCEP, Bytes::from_static(ACK))]);
        let opened = self.opened();
        assert_eq!(opened.len(), 1);
        opened[0]
    }

    pub(super) fn is_well(&mut self, witness: ChannelKey) {
        self.say(1000, ppid::STRING, "still here");
        self.settle();
        assert_eq!(self.a.recv(witness), Some("still here".into()));
        self.a.try_send(self.now, witness, "and here".into()).expect("an open channel");
        self.settle();
        assert_eq!(self.heard(1000), [(ppid::STRING, Bytes::from_static(b"and here"))]);
        assert_eq!(self.a.recv(witness), None);
    }
}

fn open_of(channel_type: ChannelType, label: &str, protocol: &str) -> Vec<u8> {
    Open { channel_type, priority: 256, reliability: 0, label, protocol }.to_vec().expect("it fits")
}

fn open(label: &str) -> Vec<u8> {
    open_of(ChannelType::RELIABLE, label, "")
}

#[test]
fn what_is_no_dcep_message_resets_its_stream_and_opens_nothing() {
    let with_label = open("abc");
    let mut label_beyond = with_label.clone();
    label_beyond[9] = 4;
    let mut protocol_beyond = with_label.clone();
    (protocol_beyond[10], protocol_beyond[11]) = (0xff, 0xff);
    let mut label_not_utf8 = with_label.clone();
    label_not_utf8[12] = 0xff;
    let mut protocol_not_utf8 = open_of(ChannelType::RELIABLE, "", "abc");
    protocol_not_utf8[14] = 0xc0;
    let mut pair = Hostile::new();
    let witness = pair.witness();
    let bad: [(&str, Vec<u8>); 11] = [
        ("an unknown message type", vec![0x04]),
        ("a message type of an old draft", vec![0x00, 0, 0, 0]),
        ("the last message type", vec![0xff]),
        ("an OPEN of one byte", vec![0x03]),
        ("an OPEN without its last byte", open("")[..11].to_vec()),
        ("a label that ends behind the message", label_beyond),
        ("a protocol that ends behind the message", protocol_beyond),
        ("a label that is not UTF-8", label_not_utf8),
        ("a protocol that is not UTF-8", protocol_not_utf8),
        ("an unknown channel type", open_of(ChannelType(0x03), "x", "")),
        ("another, unordered", open_of(ChannelType(0xff), "x", "")),
    ];
    for (i, (what, message)) in bad.into_iter().enumerate() {
        let (stream, before) = (2 * i as u16, pair.a.stats().dcep_errors);
        pair.say(stream, ppid::DCEP, message);
        pair.settle();
        assert_eq!(pair.opened(), [], "{what}");
        assert_eq!(pair.heard(stream), [], "{what} is not acknowledged");
        assert_eq!(std::mem::take(&mut pair.resets), [stream], "{what}");
        assert_eq!(pair.a.stats().dcep_errors, before + 1, "{what}");
        // The stream is as good as new.
        pair.say(stream, ppid::DCEP, open("better"));
        pair.settle();
        assert_eq!(pair.opened().len(), 1, "behind {what}");
    }
    pair.is_well(witness);
}

#[test]
fn bytes_behind_an_open_or_an_ack_are_ignored() {
    let mut pair = Hostile::new();
    let mut longer = open("label");
    longer.extend_from_slice(b"for a later revision");
    pair.say(0, ppid::DCEP, longer);
    pair.settle();
    let opened = pair.opened();
    assert_eq!(pair.a.channel_options(opened[0]).unwrap().label, "label");
    let ours = pair.a.open_channel(pair.now, ChannelOptions::default()).unwrap();
    pair.settle();
    pair.say(1, ppid::DCEP, [ACK, b"more"].concat());
    pair.settle();
    assert!(!pair.a.channels.get(ours).unwrap().awaiting_ack);
    assert_eq!(pair.a.stats().dcep_errors, 0);
}

#[test]
fn an_open_of_the_wrong_parity_or_on_the_reserved_id_resets_its_stream() {
    let mut pair = Hostile::new();
    let witness = pair.witness();
    // Odd streams are ours. 65535 can't be used in SCTP either, and is not to be had (RFC 8832 §6).
    for stream in [1, 7, 65_533] {
        pair.say(stream, ppid::DCEP, open("mine"));
        pair.settle();
        assert_eq!(pair.opened(), []);
        assert_eq!(std::mem::take(&mut pair.resets), [stream]);
    }
    assert_eq!(pair.a.stats().dcep_errors, 3);
    let past =
        pair.z.send(pair.now, StreamId(65_535), Ppid(ppid::DCEP), open("").into(), SendOptions::default());
    assert!(past.is_err());
    // The ids are not lost to us.
    let ours = pair.a.open_channel(pair.now, ChannelOptions::default()).unwrap();
    assert_eq!(pair.a.channel_id(ours), Some(1));
    pair.settle();
    assert_eq!(pair.a.channel_state(ours), ChannelState::Open);
    pair.is_well(witness);
}

#[test]
fn an_open_on_a_used_id_closes_the_channel_that_has_it() {
    let mut pair = Hostile::new();
    let witness = pair.witness();
    // Theirs, ours by DCEP, and one that both sides agree on.
    pair.say(4, ppid::DCEP, open("first"));
    let ours = pair.a.open_channel(pair.now, ChannelOptions::default()).unwrap();
    let options = ChannelOptions { negotiated: Some(6), ..ChannelOptions::default() };
    let agreed = pair.a.open_channel(pair.now, options).unwrap();
    pair.settle();
    let theirs = pair.opened()[0];
    pair.say(4, ppid::STRING, "before");
    let mut read = Vec::new();
    for (key, stream) in [(theirs, 4), (ours, 1), (agreed, 6)] {
        pair.say(stream, ppid::DCEP, open("second"));
        pair.settle();
        // It waits its turn behind what is unread.
        read.extend(std::iter::from_fn(|| pair.a.recv(key)));
        pair.settle();
        assert_eq!(pair.opened(), []);
        assert_eq!(pair.a.channel_state(key), ChannelState::Closed);
        assert_eq!(std::mem::take(&mut pair.resets), [stream]);
    }
    assert_eq!(read, ["before".into()], "what came before it is not lost");
    assert_eq!(pair.a.stats().dcep_errors, 3);
    let closed = |key| {
        let closed = |event: &&Event| matches!(event, Event::ChannelState(which, ChannelState::Closed) if *which == key);
        pair.events.iter().filter(closed).count()
    };
    assert_eq!([theirs, ours, agreed].map(closed), [1, 1, 1], "closed once each");
    pair.is_well(witness);
}

#[test]
fn an_ack_that_nobody_waits_for_is_ignored() {
    let mut pair = Hostile::new();
    let witness = pair.witness();
    let ours = pair.a.open_channel(pair.now, ChannelOptions::default()).unwrap();
    pair.settle();
    pair.say(1, ppid::DCEP, ACK);
    // Again; on a channel of theirs; on a stream without a channel.
    for (stream, errors) in [(1, 1), (1000, 2), (8, 3), (9, 4)] {
        pair.say(stream, ppid::DCEP, ACK);
        pair.settle();
        assert_eq!(pair.a.stats().dcep_errors, errors);
    }
    assert_eq!(pair.a.channel_state(ours), ChannelState::Open);
    assert_eq!((pair.opened(), pair.resets.clone()), (vec![], vec![]));
    pair.is_well(witness);
}

#[test]
fn a_channel_whose_ack_never_comes_works_and_stays_ordered() {
    let mut pair = Hostile::new();
    let options = ChannelOptions { ordered: false, ..ChannelOptions::default() };
    let ours = pair.a.open_channel(pair.now, options).unwrap();
    pair.settle();
    for i in 0..100 {
        pair.a.try_send(pair.now, ours, Message::from(i.to_string())).unwrap();
        pair.settle();
    }
    assert_eq!(pair.a.channel_state(ours), ChannelState::Open, "after minutes");
    let heard = pair.heard(1);
    assert_eq!(heard[0].0, ppid::DCEP);
    let expected: Vec<_> = (0..100).map(|i| (ppid::STRING, Bytes::from(i.to_string()))).collect();
    assert_eq!(heard[1..], expected);
    pair.say(1, ppid::STRING, "no ACK, but data");
    pair.settle();
    assert_eq!(pair.a.recv(ours), Some("no ACK, but data".into()));
    pair.a.close_channel(pair.now, ours);
    pair.settle();
    assert_eq!(pair.a.channel_state(ours), ChannelState::Closed);
}

#[test]
fn a_flood_of_opens_takes_as_many_channels_as_are_allowed_and_the_rest_is_reset() {
    let mut pair = Hostile::with(|config| config.max_channels = 50);
    let witness = pair.witness();
    for stream in (0..4000).step_by(2).filter(|stream| *stream != 1000) {
        pair.say(stream, ppid::DCEP, open("flood"));
        if stream % 200 == 0 {
            pair.pump();
        }
    }
    pair.settle();
    let opened = pair.opened();
    assert_eq!(opened.len(), 49);
    assert_eq!(pair.resets.len(), 1999 - 49, "the others are closed");
    assert_eq!(pair.a.stats().dcep_errors, 1999 - 49);
    assert_eq!(
        pair.a.open_channel(pair.now, ChannelOptions::default()),
        Err(OpenError::TooMany(50)),
        "the limit is for both"
    );
    // Their room is free again when they are gone.
    for key in opened {
        pair.a.release_channel(pair.now, key);
    }
    pair.settle();
    pair.say(0, ppid::DCEP, open("again"));
    pair.settle();
    assert_eq!(pair.opened().len(), 1);
    pair.is_well(witness);
}

#[test]
fn a_label_and_a_protocol_of_65535_bytes_are_taken_and_their_sum_is_limited() {
    let mut pair = Hostile::new();
    let witness = pair.witness();
    let long = "é".repeat(32_767) + "x";
    let each = 2 * 65_535;
    let fit = (LABEL_BYTES - "witness".len()) / each;
    for i in 0..fit as u16 + 3 {
        pair.say(2 * i, ppid::DCEP, open_of(ChannelType::RELIABLE, &long, &long));
        pair.settle();
    }
    let opened = pair.opened();
    assert_eq!(opened.len(), fit);
    assert_eq!(pair.resets.len(), 3);
    for key in opened {
        let options = pair.a.channel_options(key).unwrap();
        assert!(options.label == long && options.protocol == long);
    }
    let too_long = ChannelOptions { label: "x".repeat(65_536), ..ChannelOptions::default() };
    assert_eq!(pair.a.open_channel(pair.now, too_long), Err(OpenError::TextTooLong));
    pair.is_well(witness);
}

#[test]
fn nul_and_line_breaks_in_labels_are_letters_like_others() {
    let mut pair = Hostile::new();
    let label = "a\0b\r\na=dcmap:9 label=\"x\"";
    pair.say(0, ppid::DCEP, open(label));
    pair.settle();
    let theirs = pair.opened()[0];
    assert_eq!(pair.a.channel_options(theirs).unwrap().label, label);
    let offer = pair.a.create_offer().unwrap();
    assert!(!offer.contains("dcmap"), "what DCEP opens is not in descriptions");
}

#[test]
fn messages_of_unknown_ppids_are_dropped_and_counted_one_by_one() {
    let mut pair = Hostile::new();
    let witness = pair.witness();
    for (i, unknown) in [0, 1, 49, 55, 58, 0x33_00_00_00, u32::MAX].into_iter().enumerate() {
        pair.say(1000, ppid::STRING, "x");
        pair.say(1000, unknown, "is this a message?");
        pair.say(1000, ppid::BINARY, "y");
        // And where no channel is.
        pair.say(20, unknown, "nor this");
        pair.settle();
        assert_eq!(pair.a.recv(witness), Some("x".into()));
        assert_eq!(pair.a.recv(witness), Some(Message::Binary(Bytes::from_static(b"y"))));
        assert_eq!(pair.a.recv(witness), None);
        assert_eq!(pair.a.stats().dropped_unknown_ppid, 2 * (i as u64 + 1), "{unknown}");
    }
    // Deprecated since 2014 (RFC 8831 §8): taken as what they are, whole messages.
    pair.say(1000, ppid::STRING_PARTIAL, "old");
    pair.say(1000, ppid::BINARY_PARTIAL, "older");
    pair.settle();
    assert_eq!(pair.a.recv(witness), Some("old".into()));
    assert_eq!(pair.a.recv(witness), Some(Message::Binary(Bytes::from_static(b"older"))));
    pair.is_well(witness);
}

#[test]
fn empty_messages_are_empty_whatever_bytes_they_are_made_of_and_no_bytes_at_all_are_the_end() {
    let mut pair = Hostile::new();
    let witness = pair.witness();
    for bytes in [&[0][..], &[7], &[0, 0], b"two", &[0xff; 2000]] {
        pair.say(1000, ppid::STRING_EMPTY, bytes.to_vec());
        pair.say(1000, ppid::BINARY_EMPTY, bytes.to_vec());
        pair.settle();
        assert_eq!(pair.a.recv(witness), Some("".into()), "{bytes:?}");
        assert_eq!(pair.a.recv(witness), Some(Message::Binary(Bytes::new())), "{bytes:?}");
    }
    // What is not empty is not, though it is of the same byte.
    pair.say(1000, ppid::STRING, &b"\0"[..]);
    pair.settle();
    assert_eq!(pair.a.recv(witness), Some("\0".into()));
    pair.is_well(witness);
    // SCTP itself has no messages without a byte (RFC 9260 §6.2): our sender can't make one, and a DATA chunk without any
    // ends the association (`sctp/src/tests/hostile.rs`).
    let nothing =
        pair.z.send(pair.now, StreamId(1000), Ppid(ppid::BINARY), Bytes::new(), SendOptions::default());
    assert!(nothing.is_err());
}

#[test]
fn text_that_is_not_utf_8_is_delivered_as_bytes_and_counted() {
    let mut pair = Hostile::new();
    let witness = pair.witness();
    // Not a letter; cut in the middle of one; a surrogate; longer than it need be.
    let bad: [&[u8]; 4] = [b"a\xff", b"\xe2\x98", b"\xed\xa0\x80", b"\xc0\xaf"];
    for (i, text) in bad.into_iter().enumerate() {
        pair.say(1000, ppid::STRING, text.to_vec());
        pair.settle();
        assert_eq!(pair.a.recv(witness), Some(Message::Binary(Bytes::from_static(text))));
        assert_eq!(pair.a.stats().invalid_text, i as u64 + 1);
    }
    pair.is_well(witness);
}

#[test]
fn messages_for_no_channel_are_kept_up_to_a_limit_and_go_with_a_reset() {
    let mut pair = Hostile::new();
    let witness = pair.witness();
    for i in 0..100u8 {
        pair.say(20, ppid::BINARY, vec![i; 4000]);
        pair.settle();
    }
    let kept = 100 - pair.a.stats().dropped_orphans;
    assert!(kept * 4000 <= ORPHAN_BYTES as u64 && kept > 10, "{kept} are kept");
    let options = ChannelOptions { negotiated: Some(20), ..ChannelOptions::default() };
    let agreed = pair.a.open_channel(pair.now, options).unwrap();
    for i in 0..kept {
        assert_eq!(pair.a.recv(agreed), Some(Message::Binary(Bytes::from(vec![i as u8; 4000]))));
    }
    assert_eq!(pair.a.recv(agreed), None);
    // The same on another stream, which is reset before anybody opens a channel there.
    pair.say(22, ppid::BINARY, vec![1; 4000]);
    pair.settle();
    pair.z.reset_stream(pair.now, StreamId(22)).unwrap();
    pair.settle();
    let options = ChannelOptions { negotiated: Some(22), ..ChannelOptions::default() };
    let later = pair.a.open_channel(pair.now, options).unwrap();
    pair.settle();
    assert_eq!((pair.a.channel_state(later), pair.a.recv(later)), (ChannelState::Open, None));
    pair.is_well(witness);
}

#[test]
fn a_message_larger_than_was_announced_ends_the_connection_with_a_reason() {
    let mut pair = Hostile::with(|config| config.max_message_size = 10_000);
    let witness = pair.witness();
    pair.say(1000, ppid::BINARY, vec![1; 10_000]);
    pair.settle();
    assert_eq!(pair.a.recv(witness).map(|message| message.len()), Some(10_000), "just so");
    pair.say(1000, ppid::BINARY, vec![1; 10_001]);
    pair.settle();
    assert_eq!(pair.a.recv(witness), None);
    let last = pair.events.last();
    assert!(matches!(last, Some(Event::Closed(CloseReason::Sctp(_)))), "{last:?}");
}
