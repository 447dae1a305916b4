//! A virtual network in virtual time: links, loss, reordering, NATs.
#![forbid(unsafe_code)]
