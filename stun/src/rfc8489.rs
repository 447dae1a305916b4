//! The vector of RFC 8489 appendix B.1, as erratum 6268 has it: the printed message lacks PASSWORD-ALGORITHM, and its
//! length and HMAC are of neither form.

use crate::{
    AttributeType, Builder, Class, Message, Method, PasswordAlgorithm, Verdict, long_term_key, userhash,
};

const REQUEST: &str = concat!(
    "000100902112a44278ad3433c6ad72c029da412e001e00204a3cf38fef6992bd",
    "a952c6780417da0f24819415569e60b205c46e41407f1704001500296f624d61",
    "744a6f733241414143662f2f3439396b39353464364f4c33346f4c3946535476",
    "79363473410000000014000b6578616d706c652e6f726700001d000400020000",
    "001c0020b5c7bf005b6c52a21c51c5e892f81924136296cb927c43149309278c",
    "c6518e65",
);
const USERNAME: &str = "\u{30DE}\u{30C8}\u{30EA}\u{30C3}\u{30AF}\u{30B9}";
const NONCE: &str = "obMatJos2AAACf//499k954d6OL34oL9FSTvy64sA";

fn bytes() -> Vec<u8> {
    let hex = REQUEST;
    (0..hex.len()).step_by(2).map(|i| u8::from_str_radix(&hex[i..i + 2], 16).unwrap()).collect()
}

#[test]
fn the_request_is_read_and_its_integrity_is_right() {
    let bytes = bytes();
    let m = Message::parse(&bytes).unwrap();
    assert_eq!((m.class(), m.method()), (Class::Request, Method::BINDING));
    assert_eq!(m.userhash(), Some(userhash(USERNAME, "example.org")));
    assert_eq!(m.realm(), Some("example.org"));
    assert_eq!(m.nonce(), Some(NONCE));
    assert_eq!(m.password_algorithm(), Some(PasswordAlgorithm::SHA256));
    assert_eq!(m.attribute(AttributeType::USERNAME), None);
    let key = long_term_key(USERNAME, "example.org", "TheMatrIX", PasswordAlgorithm::SHA256).unwrap();
    assert!(m.verify_integrity_sha256(&key).is_valid());
    assert!(m.has_integrity_sha256() && !m.has_integrity());
    for (password, algorithm) in
        [("TheMatrIX", PasswordAlgorithm::MD5), ("TheMatrix", PasswordAlgorithm::SHA256)]
    {
        let wrong = long_term_key(USERNAME, "example.org", password, algorithm).unwrap();
        assert_eq!(m.verify_integrity_sha256(&wrong), Verdict::Invalid);
    }
}

#[test]
fn the_builder_makes_the_same_bytes() {
    let bytes = bytes();
    let key = long_term_key(USERNAME, "example.org", "TheMatrIX", PasswordAlgorithm::SHA256).unwrap();
    let mut out = [0; 200];
    let id = Message::parse(&bytes).unwrap().transaction_id();
    let mut b = Builder::new(&mut out, Class::Request, Method::BINDING, id);
    b.userhash(&userhash(USERNAME, "example.org")).nonce(NONCE).realm("example.org");
    b.password_algorithm(PasswordAlgorithm::SHA256).integrity_sha256(&key);
    let len = b.finish().unwrap();
    assert_eq!(out[..len], bytes);
}
