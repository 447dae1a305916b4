//! Two agents, or one and a scripted peer, over a small network in virtual time.

mod connect;
mod consent;
mod failure;
mod harness;
mod hostile;
mod stats;
mod wire;
