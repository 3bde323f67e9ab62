//! `/upstreams`: backends in the shapes of nginx_upstream_check_module's status page, so that what reads that one can read
//! this. `rise` and `fall` are probes in a row, as there.

use super::reply::{self, Reply};
use super::routes::Query;
use crate::config::{self, Address, Probe};
use crate::control::view::{BackendView, View};
use crate::upstream::health::{State, Streak};
use hyper::StatusCode;
use serde::Serialize;
use std::fmt::Write;
use std::num::NonZeroU16;

/// A row of any of the shapes.
#[derive(Serialize)]
struct Row<'a> {
    index: usize,
    upstream: &'a str,
    name: String,
    status: &'static str,
    rise: u64,
    fall: u64,
    #[serde(rename = "type")]
    probe_type: &'static str,
    port: u16,
}

#[derive(Serialize)]
struct Page<'a> {
    servers: Servers<'a>,
}

#[derive(Serialize)]
struct Servers<'a> {
    total: usize,
    /// How often the configuration was read and taken: once at the start, and by each reload since.
    generation: u64,
    server: Vec<Row<'a>>,
}

/// The page in the shape that is asked for; html unless another is.
pub(super) fn page(view: &View, query: &Query<'_>) -> Reply {
    let wanted = match query.get("status").as_deref() {
        None => None,
        Some("up") => Some(State::Up),
        Some("down") => Some(State::Down),
        Some(_) => return wrong("status: write up or down"),
    };
    let rows: Vec<_> = view
        .backends()
        .enumerate()
        .filter(|(_, (_, _, seen))| wanted.is_none_or(|wanted| seen.health == wanted))
        .map(row)
        .collect();
    let generation = 1 + view.reloads.done;
    match query.get("format").as_deref() {
        None | Some("html") => reply::reply(StatusCode::OK, reply::HTML, html(generation, &rows)),
        Some("csv") => reply::reply(StatusCode::OK, reply::CSV, csv(&rows)),
        Some("json") => reply::json(&json(generation, rows)),
        Some(_) => wrong("format: write html, csv or json"),
    }
}

fn wrong(message: &str) -> Reply {
    reply::error(StatusCode::BAD_REQUEST, message)
}

fn row<'a>(
    (index, (upstream, backend, seen)): (
        usize,
        (&'a config::Upstream, &config::Backend, &BackendView),
    ),
) -> Row<'a> {
    let streak = seen.probe.as_ref().map(|probe| probe.streak);
    let (rise, fall) = match streak.unwrap_or_default() {
        Streak::None => (0, 0),
        Streak::Passed(count) => (count, 0),
        Streak::Failed(count) => (0, count),
    };
    let probe = upstream.probe.as_ref();
    Row {
        index,
        upstream: &upstream.name,
        name: backend.address.to_string(),
        status: seen.health.word(),
        rise,
        fall,
        probe_type: probe.map_or("", |probe| probe.exchange.probe_type().word()),
        port: probe.map_or(0, |probe| port(probe, &backend.address)),
    }
}

/// Where the probe connects; 0 where only the resolver knows.
fn port(probe: &Probe, address: &Address) -> u16 {
    let of_backend = match address {
        Address::Socket(address) => address.port(),
        Address::Name { port, .. } => *port,
        Address::Srv(_) => 0,
    };
    probe.port.map_or(of_backend, NonZeroU16::get)
}

fn json(generation: u64, server: Vec<Row<'_>>) -> Page<'_> {
    let servers = Servers {
        total: server.len(),
        generation,
        server,
    };
    Page { servers }
}

/// No header, as there.
fn csv(rows: &[Row<'_>]) -> String {
    let mut out = String::new();
    for row in rows {
        let Row {
            index,
            upstream,
            name,
            status,
            rise,
            fall,
            probe_type,
            port,
        } = row;
        // Names have no commas and no quotes: the configuration sees to that.
        writeln!(
            out,
            "{index},{upstream},{name},{status},{rise},{fall},{probe_type},{port}"
        )
        .expect("a String takes all");
    }
    out
}

fn html(generation: u64, rows: &[Row<'_>]) -> String {
    let down = rows.iter().filter(|row| row.status == "down").count();
    let mut out = format!(
        "<!DOCTYPE html>\n<html>\n<head>\n  <title>ringway upstream check status</title>\n</head>\n<body>\n\
         <h1>ringway upstream check status</h1>\n\
         <h2>Check upstream server number: {}, generation: {generation}</h2>\n<p>down: {down}</p>\n\
         <table border=\"1\">\n<tr><th>Index</th><th>Upstream</th><th>Name</th><th>Status</th>\
         <th>Rise counts</th><th>Fall counts</th><th>Check type</th><th>Check port</th></tr>\n",
        rows.len()
    );
    for row in rows {
        let colour = if row.status == "down" {
            " bgcolor=\"#FF0000\""
        } else {
            ""
        };
        let cells = [
            row.index.to_string(),
            escaped(row.upstream),
            escaped(&row.name),
            row.status.to_owned(),
            row.rise.to_string(),
            row.fall.to_string(),
            row.probe_type.to_owned(),
            row.port.to_string(),
        ];
        let cells: String = cells
            .iter()
            .map(|cell| format!("<td>{cell}</td>"))
            .collect();
        writeln!(out, "<tr{colour}>{cells}</tr>").expect("a String takes all");
    }
    out.push_str("</table>\n</body>\n</html>\n");
    out
}

fn escaped(text: &str) -> String {
    text.replace('&', "&amp;")
        .replace('<', "&lt;")
        .replace('>', "&gt;")
        .replace('"', "&quot;")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rows() -> Vec<Row<'static>> {
        let row = |index, upstream, status, rise, fall| Row {
            index,
            upstream,
            name: "10.0.0.1:80".into(),
            status,
            rise,
            fall,
            probe_type: "http",
            port: 80,
        };
        vec![row(0, "backend", "up", 46, 0), row(1, "<b>&", "down", 0, 3)]
    }

    #[test]
    fn csv_rows_are_those_of_the_module() {
        let expected =
            "0,backend,10.0.0.1:80,up,46,0,http,80\n1,<b>&,10.0.0.1:80,down,0,3,http,80\n";
        assert_eq!(csv(&rows()), expected);
    }

    #[test]
    fn json_has_the_names_of_the_module() {
        let page = serde_json::to_value(json(3, rows())).unwrap();
        assert_eq!(page["servers"]["total"], 2);
        let expected = serde_json::json!({
            "index": 0, "upstream": "backend", "name": "10.0.0.1:80", "status": "up",
            "rise": 46, "fall": 0, "type": "http", "port": 80
        });
        assert_eq!(page["servers"]["server"][0], expected);
    }

    #[test]
    fn html_marks_what_is_down_and_escapes_names() {
        let page = html(1, &rows());
        assert!(page.contains("server number: 2, generation: 1"));
        assert!(page.contains("<tr bgcolor=\"#FF0000\"><td>1</td><td>&lt;b&gt;&amp;</td>"));
        assert!(page.contains("<tr><td>0</td><td>backend</td>"));
    }
}
