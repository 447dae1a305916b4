//! The vectors of RFC 5769.

use crate::{Builder, Class, IntegrityKey, Message, Method, Verdict};

const REQUEST: &str = concat!(
    "000100582112a442b7e7a701bc34d686fa87dfae802200105354554e20746573",
    "7420636c69656e74002400046e0001ff80290008932ff9b151263b3600060009",
    "6576746a3a68367659202020000800149aeaa70cbfd8cb56781ef2b5b2d3f249",
    "c1b571a280280004e57a3bcf",
);
const RESPONSE_V4: &str = concat!(
    "0101003c2112a442b7e7a701bc34d686fa87dfae8022000b7465737420766563",
    "746f7220002000080001a147e112a643000800142b91f599fd9e90c38c7489f9",
    "2af9ba53f06be7d780280004c07d4c96",
);
const RESPONSE_V6: &str = concat!(
    "010100482112a442b7e7a701bc34d686fa87dfae8022000b7465737420766563",
    "746f7220002000140002a1470113a9faa5d3f179bc25f4b5bed2b9d900080014",
    "a382954e4be67bf11784c97c8292c275bfe3ed4180280004c8fb0b4c",
);
const LONG_TERM: &str = concat!(
    "000100602112a44278ad3433c6ad72c029da412e00060012e3839ee38388e383",
    "aae38383e382afe382b900000015001c662f2f3439396b39353464364f4c3334",
    "6f4c394653547679363473410014000b6578616d706c652e6f72670000080014",
    "f67024656dd64a3e02b8e0712e85c9a28ca89666",
);
const PASSWORD: &str = "VOkJxbRl1RmTxUk/WvJxBt";

fn bytes(hex: &str) -> Vec<u8> {
    (0..hex.len()).step_by(2).map(|i| u8::from_str_radix(&hex[i..i + 2], 16).unwrap()).collect()
}

#[test]
fn section_2_1_the_request() {
    let bytes = bytes(REQUEST);
    let m = Message::parse(&bytes).unwrap();
    assert_eq!((m.class(), m.method()), (Class::Request, Method::BINDING));
    assert_eq!(m.software(), Some("STUN test client"));
    assert_eq!(m.priority(), Some(0x6e00_01ff));
    assert_eq!(m.ice_controlled(), Some(0x932f_f9b1_5126_3b36));
    assert_eq!(m.username(), Some("evtj:h6vY"));
    assert!(m.verify_fingerprint().is_valid());
    assert!(m.verify_integrity(&IntegrityKey::short_term(PASSWORD)).is_valid());
    assert_eq!(m.verify_integrity(&IntegrityKey::short_term("other")), Verdict::Invalid);
    assert_eq!(m.verify_integrity_sha256(&IntegrityKey::short_term(PASSWORD)), Verdict::Absent);
}

#[test]
fn section_2_2_the_ipv4_response() {
    let bytes = bytes(RESPONSE_V4);
    let m = Message::parse(&bytes).unwrap();
    assert_eq!(m.class(), Class::SuccessResponse);
    assert_eq!(m.software(), Some("test vector"));
    assert_eq!(m.xor_mapped_address(), Some("192.0.2.1:32853".parse().unwrap()));
    assert!(m.verify_fingerprint().is_valid());
    assert!(m.verify_integrity(&IntegrityKey::short_term(PASSWORD)).is_valid());
}

#[test]
fn section_2_3_the_ipv6_response() {
    let bytes = bytes(RESPONSE_V6);
    let m = Message::parse(&bytes).unwrap();
    assert_eq!(m.xor_mapped_address(), Some("[2001:db8:1234:5678:11:2233:4455:6677]:32853".parse().unwrap()));
    assert!(m.verify_fingerprint().is_valid());
    assert!(m.verify_integrity(&IntegrityKey::short_term(PASSWORD)).is_valid());
}

#[test]
fn section_2_4_the_long_term_request() {
    let bytes = bytes(LONG_TERM);
    let m = Message::parse(&bytes).unwrap();
    assert_eq!(m.username(), Some("\u{30DE}\u{30C8}\u{30EA}\u{30C3}\u{30AF}\u{30B9}"));
    assert_eq!(m.realm(), Some("example.org"));
    assert_eq!(m.nonce(), Some("f//499k954d6OL34oL9FSTvy64sA"));
    assert_eq!(m.verify_fingerprint(), Verdict::Absent);
    // MD5 of "マトリックス:example.org:TheMatrIX", computed elsewhere.
    let key = IntegrityKey::from_bytes(&self::bytes("e8ca7ad59d5eb0518e312911d2dab2a9"));
    assert!(m.verify_integrity(&key).is_valid());
}

#[test]
fn the_builder_makes_the_same_response() {
    let expected = bytes(RESPONSE_V4);
    let id = Message::parse(&expected).unwrap().transaction_id();
    let key = IntegrityKey::short_term(PASSWORD);
    let mut out = [0; 128];
    let mut b = Builder::new(&mut out, Class::SuccessResponse, Method::BINDING, id);
    // The vector pads with a space where the builder writes zero, so it is given as part of the value.
    b.attribute(crate::AttributeType::SOFTWARE, b"test vector ");
    b.xor_mapped_address("192.0.2.1:32853".parse().unwrap()).integrity(&key).fingerprint();
    let len = b.finish().unwrap();
    assert_eq!(len, expected.len());
    assert_eq!(out[24..48], expected[24..48], "software text, then XOR-MAPPED-ADDRESS");
    assert_eq!(
        Message::parse(&out[..len]).unwrap().xor_mapped_address(),
        Some("192.0.2.1:32853".parse().unwrap())
    );
}
