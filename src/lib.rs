//! A WebRTC data stack.
#![forbid(unsafe_code)]
