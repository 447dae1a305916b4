//! A connectivity check's Binding request beside webrtc-rs' `stun` crate: written with MESSAGE-INTEGRITY and FINGERPRINT, and
//! read with both checked.
//!
//! Both write the same bytes: USERNAME, PRIORITY, ICE-CONTROLLING, the two checks. The `stun` crate gets one message that is
//! used again and again, and no boxes around its setters, which is faster than its `build`.

use std::hint::black_box;

use sinnet_stun::{Builder, Class, IntegrityKey, Message, Method, TransactionId};
use stun::attributes::{ATTR_ICE_CONTROLLING, ATTR_PRIORITY, ATTR_USERNAME};
use stun::fingerprint::FINGERPRINT;
use stun::integrity::MessageIntegrity;
use stun::message::{BINDING_REQUEST, Message as Theirs, Setter};

use crate::contest::contest;

/// Messages of one turn.
const MESSAGES: u32 = 100_000;

const USERNAME: &str = "EsAw:evtj";
const PASSWORD: &str = "VOkJxbRl1RmTxUk/WvJxBt";
const PRIORITY: u32 = 0x6e00_01ff;
const TIE_BREAKER: u64 = 0x932f_f9b1_5126_3b36;
const ID: [u8; 12] = [7; 12];

/// Both tables.
pub fn run() {
    let key = IntegrityKey::short_term(PASSWORD);
    let mut out = [0; 128];
    let len = encode(&key, &mut out);
    let bytes = out[..len].to_vec();
    let their_key = MessageIntegrity::new_short_term_integrity(PASSWORD.to_owned());
    let mut theirs = Theirs::new();
    encode_theirs(&their_key, &mut theirs);
    assert_eq!(theirs.raw, bytes, "the two do the same");

    contest(
        "Binding request with USERNAME, PRIORITY, ICE-CONTROLLING, integrity and fingerprint: write",
        MESSAGES,
        vec![
            ("stun (webrtc-rs)", Box::new(|n| (0..n).for_each(|_| encode_theirs(&their_key, &mut theirs)))),
            ("sinnet-stun", Box::new(|n| (0..n).for_each(|_| _ = black_box(encode(&key, &mut out))))),
        ],
    );
    let mut received = Theirs::new();
    contest(
        "the same: read and check both",
        MESSAGES,
        vec![
            (
                "stun (webrtc-rs)",
                Box::new(|n| (0..n).for_each(|_| decode_theirs(&their_key, &mut received, &bytes))),
            ),
            ("sinnet-stun", Box::new(|n| (0..n).for_each(|_| decode(&key, black_box(&bytes))))),
        ],
    );
}

fn encode(key: &IntegrityKey, out: &mut [u8]) -> usize {
    let mut builder = Builder::new(out, Class::Request, Method::BINDING, TransactionId(ID));
    builder.username(USERNAME).priority(PRIORITY).ice_controlling(TIE_BREAKER);
    builder.integrity(key).fingerprint();
    builder.finish().expect("room")
}

fn decode(key: &IntegrityKey, bytes: &[u8]) {
    let message = Message::parse(bytes).expect("a message");
    assert!(message.verify_fingerprint().is_valid() && message.verify_integrity(key).is_valid());
    black_box((message.username(), message.priority(), message.ice_controlling()));
}

fn encode_theirs(key: &MessageIntegrity, message: &mut Theirs) {
    message.reset();
    message.transaction_id.0 = ID;
    message.set_type(BINDING_REQUEST);
    message.write_header();
    message.add(ATTR_USERNAME, USERNAME.as_bytes());
    message.add(ATTR_PRIORITY, &PRIORITY.to_be_bytes());
    message.add(ATTR_ICE_CONTROLLING, &TIE_BREAKER.to_be_bytes());
    key.add_to(message).expect("integrity");
    FINGERPRINT.add_to(message).expect("a fingerprint");
}

fn decode_theirs(key: &MessageIntegrity, message: &mut Theirs, bytes: &[u8]) {
    message.write(bytes).expect("a message");
    FINGERPRINT.check(message).expect("the fingerprint");
    key.check(message).expect("the integrity");
    black_box(
        (message.get(ATTR_USERNAME), message.get(ATTR_PRIORITY), message.get(ATTR_ICE_CONTROLLING)).0.is_ok(),
    );
}
