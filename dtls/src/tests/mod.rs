//! Two ends in virtual time, browsers' captured messages, and attacks.

mod alerts;
mod attacks;
mod browsers;
mod handshake;
mod hostile_messages;
mod negotiation;
mod nonces;
mod pair;
mod patterns;
mod records;
mod states;
mod verdicts;
