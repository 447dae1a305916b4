//! Client and server in virtual time, and each against what nobody well-behaved would send.

mod batches;
mod flow;
mod hostile_server;
mod limits;
mod net;
mod refusals;
