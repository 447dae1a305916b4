//! What each flag does to a session, with a double of the runner.

use crate::double::*;
use sinnet_dtls::*;
use std::sync::Arc;

/// Settings of our end that ask the shim for a certificate.
fn asking(client_certificate: ClientCertificate) -> Config {
    config_with(|config| config.client_certificate = client_certificate)
}

/// Settings of our end without a certificate.
fn anonymous() -> Config {
    config_with(|config| config.certificate = None)
}

fn rsa() -> (String, String) {
    (identity_file("rsa-2048.crt"), identity_file("rsa-2048.key"))
}

#[test]
fn ipv6_is_where_it_says() {
    let mut double = Double::with_client(config(), &["-ipv6"]);
    double.connect();
    double.assert_success();
}

#[test]
fn shim_writes_first() {
    let mut double = Double::with_server(config(), &["-shim-writes-first"]);
    double.connect();
    assert_eq!(double.received, [b"hello"]);
    double.assert_echo(b"and then");
    double.assert_success();
}

#[test]
fn shim_shuts_down_with_close_notify() {
    let mut double = Double::with_client(config(), &["-shim-shuts-down", "-shim-writes-first"]);
    double.pump();
    assert_eq!(double.received, [b"hello"]);
    assert!(!double.peer.is_connected());
    assert_eq!(double.error, None);
    double.assert_success();
}

#[test]
fn send_alert_is_a_fatal_decompression_failure() {
    let mut double = Double::with_client(config(), &["-send-alert"]);
    double.pump();
    assert_eq!(double.error, Some(Error::PeerAlert(AlertDescription::DECOMPRESSION_FAILURE)));
    double.assert_success();
}

#[test]
fn exporters_come_as_data_and_the_context_counts_only_if_used() {
    let base = ["-export-keying-material", "100", "-export-label", "EXPERIMENTAL x", "-export-context", "c"];
    for (more, context) in [(&[][..], None), (&["-use-export-context"][..], Some(&b"c"[..]))] {
        let mut double = Double::with_client(config(), &[&base[..], more].concat());
        double.connect();
        let mut ours = [0; 100];
        double.peer.export_keying_material(&mut ours, "EXPERIMENTAL x", context).unwrap();
        assert_eq!(double.received, [ours]);
        double.assert_success();
    }
}

#[test]
fn without_a_certificate_a_client_shows_an_empty_one() {
    let mut double = Double::with_client(asking(ClientCertificate::Requested), &[]);
    double.connect();
    assert_eq!(double.peer.peer_certificate(), None);
    double.assert_success();
}

#[test]
fn a_client_shows_the_certificate_of_its_files() {
    let (certificate, key) = rsa();
    let flags = identified(&certificate, &key);
    let mut double = Double::with_client(asking(ClientCertificate::Required), &flags);
    double.connect();
    assert!(double.peer.peer_certificate().is_some());
    double.assert_success();
}

#[test]
fn a_server_asks_for_a_certificate_only_if_told_to() {
    for (flags, expected) in [(&[][..], 0), (&["-verify-peer"], 1), (&["-require-any-client-certificate"], 1)]
    {
        let mut double = Double::with_server(config(), &[flags, &["-trust-cert", "nowhere"]].concat());
        double.connect();
        double.assert_success();
        let with_check = [flags, &["-expect-verify-result"]].concat();
        let mut double = Double::with_server(config(), &with_check);
        double.pump();
        if expected == 1 {
            double.assert_success();
        } else {
            double.assert_failure(":UNEXPECTED_VERIFY_RESULT:");
        }
    }
}

#[test]
fn a_certificate_that_is_required_and_does_not_come_is_a_failure() {
    let mut double = Double::with_server(anonymous(), &["-verify-peer"]);
    double.connect();
    double.assert_success();
    let mut double = Double::with_server(anonymous(), &["-require-any-client-certificate"]);
    double.pump();
    assert_eq!(double.error, Some(Error::PeerAlert(AlertDescription::HANDSHAKE_FAILURE)));
    double.assert_failure(":PEER_DID_NOT_RETURN_A_CERTIFICATE:");
}

#[test]
fn verify_fail_refuses_with_the_alert_of_the_way_it_is_asked() {
    for (more, alert) in [
        (&[][..], AlertDescription::HANDSHAKE_FAILURE),
        (&["-use-custom-verify-callback"][..], AlertDescription::CERTIFICATE_UNKNOWN),
    ] {
        let as_client = [&["-verify-fail"], more].concat();
        let as_server = [&["-verify-fail", "-verify-peer"], more].concat();
        for mut double in
            [Double::with_client(config(), &as_client), Double::with_server(config(), &as_server)]
        {
            double.pump();
            assert_eq!(double.error, Some(Error::PeerAlert(alert)));
            double.assert_failure(":CERTIFICATE_VERIFY_FAILED:");
        }
    }
}

#[test]
fn the_decision_is_asked_for_once_and_a_refusal_that_need_not_be_obeyed_is_not() {
    for flags in [&["-expect-verify-result"][..], &["-expect-verify-result", "-verify-fail"]] {
        let mut double = Double::with_client(config(), flags);
        double.connect();
        double.assert_success();
    }
}

#[test]
fn mtu_bounds_every_datagram() {
    let mut double = Double::with_server(config(), &["-mtu", "256"]);
    double.connect();
    assert!(double.datagrams.len() > 4);
    assert!(double.datagrams.iter().all(|datagram| datagram.len() <= 256));
    double.assert_success();
}

#[test]
fn max_cert_list_bounds_a_message() {
    let mut double = Double::with_client(config(), &["-max-cert-list", "100"]);
    double.pump();
    assert_eq!(double.error, Some(Error::PeerAlert(AlertDescription::ILLEGAL_PARAMETER)));
    double.assert_failure(":EXCESSIVE_MESSAGE_SIZE:");
}

#[test]
fn a_maximum_of_a_newer_version_and_a_minimum_of_an_older_one_change_nothing() {
    let mut double = Double::with_client(config(), &["-max-version", "65276", "-min-version", "65279"]);
    double.connect();
    assert_eq!(double.peer.negotiated().unwrap().version, ProtocolVersion::DTLS_1_2);
    double.assert_success();
}

#[test]
fn srtp_profiles_are_offered_and_chosen_in_order() {
    let flags = ["-srtp-profiles", "SRTP_AEAD_AES_256_GCM:SRTP_AES128_CM_SHA1_80"];
    let both = vec![SrtpProfile::SRTP_AES128_CM_HMAC_SHA1_80, SrtpProfile::SRTP_AEAD_AES_256_GCM];
    let ours = || config_with(|config| config.srtp_profiles.clone_from(&both));
    for (mut double, chosen) in
        [(Double::with_client(ours(), &flags), both[0]), (Double::with_server(ours(), &flags), both[1])]
    {
        double.connect();
        assert_eq!(double.peer.negotiated().unwrap().srtp_profile, Some(chosen));
        double.assert_success();
    }
}

#[test]
fn curves_are_offered_and_chosen_in_order() {
    let flags = ["-curves", "24", "-curves", "29", "-expect-curve-id", "24"];
    let mut server = Double::with_server(config(), &flags);
    server.connect();
    assert_eq!(server.peer.negotiated().unwrap().group, NamedGroup::SECP384R1);
    server.assert_success();
    // A key that is bound to no curve.
    let (certificate, key) = rsa();
    let read = |file: &str| std::fs::read_to_string(file).unwrap();
    let identity = Certificate::from_pem(&read(&certificate), &read(&key)).unwrap();
    let only_p256 = config_with(|config| {
        config.groups = vec![NamedGroup::SECP256R1];
        config.certificate = Some(Arc::new(identity));
    });
    let mut client = Double::with_client(only_p256, &flags);
    client.pump();
    assert_eq!(client.error, Some(Error::NoCommonGroup));
    client.assert_failure(":SSLV3_ALERT_HANDSHAKE_FAILURE:");
}

#[test]
fn signing_prefs_decide_what_the_shim_signs_with() {
    let mut double = Double::with_server(config(), &["-signing-prefs", "1537"]);
    double.connect();
    let scheme = double.peer.negotiated().unwrap().peer_signature_scheme;
    assert_eq!(scheme, Some(SignatureScheme::RSA_PKCS1_SHA512));
    double.assert_success();
}

#[test]
fn verify_prefs_decide_what_the_peer_may_sign_with() {
    let flags =
        ["-verify-prefs", "1283", "-verify-prefs", "1027", "-expect-peer-signature-algorithm", "1027"];
    let mut double = Double::with_client(config(), &flags);
    double.connect();
    double.assert_success();
    let mut double = Double::with_client(config(), &["-verify-prefs", "1025"]);
    double.pump();
    assert_eq!(double.error, Some(Error::NoCommonSignatureScheme));
    double.assert_failure(":SSLV3_ALERT_HANDSHAKE_FAILURE:");
}

#[test]
fn expectations_that_do_not_hold_are_failures() {
    let suite = CipherSuite::TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384;
    let ours = || config_with(|config| config.suites = vec![suite]);
    let right = suite.0.to_string();
    let flags = ["-expect-cipher", &right, "-expect-extended-master-secret", "-expect-curve-id", "29"];
    let mut double = Double::with_client(ours(), &flags);
    double.connect();
    double.assert_success();
    for (flags, token) in [
        (["-expect-cipher", "49199"], ":UNEXPECTED_CIPHER:"),
        (["-expect-curve-id", "23"], ":UNEXPECTED_CURVE:"),
        (["-expect-peer-signature-algorithm", "2052"], ":UNEXPECTED_SIGNATURE_ALGORITHM:"),
    ] {
        let mut double = Double::with_client(ours(), &flags);
        double.pump();
        double.assert_failure(token);
    }
}
