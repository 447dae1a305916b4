//! What the machine can do: UDP without a stack, in the same two processes and with the same counters.
//!
//! - `udp`: a system call for each datagram of 1200 bytes, `sendto` and `recvfrom`; round trips by blocking calls.
//! - `udp-gso-aes`: 54 datagrams of 1200 bytes in a call (UDP_SEGMENT), received as they come together (UDP_GRO), each sealed
//!   and opened in place by AES-128-GCM: 21 bytes of header, 1163 of payload, 16 of tag, as in DTLS. Whole datagrams count.
//!
//! "Descriptions" are addresses. Nothing is sent again or held back, so what the receiver has no room for is lost.

use std::collections::HashMap;
use std::io::IoSliceMut;
use std::net::{SocketAddr, UdpSocket};
use std::os::fd::AsFd;
use std::sync::Arc;
use std::thread;

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use quinn_udp::{RecvMeta, Transmit, UdpSocketState};
use ring::aead::{AES_128_GCM, Aad, LessSafeKey, Nonce, UnboundKey};
use socket2::SockRef;

use super::{SOCKET_BUFFER, Stack};
use crate::run::app::App;
use crate::run::link::Channel;

/// Bytes of a datagram.
const DATAGRAM: usize = 1200;
/// Datagrams in one call: 64 KB.
const SEGMENTS: usize = 54;
/// Of a DTLS 1.2 record with its explicit nonce.
const HEADER: usize = 21;
const TAG: usize = 16;

pub struct Floor {
    has_batches: bool,
    waiting: HashMap<u32, (UdpSocket, Arc<App>)>,
}

impl Floor {
    pub fn new(has_batches: bool) -> Self {
        Self { has_batches, waiting: HashMap::new() }
    }

    fn start(&self, socket: UdpSocket, peer: SocketAddr, app: Arc<App>) {
        socket.connect(peer).expect("a connected socket");
        let has_batches = self.has_batches;
        thread::spawn(move || {
            let first = app.opened();
            if app.flood().is_some() {
                if has_batches { flood_batches(&socket, peer, &app) } else { flood(&socket, &app) }
            } else if has_batches {
                count_batches(&socket, &app);
            } else {
                first.into_iter().for_each(|message| drop(socket.send(&message)));
                let mut buffer = [0; 2048];
                loop {
                    let Ok(len) = socket.recv(&mut buffer) else { continue };
                    if let Some(answer) = app.received(len) {
                        let _ = socket.send(&answer);
                    }
                }
            }
        });
    }
}

impl Stack for Floor {
    fn offer(&mut self, _: Channel, app: Arc<App>) {
        let socket = socket();
        app.described(socket.local_addr().expect("an address").to_string());
        self.waiting.insert(app.number, (socket, app));
    }

    fn accept(&mut self, sdp: String, app: Arc<App>) {
        let socket = socket();
        let local = socket.local_addr().expect("an address").to_string();
        self.start(socket, sdp.parse().expect("an address"), app.clone());
        app.described(local);
    }

    fn answered(&mut self, number: u32, sdp: String) {
        let (socket, app) = self.waiting.remove(&number).expect("was offered");
        self.start(socket, sdp.parse().expect("an address"), app);
    }

    fn close(&mut self, _: u32) {}
}

fn socket() -> UdpSocket {
    let socket = UdpSocket::bind("127.0.0.1:0").expect("a socket");
    let options = SockRef::from(&socket);
    options.set_recv_buffer_size(SOCKET_BUFFER).expect("a socket option");
    options.set_send_buffer_size(SOCKET_BUFFER).expect("a socket option");
    socket
}

fn flood(socket: &UdpSocket, app: &App) {
    let datagram = [0x5a; DATAGRAM];
    while app.flood().is_some() {
        let _ = socket.send(&datagram);
        app.sent();
    }
}

fn key() -> LessSafeKey {
    LessSafeKey::new(UnboundKey::new(&AES_128_GCM, &[7; 16]).expect("a key"))
}

/// The nonce that a datagram's header carries.
fn nonce(counter: [u8; 8]) -> Nonce {
    let mut nonce = [0; 12];
    nonce[4..].copy_from_slice(&counter);
    Nonce::assume_unique_for_key(nonce)
}

fn flood_batches(socket: &UdpSocket, destination: SocketAddr, app: &App) {
    let state = UdpSocketState::new(socket.into()).expect("socket options");
    let key = key();
    let mut batch = vec![0x5a; DATAGRAM * SEGMENTS];
    let mut counter = 0_u64;
    while app.flood().is_some() {
        for datagram in batch.chunks_exact_mut(DATAGRAM) {
            counter += 1;
            let (header, sealed) = datagram.split_at_mut(HEADER);
            header[HEADER - 8..].copy_from_slice(&counter.to_be_bytes());
            let (payload, tag) = sealed.split_at_mut(DATAGRAM - HEADER - TAG);
            let aad = Aad::from(&header[..13]);
            let made =
                key.seal_in_place_separate_tag(nonce(counter.to_be_bytes()), aad, payload).expect("sealed");
            tag.copy_from_slice(made.as_ref());
            app.sent();
        }
        let transmit =
            Transmit { destination, ecn: None, contents: &batch, segment_size: Some(DATAGRAM), src_ip: None };
        while state.try_send(socket.into(), &transmit).is_err() {
            let mut writable = [PollFd::new(socket.as_fd(), PollFlags::POLLOUT)];
            let _ = poll(&mut writable, PollTimeout::from(100_u8));
        }
    }
}

fn count_batches(socket: &UdpSocket, app: &App) {
    let state = UdpSocketState::new(socket.into()).expect("socket options");
    let key = key();
    let mut slabs = vec![vec![0; 65_536]; 4];
    loop {
        let mut metas = [RecvMeta::default(); 4];
        let received = {
            let mut buffers: Vec<IoSliceMut<'_>> =
                slabs.iter_mut().map(|slab| IoSliceMut::new(slab)).collect();
            state.recv(socket.into(), &mut buffers, &mut metas)
        };
        let Ok(received) = received else {
            let mut readable = [PollFd::new(socket.as_fd(), PollFlags::POLLIN)];
            let _ = poll(&mut readable, PollTimeout::NONE);
            continue;
        };
        for (meta, slab) in metas[..received].iter().zip(&mut slabs) {
            for datagram in slab[..meta.len].chunks_mut(meta.stride.max(1)) {
                let len = datagram.len();
                let Some((header, sealed)) = datagram.split_at_mut_checked(HEADER) else { continue };
                let counter = header[HEADER - 8..].try_into().expect("eight bytes");
                if key.open_in_place(nonce(counter), Aad::from(&header[..13]), sealed).is_ok() {
                    let _ = app.received(len);
                }
            }
        }
    }
}
