//! The built command, as its users run it, on 127.0.0.1.

mod bench;
mod connect;
mod group;
mod inspect;
mod process;
mod serve;
