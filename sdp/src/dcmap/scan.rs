//! The ABNF of RFC 8864 §5.1.1, a rule a function.

use super::{DcmapError, MAX_LABEL, RESERVED};
use crate::error::excerpt;

/// `dcmap-stream-id = 1*5DIGIT`, and 65,535 is no stream (RFC 8832 §6).
pub(super) fn stream_id(text: &str) -> Result<u16, DcmapError> {
    let digits = (1..=5).contains(&text.len()) && text.bytes().all(|b| b.is_ascii_digit());
    text.parse()
        .ok()
        .filter(|id| digits && *id != RESERVED)
        .ok_or_else(|| DcmapError::StreamId(excerpt(text)))
}

/// `"0" / integer`: digits, without a zero in front.
pub(super) fn integer(text: &str) -> Option<u64> {
    let plain = text == "0" || (!text.starts_with('0') && text.bytes().all(|b| b.is_ascii_digit()));
    if plain { text.parse().ok() } else { None }
}

/// `quoted-char = SP / %x21 / %x23-24 / %x26-7E`.
pub(super) fn is_quoted_char(byte: u8) -> bool {
    matches!(byte, 0x20..=0x7e) && byte != b'"' && byte != b'%'
}

/// RFC 8866 §9: `token-char`.
pub(super) fn is_token_char(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`{|}~".contains(&byte)
}

pub(super) fn starts_with_ignore_case(text: &str, prefix: &str) -> bool {
    text.get(..prefix.len()).is_some_and(|head| head.eq_ignore_ascii_case(prefix))
}

/// `dcmap-opt *(";" dcmap-opt)`: cut at the `;` outside of quotes. In a quoted-string a quote can't stand but as `%22`.
pub(super) fn split_parameters(text: &str) -> Result<Vec<&str>, DcmapError> {
    let mut quoted = false;
    let parts: Vec<&str> = text
        .split(|c: char| {
            quoted ^= c == '"';
            c == ';' && !quoted
        })
        .collect();
    if quoted {
        let last = parts.last().copied().unwrap_or_default();
        let name = last.split_once('=').map_or(last, |(name, _)| name);
        return Err(DcmapError::Quoting(excerpt(name)));
    }
    Ok(parts)
}

/// `quoted-string = DQUOTE *(quoted-char / escaped-char) DQUOTE`, decoded, as UTF-8 (§5.1.3).
pub(super) fn quoted(name: &'static str, text: &str) -> Result<String, DcmapError> {
    let quoting = || DcmapError::Quoting(name.to_owned());
    let inner = text.strip_prefix('"').and_then(|t| t.strip_suffix('"')).ok_or_else(quoting)?;
    let mut bytes = Vec::with_capacity(inner.len());
    let mut rest = inner.bytes();
    while let Some(byte) = rest.next() {
        match byte {
            b'%' => {
                let mut digit = || rest.next().and_then(|b| char::from(b).to_digit(16));
                let (Some(high), Some(low)) = (digit(), digit()) else { return Err(quoting()) };
                bytes.push((high * 16 + low) as u8);
            }
            _ if is_quoted_char(byte) => bytes.push(byte),
            _ => return Err(quoting()),
        }
    }
    if bytes.len() > MAX_LABEL {
        return Err(DcmapError::TooLong { what: name, limit: MAX_LABEL });
    }
    String::from_utf8(bytes).map_err(|_| DcmapError::NotUtf8(name))
}

/// The value of a parameter that is not known: a quoted-string, or visible ASCII without quotes. Whether escapes in it make
/// sense is not for us to say; that it stays in its place is.
pub(super) fn check_other(value: &str) -> Result<(), ()> {
    let fits = match value.strip_prefix('"') {
        Some(rest) => rest
            .strip_suffix('"')
            .is_some_and(|inner| inner.bytes().all(|b| matches!(b, 0x20..=0x7e) && b != b'"')),
        None => value.bytes().all(|b| b.is_ascii_graphic() && b != b'"'),
    };
    if fits { Ok(()) } else { Err(()) }
}
