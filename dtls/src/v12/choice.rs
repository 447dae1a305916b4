//! What a server chooses from a ClientHello.

use super::{NO_RENEGOTIATED_CONNECTION, POINT_FORMATS, decode_error, signing_scheme, uncompressed};
use crate::config::Config;
use crate::crypto::Provider;
use crate::error::Error;
use crate::handshake::alpn;
use crate::handshake::client_hello::{self, ClientHello};
use crate::handshake::extensions::Extensions;
use crate::handshake::use_srtp::UseSrtp;
use crate::suite::Suite;
use crate::types::{CipherSuite, ExtensionType, NamedGroup, ProtocolVersion, SignatureScheme, SrtpProfile};
use crate::wire::{Reader, u16_list, u16_list_in_vec16};

#[derive(Clone, Debug)]
pub(super) struct Choice {
    pub(super) cipher_suite: CipherSuite,
    pub(super) suite: Suite,
    pub(super) group: NamedGroup,
    /// What we sign with.
    pub(super) scheme: SignatureScheme,
    pub(super) extended_master_secret: bool,
    pub(super) srtp_profile: Option<SrtpProfile>,
    pub(super) alpn: Option<Vec<u8>>,
    renegotiation_info: bool,
    point_formats: bool,
}

impl Choice {
    pub(super) fn from(
        config: &Config,
        crypto: &dyn Provider,
        hello: &ClientHello<'_>,
    ) -> Result<Self, Error> {
        let extension = |kind| hello.extensions.get(kind);
        check_version(hello)?;
        check_server_name(&hello.extensions)?;
        if !hello.compression_methods.contains(&0) {
            return Err(Error::IllegalParameter("no null compression"));
        }
        let groups = match extension(ExtensionType::SUPPORTED_GROUPS) {
            Some(body) => Some(u16_list_in_vec16(body).filter(|list| !list.is_empty()).ok_or(MALFORMED)?),
            // RFC 8422 §4: without the extension any group will do.
            None => None,
        };
        let takes = |group: &NamedGroup| groups.as_ref().is_none_or(|list| list.contains(&group.0));
        let formats = extension(ExtensionType::EC_POINT_FORMATS);
        if formats.is_some_and(|formats| !uncompressed(formats)) {
            return Err(Error::IllegalParameter("no uncompressed point format"));
        }
        let extended_master_secret = match extension(ExtensionType::EXTENDED_MASTER_SECRET) {
            Some([]) => true,
            Some(_) => return Err(MALFORMED),
            None if config.require_extended_master_secret => return Err(Error::NoExtendedMasterSecret),
            None => false,
        };
        let info = extension(ExtensionType::RENEGOTIATION_INFO);
        if info.is_some_and(|info| info != NO_RENEGOTIATED_CONNECTION) {
            return Err(Error::RenegotiationInfo);
        }
        let signalled = hello.cipher_suites.contains(&CipherSuite::TLS_EMPTY_RENEGOTIATION_INFO_SCSV);

        let key_type = config.certificate.as_ref().ok_or(Error::OwnCertificateMissing)?.key_type();
        let (cipher_suite, suite) = config
            .suites
            .iter()
            .filter(|suite| hello.cipher_suites.contains(suite))
            .filter_map(|&code| Some((code, Suite::of(code)?)))
            // RFC 8422 §5.1.1: the groups are the client's view of our certificate, too.
            .find(|(_, suite)| {
                suite.authentication.accepts(key_type) && key_type.curve().as_ref().is_none_or(takes)
            })
            .ok_or(Error::NoCommonCipherSuite)?;
        let group = config
            .groups
            .iter()
            .copied()
            .find(|group| crypto.has_group(*group) && takes(group))
            .ok_or(Error::NoCommonGroup)?;
        // RFC 5246 §7.4.1.4.1: absence means SHA-1, which we don't have.
        let schemes = match extension(ExtensionType::SIGNATURE_ALGORITHMS) {
            Some(body) => u16_list_in_vec16(body).filter(|list| !list.is_empty()).ok_or(MALFORMED)?,
            None => Vec::new(),
        };
        let schemes: Vec<_> = schemes.into_iter().map(SignatureScheme).collect();
        Ok(Self {
            cipher_suite,
            suite,
            group,
            scheme: signing_scheme(config, &schemes)?,
            extended_master_secret,
            srtp_profile: srtp_profile(config, &hello.extensions)?,
            alpn: protocol(config, &hello.extensions)?,
            renegotiation_info: info.is_some() || signalled,
            point_formats: formats.is_some(),
        })
    }

    /// The extensions of our ServerHello: answers, and nothing that was not asked for.
    pub(super) fn extensions(&self) -> Extensions<'static> {
        let mut extensions = Extensions::default();
        if self.extended_master_secret {
            extensions.push(ExtensionType::EXTENDED_MASTER_SECRET, &[]);
        }
        if self.renegotiation_info {
            extensions.push(ExtensionType::RENEGOTIATION_INFO, &NO_RENEGOTIATED_CONNECTION);
        }
        if self.point_formats {
            extensions.push(ExtensionType::EC_POINT_FORMATS, &POINT_FORMATS);
        }
        if let Some(profile) = self.srtp_profile {
            let answer = UseSrtp { profiles: vec![profile], mki: &[] };
            extensions.push(ExtensionType::USE_SRTP, answer.to_bytes());
        }
        if let Some(name) = &self.alpn {
            let body = alpn::to_bytes(std::slice::from_ref(name));
            extensions.push(ExtensionType::APPLICATION_LAYER_PROTOCOL_NEGOTIATION, body);
        }
        extensions
    }
}

const MALFORMED: Error = decode_error(client_hello::TYPE);

/// Versions of DTLS that are 1.2 or newer.
const NEGOTIABLE: std::ops::RangeInclusive<u16> = 0x8000..=ProtocolVersion::DTLS_1_2.0;

/// DTLS versions count downwards, from 0xfeff; TLS's own are far below and no versions of DTLS. To a client of a newer
/// one, of another major number too, we say ours (RFC 5246 §E.1). A client of 1.3 says 1.2 in the old field and lists
/// both in the new one (RFC 8446 §4.2.1).
fn check_version(hello: &ClientHello<'_>) -> Result<(), Error> {
    let version = hello.client_version;
    if !NEGOTIABLE.contains(&version.0) {
        return Err(Error::ProtocolVersion(version));
    }
    if let Some(body) = hello.extensions.get(ExtensionType::SUPPORTED_VERSIONS) {
        let versions = Reader::new(body)
            .vec8()
            .filter(|list| list.len() + 1 == body.len())
            .and_then(u16_list)
            .ok_or(MALFORMED)?;
        if !versions.contains(&ProtocolVersion::DTLS_1_2.0) {
            return Err(Error::ProtocolVersion(
                versions.first().map_or(version, |&first| ProtocolVersion(first)),
            ));
        }
    }
    Ok(())
}

/// RFC 6066 §3: a list of names, none of them empty. What they say is nothing to us: a certificate is known by its
/// fingerprint.
fn check_server_name(extensions: &Extensions<'_>) -> Result<(), Error> {
    let Some(body) = extensions.get(ExtensionType::SERVER_NAME) else { return Ok(()) };
    let mut reader = Reader::new(body);
    let list = reader.vec16().filter(|list| !list.is_empty()).ok_or(MALFORMED)?;
    reader.finish().ok_or(MALFORMED)?;
    let mut names = Reader::new(list);
    while !names.is_empty() {
        let _name_type = names.u8();
        names.vec16().filter(|name| !name.is_empty()).ok_or(MALFORMED)?;
    }
    Ok(())
}

/// Our most preferred of the client's profiles; without a common one the extension stays unanswered (RFC 5764 §4.1.1).
fn srtp_profile(config: &Config, extensions: &Extensions<'_>) -> Result<Option<SrtpProfile>, Error> {
    if config.srtp_profiles.is_empty() {
        return Ok(None);
    }
    let Some(body) = extensions.get(ExtensionType::USE_SRTP) else { return Ok(None) };
    let offer = UseSrtp::parse(body).ok_or(MALFORMED)?;
    Ok(config.srtp_profiles.iter().copied().find(|profile| offer.profiles.contains(profile)))
}

/// Our most preferred of the client's protocols; without a common one the handshake has failed (RFC 7301 §3.2).
fn protocol(config: &Config, extensions: &Extensions<'_>) -> Result<Option<Vec<u8>>, Error> {
    if config.alpn.is_empty() {
        return Ok(None);
    }
    let kind = ExtensionType::APPLICATION_LAYER_PROTOCOL_NEGOTIATION;
    let Some(body) = extensions.get(kind) else { return Ok(None) };
    let offered = alpn::parse(body).ok_or(MALFORMED)?;
    let chosen = config.alpn.iter().find(|ours| offered.contains(&ours.as_slice()));
    chosen.cloned().map(Some).ok_or(Error::NoCommonApplicationProtocol)
}
