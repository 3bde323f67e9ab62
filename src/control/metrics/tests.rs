use super::*;
use crate::base::{Distribution, SharedHistogram};
use crate::config::{AdminState, Config};
use crate::control::probe::{Last, ProbeView, Verdict};
use crate::control::reload::Reloads;
use crate::control::room::{Ports, Room};
use crate::control::view::{BackendView, ListenerView, Phase, UpstreamView, WorkerView};
use crate::ring::Time;
use crate::tls::Expiry;
use crate::upstream::Standing;
use crate::upstream::health::{State, Streak};
use crate::worker::Stats;
use std::collections::BTreeSet;
use std::fmt::Write;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

/// A proxy with one listener, one upstream of so many backends, and two workers.
fn view(backends: u16) -> View {
    let mut text =
        "[[listener]]\nname = \"feed\"\nlisten = \"127.0.0.1:9000\"\nupstream = \"feed\"\n\
         [[upstream]]\nname = \"feed\"\n"
            .to_owned();
    for at in 1..=backends {
        writeln!(text, "[[upstream.backend]]\naddress = \"10.0.0.1:{at}\"").unwrap();
    }
    let config = Arc::new(Config::parse(&text, "test.toml").unwrap());
    let now = Time::from_nanos(90_000_000_000);
    View {
        now,
        clock: SystemTime::UNIX_EPOCH + Duration::from_secs(1_000_090),
        started: Time::default(),
        configured: Time::from_nanos(30_000_000_000),
        phase: Phase::Serving,
        open: 3,
        open_max: u64::MAX,
        open_before: 2,
        before: before(),
        workers: (0..2).map(worker).collect(),
        listeners: vec![ListenerView {
            number: 0,
            addresses: Vec::new(),
            connections: 3,
        }],
        upstreams: vec![UpstreamView {
            fingerprint: Some(0xfeed),
            removed_by_admin: Vec::new(),
            backends: (0..backends).map(|_| backend(now)).collect(),
        }],
        room: Room {
            descriptors_used: 20,
            descriptors_limit: 1024,
            memlock_limit: u64::MAX,
            ports: Ports {
                used: 3,
                limit: 28_232,
            },
        },
        certificates: vec![Expiry {
            listener: "feed".into(),
            file: "/a.pem".into(),
            name: "a.example".into(),
            not_before: 0,
            not_after: 4_102_444_800,
            staple_until: None,
        }],
        config,
        reloads: Reloads {
            done: 4,
            refused: 1,
        },
    }
}

/// What a process before this one has counted.
fn before() -> Arc<Stats> {
    let stats = Arc::new(Stats::default());
    stats.listener(0).meter.up.copied.add(1000);
    stats
}

fn worker(cpu: usize) -> WorkerView {
    let stats = Arc::new(Stats::default());
    stats.listener(0).meter.up.copied.add(100);
    stats.listener(0).meter.peeks.add(Duration::from_micros(70));
    WorkerView {
        cpu,
        connections: 2,
        busy: 125,
        stats,
    }
}

fn backend(now: Time) -> BackendView {
    BackendView {
        leaving: None,
        bytes_up: 0,
        bytes_down: 0,
        admin: AdminState::Drain,
        by_admin: Vec::new(),
        standing: Standing::Drain,
        health: State::Up,
        connections: 3,
        connections_total: 17,
        connect_failures_total: 6,
        connect_failures: [1, 2, 3, 4, 5],
        connects: connects(),
        ejections_total: 1,
        probe: Some(ProbeView {
            state: State::Up,
            since: now,
            last: Some(Last {
                verdict: Verdict::Passed,
                duration: Duration::from_micros(420),
                at: now,
            }),
            streak: Streak::Passed(5),
            passed_total: 5,
            failed_total: 2,
        }),
    }
}

fn connects() -> Distribution {
    let histogram = SharedHistogram::default();
    histogram.add(Duration::from_micros(300));
    histogram.read()
}

/// The name of a sample's metric, without what histograms add.
fn family_of(sample: &str) -> Option<&'static Family> {
    let name = |family: &&Family| match family.kind {
        Kind::Counter | Kind::Gauge => sample == family.name,
        Kind::Histogram => {
            let suffix = sample.strip_prefix(family.name);
            suffix.is_some_and(|suffix| ["_bucket", "_sum", "_count"].contains(&suffix))
        }
    };
    families().find(name)
}

#[track_caller]
fn assert_has(page: &str, line: &str) {
    assert!(page.lines().any(|it| it == line), "no {line} in\n{page}");
}

#[test]
fn the_page_says_what_the_view_says() {
    let page = render(&view(1));
    for line in [
        "ringway_connections_active{listener=\"feed\"} 3",
        "ringway_bytes_total{listener=\"feed\",direction=\"up\",relay=\"copy\"} 1200",
        "ringway_peek_seconds_bucket{listener=\"feed\",le=\"0.00005\"} 0",
        "ringway_peek_seconds_bucket{listener=\"feed\",le=\"0.0001\"} 2",
        "ringway_connections_limit +Inf",
        "ringway_tls_certificate_not_after_seconds{listener=\"feed\",certificate=\"/a.pem\",name=\"a.example\"} 4102444800",
        "ringway_backend_up{upstream=\"feed\",backend=\"10.0.0.1:1\"} 1",
        "ringway_backend_state{upstream=\"feed\",backend=\"10.0.0.1:1\",state=\"drain\"} 1",
        "ringway_backend_state{upstream=\"feed\",backend=\"10.0.0.1:1\",state=\"ready\"} 0",
        "ringway_backend_connect_failures_total{upstream=\"feed\",backend=\"10.0.0.1:1\",reason=\"timeout\"} 2",
        "ringway_source_ports_used{upstream=\"feed\",backend=\"10.0.0.1:1\"} 3",
        "ringway_backend_probes_total{upstream=\"feed\",backend=\"10.0.0.1:1\",result=\"failed\"} 2",
        "ringway_backend_probe_seconds{upstream=\"feed\",backend=\"10.0.0.1:1\"} 0.00042",
        "ringway_backend_connect_seconds_count{upstream=\"feed\",backend=\"10.0.0.1:1\"} 1",
        "ringway_hash_fingerprint{upstream=\"feed\",fingerprint=\"000000000000feed\"} 1",
        "ringway_worker_busy_ratio{worker=\"1\"} 0.125",
        "ringway_memlock_limit_bytes +Inf",
        "ringway_fds_used 20",
        "ringway_reloads_total{result=\"refused\"} 1",
        "ringway_draining 0",
        "ringway_ring_io_workers 0",
        "ringway_start_time_seconds 1000000",
        "ringway_config_applied_timestamp_seconds 1000030",
    ] {
        assert_has(&page, line);
    }
}

#[test]
fn every_metric_has_samples_and_every_sample_a_metric() {
    let page = render(&view(2));
    let mut met = BTreeSet::new();
    for line in page.lines().filter(|line| !line.starts_with('#')) {
        let name = line.split(['{', ' ']).next().unwrap();
        let family = family_of(name).unwrap_or_else(|| panic!("{line}"));
        met.insert(family.name);
    }
    let all: BTreeSet<_> = families().map(|family| family.name).collect();
    assert_eq!(met, all);
}

#[test]
fn names_are_as_prometheus_wants_them() {
    for family in families() {
        let Family { name, kind, .. } = family;
        let ours = name.starts_with("ringway_") || name.starts_with("process_");
        assert!(ours, "{name}");
        assert_eq!(name.ends_with("_total"), *kind == Kind::Counter, "{name}");
        let seconds = name.ends_with("_seconds");
        assert!(seconds || *kind != Kind::Histogram, "{name}");
        assert!(family.help.ends_with('.'), "{name}: {}", family.help);
        let times = families().filter(|other| other.name == *name).count();
        assert_eq!(times, 1, "{name}");
    }
}

#[test]
fn a_hostile_name_stays_in_its_label() {
    let mut view = view(1);
    let mut config = Config::clone(&view.config);
    config.upstreams[0].backends[0].name = "x\"} 1\nringway_fds_limit 0".into();
    view.config = Arc::new(config);
    let page = render(&view);
    assert_has(&page, "ringway_fds_limit 1024");
    assert!(!page.lines().any(|line| line == "ringway_fds_limit 0"));
}

#[test]
fn two_boxes_with_the_same_configuration_have_the_same_fingerprint() {
    let fingerprint = |backends| {
        let page = render(&view(backends));
        let found = page
            .lines()
            .find(|it| it.starts_with("ringway_config_fingerprint{"));
        found.map(ToOwned::to_owned)
    };
    assert!(fingerprint(2).is_some());
    assert_eq!(fingerprint(2), fingerprint(2));
    assert_ne!(fingerprint(2), fingerprint(3));
}

/// A row of docs/metrics.md.
fn row(family: &Family) -> String {
    let Family {
        name,
        kind,
        labels,
        help,
        ..
    } = family;
    let labels: Vec<_> = labels.iter().map(|label| format!("`{label}`")).collect();
    format!(
        "| `{name}` | {} | {} | {help} |",
        kind.word(),
        labels.join(", ")
    )
}

#[test]
fn the_documentation_has_every_metric_and_no_other() {
    let document = include_str!("../../../docs/metrics.md");
    let is_row = |line: &&str| line.starts_with("| `ringway_") || line.starts_with("| `process_");
    let documented: BTreeSet<_> = document
        .lines()
        .filter(is_row)
        .map(ToOwned::to_owned)
        .collect();
    let rows: BTreeSet<_> = families().map(row).collect();
    let missing: Vec<_> = rows.difference(&documented).collect();
    let surplus: Vec<_> = documented.difference(&rows).collect();
    assert!(
        missing.is_empty() && surplus.is_empty(),
        "missing: {missing:#?}\nsurplus: {surplus:#?}"
    );
}

/// Every name of ours that a text mentions.
fn mentioned(text: &str) -> BTreeSet<&str> {
    let words = text.split(|c: char| !c.is_ascii_alphanumeric() && c != '_');
    words
        .filter(|word| word.starts_with("ringway_") || word.starts_with("process_"))
        .collect()
}

#[test]
fn the_dashboard_and_the_alerts_ask_for_metrics_that_there_are() {
    let texts = [
        include_str!("../../../docs/monitoring/grafana.json"),
        include_str!("../../../docs/monitoring/alerts.yaml"),
    ];
    for text in texts {
        let names = mentioned(text);
        assert!(names.len() > 10, "{names:?}");
        for name in names {
            assert!(family_of(name).is_some(), "there is no {name}");
        }
    }
}

#[test]
fn the_dashboard_is_json_whose_panels_all_ask_for_something() {
    let text = include_str!("../../../docs/monitoring/grafana.json");
    let dashboard: serde_json::Value = serde_json::from_str(text).unwrap();
    let panels = dashboard["panels"].as_array().unwrap();
    let is_chart = |panel: &&serde_json::Value| panel["type"] != "row";
    let charts: Vec<_> = panels.iter().filter(is_chart).collect();
    assert!(charts.len() >= 15);
    for chart in charts {
        let asked = chart["targets"].as_array().unwrap();
        let told = asked
            .iter()
            .all(|it| !mentioned(it["expr"].as_str().unwrap()).is_empty());
        assert!(!asked.is_empty() && told, "{}", chart["title"]);
    }
}
