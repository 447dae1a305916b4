//! Code points of the protocol: newtypes, so that an unknown value is a value.

use std::fmt;

macro_rules! code_points {
    ($(#[$meta:meta])* $vis:vis $name:ident($int:ty) { $($(#[$item:meta])* $constant:ident = $value:expr;)* }) => {
        $(#[$meta])*
        #[derive(Clone, Copy, PartialEq, Eq, Hash)]
        $vis struct $name($vis $int);

        impl $name {
            $($(#[$item])* $vis const $constant: Self = Self($value);)*

            /// The registered name, if this crate knows the value.
            $vis const fn name(self) -> Option<&'static str> {
                match self {
                    $(Self::$constant => Some(stringify!($constant)),)*
                    _ => None,
                }
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                match self.name() {
                    Some(name) => f.write_str(name),
                    None => write!(f, "{:#06x}", self.0),
                }
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                fmt::Display::fmt(self, f)
            }
        }
    };
}
pub(crate) use code_points;

code_points! {
    /// A protocol version as it stands in records and hellos (RFC 6347 §4.1).
    pub ProtocolVersion(u16) {
        /// DTLS 1.0; only ever seen as the record version of a first hello.
        DTLS_1_0 = 0xfeff;
        /// DTLS 1.2 (RFC 6347).
        DTLS_1_2 = 0xfefd;
        /// DTLS 1.3 (RFC 9147).
        DTLS_1_3 = 0xfefc;
    }
}

code_points! {
    /// A cipher suite (IANA registry "TLS Cipher Suites").
    pub CipherSuite(u16) {
        /// RFC 5289.
        TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256 = 0xc02b;
        /// RFC 5289.
        TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384 = 0xc02c;
        /// RFC 5289.
        TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256 = 0xc02f;
        /// RFC 5289.
        TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384 = 0xc030;
        /// RFC 7905.
        TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305_SHA256 = 0xcca8;
        /// RFC 7905.
        TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256 = 0xcca9;
        /// Not a suite: a client's way to say it knows RFC 5746 (§3.3).
        TLS_EMPTY_RENEGOTIATION_INFO_SCSV = 0x00ff;
    }
}

code_points! {
    /// A group for the key exchange (RFC 8422 §5.1.1).
    pub NamedGroup(u16) {
        /// NIST P-256.
        SECP256R1 = 23;
        /// NIST P-384.
        SECP384R1 = 24;
        /// Curve25519 (RFC 7748).
        X25519 = 29;
    }
}

code_points! {
    /// A hash and signature pair (RFC 5246 §7.4.1.4.1), with the names of RFC 8446. In DTLS 1.2 the
    /// value says nothing about the curve.
    pub SignatureScheme(u16) {
        /// RSASSA-PKCS1-v1_5 with SHA-256.
        RSA_PKCS1_SHA256 = 0x0401;
        /// RSASSA-PKCS1-v1_5 with SHA-384.
        RSA_PKCS1_SHA384 = 0x0501;
        /// RSASSA-PKCS1-v1_5 with SHA-512.
        RSA_PKCS1_SHA512 = 0x0601;
        /// ECDSA with SHA-256.
        ECDSA_SHA256 = 0x0403;
        /// ECDSA with SHA-384.
        ECDSA_SHA384 = 0x0503;
        /// RSASSA-PSS with SHA-256 by an ordinary RSA key.
        RSA_PSS_RSAE_SHA256 = 0x0804;
        /// RSASSA-PSS with SHA-384 by an ordinary RSA key.
        RSA_PSS_RSAE_SHA384 = 0x0805;
        /// RSASSA-PSS with SHA-512 by an ordinary RSA key.
        RSA_PSS_RSAE_SHA512 = 0x0806;
        /// Ed25519 (RFC 8422 §5.10).
        ED25519 = 0x0807;
    }
}

code_points! {
    /// A protection profile of SRTP, negotiated for a media layer (RFC 5764 §4.1.2, RFC 7714 §14.2).
    pub SrtpProfile(u16) {
        /// AES-128 in counter mode, HMAC-SHA1 cut to 80 bits.
        SRTP_AES128_CM_HMAC_SHA1_80 = 1;
        /// AES-128 in counter mode, HMAC-SHA1 cut to 32 bits.
        SRTP_AES128_CM_HMAC_SHA1_32 = 2;
        /// AES-128-GCM.
        SRTP_AEAD_AES_128_GCM = 7;
        /// AES-256-GCM.
        SRTP_AEAD_AES_256_GCM = 8;
    }
}

impl SrtpProfile {
    /// Bytes of a master key and of a master salt, or `None` for a profile that this crate doesn't know. The
    /// [exporter](crate::Connection::export_keying_material) with the label `EXTRACTOR-dtls_srtp` gives the client's
    /// key, the server's key, the client's salt and the server's salt, one after the other (RFC 5764 §4.2).
    pub const fn key_and_salt_len(self) -> Option<(usize, usize)> {
        match self {
            Self::SRTP_AES128_CM_HMAC_SHA1_80 | Self::SRTP_AES128_CM_HMAC_SHA1_32 => Some((16, 14)),
            Self::SRTP_AEAD_AES_128_GCM => Some((16, 12)),
            Self::SRTP_AEAD_AES_256_GCM => Some((32, 12)),
            _ => None,
        }
    }
}

code_points! {
    /// A hello extension (IANA registry "TLS ExtensionType Values").
    pub ExtensionType(u16) {
        /// RFC 6066 §3.
        SERVER_NAME = 0;
        /// RFC 8422 §5.1.1.
        SUPPORTED_GROUPS = 10;
        /// RFC 8422 §5.1.2.
        EC_POINT_FORMATS = 11;
        /// RFC 5246 §7.4.1.4.1.
        SIGNATURE_ALGORITHMS = 13;
        /// RFC 5764 §4.1.
        USE_SRTP = 14;
        /// RFC 7301 §3.1.
        APPLICATION_LAYER_PROTOCOL_NEGOTIATION = 16;
        /// RFC 7627 §5.1.
        EXTENDED_MASTER_SECRET = 23;
        /// RFC 8446 §4.2.1.
        SUPPORTED_VERSIONS = 43;
        /// RFC 5746 §3.2.
        RENEGOTIATION_INFO = 0xff01;
    }
}

code_points! {
    /// A handshake message's type (RFC 6347 §4.3.2).
    pub HandshakeType(u8) {
        /// Asks a client to renegotiate; refused.
        HELLO_REQUEST = 0;
        /// First message of a client.
        CLIENT_HELLO = 1;
        /// A server's choice.
        SERVER_HELLO = 2;
        /// A server's request to repeat the hello with a cookie.
        HELLO_VERIFY_REQUEST = 3;
        /// A certificate chain.
        CERTIFICATE = 11;
        /// A server's signed ephemeral key.
        SERVER_KEY_EXCHANGE = 12;
        /// A server's wish to see the client's certificate.
        CERTIFICATE_REQUEST = 13;
        /// End of a server's first flight.
        SERVER_HELLO_DONE = 14;
        /// A client's proof that it owns its certificate's key.
        CERTIFICATE_VERIFY = 15;
        /// A client's ephemeral key.
        CLIENT_KEY_EXCHANGE = 16;
        /// The first message under the new keys.
        FINISHED = 20;
    }
}

code_points! {
    /// What a record carries (RFC 6347 §4.1).
    pub(crate) ContentType(u8) {
        /// Announces the next epoch.
        CHANGE_CIPHER_SPEC = 20;
        /// An alert.
        ALERT = 21;
        /// A piece of a handshake message.
        HANDSHAKE = 22;
        /// The application's bytes.
        APPLICATION_DATA = 23;
    }
}
