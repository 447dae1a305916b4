//! What a client offers, and what of the ServerHello it accepts.

use super::{NO_RENEGOTIATED_CONNECTION, POINT_FORMATS, decode_error, uncompressed};
use crate::config::Config;
use crate::error::Error;
use crate::handshake::alpn;
use crate::handshake::extensions::Extensions;
use crate::handshake::server_hello::{self, ServerHello};
use crate::handshake::use_srtp::UseSrtp;
use crate::suite::Suite;
use crate::types::{CipherSuite, ExtensionType, ProtocolVersion, SrtpProfile};
use crate::wire::vec16_of_u16;

/// The suites of ours that this crate knows.
pub(super) fn suites(config: &Config) -> Vec<CipherSuite> {
    config.suites.iter().copied().filter(|suite| Suite::of(*suite).is_some()).collect()
}

/// The extensions of our ClientHello.
pub(super) fn offer(config: &Config) -> Extensions<'static> {
    let groups = vec16_of_u16(config.groups.iter().map(|group| group.0));
    let schemes = vec16_of_u16(config.verify_schemes.iter().map(|scheme| scheme.0));
    let mut extensions = Extensions::default();
    extensions.push(ExtensionType::SUPPORTED_GROUPS, groups);
    extensions.push(ExtensionType::EC_POINT_FORMATS, &POINT_FORMATS);
    extensions.push(ExtensionType::SIGNATURE_ALGORITHMS, schemes);
    extensions.push(ExtensionType::EXTENDED_MASTER_SECRET, &[]);
    extensions.push(ExtensionType::RENEGOTIATION_INFO, &NO_RENEGOTIATED_CONNECTION);
    if !config.srtp_profiles.is_empty() {
        let extension = UseSrtp { profiles: config.srtp_profiles.clone(), mki: &[] };
        extensions.push(ExtensionType::USE_SRTP, extension.to_bytes());
    }
    if !config.alpn.is_empty() {
        let body = alpn::to_bytes(&config.alpn);
        extensions.push(ExtensionType::APPLICATION_LAYER_PROTOCOL_NEGOTIATION, body);
    }
    extensions
}

/// What the server chose.
#[derive(Clone, Debug)]
pub(super) struct Accepted {
    pub(super) cipher_suite: CipherSuite,
    pub(super) suite: Suite,
    pub(super) extended_master_secret: bool,
    pub(super) srtp_profile: Option<SrtpProfile>,
    pub(super) alpn: Option<Vec<u8>>,
}

impl Accepted {
    /// Checks the ServerHello against what we offered. A session id may stand in it: we offered none to resume, so
    /// it says nothing (RFC 5246 §7.4.1.3). The random's last bytes may say "DOWNGRD" (RFC 8446 §4.1.3): a server that
    /// speaks 1.3 says so to every client of 1.2, and 1.2 is all we offered.
    pub(super) fn check(config: &Config, hello: &ServerHello<'_>) -> Result<Self, Error> {
        if hello.server_version != ProtocolVersion::DTLS_1_2 {
            return Err(Error::ProtocolVersion(hello.server_version));
        }
        let not_offered = Error::CipherSuiteNotOffered(hello.cipher_suite);
        let suite = match Suite::of(hello.cipher_suite) {
            Some(suite) if config.suites.contains(&hello.cipher_suite) => suite,
            _ => return Err(not_offered),
        };
        if hello.compression_method != 0 {
            return Err(Error::IllegalParameter("compression"));
        }
        check_offered(config, &hello.extensions)?;
        let extensions = &hello.extensions;
        // RFC 5746 §3.4; its absence is a server that never renegotiates or does so unsafely: we never do.
        let info = extensions.get(ExtensionType::RENEGOTIATION_INFO);
        if info.is_some_and(|info| info != NO_RENEGOTIATED_CONNECTION) {
            return Err(Error::RenegotiationInfo);
        }
        // RFC 8422 §5.2.
        if extensions.get(ExtensionType::EC_POINT_FORMATS).is_some_and(|formats| !uncompressed(formats)) {
            return Err(Error::IllegalParameter("no uncompressed point format"));
        }
        // RFC 7627 §5.2; without it sessions could be swapped under our feet (RFC 8844).
        let extended_master_secret = match extensions.get(ExtensionType::EXTENDED_MASTER_SECRET) {
            Some([]) => true,
            Some(_) => return Err(decode_error(server_hello::TYPE)),
            None if config.require_extended_master_secret => return Err(Error::NoExtendedMasterSecret),
            None => false,
        };
        Ok(Self {
            cipher_suite: hello.cipher_suite,
            suite,
            extended_master_secret,
            srtp_profile: srtp_profile(config, extensions)?,
            alpn: protocol(config, extensions)?,
        })
    }
}

/// RFC 5246 §7.4.1.4: only extensions that were in the ClientHello. Some servers answer `supported_groups`, which means
/// nothing; `signature_algorithms` they must not (§7.4.1.4.1).
fn check_offered(config: &Config, extensions: &Extensions<'_>) -> Result<(), Error> {
    for kind in extensions.kinds() {
        let offered = match kind {
            ExtensionType::SUPPORTED_GROUPS
            | ExtensionType::EC_POINT_FORMATS
            | ExtensionType::EXTENDED_MASTER_SECRET
            | ExtensionType::RENEGOTIATION_INFO => true,
            ExtensionType::USE_SRTP => !config.srtp_profiles.is_empty(),
            ExtensionType::APPLICATION_LAYER_PROTOCOL_NEGOTIATION => !config.alpn.is_empty(),
            _ => false,
        };
        if !offered {
            return Err(Error::UnsupportedExtension(kind));
        }
    }
    Ok(())
}

/// RFC 5764 §4.1.1: exactly one profile, of ours, and our empty identifier.
fn srtp_profile(config: &Config, extensions: &Extensions<'_>) -> Result<Option<SrtpProfile>, Error> {
    let Some(body) = extensions.get(ExtensionType::USE_SRTP) else { return Ok(None) };
    let answer = UseSrtp::parse(body).ok_or(decode_error(server_hello::TYPE))?;
    let [profile] = answer.profiles[..] else { return Err(decode_error(server_hello::TYPE)) };
    if !config.srtp_profiles.contains(&profile) {
        return Err(Error::IllegalParameter("an SRTP profile that was not offered"));
    }
    if !answer.mki.is_empty() {
        return Err(Error::IllegalParameter("an SRTP master key identifier that was not offered"));
    }
    Ok(Some(profile))
}

/// RFC 7301 §3.1: exactly one protocol, of ours.
fn protocol(config: &Config, extensions: &Extensions<'_>) -> Result<Option<Vec<u8>>, Error> {
    let kind = ExtensionType::APPLICATION_LAYER_PROTOCOL_NEGOTIATION;
    let Some(body) = extensions.get(kind) else { return Ok(None) };
    let names = alpn::parse(body).ok_or(decode_error(server_hello::TYPE))?;
    let [name] = names[..] else { return Err(decode_error(server_hello::TYPE)) };
    if !config.alpn.iter().any(|ours| ours == name) {
        return Err(Error::IllegalParameter("an application protocol that was not offered"));
    }
    Ok(Some(name.to_vec()))
}
