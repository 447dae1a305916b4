//! Interoperability tests: Chromium, Firefox, OpenSSL.
#![forbid(unsafe_code)]
