//! Connections without SDP.

use super::*;
use crate::{
    Agreement, AgreementError, CloseReason, Credentials, CredentialsError, DtlsRole, Fingerprint,
    HashAlgorithm, Message, PeerIdentity, Role,
};

const SHARED: &str = "libp2p+webrtc+v1/abcdefghijklmnop";

fn credentials(ufrag: &str, pwd: &str) -> Credentials {
    Credentials { ufrag: ufrag.to_owned(), pwd: pwd.to_owned() }
}

/// As libp2p's WebRTC Direct has it.
fn direct(role: DtlsRole, identity: PeerIdentity) -> Agreement {
    let mut agreement =
        Agreement::new(credentials(SHARED, SHARED), credentials(SHARED, SHARED), role, identity);
    agreement.danger_public_password = true;
    agreement
}

fn ours() -> PeerIdentity {
    PeerIdentity::Fingerprints(vec![certificate().fingerprint(HashAlgorithm::Sha256)])
}

/// Carries datagrams and lets time pass until nothing moves. The client knows the server's address, the server nothing.
fn run(now: &mut Instant, client: &mut Peer, server: &mut Peer) -> Vec<Event> {
    let mut events = Vec::new();
    let mut buf = [0; 1500];
    for _ in 0..2000 {
        let mut moved = false;
        while let Some(out) = client.poll_transmit(*now, 1, &mut buf) {
            server.handle_datagram(*now, seen_from_there(out.path), &mut buf[..out.size]);
            moved = true;
        }
        while let Some(out) = server.poll_transmit(*now, 1, &mut buf) {
            client.handle_datagram(*now, seen_from_there(out.path), &mut buf[..out.size]);
            moved = true;
        }
        for peer in [&mut *client, &mut *server] {
            events.extend(std::iter::from_fn(|| peer.poll_event()));
        }
        if !moved {
            let Some(next) = [client.poll_timeout(), server.poll_timeout()].into_iter().flatten().min()
            else {
                break;
            };
            *now = next.max(*now);
            if events.iter().any(|event| matches!(event, Event::Closed(_)))
                || [&*client, &*server]
                    .iter()
                    .all(|peer| peer.connection_state() == ConnectionState::Connected)
            {
                break;
            }
            client.handle_timeout(*now);
            server.handle_timeout(*now);
        }
    }
    events
}

fn ends(now: Instant, for_client: PeerIdentity, for_server: PeerIdentity) -> (Peer, Peer) {
    let (mut client, mut server) = (peer(now, 1, |_| {}), peer(now, 2, |_| {}));
    let mut agreement = direct(DtlsRole::Client, for_client);
    agreement.remote_addrs = vec!["10.0.0.2:2".parse().unwrap()];
    client.agree(now, agreement).unwrap();
    server.agree(now, direct(DtlsRole::Server, for_server)).unwrap();
    for (peer, addr) in [(&mut client, "10.0.0.1:1"), (&mut server, "10.0.0.2:2")] {
        peer.add_local_host(now, addr.parse().unwrap());
        peer.end_of_local_candidates(now);
    }
    (client, server)
}

#[test]
fn two_sides_with_one_password_and_any_client_certificate_connect_without_sdp() {
    let mut now = base();
    let (mut client, mut server) = ends(now, ours(), PeerIdentity::DangerAnyCertificate);
    let options = ChannelOptions { negotiated: Some(0), ..Default::default() };
    let keys = [&mut client, &mut server].map(|peer| peer.open_channel(now, options.clone()).unwrap());
    assert!(server.peer_certificate().is_none());
    let events = run(&mut now, &mut client, &mut server);
    assert!(
        !events.iter().any(|event| matches!(event, Event::Closed(_) | Event::NegotiationNeeded)),
        "{events:?}"
    );
    assert_eq!(server.connection_state(), ConnectionState::Connected);
    run(&mut now, &mut client, &mut server);
    assert_eq!(client.channel_state(keys[0]), ChannelState::Open);
    client.try_send(now, keys[0], Message::from("hello")).unwrap();
    run(&mut now, &mut client, &mut server);
    assert_eq!(server.recv(keys[1]), Some(Message::from("hello")));
    let seen = Fingerprint::of(HashAlgorithm::Sha256, server.peer_certificate().unwrap());
    assert_eq!(seen, certificate().fingerprint(HashAlgorithm::Sha256));
    // What SDP would do is refused, and harms nothing.
    assert_eq!(server.signaling_state(), SignalingState::Closed);
    assert!(server.create_offer().is_err() && server.create_answer().is_err());
    assert!(server.set_remote_description(now, SdpType::Offer, "v=0").is_err());
    assert!(!server.negotiation_needed());
    server.restart_ice(now);
    server.rollback(now).unwrap_err();
    assert_eq!(server.connection_state(), ConnectionState::Connected);
}

#[test]
fn a_fingerprint_that_does_not_match_ends_it() {
    let mut now = base();
    let other = Fingerprint { algorithm: HashAlgorithm::Sha256, digest: vec![7; 32] };
    let (mut client, mut server) =
        ends(now, PeerIdentity::Fingerprints(vec![other]), PeerIdentity::DangerAnyCertificate);
    let events = run(&mut now, &mut client, &mut server);
    assert!(events.iter().any(|event| matches!(event, Event::Closed(CloseReason::Dtls(_)))), "{events:?}");
    assert!(client.peer_certificate().is_none());
}

#[test]
fn what_is_too_weak_or_comes_too_late_is_refused_and_changes_nothing() {
    let now = base();
    let pwd = "0123456789abcdefghijkl";
    let good = |role| Agreement::new(credentials("abcd", pwd), credentials("efgh", pwd), role, ours());
    let mut peer = peer(now, 1, |_| {});
    let ufrag = peer.local_ufrag().to_owned();
    let mut refused = |change: &dyn Fn(&mut Agreement)| {
        let mut agreement = good(DtlsRole::Client);
        change(&mut agreement);
        peer.agree(now, agreement).unwrap_err()
    };
    assert_eq!(
        refused(&|a| a.local.pwd = pwd[1..].into()),
        AgreementError::Credentials(CredentialsError::Pwd)
    );
    assert_eq!(refused(&|a| a.remote.pwd = "x y".into()), AgreementError::Credentials(CredentialsError::Pwd));
    assert_eq!(
        refused(&|a| a.remote.ufrag = "a:bc".into()),
        AgreementError::Credentials(CredentialsError::Ufrag)
    );
    assert_eq!(
        refused(&|a| a.local.ufrag = "abc".into()),
        AgreementError::Credentials(CredentialsError::Ufrag)
    );
    assert_eq!(refused(&|a| a.remote.ufrag = format!("of/{pwd}")), AgreementError::PublicPassword);
    assert_eq!(refused(&|a| a.local.ufrag = pwd.into()), AgreementError::PublicPassword);
    assert_eq!(
        refused(&|a| a.identity = PeerIdentity::Fingerprints(Vec::new())),
        AgreementError::NoFingerprint
    );
    assert_eq!(peer.local_ufrag(), ufrag);
    assert_eq!(peer.signaling_state(), SignalingState::Stable);
    let before = peer.local_ufrags_version();
    assert_eq!(good(DtlsRole::Server).ice_role, Role::Controlled);
    peer.agree(now, good(DtlsRole::Client)).unwrap();
    assert_eq!(peer.local_ufrag(), "abcd");
    assert_ne!(peer.local_ufrags_version(), before);
    assert_eq!(peer.agree(now, good(DtlsRole::Client)), Err(AgreementError::TooLate));
    let (mut offerer, mut answerer) = negotiated(now, |_| {});
    assert_eq!(offerer.agree(now, good(DtlsRole::Client)), Err(AgreementError::TooLate));
    answerer.abort(now, "over");
    assert_eq!(answerer.agree(now, good(DtlsRole::Client)), Err(AgreementError::TooLate));
}
