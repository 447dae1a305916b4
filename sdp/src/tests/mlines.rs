//! m-lines that are not ours, BUNDLE, mids, and what later descriptions must keep.

use super::transport;
use crate::{DtlsRole, Error, Negotiator, SdpType, Setup};

const HEAD: &str = "v=0\r\no=- 1 1 IN IP4 0.0.0.0\r\ns=-\r\nt=0 0\r\n";
const TRANSPORT: &str = "a=ice-ufrag:abcd\r\na=ice-pwd:0123456789012345678901\r\na=setup:actpass\r\n\
    a=fingerprint:sha-256 00:00:00:00:00:00:00:00:00:00:00:00:00:00:00:00:00:00:00:00:00:00:00:00:00:00:00:00:00:00:00:00\r\n";
const AUDIO: &str = "m=audio 9 UDP/TLS/RTP/SAVPF 111 0\r\nc=IN IP4 0.0.0.0\r\na=mid:a\r\na=sendrecv\r\n\
    a=rtpmap:111 opus/48000/2\r\n";
const MSRP: &str = "m=message 7394 TCP/MSRP *\r\na=mid:m\r\n";

fn data(port: u16, mid: &str) -> String {
    format!(
        "m=application {port} UDP/DTLS/SCTP webrtc-datachannel\r\nc=IN IP4 0.0.0.0\r\na=mid:{mid}\r\na=sctp-port:5000\r\n"
    )
}

fn sections(sdp: &str) -> Vec<&str> {
    let starts: Vec<_> = sdp.match_indices("m=").filter(|(i, _)| sdp[..*i].ends_with('\n')).collect();
    let ends = starts.iter().skip(1).map(|(i, _)| *i).chain([sdp.len()]);
    starts.iter().zip(ends).map(|((start, _), end)| &sdp[*start..end]).collect()
}

#[test]
fn a_first_offer_is_what_browsers_expect_line_by_line() {
    let offer = Negotiator::new(u64::MAX).create_offer(&transport('a')).unwrap();
    let expected = "v=0\r\no=- 9223372036854775807 1 IN IP4 0.0.0.0\r\ns=-\r\nt=0 0\r\na=group:BUNDLE 0\r\n\
        m=application 9 UDP/DTLS/SCTP webrtc-datachannel\r\nc=IN IP4 0.0.0.0\r\na=mid:0\r\na=sctp-port:5000\r\n\
        a=max-message-size:262144\r\na=setup:actpass\r\n\
        a=fingerprint:sha-256 61:61:61:61:61:61:61:61:61:61:61:61:61:61:61:61:61:61:61:61:61:61:61:61:61:61:61:61:61:61:61:61\r\n\
        a=ice-ufrag:aaaaaaaa\r\na=ice-pwd:aaaaaaaaaaaaaaaaaaaaaaaa\r\na=ice-options:trickle ice2 renomination\r\n\
        a=candidate:1 1 UDP 2122252543 10.0.0.97 4000 typ host\r\n";
    assert_eq!(offer, expected);
}

#[test]
fn m_lines_that_we_do_not_speak_are_answered_with_port_0_and_their_own_protocol() {
    let mut z = Negotiator::new(1);
    let offer = format!("{HEAD}a=group:BUNDLE a d\r\n{AUDIO}{MSRP}{}{TRANSPORT}", data(9, "d"));
    let remote = z.set_remote(SdpType::Offer, &offer).unwrap();
    assert_eq!((remote.mid.as_str(), remote.mline_index), ("d", 2));
    let answer = z.create_answer(&transport('z')).unwrap();
    let sections = sections(&answer);
    assert_eq!(
        sections[0],
        "m=audio 0 UDP/TLS/RTP/SAVPF 111 0\r\nc=IN IP4 0.0.0.0\r\na=mid:a\r\na=inactive\r\n"
    );
    assert_eq!(sections[1], "m=message 0 TCP/MSRP *\r\nc=IN IP4 0.0.0.0\r\na=mid:m\r\na=inactive\r\n");
    assert!(sections[2].starts_with("m=application 9 UDP/DTLS/SCTP webrtc-datachannel\r\n"));
    assert!(answer.contains("a=group:BUNDLE d\r\n"), "only accepted sections are in the group: {answer}");

    // And our own offer later keeps the places.
    z.set_local(SdpType::Answer, &answer).unwrap();
    let offer = z.create_offer(&transport('z')).unwrap();
    let again: Vec<_> = super::mlines::sections(&offer).iter().map(|s| s.lines().next().unwrap()).collect();
    assert_eq!(
        again,
        [
            "m=audio 0 UDP/TLS/RTP/SAVPF 111 0",
            "m=message 0 TCP/MSRP *",
            "m=application 9 UDP/DTLS/SCTP webrtc-datachannel"
        ]
    );
    assert!(offer.contains("a=mid:d\r\n") && offer.contains("a=setup:actpass\r\n"));
    assert_eq!((z.mid(), z.mline_index()), (Some("d"), Some(2)));
}

#[test]
fn tcp_and_other_spellings_are_echoed_as_offered() {
    let offer = format!("{HEAD}{}{TRANSPORT}", data(9, "0").replace("UDP/DTLS/SCTP", "TCP/DTLS/SCTP"));
    let mut z = Negotiator::new(1);
    z.set_remote(SdpType::Offer, &offer).unwrap();
    let answer = z.create_answer(&transport('z')).unwrap();
    assert!(answer.contains("m=application 9 TCP/DTLS/SCTP webrtc-datachannel\r\n"));
    assert!(!answer.contains("BUNDLE"), "no group was offered");
}

#[test]
fn an_offer_without_a_data_m_line_is_refused() {
    for media in [String::new(), AUDIO.to_owned(), data(0, "0")] {
        let offer = format!("{HEAD}{media}{TRANSPORT}");
        assert_eq!(Negotiator::new(1).set_remote(SdpType::Offer, &offer), Err(Error::NoDataMediaLine));
    }
}

#[test]
fn a_section_that_is_bundled_only_takes_its_transport_from_the_tagged_one() {
    let bundle_only = data(0, "d").replace("a=mid", "a=bundle-only\r\na=mid");
    let offer = format!(
        "{HEAD}a=group:BUNDLE a d\r\n{AUDIO}{TRANSPORT}a=candidate:1 1 udp 1 10.0.0.1 9 typ host\r\n{bundle_only}"
    );
    let mut z = Negotiator::new(1);
    let remote = z.set_remote(SdpType::Offer, &offer).unwrap();
    assert_eq!((remote.ufrag.as_str(), remote.candidates.len()), ("abcd", 1));
    // Without the group it is a line at port 0.
    let offer = offer.replace("a=group:BUNDLE a d\r\n", "");
    assert_eq!(Negotiator::new(1).set_remote(SdpType::Offer, &offer), Err(Error::NoDataMediaLine));
}

#[test]
fn media_level_wins_over_session_level() {
    let session_level =
        TRANSPORT.replace("abcd", "SESS").replace("00:00", "FF:FF").replace("actpass", "passive");
    let offer = format!("{HEAD}{session_level}{}{TRANSPORT}", data(9, "0"));
    let mut z = Negotiator::new(1);
    let remote = z.set_remote(SdpType::Offer, &offer).unwrap();
    assert_eq!(remote.ufrag, "abcd");
    assert_eq!(remote.setup, Setup::ActPass);
    assert_eq!(remote.fingerprints.len(), 1);
    assert_eq!(remote.fingerprints[0].digest, [0; 32]);
}

#[test]
fn an_answer_must_have_the_m_lines_of_its_offer() {
    let offered = |answer: &str| {
        let mut a = Negotiator::new(1);
        let offer = a.create_offer(&transport('a')).unwrap();
        a.set_local(SdpType::Offer, &offer).unwrap();
        let result = a.set_remote(SdpType::Answer, answer).map(|remote| remote.mid.clone());
        assert_eq!(a.dtls_role().is_some(), result.is_ok(), "an error changes nothing");
        result
    };
    let active = TRANSPORT.replace("actpass", "active");
    let good = format!("{HEAD}{}{active}", data(9, "0"));
    assert_eq!(offered(&good), Ok("0".to_owned()));
    assert_eq!(offered(&good.replace("a=mid:0\r\n", "")), Ok("0".to_owned()));
    assert_eq!(offered(&good.replace("application 9", "application 0")), Err(Error::DataRejected));
    for bad in [
        HEAD.to_owned(),
        format!("{good}{AUDIO}"),
        format!("{HEAD}{AUDIO}{active}"),
        good.replace("a=mid:0", "a=mid:1"),
        good.replace("UDP/DTLS/SCTP", "DTLS/SCTP"),
    ] {
        assert!(matches!(offered(&bad), Err(Error::MLineMismatch(_))), "{bad}");
    }
}

#[test]
fn a_later_offer_must_keep_the_data_m_line_in_its_place() {
    let first = format!("{HEAD}{AUDIO}{}{TRANSPORT}", data(9, "d"));
    let second = |offer: &str| {
        let mut z = Negotiator::new(1);
        z.set_remote(SdpType::Offer, &first).unwrap();
        let answer = z.create_answer(&transport('z')).unwrap();
        z.set_local(SdpType::Answer, &answer).unwrap();
        z.set_remote(SdpType::Offer, offer).map(|remote| remote.mline_index)
    };
    assert_eq!(second(&first), Ok(1));
    assert_eq!(second(&format!("{first}{MSRP}")), Ok(1), "new m-lines come at the end");
    assert_eq!(second(&first.replace("application 9", "application 0")), Err(Error::NoDataMediaLine));
    for bad in [
        format!("{HEAD}{}{TRANSPORT}", data(9, "d")),
        format!("{HEAD}{}{TRANSPORT}{AUDIO}", data(9, "d")),
        first.replace("a=mid:d", "a=mid:e"),
    ] {
        assert!(matches!(second(&bad), Err(Error::MLineMismatch(_))), "{bad}");
    }
}

#[test]
fn versions_go_up_by_one_with_each_description_that_is_set_and_ids_stay() {
    let (mut a, mut z) = (Negotiator::new(11), Negotiator::new(12));
    for round in 1..4 {
        let offer = a.create_offer(&transport('a')).unwrap();
        assert_eq!(a.create_offer(&transport('a')).unwrap(), offer, "made, not set: not counted");
        assert!(offer.contains(&format!("o=- 11 {round} IN")));
        a.set_local(SdpType::Offer, &offer).unwrap();
        z.set_remote(SdpType::Offer, &offer).unwrap();
        let answer = z.create_answer(&transport('z')).unwrap();
        assert!(answer.contains(&format!("o=- 12 {round} IN")));
        z.set_local(SdpType::Answer, &answer).unwrap();
        a.set_remote(SdpType::Answer, &answer).unwrap();
    }
    // An offer that was taken back may have been seen, so its version is not used again.
    let offer = a.create_offer(&transport('a')).unwrap();
    a.set_local(SdpType::Offer, &offer).unwrap();
    a.rollback().unwrap();
    assert!(a.create_offer(&transport('b')).unwrap().contains("o=- 11 5 IN"));
}

#[test]
fn roles_follow_setup_and_the_preference() {
    for (setup, prefer, expected) in [
        ("actpass", DtlsRole::Client, DtlsRole::Client),
        ("actpass", DtlsRole::Server, DtlsRole::Server),
        ("active", DtlsRole::Client, DtlsRole::Server),
        ("passive", DtlsRole::Server, DtlsRole::Client),
    ] {
        let offer = format!("{HEAD}{}{}", data(9, "0"), TRANSPORT.replace("actpass", setup));
        let mut z = Negotiator::new(1);
        z.prefer_role(prefer);
        z.set_remote(SdpType::Offer, &offer).unwrap();
        assert_eq!(z.dtls_role(), None);
        let answer = z.create_answer(&transport('z')).unwrap();
        assert!(answer.contains(&format!("a=setup:{}\r\n", Setup::from(expected))));
        z.set_local(SdpType::Answer, &answer).unwrap();
        assert_eq!(z.dtls_role(), Some(expected));
    }
}

#[test]
fn a_local_description_can_be_had_with_the_candidates_known_by_then() {
    let mut a = Negotiator::new(1);
    assert_eq!(a.local_description_with(&[], false), None);
    let offer = a.create_offer(&transport('a')).unwrap();
    a.set_local(SdpType::Offer, "").unwrap();
    let lines = ["candidate:7 1 UDP 1 10.0.0.7 7 typ host", "no candidate", "candidate:x\r\na=setup:active"];
    let (kind, text) = a.local_description_with(&lines.map(str::to_owned), true).unwrap();
    assert_eq!(kind, SdpType::Offer);
    let before = "a=candidate:1 1 UDP 2122252543 10.0.0.97 4000 typ host\r\n";
    let after = "a=candidate:7 1 UDP 1 10.0.0.7 7 typ host\r\na=end-of-candidates\r\n";
    assert_eq!(text, offer.replace(before, after));
    let many = vec![lines[0].to_owned(); 1000];
    let (_, text) = a.local_description_with(&many, true).unwrap();
    assert_eq!(text.matches("a=candidate:").count(), crate::MAX_CANDIDATES);
}
