//! TURN with coturn: our client with its server, our server with its client, and both of ours on real sockets.
//!
//! coturn is needed (Debian's package of that name), and for the browsers root and the two namespaces; all else stays on
//! 127.0.0.1.

mod browsers;
mod connections;
mod server;
mod wire;

use std::time::Duration;

use sinnet::turn::{ClientConfig, Credentials, ErrorCode, Event, Reason, Step, ephemeral_credentials};

use sinnet_interop::coturn::{Coturn, PASSWORD, SECRET, USER};
use wire::{Over, PATIENCE, Wire, exercise, now};

fn run(test: impl Future<Output = ()>) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    runtime.block_on(test);
}

fn with(username: &str, password: &str) -> ClientConfig {
    ClientConfig::new(Credentials { username: username.to_owned(), password: password.to_owned() })
}

fn config() -> ClientConfig {
    with(USER, PASSWORD)
}

#[test]
fn data_passes_through_coturn_over_udp_tcp_and_tls() {
    run(async {
        let coturn = Coturn::start(&[]).await;
        for over in [Over::Udp, Over::Tcp, Over::Tls] {
            let (server, trusted) = match over {
                Over::Tls => (coturn.tls, Some(&coturn.certificate)),
                _ => (coturn.plain, None),
            };
            let mut wire = Wire::new(config(), server, over, trusted).await;
            exercise(&mut wire).await;
            wire.close().await;
            let stats = wire.client.stats();
            assert_eq!((stats.messages_sent, stats.messages_received), (6, 6), "{over:?}");
            assert_eq!((stats.dropped_integrity, stats.dropped_malformed), (0, 0), "{over:?}");
        }
    });
}

#[test]
fn coturn_refuses_a_wrong_password_and_the_error_says_so() {
    run(async {
        let coturn = Coturn::start(&[]).await;
        let mut wire = Wire::new(with(USER, "looking-glass"), coturn.plain, Over::Udp, None).await;
        let error = wire.failed().await;
        assert_eq!(
            (error.step, error.reason, error.server),
            (Step::Allocate, Reason::Credentials, coturn.plain)
        );
    });
}

#[test]
fn ephemeral_credentials_are_made_as_coturn_wants_them() {
    run(async {
        let coturn = Coturn::start(&["--use-auth-secret", "--static-auth-secret", SECRET]).await;
        #[expect(clippy::disallowed_methods, reason = "ephemeral credentials end at a time of day")]
        let unix =
            std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).expect("after 1970").as_secs();
        let (name, password) = ephemeral_credentials(SECRET.as_bytes(), unix + 3600, USER);
        let mut wire = Wire::new(with(&name, &password), coturn.plain, Over::Udp, None).await;
        exercise(&mut wire).await;
        wire.close().await;
        let (name, password) = ephemeral_credentials(SECRET.as_bytes(), unix - 3600, USER);
        let mut wire = Wire::new(with(&name, &password), coturn.plain, Over::Udp, None).await;
        assert_eq!(wire.failed().await.reason, Reason::Credentials);
    });
}

#[test]
fn nonces_that_coturn_takes_for_stale_are_replaced() {
    run(async {
        let coturn = Coturn::start(&["--stale-nonce=1"]).await;
        let mut wire = Wire::new(config(), coturn.plain, Over::Udp, None).await;
        wire.allocated().await;
        let until = now() + PATIENCE;
        for ip in 1.. {
            wire.permit(([192, 0, 2, ip], 1).into()).await;
            if wire.client.stats().stale_nonces >= 2 {
                break;
            }
            assert!(now() < until, "no nonce went stale");
            tokio::time::sleep(Duration::from_millis(700)).await;
        }
        wire.close().await;
    });
}

#[test]
fn a_quota_of_coturn_is_named_and_what_is_closed_counts_no_more() {
    run(async {
        let coturn = Coturn::start(&["--user-quota", "1"]).await;
        let mut first = Wire::new(config(), coturn.plain, Over::Udp, None).await;
        first.allocated().await;
        let mut second = Wire::new(config(), coturn.plain, Over::Udp, None).await;
        let error = second.failed().await;
        assert_eq!(error.reason, Reason::Refused(ErrorCode::ALLOCATION_QUOTA_REACHED));
        assert_eq!(error.retry_after(), Some(Duration::from_secs(60)));
        first.close().await;
        // coturn forgets a closed allocation a moment after it has said so.
        let until = now() + PATIENCE;
        loop {
            let mut third = Wire::new(config(), coturn.plain, Over::Udp, None).await;
            match third.event().await {
                Event::Allocated { .. } => break,
                Event::Failed(error) if now() < until => {
                    assert_eq!(error.reason, Reason::Refused(ErrorCode::ALLOCATION_QUOTA_REACHED));
                    tokio::time::sleep(Duration::from_millis(300)).await;
                }
                other => panic!("{other:?}"),
            }
        }
    });
}

#[test]
fn a_coturn_that_was_restarted_refuses_and_can_still_be_left() {
    run(async {
        let coturn = Coturn::start(&[]).await;
        let mut wire = Wire::new(config(), coturn.plain, Over::Udp, None).await;
        wire.allocated().await;
        let port = coturn.plain.port();
        drop(coturn);
        let _again = Coturn::start_on(port, &[]).await;
        wire.client.permit(now(), [192, 0, 2, 1].into()).expect("it may be asked for");
        // RFC 8656 §5 has 437 for this, which would end the client; so the next Refresh will.
        let Event::NotPermitted { error, .. } = wire.event().await else { panic!("there is no allocation") };
        assert_eq!(error.reason, Reason::Refused(ErrorCode::BAD_REQUEST));
        assert!(wire.client.stats().stale_nonces > 0);
        wire.close().await;
    });
}

#[test]
fn coturn_forbids_what_it_is_told_to_and_the_rest_goes_on() {
    run(async {
        let coturn = Coturn::start(&["--denied-peer-ip", "192.0.2.0-192.0.2.255"]).await;
        let mut wire = Wire::new(config(), coturn.plain, Over::Udp, None).await;
        wire.allocated().await;
        for ip in [[192, 0, 2, 1], [198, 51, 100, 1], [192, 0, 2, 2]] {
            wire.client.permit(now(), ip.into()).expect("it may be asked for");
        }
        let mut permitted = Vec::new();
        for _ in 0..3 {
            match wire.event().await {
                Event::Permitted { ip } => permitted.push((ip.to_string(), true)),
                Event::NotPermitted { ip, error } => {
                    assert_eq!(error.reason, Reason::Refused(ErrorCode::FORBIDDEN));
                    permitted.push((ip.to_string(), false));
                }
                other => panic!("{other:?}"),
            }
        }
        permitted.sort();
        let expected = [("192.0.2.1", false), ("192.0.2.2", false), ("198.51.100.1", true)];
        assert_eq!(permitted, expected.map(|(ip, ok)| (ip.to_owned(), ok)));
    });
}
