//! An association from two INIT chunks that came another way (draft-hancke-tsvwg-snap): signalling carries them, as
//! `a=sctp-init`, and INIT, INIT ACK, COOKIE ECHO and COOKIE ACK are not exchanged.
//!
//! What the cookie protects against, DTLS does (§8 of the draft), and nobody answers anybody before DTLS is up. There
//! are no roles and no ties: each side takes its own INIT as sent and the other's as received, as in the collision of
//! RFC 9260 §5.2.1, where either cookie sets up the same association.

use std::time::Instant;

use super::Association;
use super::state::State;
use crate::error::SnapError;
use crate::wire::chunk::{ChunkType, Chunks, RawChunk};
use crate::wire::init::Init;

/// The longest INIT chunk taken. Ours has some 50 bytes.
const MAX_INIT: usize = 2048;

impl Association {
    /// The INIT chunk that this association sends or would send, header included: the value of `a=sctp-init`,
    /// before base64. It is the same every time, and asking for it changes nothing: a peer that does not take it
    /// gets it with [`connect`](Self::connect).
    pub fn local_init(&self) -> Vec<u8> {
        let value = self.our_init(self.local_tag, self.local_initial_tsn).write();
        let mut chunk = vec![ChunkType::INIT.0, 0];
        // A few parameters of a few bytes each.
        chunk.extend_from_slice(&(value.len() as u16 + 4).to_be_bytes());
        chunk.extend_from_slice(&value);
        chunk
    }

    /// Whether [`establish_from`](Self::establish_from) would take this chunk: to be asked when the description
    /// comes, since an answer has `a=sctp-init` only if the offer's was good.
    ///
    /// # Errors
    ///
    /// See [`SnapError`].
    pub fn check_init(peer_init: &[u8]) -> Result<(), SnapError> {
        read(peer_init).map(|_| ())
    }

    /// Takes the peer's INIT chunk for received and ours for sent: the association is established, and
    /// [`Event::Connected`](crate::Event::Connected) says so. To be called once DTLS is connected, and only if
    /// both descriptions had one; messages may have been queued before.
    ///
    /// # Errors
    ///
    /// See [`SnapError`]; nothing has changed then, and [`connect`](Self::connect) is still possible.
    pub fn establish_from(&mut self, now: Instant, peer_init: &[u8]) -> Result<(), SnapError> {
        if self.state != State::Closed {
            return Err(SnapError::Begun);
        }
        let init = read(peer_init)?;
        if init.initiate_tag == self.local_tag && init.initial_tsn == self.local_initial_tsn {
            return Err(SnapError::OurOwn);
        }
        self.adopt(init.params());
        self.snapped = true;
        self.establish(now);
        Ok(())
    }
}

/// The INIT in a chunk, if it could be answered (RFC 9260 §3.3.2).
fn read(chunk: &[u8]) -> Result<Init<'_>, SnapError> {
    if chunk.len() > MAX_INIT {
        return Err(SnapError::TooLong);
    }
    let mut chunks = Chunks::new(chunk);
    let Some(Ok(RawChunk { kind: ChunkType::INIT, value, .. })) = chunks.next() else {
        return Err(SnapError::NotAnInit);
    };
    if !chunks.is_empty() {
        return Err(SnapError::NotAnInit);
    }
    let init = Init::parse(value).ok_or(SnapError::NotAnInit)?;
    if init.initiate_tag == 0 || init.fault().is_some() {
        return Err(SnapError::Unusable);
    }
    Ok(init)
}
