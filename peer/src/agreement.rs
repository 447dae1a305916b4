//! A connection without SDP: the owner says what an offer and its answer would have agreed on.
//!
//! For peers that know each other's half by other means, as a server that learns of a client by its first Binding request
//! (libp2p's WebRTC Direct) and infers the rest.

use std::net::SocketAddr;
use std::time::Instant;

use rand::RngExt;
use sinnet_dtls::Fingerprint;
use sinnet_ice::{Address, Candidate, CandidateKind, Credentials, Role, Transport};
use sinnet_sdp::{DtlsRole, SignalingState};

use crate::error::AgreementError;
use crate::negotiate::SCTP_PORT;
use crate::peer::Peer;

/// By what the peer's certificate is judged.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum PeerIdentity {
    /// It must have one of these fingerprints: those of the strongest hash count (RFC 8122 §5).
    Fingerprints(Vec<Fingerprint>),
    /// **Any certificate will do, so whoever answers is believed.** The connection is encrypted, and there is no telling to
    /// whom. For protocols that authenticate the peer over a data channel, **bound to both certificates' fingerprints**
    /// ([`Peer::peer_certificate`] has the peer's), before they believe or say anything else.
    DangerAnyCertificate,
}

/// What an offer and its answer would have said, for [`Peer::agree`].
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Agreement {
    /// Our ICE credentials, by which the peer's checks name us.
    pub local: Credentials,
    /// The peer's. May be ours.
    pub remote: Credentials,
    /// Allows a password that is, or is part of, a ufrag. False by default. **Whoever sees a check knows such a password**, so it
    /// keeps nobody from taking part in ICE, and only what DTLS says of the peer remains.
    pub danger_public_password: bool,
    /// Who nominates. By default the DTLS client, who is the one that calls.
    pub ice_role: Role,
    /// The peer is a lite agent (RFC 8445 §2.5), so it falls to us to control. False by default.
    pub remote_lite: bool,
    /// Who sends the ClientHello. Channel ids follow from it (RFC 8832 §6).
    pub dtls_role: DtlsRole,
    /// By what the peer's certificate is judged.
    pub identity: PeerIdentity,
    /// The peer's UDP addresses, as far as they are known; the peer's checks show others.
    pub remote_addrs: Vec<SocketAddr>,
    /// The peer's SCTP port; 5000 by default, as everybody has it.
    pub sctp_port: u16,
    /// Largest message that the peer takes, bytes; 0 means any. 64 KiB by default, as RFC 8841 §6.1 has it for peers that
    /// don't say.
    pub max_message_size: u64,
}

impl Agreement {
    /// An agreement with the defaults.
    pub fn new(local: Credentials, remote: Credentials, dtls_role: DtlsRole, identity: PeerIdentity) -> Self {
        Self {
            local,
            remote,
            danger_public_password: false,
            ice_role: if dtls_role == DtlsRole::Client { Role::Controlling } else { Role::Controlled },
            remote_lite: false,
            dtls_role,
            identity,
            remote_addrs: Vec::new(),
            sctp_port: SCTP_PORT,
            max_message_size: 65_536,
        }
    }

    fn check(&self) -> Result<(), AgreementError> {
        let (local, remote) = (&self.local, &self.remote);
        let in_the_clear =
            |pwd: &String| local.ufrag.contains(pwd.as_str()) || remote.ufrag.contains(pwd.as_str());
        if !self.danger_public_password && (in_the_clear(&local.pwd) || in_the_clear(&remote.pwd)) {
            return Err(AgreementError::PublicPassword);
        }
        if self.identity == PeerIdentity::Fingerprints(Vec::new()) {
            return Err(AgreementError::NoFingerprint);
        }
        Ok(())
    }
}

/// A host candidate of the peer, as it would have signalled it; the first is the best.
fn host(index: usize, addr: SocketAddr) -> Candidate {
    let local_preference = 65_535 - u32::try_from(index).unwrap_or(u32::MAX).min(65_535);
    Candidate {
        foundation: "1".to_owned(),
        component: 1,
        transport: Transport::Udp,
        priority: 126 << 24 | local_preference << 8 | 255,
        address: Address::Ip(addr),
        kind: CandidateKind::Host,
        related: None,
        tcp_type: None,
        extensions: Vec::new(),
    }
}

impl Peer {
    /// Begins without offer and answer: both sides call this with agreements that fit. Only on a peer with which nothing has
    /// been negotiated; from now on there is no SDP for it: descriptions are refused, as in
    /// [`SignalingState::Closed`](crate::SignalingState), channels open by DCEP or by both sides (`negotiated`), and ICE can't be
    /// restarted.
    ///
    /// # Errors
    /// See [`AgreementError`]; nothing has changed then.
    pub fn agree(&mut self, now: Instant, agreement: Agreement) -> Result<(), AgreementError> {
        self.now = now;
        let untouched = self.transport.is_none()
            && self.negotiator.remote().is_none()
            && self.signaling_state() == SignalingState::Stable;
        if self.check_open().is_err() || !untouched {
            return Err(AgreementError::TooLate);
        }
        agreement.check()?;
        let Agreement { local, remote, ice_role, dtls_role, identity, sctp_port, max_message_size, .. } =
            agreement;
        remote.check()?;
        self.ice.begin_with(ice_role, now, self.seed.rng().random(), local)?;
        self.ice.negotiated_mut().set_remote_lite(agreement.remote_lite);
        self.ice.negotiated_mut().set_remote_credentials(now, remote)?;
        self.negotiator.close();
        let largest = if max_message_size == 0 { u64::MAX } else { max_message_size };
        self.make_transport(dtls_role, identity, sctp_port, largest);
        for (index, addr) in agreement.remote_addrs.iter().enumerate() {
            if let Err(error) = self.ice.add_remote_candidate(now, &host(index, *addr)) {
                tracing::debug!(%error, %addr, "address refused");
            }
        }
        self.drive();
        Ok(())
    }
}
