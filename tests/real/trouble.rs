//! A backend killed or stopped in mid-transfer, beside another whose transfers go on.

use crate::content::{assert_same, content};
use crate::curl::curl;
use crate::nginx::Nginx;
use crate::programs::{await_stopped, described, has_unread, installed};
use crate::support::{Proxy, Setup, wait};
use nix::sys::signal::Signal;
use nix::unistd::Pid;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Stdio};
use tempfile::TempDir;

/// Too much to be on its way at once, in the sockets of all four hops.
const LARGE: usize = 60_000_000;

/// Far enough for both to be in the middle of it.
const SOME: u64 = 1_000_000;

/// Two nginx behind two listeners of one proxy, which has one worker, so that all share it.
struct Scene {
    struck: Nginx,
    _other: Nginx,
    proxy: Proxy,
    folder: TempDir,
}

impl Scene {
    fn new() -> Self {
        let (struck, other) = (Nginx::start("struck"), Nginx::start("other"));
        for nginx in [&struck, &other] {
            nginx.publish("large", &content(0, LARGE));
        }
        let second = format!(
            "[[listener]]\nname = \"other\"\nlisten = \"127.0.0.1:0\"\nupstream = \"other\"\n\
             [[upstream]]\nname = \"other\"\n[[upstream.backend]]\naddress = \"{}\"\n",
            other.address()
        );
        let proxy = Setup::new(&[struck.address()]).more(&second).start();
        Self {
            struck,
            _other: other,
            proxy,
            folder: tempfile::tempdir().unwrap(),
        }
    }

    /// Begins to download from the backend of this listener, for seconds at least, and waits until it is under way.
    fn download(&self, listener: &str) -> Download {
        let file = self.folder.path().join(listener);
        let url = format!("http://{}/large", self.proxy.address_of(listener));
        let mut command = curl();
        command.args(["--limit-rate", "20M", &url, "--output"]);
        command.arg(&file).stderr(Stdio::piped());
        let client = command.spawn().unwrap();
        wait::until("the download is under way", || length(&file) > SOME);
        Download { client, file }
    }

    /// The same upwards, to the one that is about to be struck.
    fn upload(&self) -> Child {
        let file = self.folder.path().join("upload");
        fs::write(&file, content(0, LARGE)).unwrap();
        let url = format!("http://{}/upload", self.proxy.address());
        let mut command = curl();
        command.args(["--limit-rate", "20M", &url, "--upload-file"]);
        command.arg(file).stderr(Stdio::piped());
        let client = command.spawn().unwrap();
        wait::until("the upload is under way", || self.struck.uploading() > SOME);
        client
    }
}

struct Download {
    client: Child,
    file: PathBuf,
}

impl Download {
    /// curl's exit code and what it got.
    fn end(self) -> (Option<i32>, Vec<u8>) {
        let output = self.client.wait_with_output().unwrap();
        (output.status.code(), fs::read(&self.file).unwrap())
    }

    #[track_caller]
    fn assert_whole(self) {
        let (code, got) = self.end();
        assert_eq!(code, Some(0));
        assert_same(&got, &content(0, LARGE));
    }
}

fn length(file: &Path) -> u64 {
    file.metadata().map_or(0, |file| file.len())
}

#[test]
fn a_backend_killed_in_mid_download_ends_its_client_and_no_other() {
    if !installed(&["curl", "nginx"]) {
        return;
    }
    let scene = Scene::new();
    let (cut, whole) = (scene.download("feed"), scene.download("other"));
    scene.struck.kill();
    let (code, got) = cut.end();
    // curl(1): 18 is a partial file, 56 a failure to receive.
    assert!(matches!(code, Some(18 | 56)), "{code:?}");
    assert!(got.len() < LARGE);
    assert_same(&got, &content(0, got.len()));
    let line = scene
        .proxy
        .await_access_line(|line| line.text("listener") == "feed");
    // The kernel closes a killed process's sockets in order if it had read everything.
    assert_eq!(line.end(), ("backend-fin/done", "--"));
    assert!(line.number("bytes_down") >= got.len() as u64, "{line:?}");
    whole.assert_whole();
}

#[test]
fn a_backend_killed_in_mid_upload_resets_its_client_and_no_other() {
    if !installed(&["curl", "nginx"]) {
        return;
    }
    let scene = Scene::new();
    let (cut, whole) = (scene.upload(), scene.download("other"));
    scene.struck.signal(Signal::SIGSTOP);
    let unread = || has_unread(scene.struck.address());
    wait::until("bytes wait for the stopped backend", unread);
    scene.struck.kill();
    let output = cut.wait_with_output().unwrap();
    // curl(1): 55 is a failure to send, 56 one to receive.
    assert!(
        matches!(output.status.code(), Some(55 | 56)),
        "{}",
        described(&output)
    );
    let line = scene
        .proxy
        .await_access_line(|line| line.text("listener") == "feed");
    assert_eq!(line.end(), ("backend-reset/relaying", "SD"));
    assert!(line.number("bytes_up") > SOME, "{line:?}");
    whole.assert_whole();
}

#[test]
fn a_backend_stopped_in_mid_transfer_holds_up_nobody_else_and_loses_nothing() {
    if !installed(&["curl", "nginx"]) {
        return;
    }
    let scene = Scene::new();
    let (mut up, mut down) = (scene.upload(), scene.download("feed"));
    scene.struck.signal(Signal::SIGSTOP);
    // A whole transfer beside it is long enough for what was on its way to be used up.
    scene.download("other").assert_whole();
    assert!(down.client.try_wait().unwrap().is_none(), "ended early");
    assert!(up.try_wait().unwrap().is_none(), "ended early");
    scene.struck.signal(Signal::SIGCONT);
    down.assert_whole();
    let output = up.wait_with_output().unwrap();
    assert!(output.status.success(), "{}", described(&output));
    let stored = fs::read(scene.struck.file("upload")).unwrap();
    assert_same(&stored, &content(0, LARGE));
}

#[test]
fn a_stopped_proxy_that_continues_has_lost_nothing() {
    if !installed(&["curl", "nginx"]) {
        return;
    }
    let scene = Scene::new();
    let (down, up) = (scene.download("other"), scene.upload());
    scene.proxy.signal(Signal::SIGSTOP);
    let pid = i32::try_from(scene.proxy.pid()).unwrap();
    await_stopped(Pid::from_raw(pid));
    scene.proxy.signal(Signal::SIGCONT);
    down.assert_whole();
    let output = up.wait_with_output().unwrap();
    assert!(output.status.success(), "{}", described(&output));
    let stored = fs::read(scene.struck.file("upload")).unwrap();
    assert_same(&stored, &content(0, LARGE));
}
