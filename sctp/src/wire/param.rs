//! Parameters of INIT, INIT ACK and RE-CONFIG, and error causes: type, length, value (RFC 9260 §3.2.1).

use super::{be16, padded};

/// A parameter type; the two high bits say what to do with an unknown one.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub(crate) struct ParamType(pub(crate) u16);

impl ParamType {
    pub(crate) const HEARTBEAT_INFO: Self = Self(1);
    pub(crate) const IPV4_ADDRESS: Self = Self(5);
    pub(crate) const IPV6_ADDRESS: Self = Self(6);
    pub(crate) const STATE_COOKIE: Self = Self(7);
    pub(crate) const UNRECOGNIZED_PARAMETER: Self = Self(8);
    pub(crate) const COOKIE_PRESERVATIVE: Self = Self(9);
    pub(crate) const HOST_NAME_ADDRESS: Self = Self(11);
    pub(crate) const SUPPORTED_ADDRESS_TYPES: Self = Self(12);
    /// RFC 6525 §4.1.
    pub(crate) const OUTGOING_SSN_RESET_REQUEST: Self = Self(13);
    /// RFC 6525 §4.2.
    pub(crate) const INCOMING_SSN_RESET_REQUEST: Self = Self(14);
    /// RFC 6525 §4.3.
    pub(crate) const SSN_TSN_RESET_REQUEST: Self = Self(15);
    /// RFC 6525 §4.4.
    pub(crate) const RECONFIG_RESPONSE: Self = Self(16);
    /// RFC 6525 §4.5.
    pub(crate) const ADD_OUTGOING_STREAMS: Self = Self(17);
    /// RFC 6525 §4.6.
    pub(crate) const ADD_INCOMING_STREAMS: Self = Self(18);
    /// RFC 9653 §4.
    pub(crate) const ZERO_CHECKSUM_ACCEPTABLE: Self = Self(0x8001);
    /// RFC 5061 §4.2.7.
    pub(crate) const SUPPORTED_EXTENSIONS: Self = Self(0x8008);
    /// RFC 3758 §3.1.
    pub(crate) const FORWARD_TSN_SUPPORTED: Self = Self(0xC000);

    /// Unrecognized: whether the parameters after it are still processed (highest bit).
    pub(crate) fn unknown_is_skipped(self) -> bool {
        self.0 & 0x8000 != 0
    }

    /// Unrecognized: whether it is reported (second highest bit).
    pub(crate) fn unknown_is_reported(self) -> bool {
        self.0 & 0x4000 != 0
    }
}

/// One parameter as it lies in the chunk.
#[derive(Clone, Copy, Debug)]
pub(crate) struct RawParam<'a> {
    pub(crate) kind: ParamType,
    /// Without header and padding.
    pub(crate) value: &'a [u8],
    /// Header and value, without padding.
    pub(crate) whole: &'a [u8],
}

/// Walks parameters; the one walk that everything that reads them shares. Ends after the first error.
#[derive(Clone, Debug)]
pub(crate) struct Params<'a> {
    rest: &'a [u8],
}

impl<'a> Params<'a> {
    pub(crate) fn new(bytes: &'a [u8]) -> Self {
        Self { rest: bytes }
    }
}

impl<'a> Iterator for Params<'a> {
    /// `Err` when a parameter runs over the end or is shorter than its own header.
    type Item = Result<RawParam<'a>, ()>;

    fn next(&mut self) -> Option<Self::Item> {
        let rest = std::mem::take(&mut self.rest);
        if rest.is_empty() {
            return None;
        }
        let (Some(kind), Some(length)) = (be16(rest, 0), be16(rest, 2)) else {
            return Some(Err(()));
        };
        let length = usize::from(length);
        let (Some(whole), Some(value)) = (rest.get(..length), rest.get(4..length)) else {
            return Some(Err(()));
        };
        self.rest = rest.get(padded(length)..).unwrap_or_default();
        Some(Ok(RawParam { kind: ParamType(kind), value, whole }))
    }
}

/// Appends one parameter, padded, to `out`. A value over 65,531 bytes is cut there.
pub(crate) fn push_param(out: &mut Vec<u8>, kind: ParamType, value: &[u8]) {
    push_tlv(out, kind.0, value);
}

/// The same for anything of the same shape, as error causes are.
pub(crate) fn push_tlv(out: &mut Vec<u8>, kind: u16, value: &[u8]) {
    let length = u16::try_from(value.len() + 4).unwrap_or(u16::MAX);
    let value = value.get(..usize::from(length) - 4).unwrap_or_default();
    out.extend_from_slice(&kind.to_be_bytes());
    out.extend_from_slice(&length.to_be_bytes());
    out.extend_from_slice(value);
    out.resize(padded(out.len()), 0);
}
