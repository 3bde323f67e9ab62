//! The slow side: starts the workers, tells them to stop, probes backends, writes the access log. Uses workers through their mailbox and
//! their counters alone; nothing here is on the path of a byte.

mod access_log;
mod admin;
mod backends;
mod bequest;
mod by_admin;
mod certificates;
pub mod command;
pub(crate) mod cpus;
mod difference;
mod history;
mod leaving;
pub(crate) mod limits;
mod load;
mod logging;
mod map;
pub mod metrics;
mod passed;
mod ports;
pub mod probe;
mod proxy;
mod pulse;
pub mod reload;
mod resolve;
pub mod room;
mod serve;
mod signals;
mod state;
pub mod status_page;
mod store;
pub mod systemd;
mod upgrade;
pub mod view;
mod watches;

pub use admin::{Admin, NoAdmin};
pub use map::map;
pub use proxy::{Proxy, StartError};
pub use reload::Source;
pub use serve::answer;

use crate::config::{Config, Errors};
use crate::tls::Material;
use passed::Passed;
use std::path::Path;
use std::process::ExitCode;
use upgrade::Program;

/// The operating system refused (EX_OSERR of sysexits.h).
const EX_OSERR: u8 = 71;

/// A configuration and what is in the files that it names.
#[derive(Debug)]
pub struct Loaded {
    /// What the operator wrote.
    pub config: Config,
    /// What listeners and upstreams speak TLS with.
    pub tls: Material,
}

impl Loaded {
    /// Reads a configuration file and the files that it names.
    ///
    /// # Errors
    /// Every mistake in the file; if there is none, whatever of the files it names cannot be used, each with line, column
    /// and key.
    pub fn load(path: &Path) -> Result<Self, Errors> {
        Self::successor(path, &Material::default())
    }

    /// The same for a process that speaks TLS already: tickets stay good.
    fn successor(path: &Path, tls: &Material) -> Result<Self, Errors> {
        let config = Config::load(path)?;
        let mistakes = admin::mistakes(&config);
        if !mistakes.is_empty() {
            return Err(Errors::of_keys(path, &mistakes));
        }
        let tls = tls.successor(&config);
        let tls = tls.map_err(|mistakes| Errors::of_keys(path, &mistakes))?;
        Ok(Self { config, tls })
    }

    /// What is allowed but seldom meant, and which certificates have expired or soon will, a sentence each.
    pub fn warnings(&self) -> Vec<String> {
        let mut warnings = self.config.warnings();
        warnings.extend(certificates::warnings(&self.tls));
        warnings
    }
}

impl From<Config> for Loaded {
    /// One that names no files.
    fn from(config: Config) -> Self {
        let tls = Material::default();
        Self { config, tls }
    }
}

/// Runs the proxy until a signal ends it. 0 after a drain; 71 when the operating system refused something. What `advice` says of
/// the machine and this configuration is logged as warnings first.
pub fn run(
    loaded: Loaded,
    source: &Source,
    advice: impl FnOnce(&Config) -> Vec<String>,
) -> ExitCode {
    let Loaded { config, tls } = loaded;
    logging::start(&config.log);
    abort_on_panic();
    for warning in config.warnings() {
        tracing::warn!("{warning}");
    }
    for line in advice(&config) {
        tracing::warn!("{line}");
    }
    let program = Program::this();
    let mut passed = Passed::from_env();
    let admin = config.admin.as_ref();
    let admin = match admin.map(|it| Admin::start_on(it, &mut passed)).transpose() {
        Ok(admin) => admin,
        Err(refusal) => return refusal.report(),
    };
    match Proxy::start_on(config, tls, passed) {
        Ok(proxy) => serve::serve(proxy, source, admin, program),
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
