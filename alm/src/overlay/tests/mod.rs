//! Nodes in virtual time.

mod heal;
mod pair;
mod sim;
mod slow;
mod table;
