//! A TCP connection to a TURN server, plain or with TLS: read and written when it is ready, without waiting.

use std::io::{self, BufRead, ErrorKind, Write};
use std::net::SocketAddr;
use std::task::{Context, Poll};

use rustls::ClientConnection;
use sinnet_turn::StreamDecoder;
use tokio::net::TcpStream;

/// Bytes that wait to be written at the most; what has no room beyond them is lost, as in a router's queue.
const OUT: usize = 512 * 1024;

/// Room that is made at the end of the buffer when there is less: a batch, framed.
const ROOM: usize = 128 * 1024;

/// Of these bytes the last are for requests.
const RESERVE: usize = 64 * 1024;

/// More than this waits for the server: who sends is held up for a moment.
const CROWDED: usize = 128 * 1024;

/// Given to TLS at once; its own buffer has a limit of 64 KiB by default.
const TLS_PIECE: usize = 32 * 1024;

pub(crate) struct Stream {
    tcp: TcpStream,
    tls: Option<Box<ClientConnection>>,
    pub(super) decoder: StreamDecoder,
    /// All of it has been allocated with the first message.
    out: Vec<u8>,
    /// What waits in `out`.
    start: usize,
    end: usize,
}

impl Stream {
    pub(super) fn new(tcp: TcpStream, tls: Option<ClientConnection>) -> Self {
        let decoder = StreamDecoder::new();
        Self { tcp, tls: tls.map(Box::new), decoder, out: Vec::new(), start: 0, end: 0 }
    }

    pub(super) fn local_addr(&self) -> Option<SocketAddr> {
        self.tcp.local_addr().ok()
    }

    /// Takes what has come into the decoder, at most as much as `scratch` holds. Returns whether there may be more.
    ///
    /// # Errors
    /// The connection has ended, or what came is not TLS. Nothing can be read any more.
    pub(super) fn read(&mut self, scratch: &mut [u8]) -> io::Result<bool> {
        let len = match self.tcp.try_read(scratch) {
            Ok(0) => return Err(ErrorKind::UnexpectedEof.into()),
            Ok(len) => len,
            Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(false),
            Err(error) if error.kind() == ErrorKind::Interrupted => return Ok(true),
            Err(error) => return Err(error),
        };
        let mut rest = scratch.get(..len).unwrap_or_default();
        let Some(tls) = &mut self.tls else {
            self.decoder.push(rest);
            return Ok(true);
        };
        while !rest.is_empty() && tls.read_tls(&mut rest)? > 0 {
            if let Err(error) = tls.process_new_packets() {
                // The alert, as far as there is room.
                let _ = tls.write_tls(&mut Writer(&self.tcp));
                return Err(io::Error::other(error));
            }
            let mut reader = tls.reader();
            while let Ok(plain) = reader.fill_buf() {
                if plain.is_empty() {
                    // close_notify.
                    return Err(ErrorKind::UnexpectedEof.into());
                }
                let len = plain.len();
                self.decoder.push(plain);
                reader.consume(len);
            }
        }
        Ok(true)
    }

    /// Where to write messages to.
    pub(super) fn room(&mut self) -> &mut [u8] {
        if self.out.is_empty() {
            self.out = vec![0; OUT];
        }
        if self.out.len() - self.end < ROOM && self.start > 0 {
            self.out.copy_within(self.start..self.end, 0);
            self.end -= self.start;
            self.start = 0;
        }
        self.out.get_mut(self.end..).unwrap_or_default()
    }

    /// Where to write data to: something is left for requests.
    pub(super) fn data_room(&mut self) -> &mut [u8] {
        let room = self.room();
        let len = room.len().saturating_sub(RESERVE);
        room.get_mut(..len).unwrap_or_default()
    }

    /// So many bytes have been written there.
    pub(super) fn commit(&mut self, len: usize) {
        self.end = self.out.len().min(self.end + len);
    }

    /// Whether senders should wait for a moment.
    pub(super) fn is_crowded(&self) -> bool {
        self.end - self.start > CROWDED
    }

    /// Whether there is something to write, and not only to wait for.
    fn has_output(&self) -> bool {
        match &self.tls {
            Some(tls) => tls.wants_write() || (!tls.is_handshaking() && self.end > self.start),
            None => self.end > self.start,
        }
    }

    /// Writes as much as there is room for.
    ///
    /// # Errors
    /// The connection has ended.
    pub(super) fn flush(&mut self) -> io::Result<()> {
        while self.has_output() {
            let mut writer = Writer(&self.tcp);
            let written = match &mut self.tls {
                Some(tls) if tls.wants_write() => tls.write_tls(&mut writer).map(|_| 0),
                Some(tls) => {
                    let end = self.end.min(self.start + TLS_PIECE);
                    tls.writer().write(self.out.get(self.start..end).unwrap_or_default())
                }
                None => writer.write(self.out.get(self.start..self.end).unwrap_or_default()),
            };
            match written {
                Ok(written) => self.start += written,
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(()),
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
            if self.start == self.end {
                (self.start, self.end) = (0, 0);
            }
        }
        Ok(())
    }

    /// Ready when there is something to read, or room for what is to be written.
    pub(super) fn poll_ready(&self, cx: &mut Context<'_>) -> Poll<()> {
        let writable = self.has_output() && self.tcp.poll_write_ready(cx).is_ready();
        if self.tcp.poll_read_ready(cx).is_ready() || writable { Poll::Ready(()) } else { Poll::Pending }
    }

    /// Says goodbye, as far as there is room.
    pub(super) fn close(&mut self) {
        if let Some(tls) = &mut self.tls {
            tls.send_close_notify();
        }
        let _ = self.flush();
    }
}

/// The connection's writing side, which never waits.
struct Writer<'t>(&'t TcpStream);

impl Write for Writer<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.try_write(bytes)
    }

    fn write_vectored(&mut self, pieces: &[io::IoSlice<'_>]) -> io::Result<usize> {
        self.0.try_write_vectored(pieces)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::AsyncReadExt;
    use tokio::net::TcpListener;

    use super::*;

    #[tokio::test]
    async fn what_a_server_does_not_take_is_bounded_and_comes_out_in_order() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let tcp = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
        let (mut server, _) = listener.accept().await.unwrap();
        tcp.writable().await.unwrap();
        let mut stream = Stream::new(tcp, None);
        let mut sent = Vec::new();
        let mut next = 0u8;
        // As much as the kernel takes, and then as much as there is room for.
        loop {
            let room = stream.data_room();
            let len = room.len().min(10_007);
            if len == 0 {
                break;
            }
            room[..len].fill(next);
            sent.extend_from_slice(&room[..len]);
            stream.commit(len);
            stream.flush().unwrap();
            next = next.wrapping_add(1);
            assert!(stream.end - stream.start <= OUT);
            // The kernel's buffers grow while they are filled.
            assert!(sent.len() < 256 * 1024 * 1024);
        }
        assert!(stream.is_crowded());
        assert!(stream.room().len() >= RESERVE, "a request has room all the same");
        let expected = sent.len();
        let reading = tokio::spawn(async move {
            let mut got = vec![0; expected];
            server.read_exact(&mut got).await.unwrap();
            got
        });
        while stream.has_output() {
            std::future::poll_fn(|cx| stream.tcp.poll_write_ready(cx)).await.unwrap();
            stream.flush().unwrap();
        }
        assert!(!stream.is_crowded());
        assert!(reading.await.unwrap() == sent);
    }
}
