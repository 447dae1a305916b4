//! The signalling messages of one peer connection: JSON objects, one a line or one a WebSocket text message.
//!
//! ```json
//! {"type":"offer","sdp":"v=0…"}
//! {"type":"answer","sdp":"v=0…"}
//! {"type":"candidate","candidate":"candidate:…","sdpMid":"0","sdpMLineIndex":0}
//! {"type":"end-of-candidates"}
//! ```
//!
//! The first two are W3C's `RTCSessionDescriptionInit`, the third is `RTCIceCandidateInit` with a `type`. Members that
//! are not known are ignored, so a browser's own `toJSON()` will do.

use serde::{Deserialize, Serialize};

/// Largest message in bytes, as a line or as a WebSocket message.
pub const MAX_MESSAGE: usize = 256 * 1024;

/// Largest WebSocket frame in bytes. A message above it has to come in several.
pub const MAX_FRAME: usize = 64 * 1024;

/// One signalling message.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "kebab-case")]
#[non_exhaustive]
pub enum Signal {
    /// An SDP offer.
    Offer {
        /// The description.
        sdp: String,
    },
    /// An SDP answer.
    Answer {
        /// The description.
        sdp: String,
    },
    /// An ICE candidate of the sender.
    #[serde(rename_all = "camelCase")]
    Candidate {
        /// `candidate:…` (RFC 8839 §5.1). Empty means the end of candidates, as browsers have it.
        candidate: String,
        /// The m-line's `a=mid`.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        sdp_mid: Option<String>,
        /// The m-line's index.
        #[serde(default, rename = "sdpMLineIndex", skip_serializing_if = "Option::is_none")]
        sdp_m_line_index: Option<u16>,
    },
    /// The sender has no more candidates (RFC 8838 §13).
    EndOfCandidates,
}

/// A text is not a signalling message.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ParseError {
    /// It is longer than [`MAX_MESSAGE`].
    #[error("the message has {0} bytes; {MAX_MESSAGE} are allowed")]
    TooLong(usize),
    /// It is a JSON object of a type that is not known here. Skip it: newer peers may say more.
    #[error("{0:?} is no message type; known are offer, answer, candidate and end-of-candidates")]
    UnknownType(String),
    /// It is not what the module's documentation shows.
    #[error("not a signalling message: {0}")]
    Malformed(#[from] serde_json::Error),
}

impl Signal {
    /// Reads a message.
    ///
    /// # Errors
    ///
    /// [`ParseError`]; [`ParseError::UnknownType`] is worth skipping, the others are the sender's mistake.
    pub fn parse(text: &str) -> Result<Self, ParseError> {
        #[derive(Deserialize)]
        struct Tag {
            r#type: String,
        }
        if text.len() > MAX_MESSAGE {
            return Err(ParseError::TooLong(text.len()));
        }
        match serde_json::from_str(text) {
            Ok(signal) => Ok(signal),
            Err(error) => match serde_json::from_str::<Tag>(text) {
                Ok(Tag { r#type }) if !is_known(&r#type) => {
                    Err(ParseError::UnknownType(r#type.chars().take(64).collect()))
                }
                _ => Err(error.into()),
            },
        }
    }

    /// Writes the message, without a line break at the end and with none inside.
    #[must_use]
    pub fn to_json(&self) -> String {
        // Strings, a number and a fixed set of keys: there is nothing here that serde_json refuses.
        serde_json::to_string(self).unwrap_or_default()
    }
}

fn is_known(kind: &str) -> bool {
    matches!(kind, "offer" | "answer" | "candidate" | "end-of-candidates")
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn the_lines_look_as_documented() {
        let offer = Signal::Offer { sdp: "v=0\r\n".into() };
        assert_eq!(offer.to_json(), r#"{"type":"offer","sdp":"v=0\r\n"}"#);
        let candidate = Signal::Candidate {
            candidate: "candidate:1 1 udp 1 10.0.0.1 9 typ host".into(),
            sdp_mid: Some("0".into()),
            sdp_m_line_index: Some(0),
        };
        let line = r#"{"type":"candidate","candidate":"candidate:1 1 udp 1 10.0.0.1 9 typ host","sdpMid":"0","sdpMLineIndex":0}"#;
        assert_eq!(candidate.to_json(), line);
        assert_eq!(Signal::EndOfCandidates.to_json(), r#"{"type":"end-of-candidates"}"#);
    }

    #[test]
    fn what_a_browser_adds_or_leaves_out_is_no_error() {
        let line = r#"{"candidate":"","sdpMid":null,"usernameFragment":"abcd","type":"candidate"}"#;
        let expected = Signal::Candidate { candidate: String::new(), sdp_mid: None, sdp_m_line_index: None };
        assert_eq!(Signal::parse(line).unwrap(), expected);
    }

    #[test]
    fn a_type_from_the_future_is_told_from_a_mistake() {
        assert!(
            matches!(Signal::parse(r#"{"type":"renegotiate"}"#), Err(ParseError::UnknownType(t)) if t == "renegotiate")
        );
        for wrong in
            ["", "{", "[]", "offer", r#"{"sdp":"v=0"}"#, r#"{"type":"offer"}"#, r#"{"type":"offer","sdp":7}"#]
        {
            assert!(matches!(Signal::parse(wrong), Err(ParseError::Malformed(_))), "{wrong}");
        }
        let index = r#"{"type":"candidate","candidate":"x","sdpMLineIndex":65536}"#;
        assert!(matches!(Signal::parse(index), Err(ParseError::Malformed(_))));
    }

    #[test]
    fn length_and_depth_are_limited() {
        let long = Signal::Offer { sdp: "x".repeat(MAX_MESSAGE) }.to_json();
        assert!(matches!(Signal::parse(&long), Err(ParseError::TooLong(_))));
        let deep = format!(r#"{{"type":"offer","sdp":"","x":{}}}"#, "[".repeat(100_000));
        assert!(Signal::parse(&deep).is_err());
    }

    fn any_signal() -> impl Strategy<Value = Signal> {
        prop_oneof![
            any::<String>().prop_map(|sdp| Signal::Offer { sdp }),
            any::<String>().prop_map(|sdp| Signal::Answer { sdp }),
            (any::<String>(), any::<Option<String>>(), any::<Option<u16>>()).prop_map(
                |(candidate, sdp_mid, sdp_m_line_index)| Signal::Candidate {
                    candidate,
                    sdp_mid,
                    sdp_m_line_index
                }
            ),
            Just(Signal::EndOfCandidates),
        ]
    }

    proptest! {
        #[test]
        fn what_is_written_is_one_line_and_reads_back(signal in any_signal()) {
            let line = signal.to_json();
            prop_assert!(!line.contains('\n'));
            prop_assert_eq!(Signal::parse(&line).unwrap(), signal);
        }

        #[test]
        fn no_text_makes_the_parser_panic(text in ".{0,200}") {
            let _ = Signal::parse(&text);
        }
    }
}
