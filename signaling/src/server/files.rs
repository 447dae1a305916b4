//! The files of `web/`, which are part of the binary.

use std::sync::Arc;

use axum::Router;
use axum::http::header;
use axum::routing::get;

use super::Shared;

macro_rules! files {
    ($($path:literal),* $(,)?) => {
        &[$((concat!("/", $path), include_str!(concat!("../../../web/", $path)))),*]
    };
}

/// Path and content.
const FILES: &[(&str, &str)] = files![
    // The page of groups.
    "index.html",
    "style.css",
    "page/page.css",
    "page/chat.js",
    "page/file-rows.js",
    "page/files.js",
    "page/layout.js",
    "page/links.js",
    "page/lobby.js",
    "page/main.js",
    "page/mesh-room.js",
    "page/room-view.js",
    "page/text.js",
    "page/tree-room.js",
    "page/tree-view.js",
    // The page that connects with the server's own peer.
    "peer.html",
    "peer/app.js",
    "peer/files.js",
    "peer/peer.js",
    // Of both.
    "facts.js",
    "sha256.js",
    // Groups with a distribution tree, for these pages and others.
    "sinnet-alm.js",
    "sinnet-alm.d.ts",
    "alm/clock.js",
    "alm/config.js",
    "alm/connection.js",
    "alm/control.js",
    "alm/forward.js",
    "alm/frame.js",
    "alm/join.js",
    "alm/link.js",
    "alm/member.js",
    "alm/membership.js",
    "alm/node.js",
    "alm/reader.js",
    "alm/repair.js",
    "alm/sequence.js",
    "alm/signaling.js",
    "alm/store.js",
    "alm/ticker.js",
    "alm/tree.js",
    // Groups in which everybody is connected with everybody.
    "sinnet-p2p.js",
    "sinnet-p2p.d.ts",
    "p2p/link.js",
    "p2p/members.js",
    "p2p/rpc.js",
];

/// The routes of all files; `/` is `index.html`.
pub(super) fn routes() -> Router<Arc<Shared>> {
    let index = FILES.iter().filter(|(path, _)| *path == "/index.html").map(|(_, content)| ("/", *content));
    FILES.iter().copied().chain(index).fold(Router::new(), |router, (path, content)| {
        let answer = ([(header::CONTENT_TYPE, media_type(path))], content);
        router.route(path, get(move || async move { answer }))
    })
}

fn media_type(path: &str) -> &'static str {
    match path.rsplit_once('.') {
        Some((_, "js")) => "text/javascript; charset=utf-8",
        Some((_, "css")) => "text/css; charset=utf-8",
        Some((_, "ts")) => "text/plain; charset=utf-8",
        _ => "text/html; charset=utf-8",
    }
}
