//! Nodes in virtual time.

mod pair;
