//! The command line. A flag that is not known here asks for something that the product doesn't have.

use crate::Stop;
use sinnet_dtls::{CipherSuite, NamedGroup, ProtocolVersion, SignatureScheme, SrtpProfile};
use std::slice::Iter;
use std::str::FromStr;
use std::time::Duration;

/// What the runner wants of this run.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Flags {
    pub(crate) port: u16,
    /// What to say first; older runners have none.
    pub(crate) shim_id: Option<u64>,
    pub(crate) ipv6: bool,
    pub(crate) server: bool,
    pub(crate) cert_file: Option<String>,
    pub(crate) key_file: Option<String>,
    pub(crate) verify_peer: bool,
    pub(crate) require_any_client_certificate: bool,
    pub(crate) verify_fail: bool,
    pub(crate) use_custom_verify_callback: bool,
    pub(crate) mtu: Option<usize>,
    pub(crate) max_cert_list: Option<usize>,
    pub(crate) initial_timeout: Option<Duration>,
    pub(crate) srtp_profiles: Vec<SrtpProfile>,
    pub(crate) curves: Vec<NamedGroup>,
    pub(crate) signing_prefs: Vec<SignatureScheme>,
    pub(crate) verify_prefs: Vec<SignatureScheme>,
    pub(crate) export_keying_material: usize,
    pub(crate) export_label: String,
    pub(crate) export_context: String,
    pub(crate) use_export_context: bool,
    pub(crate) shim_writes_first: bool,
    pub(crate) shim_shuts_down: bool,
    pub(crate) send_alert: bool,
    pub(crate) expect: Expectations,
}

/// What must hold after the handshake.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Expectations {
    /// The decision about the certificate was asked for exactly once.
    pub(crate) verify_result: bool,
    pub(crate) extended_master_secret: bool,
    pub(crate) curve: Option<NamedGroup>,
    pub(crate) cipher: Option<CipherSuite>,
    pub(crate) peer_signature_algorithm: Option<SignatureScheme>,
}

impl Flags {
    /// Reads the arguments without the program's name.
    pub(crate) fn parse(arguments: &[String]) -> Result<Self, Stop> {
        let mut flags = Self::default();
        let mut dtls = false;
        let mut arguments = arguments.iter();
        while let Some(flag) = arguments.next() {
            let from = &mut arguments;
            match flag.as_str() {
                "-port" => flags.port = number(from)?,
                "-shim-id" => flags.shim_id = Some(number(from)?),
                "-ipv6" => flags.ipv6 = true,
                "-dtls" => dtls = true,
                "-server" => flags.server = true,
                "-cert-file" => flags.cert_file = Some(value(from)?.to_owned()),
                "-key-file" => flags.key_file = Some(value(from)?.to_owned()),
                "-verify-peer" => flags.verify_peer = true,
                "-require-any-client-certificate" => flags.require_any_client_certificate = true,
                "-verify-fail" => flags.verify_fail = true,
                "-use-custom-verify-callback" => flags.use_custom_verify_callback = true,
                "-min-version" => minimum(number(from)?)?,
                "-max-version" => maximum(number(from)?)?,
                "-no-tls12" => return Err(Stop::NotImplemented),
                "-mtu" => flags.mtu = Some(number(from)?),
                "-max-cert-list" => flags.max_cert_list = Some(number(from)?),
                "-initial-timeout-duration-ms" => {
                    flags.initial_timeout = Some(Duration::from_millis(number(from)?));
                }
                "-srtp-profiles" => flags.srtp_profiles = srtp_profiles(value(from)?)?,
                "-curves" => flags.curves.push(known(NamedGroup(number(from)?), NamedGroup::name)?),
                "-signing-prefs" => flags.signing_prefs.push(scheme(from)?),
                "-verify-prefs" => flags.verify_prefs.push(scheme(from)?),
                "-export-keying-material" => flags.export_keying_material = number(from)?,
                "-export-label" => flags.export_label = value(from)?.to_owned(),
                "-export-context" => flags.export_context = value(from)?.to_owned(),
                "-use-export-context" => flags.use_export_context = true,
                "-shim-writes-first" => flags.shim_writes_first = true,
                "-shim-shuts-down" => flags.shim_shuts_down = true,
                "-send-alert" => flags.send_alert = true,
                "-expect-verify-result" => flags.expect.verify_result = true,
                "-expect-extended-master-secret" => flags.expect.extended_master_secret = true,
                "-expect-curve-id" => flags.expect.curve = Some(NamedGroup(number(from)?)),
                "-expect-cipher" => flags.expect.cipher = Some(CipherSuite(number(from)?)),
                "-expect-peer-signature-algorithm" => {
                    flags.expect.peer_signature_algorithm = Some(SignatureScheme(number(from)?));
                }
                // Trust is a fingerprint, or what `-verify-fail` says.
                "-trust-cert" => drop(value(from)?),
                // Ways of calling that we have only one of; versions, sessions and retries that we don't have.
                "-async"
                | "-implicit-handshake"
                | "-use-early-callback"
                | "-use-old-client-cert-callback"
                | "-expect-no-hrr"
                | "-expect-no-session-id"
                | "-expect-session-miss"
                | "-reverify-on-resume"
                | "-renegotiate-freely"
                | "-no-tls1"
                | "-no-tls13" => {}
                // Of a second connection, which there is none of.
                flag if flag.starts_with("-on-resume-") => skip_value(from),
                _ => return Err(Stop::NotImplemented),
            }
        }
        if dtls { Ok(flags) } else { Err(Stop::NotImplemented) }
    }
}

fn value<'a>(from: &mut Iter<'a, String>) -> Result<&'a str, Stop> {
    from.next().map(String::as_str).ok_or_else(|| Stop::failed(":MISSING_VALUE_OF_A_FLAG:"))
}

fn number<T: FromStr>(from: &mut Iter<'_, String>) -> Result<T, Stop> {
    value(from)?.parse().map_err(|_| Stop::failed(":BAD_VALUE_OF_A_FLAG:"))
}

/// The next argument, if it is no flag.
fn skip_value(from: &mut Iter<'_, String>) {
    if from.as_slice().first().is_some_and(|next| !next.starts_with('-')) {
        from.next();
    }
}

/// Code points that the product has no name for it doesn't have either.
fn known<T: Copy>(value: T, name: impl Fn(T) -> Option<&'static str>) -> Result<T, Stop> {
    name(value).map(|_| value).ok_or(Stop::NotImplemented)
}

fn scheme(from: &mut Iter<'_, String>) -> Result<SignatureScheme, Stop> {
    known(SignatureScheme(number(from)?), SignatureScheme::name)
}

/// DTLS counts its versions down: 1.3 is below 1.2 as a number. A minimum of an older one is met by ours.
fn minimum(version: u16) -> Result<(), Stop> {
    if version >= ProtocolVersion::DTLS_1_2.0 { Ok(()) } else { Err(Stop::NotImplemented) }
}

/// A maximum of a newer one doesn't keep us from ours.
fn maximum(version: u16) -> Result<(), Stop> {
    if version <= ProtocolVersion::DTLS_1_2.0 { Ok(()) } else { Err(Stop::NotImplemented) }
}

fn srtp_profiles(list: &str) -> Result<Vec<SrtpProfile>, Stop> {
    list.split(':')
        .map(|name| match name {
            "SRTP_AES128_CM_SHA1_80" => Ok(SrtpProfile::SRTP_AES128_CM_HMAC_SHA1_80),
            "SRTP_AES128_CM_SHA1_32" => Ok(SrtpProfile::SRTP_AES128_CM_HMAC_SHA1_32),
            "SRTP_AEAD_AES_128_GCM" => Ok(SrtpProfile::SRTP_AEAD_AES_128_GCM),
            "SRTP_AEAD_AES_256_GCM" => Ok(SrtpProfile::SRTP_AEAD_AES_256_GCM),
            _ => Err(Stop::NotImplemented),
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(line: &str) -> Result<Flags, Stop> {
        let arguments: Vec<String> = line.split_whitespace().map(str::to_owned).collect();
        Flags::parse(&arguments)
    }

    #[test]
    fn every_flag_with_a_meaning_is_read() {
        let line = "-port 4433 -shim-id 18446744073709551615 -ipv6 -dtls -server -cert-file c -key-file k \
            -trust-cert t -verify-peer -require-any-client-certificate -verify-fail -use-custom-verify-callback \
            -expect-verify-result -min-version 65277 -max-version 65277 -mtu 256 -max-cert-list 100 \
            -initial-timeout-duration-ms 250 -srtp-profiles SRTP_AEAD_AES_256_GCM:SRTP_AES128_CM_SHA1_32 \
            -export-keying-material 1024 -export-label l -export-context c -use-export-context \
            -curves 29 -curves 23 -signing-prefs 2052 -verify-prefs 1027 -verify-prefs 1283 \
            -expect-curve-id 29 -expect-peer-signature-algorithm 2052 -expect-cipher 49199 \
            -expect-extended-master-secret -shim-writes-first -shim-shuts-down -send-alert";
        let expected = Flags {
            port: 4433,
            shim_id: Some(u64::MAX),
            ipv6: true,
            server: true,
            cert_file: Some("c".to_owned()),
            key_file: Some("k".to_owned()),
            verify_peer: true,
            require_any_client_certificate: true,
            verify_fail: true,
            use_custom_verify_callback: true,
            mtu: Some(256),
            max_cert_list: Some(100),
            initial_timeout: Some(Duration::from_millis(250)),
            srtp_profiles: vec![SrtpProfile::SRTP_AEAD_AES_256_GCM, SrtpProfile::SRTP_AES128_CM_HMAC_SHA1_32],
            curves: vec![NamedGroup::X25519, NamedGroup::SECP256R1],
            signing_prefs: vec![SignatureScheme::RSA_PSS_RSAE_SHA256],
            verify_prefs: vec![SignatureScheme::ECDSA_SHA256, SignatureScheme::ECDSA_SHA384],
            export_keying_material: 1024,
            export_label: "l".to_owned(),
            export_context: "c".to_owned(),
            use_export_context: true,
            shim_writes_first: true,
            shim_shuts_down: true,
            send_alert: true,
            expect: Expectations {
                verify_result: true,
                extended_master_secret: true,
                curve: Some(NamedGroup::X25519),
                cipher: Some(CipherSuite::TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256),
                peer_signature_algorithm: Some(SignatureScheme::RSA_PSS_RSAE_SHA256),
            },
        };
        assert_eq!(parse(line), Ok(expected));
    }

    #[test]
    fn flags_about_ways_of_calling_change_nothing() {
        let line = "-dtls -async -implicit-handshake -use-early-callback -use-old-client-cert-callback \
            -expect-no-hrr -expect-no-session-id -expect-session-miss -reverify-on-resume -renegotiate-freely \
            -no-tls1 -no-tls13 -on-resume-verify-fail -on-resume-expect-alpn foo -on-resume-last";
        assert_eq!(parse(line), parse("-dtls"));
    }

    #[test]
    fn what_the_product_does_not_have_is_not_implemented() {
        let lines = [
            "",
            "-server",
            "-dtls -resume-count 1",
            "-dtls -psk key",
            "-dtls -no-tls12",
            "-dtls -cipher ALL",
            "-dtls -max-version 65279",
            "-dtls -min-version 65276",
            "-dtls -curves 4588",
            "-dtls -signing-prefs 513",
            "-dtls -verify-prefs 513",
            "-dtls -srtp-profiles SRTP_AES128_CM_SHA1_80:SRTP_NULL",
            "-dtls stray",
        ];
        for line in lines {
            assert_eq!(parse(line), Err(Stop::NotImplemented), "{line}");
        }
    }

    #[test]
    fn versions_of_dtls_count_down() {
        for line in ["-min-version 65279", "-min-version 65277", "-max-version 65277", "-max-version 65276"] {
            assert_eq!(parse(&format!("-dtls {line}")), parse("-dtls"), "{line}");
        }
    }

    #[test]
    fn a_value_that_is_missing_or_no_number_is_a_failure_and_not_a_skip() {
        for line in ["-dtls -port", "-dtls -port 70000", "-dtls -mtu many", "-dtls -export-label"] {
            assert!(matches!(parse(line), Err(Stop::Failed(_))), "{line}");
        }
        let empty = ["-dtls", "-export-label", ""].map(str::to_owned);
        assert_eq!(Flags::parse(&empty).unwrap().export_label, "");
    }
}
