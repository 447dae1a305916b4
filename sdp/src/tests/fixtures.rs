//! Descriptions captured from Chromium 156, Firefox 153 and aiortc 1.16, read as they are.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use super::transport;
use crate::read;
use crate::session;
use crate::{DtlsRole, Negotiator, SdpType, Setup};

/// Name without `.sdp`, and text.
fn fixtures() -> BTreeMap<String, String> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures");
    fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.extension().is_some_and(|e| e == "sdp"))
        .map(|path| {
            (path.file_stem().unwrap().to_str().unwrap().to_owned(), fs::read_to_string(path).unwrap())
        })
        .collect()
}

fn kind(name: &str) -> SdpType {
    if name.to_ascii_lowercase().ends_with("answer") { SdpType::Answer } else { SdpType::Offer }
}

#[test]
fn every_captured_offer_is_taken_and_answered() {
    let mut seen = 0;
    for (name, sdp) in fixtures().iter().filter(|(name, _)| kind(name) == SdpType::Offer) {
        let mut negotiator = Negotiator::new(7);
        let remote =
            negotiator.set_remote(SdpType::Offer, sdp).unwrap_or_else(|e| panic!("{name}: {e}")).clone();
        assert_eq!(remote.setup, Setup::ActPass, "{name}");
        assert_eq!(remote.mid, "0", "{name}");
        assert_eq!((remote.mline_index, remote.sctp_port), (0, 5000), "{name}");
        assert!(!remote.ice_lite && !remote.ice_restart, "{name}");
        assert_eq!(remote.fingerprints[0].algorithm, "sha-256", "{name}");
        assert_eq!(remote.candidates.len(), sdp.matches("\na=candidate:").count(), "{name}");
        assert_eq!(remote.trickle, sdp.contains("trickle"), "{name}");
        assert_eq!(remote.end_of_candidates, sdp.contains("a=end-of-candidates"), "{name}");
        assert!(sdp.contains(&format!("a=max-message-size:{}\r\n", remote.max_message_size)), "{name}");

        let answer = negotiator.create_answer(&transport('z')).unwrap();
        assert!(answer.contains("a=setup:active\r\n") && answer.contains("a=group:BUNDLE 0\r\n"), "{name}");
        negotiator.set_local(SdpType::Answer, &answer).unwrap();
        assert_eq!(negotiator.dtls_role(), Some(DtlsRole::Client), "{name}");
        seen += 1;
    }
    assert_eq!(seen, 24);
}

#[test]
fn every_captured_answer_is_taken_for_an_offer_of_ours() {
    let mut seen = 0;
    for (name, sdp) in fixtures().iter().filter(|(name, _)| kind(name) == SdpType::Answer) {
        let mut negotiator = Negotiator::new(7);
        let offer = negotiator.create_offer(&transport('a')).unwrap();
        negotiator.set_local(SdpType::Offer, &offer).unwrap();
        let remote = negotiator.set_remote(SdpType::Answer, sdp).unwrap_or_else(|e| panic!("{name}: {e}"));
        assert_eq!((remote.setup, remote.mid.as_str()), (Setup::Active, "0"), "{name}");
        assert_eq!(negotiator.dtls_role(), Some(DtlsRole::Server), "{name}");
        seen += 1;
    }
    assert_eq!(seen, 13);
}

#[test]
fn every_captured_description_is_written_back_with_the_same_lines() {
    for (name, sdp) in fixtures() {
        let parsed = session::parse(&sdp).unwrap_or_else(|e| panic!("{name}: {e}"));
        let written = parsed.write();
        assert_eq!(session::parse(&written).unwrap(), parsed, "{name}");
        let lines =
            |s: &str| s.lines().filter(|l| l.starts_with("a=")).map(str::to_owned).collect::<Vec<_>>();
        assert_eq!(lines(&written), lines(&sdp), "{name}");
    }
}

/// A session between browsers, seen from one side: what the other one says about its restart.
#[test]
fn captured_ice_restarts_are_seen_as_such() {
    let fixtures = fixtures();
    for pair in ["ch-ch", "ch-ff", "ff-ch", "ff-ff"] {
        let mut negotiator = Negotiator::new(7);
        for (step, restart) in [("offer", false), ("restartOffer", true)] {
            let name = format!("{pair}.{step}");
            let remote = negotiator.set_remote(SdpType::Offer, &fixtures[&name]).unwrap();
            assert_eq!(remote.ice_restart, restart, "{name}");
            let answer = negotiator.create_answer(&transport(if restart { 'y' } else { 'z' })).unwrap();
            assert!(answer.contains("a=setup:active\r\n"), "{name}: the role stays");
            negotiator.set_local(SdpType::Answer, &answer).unwrap();
        }
        let mut negotiator = Negotiator::new(7);
        for (step, restart) in [("answer", false), ("restartAnswer", true)] {
            let name = format!("{pair}.{step}");
            let offer = negotiator.create_offer(&transport(if restart { 'b' } else { 'a' })).unwrap();
            negotiator.set_local(SdpType::Offer, &offer).unwrap();
            let remote = negotiator.set_remote(SdpType::Answer, &fixtures[&name]).unwrap();
            assert_eq!(remote.ice_restart, restart, "{name}");
        }
    }
}

#[test]
fn attributes_that_firefox_puts_at_session_level_are_found() {
    let fixtures = fixtures();
    let sdp = &fixtures["ff-ch.offer"];
    let media = sdp.find("m=application").unwrap();
    assert!(sdp[..media].contains("a=fingerprint:") && !sdp[media..].contains("a=fingerprint:"));
    let remote = read::offer(&session::parse(sdp).unwrap(), None).unwrap().transport;
    assert!(remote.trickle);
    assert_eq!(remote.fingerprints.len(), 1);
}

#[test]
fn every_captured_trickled_candidate_can_stand_in_a_description() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures");
    let mut lines = Vec::new();
    for entry in fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()) {
        if entry.extension().is_some_and(|e| e == "json") {
            let text = fs::read_to_string(entry).unwrap();
            let values = text.split('"').filter(|value| value.starts_with("candidate:"));
            lines.extend(values.map(str::to_owned));
        }
    }
    assert!(lines.len() > 30, "{}", lines.len());
    let mut local = transport('a');
    local.candidates.clone_from(&lines);
    let mut a = Negotiator::new(1);
    let offer = a.create_offer(&local).unwrap();
    assert_eq!(Negotiator::new(2).set_remote(SdpType::Offer, &offer).unwrap().candidates, lines);
}
