//! The options of TLS.

use clap::Args;
use ringway_loadgen::{Comeback, Tls, Trust};
use std::path::PathBuf;

/// How clients speak TLS.
#[derive(Args, Debug)]
#[command(next_help_heading = "TLS")]
pub(super) struct TlsArgs {
    /// Speak TLS 1.3 (X25519, TLS_AES_128_GCM_SHA256) on every connection
    #[arg(long)]
    tls: bool,
    /// Whom to ask for (SNI) and to expect [default: the target's address, and no SNI]
    #[arg(long, value_name = "NAME", requires = "tls")]
    tls_name: Option<String>,
    /// PEM file of the authorities to believe
    #[arg(
        long,
        value_name = "FILE",
        requires = "tls",
        conflicts_with = "tls_insecure"
    )]
    tls_ca: Option<PathBuf>,
    /// Believe any certificate
    #[arg(long, requires = "tls")]
    tls_insecure: bool,
    /// Churn and websocket: come back with a ticket of an earlier connection [default: a whole handshake each time]
    #[arg(long, requires = "tls")]
    pub(super) resume: bool,
}

impl TlsArgs {
    pub(super) fn check(&self) -> Result<Option<Tls>, String> {
        if !self.tls {
            return Ok(None);
        }
        let trust = match &self.tls_ca {
            Some(file) => Trust::Authorities(file.clone()),
            None if self.tls_insecure => Trust::Anybody,
            None => return Err("--tls: want --tls-ca FILE, or --tls-insecure".into()),
        };
        let comeback = match self.resume {
            true => Comeback::Resumed,
            false => Comeback::Never,
        };
        Tls::new(&trust, self.tls_name.as_deref(), comeback).map(Some)
    }
}
