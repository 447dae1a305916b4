//! Requests under way: what each is for, how it is written, when it is written again.

use std::net::{IpAddr, SocketAddr};
use std::time::{Duration, Instant};

use sinnet_stun::{AttributeType, Builder, Class, Method, Retransmission, Transaction, TransactionId};

use super::auth::Auth;
use super::config::{ClientConfig, Families, Transport};
use super::event::Step;
use crate::attributes::{AddressFamily, Write};
use crate::error_code::ErrorCode;

/// The longest request: name, realm, nonce, the list of algorithms and 32 IPv6 addresses fit.
pub const MAX_REQUEST: usize = 3072;
/// What we are, for people who read logs of servers.
pub(crate) const SOFTWARE: &str = concat!("sinnet ", env!("CARGO_PKG_VERSION"));

/// What a request asks for.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) enum Kind {
    Allocate,
    Refresh,
    Release,
    /// Gives back what somebody had on our port before us.
    Clear,
    Permissions(Vec<IpAddr>),
    Channel(u16, SocketAddr),
}

impl Kind {
    pub(crate) fn step(&self) -> Step {
        match self {
            Self::Allocate | Self::Clear => Step::Allocate,
            Self::Refresh => Step::Refresh,
            Self::Release => Step::Release,
            Self::Permissions(_) => Step::CreatePermission,
            Self::Channel(..) => Step::ChannelBind,
        }
    }

    pub(crate) fn method(&self) -> Method {
        match self {
            Self::Allocate => Method::ALLOCATE,
            Self::Refresh | Self::Release | Self::Clear => Method::REFRESH,
            Self::Permissions(_) => Method::CREATE_PERMISSION,
            Self::Channel(..) => Method::CHANNEL_BIND,
        }
    }

    /// The attributes before those of the credentials.
    fn write(&self, config: &ClientConfig, dont_fragment: bool, b: &mut Builder<'_>) {
        match self {
            Self::Allocate => {
                b.requested_transport();
                match config.families {
                    Families::Default => {}
                    Families::Ipv6 => {
                        b.family(AttributeType::REQUESTED_ADDRESS_FAMILY, AddressFamily::IPV6);
                    }
                    Families::Both => {
                        b.family(AttributeType::ADDITIONAL_ADDRESS_FAMILY, AddressFamily::IPV6);
                    }
                }
                if let Some(lifetime) = config.lifetime {
                    b.lifetime(lifetime);
                }
                if dont_fragment {
                    b.attribute(AttributeType::DONT_FRAGMENT, &[]);
                }
                b.software(SOFTWARE);
            }
            Self::Refresh => {
                if let Some(lifetime) = config.lifetime {
                    b.lifetime(lifetime.max(Duration::from_secs(1)));
                }
                b.software(SOFTWARE);
            }
            Self::Release | Self::Clear => {
                b.lifetime(Duration::ZERO).software(SOFTWARE);
            }
            Self::Permissions(ips) => {
                for ip in ips {
                    b.xor_address(AttributeType::XOR_PEER_ADDRESS, SocketAddr::new(*ip, 0));
                }
            }
            Self::Channel(number, peer) => {
                b.channel_number(*number).xor_address(AttributeType::XOR_PEER_ADDRESS, *peer);
            }
        }
    }
}

/// One of them.
#[derive(Clone, Debug)]
pub(crate) struct Request {
    pub(crate) kind: Kind,
    pub(crate) transaction: Transaction,
    /// The same at each send (RFC 8489 §6.2.1).
    pub(crate) bytes: Vec<u8>,
    /// To be written by `poll_transmit`.
    pub(crate) due: bool,
    /// What it was signed with; answers must be, too.
    pub(crate) auth: Option<Auth>,
    /// How often a nonce was stale for the same thing.
    pub(crate) stale_nonces: u8,
    /// There was an answer without the right integrity, with this code if it was an error.
    pub(crate) unauthentic: Option<Option<ErrorCode>>,
}

impl Request {
    /// Written and due, or nothing if it is longer than [`MAX_REQUEST`].
    pub(crate) fn new(
        kind: Kind,
        id: TransactionId,
        now: Instant,
        config: &ClientConfig,
        transport: Transport,
        dont_fragment: bool,
        auth: Option<Auth>,
    ) -> Option<Self> {
        let schedule = match transport {
            Transport::Datagram => config.retransmission,
            Transport::Stream => Retransmission { rto: config.stream_timeout, max_sends: 1, last_wait: 1 },
        };
        let mut bytes = vec![0; MAX_REQUEST];
        let mut b = Builder::new(&mut bytes, Class::Request, kind.method(), id);
        kind.write(config, dont_fragment, &mut b);
        if let Some(auth) = &auth {
            auth.sign(&config.credentials, &mut b);
        }
        b.fingerprint();
        let len = b.finish().ok()?;
        bytes.truncate(len);
        bytes.shrink_to_fit();
        let transaction = Transaction::new(id, schedule, now);
        Some(Self { kind, transaction, bytes, due: true, auth, stale_nonces: 0, unauthentic: None })
    }
}
