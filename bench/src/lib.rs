//! Benchmarks of the layers.
#![forbid(unsafe_code)]
