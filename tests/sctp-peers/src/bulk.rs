//! Bulk transfers over one bottleneck.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use bytes::Bytes;
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use sinnet_netsim::{HEADERS, LinkConfig, Loss, Net};

use crate::world::base;
use crate::{Endpoint, Incoming, Kind, Outgoing};

/// Payload of a full packet with one DATA chunk, and its bytes on the link.
const FULL_PAYLOAD: f64 = 1132.0;
const FULL_PACKET: f64 = (1160 + HEADERS) as f64;

const SENDER: usize = 0;
const RECEIVER: usize = 1;

/// What is between the two hosts.
#[derive(Clone, Copy, Debug)]
pub struct Path {
    /// Rate of the bottleneck, in Mbit/s.
    pub mbit: u64,
    /// Round-trip time without queueing, in milliseconds.
    pub rtt: u64,
    /// Packets lost at random on the way to the receiver, in percent.
    pub loss: f64,
    /// Room before the bottleneck, in bandwidth-delay products; ten packets at least.
    pub queue: f64,
}

impl Path {
    fn link(self) -> LinkConfig {
        let link = LinkConfig {
            rate: Some(self.mbit * 1_000_000),
            delay: Duration::from_micros(self.rtt * 500),
            loss: if self.loss > 0.0 { Loss::Bernoulli(self.loss / 100.0) } else { Loss::None },
            ..LinkConfig::default()
        }
        .with_queue_of_bdp(self.queue);
        LinkConfig { queue: link.queue.max(10 * FULL_PACKET as usize), ..link }
    }

    /// How much payload full packets could carry in this time, in bytes.
    pub fn capacity(self, time: Duration) -> f64 {
        self.mbit as f64 * 1e6 / 8.0 * time.as_secs_f64() * FULL_PAYLOAD / FULL_PACKET
    }

    /// How much is kept on its way, so that the sender always has something to send: twice what fits on the path and
    /// its queue, and 1 to 64 MiB.
    fn on_its_way(self) -> u64 {
        let bytes_per_ms = self.mbit as f64 * 125.0;
        let held = bytes_per_ms * self.rtt as f64 + self.link().queue as f64;
        (2.0 * held).clamp(1_048_576.0, 67_108_864.0) as u64
    }

    /// How long the bottleneck takes for a full packet.
    pub fn packet_time(self) -> Duration {
        Duration::from_secs_f64(FULL_PACKET * 8.0 / (self.mbit as f64 * 1e6))
    }
}

/// One association and what has come of it.
struct Flow {
    ends: [Box<dyn Endpoint>; 2],
    /// Payload bytes that the sender has accepted.
    sent: u64,
    /// Payload bytes that the receiver has handed out.
    delivered: u64,
}

/// Senders on one host that always have something to send, their receivers on another, and a [`Path`] between.
///
/// Acknowledgements neither wait nor get lost: one of them or the next makes no difference.
pub struct Bulk {
    /// The time.
    pub now: Instant,
    path: Path,
    net: Net<Vec<u8>>,
    flows: Vec<Flow>,
    message: Outgoing,
    /// What has arrived on another stream than the transfer's, with the time.
    others: Vec<(Instant, Incoming)>,
}

impl Bulk {
    /// The stream of the transfers, which are messages of 16 KiB.
    pub const STREAM: u16 = 1;

    /// A path without a flow.
    pub fn new(path: Path, seed: u64) -> Self {
        let now = base();
        let mut net = Net::new(seed, now);
        let [from, to] = [SENDER, RECEIVER].map(|side| address(side, 0).ip());
        let link = path.link();
        net.set_link(from, to, link);
        net.set_one_way(to, from, LinkConfig { delay: link.delay, ..LinkConfig::default() });
        let payload = Bytes::from(vec![7; 16_384]);
        let message = Outgoing {
            stream: Self::STREAM,
            id: 53,
            payload,
            unordered: false,
            max_retransmits: None,
            lifetime: None,
        };
        Self { now, path, net, flows: Vec::new(), message, others: Vec::new() }
    }

    /// Begins a transfer between two ends of this kind; the number of the flow, from 0 on.
    pub fn begin(&mut self, kind: Kind, seed: u64) -> usize {
        let mut rng = StdRng::seed_from_u64(seed);
        // It never fills: what has been delivered is acknowledged soon.
        let send_buffer = 2 * self.path.on_its_way() as usize;
        let mut ends = [(); 2].map(|()| kind.end(send_buffer, self.now, rng.random()));
        ends[SENDER].connect(self.now);
        self.flows.push(Flow { ends, sent: 0, delivered: 0 });
        self.flows.len() - 1
    }

    /// Payload bytes that a flow has delivered.
    pub fn delivered(&self, flow: usize) -> u64 {
        self.flows[flow].delivered
    }

    /// Sends a message besides the transfer of a flow; `false` if there is no room for it.
    pub fn send(&mut self, flow: usize, message: &Outgoing) -> bool {
        self.flows[flow].ends[SENDER].send(self.now, message)
    }

    /// How long a packet would wait before the bottleneck now.
    pub fn queue(&self) -> Duration {
        self.net.backlog(self.now, address(SENDER, 0).ip(), address(RECEIVER, 0).ip())
    }

    /// Takes what has arrived of such messages, with the times of arrival.
    pub fn take_others(&mut self) -> Vec<(Instant, Incoming)> {
        std::mem::take(&mut self.others)
    }

    /// What the sender of a flow says about itself.
    pub fn report(&self, flow: usize) -> String {
        self.flows[flow].ends[SENDER].report()
    }

    fn drain(&mut self) {
        for (n, flow) in self.flows.iter_mut().enumerate() {
            let on_its_way = self.path.on_its_way();
            while flow.sent < flow.delivered + on_its_way && flow.ends[SENDER].send(self.now, &self.message) {
                flow.sent += self.message.payload.len() as u64;
            }
            while let Some(message) = flow.ends[RECEIVER].recv() {
                if message.stream == Self::STREAM {
                    flow.delivered += message.payload.len() as u64;
                } else {
                    self.others.push((self.now, message));
                }
            }
            for side in [SENDER, RECEIVER] {
                let end = &mut flow.ends[side];
                while let Some(packet) = end.transmit(self.now) {
                    self.net.send(self.now, address(side, n), address(1 - side, n), packet);
                }
                while end.note().is_some() {}
                if let Some(rule) = end.broken_rule(self.now) {
                    panic!("{rule}");
                }
            }
        }
    }

    /// Runs for so long.
    ///
    /// # Panics
    ///
    /// When a rule against stalling is broken.
    pub fn run_for(&mut self, time: Duration) {
        let until = self.now + time;
        loop {
            self.drain();
            let ends = self.flows.iter().flat_map(|flow| &flow.ends);
            let deadlines = ends.filter_map(|end| end.deadline());
            let next = deadlines.chain(self.net.next_arrival()).min();
            let Some(next) = next.filter(|&next| next <= until) else { break };
            self.now = self.now.max(next);
            while let Some(datagram) = self.net.recv(self.now) {
                let side = usize::from(datagram.dst.ip() == address(RECEIVER, 0).ip());
                let flow = &mut self.flows[usize::from(datagram.dst.port())];
                flow.ends[side].handle_input(self.now, &datagram.payload);
            }
            for end in self.flows.iter_mut().flat_map(|flow| &mut flow.ends) {
                if end.deadline().is_some_and(|at| at <= self.now) {
                    end.handle_timeout(self.now);
                }
            }
        }
        self.now = until;
    }
}

/// A host's address, with the flow for a port.
fn address(side: usize, flow: usize) -> SocketAddr {
    SocketAddr::from(([10, 0, 0, side as u8 + 1], flow as u16))
}
