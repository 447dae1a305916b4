//! `--dcmap 'ID [OPTION;…]'`, and
//! `--channel LABEL[,unordered][,maxRetransmits=N][,maxPacketLifeTime=MS][,protocol=P][,negotiated=ID]`

use std::str::FromStr;

use sinnet::{DataChannelOptions, Dcmap, DcmapError, Reliability};

/// A channel as `a=dcmap` has it (RFC 8864), with or without what stands before its value there.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct DcmapSpec(pub(crate) Dcmap);

impl FromStr for DcmapSpec {
    type Err = DcmapError;

    fn from_str(text: &str) -> Result<Self, DcmapError> {
        let text = text.strip_prefix("a=").unwrap_or(text);
        text.strip_prefix("dcmap:").unwrap_or(text).parse().map(Self)
    }
}

/// A channel as given on the command line.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct ChannelSpec {
    pub(crate) label: String,
    pub(crate) options: DataChannelOptions,
}

impl ChannelSpec {
    /// A reliable, ordered channel.
    pub(crate) fn plain(label: &str) -> Self {
        Self { label: label.to_owned(), options: DataChannelOptions::default() }
    }
}

impl FromStr for ChannelSpec {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let mut parts = text.split(',');
        let mut spec = Self::plain(parts.next().unwrap_or_default());
        for part in parts {
            let (key, value) = match part.split_once('=') {
                Some((key, value)) => (key, Some(value)),
                None => (part, None),
            };
            let options = &mut spec.options;
            match (key, value) {
                ("unordered", None) => options.ordered = false,
                ("maxRetransmits" | "maxPacketLifeTime", _)
                    if options.reliability != Reliability::Reliable =>
                {
                    return Err("maxRetransmits and maxPacketLifeTime can't be combined or repeated".into());
                }
                // 16 bits as in W3C's RTCDataChannelInit.
                ("maxRetransmits", Some(value)) => {
                    options.reliability = Reliability::MaxRetransmits(number(key, value, u16::MAX)?.into());
                }
                ("maxPacketLifeTime", Some(value)) => {
                    options.reliability =
                        Reliability::MaxPacketLifeTime(number(key, value, u16::MAX)?.into());
                }
                ("protocol", Some(value)) => options.protocol = value.to_owned(),
                // 65535 names no stream (RFC 8831 §6.2).
                ("negotiated", Some(value)) => options.negotiated = Some(number(key, value, u16::MAX - 1)?),
                _ => {
                    return Err(format!(
                        "{part:?} is no channel option; there are unordered, maxRetransmits=N, maxPacketLifeTime=MS, \
                         protocol=P and negotiated=ID"
                    ));
                }
            }
        }
        Ok(spec)
    }
}

fn number(key: &str, value: &str, max: u16) -> Result<u16, String> {
    match value.parse() {
        Ok(number) if number <= max => Ok(number),
        _ => Err(format!("{key} takes a number from 0 to {max}, not {value:?}")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> ChannelSpec {
        text.parse().unwrap()
    }

    #[test]
    fn a_label_alone_is_a_reliable_ordered_channel() {
        assert_eq!(parse("chat"), ChannelSpec::plain("chat"));
        assert_eq!(parse("with space"), ChannelSpec::plain("with space"));
        assert_eq!(parse(""), ChannelSpec::plain(""));
    }

    #[test]
    fn every_option_is_understood() {
        let spec = parse("a,unordered,maxRetransmits=3,protocol=p=q,negotiated=7");
        let expected = DataChannelOptions {
            ordered: false,
            reliability: Reliability::MaxRetransmits(3),
            protocol: "p=q".into(),
            negotiated: Some(7),
            ..Default::default()
        };
        assert_eq!(spec, ChannelSpec { label: "a".into(), options: expected });
        assert_eq!(parse("a,maxPacketLifeTime=500").options.reliability, Reliability::MaxPacketLifeTime(500));
        assert_eq!(parse("a,maxRetransmits=0").options.reliability, Reliability::MaxRetransmits(0));
    }

    #[test]
    fn a_dcmap_is_taken_with_and_without_its_name() {
        let line = r#"a=dcmap:1 subprotocol="BFCP";max-time=60000;priority=512"#;
        for text in [line, &line[2..], &line[8..]] {
            let DcmapSpec(map) = text.parse().unwrap();
            assert_eq!((map.stream_id(), map.subprotocol(), map.priority()), (1, "BFCP", 512));
        }
        assert!("b=dcmap:1".parse::<DcmapSpec>().is_err());
    }

    #[test]
    fn a_mistake_is_named() {
        for (text, word) in [
            ("a,orderly", "orderly"),
            ("a,unordered=1", "unordered=1"),
            ("a,maxRetransmits", "maxRetransmits"),
            ("a,maxRetransmits=-1", "\"-1\""),
            ("a,maxRetransmits=65536", "65536"),
            ("a,maxRetransmits=1,maxPacketLifeTime=1", "combined"),
            ("a,negotiated=65535", "65534"),
            ("a,", "\"\""),
        ] {
            let error = text.parse::<ChannelSpec>().unwrap_err();
            assert!(error.contains(word), "{text}: {error}");
        }
    }
}
