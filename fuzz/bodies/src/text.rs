//! Parsers without state: DCEP, SDP, candidate lines.

use sinnet_dcep::Message;
use sinnet_sdp::{ChannelDescription, Error, Fingerprint, LocalTransport, Negotiator, SdpType};

/// A DCEP message, as it is. What parses is written back to the same bytes.
pub fn dcep_message(data: &[u8]) {
    if let Ok(Message::Open(open)) = sinnet_dcep::parse(data) {
        let written = open.to_vec().expect("lengths that were parsed can be written");
        assert!(data.starts_with(&written));
        let _ = open.channel_type.reliability(open.reliability).map(|reliability| reliability.to_wire());
    }
}

/// A description, as text, once as an offer and once as the answer to ours. An offer that is taken can be answered, and
/// taken again.
pub fn sdp_session(data: &[u8]) {
    let text = String::from_utf8_lossy(data);
    let local = local_transport();

    let mut z = Negotiator::new(1);
    if z.set_remote(SdpType::Offer, &text).is_ok() {
        let answer = match z.create_answer(&local) {
            // Its m-lines and channels are said again, and fill a description by themselves.
            Err(Error::TooLarge { .. }) => return,
            answer => answer.expect("an offer that was taken can be answered"),
        };
        z.set_local(SdpType::Answer, &answer).expect("our own answer can be set");
        let role = z.dtls_role();
        assert!(role.is_some());
        assert!(!z.set_remote(SdpType::Offer, &text).expect("the same offer can be taken again").ice_restart);
        assert_eq!(z.dtls_role(), role);
    }

    let mut a = Negotiator::new(1);
    for map in ["1 label=\"x\"", "3 ordered=false;max-retr=5"] {
        let channel = ChannelDescription { map: map.parse().expect("it is well-formed"), attributes: vec![] };
        a.open_channel(channel).expect("both ids are odd");
    }
    a.create_offer(&local).expect("an offer can be made");
    a.set_local(SdpType::Offer, "").expect("and set");
    if a.set_remote(SdpType::Answer, &text).is_ok() {
        assert!(a.dtls_role().is_some());
        assert_eq!(std::iter::from_fn(|| a.poll_channel_change()).count(), 2, "each is opened or refused");
        let again = a.create_offer(&local).expect("a further offer can be made");
        Negotiator::new(2).set_remote(SdpType::Offer, &again).expect("our own offers can be read");
    }
}

fn local_transport() -> LocalTransport {
    LocalTransport {
        ufrag: "abcd".to_owned(),
        pwd: "abcdefghijklmnopqrstuvwx".to_owned(),
        fingerprints: vec![Fingerprint { algorithm: "sha-256".to_owned(), digest: vec![7; 32] }],
        sctp_port: 5000,
        ice_lite: false,
        max_message_size: 262_144,
        candidates: vec!["candidate:1 1 UDP 2122252543 10.0.0.1 4000 typ host".to_owned()],
        end_of_candidates: true,
    }
}

/// A candidate line. What parses is written, and parses to the same.
pub fn ice_candidate_text(data: &[u8]) {
    let text = String::from_utf8_lossy(data);
    if let Ok(candidate) = text.parse::<sinnet_ice::Candidate>() {
        let written = candidate.to_string();
        assert!(!written.contains(['\r', '\n', '\0']), "{written:?}");
        assert_eq!(written.parse(), Ok(candidate), "{written:?}");
    }
}
