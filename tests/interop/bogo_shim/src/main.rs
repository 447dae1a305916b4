//! `bogo_shim`: one end of one DTLS session, driven by BoringSSL's public test runner ("BoGo").
//!
//! The runner starts it once a case, with flags; it connects back over TCP and the two exchange datagrams in a small
//! framing, which also moves the clock. It drives the same [`sinnet_dtls::Connection`] as the product, through the same
//! calls: what a case shows is the product's answer. How to run the suite: `docs/dtls.md`.
//!
//! | exit code | means |
//! |---|---|
//! | 0 | the session went as the flags said; nothing on stderr |
//! | 1 | it failed; stderr has the reason, as a token between colons |
//! | 89 | a flag asks for what the product doesn't have |
#![forbid(unsafe_code)]

mod clock;
mod flags;
mod framing;
mod settings;
mod shim;
mod token;

use flags::Flags;
use std::process::ExitCode;

/// The runner's code for "not implemented": it skips the case.
const NOT_IMPLEMENTED: u8 = 89;

/// Why a run ends before its end.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Stop {
    /// A flag asks for what the product doesn't have.
    NotImplemented,
    /// The session or a check failed; what stderr says.
    Failed(String),
}

impl Stop {
    fn failed(why: impl std::fmt::Display) -> Self {
        Self::Failed(why.to_string())
    }
}

fn main() -> ExitCode {
    let arguments: Vec<String> =
        std::env::args_os().skip(1).map(|argument| argument.to_string_lossy().into_owned()).collect();
    if arguments == ["-is-handshaker-supported"] {
        println!("No");
        return ExitCode::SUCCESS;
    }
    match Flags::parse(&arguments).and_then(|flags| shim::run(&flags)) {
        Ok(()) => ExitCode::SUCCESS,
        Err(Stop::NotImplemented) => ExitCode::from(NOT_IMPLEMENTED),
        Err(Stop::Failed(why)) => {
            eprintln!("{why}");
            ExitCode::FAILURE
        }
    }
}
