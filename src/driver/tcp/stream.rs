//! One TCP connection: what has come half, what has still to go, and who is told when it can be read or written again.

use std::future::Future;
use std::io;
use std::net::{Shutdown, SocketAddr};
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll, Wake, Waker};
use std::time::{Duration, Instant};

use sinnet_peer::Path;
use socket2::SockRef;
use tokio::net::{TcpSocket, TcpStream};

use super::framing;
use crate::shared::EndpointShared;

/// Bytes that may wait for a connection that takes none at present. What doesn't fit is lost, as on a link that is full; about what a
/// batch has, and some for the next.
pub(super) const MAX_WAITING: usize = 256 * 1024;

/// The same before the connection is there: some checks.
const MAX_WAITING_BEFORE: usize = 8 * 1024;

/// Of memory that is not in use at present, this much is kept.
const KEPT: usize = 4096;

/// What was not used for so long is not in use, of what batches are written into.
const QUIET: Duration = Duration::from_secs(2);

/// Which connections have something to do. Their wakers put them here, so that nobody has to look at all of them.
pub(super) struct Ready {
    keys: Mutex<Vec<usize>>,
    shared: Arc<EndpointShared>,
}

impl Ready {
    pub(super) fn new(shared: Arc<EndpointShared>) -> Arc<Self> {
        Arc::new(Self { keys: Mutex::default(), shared })
    }

    pub(super) fn take(&self) -> Vec<usize> {
        std::mem::take(&mut *self.keys.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

/// Wakes the driver for one connection or listener.
pub(super) struct Wakes {
    key: usize,
    /// It is in the list.
    listed: AtomicBool,
    ready: Arc<Ready>,
}

impl Wakes {
    pub(super) fn new(key: usize, ready: &Arc<Ready>) -> Arc<Self> {
        Arc::new(Self { key, listed: AtomicBool::new(false), ready: ready.clone() })
    }

    /// From here on a wake counts anew.
    pub(super) fn unlist(&self) {
        self.listed.store(false, Ordering::Release);
    }

    pub(super) fn list(&self) {
        if !self.listed.swap(true, Ordering::AcqRel) {
            self.ready.keys.lock().unwrap_or_else(PoisonError::into_inner).push(self.key);
            self.ready.shared.wake_driver();
        }
    }
}

impl Wake for Wakes {
    fn wake(self: Arc<Self>) {
        self.list();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        self.list();
    }
}

type Connecting = Pin<Box<dyn Future<Output = io::Result<TcpStream>> + Send>>;

enum Io {
    Connecting(Connecting),
    Open(TcpStream),
}

/// Who a connection is for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Owner {
    /// It was accepted, and has not shown yet whose it is.
    Nobody,
    /// A connection of the endpoint.
    Peer(usize),
    /// Its owner has gone: what waits is still sent, and what comes is dropped.
    Gone,
}

pub(super) struct Stream {
    io: Io,
    pub(super) path: Path,
    pub(super) owner: Owner,
    pub(super) wakes: Arc<Wakes>,
    /// A frame of which only the beginning has come.
    pub(super) begun: Vec<u8>,
    /// Frames, of which `sent` bytes are away.
    out: Vec<u8>,
    sent: usize,
    /// When it was accepted, began to connect, or lost its owner.
    pub(super) since: Instant,
    /// When something last came or went.
    pub(super) used: Instant,
    /// Both directions end: our last byte is away.
    is_shut: bool,
}

impl Stream {
    pub(super) fn accepted(io: TcpStream, path: Path, now: Instant, wakes: Arc<Wakes>) -> Self {
        Self::new(Io::Open(io), path, Owner::Nobody, now, wakes)
    }

    /// Begins to connect, from the path's local address and any port.
    pub(super) fn connect(path: Path, peer: usize, now: Instant, wakes: Arc<Wakes>) -> Self {
        let connecting: Connecting = match socket(path) {
            Ok(socket) => Box::pin(socket.connect(path.remote)),
            Err(error) => Box::pin(std::future::ready(Err(error))),
        };
        wakes.list();
        Self::new(Io::Connecting(connecting), path, Owner::Peer(peer), now, wakes)
    }

    fn new(io: Io, path: Path, owner: Owner, now: Instant, wakes: Arc<Wakes>) -> Self {
        Self {
            io,
            path,
            owner,
            wakes,
            begun: Vec::new(),
            out: Vec::new(),
            sent: 0,
            since: now,
            used: now,
            is_shut: false,
        }
    }

    pub(super) fn is_connecting(&self) -> bool {
        matches!(self.io, Io::Connecting(_))
    }

    /// Whether it is connected by now. `WouldBlock`: not yet, and we are woken when it is.
    pub(super) fn connected(&mut self) -> io::Result<()> {
        let Io::Connecting(connecting) = &mut self.io else { return Ok(()) };
        let waker = Waker::from(self.wakes.clone());
        match connecting.as_mut().poll(&mut Context::from_waker(&waker)) {
            Poll::Pending => Err(io::ErrorKind::WouldBlock.into()),
            Poll::Ready(stream) => {
                let stream = stream?;
                set_options(&stream);
                self.io = Io::Open(stream);
                self.flush()
            }
        }
    }

    /// Reads behind what has come of a frame that was begun. Gives how much there is then; 0 is the end. `WouldBlock`: we are woken
    /// when there is something.
    pub(super) fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        let Io::Open(stream) = &self.io else { return Err(io::ErrorKind::WouldBlock.into()) };
        let kept = self.begun.len();
        let Some((begun, room)) = buf.split_at_mut_checked(kept) else { return Ok(0) };
        let waker = Waker::from(self.wakes.clone());
        loop {
            match stream.try_read(room) {
                Ok(0) => return Ok(0),
                Ok(read) => {
                    begun.copy_from_slice(&self.begun);
                    return Ok(kept + read);
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    match stream.poll_read_ready(&mut Context::from_waker(&waker)) {
                        Poll::Ready(ready) => ready?,
                        Poll::Pending => return Err(error),
                    }
                }
                Err(error) => return Err(error),
            }
        }
    }

    /// Keeps the beginning of a frame for the next read.
    pub(super) fn keep(&mut self, begun: &[u8]) {
        self.begun.clear();
        if begun.is_empty() && self.begun.capacity() > KEPT {
            self.begun = Vec::new();
        }
        self.begun.extend_from_slice(begun);
    }

    /// Queues datagrams, each of `stride` bytes but for the last, and writes what goes at once. Gives how many had no room.
    pub(super) fn send(&mut self, contents: &[u8], stride: usize) -> u64 {
        let room = if self.is_connecting() { MAX_WAITING_BEFORE } else { MAX_WAITING };
        let mut lost = 0;
        for datagram in contents.chunks(stride.max(1)) {
            if self.out.len() - self.sent + framing::HEADER + datagram.len() > room {
                lost += 1;
            } else {
                framing::push(&mut self.out, datagram);
            }
        }
        if self.flush().is_err() {
            // Reading says the same, and there it can be told.
            self.wakes.list();
        }
        lost
    }

    /// Writes what waits. What doesn't go is gone on with when we are woken.
    pub(super) fn flush(&mut self) -> io::Result<()> {
        let Io::Open(stream) = &self.io else { return Ok(()) };
        let waker = Waker::from(self.wakes.clone());
        while let Some(waiting) = self.out.get(self.sent..).filter(|waiting| !waiting.is_empty()) {
            match stream.try_write(waiting) {
                Ok(written) => self.sent += written,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    match stream.poll_write_ready(&mut Context::from_waker(&waker)) {
                        Poll::Ready(ready) => ready?,
                        Poll::Pending => {
                            // What is away makes room once it is the greater part, so that each byte is moved once.
                            if self.sent > self.out.len() / 2 {
                                self.out.drain(..self.sent);
                                self.sent = 0;
                            }
                            return Ok(());
                        }
                    }
                }
                Err(error) => return Err(error),
            }
        }
        self.out.clear();
        self.sent = 0;
        if self.owner == Owner::Gone && !self.is_shut {
            self.is_shut = true;
            // With bytes unread, closing would reset the connection, and take our last words back.
            let _ = SockRef::from(stream).shutdown(Shutdown::Write);
        }
        Ok(())
    }

    /// Gives back the memory of a batch when nothing has gone on for a while.
    pub(super) fn give_back(&mut self, now: Instant) {
        if self.out.is_empty()
            && self.out.capacity() > KEPT
            && now.saturating_duration_since(self.used) >= QUIET
        {
            self.out = Vec::new();
        }
    }

    /// Its owner has gone: the rest is sent, and then our end.
    pub(super) fn finish(&mut self, now: Instant) {
        self.owner = Owner::Gone;
        self.since = now;
        self.begun = Vec::new();
        if self.flush().is_err() {
            self.is_shut = true;
        }
        self.wakes.list();
    }
}

/// A socket that connects from the path's local address.
fn socket(path: Path) -> io::Result<TcpSocket> {
    let socket = if path.local.is_ipv4() { TcpSocket::new_v4()? } else { TcpSocket::new_v6()? };
    socket.bind(SocketAddr::new(path.local.ip(), 0))?;
    Ok(socket)
}

/// Each datagram matters by itself, so none waits for the next.
pub(super) fn set_options(stream: &TcpStream) {
    if let Err(error) = stream.set_nodelay(true) {
        tracing::debug!(%error, "TCP_NODELAY");
    }
}
