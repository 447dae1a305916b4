//! INIT and INIT ACK (RFC 9260 §3.3.2, §3.3.3), and what both sides can do.
//!
//! ```text
//! |   Type = 1    |  Chunk Flags  |      Chunk Length             |
//! |                         Initiate Tag                          |
//! |           Advertised Receiver Window Credit (a_rwnd)          |
//! |  Number of Outbound Streams   |   Number of Inbound Streams   |
//! |                          Initial TSN                          |
//! |              Optional/Variable-Length Parameters              |
//! ```
//!
//! Unknown parameters follow their two high bits. A parameter that overruns the chunk spoils the chunk: the
//! same walk that finds the cookie has found it well-formed to the end.

use super::chunk::ChunkType;
use super::param::{ParamType, Params, push_param};
use super::{be16, be32};
use crate::types::Tsn;

/// The extensions of an endpoint (RFC 5061 §4.2.7, RFC 3758 §3.1, RFC 9653 §4).
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(crate) struct Capabilities {
    /// RE-CONFIG (RFC 6525).
    pub(crate) reconfig: bool,
    /// FORWARD TSN (RFC 3758).
    pub(crate) forward_tsn: bool,
    /// A checksum of zero is taken, because DTLS protects the packets (RFC 9653).
    pub(crate) zero_checksum: bool,
    /// I-DATA (RFC 8260 §2.2.1).
    pub(crate) i_data: bool,
    /// I-FORWARD-TSN (RFC 8260 §2.3.1).
    pub(crate) i_forward_tsn: bool,
}

/// An INIT or INIT ACK, parsed whole.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Init<'a> {
    pub(crate) initiate_tag: u32,
    pub(crate) a_rwnd: u32,
    pub(crate) outbound_streams: u16,
    pub(crate) inbound_streams: u16,
    pub(crate) initial_tsn: Tsn,
    pub(crate) capabilities: Capabilities,
    /// The state cookie of an INIT ACK.
    pub(crate) cookie: Option<&'a [u8]>,
    /// By how many milliseconds the cookie of the answer should live longer (RFC 9260 §3.3.2.1.3). We ask for it
    /// after a Stale Cookie; a peer's wish is ignored, as the RFC allows.
    pub(crate) cookie_preservative: Option<u32>,
    /// A host name, which nobody can resolve here (RFC 9260 §3.3.2.1.4 deprecates it): the whole parameter.
    pub(crate) host_name: Option<&'a [u8]>,
    /// Unrecognized parameters to report, each whole and padded; at most [`MAX_REPORTED`] bytes.
    pub(crate) unrecognized: Vec<u8>,
}

/// The error detection method identifier of SCTP over DTLS (RFC 9653 §6).
const SCTP_OVER_DTLS: [u8; 4] = [0, 0, 0, 1];

/// How many bytes of unrecognized parameters are reported back.
const MAX_REPORTED: usize = 256;

impl<'a> Init<'a> {
    /// `None` when it is too short or a parameter overruns.
    pub(crate) fn parse(value: &'a [u8]) -> Option<Self> {
        let mut init = Self {
            initiate_tag: be32(value, 0)?,
            a_rwnd: be32(value, 4)?,
            outbound_streams: be16(value, 8)?,
            inbound_streams: be16(value, 10)?,
            initial_tsn: Tsn(be32(value, 12)?),
            capabilities: Capabilities::default(),
            cookie: None,
            cookie_preservative: None,
            host_name: None,
            unrecognized: Vec::new(),
        };
        let mut stopped = false;
        for param in Params::new(value.get(16..)?) {
            let param = param.ok()?;
            if stopped {
                continue;
            }
            match param.kind {
                ParamType::STATE_COOKIE => init.cookie = Some(param.value),
                ParamType::FORWARD_TSN_SUPPORTED => init.capabilities.forward_tsn = true,
                ParamType::SUPPORTED_EXTENSIONS => {
                    let has = |kind: ChunkType| param.value.contains(&kind.0);
                    init.capabilities.reconfig |= has(ChunkType::RE_CONFIG);
                    // pion and sctp-proto list it here only, without the parameter that RFC 3758 §3.1 has for it.
                    init.capabilities.forward_tsn |= has(ChunkType::FORWARD_TSN);
                    init.capabilities.i_data |= has(ChunkType::I_DATA);
                    init.capabilities.i_forward_tsn |= has(ChunkType::I_FORWARD_TSN);
                }
                ParamType::ZERO_CHECKSUM_ACCEPTABLE => {
                    // By another method than ours it is not acceptable.
                    init.capabilities.zero_checksum |= param.value == SCTP_OVER_DTLS;
                }
                ParamType::HOST_NAME_ADDRESS => init.host_name = Some(param.whole),
                // Addresses mean nothing over DTLS (RFC 8261 §6.1); the rest is what the peer tells us and
                // we have no use for.
                ParamType::IPV4_ADDRESS
                | ParamType::IPV6_ADDRESS
                | ParamType::UNRECOGNIZED_PARAMETER
                | ParamType::COOKIE_PRESERVATIVE
                | ParamType::SUPPORTED_ADDRESS_TYPES => {}
                unknown => {
                    if unknown.unknown_is_reported()
                        && init.unrecognized.len() + param.whole.len() + 8 <= MAX_REPORTED
                    {
                        push_param(&mut init.unrecognized, param.kind, param.value);
                    }
                    stopped = !unknown.unknown_is_skipped();
                }
            }
        }
        Some(init)
    }

    /// The chunk value: fixed part, our extensions, the cookie, the report.
    pub(crate) fn write(&self) -> Vec<u8> {
        let mut out = Vec::with_capacity(64 + self.cookie.map_or(0, <[u8]>::len));
        out.extend_from_slice(&self.initiate_tag.to_be_bytes());
        out.extend_from_slice(&self.a_rwnd.to_be_bytes());
        out.extend_from_slice(&self.outbound_streams.to_be_bytes());
        out.extend_from_slice(&self.inbound_streams.to_be_bytes());
        out.extend_from_slice(&self.initial_tsn.0.to_be_bytes());
        if let Some(cookie) = self.cookie {
            push_param(&mut out, ParamType::STATE_COOKIE, cookie);
        }
        let mut extensions = Vec::with_capacity(4);
        if self.capabilities.forward_tsn {
            push_param(&mut out, ParamType::FORWARD_TSN_SUPPORTED, &[]);
        }
        if self.capabilities.reconfig {
            extensions.push(ChunkType::RE_CONFIG.0);
        }
        if self.capabilities.forward_tsn {
            extensions.push(ChunkType::FORWARD_TSN.0);
        }
        if self.capabilities.i_data {
            extensions.push(ChunkType::I_DATA.0);
        }
        if self.capabilities.i_forward_tsn {
            extensions.push(ChunkType::I_FORWARD_TSN.0);
        }
        if self.capabilities.zero_checksum {
            push_param(&mut out, ParamType::ZERO_CHECKSUM_ACCEPTABLE, &SCTP_OVER_DTLS);
        }
        if !extensions.is_empty() {
            push_param(&mut out, ParamType::SUPPORTED_EXTENSIONS, &extensions);
        }
        if let Some(milliseconds) = self.cookie_preservative {
            push_param(&mut out, ParamType::COOKIE_PRESERVATIVE, &milliseconds.to_be_bytes());
        }
        for param in Params::new(&self.unrecognized).flatten() {
            push_param(&mut out, ParamType::UNRECOGNIZED_PARAMETER, param.whole);
        }
        out
    }
}
