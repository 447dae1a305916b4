//! Opening: replay check, AEAD in place, and only then the window moves (RFC 6347 §4.1.2.6).

use super::replay::ReplayWindow;
use super::{EXPLICIT_NONCE_LEN, MAX_PLAINTEXT, Protection, RecordHeader};
use crate::crypto::TAG_LEN;

/// Records that may fail authentication before the key must not be used any more (RFC 9147 §4.5.3; RFC 6347 itself
/// names no number).
const FORGERY_LIMIT: u64 = 1 << 36;

/// Longer than this is not even opened (RFC 5246 §6.2.3: 2^14 + 2048, less what the AEAD adds).
const MAX_CIPHERTEXT: usize = MAX_PLAINTEXT + 2048;

/// Why a record was dropped.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum OpenError {
    Malformed,
    Replayed,
    BadTag,
    /// It is genuine, and its plaintext longer than RFC 6347 §4.1 allows: fatal.
    Overflow,
    /// The AEAD's limit of forgeries is reached: fatal.
    TooManyForgeries,
}

/// The keys of the peer's direction and what came under them.
pub(crate) struct OpenKey {
    protection: Protection,
    window: ReplayWindow,
    forgeries: u64,
}

impl OpenKey {
    pub(crate) fn new(protection: Protection) -> Self {
        Self { protection, window: ReplayWindow::default(), forgeries: 0 }
    }

    /// Opens the fragment behind `header` in place and gives the plaintext's part of it.
    pub(crate) fn open<'a>(
        &mut self,
        header: &RecordHeader,
        fragment: &'a mut [u8],
    ) -> Result<&'a mut [u8], OpenError> {
        if !self.window.check(header.sequence_number) {
            return Err(OpenError::Replayed);
        }
        let (nonce, body) = if self.protection.explicit_nonce {
            let (explicit, body) =
                fragment.split_first_chunk_mut::<EXPLICIT_NONCE_LEN>().ok_or(OpenError::Malformed)?;
            (self.protection.nonce(u64::from_be_bytes(*explicit)), body)
        } else {
            (self.protection.nonce(header.number()), fragment)
        };
        let (ciphertext, tag) = body.split_last_chunk_mut::<TAG_LEN>().ok_or(OpenError::Malformed)?;
        if ciphertext.len() > MAX_CIPHERTEXT {
            return Err(OpenError::Malformed);
        }
        let additional_data = header.additional_data(ciphertext.len() as u16);
        if self.protection.aead.open(nonce, &additional_data, ciphertext, tag).is_err() {
            self.forgeries += 1;
            let limit = self.forgeries >= FORGERY_LIMIT;
            return Err(if limit { OpenError::TooManyForgeries } else { OpenError::BadTag });
        }
        self.window.accept(header.sequence_number);
        if ciphertext.len() > MAX_PLAINTEXT {
            return Err(OpenError::Overflow);
        }
        Ok(ciphertext)
    }

    #[cfg(test)]
    pub(crate) fn set_forgeries(&mut self, forgeries: u64) {
        self.forgeries = forgeries;
    }
}
