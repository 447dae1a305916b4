//! TLS for the server: certificates from files, and one made for trying things out.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use ring::digest;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};

/// TLS can't be had.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum TlsError {
    /// A file can't be read, or has nothing of that kind in PEM.
    #[error("can't read {what} from {}: {reason}", path.display())]
    File {
        /// What was looked for.
        what: &'static str,
        /// Where.
        path: PathBuf,
        /// What happened.
        reason: String,
    },
    /// Certificate and key don't make a server: they don't belong together, for example.
    #[error("the certificate and its key can't be used: {0}")]
    Unusable(#[from] rustls::Error),
    /// No certificate could be made.
    #[error("can't make a certificate: {0}")]
    Make(String),
}

/// TLS 1.2 and 1.3 with a certificate chain and a private key (PKCS #8, PKCS #1 or SEC 1), each in PEM. They are read once.
///
/// # Errors
///
/// [`TlsError`].
pub fn from_files(chain: &Path, key: &Path) -> Result<Arc<rustls::ServerConfig>, TlsError> {
    let wrong = |what, path: &Path, reason: &dyn ToString| TlsError::File {
        what,
        path: path.to_owned(),
        reason: reason.to_string(),
    };
    let certificates = CertificateDer::pem_file_iter(chain)
        .and_then(Iterator::collect::<Result<Vec<_>, _>>)
        .map_err(|error| wrong("a certificate", chain, &error))?;
    if certificates.is_empty() {
        return Err(wrong("a certificate", chain, &"there is none in it"));
    }
    let key = PrivateKeyDer::from_pem_file(key).map_err(|error| wrong("a private key", key, &error))?;
    config(certificates, key)
}

/// See [`self_signed`].
#[derive(Clone, Debug)]
pub struct SelfSigned {
    /// For [`ServerConfig::tls`](super::ServerConfig::tls).
    pub config: Arc<rustls::ServerConfig>,
    /// What a client may be told to trust.
    pub certificate: CertificateDer<'static>,
    /// Its SHA-256, as browsers show it: `AB:CD:…`.
    pub fingerprint: String,
}

/// TLS with a certificate that nobody vouches for, made anew. Browsers warn of it, and some don't open `wss` to it before the user has
/// accepted it on a page.
///
/// # Errors
///
/// [`TlsError::Make`], if a name is none.
pub fn self_signed(names: Vec<String>) -> Result<SelfSigned, TlsError> {
    let make = |error: rcgen::Error| TlsError::Make(error.to_string());
    let made = rcgen::generate_simple_self_signed(names).map_err(make)?;
    let certificate = made.cert.der().clone();
    let key = PrivateKeyDer::try_from(made.signing_key.serialize_der())
        .map_err(|error| TlsError::Make(error.to_owned()))?;
    let hash = digest::digest(&digest::SHA256, &certificate);
    let digits: Vec<String> = hash.as_ref().iter().map(|byte| format!("{byte:02X}")).collect();
    let config = config(vec![certificate.clone()], key)?;
    Ok(SelfSigned { config, certificate, fingerprint: digits.join(":") })
}

fn config(
    chain: Vec<CertificateDer<'static>>,
    key: PrivateKeyDer<'static>,
) -> Result<Arc<rustls::ServerConfig>, TlsError> {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let mut config = rustls::ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()?
        .with_no_client_auth()
        .with_single_cert(chain, key)?;
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    Ok(Arc::new(config))
}
