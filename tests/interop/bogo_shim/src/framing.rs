//! The framing on the TCP stream. Integers are big endian.
//!
//! ```text
//!  'P' u32 length, bytes    one datagram, both ways
//!  'T' u64 nanoseconds      to us: answer 't', then move the clock and run timers
//!  't'                      from us
//!  'M' u32                  to us: the new MTU
//!  'E' u64 nanoseconds      to us: our next timer must fire in exactly that time; 2^64 - 1: no timer may run
//!  'U' u32 milliseconds     to us: the new initial retransmission timeout
//! ```

use std::io::{self, ErrorKind, Read, Write};
use std::time::Duration;

/// A datagram of more than this is the runner's mistake: UDP itself ends at 64 KiB.
const MAX_DATAGRAM: usize = 1 << 17;

/// What the runner says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Frame {
    Datagram(Vec<u8>),
    Advance(Duration),
    Mtu(usize),
    /// `None`: no timer may run.
    ExpectTimeout(Option<Duration>),
    InitialTimeout(Duration),
}

/// The next frame; `None` at the end of the stream. The end inside of a frame is an error.
pub(crate) fn read(stream: &mut impl Read) -> io::Result<Option<Frame>> {
    let mut opcode = [0];
    loop {
        match stream.read(&mut opcode) {
            Ok(0) => return Ok(None),
            Ok(_) => break,
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            // The runner closed its end while something of ours was under way.
            Err(error) if error.kind() == ErrorKind::ConnectionReset => return Ok(None),
            Err(error) => return Err(error),
        }
    }
    let [opcode] = opcode;
    Ok(Some(match opcode {
        b'P' => {
            let length = read_u32(stream)? as usize;
            if length > MAX_DATAGRAM {
                return Err(io::Error::new(ErrorKind::InvalidData, "a datagram above the limit"));
            }
            let mut datagram = vec![0; length];
            stream.read_exact(&mut datagram)?;
            Frame::Datagram(datagram)
        }
        b'T' => Frame::Advance(Duration::from_nanos(read_u64(stream)?)),
        b'M' => Frame::Mtu(read_u32(stream)? as usize),
        b'E' => Frame::ExpectTimeout(
            Some(read_u64(stream)?).filter(|&it| it != u64::MAX).map(Duration::from_nanos),
        ),
        b'U' => Frame::InitialTimeout(Duration::from_millis(read_u32(stream)?.into())),
        _ => return Err(io::Error::new(ErrorKind::InvalidData, "an unknown opcode")),
    }))
}

fn read_u32(stream: &mut impl Read) -> io::Result<u32> {
    let mut bytes = [0; 4];
    stream.read_exact(&mut bytes)?;
    Ok(u32::from_be_bytes(bytes))
}

fn read_u64(stream: &mut impl Read) -> io::Result<u64> {
    let mut bytes = [0; 8];
    stream.read_exact(&mut bytes)?;
    Ok(u64::from_be_bytes(bytes))
}

/// Writes a datagram, in one piece so that no half of it waits in the kernel.
pub(crate) fn write_datagram(stream: &mut impl Write, datagram: &[u8]) -> io::Result<()> {
    let length = u32::try_from(datagram.len()).map_err(|_| ErrorKind::InvalidInput)?;
    stream.write_all(&[&b"P"[..], &length.to_be_bytes(), datagram].concat())
}

/// Acknowledges [`Frame::Advance`].
pub(crate) fn write_advanced(stream: &mut impl Write) -> io::Result<()> {
    stream.write_all(b"t")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn frames(mut bytes: &[u8]) -> Vec<Frame> {
        let mut all = Vec::new();
        while let Some(frame) = read(&mut bytes).unwrap() {
            all.push(frame);
        }
        all
    }

    #[test]
    fn every_opcode_is_read_in_big_endian() {
        let stream = [
            &b"P\0\0\0\x03abc"[..],
            b"P\0\0\0\0",
            b"T\0\0\0\0\x17\xd7\x84\0",
            b"M\0\0\x01\x2c",
            b"E\0\0\0\0\0\0\x03\xe8",
            b"E\xff\xff\xff\xff\xff\xff\xff\xff",
            b"U\0\0\x01\x90",
        ]
        .concat();
        let expected = [
            Frame::Datagram(b"abc".to_vec()),
            Frame::Datagram(vec![]),
            Frame::Advance(Duration::from_millis(400)),
            Frame::Mtu(300),
            Frame::ExpectTimeout(Some(Duration::from_micros(1))),
            Frame::ExpectTimeout(None),
            Frame::InitialTimeout(Duration::from_millis(400)),
        ];
        assert_eq!(frames(&stream), expected);
    }

    #[test]
    fn the_end_inside_of_a_frame_is_an_error_and_between_frames_it_is_none() {
        for whole in
            [&b"P\0\0\0\x01a"[..], b"T\0\0\0\0\0\0\0\0", b"M\0\0\0\0", b"E\0\0\0\0\0\0\0\0", b"U\0\0\0\0"]
        {
            for cut in 1..whole.len() {
                assert!(read(&mut &whole[..cut]).is_err(), "{whole:?} cut at {cut}");
            }
            assert_eq!(frames(whole).len(), 1);
        }
        assert_eq!(read(&mut &b""[..]).unwrap(), None);
    }

    #[test]
    fn unknown_opcodes_and_absurd_lengths_are_errors() {
        assert!(read(&mut &b"tP"[..]).is_err());
        assert!(read(&mut &b"P\xff\xff\xff\xff"[..]).is_err());
    }

    #[test]
    fn what_is_written_reads_back() {
        let mut out = Vec::new();
        write_datagram(&mut out, b"datagram").unwrap();
        assert_eq!(frames(&out), [Frame::Datagram(b"datagram".to_vec())]);
        write_advanced(&mut out).unwrap();
        assert_eq!(out.last(), Some(&b't'));
    }
}
