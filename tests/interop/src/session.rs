//! One page and one `sinnet connect`, with their signalling relayed.

use std::process::ExitStatus;
use std::time::Duration;

use serde_json::{Value, json};
use tokio::sync::mpsc;

use crate::AT_ONCE;
use crate::browser::{Kind, Privacy};
use crate::lab::Lab;
use crate::peer::Peer;
use crate::tab::Tab;

/// Who makes the offer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Offers {
    /// The browser; `sinnet connect` waits for the line.
    TheBrowser,
    /// `sinnet connect --offer`.
    ThePeer,
}

/// One cell of the matrix.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Cell {
    /// The browser.
    pub kind: Kind,
    /// With `.local` candidates or plain ones.
    pub privacy: Privacy,
    /// The offerer.
    pub offers: Offers,
}

/// What happens to signalling lines on their way.
#[derive(Debug, Clone, Copy)]
pub struct Tampering {
    /// Applied to each line from the browser.
    pub to_peer: fn(&mut Value),
    /// Applied to each line from the peer.
    pub to_browser: fn(&mut Value),
}

impl Tampering {
    /// Every line arrives as it was sent.
    pub const NONE: Self = Self { to_peer: |_| (), to_browser: |_| () };
}

/// A page and a peer that are being connected.
#[derive(Debug)]
pub struct Session {
    /// The browser's end.
    pub tab: Tab,
    /// The native end.
    pub peer: Peer,
}

impl Session {
    /// Starts both ends: the page with `channels` (see `page.js`, `start`), `sinnet connect` with `arguments`.
    ///
    /// # Panics
    ///
    /// When either does not start.
    pub async fn start(lab: &mut Lab, cell: Cell, channels: Value, arguments: &[&str]) -> Self {
        Self::start_tampered(lab, cell, channels, arguments, Tampering::NONE).await
    }

    /// As [`Session::start`], with every line changed by `tampering`.
    ///
    /// # Panics
    ///
    /// As [`Session::start`].
    pub async fn start_tampered(
        lab: &mut Lab,
        cell: Cell,
        channels: Value,
        arguments: &[&str],
        tampering: Tampering,
    ) -> Self {
        let tab = Tab::open(lab.browser(cell.kind, cell.privacy).await).await;
        Self::start_in(tab, lab, cell, channels, arguments, tampering).await
    }

    /// As [`Session::start_tampered`], in a page that is open already.
    ///
    /// # Panics
    ///
    /// As [`Session::start`].
    pub async fn start_in(
        mut tab: Tab,
        lab: &Lab,
        cell: Cell,
        channels: Value,
        arguments: &[&str],
        tampering: Tampering,
    ) -> Self {
        let offer = cell.offers == Offers::TheBrowser;
        tab.ask("start", json!([{ "offer": offer, "open": channels }])).await;
        let mut all = arguments.to_vec();
        if cell.offers == Offers::ThePeer {
            all.insert(0, "--offer");
        }
        let mut peer = Peer::connect(&lab.net, &all);

        let mut from_page = tab.take_lines().expect("taken once");
        let to_peer = peer.input();
        tokio::spawn(async move {
            while let Some(mut line) = from_page.recv().await {
                (tampering.to_peer)(&mut line);
                let _ = to_peer.send(line.to_string());
            }
        });
        let mut from_peer = peer.take_lines();
        let to_page = tab.input();
        tokio::spawn(async move {
            while let Some(mut line) = from_peer.recv().await {
                (tampering.to_browser)(&mut line);
                let _ = to_page.send(line);
            }
        });
        Self { tab, peer }
    }

    /// Asks the page, see [`Tab::ask`].
    ///
    /// # Panics
    ///
    /// As [`Tab::ask`].
    pub async fn ask(&self, function: &str, arguments: Value) -> Value {
        self.tab.ask(function, arguments).await
    }

    /// The browser closes the connection; `sinnet connect` must then end with status 0.
    ///
    /// # Panics
    ///
    /// When it does not.
    pub async fn hang_up(mut self) {
        self.tab.ask("hangUp", json!([])).await;
        let status = self.peer.wait(AT_ONCE).await;
        assert!(
            status.success(),
            "sinnet connect ended with {status} after the browser closed the connection"
        );
        self.tab.close().await;
    }

    /// `sinnet connect` ends by itself.
    ///
    /// # Panics
    ///
    /// When it does not within `limit`.
    pub async fn ended(&mut self, limit: Duration) -> ExitStatus {
        self.peer.wait(limit).await
    }
}

/// Passes lines on, in order, for as long as both ends live.
pub fn relay(mut from: mpsc::UnboundedReceiver<Value>, to: mpsc::UnboundedSender<Value>) {
    tokio::spawn(async move {
        while let Some(line) = from.recv().await {
            if to.send(line).is_err() {
                return;
            }
        }
    });
}
