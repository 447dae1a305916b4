use std::sync::Arc;
use std::time::Duration;

use sinnet_dtls::{Certificate, CipherSuite, KeyLog};
use sinnet_sctp::Congestion;

/// What IPv4 promises to carry: 576 bytes, less IP and UDP headers.
const MIN_DATAGRAM: usize = 548;

/// What a DTLS record holds.
const MAX_DATAGRAM: usize = 16_384;

/// What a record adds to a packet at most: header, explicit nonce, tag (RFC 6347 §4.3.1, RFC 5288 §3).
pub(crate) const MAX_RECORD_OVERHEAD: usize = 13 + 8 + 16;

/// What one peer connection is made with.
#[derive(Clone)]
#[non_exhaustive]
pub struct Config {
    /// Our DTLS identity. Its SHA-256 fingerprint goes into our descriptions.
    pub certificate: Arc<Certificate>,
    /// ICE timers and limits.
    pub ice: Arc<sinnet_ice::Config>,
    /// Largest UDP payload sent as long as nothing is known of the path, bytes; 1200 by default, which every path that
    /// carries QUIC carries too. Taken as 548 (what IPv4 promises) if less, and as 16,384 if more.
    pub mtu: usize,
    /// Largest UDP payload that is tried by probes (RFC 8899), bytes; 1452 by default, what an IPv6 packet on Ethernet
    /// has room for. With [`Config::mtu`] or less there are no probes, and packets keep that size. Taken as 16,384 if
    /// more: a DTLS record holds no more. The owner's sockets must not fragment (the DF bit).
    ///
    /// **Not above 2048 towards Chromium**: where a link takes larger frames, its DTLS fails on the first such record,
    /// be it a probe, and the connection ends (measured). Firefox takes all sizes. 8952 is for links of 9000 bytes.
    pub max_mtu: usize,
    /// Largest message that we accept, bytes; announced as `a=max-message-size` (RFC 8841 §6). 256 KiB by default,
    /// as Chromium has it.
    pub max_message_size: usize,
    /// Largest message that we accept in pieces ([`Peer::begin_recv`](crate::Peer::begin_recv)), bytes. If it is more than
    /// [`Config::max_message_size`], it is what is announced, and it may be far more than the receive buffer: **then
    /// channels have to be read in pieces**, since one that is not is closed when such a message comes. 0 by default: no
    /// message is larger than `max_message_size`.
    pub max_message_size_in_pieces: usize,
    /// How much memory may wait to be read by the application, in bytes and over all channels; 16 MiB by default. A window
    /// is announced that begins with 1 MiB and grows with what the application reads per round trip; this is how far. A long
    /// fast path needs twice its bandwidth-delay product: 64 MiB for 1 Gbit/s over 250 ms. It also limits how many large
    /// messages a peer may have under way at once, on different channels, when messages are interleaved: about 60 of 256 KiB.
    pub receive_buffer: usize,
    /// How much `try_send` takes at the most on one channel before it says [`TrySendError::Full`](crate::TrySendError::Full),
    /// in bytes that are not acknowledged; 16 MiB by default. The limit in force is twice the congestion window, 1 MiB at
    /// least. That is for a channel that sends alone: channels that send at the same time share five quarters of it in
    /// proportion to their priorities. A channel of which nothing is unacknowledged may always queue one message, and small ones up to
    /// 16 KiB.
    pub send_buffer: usize,
    /// The most that one channel may hold of the send buffer, bytes. Not limited by default, but by its share of it. See
    /// [`Peer::set_channel_send_buffer`](crate::Peer::set_channel_send_buffer).
    pub channel_send_buffer: usize,
    /// Channels that may be there at once, opened by either side; 1024 by default. What the peer opens beyond it is
    /// closed at once.
    pub max_channels: usize,
    /// DTLS retransmission: the least first timeout, 50 ms by default. It is twice the round trip that ICE has measured, if
    /// that is more, and doubles from there.
    pub dtls_initial_timeout: Duration,
    /// The DTLS cipher suites that we accept, best first. `None` by default: all six, by what the machine is good at.
    pub cipher_suites: Option<Vec<CipherSuite>>,
    /// Answer an `actpass` offer as the DTLS client (`a=setup:active`, RFC 8842 §5.3's recommendation). True by
    /// default.
    pub answer_active: bool,
    /// Whether to offer the interleaving of messages (I-DATA, RFC 8260), so that a large message on one channel holds up no
    /// other. True by default. A peer that begins more large messages at once than [`Config::receive_buffer`] has room for
    /// ends the connection (`CloseReason::OutOfReceiveBuffer` of SCTP); this stack's sender minds that.
    pub interleaving: bool,
    /// How the sender finds out how much the path can take. CUBIC by default.
    pub congestion: Congestion,
    /// Gets the DTLS secrets in the NSS key log format, a line a call. **Whoever reads them reads the connection.**
    pub key_log: Option<KeyLog>,
}

impl Config {
    /// The defaults, with this identity.
    pub fn new(certificate: Arc<Certificate>) -> Self {
        Self {
            certificate,
            ice: Arc::new(sinnet_ice::Config::default()),
            mtu: 1200,
            max_mtu: 1452,
            max_message_size: 256 * 1024,
            max_message_size_in_pieces: 0,
            receive_buffer: 16 * 1024 * 1024,
            send_buffer: 16 * 1024 * 1024,
            channel_send_buffer: usize::MAX,
            max_channels: 1024,
            dtls_initial_timeout: Duration::from_millis(50),
            cipher_suites: None,
            answer_active: true,
            interleaving: true,
            congestion: Congestion::default(),
            key_log: None,
        }
    }
}

impl Config {
    /// Largest message that we accept in any way.
    pub(crate) fn largest_message(&self) -> usize {
        self.max_message_size.max(self.max_message_size_in_pieces)
    }

    pub(crate) fn datagram_size(&self) -> usize {
        self.mtu.clamp(MIN_DATAGRAM, MAX_DATAGRAM)
    }

    pub(crate) fn max_datagram_size(&self) -> usize {
        self.max_mtu.clamp(self.datagram_size(), MAX_DATAGRAM)
    }

    /// The sizes of SCTP packets for these datagrams. The cipher suite, which says what a record adds, is not known
    /// yet: the largest is taken, so that a packet of a size that was found fits in all cases.
    pub(crate) fn set_packet_sizes(&self, sctp: &mut sinnet_sctp::Config) {
        let packet = |datagram: usize| (datagram - MAX_RECORD_OVERHEAD) & !3;
        sctp.min_mtu = packet(MIN_DATAGRAM);
        sctp.mtu = packet(self.datagram_size());
        sctp.max_mtu = packet(self.max_datagram_size());
    }
}

impl std::fmt::Debug for Config {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Config")
            .field("mtu", &self.mtu)
            .field("max_mtu", &self.max_mtu)
            .field("max_message_size", &self.max_message_size)
            .field("max_message_size_in_pieces", &self.max_message_size_in_pieces)
            .field("receive_buffer", &self.receive_buffer)
            .field("send_buffer", &self.send_buffer)
            .field("channel_send_buffer", &self.channel_send_buffer)
            .field("max_channels", &self.max_channels)
            .field("congestion", &self.congestion)
            .field("key_log", &self.key_log.is_some())
            .finish_non_exhaustive()
    }
}
