//! Application messages and the payload protocol identifiers that carry them (RFC 8831 §6.6, §8).

use bytes::Bytes;
use sinnet_dcep::ppid;
use sinnet_sctp::Ppid;

/// One message of a data channel.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Message {
    /// UTF-8 text: a `string` in a browser.
    Text(String),
    /// Bytes: an `ArrayBuffer` or `Blob` in a browser.
    Binary(Bytes),
}

impl Message {
    /// Payload length in bytes.
    pub fn len(&self) -> usize {
        match self {
            Message::Text(text) => text.len(),
            Message::Binary(bytes) => bytes.len(),
        }
    }

    /// Whether the message has no bytes. Empty messages are messages: they arrive as such.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The payload, whichever type it is.
    pub fn as_bytes(&self) -> &[u8] {
        match self {
            Message::Text(text) => text.as_bytes(),
            Message::Binary(bytes) => bytes,
        }
    }

    /// What goes to SCTP. An empty message is one zero byte under its own PPID, because SCTP has no empty user
    /// messages (RFC 8831 §6.6).
    pub(crate) fn into_wire(self) -> (Ppid, Bytes) {
        const ZERO: Bytes = Bytes::from_static(&[0]);
        match self {
            Message::Text(text) if text.is_empty() => (Ppid(ppid::STRING_EMPTY), ZERO),
            Message::Text(text) => (Ppid(ppid::STRING), Bytes::from(text.into_bytes())),
            Message::Binary(bytes) if bytes.is_empty() => (Ppid(ppid::BINARY_EMPTY), ZERO),
            Message::Binary(bytes) => (Ppid(ppid::BINARY), bytes),
        }
    }

    /// What a PPID and its payload mean. `None` for identifiers that are not a data channel's.
    ///
    /// The deprecated partial identifiers 52 and 54 are taken as whole messages (nobody was ever seen to send them).
    /// What the empty identifiers carry is ignored, whatever its length. Text that is not UTF-8 is delivered as
    /// [`Message::Binary`], so that nothing is lost, and `invalid` tells.
    pub(crate) fn from_wire(ppid: Ppid, payload: Bytes) -> Option<(Self, bool)> {
        match ppid.0 {
            ppid::STRING | ppid::STRING_PARTIAL => Some(match String::from_utf8(Vec::from(payload)) {
                Ok(text) => (Message::Text(text), false),
                Err(error) => (Message::Binary(Bytes::from(error.into_bytes())), true),
            }),
            ppid::BINARY | ppid::BINARY_PARTIAL => Some((Message::Binary(payload), false)),
            ppid::STRING_EMPTY => Some((Message::Text(String::new()), false)),
            ppid::BINARY_EMPTY => Some((Message::Binary(Bytes::new()), false)),
            _ => None,
        }
    }
}

impl From<&str> for Message {
    fn from(text: &str) -> Self {
        Message::Text(text.to_owned())
    }
}

impl From<String> for Message {
    fn from(text: String) -> Self {
        Message::Text(text)
    }
}

impl From<Bytes> for Message {
    fn from(bytes: Bytes) -> Self {
        Message::Binary(bytes)
    }
}

impl From<Vec<u8>> for Message {
    fn from(bytes: Vec<u8>) -> Self {
        Message::Binary(bytes.into())
    }
}

impl From<&'static [u8]> for Message {
    fn from(bytes: &'static [u8]) -> Self {
        Message::Binary(Bytes::from_static(bytes))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn round_trip(message: Message) {
        let (ppid, payload) = message.clone().into_wire();
        assert!(!payload.is_empty(), "SCTP has no empty user messages");
        assert_eq!(Message::from_wire(ppid, payload), Some((message, false)));
    }

    #[test]
    fn text_binary_and_their_empty_forms_round_trip() {
        round_trip("héllo".into());
        round_trip("".into());
        round_trip(vec![0u8, 1, 2].into());
        round_trip(Vec::new().into());
    }

    #[test]
    fn an_empty_message_is_empty_whatever_bytes_carry_it() {
        for len in 0..3 {
            let payload = Bytes::from(vec![7u8; len]);
            let text = Message::from_wire(Ppid(ppid::STRING_EMPTY), payload.clone());
            assert_eq!(text, Some((Message::Text(String::new()), false)));
            let binary = Message::from_wire(Ppid(ppid::BINARY_EMPTY), payload);
            assert_eq!(binary, Some((Message::Binary(Bytes::new()), false)));
        }
    }

    #[test]
    fn text_that_is_not_utf8_is_delivered_as_binary_and_told() {
        let payload = Bytes::from_static(&[b'a', 0xff]);
        let got = Message::from_wire(Ppid(ppid::STRING), payload.clone());
        assert_eq!(got, Some((Message::Binary(payload), true)));
    }

    #[test]
    fn foreign_identifiers_are_no_messages() {
        for foreign in [0, 1, ppid::DCEP, 55, u32::MAX] {
            assert_eq!(Message::from_wire(Ppid(foreign), Bytes::from_static(b"x")), None);
        }
    }
}
