//! Packet captures: a bounded queue between a connection and a thread that writes.
//!
//! The connection puts whole blocks into the queue while its core is locked, and never waits: what has no room is dropped
//! and counted. The thread takes all there is at a time and writes it.

use std::io::{self, ErrorKind, Write};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::SystemTime;

use sinnet_peer::{PcapOptions, PcapTap};

use crate::shared::{Latch, PeerShared, now};

/// Bytes that wait to be written, at the most.
const QUEUE: usize = 8 * 1024 * 1024;

/// A packet capture under way, by [`PeerConnection::start_capture`](crate::PeerConnection::start_capture).
///
/// Dropping it changes nothing: the capture goes on to the end of the connection.
pub struct Capture {
    queue: Arc<Queue>,
    peer: Arc<PeerShared>,
}

/// What became of a [`Capture`].
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
#[non_exhaustive]
pub struct CaptureSummary {
    /// Bytes written.
    pub bytes: u64,
    /// Packets left out, because the writer was slower than the connection.
    pub dropped: u64,
}

#[derive(Default)]
struct Queue {
    state: Mutex<State>,
    filled: Condvar,
    finished: Latch,
}

#[derive(Default)]
struct State {
    /// What the thread has yet to take.
    waiting: Vec<u8>,
    summary: CaptureSummary,
    error: Option<io::Error>,
    /// Nothing more will come.
    closed: bool,
}

impl Queue {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The thread: writes until the connection's end of the queue is dropped.
    fn drain(&self, mut writer: impl Write) {
        let mut taken = Vec::new();
        loop {
            let mut state = self.lock();
            while state.waiting.is_empty() && !state.closed {
                state = self.filled.wait(state).unwrap_or_else(PoisonError::into_inner);
            }
            if state.waiting.is_empty() {
                break;
            }
            taken.clear();
            std::mem::swap(&mut taken, &mut state.waiting);
            drop(state);
            // Flushed each time, so that the file can be watched while it grows.
            if let Err(error) = writer.write_all(&taken).and_then(|()| writer.flush()) {
                self.lock().error = Some(error);
                break;
            }
            self.lock().summary.bytes += taken.len() as u64;
        }
        self.finished.set();
    }
}

/// The connection's end of the queue. Takes all of a block, or nothing.
struct Inlet(Arc<Queue>);

impl Write for Inlet {
    fn write(&mut self, block: &[u8]) -> io::Result<usize> {
        let mut state = self.0.lock();
        if state.error.is_some() {
            return Err(ErrorKind::BrokenPipe.into());
        }
        if state.waiting.len() + block.len() > QUEUE {
            state.summary.dropped += 1;
            return Err(ErrorKind::WouldBlock.into());
        }
        let idle = state.waiting.is_empty();
        state.waiting.extend_from_slice(block);
        drop(state);
        if idle {
            self.0.filled.notify_one();
        }
        Ok(block.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Drop for Inlet {
    fn drop(&mut self) {
        self.0.lock().closed = true;
        self.0.filled.notify_one();
    }
}

impl Capture {
    pub(crate) fn start(
        peer: &Arc<PeerShared>,
        writer: impl Write + Send + 'static,
        options: PcapOptions,
    ) -> io::Result<Self> {
        let queue = Arc::<Queue>::default();
        #[expect(clippy::disallowed_methods, reason = "captures are dated by the driver's clocks")]
        let unix = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
        let tap = PcapTap::new(Inlet(queue.clone()), options, now(), unix)?;
        let drained = queue.clone();
        std::thread::Builder::new().name("sinnet-capture".to_owned()).spawn(move || drained.drain(writer))?;
        peer.lock().peer.set_tap(Some(Box::new(tap)));
        Ok(Self { queue, peer: peer.clone() })
    }

    /// Whether the capture has ended and everything is written.
    pub fn is_finished(&self) -> bool {
        self.queue.finished.is_set()
    }

    /// Ends the capture, if the connection's end has not, and waits until everything is written.
    ///
    /// # Errors
    /// The writer's; the file ends there.
    pub async fn finish(self) -> io::Result<CaptureSummary> {
        if !self.queue.lock().closed {
            // Its own tap: another capture in its place would have closed the queue.
            self.peer.lock().peer.set_tap(None);
        }
        self.queue.finished.wait().await;
        let mut state = self.queue.lock();
        match state.error.take() {
            Some(error) => Err(error),
            None => Ok(state.summary),
        }
    }
}

impl std::fmt::Debug for Capture {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Capture").field("so_far", &self.queue.lock().summary).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc;

    use super::*;

    /// Waits before each write until it is allowed one.
    struct SlowDisk(mpsc::Receiver<()>, Arc<Mutex<Vec<u8>>>);

    impl Write for SlowDisk {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            let _ = self.0.recv();
            self.1.lock().unwrap().extend_from_slice(bytes);
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn a_slow_writer_costs_packets_and_never_time() {
        let queue = Arc::<Queue>::default();
        let (allow, allowed) = mpsc::channel();
        let written = Arc::<Mutex<Vec<u8>>>::default();
        let disk = SlowDisk(allowed, written.clone());
        let drained = queue.clone();
        let thread = std::thread::spawn(move || drained.drain(disk));
        let mut inlet = Inlet(queue.clone());
        let block = vec![7; 1024 * 1024];
        let taken = (0..100).filter(|_| inlet.write(&block).is_ok()).count();
        // The queue's fill, and what the thread may have taken before it.
        assert!((8..=16).contains(&taken), "{taken}");
        assert_eq!(queue.lock().summary.dropped, 100 - taken as u64);
        drop(inlet);
        drop(allow);
        thread.join().unwrap();
        assert_eq!(written.lock().unwrap().len(), taken * block.len());
        assert_eq!(queue.lock().summary.bytes, (taken * block.len()) as u64);
    }

    #[test]
    fn a_writer_that_fails_is_told_to_the_connection() {
        struct Full;
        impl Write for Full {
            fn write(&mut self, _: &[u8]) -> io::Result<usize> {
                Err(ErrorKind::StorageFull.into())
            }
            fn flush(&mut self) -> io::Result<()> {
                Ok(())
            }
        }
        let queue = Arc::<Queue>::default();
        let mut inlet = Inlet(queue.clone());
        inlet.write_all(b"block").unwrap();
        queue.drain(Full);
        assert_eq!(inlet.write(b"block").unwrap_err().kind(), ErrorKind::BrokenPipe);
        assert_eq!(queue.lock().error.as_ref().unwrap().kind(), ErrorKind::StorageFull);
    }
}
