//! What is where, and what every answer has in common.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};

use axum::Router;
use axum::body::Bytes;
use axum::extract::{Extension, Request, State};
use axum::http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header};
use axum::middleware::{Next, from_fn_with_state};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use serde_json::{Value, json};
use tracing::debug;

use super::metrics::Refusal;
use super::{Backends, Metrics, Place, Shared, files, now, origin, ws};
use crate::hub::ListedGroup;
use crate::rate::Bucket;

/// The page needs nothing from anywhere else, and may get nothing. `data:` is its icon.
const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; img-src data:; connect-src 'self'; \
                      base-uri 'none'; form-action 'none'; frame-ancestors 'none'";

/// Lists of groups that are written at once, while it is quiet.
const LISTINGS: u32 = 16;

pub(super) fn router(shared: Arc<Shared>) -> Router {
    Router::new()
        .route("/peer", get(ws::visit))
        .route("/alm", get(ws::alm))
        .route("/ws", get(ws::alm))
        .route("/p2p", get(ws::p2p))
        .route("/api/groups", get(groups))
        .route("/api/list", get(list))
        .route("/health", get(health))
        .route("/metrics", get(metrics))
        .merge(files::routes())
        .layer(from_fn_with_state(shared.clone(), guard))
        .with_state(shared)
}

async fn groups(State(shared): State<Arc<Shared>>) -> Response {
    as_json(shared.listing.get(&shared).0)
}

async fn list(State(shared): State<Arc<Shared>>) -> Response {
    as_json(shared.listing.get(&shared).1)
}

/// The lists of groups. They may have megabytes: so they are written twice a second at most, but for the first few times, and all
/// that ask get the same.
pub(super) struct Listing(Mutex<Written>);

struct Written {
    pace: Bucket,
    groups: Bytes,
    list: Bytes,
}

impl Listing {
    pub(super) fn new() -> Self {
        let pace = Bucket::full(now(), LISTINGS);
        Self(Mutex::new(Written { pace, groups: Bytes::new(), list: Bytes::new() }))
    }

    /// In our words, and in those of the original.
    fn get(&self, shared: &Shared) -> (Bytes, Bytes) {
        let mut written = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if written.pace.take(now(), 2, LISTINGS) {
            let groups = shared.backends.alm.groups();
            let ours = |group: &ListedGroup| {
                let ListedGroup { id, name, description } = group;
                json!({"id": id, "name": name, "description": description})
            };
            let original =
                |group: &ListedGroup| json!({"g": group.id, "n": group.name, "d": group.description});
            written.groups = groups.iter().map(ours).collect::<Value>().to_string().into();
            written.list = groups.iter().map(original).collect::<Value>().to_string().into();
        }
        (written.groups.clone(), written.list.clone())
    }
}

/// Whether a balancer may send clients here.
async fn health(State(shared): State<Arc<Shared>>) -> Response {
    match *shared.down.borrow() {
        false => "ok\n".into_response(),
        true => (StatusCode::SERVICE_UNAVAILABLE, "going down\n").into_response(),
    }
}

async fn metrics(State(shared): State<Arc<Shared>>, Extension(remote): Extension<SocketAddr>) -> Response {
    let may = match shared.config.metrics {
        Metrics::All => true,
        Metrics::Loopback => remote.ip().to_canonical().is_loopback(),
        Metrics::Off => false,
    };
    if !may {
        return StatusCode::NOT_FOUND.into_response();
    }
    let taken = shared.config.max_connections.saturating_sub(shared.places.available_permits());
    let Backends { alm, p2p } = &shared.backends;
    let text = shared.counters.text(taken as u64, [("alm", alm.as_ref()), ("p2p", p2p.as_ref())]);
    ([(header::CONTENT_TYPE, "text/plain; version=0.0.4; charset=utf-8")], text).into_response()
}

fn as_json(text: Bytes) -> Response {
    ([(header::CONTENT_TYPE, "application/json")], text).into_response()
}

/// Refuses who asks too much and hosts that are not ours, and sets the headers that every answer has.
async fn guard(
    State(shared): State<Arc<Shared>>,
    Extension(place): Extension<Arc<Place>>,
    request: Request,
    next: Next,
) -> Response {
    let mut response = match host(request.headers()) {
        _ if !place.admit() => {
            (StatusCode::TOO_MANY_REQUESTS, "too much from your address\n").into_response()
        }
        None => (StatusCode::BAD_REQUEST, "one Host header is needed\n").into_response(),
        Some(name) if !origin::host_is_allowed(name, &shared.config.allowed_hosts) => {
            debug!(host = name, "refused a request for a foreign host");
            shared.counters.refused(Refusal::Host);
            let text =
                "This server does not answer to this name. Use its address, or start it with --allow-host.\n";
            (StatusCode::MISDIRECTED_REQUEST, text).into_response()
        }
        Some(_) => next.run(request).await,
    };
    let headers = response.headers_mut();
    let mut set = |name: HeaderName, value| headers.insert(name, HeaderValue::from_static(value));
    set(header::CONTENT_SECURITY_POLICY, POLICY);
    set(header::X_CONTENT_TYPE_OPTIONS, "nosniff");
    set(header::REFERRER_POLICY, "no-referrer");
    set(header::CACHE_CONTROL, "no-cache");
    response
}

/// The one `Host` of a request.
pub(super) fn host(headers: &HeaderMap) -> Option<&str> {
    let mut hosts = headers.get_all(header::HOST).iter();
    match (hosts.next(), hosts.next()) {
        (Some(host), None) => host.to_str().ok(),
        _ => None,
    }
}
