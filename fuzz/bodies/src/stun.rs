//! STUN messages.

use sinnet_stun::{AttributeType, Builder, IntegrityKey, Message};

/// A message, as it is. Every accessor returns whatever is in it, and what is written from it parses to the same.
pub fn stun_message(data: &[u8]) {
    let _ = sinnet_stun::is_stun(data);
    let Ok(message) = Message::parse(data) else { return };
    let _ = (message.username(), message.realm(), message.nonce(), message.software());
    let _ =
        (message.priority(), message.use_candidate(), message.ice_controlling(), message.ice_controlled());
    let _ = (message.xor_mapped_address(), message.mapped_address(), message.error_code());
    let _ = message.unknown_attributes().count();
    let key = IntegrityKey::short_term("VOkJxbRl1RmTxUk/WvJxBt");
    let _ =
        (message.verify_fingerprint(), message.verify_integrity(&key), message.verify_integrity_sha256(&key));

    let mut out = vec![0; data.len() + 64];
    let len = rebuild(&message, &key, &mut out);
    if len == 0 {
        // The seals can make it longer than its 16-bit length can say.
        assert!(data.len() > usize::from(u16::MAX) - 64);
        return;
    }
    let again = Message::parse(&out[..len]).expect("what was written parses");
    assert_eq!((again.class(), again.method()), (message.class(), message.method()));
    assert_eq!(again.transaction_id(), message.transaction_id());
    assert!(again.verify_integrity(&key).is_valid() && again.verify_fingerprint().is_valid());
    let plain = |m: &Message| {
        m.attributes().filter(|a| !is_seal(a.typ)).map(|a| (a.typ, a.value.to_vec())).collect::<Vec<_>>()
    };
    assert_eq!(plain(&again), plain(&message));
}

/// Writes the message anew, with integrity under this key and a fingerprint; gives the length, 0 if it does not fit.
pub(crate) fn rebuild(message: &Message, key: &IntegrityKey, out: &mut [u8]) -> usize {
    let mut builder = Builder::new(out, message.class(), message.method(), message.transaction_id());
    for attribute in message.attributes().filter(|a| !is_seal(a.typ)) {
        builder.attribute(attribute.typ, attribute.value);
    }
    builder.integrity(key).fingerprint();
    builder.finish().unwrap_or(0)
}

/// Attributes that depend on all before them.
fn is_seal(typ: AttributeType) -> bool {
    [AttributeType::MESSAGE_INTEGRITY, AttributeType::MESSAGE_INTEGRITY_SHA256, AttributeType::FINGERPRINT]
        .contains(&typ)
}
