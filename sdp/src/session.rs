//! Text to lines and back: the only file that names the registry's `sdp` crate.
//!
//! That crate is strict where RFC 8866 is open: it takes six media names and ten words in the protocol field, while
//! an m-line that we don't speak must be answered whatever it says (RFC 3264 §6). So m-lines are read here, and the
//! crate sees a plain one in the place of each. It is also trusting where we are not: a CR inside of a line stays in
//! the value, and nothing is limited. So characters and sizes are checked before it is called.

use std::io::Cursor;

use sdp_syntax::SessionDescription;
use sdp_syntax::description::common::{Address, Attribute as SyntaxAttribute, ConnectionInformation};
use sdp_syntax::description::media::{MediaDescription, MediaName, RangedPort};
use sdp_syntax::description::session::{Origin, TimeDescription};

use crate::error::{Error, excerpt};
use crate::{MAX_MEDIA, MAX_SDP};

/// One `a=` line: `a=name` or `a=name:value`.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Attribute {
    pub(crate) name: String,
    pub(crate) value: Option<String>,
}

impl Attribute {
    pub(crate) fn flag(name: &str) -> Self {
        Self { name: name.to_owned(), value: None }
    }

    pub(crate) fn new(name: &str, value: impl ToString) -> Self {
        Self { name: name.to_owned(), value: Some(value.to_string()) }
    }
}

/// An `m=` line (RFC 8866 §5.14); each field is printable ASCII without spaces, so it can be echoed.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct MediaLine {
    pub(crate) media: String,
    pub(crate) port: u16,
    pub(crate) proto: String,
    /// At least one.
    pub(crate) formats: Vec<String>,
}

/// An m-line with the attributes that follow it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Media {
    pub(crate) line: MediaLine,
    pub(crate) attributes: Vec<Attribute>,
}

/// What we use of a description.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Session {
    pub(crate) session_id: u64,
    pub(crate) session_version: u64,
    pub(crate) attributes: Vec<Attribute>,
    pub(crate) media: Vec<Media>,
}

/// Reads a description.
pub(crate) fn parse(text: &str) -> Result<Session, Error> {
    if text.len() > MAX_SDP {
        return Err(Error::TooLarge { what: "bytes of a description", limit: MAX_SDP });
    }
    let mut lines = Vec::new();
    let mut plain = String::with_capacity(text.len());
    for line in text.split('\n') {
        // RFC 8866 §5: lines end with CRLF, and a lone LF is taken too; a CR elsewhere would hide a line from others.
        let line = line.strip_suffix('\r').unwrap_or(line);
        if line.contains(['\r', '\0']) {
            return Err(Error::InvalidCharacter { what: "a line" });
        }
        if let Some(value) = line.strip_prefix("m=") {
            if lines.len() == MAX_MEDIA {
                return Err(Error::TooLarge { what: "m-lines", limit: MAX_MEDIA });
            }
            lines.push(parse_media_line(value)?);
            plain.push_str("m=application 9 UDP/DTLS/SCTP webrtc-datachannel\r\n");
        } else {
            plain.push_str(line);
            plain.push_str("\r\n");
        }
    }
    let parsed = SessionDescription::unmarshal(&mut Cursor::new(plain.as_bytes()))
        .map_err(|error| Error::Syntax(excerpt(&error.to_string())))?;
    if parsed.media_descriptions.len() != lines.len() {
        return Err(Error::Syntax("an m-line is out of place".to_owned()));
    }
    let sections = lines.into_iter().zip(parsed.media_descriptions);
    Ok(Session {
        session_id: parsed.origin.session_id,
        session_version: parsed.origin.session_version,
        attributes: attributes(parsed.attributes),
        media: sections.map(|(line, m)| Media { line, attributes: attributes(m.attributes) }).collect(),
    })
}

fn attributes(lines: Vec<SyntaxAttribute>) -> Vec<Attribute> {
    lines.into_iter().map(|a| Attribute { name: a.key, value: a.value }).collect()
}

/// `<media> <port>[/<number of ports>] <proto> <fmt> …`
fn parse_media_line(value: &str) -> Result<MediaLine, Error> {
    let syntax = || Error::Syntax(format!("m={}", excerpt(value)));
    if !value.bytes().all(|b| b == b' ' || b.is_ascii_graphic()) {
        return Err(syntax());
    }
    let mut fields = value.split_ascii_whitespace();
    let (Some(media), Some(port), Some(proto)) = (fields.next(), fields.next(), fields.next()) else {
        return Err(syntax());
    };
    let port = port.split_once('/').map_or(port, |(port, _)| port);
    let formats: Vec<String> = fields.map(str::to_owned).collect();
    if formats.is_empty() {
        return Err(syntax());
    }
    let port = port.parse().map_err(|_| syntax())?;
    Ok(MediaLine { media: media.to_owned(), port, proto: proto.to_owned(), formats })
}

impl Session {
    /// Writes the description, CRLF after each line. Origin and connection say nothing about us (RFC 8829 §5.2.1):
    /// where we are is for candidates to say.
    pub(crate) fn write(&self) -> String {
        let media = |m: &Media| MediaDescription {
            media_name: MediaName {
                media: m.line.media.clone(),
                port: RangedPort { value: isize::try_from(m.line.port).unwrap_or(0), range: None },
                protos: m.line.proto.split('/').map(str::to_owned).collect(),
                formats: m.line.formats.clone(),
            },
            connection_information: Some(ConnectionInformation {
                network_type: "IN".to_owned(),
                address_type: "IP4".to_owned(),
                address: Some(Address { address: "0.0.0.0".to_owned(), ttl: None, range: None }),
            }),
            attributes: syntax_attributes(&m.attributes),
            ..MediaDescription::default()
        };
        SessionDescription {
            origin: Origin {
                username: "-".to_owned(),
                session_id: self.session_id,
                session_version: self.session_version,
                network_type: "IN".to_owned(),
                address_type: "IP4".to_owned(),
                unicast_address: "0.0.0.0".to_owned(),
            },
            session_name: "-".to_owned(),
            time_descriptions: vec![TimeDescription::default()],
            attributes: syntax_attributes(&self.attributes),
            media_descriptions: self.media.iter().map(media).collect(),
            ..SessionDescription::default()
        }
        .marshal()
    }
}

fn syntax_attributes(attributes: &[Attribute]) -> Vec<SyntaxAttribute> {
    attributes.iter().map(|a| SyntaxAttribute { key: a.name.clone(), value: a.value.clone() }).collect()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const HEAD: &str = "v=0\r\no=- 1 2 IN IP4 0.0.0.0\r\ns=-\r\nt=0 0\r\n";

    #[test]
    fn m_lines_of_any_media_and_protocol_are_read_and_written_back() {
        let text = format!(
            "{HEAD}a=x\r\nm=whiteboard 0 QUIC/FOO 1 2\r\nc=IN IP4 0.0.0.0\r\na=mid:w\r\n\
             m=application 9 TCP/DTLS/SCTP webrtc-datachannel\r\nc=IN IP4 0.0.0.0\r\na=y:z:z\r\n"
        );
        let session = parse(&text).unwrap();
        assert_eq!(session.media[0].line.proto, "QUIC/FOO");
        assert_eq!(session.media[1].attributes, [Attribute::new("y", "z:z")]);
        assert_eq!(session.write(), text);
    }

    #[test]
    fn lines_may_end_with_a_lone_lf_but_a_cr_or_nul_inside_of_one_is_refused() {
        assert_eq!(parse(&HEAD.replace('\r', "")), parse(HEAD));
        for bad in ["a=x\rm=y", "a=x\0", "a=\r\r", "\ra=x"] {
            let text = format!("{HEAD}{bad}\r\n");
            assert_eq!(parse(&text), Err(Error::InvalidCharacter { what: "a line" }), "{bad:?}");
        }
    }

    #[test]
    fn m_lines_that_do_not_parse_are_refused() {
        for bad in
            ["", "audio", "audio 9 X", "audio 65536 X 0", "audio -1 X 0", "audio 9 é 0", "audio 9 X 0\t1"]
        {
            let parsed = parse(&format!("{HEAD}m={bad}\r\n"));
            assert!(matches!(parsed, Err(Error::Syntax(_))), "{bad:?}: {parsed:?}");
        }
        assert_eq!(parse(&format!("{HEAD}m=audio 9/2 X 0\r\n")).unwrap().media[0].line.port, 9);
    }

    #[test]
    fn an_m_line_before_its_place_is_refused() {
        assert!(matches!(parse("v=0\r\nm=audio 9 X 0\r\n"), Err(Error::Syntax(_))));
    }

    proptest! {
        #[test]
        fn no_text_makes_the_reader_panic(text in "\\PC{0,200}") {
            let _ = parse(&text);
        }

        #[test]
        fn no_lines_make_the_reader_panic(
            lines in proptest::collection::vec("([vosiuepcbtrzkam]=)?[ -~é\\r\\n\\x00]{0,30}", 0..30), head: bool,
        ) {
            let _ = parse(&format!("{}{}", if head { HEAD } else { "" }, lines.join("\r\n")));
        }

        #[test]
        fn what_is_written_parses_back(
            ids: (u64, u64),
            session in proptest::collection::vec(("[a-z-]{1,9}", proptest::option::of("[!-~]{0,20}")), 0..4),
            media in proptest::collection::vec(
                ("[a-z]{1,9}", any::<u16>(), "[A-Za-z/]{1,9}", proptest::collection::vec("[!-~]{1,9}", 1..4)), 0..4),
        ) {
            let attributes: Vec<_> =
                session.into_iter().map(|(name, value)| Attribute { name, value }).collect();
            let media = media
                .into_iter()
                .map(|(media, port, proto, formats)| Media {
                    line: MediaLine { media, port, proto, formats },
                    attributes: attributes.clone(),
                })
                .collect();
            let session = Session { session_id: ids.0, session_version: ids.1, attributes, media };
            prop_assert_eq!(parse(&session.write()), Ok(session));
        }
    }
}
