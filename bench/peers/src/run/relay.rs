//! A path with a round-trip time and loss: a process that relays UDP between two addresses on loopback.
//!
//! ```text
//!   offerer ⇄ its port ╎ relay ╎ answerer's port ⇄ answerer
//! ```
//!
//! Each end is told the relay's port in place of the other's candidate. What comes is kept for half of the round-trip time and
//! goes on as it came: batches that the kernel hands over as one (UDP_GRO) leave as one (UDP_SEGMENT), so the relay is far
//! from being the limit. Loss is at random, datagram by datagram. Nothing limits the rate but the kernel's buffers.

use std::collections::VecDeque;
use std::io::{BufRead, BufReader, IoSliceMut, Write};
use std::net::{SocketAddr, UdpSocket};
use std::os::fd::AsFd;
use std::process::{Child, ChildStdin, Command, Stdio};
use std::time::{Duration, Instant};

use nix::poll::{PollFd, PollFlags, ppoll};
use nix::sys::time::TimeSpec;
use quinn_udp::{RecvMeta, Transmit, UdpSocketState};
use socket2::SockRef;

use crate::peers::SOCKET_BUFFER;

/// Bytes that one direction keeps at the most, as a router's queue would: half a second of 4 Gbit/s.
const QUEUE: usize = 256 * 1024 * 1024;

/// Pieces received or sent in a row.
const BURST: usize = 32;

/// The conductor's side: the process.
pub struct Relay {
    process: Child,
    orders: ChildStdin,
    /// The ports at which the offerer and the answerer find the other.
    ports: [u16; 2],
}

impl Relay {
    pub fn start(rtt_ms: u32, loss_percent: f64) -> Result<Self, String> {
        let program = std::env::current_exe().map_err(|error| error.to_string())?;
        let mut command = Command::new(program);
        command.args(["relay", "--rtt-ms", &rtt_ms.to_string(), "--loss-percent", &loss_percent.to_string()]);
        let process = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn();
        let mut process = process.map_err(|error| format!("can't start the relay: {error}"))?;
        let orders = process.stdin.take().expect("piped");
        let mut line = String::new();
        let mut lines = BufReader::new(process.stdout.take().expect("piped"));
        lines.read_line(&mut line).map_err(|error| format!("the relay says nothing: {error}"))?;
        let ports = serde_json::from_str(&line).map_err(|error| format!("the relay's ports: {error}"))?;
        Ok(Self { process, orders, ports })
    }

    /// Puts the relay in place of the candidate, and tells the relay who it stands for.
    pub fn rewrite(&mut self, sdp: &str, is_offer: bool) -> Result<String, String> {
        let mut rewritten = String::new();
        for line in sdp.split_inclusive("\r\n") {
            let mut fields: Vec<&str> = line.split(' ').collect();
            // Others than UDP, as those of TCP that only open connections, lead nowhere here.
            let is_udp = fields.get(2).is_some_and(|transport| transport.eq_ignore_ascii_case("udp"));
            if line.starts_with("a=candidate:") && fields.len() >= 6 && is_udp {
                let real = fields[5].to_owned();
                writeln!(self.orders, "{} {real}", usize::from(!is_offer))
                    .and_then(|()| self.orders.flush())
                    .map_err(|error| format!("the relay does not listen: {error}"))?;
                // Who gets an offer finds the offerer at the second port.
                let port = self.ports[usize::from(is_offer)].to_string();
                fields[5] = &port;
                rewritten.push_str(&fields.join(" "));
            } else {
                rewritten.push_str(line);
            }
        }
        Ok(rewritten)
    }
}

impl Drop for Relay {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// Something that was received in one piece.
struct Piece {
    due: Instant,
    bytes: Vec<u8>,
    stride: usize,
}

/// One of the relay's two ports.
struct Port {
    socket: UdpSocket,
    state: UdpSocketState,
    /// Who sends to it.
    owner: Option<SocketAddr>,
    /// What it has received.
    queue: VecDeque<Piece>,
    queued: usize,
    /// Buffers that are free again.
    pool: Vec<Vec<u8>>,
}

impl Port {
    fn new() -> Self {
        let socket = UdpSocket::bind("127.0.0.1:0").expect("a socket");
        let options = SockRef::from(&socket);
        options.set_recv_buffer_size(SOCKET_BUFFER).expect("a socket option");
        options.set_send_buffer_size(SOCKET_BUFFER).expect("a socket option");
        let state = UdpSocketState::new((&socket).into()).expect("socket options");
        socket.set_nonblocking(true).expect("a socket option");
        Self { socket, state, owner: None, queue: VecDeque::new(), queued: 0, pool: Vec::new() }
    }

    fn receive(&mut self, delay: Duration, loss: f64) {
        for _ in 0..BURST {
            let mut bytes = self.pool.pop().unwrap_or_default();
            bytes.resize(65_536, 0);
            let mut meta = [RecvMeta::default()];
            let received =
                self.state.recv((&self.socket).into(), &mut [IoSliceMut::new(&mut bytes)], &mut meta);
            if !matches!(received, Ok(1)) {
                self.pool.push(bytes);
                return;
            }
            let (len, stride) = (meta[0].len, meta[0].stride.max(1));
            let len = if loss > 0.0 { drop_some(&mut bytes[..len], stride, loss) } else { len };
            bytes.truncate(len);
            if len == 0 || self.queued + len > QUEUE {
                self.pool.push(bytes);
                continue;
            }
            self.queued += len;
            self.queue.push_back(Piece { due: Instant::now() + delay, bytes, stride });
        }
    }
}

/// Drops each datagram of a piece with this probability. Returns what is left.
fn drop_some(bytes: &mut [u8], stride: usize, loss: f64) -> usize {
    let mut kept = 0;
    for start in (0..bytes.len()).step_by(stride) {
        let end = (start + stride).min(bytes.len());
        if fastrand::f64() >= loss {
            bytes.copy_within(start..end, kept);
            kept += end - start;
        }
    }
    kept
}

/// The relay's process.
pub fn run(rtt_ms: u32, loss_percent: f64) {
    let (delay, loss) = (Duration::from_micros(u64::from(rtt_ms) * 500), loss_percent / 100.0);
    let mut ports = [Port::new(), Port::new()];
    let numbers = ports.each_ref().map(|port| port.socket.local_addr().expect("an address").port());
    println!("{}", serde_json::to_string(&numbers).expect("numbers"));
    // Lines `0 PORT` and `1 PORT`: where offerer and answerer are.
    let mut lines = std::io::stdin().lines();
    while ports.iter().any(|port| port.owner.is_none()) {
        let Some(Ok(line)) = lines.next() else { return };
        let Some((which, port)) = line.split_once(' ') else { continue };
        if let (Ok(which @ 0..2), Ok(port)) = (which.parse::<usize>(), port.parse::<u16>()) {
            ports[which].owner = Some(([127, 0, 0, 1], port).into());
        }
    }
    drop(lines);
    std::thread::spawn(|| {
        let mut lines = std::io::stdin().lines();
        while lines.next().is_some_and(|line| line.is_ok()) {}
        std::process::exit(0);
    });
    loop {
        let [a, b] = &mut ports;
        forward(a, b);
        forward(b, a);
        let due = [&*a, &*b].into_iter().filter_map(|port| port.queue.front()).map(|piece| piece.due).min();
        // With nanoseconds: rounded down to milliseconds it would look all the time, and take a core from who is measured.
        let timeout = due.map(|due| TimeSpec::from_duration(due.saturating_duration_since(Instant::now())));
        let mut readable = [
            PollFd::new(a.socket.as_fd(), PollFlags::POLLIN),
            PollFd::new(b.socket.as_fd(), PollFlags::POLLIN),
        ];
        let _ = ppoll(&mut readable, timeout, None);
        a.receive(delay, loss);
        b.receive(delay, loss);
    }
}

/// Sends what is due of what `from` has received, from `to`, to its owner.
fn forward(from: &mut Port, to: &mut Port) {
    let Some(destination) = to.owner else { return };
    let now = Instant::now();
    while let Some(piece) = from.queue.pop_front_if(|piece| piece.due <= now) {
        from.queued -= piece.bytes.len();
        // The kernel takes 64 segments at the most, and 65,507 bytes.
        for part in
            piece.bytes.chunks(piece.stride * (65_507 / piece.stride).clamp(1, to.state.max_gso_segments()))
        {
            let segment_size = (part.len() > piece.stride).then_some(piece.stride);
            let transmit = Transmit { destination, ecn: None, contents: part, segment_size, src_ip: None };
            // What the kernel has no room for is lost, as on any path.
            let _ = to.state.try_send((&to.socket).into(), &transmit);
        }
        from.pool.push(piece.bytes);
    }
}
