//! Offers, answers and candidates as JSON, on the server's WebSocket and along the tree.
//!
//! The programs of 2013 wrote JSON inside JSON; that is what we write. An object in its place, and a bare SDP text, are
//! read, too.

use serde_json::{Map, Value, json};
use sinnet::IceCandidate;

/// What two nodes that are to be connected say to each other.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) enum Signal {
    Offer(String),
    Answer(String),
    Candidate(IceCandidate),
}

impl Signal {
    /// Reads a message; `None` if it is something else or makes no sense.
    pub(crate) fn read(message: &Map<String, Value>) -> Option<Self> {
        match message.get("m")?.as_str()? {
            "offer" => Some(Self::Offer(description(message.get("s")?)?)),
            "answer" => Some(Self::Answer(description(message.get("s")?)?)),
            "ice" => Some(Self::Candidate(candidate(message.get("d")?)?)),
            _ => None,
        }
    }

    /// The message, without the keys that say who it is for.
    pub(crate) fn write(&self) -> Map<String, Value> {
        let description =
            |kind: &str, sdp: &str| (kind.to_owned(), "s", json!({"type": kind, "sdp": sdp}).to_string());
        let (method, key, text) = match self {
            Self::Offer(sdp) => description("offer", sdp),
            Self::Answer(sdp) => description("answer", sdp),
            Self::Candidate(candidate) => {
                let text = json!({
                    "candidate": candidate.candidate,
                    "sdpMid": candidate.sdp_mid,
                    "sdpMLineIndex": candidate.sdp_m_line_index,
                });
                ("ice".to_owned(), "d", text.to_string())
            }
        };
        let mut message = Map::new();
        message.insert("m".to_owned(), method.into());
        message.insert(key.to_owned(), text.into());
        message
    }
}

/// Takes a JSON text for what is in it.
fn unpacked(value: &Value) -> Option<Map<String, Value>> {
    match value {
        Value::Object(object) => Some(object.clone()),
        Value::String(text) => serde_json::from_str(text).ok(),
        _ => None,
    }
}

fn description(value: &Value) -> Option<String> {
    if let Some(text) = value.as_str().filter(|text| text.starts_with("v=")) {
        return Some(text.to_owned());
    }
    match unpacked(value)?.remove("sdp")? {
        Value::String(sdp) => Some(sdp),
        _ => None,
    }
}

fn candidate(value: &Value) -> Option<IceCandidate> {
    let object = unpacked(value)?;
    let text = |name: &str| object.get(name).and_then(Value::as_str).map(str::to_owned);
    let index = object.get("sdpMLineIndex").and_then(Value::as_u64);
    Some(IceCandidate {
        candidate: text("candidate")?,
        sdp_mid: text("sdpMid"),
        sdp_m_line_index: index.and_then(|index| u16::try_from(index).ok()),
    })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn read(message: Value) -> Option<Signal> {
        Signal::read(message.as_object().unwrap())
    }

    proptest! {
        #[test]
        fn no_text_makes_the_reader_panic(kind in "offer|answer|ice", text in ".{0,80}", inner in "[\\[\\]{}\",:a-z0-9]{0,40}") {
            for value in [Value::String(text.clone()), Value::String(format!("{{{inner}}}"))] {
                let _ = read(json!({"m": kind, "s": value, "d": value}));
            }
        }
    }

    #[test]
    fn what_is_written_is_json_in_json_and_read_again() {
        let candidate = IceCandidate {
            candidate: "candidate:1 1 udp 1 10.0.0.1 9 typ host".to_owned(),
            sdp_mid: Some("0".to_owned()),
            sdp_m_line_index: Some(0),
        };
        let all =
            [Signal::Offer("v=0\r\n".into()), Signal::Answer("v=0\r\n".into()), Signal::Candidate(candidate)];
        for signal in all {
            assert_eq!(Signal::read(&signal.write()), Some(signal));
        }
        let offer = Signal::Offer("v=0\r\n".into()).write();
        assert_eq!(Value::Object(offer), json!({"m": "offer", "s": r#"{"sdp":"v=0\r\n","type":"offer"}"#}));
    }

    #[test]
    fn other_spellings_are_read_and_nonsense_is_not() {
        let offer = Some(Signal::Offer("v=0".into()));
        assert_eq!(read(json!({"m": "offer", "i": 3, "k": 1, "s": "v=0"})), offer);
        assert_eq!(read(json!({"m": "offer", "s": {"type": "offer", "sdp": "v=0"}})), offer);
        for wrong in [
            json!({}),
            json!({"m": 1, "s": "v=0"}),
            json!({"m": "offer"}),
            json!({"m": "offer", "s": 7}),
            json!({"m": "offer", "s": "sdp"}),
            json!({"m": "answer", "s": "{\"sdp\":1}"}),
            json!({"m": "ice", "d": "candidate"}),
            json!({"m": "ice", "d": {"sdpMid": "0"}}),
            json!({"m": "join", "s": "v=0"}),
        ] {
            assert_eq!(read(wrong.clone()), None, "{wrong}");
        }
        let odd = read(json!({"m": "ice", "d": {"candidate": "", "sdpMLineIndex": 65536}}));
        assert_eq!(odd, Some(Signal::Candidate(IceCandidate::default())));
    }
}
