//! The common header (RFC 9260 §3.1).
//!
//! ```text
//!  0                   1                   2                   3
//!  0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1
//! |       Source Port Number      |    Destination Port Number    |
//! |                        Verification Tag                       |
//! |                    Checksum (CRC32c, §6.8)                    |
//! ```

use super::be16;
use super::be32;
use super::chunk::{ChunkType, Chunks};

/// Bytes of the common header.
pub(crate) const HEADER_LEN: usize = 12;

/// A packet whose checksum has been verified, or need not be.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Packet<'a> {
    pub(crate) source: u16,
    pub(crate) destination: u16,
    pub(crate) tag: u32,
    body: &'a [u8],
}

/// Why a packet is dropped whole.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum PacketError {
    TooShort,
    Checksum,
}

impl<'a> Packet<'a> {
    /// Checks length and checksum. With `zero_acceptable` a checksum of zero is as good as the right one
    /// (RFC 9653 §5.3), except on an INIT, whose sender has not been told so yet. (COOKIE ECHO must have the
    /// right one, too, §5.2; but dcSCTP leaves it out there, and the cookie has a MAC.)
    #[inline]
    pub(crate) fn parse(packet: &'a [u8], zero_acceptable: bool) -> Result<Self, PacketError> {
        let (header, body) = packet.split_first_chunk::<HEADER_LEN>().ok_or(PacketError::TooShort)?;
        if body.len() < 4 {
            return Err(PacketError::TooShort);
        }
        let stated = u32::from_le_bytes([header[8], header[9], header[10], header[11]]);
        let unchecked = zero_acceptable && stated == 0 && body[0] != ChunkType::INIT.0;
        if !unchecked && checksum(header, body) != stated {
            return Err(PacketError::Checksum);
        }
        Ok(Self {
            source: be16(header, 0).ok_or(PacketError::TooShort)?,
            destination: be16(header, 2).ok_or(PacketError::TooShort)?,
            tag: be32(header, 4).ok_or(PacketError::TooShort)?,
            body,
        })
    }

    /// The chunks, in order.
    pub(crate) fn chunks(&self) -> Chunks<'a> {
        Chunks::new(self.body)
    }
}

/// Writes the header with an empty checksum field.
pub(crate) fn write_header(header: &mut [u8; HEADER_LEN], source: u16, destination: u16, tag: u32) {
    header[..2].copy_from_slice(&source.to_be_bytes());
    header[2..4].copy_from_slice(&destination.to_be_bytes());
    header[4..8].copy_from_slice(&tag.to_be_bytes());
    header[8..].fill(0);
}

/// Computes and stores the checksum of a complete packet.
pub(crate) fn write_checksum(packet: &mut [u8]) {
    let field = 8..HEADER_LEN;
    if let Some(field) = packet.get_mut(field.clone()) {
        field.fill(0);
    }
    let sum = crc32c::crc32c(packet);
    if let Some(field) = packet.get_mut(field) {
        field.copy_from_slice(&sum.to_le_bytes());
    }
}

/// CRC32c over the packet with zeros in the checksum field (RFC 9260 §6.8). The field holds it with the
/// least significant byte first (appendix A).
fn checksum(header: &[u8; HEADER_LEN], body: &[u8]) -> u32 {
    let mut zeroed = *header;
    zeroed[8..].fill(0);
    crc32c::crc32c_append(crc32c::crc32c(&zeroed), body)
}
