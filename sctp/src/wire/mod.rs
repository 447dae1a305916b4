//! The wire format.
pub(crate) mod cause;
