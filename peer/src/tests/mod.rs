//! What can't be brought about by a well-behaved peer over a network; the rest is in `tests/stack`.

use std::sync::{Arc, OnceLock};
use std::time::Instant;

use crate::{Certificate, Config, Peer, SdpType};

#[expect(clippy::disallowed_methods, reason = "one base instant; all others are computed from it")]
fn base() -> Instant {
    Instant::now()
}

fn certificate() -> Arc<Certificate> {
    static CERTIFICATE: OnceLock<Arc<Certificate>> = OnceLock::new();
    CERTIFICATE.get_or_init(|| Arc::new(Certificate::generate(1_800_000_000).unwrap())).clone()
}

fn peer(now: Instant, seed: u8, tune: impl FnOnce(&mut Config)) -> Peer {
    let mut config = Config::new(certificate());
    tune(&mut config);
    Peer::new(Arc::new(config), now, [seed; 32])
}

/// An offerer and an answerer that have exchanged descriptions.
fn negotiated(now: Instant, tune: impl Fn(&mut Config)) -> (Peer, Peer) {
    let (mut a, mut b) = (peer(now, 1, &tune), peer(now, 2, &tune));
    let offer = a.create_offer().unwrap();
    a.set_local_description(now, SdpType::Offer, &offer).unwrap();
    b.set_remote_description(now, SdpType::Offer, &offer).unwrap();
    let answer = b.create_answer().unwrap();
    b.set_local_description(now, SdpType::Answer, &answer).unwrap();
    a.set_remote_description(now, SdpType::Answer, &answer).unwrap();
    (a, b)
}

#[test]
fn the_answerer_is_the_dtls_role_that_it_was_told_to_be() {
    for active in [true, false] {
        let (a, b) = negotiated(base(), |config| config.answer_active = active);
        assert_eq!(b.transport.as_ref().unwrap().dtls_client, active);
        assert_eq!(a.transport.as_ref().unwrap().dtls_client, !active);
    }
}
