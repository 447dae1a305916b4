//! DCEP messages (RFC 8832 §5).
//!
//! ```text
//!  0                   1                   2                   3
//!  0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1
//! +-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
//! |  Message Type |  Channel Type |            Priority           |
//! +-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
//! |                    Reliability Parameter                      |
//! +-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
//! |         Label Length          |       Protocol Length         |
//! +-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
//! |       Label (UTF-8), then Protocol (UTF-8), no padding        |
//! +-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
//! ```
//!
//! Leniency: bytes behind the protocol of an OPEN, or behind the one byte of an ACK, are ignored, as browsers do; a
//! later revision may put something there. Everything else is strict. An unknown channel type parses; it is for the
//! caller to refuse it (RFC 8832 §6), because only the caller can close the channel.

use crate::ChannelType;

/// The message type byte (RFC 8832 §8.2.1).
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct MessageType(pub u8);

impl MessageType {
    /// DATA_CHANNEL_ACK.
    pub const ACK: Self = Self(0x02);
    /// DATA_CHANNEL_OPEN.
    pub const OPEN: Self = Self(0x03);
}

/// A whole DATA_CHANNEL_ACK (RFC 8832 §5.2).
pub const ACK: &[u8] = &[MessageType::ACK.0];

/// Bytes of an OPEN with empty label and protocol.
pub const MIN_OPEN: usize = 12;

/// Most bytes that a label, and a protocol, can have: their length fields are 16 bits wide. Both together and the
/// header make an OPEN of at most 131 082 bytes.
pub const MAX_STRING: usize = u16::MAX as usize;

/// A message with PPID [`crate::ppid::DCEP`], borrowing its strings from the buffer that it was parsed from.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Message<'a> {
    /// DATA_CHANNEL_OPEN.
    Open(Open<'a>),
    /// DATA_CHANNEL_ACK.
    Ack,
}

/// DATA_CHANNEL_OPEN (RFC 8832 §5.1).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Open<'a> {
    /// Ordering and kind of reliability; may be a value that is not registered.
    pub channel_type: ChannelType,
    /// Priority (RFC 8831 §6.4): 128 below normal, 256 normal, 512 high, 1024 extra high.
    pub priority: u16,
    /// Retransmissions or milliseconds, by `channel_type`; see [`ChannelType::reliability`].
    pub reliability: u32,
    /// The channel's name; may be empty.
    pub label: &'a str,
    /// A WebSocket subprotocol name, or empty.
    pub protocol: &'a str,
}

/// Why bytes are not a DCEP message.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ParseError {
    /// No bytes at all.
    #[error("the DCEP message is empty")]
    Empty,
    /// Neither OPEN nor ACK.
    #[error("DCEP message type {} is not known", .0.0)]
    UnknownMessageType(MessageType),
    /// An OPEN shorter than its fixed part.
    #[error("the OPEN has {len} bytes; it needs at least {MIN_OPEN}")]
    Truncated {
        /// Bytes of the message.
        len: usize,
    },
    /// The label and protocol lengths reach beyond the message.
    #[error("the OPEN has {len} bytes; its label and protocol lengths need {needed}")]
    LengthBeyondMessage {
        /// Bytes of the message.
        len: usize,
        /// Bytes that the length fields ask for, the fixed part included.
        needed: usize,
    },
    /// The label is not UTF-8.
    #[error("the label of the OPEN is not UTF-8")]
    LabelNotUtf8,
    /// The protocol is not UTF-8.
    #[error("the protocol of the OPEN is not UTF-8")]
    ProtocolNotUtf8,
}

/// A label or protocol of more than [`MAX_STRING`] bytes can't be written.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
#[error("label and protocol of a data channel can have {MAX_STRING} bytes at most; one has {0}: shorten it")]
pub struct TooLong(pub usize);

/// Reads one DCEP message. Never panics, never allocates; see the module for what is tolerated.
pub fn parse(message: &[u8]) -> Result<Message<'_>, ParseError> {
    let Some(&message_type) = message.first() else { return Err(ParseError::Empty) };
    match MessageType(message_type) {
        MessageType::ACK => Ok(Message::Ack),
        MessageType::OPEN => parse_open(message).map(Message::Open),
        other => Err(ParseError::UnknownMessageType(other)),
    }
}

fn parse_open(message: &[u8]) -> Result<Open<'_>, ParseError> {
    let len = message.len();
    let Some((&[_, channel_type, p0, p1, r0, r1, r2, r3, l0, l1, q0, q1], strings)) =
        message.split_first_chunk::<MIN_OPEN>()
    else {
        return Err(ParseError::Truncated { len });
    };
    let label_length = usize::from(u16::from_be_bytes([l0, l1]));
    let protocol_length = usize::from(u16::from_be_bytes([q0, q1]));
    let beyond = ParseError::LengthBeyondMessage { len, needed: MIN_OPEN + label_length + protocol_length };
    let (label, rest) = strings.split_at_checked(label_length).ok_or(beyond)?;
    let protocol = rest.get(..protocol_length).ok_or(beyond)?;
    Ok(Open {
        channel_type: ChannelType(channel_type),
        priority: u16::from_be_bytes([p0, p1]),
        reliability: u32::from_be_bytes([r0, r1, r2, r3]),
        label: str::from_utf8(label).map_err(|_| ParseError::LabelNotUtf8)?,
        protocol: str::from_utf8(protocol).map_err(|_| ParseError::ProtocolNotUtf8)?,
    })
}

impl Open<'_> {
    /// Bytes that [`Open::write`] appends.
    pub fn wire_len(&self) -> usize {
        MIN_OPEN + self.label.len() + self.protocol.len()
    }

    /// Appends the message to `out`; on an error `out` is as it was.
    pub fn write(&self, out: &mut Vec<u8>) -> Result<(), TooLong> {
        let length = |s: &str| u16::try_from(s.len()).map_err(|_| TooLong(s.len()));
        let (label_length, protocol_length) = (length(self.label)?, length(self.protocol)?);
        out.reserve(self.wire_len());
        out.extend_from_slice(&[MessageType::OPEN.0, self.channel_type.0]);
        out.extend_from_slice(&self.priority.to_be_bytes());
        out.extend_from_slice(&self.reliability.to_be_bytes());
        out.extend_from_slice(&label_length.to_be_bytes());
        out.extend_from_slice(&protocol_length.to_be_bytes());
        out.extend_from_slice(self.label.as_bytes());
        out.extend_from_slice(self.protocol.as_bytes());
        Ok(())
    }

    /// The message in a buffer of its own.
    pub fn to_vec(&self) -> Result<Vec<u8>, TooLong> {
        let mut out = Vec::new();
        self.write(&mut out)?;
        Ok(out)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn hex(s: &str) -> Vec<u8> {
        let digits: Vec<u8> = s.bytes().filter(u8::is_ascii_hexdigit).collect();
        digits.chunks(2).map(|d| u8::from_str_radix(str::from_utf8(d).unwrap(), 16).unwrap()).collect()
    }

    /// OPENs as captured from Chromium 156 and (priority 0) Firefox 153.
    #[test]
    fn opens_of_browsers_parse_and_are_written_back_to_the_byte() {
        let cases = [
            ("0300010000000000000500006669727374", 0x00, 256, 0, "first", ""),
            ("0300000000000000000500006669727374", 0x00, 0, 0, "first", ""),
            ("038001000000000000050000756e6f7264", 0x80, 256, 0, "unord", ""),
            ("0301010000000003000700077265786d69743370726f746f2d78", 0x01, 256, 3, "rexmit3", "proto-x"),
            ("03820100000001f4000800006c69666535303075", 0x82, 256, 500, "life500u", ""),
            ("03000100000000000005000066726f6d42", 0x00, 256, 0, "fromB", ""),
        ];
        for (bytes, channel_type, priority, reliability, label, protocol) in cases {
            let bytes = hex(bytes);
            let channel_type = ChannelType(channel_type);
            let expected = Open { channel_type, priority, reliability, label, protocol };
            assert_eq!(parse(&bytes), Ok(Message::Open(expected)));
            assert_eq!(expected.to_vec().unwrap(), bytes);
            assert_eq!(expected.wire_len(), bytes.len());
        }
        assert_eq!(parse(&hex("02")), Ok(Message::Ack));
        assert_eq!(ACK, hex("02"));
    }

    #[test]
    fn every_cut_of_an_open_is_an_error_that_says_why() {
        let whole = hex("0301010000000003000700077265786d69743370726f746f2d78");
        assert_eq!(parse(&[]), Err(ParseError::Empty));
        for len in 1..whole.len() {
            let expected = if len < MIN_OPEN {
                ParseError::Truncated { len }
            } else {
                ParseError::LengthBeyondMessage { len, needed: whole.len() }
            };
            assert_eq!(parse(&whole[..len]), Err(expected));
        }
    }

    #[test]
    fn largest_lengths_without_bytes_behind_them_are_refused() {
        let lying = hex("03000000 00000000 ffff ffff 61");
        let needed = MIN_OPEN + 2 * MAX_STRING;
        assert_eq!(parse(&lying), Err(ParseError::LengthBeyondMessage { len: 13, needed }));
    }

    #[test]
    fn strings_that_are_not_utf8_are_refused_by_name() {
        assert_eq!(parse(&hex("03000000000000000001 0000 ff")), Err(ParseError::LabelNotUtf8));
        assert_eq!(parse(&hex("03000000000000000000 0001 ff")), Err(ParseError::ProtocolNotUtf8));
        // A character cut in two by the border between label and protocol.
        assert_eq!(parse(&hex("03000000000000000001 0001 c3a9")), Err(ParseError::LabelNotUtf8));
    }

    #[test]
    fn bytes_behind_a_message_are_ignored() {
        assert_eq!(parse(&[2, 9, 9]), Ok(Message::Ack));
        let mut bytes = hex("0300010000000000000500006669727374");
        let whole = bytes.len();
        bytes.extend_from_slice(b"later");
        let Ok(Message::Open(open)) = parse(&bytes) else { panic!("not an OPEN") };
        assert_eq!(open.wire_len(), whole);
        assert_eq!(open.label, "first");
    }

    #[test]
    fn unknown_message_types_are_refused_and_unknown_channel_types_are_carried() {
        for t in (0..=255).filter(|t| ![2, 3].contains(t)) {
            assert_eq!(parse(&[t, 0, 0]), Err(ParseError::UnknownMessageType(MessageType(t))));
        }
        let bytes = hex("037f00000000000000000000");
        let Ok(Message::Open(open)) = parse(&bytes) else { panic!("not an OPEN") };
        assert_eq!(open.channel_type.reliability(open.reliability), None);
    }

    #[test]
    fn a_string_too_long_for_its_length_field_is_refused_and_nothing_is_written() {
        let long = "x".repeat(MAX_STRING + 1);
        let open = Open {
            channel_type: ChannelType::RELIABLE,
            priority: 0,
            reliability: 0,
            label: &long[1..],
            protocol: &long,
        };
        let mut out = vec![1];
        assert_eq!(open.write(&mut out), Err(TooLong(65_536)));
        assert_eq!(out, [1]);
        let fits = Open { protocol: "", ..open };
        assert_eq!(parse(&fits.to_vec().unwrap()), Ok(Message::Open(fits)));
    }

    proptest! {
        #[test]
        fn what_is_written_parses_back(
            t: u8, priority: u16, reliability: u32, label in "\\PC{0,40}", protocol in "\\PC{0,40}",
        ) {
            let channel_type = ChannelType(t);
            let open = Open { channel_type, priority, reliability, label: &label, protocol: &protocol };
            let bytes = open.to_vec().unwrap();
            prop_assert_eq!(parse(&bytes), Ok(Message::Open(open)));
        }

        #[test]
        fn no_bytes_make_the_parser_panic_and_what_parses_is_a_prefix(
            mut bytes in proptest::collection::vec(any::<u8>(), 0..80), open: bool,
        ) {
            if let (true, Some(first)) = (open, bytes.first_mut()) {
                *first = MessageType::OPEN.0;
            }
            if let Ok(Message::Open(open)) = parse(&bytes) {
                prop_assert!(bytes.starts_with(&open.to_vec().unwrap()));
            }
        }
    }
}
