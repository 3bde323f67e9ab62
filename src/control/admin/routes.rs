//! Which request asks for what. One table: it answers, it says which methods a path has, and `docs/admin.md` is held to it.

use super::access::{Access, Peer};
use super::reply::{self, Reply};
use super::{change, connections, status, upstreams};
use crate::config::AdminState;
use crate::control::command::{Command, Commands};
use crate::control::history::History;
use crate::control::view::View;
use crate::control::{Proxy, metrics, status_page};
use crate::upstream::health::State;
use hyper::body::Incoming;
use hyper::header::{self, HeaderValue};
use hyper::{Method, Request, StatusCode};
use std::borrow::Cow;

/// What a path and a method ask for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Ask {
    Healthz,
    Readyz,
    Metrics,
    Page,
    Status,
    History,
    Upstreams,
    Connections,
    Config,
    Drain,
    Undrain,
    Reload,
    AddBackend,
    ChangeBackend,
    RemoveBackend,
    Kill,
}

/// A path, where `{…}` is any one segment, with the methods that it has.
struct Route {
    path: &'static str,
    methods: &'static [(Method, Ask)],
}

const fn route(path: &'static str, methods: &'static [(Method, Ask)]) -> Route {
    Route { path, methods }
}

const ROUTES: &[Route] = &[
    route("/healthz", &[(Method::GET, Ask::Healthz)]),
    route("/readyz", &[(Method::GET, Ask::Readyz)]),
    route("/metrics", &[(Method::GET, Ask::Metrics)]),
    route("/", &[(Method::GET, Ask::Page)]),
    route("/status", &[(Method::GET, Ask::Page)]),
    route("/status.json", &[(Method::GET, Ask::Status)]),
    route("/history.json", &[(Method::GET, Ask::History)]),
    route("/upstreams", &[(Method::GET, Ask::Upstreams)]),
    route("/connections", &[(Method::GET, Ask::Connections)]),
    route("/config", &[(Method::GET, Ask::Config)]),
    route("/drain", &[(Method::POST, Ask::Drain)]),
    route("/undrain", &[(Method::POST, Ask::Undrain)]),
    route("/reload", &[(Method::POST, Ask::Reload)]),
    route(
        "/upstreams/{upstream}/backends",
        &[(Method::POST, Ask::AddBackend)],
    ),
    route(
        "/upstreams/{upstream}/backends/{backend}",
        &[
            (Method::POST, Ask::ChangeBackend),
            (Method::DELETE, Ask::RemoveBackend),
        ],
    ),
    route("/connections/{id}", &[(Method::DELETE, Ask::Kill)]),
];

/// What an answer is made from.
pub(super) struct Desk<'a> {
    pub(super) proxy: &'a Proxy,
    pub(super) history: &'a History,
    pub(super) orders: &'a Commands,
    pub(super) access: &'a Access,
}

impl Desk<'_> {
    /// Answers one request.
    pub(super) async fn answer(&self, request: Request<Incoming>, peer: Peer) -> Reply {
        let path = request.uri().path().to_owned();
        let Some((route, parts)) = find(&path) else {
            return unknown_path(&path);
        };
        // A client that asks for the head alone gets that of the same answer; hyper leaves the rest away.
        let method = match request.method() {
            &Method::HEAD => &Method::GET,
            method => method,
        };
        let Some((_, ask)) = route.methods.iter().find(|(has, _)| has == method) else {
            return wrong_method(route, method);
        };
        if *method != Method::GET
            && let Err(denial) = self.access.check(peer, request.headers())
        {
            tracing::warn!(%method, path, ?peer, ?denial, "admin: change denied");
            return denial.into();
        }
        self.carry_out(*ask, &parts, request).await
    }

    async fn carry_out(&self, ask: Ask, parts: &[String], request: Request<Incoming>) -> Reply {
        let query = request.uri().query().unwrap_or_default().to_owned();
        let query = Query(&query);
        match ask {
            Ask::Healthz => healthz(self.proxy),
            Ask::Readyz => readyz(&self.proxy.view()),
            Ask::Metrics => {
                let text = metrics::render(&self.proxy.view());
                reply::reply(StatusCode::OK, metrics::CONTENT_TYPE, text)
            }
            Ask::Page => page(),
            Ask::Status => reply::json(&status::of(&self.proxy.view())),
            Ask::History => reply::json(&status::history(self.history)),
            Ask::Upstreams => upstreams::page(&self.proxy.view(), &query),
            Ask::Connections => connections::list(self.proxy, &query).await,
            Ask::Config => config(&self.proxy.view()),
            Ask::Drain => self.order(Command::Drain).await,
            Ask::Undrain => self.order(Command::Undrain).await,
            Ask::Reload => self.order(Command::Reload).await,
            Ask::AddBackend => self.change(change::add_backend(parts, request).await).await,
            Ask::ChangeBackend => {
                let commands = match change::of_backend(parts, request).await {
                    Ok(commands) => commands,
                    Err(reply) => return reply,
                };
                self.order_all(commands).await
            }
            Ask::RemoveBackend => {
                let command = change::remove_backend(parts, &query);
                let wrong = |message: String| reply::error(StatusCode::BAD_REQUEST, &message);
                self.change(command.map_err(wrong)).await
            }
            Ask::Kill => connections::kill(self.proxy, &parts[0]).await,
        }
    }

    async fn change(&self, command: Result<Command, Reply>) -> Reply {
        match command {
            Ok(command) => self.order(command).await,
            Err(reply) => reply,
        }
    }

    async fn order(&self, command: Command) -> Reply {
        self.order_all(vec![command]).await
    }

    /// One after the other, up to the first that is refused.
    async fn order_all(&self, commands: Vec<Command>) -> Reply {
        let mut done = Vec::new();
        for command in commands {
            match self.orders.give(command).await {
                Ok(sentence) => done.push(sentence),
                Err(refusal) => return refusal.into(),
            }
        }
        reply::json(&serde_json::json!({ "done": done.join("; ") }))
    }
}

/// The parameters of a request, percent-decoded.
pub(super) struct Query<'a>(&'a str);

impl Query<'_> {
    /// The first value of this name; none when it is empty.
    pub(super) fn get(&self, name: &str) -> Option<Cow<'_, str>> {
        let mut pairs = form_urlencoded::parse(self.0.as_bytes());
        let value = pairs.find(|(key, _)| key == name)?.1;
        (!value.is_empty()).then_some(value)
    }
}

/// The route of a path, and what its `{…}` segments are, percent-decoded.
fn find(path: &str) -> Option<(&'static Route, Vec<String>)> {
    ROUTES
        .iter()
        .find_map(|route| Some((route, matched(route.path, path)?)))
}

fn matched(pattern: &str, path: &str) -> Option<Vec<String>> {
    let (mut wanted, mut given) = (pattern.split('/'), path.split('/'));
    let mut parts = Vec::new();
    loop {
        match (wanted.next(), given.next()) {
            (None, None) => return Some(parts),
            (Some(wanted), Some(given)) if wanted.starts_with('{') && !given.is_empty() => {
                let decoded = percent_encoding::percent_decode_str(given).decode_utf8();
                parts.push(decoded.ok()?.into_owned());
            }
            (Some(wanted), Some(given)) if wanted == given => {}
            (Some(_) | None, Some(_)) | (Some(_), None) => return None,
        }
    }
}

fn unknown_path(path: &str) -> Reply {
    let routes: Vec<_> = documented().collect();
    let routes: Vec<_> = routes.iter().map(String::as_str).collect();
    let shown: String = path.chars().take(100).collect();
    let message = format!("no route {shown}; see routes");
    reply::error_with(StatusCode::NOT_FOUND, &message, &routes)
}

fn wrong_method(route: &Route, method: &Method) -> Reply {
    let mut allowed: Vec<_> = route.methods.iter().map(|(has, _)| has.as_str()).collect();
    if allowed.contains(&"GET") {
        allowed.push("HEAD");
    }
    let allowed = allowed.join(", ");
    let message = format!("{} has no {method}; it takes {allowed}", route.path);
    let mut reply = reply::error(StatusCode::METHOD_NOT_ALLOWED, &message);
    let allowed = HeaderValue::from_str(&allowed).expect("names of methods");
    reply.headers_mut().insert(header::ALLOW, allowed);
    reply
}

/// `METHOD /path` of everything that is answered.
fn documented() -> impl Iterator<Item = String> {
    ROUTES.iter().flat_map(|route| {
        let methods = route.methods.iter();
        methods.map(|(method, _)| format!("{method} {}", route.path))
    })
}

fn healthz(proxy: &Proxy) -> Reply {
    if proxy.alive() {
        reply::reply(StatusCode::OK, reply::TEXT, "ok\n")
    } else {
        let message = "a worker does not turn; the log says which\n";
        reply::reply(StatusCode::SERVICE_UNAVAILABLE, reply::TEXT, message)
    }
}

fn readyz(view: &View) -> Reply {
    match unready(view) {
        None => reply::reply(StatusCode::OK, reply::TEXT, "ok\n"),
        Some(reason) => {
            let reason = format!("{reason}\n");
            reply::reply(StatusCode::SERVICE_UNAVAILABLE, reply::TEXT, reason)
        }
    }
}

/// Why clients had better go elsewhere. A backend that is full counts as usable: readiness that went with the load would
/// send everybody to the next machine, and fill that.
fn unready(view: &View) -> Option<String> {
    if view.phase.is_draining() {
        return Some("draining".to_owned());
    }
    let (upstream, _) = view.upstreams().find(|(_, seen)| {
        let is_usable = |admin, health| admin == AdminState::Ready && health == State::Up;
        let mut backends = seen.backends.iter();
        !backends.any(|backend| is_usable(backend.admin, backend.health))
    })?;
    Some(format!("upstream {} has no usable backend", upstream.name))
}

fn page() -> Reply {
    let mut reply = reply::reply(StatusCode::OK, reply::HTML, status_page::PAGE);
    let policy = HeaderValue::from_static(status_page::POLICY);
    reply
        .headers_mut()
        .insert(header::CONTENT_SECURITY_POLICY, policy);
    reply
}

fn config(view: &View) -> Reply {
    reply::reply(StatusCode::OK, reply::TOML, view.config.to_toml())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_documentation_has_every_route_and_no_other() {
        let page = include_str!("../../../docs/admin.md");
        let rows = page.lines().filter_map(|line| line.strip_prefix("| `"));
        let described = |row: &str| {
            let (route, _) = row.split_once('`')?;
            let (method, path) = route.split_once(' ')?;
            let path = path.split('?').next()?;
            Some(format!("{method} {path}"))
        };
        let described: Vec<_> = rows.filter_map(described).collect();
        assert_eq!(described, documented().collect::<Vec<_>>());
    }

    #[test]
    fn segments_are_decoded_and_none_is_empty() {
        let parts = |path| find(path).map(|(route, parts)| (route.path, parts));
        let (path, names) = parts("/upstreams/a%20b/backends/%5B::1%5D:80").unwrap();
        assert_eq!(path, "/upstreams/{upstream}/backends/{backend}");
        assert_eq!(names, ["a b", "[::1]:80"]);
        assert!(parts("/upstreams//backends/x").is_none());
        assert!(parts("/upstreams/a/backends/b/c").is_none());
        assert!(parts("/connections/%ff").is_none());
        assert!(parts("/status.json/").is_none());
    }

    #[test]
    fn the_first_value_of_a_parameter_counts_and_an_empty_one_is_none() {
        let query = Query("format=csv&format=html&status=&upstream=a%2Bb+c");
        assert_eq!(query.get("format").as_deref(), Some("csv"));
        assert_eq!(query.get("status"), None);
        assert_eq!(query.get("upstream").as_deref(), Some("a+b c"));
        assert_eq!(query.get("limit"), None);
    }
}
