//! `a=setup` (RFC 4145 §4, RFC 8842 §5): who opens the DTLS association.

use std::fmt;
use std::str::FromStr;

use crate::error::{Error, excerpt};

/// The value of `a=setup`.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Setup {
    /// The side that says so is the DTLS client.
    Active,
    /// The side that says so is the DTLS server.
    Passive,
    /// Either; only in offers.
    ActPass,
    /// No association for now. Read, never accepted.
    HoldConn,
}

/// Our side of the DTLS association.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum DtlsRole {
    /// Sends the ClientHello; its data channels have even ids (RFC 8832 §6).
    Client,
    /// Waits for it; its data channels have odd ids.
    Server,
}

impl DtlsRole {
    /// The other side's role.
    pub fn peer(self) -> Self {
        match self {
            Self::Client => Self::Server,
            Self::Server => Self::Client,
        }
    }
}

impl From<DtlsRole> for Setup {
    fn from(role: DtlsRole) -> Self {
        match role {
            DtlsRole::Client => Setup::Active,
            DtlsRole::Server => Setup::Passive,
        }
    }
}

impl Setup {
    /// The role of the side that says this, if it decides one.
    pub fn role(self) -> Option<DtlsRole> {
        match self {
            Setup::Active => Some(DtlsRole::Client),
            Setup::Passive => Some(DtlsRole::Server),
            Setup::ActPass | Setup::HoldConn => None,
        }
    }
}

impl fmt::Display for Setup {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Setup::Active => "active",
            Setup::Passive => "passive",
            Setup::ActPass => "actpass",
            Setup::HoldConn => "holdconn",
        })
    }
}

impl FromStr for Setup {
    type Err = Error;

    fn from_str(s: &str) -> Result<Self, Error> {
        match s {
            "active" => Ok(Setup::Active),
            "passive" => Ok(Setup::Passive),
            "actpass" => Ok(Setup::ActPass),
            "holdconn" => Ok(Setup::HoldConn),
            other => Err(Error::UnknownSetup(excerpt(other))),
        }
    }
}
