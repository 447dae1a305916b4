//! The flags as settings of the product.

use crate::Stop;
use crate::flags::Flags;
use sinnet_dtls::{AlertDescription, Certificate, CertificateCheck, ClientCertificate, Config};
use std::fs;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

/// The schedule of retransmissions that the runner counts on: 400 ms, doubling up to a minute, and the 13th expiry is
/// the end.
const INITIAL_TIMEOUT: Duration = Duration::from_millis(400);
const MAX_TIMEOUT: Duration = Duration::from_secs(60);
const RETRANSMISSIONS: u32 = 12;

/// Largest handshake message unless `-max-cert-list` says otherwise: what the runner's large certificates need.
const MAX_HANDSHAKE_MESSAGE: usize = 100 * 1024;

/// Settings, and how often the decision about the peer's certificate was asked for.
pub(crate) struct Settings {
    pub(crate) config: Arc<Config>,
    pub(crate) decisions: Arc<AtomicUsize>,
}

impl Settings {
    pub(crate) fn from(flags: &Flags) -> Result<Self, Stop> {
        let decisions = Arc::new(AtomicUsize::new(0));
        let mut config = Config::default();
        config.certificate = certificate(flags)?.map(Arc::new);
        config.client_certificate = match (flags.require_any_client_certificate, flags.verify_peer) {
            (true, _) => ClientCertificate::Required,
            (false, true) => ClientCertificate::Requested,
            (false, false) => ClientCertificate::NotRequested,
        };
        config.certificate_check = Some(check(flags, Arc::clone(&decisions)));
        // The runner has no extended master secret in some cases.
        config.require_extended_master_secret = false;
        config.refuse_stray_plaintext = true;
        config.keep_overtaking_data = false;
        config.retransmit.initial = flags.initial_timeout.unwrap_or(INITIAL_TIMEOUT);
        config.retransmit.max = MAX_TIMEOUT;
        config.retransmit.limit = RETRANSMISSIONS;
        // The runner's clock may stand for minutes.
        config.handshake_timeout = None;
        config.max_handshake_message = flags.max_cert_list.unwrap_or(MAX_HANDSHAKE_MESSAGE);
        config.srtp_profiles.clone_from(&flags.srtp_profiles);
        if let Some(mtu) = flags.mtu {
            config.mtu = mtu;
        }
        if !flags.curves.is_empty() {
            config.groups.clone_from(&flags.curves);
        }
        if !flags.verify_prefs.is_empty() {
            config.verify_schemes.clone_from(&flags.verify_prefs);
        }
        if !flags.signing_prefs.is_empty() {
            config.signing_schemes = Some(flags.signing_prefs.clone());
        }
        Ok(Self { config: Arc::new(config), decisions })
    }
}

/// A key of a kind that the product doesn't sign with is not implemented.
fn certificate(flags: &Flags) -> Result<Option<Certificate>, Stop> {
    let (Some(cert_file), Some(key_file)) = (&flags.cert_file, &flags.key_file) else { return Ok(None) };
    let read = |file: &str| fs::read_to_string(file).map_err(Stop::failed);
    let certificate = Certificate::from_pem(&read(cert_file)?, &read(key_file)?);
    certificate.map(Some).map_err(|_| Stop::NotImplemented)
}

/// Any certificate will do, or none.
fn check(flags: &Flags, decisions: Arc<AtomicUsize>) -> CertificateCheck {
    // A refusal that the runner wants to look at after the handshake, and did not ask to be obeyed, must not end it.
    let only_told = flags.expect.verify_result && !flags.verify_peer && !flags.use_custom_verify_callback;
    let refusal = match (flags.verify_fail && !only_told, flags.use_custom_verify_callback) {
        (false, _) => None,
        (true, false) => Some(AlertDescription::HANDSHAKE_FAILURE),
        (true, true) => Some(AlertDescription::CERTIFICATE_UNKNOWN),
    };
    Arc::new(move |_chain| {
        decisions.fetch_add(1, Ordering::Relaxed);
        refusal.map_or(Ok(()), Err)
    })
}
