//! Datagrams on a stream (RFC 4571 §2, as RFC 6544 §3 wants it): two bytes of length in network order, then the datagram.

use std::ops::Range;

/// The length of a length.
pub(super) const HEADER: usize = 2;

/// Where the datagram of the first frame is, if all of it is there.
pub(super) fn first(bytes: &[u8]) -> Option<Range<usize>> {
    let frame = HEADER..HEADER + announced(bytes)?;
    (bytes.len() >= frame.end).then_some(frame)
}

/// How long the first frame's datagram says to be.
pub(super) fn announced(bytes: &[u8]) -> Option<usize> {
    bytes.first_chunk::<HEADER>().map(|length| usize::from(u16::from_be_bytes(*length)))
}

/// Appends a datagram as a frame. One that is too long for a frame is left out; there are none.
pub(super) fn push(out: &mut Vec<u8>, datagram: &[u8]) {
    if let Ok(length) = u16::try_from(datagram.len()) {
        out.extend_from_slice(&length.to_be_bytes());
        out.extend_from_slice(datagram);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn frames_come_out_as_they_went_in_wherever_the_stream_is_cut() {
        let datagrams: [&[u8]; 5] = [b"a", b"", b"bcd", &[7; 65_535], b"end"];
        let mut stream = Vec::new();
        datagrams.iter().for_each(|datagram| push(&mut stream, datagram));
        for cut in [0, 1, 2, 3, 4, 5, 6, 8, 9, 10, 11, 40_000, stream.len() - 1, stream.len()] {
            let (mut found, mut at) = (Vec::new(), 0);
            for end in [cut, stream.len()] {
                while let Some(frame) = first(&stream[at..end]) {
                    found.push(stream[at + frame.start..at + frame.end].to_vec());
                    at += frame.end;
                }
            }
            assert_eq!(found, datagrams, "cut at {cut}");
            assert_eq!(at, stream.len());
        }
    }

    #[test]
    fn a_datagram_that_no_frame_has_room_for_is_left_out() {
        let mut out = Vec::new();
        push(&mut out, &[0; 65_536]);
        assert!(out.is_empty());
        push(&mut out, &[0; 65_535]);
        assert_eq!(out.len(), HEADER + 65_535);
    }
}
