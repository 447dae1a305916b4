//! Signalling for Sinnet: messages, WebSocket client and server, and the browser page.
#![forbid(unsafe_code)]
