//! A server in the peer's namespace, what else runs there, and pages that it served.

use std::future::Future;
use std::net::SocketAddr;
use std::time::Duration;

use serde_json::{Value, json};
use sinnet_interop::browser::{Browser, Page};
use sinnet_interop::lab::Lab;
use sinnet_interop::net::{PEER_ADDRESS, Side};
use sinnet_signaling::{Server, ServerConfig};
use tokio::runtime::Handle;
use tokio::sync::oneshot;

const SOON: Duration = Duration::from_secs(30);

/// A server, and a place for what else runs in its namespace.
pub(crate) struct Site {
    /// `10.9.0.2:port`
    pub(crate) host: String,
    place: Place,
    server: Option<Place>,
}

/// A thread in the peer's namespace with a runtime: the sockets of what runs there belong to the namespace.
pub(crate) struct Place {
    handle: Handle,
    /// Dropped, it ends the thread, and with it all that runs there.
    _stop: oneshot::Sender<()>,
}

impl Place {
    pub(crate) async fn new(lab: &Lab) -> Self {
        let (stop, stopped) = oneshot::channel::<()>();
        let (made, handle) = oneshot::channel();
        lab.net.spawn(Side::Peer, move || {
            let runtime =
                tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
            let _ = made.send(runtime.handle().clone());
            let _ = runtime.block_on(stopped);
        });
        Self { handle: handle.await.expect("a thread in the namespace"), _stop: stop }
    }

    /// Runs something there.
    pub(crate) async fn run<T: Send + 'static>(&self, work: impl Future<Output = T> + Send + 'static) -> T {
        self.handle.spawn(work).await.expect("no panic")
    }
}

impl Site {
    pub(crate) async fn start(lab: &Lab) -> Self {
        Self::start_with(lab, |_| ()).await
    }

    /// With settings of one's own.
    pub(crate) async fn start_with(lab: &Lab, configure: impl FnOnce(&mut ServerConfig)) -> Self {
        let (place, home) = (Place::new(lab).await, Place::new(lab).await);
        let address: SocketAddr = format!("{PEER_ADDRESS}:0").parse().expect("an address");
        let mut config = ServerConfig::new(address);
        configure(&mut config);
        let mut server = home.run(Server::bind(config)).await.expect("a free port");
        let host = server.local_addr().to_string();
        // Nobody is at home for visitors of `/ws`.
        home.handle.spawn(async move { while server.accept().await.is_some() {} });
        Self { host, place, server: Some(home) }
    }

    /// Runs something in the namespace.
    pub(crate) async fn run<T: Send + 'static>(&self, work: impl Future<Output = T> + Send + 'static) -> T {
        self.place.run(work).await
    }

    /// Ends the server, and all its connections with it.
    pub(crate) fn end(&mut self) {
        self.server = None;
    }

    pub(crate) fn url(&self, scheme: &str, path: &str) -> String {
        format!("{scheme}://{}{path}", self.host)
    }
}

/// A page of the server, with a script in it. Dropped, it closes.
pub(crate) struct Visit {
    pub(crate) page: Page,
}

impl Visit {
    pub(crate) async fn open(browser: &Browser, site: &Site, path: &str, script: &str) -> Self {
        let url = site.url("http", path);
        let page = browser.page(&url).await.unwrap_or_else(|e| panic!("{url}: {e}"));
        let visit = Self { page };
        visit.until("location.protocol === 'http:' && document.readyState === 'complete'").await;
        visit.page.run(script).await.unwrap_or_else(|e| panic!("the script: {e}"));
        visit
    }

    /// A page that keeps what goes wrong in it in `troubles`.
    pub(crate) async fn watched(browser: &Browser, site: &Site, path: &str) -> Self {
        let page = browser.page("about:blank").await.expect("a page");
        page.prepare(include_str!("../../page/troubles.js")).await.expect("a script before all others");
        let url = site.url("http", path);
        page.go(&url).await.unwrap_or_else(|e| panic!("{url}: {e}"));
        let visit = Self { page };
        visit.until("location.protocol === 'http:' && document.readyState === 'complete'").await;
        visit
    }

    /// The value of an expression.
    pub(crate) async fn ask(&self, expression: &str) -> Value {
        let value = self.page.evaluate(expression, Duration::from_secs(60)).await;
        value.unwrap_or_else(|e| panic!("in the page, {expression}: {e}"))
    }

    /// Calls a function with arguments.
    pub(crate) async fn call(&self, function: &str, arguments: Value) -> Value {
        self.ask(&format!("{function}(...{arguments})")).await
    }

    /// Waits until an expression is true.
    pub(crate) async fn until(&self, expression: &str) {
        let waiting = async {
            while self.ask(&format!("!!({expression})")).await != json!(true) {
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
        };
        if tokio::time::timeout(SOON, waiting).await.is_err() {
            let text = self.ask("document.body?.innerText").await;
            panic!("not within {} s: {expression}; the page shows {text}", SOON.as_secs());
        }
    }
}

impl Drop for Visit {
    fn drop(&mut self) {
        let page = self.page.clone();
        tokio::spawn(async move { page.close().await });
    }
}
