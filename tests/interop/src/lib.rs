//! Interoperability: the harness that puts a real browser and `sinnet connect` on two ends of a cable and lets
//! them talk.
//!
//! ```text
//!   namespace sn<pid>-0a 10.9.0.1 ── veth ── namespace sn<pid>-0b 10.9.0.2        no other way out of either
//!   Chromium or Firefox, headless          `sinnet connect …`
//!        │ DevTools protocol / WebDriver BiDi     │ JSON lines on stdin and stdout
//!        └──────────── Session: relays the signalling, keeps both logs ──────┘
//! ```
//!
//! - [`namespace`]: network namespaces, and the janitor that removes them however the test process ends.
//! - [`coturn`]: a TURN server as a child.
//! - [`net`]: the two of the picture, and the cable.
//! - [`nat_lab`]: private networks behind the kernel's address translation, and a public one.
//! - [`process`]: a child process with its output read line by line.
//! - [`rpc`]: numbered JSON commands over a WebSocket, the common ground of both browser protocols.
//! - [`browser`]: starts a browser and evaluates JavaScript in one of its pages; `page/page.js` is the other half.
//! - [`peer`]: `sinnet connect` as a child.
//! - [`tab`]: a page with `page/page.js` in it; its signalling lines and its log.
//! - [`session`]: one page and one peer, connected.
//! - [`lab`]: what tests share: the namespaces and one browser at a time.
//! - [`pattern`]: the bytes that both sides know, and their hashes.
//!
//! The tests need root (for namespaces), `ip`, `nft`, `turnserver`, `chromium`, `firefox-esr` and aiortc (`scripts/aiortc.sh`);
//! `scripts/test.sh` installs what is missing and builds the command they run. One test runs at a time, and one browser
//! process is kept from test to test; every test has a page and a peer of its own.
//!
//! | variable | meaning |
//! |---|---|
//! | `SINNET_BIN` | the `sinnet` binary; default `release/sinnet` in the target directory |
//! | `SINNET_AIORTC_PYTHON` | a Python interpreter that has aiortc; default `aiortc/bin/python` in the target directory |
//! | `SINNET_INTEROP_LOG` | value of `RUST_LOG` for the peer; default `debug` |
//! | `SINNET_INTEROP_VERBOSE` | set: every log line of both sides to stderr as it comes |

pub mod browser;
pub mod coturn;
pub mod lab;
pub mod namespace;
pub mod nat_lab;
pub mod net;
pub mod pattern;
pub mod peer;
pub mod process;
pub mod rpc;
pub mod session;
pub mod tab;

use std::time::Duration;

/// What has to happen at once, on a machine that may have a lot else to do: sooner than the end of consent (RFC 7675, 30 s), by
/// which everything is noticed at last.
pub const AT_ONCE: Duration = Duration::from_secs(20);
