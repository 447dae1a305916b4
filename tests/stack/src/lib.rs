//! Tests of the whole stack: over the simulator and over loopback.
#![forbid(unsafe_code)]
