//! The `sinnet` command.
#![forbid(unsafe_code)]
fn main() {}
