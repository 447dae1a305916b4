//! The body of the extension `use_srtp` (RFC 5764 §4.1.1): profiles, and the length-prefixed master key identifier,
//! which we never use.

use crate::types::SrtpProfile;
use crate::wire::{Reader, put_vec8, u16_list, vec16_of_u16};

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct UseSrtp<'a> {
    /// At least one.
    pub(crate) profiles: Vec<SrtpProfile>,
    pub(crate) mki: &'a [u8],
}

impl<'a> UseSrtp<'a> {
    pub(crate) fn parse(body: &'a [u8]) -> Option<Self> {
        let mut reader = Reader::new(body);
        let profiles = u16_list(reader.vec16().filter(|list| !list.is_empty())?)?;
        let mki = reader.vec8()?;
        reader.finish()?;
        Some(Self { profiles: profiles.into_iter().map(SrtpProfile).collect(), mki })
    }

    pub(crate) fn to_bytes(&self) -> Vec<u8> {
        let mut out = vec16_of_u16(self.profiles.iter().map(|profile| profile.0));
        put_vec8(&mut out, self.mki);
        out
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_body_reads_back_and_broken_ones_are_refused() {
        let profiles = vec![SrtpProfile::SRTP_AEAD_AES_128_GCM, SrtpProfile::SRTP_AES128_CM_HMAC_SHA1_80];
        let extension = UseSrtp { profiles, mki: &[9] };
        let body = extension.to_bytes();
        assert_eq!(body, [0, 4, 0, 7, 0, 1, 1, 9]);
        assert_eq!(UseSrtp::parse(&body), Some(extension));
        for cut in 0..body.len() {
            assert_eq!(UseSrtp::parse(&body[..cut]), None);
        }
        assert_eq!(UseSrtp::parse(&[0, 0, 0]), None);
        assert_eq!(UseSrtp::parse(&[0, 1, 7, 0]), None);
        assert_eq!(UseSrtp::parse(&[0, 2, 0, 7, 0, 0]), None);
    }
}
