//! CertificateRequest (RFC 5246 §7.4.4).

use crate::types::{HandshakeType, SignatureScheme};
use crate::wire::{Reader, put_vec8, put_vec16, u16_list};

/// The message's type.
pub(crate) const TYPE: HandshakeType = HandshakeType::CERTIFICATE_REQUEST;

/// The authorities are neither kept nor named: certificates are self-signed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct CertificateRequest<'a> {
    pub(crate) certificate_types: &'a [u8],
    pub(crate) schemes: Vec<SignatureScheme>,
}

impl<'a> CertificateRequest<'a> {
    pub(crate) fn parse(body: &'a [u8]) -> Option<Self> {
        let mut reader = Reader::new(body);
        let certificate_types = reader.vec8().filter(|types| !types.is_empty())?;
        // RFC 5246 §A.4.1: at least one.
        let schemes = u16_list(reader.vec16().filter(|schemes| !schemes.is_empty())?)?;
        let schemes = schemes.into_iter().map(SignatureScheme).collect();
        let mut authorities = Reader::new(reader.vec16()?);
        while !authorities.is_empty() {
            authorities.vec16()?;
        }
        reader.finish()?;
        Some(Self { certificate_types, schemes })
    }

    pub(crate) fn to_bytes(&self) -> Vec<u8> {
        let mut out = Vec::new();
        put_vec8(&mut out, self.certificate_types);
        let schemes: Vec<u8> = self.schemes.iter().flat_map(|scheme| scheme.0.to_be_bytes()).collect();
        put_vec16(&mut out, &schemes);
        put_vec16(&mut out, &[]);
        out
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_request_without_types_or_schemes_is_malformed() {
        let good = [1, 64, 0, 2, 4, 3, 0, 0];
        assert!(CertificateRequest::parse(&good).is_some());
        assert_eq!(CertificateRequest::parse(&[0, 0, 2, 4, 3, 0, 0]), None);
        assert_eq!(CertificateRequest::parse(&[1, 64, 0, 0, 0, 0]), None);
        assert_eq!(CertificateRequest::parse(&[1, 64, 0, 1, 4, 0, 0]), None);
        for cut in 0..good.len() {
            assert_eq!(CertificateRequest::parse(&good[..cut]), None);
        }
    }
}
