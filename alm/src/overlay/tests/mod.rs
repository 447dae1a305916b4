//! Nodes in virtual time.

mod pair;
mod sim;
mod table;
