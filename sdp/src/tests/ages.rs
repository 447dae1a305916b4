//! The form before RFC 8841, in descriptions of 2013 to 2018: written down by others in tests, logs and articles of that
//! time, addresses replaced. `firefox-59-2018`, `chrome-31-2013` and `firefox-20-2013` are put together of several.

use std::fs;
use std::path::Path;

use super::transport;
use crate::{Error, Negotiator, SdpType, Setup};

fn fixture(name: &str) -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures/ages").join(format!("{name}.sdp"));
    fs::read_to_string(path).unwrap()
}

#[test]
fn offers_of_every_age_are_read_and_answered_in_kind() {
    let any_size = u64::MAX;
    for (name, mid, setup, size, candidates) in [
        ("chrome-31-2013.offer", "data", Setup::ActPass, 65_536, 0),
        ("firefox-52-2016.offer", "sdparta_0", Setup::Active, 65_536, 1),
        ("chrome-66-2018.offer", "data", Setup::ActPass, 65_536, 2),
        ("firefox-59-2018.offer", "sdparta_0", Setup::ActPass, 1_073_741_823, 1),
        ("rawrtc-2018.offer", "rawrtc-sctp-dc", Setup::ActPass, any_size, 1),
    ] {
        let offer = fixture(name);
        let mut z = Negotiator::new(1);
        let remote = z.set_remote(SdpType::Offer, &offer).unwrap_or_else(|e| panic!("{name}: {e}")).clone();
        assert_eq!((remote.mid.as_str(), remote.setup, remote.sctp_port), (mid, setup, 5000), "{name}");
        assert_eq!((remote.max_message_size, remote.candidates.len()), (size, candidates), "{name}");

        let mut local = transport('z');
        local.sctp_port = 5001;
        let answer = z.create_answer(&local).unwrap();
        assert!(
            answer.contains("m=application 9 DTLS/SCTP 5001\r\n"),
            "{name}: the format is our port\n{answer}"
        );
        assert!(answer.contains("a=sctpmap:5001 webrtc-datachannel 1024\r\n"), "{name}");
        assert!(answer.contains("a=max-message-size:262144\r\n"), "{name}: who does not know it skips it");
        assert!(!answer.contains("sctp-port"), "{name}");
        assert_eq!(answer.matches("m=").count(), offer.matches("\nm=").count(), "{name}");
        z.set_local(SdpType::Answer, &answer).unwrap();

        // And later offers of ours stay in that form.
        let offer = z.create_offer(&local).unwrap();
        assert!(offer.contains("DTLS/SCTP 5001\r\n") && offer.contains("a=sctpmap:5001 "), "{name}\n{offer}");
    }
}

#[test]
fn other_media_of_an_old_offer_is_rejected_and_leaves_the_group() {
    let mut z = Negotiator::new(1);
    z.set_remote(SdpType::Offer, &fixture("chrome-31-2013.offer")).unwrap();
    let answer = z.create_answer(&transport('z')).unwrap();
    assert!(answer.contains("a=group:BUNDLE data\r\n"));
    assert!(answer.contains("m=audio 0 RTP/SAVPF 111 103 104 0 8 106 105 13 126\r\n"));
}

#[test]
fn an_answer_in_the_old_form_is_for_an_offer_in_it_only() {
    let mut z = Negotiator::new(1);
    let offer = fixture("rawrtc-2018.offer").replace("8C:09", "D0:44");
    let fingerprint = |sdp: &str| sdp.lines().find(|l| l.starts_with("a=fingerprint")).unwrap().to_owned();
    let mut answer = fixture("chrome-66-2018.answer");
    for name in ["a=ice-ufrag", "a=ice-pwd"] {
        // One side's in both descriptions: it restarts nothing.
        let line = |sdp: &str| sdp.lines().find(|l| l.starts_with(name)).unwrap().to_owned();
        answer = answer.replace(&line(&answer), &line(&offer));
    }
    z.set_remote(SdpType::Offer, &offer.replace(&fingerprint(&offer), &fingerprint(&answer))).unwrap();
    z.create_answer(&transport('z')).unwrap();
    z.set_local(SdpType::Answer, "").unwrap();
    z.create_offer(&transport('z')).unwrap();
    z.set_local(SdpType::Offer, "").unwrap();
    // We are the client by our answer, and the roles stay.
    let answer = answer.replace("setup:active", "setup:passive");
    for wrong in [
        answer.replace("m=application 34259 DTLS/SCTP", "m=application 34259 UDP/DTLS/SCTP"),
        answer.replace("DTLS/SCTP 5000", "DTLS/SCTP webrtc-datachannel"),
    ] {
        assert!(matches!(z.set_remote(SdpType::Answer, &wrong), Err(Error::MLineMismatch(_))), "{wrong}");
    }
    assert!(matches!(z.set_remote(SdpType::Answer, &answer.replace("34259", "0")), Err(Error::DataRejected)));
    z.set_remote(SdpType::Answer, &answer).unwrap();

    let mut a = Negotiator::new(1);
    a.create_offer(&transport('a')).unwrap();
    a.set_local(SdpType::Offer, "").unwrap();
    let answer = answer.replace("mid:rawrtc-sctp-dc", "mid:0");
    assert!(matches!(a.set_remote(SdpType::Answer, &answer), Err(Error::MLineMismatch(_))));
}

#[test]
fn the_forms_of_the_drafts_in_between_are_read_and_answered_in_kind() {
    let old = fixture("chrome-66-2018.offer");
    for (proto, format, attribute) in [
        ("UDP/DTLS/SCTP", "5000", "a=sctpmap:5000 webrtc-datachannel 1024"),
        ("TCP/DTLS/SCTP", "5000", "a=sctpmap:5000 webrtc-datachannel"),
        ("DTLS/SCTP", "webrtc-datachannel", "a=sctp-port:5000"),
        ("DTLS/SCTP", "4999 5000", "a=sctpmap:4999 t38 2\r\na=sctpmap:5000 webrtc-datachannel 16"),
    ] {
        let offer = old
            .replace("DTLS/SCTP 5000", &format!("{proto} {format}"))
            .replace("a=sctpmap:5000 webrtc-datachannel 1024", attribute);
        let mut z = Negotiator::new(1);
        let remote = z.set_remote(SdpType::Offer, &offer).unwrap_or_else(|e| panic!("{proto} {format}: {e}"));
        assert_eq!(remote.sctp_port, 5000);
        let answer = z.create_answer(&transport('z')).unwrap();
        let format = if attribute.contains("sctpmap") { "5000" } else { format };
        assert!(answer.contains(&format!("m=application 9 {proto} {format}\r\n")), "{answer}");
        assert_eq!(answer.contains("a=sctpmap:"), attribute.contains("sctpmap"), "{answer}");
        z.set_local(SdpType::Answer, "").unwrap();
    }
}

#[test]
fn what_no_sctpmap_explains_is_no_data_channel() {
    let old = fixture("chrome-66-2018.offer");
    for (from, to) in [
        ("a=sctpmap:5000 webrtc-datachannel 1024\r\n", ""),
        ("a=sctpmap:5000", "a=sctpmap:5001"),
        ("webrtc-datachannel 1024", "t38 1024"),
        ("DTLS/SCTP", "SCTP"),
        ("m=application 56688", "m=application 0"),
    ] {
        let result = Negotiator::new(1).set_remote(SdpType::Offer, &old.replace(from, to)).map(|_| ());
        assert_eq!(result, Err(Error::NoDataMediaLine), "{from} {to}");
    }
    for port in ["0", "65536", "x"] {
        let offer = old
            .replace("SCTP 5000", &format!("SCTP {port}"))
            .replace("sctpmap:5000", &format!("sctpmap:{port}"));
        let result = Negotiator::new(1).set_remote(SdpType::Offer, &offer).map(|_| ());
        assert_eq!(result, Err(Error::BadSctpPort(port.to_owned())));
    }
    // The first of all, SCTP/DTLS with a=fmtp, has no a=setup and speaks DTLS 1.0.
    let first = fixture("firefox-20-2013.offer");
    assert_eq!(
        Negotiator::new(1).set_remote(SdpType::Offer, &first).map(|_| ()),
        Err(Error::NoDataMediaLine)
    );
}

#[test]
fn the_old_form_knows_no_dcmap() {
    let mut z = Negotiator::new(1);
    let offer = fixture("chrome-66-2018.offer") + "a=dcmap:1 nonsense\r\n";
    z.set_remote(SdpType::Offer, &offer).unwrap();
    assert_eq!(z.offered_channels().count(), 0);
    assert!(!z.create_answer(&transport('z')).unwrap().contains("dcmap"));
}
