//! Two ends in virtual time.
mod pair;
