//! ChannelData (RFC 8656 §12.4): data of one peer behind four bytes.
//!
//! ```text
//!   0                   1                   2                   3
//!  |         Channel Number         |            Length            |
//!  |  Length bytes of data, on a stream padded to a multiple of 4  |
//! ```
//!
//! Numbers are 0x4000 to 0x4FFF. Clients of RFC 5766 §11 choose up to 0x7FFF, which the server takes, too: nothing else
//! that comes to it begins with those bytes.

/// Bytes before the data.
pub(crate) const HEADER_LEN: usize = 4;
/// The first number that a channel can have (RFC 8656 §12).
pub(crate) const FIRST: u16 = 0x4000;
/// The last that a client chooses.
pub(crate) const LAST: u16 = 0x4FFF;
/// The last that the server takes (RFC 5766 §11).
pub(crate) const LAST_ON_SERVER: u16 = 0x7FFF;

/// Whether these bytes claim to be ChannelData: their first is 64 to 79 (RFC 7983 §7). Cheap.
pub fn is_channel_data(datagram: &[u8]) -> bool {
    matches!(datagram, [64..=79, ..])
}

/// Channel number and data. On UDP there may be padding behind the data, of which nothing says how much.
/// `None` if it is not ChannelData or ends before its data does.
pub(crate) fn parse(bytes: &[u8]) -> Option<(u16, &[u8])> {
    let ([n0, n1, l0, l1], rest) = bytes.split_first_chunk::<HEADER_LEN>()?;
    let number = u16::from_be_bytes([*n0, *n1]);
    let data = rest.get(..usize::from(u16::from_be_bytes([*l0, *l1])))?;
    (FIRST..=LAST_ON_SERVER).contains(&number).then_some((number, data))
}

/// Writes ChannelData and returns its length; `None` if it doesn't fit. Padding is for streams.
pub(crate) fn write(out: &mut [u8], number: u16, data: &[u8], padded: bool) -> Option<usize> {
    let len = u16::try_from(data.len()).ok()?;
    let plain = HEADER_LEN + data.len();
    let whole = if padded { plain.next_multiple_of(4) } else { plain };
    let (header, rest) = out.get_mut(..whole)?.split_first_chunk_mut::<HEADER_LEN>()?;
    let ([n0, n1], [l0, l1]) = (number.to_be_bytes(), len.to_be_bytes());
    *header = [n0, n1, l0, l1];
    let (body, padding) = rest.split_at_mut_checked(data.len())?;
    body.copy_from_slice(data);
    padding.fill(0);
    Some(whole)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn data_reads_back_with_and_without_padding() {
        for len in [0, 1, 2, 3, 4, 5, 1200, 65_535] {
            let data: Vec<u8> = (0..len).map(|i| i as u8).collect();
            let mut out = vec![0xAA; 70_000];
            let plain = write(&mut out, 0x4001, &data, false).unwrap();
            assert_eq!(plain, 4 + len);
            assert_eq!(parse(&out[..plain]), Some((0x4001, data.as_slice())));
            let padded = write(&mut out, 0x4FFF, &data, true).unwrap();
            assert_eq!(padded, (4 + len).next_multiple_of(4));
            assert_eq!(parse(&out[..padded]), Some((0x4FFF, data.as_slice())));
            assert!(out[4 + len..padded].iter().all(|&byte| byte == 0));
            assert_eq!(write(&mut out[..padded - 1], 0x4FFF, &data, true), None);
        }
        assert_eq!(write(&mut vec![0; 70_000], 0x4001, &[0; 65_536], false), None);
    }

    #[test]
    fn short_data_and_other_numbers_are_no_channel_data() {
        assert_eq!(parse(&[0x40, 0, 0, 3, 1, 2]), None);
        assert_eq!(parse(&[0x40, 0, 0]), None);
        assert_eq!(parse(&[]), None);
        for first in 0..=255 {
            assert_eq!(parse(&[first, 0, 0, 0]).is_some(), (64..128).contains(&first));
            assert_eq!(is_channel_data(&[first]), (64..80).contains(&first));
        }
    }
}
