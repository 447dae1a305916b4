//! What a careful application gives a library without I/O: for each side a thread that waits for its sockets by epoll and for
//! the earliest deadline, reads until a socket is empty (64 datagrams at most, then others get their turn), and writes with
//! one system call per datagram, as the authors' examples do. Socket buffers are 4 MiB. Each connection has its own socket.

use std::collections::{BTreeSet, HashMap};
use std::io::ErrorKind;
use std::marker::PhantomData;
use std::net::{SocketAddr, UdpSocket};
use std::os::fd::AsFd;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread;
use std::time::Instant;

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::epoll::{Epoll, EpollCreateFlags, EpollEvent, EpollFlags, EpollTimeout};
use nix::sys::eventfd::EventFd;
use socket2::SockRef;

use super::{SOCKET_BUFFER, Setup, Stack};
use crate::run::app::App;
use crate::run::link::Channel;

/// Datagrams of one socket in a row.
const BURST: usize = 64;

/// The event's number that means an order.
const ORDERS: u64 = u64::MAX;

/// One connection of a library without I/O, in this driver's terms.
pub trait Core: Sized {
    /// A connection that offers one channel, and the offer with `local` as its candidate.
    fn offer(
        setup: Setup,
        now: Instant,
        local: SocketAddr,
        channel: Channel,
        app: Arc<App>,
    ) -> (Self, String);
    /// A connection that answers, and the answer.
    fn accept(setup: Setup, now: Instant, local: SocketAddr, sdp: String, app: Arc<App>) -> (Self, String);
    /// Our offer was answered.
    fn answered(&mut self, now: Instant, sdp: String, wire: &Wire);
    /// A datagram. What comes of it may wait until [`Core::turn`].
    fn receive(&mut self, now: Instant, from: SocketAddr, datagram: &[u8], wire: &Wire);
    /// The deadline has come.
    fn timeout(&mut self, now: Instant, wire: &Wire);
    /// Takes everything out of the library: datagrams onto the wire, messages to the application, and what that sends into the
    /// library, until there is no more. Returns the next deadline.
    fn turn(&mut self, now: Instant, wire: &Wire) -> Option<Instant>;
    /// Says goodbye.
    fn close(&mut self, now: Instant, wire: &Wire);
}

/// A connection's socket.
pub struct Wire {
    socket: UdpSocket,
    pub local: SocketAddr,
}

impl Wire {
    fn new() -> Self {
        let socket = UdpSocket::bind("127.0.0.1:0").expect("a socket");
        socket.set_nonblocking(true).expect("a socket option");
        let options = SockRef::from(&socket);
        options.set_recv_buffer_size(SOCKET_BUFFER).expect("a socket option");
        options.set_send_buffer_size(SOCKET_BUFFER).expect("a socket option");
        let local = socket.local_addr().expect("an address");
        Self { socket, local }
    }

    /// Sends a datagram; waits while the kernel has no room.
    pub fn send(&self, datagram: &[u8], to: SocketAddr) {
        loop {
            match self.socket.send_to(datagram, to) {
                Err(error) if error.kind() == ErrorKind::WouldBlock => {
                    let mut writable = [PollFd::new(self.socket.as_fd(), PollFlags::POLLOUT)];
                    let _ = poll(&mut writable, PollTimeout::from(100_u8));
                }
                // Others are ICMP errors of a peer that has gone.
                _ => return,
            }
        }
    }
}

enum Order {
    Offer(Channel, Arc<App>),
    Accept(String, Arc<App>),
    Answer(u32, String),
    Close(u32),
}

/// A thread for what offers and one for what answers.
pub struct PlainDriver<C> {
    setup: Setup,
    offering: Option<Side>,
    answering: Option<Side>,
    core: PhantomData<fn() -> C>,
}

struct Side {
    orders: Sender<Order>,
    wake: Arc<EventFd>,
}

impl Side {
    fn start<C: Core>(setup: Setup) -> Self {
        let (orders, receiver) = channel();
        let wake = Arc::new(EventFd::new().expect("an eventfd"));
        let for_thread = wake.clone();
        thread::spawn(move || Thread::<C>::new(setup, receiver, for_thread).run());
        Self { orders, wake }
    }

    fn order(&self, order: Order) {
        self.orders.send(order).expect("the thread lives");
        self.wake.write(1).expect("an eventfd");
    }
}

impl<C: Core + 'static> PlainDriver<C> {
    pub fn new(setup: Setup) -> Self {
        Self { setup, offering: None, answering: None, core: PhantomData }
    }
}

impl<C: Core + 'static> Stack for PlainDriver<C> {
    fn offer(&mut self, channel: Channel, app: Arc<App>) {
        self.offering.get_or_insert_with(|| Side::start::<C>(self.setup)).order(Order::Offer(channel, app));
    }

    fn accept(&mut self, sdp: String, app: Arc<App>) {
        self.answering.get_or_insert_with(|| Side::start::<C>(self.setup)).order(Order::Accept(sdp, app));
    }

    fn answered(&mut self, number: u32, sdp: String) {
        self.offering.get_or_insert_with(|| Side::start::<C>(self.setup)).order(Order::Answer(number, sdp));
    }

    fn close(&mut self, number: u32) {
        for side in self.offering.iter().chain(&self.answering) {
            side.order(Order::Close(number));
        }
    }
}

struct Thread<C> {
    setup: Setup,
    orders: Receiver<Order>,
    wake: Arc<EventFd>,
    epoll: Epoll,
    connections: HashMap<u32, Connection<C>>,
    deadlines: BTreeSet<(Instant, u32)>,
}

struct Connection<C> {
    core: C,
    wire: Wire,
    deadline: Option<Instant>,
}

impl<C: Core> Thread<C> {
    fn new(setup: Setup, orders: Receiver<Order>, wake: Arc<EventFd>) -> Self {
        let epoll = Epoll::new(EpollCreateFlags::empty()).expect("an epoll");
        epoll.add(&*wake, EpollEvent::new(EpollFlags::EPOLLIN, ORDERS)).expect("an epoll");
        Self { setup, orders, wake, epoll, connections: HashMap::new(), deadlines: BTreeSet::new() }
    }

    fn run(mut self) {
        let mut events = [EpollEvent::empty(); 64];
        let mut buffer = vec![0; 65_536];
        loop {
            let timeout = match self.deadlines.first() {
                Some((at, _)) => {
                    let left = at.saturating_duration_since(Instant::now());
                    // Whole milliseconds, so up.
                    let millis = left.as_nanos().div_ceil(1_000_000);
                    EpollTimeout::try_from(i32::try_from(millis).unwrap_or(i32::MAX)).expect("not negative")
                }
                None => EpollTimeout::NONE,
            };
            let ready = self.epoll.wait(&mut events, timeout).unwrap_or(0);
            for event in &events[..ready] {
                match event.data() {
                    ORDERS => self.take_orders(),
                    number => self.receive(number as u32, &mut buffer),
                }
            }
            let now = Instant::now();
            while let Some(&(at, number)) = self.deadlines.first()
                && at <= now
            {
                let Some(connection) = self.connections.get_mut(&number) else { break };
                connection.core.timeout(now, &connection.wire);
                self.turn(number, now);
                // One that is due again at once must not keep the others waiting.
                if self.deadlines.first() == Some(&(at, number)) {
                    break;
                }
            }
        }
    }

    fn receive(&mut self, number: u32, buffer: &mut [u8]) {
        let Some(connection) = self.connections.get_mut(&number) else { return };
        for _ in 0..BURST {
            match connection.wire.socket.recv_from(buffer) {
                Ok((len, from)) => {
                    connection.core.receive(Instant::now(), from, &buffer[..len], &connection.wire);
                }
                Err(error) if error.kind() == ErrorKind::WouldBlock => break,
                // ICMP errors.
                Err(_) => {}
            }
        }
        self.turn(number, Instant::now());
    }

    fn turn(&mut self, number: u32, now: Instant) {
        let Some(connection) = self.connections.get_mut(&number) else { return };
        let deadline = connection.core.turn(now, &connection.wire);
        if connection.deadline != deadline {
            if let Some(old) = connection.deadline {
                self.deadlines.remove(&(old, number));
            }
            self.deadlines.extend(deadline.map(|at| (at, number)));
            connection.deadline = deadline;
        }
    }

    fn take_orders(&mut self) {
        self.wake.read().expect("an eventfd");
        while let Ok(order) = self.orders.try_recv() {
            let now = Instant::now();
            let number = match order {
                Order::Offer(channel, app) => {
                    let wire = Wire::new();
                    let (core, sdp) = C::offer(self.setup, now, wire.local, channel, app.clone());
                    app.described(sdp);
                    self.add(app.number, core, wire)
                }
                Order::Accept(sdp, app) => {
                    let wire = Wire::new();
                    let (core, sdp) = C::accept(self.setup, now, wire.local, sdp, app.clone());
                    app.described(sdp);
                    self.add(app.number, core, wire)
                }
                Order::Answer(number, sdp) => {
                    if let Some(connection) = self.connections.get_mut(&number) {
                        connection.core.answered(now, sdp, &connection.wire);
                    }
                    number
                }
                Order::Close(number) => {
                    if let Some(mut connection) = self.connections.remove(&number) {
                        connection.core.close(now, &connection.wire);
                        if let Some(deadline) = connection.deadline {
                            self.deadlines.remove(&(deadline, number));
                        }
                    }
                    continue;
                }
            };
            self.turn(number, now);
        }
    }

    fn add(&mut self, number: u32, core: C, wire: Wire) -> u32 {
        let event = EpollEvent::new(EpollFlags::EPOLLIN, u64::from(number));
        self.epoll.add(&wire.socket, event).expect("an epoll");
        self.connections.insert(number, Connection { core, wire, deadline: None });
        number
    }
}
