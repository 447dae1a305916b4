//! What a hostile signalling server or peer can write (rows G1, G2 and D10 of the list of attacks).

use proptest::prelude::*;

use super::transport;
use crate::{
    Error, LocalTransport, MAX_CANDIDATES, MAX_FINGERPRINTS, MAX_MEDIA, MAX_SDP, Negotiator, RemoteTransport,
    SdpType, SignalingState,
};

const SHA256: &str =
    "00:11:22:33:44:55:66:77:88:99:AA:BB:CC:DD:EE:FF:00:11:22:33:44:55:66:77:88:99:AA:BB:CC:DD:EE:FF";
const SHA1: &str = "00:11:22:33:44:55:66:77:88:99:AA:BB:CC:DD:EE:FF:00:11:22:33";

fn offer() -> String {
    let offer = Negotiator::new(5).create_offer(&transport('a')).unwrap();
    let fingerprint = offer.lines().find(|line| line.starts_with("a=fingerprint")).unwrap();
    offer.replace(fingerprint, "a=fingerprint:sha-256 PRINT").replace("PRINT", SHA256)
}

fn set(sdp: &str) -> Result<RemoteTransport, Error> {
    let mut negotiator = Negotiator::new(1);
    let result = negotiator.set_remote(SdpType::Offer, sdp).cloned();
    if result.is_err() {
        assert_eq!(negotiator.signaling_state(), SignalingState::Stable);
        assert!(negotiator.remote().is_none() && negotiator.mid().is_none());
    }
    result
}

#[test]
fn g1_no_field_of_ours_can_bring_a_line_of_its_own() {
    type Field = fn(&mut LocalTransport, &str);
    let fields: [(&str, Field); 4] = [
        ("ufrag", |t, s| t.ufrag.push_str(s)),
        ("pwd", |t, s| t.pwd.push_str(s)),
        ("fingerprint", |t, s| t.fingerprints[0].algorithm.push_str(s)),
        ("candidate", |t, s| t.candidates[0].push_str(s)),
    ];
    for evil in ["\r\na=fingerprint:sha-256 00", "\n", "\r", "\0", "\u{85}", "\u{7f}"] {
        for (name, field) in fields {
            let mut local = transport('a');
            field(&mut local, evil);
            let mut negotiator = Negotiator::new(1);
            assert!(negotiator.create_offer(&local).is_err(), "{name} {evil:?}");
            assert_eq!(negotiator.set_local(SdpType::Offer, ""), Err(Error::NotCreatedHere));
        }
    }
}

#[test]
fn g1_a_peers_mid_and_m_lines_can_not_break_out_of_our_answer() {
    for evil in ["a=mid:0\u{85}x", "a=mid:0 1", "a=mid:", "a=mid:é", "a=mid:\u{2028}"] {
        let sdp = offer().replace("a=mid:0", evil);
        let result = set(&sdp);
        assert!(
            matches!(result, Err(Error::Syntax(_) | Error::InvalidCharacter { .. })),
            "{evil:?}: {result:?}"
        );
    }
    assert!(matches!(set(&offer().replace("a=mid:0", "a=mid:0\rX")), Err(Error::InvalidCharacter { .. })));
}

#[test]
fn g2_sizes_and_counts_beyond_the_limits_are_refused_and_those_at_them_are_not() {
    let candidate = "a=candidate:1 1 udp 1 10.0.0.1 1 typ host\r\n";
    let base =
        offer().lines().filter(|l| !l.contains("candidate")).map(|l| format!("{l}\r\n")).collect::<String>();
    assert_eq!(
        set(&format!("{base}{}", candidate.repeat(MAX_CANDIDATES))).unwrap().candidates.len(),
        MAX_CANDIDATES
    );
    let too_large = |sdp: String, limit: usize| match set(&sdp) {
        Err(Error::TooLarge { limit: named, .. }) => assert_eq!(named, limit),
        other => panic!("{other:?}"),
    };
    too_large(format!("{base}{}", candidate.repeat(MAX_CANDIDATES + 1)), MAX_CANDIDATES);
    too_large(format!("{base}{}", candidate.repeat(100_000)), MAX_SDP);

    let media = "m=audio 0 RTP/AVP 0\r\n";
    assert!(set(&format!("{base}{}", media.repeat(MAX_MEDIA - 1))).is_ok());
    too_large(format!("{base}{}", media.repeat(MAX_MEDIA)), MAX_MEDIA);

    let print = format!("a=fingerprint:sha-256 {SHA256}\r\n");
    assert!(set(&format!("{base}{}", print.repeat(MAX_FINGERPRINTS - 1))).is_ok());
    too_large(format!("{base}{}", print.repeat(MAX_FINGERPRINTS)), MAX_FINGERPRINTS);

    let pad = |n: usize| format!("{base}a={}\r\n", "x".repeat(n - base.len() - 4));
    assert!(set(&pad(MAX_SDP)).is_ok());
    too_large(pad(MAX_SDP + 1), MAX_SDP);

    too_large(base.replace("a=mid:0", &format!("a=mid:{}", "x".repeat(257))), crate::MAX_MID);
    too_large(format!("{base}a=candidate:{}\r\n", "x".repeat(1100)), crate::MAX_CANDIDATE);
}

#[test]
fn g2_numbers_beyond_their_types_do_not_wrap() {
    let replaced = |from: &str, to: &str| set(&offer().replace(from, to));
    for port in ["0", "65536", "4294972296", "18446744073709556616", "-1", "", "5000x"] {
        assert!(matches!(
            replaced("sctp-port:5000", &format!("sctp-port:{port}")),
            Err(Error::BadSctpPort(_))
        ));
    }
    assert_eq!(replaced("a=sctp-port:5000\r\n", ""), Err(Error::MissingSctpPort));
    for size in ["-1", "1e9", "x", ""] {
        let result = replaced("size:262144", &format!("size:{size}"));
        assert!(matches!(result, Err(Error::BadMaxMessageSize(_))), "{size}");
    }
    for (size, expected) in
        [("0", u64::MAX), ("1", 1), ("18446744073709551615", u64::MAX), ("99999999999999999999999", u64::MAX)]
    {
        assert_eq!(replaced("size:262144", &format!("size:{size}")).unwrap().max_message_size, expected);
    }
    assert_eq!(replaced("a=max-message-size:262144\r\n", "").unwrap().max_message_size, 65_536);
    assert!(matches!(replaced("application 9", "application 65545"), Err(Error::Syntax(_))));
}

#[test]
fn setup_and_credentials_outside_of_their_rules_have_their_own_errors() {
    let replaced = |from: &str, to: &str| set(&offer().replace(from, to)).map(|_| ());
    for unknown in ["Active", "act", "", "actpass passive", "\u{1b}[31m"] {
        let Err(Error::UnknownSetup(text)) = replaced("setup:actpass", &format!("setup:{unknown}")) else {
            panic!("{unknown}")
        };
        assert!(!text.contains('\u{1b}'), "what is printed has no control characters");
    }
    assert_eq!(replaced("a=setup:actpass\r\n", ""), Err(Error::MissingSetup));
    assert_eq!(replaced("actpass", "holdconn"), Err(Error::SetupNotAllowed(crate::Setup::HoldConn)));
    assert_eq!(replaced("a=ice-ufrag:aaaaaaaa\r\n", ""), Err(Error::MissingIceCredentials));
    for ufrag in ["aaa", "", &"a".repeat(257), "aaaa=", "aaaa:", "aaaa a"] {
        assert_eq!(
            replaced("ufrag:aaaaaaaa", &format!("ufrag:{ufrag}")),
            Err(Error::BadIceCredentials("ufrag"))
        );
    }
    for pwd in ["a".repeat(21), "a".repeat(257), "é".repeat(22)] {
        let result = replaced(&format!("pwd:{}", "a".repeat(24)), &format!("pwd:{pwd}"));
        assert_eq!(result, Err(Error::BadIceCredentials("pwd")));
    }
}

#[test]
fn d10_fingerprints_fail_closed() {
    let lines = |lines: &[String]| {
        let all: String = lines.iter().map(|l| format!("a=fingerprint:{l}\r\n")).collect();
        set(&offer().replace(&format!("a=fingerprint:sha-256 {SHA256}\r\n"), &all))
            .map(|t| t.fingerprints.iter().map(|f| f.algorithm.clone()).collect::<Vec<_>>())
    };
    let sha256 = format!("sha-256 {SHA256}");
    let sha1 = format!("sha-1 {SHA1}");
    let md5 = format!("md5 {}", &SHA256[..47]);
    let sha384 = format!("sha-384 {SHA256}:{}", &SHA256[..47]);
    let sha512 = format!("sha-512 {SHA256}:{SHA256}");
    let unknown = "sha3-9 00:01".to_owned();

    assert_eq!(lines(&[]), Err(Error::NoFingerprint));
    for weak in [vec![sha1.clone()], vec![md5.clone()], vec![sha1.clone(), md5, unknown.clone()]] {
        assert_eq!(lines(&weak), Err(Error::WeakFingerprintOnly), "{weak:?}");
    }
    for strong in [&sha256, &sha384, &sha512] {
        assert!(lines(std::slice::from_ref(strong)).is_ok());
        assert_eq!(lines(&[sha1.clone(), strong.clone(), unknown.clone()]).unwrap().len(), 3);
    }
    assert_eq!(lines(&[sha256.to_uppercase()]), Ok(vec!["sha-256".to_owned()]));
    assert_eq!(lines(&[sha256.to_lowercase()]), Ok(vec!["sha-256".to_owned()]));
    for bad in [
        "sha-256".to_owned(),
        "sha-256 ".to_owned(),
        format!("sha-256 {SHA1}"),
        format!("sha-256 {SHA256}:00"),
        format!("sha-256 {}", SHA256.replace(':', "")),
        format!("sha-256 {}", SHA256.replace("AA", "GG")),
        format!("sha-256 {}", SHA256.replace(':', "-")),
        format!("sha-1 {SHA256}"),
        format!("{} 00", "x y"),
    ] {
        // One that is malformed spoils the description, also beside a good one.
        for all in [vec![bad.clone()], vec![sha256.clone(), bad.clone()]] {
            assert!(matches!(lines(&all), Err(Error::BadFingerprint(_))), "{bad}: {:?}", lines(&all));
        }
    }
}

#[test]
fn d10_a_running_session_keeps_its_fingerprint_and_its_roles() {
    let mut z = Negotiator::new(1);
    z.set_remote(SdpType::Offer, &offer()).unwrap();
    z.create_answer(&transport('z')).unwrap();
    z.set_local(SdpType::Answer, "").unwrap();
    let other = offer().replace("00:11", "01:11");
    assert_eq!(z.set_remote(SdpType::Offer, &other), Err(Error::FingerprintChanged));
    // We are the client; an active peer would make us the server.
    assert_eq!(z.set_remote(SdpType::Offer, &offer().replace("actpass", "active")), Err(Error::RoleChanged));
    assert_eq!(z.signaling_state(), SignalingState::Stable);
    assert!(z.set_remote(SdpType::Offer, &offer().replace("actpass", "passive")).is_ok());

    let mut a = Negotiator::new(1);
    let answer = offer().replace("actpass", "active");
    for (round, answer) in [&answer, &answer, &offer().replace("actpass", "passive")].into_iter().enumerate()
    {
        a.create_offer(&transport('a')).unwrap();
        a.set_local(SdpType::Offer, "").unwrap();
        let result = a.set_remote(SdpType::Answer, answer).map(|_| ());
        assert_eq!(result, if round < 2 { Ok(()) } else { Err(Error::RoleChanged) });
    }
    assert_eq!(a.set_remote(SdpType::Answer, &offer()), Err(Error::SetupNotAllowed(crate::Setup::ActPass)));
}

#[test]
fn passwords_do_not_show_in_debug_output() {
    let mut a = Negotiator::new(1);
    let local = transport('q');
    a.create_offer(&local).unwrap();
    a.set_local(SdpType::Offer, "").unwrap();
    let mut z = Negotiator::new(2);
    z.set_remote(SdpType::Offer, &a.create_offer(&local).unwrap()).unwrap();
    for shown in [format!("{local:?}"), format!("{a:?}"), format!("{z:?}"), format!("{:?}", z.remote())] {
        assert!(!shown.contains(&local.pwd), "{shown}");
    }
}

proptest! {
    /// An offer with a few bytes changed, cut or repeated: taken or refused, and an answer to it is taken by its offerer's
    /// reader.
    #[test]
    fn no_mutation_of_an_offer_makes_the_negotiator_panic(
        edits in proptest::collection::vec((any::<prop::sample::Index>(), 0..4u8, "[ -~\\r\\n\\x00é]{0,12}"), 0..6),
    ) {
        let mut text: Vec<char> = offer().chars().collect();
        for (at, how, with) in edits {
            if text.is_empty() {
                break;
            }
            let at = at.index(text.len());
            let to = text.len().min(at + with.chars().count());
            match how {
                0 => drop(text.splice(at..to, with.chars())),
                1 => drop(text.splice(at..at, with.chars())),
                2 => drop(text.drain(at..to)),
                _ => text.truncate(at),
            }
        }
        let mut z = Negotiator::new(1);
        if z.set_remote(SdpType::Offer, &text.iter().collect::<String>()).is_ok() {
            let answer = z.create_answer(&transport('z')).unwrap();
            prop_assert!(crate::session::parse(&answer).is_ok());
            prop_assert_eq!(z.set_local(SdpType::Answer, &answer), Ok(()));
        }
    }
}
