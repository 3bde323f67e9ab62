//! Connections of one backend that leave because an operator wants it.

use crate::support::{Admin, Backend, Peer, Proxy, Setup, wait};
use serde_json::{Value, json};

/// Five clients of each of two backends, in the order of these.
struct Scene {
    backends: [Backend; 2],
    setup: Setup,
    proxy: Proxy,
    _clients: Vec<Peer>,
}

impl Scene {
    fn new() -> Self {
        let backends = [Backend::new(), Backend::new()];
        let setup = Setup::new(&[backends[0].address(), backends[1].address()])
            .upstream("balance = \"round_robin\"")
            .admin();
        let proxy = setup.start();
        let clients: Vec<_> = (0..10).map(|_| proxy.connect()).collect();
        let scene = Self {
            backends,
            setup,
            proxy,
            _clients: clients,
        };
        wait::until("all are relayed", || {
            (0..2).all(|at| scene.backend(at)["connections"] == 5)
        });
        scene
    }

    fn admin(&self) -> Admin {
        self.proxy.admin()
    }

    fn backend(&self, at: usize) -> Value {
        self.admin().status()["upstreams"][0]["backends"][at].clone()
    }

    fn path(&self, at: usize) -> String {
        format!("/upstreams/feed/backends/{}", self.backends[at].address())
    }

    /// Tells what to do with the first backend; what was done.
    fn change(&self, body: &str) -> String {
        let answer = self.admin().post(&self.path(0), body);
        assert_eq!(answer.status, 200, "{answer:?}");
        answer.json()["done"].as_str().unwrap().to_owned()
    }

    fn await_left(&self) {
        let lines = self.proxy.await_access(5);
        let first = self.backends[0].address().to_string();
        for line in lines {
            assert_eq!(line.end(), ("backend-drain/relaying", "dD"));
            assert_eq!(line.text("backend"), first);
        }
        assert_eq!(self.backend(1)["connections"], 5, "the others stay");
    }
}

#[test]
fn a_drain_with_a_time_ends_the_backends_connections_and_nobody_elses() {
    let scene = Scene::new();
    let done = scene.change("{\"state\": \"drain\", \"over\": \"1s\"}");
    let first = scene.backends[0].address();
    assert_eq!(
        done,
        format!("feed/{first} is drain; its connections leave over 1s")
    );
    scene.await_left();
    wait::until("it is over", || {
        let seen = scene.backend(0);
        seen["leaving"].is_null() && seen["connections"] == 0
    });
    assert_eq!(scene.backend(0)["admin"], "drain");
}

#[test]
fn how_far_they_are_is_seen_and_ready_keeps_who_is_still_there() {
    let scene = Scene::new();
    scene.change("{\"state\": \"maint\", \"over\": \"10m\"}");
    wait::until("the first has left", || {
        scene.backend(0)["connections"] == 4
    });
    let leaving = scene.backend(0)["leaving"].clone();
    assert_eq!(leaving["connections_at_first"], 5);
    assert_eq!(leaving["over_seconds"], 600.0);
    assert!(leaving["seconds_left"].as_f64() > Some(500.0), "{leaving}");
    assert_eq!(scene.backend(1)["leaving"], json!(null));
    scene.change("{\"state\": \"ready\"}");
    assert_eq!(scene.backend(0)["leaving"], json!(null));
    assert_eq!(scene.backend(0)["connections"], 4);
    scene.change("{\"state\": \"drain\", \"over\": \"0s\"}");
    scene.await_left();
}

#[test]
fn a_backend_that_a_reload_makes_ready_again_keeps_its_connections() {
    let scene = Scene::new();
    scene.change("{\"state\": \"drain\", \"over\": \"10m\"}");
    let drained = scene.setup.toml().replacen(
        "[[upstream.backend]]\n",
        "[[upstream.backend]]\nstate = \"drain\"\n",
        1,
    );
    scene.proxy.reload_text(&drained);
    assert!(
        !scene.backend(0)["leaving"].is_null(),
        "nothing has changed"
    );
    scene.proxy.reload(&scene.setup);
    let seen = scene.backend(0);
    assert_eq!(
        (&seen["admin"], &seen["leaving"]),
        (&json!("ready"), &json!(null))
    );
}

#[test]
fn a_backend_is_removed_and_its_connections_with_it() {
    let scene = Scene::new();
    let answer = scene.admin().delete(&(scene.path(0) + "?over=0s"));
    assert_eq!(answer.status, 200, "{answer:?}");
    scene.proxy.await_access(5);
    let left = &scene.admin().status()["upstreams"][0]["backends"];
    assert_eq!(left.as_array().map(Vec::len), Some(1));
    assert_eq!(left[0]["connections"], 5);
    let wrong = scene.admin().delete(&(scene.path(1) + "?over=soon"));
    assert_eq!(wrong.status, 400);
    assert!(wrong.error().contains("is not a duration"), "{wrong:?}");
}
