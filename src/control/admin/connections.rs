//! `/connections`: who is there, and away with one of them.

use super::reply::{self, Reply};
use super::routes::Query;
use crate::control::Proxy;
use crate::upstream::Member;
use crate::worker::{Listed, Wanted};
use hyper::StatusCode;
use serde::Serialize;
use std::net::SocketAddr;
use std::time::Duration;

/// Shown unless more are asked for.
const LIMIT: usize = 100;

/// The most that are shown: about 4 MB of JSON.
const LIMIT_MAX: usize = 10_000;

#[derive(Serialize)]
struct Connections<'a> {
    connections: Vec<Connection<'a>>,
    /// Open, whether shown or not.
    open: u64,
    /// Workers that did not answer in time: theirs are missing.
    silent_workers: usize,
}

#[derive(Serialize)]
struct Connection<'a> {
    id: u64,
    client: SocketAddr,
    listener: &'a str,
    upstream: Option<&'a str>,
    backend: Option<&'a str>,
    phase: &'static str,
    age_seconds: f64,
    idle_seconds: f64,
    bytes_up: u64,
    bytes_down: u64,
    relay: Option<&'static str>,
}

/// Open connections: as many as are wanted, whichever are found first, the oldest of these first.
pub(super) async fn list(proxy: &Proxy, query: &Query<'_>) -> Reply {
    let wanted = match wanted(query) {
        Ok(wanted) => wanted,
        Err(message) => return reply::error(StatusCode::BAD_REQUEST, &message),
    };
    let (listed, silent_workers) = proxy.list(&wanted).await;
    reply::json(&Connections {
        connections: listed.iter().map(shown).collect(),
        open: proxy.open(),
        silent_workers,
    })
}

/// Closes one.
pub(super) async fn kill(proxy: &Proxy, id: &str) -> Reply {
    let Ok(number) = id.parse() else {
        let message = "the id is not a number; /connections and the access log have them";
        return reply::error(StatusCode::BAD_REQUEST, message);
    };
    if proxy.kill(number).await {
        tracing::info!(id = number, "admin: connection closed");
        reply::json(&serde_json::json!({ "done": format!("connection {number} is closed") }))
    } else {
        let message = format!("no connection {number}: it may have ended");
        reply::error(StatusCode::NOT_FOUND, &message)
    }
}

fn wanted(query: &Query<'_>) -> Result<Wanted, String> {
    let limit = match query.get("limit") {
        None => LIMIT,
        Some(limit) => limit
            .parse()
            .ok()
            .filter(|limit| (1..=LIMIT_MAX).contains(limit))
            .ok_or_else(|| format!("limit: write an integer from 1 to {LIMIT_MAX}"))?,
    };
    let owned = |name| query.get(name).map(std::borrow::Cow::into_owned);
    Ok(Wanted {
        limit,
        upstream: owned("upstream"),
        backend: owned("backend"),
    })
}

fn shown(listed: &Listed) -> Connection<'_> {
    let glance = &listed.glance;
    Connection {
        id: listed.id,
        client: listed.client,
        listener: &listed.listener.name,
        upstream: listed.upstream.as_deref(),
        backend: listed.backend.as_deref().map(Member::name),
        phase: glance.phase.word(),
        age_seconds: seconds(listed.age),
        idle_seconds: seconds(glance.idle),
        bytes_up: glance.up.total(),
        bytes_down: glance.down.total(),
        relay: glance.relay(),
    }
}

/// Whole milliseconds.
pub(super) fn seconds(duration: Duration) -> f64 {
    Duration::from_millis(u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)).as_secs_f64()
}
