//! RE-CONFIG (RFC 6525 §3.1, §4): the outgoing reset request and the response; other requests are known by
//! name only, so that they can be denied.

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
    pub(crate) const BAD_SEQUENCE_NUMBER: Self = Self(5);
    pub(crate) const IN_PROGRESS: Self = Self(6);
}

/// One parameter of a RE-CONFIG chunk.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum ReconfigParam<'a> {
    /// The peer resets its outgoing streams.
    OutgoingReset { request: RequestSn, last_assigned_tsn: Tsn, streams: StreamList<'a> },
    /// Any other request; only its number matters.
    Other { request: RequestSn },
    /// The answer to a request of ours.
    Response { request: RequestSn, result: ResetResult },
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

/// The parameters of a chunk, at most two (RFC 6525 §3.1); `None` when one does not parse.
pub(crate) fn parse(value: &[u8]) -> Option<Vec<ReconfigParam<'_>>> {
    let mut parsed = Vec::with_capacity(2);
    for param in Params::new(value) {
        let param = param.ok()?;
        if parsed.len() == 2 {
            return None;
        }
        let request = RequestSn(be32(param.value, 0)?);
        parsed.push(match param.kind {
            ParamType::OUTGOING_SSN_RESET_REQUEST => ReconfigParam::OutgoingReset {
                request,
                last_assigned_tsn: Tsn(be32(param.value, 8)?),
                streams: StreamList(param.value.get(12..)?),
            },
            ParamType::INCOMING_SSN_RESET_REQUEST
            | ParamType::SSN_TSN_RESET_REQUEST
            | ParamType::ADD_OUTGOING_STREAMS
            | ParamType::ADD_INCOMING_STREAMS => ReconfigParam::Other { request },
            ParamType::RECONFIG_RESPONSE => {
                ReconfigParam::Response { request, result: ResetResult(be32(param.value, 4)?) }
            }
            _ => return None,
        });
    }
    Some(parsed)
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
    for stream in streams {
        value.extend_from_slice(&stream.0.to_be_bytes());
    }
    push_param(out, ParamType::OUTGOING_SSN_RESET_REQUEST, &value);
}

/// Appends a Re-configuration Response parameter (RFC 6525 §4.4).
pub(crate) fn push_response(out: &mut Vec<u8>, request: RequestSn, result: ResetResult) {
    let mut value = [0; 8];
    value[..4].copy_from_slice(&request.0.to_be_bytes());
    value[4..].copy_from_slice(&result.0.to_be_bytes());
    push_param(out, ParamType::RECONFIG_RESPONSE, &value);
}
