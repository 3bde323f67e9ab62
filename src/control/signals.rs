//! The control thread: waits for signals inside one tokio-uring runtime, drains, ends.

use super::Proxy;
use super::reload::Source;
use super::systemd::Systemd;
use crate::ring::Time;
use std::convert::Infallible;
use std::process::ExitCode;
use std::time::Duration;
use tokio::signal::unix::{Signal, SignalKind, signal};

/// Says that it is ready, serves until SIGTERM or SIGINT, drains, and says how to exit. A second of these ends the process at once.
pub(super) fn serve(proxy: Proxy, source: &Source) -> ExitCode {
    let systemd = Systemd::from_env();
    let outcome = tokio_uring::start(async {
        let mut signals = Signals::listen()?;
        // Not before: who sees `ready` may send a signal, which would kill a process that does not listen yet.
        proxy.announce();
        systemd.ready(&format!("serving {}", proxy.listening()));
        tokio::select! {
            () = until_drained(&proxy, source, &mut signals, &systemd) => {}
            never = proxy.watch_workers(&systemd) => match never {},
            never = proxy.watch_load() => match never {},
            never = proxy.watch_backends() => match never {},
            never = proxy.watch_certificates() => match never {},
            never = proxy.watch_names() => match never {},
            never = proxy.watch_ports() => match never {},
        }
        Ok::<(), std::io::Error>(())
    });
    if let Err(e) = outcome {
        tracing::error!("cannot listen for signals: {e}");
        return ExitCode::from(super::EX_OSERR);
    }
    proxy.join();
    tracing::info!("stopped");
    ExitCode::SUCCESS
}

async fn until_drained(proxy: &Proxy, source: &Source, signals: &mut Signals, systemd: &Systemd) {
    while let Some(signalled) = signals.next().await.but_stop() {
        obey(signalled, proxy, source, systemd).await;
    }
    tokio::select! {
        () = drain(proxy, systemd) => {}
        never = tell_progress(proxy, systemd) => match never {},
        () = second_stop(signals) => {
            tracing::warn!(cut = proxy.open(), "second signal: ending at once");
            std::process::exit(0);
        }
    }
}

async fn obey(signalled: Request, proxy: &Proxy, source: &Source, systemd: &Systemd) {
    match signalled {
        Request::Reload => {
            systemd.reloading(Time::read_clock());
            // What came of it is in the log.
            let _ = proxy.reload(source).await;
            systemd.ready(&format!("serving {}", proxy.listening()));
        }
        Request::Upgrade => {
            tracing::warn!("SIGUSR2 ignored: upgrade is not supported yet");
        }
    }
}

/// Waits for a signal to stop while it stops already. The others come too late.
async fn second_stop(signals: &mut Signals) {
    while let Some(signalled) = signals.next().await.but_stop() {
        tracing::warn!("{signalled:?} ignored: the proxy is draining");
    }
}

/// Has `systemctl status` show how far the drain is.
async fn tell_progress(proxy: &Proxy, systemd: &Systemd) -> Infallible {
    loop {
        systemd.status(&format!("draining, open connections: {}", proxy.open()));
        tokio::time::sleep(Duration::from_secs(1)).await;
    }
}

async fn drain(proxy: &Proxy, systemd: &Systemd) {
    let config = proxy.config();
    let process = &config.process;
    let (delay, over, deadline) = (
        process.drain_delay,
        process.drain_over,
        process.drain_deadline,
    );
    systemd.stopping(delay + deadline);
    let (open, handed_over) = (proxy.open(), proxy.handed_over());
    let per_worker = proxy.connections();
    tracing::info!(
        open,
        ?per_worker,
        handed_over,
        ?delay,
        ?over,
        ?deadline,
        "draining"
    );
    proxy.leave();
    tokio::time::sleep(delay).await;
    proxy.drain(over, deadline);
    proxy.finished().await;
}

struct Signals {
    terminate: Signal,
    interrupt: Signal,
    hangup: Signal,
    upgrade: Signal,
}

impl Signals {
    fn listen() -> std::io::Result<Self> {
        Ok(Self {
            terminate: signal(SignalKind::terminate())?,
            interrupt: signal(SignalKind::interrupt())?,
            hangup: signal(SignalKind::hangup())?,
            upgrade: signal(SignalKind::user_defined2())?,
        })
    }

    async fn next(&mut self) -> Signalled {
        tokio::select! {
            _ = self.terminate.recv() => Signalled::Stop,
            _ = self.interrupt.recv() => Signalled::Stop,
            _ = self.hangup.recv() => Signalled::Other(Request::Reload),
            _ = self.upgrade.recv() => Signalled::Other(Request::Upgrade),
        }
    }
}

/// What a signal asks for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Signalled {
    Stop,
    Other(Request),
}

/// What else but an end.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Request {
    /// SIGHUP.
    Reload,
    /// SIGUSR2.
    Upgrade,
}

impl Signalled {
    fn but_stop(self) -> Option<Request> {
        match self {
            Self::Stop => None,
            Self::Other(request) => Some(request),
        }
    }
}
