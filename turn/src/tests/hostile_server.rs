//! A client and a server that lies.

use std::sync::Arc;
use std::time::{Duration, Instant};

use sinnet_stun::{
    AttributeType, Builder, Class, Message, Method, PasswordAlgorithm, SecurityFeatures, TransactionId,
    long_term_key,
};

use super::net::{PASSWORD, SERVER, USER, addr, base, client_config, ms, secs};
use crate::attributes::Write as _;
use crate::{Client, ClientConfig, ErrorCode, Event, Families, MAX_REQUEST, Reason, Step, Transport};

const REALM: &str = "example.org";

/// Writes the middle of an answer.
type Write = fn(&mut Builder<'_>);

struct Liar {
    client: Client,
    now: Instant,
    realm: &'static str,
    signs: bool,
    requests: usize,
}

impl Liar {
    fn new(config: ClientConfig, transport: Transport) -> Self {
        let now = base();
        let client = Client::new(Arc::new(config), transport, addr(SERVER), now, [6; 32]);
        Self { client, now, realm: REALM, signs: true, requests: 0 }
    }

    /// Up to the point where the client has sent signed credentials.
    fn challenged() -> Self {
        let mut liar = Self::new(client_config(), Transport::Datagram);
        liar.answer(Class::ErrorResponse, |b| {
            b.error_code(401).realm(REALM).nonce("n1");
        });
        liar
    }

    /// With an allocation of that lifetime.
    fn allocated(lifetime: u64) -> Self {
        let mut liar = Self::challenged();
        liar.answer(Class::SuccessResponse, |b| grant(b, lifetime));
        assert!(matches!(liar.client.poll_event(), Some(Event::Allocated { .. })));
        liar
    }

    /// The next request, if there is one.
    fn request(&mut self) -> Option<Vec<u8>> {
        let mut out = vec![0; MAX_REQUEST];
        let len = self.client.poll_transmit(self.now, &mut out)?;
        out.truncate(len);
        self.requests += 1;
        Some(out)
    }

    /// Answers the next request, signed if it was and if the liar signs at all.
    fn answer(&mut self, class: Class, write: impl FnOnce(&mut Builder<'_>)) {
        let request = self.request().expect("a request");
        let message = Message::parse(&request).unwrap();
        let key = long_term_key(USER, self.realm, PASSWORD, PasswordAlgorithm::MD5).unwrap();
        let mut out = vec![0; 4096];
        let mut b = Builder::new(&mut out, class, message.method(), message.transaction_id());
        write(&mut b);
        if self.signs && message.has_integrity() {
            b.integrity(&key);
        }
        b.fingerprint();
        let len = b.finish().unwrap();
        self.client.handle_input(self.now, addr(SERVER), &out[..len]);
    }

    fn failure(&mut self) -> Reason {
        match self.client.poll_event() {
            Some(Event::Failed(error)) => {
                assert_eq!((self.client.poll_event(), self.client.poll_timeout()), (None, None));
                error.reason
            }
            other => panic!("{other:?}"),
        }
    }

    /// Lets time pass without an answer.
    fn wait(&mut self, time: Duration) {
        let until = self.now + time;
        while let Some(at) = self.client.poll_timeout().filter(|at| *at <= until) {
            self.now = at;
            self.client.handle_timeout(at);
            while self.request().is_some() {}
        }
        self.now = until;
    }
}

fn grant(b: &mut Builder<'_>, lifetime: u64) {
    b.xor_address(AttributeType::XOR_RELAYED_ADDRESS, addr("203.0.113.1:50000"));
    b.lifetime(secs(lifetime)).xor_mapped_address(addr("198.51.100.1:4000"));
}

#[test]
fn lifetimes_that_are_too_short_or_too_long_are_not_believed() {
    for (said, earliest, latest) in
        [(0, 14, 16), (1, 14, 16), (600, 539, 541), (86_400, 3539, 3541), (u64::from(u32::MAX), 3539, 3541)]
    {
        let mut liar = Liar::allocated(said);
        let wake = liar.client.poll_timeout().unwrap() - liar.now;
        assert!((secs(earliest)..=secs(latest)).contains(&wake), "{said}: {wake:?}");
        liar.now += wake;
        liar.client.handle_timeout(liar.now);
        liar.answer(Class::SuccessResponse, |b| {
            b.lifetime(secs(said));
        });
        let wake = liar.client.poll_timeout().unwrap() - liar.now;
        assert!((secs(earliest)..=secs(latest)).contains(&wake), "{said}: {wake:?}");
    }
}

#[test]
fn an_unsigned_answer_to_a_signed_request_changes_nothing() {
    for class in [Class::SuccessResponse, Class::ErrorResponse] {
        for code in [300, 400, 403, 420, 437, 441, 442, 486, 500, 508] {
            let mut liar = Liar::challenged();
            liar.signs = false;
            liar.answer(class, |b| {
                if class == Class::ErrorResponse {
                    b.error_code(code).alternate_server(addr("203.0.113.9:3478"));
                } else {
                    grant(b, 600);
                }
            });
            assert_eq!((liar.client.poll_event(), liar.client.relayed().len()), (None, 0));
            assert_eq!(liar.client.stats().dropped_integrity, 1);
            liar.wait(secs(30));
            let code = (class == Class::ErrorResponse).then_some(ErrorCode(code));
            assert_eq!(liar.failure(), Reason::Integrity { code });
        }
    }
    let mut stream = Liar::new(client_config(), Transport::Stream);
    stream.answer(Class::ErrorResponse, |b| {
        b.error_code(401).realm(REALM).nonce("n1");
    });
    stream.signs = false;
    stream.answer(Class::SuccessResponse, |b| grant(b, 600));
    assert_eq!(stream.failure(), Reason::Integrity { code: None });
}

#[test]
fn what_a_silent_server_may_have_allocated_is_given_back() {
    // In the middle of the attempt's time, and at its end.
    for timeout in [secs(20), secs(100)] {
        let config = ClientConfig { allocate_timeout: timeout, ..client_config() };
        let mut liar = Liar::new(config, Transport::Datagram);
        liar.answer(Class::ErrorResponse, |b| {
            b.error_code(401).realm(REALM).nonce("n1");
        });
        let mut last = Vec::new();
        while !liar.client.is_over() {
            last.extend(liar.request());
            liar.now = liar.client.poll_timeout().unwrap();
            liar.client.handle_timeout(liar.now);
        }
        assert_eq!(liar.failure(), Reason::Timeout);
        let release = liar.request().expect("one more request");
        let message = Message::parse(&release).unwrap();
        assert_eq!((message.method(), message.has_integrity()), (Method::REFRESH, true));
        assert_eq!(message.attribute(AttributeType::LIFETIME), Some(&[0; 4][..]));
        assert_eq!(liar.request(), None);
    }
}

#[test]
fn a_right_answer_after_forged_ones_is_taken() {
    let mut liar = Liar::challenged();
    liar.signs = false;
    liar.answer(Class::SuccessResponse, |b| grant(b, 600));
    liar.signs = true;
    liar.now += ms(500);
    liar.answer(Class::SuccessResponse, |b| grant(b, 600));
    assert!(matches!(liar.client.poll_event(), Some(Event::Allocated { .. })));
}

#[test]
fn nonces_that_are_always_stale_end_the_request_and_not_the_client_unless_it_must() {
    let mut liar = Liar::challenged();
    for n in 0..4 {
        liar.answer(Class::ErrorResponse, |b| {
            b.error_code(438).realm(REALM).nonce(&format!("n{n}"));
        });
    }
    assert_eq!((liar.failure(), liar.requests), (Reason::StaleNonces, 5));

    let mut liar = Liar::allocated(600);
    let now = liar.now;
    liar.client.permit(now, [192, 0, 2, 7].into()).unwrap();
    for n in 0..4 {
        liar.answer(Class::ErrorResponse, |b| {
            b.error_code(438).realm(REALM).nonce(&format!("n{n}"));
        });
    }
    let Some(Event::NotPermitted { error, .. }) = liar.client.poll_event() else { panic!("no event") };
    assert_eq!((error.step, error.reason), (Step::CreatePermission, Reason::StaleNonces));
    assert_eq!(liar.client.relayed().len(), 1);
}

#[test]
fn challenges_that_lack_something_or_change_the_realm_end_the_attempt() {
    let unsigned: [(&str, Write, Reason); 7] = [
        (
            "no realm",
            |b| {
                b.nonce("n");
            },
            Reason::BadChallenge,
        ),
        (
            "no nonce",
            |b| {
                b.realm(REALM);
            },
            Reason::BadChallenge,
        ),
        (
            "a nonce of 764 bytes",
            |b| {
                b.realm(REALM).nonce(&"n".repeat(764));
            },
            Reason::BadChallenge,
        ),
        (
            "a realm that is no text",
            |b| {
                b.attribute(AttributeType::REALM, &[0xFF]).nonce("n");
            },
            Reason::BadChallenge,
        ),
        (
            "algorithms taken out",
            |b| {
                let features = SecurityFeatures { password_algorithms: true, username_anonymity: false };
                b.realm(REALM).nonce(&features.cookie());
            },
            Reason::BidDown,
        ),
        (
            "unknown algorithms",
            |b| {
                b.realm(REALM).nonce("n").attribute(AttributeType::PASSWORD_ALGORITHMS, &[0, 9, 0, 0]);
            },
            Reason::NoPasswordAlgorithm,
        ),
        (
            "300 algorithms",
            |b| {
                b.realm(REALM)
                    .nonce("n")
                    .attribute(AttributeType::PASSWORD_ALGORITHMS, &[0, 2, 0, 0].repeat(300));
            },
            Reason::NoPasswordAlgorithm,
        ),
    ];
    for (name, write, reason) in unsigned {
        let mut liar = Liar::new(client_config(), Transport::Datagram);
        liar.answer(Class::ErrorResponse, |b| {
            b.error_code(401);
            write(b);
        });
        assert_eq!(liar.failure(), reason, "{name}");
    }
    let mut liar = Liar::challenged();
    liar.answer(Class::ErrorResponse, |b| {
        b.error_code(438).realm("example.com").nonce("n2");
    });
    assert_eq!((liar.failure(), liar.requests), (Reason::RealmChanged, 2));
    let mut liar = Liar::challenged();
    liar.answer(Class::ErrorResponse, |b| {
        b.error_code(401).realm("example.com").nonce("n2");
    });
    assert_eq!((liar.failure(), liar.requests), (Reason::Credentials, 2));
}

#[test]
fn nothing_of_the_user_is_sent_before_a_challenge_or_to_another_realm() {
    let mut liar = Liar::new(client_config(), Transport::Datagram);
    let first = liar.request().unwrap();
    let holds = |bytes: &[u8], what: &str| bytes.windows(what.len()).any(|window| window == what.as_bytes());
    assert!(!holds(&first, USER) && !holds(&first, PASSWORD));
    // Redirected after it has signed, to a server of another realm.
    let mut liar = Liar::challenged();
    liar.answer(Class::ErrorResponse, |b| {
        b.error_code(300).alternate_server(addr("203.0.113.9:3478"));
    });
    assert!(matches!(liar.client.poll_event(), Some(Event::Redirected { .. })));
    assert_eq!(liar.client.server(), addr("203.0.113.9:3478"));
    let request = liar.request().unwrap();
    assert!(!holds(&request, USER));
    let id = Message::parse(&request).unwrap().transaction_id();
    let mut out = [0; 200];
    let mut b = Builder::new(&mut out, Class::ErrorResponse, Method::ALLOCATE, id);
    b.error_code(401).realm("evil.example").nonce("n");
    let len = b.finish().unwrap();
    liar.client.handle_input(liar.now, addr(SERVER), &out[..len]);
    assert_eq!(liar.client.stats().dropped_foreign, 1, "the old server has nothing to say any more");
    liar.client.handle_input(liar.now, addr("203.0.113.9:3478"), &out[..len]);
    assert_eq!(liar.failure(), Reason::RealmChanged);
}

#[test]
fn redirections_to_nowhere_loopback_or_without_end_are_refused() {
    let redirect = |to: &[&str]| {
        let mut liar = Liar::new(client_config(), Transport::Datagram);
        liar.answer(Class::ErrorResponse, |b| {
            b.error_code(300);
            to.iter().for_each(|to| {
                b.alternate_server(addr(to));
            });
        });
        liar
    };
    assert_eq!(redirect(&[]).failure(), Reason::RedirectToNowhere);
    for to in ["[2001:db8::1]:3478", "203.0.113.9:0", "0.0.0.0:3478", "224.0.0.1:3478", "255.255.255.255:1"] {
        assert_eq!(redirect(&[to]).failure(), Reason::RedirectToNowhere, "{to}");
    }
    assert_eq!(redirect(&["127.0.0.1:3478"]).failure(), Reason::RedirectToLoopback);
    assert_eq!(redirect(&["[2001:db8::1]:3478", "127.1.2.3:3478"]).failure(), Reason::RedirectToLoopback);
    assert_eq!(redirect(&[SERVER]).failure(), Reason::RedirectLoop);
    let mut liar = redirect(&["203.0.113.9:3478"]);
    assert!(matches!(liar.client.poll_event(), Some(Event::Redirected { .. })));

    let mut liar = Liar::new(client_config(), Transport::Stream);
    for hop in 0..4u16 {
        let request = liar.request().unwrap();
        let id = Message::parse(&request).unwrap().transaction_id();
        let mut out = [0; 200];
        let mut b = Builder::new(&mut out, Class::ErrorResponse, Method::ALLOCATE, id);
        b.error_code(300).alternate_server(addr(&format!("203.0.113.9:{}", 1000 + hop)));
        let len = b.finish().unwrap();
        let server = liar.client.server();
        liar.client.handle_input(liar.now, server, &out[..len]);
        if hop < 3 {
            assert!(matches!(liar.client.poll_event(), Some(Event::Redirected { .. })));
            assert_eq!(liar.request(), None, "there is no connection yet");
            let now = liar.now;
            liar.client.connected(now);
        }
    }
    assert_eq!(liar.failure(), Reason::TooManyRedirects);
}

#[test]
fn a_success_without_a_usable_address_fails_and_is_given_back() {
    let wrong: [(&str, Write); 8] = [
        ("none", |b| {
            b.lifetime(secs(600));
        }),
        ("half of one", |b| {
            b.attribute(AttributeType::XOR_RELAYED_ADDRESS, &[0, 1, 2, 3]);
        }),
        ("unspecified", |b| {
            b.xor_address(AttributeType::XOR_RELAYED_ADDRESS, addr("0.0.0.0:5"));
        }),
        ("port 0", |b| {
            b.xor_address(AttributeType::XOR_RELAYED_ADDRESS, addr("203.0.113.1:0"));
        }),
        ("multicast", |b| {
            b.xor_address(AttributeType::XOR_RELAYED_ADDRESS, addr("224.0.0.1:5"));
        }),
        ("another family", |b| {
            b.xor_address(AttributeType::XOR_RELAYED_ADDRESS, addr("[2001:db8::1]:5"));
        }),
        ("two of one family", |b| {
            grant(b, 600);
            grant(b, 600);
        }),
        ("something unknown", |b| {
            grant(b, 600);
            b.attribute(AttributeType(0x7ABC), &[]);
        }),
    ];
    for (name, write) in wrong {
        let mut liar = Liar::challenged();
        liar.answer(Class::SuccessResponse, write);
        assert_eq!(liar.failure(), Reason::BadAnswer, "{name}");
        let released =
            liar.request().is_some_and(|bytes| Message::parse(&bytes).unwrap().method() == Method::REFRESH);
        assert_eq!(released, name != "something unknown", "{name}");
        assert_eq!(liar.request(), None);
    }
    let config = ClientConfig { families: Families::Ipv6, ..client_config() };
    let mut liar = Liar::new(config, Transport::Datagram);
    liar.answer(Class::SuccessResponse, |b| grant(b, 600));
    assert_eq!(liar.failure(), Reason::BadAnswer);
}

#[test]
fn each_code_to_each_request_ends_what_it_must_and_nothing_else() {
    for code in 300..=699u16 {
        let mut liar = Liar::challenged();
        liar.answer(Class::ErrorResponse, |b| {
            b.error_code(code);
        });
        if code == 437 {
            // There is nothing of ours to give back either.
            liar.answer(Class::ErrorResponse, |b| {
                b.error_code(437);
            });
        }
        let expected = match code {
            300 => Reason::RedirectToNowhere,
            401 => Reason::Credentials,
            438 => Reason::BadChallenge,
            _ => Reason::Refused(ErrorCode(code)),
        };
        assert_eq!(liar.failure(), expected, "Allocate {code}");

        let mut liar = Liar::allocated(600);
        let now = liar.now;
        liar.client.permit(now, [192, 0, 2, 7].into()).unwrap();
        liar.answer(Class::ErrorResponse, |b| {
            b.error_code(code);
        });
        match liar.client.poll_event() {
            Some(Event::NotPermitted { error, .. }) if code != 437 => {
                assert_eq!(error.step, Step::CreatePermission)
            }
            Some(Event::Failed(error)) if code == 437 => {
                assert_eq!(error.reason, Reason::Refused(ErrorCode(437)))
            }
            other => panic!("CreatePermission {code}: {other:?}"),
        }
        assert_eq!(liar.client.is_over(), code == 437);

        let mut liar = Liar::allocated(600);
        let now = liar.now;
        liar.client.bind_channel(now, addr("192.0.2.7:7")).unwrap();
        liar.answer(Class::ErrorResponse, |b| {
            b.error_code(code);
        });
        match liar.client.poll_event() {
            Some(Event::ChannelNotBound { error, .. }) if code != 437 => {
                assert_eq!(error.step, Step::ChannelBind)
            }
            Some(Event::Failed(_)) if code == 437 => {}
            other => panic!("ChannelBind {code}: {other:?}"),
        }

        let mut liar = Liar::allocated(600);
        liar.now += secs(541);
        liar.client.handle_timeout(liar.now);
        liar.answer(Class::ErrorResponse, |b| {
            b.error_code(code);
        });
        assert!(
            matches!(liar.client.poll_event(), Some(Event::Failed(e)) if e.step == Step::Refresh),
            "Refresh {code}"
        );

        let mut liar = Liar::allocated(600);
        liar.client.close(liar.now);
        liar.answer(Class::ErrorResponse, |b| {
            b.error_code(code);
        });
        assert_eq!(liar.client.poll_event(), Some(Event::Closed), "Release {code}");
    }
}

#[test]
fn data_of_peers_without_a_permission_is_dropped_and_counted() {
    let mut liar = Liar::allocated(600);
    let data = |liar: &mut Liar, write: &dyn Fn(&mut Builder<'_>)| {
        let mut out = [0; 300];
        let mut b = Builder::new(&mut out, Class::Indication, Method::DATA, TransactionId([1; 12]));
        write(&mut b);
        let len = b.finish().unwrap();
        liar.client.handle_input(liar.now, addr(SERVER), &out[..len]).is_some()
    };
    let from = |b: &mut Builder<'_>, peer: &str| {
        b.xor_address(AttributeType::XOR_PEER_ADDRESS, addr(peer)).attribute(AttributeType::DATA, b"data");
    };
    assert!(!data(&mut liar, &|b| from(b, "192.0.2.7:7")));
    let channel = [0x40, 0, 0, 1, b'x'];
    assert_eq!(liar.client.handle_input(liar.now, addr(SERVER), &channel), None);
    assert_eq!(liar.client.stats().dropped_unpermitted, 2);
    let now = liar.now;
    liar.client.permit(now, [192, 0, 2, 7].into()).unwrap();
    assert!(data(&mut liar, &|b| from(b, "192.0.2.7:7")), "it may come before the answer");
    assert!(!data(&mut liar, &|b| from(b, "192.0.2.8:7")));
    let malformed = liar.client.stats().dropped_malformed;
    assert!(!data(&mut liar, &|b| {
        b.attribute(AttributeType::DATA, b"data");
    }));
    assert!(!data(&mut liar, &|b| {
        b.xor_address(AttributeType::XOR_PEER_ADDRESS, addr("192.0.2.7:7"));
    }));
    assert!(!data(&mut liar, &|b| {
        from(b, "192.0.2.7:7");
        b.attribute(AttributeType(0x7ABC), &[]);
    }));
    assert_eq!(liar.client.stats().dropped_malformed - malformed, 3);
    // ICMP of a permitted peer is an event, of another nothing.
    let icmp = |b: &mut Builder<'_>, peer: &str| {
        b.xor_address(AttributeType::XOR_PEER_ADDRESS, addr(peer));
        b.attribute(AttributeType::ICMP, &[0, 0, 3, 4, 0, 0, 5, 0]);
    };
    assert!(!data(&mut liar, &|b| icmp(b, "192.0.2.7:7")) && !data(&mut liar, &|b| icmp(b, "192.0.2.8:7")));
    let event = Event::Icmp { peer: addr("192.0.2.7:7"), icmp_type: 3, icmp_code: 4, mtu: 1280 };
    assert_eq!((liar.client.poll_event(), liar.client.poll_event()), (Some(event), None));
    for _ in 0..100_000 {
        data(&mut liar, &|b| icmp(b, "192.0.2.7:7"));
    }
    let waiting = std::iter::from_fn(|| liar.client.poll_event()).count();
    assert_eq!(waiting, 256);
}

#[test]
fn answers_to_nothing_and_from_elsewhere_are_counted() {
    let mut liar = Liar::challenged();
    let mut out = [0; 200];
    let mut b = Builder::new(&mut out, Class::SuccessResponse, Method::ALLOCATE, TransactionId([1; 12]));
    grant(&mut b, 600);
    let len = b.finish().unwrap();
    liar.client.handle_input(liar.now, addr(SERVER), &out[..len]);
    liar.client.handle_input(liar.now, addr("203.0.113.1:3479"), &out[..len]);
    liar.client.handle_input(liar.now, addr(SERVER), &out[..len - 1]);
    liar.client.handle_input(liar.now, addr(SERVER), &[0x40, 0, 0, 9, 1]);
    liar.client.handle_input(liar.now, addr(SERVER), b"GET / HTTP/1.1\r\n");
    let stats = liar.client.stats();
    assert_eq!((stats.dropped_unknown, stats.dropped_foreign, stats.dropped_malformed), (1, 1, 3));
    assert_eq!(liar.client.poll_event(), None);
}
