//! What the tests of one process share: the namespaces, a runtime, and one browser at a time.

use std::sync::{Mutex, OnceLock, PoisonError};
use std::time::Duration;

use tokio::runtime::Runtime;

use crate::browser::{Browser, Kind, Privacy};
use crate::net::{Net, Side};

/// The namespaces and the browser that ran last.
#[derive(Debug)]
pub struct Lab {
    /// The namespaces.
    pub net: Net,
    browser: Option<Browser>,
}

/// Most time that a test gets. A wait inside of it ends long before, and says what for.
const TEST_LIMIT: Duration = Duration::from_secs(400);

/// Runs a test alone: the next one waits until it is done.
///
/// # Panics
///
/// When the test does, when it takes over six minutes, or when the namespaces cannot be made.
pub fn run(test: impl AsyncFnOnce(&mut Lab)) {
    static LAB: Mutex<Option<Lab>> = Mutex::new(None);
    let mut lab = LAB.lock().unwrap_or_else(PoisonError::into_inner);
    let lab = lab.get_or_insert_with(|| match Net::new() {
        Ok(net) => Lab { net, browser: None },
        Err(why) => panic!("{why}"),
    });
    runtime().block_on(async {
        // Pinned here, so that a test out of time is dropped by the panic, and its logs are printed.
        let mut test = std::pin::pin!(test(lab));
        if tokio::time::timeout(TEST_LIMIT, &mut test).await.is_err() {
            panic!("the test did not end within {} s", TEST_LIMIT.as_secs());
        }
    });
}

/// The runtime of the whole process: a browser outlives the test that started it.
fn runtime() -> &'static Runtime {
    static RUNTIME: OnceLock<Runtime> = OnceLock::new();
    RUNTIME.get_or_init(|| {
        tokio::runtime::Builder::new_multi_thread()
            .worker_threads(2)
            .enable_all()
            .build()
            .expect("a tokio runtime")
    })
}

impl Lab {
    /// This browser, started if another one (or none) ran last.
    ///
    /// # Panics
    ///
    /// When it does not start.
    pub async fn browser(&mut self, kind: Kind, privacy: Privacy) -> &Browser {
        let fits = self.browser.as_mut().is_some_and(|b| b.kind == kind && b.privacy == privacy && b.alive());
        if !fits {
            self.browser = None;
            match Browser::start(self.net.place(Side::Browser), kind, privacy).await {
                Ok(browser) => self.browser = Some(browser),
                Err(why) => panic!("{kind:?}: {why}"),
            }
        }
        self.browser.as_ref().expect("just started")
    }

    /// Kills the browser, as a crash would.
    pub fn kill_browser(&mut self) {
        self.browser = None;
    }
}
