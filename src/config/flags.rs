//! The configuration that the flags of `ringway run` stand for: one listener in front of one upstream.

use super::admin::Admin;
use super::cli::{BackendFlag, Cli, Run};
use super::document::Once;
use super::model::{Backend, Config, Listener, Log, Process, Upstream};
use clap::CommandFactory;
use clap::error::ErrorKind;
use std::hash::Hash;

/// The name of the listener and of the upstream, which nobody named.
const NAME: &str = "default";

impl Config {
    /// The configuration of `ringway run` without a file. Whatever no flag says has the default of the file format.
    ///
    /// # Errors
    /// A usage error when an address is given twice.
    pub fn from_flags(run: &Run) -> Result<Self, clap::Error> {
        no_repeats(
            "--listen",
            run.listen.iter().filter(|address| address.port() != 0),
        )?;
        no_repeats("--backend", run.backend.iter().map(|flag| &flag.address))?;
        let backends = run.backend.iter().map(BackendFlag::backend).collect();
        let upstream = Upstream {
            balance: run.balance,
            probe: run.probe.clone(),
            ..Upstream::new(NAME.to_owned(), backends)
        };
        let listener = Listener::new(NAME.to_owned(), run.listen.clone(), 0);
        Ok(Self {
            process: Process {
                workers: run.workers.clone(),
                ..Process::default()
            },
            log: Log::default(),
            admin: run.admin.clone().map(Admin::at),
            listeners: vec![Listener {
                mode: run.mode,
                ..listener
            }],
            upstreams: vec![upstream],
        })
    }
}

impl BackendFlag {
    fn backend(&self) -> Backend {
        let default = Backend::at(self.address.clone());
        Backend {
            weight: self.weight.unwrap_or(default.weight),
            backup: self.backup,
            ..default
        }
    }
}

fn no_repeats<T>(flag: &str, values: impl Iterator<Item = T>) -> Result<(), clap::Error>
where
    T: Copy + Eq + Hash + ToString,
{
    let mut once = Once::new();
    for value in values {
        if once.repeats(value, flag).is_some() {
            let message = format!(
                "{flag} {} is given twice; remove one of them",
                value.to_string()
            );
            return Err(Cli::command().error(ErrorKind::ValueValidation, message));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::cli::Verb;
    use crate::config::{Balance, Mode};
    use clap::Parser;

    fn from_flags(flags: &str) -> Result<Config, clap::Error> {
        let words = ["ringway", "run"]
            .into_iter()
            .chain(flags.split_whitespace());
        let Verb::Run(run) = Cli::try_parse_from(words)?.verb else {
            panic!("not run: {flags}")
        };
        Config::from_flags(&run)
    }

    #[test]
    fn flags_mean_what_the_same_file_means() {
        let flags = "--listen 0.0.0.0:9000 --listen [::]:9000 --workers 0-3 --backend 10.0.0.1:80,weight=2 \
                     --backend [fd00::1]:80,backup --balance ip_hash --mode tcp";
        let file = r#"
            process.workers = "0-3"
            listener = [{ name = "default", listen = ["0.0.0.0:9000", "[::]:9000"], upstream = "default" }]
            [[upstream]]
            name = "default"
            backend = [{ address = "10.0.0.1:80", weight = 2 }, { address = "[fd00::1]:80", backup = true }]
        "#;
        assert_eq!(
            from_flags(flags).unwrap(),
            Config::parse(file, "file").unwrap()
        );
    }

    #[test]
    fn the_probe_flag_means_what_the_same_table_means() {
        // Its value has spaces, which the other flags here are split at.
        let words = ["ringway", "run", "--listen", "127.0.0.1:1"].into_iter();
        let words = words.chain(["--backend", "10.0.0.1:80", "--probe"]);
        let words = words.chain(["interval=5000 rise=1 type=http"]);
        let Verb::Run(run) = Cli::try_parse_from(words).unwrap().verb else {
            panic!("not run")
        };
        let file = r#"
            listener = [{ name = "default", listen = "127.0.0.1:1", upstream = "default" }]
            [[upstream]]
            name = "default"
            backend = [{ address = "10.0.0.1:80" }]
            probe = { interval = "5s", rise = 1, type = "http" }
        "#;
        assert_eq!(
            Config::from_flags(&run).unwrap(),
            Config::parse(file, "file").unwrap()
        );
    }

    #[test]
    fn the_admin_flag_means_what_the_same_table_means() {
        let file = r#"
            admin.listen = "unix:/run/admin.sock"
            listener = [{ name = "default", listen = "127.0.0.1:1", upstream = "default" }]
            [[upstream]]
            name = "default"
            backend = [{ address = "10.0.0.1:80" }]
        "#;
        let flags = "--listen 127.0.0.1:1 --backend 10.0.0.1:80 --admin unix:/run/admin.sock";
        assert_eq!(
            from_flags(flags).unwrap(),
            Config::parse(file, "file").unwrap()
        );
    }

    #[test]
    fn every_mode_and_policy_has_a_flag() {
        let with = |flags: &str| {
            let config = from_flags(&format!(
                "--listen 127.0.0.1:1 --backend 10.0.0.1:80 {flags}"
            ))
            .unwrap();
            (config.listeners[0].mode, config.upstreams[0].balance)
        };
        assert_eq!(with("--mode http"), (Mode::Http, Balance::IpHash));
        assert_eq!(
            with("--mode tls --balance hash"),
            (Mode::Tls, Balance::Hash)
        );
        assert_eq!(
            with("--balance round_robin"),
            (Mode::Tcp, Balance::RoundRobin)
        );
        assert_eq!(
            with("--balance least_conn"),
            (Mode::Tcp, Balance::LeastConn)
        );
        assert_eq!(
            with("--balance random_two"),
            (Mode::Tcp, Balance::RandomTwo)
        );
    }

    #[test]
    fn an_address_given_twice_is_a_usage_error() {
        for flags in [
            "--listen 127.0.0.1:1 --listen 127.0.0.1:1 --backend 10.0.0.1:80",
            "--listen 127.0.0.1:1 --backend 10.0.0.1:80 --backend 10.0.0.1:80,weight=2",
        ] {
            let error = from_flags(flags).unwrap_err();
            assert_eq!(error.exit_code(), 2);
            assert!(error.to_string().contains("is given twice"), "{error}");
        }
        let port_0 = "--listen 127.0.0.1:0 --listen 127.0.0.1:0 --backend 10.0.0.1:80";
        assert_eq!(from_flags(port_0).unwrap().listeners[0].listen.len(), 2);
    }
}
