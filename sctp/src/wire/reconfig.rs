//! RE-CONFIG (RFC 6525 §3.1, §4): its parameters, and which of them may come together.

use super::param::{ParamType, Params, push_param};
use super::{be16, be32};
use crate::types::{RequestSn, StreamId, Tsn};

/// The result of a request (RFC 6525 §4.4).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct ResetResult(pub(crate) u32);

impl ResetResult {
    pub(crate) const NOTHING_TO_DO: Self = Self(0);
    pub(crate) const PERFORMED: Self = Self(1);
    pub(crate) const DENIED: Self = Self(2);
    pub(crate) const WRONG_SSN: Self = Self(3);
    pub(crate) const REQUEST_IN_PROGRESS: Self = Self(4);
    pub(crate) const BAD_SEQUENCE_NUMBER: Self = Self(5);
    pub(crate) const IN_PROGRESS: Self = Self(6);
}

/// One parameter of a RE-CONFIG chunk.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum ReconfigParam<'a> {
    /// The sender resets its outgoing streams. `response` is the request of the other side that this fulfils, or
    /// that side's last one.
    OutgoingReset { request: RequestSn, response: RequestSn, last_assigned_tsn: Tsn, streams: StreamList<'a> },
    /// The sender asks the receiver to reset its outgoing streams.
    IncomingReset { request: RequestSn, streams: StreamList<'a> },
    /// SSN/TSN reset: everything starts over.
    AssociationReset { request: RequestSn },
    /// The sender wants so many more streams to send on.
    AddOutgoing { request: RequestSn, count: u16 },
    /// The sender wants the receiver to have so many more.
    AddIncoming { request: RequestSn, count: u16 },
    /// The answer to a request of ours.
    Response { request: RequestSn, result: ResetResult },
}

impl ReconfigParam<'_> {
    /// The number of a request.
    pub(crate) fn request(&self) -> Option<RequestSn> {
        match *self {
            Self::OutgoingReset { request, .. }
            | Self::IncomingReset { request, .. }
            | Self::AssociationReset { request }
            | Self::AddOutgoing { request, .. }
            | Self::AddIncoming { request, .. } => Some(request),
            Self::Response { .. } => None,
        }
    }
}

/// Stream numbers as they lie in the chunk; none means all.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct StreamList<'a>(&'a [u8]);

impl<'a> StreamList<'a> {
    pub(crate) fn iter(self) -> impl Iterator<Item = StreamId> + use<'a> {
        self.0.chunks_exact(2).filter_map(|id| be16(id, 0).map(StreamId))
    }

    pub(crate) fn is_all(self) -> bool {
        self.0.is_empty()
    }
}

/// What a RE-CONFIG chunk says.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub(crate) struct Reconfigs<'a> {
    /// One or two.
    pub(crate) params: Vec<ReconfigParam<'a>>,
    /// Unknown parameters to report, each whole and padded; at most [`MAX_REPORTED`] bytes.
    pub(crate) unrecognized: Vec<u8>,
}

/// How many bytes of unrecognized parameters are reported back.
const MAX_REPORTED: usize = 256;

/// Why a chunk is not taken.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum ReconfigError {
    /// A parameter overruns, or has a length that its kind can't have.
    Malformed,
    /// Parameters that must not come together (RFC 6525 §3.1).
    Combination,
}

/// Reads a chunk whole, before anything of it is done.
pub(crate) fn parse(value: &[u8]) -> Result<Reconfigs<'_>, ReconfigError> {
    let mut parsed = Reconfigs::default();
    let mut stopped = false;
    for param in Params::new(value) {
        let param = param.map_err(|()| ReconfigError::Malformed)?;
        if stopped {
            continue;
        }
        match read(param.kind, param.value) {
            Some(known) if parsed.params.len() < 2 => {
                parsed.params.push(known.ok_or(ReconfigError::Malformed)?);
            }
            Some(_) => return Err(ReconfigError::Combination),
            None => {
                let report = param.kind.unknown_is_reported();
                if report && parsed.unrecognized.len() + param.whole.len() + 4 <= MAX_REPORTED {
                    push_param(&mut parsed.unrecognized, param.kind, param.value);
                }
                stopped = !param.kind.unknown_is_skipped();
            }
        }
    }
    if may_come_together(&parsed.params) { Ok(parsed) } else { Err(ReconfigError::Combination) }
}

/// `None`: not a parameter of RE-CONFIG. `Some(None)`: with a length that it can't have.
fn read(kind: ParamType, value: &[u8]) -> Option<Option<ReconfigParam<'_>>> {
    Some(match kind {
        ParamType::OUTGOING_SSN_RESET_REQUEST => read_outgoing_reset(value),
        ParamType::INCOMING_SSN_RESET_REQUEST => read_incoming_reset(value),
        ParamType::SSN_TSN_RESET_REQUEST if value.len() == 4 => {
            be32(value, 0).map(|request| ReconfigParam::AssociationReset { request: RequestSn(request) })
        }
        ParamType::ADD_OUTGOING_STREAMS if value.len() == 8 => {
            read_count(value).map(|(request, count)| ReconfigParam::AddOutgoing { request, count })
        }
        ParamType::ADD_INCOMING_STREAMS if value.len() == 8 => {
            read_count(value).map(|(request, count)| ReconfigParam::AddIncoming { request, count })
        }
        // The optional TSNs answer an SSN/TSN reset, which we don't ask for.
        ParamType::RECONFIG_RESPONSE if matches!(value.len(), 8 | 16) => read_response(value),
        ParamType::SSN_TSN_RESET_REQUEST
        | ParamType::ADD_OUTGOING_STREAMS
        | ParamType::ADD_INCOMING_STREAMS
        | ParamType::RECONFIG_RESPONSE => None,
        _ => return None,
    })
}

fn read_outgoing_reset(value: &[u8]) -> Option<ReconfigParam<'_>> {
    Some(ReconfigParam::OutgoingReset {
        request: RequestSn(be32(value, 0)?),
        response: RequestSn(be32(value, 4)?),
        last_assigned_tsn: Tsn(be32(value, 8)?),
        streams: read_streams(value.get(12..)?)?,
    })
}

fn read_incoming_reset(value: &[u8]) -> Option<ReconfigParam<'_>> {
    let request = RequestSn(be32(value, 0)?);
    Some(ReconfigParam::IncomingReset { request, streams: read_streams(value.get(4..)?)? })
}

fn read_streams(list: &[u8]) -> Option<StreamList<'_>> {
    list.len().is_multiple_of(2).then_some(StreamList(list))
}

fn read_count(value: &[u8]) -> Option<(RequestSn, u16)> {
    Some((RequestSn(be32(value, 0)?), be16(value, 4)?))
}

fn read_response(value: &[u8]) -> Option<ReconfigParam<'_>> {
    let request = RequestSn(be32(value, 0)?);
    Some(ReconfigParam::Response { request, result: ResetResult(be32(value, 4)?) })
}

/// The list of RFC 6525 §3.1, in either order. A chunk of parameters that we don't know has none.
fn may_come_together(params: &[ReconfigParam<'_>]) -> bool {
    use ReconfigParam::{AddIncoming, AddOutgoing, IncomingReset, OutgoingReset, Response};
    matches!(
        params,
        [] | [_]
            | [OutgoingReset { .. }, IncomingReset { .. }]
            | [IncomingReset { .. }, OutgoingReset { .. }]
            | [AddOutgoing { .. }, AddIncoming { .. }]
            | [AddIncoming { .. }, AddOutgoing { .. }]
            | [Response { .. }, OutgoingReset { .. }]
            | [OutgoingReset { .. }, Response { .. }]
            | [Response { .. }, Response { .. }]
    )
}

/// Appends an Outgoing SSN Reset Request parameter (RFC 6525 §4.1).
pub(crate) fn push_outgoing_reset(
    out: &mut Vec<u8>,
    request: RequestSn,
    response: RequestSn,
    last_assigned_tsn: Tsn,
    streams: &[StreamId],
) {
    let mut value = Vec::with_capacity(12 + 2 * streams.len());
    value.extend_from_slice(&request.0.to_be_bytes());
    value.extend_from_slice(&response.0.to_be_bytes());
    value.extend_from_slice(&last_assigned_tsn.0.to_be_bytes());
    push_streams(&mut value, streams);
    push_param(out, ParamType::OUTGOING_SSN_RESET_REQUEST, &value);
}

/// Appends an Incoming SSN Reset Request parameter (RFC 6525 §4.2).
pub(crate) fn push_incoming_reset(out: &mut Vec<u8>, request: RequestSn, streams: &[StreamId]) {
    let mut value = Vec::with_capacity(4 + 2 * streams.len());
    value.extend_from_slice(&request.0.to_be_bytes());
    push_streams(&mut value, streams);
    push_param(out, ParamType::INCOMING_SSN_RESET_REQUEST, &value);
}

fn push_streams(value: &mut Vec<u8>, streams: &[StreamId]) {
    for stream in streams {
        value.extend_from_slice(&stream.0.to_be_bytes());
    }
}

/// Appends an Add Outgoing or Add Incoming Streams Request parameter (RFC 6525 §4.5, §4.6).
pub(crate) fn push_add_streams(out: &mut Vec<u8>, kind: ParamType, request: RequestSn, count: u16) {
    let mut value = [0; 8];
    value[..4].copy_from_slice(&request.0.to_be_bytes());
    value[4..6].copy_from_slice(&count.to_be_bytes());
    push_param(out, kind, &value);
}

/// Appends a Re-configuration Response parameter (RFC 6525 §4.4).
pub(crate) fn push_response(out: &mut Vec<u8>, request: RequestSn, result: ResetResult) {
    let mut value = [0; 8];
    value[..4].copy_from_slice(&request.0.to_be_bytes());
    value[4..].copy_from_slice(&result.0.to_be_bytes());
    push_param(out, ParamType::RECONFIG_RESPONSE, &value);
}

#[cfg(test)]
mod tests {
    use super::*;

    const SN: RequestSn = RequestSn(7);

    fn one(kind: usize) -> Vec<u8> {
        let mut out = Vec::new();
        match kind {
            0 => push_outgoing_reset(&mut out, SN, SN, Tsn(1), &[StreamId(3)]),
            1 => push_incoming_reset(&mut out, SN, &[]),
            2 => push_param(&mut out, ParamType::SSN_TSN_RESET_REQUEST, &[0; 4]),
            3 => push_add_streams(&mut out, ParamType::ADD_OUTGOING_STREAMS, SN, 5),
            4 => push_add_streams(&mut out, ParamType::ADD_INCOMING_STREAMS, SN, 5),
            _ => push_response(&mut out, SN, ResetResult::PERFORMED),
        }
        out
    }

    #[test]
    fn only_the_combinations_of_the_rfc_are_taken() {
        for first in 0..6 {
            assert_eq!(parse(&one(first)).map(|r| r.params.len()), Ok(1));
            for second in 0..6 {
                let pair = [first.min(second), first.max(second)];
                let legal = matches!(pair, [0, 1] | [3, 4] | [0, 5] | [5, 5]);
                let got = parse(&[one(first), one(second)].concat()).map(|r| r.params.len());
                assert_eq!(got, if legal { Ok(2) } else { Err(ReconfigError::Combination) });
                let three = [one(first), one(second), one(5)].concat();
                assert_eq!(parse(&three).unwrap_err(), ReconfigError::Combination);
            }
        }
    }

    #[test]
    fn every_length_but_the_right_ones_is_malformed() {
        for kind in 0..6 {
            let whole = one(kind);
            let right = usize::from(be16(&whole, 2).unwrap());
            for length in 0..40 {
                let mut other = whole.clone();
                other.resize(40, 0);
                other[2..4].copy_from_slice(&(length as u16).to_be_bytes());
                other.truncate(length);
                let taken = parse(&other).is_ok_and(|r| r.params.len() == 1);
                let may_be = match kind {
                    0 => length >= 16 && length.is_multiple_of(2),
                    1 => length >= 8 && length.is_multiple_of(2),
                    5 => length == 12 || length == 20,
                    _ => length == right,
                };
                assert_eq!(taken, may_be, "kind {kind}, length {length}");
            }
        }
    }

    #[test]
    fn unknown_parameters_follow_their_high_bits() {
        for (kind, goes_on, reported) in
            [(0x3000u16, false, 0), (0x7000, false, 8), (0xB000, true, 0), (0xF000, true, 8)]
        {
            let mut value = Vec::new();
            push_param(&mut value, ParamType(kind), &[1]);
            value.extend(one(5));
            let parsed = parse(&value).unwrap();
            assert_eq!(parsed.params.len(), usize::from(goes_on));
            assert_eq!(parsed.unrecognized.len(), reported);
        }
    }
}
