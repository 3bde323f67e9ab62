//! What can be changed while it runs.

use crate::support::{Backend, Peer, Setup, wait};
use nix::sys::signal::Signal;
use serde_json::{Value, json};
use std::time::Duration;

fn start(lines: &[&str]) -> (Backend, crate::support::Proxy) {
    let backend = Backend::echo();
    let setup = Setup::before(&backend).admin();
    let setup = lines.iter().fold(setup, |setup, line| setup.process(line));
    let proxy = setup.start();
    (backend, proxy)
}

fn is_refused(proxy: &crate::support::Proxy) -> bool {
    Peer::try_connect(proxy.address()).is_err()
}

#[test]
fn a_drain_ends_clients_evenly_and_undrain_takes_new_ones_at_the_same_address() {
    let (_backend, proxy) = start(&["drain_over = \"1s\""]);
    let admin = proxy.admin();
    let clients: Vec<_> = (0..10).map(|_| proxy.connect()).collect();
    for client in &clients {
        client.send(b"x");
        client.expect(b"x");
    }
    assert_eq!(
        admin.post("/drain", "").json(),
        json!({ "done": "draining" })
    );
    assert_eq!(admin.get("/readyz").status, 503);
    assert_eq!(admin.status()["draining"], true);
    wait::until("the listener is closed", || is_refused(&proxy));
    wait::until("everybody has left", || admin.status()["connections"] == 0);
    assert!(
        proxy
            .access()
            .iter()
            .all(|line| line.end().0.starts_with("drain/"))
    );
    assert_eq!(admin.status()["phase"], "draining", "the process stays");
    assert_eq!(admin.post("/undrain", "").status, 200);
    let client = proxy.connect();
    client.send(b"back");
    client.expect(b"back");
    assert_eq!(admin.get("/readyz").status, 200);
    assert_eq!(proxy.terminate().code, Some(0));
}

#[test]
fn undrain_keeps_those_who_were_not_yet_asked_to_leave() {
    let (_backend, proxy) = start(&["drain_over = \"10m\"", "drain_deadline = \"20m\""]);
    let admin = proxy.admin();
    let clients: Vec<_> = (0..4).map(|_| proxy.connect()).collect();
    for client in &clients {
        client.send(b"x");
        client.expect(b"x");
    }
    admin.post("/drain", "");
    wait::until("the first has left", || admin.status()["connections"] == 3);
    assert_eq!(admin.post("/undrain", "").status, 200);
    let stays = |client: &&Peer| client.try_send(b"y").is_ok();
    assert!(clients.iter().filter(stays).count() >= 3);
    assert_eq!(admin.status()["connections"], 3);
    let _fourth = proxy.connect();
    wait::until("a fourth is there", || admin.status()["connections"] == 4);
}

#[test]
fn the_delay_of_a_drain_still_takes_clients_while_readiness_fails() {
    let (_backend, proxy) = start(&["drain_delay = \"10m\""]);
    let admin = proxy.admin();
    admin.post("/drain", "");
    assert_eq!(admin.get("/readyz").body, "draining\n");
    assert_eq!(admin.status()["phase"], "leaving");
    let client = proxy.connect();
    client.send(b"still");
    client.expect(b"still");
    admin.post("/undrain", "");
    assert_eq!(admin.get("/readyz").status, 200);
    client.send(b"and");
    client.expect(b"and");
}

#[test]
fn sigterm_fails_readiness_for_the_delay_and_a_second_one_ends_it_at_once() {
    let (_backend, proxy) = start(&["drain_delay = \"10m\""]);
    let admin = proxy.admin();
    proxy.signal(Signal::SIGTERM);
    wait::until("readiness fails", || admin.get("/readyz").status == 503);
    let client = proxy.connect();
    client.send(b"still");
    client.expect(b"still");
    let undrain = admin.post("/undrain", "");
    assert_eq!(undrain.status, 409);
    assert!(undrain.error().contains("not taken back"));
    assert_eq!(proxy.terminate().code, Some(0));
}

#[test]
fn sigterm_ends_a_process_that_an_operator_has_drained() {
    let (_backend, proxy) = start(&["drain_over = \"0s\""]);
    let admin = proxy.admin();
    admin.post("/drain", "");
    wait::until("the listener is closed", || is_refused(&proxy));
    assert_eq!(admin.get("/healthz").status, 200);
    assert_eq!(proxy.terminate().code, Some(0));
}

#[test]
fn a_drained_backend_gets_no_new_clients_and_keeps_those_it_has() {
    let (one, other) = (Backend::named("one"), Backend::named("two"));
    let proxy = Setup::new(&[one.address(), other.address()])
        .upstream("balance = \"round_robin\"")
        .admin()
        .start();
    let admin = proxy.admin();
    let path = format!("/upstreams/feed/backends/{}", one.address());
    let done = admin.post(&path, "{\"state\":\"drain\"}");
    let sentence = format!("feed/{} is drain", one.address());
    assert_eq!(done.json(), json!({ "done": sentence }));
    assert_eq!(
        admin.status()["upstreams"][0]["backends"][0]["admin"],
        "drain"
    );
    for _ in 0..6 {
        let client = proxy.connect();
        client.expect(b"two");
    }
    assert_eq!(admin.post(&path, "{\"state\":\"ready\"}").status, 200);
    let hello = |_| {
        let client = proxy.connect();
        client.fin();
        client.drain().0
    };
    let heard: Vec<_> = (0..4).map(hello).collect();
    assert!(heard.contains(&b"one".to_vec()), "{heard:?}");
}

#[test]
fn a_change_that_names_nothing_that_is_there_says_what_is() {
    let (backend, proxy) = start(&[]);
    let admin = proxy.admin();
    let unknown = admin.post("/upstreams/fed/backends/x", "{\"state\":\"drain\"}");
    assert_eq!(unknown.status, 404);
    assert_eq!(unknown.error(), "no upstream \"fed\"; there are: feed");
    let unknown = admin.post("/upstreams/feed/backends/x", "{\"state\":\"drain\"}");
    let expected = format!("no backend \"x\"; there are: {}", backend.address());
    assert_eq!((unknown.status, unknown.error()), (404, expected));
    let path = format!("/upstreams/feed/backends/{}", backend.address());
    for body in [
        "",
        "{}",
        "{\"state\":\"up\"}",
        "{\"weight\":0}",
        "{\"wait\":1}",
    ] {
        assert_eq!(admin.post(&path, body).status, 400, "{body}");
    }
    assert_eq!(admin.post("/upstreams/feed/backends", "{}").status, 400);
}

#[test]
fn a_backend_is_added_weighed_and_removed_while_clients_stay() {
    let (first, second) = (Backend::named("one"), Backend::named("two"));
    let proxy = Setup::before(&first)
        .upstream("balance = \"round_robin\"")
        .admin()
        .start();
    let admin = proxy.admin();
    let stays = proxy.connect();
    stays.expect(b"one");
    let body = format!(
        "{{\"address\": \"{}\", \"name\": \"b2\"}}",
        second.address()
    );
    let added = admin.post("/upstreams/feed/backends", &body);
    assert_eq!(added.json(), json!({ "done": "feed/b2 is added" }));
    assert_eq!(admin.post("/upstreams/feed/backends", &body).status, 409);
    let backends = || admin.status()["upstreams"][0]["backends"].clone();
    assert_eq!(backends()[1]["name"], "b2");
    let weighed = admin.post("/upstreams/feed/backends/b2", "{\"weight\": 256}");
    assert_eq!(weighed.json(), json!({ "done": "feed/b2 has weight 256" }));
    assert_eq!(backends()[1]["weight"], 256);
    let path = format!("/upstreams/feed/backends/{}", first.address());
    assert_eq!(admin.delete(&path).status, 200);
    assert_eq!(backends().as_array().unwrap().len(), 1);
    for _ in 0..4 {
        proxy.connect().expect(b"two");
    }
    let last = admin.delete("/upstreams/feed/backends/b2");
    assert_eq!(last.status, 409);
    assert!(last.error().contains("the only backend"), "{last:?}");
    stays.fin();
    stays.expect_fin();
}

#[test]
fn a_reload_is_asked_for_as_by_sighup() {
    let (_backend, proxy) = start(&[]);
    let admin = proxy.admin();
    let file = proxy.dir().join("ringway.toml");
    let text = std::fs::read_to_string(&file).unwrap();
    assert_eq!(admin.post("/reload", "").status, 200);
    std::fs::write(&file, text.replace("workers", "wrokers")).unwrap();
    let refused = admin.post("/reload", "");
    assert_eq!(refused.status, 400);
    assert!(
        refused.error().contains("did you mean `workers`?"),
        "{refused:?}"
    );
    std::fs::write(&file, text).unwrap();
    admin.post("/drain", "");
    assert_eq!(admin.post("/reload", "").status, 400, "it is draining");
    admin.post("/undrain", "");
    assert_eq!(admin.post("/reload", "").status, 200);
}

#[test]
fn open_connections_are_listed_and_one_of_them_is_closed() {
    let (backend, proxy) = start(&[]);
    let admin = proxy.admin();
    let (stays, leaves) = (proxy.connect(), proxy.connect());
    for client in [&stays, &leaves] {
        client.send(b"hello");
        client.expect(b"hello");
    }
    let listed = admin.get("/connections").json();
    let all = listed["connections"].as_array().unwrap();
    assert_eq!((all.len(), &listed["open"]), (2, &json!(2)));
    let of = |client: &Peer| {
        let client = client.local().to_string();
        all.iter()
            .find(|it| it["client"] == client.as_str())
            .unwrap()
    };
    let expected = json!({
        "listener": "feed", "upstream": "feed", "backend": backend.address().to_string(),
        "phase": "relaying", "bytes_up": 5, "bytes_down": 5, "relay": "copy",
    });
    for (key, value) in expected.as_object().unwrap() {
        assert_eq!(&of(&leaves)[key], value, "{key}");
    }
    let id = of(&leaves)["id"].as_u64().unwrap();
    assert_eq!(admin.delete(&format!("/connections/{id}")).status, 200);
    leaves.drain();
    let line = proxy.await_access_of(leaves.local());
    assert_eq!(line.end(), ("killed/relaying", "KD"));
    assert_eq!(line.number("id"), id);
    assert_eq!(admin.delete(&format!("/connections/{id}")).status, 404);
    assert_eq!(admin.delete("/connections/first").status, 400);
    stays.send(b"again");
    stays.expect(b"again");
}

#[test]
fn a_list_is_as_long_and_as_narrow_as_was_asked_for() {
    let (_backend, proxy) = start(&[]);
    let admin = proxy.admin();
    let clients: Vec<_> = (0..700).map(|_| proxy.connect()).collect();
    wait::until("all are there", || {
        admin.status()["connections"] == clients.len()
    });
    let count = |query: &str| {
        let listed = admin.get(&format!("/connections{query}")).json();
        listed["connections"].as_array().map(Vec::len)
    };
    assert_eq!(count(""), Some(100));
    assert_eq!(count("?limit=3"), Some(3));
    assert_eq!(count("?limit=1000"), Some(700));
    assert_eq!(count("?limit=1000&upstream=feed"), Some(700));
    assert_eq!(count("?upstream=chat"), Some(0));
    assert_eq!(count("?backend=nobody"), Some(0));
    for wrong in ["?limit=0", "?limit=10001", "?limit=many"] {
        assert_eq!(count(wrong), None, "{wrong}");
    }
}

#[test]
fn idle_time_and_age_are_told_in_seconds() {
    let (_backend, proxy) = start(&[]);
    let admin = proxy.admin();
    let client = proxy.connect();
    client.send(b"x");
    client.expect(b"x");
    let first =
        |key: &str| -> Value { admin.get("/connections").json()["connections"][0][key].clone() };
    wait::until("it has been idle", || {
        first("idle_seconds").as_f64() > Some(0.2)
    });
    assert!(first("age_seconds").as_f64() > Some(0.2));
    client.send(b"x");
    client.expect(b"x");
    let (idle, _) = wait::timed(|| first("idle_seconds"));
    assert!(idle.as_f64() < first("age_seconds").as_f64());
    assert!(Duration::from_secs(60).as_secs_f64() > first("age_seconds").as_f64().unwrap());
}

#[test]
fn a_reload_takes_weights_and_members_from_the_file_and_leaves_states_to_the_admin() {
    let backends = [Backend::echo(), Backend::echo(), Backend::echo()];
    let [a, b, c] = backends.each_ref().map(Backend::address);
    let setup = Setup::new(&[a, b]).admin();
    let proxy = setup.start();
    let admin = proxy.admin();
    let changed = |at: usize| {
        let upstream = admin.status()["upstreams"][0].clone();
        upstream["backends"][at]["changed_by_admin"].clone()
    };
    assert_eq!(changed(0), json!([]));
    let change = |backend, body: &str| {
        let answer = admin.post(&format!("/upstreams/feed/backends/{backend}"), body);
        assert_eq!(answer.status, 200, "{answer:?}");
    };
    change(a, "{\"weight\": 7, \"state\": \"drain\"}");
    let added = admin.post(
        "/upstreams/feed/backends",
        &format!("{{\"address\": \"{c}\"}}"),
    );
    assert_eq!(added.status, 200, "{added:?}");
    let removed = admin.delete(&format!("/upstreams/feed/backends/{b}"));
    assert_eq!(removed.status, 200, "{removed:?}");
    assert_eq!(changed(0), json!(["weight", "state"]));
    assert_eq!(changed(1), json!(["added"]));
    let upstream = admin.status()["upstreams"][0].clone();
    assert_eq!(upstream["removed_by_admin"], json!([b.to_string()]));

    let line = proxy.reload(&setup);
    let gone = format!(
        "as in the file, whatever an admin has said: feed/{a} weight, feed/{c} added, feed/{b} removed"
    );
    assert!(line.contains(&gone), "{line}");
    let stays = format!("as an admin has said, whatever is in the file: feed/{a} state");
    assert!(line.contains(&stays), "{line}");
    assert_eq!(changed(0), json!(["state"]));
    assert_eq!(changed(1), json!([]));
    // What the file says otherwise than it did is newer than what the admin said.
    let table = format!("[[upstream.backend]]\naddress = \"{a}\"\nstate = \"maint\"\n");
    proxy.reload(&Setup::new(&[b]).admin().more(&table));
    let backends = admin.status()["upstreams"][0]["backends"].clone();
    let mut all = backends.as_array().unwrap().iter();
    let of_a = all.find(|it| it["name"] == a.to_string()).unwrap();
    assert_eq!(of_a["admin"], "maint");
    assert_eq!(of_a["changed_by_admin"], json!([]));
}
