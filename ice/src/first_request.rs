//! A Binding request that comes before there is an agent for it: whose it says it is, and whether it proves it.
//!
//! A server that takes peers it has never heard of (libp2p's WebRTC Direct) learns of them by such a request. The password
//! follows from the request itself or from what the server knows, so it can be checked before anything is kept.

use std::fmt;

use sinnet_stun::{Class, IntegrityKey, Message, Method, Verdict, is_stun};

/// A STUN Binding request with a USERNAME of two parts (RFC 8445 §7.2.2), as its receiver sees it. Nothing is authenticated
/// before [`BindingRequest::is_authentic`] has said so.
#[derive(Clone, Copy)]
pub struct BindingRequest<'a> {
    message: Message<'a>,
    /// The receiver's ufrag: what comes before the colon.
    pub local_ufrag: &'a str,
    /// The sender's.
    pub remote_ufrag: &'a str,
}

impl<'a> BindingRequest<'a> {
    /// Reads a datagram. `None` for everything else, and for a request whose FINGERPRINT is wrong or whose ufrags no
    /// description could have (RFC 8839 §5.4). Allocates nothing.
    pub fn parse(datagram: &'a [u8]) -> Option<Self> {
        if !is_stun(datagram) {
            return None;
        }
        let message = Message::parse(datagram).ok()?;
        if message.class() != Class::Request || message.method() != Method::BINDING {
            return None;
        }
        let (local_ufrag, remote_ufrag) = message.username()?.split_once(':')?;
        let fine = |ufrag: &str| crate::creds::is_ufrag(ufrag);
        if !fine(local_ufrag) || !fine(remote_ufrag) || message.verify_fingerprint() == Verdict::Invalid {
            return None;
        }
        Some(Self { message, local_ufrag, remote_ufrag })
    }

    /// Whether the sender knows the receiver's password (MESSAGE-INTEGRITY, RFC 8489 §9.1.3).
    pub fn is_authentic(&self, local_pwd: &str) -> bool {
        self.message.verify_integrity(&IntegrityKey::short_term(local_pwd)).is_valid()
    }
}

impl fmt::Debug for BindingRequest<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("BindingRequest")
            .field("local_ufrag", &self.local_ufrag)
            .field("remote_ufrag", &self.remote_ufrag)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use sinnet_stun::{Builder, TransactionId};

    const PWD: &str = "libp2p+webrtc+v1/0123456789";

    fn request(class: Class, method: Method, username: &str, pwd: &str) -> Vec<u8> {
        let mut out = [0; 1200];
        let mut builder = Builder::new(&mut out, class, method, TransactionId([7; 12]));
        builder.username(username).integrity(&IntegrityKey::short_term(pwd)).fingerprint();
        let len = builder.finish().unwrap();
        out[..len].to_vec()
    }

    #[test]
    fn a_request_says_whose_it_is_and_proves_it_by_the_password_alone() {
        let bytes = request(Class::Request, Method::BINDING, &format!("{PWD}:abcd"), PWD);
        let request = BindingRequest::parse(&bytes).unwrap();
        assert_eq!((request.local_ufrag, request.remote_ufrag), (PWD, "abcd"));
        assert!(request.is_authentic(PWD));
        assert!(!request.is_authentic("another password of length"));
        assert!(!format!("{request:?}").is_empty());
    }

    #[test]
    fn what_is_no_binding_request_of_two_good_ufrags_is_none() {
        let good = format!("{PWD}:abcd");
        for (class, method) in [
            (Class::Indication, Method::BINDING),
            (Class::SuccessResponse, Method::BINDING),
            (Class::Request, Method::ALLOCATE),
        ] {
            assert!(BindingRequest::parse(&request(class, method, &good, PWD)).is_none());
        }
        let long = "a".repeat(257);
        for username in
            ["", "abcd", "abc:abcd", "abcd:abc", ":", "ab d:abcd", "abcd:ab\r\n", "a:b:c:d", "abcd:ab:cd"]
        {
            let bytes = request(Class::Request, Method::BINDING, username, PWD);
            assert!(BindingRequest::parse(&bytes).is_none(), "{username:?}");
        }
        let bytes = request(Class::Request, Method::BINDING, &format!("{long}:abcd"), PWD);
        assert!(BindingRequest::parse(&bytes).is_none(), "a ufrag of 257 characters");
    }

    #[test]
    fn a_changed_byte_anywhere_before_the_fingerprint_is_not_authentic() {
        let bytes = request(Class::Request, Method::BINDING, &format!("{PWD}:abcd"), PWD);
        for at in 0..bytes.len() - 8 {
            let mut changed = bytes.clone();
            changed[at] ^= 1;
            let authentic = BindingRequest::parse(&changed).is_some_and(|request| request.is_authentic(PWD));
            assert!(!authentic, "byte {at}");
            assert!(BindingRequest::parse(&bytes[..at]).is_none());
        }
    }
}
