//! The shim as the runner sees it: a process, a TCP stream, an exit code and what it says to stderr.

mod double;
mod flags;
mod framing;
