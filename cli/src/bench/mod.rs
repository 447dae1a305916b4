//! `sinnet bench`: two processes on 127.0.0.1, measured against each other.
//!
//! The process that the user started is the conductor: it starts two workers (the hidden `bench-worker`), carries their
//! signalling from one to the other, says when to measure, and prints what came out.
//!
//! ```text
//!               conductor                 lines of JSON over pipes: Order down, Report up
//!              ╱         ╲
//!   worker, offerer ═══ worker, answerer        UDP over 127.0.0.1
//! ```
//!
//! | | offerer | answerer |
//! |---|---|---|
//! | bulk | sends messages without end | counts |
//! | ping | sends one, waits for it, notes the time | echoes |
//! | setup | connects, waits for a message, closes; again | sends a message on every channel |
//! | idle | connects and stays | the same, and its memory is measured |

mod conductor;
mod connection;
mod link;
mod offerer;
mod usage;
mod worker;

pub(crate) use conductor::run;
pub(crate) use worker::run as worker;
