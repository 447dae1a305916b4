//! `a=dcmap` and `a=dcsa` (RFC 8864 §5): what one data channel is, and what its subprotocol says about itself.
//!
//! [`Dcmap`] keeps its parameters in the order in which they stand, those that it does not know among them, so that what
//! is read can be written back as it was. What it is compared by are the values ([`Dcmap::is_same_channel`]): a default
//! that is written out means what it means when it is left out.
//!
//! | parameter | value (§5.1.1) | left out |
//! |---|---|---|
//! | `label`, `subprotocol` | quoted; bytes other than visible ASCII, and `"` and `%`, as `%XX`; UTF-8 | empty |
//! | `ordered` | `true` or `false`; anything else is `true` (§5.1.7) | `true` |
//! | `max-retr`, `max-time` | below 2^32; one or the other | reliable |
//! | `priority` | below 2^16 | 256 |
//!
//! A parameter of another name is kept and means nothing.

mod scan;
#[cfg(test)]
mod tests;

use std::fmt::{self, Write as _};
use std::str::FromStr;

use crate::error::excerpt;

/// Most bytes of a label or a subprotocol, decoded: what a DCEP OPEN can carry (RFC 8832 §5.1), to which both map.
pub const MAX_LABEL: usize = 65_535;

/// Most parameters of one `a=dcmap`. Six are registered.
pub const MAX_PARAMETERS: usize = 32;

/// The id that is no stream (RFC 8832 §6).
const RESERVED: u16 = 65_535;

/// When a message that has not arrived is given up (RFC 8864 §5.1.5, §5.1.6).
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default)]
pub enum Limit {
    /// Never.
    #[default]
    None,
    /// After this many retransmissions: `max-retr`.
    MaxRetr(u32),
    /// This many milliseconds after it was handed to the stack: `max-time`.
    MaxTime(u32),
}

/// One parameter, in its place.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
enum Parameter {
    Ordered(bool),
    Subprotocol(String),
    Label(String),
    MaxRetr(u32),
    MaxTime(u32),
    Priority(u16),
    /// Of a name, or for `ordered` a value, that is not known; as it was written.
    Other(String),
}

/// A data channel as SDP negotiates it: the value of `a=dcmap`.
///
/// ```
/// use sinnet_sdp::{Dcmap, Limit};
///
/// let map: Dcmap = r#"3 label="Label 1";ordered=false;max-retr=5;priority=128"#.parse()?;
/// assert_eq!((map.stream_id(), map.label(), map.ordered()), (3, "Label 1", false));
/// assert_eq!((map.limit(), map.priority()), (Limit::MaxRetr(5), 128));
///
/// let made = Dcmap::new(4)?.with_label("foo\tbar")?.with_limit(Limit::MaxTime(15_000));
/// assert_eq!(made.to_string(), r#"4 label="foo%09bar";max-time=15000"#);
/// # Ok::<(), sinnet_sdp::DcmapError>(())
/// ```
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub struct Dcmap {
    stream_id: u16,
    parameters: Vec<Parameter>,
}

/// An `a=dcmap` or `a=dcsa` that does not follow RFC 8864. Text of the peer in here is cut and has no control characters.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum DcmapError {
    /// Not one to five digits, or more than 65,534 (RFC 8832 §6).
    #[error("'{0}' is no stream id; it must be a number from 0 to 65534")]
    StreamId(String),
    /// Not `id`, or `id`, one space, and parameters with one `;` between them.
    #[error("'{0}' is no parameter of a=dcmap; it must be name=value, with ';' between two and no spaces")]
    Syntax(String),
    /// A label, subprotocol or other text that is not a quoted-string: without its quotes, with characters other than
    /// visible ASCII and space, or with a `%` that two hexadecimal digits do not follow.
    #[error(
        "the value of {0} is not quoted as RFC 8864 wants it: \"…\", all but visible ASCII, '\"' and '%' as %XX"
    )]
    Quoting(String),
    /// The escapes of a label or subprotocol make bytes that are not UTF-8 (§5.1.3).
    #[error("the value of {0} is not UTF-8")]
    NotUtf8(&'static str),
    /// Not a decimal number without leading zeros, or too large for its parameter. RFC 8864 §8 lets the channel go for
    /// it, not the description.
    #[error("channel {stream_id}: {parameter} can't be '{value}'")]
    Number {
        /// Whose channel it is.
        stream_id: u16,
        /// Which parameter.
        parameter: &'static str,
        /// What it says.
        value: String,
    },
    /// A parameter stands twice.
    #[error("{0} is given twice")]
    Duplicate(&'static str),
    /// `max-retr` and `max-time` together (§6.2): the whole offer must be refused for it.
    #[error("max-retr and max-time exclude each other")]
    BothLimits,
    /// A label or subprotocol of more than [`MAX_LABEL`] bytes, or more than [`MAX_PARAMETERS`] parameters.
    #[error("{what} may have at most {limit}")]
    TooLong {
        /// What is too long.
        what: &'static str,
        /// How much is allowed.
        limit: usize,
    },
    /// An attribute for `a=dcsa` that is not `name` or `name:value`, or that has CR, LF, NUL or another control character
    /// in it.
    #[error("'{0}' is no attribute for a=dcsa; it must be name or name:value, in one line")]
    Attribute(String),
}

impl Dcmap {
    /// An ordered, reliable channel of normal priority without label, on this stream.
    ///
    /// # Errors
    /// [`DcmapError::StreamId`] for 65,535, which is no stream.
    pub fn new(stream_id: u16) -> Result<Self, DcmapError> {
        if stream_id == RESERVED {
            return Err(DcmapError::StreamId(stream_id.to_string()));
        }
        Ok(Self { stream_id, parameters: Vec::new() })
    }

    /// With this label. Any text can be one: what SDP can't have in a line is escaped.
    ///
    /// # Errors
    /// [`DcmapError::TooLong`] for more than [`MAX_LABEL`] bytes.
    pub fn with_label(self, label: &str) -> Result<Self, DcmapError> {
        check_text("a label", label)?;
        let given = (!label.is_empty()).then(|| Parameter::Label(label.to_owned()));
        Ok(self.with(|p| matches!(p, Parameter::Label(_)), given))
    }

    /// With this subprotocol, a name from IANA's registry of WebSocket subprotocols or one of your own.
    ///
    /// # Errors
    /// [`DcmapError::TooLong`] for more than [`MAX_LABEL`] bytes.
    pub fn with_subprotocol(self, subprotocol: &str) -> Result<Self, DcmapError> {
        check_text("a subprotocol", subprotocol)?;
        let given = (!subprotocol.is_empty()).then(|| Parameter::Subprotocol(subprotocol.to_owned()));
        Ok(self.with(|p| matches!(p, Parameter::Subprotocol(_)), given))
    }

    /// Whether messages arrive in the order in which they were sent.
    pub fn with_ordered(self, ordered: bool) -> Self {
        self.with(|p| matches!(p, Parameter::Ordered(_)), (!ordered).then_some(Parameter::Ordered(false)))
    }

    /// When messages are given up.
    pub fn with_limit(self, limit: Limit) -> Self {
        let given = match limit {
            Limit::None => None,
            Limit::MaxRetr(n) => Some(Parameter::MaxRetr(n)),
            Limit::MaxTime(ms) => Some(Parameter::MaxTime(ms)),
        };
        self.with(|p| matches!(p, Parameter::MaxRetr(_) | Parameter::MaxTime(_)), given)
    }

    /// With this DCEP priority (RFC 8832 §5.1); 256 is normal.
    pub fn with_priority(self, priority: u16) -> Self {
        let given = (priority != DEFAULT_PRIORITY).then_some(Parameter::Priority(priority));
        self.with(|p| matches!(p, Parameter::Priority(_)), given)
    }

    fn with(mut self, of_kind: impl Fn(&Parameter) -> bool, given: Option<Parameter>) -> Self {
        self.parameters.retain(|p| !of_kind(p));
        self.parameters.extend(given);
        self
    }

    fn text(&self, of_kind: impl Fn(&Parameter) -> Option<&String>) -> &str {
        self.parameters.iter().find_map(of_kind).map_or("", String::as_str)
    }

    /// The SCTP stream of the channel, in both directions; at most 65,534.
    pub fn stream_id(&self) -> u16 {
        self.stream_id
    }

    /// The label; empty if there is none.
    pub fn label(&self) -> &str {
        self.text(|p| if let Parameter::Label(text) = p { Some(text) } else { None })
    }

    /// The subprotocol; empty if there is none.
    pub fn subprotocol(&self) -> &str {
        self.text(|p| if let Parameter::Subprotocol(text) = p { Some(text) } else { None })
    }

    /// Whether messages arrive in order; true unless the line says `ordered=false`.
    pub fn ordered(&self) -> bool {
        !self.parameters.contains(&Parameter::Ordered(false))
    }

    /// When messages are given up.
    pub fn limit(&self) -> Limit {
        let limit = |p: &Parameter| match *p {
            Parameter::MaxRetr(n) => Some(Limit::MaxRetr(n)),
            Parameter::MaxTime(ms) => Some(Limit::MaxTime(ms)),
            _ => None,
        };
        self.parameters.iter().find_map(limit).unwrap_or_default()
    }

    /// The priority; 256 if the line does not say.
    pub fn priority(&self) -> u16 {
        let priority = |p: &Parameter| if let Parameter::Priority(n) = *p { Some(n) } else { None };
        self.parameters.iter().find_map(priority).unwrap_or(DEFAULT_PRIORITY)
    }

    /// Parameters that mean nothing here, as they were written.
    pub fn unknown(&self) -> impl Iterator<Item = &str> {
        self.parameters
            .iter()
            .filter_map(|p| if let Parameter::Other(text) = p { Some(&**text) } else { None })
    }

    /// Without the parameters that mean nothing here: what an answer says, as it does not promise what it does not know.
    pub fn without_unknown(&self) -> Self {
        let known = self.parameters.iter().filter(|p| !matches!(p, Parameter::Other(_)));
        Self { stream_id: self.stream_id, parameters: known.cloned().collect() }
    }

    /// Whether two lines say the same, in whatever order and with defaults written out or not. What is unknown does not
    /// count.
    pub fn is_same_channel(&self, other: &Self) -> bool {
        self.stream_id == other.stream_id
            && self.label() == other.label()
            && self.subprotocol() == other.subprotocol()
            && self.ordered() == other.ordered()
            && self.limit() == other.limit()
            && self.priority() == other.priority()
    }
}

/// §5.1.8.
const DEFAULT_PRIORITY: u16 = 256;

fn check_text(what: &'static str, text: &str) -> Result<(), DcmapError> {
    if text.len() > MAX_LABEL { Err(DcmapError::TooLong { what, limit: MAX_LABEL }) } else { Ok(()) }
}

impl fmt::Display for Dcmap {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.stream_id)?;
        for (i, parameter) in self.parameters.iter().enumerate() {
            f.write_char(if i == 0 { ' ' } else { ';' })?;
            match parameter {
                Parameter::Ordered(ordered) => write!(f, "ordered={ordered}")?,
                Parameter::Subprotocol(text) => write!(f, "subprotocol={}", Quoted(text))?,
                Parameter::Label(text) => write!(f, "label={}", Quoted(text))?,
                Parameter::MaxRetr(n) => write!(f, "max-retr={n}")?,
                Parameter::MaxTime(ms) => write!(f, "max-time={ms}")?,
                Parameter::Priority(n) => write!(f, "priority={n}")?,
                Parameter::Other(text) => f.write_str(text)?,
            }
        }
        Ok(())
    }
}

/// A quoted-string (§5.1.1).
struct Quoted<'a>(&'a str);

impl fmt::Display for Quoted<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_char('"')?;
        for byte in self.0.bytes() {
            if scan::is_quoted_char(byte) {
                f.write_char(char::from(byte))?;
            } else {
                write!(f, "%{byte:02X}")?;
            }
        }
        f.write_char('"')
    }
}

impl FromStr for Dcmap {
    type Err = DcmapError;

    /// Reads what stands behind `a=dcmap:`.
    fn from_str(s: &str) -> Result<Self, DcmapError> {
        let (id, rest) = s.split_once(' ').map_or((s, None), |(id, rest)| (id, Some(rest)));
        let mut map = Self::new(scan::stream_id(id)?)?;
        for text in rest.map(scan::split_parameters).transpose()?.unwrap_or_default() {
            if map.parameters.len() == MAX_PARAMETERS {
                return Err(DcmapError::TooLong { what: "the parameters of a=dcmap", limit: MAX_PARAMETERS });
            }
            map.take(text)?;
        }
        Ok(map)
    }
}

impl Dcmap {
    fn take(&mut self, text: &str) -> Result<(), DcmapError> {
        let parameter = self.parse_parameter(text)?;
        if let Some(name) = known_name(&parameter)
            && self.parameters.iter().any(|p| known_name(p) == Some(name))
        {
            return Err(DcmapError::Duplicate(name));
        }
        self.parameters.push(parameter);
        let both = |p: &Parameter| matches!(p, Parameter::MaxRetr(_) | Parameter::MaxTime(_));
        if self.parameters.iter().filter(|p| both(p)).count() > 1 {
            return Err(DcmapError::BothLimits);
        }
        Ok(())
    }

    /// Names and the words `true` and `false` are in either case, as ABNF's literals are (RFC 5234 §2.3).
    fn parse_parameter(&self, text: &str) -> Result<Parameter, DcmapError> {
        let syntax = || DcmapError::Syntax(excerpt(text));
        let (name, value) = text.split_once('=').ok_or_else(syntax)?;
        if name.is_empty() || !name.bytes().all(scan::is_token_char) || value.is_empty() {
            return Err(syntax());
        }
        let number = |parameter, max: u64| {
            scan::integer(value).filter(|n| *n <= max).ok_or_else(|| DcmapError::Number {
                stream_id: self.stream_id,
                parameter,
                value: excerpt(value),
            })
        };
        Ok(match name.to_ascii_lowercase().as_str() {
            "ordered" if value.eq_ignore_ascii_case("true") => Parameter::Ordered(true),
            "ordered" if value.eq_ignore_ascii_case("false") => Parameter::Ordered(false),
            "label" => Parameter::Label(scan::quoted("label", value)?),
            "subprotocol" => Parameter::Subprotocol(scan::quoted("subprotocol", value)?),
            "max-retr" => Parameter::MaxRetr(number("max-retr", u32::MAX.into())? as u32),
            "max-time" => Parameter::MaxTime(number("max-time", u32::MAX.into())? as u32),
            "priority" => Parameter::Priority(number("priority", u16::MAX.into())? as u16),
            _ => {
                scan::check_other(value).map_err(|()| DcmapError::Quoting(excerpt(name)))?;
                Parameter::Other(text.to_owned())
            }
        })
    }
}

/// What may stand once only. Of an unknown parameter nothing is known, this neither.
fn known_name(parameter: &Parameter) -> Option<&'static str> {
    match parameter {
        Parameter::Ordered(_) => Some("ordered"),
        Parameter::Subprotocol(_) => Some("subprotocol"),
        Parameter::Label(_) => Some("label"),
        Parameter::MaxRetr(_) => Some("max-retr"),
        Parameter::MaxTime(_) => Some("max-time"),
        Parameter::Priority(_) => Some("priority"),
        Parameter::Other(text) if scan::starts_with_ignore_case(text, "ordered=") => Some("ordered"),
        Parameter::Other(_) => None,
    }
}

/// An attribute of a channel's subprotocol: the value of `a=dcsa` (RFC 8864 §5.2).
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub struct Dcsa {
    stream_id: u16,
    attribute: String,
}

impl Dcsa {
    /// `attribute` is what would follow `a=`: `name` or `name:value`.
    ///
    /// # Errors
    /// [`DcmapError::Attribute`] if it is not, or could not stand in one line; [`DcmapError::StreamId`] for 65,535.
    pub fn new(stream_id: u16, attribute: &str) -> Result<Self, DcmapError> {
        if stream_id == RESERVED {
            return Err(DcmapError::StreamId(stream_id.to_string()));
        }
        let name = attribute.split_once(':').map_or(attribute, |(name, _)| name);
        // RFC 8866 §9: attribute-name is a token, the value a byte-string; a tab may be in one, and no other control
        // character has a meaning.
        let is_token = !name.is_empty() && name.bytes().all(scan::is_token_char);
        let is_line = !attribute.chars().any(|c| c.is_control() && c != '\t') && !attribute.ends_with(':');
        if is_token && is_line {
            Ok(Self { stream_id, attribute: attribute.to_owned() })
        } else {
            Err(DcmapError::Attribute(excerpt(attribute)))
        }
    }

    /// Whose channel it is.
    pub fn stream_id(&self) -> u16 {
        self.stream_id
    }

    /// The attribute, `name` or `name:value`.
    pub fn attribute(&self) -> &str {
        &self.attribute
    }
}

impl fmt::Display for Dcsa {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.stream_id, self.attribute)
    }
}

impl FromStr for Dcsa {
    type Err = DcmapError;

    /// Reads what stands behind `a=dcsa:`.
    fn from_str(s: &str) -> Result<Self, DcmapError> {
        let (id, attribute) = s.split_once(' ').ok_or_else(|| DcmapError::Attribute(excerpt(s)))?;
        Self::new(scan::stream_id(id)?, attribute)
    }
}
