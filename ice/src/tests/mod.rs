//! Two agents, or one and a scripted peer, over a small network in virtual time.

mod connect;
mod consent;
mod failure;
pub(crate) mod harness;
mod hostile;
mod lite;
mod locals;
mod nat;
mod roles;
mod stats;
mod switch;
mod wire;
