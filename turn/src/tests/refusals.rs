//! What the server says to each kind of request with each kind of fault.

use std::sync::Arc;
use std::time::Instant;

use sinnet_stun::{
    AttributeType, Builder, Class, IntegrityKey, Message, Method, PasswordAlgorithm, TransactionId,
    long_term_key, userhash,
};

use super::net::{PASSWORD, SERVER, UNIX, USER, addr, base, secs, server_config};
use crate::attributes::{AddressFamily, Write};
use crate::{FiveTuple, MAX_RESPONSE, Server, ServerConfig, ServerEvent, Transport};

const REALM: &str = "example.org";
const LIST: [u8; 8] = [0, 2, 0, 0, 0, 1, 0, 0];

/// How a request is put together.
#[derive(Clone)]
struct How {
    user: Option<String>,
    hashed: bool,
    realm: Option<String>,
    nonce: Option<String>,
    password: String,
    algorithm: Option<PasswordAlgorithm>,
    list: Option<Vec<u8>>,
    unknown: bool,
}

struct Desk {
    server: Server,
    now: Instant,
    tuple: FiveTuple,
    ids: u8,
}

/// What came back: class, error code, length.
type Answer = Option<(Class, Option<u16>, usize)>;

impl Desk {
    fn new(config: ServerConfig) -> Self {
        let now = base();
        let server = Server::new(Arc::new(config), now, secs(UNIX), [3; 32]);
        let tuple = FiveTuple {
            client: addr("198.51.100.1:4000"),
            server: addr(SERVER),
            transport: Transport::Datagram,
        };
        Self { server, now, tuple, ids: 0 }
    }

    /// With an allocation.
    fn allocated(config: ServerConfig) -> Self {
        let mut desk = Self::new(config);
        let how = desk.right();
        assert_eq!(code(desk.ask(Method::ALLOCATE, &how, plain)), Ok(()));
        desk
    }

    fn raw(&mut self, bytes: &[u8]) -> Answer {
        assert_eq!(self.server.handle_input(self.now, self.tuple, bytes), None);
        while let Some(event) = self.server.poll_event() {
            if let ServerEvent::OpenRelay { relay, family, .. } = event {
                let ip =
                    if family == AddressFamily::IPV4 { "203.0.113.1:50000" } else { "[2001:db8:5::1]:50000" };
                self.server.relay_opened(self.now, relay, addr(ip));
            }
        }
        let mut out = [0; MAX_RESPONSE];
        let (to, len) = self.server.poll_transmit(self.now, &mut out)?;
        assert_eq!(to, self.tuple);
        let message = Message::parse(&out[..len]).unwrap();
        assert_eq!(self.server.poll_transmit(self.now, &mut [0; MAX_RESPONSE]), None, "one answer");
        Some((message.class(), message.error_code(), len))
    }

    fn challenge(&mut self) -> String {
        let bytes = self.write(Method::ALLOCATE, None, |b| {
            b.requested_transport();
        });
        self.server.handle_input(self.now, self.tuple, &bytes);
        let mut out = [0; MAX_RESPONSE];
        let (_, len) = self.server.poll_transmit(self.now, &mut out).unwrap();
        let message = Message::parse(&out[..len]).unwrap();
        assert_eq!((message.error_code(), message.realm()), (Some(401), Some(REALM)));
        message.nonce().unwrap().to_owned()
    }

    fn right(&mut self) -> How {
        How {
            user: Some(USER.to_owned()),
            hashed: false,
            realm: Some(REALM.to_owned()),
            nonce: Some(self.challenge()),
            password: PASSWORD.to_owned(),
            algorithm: Some(PasswordAlgorithm::SHA256),
            list: Some(LIST.to_vec()),
            unknown: false,
        }
    }

    fn write(&mut self, method: Method, how: Option<&How>, more: impl FnOnce(&mut Builder<'_>)) -> Vec<u8> {
        self.ids += 1;
        let mut out = vec![0; 4096];
        let mut b = Builder::new(&mut out, Class::Request, method, TransactionId([self.ids; 12]));
        more(&mut b);
        if let Some(how) = how {
            if how.unknown {
                b.attribute(AttributeType(0x7ABC), b"what?");
            }
            let name = how.user.as_deref().unwrap_or_default();
            let realm = how.realm.as_deref().unwrap_or_default();
            match (&how.user, how.hashed) {
                (Some(name), true) => b.userhash(&userhash(name, realm)),
                (Some(name), false) => b.username(name),
                (None, _) => &mut b,
            };
            if how.realm.is_some() {
                b.realm(realm);
            }
            if let Some(nonce) = &how.nonce {
                b.nonce(nonce);
            }
            if let Some(list) = &how.list {
                b.attribute(AttributeType::PASSWORD_ALGORITHMS, list);
            }
            if let Some(algorithm) = how.algorithm {
                b.password_algorithm(algorithm);
            }
            let algorithm = how.algorithm.unwrap_or(PasswordAlgorithm::MD5);
            let key = long_term_key(name, realm, &how.password, algorithm)
                .unwrap_or_else(|| IntegrityKey::short_term("x"));
            if how.algorithm.is_some() {
                b.integrity_sha256(&key)
            } else {
                b.integrity(&key)
            };
        }
        let len = b.finish().unwrap();
        out.truncate(len);
        out
    }

    fn ask(&mut self, method: Method, how: &How, more: impl FnOnce(&mut Builder<'_>)) -> Answer {
        let bytes = self.write(method, Some(how), more);
        self.raw(&bytes)
    }
}

/// Success, or the code.
fn code(answer: Answer) -> Result<(), Option<u16>> {
    match answer {
        Some((Class::SuccessResponse, None, _)) => Ok(()),
        Some((Class::ErrorResponse, code, _)) => Err(code),
        Some(other) => panic!("{other:?}"),
        None => Err(None),
    }
}

fn plain(b: &mut Builder<'_>) {
    b.requested_transport();
}

fn peer(b: &mut Builder<'_>) {
    b.channel_number(0x4000).xor_address(AttributeType::XOR_PEER_ADDRESS, addr("192.0.2.7:7000"));
}

/// Every request with what it needs: all of them take these attributes together.
const METHODS: [Method; 4] =
    [Method::ALLOCATE, Method::REFRESH, Method::CREATE_PERMISSION, Method::CHANNEL_BIND];

fn everything(b: &mut Builder<'_>) {
    plain(b);
    peer(b);
}

type Fault = (&'static str, fn(&mut How), Result<(), Option<u16>>);

/// Faults of any request, and what they are answered.
const FAULTS: &[Fault] = &[
    ("none", |_| {}, Ok(())),
    ("SHA-1 and MD5, as older clients", |h| (h.algorithm, h.list) = (None, None), Ok(())),
    ("MD5 by choice, under SHA-256", |h| h.algorithm = Some(PasswordAlgorithm::MD5), Ok(())),
    ("a hashed name", |h| h.hashed = true, Ok(())),
    ("an unknown attribute", |h| h.unknown = true, Err(Some(420))),
    ("no user", |h| h.user = None, Err(Some(400))),
    ("no realm", |h| h.realm = None, Err(Some(400))),
    ("no nonce", |h| h.nonce = None, Err(Some(400))),
    ("a wrong user", |h| h.user = Some("mallory".to_owned()), Err(Some(401))),
    ("a wrong user's hash", |h| (h.user, h.hashed) = (Some("mallory".to_owned()), true), Err(Some(401))),
    ("a wrong realm", |h| h.realm = Some("example.com".to_owned()), Err(Some(401))),
    ("a wrong key", |h| h.password = "looking-glass".to_owned(), Err(Some(401))),
    (
        "an invented nonce",
        |h| h.nonce = Some("obMatJos2wAAAabcdefghijklmnopqrstuv".to_owned()),
        Err(Some(438)),
    ),
    ("a nonce without a cookie", |h| h.nonce = Some("abcdef".to_owned()), Err(Some(438))),
    ("an empty nonce", |h| h.nonce = Some(String::new()), Err(Some(438))),
    ("a nonce of 763 bytes", |h| h.nonce = Some("x".repeat(763)), Err(Some(438))),
    ("a nonce of 764 bytes", |h| h.nonce = Some("x".repeat(764)), Err(Some(400))),
    ("no list of algorithms", |h| h.list = None, Err(Some(400))),
    ("a shorter list", |h| h.list = Some(vec![0, 1, 0, 0]), Err(Some(400))),
    ("a list without a choice", |h| h.algorithm = None, Err(Some(400))),
    ("an unknown algorithm", |h| h.algorithm = Some(PasswordAlgorithm(3)), Err(Some(400))),
];

#[test]
fn every_request_with_every_fault_gets_the_code_that_belongs_to_it() {
    for method in METHODS {
        for (name, spoil, expected) in FAULTS {
            let new = method == Method::ALLOCATE;
            let mut desk = if new { Desk::new(server_config()) } else { Desk::allocated(server_config()) };
            let mut how = desk.right();
            spoil(&mut how);
            let answer = desk.ask(method, &how, everything);
            assert_eq!(code(answer), *expected, "{method:?}: {name}");
            let made = usize::from(!new || expected.is_ok());
            assert_eq!(desk.server.stats().allocations, made, "{method:?}: {name}");
        }
    }
}

#[test]
fn without_credentials_everything_is_challenged_in_few_bytes() {
    for method in METHODS {
        let mut desk = Desk::new(server_config());
        let bytes = desk.write(method, None, everything);
        let (class, code, len) = desk.raw(&bytes).unwrap();
        assert_eq!((class, code), (Class::ErrorResponse, Some(401)));
        // Header, code, realm of 11, nonce of 35, two algorithms.
        assert_eq!(len, 20 + 8 + 16 + 40 + 12);
    }
}

#[test]
fn a_nonce_that_has_become_old_is_stale_and_another_clients_too() {
    for method in METHODS {
        let config = ServerConfig { nonce_lifetime: secs(60), ..server_config() };
        let mut desk = if method == Method::ALLOCATE { Desk::new(config) } else { Desk::allocated(config) };
        let how = desk.right();
        desk.now += secs(61);
        assert_eq!(code(desk.ask(method, &how, everything)), Err(Some(438)));
        let how = desk.right();
        assert_eq!(code(desk.ask(method, &how, everything)), Ok(()));
        desk.tuple.client.set_port(4001);
        assert_eq!(code(desk.ask(method, &how, everything)), Err(Some(438)));
    }
}

#[test]
fn a_truncated_request_and_one_of_16000_attributes_are_harmless() {
    for method in METHODS {
        let mut desk = Desk::allocated(server_config());
        let how = desk.right();
        let whole = desk.write(method, Some(&how), everything);
        for cut in 0..whole.len() {
            assert_eq!(desk.raw(&whole[..cut]), None);
            // A consistent header, as whoever truncates on purpose would write it.
            let mut bytes = whole[..cut].to_vec();
            if cut >= 20 && cut % 4 == 0 {
                bytes[2..4].copy_from_slice(&((cut - 20) as u16).to_be_bytes());
                let answer = desk.raw(&bytes);
                assert!(
                    matches!(answer, None | Some((Class::ErrorResponse, Some(400 | 401), _))),
                    "{answer:?}"
                );
                // The throttle is not the point here.
                desk.now += secs(1);
            }
        }
        for (typ, expected) in [(0x0006u16, Some(401)), (0x7ABC, Some(401)), (0x8022, Some(401))] {
            let mut bytes = vec![0; 20 + 16_000 * 4];
            let head = Builder::new(&mut bytes, Class::Request, method, TransactionId([9; 12])).finish();
            assert_eq!(head, Ok(20));
            bytes[2..4].copy_from_slice(&64_000u16.to_be_bytes());
            bytes[20..].chunks_exact_mut(4).for_each(|a| a[..2].copy_from_slice(&typ.to_be_bytes()));
            let (_, code, len) = desk.raw(&bytes).unwrap();
            assert_eq!((code, len), (expected, 96));
        }
        let unknown = |b: &mut Builder<'_>| {
            everything(b);
            for typ in 0x7000..0x7100 {
                b.attribute(AttributeType(typ), &[]);
            }
        };
        let (_, code, len) = desk.ask(method, &how, unknown).unwrap();
        assert_eq!((code, len), (Some(420), 20 + 8 + 36 + 36), "sixteen of them are named");
        assert_eq!(desk.server.stats().allocations, 1);
    }
}

type Wrong = (&'static str, Method, fn(&mut Builder<'_>), u16);

#[test]
fn what_each_request_lacks_or_asks_too_much_is_refused() {
    fn to(b: &mut Builder<'_>, peer: &str) {
        b.xor_address(AttributeType::XOR_PEER_ADDRESS, addr(peer));
    }
    const REQUESTED: AttributeType = AttributeType::REQUESTED_ADDRESS_FAMILY;
    const ADDITIONAL: AttributeType = AttributeType::ADDITIONAL_ADDRESS_FAMILY;
    let allocate: &[Wrong] = &[
        ("no transport", Method::ALLOCATE, |_| {}, 400),
        (
            "a malformed transport",
            Method::ALLOCATE,
            |b| {
                b.attribute(AttributeType::REQUESTED_TRANSPORT, &[17]);
            },
            400,
        ),
        (
            "TCP",
            Method::ALLOCATE,
            |b| {
                b.attribute(AttributeType::REQUESTED_TRANSPORT, &[6, 0, 0, 0]);
            },
            442,
        ),
        (
            "IPv6",
            Method::ALLOCATE,
            |b| {
                b.requested_transport().family(REQUESTED, AddressFamily::IPV6);
            },
            440,
        ),
        (
            "family 7",
            Method::ALLOCATE,
            |b| {
                b.requested_transport().family(REQUESTED, AddressFamily(7));
            },
            440,
        ),
        (
            "half a family",
            Method::ALLOCATE,
            |b| {
                b.requested_transport().attribute(REQUESTED, &[1]);
            },
            400,
        ),
        (
            "IPv4 besides",
            Method::ALLOCATE,
            |b| {
                b.requested_transport().family(ADDITIONAL, AddressFamily::IPV4);
            },
            400,
        ),
        (
            "both attributes",
            Method::ALLOCATE,
            |b| {
                b.requested_transport()
                    .family(REQUESTED, AddressFamily::IPV4)
                    .family(ADDITIONAL, AddressFamily::IPV6);
            },
            400,
        ),
        (
            "a reserved port",
            Method::ALLOCATE,
            |b| {
                b.requested_transport().attribute(AttributeType::RESERVATION_TOKEN, &[1; 8]);
            },
            508,
        ),
        (
            "a reserved and even port",
            Method::ALLOCATE,
            |b| {
                b.requested_transport().attribute(AttributeType::RESERVATION_TOKEN, &[1; 8]);
                b.attribute(AttributeType::EVEN_PORT, &[0]);
            },
            400,
        ),
        (
            "an even port",
            Method::ALLOCATE,
            |b| {
                b.requested_transport().attribute(AttributeType::EVEN_PORT, &[0x80]);
            },
            508,
        ),
        (
            "no fragments",
            Method::ALLOCATE,
            |b| {
                b.requested_transport().attribute(AttributeType::DONT_FRAGMENT, &[]);
            },
            420,
        ),
        ("nothing to refresh", Method::REFRESH, |_| {}, 437),
        ("nothing to permit for", Method::CREATE_PERMISSION, |b| to(b, "192.0.2.7:1"), 437),
        ("nothing to bind on", Method::CHANNEL_BIND, peer, 437),
        ("no such method", Method(0x0aa), |_| {}, 400),
    ];
    for (name, method, more, expected) in allocate {
        let mut desk = Desk::new(server_config());
        let how = desk.right();
        assert_eq!(code(desk.ask(*method, &how, more)), Err(Some(*expected)), "{name}");
        assert_eq!(desk.server.stats().allocations, 0, "{name}");
    }
    let allocated: &[Wrong] = &[
        ("a second allocation", Method::ALLOCATE, plain, 437),
        (
            "refresh of IPv6",
            Method::REFRESH,
            |b| {
                b.family(REQUESTED, AddressFamily::IPV6);
            },
            443,
        ),
        (
            "half a family",
            Method::REFRESH,
            |b| {
                b.attribute(REQUESTED, &[1]);
            },
            400,
        ),
        ("no peer", Method::CREATE_PERMISSION, |_| {}, 400),
        (
            "half a peer",
            Method::CREATE_PERMISSION,
            |b| {
                to(b, "192.0.2.7:1");
                b.attribute(AttributeType::XOR_PEER_ADDRESS, &[0, 1, 0, 0]);
            },
            400,
        ),
        ("an IPv6 peer", Method::CREATE_PERMISSION, |b| to(b, "[2001:db8::7]:1"), 443),
        ("loopback", Method::CREATE_PERMISSION, |b| to(b, "127.0.0.1:1"), 403),
        ("link-local", Method::CREATE_PERMISSION, |b| to(b, "169.254.169.254:1"), 403),
        ("multicast", Method::CREATE_PERMISSION, |b| to(b, "224.0.0.1:1"), 403),
        ("broadcast", Method::CREATE_PERMISSION, |b| to(b, "255.255.255.255:1"), 403),
        ("unspecified", Method::CREATE_PERMISSION, |b| to(b, "0.0.0.0:1"), 403),
        (
            "one bad among good",
            Method::CREATE_PERMISSION,
            |b| {
                to(b, "192.0.2.7:1");
                to(b, "127.0.0.1:1");
            },
            403,
        ),
        ("no channel number", Method::CHANNEL_BIND, |b| to(b, "192.0.2.7:1"), 400),
        (
            "no peer",
            Method::CHANNEL_BIND,
            |b| {
                b.channel_number(0x4000);
            },
            400,
        ),
        (
            "two peers",
            Method::CHANNEL_BIND,
            |b| {
                peer(b);
                to(b, "192.0.2.8:1");
            },
            400,
        ),
        (
            "channel 0x3fff",
            Method::CHANNEL_BIND,
            |b| {
                b.channel_number(0x3FFF);
                to(b, "192.0.2.7:1");
            },
            400,
        ),
        (
            "channel 0x8000",
            Method::CHANNEL_BIND,
            |b| {
                b.channel_number(0x8000);
                to(b, "192.0.2.7:1");
            },
            400,
        ),
        (
            "port 0",
            Method::CHANNEL_BIND,
            |b| {
                b.channel_number(0x4000);
                to(b, "192.0.2.7:0");
            },
            403,
        ),
        (
            "the server itself",
            Method::CHANNEL_BIND,
            |b| {
                b.channel_number(0x4000);
                to(b, SERVER);
            },
            403,
        ),
        (
            "an IPv6 peer",
            Method::CHANNEL_BIND,
            |b| {
                b.channel_number(0x4000);
                to(b, "[2001:db8::7]:1");
            },
            443,
        ),
    ];
    let mut desk = Desk::allocated(server_config());
    let how = desk.right();
    for (name, method, more, expected) in allocated {
        assert_eq!(code(desk.ask(*method, &how, more)), Err(Some(*expected)), "{name}");
    }
    let send = |desk: &mut Desk, peer: &str| {
        let mut out = [0; 200];
        let mut b = Builder::new(&mut out, Class::Indication, Method::SEND, TransactionId([1; 12]));
        b.xor_address(AttributeType::XOR_PEER_ADDRESS, addr(peer)).attribute(AttributeType::DATA, b"x");
        let len = b.finish().unwrap();
        desk.server.handle_input(desk.now, desk.tuple, &out[..len]).is_some()
    };
    assert!(!send(&mut desk, "192.0.2.7:1"), "nothing above has permitted anything");
    assert_eq!(code(desk.ask(Method::CREATE_PERMISSION, &how, |b| to(b, "192.0.2.7:0"))), Ok(()));
    assert!(
        send(&mut desk, "192.0.2.7:1") && !send(&mut desk, "192.0.2.7:0") && !send(&mut desk, "192.0.2.8:1")
    );
}

#[test]
fn channels_and_peers_belong_to_one_another_until_they_expire() {
    let mut desk = Desk::allocated(server_config());
    let how = desk.right();
    let bind = |desk: &mut Desk, number: u16, peer: &str| {
        code(desk.ask(Method::CHANNEL_BIND, &how, |b| {
            b.channel_number(number).xor_address(AttributeType::XOR_PEER_ADDRESS, addr(peer));
        }))
    };
    assert_eq!(bind(&mut desk, 0x4000, "192.0.2.7:1"), Ok(()));
    assert_eq!(bind(&mut desk, 0x4000, "192.0.2.7:1"), Ok(()));
    assert_eq!(bind(&mut desk, 0x4000, "192.0.2.7:2"), Err(Some(400)));
    assert_eq!(bind(&mut desk, 0x4001, "192.0.2.7:1"), Err(Some(400)));
    assert_eq!(bind(&mut desk, 0x4FFF, "192.0.2.7:2"), Ok(()));
    desk.now += secs(599);
    assert_eq!(bind(&mut desk, 0x4001, "192.0.2.7:1"), Err(Some(400)));
    desk.now += secs(2);
    // The allocation itself ended at 600 s.
    assert_eq!(bind(&mut desk, 0x4001, "192.0.2.7:1"), Err(Some(437)));
}

#[test]
fn another_users_request_on_ones_connection_is_refused() {
    let mut config = server_config();
    config.users.insert("bob".to_owned(), "builder".to_owned());
    let mut desk = Desk::allocated(config);
    let how = How { user: Some("bob".to_owned()), password: "builder".to_owned(), ..desk.right() };
    for method in METHODS {
        let expected = if method == Method::ALLOCATE { 437 } else { 441 };
        assert_eq!(code(desk.ask(method, &how, everything)), Err(Some(expected)), "{method:?}");
    }
}

#[test]
fn a_repeated_allocate_is_answered_again_and_lifetimes_keep_to_their_limits() {
    let lifetime = |desk: &mut Desk, bytes: &[u8]| {
        desk.server.handle_input(desk.now, desk.tuple, bytes);
        while let Some(event) = desk.server.poll_event() {
            if let ServerEvent::OpenRelay { relay, .. } = event {
                desk.server.relay_opened(desk.now, relay, addr("203.0.113.1:50000"));
            }
        }
        let mut out = [0; MAX_RESPONSE];
        let (_, len) = desk.server.poll_transmit(desk.now, &mut out).unwrap();
        let message = Message::parse(&out[..len]).unwrap();
        assert_eq!(message.class(), Class::SuccessResponse);
        crate::attributes::lifetime(&message).unwrap().as_secs()
    };
    for (asked, given) in
        [(None, 600), (Some(0), 600), (Some(1), 600), (Some(1000), 1000), (Some(u32::MAX), 3600)]
    {
        let mut desk = Desk::new(server_config());
        let how = desk.right();
        let write = |b: &mut Builder<'_>| {
            plain(b);
            if let Some(seconds) = asked {
                b.lifetime(secs(seconds.into()));
            }
        };
        let bytes = desk.write(Method::ALLOCATE, Some(&how), write);
        assert_eq!(lifetime(&mut desk, &bytes), given, "{asked:?}");
        desk.now += secs(10);
        assert_eq!(lifetime(&mut desk, &bytes), given - 10, "the same again: {asked:?}");
        assert_eq!(desk.server.stats().allocations_made, 1);
        let bytes = desk.write(Method::REFRESH, Some(&how), write);
        let refreshed = if asked == Some(0) { 0 } else { given };
        assert_eq!(lifetime(&mut desk, &bytes), refreshed);
        assert_eq!(desk.server.stats().allocations, usize::from(refreshed > 0));
    }
}

#[test]
fn bindings_are_answered_and_too_many_are_not() {
    let mut desk = Desk::new(ServerConfig { max_unauthenticated_per_second: 10, ..server_config() });
    let (mut answered, mut bytes_in, mut bytes_out) = (0, 0, 0);
    for _ in 0..1000 {
        let bytes = desk.write(Method::BINDING, None, |_| {});
        bytes_in += bytes.len();
        if let Some((Class::SuccessResponse, None, len)) = desk.raw(&bytes) {
            answered += 1;
            bytes_out += len;
        }
        desk.ids = 0;
    }
    assert_eq!((answered, desk.server.stats().dropped_throttled), (10, 990));
    assert!(bytes_out * 10 < bytes_in, "{bytes_out} of {bytes_in}");
    let unknown = desk.write(Method::BINDING, None, |b| {
        b.attribute(AttributeType(0x7ABC), &[]);
    });
    desk.now += secs(1);
    assert_eq!(code(desk.raw(&unknown)), Err(Some(420)));
    let mut silent = Desk::new(ServerConfig { binding: false, ..server_config() });
    let bytes = silent.write(Method::BINDING, None, |_| {});
    assert_eq!(silent.raw(&bytes), None);
}

#[test]
fn passwords_are_guessed_no_faster_than_strangers_are_answered() {
    let config = ServerConfig { max_unauthenticated_per_second: 10, ..server_config() };
    let mut desk = Desk::allocated(config.clone());
    let right = desk.right();
    let guess = How { user: Some("bob".to_owned()), ..right.clone() };
    for (mut desk, seen) in [(Desk::new(config), 1), (desk, 3)] {
        let how = How { nonce: Some(desk.challenge()), ..guess.clone() };
        for _ in 0..1000 {
            desk.ask(Method::ALLOCATE, &how, plain);
            desk.ids = 0;
        }
        let stats = desk.server.stats();
        assert_eq!(stats.wrong_credentials, 10 - seen, "the others were not looked at");
        assert_eq!(stats.dropped_throttled, 1000 - stats.wrong_credentials);
        // Whoever has an allocation keeps it meanwhile.
        let own = How { nonce: right.nonce.clone(), ..right.clone() };
        let refreshed = if seen == 3 { Ok(()) } else { Err(None) };
        assert_eq!(code(desk.ask(Method::REFRESH, &own, everything)), refreshed);
        let hashed = How { hashed: true, ..own };
        assert_eq!(code(desk.ask(Method::REFRESH, &hashed, everything)), refreshed);
        desk.now += secs(1);
        let right = How { nonce: Some(desk.challenge()), ..right.clone() };
        let expected = if seen == 3 { Err(Some(437)) } else { Ok(()) };
        assert_eq!(code(desk.ask(Method::ALLOCATE, &right, plain)), expected);
    }
}

#[test]
fn each_ephemeral_name_without_a_user_has_a_quota_of_its_own() {
    let mut config = ServerConfig { max_allocations_per_user: 1, ..ServerConfig::new(REALM) };
    config.secrets.push(b"north".to_vec());
    let mut desk = Desk::new(config);
    let mut ask = |expiry: u64, user: &str| {
        desk.tuple.client.set_port(desk.tuple.client.port() + 1);
        let (name, password) = crate::ephemeral_credentials(b"north", UNIX + expiry, user);
        let how = How { user: Some(name), password, ..desk.right() };
        code(desk.ask(Method::ALLOCATE, &how, plain))
    };
    assert_eq!(ask(100, ""), Ok(()));
    assert_eq!(ask(100, ""), Err(Some(486)), "the same name");
    assert_eq!(ask(101, ""), Ok(()), "another");
    assert_eq!(ask(100, "alice"), Ok(()));
    assert_eq!(ask(101, "alice"), Err(Some(486)), "whatever the time");
}

#[test]
fn the_servers_own_addresses_are_refused_in_every_disguise() {
    let config = ServerConfig { ipv6: true, ..server_config() };
    let mut desk = Desk::new(config);
    let how = desk.right();
    let both = |b: &mut Builder<'_>| {
        plain(b);
        b.family(AttributeType::ADDITIONAL_ADDRESS_FAMILY, AddressFamily::IPV6);
    };
    assert_eq!(code(desk.ask(Method::ALLOCATE, &how, both)), Ok(()));
    for (number, (to, expected)) in (0x4000..).zip([
        ("203.0.113.1:22", Err(Some(403))),
        ("[2001:db8:5::1]:22", Err(Some(403))),
        ("[64:ff9b::203.0.113.1]:22", Err(Some(403))),
        ("[64:ff9b::203.0.113.9]:22", Ok(())),
        ("203.0.113.1:50000", Ok(())),
    ]) {
        let answer = desk.ask(Method::CHANNEL_BIND, &how, |b| {
            b.channel_number(number).xor_address(AttributeType::XOR_PEER_ADDRESS, addr(to));
        });
        assert_eq!(code(answer), expected, "{to}");
    }
}
