//! Pages of both browsers and native nodes in one tree.

use std::net::SocketAddr;
use std::time::Duration;

use serde_json::json;
use sinnet::EndpointConfig;
use sinnet_alm::group::{GroupEvent, GroupKind, Message, Options, WebRtcAlm};
use sinnet_interop::browser::{Browser, Kind, Privacy};
use sinnet_interop::lab::Lab;
use sinnet_interop::net::{PEER_ADDRESS, Side};
use sinnet_interop::pattern::{pattern, sha256};
use tokio::sync::watch;
use tokio::time::{Instant, timeout};

use crate::alm::{Member, SEED};
use crate::site::Site;

const SOON: Duration = Duration::from_secs(60);

/// A native node, and the files that came.
struct Native {
    alm: WebRtcAlm,
    files: watch::Receiver<Vec<String>>,
}

impl Native {
    async fn start(site: &Site, group: &'static str, max_down_streams: usize, create: bool) -> Self {
        let url = site.url("ws", "/alm");
        site.run(async move {
            let mut options = Options::default();
            options.tree.max_down_streams = max_down_streams;
            options.bind =
                EndpointConfig::bind(SocketAddr::new(PEER_ADDRESS.parse().expect("an address"), 0));
            let alm = WebRtcAlm::new(GroupKind::Reliable, &url, options);
            match create {
                true => alm.create(group, "").await.expect("a new group"),
                false => alm.join(group).await.expect("a group"),
            }
            let (told, files) = watch::channel(Vec::new());
            tokio::spawn(Self::receive(alm.clone(), told));
            let native = Self { alm, files };
            if !create {
                native.is_placed().await;
            }
            native
        })
        .await
    }

    /// Waits until it hangs in the tree.
    async fn is_placed(&self) {
        let waiting = async {
            while self.alm.status().await.is_none_or(|status| status.path.len() < 2) {
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        };
        timeout(SOON, waiting).await.expect("a place in the tree");
    }

    async fn receive(alm: WebRtcAlm, files: watch::Sender<Vec<String>>) {
        let mut file = Vec::new();
        while let Some(event) = alm.next_event().await {
            match event {
                GroupEvent::Message { message: Message::Bytes(bytes), .. } => file.extend_from_slice(&bytes),
                GroupEvent::Message { message: Message::Text(text), .. } if text == "end" => {
                    // Not here: all native nodes share this thread.
                    let whole = std::mem::take(&mut file);
                    let hash = tokio::task::spawn_blocking(move || sha256(&whole)).await.expect("a hash");
                    files.send_modify(|files| files.push(hash));
                }
                GroupEvent::Missed { from, to } => {
                    files.send_modify(|files| files.push(format!("missed {from} to {to}")));
                }
                _ => {}
            }
        }
    }

    async fn cast(alm: WebRtcAlm, bytes: Vec<u8>, piece: usize) {
        alm.multicast("start").await.expect("the owner");
        for piece in bytes.chunks(piece) {
            alm.multicast(piece.to_vec()).await.expect("the owner");
        }
        alm.multicast("end").await.expect("the owner");
    }

    /// So many casts came, each whole.
    async fn has_files(&mut self, count: usize, size: usize) {
        let came = timeout(SOON, self.files.wait_for(|files| files.len() >= count)).await;
        let files = came.map(|files| files.expect("a member").clone());
        let status = self.alm.status().await;
        assert_eq!(files, Ok(vec![sha256(&pattern(SEED, size)); count]), "{status:?}");
    }
}

/// Three pages of Chromium and one of Firefox below a native owner, with native nodes among and below them. One page that
/// delivers to others closes while a file is cast: all others have it whole, none is told that something is missing. Then the owner
/// sees who is left. The file is smaller than a store, so that however long a busy machine takes to heal, all of it is there.
/// `SINNET_SOAK=long` makes it ten native nodes and 15 MB, and says what was measured.
pub(crate) async fn a_file_reaches_pages_and_native_nodes_though_an_interior_page_closes(lab: &mut Lab) {
    let long = std::env::var("SINNET_SOAK").is_ok_and(|soak| soak == "long");
    let (count, size) = if long { (10, 15_000_000) } else { (4, 8_000_000) };
    let site = Site::start(lab).await;
    let firefox =
        Browser::start(lab.net.place(Side::Browser), Kind::Firefox, Privacy::Default).await.expect("Firefox");
    let chromium = lab.browser(Kind::Chromium, Privacy::Default).await;
    // The owner has two places, and the first to come are pages: the native nodes hang below them.
    let owner = Native::start(&site, "mixed", 2, true).await;
    let wide = json!({ "maxDownStreams": 3 });
    let mut pages = Vec::new();
    let mut natives = Vec::new();
    for browser in [chromium, &firefox] {
        pages.push(Member::join(browser, &site, "mixed", wide.clone()).await);
    }
    for at in 0..count {
        natives.push(Native::start(&site, "mixed", 3, false).await);
        if at < 2 {
            pages.push(Member::join(chromium, &site, "mixed", wide.clone()).await);
        }
    }
    #[expect(clippy::disallowed_methods, reason = "a measurement")]
    let began = Instant::now();
    let casting = site.run(Native::cast(owner.alm.clone(), pattern(SEED, size), 16_000));
    let closing = async {
        for at in 0.. {
            let at = at % pages.len();
            let delivers =
                "alm.log.bytes > 500000 && alm.links().some((l) => l.direction === 'down' && l.delivers)";
            if pages[at].visit.ask(delivers).await == json!(true) {
                pages[at].visit.page.close().await;
                return at;
            }
        }
        unreachable!("an endless search")
    };
    let ((), closed) = tokio::join!(casting, closing);
    let took = began.elapsed();
    let closed = pages.remove(closed);
    let mut pauses = Vec::new();
    for page in &pages {
        page.has_files(1, size).await;
        page.is_well().await;
        pauses.push(
            page.visit
                .ask("[alm.id(), alm.log.pause, alm.stats().parentsLost, alm.stats().promotions]")
                .await,
        );
    }
    for native in &mut natives {
        native.has_files(1, size).await;
    }
    if long {
        eprintln!("{size} bytes to {} nodes in {took:?}; node {} closed", count + 3, closed.id);
        eprintln!("pages: [id, longest pause in ms, parents lost, standbys that took over]: {pauses:?}");
        for native in &natives {
            let stats = native
                .alm
                .status()
                .await
                .map(|status| (status.id, status.stats.parents_lost, status.stats.promotions));
            eprintln!("native: (id, parents lost, standbys that took over): {stats:?}");
        }
    }
    let waiting = async {
        loop {
            let tree = owner.alm.tree().await;
            let gone = tree
                .values()
                .all(|entry| entry.report.links.upstreams.iter().all(|id| u64::from(id.0) != closed.id));
            if tree.len() == count + 4 && gone {
                return;
            }
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    };
    if timeout(SOON, waiting).await.is_err() {
        panic!("without node {}: {:#?}", closed.id, owner.alm.tree().await);
    }
}

/// The other way: a page is the owner, of a live group, too; native nodes and a page of the other browser get what it casts.
pub(crate) async fn native_nodes_get_what_a_page_casts(lab: &mut Lab, kind: Kind) {
    const SIZE: usize = 2_000_000;
    let site = Site::start(lab).await;
    let browser = lab.browser(kind, Privacy::Default).await;
    let owner = Member::create(browser, &site, "page's", json!({ "maxDownStreams": 1 })).await;
    let mut natives = Vec::new();
    for _ in 0..2 {
        natives.push(Native::start(&site, "page's", 1, false).await);
    }
    let page = Member::join(browser, &site, "page's", json!({})).await;
    owner.cast(SIZE, 60_000).await;
    for native in &mut natives {
        native.has_files(1, SIZE).await;
    }
    page.has_files(1, SIZE).await;
    // A native node leaves its place between the page that owns the group and the others.
    let first = natives.remove(0);
    first.alm.leave().await;
    owner.cast(SIZE, 60_000).await;
    natives[0].has_files(2, SIZE).await;
    page.has_files(2, SIZE).await;
    page.is_well().await;
    owner.is_well().await;
}
