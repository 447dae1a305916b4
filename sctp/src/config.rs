//! The settings of an association and the reasons for their defaults.

use std::time::Duration;

pub use crate::tx::scheduler::Scheduler;

/// Settings of an [`Association`](crate::Association). All have defaults that suit data channels.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Config {
    /// The port we send from and expect as destination. RFC 8841 §5.1 signals it as `a=sctp-port`; everybody
    /// uses 5000.
    pub local_port: u16,
    /// The port we send to and expect as source.
    pub remote_port: u16,
    /// The largest SCTP packet, in bytes, header included, as long as nothing else is known of the path
    /// (`BASE_PLPMTU`, RFC 8899 §5.1.2). The buffer given to
    /// [`poll_transmit`](crate::Association::poll_transmit) limits it further. Rounded down to a multiple of
    /// four. Default 1160: with DTLS, UDP and IPv6 around it the datagram stays within 1280 bytes.
    pub mtu: usize,
    /// The largest SCTP packet that is tried by probes (`MAX_PLPMTU`). No probes are sent, and [`mtu`](Self::mtu) is
    /// the size of packets for good, unless this is larger. What carries the packets must not fragment them (RFC
    /// 8899 §3). Default 0.
    pub max_mtu: usize,
    /// What packets shrink to on a path that does not even take [`mtu`](Self::mtu) (`MIN_PLPMTU`), if the search is
    /// on. Default 508: with DTLS, UDP and IPv4 around it the datagram stays within 576 bytes.
    pub min_mtu: usize,
    /// How large the receive buffer may become, in bytes of memory: everything that has arrived and was not read
    /// yet counts for what it takes, payload and bookkeeping. The buffer begins with
    /// [`initial_receive_buffer`](Self::initial_receive_buffer) and grows with what the application reads per
    /// round trip, so that an application that does not read holds no more than it needs; what is free of it is
    /// advertised as `a_rwnd` (RFC 9260 §6.2). It should be twice the bandwidth-delay product of the longest path.
    /// At least one and a half of the largest message that is handed out whole is allowed whatever is said here. With
    /// [`interleaving`](Self::interleaving), it also limits how many large messages a peer may send at once:
    /// [`CloseReason::OutOfReceiveBuffer`](crate::CloseReason::OutOfReceiveBuffer). Default 16 MiB.
    pub receive_buffer: usize,
    /// How large the receive buffer is at first. Default 1 MiB.
    pub initial_receive_buffer: usize,
    /// How many bytes [`send`](crate::Association::send) accepts at the most on one stream that are not acknowledged
    /// yet, a fixed overhead per message included. The limit in force is twice the congestion window, and at least
    /// [`initial_send_buffer`](Self::initial_send_buffer). That is for a stream that sends alone. Streams that send at
    /// the same time share five quarters of it in proportion to their priorities, and a stream of which nothing is
    /// unacknowledged may always queue one message, and small ones up to 16 KiB; so the bound for all of them is five
    /// quarters of this, and one message or 16 KiB per stream. Default 16 MiB.
    pub send_buffer: usize,
    /// How much `send` accepts at first, and on any path. Default 1 MiB.
    pub initial_send_buffer: usize,
    /// The largest message taken from the peer, in bytes; the association is aborted when a larger one
    /// arrives. It is what we announce as `a=max-message-size`. Default 256 KiB.
    pub max_message_size_recv: usize,
    /// The largest message that [`recv`](crate::Association::recv) hands out whole, in bytes: the receive buffer is at
    /// least one and a half of this. If it is less than `max_message_size_recv`, larger messages are announced as soon
    /// as they are seen to be so, and must be read in pieces
    /// ([`begin_recv`](crate::Association::begin_recv)) or refused; until then the window closes.
    /// Default: no limit of its own.
    pub max_whole_message: usize,
    /// How many outgoing streams we ask for (`OS`, RFC 9260 §3.3.2), and to how many the peer may later ask us to
    /// raise their number (RFC 6525 §5.2.6). Streams cost memory only when used.
    pub outbound_streams: u16,
    /// How many incoming streams we allow (`MIS`), those that the peer adds later (RFC 6525 §5.2.5) included.
    pub inbound_streams: u16,
    /// The retransmission timeout before the first measurement. RFC 9260 §16 says 1 s; 500 ms as dcSCTP,
    /// since ICE and DTLS have just shown that the path answers.
    pub rto_initial: Duration,
    /// The smallest retransmission timeout. RFC 9260 §16 says 1 s; 400 ms as dcSCTP, which is safely above
    /// the 200 ms that a peer may delay its SACK.
    pub rto_min: Duration,
    /// The largest retransmission timeout that measurements alone can give. RFC 9260 §16: 60 s.
    pub rto_max: Duration,
    /// The limit of the exponential back-off, when the RTO itself is not larger. Default 3 s, as Chromium
    /// sets it: after an outage a data channel goes on within 3 s, not within a minute.
    pub max_backoff: Duration,
    /// The longest a SACK is delayed (RFC 9260 §6.2: at most 500 ms). Default 200 ms.
    pub sack_delay: Duration,
    /// How long the association is idle before it sends a HEARTBEAT (`HB.interval`); zero turns heartbeats
    /// off. Default 30 s.
    pub heartbeat_interval: Duration,
    /// How many retransmissions in a row, without a sign of life, end the association
    /// (`Association.Max.Retrans`, RFC 9260 §8.1). `None` leaves the verdict to ICE. Default 10.
    pub max_retransmissions: Option<u32>,
    /// How often INIT or COOKIE ECHO is repeated before giving up (`Max.Init.Retransmits`). Default 8.
    pub max_init_retransmissions: Option<u32>,
    /// How long a state cookie is accepted (`Valid.Cookie.Life`). Default 60 s.
    pub cookie_lifetime: Duration,
    /// Whether we announce FORWARD TSN (RFC 3758), so that messages can have limits. Default true.
    pub partial_reliability: bool,
    /// Whether a checksum of zero takes the place of the CRC32c (RFC 9653), each way if its receiver has said
    /// so: we say it, and we use it towards a peer that says it. It saves a pass over every packet. Right only
    /// when what carries the packets protects them better than the CRC32c would, as DTLS does. Default true.
    pub zero_checksum: bool,
    /// Whether we announce I-DATA (RFC 8260), so that a large message on one stream does not hold up the
    /// others. It takes four bytes more per chunk. Used when the peer announces it too: Firefox does,
    /// Chromium does not. Default true.
    pub interleaving: bool,
    /// In which order the streams' messages are sent. Default [`Scheduler::WeightedFair`].
    pub scheduler: Scheduler,
    /// The initial congestion window, in full packets. RFC 9260 §7.2.1 allows about 4 KB; 10 as RFC 6928,
    /// dcSCTP and the browsers do.
    pub initial_cwnd_packets: u32,
    /// The congestion control algorithm. Default CUBIC.
    pub congestion: Congestion,
}

/// How the sender finds out how much the path can take.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum Congestion {
    /// CUBIC (RFC 9438) with HyStart++ (RFC 9406): fills long paths as fast as short ones.
    #[default]
    Cubic,
    /// The algorithm of RFC 9260 §7.2: halves on loss, then grows by one packet a round trip.
    NewReno,
    /// BBR, version 3 (draft-ietf-ccwg-bbr): sends at the rate at which the path is seen to deliver. For paths
    /// that lose packets without being full, and for short queues.
    Bbr,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            local_port: 5000,
            remote_port: 5000,
            mtu: 1160,
            max_mtu: 0,
            min_mtu: 508,
            receive_buffer: 16 << 20,
            initial_receive_buffer: 1 << 20,
            send_buffer: 16 << 20,
            initial_send_buffer: 1 << 20,
            max_message_size_recv: 256 << 10,
            max_whole_message: usize::MAX,
            outbound_streams: 65_535,
            inbound_streams: 65_535,
            rto_initial: Duration::from_millis(500),
            rto_min: Duration::from_millis(400),
            rto_max: Duration::from_secs(60),
            max_backoff: Duration::from_secs(3),
            sack_delay: Duration::from_millis(200),
            heartbeat_interval: Duration::from_secs(30),
            max_retransmissions: Some(10),
            max_init_retransmissions: Some(8),
            cookie_lifetime: Duration::from_secs(60),
            partial_reliability: true,
            zero_checksum: true,
            interleaving: true,
            scheduler: Scheduler::default(),
            initial_cwnd_packets: 10,
            congestion: Congestion::default(),
        }
    }
}

/// How one message is sent.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct SendOptions {
    /// Deliver it as soon as it is complete, whatever came before (the U bit).
    pub unordered: bool,
    /// Give up after this many retransmissions of one of its chunks (RFC 7496 §4.1). Takes effect only when
    /// the peer supports FORWARD TSN; the message is reliable otherwise.
    pub max_retransmits: Option<u32>,
    /// Give up when it is older than this (RFC 3758 §3.1). Takes effect as `max_retransmits` does.
    pub lifetime: Option<Duration>,
    /// Take it even if the stream's budget has no room for it. For a caller who has asked
    /// [`has_room_for`](crate::Association::has_room_for) a byte, and then must send what it gets.
    pub over_budget: bool,
    /// Leave it out of [`buffered_amount`](crate::Association::buffered_amount): it is not the application's.
    pub uncounted: bool,
}
