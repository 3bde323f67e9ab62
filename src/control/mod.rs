//! The slow side: starts the workers, tells them to stop, probes backends, writes the access log. Uses workers through their mailbox and
//! their counters alone; nothing here is on the path of a byte.

mod access_log;
mod backends;
mod cpus;
mod difference;
mod limits;
mod load;
mod logging;
mod map;
pub mod metrics;
mod passed;
pub mod probe;
mod proxy;
mod pulse;
pub mod reload;
pub mod room;
mod signals;
mod state;
pub mod systemd;
pub mod view;

pub use map::map;
pub use proxy::{Proxy, StartError};
pub use reload::Source;

use crate::config::Config;
use passed::Passed;
use std::process::ExitCode;

/// The operating system refused (EX_OSERR of sysexits.h).
const EX_OSERR: u8 = 71;

/// Runs the proxy until a signal ends it. 0 after a drain; 71 when the operating system refused something.
pub fn run(config: Config, source: &Source) -> ExitCode {
    logging::start(&config.log);
    abort_on_panic();
    for warning in config.warnings() {
        tracing::warn!("{warning}");
    }
    match Proxy::start_on(config, Passed::from_env()) {
        Ok(proxy) => signals::serve(proxy, source),
        Err(refusal) => {
            tracing::error!("{refusal}");
            ExitCode::from(EX_OSERR)
        }
    }
}

/// A panic is a bug. A process that lost one worker would go on with part of its clients deaf; one that is gone is
/// restarted, and its clients come back.
fn abort_on_panic() {
    let report = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |panic| {
        report(panic);
        std::process::abort();
    }));
}
