use openssl::asn1::Asn1Time;
use openssl::ec::{EcGroup, EcKey};
use openssl::hash::MessageDigest;
use openssl::nid::Nid;
use openssl::pkey::PKey;
use openssl::ssl::{
    HandshakeError, MidHandshakeSslStream, Ssl, SslContext, SslMethod, SslStream, SslVerifyMode,
};
use openssl::x509::{X509, X509NameBuilder};
use std::cell::RefCell;
use std::collections::VecDeque;
use std::io::{Error, ErrorKind, Read, Result, Write};
use std::rc::Rc;

type Queue = Rc<RefCell<VecDeque<Vec<u8>>>>;

/// Datagrams in memory.
#[derive(Debug)]
pub struct Wire {
    from: Queue,
    to: Queue,
}

impl Read for Wire {
    fn read(&mut self, out: &mut [u8]) -> Result<usize> {
        let datagram = self.from.borrow_mut().pop_front().ok_or(Error::from(ErrorKind::WouldBlock))?;
        out[..datagram.len()].copy_from_slice(&datagram);
        Ok(datagram.len())
    }
}

impl Write for Wire {
    fn write(&mut self, datagram: &[u8]) -> Result<usize> {
        self.to.borrow_mut().push_back(datagram.to_vec());
        Ok(datagram.len())
    }

    fn flush(&mut self) -> Result<()> {
        Ok(())
    }
}

pub struct Fixture {
    context: SslContext,
}

impl Fixture {
    pub fn new() -> Self {
        let group = EcGroup::from_curve_name(Nid::X9_62_PRIME256V1).expect("P-256");
        let key = PKey::from_ec_key(EcKey::generate(&group).expect("a key")).expect("a key");
        let mut name = X509NameBuilder::new().expect("a name");
        name.append_entry_by_text("CN", "peer").expect("a name");
        let name = name.build();
        let mut certificate = X509::builder().expect("a certificate");
        certificate.set_version(2).expect("a version");
        certificate.set_subject_name(&name).expect("a subject");
        certificate.set_issuer_name(&name).expect("an issuer");
        certificate.set_pubkey(&key).expect("a key");
        certificate.set_not_before(&Asn1Time::days_from_now(0).expect("a day")).expect("a date");
        certificate.set_not_after(&Asn1Time::days_from_now(30).expect("a day")).expect("a date");
        certificate.sign(&key, MessageDigest::sha256()).expect("a signature");
        let mut context = SslContext::builder(SslMethod::dtls()).expect("a context");
        context.set_certificate(&certificate.build()).expect("a certificate");
        context.set_private_key(&key).expect("a key");
        context.set_cipher_list("ECDHE-ECDSA-AES128-GCM-SHA256").expect("a suite");
        context.set_groups_list("X25519:P-256").expect("groups");
        context.set_verify_callback(SslVerifyMode::PEER | SslVerifyMode::FAIL_IF_NO_PEER_CERT, |_, _| true);
        Self { context: context.build() }
    }

    pub fn connect(&self) -> (SslStream<Wire>, SslStream<Wire>) {
        let (up, down) = (Queue::default(), Queue::default());
        let end = |from: &Queue, to: &Queue| {
            let mut ssl = Ssl::new(&self.context).expect("an end");
            ssl.set_mtu(1200).expect("an MTU");
            (ssl, Wire { from: Rc::clone(from), to: Rc::clone(to) })
        };
        let (ssl, wire) = end(&down, &up);
        let mut client = State::from(ssl.connect(wire));
        let (ssl, wire) = end(&up, &down);
        let mut server = State::from(ssl.accept(wire));
        for _ in 0..20 {
            client = client.go_on();
            server = server.go_on();
            if let (State::Done(_), State::Done(_)) = (&client, &server) {
                break;
            }
        }
        let (State::Done(client), State::Done(server)) = (client, server) else {
            panic!("OpenSSL does not connect");
        };
        (client, server)
    }
}

enum State {
    Waiting(MidHandshakeSslStream<Wire>),
    Done(SslStream<Wire>),
}

impl State {
    fn from(result: std::result::Result<SslStream<Wire>, HandshakeError<Wire>>) -> Self {
        match result {
            Ok(stream) => Self::Done(stream),
            Err(HandshakeError::WouldBlock(waiting)) => Self::Waiting(waiting),
            Err(error) => panic!("{error}"),
        }
    }

    fn go_on(self) -> Self {
        match self {
            Self::Waiting(waiting) => Self::from(waiting.handshake()),
            done => done,
        }
    }
}
