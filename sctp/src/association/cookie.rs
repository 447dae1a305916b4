//! The state cookie (RFC 9260 §5.1.3): everything needed to set up the association, so that an INIT costs no
//! memory.
//!
//! It is authenticated with HMAC-SHA-256 under a key of this association alone, and holds no addresses and no
//! pointers: a cookie of another association, or a changed one, is simply not ours. Layout: when (ms), tags
//! and TSNs of both sides, the peer's window, streams and extensions, tie-tags, MAC; 76 bytes.

use ring::hmac;

use crate::types::Tsn;
use crate::wire::init::Capabilities;
use crate::wire::{be16, be32, be64};

const BODY_LEN: usize = 44;
const MAC_LEN: usize = 32;

/// What the peer said in its INIT or INIT ACK.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(crate) struct PeerParams {
    pub(crate) tag: u32,
    pub(crate) initial_tsn: Tsn,
    pub(crate) a_rwnd: u32,
    pub(crate) outbound_streams: u16,
    pub(crate) inbound_streams: u16,
    pub(crate) capabilities: Capabilities,
}

/// What a cookie says.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Cookie {
    /// When it was made, in milliseconds since the association object was.
    pub(crate) created_ms: u64,
    pub(crate) local_tag: u32,
    pub(crate) local_initial_tsn: Tsn,
    pub(crate) peer: PeerParams,
    /// The tags of the association that existed already, or zeros (RFC 9260 §5.2.2).
    pub(crate) tie_tags: (u32, u32),
}

impl Cookie {
    pub(crate) fn write(&self, key: &hmac::Key) -> Vec<u8> {
        let mut out = Vec::with_capacity(BODY_LEN + MAC_LEN);
        out.extend_from_slice(&self.created_ms.to_be_bytes());
        out.extend_from_slice(&self.local_tag.to_be_bytes());
        out.extend_from_slice(&self.local_initial_tsn.0.to_be_bytes());
        out.extend_from_slice(&self.peer.tag.to_be_bytes());
        out.extend_from_slice(&self.peer.initial_tsn.0.to_be_bytes());
        out.extend_from_slice(&self.peer.a_rwnd.to_be_bytes());
        out.extend_from_slice(&self.peer.outbound_streams.to_be_bytes());
        out.extend_from_slice(&self.peer.inbound_streams.to_be_bytes());
        let Capabilities { reconfig, forward_tsn, zero_checksum, i_data, i_forward_tsn } =
            self.peer.capabilities;
        let bits = [reconfig, forward_tsn, zero_checksum, i_data, i_forward_tsn];
        let bits = bits.iter().rev().fold(0, |bits, &bit| bits << 1 | u32::from(bit));
        out.extend_from_slice(&bits.to_be_bytes());
        out.extend_from_slice(&self.tie_tags.0.to_be_bytes());
        out.extend_from_slice(&self.tie_tags.1.to_be_bytes());
        let mac = hmac::sign(key, &out);
        out.extend_from_slice(mac.as_ref());
        out
    }

    /// `None` unless it is ours, to the bit.
    pub(crate) fn read(bytes: &[u8], key: &hmac::Key) -> Option<Self> {
        let (body, mac) = bytes.split_at_checked(BODY_LEN)?;
        hmac::verify(key, body, mac).ok()?;
        let capabilities = be32(body, 32)?;
        Some(Self {
            created_ms: be64(body, 0)?,
            local_tag: be32(body, 8)?,
            local_initial_tsn: Tsn(be32(body, 12)?),
            peer: PeerParams {
                tag: be32(body, 16)?,
                initial_tsn: Tsn(be32(body, 20)?),
                a_rwnd: be32(body, 24)?,
                outbound_streams: be16(body, 28)?,
                inbound_streams: be16(body, 30)?,
                capabilities: Capabilities {
                    reconfig: capabilities & 1 != 0,
                    forward_tsn: capabilities & 2 != 0,
                    zero_checksum: capabilities & 4 != 0,
                    i_data: capabilities & 8 != 0,
                    i_forward_tsn: capabilities & 16 != 0,
                },
            },
            tie_tags: (be32(body, 36)?, be32(body, 40)?),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(byte: u8) -> hmac::Key {
        hmac::Key::new(hmac::HMAC_SHA256, &[byte; 32])
    }

    #[test]
    fn a_cookie_is_read_back_by_its_maker_only_and_only_unchanged() {
        let cookie = Cookie {
            created_ms: 1 << 40,
            local_tag: 2,
            local_initial_tsn: Tsn(3),
            peer: PeerParams {
                tag: 4,
                initial_tsn: Tsn(5),
                a_rwnd: 6,
                outbound_streams: 7,
                inbound_streams: 8,
                capabilities: Capabilities {
                    reconfig: false,
                    forward_tsn: true,
                    zero_checksum: true,
                    i_data: false,
                    i_forward_tsn: true,
                },
            },
            tie_tags: (9, 10),
        };
        let mut bytes = cookie.write(&key(1));
        assert_eq!(Cookie::read(&bytes, &key(1)), Some(cookie));
        assert_eq!(Cookie::read(&bytes, &key(2)), None);
        assert_eq!(Cookie::read(&bytes[..75], &key(1)), None);
        for i in 0..bytes.len() {
            bytes[i] ^= 1;
            assert_eq!(Cookie::read(&bytes, &key(1)), None);
            bytes[i] ^= 1;
        }
    }
}
